//! The binary format (manual of COPY, "Binary Format"):
//!
//! ```text
//! header   "PGCOPY\n\xff\r\n\0" | flags u32 | length of extension u32 | extension
//! row      number of fields i16 | per field: length i32 (-1 is NULL) | bytes
//! trailer  -1 i16
//! ```
//! All big-endian.

use stratos_types::{Error, ErrorKind, Result};

/// First bytes of the data.
pub const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags that a reader must understand to go on; we understand none of them.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// The one that said before Postgres 12 that rows have OIDs.
const WITH_OIDS: u32 = 1 << 16;

/// The header that we write.
pub fn header() -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend_from_slice(&[0; 8]);
    out
}

/// The trailer.
pub fn trailer() -> Vec<u8> {
    (-1i16).to_be_bytes().to_vec()
}

fn malformed(message: &str) -> Error {
    Error::new(ErrorKind::BadCopyFileFormat, message)
}

/// Length of the header at the front; `None` while it has not all arrived.
///
/// # Errors
/// 22P04 when it is no header.
pub fn header_length(data: &[u8]) -> Result<Option<usize>> {
    let known = data.len().min(SIGNATURE.len());
    if data[..known] != SIGNATURE[..known] {
        return Err(malformed("COPY file signature not recognized"));
    }
    let (Some(flags), Some(extension)) = (number(data, 11), number(data, 15)) else { return Ok(None) };
    if flags & WITH_OIDS != 0 {
        return Err(malformed("invalid COPY file header (WITH OIDS)"));
    }
    if extension.cast_signed() < 0 {
        return Err(malformed("invalid COPY file header (missing length)"));
    }
    if flags & CRITICAL_FLAGS != 0 {
        return Err(malformed("unrecognized critical flags in COPY file header"));
    }
    let length = 19usize.saturating_add(extension as usize);
    Ok((data.len() >= length).then_some(length))
}

/// 22P04 for a header that has not all arrived, and never will.
pub fn header_cut_off(data: &[u8]) -> Error {
    malformed(match data.len() {
        0..11 => "COPY file signature not recognized",
        11..15 => "invalid COPY file header (missing flags)",
        15..19 => "invalid COPY file header (missing length)",
        _ => "invalid COPY file header (wrong length)",
    })
}

fn number(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// What stands at the front of the data.
pub enum Record<'a> {
    /// A row and its length in the data.
    Row(Vec<Option<&'a [u8]>>, usize),
    /// The trailer, and its length.
    End(usize),
    /// Not all of it has arrived.
    Incomplete,
}

/// How many fields of the record at the front are there as a whole.
pub fn whole_fields(data: &[u8]) -> usize {
    let (mut at, mut fields) = (2, 0);
    while let Some(length) = number(data, at) {
        // Negative is NULL, which has no bytes.
        at += 4 + usize::try_from(length.cast_signed()).unwrap_or(0);
        if at > data.len() {
            break;
        }
        fields += 1;
    }
    fields
}

/// The record at the front, which must have `columns` fields.
///
/// # Errors
/// 22P04 for anything else.
pub fn record(data: &[u8], columns: usize) -> Result<Record<'_>> {
    let Some(count) = data.first_chunk::<2>().map(|b| i16::from_be_bytes(*b)) else { return Ok(Record::Incomplete) };
    if count == -1 {
        return Ok(Record::End(2));
    }
    if usize::try_from(count).ok() != Some(columns) {
        return Err(malformed(&format!("row field count is {count}, expected {columns}")));
    }
    let mut fields = Vec::with_capacity(columns);
    let mut at = 2;
    for _ in 0..columns {
        let Some(length) = number(data, at) else { return Ok(Record::Incomplete) };
        at += 4;
        match i32::from_be_bytes(length.to_be_bytes()) {
            -1 => fields.push(None),
            length => {
                let length = usize::try_from(length).map_err(|_| malformed("invalid field size"))?;
                let Some(bytes) = data.get(at..at + length) else { return Ok(Record::Incomplete) };
                fields.push(Some(bytes));
                at += length;
            }
        }
    }
    Ok(Record::Row(fields, at))
}
