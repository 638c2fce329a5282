//! Drivers as their users use them: each script under `drivers/` against PostgreSQL, which proves the script, and a node.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::path::PathBuf;
use std::process::{Command, Output};

use stratos_tests::client::Server;
use stratos_tests::node::{Node, workspace};
use stratos_tests::postgres::Postgres;

/// Where Debian keeps the JDBC driver.
const JDBC: &str = "/usr/share/java/postgresql.jar";

/// Where `scripts/setup.sh test` puts the drivers.
fn drivers() -> PathBuf {
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    std::env::var_os("STRATOS_DRIVERS_DIR").map_or_else(|| target().join("drivers"), PathBuf::from)
}

fn script(name: &str) -> PathBuf {
    workspace().join("tests/tests/drivers").join(name)
}

fn assert_success(what: &str, server: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} against {server}:\n{out}{err}");
}

/// Runs a script against both.
fn both(what: &str, run: impl Fn(&Server) -> Output) {
    let postgres = Postgres::start();
    assert_success(what, "PostgreSQL", &run(postgres.server()));
    drop(postgres);
    let node = Node::start();
    assert_success(what, "Stratos", &run(node.server()));
}

#[test]
fn psycopg() {
    let python = drivers().join("python/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh test", python.display());
    both("psycopg", |server| Command::new(&python).arg(script("driver.py")).arg(server.uri()).output().unwrap());
}

#[test]
fn node_postgres() {
    let modules = drivers().join("node_modules");
    assert!(modules.join("pg").exists(), "{} is missing: run scripts/setup.sh test", modules.join("pg").display());
    both("node pg", |server| {
        Command::new("node").arg(script("driver.js")).arg(server.uri()).env("NODE_PATH", &modules).output().unwrap()
    });
}

#[test]
fn jdbc() {
    assert!(PathBuf::from(JDBC).exists(), "{JDBC} is missing: run scripts/setup.sh test");
    let classes = tempfile::tempdir().unwrap();
    let compiled = Command::new("javac")
        .args(["-cp", JDBC, "-d"])
        .arg(classes.path())
        .arg(script("Driver.java"))
        .output()
        .unwrap();
    assert_success("javac", "Driver.java", &compiled);
    both("JDBC", |server| {
        let url = format!("jdbc:postgresql://127.0.0.1:{}/{}", server.port, server.database);
        let path = format!("{}:{JDBC}", classes.path().display());
        Command::new("java").args(["-cp", &path, "Driver", &url]).output().unwrap()
    });
}
