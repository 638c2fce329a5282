//! SIGTERM and SIGINT: nothing new is let in, what runs may end within the configured time, the exit status is 0.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stratos_tests::client::{Server, sqlstate};
use stratos_tests::frames::{Frames, packet, query};
use stratos_tests::node::{Node, configured, run};
use stratos_tests::process::Process;

/// How long statements may go on, in seconds, and how long the whole stop may take then.
const GRACE: &str = "shutdown_grace_seconds = 2";
const STOP_MAX: Duration = Duration::from_secs(12);

/// Sends the signal and waits; gives the time that it took.
fn stop(node: &mut Node, signal: &str) -> Duration {
    let asked = Instant::now();
    node.signal(signal);
    let status = node.wait(Duration::from_secs(60));
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", node.log());
    let took = asked.elapsed();
    assert!(took < STOP_MAX, "the stop took {took:?}");
    took
}

fn check(node: &Node) {
    let checked = run(["check", "--data", node.data().to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn with_nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for signal in ["TERM", "INT"] {
        let mut node = Node::configured(&data, GRACE);
        node.server().sql("CREATE TABLE IF NOT EXISTS t (a int); INSERT INTO t VALUES (1)");
        let took = stop(&mut node, signal);
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    assert_eq!(Node::configured(&data, GRACE).server().sql("SELECT count(*) FROM t"), "2");
}

/// Who asks after the node's health while it stops gets an answer.
#[test]
fn with_an_answer_on_its_health() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::configured(&dir.path().join("data"), "shutdown_grace_seconds = 30");
    assert_eq!(node.http("/readyz").0, "HTTP/1.1 200 OK");
    let server = node.server().clone();
    let running = std::thread::spawn(move || server.sql("SELECT 'ended' FROM pg_sleep(5)"));
    let until = Instant::now() + Duration::from_secs(30);
    while !node.http("/metrics").1.contains("stratos_sql_sessions_active 1") {
        assert!(Instant::now() < until, "the statement does not run");
        std::thread::sleep(Duration::from_millis(20));
    }
    node.signal("TERM");
    while node.http("/readyz").0 != "HTTP/1.1 503 Service Unavailable" {
        assert!(Instant::now() < until, "the node is still ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    while !running.is_finished() {
        assert_eq!(node.http("/healthz").0, "HTTP/1.1 200 OK");
        assert!(node.http("/metrics").1.contains("stratos_build_info"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(running.join().unwrap(), "ended");
    assert_eq!(node.wait(Duration::from_secs(30)).and_then(|status| status.code()), Some(0));
}

/// Idle sessions, in a transaction or not, keep nobody: their transactions are rolled back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_idle_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::configured(&dir.path().join("data"), GRACE);
    let (idle, open) = (node.server().connect().await, node.server().connect().await);
    idle.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (2); UPDATE t SET a = 3 WHERE a = 1").await.unwrap();
    let took = stop(&mut node, "TERM");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(open.batch_execute("COMMIT").await.is_err());
    check(&node);
    let node = Node::configured(node.data(), GRACE);
    assert_eq!(node.server().sql("SELECT array_agg(a) FROM t"), "{1}");
}

/// A statement that ends in time is answered; one that does not is ended with 57P01.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_running_statements() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::configured(&dir.path().join("data"), GRACE);
    let (short, long, busy) =
        (node.server().connect().await, node.server().connect().await, node.server().connect().await);
    let short = tokio::spawn(async move { short.query("SELECT pg_sleep(1)", &[]).await });
    let long = tokio::spawn(async move { long.query("SELECT pg_sleep(60)", &[]).await });
    // Work for the processor, not for the clock.
    let sql = "SELECT count(*) FROM generate_series(1, 40000) a, generate_series(1, 400000) b WHERE a % 7 = b % 11";
    let busy = tokio::spawn(async move { busy.query(sql, &[]).await });
    tokio::time::sleep(Duration::from_millis(400)).await;
    let server = node.server().clone();
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.try_connect().await.is_ok()
    });
    stop(&mut node, "TERM");
    assert!(short.await.unwrap().is_ok(), "a short statement was not let to its end");
    for ended in [long.await.unwrap(), busy.await.unwrap()] {
        let error = ended.map(|rows| rows.len()).unwrap_err();
        assert_eq!(sqlstate(&error), "57P01", "{error:?}");
    }
    assert!(!late.await.unwrap(), "a connection was let in during the stop");
    check(&node);
}

/// A connection that was accepted before, and asks for a session only now, gets none.
#[test]
fn with_a_client_that_comes_late() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::configured(&dir.path().join("data"), GRACE);
    let mut busy = Frames::connect(node.server());
    busy.send(&query("SELECT pg_sleep(1.5)"));
    let mut late = Frames::raw(node.server());
    std::thread::sleep(Duration::from_millis(300));
    node.signal("TERM");
    std::thread::sleep(Duration::from_millis(400));
    late.send(&packet(3 << 16, b"user\0stratos\0database\0stratos\0\0"));
    let refused = late.message().and_then(|message| message.field(b'C'));
    assert_eq!(refused.as_deref(), Some("57P03"));
    assert_eq!(node.wait(Duration::from_secs(60)).and_then(|status| status.code()), Some(0));
}

/// A node that is asked to stop while it starts does so in good order.
#[test]
fn while_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let child = configured(&data, GRACE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut process = Process::new(child, "KILL", Duration::from_secs(60));
    let until = Instant::now() + Duration::from_secs(60);
    while !data.join("LOCK").exists() {
        assert!(Instant::now() < until, "the node does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(60)).and_then(|status| status.code()), Some(0));
    let checked = run(["check", "--data", data.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

/// Rows that a client has not finished sending are not there.
#[test]
fn with_a_running_copy() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::configured(&dir.path().join("data"), GRACE);
    node.server().sql("CREATE TABLE t (a int PRIMARY KEY)");
    let mut sender = copy(node.server());
    let mut input = sender.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"1\n2\n3\n").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    stop(&mut node, "TERM");
    drop(input);
    assert!(!sender.wait().unwrap().success());
    check(&node);
    let node = Node::configured(node.data(), GRACE);
    assert_eq!(node.server().sql("SELECT count(*) FROM t"), "0");
}

fn copy(server: &Server) -> std::process::Child {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &server.uri(), "-c", "COPY t FROM STDIN"]);
    psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
