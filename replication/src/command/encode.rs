//! Commands to bytes.

use bytes::Bytes;

use super::codec::{put_blob, put_uv};
use super::{COMMAND_VERSION, Check, Command, Op, TxnStatus, Write};
use crate::api::{Key, Timestamp, TxnId, Value};
use crate::overlay::Buffered;

pub(super) mod tag {
    pub const COMMIT: u8 = 1;
    pub const PREWRITE: u8 = 2;
    pub const COMMIT_PRIMARY: u8 = 3;
    pub const RESOLVE: u8 = 4;
    pub const ABORT: u8 = 5;
    pub const DELETE_RANGE: u8 = 7;
    pub const SPLIT: u8 = 8;
    pub const CREATE_SHARD: u8 = 9;
    pub const RESERVE_TIMESTAMPS: u8 = 10;
    pub const RESERVE_IDS: u8 = 11;
    pub const ADVANCE_GC: u8 = 12;
}

/// More than the fixed fields of any write or check.
const ITEM_BYTES_ESTIMATE: usize = 32;
/// More than the fields of any command beside its writes, checks and keys.
const FIXED_BYTES_ESTIMATE: usize = 128;

/// Whether an encoded command finishes what was begun before, or keeps the store able to: it is small, and must get into the
/// log also when nothing new does.
pub fn finishes_work(encoded: &[u8]) -> bool {
    let finishing = [tag::COMMIT_PRIMARY, tag::RESOLVE, tag::ABORT, tag::RESERVE_TIMESTAMPS];
    encoded.get(1).is_some_and(|tag| finishing.contains(tag))
}

/// Whether an encoded command changes or drops ranges, and so may walk through many rows when it is applied.
pub fn walks_ranges(encoded: &[u8]) -> bool {
    encoded.get(1).is_some_and(|tag| [tag::SPLIT, tag::DELETE_RANGE].contains(tag))
}

impl Command {
    /// The binary form, with the epoch of the shard that the proposer knows.
    pub fn encode(&self, epoch: u64) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_bytes_estimate());
        out.push(COMMAND_VERSION);
        out.push(self.tag());
        put_uv(&mut out, epoch);
        match self {
            Command::Commit { txn, start_ts, commit_ts, writes, checks } => {
                put_txn(&mut out, *txn);
                put_ts(&mut out, *start_ts);
                put_ts(&mut out, *commit_ts);
                put_writes(&mut out, writes.len(), writes.iter().map(parts));
                put_checks(&mut out, checks);
            }
            Command::Prewrite { txn, start_ts, primary, writes, checks } => {
                put_txn(&mut out, *txn);
                put_ts(&mut out, *start_ts);
                put_blob(&mut out, primary);
                put_writes(&mut out, writes.len(), writes.iter().map(parts));
                put_checks(&mut out, checks);
            }
            Command::CommitPrimary { txn, commit_ts, primary } => {
                put_txn(&mut out, *txn);
                put_ts(&mut out, *commit_ts);
                put_blob(&mut out, primary);
            }
            Command::Resolve { txn, status, keys } => {
                put_txn(&mut out, *txn);
                put_status(&mut out, *status);
                put_uv(&mut out, keys.len() as u64);
                for key in keys {
                    put_blob(&mut out, key);
                }
            }
            Command::Abort { txn, now, primary } => {
                put_txn(&mut out, *txn);
                put_ts(&mut out, *now);
                put_blob(&mut out, primary);
            }
            Command::DeleteRange { span, dropped_at, force } => {
                put_blob(&mut out, &span.start);
                put_blob(&mut out, &span.end);
                put_ts(&mut out, *dropped_at);
                out.push(u8::from(*force));
            }
            Command::Split { at, new_shard } => {
                put_blob(&mut out, at);
                put_uv(&mut out, new_shard.0);
            }
            Command::CreateShard { shard, span } => {
                put_uv(&mut out, shard.0);
                put_blob(&mut out, &span.start);
                put_blob(&mut out, &span.end);
            }
            Command::ReserveTimestamps { until } => put_ts(&mut out, *until),
            Command::ReserveIds { name, count } => {
                put_blob(&mut out, name.as_bytes());
                put_uv(&mut out, *count);
            }
            Command::AdvanceGc { threshold } => put_ts(&mut out, *threshold),
        }
        out.into()
    }

    fn tag(&self) -> u8 {
        match self {
            Command::Commit { .. } => tag::COMMIT,
            Command::Prewrite { .. } => tag::PREWRITE,
            Command::CommitPrimary { .. } => tag::COMMIT_PRIMARY,
            Command::Resolve { .. } => tag::RESOLVE,
            Command::Abort { .. } => tag::ABORT,
            Command::DeleteRange { .. } => tag::DELETE_RANGE,
            Command::Split { .. } => tag::SPLIT,
            Command::CreateShard { .. } => tag::CREATE_SHARD,
            Command::ReserveTimestamps { .. } => tag::RESERVE_TIMESTAMPS,
            Command::ReserveIds { .. } => tag::RESERVE_IDS,
            Command::AdvanceGc { .. } => tag::ADVANCE_GC,
        }
    }

    /// About the size of the binary form in bytes, rather too large, so that encoding allocates once.
    fn encoded_bytes_estimate(&self) -> usize {
        let items = match self {
            Command::Commit { writes, checks, .. } | Command::Prewrite { writes, checks, .. } => {
                let writes: usize = writes
                    .iter()
                    .map(|write| {
                        let value = if let Op::Put(value) = &write.op { value.len() } else { 0 };
                        write.key.len() + value + ITEM_BYTES_ESTIMATE
                    })
                    .sum();
                let checks: usize = checks
                    .iter()
                    .map(|check| match check {
                        Check::KeyExists { key } => key.len() + ITEM_BYTES_ESTIMATE,
                        Check::SpanUnchanged { span, .. } => span.start.len() + span.end.len() + ITEM_BYTES_ESTIMATE,
                    })
                    .sum();
                writes + checks
            }
            Command::Resolve { keys, .. } => keys.iter().map(|key| key.len() + ITEM_BYTES_ESTIMATE).sum(),
            _ => 0,
        };
        items + FIXED_BYTES_ESTIMATE
    }
}

