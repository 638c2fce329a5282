//! Disks that fail under a running node: writes get a clear error, reads go on, and nothing acknowledged is lost.
//!
//! Two ways to such a disk. `faulty_disk.c`, compiled and preloaded into the node, makes writes and syncs fail to order, and needs
//! no privilege. A small file system in memory is full for real; mounting it takes a mount namespace of its own, which root may
//! make, and others where user namespaces are allowed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::node::{Node, configured, configured_for, run, stratos, workspace};
use stratos_tests::process::Process;
use tempfile::TempDir;
use tokio_postgres::Client;

/// Bytes of one value.
const VALUE_BYTES: usize = 512 * 1024;
/// More rows than that are not written while waiting for an error: 400 MB.
const ROWS_MAX: i64 = 800;
/// Size of a disk that is to be full, and what is left of it for a node to fill.
const DISK_BYTES: u64 = 640 << 20;
const LEFT_BYTES: u64 = 190 << 20;
/// What is left once it is full, however much the node cleans up meanwhile: less than the node wants by more than a file of it.
const HELD_LEFT_BYTES: u64 = 48 << 20;
/// How often that is looked after.
const HOLD_EVERY: Duration = Duration::from_millis(2);
/// How long a node takes to notice that the disk has space again.
const NOTICE_MAX: Duration = Duration::from_secs(20);

/// The library, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("faulty_disk.so");
        let source = workspace().join("tests/tests/node/faulty_disk.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compiler.status().expect("a C compiler is there, as for RocksDB").success());
        (dir, library)
    });
    library
}

/// A node on a disk that does as it is told.
struct Patient {
    node: Node,
    orders: PathBuf,
    _dir: TempDir,
}

impl Patient {
    fn start() -> Patient {
        let dir = tempfile::tempdir().unwrap();
        let orders = dir.path().join("orders");
        std::fs::create_dir(&orders).unwrap();
        let data = dir.path().join("data");
        let mut command = configured(&data, "");
        command.env("LD_PRELOAD", library()).env("STRATOS_FAULTY_DISK", &orders);
        let node = Node::greeted(command, &data).unwrap();
        Patient { node, orders, _dir: dir }
    }

    fn order(&self, fault: &str) {
        std::fs::write(self.orders.join(fault), "").unwrap();
    }

    fn heal(&self, fault: &str) {
        std::fs::remove_file(self.orders.join(fault)).unwrap();
    }

    /// Starts it again, on a disk that is well.
    fn restart(mut self) -> (Node, TempDir) {
        self.node.kill();
        (Node::configured(self.node.data(), ""), self._dir)
    }
}

async fn set_up(server: &Server) -> Client {
    let client = server.connect().await;
    let tables = "CREATE TABLE t (id bigint PRIMARY KEY, code bigint UNIQUE, v text);
         CREATE TABLE other (id bigint PRIMARY KEY, n bigint);
         INSERT INTO other SELECT i, i FROM generate_series(1, 1000) AS i";
    client.batch_execute(tables).await.unwrap();
    client
}

/// Writes until it is refused; gives the ids that were acknowledged, the one that was not, and its error.
async fn fill(client: &Client, first: i64) -> (BTreeSet<i64>, Option<(i64, String)>) {
    let value = "x".repeat(VALUE_BYTES);
    let mut acknowledged = BTreeSet::new();
    for id in first..first + ROWS_MAX {
        match client.execute("INSERT INTO t VALUES ($1, $1::bigint * 2, $2)", &[&id, &value]).await {
            Ok(_) => drop(acknowledged.insert(id)),
            Err(error) => return (acknowledged, Some((id, sqlstate(&error)))),
        }
    }
    (acknowledged, None)
}

/// Sessions, old and new, read all that was acknowledged.
async fn reads_go_on(server: &Server, old: &Client, acknowledged: &BTreeSet<i64>) {
    for client in [old, &server.connect().await] {
        let found = rows(client, "SELECT count(*), sum(n) FROM other").await.unwrap();
        assert_eq!(found, [["1000", "500500"]]);
        let found = client.query("SELECT id FROM t WHERE length(v) > 0", &[]).await.unwrap();
        let found: BTreeSet<i64> = found.iter().map(|row| row.get(0)).collect();
        assert!(found.is_superset(acknowledged), "{:?} cannot be read", acknowledged.difference(&found));
        let last = *acknowledged.last().unwrap();
        let found = client.query("SELECT v FROM t WHERE code = $1", &[&(last * 2)]).await.unwrap();
        assert_eq!(found[0].get::<_, String>(0).len(), VALUE_BYTES);
    }
}

