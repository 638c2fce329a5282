//! A private PostgreSQL: what it answers is right.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Server;
use crate::process::{Process, free_port};

/// Where Debian keeps the binaries of the version that we compare with.
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
/// How long it may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Attempts at a port that somebody else may take between our look and the start.
const PORT_ATTEMPTS: usize = 5;

/// A running PostgreSQL 15 with a role and a database `stratos`, without passwords, on a loopback port of its own.
#[derive(Debug)]
pub struct Postgres {
    /// Ends before the directory goes.
    _process: Process,
    server: Server,
    _dir: TempDir,
}

/// User and group to run as: PostgreSQL refuses to run as root.
fn somebody() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> u32 {
        let output = Command::new("id").args(args).output().unwrap();
        assert!(output.status.success(), "there is no user postgres: run scripts/setup.sh test");
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// Where a program of PostgreSQL's is: a client that works on a node, too.
pub fn program(name: &str) -> PathBuf {
    Path::new(BINARIES).join(name)
}

/// A client of PostgreSQL's, without settings of the developer's own.
pub fn client_program(name: &str) -> Command {
    let mut command = Command::new(program(name));
    // Settings of the developer's own server must not leak in.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

fn command(name: &str) -> Command {
    let mut command = client_program(name);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    if let Some((user, group)) = somebody() {
        command.uid(user).gid(group);
    }
    command
}

impl Postgres {
    /// Starts one on a new data directory.
    pub fn start() -> Postgres {
        let dir = tempfile::tempdir().unwrap();
        if let Some((user, group)) = somebody() {
            std::os::unix::fs::chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let data: PathBuf = dir.path().join("data");
        let made = command("initdb")
            .args(["--username=stratos", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .status()
            .unwrap_or_else(|why| panic!("{BINARIES}/initdb: {why}; run scripts/setup.sh test"));
        assert!(made.success(), "initdb fails");
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            let child = command("postgres")
                .arg("-D")
                .arg(&data)
                .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
                .args(["-c", "fsync=off", "-c", "timezone=UTC", "-c", "log_timezone=UTC"])
                .spawn()
                .unwrap();
            // SIGINT is PostgreSQL's fast shutdown.
            let mut process = Process::new(child, "INT", START_PATIENCE);
            let admin = Server { port, user: "stratos".into(), database: "postgres".into(), password: None };
            let until = Instant::now() + START_PATIENCE;
            while process.ended().is_none() && Instant::now() < until {
                // The port may have become somebody else's: what answers must be ours.
                let answers = admin.psql(&["-qAtc", "SHOW data_directory"]);
                let is_ours = Path::new(String::from_utf8_lossy(&answers.stdout).trim()) == data;
                if is_ours && admin.psql(&["-qc", "CREATE DATABASE stratos"]).status.success() {
                    let server = Server { database: "stratos".into(), ..admin };
                    return Postgres { _process: process, server, _dir: dir };
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        panic!("PostgreSQL does not start");
    }

    /// Where to connect.
    pub fn server(&self) -> &Server {
        &self.server
    }
}
