//! How groups reach their replicas: a transport carries requests to nodes, whatever it is made of.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{RaftNetworkFactory, RaftNetworkV2};

use super::snapshot::ShardSnapshot;
use super::types::{Peer, Types, Vote};
use crate::api::ShardId;

/// What a group asks of a replica on another node.
#[derive(Debug)]
pub enum Request {
    /// Append entries; a heartbeat when there are none.
    Append(AppendEntriesRequest<Types>),
    /// Vote for the sender.
    Vote(VoteRequest<Types>),
    /// Would you vote for the sender? Changes nothing.
    PreVote(VoteRequest<Types>),
    /// Become the leader.
    TransferLeader(TransferLeaderRequest<Types>),
    /// Replace the shard's state.
    Snapshot {
        /// The sender's vote.
        vote: Vote,
        /// What the snapshot stands for.
        meta: SnapshotMetaOf<Types>,
        /// The state.
        data: ShardSnapshot,
    },
}

/// The answer to a [`Request`], of the same sort.
#[derive(Debug)]
pub enum Response {
    /// To `Append`.
    Append(AppendEntriesResponse<Types>),
    /// To `Vote` and `PreVote`.
    Vote(VoteResponse<Types>),
    /// To `TransferLeader`.
    TransferLeader(TransferLeaderResponse<Types>),
    /// To `Snapshot`.
    Snapshot(SnapshotResponse<Types>),
}

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// The node cannot be reached; trying again at once is useless.
    #[error("node {target} cannot be reached: {reason}")]
    Unreachable {
        /// The node.
        target: u64,
        /// Why.
        reason: String,
    },
    /// The connection broke, or the node could not handle the request.
    #[error("the request to node {target} failed: {reason}")]
    Failed {
        /// The node.
        target: u64,
        /// Why.
        reason: String,
    },
    /// There was no answer in time.
    #[error("node {target} did not answer in time")]
    TimedOut {
        /// The node.
        target: u64,
    },
}

/// Carries requests to the nodes of groups.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` of group `shard` to node `target` and waits for the answer, at most `timeout`
    /// (snapshots: at most `timeout` without progress).
    fn send(
        &self,
        target: u64,
        peer: &Peer,
        shard: ShardId,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, TransportError>>;
}

/// The transport of a node that has no peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(
        &self,
        target: u64,
        _peer: &Peer,
        _shard: ShardId,
        _request: Request,
        _timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, TransportError>> {
        let reason = "this node runs alone".to_owned();
        Box::pin(std::future::ready(Err(TransportError::Unreachable { target, reason })))
    }
}

/// Makes the connections of one group.
#[derive(Clone)]
pub(crate) struct Connections {
    pub node: u64,
    pub shard: ShardId,
    pub transport: Arc<dyn Transport>,
}

impl RaftNetworkFactory<Types> for Connections {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Connection {
        Connection { connections: self.clone(), target, peer: peer.clone() }
    }
}

/// The way of one group to one node.
pub(crate) struct Connection {
    connections: Connections,
    target: u64,
    peer: Peer,
}

impl Connection {
    async fn send(&self, action: RPCTypes, request: Request, option: &RPCOption) -> Result<Response, RPCError<Types>> {
        let Connections { node, shard, transport } = &self.connections;
        let timeout = option.soft_ttl();
        transport.send(self.target, &self.peer, *shard, request, timeout).await.map_err(|error| match error {
            TransportError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
            TransportError::Failed { .. } => RPCError::Network(NetworkError::new(&error)),
            TransportError::TimedOut { target } => RPCError::Timeout(Timeout { action, id: *node, target, timeout }),
        })
    }

    fn mismatch(&self) -> RPCError<Types> {
        let target = self.target;
        RPCError::Network(NetworkError::from_string(format!("node {target} answered something else than was asked")))
    }
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = ShardSnapshot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.send(RPCTypes::AppendEntries, Request::Append(request), &option).await? {
            Response::Append(response) => Ok(response),
            _ => Err(self.mismatch()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.send(RPCTypes::Vote, Request::Vote(request), &option).await? {
            Response::Vote(response) => Ok(response),
            _ => Err(self.mismatch()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.send(RPCTypes::Vote, Request::PreVote(request), &option).await? {
            Response::Vote(response) => Ok(response),
            _ => Err(self.mismatch()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, ShardSnapshot>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let request = Request::Snapshot { vote, meta: snapshot.meta, data: snapshot.snapshot };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            response = self.send(RPCTypes::InstallSnapshot, request, &option) => match response? {
                Response::Snapshot(response) => Ok(response),
                _ => Err(self.mismatch().into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.send(RPCTypes::TransferLeader, Request::TransferLeader(request), &option).await? {
            Response::TransferLeader(response) => Ok(response),
            _ => Err(self.mismatch()),
        }
    }
}
