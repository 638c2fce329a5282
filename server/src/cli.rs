//! The command line.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, SETTINGS, socket_address, unread};
use crate::node::{Node, NodeError};

/// A SQL database server for any Postgres client.
#[derive(Debug, Parser)]
#[command(name = "stratos", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to log: a level or a tracing filter (`info`, `stratos_query=debug`). Quiet by default.
    #[arg(long, global = true, env = "STRATOS_LOG", value_name = "FILTER", value_parser = log_filter)]
    pub log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything in one process, for development: no password is asked on loopback connections.
    ///
    /// A database `stratos` and a role `stratos` exist. Stop it with Ctrl-C or SIGTERM. Every other setting that `stratos config`
    /// explains can be given by the environment, as STRATOS_ and its name in capitals (STRATOS_CACHE_MB).
    Dev(DevArgs),
    /// Start a node from a configuration file.
    ///
    /// Every setting can also be given by the environment, as STRATOS_ and its name in capitals (STRATOS_SQL_ADDR).
    Start {
        /// The configuration, in TOML. `stratos config` prints one with every setting explained.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a configuration file with every setting, its default and what it means.
    Config,
    /// Walk through the data of a stopped node and verify that everything in it agrees.
    ///
    /// Exits with 0 when nothing was found, with 1 when something does not agree, and with 2 when the data could not be looked
    /// through at all.
    Check {
        /// The data directory.
        #[arg(long, default_value = "./stratos-data", env = "STRATOS_DATA_DIR", value_name = "DIR")]
        data: PathBuf,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
struct DevArgs {
    /// Directory of the node's data; made when it does not exist.
    #[arg(long, default_value = "./stratos-data", env = "STRATOS_DATA_DIR", value_name = "DIR")]
    data: PathBuf,
    /// Address for Postgres clients. Port 0 takes a free one.
    #[arg(
        long,
        default_value = "127.0.0.1:5433",
        env = "STRATOS_SQL_ADDR",
        value_name = "HOST:PORT",
        value_parser = socket_address
    )]
    sql_addr: String,
    /// Address for HTTP: /healthz, /readyz, /metrics.
    #[arg(
        long,
        default_value = "127.0.0.1:8433",
        env = "STRATOS_HTTP_ADDR",
        value_name = "HOST:PORT",
        value_parser = socket_address
    )]
    http_addr: String,
    /// What an acknowledged commit means: `fsync` survives a crash of the machine, `relaxed` only one of the process.
    #[arg(long, default_value = "fsync", env = "STRATOS_DURABILITY", value_name = "MODE")]
    durability: crate::config::DurabilityMode,
    /// Connections that may be open at once.
    #[arg(long, default_value_t = Config::default().connections_max, env = "STRATOS_CONNECTIONS_MAX", value_name = "NUMBER")]
    connections_max: usize,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The runtime or the terminal.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Carries out a command.
///
/// # Errors
/// The command's.
pub fn run(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.command {
        Command::Version => {
            say(&format!("stratos {}", env!("CARGO_PKG_VERSION")))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Config => {
            say(crate::config::EXPLAINED)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Dev(args) => {
            let config = Config {
                data_dir: args.data,
                sql_addr: args.sql_addr,
                http_addr: args.http_addr,
                durability: args.durability,
                connections_max: args.connections_max,
                ..Config::for_development(DEV_FLAGS)?
            };
            config.check()?;
            warn_of_unread(SETTINGS);
            serve(config)
        }
        Command::Start { config } => {
            let config = Config::load(&config)?;
            warn_of_unread(SETTINGS);
            serve(config)
        }
        Command::Check { data } => {
            let checked = runtime("check", cores(), 0)?.block_on(crate::check::check(&data));
            let findings = match checked {
                Ok(findings) => findings,
                Err(error) => {
                    complain(&error.into());
                    return Ok(ExitCode::from(NOT_CHECKED));
                }
            };
            say("what only the log had was applied to the state, as at a start; nothing else was changed")?;
            for finding in &findings {
                say(finding)?;
            }
            if findings.is_empty() {
                say("no inconsistency found")?;
                return Ok(ExitCode::SUCCESS);
            }
            say(&format!("{} inconsistencies found", findings.len()))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Exit code of a check that could not be carried out.
const NOT_CHECKED: u8 = 2;

/// Settings for which `stratos dev` has flags, which go by the environment themselves.
const DEV_FLAGS: &[&str] = &["data_dir", "sql_addr", "http_addr", "durability", "connections_max"];

/// A setting that is mistyped would be a surprise later.
fn warn_of_unread(read: &[&str]) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unread = unread(names, read);
    if !unread.is_empty() {
        tracing::warn!("these variables of the environment are no settings of this command: {}", unread.join(", "));
    }
}

/// Worker threads get room for deeply nested expressions, whose depth the binder limits.
const THREAD_STACK_BYTES: usize = 128 << 20;

/// Threads of queries for each core. A query computes for a tenth of a second before it lets another one have its thread; the
/// system divides the cores between threads much more finely.
const QUERY_THREADS_PER_CORE: usize = 8;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads that may be blocked beside those of sessions: for work on the disk, and on long statements.
const BLOCKED_BESIDE_SESSIONS_MAX: usize = 512;

/// Each of so many sessions may block a thread in place, waiting for an advisory lock: another thread takes its place then, or
/// the others would stand still, and with them whoever holds the lock.
fn runtime(name: &str, threads: usize, sessions: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(sessions + BLOCKED_BESIDE_SESSIONS_MAX)
        .thread_name(name)
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()
}

/// How long a thread may go on with what nobody waits for any more when everything else has stopped.
const THREADS_GRACE: Duration = Duration::from_secs(1);

fn serve(config: Config) -> Result<ExitCode, CliError> {
    // Clients are served on some threads and queries run on others, so that the system divides the cores between them.
    let clients = runtime("clients", cores(), config.connections_max)?;
    let queries = runtime("queries", cores() * QUERY_THREADS_PER_CORE, config.connections_max)?;
    let served = clients.block_on(async {
        // Before anybody is told that the node is there: a signal that comes while it starts stops it when it has started.
        let mut signals = Signals::new()?;
        let node = Node::start(config, queries.handle().clone()).await?;
        say(&node.greeting())?;
        signals.received().await;
        tracing::info!("stopping");
        node.stop().await?;
        Ok(ExitCode::SUCCESS)
    });
    // A plan that was given up may still be in the making.
    queries.shutdown_timeout(THREADS_GRACE);
    clients.shutdown_timeout(THREADS_GRACE);
    served
}

/// SIGTERM and SIGINT, which end the process no more once this is there.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Warnings, except openraft's, since a change of leader is none to the operator of a single node, and rustls's, which tell how
/// clients say goodbye.
const DEFAULT_FILTER: &str = "warn,openraft=error,rustls=error";

/// The filter as it was given, if it is one.
fn log_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

/// Structured logs go to standard error; warnings only, unless asked for more.
pub fn init_logging(filter: Option<&str>) {
    let filter = EnvFilter::new(filter.unwrap_or(DEFAULT_FILTER));
    // Where a log cannot be written, on a full disk for instance, complaining about it would panic.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .init();
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// The error that ends the process, on standard error.
pub fn complain(error: &CliError) {
    // There is nowhere else to say that standard error is closed.
    let _ = writeln!(std::io::stderr(), "stratos: {error}");
}
