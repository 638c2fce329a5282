//! Exports, imports, and what a crash leaves.

use super::*;
use crate::api::ShardDescriptor;
use crate::engine::{Batch, Family};
use crate::error::Error;

fn filled() -> Single {
    let mut single = Single::new();
    let writes = |base| (0..20).map(|row| put(&key(1, row), "some value", base)).collect::<Vec<_>>();
    single.run(commit(1, 10, writes(0), vec![]));
    single.run(commit(2, 20, writes(10), vec![]));
    single.run(Command::Prewrite {
        txn: TxnId(3),
        start_ts: ts(30),
        primary: key(1, 5),
        writes: vec![put(&key(1, 5), "locked", 20)],
        checks: vec![],
    });
    single.run(Command::ReserveIds { name: "oid".to_owned(), count: 7 });
    single.machine.apply(FIRST, &[], Some(value("members"))).unwrap();
    single
}

fn export(machine: &StateMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.export(FIRST, &mut bytes).unwrap();
    bytes
}

#[test]
fn an_import_equals_its_export() {
    let source = filled();
    let bytes = export(&source.machine);
    let target = StateMachine::open(Arc::new(MemoryEngine::new())).unwrap();
    let applied = target.import(FIRST, &mut bytes.as_slice()).unwrap();
    assert_eq!(applied, source.machine.applied(FIRST).unwrap());
    assert_eq!(target.flushed(FIRST).unwrap(), applied);
    assert_eq!(export(&target), bytes);
    assert_eq!(target.locks().len(), 1);
    assert_eq!(target.membership(FIRST).unwrap(), Some(value("members")));
    assert_eq!(crate::check::check_store(&target).unwrap().findings, []);
    // Once more, over what is there.
    target.import(FIRST, &mut bytes.as_slice()).unwrap();
    assert_eq!(export(&target), bytes);
}

#[test]
fn a_damaged_export_leaves_an_empty_shard() {
    let bytes = export(&filled().machine);
    for at in [3, 12, 40, bytes.len() - 20, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let target = StateMachine::open(Arc::new(MemoryEngine::new())).unwrap();
        assert!(target.import(FIRST, &mut damaged.as_slice()).is_err(), "byte {at}");
        assert!(target.shard_ids().is_empty());
        assert!(matches!(target.applied(FIRST), Err(Error::UnknownShard { .. })));
        assert_eq!(crate::check::check_store(&target).unwrap().rows, 0);
    }
    let target = StateMachine::open(Arc::new(MemoryEngine::new())).unwrap();
    assert!(target.import(FIRST, &mut &bytes[..bytes.len() / 2]).is_err());
    assert!(target.import(FIRST, &mut bytes.as_slice()).is_ok());
}

#[test]
fn an_import_that_a_crash_ended_is_removed() {
    let engine = TestEngine::memory();
    let machine = StateMachine::open(engine.engine()).unwrap();
    machine.import(FIRST, &mut export(&filled().machine).as_slice()).unwrap();
    let mut mark = Batch::new();
    let mut span = Vec::new();
    crate::apply::meta::encode_span(&mut span, &everything());
    mark.put(Family::Meta, &crate::apply::shard_key(crate::apply::kind::IMPORTING, FIRST), &span);
    machine.engine().write(&mark).unwrap();
    machine.flush().unwrap();
    let reopened = StateMachine::open(engine.after_crash().engine()).unwrap();
    assert!(reopened.shard_ids().is_empty());
    assert_eq!(crate::check::check_store(&reopened).unwrap().rows, 0);
    assert!(reopened.locks().is_empty());
}

/// A crash goes back to the last flush, in all families together; a clean end loses nothing.
#[test]
fn a_crash_goes_back_to_the_last_flush_as_a_whole() {
    let engine = TestEngine::rocks();
    let machine = StateMachine::open(engine.engine()).unwrap();
    machine.create_shard(FIRST, everything()).unwrap();
    let apply = |index: u64| {
        let writes = vec![put(&key(1, 1), &format!("value {index}"), index * 10 - 10)];
        let entry = commit(u128::from(index), index * 10, writes, vec![]).encode(1);
        machine.apply(FIRST, &[(position(index), entry)], None).unwrap();
    };
    (1..=5).for_each(apply);
    machine.flush().unwrap();
    (6..=9).for_each(apply);
    assert_eq!(machine.flushed(FIRST).unwrap(), Some(position(5)));
    assert_eq!(machine.applied(FIRST).unwrap(), Some(position(9)));

    let crashed = engine.after_crash();
    let crashed = StateMachine::open(crashed.engine()).unwrap();
    assert_eq!(crashed.applied(FIRST).unwrap(), Some(position(5)));
    let newest = crashed.read_latest(&key(1, 1), |version| version.map(|version| version.ts)).unwrap();
    assert_eq!(newest, Some(ts(50)));
    let report = crate::check::check_store(&crashed).unwrap();
    assert_eq!((report.rows, report.versions, report.statuses, report.findings), (1, 4, 5, vec![]));
}

#[test]
fn a_second_open_of_a_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = reopen_rocks(dir.path());
    let options = RocksOptions { cache_bytes: 1 << 20, memtable_bytes: 1 << 20 };
    assert!(matches!(RocksEngine::open(dir.path(), options), Err(Error::AlreadyRunning { .. })));
    first.create_shard(FIRST, everything()).unwrap();
    drop(first);
    let again = reopen_rocks(dir.path());
    let descriptor = ShardDescriptor { shard: FIRST, span: everything(), epoch: 1, parent: None };
    assert_eq!(again.shard_map().all(), [descriptor]);
}

#[test]
fn a_newer_format_is_refused() {
    let engine = Arc::new(MemoryEngine::new());
    StateMachine::open(engine.clone()).unwrap();
    let mut batch = Batch::new();
    batch.put(Family::Meta, b"v", &99u32.to_be_bytes());
    engine.write(&batch).unwrap();
    let error = StateMachine::open(engine).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 99, supported: 1 }));
}

/// The whole of a small store, frozen: every family, as it stands on disk.
#[test]
fn golden_store() {
    let mut single = Single::new();
    let k = Bytes::from_static(&[2, 7]);
    single.run(commit(1, 0x10, vec![put(&k, "a", 0)], vec![]));
    single.run(commit(2, 0x20, vec![delete(&k, 0x10)], vec![]));
    single.run(Command::Prewrite {
        txn: TxnId(3),
        start_ts: ts(0x21),
        primary: k.clone(),
        writes: vec![put(&k, "b", 0x20)],
        checks: vec![],
    });
    let mut dump = String::new();
    for family in Family::ALL {
        let mut cursor = single.machine.engine().cursor(family, &[], None).unwrap();
        cursor.seek_first().unwrap();
        while let Some((key, value)) = cursor.item() {
            dump += &format!("{} {} {}\n", family.name(), crate::mvcc::hex(key), crate::mvcc::hex(value));
            cursor.next().unwrap();
        }
    }
    let expected = [
        "latest 0207 000000000000002000",
        "history 0207ffffffffffffffef 00000000000000200161",
        "locks 0207 00000000000000000000000000000003000000000000002101020207\
         62",
        "txns 020700000000000000000000000000000001 010000000000000010",
        "txns 020700000000000000000000000000000002 010000000000000020",
        "meta 610000000000000001 000000000000000100000000000000000000000000000004",
        "meta 640000000000000001 000000000000000100000000000000000001020103",
        "meta 7300000000000000010207 000000000000000000000000000000000000000000000020",
        "meta 76 00000001",
    ];
    assert_eq!(dump.lines().collect::<Vec<_>>(), expected);
}
