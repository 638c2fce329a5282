//! Groups on one node and on three, with a state machine that keeps a list.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::api::ShardId;
use crate::error::{Error, Result};
use crate::target::{ApplyTarget, LogPosition};

const SHARD: ShardId = ShardId(1);

#[derive(Clone, Debug, Default, PartialEq)]
struct Shard {
    applied: Option<LogPosition>,
    membership: Option<Bytes>,
    commands: Vec<Bytes>,
}

/// Keeps every command; `split N` also makes shard N. What is not flushed is lost in a crash.
#[derive(Default)]
struct ListTarget {
    shards: Mutex<BTreeMap<ShardId, Shard>>,
    flushed: Mutex<BTreeMap<ShardId, Shard>>,
    fails: AtomicBool,
    imports: Mutex<u64>,
    /// Whether a command that takes long was applied with others.
    held_up: AtomicBool,
}

impl ListTarget {
    fn with_shard() -> Arc<ListTarget> {
        let target = ListTarget::default();
        target.shards.lock().insert(SHARD, Shard::default());
        target.flush().unwrap();
        Arc::new(target)
    }

    /// What a restart finds.
    fn crashed(&self) -> Arc<ListTarget> {
        let flushed = self.flushed.lock().clone();
        Arc::new(ListTarget { shards: Mutex::new(flushed.clone()), flushed: Mutex::new(flushed), ..Default::default() })
    }

    fn commands(&self, shard: ShardId) -> Vec<Bytes> {
        self.shards.lock().get(&shard).map(|shard| shard.commands.clone()).unwrap_or_default()
    }

    fn of<T>(&self, shard: ShardId, get: impl FnOnce(&Shard) -> T) -> Result<T> {
        self.shards.lock().get(&shard).map(get).ok_or(Error::UnknownShard { shard })
    }
}

impl ApplyTarget for ListTarget {
    fn apply(&self, shard: ShardId, entries: &[(LogPosition, Bytes)], membership: Option<Bytes>) -> Result<Vec<Bytes>> {
        if self.fails.load(SeqCst) {
            return Err(Error::DiskFull);
        }
        let long = entries.iter().any(|(_, command)| self.takes_long(command));
        self.held_up.fetch_or(long && entries.len() > 1, SeqCst);
        let mut shards = self.shards.lock();
        let mut children = Vec::new();
        let state = shards.get_mut(&shard).ok_or(Error::UnknownShard { shard })?;
        if membership.is_some() {
            state.membership = membership;
        }
        let mut answers = Vec::new();
        for (position, command) in entries {
            assert!(state.applied.is_none_or(|applied| applied.index < position.index && applied < *position));
            state.applied = Some(*position);
            if command.is_empty() {
                answers.push(Bytes::new());
                continue;
            }
            if let Some(child) = std::str::from_utf8(command).unwrap().strip_prefix("split ") {
                let child = ShardId(child.parse().unwrap());
                children.push((child, Shard { commands: Vec::new(), ..state.clone() }));
            }
            answers.push(Bytes::from(state.commands.len().to_string()));
            state.commands.push(command.clone());
        }
        shards.extend(children);
        Ok(answers)
    }

    fn takes_long(&self, command: &Bytes) -> bool {
        command.starts_with(b"long")
    }

    fn applied(&self, shard: ShardId) -> Result<Option<LogPosition>> {
        self.of(shard, |state| state.applied)
    }

    fn flushed(&self, shard: ShardId) -> Result<Option<LogPosition>> {
        Ok(self.flushed.lock().get(&shard).and_then(|state| state.applied))
    }

    fn flush(&self) -> Result<()> {
        *self.flushed.lock() = self.shards.lock().clone();
        Ok(())
    }

    fn membership(&self, shard: ShardId) -> Result<Option<Bytes>> {
        self.of(shard, |state| state.membership.clone())
    }

    fn shard_ids(&self) -> Vec<ShardId> {
        self.shards.lock().keys().copied().collect()
    }

