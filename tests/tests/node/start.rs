//! Data directories that cannot be used: a sentence that names them on standard error, and an exit status that says so.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use stratos_tests::node::{Node, binary, run};

/// Exit status of a check that could not be carried out.
const NOT_CHECKED: i32 = 2;

fn dev(data: &Path) -> Output {
    run(["dev", "--sql-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data", data.to_str().unwrap()])
}

/// It ends with the sentence and changes nothing.
fn refused(output: &Output, sentence: &str) {
    ended(output, 1, sentence);
}

/// As [`refused`], with an exit status of its own.
fn ended(output: &Output, status: i32, sentence: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(said.contains(sentence), "{said:?} does not say {sentence:?}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&dev(&file), "file: not a directory");
    refused(&dev(&file.join("below")), "file/below: Not a directory");
    refused(&dev(Path::new("/proc/nowhere")), "/proc/nowhere: ");
    ended(&run(["check", "--data", dir.path().join("none").to_str().unwrap()]), NOT_CHECKED, "none");
    assert!(!dir.path().join("none").exists(), "a check makes nothing");

    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("letter.txt"), "dear").unwrap();
    refused(&dev(&foreign), "foreign is neither empty nor a data directory: it holds letter.txt");
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);

    let newer = dir.path().join("newer");
    std::fs::create_dir(&newer).unwrap();
    std::fs::write(newer.join("FORMAT"), "stratos data directory, format 9\n").unwrap();
    refused(&dev(&newer), "the data directory has format 9, but this version supports formats up to 1");
    std::fs::write(newer.join("FORMAT"), "mine").unwrap();
    refused(&dev(&newer), "newer/FORMAT does not name a format");
}

/// A directory that must not be written. Root may write everything, and starts the node as somebody else.
#[test]
fn a_directory_without_rights_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    drop(Node::dev(&data));
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500)).unwrap();
        std::fs::set_permissions(data.join("LOCK"), std::fs::Permissions::from_mode(0o400)).unwrap();
        refused(&dev(&data), "LOCK: Permission denied");
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
        return;
    }
    // The program and its data must be within reach of the other user.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("stratos");
    if std::fs::hard_link(binary(), &program).is_err() {
        std::fs::copy(binary(), &program).unwrap();
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(&program).args(["dev", "--sql-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]);
    refused(&command.arg("--data").arg(&data).output().unwrap(), "Permission denied");
}

#[test]
fn a_second_node_is_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    refused(&dev(&data), &format!("data is in use by process {}", node.id()));
    ended(&run(["check", "--data", data.to_str().unwrap()]), NOT_CHECKED, "is in use by process");
    assert_eq!(node.server().sql("SELECT 1"), "1");
    // A crash leaves no lock behind, and what queries have put on the disk goes with the next start.
    node.kill();
    let left = data.join("spill/datafusion-left");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("part"), "rows").unwrap();
    assert_eq!(Node::dev(&data).server().sql("SELECT 1"), "1");
    assert!(!left.exists(), "what a query has spilled stays on the disk for ever");
}
