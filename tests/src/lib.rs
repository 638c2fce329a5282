//! Tests that need a whole node: what the files under `tests/` share.
//!
//! - [`node`]: starts the real binary on free ports with a data directory of its own, and stops it
//! - [`postgres`]: starts a private PostgreSQL, which says what the right answer is
//! - [`client`]: connections, `psql`, values as text
//! - [`frames`]: the wire protocol byte by byte, for what no driver would send
//! - [`mutate`]: streams of messages in which something is wrong
//! - [`process`]: child processes that end with their owner
//!
//! A harness that cannot do its work fails the test by panicking.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panics and tell what they do")]

pub mod client;
pub mod frames;
pub mod mutate;
pub mod node;
pub mod postgres;
pub mod process;

/// Whether the long versions of the tests are asked for (`STRATOS_TEST_LONG=1`).
pub fn long() -> bool {
    std::env::var("STRATOS_TEST_LONG").is_ok_and(|value| !value.is_empty() && value != "0")
}
