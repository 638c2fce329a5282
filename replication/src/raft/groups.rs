//! All groups of a node: starting, finding, proposing, and ending them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use openraft::alias::SnapshotOf;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, InitializeError, LinearizableReadError, RaftError};
use openraft::{ReadPolicy, ServerState, SnapshotPolicy};
use parking_lot::{Mutex, RwLock};

use super::group::{Group, Proposal, ProposalState, not_leader};
use super::machine::{Failure, Machine, Observer};
use super::maintenance;
use super::network::{Connections, Request, Response, Transport};
use super::storage::LogStore;
use super::types::{self, Peer, Types};
use crate::api::ShardId;
use crate::error::{Error, Result};
use crate::log::{LogMetrics, LogOptions, PhysicalLog, StoredVote};
use crate::target::{ApplyTarget, LogPosition};

/// How long starting waits for a group that has no other members to be its own leader.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// How the groups of a node are run.
#[derive(Clone, Debug)]
pub struct GroupsConfig {
    /// The shared log.
    pub log: LogOptions,
    /// A leader with followers is heard this often when it has nothing to say.
    pub heartbeat_interval: Duration,
    /// A follower that has not heard a leader for a time between this and twice this stands for election.
    pub election_timeout: Duration,
    /// How often flushed entries are purged.
    pub maintenance_interval: Duration,
    /// More segments of the log than this make the state machine flush, so that they can go.
    pub log_segments_max: u64,
    /// A group with followers keeps this many flushed entries for those who lag a little.
    pub entries_kept_for_followers: u64,
}

impl Default for GroupsConfig {
    fn default() -> GroupsConfig {
        GroupsConfig {
            log: LogOptions::default(),
            heartbeat_interval: Duration::from_millis(250),
            election_timeout: Duration::from_millis(1000),
            maintenance_interval: Duration::from_secs(5),
            log_segments_max: 16,
            entries_kept_for_followers: 10_000,
        }
    }
}

/// What a group is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// Which shard.
    pub shard: ShardId,
    /// The leader, if this node knows one.
    pub leader: Option<u64>,
    /// Whether this node is the leader.
    pub is_leader: bool,
    /// The term.
    pub term: u64,
    /// Index of the last entry in the log.
    pub last_log: Option<u64>,
    /// The last entry that is known to be committed.
    pub committed: Option<LogPosition>,
    /// The last applied entry.
    pub applied: Option<LogPosition>,
    /// The last entry that is no longer in the log.
    pub purged: Option<LogPosition>,
    /// The voters, ascending.
    pub voters: Vec<u64>,
    /// Why the group has stopped, if it has.
    pub stopped: Option<String>,
}

/// The groups of a node. Cheap to clone.
#[derive(Clone)]
pub struct Groups {
    pub(super) inner: Arc<Inner>,
}

/// Does not keep the groups alive.
#[derive(Clone)]
pub(crate) struct WeakGroups(Weak<Inner>);

impl WeakGroups {
    pub fn upgrade(&self) -> Option<Groups> {
        self.0.upgrade().map(|inner| Groups { inner })
    }
}

impl std::fmt::Debug for WeakGroups {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("WeakGroups")
    }
}

