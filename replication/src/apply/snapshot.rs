//! A shard as a stream of bytes, for replicas that are too far behind for the log.
//!
//! # Bytes
//! `STRATEX1`, then chunks: `[length u32 BE][CRC-32 u32 BE][payload]`, then a chunk of length 0. The payloads
//! together hold records that do not cross chunks: `[family u8][key blob][value blob]` (`blob`: LEB128 length
//! and bytes). The shard's records of the `meta` family come first, its descriptor before all.

use std::io::{Read, Write};

use bytes::Bytes;

use super::meta::{self, kind, shard_key};
use super::{Shard, ShardState, StateMachine};
use crate::api::{ShardDescriptor, ShardId, Span, prefix_end};
use crate::command::{Reader, put_blob};
use crate::engine::{Batch, Family, Reads};
use crate::error::{Error, Result};
use crate::target::LogPosition;

const MAGIC: &[u8; 8] = b"STRATEX1";
/// A chunk ends after the record with which it reaches this size.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Families whose keys are those of the rows, perhaps with a suffix.
const ROW_FAMILIES: [Family; 4] = [Family::Latest, Family::History, Family::Locks, Family::Txns];

struct ChunkWriter<'a> {
    sink: &'a mut dyn Write,
    payload: Vec<u8>,
}

impl ChunkWriter<'_> {
    fn record(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<()> {
        self.payload.push(family.number());
        put_blob(&mut self.payload, key);
        put_blob(&mut self.payload, value);
        if self.payload.len() >= CHUNK_BYTES { self.end_chunk() } else { Ok(()) }
    }

    fn end_chunk(&mut self) -> Result<()> {
        let length =
            u32::try_from(self.payload.len()).map_err(|_| Error::corruption("a record is too large for an export"))?;
        let crc = crc32fast::hash(&self.payload);
        let write = |sink: &mut dyn Write, payload: &[u8]| {
            sink.write_all(&length.to_be_bytes())?;
            sink.write_all(&crc.to_be_bytes())?;
            sink.write_all(payload)
        };
        write(self.sink, &self.payload).map_err(|error| Error::io("writing an export", &error))?;
        self.payload.clear();
        Ok(())
    }

    fn span(&mut self, reads: &dyn Reads, family: Family, start: &[u8], end: &[u8]) -> Result<()> {
        let mut cursor = reads.cursor(family, start, Some(end))?;
        cursor.seek_first()?;
        while let Some((key, value)) = cursor.item() {
            self.record(family, key, value)?;
            cursor.next()?;
        }
        Ok(())
    }
}

/// The next chunk's payload; `None` after the last one.
fn read_chunk(source: &mut dyn Read) -> Result<Option<Bytes>> {
    let io = |error: std::io::Error| Error::io("reading an export", &error);
    let mut header = [0; 8];
    source.read_exact(&mut header).map_err(io)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let crc = u32::from_be_bytes([c0, c1, c2, c3]);
    // Grows with what really comes, so that a damaged length costs no memory.
    let mut payload = Vec::new();
    source.take(u64::from(length)).read_to_end(&mut payload).map_err(io)?;
    if payload.len() as u64 != u64::from(length) || crc32fast::hash(&payload) != crc {
        return Err(Error::corruption("a chunk of an export is damaged"));
    }
    Ok((length > 0).then(|| payload.into()))
}

