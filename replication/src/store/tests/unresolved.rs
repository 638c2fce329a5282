//! Locks of a transaction that has committed and is not resolved yet, as a large one leaves them for a while, in others' way.

use super::*;
use crate::command::{Op, Write};

/// More than a commit repeats its commands for one lock at a time.
const LOCKED: u32 = 600;

/// Two shards, cut at `m`. A transaction has committed rows `b0000`… in the first and left its locks there: one on each key, or
/// pieces of them.
async fn unresolved(keys_per_prewrite: u32) -> Store {
    let store = store().await;
    put(&store, &[("z", 1)]).await;
    store.split_at(key("m")).await.unwrap();
    let inner = &store.inner;
    let txn = inner.next_txn_id();
    let start_ts = inner.now().await.unwrap();
    let numbers: Vec<u32> = (0..LOCKED).collect();
    for some in numbers.chunks(keys_per_prewrite as usize) {
        let write = |number: &u32| Write { key: key(&format!("b{number:04}")), op: Op::Put(value(1)), base: start_ts };
        let writes = some.iter().map(write).collect();
        let prewrite = Command::Prewrite { txn, start_ts, primary: key("b0000"), writes, checks: Vec::new() };
        assert_eq!(settle::propose_at(inner, &key("b0000"), &prewrite).await.unwrap(), CommandResult::Done);
    }
    // Decided at the primary; nobody resolves the rest.
    let commit_ts = inner.now().await.unwrap();
    let command = Command::CommitPrimary { txn, commit_ts, primary: key("b0000") };
    let done = settle::propose_at(inner, &key("b0000"), &command).await.unwrap();
    assert_eq!(done, CommandResult::Committed { commit_ts });
    assert!(inner.data.any_locks());
    store
}

fn all() -> Span {
    Span::prefix(b"\x02b")
}

fn count(store: &Store, at: Timestamp) -> u32 {
    let mut rows = 0;
    let mut cursor = store.view_at(at).scan(all(), Direction::Forward);
    while cursor.next_chunk(100, 1 << 20, &mut |_, _| rows += 1).unwrap() {}
    rows
}

/// A transaction that relies on all of the rows and writes `names`.
async fn relying(store: &Store, names: &[&str]) -> Result<Timestamp> {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    transaction.check_unchanged(all());
    for name in names {
        transaction.put(key(name), value(7)).unwrap();
    }
    transaction.commit().await.map(|info| info.timestamp)
}

#[tokio::test]
async fn they_are_no_change_of_what_somebody_relies_on() {
    for keys_per_prewrite in [2, 20] {
        // Over two shards, and within the one.
        for names in [["a", "z"], ["a", "c"]] {
            let store = unresolved(keys_per_prewrite).await;
            let at = relying(&store, &names).await.unwrap();
            assert_eq!(count(&store, at), LOCKED);
        }
    }
}

#[tokio::test]
async fn they_are_no_conflict_for_a_large_write() {
    for keys_per_prewrite in [2, 20] {
        let store = unresolved(keys_per_prewrite).await;
        let mut transaction = store.begin(Isolation::ReadCommitted, false);
        transaction.begin_statement().unwrap();
        for number in 0..LOCKED {
            transaction.put(key(&format!("b{number:04}")), value(9)).unwrap();
        }
        transaction.put(key("z"), value(9)).unwrap();
        transaction.commit().await.unwrap();
        assert_eq!((get(&store, "b0599").await, get(&store, "z").await), (9, 9));
    }
}

#[tokio::test]
async fn a_change_among_them_is_still_found() {
    let store = unresolved(20).await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    transaction.check_unchanged(all());
    transaction.put(key("a"), value(7)).unwrap();
    transaction.put(key("z"), value(7)).unwrap();
    put(&store, &[("b0300", 5)]).await;
    assert!(matches!(transaction.commit().await, Err(Error::SerializationFailure)));
}
