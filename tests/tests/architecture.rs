//! What the repository promises about itself.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use stratos_tests::node::workspace;

/// Longest source file. One idea fits into much less; what is longer wants to be two files.
const FILE_LINES_MAX: usize = 1100;

/// Which of our crates each of them may use. Arrows point one way.
const ARROWS: [(&str, &[&str]); 5] = [
    ("stratos-types", &[]),
    ("stratos-replication", &[]),
    ("stratos-query", &["stratos-types", "stratos-replication"]),
    ("stratos-server", &["stratos-query", "stratos-types", "stratos-replication"]),
    ("stratos-tests", &["stratos-server", "stratos-query", "stratos-types", "stratos-replication"]),
];

/// Licences under which dependencies may be used: all permissive.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Dependencies under the file-level copyleft of MPL-2.0: used unchanged, they ask nothing of what links them.
const UNCHANGED: [&str; 1] = ["x509-certificate"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .other_options(["--offline".to_owned(), "--locked".to_owned()])
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

#[test]
fn arrows_point_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let members: Vec<_> = metadata.workspace_packages();
    let mut seen = Vec::new();
    for package in &members {
        let name = package.name.as_str();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the list of arrows"));
        seen.push(name);
        for dependency in &package.dependencies {
            let ours = members.iter().any(|member| member.name.as_str() == dependency.name);
            // A crate may use itself in its own tests.
            let itself = dependency.name == name && dependency.kind == DependencyKind::Development;
            assert!(
                !ours || itself || allowed.contains(&dependency.name.as_str()),
                "{name} must not use {}",
                dependency.name
            );
        }
    }
    seen.sort_unstable();
    let mut listed: Vec<&str> = allowed.keys().copied().collect();
    listed.sort_unstable();
    assert_eq!(seen, listed, "the list of arrows and the workspace disagree");
}

/// Whether an SPDX expression allows a licence of the list: one side of each OR, both sides of each AND.
fn permitted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut tokens = Vec::new();
    let mut word = String::new();
    for part in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        match part {
            "(" | ")" | "OR" | "AND" => {
                if !word.is_empty() {
                    tokens.push(std::mem::take(&mut word));
                }
                tokens.push(part.to_owned());
            }
            _ if word.is_empty() => word = part.to_owned(),
            _ => word = format!("{word} {part}"),
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    let mut tokens = tokens.into_iter().peekable();
    let permitted = any_of(&mut tokens);
    permitted && tokens.next().is_none()
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<String>>;

fn any_of(tokens: &mut Tokens) -> bool {
    let mut permitted = all_of(tokens);
    while tokens.next_if(|token| token == "OR").is_some() {
        permitted |= all_of(tokens);
    }
    permitted
}

fn all_of(tokens: &mut Tokens) -> bool {
    let mut permitted = one(tokens);
    while tokens.next_if(|token| token == "AND").is_some() {
        permitted &= one(tokens);
    }
    permitted
}

fn one(tokens: &mut Tokens) -> bool {
    match tokens.next().as_deref() {
        Some("(") => {
            let permitted = any_of(tokens);
            tokens.next().as_deref() == Some(")") && permitted
        }
        Some(licence) => LICENCES.contains(&licence),
        None => false,
    }
}

#[test]
fn licences_of_dependencies_are_permissive() {
    assert!(permitted("MIT/Apache-2.0") && permitted("(GPL-3.0 OR MIT) AND Unicode-3.0"));
    assert!(!permitted("GPL-3.0") && !permitted("MIT AND GPL-3.0") && !permitted("") && !permitted("MIT)"));
    let metadata = metadata();
    let refused: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(permitted))
        .filter(|package| !UNCHANGED.contains(&package.name.as_str()) || package.license.as_deref() != Some("MPL-2.0"))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    for package in metadata.workspace_packages() {
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{}", package.name);
    }
    assert!(workspace().join("LICENSE").exists());
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

#[test]
fn documents_name_files_that_exist() {
    let mut wrong = Vec::new();
    for document in ["ARCHITECTURE.md", "README.md"] {
        let text =
            std::fs::read_to_string(workspace().join(document)).unwrap_or_else(|why| panic!("{document}: {why}"));
        let quoted = text.split('`').skip(1).step_by(2);
        for path in quoted.filter(|path| path.ends_with(".rs") && path.contains('/') && !path.contains([' ', '*', '{']))
        {
            if !workspace().join(path).is_file() {
                wrong.push(format!("{document} names {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
