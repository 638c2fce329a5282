//! The bytes of stored records. Numbers are big-endian.
//!
//! | family  | key                             | value                                                     |
//! |---------|---------------------------------|-----------------------------------------------------------|
//! | latest  | key                             | commit ts u64, kind u8 (0 tombstone, 1 put), value        |
//! | history | key, commit ts u64 inverted     | superseding ts u64, kind u8, value                        |
//! | locks   | key                             | txn u128, start ts u64, kind u8 (0 delete, 1 put), primary uv length and bytes, value |
//! | locks   | first key of a piece            | txn u128, start ts u64, kind u8 (2), primary blob, uv count, then each write in key order: key blob, kind u8 (0 delete, 1 put), with a put: value blob |
//! | txns    | primary key, txn u128           | kind u8 (0 aborted, 1 committed), ts u64                  |
//!
//! A piece is a lock on many keys at once (a `blob` is a uv length and the bytes). Inverting the timestamp sorts the versions of a key newest first. Because no key is a prefix of another, all
//! versions of a key stand together.

use bytes::Bytes;

use crate::api::{Key, Timestamp, TxnId};
use crate::command::{Op, Reader, TxnStatus, put_blob, put_uv};

/// Bytes before the value of a version.
pub const VERSION_HEADER_BYTES: usize = 9;
/// Bytes after the key in the history.
pub const HISTORY_SUFFIX_BYTES: usize = 8;
/// Bytes after the primary key among the transactions.
pub const TXN_SUFFIX_BYTES: usize = 16;

const TOMBSTONE: u8 = 0;
const PUT: u8 = 1;
const PIECE: u8 = 2;
/// Least bytes of a write in a piece: an empty key and a kind.
const PIECE_WRITE_BYTES_MIN: usize = 2;

/// A version as stored: its moment and its value, which is `None` for a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// When it was committed (in the history: when it was superseded).
    pub ts: Timestamp,
    /// The value, or `None` when the key was deleted.
    pub value: Option<&'a [u8]>,
}

/// The bytes before the value of a version.
pub fn version_header(ts: Timestamp, put: bool) -> [u8; VERSION_HEADER_BYTES] {
    let mut header = [0; VERSION_HEADER_BYTES];
    header[..8].copy_from_slice(&ts.0.to_be_bytes());
    header[8] = if put { PUT } else { TOMBSTONE };
    header
}

/// Takes a version apart. `None`: not a version.
pub fn decode_version(bytes: &[u8]) -> Option<Version<'_>> {
    let (header, value) = bytes.split_first_chunk::<VERSION_HEADER_BYTES>()?;
    let [ts @ .., kind] = header;
    let ts = Timestamp(u64::from_be_bytes(*ts));
    match *kind {
        PUT => Some(Version { ts, value: Some(value) }),
        TOMBSTONE if value.is_empty() => Some(Version { ts, value: None }),
        _ => None,
    }
}

/// Takes a version of the history apart: when it was superseded, and its value.
pub fn decode_superseded(bytes: &[u8]) -> Option<(Timestamp, Option<&[u8]>)> {
    decode_version(bytes).map(|version| (version.ts, version.value))
}

/// What follows the key in the history.
pub fn history_suffix(ts: Timestamp) -> [u8; HISTORY_SUFFIX_BYTES] {
    (!ts.0).to_be_bytes()
}

/// Takes a key of the history apart.
pub fn decode_history_key(bytes: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (key, suffix) = bytes.split_last_chunk::<HISTORY_SUFFIX_BYTES>()?;
    Some((key, Timestamp(!u64::from_be_bytes(*suffix))))
}

/// The key of a transaction's status.
pub fn txn_key(primary: &[u8], txn: TxnId) -> Vec<u8> {
    let mut key = Vec::with_capacity(primary.len() + TXN_SUFFIX_BYTES);
    key.extend_from_slice(primary);
    key.extend_from_slice(&txn.0.to_be_bytes());
    key
}

/// Takes the key of a transaction's status apart.
pub fn decode_txn_key(bytes: &[u8]) -> Option<(&[u8], TxnId)> {
    let (primary, suffix) = bytes.split_last_chunk::<TXN_SUFFIX_BYTES>()?;
    Some((primary, TxnId(u128::from_be_bytes(*suffix))))
}