/// The binary form of a [`Command::Prewrite`] without checks whose writes are elsewhere: `sizes` are their number and, roughly,
/// their bytes.
pub(crate) fn encode_prewrite<'a>(
    epoch: u64,
    txn: TxnId,
    start_ts: Timestamp,
    primary: &Key,
    sizes: (usize, usize),
    writes: impl Iterator<Item = (&'a Key, &'a Buffered)>,
) -> Bytes {
    let (count, bytes) = sizes;
    let mut out = Vec::with_capacity(bytes + primary.len() + FIXED_BYTES_ESTIMATE);
    out.push(COMMAND_VERSION);
    out.push(tag::PREWRITE);
    put_uv(&mut out, epoch);
    put_txn(&mut out, txn);
    put_ts(&mut out, start_ts);
    put_blob(&mut out, primary);
    put_writes(&mut out, count, writes.map(|(key, write)| (key, write.base, write.value.as_ref())));
    put_checks(&mut out, &[]);
    out.into()
}

fn put_ts(out: &mut Vec<u8>, ts: Timestamp) {
    out.extend_from_slice(&ts.0.to_be_bytes());
}

fn put_txn(out: &mut Vec<u8>, txn: TxnId) {
    out.extend_from_slice(&txn.0.to_be_bytes());
}

fn put_status(out: &mut Vec<u8>, status: TxnStatus) {
    let (kind, ts) = match status {
        TxnStatus::Aborted(ts) => (0, ts),
        TxnStatus::Committed(ts) => (1, ts),
    };
    out.push(kind);
    put_ts(out, ts);
}

/// What is encoded of a write: its key, base, and value (`None` deletes).
type WriteParts<'a> = (&'a Key, Timestamp, Option<&'a Value>);

fn parts(write: &Write) -> WriteParts<'_> {
    let value = if let Op::Put(value) = &write.op { Some(value) } else { None };
    (&write.key, write.base, value)
}

fn put_writes<'a>(out: &mut Vec<u8>, count: usize, writes: impl Iterator<Item = WriteParts<'a>>) {
    put_uv(out, count as u64);
    for (key, base, value) in writes {
        put_blob(out, key);
        put_ts(out, base);
        match value {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                put_blob(out, value);
            }
        }
    }
}

fn put_checks(out: &mut Vec<u8>, checks: &[Check]) {
    put_uv(out, checks.len() as u64);
    for check in checks {
        match check {
            Check::SpanUnchanged { span, base } => {
                out.push(1);
                put_blob(out, &span.start);
                put_blob(out, &span.end);
                put_ts(out, *base);
            }
            Check::KeyExists { key } => {
                out.push(2);
                put_blob(out, key);
            }
        }
    }
}