pub(super) struct Inner {
    node: u64,
    pub log: Arc<PhysicalLog>,
    pub target: Arc<dyn ApplyTarget>,
    transport: Arc<dyn Transport>,
    pub config: GroupsConfig,
    raft_config: Arc<openraft::Config>,
    pub groups: RwLock<BTreeMap<ShardId, Arc<Group>>>,
    /// Groups are started and removed one at a time.
    starting: tokio::sync::Mutex<()>,
    runtime: tokio::runtime::Handle,
    pub closing: AtomicBool,
    maintenance: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Groups {
    /// Opens the shared log in `dir` and starts a group for every shard of `target`. Groups whose only member
    /// is this node are ready, with everything acknowledged applied, when the call returns.
    ///
    /// # Errors
    /// The log cannot be read; a group does not recover.
    pub async fn open(
        dir: &Path,
        node: u64,
        target: Arc<dyn ApplyTarget>,
        transport: Arc<dyn Transport>,
        config: GroupsConfig,
    ) -> Result<Groups> {
        let raft_config = raft_config(&config)?;
        let (path, options) = (dir.to_owned(), config.log.clone());
        let log = run_blocking("open the log", move || PhysicalLog::open(&path, options)).await??;
        let groups = Groups {
            inner: Arc::new(Inner {
                node,
                log: Arc::new(log),
                target,
                transport,
                config,
                raft_config,
                groups: RwLock::default(),
                starting: tokio::sync::Mutex::default(),
                runtime: tokio::runtime::Handle::current(),
                closing: AtomicBool::new(false),
                maintenance: Mutex::default(),
            }),
        };
        // Applying the logs may bring back shards that a split had made: go on until there are no more.
        while groups.adopt_missing().await? > 0 {}
        tokio::spawn(maintenance::watch_space(Arc::downgrade(&groups.inner)));
        let maintenance = tokio::spawn(maintenance::run(Arc::downgrade(&groups.inner)));
        *groups.inner.maintenance.lock() = Some(maintenance);
        Ok(groups)
    }

    /// Number of this node.
    pub fn node(&self) -> u64 {
        self.inner.node
    }

    pub(crate) fn downgrade(&self) -> WeakGroups {
        WeakGroups(Arc::downgrade(&self.inner))
    }

    /// Makes the group of a new shard with its first members, and waits for a leader if this node is the only
    /// one. The same call is made on every member. The target must know the shard already, durably.
    ///
    /// # Errors
    /// The log cannot be written; the group has no leader in time.
    pub async fn create(&self, shard: ShardId, members: BTreeMap<u64, Peer>) -> Result<()> {
        let group = self.start(shard).await?;
        match group.raft.initialize(members).await {
            Ok(()) => {}
            // It was initialized before, here or by another member.
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(consensus_error(&error)),
        }
        self.inner.settle(&group).await
    }

    /// Starts the group of a shard that the target has got by applying a split: same members as the parent,
    /// log from the position that the target gave it. Calling it again is harmless.
    ///
    /// # Errors
    /// The log cannot be written; a group with only this node as its member has no leader in time.
    pub async fn adopt(&self, shard: ShardId) -> Result<()> {
        let group = self.start(shard).await?;
        self.inner.settle(&group).await
    }

    /// Starts an empty group that waits for its leader to send it entries or a snapshot.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn join(&self, shard: ShardId) -> Result<()> {
        self.start(shard).await.map(|_| ())
    }

    /// Adopts the shards of the target that have no group yet; returns how many.
    async fn adopt_missing(&self) -> Result<usize> {
        let missing = self.inner.missing();
        let mut started = Vec::with_capacity(missing.len());
        for shard in &missing {
            started.push(self.start(*shard).await?);
        }
        // All of them write a vote: together they share the syncs.
        for result in join_all(started.iter().map(|group| self.inner.settle(group))).await {
            result?;
        }
        Ok(missing.len())
    }

    async fn start(&self, shard: ShardId) -> Result<Arc<Group>> {
        let _one_at_a_time = self.inner.starting.lock().await;
        if self.inner.closing.load(Relaxed) {
            return Err(Error::ShuttingDown);
        }
        if let Some(group) = self.inner.groups.read().get(&shard) {
            return Ok(Arc::clone(group));
        }
        self.inner.start(shard).await
    }

    /// Proposes a command and resolves to the state machine's answer. The command is queued before this
    /// function returns: commands of one shard are logged in the order of the calls.
    ///
    /// The future fails with `NotLeader` (not proposed), `DiskFull`, `Overloaded` (not proposed) or
    /// `OutcomeUnknown` (the command may be applied or not; commands must tolerate being proposed again).
    pub fn propose(&self, shard: ShardId, command: Bytes) -> Proposal {
        self.propose_after(shard, command, |log, bytes| log.check_room(bytes))
    }

    /// As [`Groups::propose`], for a small command by which earlier ones are finished: it may use the room that is kept for
    /// that on a full disk.
    pub fn propose_finishing(&self, shard: ShardId, command: Bytes) -> Proposal {
        self.propose_after(shard, command, |log, _| log.failure().map_or(Ok(()), Err))
    }