/// The bytes of a transaction's status.
pub fn encode_status(status: TxnStatus) -> [u8; 9] {
    let kind = match status {
        TxnStatus::Aborted(_) => 0,
        TxnStatus::Committed(_) => 1,
    };
    let mut bytes = [kind; 9];
    bytes[1..].copy_from_slice(&status_ts(status).0.to_be_bytes());
    bytes
}

/// The status of a transaction from its bytes.
pub fn decode_status(bytes: &[u8]) -> Option<TxnStatus> {
    let (&kind, ts) = bytes.split_first()?;
    let ts = Timestamp(u64::from_be_bytes(ts.try_into().ok()?));
    match kind {
        0 => Some(TxnStatus::Aborted(ts)),
        1 => Some(TxnStatus::Committed(ts)),
        _ => None,
    }
}

/// When the status was decided.
pub fn status_ts(status: TxnStatus) -> Timestamp {
    match status {
        TxnStatus::Aborted(ts) | TxnStatus::Committed(ts) => ts,
    }
}

/// A write of a transaction that is not decided yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRecord {
    /// Whose it is.
    pub txn: TxnId,
    /// When that transaction's commit began.
    pub start_ts: Timestamp,
    /// Where that transaction is decided.
    pub primary: Key,
    /// What the write does.
    pub op: Op,
}

impl LockRecord {
    /// The bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.primary.len());
        out.extend_from_slice(&self.txn.0.to_be_bytes());
        out.extend_from_slice(&self.start_ts.0.to_be_bytes());
        out.push(u8::from(matches!(self.op, Op::Put(_))));
        put_blob(&mut out, &self.primary);
        if let Op::Put(value) = &self.op {
            out.extend_from_slice(value);
        }
        out
    }

    /// The record of its bytes. `None`: not a record.
    pub fn decode(bytes: &Bytes) -> Option<LockRecord> {
        match StoredLock::decode(bytes)? {
            StoredLock::Key(lock) => Some(lock),
            StoredLock::Piece(_) => None,
        }
    }
}

/// The writes of one prewrite, locked together: a large transaction has a few of them instead of a lock for each key. They
/// are resolved together, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceRecord {
    /// Whose it is.
    pub txn: TxnId,
    /// When that transaction's commit began.
    pub start_ts: Timestamp,
    /// Where that transaction is decided.
    pub primary: Key,
    /// What is written, in the order of the keys; never empty.
    pub writes: Vec<(Key, Op)>,
}

impl PieceRecord {
    /// The bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_bytes_estimate());
        self.encode_to(&mut out);
        out
    }

    /// About as many bytes as the record has, rather too many.
    pub fn encoded_bytes_estimate(&self) -> usize {
        let bytes = |(key, op): &(Key, Op)| key.len() + if let Op::Put(value) = op { value.len() } else { 0 } + 8;
        64 + self.primary.len() + self.writes.iter().map(bytes).sum::<usize>()
    }

    /// Appends the bytes of the record.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.txn.0.to_be_bytes());
        out.extend_from_slice(&self.start_ts.0.to_be_bytes());
        out.push(PIECE);
        put_blob(out, &self.primary);
        put_uv(out, self.writes.len() as u64);
        for (key, op) in &self.writes {
            put_blob(out, key);
            match op {
                Op::Delete => out.push(TOMBSTONE),
                Op::Put(value) => {
                    out.push(PUT);
                    put_blob(out, value);
                }
            }
        }
    }

    /// The first key, under which the piece is stored.
    pub fn first(&self) -> &Key {
        &self.writes[0].0
    }

    /// The last key.
    pub fn last(&self) -> &Key {
        &self.writes[self.writes.len() - 1].0
    }

    /// What the piece does to a key, if it holds it.
    pub fn op_on(&self, key: &[u8]) -> Option<&Op> {
        if key < self.first().as_ref() || key > self.last().as_ref() {
            return None;
        }
        let at = self.writes.binary_search_by(|(own, _)| own.as_ref().cmp(key)).ok()?;
        Some(&self.writes[at].1)
    }

    /// The piece's writes from `start` (included) to `end` (excluded).
    pub fn writes_in(&self, start: &[u8], end: &[u8]) -> &[(Key, Op)] {
        let from = self.writes.partition_point(|(key, _)| key.as_ref() < start);
        let to = self.writes.partition_point(|(key, _)| key.as_ref() < end);
        self.writes.get(from..to).unwrap_or_default()
    }

    /// The lock on one of its keys.
    pub fn lock(&self, op: &Op) -> LockRecord {
        LockRecord { txn: self.txn, start_ts: self.start_ts, primary: self.primary.clone(), op: op.clone() }
    }

    /// The same locks on other writes.
    pub fn with(&self, writes: Vec<(Key, Op)>) -> PieceRecord {
        PieceRecord { txn: self.txn, start_ts: self.start_ts, primary: self.primary.clone(), writes }
    }
}

