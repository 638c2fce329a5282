mod constraints;
mod disk;
mod ending;
mod groups;
mod loading;
mod unresolved;
mod watch;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::api::{Direction, LockMode, LockOutcome, Span, WaitPolicy};
use crate::apply::StateMachine;
use crate::engine::MemoryEngine;
use crate::store::data::DirectProposer;

const WAIT: WaitPolicy = WaitPolicy::Wait { timeout: Some(Duration::from_secs(20)) };

fn options() -> StoreOptions {
    StoreOptions::new("/nowhere")
}

async fn store_over(engine: Arc<MemoryEngine>, options: StoreOptions) -> Store {
    let machine = Arc::new(StateMachine::open(engine).unwrap());
    open::bootstrap(&machine).unwrap();
    let proposer = Arc::new(DirectProposer::new(machine.clone()));
    let store = Store::assemble(options, machine, proposer).await.unwrap();
    store.create_shard_for(Span::new(&[0x02_u8][..], &[0x03_u8][..])).await.unwrap();
    store
}

async fn store() -> Store {
    store_over(Arc::new(MemoryEngine::new()), options()).await
}

fn key(name: &str) -> Key {
    // One length for all: no key is a prefix of another.
    Bytes::from(format!("\u{2}{name:_<12}"))
}

fn value(number: u64) -> Value {
    Bytes::from(number.to_string())
}

fn number(value: Option<Value>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

async fn put(store: &Store, pairs: &[(&str, u64)]) -> Timestamp {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    for (name, new) in pairs {
        transaction.put(key(name), value(*new)).unwrap();
    }
    transaction.commit().await.unwrap().timestamp
}

async fn get(store: &Store, name: &str) -> u64 {
    number(store.view_at(store.snapshot().await).get(&key(name)).unwrap())
}

fn names(cursor: &mut ScanCursor, rows: usize) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let before = found.len();
        let more = cursor
            .next_chunk(rows, 1 << 20, &mut |key, _| {
                found.push(String::from_utf8_lossy(&key[1..]).trim_end_matches('_').to_owned());
            })
            .unwrap();
        assert!(found.len() - before <= rows);
        if !more {
            return found;
        }
    }
}

