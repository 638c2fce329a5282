//! The keys that were written lately, in all shards of the node.
//!
//! A commit under SERIALIZABLE asks whether a span of keys has changed since the transaction read it. Where the span is
//! long, looking at each of its keys takes as long as reading them did, and nothing else is applied meanwhile. What was
//! written since is far less. These keys only tell where to look: the answer is that of the store, and so the same on
//! every replica, whatever each of them remembers.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::Mutex;

use crate::api::{Key, Span, Timestamp};

/// Keys that are remembered.
const KEYS_MAX: usize = if cfg!(test) { 12 } else { 32_768 };
/// Bytes of keys that are remembered.
const BYTES_MAX: usize = 4 << 20;

/// The newest written keys. Every version after `floor` is of one of them.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    floor: Timestamp,
    /// In the order in which they were written.
    keys: VecDeque<(Timestamp, Box<[u8]>)>,
    bytes: usize,
}

impl Recent {
    /// Versions up to `ts` may have come without being noted.
    pub(crate) fn forget_until(&self, ts: Timestamp) {
        let mut ring = self.ring.lock();
        ring.floor = ring.floor.max(ts);
    }

    /// Remembers versions that are about to be written. Before they are, so that whoever sees them finds them noted.
    pub(crate) fn note<'a>(&self, versions: impl Iterator<Item = (&'a [u8], Timestamp)>) {
        let mut ring = self.ring.lock();
        for (key, ts) in versions {
            ring.bytes += key.len();
            ring.keys.push_back((ts, key.into()));
            while ring.keys.len() > KEYS_MAX || ring.bytes > BYTES_MAX {
                let Some((ts, key)) = ring.keys.pop_front() else { break };
                ring.bytes -= key.len();
                ring.floor = ring.floor.max(ts);
            }
        }
    }

    /// The keys of the span that may have a version newer than `base`, in order; `None` where that is not remembered.
    pub(crate) fn written_in(&self, span: &Span, base: Timestamp) -> Option<BTreeSet<Key>> {
        let ring = self.ring.lock();
        let written = ring.keys.iter().filter(|(ts, key)| *ts > base && span.contains(key));
        (base >= ring.floor).then(|| written.map(|(_, key)| Key::copy_from_slice(key)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_not_answered() {
        let recent = Recent::default();
        let all = Span::new(b"a".to_vec(), b"z".to_vec());
        let at = |ts: u64| Timestamp(ts);
        recent.note([(b"b".as_slice(), at(5)), (b"d", at(7))].into_iter());
        let written = |base| recent.written_in(&all, at(base)).map(|keys| keys.len());
        assert_eq!(written(0), Some(2));
        assert_eq!(written(5), Some(1));
        let keys: Vec<Vec<u8>> = (0..KEYS_MAX - 1).map(|n| format!("x{n}").into_bytes()).collect();
        recent.note(keys.iter().map(|key| (key.as_slice(), at(6))));
        // The first is gone, and with it what was before 5.
        assert_eq!(written(4), None);
        assert_eq!(written(6), Some(1));
        recent.forget_until(at(9));
        assert_eq!(written(8), None);
        assert_eq!(written(9), Some(0));
    }
}