/// What is stored among the locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredLock {
    /// A lock on one key.
    Key(LockRecord),
    /// A lock on many.
    Piece(PieceRecord),
}

impl StoredLock {
    /// The record of its bytes. `None`: not a record.
    pub fn decode(bytes: &Bytes) -> Option<StoredLock> {
        let mut reader = Reader::new(bytes);
        let txn = TxnId(reader.u128().ok()?);
        let start_ts = Timestamp(reader.u64().ok()?);
        let kind = reader.u8().ok()?;
        let primary = reader.blob().ok()?;
        if kind == PIECE {
            let write = |reader: &mut Reader<'_>| {
                let key = reader.blob()?;
                Ok((key, if reader.u8()? == PUT { Op::Put(reader.blob()?) } else { Op::Delete }))
            };
            let writes = reader.list(PIECE_WRITE_BYTES_MIN, write).ok()?;
            let sorted = writes.is_sorted_by(|(a, _), (b, _)| a < b);
            return (sorted && !writes.is_empty() && reader.is_at_end()).then_some(StoredLock::Piece(PieceRecord {
                txn,
                start_ts,
                primary,
                writes,
            }));
        }
        let value = reader.rest();
        let op = match kind {
            TOMBSTONE if value.is_empty() => Op::Delete,
            PUT => Op::Put(value),
            _ => return None,
        };
        Some(StoredLock::Key(LockRecord { txn, start_ts, primary, op }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes on disk, frozen.
    #[test]
    fn golden_bytes() {
        assert_eq!(version_header(Timestamp(0x0102), true), [0, 0, 0, 0, 0, 0, 1, 2, 1]);
        assert_eq!(version_header(Timestamp(3), false), [0, 0, 0, 0, 0, 0, 0, 3, 0]);
        assert_eq!(history_suffix(Timestamp(1)), [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]);
        assert_eq!(encode_status(TxnStatus::Committed(Timestamp(9))), [1, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(encode_status(TxnStatus::Aborted(Timestamp(9))), [0, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(txn_key(b"p", TxnId(7)), [b"p".as_ref(), &[0; 15], &[7]].concat());
        let lock = LockRecord {
            txn: TxnId(5),
            start_ts: Timestamp(6),
            primary: Bytes::from_static(b"pk"),
            op: Op::Put(Bytes::from_static(b"v")),
        };
        let expected = [[0u8; 15].as_ref(), &[5], &[0; 7], &[6], &[1, 2], b"pk", b"v"].concat();
        assert_eq!(lock.encode(), expected);
        assert_eq!(LockRecord::decode(&Bytes::from(expected)), Some(lock));
        let piece = PieceRecord {
            txn: TxnId(5),
            start_ts: Timestamp(6),
            primary: Bytes::from_static(b"pk"),
            writes: vec![
                (Bytes::from_static(b"a"), Op::Put(Bytes::from_static(b"v"))),
                (Bytes::from_static(b"b"), Op::Delete),
            ],
        };
        let expected =
            [[0u8; 15].as_ref(), &[5], &[0; 7], &[6], &[2, 2], b"pk", &[2, 1, b'a', 1, 1, b'v', 1, b'b', 0]].concat();
        assert_eq!(piece.encode(), expected);
        assert_eq!(StoredLock::decode(&Bytes::from(expected)), Some(StoredLock::Piece(piece)));
    }

    #[test]
    fn damaged_records_are_recognised() {
        assert_eq!(decode_version(&[0; 8]), None);
        assert_eq!(decode_version(&[0, 0, 0, 0, 0, 0, 0, 1, 7]), None);
        assert_eq!(decode_version(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 1]), None);
        assert_eq!(decode_status(&[2, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(decode_status(&[1, 0]), None);
        assert_eq!(decode_history_key(b"short"), None);
        assert_eq!(LockRecord::decode(&Bytes::from_static(&[1; 20])), None);
    }
}
