//! What the repository promises about itself.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, TargetKind};
use stratos_tests::node::workspace;

/// Longest source file. One idea fits into much less; what is longer wants to be two files.
const FILE_LINES_MAX: usize = 750;

fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        // Without a platform cargo wants to see every platform's crates, which a build has not fetched.
        .other_options(["--locked", "--offline", "--filter-platform", &platform].map(str::to_owned))
        .exec()
        .unwrap()
}

/// Every file below a folder whose name ends so, without build output.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
                folders.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty());
    found.sort();
    found
}

/// `make check` has cargo-deny hold the arrows between our crates; it knows only the crates that it is told of.
#[test]
fn every_library_has_its_arrows() {
    let rules = std::fs::read_to_string(workspace().join("deny.toml")).unwrap();
    for package in metadata().workspace_packages() {
        let name = package.name.as_str();
        let used_by_others =
            name != "stratos-tests" && package.targets.iter().any(|target| target.is_kind(TargetKind::Lib));
        let named = rules.contains(&format!("{{ crate = \"{name}\", wrappers = ["));
        assert!(!used_by_others || named, "deny.toml does not say who may use {name}");
    }
}

#[test]
fn crates_carry_the_licence_of_the_repository() {
    assert!(workspace().join("LICENSE").is_file());
    for package in metadata().workspace_packages() {
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{}", package.name);
    }
}

#[test]
fn source_files_are_short_and_finished() {
    // Put together here, lest this file should find itself.
    let unfinished = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    let mut wrong = Vec::new();
    for path in files(workspace(), ".rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{} has {lines} lines, the limit is {FILE_LINES_MAX}", path.display()));
        }
        for word in unfinished.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{} contains {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a document puts between back quotes, fenced blocks aside, with the line that it stands in.
fn quoted(document: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in document.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|words| (number + 1, words.to_owned())));
        }
    }
    assert!(!fenced, "a fenced block does not end");
    found
}

/// What documents name besides: a data directory and its folders, and a file that every crate has.
const ELSEWHERE: [&str; 6] = ["./stratos-data", "log/", "state/", "tls/", "spill/", "lib.rs"];

/// Whether words between back quotes name a file or folder of the repository: one word with a slash, of letters that paths have,
/// that starts with something that is there or ends as files and folders do.
fn is_path(words: &str) -> bool {
    let (first, rest) = words.split_once('/').unwrap_or((words, ""));
    let of_a_path = !first.is_empty() && words.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let ends_as_one = words.ends_with('/') || [".rs", ".md", ".toml", ".py", ".sh"].iter().any(|e| words.ends_with(e));
    of_a_path && (ends_as_one || !rest.is_empty() && workspace().join(first).is_dir()) && !ELSEWHERE.contains(&words)
}

#[test]
fn documents_name_files_that_exist() {
    assert!(["query/types", "server/src/wire/", "query/src/rows.rs", "clippy.toml"].into_iter().all(is_path));
    assert!(!["3/4", "SHOW", "log/", "/metrics", "UTF-8", "pg_catalog.pg_class"].into_iter().any(is_path));
    let mut wrong = Vec::new();
    for path in files(workspace(), ".md") {
        let name = path.strip_prefix(workspace()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, words) in quoted(&text).into_iter().filter(|(_, words)| is_path(words)) {
            let there = workspace().join(&words);
            if !(if words.ends_with('/') { there.is_dir() } else { there.exists() }) {
                wrong.push(format!("{name}:{line} names {words}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// ARCHITECTURE.md is the map: every folder of sources is on it.
#[test]
fn the_map_shows_every_folder_of_sources() {
    let text = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let named: Vec<String> = quoted(&text).into_iter().map(|(_, words)| words).collect();
    let mut missing = Vec::new();
    for source in ["server/src", "query/src", "query/types/src", "replication/src"] {
        for entry in std::fs::read_dir(workspace().join(source)).unwrap() {
            let path = entry.unwrap().path();
            let folder = path.strip_prefix(workspace()).unwrap().display().to_string();
            if path.is_dir() && !named.iter().any(|name| name.starts_with(&folder)) {
                missing.push(folder);
            }
        }
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md does not say what is in {missing:?}");
}
