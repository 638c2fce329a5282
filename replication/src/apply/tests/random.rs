//! Random commands, flushes, compactions and crashes, against the model, on both engines. After a crash the
//! log is applied again from where the engine stands, in other groups than before, and must be answered the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::{Model, ModelShard};
use super::*;
use crate::api::Direction;
use crate::command::TxnStatus;
use crate::engine::Family;

const TABLES: u8 = 3;
const ROWS: u8 = 6;
/// Distance of two drawn timestamps, so that moments between them exist.
const TICK: u64 = 10;

#[derive(Clone, Debug)]
enum Step {
    /// Rows of the writes, put or delete, how many ticks the base is behind, and checks.
    Commit {
        writes: Vec<(u8, u8, bool)>,
        behind: u64,
        check: u8,
    },
    Prewrite {
        writes: Vec<(u8, u8, bool)>,
        behind: u64,
    },
    /// Decides the oldest open transaction.
    Decide {
        commit: bool,
    },
    Drop {
        table: u8,
        from: u8,
    },
    Gc {
        behind: u64,
    },
    Split {
        table: u8,
        row: u8,
    },
    /// Applies the entries that wait, in groups of this size.
    Apply {
        group: usize,
    },
    Flush,
    /// A compaction may come at any moment; what it may drop changes with a flush only.
    Compact {
        flush: bool,
    },
    Crash {
        group: usize,
    },
    Read {
        behind: u64,
        from: u8,
        to: u8,
        chunk: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let writes = || prop::collection::vec((0..TABLES, 0..ROWS, prop::bool::weighted(0.7)), 1..5);
    prop_oneof![
        8 => (writes(), 0u64..4, 0u8..6).prop_map(|(writes, behind, check)| Step::Commit { writes, behind, check }),
        2 => (writes(), 0u64..3).prop_map(|(writes, behind)| Step::Prewrite { writes, behind }),
        2 => any::<bool>().prop_map(|commit| Step::Decide { commit }),
        1 => (0..TABLES, 0..ROWS).prop_map(|(table, from)| Step::Drop { table, from }),
        2 => (0u64..8).prop_map(|behind| Step::Gc { behind }),
        1 => (0..TABLES, 0..ROWS).prop_map(|(table, row)| Step::Split { table, row }),
        3 => (1usize..5).prop_map(|group| Step::Apply { group }),
        1 => Just(Step::Flush),
        2 => any::<bool>().prop_map(|flush| Step::Compact { flush }),
        1 => (1usize..5).prop_map(|group| Step::Crash { group }),
        4 => (0u64..10, 0..TABLES * ROWS, 0..TABLES * ROWS, 1usize..8)
            .prop_map(|(behind, from, to, chunk)| Step::Read { behind, from, to, chunk }),
    ]
}

/// An open transaction over several shards.
struct Open {
    txn: TxnId,
    primary: Key,
    keys: Vec<Key>,
}

struct World {
    engine: TestEngine,
    machine: StateMachine,
    model: Model,
    /// All commands of each shard and the model's answers.
    logs: BTreeMap<ShardId, Vec<(Bytes, CommandResult)>>,
    now: u64,
    txns: u128,
    open: Vec<Open>,
}

impl World {
    fn new(engine: TestEngine) -> World {
        let machine = StateMachine::open(engine.engine()).unwrap();
        machine.create_shard(FIRST, everything()).unwrap();
        let first = ModelShard { id: FIRST, span: everything(), epoch: 1, threshold: Timestamp::ZERO };
        let model = Model { shards: vec![first], ..Model::default() };
        World { engine, machine, model, logs: BTreeMap::new(), now: 1000, txns: 0, open: Vec::new() }
    }

    fn tick(&mut self) -> Timestamp {
        self.now += TICK;
        Timestamp(self.now)
    }

    fn txn(&mut self) -> TxnId {
        self.txns += 1;
        TxnId(self.txns)
    }

    fn log(&mut self, shard: ShardId, epoch: u64, command: &Command, answer: CommandResult) {
        self.logs.entry(shard).or_default().push((command.encode(epoch), answer));
    }

    /// Writes in the order of their keys, the ones on a key twice left out.
    fn writes(&self, rows: &[(u8, u8, bool)], behind: u64) -> Vec<Write> {
        let base = Timestamp(self.now - behind * TICK);
        let mut writes: BTreeMap<Key, Write> = BTreeMap::new();
        for (table, row, is_put) in rows {
            let key = key(*table, *row);
            let text = format!("{}-{}", self.txns, "x".repeat(usize::from(*row)));
            let op = if *is_put { Op::Put(value(&text)) } else { Op::Delete };
            writes.insert(key.clone(), Write { key, op, base });
        }
        writes.into_values().collect()
    }

