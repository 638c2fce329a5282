//! A network among nodes of one process, which can be cut: for tests, and for simulated clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::groups::{Groups, WeakGroups};
use super::network::{Request, Response, Transport, TransportError};
use super::types::Peer;
use crate::api::ShardId;

/// All nodes of the process.
#[derive(Clone, Debug, Default)]
pub struct LocalNetwork(Arc<Mutex<Nodes>>);

#[derive(Debug, Default)]
struct Nodes {
    groups: BTreeMap<u64, WeakGroups>,
    isolated: BTreeSet<u64>,
}

impl LocalNetwork {
    /// A network without nodes.
    pub fn new() -> LocalNetwork {
        LocalNetwork::default()
    }

    /// The transport for node `source`.
    pub fn transport(&self, source: u64) -> Arc<dyn Transport> {
        Arc::new(LocalTransport { network: self.clone(), source })
    }

    /// Makes a node reachable. A node that was there before with the same number is replaced.
    pub fn attach(&self, groups: &Groups) {
        self.0.lock().groups.insert(groups.node(), groups.downgrade());
    }

    /// Cuts a node off from all others.
    pub fn isolate(&self, node: u64) {
        self.0.lock().isolated.insert(node);
    }

    /// Undoes `isolate`.
    pub fn reconnect(&self, node: u64) {
        self.0.lock().isolated.remove(&node);
    }

    fn find(&self, source: u64, target: u64) -> Option<Groups> {
        let nodes = self.0.lock();
        let cut = nodes.isolated.contains(&source) || nodes.isolated.contains(&target);
        nodes.groups.get(&target).filter(|_| !cut).and_then(WeakGroups::upgrade)
    }
}

struct LocalTransport {
    network: LocalNetwork,
    source: u64,
}

impl Transport for LocalTransport {
    fn send(
        &self,
        target: u64,
        _peer: &Peer,
        shard: ShardId,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let unreachable = || TransportError::Unreachable { target, reason: "it is not there".to_owned() };
            let groups = self.network.find(self.source, target).ok_or_else(unreachable)?;
            let response = tokio::time::timeout(timeout, groups.handle(shard, request))
                .await
                .map_err(|_| TransportError::TimedOut { target })?
                .map_err(|error| TransportError::Failed { target, reason: error.to_string() })?;
            // A cut that happened meanwhile loses the answer, as a real one would.
            self.network.find(self.source, target).ok_or_else(unreachable)?;
            Ok(response)
        })
    }
}