    fn propose_after(
        &self,
        shard: ShardId,
        command: Bytes,
        admit: impl FnOnce(&PhysicalLog, usize) -> crate::log::Result<()>,
    ) -> Proposal {
        let sent = self.group(shard).and_then(|group| {
            admit(&self.inner.log, command.len())?;
            let receiver = group.propose(&self.inner.log, command)?;
            Ok(ProposalState::Sent { receiver, shard })
        });
        Proposal { state: sent.unwrap_or_else(|error| ProposalState::Refused(Some(error))) }
    }

    /// Returns when everything that was acknowledged before the call, by any leader, is applied here.
    ///
    /// # Errors
    /// `NotLeader`, also when a majority cannot be reached.
    pub async fn ensure_linearizable(&self, shard: ShardId) -> Result<()> {
        let group = self.group(shard)?;
        if group.alone.load(Relaxed) {
            // Nobody else acknowledges, and this node does so after applying.
            return Ok(());
        }
        match group.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(not_leader(shard, &forward))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(Error::NotLeader { shard, leader: None })
            }
            Err(RaftError::Fatal(fatal)) => Err(group.fatal(&self.inner.log, &fatal)),
        }
    }

    /// The leader of a shard, if this node knows one.
    ///
    /// # Errors
    /// `UnknownShard`.
    pub fn leader(&self, shard: ShardId) -> Result<Option<u64>> {
        let metrics = self.group(shard)?.raft.metrics();
        let leader = metrics.borrow_watched().current_leader;
        Ok(leader)
    }

    /// Why a group takes no proposals until the process is started again; `None` as long as it does.
    pub fn stopped(&self, shard: ShardId) -> Option<Error> {
        let group = self.group(shard).ok()?;
        if let Some(error) = group.stopped(&self.inner.log) {
            return Some(error);
        }
        let metrics = group.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.running_state.as_ref().err().map(|fatal| group.fatal(&self.inner.log, fatal))
    }

    /// What a group is doing.
    ///
    /// # Errors
    /// `UnknownShard`.
    pub fn status(&self, shard: ShardId) -> Result<GroupStatus> {
        let group = self.group(shard)?;
        let metrics = group.raft.metrics();
        let metrics = metrics.borrow_watched();
        let stopped = group.stopped(&self.inner.log).map(|error| error.to_string());
        Ok(GroupStatus {
            shard,
            leader: metrics.current_leader,
            is_leader: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(types::position),
            applied: metrics.last_applied.as_ref().map(types::position),
            purged: metrics.purged.as_ref().map(types::position),
            voters: metrics.membership_config.voter_ids().collect(),
            stopped: stopped.or_else(|| metrics.running_state.as_ref().err().map(|fatal| fatal.to_string())),
        })
    }

    /// The shards that have a group here, ascending.
    pub fn shards(&self) -> Vec<ShardId> {
        self.inner.groups.read().keys().copied().collect()
    }

    /// Changes the voters of a group; new ones are brought up to date first, and those that leave are dropped.
    ///
    /// # Errors
    /// `NotLeader`; another change is under way; a new member cannot be reached.
    pub async fn change_voters(&self, shard: ShardId, voters: BTreeMap<u64, Peer>) -> Result<()> {
        let group = self.group(shard)?;
        group.alone.store(false, Relaxed);
        group.raft.runtime_config().tick(true);
        let known: Vec<u64> = {
            let metrics = group.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.nodes().map(|(id, _)| *id).collect()
        };
        let ids: std::collections::BTreeSet<u64> = voters.keys().copied().collect();
        let refused = |error: RaftError<Types, ClientWriteError<Types>>| match error.forward_to_leader() {
            Some(forward) => not_leader(shard, forward),
            None => consensus_error(&error),
        };
        for (id, peer) in voters {
            if !known.contains(&id) {
                group.raft.add_learner(id, peer, true).await.map_err(refused)?;
            }
        }
        group.raft.change_membership(ids, false).await.map_err(refused)?;
        Ok(())
    }

    /// Asks the leader (this node) to hand over to another voter. Returns at once.
    ///
    /// # Errors
    /// The group has stopped.
    pub async fn transfer_leader(&self, shard: ShardId, to: u64) -> Result<()> {
        let group = self.group(shard)?;
        group.raft.trigger().transfer_leader(to).await.map_err(|fatal| group.fatal(&self.inner.log, &fatal))
    }

    /// Answers a request of another node. The transport calls this.
    ///
    /// # Errors
    /// `UnknownShard`; the group has stopped.
    pub async fn handle(&self, shard: ShardId, request: Request) -> Result<Response> {
        let group = self.group(shard)?;
        let stopped = |error: RaftError<Types>| match error {
            RaftError::Fatal(fatal) => group.fatal(&self.inner.log, &fatal),
            other => consensus_error(&other),
        };
        Ok(match request {
            Request::Append(request) => Response::Append(group.raft.append_entries(request).await.map_err(stopped)?),
            Request::Vote(request) => Response::Vote(group.raft.vote(request).await.map_err(stopped)?),
            Request::PreVote(request) => Response::Vote(group.raft.pre_vote(request).await.map_err(stopped)?),
            Request::TransferLeader(request) => {
                let answer = group.raft.handle_transfer_leader(request).await;
                Response::TransferLeader(answer.map_err(|fatal| group.fatal(&self.inner.log, &fatal))?)
            }
            Request::Snapshot { vote, meta, data } => {
                let snapshot = SnapshotOf::<Types, _> { meta, snapshot: data };
                let answer = group.raft.install_full_snapshot(vote, snapshot).await;
                Response::Snapshot(answer.map_err(|fatal| group.fatal(&self.inner.log, &fatal))?)
            }
        })
    }

    /// Ends a group and forgets its log. The target's state is left alone.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn remove(&self, shard: ShardId) -> Result<()> {
        let _one_at_a_time = self.inner.starting.lock().await;
        let Some(group) = self.inner.groups.write().remove(&shard) else { return Ok(()) };
        if let Err(error) = group.raft.shutdown().await {
            tracing::warn!(%shard, %error, "the group did not end in order");
        }
        self.inner.log.remove_group(shard.0)?;
        Ok(())
    }

    /// Counters of the shared log.
    pub fn log_metrics(&self) -> LogMetrics {
        self.inner.log.metrics()
    }

    /// Purges now what the target has flushed, instead of at the next interval.
    ///
    /// # Errors
    /// The target cannot read.
    pub async fn purge_flushed(&self) -> Result<()> {
        maintenance::purge_flushed(&self.inner).await
    }

    /// Ends all groups and closes the log. Proposals under way end as `OutcomeUnknown`.
    ///
    /// # Errors
    /// The failure that the log had before.
    pub async fn shutdown(&self) -> Result<()> {
        self.inner.closing.store(true, Relaxed);
        let maintenance = self.inner.maintenance.lock().take();
        if let Some(maintenance) = maintenance {
            maintenance.abort();
        }
        let _one_at_a_time = self.inner.starting.lock().await;
        let groups: Vec<_> = std::mem::take(&mut *self.inner.groups.write()).into_values().collect();
        for result in join_all(groups.iter().map(|group| group.raft.shutdown())).await {
            if let Err(error) = result {
                tracing::warn!(%error, "a group did not end in order");
            }
        }
        let log = Arc::clone(&self.inner.log);
        Ok(run_blocking("close the log", move || log.close()).await??)
    }

    fn group(&self, shard: ShardId) -> Result<Arc<Group>> {
        let groups = self.inner.groups.read();
        match groups.get(&shard) {
            Some(group) => Ok(Arc::clone(group)),
            None if self.inner.closing.load(Relaxed) => Err(Error::ShuttingDown),
            None => Err(Error::UnknownShard { shard }),
        }
    }
}