    /// The epoch and id of the shard of the first write, and the writes that lie in it.
    fn in_first_shard(&self, writes: Vec<Write>) -> (ModelShard, Vec<Write>) {
        let shard = self.model.shard(&writes[0].key).clone();
        let inside = writes.into_iter().filter(|write| shard.span.contains(&write.key)).collect();
        (shard, inside)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit { writes, behind, check } => self.commit(&writes, behind, check),
            Step::Prewrite { writes, behind } => self.prewrite(&writes, behind),
            Step::Decide { commit } => self.decide(commit),
            Step::Drop { table, from } => {
                let shard = self.model.shard(&key(table, from)).clone();
                let span = Span::new(key(table, from), key(table, ROWS)).intersection(&shard.span);
                // A transaction whose primary is dropped with its lock could not be decided any more.
                if self.open.is_empty() {
                    self.model.drop_span(&span);
                    let command = Command::DeleteRange { span, dropped_at: Timestamp(self.now), force: true };
                    self.log(shard.id, shard.epoch, &command, CommandResult::Done);
                }
            }
            Step::Gc { behind } => {
                let threshold = Timestamp(self.now - behind * TICK);
                for shard in self.model.shards.clone() {
                    // As the proposer has to: below every lock of all shards.
                    let oldest = self.model.locks.values().map(|lock| lock.start_ts.0 - 1).min();
                    let threshold = Timestamp(threshold.0.min(oldest.unwrap_or(u64::MAX)));
                    let now = self.model.advance_gc(shard.id, threshold);
                    self.log(
                        shard.id,
                        shard.epoch,
                        &Command::AdvanceGc { threshold },
                        CommandResult::Moment { ts: now },
                    );
                }
            }
            Step::Split { table, row } => self.split(key(table, row)),
            Step::Apply { group } => self.apply(group),
            Step::Flush => self.machine.flush().unwrap(),
            Step::Compact { flush } => {
                if flush {
                    self.machine.flush().unwrap();
                }
                for family in [Family::Latest, Family::History, Family::Txns] {
                    self.machine.engine().compact(family, &[2], &[3]);
                }
            }
            Step::Crash { group } => {
                self.engine = self.engine.after_crash();
                self.machine = StateMachine::open(self.engine.engine()).unwrap();
                assert_eq!(crate::check::check_store(&self.machine).unwrap().findings, []);
                self.apply(group);
            }
            Step::Read { behind, from, to, chunk } => self.read(behind, from, to, chunk),
        }
    }

    fn commit(&mut self, rows: &[(u8, u8, bool)], behind: u64, check: u8) {
        let txn = self.txn();
        let writes = self.writes(rows, behind);
        let base = writes[0].base;
        let (shard, writes) = self.in_first_shard(writes);
        let other = key(check % TABLES, check);
        let checks = match check {
            0 | 1 if shard.span.contains(&other) => vec![Check::KeyExists { key: other }],
            2 if shard.span.contains(&other) => vec![Check::SpanUnchanged { span: Span::key(&other), base }],
            3 => vec![Check::SpanUnchanged { span: shard.span.clone(), base }],
            4 => {
                let span = Span::new(key(0, 2), key(1, 3)).intersection(&shard.span);
                if span.is_empty() { vec![] } else { vec![Check::SpanUnchanged { span, base }] }
            }
            _ => vec![],
        };
        let start_ts = Timestamp(self.now);
        let commit_ts = self.tick();
        let answer = self.model.commit(txn, commit_ts, &writes, &checks);
        let command = Command::Commit { txn, start_ts, commit_ts, writes, checks };
        self.log(shard.id, shard.epoch, &command, answer.clone());
        if matches!(answer, CommandResult::Committed { .. }) && self.txns.is_multiple_of(4) {
            self.log(shard.id, shard.epoch, &command, answer);
        }
    }

    fn prewrite(&mut self, rows: &[(u8, u8, bool)], behind: u64) {
        let txn = self.txn();
        let mut rest = self.writes(rows, behind);
        let start_ts = self.tick();
        let primary = rest[0].key.clone();
        let mut keys = Vec::new();
        while !rest.is_empty() {
            let (shard, writes) = self.in_first_shard(rest.clone());
            rest.retain(|write| !shard.span.contains(&write.key));
            let answer = self.model.prewrite(txn, start_ts, &primary, &writes);
            let ok = answer == CommandResult::Done;
            let locked: Vec<Key> = writes.iter().map(|write| write.key.clone()).collect();
            let command = Command::Prewrite { txn, start_ts, primary: primary.clone(), writes, checks: vec![] };
            self.log(shard.id, shard.epoch, &command, answer);
            if !ok {
                self.open.insert(0, Open { txn, primary, keys });
                return self.decide(false);
            }
            keys.extend(locked);
        }
        self.open.push(Open { txn, primary, keys });
    }

