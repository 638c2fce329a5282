//! Opening a store on a disk.

use std::sync::Arc;

use super::data::DirectProposer;
use super::{SYSTEM_SHARD, Store};
use crate::api::{Span, StoreOptions};
use crate::apply::StateMachine;
use crate::engine::{RocksEngine, RocksOptions};
use crate::error::{Error, Result};
use crate::target::ApplyTarget;

/// Where in the data directory the engine lives.
const ENGINE_DIR: &str = "data";

/// The keys of the system shard.
fn system_span() -> Span {
    Span::new(&[0x01_u8][..], &[0x02_u8][..])
}

/// Makes sure that the system shard exists.
pub(super) fn bootstrap(machine: &StateMachine) -> Result<()> {
    if machine.shard_ids().is_empty() {
        machine.create_shard(SYSTEM_SHARD, system_span())?;
    }
    Ok(())
}

impl Store {
    /// Opens the store in a directory, and creates it when there is none. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `AlreadyRunning`, `NewerFormat`, `DiskFull`, `Io`, `Corruption`.
    pub async fn open(options: StoreOptions) -> Result<Store> {
        let opening = options.clone();
        let machine = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&opening.data_dir).map_err(|error| Error::io("creating the data directory", &error))?;
            let engine_options =
                RocksOptions { cache_bytes: opening.cache_bytes, memtable_bytes: opening.memtable_bytes };
            let engine = RocksEngine::open(&opening.data_dir.join(ENGINE_DIR), engine_options)?;
            let machine = StateMachine::open(Arc::new(engine), None)?;
            bootstrap(&machine)?;
            Ok::<_, Error>(Arc::new(machine))
        });
        let machine = machine.await.map_err(|_| Error::ShuttingDown)??;
        let proposer = Arc::new(DirectProposer::new(machine.clone()));
        Store::assemble(options, machine, proposer).await
    }
}