/// After a restart everything acknowledged is there, and of the rest only what was on its way, wholly.
async fn nothing_is_lost(node: &mut Node, acknowledged: &BTreeSet<i64>, unknown: Option<i64>) {
    let client = node.server().connect().await;
    let found = client.query("SELECT id, code, length(v) FROM t", &[]).await.unwrap();
    let mut there = BTreeSet::new();
    for row in found {
        let (id, code, length): (i64, i64, i32) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((code, length), (id * 2, VALUE_BYTES as i32));
        assert!(acknowledged.contains(&id) || unknown == Some(id), "{id} was refused");
        there.insert(id);
    }
    assert!(there.is_superset(acknowledged), "lost: {:?}", acknowledged.difference(&there));
    client.execute("INSERT INTO t VALUES (-1, -1, 'after')", &[]).await.unwrap();
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
}

fn check(node: &Node) {
    let checked = run(["check", "--data", node.data().to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

/// A file system in memory, in a mount namespace that a process of its own keeps alive.
struct SmallDisk {
    holder: Process,
    enter: Vec<String>,
    data: PathBuf,
    filler: PathBuf,
}

impl SmallDisk {
    /// None where this machine does not let us: containers often forbid it.
    fn mount(dir: &Path) -> Option<SmallDisk> {
        let disk = dir.join("small");
        std::fs::create_dir(&disk).unwrap();
        let script =
            format!("mount -t tmpfs -o size={DISK_BYTES} tmpfs {} && echo mounted && exec sleep 600", disk.display());
        for (unshare, nsenter) in
            [(vec!["-m"], vec!["-m"]), (vec!["-r", "-m"], vec!["-U", "-m", "--preserve-credentials"])]
        {
            let mut command = Command::new("unshare");
            command.args(unshare).args(["sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::null());
            let Ok(mut child) = command.spawn() else { return None };
            let mut said = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
            let holder = Process::new(child, "KILL", Duration::from_secs(5));
            if said.trim() == "mounted" {
                let target = ["nsenter".to_owned(), "-t".to_owned(), holder.id().to_string()];
                let enter = target.into_iter().chain(nsenter.into_iter().map(str::to_owned)).collect();
                // As seen from outside of the namespace.
                let seen = format!("/proc/{}/root{}", holder.id(), disk.display());
                return Some(SmallDisk {
                    holder,
                    enter,
                    data: disk.join("data"),
                    filler: Path::new(&seen).join("filler"),
                });
            }
        }
        None
    }

    /// The same command within the namespace.
    fn within(&self, command: &Command) -> Command {
        let mut entered = Command::new(&self.enter[0]);
        entered.args(&self.enter[1..]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        entered
    }

    fn start(&mut self, dir: &Path) -> Node {
        assert!(self.holder.ended().is_none(), "the namespace is gone");
        // The configuration and what the node logs lie outside, on a disk that is not full.
        let outside = dir.join("outside");
        let command = configured_for(&self.data, &outside, "");
        Node::greeted(self.within(&command), &outside).unwrap()
    }

    /// Takes space until so many bytes are left.
    fn fill(&self, left: u64) {
        take_space(&self.filler, left);
    }

    /// Takes what the node gives back, too, until this is dropped.
    fn hold(&self) -> Hold {
        let filler = self.filler.clone();
        take_space(&filler, HELD_LEFT_BYTES);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            while released.recv_timeout(HOLD_EVERY) == Err(RecvTimeoutError::Timeout) {
                take_space(&filler, HELD_LEFT_BYTES);
            }
        });
        Hold { release: Some(release), thread: Some(thread) }
    }
}

/// Space that is kept from a node.
struct Hold {
    release: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.release.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the space was not held");
    }
}

/// Lets a file grow until so many bytes are left of its file system.
fn take_space(file: &Path, left: u64) {
    let mut filler = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    let chunk = vec![0_u8; 1 << 20];
    while fs4::available_space(file).unwrap() > left {
        match std::io::Write::write_all(&mut filler, &chunk) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The file system is full: work is refused before anything breaks, and goes on when there is space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = SmallDisk::mount(dir.path()) else {
        println!("no file system may be mounted here: only the disk that refuses to grow is tested");
        return;
    };
    let mut node = disk.start(dir.path());
    let client = set_up(node.server()).await;
    let mut acknowledged = BTreeSet::new();
    for id in -20..-10 {
        client
            .execute("INSERT INTO t VALUES ($1, $1::bigint * 2, $2)", &[&id, &"x".repeat(VALUE_BYTES)])
            .await
            .unwrap();
        acknowledged.insert(id);
    }
    disk.fill(LEFT_BYTES);
    let (more, refused) = fill(&client, 1).await;
    acknowledged.extend(more);
    assert_eq!(refused.as_ref().map(|(_, state)| state.as_str()), Some("53100"), "{}", node.log());
    let hold = disk.hold();
    for sql in [
        "UPDATE other SET n = 0 WHERE id = 5",
        "DELETE FROM other",
        "CREATE TABLE another (a int)",
        "CREATE INDEX ON other (n)",
        "INSERT INTO other SELECT i, i FROM generate_series(2000, 3000) AS i",
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        assert_eq!(sqlstate(&error), "53100", "{sql}: {error:?}");
    }
    reads_go_on(node.server(), &client, &acknowledged).await;

    drop(hold);
    std::fs::remove_file(&disk.filler).unwrap();
    let freed = Instant::now();
    while let Err(error) = client.execute("UPDATE other SET n = n WHERE id = 5", &[]).await {
        assert_eq!(sqlstate(&error), "53100", "{error:?}");
        assert!(freed.elapsed() < NOTICE_MAX, "writes do not go on: {}", node.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    node.kill();
    let mut node = disk.start(dir.path());
    let unknown = refused.map(|(id, _)| id);
    nothing_is_lost(&mut node, &acknowledged, unknown).await;
    let checked = disk.within(&stratos(["check", "--data", disk.data.to_str().unwrap()])).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");

    // On a disk that is full from the start, a node says so and ends.
    disk.fill(0);
    let command = configured_for(&disk.data.with_file_name("new"), &dir.path().join("new"), "");
    let output = disk.within(&command).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("small/new: no space left on the device; a start needs 80 MB"), "{said}");
}

/// Writing fails though the file system has space, as with a quota: the node refuses writes until it is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_to_grow_loses_nothing() {
    let patient = Patient::start();
    let client = set_up(patient.node.server()).await;
    patient.order("quota");
    let (acknowledged, refused) = fill(&client, 1).await;
    assert_eq!(refused.as_ref().map(|(_, state)| state.as_str()), Some("53100"), "{}", patient.node.log());
    let error = client.execute("UPDATE other SET n = 0 WHERE id = 5", &[]).await.unwrap_err();
    assert_eq!(sqlstate(&error), "53100", "{error:?}");
    reads_go_on(patient.node.server(), &client, &acknowledged).await;
    let unknown = refused.map(|(id, _)| id);
    let (mut node, _dir) = patient.restart();
    nothing_is_lost(&mut node, &acknowledged, unknown).await;
    check(&node);
}

/// A sync that fails: the operating system may have forgotten what it was given, so nothing is acknowledged any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_sync_refuses_writes() {
    let mut patient = Patient::start();
    let client = set_up(patient.node.server()).await;
    client.execute("INSERT INTO t VALUES (1, 2, $1)", &[&"x".repeat(VALUE_BYTES)]).await.unwrap();
    patient.order("broken");
    let error = client.execute("INSERT INTO t VALUES (2, 4, $1)", &[&"x".repeat(VALUE_BYTES)]).await.unwrap_err();
    assert_eq!(sqlstate(&error), "58030", "{error:?}");
    // Also after the disk is well again.
    patient.heal("broken");
    let error = client.execute("UPDATE other SET n = 0 WHERE id = 5", &[]).await.unwrap_err();
    assert_eq!(sqlstate(&error), "58030", "{error:?}");
    let acknowledged = BTreeSet::from([1]);
    reads_go_on(patient.node.server(), &client, &acknowledged).await;
    // A stop ends within its time, and tells that not all is well.
    patient.node.signal("TERM");
    let status = patient.node.wait(Duration::from_secs(60)).expect("it does not end");
    assert_eq!(status.code(), Some(1), "{}", patient.node.log());
    assert!(patient.node.log().contains("sync"), "{}", patient.node.log());
    let (mut node, _dir) = patient.restart();
    nothing_is_lost(&mut node, &acknowledged, Some(2)).await;
    check(&node);
}
