//! The command line, and how a node starts and stops.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use stratos_tests::frames::{Frames, query};
use stratos_tests::node::{Node, run, stratos};
use stratos_tests::process::Process;

#[test]
fn starts_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    node.server().sql("CREATE TABLE kept (a int PRIMARY KEY); INSERT INTO kept VALUES (7)");

    // A second node on the same data says so and ends.
    let dev = |data: &std::path::Path| {
        run(["dev", "--sql-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data", data.to_str().unwrap()])
    };
    let second = dev(&data);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_ne!(second.status.code(), Some(0));
    assert!(said.contains("in use") || said.contains("already"), "{said}");
    // As does one on the same address, and a check of a running node.
    let address = format!("127.0.0.1:{}", node.server().port);
    let other = dir.path().join("other");
    let taken = run(["dev", "--sql-addr", &address, "--http-addr", "127.0.0.1:0", "--data", other.to_str().unwrap()]);
    assert_ne!(taken.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&taken.stderr).contains(&address), "{taken:?}");
    assert_eq!(run(["check", "--data", data.to_str().unwrap()]).status.code(), Some(2));
    assert_eq!(node.server().sql("SELECT a FROM kept"), "7");

    // SIGTERM lets a running statement end.
    let server = node.server().clone();
    let running = std::thread::spawn(move || server.sql("SELECT 'ended' FROM pg_sleep(2)"));
    std::thread::sleep(Duration::from_millis(700));
    node.signal("TERM");
    assert_eq!(running.join().unwrap(), "ended");
    assert_eq!(node.wait(Duration::from_secs(30)).and_then(|status| status.code()), Some(0));

    // One that is still being planned does not hold up the stop, nor does a client that reads nothing.
    let mut node = Node::dev(&data);
    let tables: Vec<String> = (0..2_000).map(|n| format!("(SELECT 1 AS a) t{n}")).collect();
    let mut planned = Frames::connect(node.server());
    planned.send(&query(&format!("SELECT count(*) FROM {}", tables.join(", "))));
    let mut slow = Frames::connect(node.server());
    slow.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"));
    std::thread::sleep(Duration::from_millis(700));
    node.signal("TERM");
    assert_eq!(node.wait(Duration::from_secs(30)).and_then(|status| status.code()), Some(0));

    // What was written is there after a restart, also by SIGINT.
    let mut node = Node::dev(&data);
    assert_eq!(node.server().sql("SELECT a FROM kept"), "7");
    node.signal("INT");
    assert_eq!(node.wait(Duration::from_secs(30)).and_then(|status| status.code()), Some(0));
    let check = run(["check", "--data", data.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");

    // A data directory of a newer format is refused.
    let format = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let format = format.filter(|path| path.is_file() && path.to_string_lossy().to_lowercase().contains("format"));
    let format: Vec<_> = format.collect();
    let [format] = format.as_slice() else { panic!("which file says the format? {format:?}") };
    let text = std::fs::read_to_string(format).unwrap();
    let newer: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    std::fs::write(format, newer).unwrap();
    let refused = dev(&data);
    assert_ne!(refused.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("format"), "{refused:?}");
    std::fs::write(format, text).unwrap();
    assert_eq!(Node::dev(&data).server().sql("SELECT a FROM kept"), "7");

    // Directories that cannot be used.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for bad in [file.clone(), file.join("below"), "/proc/nowhere".into()] {
        let refused = dev(&bad);
        assert_ne!(refused.status.code(), Some(0), "{bad:?}");
        assert!(!String::from_utf8_lossy(&refused.stderr).contains("panicked"), "{refused:?}");
    }
    // What cannot be looked through is no inconsistency.
    assert_eq!(run(["check", "--data", "/nowhere"]).status.code(), Some(2));
}

/// A node that listens everywhere says where to find it, who needs a password, and which variables it did not read.
#[test]
fn greets() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = stratos(["dev", "--sql-addr", "0.0.0.0:0", "--http-addr", "127.0.0.1:0", "--data"]);
    command.arg(dir.path().join("data")).env("STRATOS_CASH_MB", "1").env("STRATOS_CACHE_MB", "64");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut said, mut logged) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
    let mut node = Process::new(child, "TERM", Duration::from_secs(30));
    let mut greeting = String::new();
    said.read_line(&mut greeting).unwrap();
    assert!(greeting.contains("postgres://stratos@127.0.0.1:"), "{greeting}");
    assert!(greeting.contains("on 0.0.0.0:") && greeting.contains("password required beyond loopback"), "{greeting}");
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
    let mut warned = String::new();
    logged.read_to_string(&mut warned).unwrap();
    // The one that is a setting counts; the other is mistyped.
    assert!(warned.contains("STRATOS_CASH_MB") && !warned.contains("STRATOS_CACHE_MB"), "{warned}");
}

#[test]
fn the_command_line() {
    for (args, expected) in [
        (vec!["version"], "stratos 0."),
        (vec!["--help"], "dev"),
        (vec!["dev", "--help"], "--sql-addr"),
        (vec!["start", "--help"], "--config"),
        (vec!["check", "--help"], "--data"),
        (vec!["config"], "sql_addr"),
    ] {
        let output = run(&args);
        assert!(output.status.success(), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{args:?}: {output:?}");
    }
    for args in
        [vec!["nothing"], vec!["start"], vec!["start", "--config", "/nowhere.toml"], vec!["dev", "--sql-addr", "x"]]
    {
        assert!(!run(&args).status.success(), "{args:?}");
    }
    let said = String::from_utf8_lossy(&run(["dev", "--sql-addr", "x"]).stderr).into_owned();
    assert!(said.contains("it must be HOST:PORT"), "{said}");
}