    fn export(&self, shard: ShardId, sink: &mut dyn Write) -> Result<Option<LogPosition>> {
        let state = self.of(shard, Clone::clone)?;
        let position = state.applied.unwrap();
        let mut lines = format!("{} {} {}\n", position.term, position.leader, position.index);
        let membership = state.membership.unwrap_or_default();
        lines += &membership.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for command in &state.commands {
            lines += &format!("\n{}", std::str::from_utf8(command).unwrap());
        }
        sink.write_all(lines.as_bytes()).map_err(|error| Error::io("export", &error))?;
        Ok(Some(position))
    }

    fn import(&self, shard: ShardId, source: &mut dyn Read) -> Result<Option<LogPosition>> {
        let mut text = String::new();
        source.read_to_string(&mut text).map_err(|error| Error::io("import", &error))?;
        let mut lines = text.lines();
        let numbers: Vec<u64> = lines.next().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
        let position = LogPosition { term: numbers[0], leader: numbers[1], index: numbers[2] };
        let membership = lines.next().unwrap().as_bytes();
        let membership = membership
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect::<Vec<u8>>();
        let commands = lines.map(|line| Bytes::from(line.to_owned())).collect();
        let state = Shard { applied: Some(position), membership: Some(membership.into()), commands };
        self.shards.lock().insert(shard, state);
        *self.imports.lock() += 1;
        self.flush()?;
        Ok(Some(position))
    }
}

fn config() -> GroupsConfig {
    GroupsConfig {
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_millis(500),
        maintenance_interval: Duration::from_secs(3600),
        entries_kept_for_followers: 0,
        ..GroupsConfig::default()
    }
}

