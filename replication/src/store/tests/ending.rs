//! What follows when a commit has happened: others are told of it, snapshots have it, its row locks go; in this order, also when
//! nobody waits for it any more.

use super::*;

/// How long something that must not happen is given to happen.
const NOT_MEANWHILE: Duration = Duration::from_millis(100);

/// A store with rows "a" and "b", in one shard or in two.
async fn rows(split: bool) -> Store {
    let store = store().await;
    put(&store, &[("a", 1), ("b", 1)]).await;
    if split {
        store.split_at(key("b")).await.unwrap();
    }
    store
}

/// A transaction that has locked "a" and written both rows.
async fn writer(store: &Store) -> Transaction {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    transaction.lock(&key("a"), LockMode::Update, WAIT).await.unwrap();
    transaction.put(key("a"), value(2)).unwrap();
    transaction.put(key("b"), value(2)).unwrap();
    transaction.finish_statement(true);
    transaction
}

/// Waits for the lock on "a"; then tells what a snapshot shows of "b", and what is known of its watch.
fn next_one(
    store: &Store,
    watch: tokio::sync::watch::Receiver<KeyChanges>,
) -> tokio::task::JoinHandle<(u64, KeyChanges)> {
    let store = store.clone();
    tokio::spawn(async move {
        let mut transaction = store.begin(Isolation::ReadCommitted, false);
        transaction.begin_statement().unwrap();
        transaction.lock(&key("a"), LockMode::Update, WAIT).await.unwrap();
        let told = *watch.borrow();
        transaction.begin_statement().unwrap();
        (number(transaction.view().get(&key("b")).unwrap()), told)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_locks_are_kept_until_snapshots_have_the_commit() {
    for (split, dropped) in [(false, false), (true, false), (false, true), (true, true)] {
        let store = rows(split).await;
        let watch = store.watch_key(key("b"));
        let before = *watch.borrow();
        // An older commit is on its way, elsewhere.
        let older = store.inner.oracle.draw().unwrap();
        let writer = writer(&store).await;
        let next = next_one(&store, watch.clone());
        let commit = tokio::spawn(writer.commit());
        tokio::time::sleep(NOT_MEANWHILE).await;
        let told_early = *watch.borrow();
        assert!(told_early.count > before.count, "the first snapshot with the commit must find that it was told of");
        assert_eq!(told_early.under_way, 1);
        assert!(
            !next.is_finished() && !commit.is_finished(),
            "split {split}: the lock went before the commit was seen"
        );
        if dropped {
            commit.abort();
            tokio::time::sleep(NOT_MEANWHILE).await;
            assert!(!next.is_finished(), "split {split}: the lock went with the client");
        }
        store.inner.oracle.finish(older);
        let (seen, told) = next.await.unwrap();
        assert_eq!(seen, 2, "split {split}, dropped {dropped}");
        assert!(
            told.count > told_early.count,
            "split {split}, dropped {dropped}: nobody was told when all snapshots had it"
        );
        assert_eq!(told.under_way, 0);
        assert_eq!(commit.await.is_ok(), !dropped);
    }
}

#[tokio::test]
async fn a_commit_dropped_on_its_way_tells_of_all_its_keys() {
    for split in [false, true] {
        let store = rows(split).await;
        let (first, last) = (store.watch_key(key("a")), store.watch_key(key("b")));
        let mut commit = Box::pin(writer(&store).await.commit());
        assert!(futures::poll!(&mut commit).is_pending());
        drop(commit);
        let next = next_one(&store, last.clone());
        tokio::time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap();
        assert_eq!(get(&store, "b").await, 2);
        let told = KeyChanges { count: 2, under_way: 0 };
        assert_eq!((*first.borrow(), *last.borrow()), (told, told), "split {split}");
    }
}

/// Refuses decisions, which then never enter the log.
struct Refusing(DirectProposer, AtomicBool);

impl Proposer for Refusing {
    fn submit(&self, shard: ShardId, command: Bytes) -> futures::future::BoxFuture<'static, Result<Bytes>> {
        let decides = matches!(Command::decode(&command), Ok((_, Command::CommitPrimary { .. })));
        match decides && self.1.load(Ordering::Relaxed) {
            true => Box::pin(async { Err(Error::DiskFull) }),
            false => self.0.submit(shard, command),
        }
    }

    fn start(&self, shard: ShardId, parent: Option<ShardId>) -> futures::future::BoxFuture<'static, Result<()>> {
        self.0.start(shard, parent)
    }

    fn leader(&self, shard: ShardId) -> Option<u64> {
        self.0.leader(shard)
    }

    fn shutdown(&self) -> futures::future::BoxFuture<'static, Result<()>> {
        self.0.shutdown()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_was_not_proposed_is_a_plain_failure() {
    let machine = Arc::new(StateMachine::open(Arc::new(MemoryEngine::new())).unwrap());
    open::bootstrap(&machine).unwrap();
    let proposer = Arc::new(Refusing(DirectProposer::new(machine.clone()), AtomicBool::new(false)));
    let store = Store::assemble(options(), machine, proposer.clone()).await.unwrap();
    store.create_shard_for(Span::new(&[0x02_u8][..], &[0x03_u8][..])).await.unwrap();
    put(&store, &[("a", 1), ("b", 1)]).await;
    store.split_at(key("b")).await.unwrap();
    proposer.1.store(true, Ordering::Relaxed);
    let commit = tokio::time::timeout(Duration::from_secs(20), writer(&store).await.commit()).await.unwrap();
    assert!(matches!(commit, Err(Error::DiskFull)), "{commit:?}");
    proposer.1.store(false, Ordering::Relaxed);
    // It holds up nobody, and nothing of it is left.
    tokio::time::timeout(Duration::from_secs(20), put(&store, &[("a", 3), ("b", 3)])).await.unwrap();
    assert_eq!(get(&store, "b").await, 3);
    assert_eq!(store.metrics_snapshot().open_commits, 0);
}
