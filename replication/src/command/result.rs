//! Answers to commands, and their binary form (see the module's tables).

use bytes::Bytes;

use super::COMMAND_VERSION;
use super::codec::{DecodeError, Reader, put_blob, put_uv};
use crate::api::{Key, Timestamp, TxnId};

/// Why a transaction is in conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// A key that it writes has a newer version than its base.
    NewerVersion,
    /// A key or span that it read has changed.
    Changed,
    /// A key that it needs is not there.
    Missing,
}

/// What applying a command came to. Every replica comes to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// Done (or done already): prewrite, resolve, ranges.
    Done,
    /// The transaction is committed since this moment; a repeated commit answers the first one's moment.
    Committed {
        /// The moment.
        commit_ts: Timestamp,
    },
    /// The transaction is aborted.
    Aborted,
    /// Refused, nothing is changed: the transaction must be run again.
    Conflict {
        /// A key of the conflict.
        key: Key,
        /// Its kind.
        reason: ConflictReason,
    },
    /// Refused, nothing is changed: another transaction's prewrite is in the way. Resolve it and repeat.
    Locked {
        /// The locked key.
        key: Key,
        /// Whose lock it is.
        txn: TxnId,
        /// When that transaction's commit began.
        start_ts: Timestamp,
        /// Where that transaction is decided.
        primary: Key,
    },
    /// The shard has another epoch than the proposer thought. Nothing is changed.
    StaleEpoch {
        /// The epoch now.
        epoch: u64,
    },
    /// A key is outside the shard. Nothing is changed.
    WrongShard {
        /// The epoch now.
        epoch: u64,
    },
    /// Too old to be judged: what decides it may have been collected. Nothing is changed *by this entry*; an
    /// earlier attempt of the same transaction may have been committed.
    Expired {
        /// The shard's garbage collection threshold.
        threshold: Timestamp,
    },
    /// The numbers `first .. first + count` are taken.
    Ids {
        /// The first of them.
        first: u64,
    },
    /// The limit (timestamps) or threshold (garbage collection) that holds now.
    Moment {
        /// It.
        ts: Timestamp,
    },
    /// The command makes no sense here: it cannot be decoded, or contradicts itself or the shard map.
    Refused {
        /// Why.
        reason: String,
    },
}

impl CommandResult {
    /// A `Refused` with its reason.
    pub fn refused(reason: impl Into<String>) -> CommandResult {
        CommandResult::Refused { reason: reason.into() }
    }

    /// The binary form.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(16);
        out.push(COMMAND_VERSION);
        match self {
            CommandResult::Done => out.push(0),
            CommandResult::Committed { commit_ts } => {
                out.push(1);
                out.extend_from_slice(&commit_ts.0.to_be_bytes());
            }
            CommandResult::Aborted => out.push(2),
            CommandResult::Conflict { key, reason } => {
                out.push(3);
                put_blob(&mut out, key);
                out.push(match reason {
                    ConflictReason::NewerVersion => 0,
                    ConflictReason::Changed => 1,
                    ConflictReason::Missing => 2,
                });
            }
            CommandResult::Locked { key, txn, start_ts, primary } => {
                out.push(4);
                put_blob(&mut out, key);
                out.extend_from_slice(&txn.0.to_be_bytes());
                out.extend_from_slice(&start_ts.0.to_be_bytes());
                put_blob(&mut out, primary);
            }
            CommandResult::StaleEpoch { epoch } => {
                out.push(5);
                put_uv(&mut out, *epoch);
            }
            CommandResult::WrongShard { epoch } => {
                out.push(6);
                put_uv(&mut out, *epoch);
            }
            CommandResult::Expired { threshold } => {
                out.push(7);
                out.extend_from_slice(&threshold.0.to_be_bytes());
            }
            CommandResult::Ids { first } => {
                out.push(8);
                put_uv(&mut out, *first);
            }
            CommandResult::Moment { ts } => {
                out.push(9);
                out.extend_from_slice(&ts.0.to_be_bytes());
            }
            CommandResult::Refused { reason } => {
                out.push(10);
                put_blob(&mut out, reason.as_bytes());
            }
        }
        out.into()
    }

    /// The result of a binary form.
    ///
    /// # Errors
    /// The bytes are not a result of a version that this program knows.
    pub fn decode(data: &Bytes) -> Result<CommandResult, DecodeError> {
        let mut reader = Reader::new(data);
        if reader.u8()? != COMMAND_VERSION {
            return Err(DecodeError("unknown version of a result"));
        }
        let result = match reader.u8()? {
            0 => CommandResult::Done,
            1 => CommandResult::Committed { commit_ts: Timestamp(reader.u64()?) },
            2 => CommandResult::Aborted,
            3 => {
                let key = reader.blob()?;
                let reason = match reader.u8()? {
                    0 => ConflictReason::NewerVersion,
                    1 => ConflictReason::Changed,
                    2 => ConflictReason::Missing,
                    _ => return Err(DecodeError("unknown reason of a conflict")),
                };
                CommandResult::Conflict { key, reason }
            }
            4 => CommandResult::Locked {
                key: reader.blob()?,
                txn: TxnId(reader.u128()?),
                start_ts: Timestamp(reader.u64()?),
                primary: reader.blob()?,
            },
            5 => CommandResult::StaleEpoch { epoch: reader.uv()? },
            6 => CommandResult::WrongShard { epoch: reader.uv()? },
            7 => CommandResult::Expired { threshold: Timestamp(reader.u64()?) },
            8 => CommandResult::Ids { first: reader.uv()? },
            9 => CommandResult::Moment { ts: Timestamp(reader.u64()?) },
            10 => CommandResult::Refused { reason: reader.text()? },
            _ => return Err(DecodeError("unknown result")),
        };
        reader.finish()?;
        Ok(result)
    }
}
