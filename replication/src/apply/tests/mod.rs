mod directed;
mod grouping;
mod model;
mod random;
mod snapshots;
mod voids;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::api::{Key, ShardId, Span, Timestamp, TxnId, Value};
use crate::apply::StateMachine;
use crate::command::{Check, Command, CommandResult, Op, Write};
use crate::engine::{Engine, MemoryEngine, RocksEngine, RocksOptions};
use crate::target::{ApplyTarget, LogPosition};

pub(super) const FIRST: ShardId = ShardId(1);

/// A key of the data: `table` gives the prefix of the statistics.
pub(super) fn key(table: u8, row: u8) -> Key {
    Bytes::from(vec![2, 0, 0, 0, 1, 0, 0, 0, table, 0, 0, 0, 1, row])
}

pub(super) fn value(text: &str) -> Value {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn everything() -> Span {
    Span::new(&[2][..], &[3][..])
}

pub(super) fn ts(at: u64) -> Timestamp {
    Timestamp(at)
}

pub(super) fn position(index: u64) -> LogPosition {
    LogPosition { term: 1, leader: 0, index }
}

/// An engine that can be brought to the state after a crash.
pub(super) enum TestEngine {
    Memory(Arc<MemoryEngine>),
    /// The directory lives as long as the engine.
    Rocks {
        engine: Arc<RocksEngine>,
        _dir: tempfile::TempDir,
    },
}

impl TestEngine {
    pub(super) fn memory() -> TestEngine {
        TestEngine::Memory(Arc::new(MemoryEngine::new()))
    }

    pub(super) fn rocks() -> TestEngine {
        TestEngine::rocks_in(tempfile::tempdir().unwrap())
    }

    fn rocks_in(dir: tempfile::TempDir) -> TestEngine {
        let options = RocksOptions { cache_bytes: 1 << 20, memtable_bytes: 1 << 20 };
        let engine = Arc::new(RocksEngine::open(dir.path(), options).unwrap());
        TestEngine::Rocks { engine, _dir: dir }
    }

    pub(super) fn engine(&self) -> Arc<dyn Engine> {
        match self {
            TestEngine::Memory(engine) => engine.clone(),
            TestEngine::Rocks { engine, .. } => engine.clone(),
        }
    }

    pub(super) fn after_crash(&self) -> TestEngine {
        match self {
            TestEngine::Memory(engine) => TestEngine::Memory(Arc::new(engine.after_crash())),
            TestEngine::Rocks { engine, .. } => {
                let dir = tempfile::tempdir().unwrap();
                engine.copy_files(dir.path());
                TestEngine::rocks_in(dir)
            }
        }
    }
}

pub(super) fn reopen_rocks(dir: &Path) -> StateMachine {
    let engine = RocksEngine::open(dir, RocksOptions { cache_bytes: 1 << 20, memtable_bytes: 1 << 20 }).unwrap();
    StateMachine::open(Arc::new(engine)).unwrap()
}

/// One shard on an empty engine, with a log that counts up.
pub(super) struct Single {
    pub(super) machine: StateMachine,
    next: u64,
}

impl Single {
    pub(super) fn new() -> Single {
        let machine = StateMachine::open(Arc::new(MemoryEngine::new())).unwrap();
        machine.create_shard(FIRST, everything()).unwrap();
        Single { machine, next: 1 }
    }

    pub(super) fn run_in(&mut self, shard: ShardId, epoch: u64, commands: &[Command]) -> Vec<CommandResult> {
        let entries: Vec<_> = commands
            .iter()
            .map(|command| {
                self.next += 1;
                (position(self.next), command.encode(epoch))
            })
            .collect();
        let answers = self.machine.apply(shard, &entries, None).unwrap();
        answers.iter().map(|answer| CommandResult::decode(answer).unwrap()).collect()
    }

    pub(super) fn run(&mut self, command: Command) -> CommandResult {
        self.run_in(FIRST, 1, &[command]).remove(0)
    }

    pub(super) fn get(&self, key: &Key, at: u64) -> Option<Value> {
        self.machine.read(key, ts(at), |value| value.map(Bytes::copy_from_slice)).unwrap()
    }

    pub(super) fn assert_sound(&self) {
        assert_eq!(crate::check::check_store(&self.machine).unwrap().findings, []);
    }
}

pub(super) fn put(key: &Key, text: &str, base: u64) -> Write {
    Write { key: key.clone(), op: Op::Put(value(text)), base: ts(base) }
}

pub(super) fn delete(key: &Key, base: u64) -> Write {
    Write { key: key.clone(), op: Op::Delete, base: ts(base) }
}

pub(super) fn commit(txn: u128, at: u64, writes: Vec<Write>, checks: Vec<Check>) -> Command {
    Command::Commit { txn: TxnId(txn), start_ts: ts(at - 1), commit_ts: ts(at), writes, checks }
}