fn members(ids: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Peer> {
    ids.into_iter().map(|id| (id, Peer { address: format!("node {id}") })).collect()
}

async fn open_single(dir: &Path, target: &Arc<ListTarget>) -> Groups {
    let target: Arc<dyn ApplyTarget> = Arc::clone(target) as _;
    Groups::open(dir, 1, target, Arc::new(NoPeers), config()).await.unwrap()
}

async fn single(dir: &Path, target: &Arc<ListTarget>) -> Groups {
    let groups = open_single(dir, target).await;
    groups.create(SHARD, members([1])).await.unwrap();
    groups
}

fn command(number: u64) -> Bytes {
    Bytes::from(format!("command {number}"))
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_are_applied_in_order_and_survive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut target = ListTarget::with_shard();
    let mut expected = Vec::new();
    for restart in 0..3 {
        let groups = single(dir.path(), &target).await;
        assert_eq!(target.commands(SHARD), expected, "after restart {restart}");
        let proposals: Vec<_> = (0..50).map(|number| groups.propose(SHARD, command(restart * 100 + number))).collect();
        for (at, proposal) in proposals.into_iter().enumerate() {
            assert_eq!(proposal.await.unwrap(), (expected.len() + at).to_string());
        }
        expected.extend((0..50).map(|number| command(restart * 100 + number)));
        groups.ensure_linearizable(SHARD).await.unwrap();
        let status = groups.status(SHARD).unwrap();
        assert_eq!((status.leader, status.is_leader, status.voters), (Some(1), true, vec![1]));
        if restart == 1 {
            // A flush in the middle: the log before it can go, what follows must be replayed.
            target.flush().unwrap();
            groups.purge_flushed().await.unwrap();
            eventually("the log is purged", || groups.status(SHARD).unwrap().purged.is_some()).await;
            groups.propose(SHARD, command(999)).await.unwrap();
            expected.push(command(999));
        }
        groups.shutdown().await.unwrap();
        assert!(matches!(groups.propose(SHARD, command(0)).await, Err(Error::ShuttingDown)));
        target = target.crashed();
    }
    let groups = open_single(dir.path(), &target).await;
    assert_eq!(target.commands(SHARD), expected);
    let unknown = groups.propose(ShardId(77), command(0)).await;
    assert!(matches!(unknown, Err(Error::UnknownShard { shard: ShardId(77) })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_the_log_cannot_bring_back_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let target = ListTarget::with_shard();
    let groups = single(dir.path(), &target).await;
    groups.propose(SHARD, command(1)).await.unwrap();
    target.flush().unwrap();
    groups.purge_flushed().await.unwrap();
    eventually("the log is purged", || groups.status(SHARD).unwrap().purged.is_some()).await;
    groups.shutdown().await.unwrap();
    let fresh: Arc<dyn ApplyTarget> = ListTarget::with_shard();
    let opened = Groups::open(dir.path(), 1, fresh, Arc::new(NoPeers), config()).await;
    let said = opened.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("the state of shard 1 is missing or older than the log"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_proposals_share_syncs() {
    const PROPOSERS: u64 = 64;
    const EACH: u64 = 10;
    let dir = tempfile::tempdir().unwrap();
    let target = ListTarget::with_shard();
    let groups = single(dir.path(), &target).await;
    let before = groups.log_metrics().syncs;
    let proposers = (0..PROPOSERS).map(|proposer| {
        let groups = groups.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                groups.propose(SHARD, command(proposer * EACH + number)).await.unwrap();
            }
        })
    });
    for result in join_all(proposers).await {
        result.unwrap();
    }
    let syncs = groups.log_metrics().syncs - before;
    assert_eq!(target.commands(SHARD).len() as u64, PROPOSERS * EACH);
    assert!(syncs >= EACH, "{syncs} syncs for {EACH} rounds: something was not synced");
    assert!(syncs < PROPOSERS * EACH / 4, "{syncs} syncs for {} proposals", PROPOSERS * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_takes_long_is_applied_alone() {
    const PROPOSALS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let target = ListTarget::with_shard();
    let groups = single(dir.path(), &target).await;
    let command = |at: u64| if at.is_multiple_of(7) { Bytes::from(format!("long {at}")) } else { command(at) };
    let proposals = (0..PROPOSALS).map(|at| groups.propose(SHARD, command(at)));
    for answer in futures::future::join_all(proposals).await {
        answer.unwrap();
    }
    assert_eq!(target.commands(SHARD).len() as u64, PROPOSALS);
    assert!(!target.held_up.load(SeqCst), "others waited for a command that takes long");
    groups.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_shard_has_its_own_log_and_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let child = ShardId(2);
    let mut target = ListTarget::with_shard();
    {
        let groups = single(dir.path(), &target).await;
        groups.propose(SHARD, command(1)).await.unwrap();
        groups.propose(SHARD, Bytes::from("split 2")).await.unwrap();
        groups.adopt(child).await.unwrap();
        groups.adopt(child).await.unwrap();
        groups.propose(child, command(2)).await.unwrap();
        groups.propose(SHARD, command(3)).await.unwrap();
        assert_eq!(groups.status(child).unwrap().voters, [1]);
        groups.shutdown().await.unwrap();
    }
    // First nothing of the split is on the disk: the parent's log makes it again. Then all of it is.
    for _ in 0..2 {
        target = target.crashed();
        let groups = open_single(dir.path(), &target).await;
        assert_eq!(groups.shards(), [SHARD, child]);
        assert_eq!(target.commands(SHARD), [command(1), Bytes::from("split 2"), command(3)]);
        assert_eq!(target.commands(child), [command(2)]);
        target.flush().unwrap();
        groups.purge_flushed().await.unwrap();
        groups.shutdown().await.unwrap();
    }
    let groups = open_single(dir.path(), &target.crashed()).await;
    groups.remove(child).await.unwrap();
    assert_eq!(groups.shards(), [SHARD]);
    assert!(matches!(groups.propose(child, command(4)).await, Err(Error::UnknownShard { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_machine_that_fails_stops_its_group_only() {
    let dir = tempfile::tempdir().unwrap();
    let target = ListTarget::with_shard();
    target.shards.lock().insert(ShardId(2), Shard::default());
    let groups = single(dir.path(), &target).await;
    groups.create(ShardId(2), members([1])).await.unwrap();
    target.fails.store(true, SeqCst);
    let failed = groups.propose(SHARD, command(1)).await;
    assert!(matches!(failed, Err(Error::OutcomeUnknown { shard: SHARD })), "{failed:?}");
    target.fails.store(false, SeqCst);
    let again = groups.propose(SHARD, command(2)).await;
    assert!(matches!(again, Err(Error::DiskFull)), "{again:?}");
    assert!(groups.status(SHARD).unwrap().stopped.is_some());
    groups.propose(ShardId(2), command(3)).await.unwrap();
    groups.shutdown().await.unwrap();
    // What failed was logged, hence committed: the restart applies it.
    let target = target.crashed();
    let _groups = open_single(dir.path(), &target).await;
    assert_eq!(target.commands(SHARD), [command(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_is_new_and_takes_what_finishes_work() {
    let dir = tempfile::tempdir().unwrap();
    let target = ListTarget::with_shard();
    let groups = single(dir.path(), &target).await;
    groups.propose(SHARD, command(1)).await.unwrap();
    groups.inner.log.faults().short_of_space.store(true, SeqCst);
    groups.inner.log.look_at_space();
    assert!(matches!(groups.propose(SHARD, command(2)).await, Err(Error::DiskFull)));
    groups.propose_finishing(SHARD, command(3)).await.unwrap();
    assert_eq!(target.commands(SHARD), [command(1), command(3)]);
    groups.shutdown().await.unwrap();
}

struct Node {
    groups: Groups,
    target: Arc<ListTarget>,
    _dir: TempDir,
}

struct Cluster {
    network: LocalNetwork,
    nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    async fn start(ids: impl IntoIterator<Item = u64>) -> Cluster {
        let network = LocalNetwork::new();
        let mut nodes = BTreeMap::new();
        for id in ids {
            let dir = tempfile::tempdir().unwrap();
            let target = ListTarget::with_shard();
            let shared: Arc<dyn ApplyTarget> = Arc::clone(&target) as _;
            let groups = Groups::open(dir.path(), id, shared, network.transport(id), config()).await.unwrap();
            network.attach(&groups);
            nodes.insert(id, Node { groups, target, _dir: dir });
        }
        Cluster { network, nodes }
    }

    /// A leader that a majority of `among` agrees on.
    async fn leader(&self, among: &[u64]) -> u64 {
        let mut leader = None;
        eventually("there is a leader", || {
            leader = among.iter().copied().find(|id| self.nodes[id].groups.status(SHARD).unwrap().is_leader);
            leader.is_some_and(|leader| {
                let agree = among.iter().filter(|id| self.nodes[id].groups.leader(SHARD).unwrap() == Some(leader));
                agree.count() > 1
            })
        })
        .await;
        leader.unwrap()
    }

    /// Proposes until a leader takes it; a command whose outcome is unknown may be there twice.
    async fn propose(&self, among: &[u64], command: Bytes) {
        for _ in 0..200 {
            let leader = self.leader(among).await;
            if self.nodes[&leader].groups.propose(SHARD, command.clone()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody takes a proposal");
    }

    /// Changes the voters by way of whichever of them leads; the lead may pass on meanwhile.
    async fn change_voters<const N: usize>(&self, among: &[u64], voters: [u64; N]) {
        for _ in 0..200 {
            let leader = among.iter().find(|id| self.nodes[id].groups.status(SHARD).unwrap().is_leader);
            if let Some(leader) = leader {
                match self.nodes[leader].groups.change_voters(SHARD, members(voters)).await {
                    Ok(()) => return,
                    Err(Error::NotLeader { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody changes the voters");
    }

    async fn agree(&self, among: &[u64]) -> Vec<Bytes> {
        eventually("the replicas agree", || {
            let first = self.nodes[&among[0]].target.commands(SHARD);
            among.iter().all(|id| self.nodes[id].target.commands(SHARD) == first)
        })
        .await;
        self.nodes[&among[0]].target.commands(SHARD)
    }

    async fn shutdown(self) {
        for node in self.nodes.values() {
            node.groups.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_voter_takes_over_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start([1, 2, 3]).await;
    for node in cluster.nodes.values() {
        node.groups.create(SHARD, members([1, 2, 3])).await.unwrap();
    }
    let all = [1, 2, 3];
    for number in 0..20 {
        cluster.propose(&all, command(number)).await;
    }
    let first = cluster.leader(&all).await;
    let rest: Vec<u64> = all.into_iter().filter(|id| *id != first).collect();
    // A follower is told who leads, and refuses without proposing.
    match cluster.nodes[&rest[0]].groups.propose(SHARD, command(0)).await {
        Err(Error::NotLeader { shard, leader }) => assert_eq!((shard, leader), (SHARD, Some(first))),
        other => panic!("{other:?}"),
    }
    cluster.nodes.remove(&first).unwrap().groups.shutdown().await.unwrap();
    for number in 20..30 {
        cluster.propose(&rest, command(number)).await;
    }
    let leader = cluster.leader(&rest).await;
    cluster.nodes[&leader].groups.ensure_linearizable(SHARD).await.unwrap();
    let commands = cluster.agree(&rest).await;
    let mut at = 0;
    for number in 0..30 {
        at += commands[at..].iter().position(|found| *found == command(number)).expect("an acknowledged command") + 1;
    }
    // Alone, the last one can neither commit nor promise that it reads the newest.
    cluster.network.isolate(rest[0]);
    let alone = &cluster.nodes[&leader].groups;
    assert!(alone.ensure_linearizable(SHARD).await.is_err());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_follower_gets_a_snapshot() {
    let cluster = Cluster::start([1, 2, 3]).await;
    for node in cluster.nodes.values() {
        node.groups.create(SHARD, members([1, 2, 3])).await.unwrap();
    }
    let all = [1, 2, 3];
    cluster.propose(&all, command(0)).await;
    let leader = cluster.leader(&all).await;
    let lagging = all.into_iter().find(|id| *id != leader).unwrap();
    let rest: Vec<u64> = all.into_iter().filter(|id| *id != lagging).collect();
    cluster.network.isolate(lagging);
    for number in 1..40 {
        cluster.propose(&rest, command(number)).await;
    }
    cluster.agree(&rest).await;
    for id in &rest {
        let node = &cluster.nodes[id];
        node.target.flush().unwrap();
        node.groups.purge_flushed().await.unwrap();
        eventually("the log is purged", || {
            node.groups.status(SHARD).unwrap().purged.is_some_and(|purged| purged.index > 20)
        })
        .await;
    }
    cluster.network.reconnect(lagging);
    cluster.propose(&rest, command(40)).await;
    let commands = cluster.agree(&all).await;
    assert_eq!(commands.last(), Some(&command(40)));
    assert!(*cluster.nodes[&lagging].target.imports.lock() > 0, "it caught up without a snapshot");
    // It goes on from there by log.
    cluster.propose(&all, command(41)).await;
    assert_eq!(cluster.agree(&all).await.last(), Some(&command(41)));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_come_and_go_and_hand_over() {
    let cluster = Cluster::start([1, 2, 3]).await;
    cluster.nodes[&1].groups.create(SHARD, members([1])).await.unwrap();
    cluster.nodes[&1].groups.propose(SHARD, command(1)).await.unwrap();
    for id in [2, 3] {
        cluster.nodes[&id].groups.join(SHARD).await.unwrap();
    }
    cluster.change_voters(&[1, 2, 3], [1, 2, 3]).await;
    cluster.propose(&[1, 2, 3], command(2)).await;
    assert_eq!(cluster.agree(&[1, 2, 3]).await, [command(1), command(2)]);
    cluster.nodes[&1].groups.transfer_leader(SHARD, 2).await.unwrap();
    eventually("node 2 leads", || cluster.nodes[&2].groups.status(SHARD).unwrap().is_leader).await;
    cluster.change_voters(&[1, 2, 3], [2, 3]).await;
    cluster.propose(&[2, 3], command(3)).await;
    assert_eq!(cluster.agree(&[2, 3]).await, [command(1), command(2), command(3)]);
    cluster.shutdown().await;
}