/// Runs until it commits.
async fn increment(store: &Store, isolation: Isolation, name: &str) {
    loop {
        let mut transaction = store.begin(isolation, false);
        transaction.begin_statement().unwrap();
        let key = key(name);
        let current = match transaction.lock(&key, LockMode::NoKeyUpdate, WAIT).await {
            Ok(LockOutcome::Granted { current, .. }) => current,
            Ok(LockOutcome::Skipped) => panic!("nobody asked to skip"),
            Err(Error::WriteConflict { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        transaction.put(key, value(number(current) + 1)).unwrap();
        transaction.finish_statement(true);
        match transaction.commit().await {
            Ok(_) => return,
            Err(Error::WriteConflict { .. } | Error::SerializationFailure) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_commit_is_seen_by_the_next_snapshot_and_by_none_before() {
    let store = store().await;
    let before = store.view_at(store.snapshot().await);
    put(&store, &[("a", 1)]).await;
    assert_eq!(get(&store, "a").await, 1);
    assert_eq!(before.get(&key("a")).unwrap(), None);
    put(&store, &[("a", 2)]).await;
    assert_eq!(get(&store, "a").await, 2);
}

#[tokio::test]
async fn a_statement_sees_the_writes_of_those_before_and_not_its_own() {
    let store = store().await;
    put(&store, &[("a", 1), ("c", 3), ("e", 5)]).await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    transaction.put(key("b"), value(2)).unwrap();
    transaction.delete(key("c")).unwrap();
    assert_eq!(transaction.view().get(&key("b")).unwrap(), None);
    assert_eq!(transaction.get(&key("b")).unwrap(), Some(value(2)));
    transaction.finish_statement(true);
    transaction.begin_statement().unwrap();
    transaction.put(key("d"), value(4)).unwrap();
    let view = transaction.view();
    let everything = Span::prefix(&[2]);
    for rows in [1, 2, 100] {
        assert_eq!(names(&mut view.scan(everything.clone(), Direction::Forward), rows), ["a", "b", "e"]);
        assert_eq!(names(&mut view.scan(everything.clone(), Direction::Backward), rows), ["e", "b", "a"]);
    }
    let part = Span { start: key("b"), end: key("e") };
    assert_eq!(names(&mut view.scan(part, Direction::Forward), 10), ["b"]);
    transaction.rollback().await;
    assert_eq!(
        names(&mut store.view_at(store.snapshot().await).scan(everything, Direction::Forward), 10),
        ["a", "c", "e"]
    );
}

#[tokio::test]
async fn savepoints_undo_writes_and_locks() {
    let store = store().await;
    put(&store, &[("a", 1)]).await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    transaction.put(key("b"), value(2)).unwrap();
    transaction.finish_statement(true);
    let savepoint = transaction.savepoint();
    transaction.begin_statement().unwrap();
    transaction.lock(&key("a"), LockMode::Update, WAIT).await.unwrap();
    transaction.put(key("a"), value(9)).unwrap();
    transaction.finish_statement(true);
    let mut other = store.begin(Isolation::ReadCommitted, false);
    other.begin_statement().unwrap();
    let refused = other.lock(&key("a"), LockMode::Update, WaitPolicy::NoWait).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable)));
    let skipped = other.lock(&key("a"), LockMode::KeyShare, WaitPolicy::SkipLocked).await;
    assert_eq!(skipped.unwrap(), LockOutcome::Skipped);
    transaction.rollback_to(savepoint);
    other.lock(&key("a"), LockMode::Update, WaitPolicy::NoWait).await.unwrap();
    drop(other);
    transaction.commit().await.unwrap();
    assert_eq!((get(&store, "a").await, get(&store, "b").await), (1, 2));
    assert_eq!(store.metrics_snapshot().row_locks, 0);
}

#[tokio::test]
async fn repeatable_read_refuses_to_write_what_has_changed() {
    let store = store().await;
    put(&store, &[("a", 1)]).await;
    let mut transaction = store.begin(Isolation::RepeatableRead, false);
    transaction.begin_statement().unwrap();
    assert_eq!(number(transaction.get(&key("a")).unwrap()), 1);
    put(&store, &[("a", 2)]).await;
    transaction.begin_statement().unwrap();
    assert_eq!(number(transaction.get(&key("a")).unwrap()), 1);
    let locked = transaction.lock(&key("a"), LockMode::Update, WAIT).await;
    assert!(matches!(locked, Err(Error::WriteConflict { .. })));
    // Without the lock, the commit finds out.
    transaction.put(key("a"), value(7)).unwrap();
    assert!(matches!(transaction.commit().await, Err(Error::WriteConflict { .. })));
    assert_eq!(get(&store, "a").await, 2);
}

#[tokio::test]
async fn write_skew_is_refused_under_serializable_only() {
    for (isolation, both) in [(Isolation::RepeatableRead, true), (Isolation::Serializable, false)] {
        for split in [false, true] {
            let store = store().await;
            put(&store, &[("a", 1), ("b", 1)]).await;
            if split {
                store.split_at(key("b")).await.unwrap();
            }
            let mut one = store.begin(isolation, false);
            let mut two = store.begin(isolation, false);
            one.begin_statement().unwrap();
            two.begin_statement().unwrap();
            for transaction in [&one, &two] {
                let mut sum = 0;
                let view = transaction.view();
                let mut cursor = view.scan(Span::prefix(&[2]), Direction::Forward);
                while cursor.next_chunk(1, 1 << 20, &mut |_, _| sum += 1).unwrap() {}
                assert_eq!(sum, 2);
            }
            one.put(key("a"), value(0)).unwrap();
            two.put(key("b"), value(0)).unwrap();
            let first = one.commit().await;
            assert!(first.is_ok(), "{isolation:?}, split: {split}, {first:?}");
            let second = two.commit().await;
            assert_eq!(second.is_ok(), both, "{isolation:?}, split: {split}, {second:?}");
            if !both {
                assert!(matches!(second, Err(Error::SerializationFailure)));
            }
        }
    }
}

#[tokio::test]
async fn a_phantom_is_refused_under_serializable() {
    let store = store().await;
    let mut one = store.begin(Isolation::Serializable, false);
    one.begin_statement().unwrap();
    let view = one.view();
    assert!(!view.scan(Span::prefix(&[2]), Direction::Backward).next_chunk(10, 100, &mut |_, _| ()).unwrap());
    put(&store, &[("m", 1)]).await;
    one.put(key("z"), value(1)).unwrap();
    assert!(matches!(one.commit().await, Err(Error::SerializationFailure)));
}

#[tokio::test]
async fn transactions_over_several_shards_are_atomic() {
    let store = store().await;
    let boundary = store.split_at(key("m")).await.unwrap();
    assert_eq!(store.split_at(key("m")).await.unwrap(), boundary);
    assert_eq!(store.shards().len(), 3);
    let info = {
        let mut transaction = store.begin(Isolation::ReadCommitted, false);
        transaction.begin_statement().unwrap();
        transaction.put(key("a"), value(1)).unwrap();
        transaction.put(key("z"), value(2)).unwrap();
        transaction.commit().await.unwrap()
    };
    assert_eq!(info.shards, 2);
    assert_eq!((get(&store, "a").await, get(&store, "z").await), (1, 2));
    assert_eq!(store.view_at(Timestamp(info.timestamp.0 - 1)).get(&key("z")).unwrap(), None);
    // A conflict in one of them undoes both.
    let mut transaction = store.begin(Isolation::RepeatableRead, false);
    transaction.begin_statement().unwrap();
    transaction.put(key("a"), value(5)).unwrap();
    transaction.put(key("z"), value(5)).unwrap();
    put(&store, &[("z", 3)]).await;
    assert!(matches!(transaction.commit().await, Err(Error::WriteConflict { .. })));
    assert_eq!((get(&store, "a").await, get(&store, "z").await), (1, 3));
    // Whatever was locked is free again.
    put(&store, &[("a", 8), ("z", 8)]).await;
    assert_eq!((get(&store, "a").await, get(&store, "z").await), (8, 8));
}

#[tokio::test]
async fn a_transaction_larger_than_a_proposal_is_one_transaction() {
    let store = store().await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    let large = Bytes::from(vec![7_u8; 1 << 20]);
    for number in 0..20 {
        transaction.put(key(&format!("n{number:04}")), large.clone()).unwrap();
    }
    let timestamp = transaction.commit().await.unwrap().timestamp;
    let count = |at: Timestamp| {
        let mut rows = 0;
        let mut cursor = store.view_at(at).scan(Span::prefix(&[2]), Direction::Forward);
        while cursor.next_chunk(7, 1 << 22, &mut |_, _| rows += 1).unwrap() {}
        rows
    };
    assert_eq!((count(Timestamp(timestamp.0 - 1)), count(timestamp)), (0, 20));
}

#[tokio::test]
async fn limits_and_modes_are_errors() {
    let mut small = options();
    small.max_transaction_bytes = 1000;
    let store = store_over(Arc::new(MemoryEngine::new()), small).await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    let too_large = transaction.put(key("a"), Bytes::from(vec![0; 1000]));
    assert!(matches!(too_large, Err(Error::TransactionTooLarge { limit_bytes: 1000 })));
    let too_long = transaction.put(Bytes::from(vec![2; crate::KEY_BYTES_MAX + 1]), value(1));
    assert!(matches!(too_long, Err(Error::KeyTooLong { .. })));
    let mut read_only = store.begin(Isolation::Serializable, true);
    assert!(matches!(read_only.put(key("a"), value(1)), Err(Error::ReadOnlyTransaction)));
    let outside = put_raw(&store, Bytes::from_static(b"\x09outside")).await;
    assert!(matches!(outside, Err(Error::NoShardForKey { .. })));
}

async fn put_raw(store: &Store, key: Key) -> Result<()> {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.put(key, value(1))?;
    transaction.commit().await.map(drop)
}

#[tokio::test]
async fn checks_hold_at_the_commit() {
    for split in [false, true] {
        let store = store().await;
        put(&store, &[("parent", 1)]).await;
        if split {
            store.split_at(key("d")).await.unwrap();
        }
        let child = |number: u64| {
            let mut transaction = store.begin(Isolation::ReadCommitted, false);
            transaction.put(key(&format!("child{number}")), value(1)).unwrap();
            transaction.check_exists(key("parent"));
            transaction
        };
        child(1).commit().await.unwrap();
        let late = child(2);
        let mut delete = store.begin(Isolation::ReadCommitted, false);
        delete.delete(key("parent")).unwrap();
        delete.commit().await.unwrap();
        assert!(matches!(late.commit().await, Err(Error::SerializationFailure)), "split: {split}");
    }
}

#[tokio::test]
async fn ids_are_never_handed_out_twice_and_keys_can_be_watched() {
    let engine = Arc::new(MemoryEngine::new());
    let first = {
        let store = store_over(engine.clone(), options()).await;
        let mut watch = store.watch_key(key("catalog"));
        watch.mark_unchanged();
        put(&store, &[("other", 1)]).await;
        assert!(!watch.has_changed().unwrap());
        put(&store, &[("catalog", 1)]).await;
        assert!(watch.has_changed().unwrap());
        let told = *watch.borrow();
        put(&store, &[("catalog", 1)]).await;
        assert!(watch.borrow().count > told.count);
        let (one, two) = (store.allocate_ids("x", 3).await.unwrap(), store.allocate_ids("x", 1).await.unwrap());
        assert_eq!(one.end, two.start);
        two
    };
    let store = store_over(engine, options()).await;
    assert!(store.allocate_ids("x", 1).await.unwrap().start >= first.end);
    assert_eq!(get(&store, "catalog").await, 1);
}

#[tokio::test]
async fn dropped_ranges_are_freed() {
    let mut quick = options();
    quick.gc_window = Duration::from_millis(1);
    let store = store_over(Arc::new(MemoryEngine::new()), quick).await;
    store.split_at(key("n0500")).await.unwrap();
    let mut rows = store.begin(Isolation::ReadCommitted, false);
    for number in 0..1000 {
        rows.put(key(&format!("n{number:04}")), value(number)).unwrap();
    }
    rows.commit().await.unwrap();
    assert_eq!(get(&store, "n0777").await, 777);
    assert_eq!(store.statistics(&[2]).rows, 1000);
    let mut undone = store.begin(Isolation::ReadCommitted, false);
    undone.drop_span(&Span { start: key("n0000"), end: key("n0100") }).unwrap();
    undone.rollback().await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    for (start, end) in [("n0400", "n0500"), ("n0500", "n0600"), ("n0700", "n0700")] {
        transaction.drop_span(&Span { start: key(start), end: key(end) }).unwrap();
    }
    transaction.commit().await.unwrap();
    for _ in 0..200 {
        if store.statistics(&[2]).rows == 800 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.statistics(&[2]).rows, 800);
    assert_eq!(get(&store, "n0500").await, 0);
    assert_eq!(get(&store, "n0601").await, 601);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_increments_are_all_counted() {
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable] {
        let store = store().await;
        let mut tasks = Vec::new();
        for task in 0..8 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                for turn in 0..40 {
                    increment(&store, isolation, if (task + turn) % 3 == 0 { "a" } else { "b" }).await;
                }
            }));
        }
        let splitting = store.clone();
        let splits = tokio::spawn(async move {
            for at in ["b", "c", "am"] {
                tokio::time::sleep(Duration::from_millis(2)).await;
                splitting.split_at(key(at)).await.unwrap();
            }
        });
        for task in tasks {
            task.await.unwrap();
        }
        splits.await.unwrap();
        assert_eq!(get(&store, "a").await + get(&store, "b").await, 320, "{isolation:?}");
        assert_eq!(store.metrics_snapshot().open_commits, 0);
        assert_eq!(store.metrics_snapshot().row_locks, 0);
    }
}

