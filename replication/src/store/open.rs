//! Opening a store on a disk: the directory, the engine, the logs, and the transactions on top.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::data::Proposer;
use super::{SYSTEM_SHARD, Store};
use crate::api::{ShardId, Span, StoreOptions};
use crate::apply::StateMachine;
use crate::command::finishes_work;
use crate::directory::DataDirectory;
use crate::engine::{CachedEngine, RocksEngine, RocksOptions};
use crate::error::{Error, Result};
use crate::log::{LogMetrics, LogOptions};
use crate::raft::{Groups, GroupsConfig, NoPeers, Peer};
use crate::target::ApplyTarget;

/// Number of this node among the members of its groups, as long as it is alone.
const NODE: u64 = 1;

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

/// The Raft groups as the store proposes to them, with all that must live as long as they do.
struct GroupProposer {
    groups: Groups,
    machine: Arc<StateMachine>,
    _directory: DataDirectory,
}

/// The members of every group: this node.
fn alone() -> BTreeMap<u64, Peer> {
    BTreeMap::from([(NODE, Peer { address: String::new() })])
}

async fn flush(machine: Arc<StateMachine>) -> Result<()> {
    tokio::task::spawn_blocking(move || machine.flush()).await.map_err(|_| Error::ShuttingDown)?
}

impl Proposer for GroupProposer {
    fn submit(&self, shard: ShardId, command: Bytes) -> BoxFuture<'static, Result<Bytes>> {
        Box::pin(match finishes_work(&command) {
            true => self.groups.propose_finishing(shard, command),
            false => self.groups.propose(shard, command),
        })
    }

    fn start(&self, shard: ShardId, parent: Option<ShardId>) -> BoxFuture<'static, Result<()>> {
        let (groups, machine) = (self.groups.clone(), self.machine.clone());
        Box::pin(async move {
            if parent.is_some() {
                return groups.adopt(shard).await;
            }
            // The group's log must not outlive a crash in which the shard itself is forgotten.
            flush(machine).await?;
            groups.create(shard, alone()).await
        })
    }

    fn has_group(&self, shard: ShardId) -> bool {
        !matches!(self.groups.leader(shard), Err(Error::UnknownShard { .. }))
    }

    fn leader(&self, shard: ShardId) -> Option<u64> {
        self.groups.leader(shard).ok().flatten()
    }

    fn stopped(&self, shard: ShardId) -> Option<Error> {
        self.groups.stopped(shard)
    }

    fn log_metrics(&self) -> Option<LogMetrics> {
        Some(self.groups.log_metrics())
    }

    fn shutdown(&self) -> BoxFuture<'static, Result<()>> {
        let (groups, machine) = (self.groups.clone(), self.machine.clone());
        Box::pin(async move {
            // The log is all that must be whole. The flush only spares the next start the work of applying it again.
            let closed = groups.shutdown().await;
            flush(machine).await?;
            closed
        })
    }
}

impl Store {
    /// Opens the store in a directory, and creates it when there is none. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `AlreadyRunning`, `NewerFormat`, `DiskFull`, `Io`, `Corruption`.
    pub async fn open(options: StoreOptions) -> Result<Store> {
        let opening = options.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let directory = DataDirectory::open(&opening.data_dir)?;
            let engine_options =
                RocksOptions { cache_bytes: opening.cache_bytes, memtable_bytes: opening.memtable_bytes };
            let engine = RocksEngine::open(&directory.state(), engine_options)?;
            let engine = CachedEngine::new(engine, opening.row_cache_bytes);
            let machine = StateMachine::open(Arc::new(engine))?;
            for shard in machine.shard_ids() {
                if machine.applied(shard)?.is_some() {
                    directory.require_log()?;
                }
            }
            bootstrap(&machine)?;
            Ok::<_, Error>((directory, Arc::new(machine)))
        });
        let (directory, machine) = opened.await.map_err(|_| Error::ShuttingDown)??;
        let log = LogOptions { durability: options.durability, ..LogOptions::default() };
        let config = GroupsConfig { log, ..GroupsConfig::default() };
        let groups = Groups::open(&directory.log(), NODE, machine.clone(), Arc::new(NoPeers), config).await?;
        for shard in machine.shard_ids() {
            // New, or created just before a crash.
            if groups.status(shard)?.voters.is_empty() {
                groups.create(shard, alone()).await?;
            }
        }
        let proposer = GroupProposer { groups, machine: machine.clone(), _directory: directory };
        Store::assemble(options, machine, Arc::new(proposer)).await
    }
}