impl StateMachine {
    pub(super) fn export_shard(&self, id: ShardId, sink: &mut dyn Write) -> Result<Option<LogPosition>> {
        let view = self.engine.view();
        let state = ShardState::load(view.as_ref(), id)?.ok_or(Error::UnknownShard { shard: id })?;
        sink.write_all(MAGIC).map_err(|error| Error::io("writing an export", &error))?;
        let mut writer = ChunkWriter { sink, payload: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8) };
        for kind in kind::OF_SHARD {
            let start = shard_key(kind, id);
            writer.span(view.as_ref(), Family::Meta, &start, &prefix_end(&start))?;
        }
        let Span { start, end } = &state.descriptor.span;
        for family in ROW_FAMILIES {
            writer.span(view.as_ref(), family, start, end)?;
        }
        if !writer.payload.is_empty() {
            writer.end_chunk()?;
        }
        writer.end_chunk()?;
        Ok(state.applied)
    }

    pub(super) fn import_shard(&self, id: ShardId, source: &mut dyn Read) -> Result<Option<LogPosition>> {
        let existing = self.shards.read().get(&id).cloned();
        let _turn = existing.as_ref().map(|shard| shard.turn.lock());
        let mut magic = [0; MAGIC.len()];
        source.read_exact(&mut magic).map_err(|error| Error::io("reading an export", &error))?;
        if magic != *MAGIC {
            return Err(Error::corruption("the bytes are not an export of a shard"));
        }
        let Some(first) = read_chunk(source)? else {
            return Err(Error::corruption("an export without a descriptor"));
        };
        let descriptor = first_descriptor(id, &first)?;
        self.check_room(&descriptor)?;

        let mut batch = Batch::new();
        if let Some(shard) = &existing {
            wipe(&mut batch, id, &shard.state.read().descriptor.span);
        }
        wipe(&mut batch, id, &descriptor.span);
        let mut span = Vec::new();
        meta::encode_span(&mut span, &descriptor.span);
        batch.put(Family::Meta, &shard_key(kind::IMPORTING, id), &span);
        self.engine.write(&batch)?;

        let imported = self.import_chunks(&descriptor, first, source);
        if let Some(shard) = &existing {
            self.replaced(&shard.state.read().descriptor.span);
        }
        self.replaced(&descriptor.span);
        if let Err(error) = imported {
            self.shards.write().remove(&id);
            self.remove_unfinished_imports()?;
            self.locks.replace_span(&descriptor.span, Vec::new(), Vec::new());
            let _structure = self.structure.lock();
            self.shards_changed();
            return Err(error);
        }
        self.engine.flush()?;
        let state = ShardState::load(self.engine.as_ref(), id)?.ok_or(Error::UnknownShard { shard: id })?;
        let applied = state.applied;
        self.load_locks(&state.descriptor.span)?;
        self.recent.forget_until(state.last_written());
        match &existing {
            Some(shard) => *shard.state.write() = state,
            None => {
                self.shards.write().insert(id, Shard::new(state));
            }
        }
        let _structure = self.structure.lock();
        self.shards_changed();
        Ok(applied)
    }

    /// Writes the records of all chunks; those about the shard itself last, with the end of the import.
    fn import_chunks(&self, descriptor: &ShardDescriptor, first: Bytes, source: &mut dyn Read) -> Result<()> {
        let mut about = Batch::new();
        let mut batch = Batch::new();
        let mut chunk = Some(first);
        while let Some(payload) = chunk {
            let damaged = |_| Error::corruption("a record of an export cannot be decoded");
            let mut reader = Reader::new(&payload);
            while !reader.is_at_end() {
                let family = Family::from_number(reader.u8().map_err(damaged)?);
                let key = reader.blob().map_err(damaged)?;
                let value = reader.blob().map_err(damaged)?;
                match family {
                    Some(Family::Meta) if is_about(descriptor.shard, &key) => about.put(Family::Meta, &key, &value),
                    Some(family) if family != Family::Meta && descriptor.span.contains(&key) => {
                        batch.put(family, &key, &value);
                    }
                    _ => {
                        return Err(Error::corruption("a record of an export is not the shard's"));
                    }
                }
            }
            self.engine.write(&batch)?;
            batch.clear();
            chunk = read_chunk(source)?;
        }
        about.delete(Family::Meta, &shard_key(kind::IMPORTING, descriptor.shard));
        self.engine.write(&about)
    }

    /// Refuses a shard whose range another shard of this node holds.
    fn check_room(&self, descriptor: &ShardDescriptor) -> Result<()> {
        let map = self.shard_map();
        let mut others = map.overlapping(&descriptor.span).filter(|other| other.shard != descriptor.shard);
        match others.next() {
            None => Ok(()),
            Some(other) => {
                Err(Error::InvalidSpan { reason: format!("shard {} holds a part of the imported range", other.shard) })
            }
        }
    }

    /// Removes what imports that never ended have left.
    pub(super) fn remove_unfinished_imports(&self) -> Result<()> {
        let start = [kind::IMPORTING];
        let mut batch = Batch::new();
        {
            let mut cursor = self.engine.cursor(Family::Meta, &start, Some(&prefix_end(&start)))?;
            cursor.seek_first()?;
            while let Some((key, value)) = cursor.item() {
                let id = key.get(1..).and_then(meta::decode_u64).map(ShardId);
                let found = id.zip(meta::decode_span(value));
                let (id, span) = found.ok_or_else(|| Error::corruption("the mark of an import cannot be decoded"))?;
                wipe(&mut batch, id, &span);
                batch.delete(Family::Meta, key);
                cursor.next()?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.engine.write(&batch) }
    }
}

/// Removes all rows of a span and all that is known of a shard.
fn wipe(batch: &mut Batch, shard: ShardId, span: &Span) {
    for family in ROW_FAMILIES {
        batch.delete_range(family, &span.start, &span.end);
    }
    for kind in kind::OF_SHARD {
        let start = shard_key(kind, shard);
        batch.delete_range(Family::Meta, &start, &prefix_end(&start));
    }
}

fn is_about(shard: ShardId, key: &[u8]) -> bool {
    kind::OF_SHARD.iter().any(|kind| key.starts_with(&shard_key(*kind, shard)))
}

/// The descriptor with which an export begins.
fn first_descriptor(shard: ShardId, payload: &Bytes) -> Result<ShardDescriptor> {
    let damaged = || Error::corruption("an export does not begin with the shard's descriptor");
    let mut reader = Reader::new(payload);
    let family = reader.u8().map_err(|_| damaged())?;
    let key = reader.blob().map_err(|_| damaged())?;
    let value = reader.blob().map_err(|_| damaged())?;
    if family != Family::Meta.number() || key.as_ref() != shard_key(kind::DESCRIPTOR, shard) {
        return Err(damaged());
    }
    meta::decode_descriptor(shard, &value).ok_or_else(damaged)
}
