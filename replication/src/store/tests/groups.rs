//! A shard has a group, whatever becomes of those who asked for the shard.

use std::collections::HashSet;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::*;

/// Starts groups when it is allowed to, and takes no commands for shards without one.
struct Starting {
    direct: DirectProposer,
    groups: Arc<Mutex<HashSet<ShardId>>>,
    allowed: Arc<Semaphore>,
    fails: AtomicBool,
}

impl Proposer for Starting {
    fn submit(&self, shard: ShardId, command: Bytes) -> BoxFuture<'static, Result<Bytes>> {
        match self.groups.lock().contains(&shard) {
            true => self.direct.submit(shard, command),
            false => Box::pin(async move { Err(Error::UnknownShard { shard }) }),
        }
    }

    fn start(&self, shard: ShardId, _parent: Option<ShardId>) -> BoxFuture<'static, Result<()>> {
        if self.fails.swap(false, Ordering::Relaxed) {
            return Box::pin(async { Err(Error::DiskFull) });
        }
        let (groups, allowed) = (self.groups.clone(), self.allowed.clone());
        Box::pin(async move {
            allowed.acquire().await.map_err(|_| Error::ShuttingDown)?.forget();
            groups.lock().insert(shard);
            Ok(())
        })
    }

    fn has_group(&self, shard: ShardId) -> bool {
        self.groups.lock().contains(&shard)
    }

    fn leader(&self, _shard: ShardId) -> Option<u64> {
        Some(1)
    }

    fn shutdown(&self) -> BoxFuture<'static, Result<()>> {
        self.direct.shutdown()
    }
}

async fn starting() -> (Store, Arc<Starting>) {
    let machine = Arc::new(StateMachine::open(Arc::new(MemoryEngine::new())).unwrap());
    open::bootstrap(&machine).unwrap();
    let proposer = Arc::new(Starting {
        direct: DirectProposer::new(machine.clone()),
        groups: Arc::new(Mutex::new(HashSet::from([SYSTEM_SHARD]))),
        allowed: Arc::new(Semaphore::new(1)),
        fails: AtomicBool::new(false),
    });
    // Housekeeping often.
    let options = StoreOptions { gc_window: Duration::from_millis(1), ..options() };
    let store = Store::assemble(options, machine, proposer.clone()).await.unwrap();
    store.create_shard_for(Span::new(&[0x02_u8][..], &[0x03_u8][..])).await.unwrap();
    (store, proposer)
}

async fn within_reason(future: impl Future<Output = Timestamp>) {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_split_or_creation_is_finished() {
    let (store, proposer) = starting().await;
    let split = tokio::spawn({
        let store = store.clone();
        async move { store.split_at(key("m")).await }
    });
    while store.inner.data.descriptors().len() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    split.abort();
    assert!(split.await.is_err());
    proposer.allowed.add_permits(1);
    within_reason(put(&store, &[("n", 1)])).await;
    let create = tokio::spawn({
        let store = store.clone();
        async move { store.create_shard_for(Span::new(&[0x03_u8][..], &[0x04_u8][..])).await }
    });
    while store.inner.data.descriptors().len() < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    create.abort();
    assert!(create.await.is_err());
    proposer.allowed.add_permits(1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !store.inner.data.descriptors().iter().all(|shard| proposer.has_group(shard.shard)) {
        assert!(tokio::time::Instant::now() < deadline, "a shard has no group");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_could_not_be_started_is_started_later() {
    let (store, proposer) = starting().await;
    proposer.fails.store(true, Ordering::Relaxed);
    assert!(matches!(store.split_at(key("m")).await, Err(Error::DiskFull)));
    proposer.allowed.add_permits(1);
    within_reason(put(&store, &[("n", 1)])).await;
    assert_eq!(store.shards().len(), 3);
}