/// Money moves between accounts of two shards while others add it all up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_never_sees_half_a_transfer() {
    let store = store().await;
    store.split_at(key("c")).await.unwrap();
    let accounts = ["a", "b", "c", "d"];
    put(&store, &accounts.map(|name| (name, 100))).await;
    let mut tasks = Vec::new();
    for task in 0..4_usize {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut moved = 0;
            for turn in 0..60_usize {
                let (from, to) = (accounts[(task + turn) % 4], accounts[(task + turn * 3 + 1) % 4]);
                if from == to {
                    continue;
                }
                let mut transaction = store.begin(Isolation::ReadCommitted, false);
                transaction.begin_statement().unwrap();
                let mut balances = Vec::new();
                for name in [from, to] {
                    match transaction.lock(&key(name), LockMode::NoKeyUpdate, WAIT).await {
                        Ok(LockOutcome::Granted { current, .. }) => balances.push(number(current)),
                        Err(Error::Deadlock { .. }) => break,
                        other => panic!("{other:?}"),
                    }
                }
                let [left, right] = balances[..] else { continue };
                if left == 0 {
                    continue;
                }
                transaction.put(key(from), value(left - 1)).unwrap();
                transaction.put(key(to), value(right + 1)).unwrap();
                transaction.commit().await.unwrap();
                moved += 1;
            }
            moved
        }));
    }
    let reading = store.clone();
    let reader = tokio::spawn(async move {
        for _ in 0..200 {
            let view = reading.view_at(reading.snapshot().await);
            let mut sum = 0;
            let mut cursor = view.scan(Span::prefix(&[2]), Direction::Forward);
            while cursor
                .next_chunk(1, 1 << 20, &mut |_, value| sum += number(Some(Value::copy_from_slice(value))))
                .unwrap()
            {}
            let single: u64 = accounts.iter().map(|name| number(view.get(&key(name)).unwrap())).sum();
            assert_eq!((sum, single), (400, 400));
            tokio::task::yield_now().await;
        }
    });
    let mut moved = 0;
    for task in tasks {
        moved += task.await.unwrap();
    }
    reader.await.unwrap();
    assert!(moved > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_has_one_victim() {
    let store = store().await;
    put(&store, &[("a", 1), ("b", 1)]).await;
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    let mut tasks = Vec::new();
    for (first, second) in [("a", "b"), ("b", "a")] {
        let (store, barrier) = (store.clone(), barrier.clone());
        tasks.push(tokio::spawn(async move {
            let mut transaction = store.begin(Isolation::ReadCommitted, false);
            transaction.begin_statement().unwrap();
            transaction.lock(&key(first), LockMode::Update, WAIT).await.unwrap();
            barrier.wait().await;
            let second = transaction.lock(&key(second), LockMode::Update, WAIT).await;
            matches!(second, Err(Error::Deadlock { .. }))
        }));
    }
    let mut victims = 0;
    for task in tasks {
        victims += u32::from(task.await.unwrap());
    }
    assert_eq!(victims, 1);
    assert_eq!(store.metrics_snapshot().deadlocks, 1);
}

/// What a process leaves that dies between prewrite and commit is undone; what it leaves after the commit of the primary is
/// finished.
#[tokio::test]
async fn leftovers_of_dead_coordinators_are_resolved() {
    use crate::command::{Op, TxnStatus, Write};
    let store = store().await;
    put(&store, &[("a", 1), ("b", 1)]).await;
    let inner = &store.inner;
    for committed in [false, true] {
        let txn = inner.next_txn_id();
        let start_ts = inner.now().await.unwrap();
        let write = |name: &str| Write { key: key(name), op: Op::Put(value(5)), base: start_ts };
        let prewrite = Command::Prewrite {
            txn,
            start_ts,
            primary: key("a"),
            writes: vec![write("a"), write("b")],
            checks: Vec::new(),
        };
        let done = settle::propose_at(inner, &key("a"), &prewrite).await.unwrap();
        assert_eq!(done, CommandResult::Done);
        if committed {
            let commit_ts = inner.now().await.unwrap();
            let command = Command::CommitPrimary { txn, commit_ts, primary: key("a") };
            let done = settle::propose_at(inner, &key("a"), &command).await.unwrap();
            assert_eq!(done, CommandResult::Committed { commit_ts });
            assert_eq!(inner.data.status(&key("a"), txn).unwrap(), Some(TxnStatus::Committed(commit_ts)));
            assert!(inner.data.any_locks());
        }
        // A reader passes over the lock, or reads through it.
        let expected = if committed { 5 } else { 1 };
        assert_eq!(get(&store, "b").await, expected);
        let view = store.view_at(store.snapshot().await);
        let mut seen = 0;
        let mut cursor = view.scan(Span::key(&key("b")), Direction::Forward);
        while cursor.next_chunk(1, 100, &mut |_, value| seen = number(Some(Value::copy_from_slice(value)))).unwrap() {}
        assert_eq!(seen, expected);
        // A writer clears it.
        increment(&store, Isolation::ReadCommitted, "b").await;
        assert_eq!(get(&store, "b").await, expected + 1);
        put(&store, &[("a", 1), ("b", 1)]).await;
        assert!(!inner.data.any_locks());
    }
}

/// A commit whose future is dropped is decided all the same, and blocks nobody.
#[tokio::test]
async fn a_dropped_commit_blocks_nobody() {
    let store = store().await;
    for name in ["a", "b"] {
        let mut transaction = store.begin(Isolation::ReadCommitted, false);
        transaction.begin_statement().unwrap();
        transaction.lock(&key(name), LockMode::Update, WAIT).await.unwrap();
        transaction.put(key(name), value(1)).unwrap();
        let commit = transaction.commit();
        tokio::pin!(commit);
        assert!(futures::poll!(commit.as_mut()).is_pending());
    }
    increment(&store, Isolation::ReadCommitted, "a").await;
    assert!([1, 2].contains(&get(&store, "a").await));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(store.metrics_snapshot().row_locks, 0);
    assert_eq!(store.metrics_snapshot().open_commits, 0);
}
