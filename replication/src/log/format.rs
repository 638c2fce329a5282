//! The bytes of the physical log, format 1. All integers are little-endian.
//!
//! A **segment** is a file: one header, then frames up to the end of the file or to the first bytes that are
//! no frame (a segment in use is allocated in advance, so zeros follow its last frame).
//!
//! | segment header | bytes | |
//! |---|---|---|
//! | 0 | 8 | `STRTSLOG` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | 0 |
//! | 16 | 8 | sequence number of the segment |
//! | 24 | 4 | 0 |
//! | 28 | 4 | crc32 of bytes 0..28 |
//!
//! A **frame** is what one write put into the file: a header, then records.
//!
//! | frame header | bytes | |
//! |---|---|---|
//! | 0 | 4 | `FRAM` |
//! | 4 | 4 | bytes of the records |
//! | 8 | 8 | durable offset: everything of the segment before this offset was synced when the frame was written |
//! | 16 | 4 | number of records |
//! | 20 | 4 | crc32 of the segment's sequence number (8 bytes) and bytes 0..20 |
//!
//! | record | bytes | |
//! |---|---|---|
//! | 0 | 4 | bytes after the first 8 |
//! | 4 | 4 | crc32 of the segment's sequence number (8 bytes) and the bytes from 8 on |
//! | 8 | 1 | kind |
//! | 9 | 8 | group |
//! | 17 | … | by kind |
//!
//! | kind | after the group |
//! |---|---|
//! | 1 entry | position, payload kind (1 byte), payload |
//! | 2 vote | term 8, leader 8, committed 1 |
//! | 3 committed | position |
//! | 4 truncate after | present 1, position: entries with a larger index are gone; all of them if not present |
//! | 5 purge | position: entries up to this one are gone |
//! | 6 state | flags 1 (bit 0 vote, bit 1 committed, bit 2 purged), vote 17, committed position, purged position; absent ones are zeros |
//! | 7 remove | nothing: the group is gone |
//!
//! A position is term 8, leader 8, index 8. Every segment but the first begins with a state record for every
//! group, so that older segments can be deleted as soon as no entry in them is needed.
//!
//! The sequence number in the check sums keeps the bytes of one segment from being taken for another's. The
//! durable offset tells a crash from damage: behind a bad frame, a later frame that vouches for the bad one's
//! place proves that those bytes had been synced.

use bytes::Bytes;

use crate::target::LogPosition;

/// Format version written by this program, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// Bytes of a record before its kind.
pub(crate) const RECORD_PREFIX_BYTES: usize = 8;
/// Bytes of an entry record apart from the payload.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = RECORD_PREFIX_BYTES + 9 + POSITION_BYTES + 1;
/// Largest payload of one entry in bytes.
pub const ENTRY_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024 - 1024;

pub(crate) const FRAME_MAGIC: [u8; 4] = *b"FRAM";
const SEGMENT_MAGIC: [u8; 8] = *b"STRTSLOG";
const POSITION_BYTES: usize = 24;
const VOTE_BYTES: usize = 17;

const KIND_ENTRY: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_COMMITTED: u8 = 3;
const KIND_TRUNCATE: u8 = 4;
const KIND_PURGE: u8 = 5;
const KIND_STATE: u8 = 6;
const KIND_REMOVE: u8 = 7;

const STATE_VOTE: u8 = 1;
const STATE_COMMITTED: u8 = 2;
const STATE_PURGED: u8 = 4;

/// A vote of a group: for which leader, and whether a quorum granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredVote {
    /// Term of the leader.
    pub term: u64,
    /// Node id of the leader.
    pub leader: u64,
    /// Whether a quorum granted it.
    pub committed: bool,
}

/// What of a group outlives its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupMeta {
    pub vote: Option<StoredVote>,
    pub committed: Option<LogPosition>,
    pub purged: Option<LogPosition>,
}

/// A record, borrowed from the bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Entry { position: LogPosition, kind: u8, payload: &'a [u8] },
    Vote(StoredVote),
    Committed(LogPosition),
    TruncateAfter(Option<LogPosition>),
    Purge(LogPosition),
    State(GroupMeta),
    Remove,
}

