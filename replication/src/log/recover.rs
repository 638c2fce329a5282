//! Reading the segments at the start: what was acknowledged is found again, what a crash tore is cut off, and
//! damage is told from a crash.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::error::{LogError, Result};
use super::format::{self, BadHeader, FRAME_HEADER_BYTES, FRAME_MAGIC, Record, SEGMENT_HEADER_BYTES};
use super::index::{GroupIndex, Place};
use super::segment::{self, Disk, Segment};

/// The log as it was found.
pub(crate) struct Recovered {
    pub groups: BTreeMap<u64, GroupIndex>,
    pub segments: BTreeMap<u64, Arc<Segment>>,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
}

/// Reads all segments in `dir` and seals the last one at the end of its last intact frame.
pub(crate) fn recover(disk: &Disk, dir: &Path) -> Result<Recovered> {
    segment::remove_spares(dir)?;
    let sequences = segment::list(dir)?;
    let mut recovered = Recovered { groups: BTreeMap::new(), segments: BTreeMap::new(), torn_bytes: 0 };
    for (at, &sequence) in sequences.iter().enumerate() {
        let segment = Segment::open(dir, sequence)?;
        if at > 0 && sequences[at - 1] + 1 != sequence {
            return Err(segment.corruption(0, format!("the segment before it, {:016x}, is missing", sequence - 1)));
        }
        let bytes = std::fs::read(&segment.path).map_err(|error| LogError::io("read", &segment.path, &error))?;
        format::check_segment_header(&bytes, sequence).map_err(|bad| match bad {
            BadHeader::Damaged(what) => segment.corruption(0, what),
            BadHeader::NewerFormat(found) => LogError::NewerFormat { found, supported: format::FORMAT_VERSION },
        })?;
        let end = replay_segment(&segment, &bytes, &mut recovered.groups)?;
        if end.offset < bytes.len() {
            let is_last = at + 1 == sequences.len();
            judge_tail(&segment, &bytes, &end, is_last)?;
            if bytes[end.offset..].iter().any(|byte| *byte != 0) {
                recovered.torn_bytes = (bytes.len() - end.offset) as u64;
            }
        }
        if at + 1 == sequences.len() {
            segment.seal(disk, end.offset as u64)?;
        }
        recovered.segments.insert(sequence, Arc::new(segment));
    }
    for (group, index) in &recovered.groups {
        index.check_complete().map_err(|what| LogError::Corruption {
            path: dir.to_owned(),
            offset: 0,
            what: format!("group {group}: {what}"),
        })?;
    }
    Ok(recovered)
}

/// Where the intact frames of a segment end, and why.
struct End {
    offset: usize,
    reason: &'static str,
}

fn replay_segment(segment: &Segment, bytes: &[u8], groups: &mut BTreeMap<u64, GroupIndex>) -> Result<End> {
    let mut offset = SEGMENT_HEADER_BYTES;
    loop {
        if offset == bytes.len() {
            return Ok(End { offset, reason: "the file ends" });
        }
        let frame = match intact_frame(segment.sequence, &bytes[offset..]) {
            Ok(frame) => frame,
            Err(reason) => return Ok(End { offset, reason }),
        };
        let mut at = offset + FRAME_HEADER_BYTES;
        for (group, record, length) in frame {
            let place = Place { segment: segment.sequence, offset: at as u64 };
            if record == Record::Remove {
                groups.remove(&group);
            } else {
                let index = groups.entry(group).or_default();
                index
                    .replay(&record, place)
                    .map_err(|what| segment.corruption(at as u64, format!("group {group}: {what}")))?;
            }
            at += length;
        }
        offset = at;
    }
}

/// The records of the frame at the start of `bytes`, if all of it is intact: a torn frame counts as a whole,
/// since nothing in it has been acknowledged.
fn intact_frame(sequence: u64, bytes: &[u8]) -> Result<Vec<(u64, Record<'_>, usize)>, &'static str> {
    let header = format::decode_frame_header(sequence, bytes).ok_or("there is no intact frame header")?;
    let body =
        bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.length as usize).ok_or("a frame is cut off")?;
    let mut records = Vec::with_capacity(header.records.min(4096) as usize);
    let mut at = 0;
    while at < body.len() {
        let (group, record, length) = format::decode_record(sequence, &body[at..])?;
        records.push((group, record, length));
        at += length;
    }
    if records.len() != header.records as usize {
        return Err("a frame has another number of records than its header says");
    }
    Ok(records)
}

/// Decides whether what follows the last intact frame is the trace of a crash. It is not in a segment that
/// was sealed, nor when a later frame vouches that these bytes were on the disk before it was written.
fn judge_tail(segment: &Segment, bytes: &[u8], end: &End, is_last: bool) -> Result<()> {
    if !is_last {
        return Err(segment.corruption(end.offset as u64, end.reason));
    }
    for at in memchr::memmem::find_iter(&bytes[end.offset..], &FRAME_MAGIC) {
        let later = format::decode_frame_header(segment.sequence, &bytes[end.offset + at..]);
        if later.is_some_and(|frame| frame.durable_offset > end.offset as u64) {
            return Err(segment.corruption(end.offset as u64, end.reason));
        }
    }
    Ok(())
}
