//! `stratos`: one binary for every role of a node.
//!
//! - [`accept`]: listeners that cannot accept
//! - [`cli`]: the command line
//! - [`config`]: a node's configuration from file, environment and flags
//! - [`node`]: assembly, start and stop of a node
//! - [`wire`]: the Postgres protocol
//! - [`http`]: health and metrics
//! - [`lobby`]: how many connections may wait, and who makes room
//! - [`tls`]: the node's certificate
//! - [`sqlstate`]: conditions to SQLSTATEs

mod accept;
mod check;
mod cli;
mod config;
mod exposition;
mod http;
mod lobby;
mod node;
mod sqlstate;
mod tls;
mod wire;

use std::process::ExitCode;

use clap::Parser;

/// Statements allocate in small pieces, and what one thread allocates another often frees: glibc's allocator is slow at both.
/// Not in huge pages (its feature `no_thp`): each thread's heap would take at least one, two megabytes, for every idle shard.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::init_logging(cli.log.as_deref());
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
