//! What is written before the commit.

use super::super::loading::{LOAD_BYTES, LOADED_PREFIX};
use super::*;
use crate::store::shards::DROPPED_PREFIX;

/// Enough to be loaded.
const ROWS: u64 = LOAD_BYTES as u64 / 100;

fn row(at: u64) -> Key {
    key(&format!("own{at:06}"))
}

fn own() -> Span {
    Span::prefix("\u{2}own".as_bytes())
}

fn count(store: &Store, span: Span) -> usize {
    let view = store.latest_view();
    let mut cursor = view.scan(span, Direction::Forward);
    let mut found = 0;
    while cursor.next_chunk(1000, 1 << 20, &mut |_, _| found += 1).unwrap() {}
    found
}

/// How many records of ranges that are being loaded, and that are to be dropped, there are.
fn records(store: &Store) -> (usize, usize) {
    (count(store, Span::prefix(LOADED_PREFIX)), count(store, Span::prefix(DROPPED_PREFIX)))
}

/// A statement that writes rows to a range of its own.
async fn load(transaction: &mut Transaction, rows: std::ops::Range<u64>) -> Result<()> {
    transaction.begin_statement()?;
    for at in rows {
        transaction.put_new(row(at), Value::from(vec![b'x'; 100]))?;
        transaction.load().await?;
    }
    transaction.finish_load().await?;
    transaction.finish_statement(true);
    Ok(())
}

fn begin(store: &Store) -> Transaction {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.own_span(own());
    transaction
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn a_commit_keeps_what_was_loaded() {
    let store = store().await;
    let mut transaction = begin(&store);
    load(&mut transaction, 0..ROWS).await.unwrap();
    assert!(count(&store, own()) > 0, "nothing was loaded");
    assert_eq!(records(&store), (1, 0));
    // The next statement sees all of it, and adds to it.
    transaction.begin_statement().unwrap();
    assert_eq!(transaction.get(&row(0)).unwrap().map(|value| value.len()), Some(100));
    load(&mut transaction, ROWS..2 * ROWS).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(count(&store, own()), 2 * ROWS as usize);
    assert_eq!(records(&store), (0, 0));
}

#[tokio::test]
async fn what_a_transaction_loads_itself_is_no_change_of_what_it_read() {
    let store = store().await;
    let mut transaction = begin(&store);
    // As a statement does that builds an index of a new table.
    transaction.check_unchanged(Span::key(&row(0)));
    transaction.check_unchanged(own());
    load(&mut transaction, 0..ROWS).await.unwrap();
    assert!(count(&store, own()) > 0, "nothing was loaded");
    transaction.commit().await.unwrap();
    assert_eq!(count(&store, own()), ROWS as usize);
    // A range of others is another matter.
    let mut transaction = begin(&store);
    transaction.check_unchanged(Span::prefix("\u{2}".as_bytes()));
    load(&mut transaction, ROWS..2 * ROWS).await.unwrap();
    assert!(matches!(transaction.commit().await, Err(Error::SerializationFailure)));
}

#[tokio::test]
async fn a_rollback_drops_what_was_loaded() {
    let store = store().await;
    let mut transaction = begin(&store);
    load(&mut transaction, 0..ROWS).await.unwrap();
    drop(transaction);
    eventually("the range is not dropped", || records(&store) == (0, 1)).await;
}

#[tokio::test]
async fn a_commit_that_fails_drops_what_was_loaded() {
    let store = store().await;
    let mut transaction = begin(&store);
    load(&mut transaction, 0..ROWS).await.unwrap();
    transaction.put(key("a"), value(1)).unwrap();
    put(&store, &[("a", 2)]).await;
    assert!(matches!(transaction.commit().await, Err(Error::WriteConflict { .. })));
    eventually("the range is not dropped", || records(&store) == (0, 1)).await;
    assert_eq!(get(&store, "a").await, 2);
}

#[tokio::test]
async fn a_restart_drops_what_was_loaded_and_not_committed() {
    let engine = Arc::new(MemoryEngine::new());
    let store = store_over(engine.clone(), options()).await;
    let mut kept = store.begin(Isolation::ReadCommitted, false);
    kept.own_span(Span::key(&key("kept")));
    kept.begin_statement().unwrap();
    kept.put_new(key("kept"), Value::from(vec![b'x'; LOAD_BYTES])).unwrap();
    kept.load().await.unwrap();
    kept.commit().await.unwrap();
    let mut transaction = begin(&store);
    load(&mut transaction, 0..ROWS).await.unwrap();
    // This process goes on with it.
    store.inner.abandon_loads().await.unwrap();
    assert_eq!(records(&store), (1, 0));
    std::mem::forget(transaction);

    let store = store_over(engine, options()).await;
    assert_eq!(records(&store), (1, 0));
    store.inner.abandon_loads().await.unwrap();
    assert_eq!(records(&store), (0, 1));
    assert_eq!(count(&store, Span::key(&key("kept"))), 1);
}

#[tokio::test]
async fn a_key_that_is_written_twice_is_a_conflict() {
    let store = store().await;
    let mut transaction = begin(&store);
    transaction.begin_statement().unwrap();
    let twice = async |transaction: &mut Transaction| {
        for at in (0..ROWS).chain([7]).chain(ROWS..2 * ROWS) {
            transaction.put_new(row(at), Value::from(vec![b'x'; 100]))?;
            transaction.load().await?;
        }
        transaction.finish_load().await
    };
    match twice(&mut transaction).await {
        Err(Error::WriteConflict { key }) => assert_eq!(key, row(7)),
        other => panic!("{other:?}"),
    }
    // What else was on its way is written before the range is given up.
    drop(transaction);
    eventually("the range is not dropped", || records(&store) == (0, 1)).await;
    let left = count(&store, own());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(count(&store, own()), left, "something was written to a range that was given up");
}

#[tokio::test]
async fn nothing_is_loaded_that_may_have_to_be_taken_back() {
    let store = store().await;
    let mut transaction = begin(&store);
    let before = transaction.savepoint();
    load(&mut transaction, 0..ROWS).await.unwrap();
    assert_eq!((count(&store, own()), records(&store)), (0, (0, 0)));
    transaction.rollback_to(before);
    transaction.release(before);
    transaction.commit().await.unwrap();
    assert_eq!(count(&store, own()), 0);
    for isolation in [Isolation::RepeatableRead, Isolation::Serializable] {
        let mut transaction = store.begin(isolation, false);
        transaction.own_span(own());
        load(&mut transaction, 0..ROWS).await.unwrap();
        assert_eq!((count(&store, own()), records(&store)), (0, (0, 0)));
    }
    // Nor what lies elsewhere.
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.own_span(Span::key(&key("elsewhere")));
    load(&mut transaction, 0..ROWS).await.unwrap();
    assert_eq!((count(&store, own()), records(&store)), (0, (0, 0)));
}

#[tokio::test]
async fn a_statement_that_has_loaded_does_not_start_over() {
    let store = store().await;
    let mut transaction = begin(&store);
    transaction.begin_statement().unwrap();
    for at in 0..ROWS {
        transaction.put_new(row(at), Value::from(vec![b'x'; 100])).unwrap();
        transaction.load().await.unwrap();
    }
    assert!(matches!(transaction.restart_statement(), Err(Error::SerializationFailure)));
}