impl Inner {
    /// Shards of the target without a group.
    fn missing(&self) -> Vec<ShardId> {
        let mut shards = self.target.shard_ids();
        let groups = self.groups.read();
        shards.retain(|shard| !groups.contains_key(shard));
        shards
    }

    async fn start(self: &Arc<Self>, shard: ShardId) -> Result<Arc<Group>> {
        let log = self.log.group(shard.0);
        let failure = Failure::default();
        let weak = Arc::downgrade(self);
        let observer: Weak<dyn Observer> = weak;
        let machine = Machine::open(Arc::clone(&self.target), shard, Arc::clone(&failure), observer)?;
        let state = log.state();
        let applied = self.target.applied(shard)?;
        if let Some(purged) = state.purged
            && applied.is_none_or(|applied| applied.index < purged.index)
        {
            return Err(Error::corruption(format!(
                "the state of shard {shard} is missing or older than the log, which no longer has what came before: \
                 without it data is lost"
            )));
        }
        if let (None, Some(position)) = (state.vote, applied) {
            // The shard comes from a split: its first term must be later than the one it was made in.
            let vote = StoredVote { term: position.term, leader: position.leader, committed: false };
            log.save_vote(vote, Box::new(|_| ()))?;
        }
        let connections = Connections { node: self.node, shard, transport: Arc::clone(&self.transport) };
        let config = Arc::clone(&self.raft_config);
        let store = LogStore::new(log.clone());
        // The tasks of the group run where it is made: beside the writer of the log, with which they have the most to do.
        let raft = openraft::Raft::new(self.node, config, connections, store, machine);
        let raft = self.log.runtime().spawn(raft).await.map_err(|_| Error::ShuttingDown)?;
        let raft = raft.map_err(|fatal| Error::Io { context: "start a group", message: fatal.to_string() })?;
        let group = Arc::new(Group::new(shard, raft, log, failure));
        self.groups.write().insert(shard, Arc::clone(&group));
        Ok(group)
    }

