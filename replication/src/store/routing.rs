//! Which shard holds a key, and what the leader of that shard keeps in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::api::{Key, ShardDescriptor, ShardId, Span, Timestamp};
use crate::error::{Error, Result};
use crate::protocol::Mutations;
use crate::protocol::leader::Leader;

/// A shard as this node routes to it.
pub(crate) struct Shard {
    pub(crate) descriptor: ShardDescriptor,
    /// Shared between the descriptors of all epochs of the shard: a split does not make a leader forget.
    pub(crate) leader: Arc<Mutex<Leader<oneshot::Sender<()>>>>,
}

/// The ranges of all shards, by their first key.
#[derive(Default)]
pub(crate) struct Routing {
    by_start: RwLock<BTreeMap<Key, Arc<Shard>>>,
}

impl Routing {
    /// Takes over the shards as the engine has them. `now` is a fresh timestamp: shards that are new here start at it.
    pub(crate) fn replace(&self, descriptors: Vec<ShardDescriptor>, now: Timestamp) {
        let mut by_start = self.by_start.write();
        let known: BTreeMap<ShardId, Arc<Shard>> =
            by_start.values().map(|shard| (shard.descriptor.shard, shard.clone())).collect();
        *by_start = descriptors
            .into_iter()
            .map(|descriptor| {
                let leader = match known.get(&descriptor.shard) {
                    Some(shard) if shard.descriptor.epoch > descriptor.epoch => {
                        return (shard.descriptor.span.start.clone(), shard.clone());
                    }
                    Some(shard) => shard.leader.clone(),
                    None => Arc::new(Mutex::new(Leader::new(now, Mutations::default()))),
                };
                (descriptor.span.start.clone(), Arc::new(Shard { descriptor, leader }))
            })
            .collect();
    }

    /// The shard that holds the key.
    pub(crate) fn of(&self, key: &[u8]) -> Result<Arc<Shard>> {
        let by_start = self.by_start.read();
        let below = by_start.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key))).next_back();
        match below {
            Some((_, shard)) if shard.descriptor.span.contains(key) => Ok(shard.clone()),
            _ => Err(Error::NoShardForKey { key: Key::copy_from_slice(key) }),
        }
    }

    /// The shards that hold any key of the span, in key order.
    pub(crate) fn over(&self, span: &Span) -> Vec<Arc<Shard>> {
        let by_start = self.by_start.read();
        let before = by_start.range::<Key, _>(..&span.start).next_back();
        let within = by_start.range::<Key, _>(&span.start..);
        before
            .into_iter()
            .chain(within.take_while(|(start, _)| **start < span.end))
            .map(|(_, shard)| shard)
            .filter(|shard| shard.descriptor.span.overlaps(span))
            .cloned()
            .collect()
    }

    /// The shard with that id.
    pub(crate) fn by_id(&self, id: ShardId) -> Result<Arc<Shard>> {
        let by_start = self.by_start.read();
        let found = by_start.values().find(|shard| shard.descriptor.shard == id);
        found.cloned().ok_or(Error::UnknownShard { shard: id })
    }

    /// All shards, in key order.
    pub(crate) fn all(&self) -> Vec<Arc<Shard>> {
        self.by_start.read().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing() -> Routing {
        let routing = Routing::default();
        let descriptor = |id, start: &'static str, end: &'static str| ShardDescriptor {
            shard: ShardId(id),
            span: Span::new(start, end),
            epoch: 1,
            parent: None,
        };
        routing.replace(vec![descriptor(1, "b", "d"), descriptor(2, "d", "f"), descriptor(3, "h", "k")], Timestamp(1));
        routing
    }

    #[test]
    fn keys_go_to_the_shard_that_holds_them() {
        let routing = routing();
        assert_eq!(routing.of(b"b").unwrap().descriptor.shard, ShardId(1));
        assert_eq!(routing.of(b"czz").unwrap().descriptor.shard, ShardId(1));
        assert_eq!(routing.of(b"d").unwrap().descriptor.shard, ShardId(2));
        assert!(routing.of(b"a").is_err() && routing.of(b"g").is_err() && routing.of(b"k").is_err());
    }

    #[test]
    fn spans_find_every_shard_that_they_touch() {
        let routing = routing();
        let ids = |start: &'static str, end: &'static str| -> Vec<u64> {
            routing.over(&Span::new(start, end)).iter().map(|shard| shard.descriptor.shard.0).collect()
        };
        assert_eq!(ids("c", "i"), vec![1, 2, 3]);
        assert_eq!(ids("c", "d"), vec![1]);
        assert_eq!(ids("f", "h"), Vec::<u64>::new());
        assert_eq!(ids("a", "z"), vec![1, 2, 3]);
    }
}