    fn decide(&mut self, commit: bool) {
        if self.open.is_empty() {
            return;
        }
        let Open { txn, primary, keys } = self.open.remove(0);
        let at = self.tick();
        let home = self.model.shard(&primary).clone();
        let status = if commit { TxnStatus::Committed(at) } else { TxnStatus::Aborted(at) };
        let (command, answer) = if commit {
            let command = Command::CommitPrimary { txn, commit_ts: at, primary: primary.clone() };
            (command, CommandResult::Committed { commit_ts: at })
        } else {
            (Command::Abort { txn, now: at, primary: primary.clone() }, CommandResult::Aborted)
        };
        self.log(home.id, home.epoch, &command, answer);
        for shard in self.model.shards.clone() {
            let keys: Vec<Key> = keys.iter().filter(|key| shard.span.contains(key)).cloned().collect();
            self.log(shard.id, shard.epoch, &Command::Resolve { txn, status, keys }, CommandResult::Done);
        }
        self.model.resolve(txn, status, &keys);
    }

    fn split(&mut self, at: Key) {
        let shard = self.model.shard(&at).clone();
        if at == shard.span.start || self.model.shards.len() > 3 {
            return;
        }
        let new = ShardId(10 + self.model.shards.len() as u64);
        self.log(shard.id, shard.epoch, &Command::Split { at: at.clone(), new_shard: new }, CommandResult::Done);
        // The child's log begins at the place of the split in its parent's.
        let before = self.logs[&shard.id].clone();
        self.logs.insert(new, before);
        for known in &mut self.model.shards {
            if known.id == shard.id {
                known.span.end = at.clone();
                known.epoch += 1;
            }
        }
        let span = Span { start: at, end: shard.span.end };
        self.model.shards.push(ModelShard { id: new, span, epoch: shard.epoch + 1, threshold: shard.threshold });
    }

    /// Applies what is not applied yet. A shard may appear while its parent's log is applied.
    fn apply(&mut self, group: usize) {
        let mut progress = true;
        while progress {
            progress = false;
            for shard in self.machine.shard_ids() {
                let applied = self.machine.applied(shard).unwrap().map_or(0, |applied| applied.index as usize);
                let log = self.logs.get(&shard).map_or(&[][..], Vec::as_slice);
                for (chunk_at, chunk) in log[applied..].chunks(group).enumerate() {
                    let first = applied + chunk_at * group + 1;
                    let entries: Vec<_> = chunk
                        .iter()
                        .enumerate()
                        .map(|(at, (bytes, _))| (position((first + at) as u64), bytes.clone()))
                        .collect();
                    let answers = self.machine.apply(shard, &entries, None).unwrap();
                    for (answer, (bytes, expected)) in answers.iter().zip(chunk) {
                        let answer = CommandResult::decode(answer).unwrap();
                        assert_eq!(&answer, expected, "shard {shard}: {:?}", Command::decode(bytes));
                    }
                    progress = true;
                }
            }
        }
        for table in 0..TABLES {
            let prefix = &key(table, 0)[..13];
            assert_eq!(self.machine.statistics(prefix), self.model.statistics(prefix), "table {table}");
        }
        assert_eq!(self.machine.locks().len(), self.model.locks.len());
    }

    fn read(&mut self, behind: u64, from: u8, to: u8, chunk: usize) {
        self.apply(3);
        let at = Timestamp((self.now - behind * TICK / 2).max(self.machine.read_floor().0));
        for row in 0..TABLES * ROWS {
            let key = key(row / ROWS, row % ROWS);
            let read = self.machine.read(&key, at, |value| value.map(Bytes::copy_from_slice)).unwrap();
            assert_eq!(read, self.model.read(&key, at), "key {row} at {at}");
        }
        let span = Span::new(key(from / ROWS, from % ROWS), key(to / ROWS, to % ROWS));
        let mut expected = self.model.scan(&span, at);
        assert_eq!(self.scan(&span, Direction::Forward, at, chunk), expected, "forward at {at}");
        expected.reverse();
        assert_eq!(self.scan(&span, Direction::Backward, at, chunk), expected, "backward at {at}");
    }

    fn scan(&self, span: &Span, direction: Direction, at: Timestamp, chunk: usize) -> Vec<(Key, Value)> {
        let mut scan = self.machine.scan(span.clone(), direction, at).unwrap();
        let mut rows = Vec::new();
        loop {
            let before = rows.len();
            let mut visit = |key: &[u8], value: &[u8]| {
                rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            };
            let more = self.machine.scan_on(&mut scan, chunk, 1 << 20, &mut visit).unwrap();
            assert!(rows.len() - before <= chunk);
            if !more {
                return rows;
            }
        }
    }

    fn finish(mut self) {
        self.read(0, 0, TABLES * ROWS - 1, 3);
        self.read(6, 2, TABLES * ROWS - 2, 2);
        assert_eq!(crate::check::check_store(&self.machine).unwrap().findings, []);
    }
}

fn run(engine: TestEngine, steps: Vec<Step>) {
    let mut world = World::new(engine);
    for step in steps {
        world.step(step);
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_machine_in_memory_follows_the_model(steps in prop::collection::vec(step(), 1..80)) {
        run(TestEngine::memory(), steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_machine_on_disk_follows_the_model(steps in prop::collection::vec(step(), 40..100)) {
        run(TestEngine::rocks(), steps);
    }
}
