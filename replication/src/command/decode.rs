//! Bytes to commands.

use bytes::Bytes;

use super::codec::{DecodeError, Reader};
use super::encode::tag;
use super::{COMMAND_VERSION, Check, Command, Op, TxnStatus, Write};
use crate::api::{ShardId, Span, Timestamp, TxnId};

/// Least bytes of a write: two lengths or kinds, and the base.
const WRITE_BYTES_MIN: usize = 10;
/// Least bytes of a check: kind and an empty key.
const CHECK_BYTES_MIN: usize = 2;

impl Command {
    /// The epoch and the command of a binary form. Keys and values share the memory of `data`.
    ///
    /// # Errors
    /// The bytes are not a command of a version that this program knows.
    pub fn decode(data: &Bytes) -> Result<(u64, Command), DecodeError> {
        let mut reader = Reader::new(data);
        if reader.u8()? != COMMAND_VERSION {
            return Err(DecodeError("unknown version of a command"));
        }
        let tag = reader.u8()?;
        let epoch = reader.uv()?;
        let command = fields(tag, &mut reader)?;
        reader.finish()?;
        Ok((epoch, command))
    }
}

fn fields(tag: u8, reader: &mut Reader<'_>) -> Result<Command, DecodeError> {
    // Struct fields are evaluated in the order in which they are written, which is the order of the bytes.
    Ok(match tag {
        tag::COMMIT => Command::Commit {
            txn: txn(reader)?,
            start_ts: ts(reader)?,
            commit_ts: ts(reader)?,
            writes: reader.list(WRITE_BYTES_MIN, write)?,
            checks: reader.list(CHECK_BYTES_MIN, check)?,
        },
        tag::PREWRITE => Command::Prewrite {
            txn: txn(reader)?,
            start_ts: ts(reader)?,
            primary: reader.blob()?,
            writes: reader.list(WRITE_BYTES_MIN, write)?,
            checks: reader.list(CHECK_BYTES_MIN, check)?,
        },
        tag::COMMIT_PRIMARY => {
            Command::CommitPrimary { txn: txn(reader)?, commit_ts: ts(reader)?, primary: reader.blob()? }
        }
        tag::RESOLVE => {
            Command::Resolve { txn: txn(reader)?, status: status(reader)?, keys: reader.list(1, Reader::blob)? }
        }
        tag::ABORT => Command::Abort { txn: txn(reader)?, now: ts(reader)?, primary: reader.blob()? },
        tag::DELETE_RANGE => {
            Command::DeleteRange { span: span(reader)?, dropped_at: ts(reader)?, force: flag(reader)? }
        }
        tag::SPLIT => Command::Split { at: reader.blob()?, new_shard: ShardId(reader.uv()?) },
        tag::CREATE_SHARD => Command::CreateShard { shard: ShardId(reader.uv()?), span: span(reader)? },
        tag::RESERVE_TIMESTAMPS => Command::ReserveTimestamps { until: ts(reader)? },
        tag::RESERVE_IDS => Command::ReserveIds { name: reader.text()?, count: reader.uv()? },
        tag::ADVANCE_GC => Command::AdvanceGc { threshold: ts(reader)? },
        _ => return Err(DecodeError("unknown command")),
    })
}

fn ts(reader: &mut Reader<'_>) -> Result<Timestamp, DecodeError> {
    reader.u64().map(Timestamp)
}

fn txn(reader: &mut Reader<'_>) -> Result<TxnId, DecodeError> {
    reader.u128().map(TxnId)
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError("a flag is neither 0 nor 1")),
    }
}

fn span(reader: &mut Reader<'_>) -> Result<Span, DecodeError> {
    Ok(Span { start: reader.blob()?, end: reader.blob()? })
}

fn status(reader: &mut Reader<'_>) -> Result<TxnStatus, DecodeError> {
    match flag(reader)? {
        false => ts(reader).map(TxnStatus::Aborted),
        true => ts(reader).map(TxnStatus::Committed),
    }
}

fn write(reader: &mut Reader<'_>) -> Result<Write, DecodeError> {
    let key = reader.blob()?;
    let base = ts(reader)?;
    let op = if flag(reader)? { Op::Put(reader.blob()?) } else { Op::Delete };
    Ok(Write { key, op, base })
}

fn check(reader: &mut Reader<'_>) -> Result<Check, DecodeError> {
    Ok(match reader.u8()? {
        1 => Check::SpanUnchanged { span: span(reader)?, base: ts(reader)? },
        2 => Check::KeyExists { key: reader.blob()? },
        _ => return Err(DecodeError("unknown check")),
    })
}
