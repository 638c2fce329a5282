//! Entries and memberships as bytes.
//!
//! | payload kind of a log entry | payload |
//! |---|---|
//! | 0 | none: a leader's first entry |
//! | 1 | a command, opaque |
//! | 2 | a membership |
//!
//! | membership | bytes | |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 4 | number of voter sets (two while the voters change) |
//! | … | 4 + 8 n | each set: its size and its node ids |
//! | … | 4 | number of nodes |
//! | … | 8 + 4 + n | each node: id, length of the address, address in UTF-8 |
//!
//! The membership that the state machine keeps has its log position before it: present 1, term 8, leader 8,
//! index 8. All integers are little-endian.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::{Buf, Bytes};
use openraft::EntryPayload;

use super::types::{self, Command, Entry, Membership, Peer, StoredMembership};
use crate::log::LogEntry;
use crate::target::LogPosition;

const MEMBERSHIP_VERSION: u8 = 1;
const KIND_BLANK: u8 = 0;
const KIND_COMMAND: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// The entry as the log keeps it.
pub(crate) fn to_log(entry: Entry) -> LogEntry {
    let position = types::position(&entry.log_id);
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (KIND_BLANK, Bytes::new()),
        EntryPayload::Normal(Command(bytes)) => (KIND_COMMAND, bytes),
        EntryPayload::Membership(membership) => {
            let mut bytes = Vec::new();
            put_membership(&mut bytes, &membership);
            (KIND_MEMBERSHIP, bytes.into())
        }
    };
    LogEntry { position, kind, payload }
}

/// The entry that the log kept.
pub(crate) fn from_log(entry: LogEntry) -> io::Result<Entry> {
    let payload = match entry.kind {
        KIND_BLANK => EntryPayload::Blank,
        KIND_COMMAND => EntryPayload::Normal(Command(entry.payload)),
        KIND_MEMBERSHIP => {
            let mut bytes = entry.payload;
            let membership = membership(&mut bytes).filter(|_| bytes.is_empty());
            EntryPayload::Membership(membership.ok_or_else(|| damaged("a membership"))?)
        }
        _ => return Err(damaged("the kind of an entry")),
    };
    Ok(Entry { log_id: types::log_id(&entry.position), payload })
}

/// The membership as the state machine keeps it.
pub(crate) fn encode_stored(stored: &StoredMembership) -> Bytes {
    let mut bytes = Vec::new();
    let position = stored.log_id().as_ref().map(types::position);
    bytes.push(u8::from(position.is_some()));
    let position = position.unwrap_or_default();
    for field in [position.term, position.leader, position.index] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    put_membership(&mut bytes, stored.membership());
    bytes.into()
}

/// The membership that the state machine kept.
pub(crate) fn decode_stored(mut bytes: Bytes) -> io::Result<StoredMembership> {
    let decode = |bytes: &mut Bytes| {
        let present = bytes.try_get_u8().ok()? != 0;
        let position = LogPosition {
            term: bytes.try_get_u64_le().ok()?,
            leader: bytes.try_get_u64_le().ok()?,
            index: bytes.try_get_u64_le().ok()?,
        };
        let membership = membership(bytes)?;
        Some(StoredMembership::new(present.then(|| types::log_id(&position)), membership))
    };
    decode(&mut bytes).filter(|_| bytes.is_empty()).ok_or_else(|| damaged("the stored membership"))
}

fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let count = |out: &mut Vec<u8>, count: usize| {
        out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    };
    out.push(MEMBERSHIP_VERSION);
    let sets = membership.get_joint_config();
    count(out, sets.len());
    for set in sets {
        count(out, set.len());
        for id in set {
            out.extend_from_slice(&id.to_le_bytes());
        }
    }
    count(out, membership.nodes().count());
    for (id, peer) in membership.nodes() {
        out.extend_from_slice(&id.to_le_bytes());
        count(out, peer.address.len());
        out.extend_from_slice(peer.address.as_bytes());
    }
}

fn membership(bytes: &mut Bytes) -> Option<Membership> {
    if bytes.try_get_u8().ok()? != MEMBERSHIP_VERSION {
        return None;
    }
    let mut sets = Vec::new();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let mut set = BTreeSet::new();
        for _ in 0..bytes.try_get_u32_le().ok()? {
            set.insert(bytes.try_get_u64_le().ok()?);
        }
        sets.push(set);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let id = bytes.try_get_u64_le().ok()?;
        let length = bytes.try_get_u32_le().ok()? as usize;
        if bytes.len() < length {
            return None;
        }
        let address = String::from_utf8(bytes.split_to(length).to_vec()).ok()?;
        nodes.insert(id, Peer { address });
    }
    if sets.is_empty() && nodes.is_empty() {
        return Some(Membership::default());
    }
    Membership::new(sets, nodes).ok()
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} cannot be decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Membership {
        let nodes =
            [(1, "one"), (2, ""), (3, "drei:1")].map(|(id, address)| (id, Peer { address: address.to_owned() }));
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2])], BTreeMap::from(nodes)).unwrap()
    }

    #[test]
    fn memberships_survive_the_way_through_bytes() {
        for membership in [sample(), Membership::default()] {
            let at = LogPosition { term: 3, leader: 2, index: 77 };
            let stored = StoredMembership::new(Some(types::log_id(&at)), membership.clone());
            assert_eq!(decode_stored(encode_stored(&stored)).unwrap(), stored);
            let entry = Entry { log_id: types::log_id(&at), payload: EntryPayload::Membership(membership) };
            assert_eq!(from_log(to_log(entry.clone())).unwrap(), entry);
        }
        let none = StoredMembership::default();
        assert_eq!(decode_stored(encode_stored(&none)).unwrap(), none);
    }

    #[test]
    fn cut_off_bytes_are_an_error() {
        let bytes = encode_stored(&StoredMembership::new(None, sample()));
        for length in 0..bytes.len() {
            assert!(decode_stored(bytes.slice(..length)).is_err(), "{length} bytes");
        }
    }
}
