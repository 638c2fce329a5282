//! A transaction divided: by shard, and within a shard into chunks that fit into a command.
//!
//! The writes of a large transaction stay where they are, in the map in which they were buffered. A chunk names its first and
//! last key; its writes are read from the map when they are encoded.

use std::ops::Bound;
use std::sync::Arc;

use super::Inner;
use super::routing::Shard;
use crate::api::{Key, Span};
use crate::command::Check;
use crate::error::Result;
use crate::overlay::{Buffered, Writes};

/// Largest commit in one command: bytes, roughly, and writes. Larger ones go through pieces. A command holds up everybody else
/// of its shard while it is applied.
const COMMAND_BYTES_MAX: usize = 4 << 20;
const COMMAND_WRITES_MAX: usize = 16_384;
/// Largest piece: bytes, roughly, and writes, of which each costs some microseconds when it is turned into a version.
const PIECE_BYTES_MAX: usize = 2 << 20;
const PIECE_WRITES_MAX: usize = 4_096;
/// Bytes of a write in a command beside its key and value, rather too many.
const WRITE_OVERHEAD_BYTES: usize = 32;

/// The part of a transaction that concerns one shard.
pub(super) struct PartData {
    pub shard: Arc<Shard>,
    pub chunks: Vec<Chunk>,
    pub checks: Vec<Check>,
}

impl PartData {
    /// Whether its writes fit into one command.
    pub fn fits_a_command(&self) -> bool {
        let (mut bytes, mut writes) = (0, 0);
        for chunk in &self.chunks {
            bytes += chunk.bytes;
            writes += chunk.count;
        }
        bytes <= COMMAND_BYTES_MAX && writes <= COMMAND_WRITES_MAX
    }
}

/// Neighbouring writes that go into one command.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub first: Key,
    pub last: Key,
    /// How many writes.
    pub count: usize,
    /// Their bytes as a command, roughly.
    pub bytes: usize,
}

impl Chunk {
    /// Its writes in order.
    pub fn writes<'a>(&self, all: &'a Writes) -> impl Iterator<Item = (&'a Key, &'a Buffered)> {
        all.range::<[u8], _>((Bound::Included(self.first.as_ref()), Bound::Included(self.last.as_ref())))
    }
}

fn write_bytes(key: &Key, write: &Buffered) -> usize {
    key.len() + write.value.as_ref().map_or(0, |value| value.len()) + WRITE_OVERHEAD_BYTES
}

/// Divides a transaction. The part with the first write is the first.
pub(super) fn partition(inner: &Inner, writes: &Writes, checks: &[Check]) -> Result<Vec<PartData>> {
    let mut parts: Vec<PartData> = Vec::new();
    // Writes come in key order, and so do shards: a new part begins where the last one's range ends.
    for (key, write) in writes {
        if parts.last().is_none_or(|part| !part.shard.descriptor.span.contains(key)) {
            parts.push(PartData { shard: inner.routing.of(key)?, chunks: Vec::new(), checks: Vec::new() });
        }
        let Some(part) = parts.last_mut() else { continue };
        let bytes = write_bytes(key, write);
        match part.chunks.last_mut() {
            Some(chunk) if chunk.bytes + bytes <= PIECE_BYTES_MAX && chunk.count < PIECE_WRITES_MAX => {
                chunk.last = key.clone();
                chunk.count += 1;
                chunk.bytes += bytes;
            }
            _ => part.chunks.push(Chunk { first: key.clone(), last: key.clone(), count: 1, bytes }),
        }
    }
    let mut add = |shard: Arc<Shard>, check: Check| {
        let id = shard.descriptor.shard;
        match parts.iter_mut().find(|part| part.shard.descriptor.shard == id) {
            Some(part) => part.checks.push(check),
            None => parts.push(PartData { shard, chunks: Vec::new(), checks: vec![check] }),
        }
    };
    for check in checks {
        match check {
            Check::KeyExists { key } => add(inner.routing.of(key)?, check.clone()),
            Check::SpanUnchanged { span, base } => {
                for shard in inner.routing.over(span) {
                    let span: Span = span.intersection(&shard.descriptor.span);
                    add(shard, Check::SpanUnchanged { span, base: *base });
                }
            }
        }
    }
    Ok(parts)
}
