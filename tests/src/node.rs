//! A real node, started from the binary.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Server;
use crate::process::Process;

/// How long a node may take to greet. Generous: several test binaries may share two cores with a compiler.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to stop: its own grace for running statements is shorter.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Path of the `stratos` binary: `STRATOS_BIN`, or that beside the running test, built when it is missing. One that is older
/// than what it was built from fails the test: it would say nothing of the sources.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("STRATOS_BIN") {
            return path.into();
        }
        // <target>/<profile>/deps/<test>: no environment variable names the binary of another crate.
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let path = profile.join("stratos");
        if !path.exists() {
            let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
                .args(["build", "--quiet", "--workspace", "--bin", "stratos", "--target-dir"])
                .arg(profile.parent().unwrap())
                .current_dir(workspace())
                .status()
                .expect("cargo runs");
            assert!(status.success(), "the stratos binary cannot be built");
        }
        if let Some(newer) = newer_source(&path) {
            panic!("{} is older than {}: run cargo build", path.display(), newer.display());
        }
        path
    })
}

/// Stands for a space in a path while the list is taken apart.
const SPACE: &str = "\u{1}";

/// A source that has changed since the binary was built from it. Cargo lists them in a file beside the binary.
fn newer_source(binary: &Path) -> Option<PathBuf> {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let built = modified(binary)?;
    let list = std::fs::read_to_string(binary.with_extension("d")).ok()?;
    let sources = list.split_once(": ")?.1.replace(r"\ ", SPACE);
    let mut sources = sources.split_whitespace().map(|path| PathBuf::from(path.replace(SPACE, " ")));
    sources.find(|source| modified(source).is_some_and(|changed| changed > built))
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A command of the binary, without the environment variables that configure a node or the tests.
pub fn stratos<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STRATOS_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command of the binary to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    stratos(args).output().unwrap()
}

/// The command that serves a data directory with further settings, in TOML. Its configuration file lies beside the directory.
pub fn configured(data: &Path, settings: &str) -> Command {
    configured_for(data, data, settings)
}

/// As [`configured`], with the configuration file beside another path.
pub fn configured_for(data: &Path, beside: &Path, settings: &str) -> Command {
    let file = beside.with_extension("toml");
    let config = format!(
        "data_dir = {data:?}\nsql_addr = \"127.0.0.1:0\"\nhttp_addr = \"127.0.0.1:0\"\ntrust_loopback = true\n{settings}\n"
    );
    std::fs::write(&file, config).unwrap();
    let mut command = stratos(["start", "--config"]);
    command.arg(file);
    command
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    process: Process,
    server: Server,
    http: String,
    data: PathBuf,
    log: PathBuf,
    /// Kept for its end.
    _dir: Option<TempDir>,
}

impl Node {
    /// `stratos dev` on a new data directory.
    pub fn start() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::dev(&dir.path().join("data"));
        node._dir = Some(dir);
        node
    }

    /// `stratos dev` on a data directory that outlives the node.
    pub fn dev(data: &Path) -> Node {
        let mut command = stratos(["dev", "--sql-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data"]);
        command.arg(data);
        Node::greeted(command, data).unwrap_or_else(|why| panic!("the node does not start: {why}"))
    }

    /// `stratos start` on a data directory that outlives the node, with further settings, in TOML.
    pub fn configured(data: &Path, settings: &str) -> Node {
        let command = configured(data, settings);
        Node::greeted(command, data).unwrap_or_else(|why| panic!("the node does not start: {why}"))
    }

    /// Starts a command that serves `data`, and waits for its greeting. An error is its exit status and what it logged.
    ///
    /// # Errors
    /// When it ends, or says nothing for a long time.
    pub fn greeted(mut command: Command, data: &Path) -> Result<Node, String> {
        let name = format!("{}.log", data.file_name().unwrap().to_string_lossy());
        let log = data.with_file_name(name);
        let log_file = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log_file).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut process = Process::new(child, "TERM", STOP_PATIENCE);
        let (send, lines) = channel();
        // Reads on after the greeting, lest the node should write into a closed pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut said = String::new();
        loop {
            match lines.recv_timeout(START_PATIENCE) {
                Ok(line) => said.push_str(&(line + "\n")),
                Err(RecvTimeoutError::Timeout) => return Err(format!("it says only: {said}")),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = process.wait(STOP_PATIENCE);
                    let log = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(format!("{status:?}: {log}"));
                }
            }
            let sql = between(&said, "postgres://stratos@", "/");
            let http = between(&said, "http://", "/");
            if let (Some(sql), Some(http)) = (sql, http) {
                let port = sql.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
                let server = Server { port, user: "stratos".into(), database: "stratos".into(), password: None };
                return Ok(Node { process, server, http, data: data.to_owned(), log, _dir: None });
            }
        }
    }

    /// Where to connect.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Address of its HTTP port.
    pub fn http_addr(&self) -> &str {
        &self.http
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it is still running.
    pub fn alive(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Kills it as a crash of the process would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.process.wait(patience)
    }

    /// Stops it by SIGTERM; `None` when it had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.process.stop()
    }

    /// Status line and body of a page of its HTTP port.
    pub fn http(&self, path: &str) -> (String, String) {
        let mut socket = TcpStream::connect(&self.http).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        socket.read_to_string(&mut page).unwrap();
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.split_once(after).map(|(found, _)| found.to_owned())
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            if !log.is_empty() {
                eprintln!("--- log of the node ---\n{log}");
            }
        }
    }
}
