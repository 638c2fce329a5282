//! What constraints over several rows are made of: keys that are wanted free or present, views of all that is committed,
//! statements that start over.

use super::*;

#[tokio::test]
async fn a_key_that_is_not_free_is_not_kept_locked() {
    let store = store().await;
    put(&store, &[("a", 1)]).await;
    let mut one = store.begin(Isolation::ReadCommitted, false);
    one.begin_statement().unwrap();
    let taken = one.lock_if_free(&key("a"), LockMode::Update, WAIT).await.unwrap();
    assert!(matches!(taken, LockOutcome::Granted { current: Some(_), .. }));
    let free = one.lock_if_free(&key("b"), LockMode::Update, WAIT).await.unwrap();
    assert!(matches!(free, LockOutcome::Granted { current: None, .. }));
    let mut other = store.begin(Isolation::ReadCommitted, false);
    other.begin_statement().unwrap();
    other.lock(&key("a"), LockMode::Update, WaitPolicy::NoWait).await.unwrap();
    let refused = other.lock(&key("b"), LockMode::Update, WaitPolicy::NoWait).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable)));
    drop(other);
    // What was held before stays held.
    one.lock(&key("a"), LockMode::KeyShare, WAIT).await.unwrap();
    one.lock_if_free(&key("a"), LockMode::Update, WAIT).await.unwrap();
    let mut other = store.begin(Isolation::ReadCommitted, false);
    other.begin_statement().unwrap();
    other.lock(&key("a"), LockMode::KeyShare, WaitPolicy::NoWait).await.unwrap();
    let refused = other.lock(&key("a"), LockMode::Update, WaitPolicy::NoWait).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable)));
    drop((one, other));
    assert_eq!(store.metrics_snapshot().row_locks, 0);
}

#[tokio::test]
async fn a_present_key_may_have_changed_since_the_snapshot_but_not_have_gone() {
    let store = store().await;
    put(&store, &[("a", 1), ("b", 1)]).await;
    let mut transaction = store.begin(Isolation::RepeatableRead, false);
    transaction.begin_statement().unwrap();
    put(&store, &[("a", 2)]).await;
    let mut delete = store.begin(Isolation::ReadCommitted, false);
    delete.delete(key("b")).unwrap();
    delete.commit().await.unwrap();
    assert!(transaction.hold_present(&key("a"), WAIT).await.unwrap());
    assert!(!transaction.hold_present(&key("never"), WAIT).await.unwrap());
    let gone = transaction.hold_present(&key("b"), WAIT).await;
    assert!(matches!(gone, Err(Error::WriteConflict { .. })), "{gone:?}");
    transaction.put(key("own"), value(1)).unwrap();
    assert!(transaction.hold_present(&key("own"), WAIT).await.unwrap());
}

#[tokio::test]
async fn a_key_that_the_transaction_deletes_is_not_asked_for() {
    let store = store().await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    transaction.put(key("parent"), value(1)).unwrap();
    transaction.put(key("child"), value(1)).unwrap();
    transaction.check_exists(key("parent"));
    transaction.check_exists(key("parent"));
    transaction.delete(key("child")).unwrap();
    transaction.delete(key("parent")).unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((get(&store, "parent").await, get(&store, "child").await), (0, 0));
}

#[tokio::test]
async fn a_key_that_the_transaction_itself_puts_is_there() {
    for split in [false, true] {
        let store = store().await;
        if split {
            store.split_at(key("d")).await.unwrap();
        }
        let mut transaction = store.begin(Isolation::ReadCommitted, false);
        transaction.begin_statement().unwrap();
        transaction.put(key("parent"), value(1)).unwrap();
        assert!(transaction.hold_present(&key("parent"), WAIT).await.unwrap());
        transaction.check_exists(key("parent"));
        transaction.put(key("child"), value(1)).unwrap();
        transaction.commit().await.unwrap_or_else(|error| panic!("split: {split}: {error}"));
        assert_eq!((get(&store, "parent").await, get(&store, "child").await), (1, 1));
    }
}

#[tokio::test]
async fn the_newest_view_shows_what_the_snapshot_does_not() {
    let store = store().await;
    let mut transaction = store.begin(Isolation::RepeatableRead, false);
    transaction.begin_statement().unwrap();
    put(&store, &[("m", 5)]).await;
    transaction.put(key("n"), value(6)).unwrap();
    assert_eq!(transaction.current_view().get(&key("m")).unwrap(), None);
    let newest = transaction.newest_view();
    assert_eq!(names(&mut newest.scan(Span::prefix(&[2]), Direction::Forward), 1), ["m", "n"]);
    // What is written later is not in it.
    transaction.put(key("o"), value(7)).unwrap();
    assert_eq!(newest.get(&key("o")).unwrap(), None);
    transaction.check_unchanged_since(Span::prefix(&[2]), newest.timestamp());
    put(&store, &[("p", 1)]).await;
    assert!(matches!(transaction.commit().await, Err(Error::SerializationFailure)));
}

#[tokio::test]
async fn a_statement_that_starts_over_leaves_only_its_locks() {
    let store = store().await;
    put(&store, &[("a", 1)]).await;
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    transaction.put(key("first"), value(1)).unwrap();
    transaction.finish_statement(true);
    transaction.begin_statement().unwrap();
    transaction.lock(&key("a"), LockMode::Update, WAIT).await.unwrap();
    transaction.put(key("a"), value(9)).unwrap();
    transaction.check_exists(key("nobody"));
    put(&store, &[("z", 3)]).await;
    transaction.restart_statement().unwrap();
    assert_eq!(number(transaction.get(&key("a")).unwrap()), 1);
    assert_eq!(number(transaction.get(&key("z")).unwrap()), 3);
    let mut other = store.begin(Isolation::ReadCommitted, false);
    let refused = other.lock(&key("a"), LockMode::Update, WaitPolicy::NoWait).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable)));
    transaction.commit().await.unwrap();
    assert_eq!((get(&store, "first").await, get(&store, "a").await), (1, 1));
}
