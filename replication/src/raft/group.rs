//! One running group: openraft's handle, and what surrounds a proposal.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt as _;
use openraft::errors::{ClientWriteError, Fatal, ForwardToLeader};
use openraft::raft::ClientWriteResult;
use tokio::sync::oneshot;

use super::machine::{Failure, Machine};
use super::types::{Callback, Command, Types};
use crate::api::ShardId;
use crate::error::{Error, Result};
use crate::log::{GroupLog, PhysicalLog};

/// At most this many proposals of one group are under way on a node; more are refused as `Overloaded`.
pub(crate) const PROPOSALS_MAX: usize = 32 * 1024;

/// A group on this node.
pub(crate) struct Group {
    pub shard: ShardId,
    pub raft: openraft::Raft<Types, Machine>,
    pub log: GroupLog,
    /// Why the state machine stopped, if it did.
    pub failure: Failure,
    /// This node is the only member, so that nobody can take the leadership away.
    pub alone: AtomicBool,
    in_flight: Arc<AtomicUsize>,
}

impl Group {
    pub fn new(shard: ShardId, raft: openraft::Raft<Types, Machine>, log: GroupLog, failure: Failure) -> Group {
        Group { shard, raft, log, failure, alone: AtomicBool::new(false), in_flight: Arc::default() }
    }

    /// Puts a command into the group's queue, at once: commands are logged in the order of these calls.
    pub fn propose(&self, physical: &PhysicalLog, command: Bytes) -> Result<oneshot::Receiver<Result<Bytes>>> {
        let in_flight = InFlight(Arc::clone(&self.in_flight));
        if in_flight.0.fetch_add(1, Relaxed) >= PROPOSALS_MAX {
            return Err(Error::Overloaded);
        }
        let (sender, receiver) = oneshot::channel();
        let shard = self.shard;
        let respond = Callback::new(move |result: ClientWriteResult<Types>| {
            drop(in_flight);
            // Whoever proposed may have stopped waiting.
            let _ = sender.send(result.map(|response| response.data).map_err(|error| write_error(shard, error)));
        });
        // The channel to the core has more room than proposals may be under way: sending never waits, as long
        // as the task's budget of the runtime does not interfere.
        let send = self.raft.client_write_ff(Command(command), Some(respond));
        match tokio::task::unconstrained(send).now_or_never() {
            Some(Ok(())) => Ok(receiver),
            Some(Err(fatal)) => Err(self.fatal(physical, &fatal)),
            None => Err(self.stopped(physical).unwrap_or(Error::Overloaded)),
        }
    }

    /// The error behind a group that has stopped.
    pub fn fatal(&self, physical: &PhysicalLog, fatal: &Fatal<Types>) -> Error {
        self.stopped(physical).unwrap_or_else(|| match fatal {
            Fatal::Stopped => Error::ShuttingDown,
            other => Error::Io { context: "consensus", message: other.to_string() },
        })
    }

    /// Why the group cannot work any more, as far as its parts know.
    pub fn stopped(&self, physical: &PhysicalLog) -> Option<Error> {
        if let Some(error) = physical.failure() {
            return Some(error.into());
        }
        match &*self.failure.lock() {
            None => None,
            Some(Error::DiskFull) => Some(Error::DiskFull),
            Some(Error::Corruption { what }) => Some(Error::corruption(what.clone())),
            Some(other) => Some(Error::Io { context: "apply", message: other.to_string() }),
        }
    }
}

/// Counts a proposal as long as it lives.
struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn write_error(shard: ShardId, error: ClientWriteError<Types>) -> Error {
    match error {
        ClientWriteError::ForwardToLeader(forward) => not_leader(shard, &forward),
        ClientWriteError::LogEntryDiscarded(_) => Error::OutcomeUnknown { shard },
        other => Error::Io { context: "consensus", message: other.to_string() },
    }
}

pub(crate) fn not_leader(shard: ShardId, forward: &ForwardToLeader<Types>) -> Error {
    Error::NotLeader { shard, leader: forward.leader_id }
}

/// A proposal under way: resolves to the state machine's answer.
///
/// Dropping it does not take the proposal back.
#[must_use = "a proposal that is not awaited has an unknown outcome"]
pub struct Proposal {
    pub(super) state: ProposalState,
}

pub(super) enum ProposalState {
    Refused(Option<Error>),
    Sent { receiver: oneshot::Receiver<Result<Bytes>>, group: Arc<Group>, log: Arc<PhysicalLog> },
}

impl Future for Proposal {
    type Output = Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        match &mut self.state {
            ProposalState::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(Error::ShuttingDown))),
            ProposalState::Sent { receiver, group, log } => Poll::Ready(match ready!(receiver.poll_unpin(context)) {
                Ok(result) => result,
                // The group stopped with the proposal in its hands: it may be in the log or not.
                Err(_) => Err(group.stopped(log).unwrap_or(Error::OutcomeUnknown { shard: group.shard })),
            }),
        }
    }
}
