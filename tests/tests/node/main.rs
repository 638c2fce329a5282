//! A real node under what happens to nodes: directories that cannot be used, stops, disks that fail, more data than memory,
//! tables that outgrow their shards, schema changes that are interrupted, and such as others look at meanwhile.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panics, and print what was seen")]

mod disk;
mod indexes;
mod loading;
mod memory;
mod metrics;
mod pgbench;
mod schema;
mod sequences;
mod spilled;
mod splits;
mod start;
mod stop;
mod wide;
