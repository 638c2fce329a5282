//! Numbers and blobs of the binary forms.

use bytes::Bytes;

/// Bytes that are not what this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode: {0}")]
pub struct DecodeError(pub &'static str);

/// Appends an unsigned LEB128 number.
pub(crate) fn put_uv(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub(crate) fn put_blob(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uv(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads fields one after the other; blobs share the memory of the whole.
pub(crate) struct Reader<'a> {
    data: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a Bytes) -> Reader<'a> {
        Reader { data, at: 0 }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.data.get(self.at..self.at + N).ok_or(DecodeError("the bytes end early"))?;
        self.at += N;
        bytes.try_into().map_err(|_| DecodeError("the bytes end early"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        self.take().map(u128::from_be_bytes)
    }

    pub(crate) fn uv(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(DecodeError("a number exceeds 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError("a number exceeds 64 bits"))
    }

    pub(crate) fn blob(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::try_from(self.uv()?).map_err(|_| DecodeError("a length exceeds the bytes"))?;
        if length > self.data.len() - self.at {
            return Err(DecodeError("a length exceeds the bytes"));
        }
        let bytes = self.data.slice(self.at..self.at + length);
        self.at += length;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = self.blob()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError("a text is not UTF-8"))
    }

    /// Reads a count and that many items of at least `item_bytes_min` bytes each. The count is checked against
    /// the bytes that are left before memory is taken for it.
    pub(crate) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::try_from(self.uv()?).map_err(|_| DecodeError("a count exceeds the bytes"))?;
        if count > (self.data.len() - self.at) / item_bytes_min {
            return Err(DecodeError("a count exceeds the bytes"));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.data.len()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.data.slice(self.at..);
        self.at = self.data.len();
        rest
    }

    /// Ends reading: nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_at_end() { Ok(()) } else { Err(DecodeError("bytes after the last field")) }
    }
}