    /// Decides whether the group needs a clock. Without other members it needs none: it elects itself here, and
    /// then rests until somebody proposes. Otherwise the clock runs, and the leader comes when it comes.
    async fn settle(&self, group: &Group) -> Result<()> {
        let node = self.node;
        let stopped = |fatal| group.fatal(&self.log, &fatal);
        let alone = group
            .raft
            .with_raft_state(move |state| {
                let membership = state.membership_state.effective();
                membership.nodes().count() == 1 && membership.voter_ids().eq([node])
            })
            .await
            .map_err(stopped)?;
        group.alone.store(alone, Relaxed);
        group.raft.runtime_config().tick(!alone);
        if !alone {
            return Ok(());
        }
        if !group.raft.is_leader() {
            group.raft.trigger().elect(false).await.map_err(stopped)?;
        }
        group.raft.wait_for_recovery(Some(RECOVERY_TIMEOUT)).await.map_err(|error| {
            group.stopped(&self.log).unwrap_or_else(|| Error::Io {
                context: "wait for a group",
                message: format!("shard {}: {error}", group.shard),
            })
        })?;
        Ok(())
    }
}

impl Observer for Inner {
    fn applied_unattended(self: Arc<Self>) {
        if self.missing().is_empty() || self.closing.load(Relaxed) {
            return;
        }
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            if let Err(error) = (Groups { inner: self }).adopt_missing().await {
                tracing::error!(%error, "cannot start the group of a new shard");
            }
        });
    }
}

fn raft_config(config: &GroupsConfig) -> Result<Arc<openraft::Config>> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let raft = openraft::Config {
        cluster_name: "stratos".to_owned(),
        heartbeat_interval: millis(config.heartbeat_interval),
        election_timeout_min: millis(config.election_timeout),
        election_timeout_max: millis(config.election_timeout) * 2,
        // Snapshots cost nothing to "build"; purging decides when one is needed.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // Clocks are started by `settle` for groups that need one.
        enable_tick: false,
        enable_pre_vote: Some(true),
        install_snapshot_timeout: millis(Duration::from_secs(600)),
        ..openraft::Config::default()
    };
    let raft =
        raft.validate().map_err(|error| Error::Io { context: "configure consensus", message: error.to_string() })?;
    Ok(Arc::new(raft))
}

async fn run_blocking<T: Send + 'static>(
    context: &'static str,
    function: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(function).await.map_err(|error| Error::Io { context, message: error.to_string() })
}

fn consensus_error(error: &dyn std::error::Error) -> Error {
    Error::Io { context: "consensus", message: error.to_string() }
}
