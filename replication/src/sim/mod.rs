//! The transaction protocol under a seeded simulator.
//!
//! Clients run random transactions against several shards and an oracle, all as processes that exchange messages which are
//! delayed, reordered, repeated and lost. Clients (the coordinators of their commits) die at any step, leaders restart and
//! forget what was in memory, engines crash back to their last flush and apply their log again. The protocol cores and the
//! state machine are the real ones; only time, messages and logs are simulated. Everything follows from one seed.
//!
//! * `world`: time, messages, faults. `shard`, `oracle`, `client`: the processes.
//! * `checker`: judges the history of a run against what the engines hold in the end.
//!
//! `STRATOS_SIM_SEED=n` runs one seed, `STRATOS_SIM_RUNS=n` that many.

mod checker;
mod client;
mod oracle;
mod shard;
mod world;

use crate::api::Isolation;
use crate::protocol::Mutations;
use world::World;

const RUNS_DEFAULT: u64 = 40;
const LEVELS: [Isolation; 3] = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

/// What is wrong in a run, on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sabotage {
    pub(super) rules: Mutations,
    /// Writes claim to have seen the newest version.
    pub(super) blind_writes: bool,
    /// A client acknowledges a commit without waiting for the watermark.
    pub(super) early_acknowledgement: bool,
    /// A shard leaves out a write of a commit that has several.
    pub(super) lost_write: bool,
    /// A shard answers a commit when it is proposed: applying it may refuse it.
    pub(super) answer_before_apply: bool,
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("STRATOS_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STRATOS_SIM_RUNS").unwrap_or(RUNS_DEFAULT),
    }
}

fn run(seed: u64, isolation: Isolation, sabotage: Sabotage) -> Result<checker::Report, String> {
    let mut world = World::new(seed, isolation, sabotage);
    world.run();
    checker::check(&world)
}

fn all_seeds(isolation: Isolation) {
    let mut total = checker::Report::default();
    let seeds = seeds();
    let alone = seeds.end - seeds.start == 1;
    for seed in seeds {
        match run(seed, isolation, Sabotage::default()) {
            Ok(report) => total.add(&report),
            Err(violation) => panic!(
                "{isolation:?}, seed {seed}: {violation}\n(replay it with STRATOS_SIM_SEED={seed}; it is deterministic)"
            ),
        }
    }
    // A simulation in which nothing happens finds nothing.
    if !alone {
        assert!(total.committed > total.transactions / 10, "too few commits: {total:?}");
        assert!(total.over_several_shards > total.committed / 10, "too simple: {total:?}");
        assert!(total.with_pieces > total.committed / 50, "no pieces: {total:?}");
        assert!(total.unknown > 0 && total.refused > 0, "too tame: {total:?}");
    }
}

#[test]
fn read_committed_holds() {
    all_seeds(LEVELS[0]);
}

#[test]
fn repeatable_read_holds() {
    all_seeds(LEVELS[1]);
}

#[test]
fn serializable_holds() {
    all_seeds(LEVELS[2]);
}

#[test]
fn one_seed_is_one_history() {
    for isolation in LEVELS {
        let mut one = World::new(7, isolation, Sabotage::default());
        let mut two = World::new(7, isolation, Sabotage::default());
        one.run();
        two.run();
        assert_eq!(format!("{:?}", one.history), format!("{:?}", two.history));
    }
}

/// A checker that cannot fail proves nothing: with each rule broken, some seed must show it.
fn must_be_caught(isolation: Isolation, sabotage: Sabotage, expected: &str) {
    const SEEDS_MAX: u64 = 400;
    for seed in 0..SEEDS_MAX {
        if let Err(violation) = run(seed, isolation, sabotage) {
            assert!(violation.contains(expected), "seed {seed} found something else: {violation}");
            return;
        }
    }
    panic!("{sabotage:?} was not noticed under {isolation:?} in {SEEDS_MAX} runs");
}

#[test]
fn missing_validation_is_caught() {
    let rules = Mutations { skip_validation: true, ..Default::default() };
    must_be_caught(Isolation::Serializable, Sabotage { rules, ..Default::default() }, "not serializable");
}

#[test]
fn missing_base_checks_are_caught() {
    let sabotage = Sabotage { blind_writes: true, ..Default::default() };
    must_be_caught(Isolation::ReadCommitted, sabotage, "lost update");
    must_be_caught(Isolation::RepeatableRead, sabotage, "lost update");
}

#[test]
fn dirty_reads_are_caught() {
    let rules = Mutations { read_pending_locks: true, ..Default::default() };
    must_be_caught(Isolation::ReadCommitted, Sabotage { rules, ..Default::default() }, "read");
}

#[test]
fn fractured_reads_are_caught() {
    let rules = Mutations { ignore_committed_locks: true, ..Default::default() };
    must_be_caught(Isolation::RepeatableRead, Sabotage { rules, ..Default::default() }, "read");
}

#[test]
fn snapshots_beyond_the_watermark_are_caught() {
    let rules = Mutations { snapshot_beyond_watermark: true, ignore_reads: true, ..Default::default() };
    must_be_caught(Isolation::RepeatableRead, Sabotage { rules, ..Default::default() }, "read");
}

#[test]
fn early_acknowledgements_are_caught() {
    let sabotage = Sabotage { early_acknowledgement: true, ..Default::default() };
    must_be_caught(Isolation::ReadCommitted, sabotage, "acknowledged");
}

#[test]
fn commits_by_half_are_caught() {
    let sabotage = Sabotage { lost_write: true, ..Default::default() };
    must_be_caught(Isolation::ReadCommitted, sabotage, "half or twice applied");
}

#[test]
fn acknowledged_commits_that_are_not_there_are_caught() {
    let sabotage = Sabotage { answer_before_apply: true, ..Default::default() };
    must_be_caught(Isolation::RepeatableRead, sabotage, "an acknowledged commit is lost");
}