/// Header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub length: u32,
    pub durable_offset: u64,
    pub records: u32,
}

pub(crate) fn encode_segment_header(sequence: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Why a segment's header is not usable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged(&'static str),
    NewerFormat(u32),
}

pub(crate) fn check_segment_header(bytes: &[u8], sequence: u64) -> Result<(), BadHeader> {
    let Some(header) = bytes.get(..SEGMENT_HEADER_BYTES) else {
        return Err(BadHeader::Damaged("the file is shorter than its header"));
    };
    if header[..8] != SEGMENT_MAGIC {
        return Err(BadHeader::Damaged("the file does not begin as a log segment"));
    }
    if crc32fast::hash(&header[..28]).to_le_bytes() != header[28..] {
        return Err(BadHeader::Damaged("the check sum of the header is wrong"));
    }
    let mut reader = Reader(&header[8..]);
    let version = reader.u32().unwrap_or_default();
    if version > FORMAT_VERSION {
        return Err(BadHeader::NewerFormat(version));
    }
    if header[16..24] != sequence.to_le_bytes() {
        return Err(BadHeader::Damaged("the file belongs to another place in the log"));
    }
    Ok(())
}

pub(crate) fn encode_frame_header(sequence: u64, header: FrameHeader) -> [u8; FRAME_HEADER_BYTES] {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes[..4].copy_from_slice(&FRAME_MAGIC);
    bytes[4..8].copy_from_slice(&header.length.to_le_bytes());
    bytes[8..16].copy_from_slice(&header.durable_offset.to_le_bytes());
    bytes[16..20].copy_from_slice(&header.records.to_le_bytes());
    let crc = seeded_crc(sequence, &bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The frame header at the start of `bytes`, if there is an intact one.
pub(crate) fn decode_frame_header(sequence: u64, bytes: &[u8]) -> Option<FrameHeader> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    if header[..4] != FRAME_MAGIC || seeded_crc(sequence, &header[..20]).to_le_bytes() != header[20..] {
        return None;
    }
    let mut reader = Reader(&header[4..]);
    Some(FrameHeader { length: reader.u32()?, durable_offset: reader.u64()?, records: reader.u32()? })
}

/// Appends a record to `out` and returns its length in bytes.
pub(crate) fn encode_record(out: &mut Vec<u8>, sequence: u64, group: u64, record: &Record<'_>) -> usize {
    let start = out.len();
    if let Record::Entry { payload, .. } = record {
        out.reserve(ENTRY_OVERHEAD_BYTES + payload.len());
    }
    out.extend_from_slice(&[0; RECORD_PREFIX_BYTES]);
    let mut head = |kind: u8| {
        out.push(kind);
        out.extend_from_slice(&group.to_le_bytes());
    };
    match record {
        Record::Entry { position, kind, payload } => {
            head(KIND_ENTRY);
            put_position(out, position);
            out.push(*kind);
            out.extend_from_slice(payload);
        }
        Record::Vote(vote) => {
            head(KIND_VOTE);
            put_vote(out, vote);
        }
        Record::Committed(position) => {
            head(KIND_COMMITTED);
            put_position(out, position);
        }
        Record::TruncateAfter(position) => {
            head(KIND_TRUNCATE);
            out.push(u8::from(position.is_some()));
            put_position(out, &position.unwrap_or_default());
        }
        Record::Purge(position) => {
            head(KIND_PURGE);
            put_position(out, position);
        }
        Record::State(meta) => {
            head(KIND_STATE);
            let flag = |present: bool, bit: u8| if present { bit } else { 0 };
            out.push(
                flag(meta.vote.is_some(), STATE_VOTE)
                    | flag(meta.committed.is_some(), STATE_COMMITTED)
                    | flag(meta.purged.is_some(), STATE_PURGED),
            );
            put_vote(out, &meta.vote.unwrap_or(StoredVote { term: 0, leader: 0, committed: false }));
            put_position(out, &meta.committed.unwrap_or_default());
            put_position(out, &meta.purged.unwrap_or_default());
        }
        Record::Remove => head(KIND_REMOVE),
    }
    let length = out.len() - start;
    let body = u32::try_from(length - RECORD_PREFIX_BYTES).unwrap_or(u32::MAX);
    let crc = seeded_crc(sequence, &out[start + RECORD_PREFIX_BYTES..]);
    out[start..start + 4].copy_from_slice(&body.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    length
}

/// The record at the start of `bytes`: its group, itself and its length in bytes.
pub(crate) fn decode_record(sequence: u64, bytes: &[u8]) -> Result<(u64, Record<'_>, usize), &'static str> {
    const SHORT: &str = "a record is cut off";
    let mut prefix = Reader(bytes);
    let body_length = prefix.u32().ok_or(SHORT)? as usize;
    let crc = prefix.u32().ok_or(SHORT)?;
    let body = prefix.0.get(..body_length).ok_or(SHORT)?;
    if seeded_crc(sequence, body) != crc {
        return Err("the check sum of a record is wrong");
    }
    let mut reader = Reader(body);
    let kind = reader.u8().ok_or(SHORT)?;
    let group = reader.u64().ok_or(SHORT)?;
    let record = match kind {
        KIND_ENTRY => {
            let position = reader.position().ok_or(SHORT)?;
            let kind = reader.u8().ok_or(SHORT)?;
            let payload = std::mem::take(&mut reader.0);
            Record::Entry { position, kind, payload }
        }
        KIND_VOTE => Record::Vote(reader.vote().ok_or(SHORT)?),
        KIND_COMMITTED => Record::Committed(reader.position().ok_or(SHORT)?),
        KIND_TRUNCATE => {
            let present = reader.u8().ok_or(SHORT)? != 0;
            let position = reader.position().ok_or(SHORT)?;
            Record::TruncateAfter(present.then_some(position))
        }
        KIND_PURGE => Record::Purge(reader.position().ok_or(SHORT)?),
        KIND_STATE => {
            let flags = reader.u8().ok_or(SHORT)?;
            let vote = reader.vote().ok_or(SHORT)?;
            let committed = reader.position().ok_or(SHORT)?;
            let purged = reader.position().ok_or(SHORT)?;
            Record::State(GroupMeta {
                vote: (flags & STATE_VOTE != 0).then_some(vote),
                committed: (flags & STATE_COMMITTED != 0).then_some(committed),
                purged: (flags & STATE_PURGED != 0).then_some(purged),
            })
        }
        KIND_REMOVE => Record::Remove,
        _ => return Err("a record has an unknown kind"),
    };
    if !reader.0.is_empty() {
        return Err("a record is longer than its kind allows");
    }
    Ok((group, record, RECORD_PREFIX_BYTES + body_length))
}

/// The position, payload kind and payload of an entry record that stands alone in `bytes`, without copying.
pub(crate) fn decode_entry(sequence: u64, bytes: &Bytes) -> Result<(u64, LogPosition, u8, Bytes), &'static str> {
    match decode_record(sequence, bytes)? {
        (group, Record::Entry { position, kind, payload }, length) if length == bytes.len() => {
            Ok((group, position, kind, bytes.slice_ref(payload)))
        }
        _ => Err("there is no entry where the index says"),
    }
}

fn seeded_crc(sequence: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn put_position(out: &mut Vec<u8>, position: &LogPosition) {
    out.extend_from_slice(&position.term.to_le_bytes());
    out.extend_from_slice(&position.leader.to_le_bytes());
    out.extend_from_slice(&position.index.to_le_bytes());
}

fn put_vote(out: &mut Vec<u8>, vote: &StoredVote) {
    out.extend_from_slice(&vote.term.to_le_bytes());
    out.extend_from_slice(&vote.leader.to_le_bytes());
    out.push(u8::from(vote.committed));
}

/// Reads fields from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn position(&mut self) -> Option<LogPosition> {
        Some(LogPosition { term: self.u64()?, leader: self.u64()?, index: self.u64()? })
    }

    fn vote(&mut self) -> Option<StoredVote> {
        Some(StoredVote { term: self.u64()?, leader: self.u64()?, committed: self.u8()? != 0 })
    }
}

/// Bytes of a vote and of a position are part of the format; a change here is a new format version.
const _: () = assert!(POSITION_BYTES == 24 && VOTE_BYTES == 17);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(term: u64, leader: u64, index: u64) -> LogPosition {
        LogPosition { term, leader, index }
    }

    /// One record of every kind, as a program of format 1 wrote them into segment 7. Never changes.
    const FIXTURE: &str = include_str!("fixtures/format-1.hex");

    fn fixture_records() -> Vec<(u64, Record<'static>)> {
        vec![
            (
                3,
                Record::State(GroupMeta {
                    vote: Some(StoredVote { term: 2, leader: 1, committed: true }),
                    committed: Some(position(2, 1, 9)),
                    purged: None,
                }),
            ),
            (3, Record::Entry { position: position(2, 1, 10), kind: 1, payload: b"hello" }),
            (4, Record::Entry { position: position(1, 2, 0), kind: 0, payload: b"" }),
            (3, Record::Vote(StoredVote { term: 5, leader: 2, committed: false })),
            (3, Record::Committed(position(2, 1, 10))),
            (3, Record::TruncateAfter(Some(position(2, 1, 9)))),
            (4, Record::TruncateAfter(None)),
            (3, Record::Purge(position(2, 1, 8))),
            (4, Record::Remove),
        ]
    }

    fn fixture_bytes() -> Vec<u8> {
        let mut body = Vec::new();
        let records = fixture_records();
        for (group, record) in &records {
            encode_record(&mut body, 7, *group, record);
        }
        let header = FrameHeader {
            length: u32::try_from(body.len()).unwrap(),
            durable_offset: 32,
            records: u32::try_from(records.len()).unwrap(),
        };
        let mut bytes = encode_segment_header(7).to_vec();
        bytes.extend_from_slice(&encode_frame_header(7, header));
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn format_1_is_frozen() {
        let digits: Vec<u8> = FIXTURE.bytes().filter(u8::is_ascii_hexdigit).collect();
        let stored: Vec<u8> =
            digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        let hex: String = fixture_bytes()
            .chunks(32)
            .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
            .collect();
        assert_eq!(stored, fixture_bytes(), "this program would write:\n{hex}");
        assert_eq!(check_segment_header(&stored, 7), Ok(()));
        let mut rest = &stored[SEGMENT_HEADER_BYTES..];
        let frame = decode_frame_header(7, rest).unwrap();
        rest = &rest[FRAME_HEADER_BYTES..];
        assert_eq!(frame.length as usize, rest.len());
        for expected in fixture_records() {
            let (group, record, length) = decode_record(7, rest).unwrap();
            assert_eq!((group, record), expected);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn headers_of_other_segments_and_newer_formats_are_refused() {
        let mut header = encode_segment_header(7);
        assert!(matches!(check_segment_header(&header, 8), Err(BadHeader::Damaged(_))));
        assert!(matches!(check_segment_header(&header[..31], 7), Err(BadHeader::Damaged(_))));
        header[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
        assert!(matches!(check_segment_header(&header, 7), Err(BadHeader::Damaged(_))));
        let crc = crc32fast::hash(&header[..28]);
        header[28..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_segment_header(&header, 7), Err(BadHeader::NewerFormat(FORMAT_VERSION + 1)));
    }

    proptest! {
        #[test]
        fn a_changed_bit_never_decodes(
            payload in prop::collection::vec(any::<u8>(), 0..64),
            group: u64, sequence: u64, term: u64, index: u64, bit: prop::sample::Index,
        ) {
            let record = Record::Entry { position: position(term, 1, index), kind: 1, payload: &payload };
            let mut bytes = Vec::new();
            let length = encode_record(&mut bytes, sequence, group, &record);
            prop_assert_eq!(length, bytes.len());
            prop_assert_eq!(length, ENTRY_OVERHEAD_BYTES + payload.len());
            prop_assert_eq!(decode_record(sequence, &bytes), Ok((group, record, length)));
            prop_assert!(decode_record(sequence.wrapping_add(1), &bytes).is_err());
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode_record(sequence, &bytes).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_record(1, &bytes);
            let _ = decode_frame_header(1, &bytes);
            let _ = check_segment_header(&bytes, 1);
        }
    }
}
