//! `stratos check`: the store's invariants, then the tables' on top of them.

use std::path::Path;

use stratos_query::engine::Engine;
use stratos_replication::StoreOptions;
use stratos_replication::directory::DataDirectory;

use crate::config::Config;
use crate::node::{NodeError, engine_options, open_store, store_options};

/// Walks through the data of a stopped node; gives a sentence for everything that does not agree. As at a start, what only the
/// log has is applied to the state first; nothing else is done.
///
/// # Errors
/// When the data cannot be opened or read at all.
pub async fn check(data: &Path) -> Result<Vec<String>, NodeError> {
    if !DataDirectory::is_one(data) {
        return Err(NodeError::NoData(data.to_owned()));
    }
    let config = Config { data_dir: data.to_owned(), ..Config::default() };
    let options = StoreOptions { housekeeping: false, ..store_options(&config) };
    let store = open_store(options).await?;
    let mut findings: Vec<String> = store.check()?.findings.iter().map(ToString::to_string).collect();
    let engine = Engine::inspect(store.clone(), engine_options(&config, None))?;
    findings.extend(engine.check()?);
    store.shutdown().await?;
    Ok(findings)
}
