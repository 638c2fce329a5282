//! `stratos check`: the store's invariants, then the tables' on top of them.

use std::path::Path;

use stratos_replication::directory::DataDirectory;

use crate::config::Config;
use crate::node::{NodeError, open_engine, open_store};

/// Walks through the data of a stopped node; gives a sentence for everything that does not agree.
///
/// # Errors
/// When the data cannot be opened or read at all.
pub async fn check(data: &Path) -> Result<Vec<String>, NodeError> {
    if !DataDirectory::is_one(data) {
        return Err(NodeError::NoData(data.to_owned()));
    }
    let config = Config { data_dir: data.to_owned(), ..Config::default() };
    let store = open_store(&config).await?;
    let mut findings: Vec<String> = store.check()?.findings.iter().map(ToString::to_string).collect();
    let engine = open_engine(&config, store.clone(), None).await?;
    findings.extend(engine.check()?);
    store.shutdown().await?;
    Ok(findings)
}
