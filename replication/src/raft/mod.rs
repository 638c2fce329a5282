//! Consensus: one openraft group per shard, all over one physical log.
//!
//! The path of a command through a node:
//!
//! ```text
//! Groups::propose ─► openraft core ─► LogStore::append ─► physical log (fsync shared by all groups)
//!                         ▲   │ replicate (Transport)            │
//!                         │   ▼                                  ▼
//!                         │  followers                  IOFlushed: quorum reached?
//!                         └──────────────── commit ◄─────────────┘
//!                                             │
//!                       Machine::apply ─► ApplyTarget::apply ─► answer to the proposer
//! ```
//!
//! * [`groups`](Groups): the handle of a node on all its groups. `group`: one of them, and proposals.
//! * `storage`, `machine`: what openraft needs, over the log and the store. `codec`: their bytes.
//! * `network`: what a transport must do; [`LocalNetwork`] is one inside a process.
//! * `maintenance`: purging the log as the store brings its state to the disk.
//!
//! Groups without other members have no timers at all: a node with hundreds of them rests when nobody asks.

mod codec;
mod group;
mod groups;
mod local;
mod machine;
mod maintenance;
mod network;
mod snapshot;
mod storage;
#[cfg(test)]
mod tests;
mod types;

pub use self::group::Proposal;
pub use self::groups::{GroupStatus, Groups, GroupsConfig};
pub use self::local::LocalNetwork;
pub use self::network::{NoPeers, Request, Response, Transport, TransportError};
pub use self::snapshot::ShardSnapshot;
pub use self::types::{Command, Peer, Types};
