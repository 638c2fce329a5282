//! The whole store, on a disk, through the logs.

use std::path::Path;

use super::*;

async fn open(dir: &Path) -> Store {
    let store = Store::open(StoreOptions::new(dir)).await.unwrap();
    store.create_shard_for(Span::new(&[0x02_u8][..], &[0x03_u8][..])).await.unwrap();
    store
}

/// What a machine that loses power would find: the files as they are.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_crash_and_after_a_shutdown() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let store = open(&first).await;
    for number in 0..50 {
        put(&store, &[("a", number), ("z", number)]).await;
        if number == 20 {
            store.split_at(key("m")).await.unwrap();
        }
    }
    let ids = store.allocate_ids("oid", 7).await.unwrap();
    let before = store.snapshot().await;
    let busy = Store::open(StoreOptions::new(&first)).await;
    assert!(matches!(busy, Err(Error::AlreadyRunning { .. })));
    copy_dir(&first, &second);
    for dir in [&second, &first] {
        if dir == &first {
            store.shutdown().await.unwrap();
            assert!(matches!(put_raw(&store, key("a")).await, Err(Error::ShuttingDown)));
        }
        // The handles of the first store must be gone from its directory, those of background tasks too.
        let mut again = Store::open(StoreOptions::new(dir)).await;
        if dir == &first {
            drop(again);
            continue;
        }
        let again = again.as_mut().unwrap();
        assert_eq!((get(again, "a").await, get(again, "z").await), (49, 49));
        assert_eq!(again.shards().len(), 3);
        assert_eq!(again.statistics(&[2]).rows, 2);
        assert!(again.snapshot().await > before);
        assert!(again.allocate_ids("oid", 1).await.unwrap().start >= ids.end);
        put(again, &[("a", 1), ("z", 1)]).await;
        assert_eq!((get(again, "a").await, get(again, "z").await), (1, 1));
        again.shutdown().await.unwrap();
    }
    drop(store);
    let mut reopened = Store::open(StoreOptions::new(&first)).await;
    for _ in 0..100 {
        if reopened.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        reopened = Store::open(StoreOptions::new(&first)).await;
    }
    let reopened = reopened.unwrap();
    assert_eq!((get(&reopened, "a").await, get(&reopened, "z").await), (49, 49));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_under_splits_survive_a_crash() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let store = open(&first).await;
    let mut tasks = Vec::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let level = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable][task % 3];
            for turn in 0..30 {
                increment(&store, level, if (task + turn) % 3 == 0 { "a" } else { "b" }).await;
            }
        }));
    }
    for at in ["b", "c", "am", "bm"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
        store.split_at(key(at)).await.unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(get(&store, "a").await + get(&store, "b").await, 240);
    copy_dir(&first, &second);
    let again = Store::open(StoreOptions::new(&second)).await.unwrap();
    assert_eq!(get(&again, "a").await + get(&again, "b").await, 240);
    assert_eq!(again.shards().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_without_its_log_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    put(&store, &[("a", 1)]).await;
    store.shutdown().await.unwrap();
    drop(store);
    std::fs::remove_dir_all(home.path().join("log")).unwrap();
    // Refusing it must not be what makes it look right.
    for _ in 0..2 {
        match Store::open(StoreOptions::new(home.path())).await {
            Err(Error::Corruption { what }) => assert!(what.contains("log is missing"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Prints what the plan asks to be cheap. `cargo test -p stratos-replication --release -- --ignored --nocapture costs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, does not judge"]
async fn costs() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).await;
    let began = std::time::Instant::now();
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    let rows: u64 = 200_000;
    for number in 0..rows {
        let key = key(&format!("n{number:08}"));
        transaction.lock(&key, LockMode::Update, WAIT).await.unwrap();
        transaction.put(key, Bytes::from(vec![b'v'; 90])).unwrap();
    }
    let buffered = began.elapsed();
    transaction.commit().await.unwrap();
    tracing::info!("copy");
    let report = |what: &str, count: u64, elapsed: Duration| {
        use std::io::Write as _;
        let per = elapsed.as_nanos() as f64 / count as f64 / 1000.0;
        writeln!(std::io::stderr(), "{what}: {per:.2} us each ({elapsed:?} for {count})").unwrap();
    };
    report("buffer and lock a row", rows, buffered);
    report("the same with the commit", rows, began.elapsed());
    let keys: Vec<Key> = (0..rows).step_by(97).map(|number| key(&format!("n{number:08}"))).collect();
    let began = std::time::Instant::now();
    let mut bytes = 0;
    for _ in 0..20 {
        for key in &keys {
            let view = store.begin(Isolation::ReadCommitted, true).view();
            bytes += view.get_with(key, |value| value.map_or(0, <[u8]>::len)).unwrap();
        }
    }
    assert_eq!(bytes, keys.len() * 20 * 90);
    report("begin, view, get", keys.len() as u64 * 20, began.elapsed());
    let view = store.view_at(store.snapshot().await);
    let began = std::time::Instant::now();
    for _ in 0..20 {
        for key in &keys {
            view.get_with(key, |_| ()).unwrap();
        }
    }
    report("get", keys.len() as u64 * 20, began.elapsed());
    let began = std::time::Instant::now();
    let mut cursor = view.scan(Span::prefix(&[2]), Direction::Forward);
    let mut seen = 0;
    while cursor.next_chunk(4096, 1 << 20, &mut |_, _| seen += 1).unwrap() {}
    assert_eq!(seen, rows);
    report("scan a row", rows, began.elapsed());
    let began = std::time::Instant::now();
    for number in 0..200 {
        put(&store, &[("a", number)]).await;
    }
    report("commit, alone", 200, began.elapsed());
    let began = std::time::Instant::now();
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    increment(&store, Isolation::ReadCommitted, &format!("t{task}")).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    report("commit, 16 at a time", 3200, began.elapsed());
    store.shutdown().await.unwrap();
}
