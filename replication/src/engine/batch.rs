//! A list of operations that are written together, in one piece of memory.

use super::Family;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

/// Two adjacent slices of the buffer: `first` ends where `second` starts.
#[derive(Clone, Copy, Debug)]
struct Entry {
    family: Family,
    kind: Kind,
    start: usize,
    middle: usize,
    end: usize,
}

/// One operation of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOp<'a> {
    /// Set `key` to `value`.
    Put(&'a [u8], &'a [u8]),
    /// Remove `key`.
    Delete(&'a [u8]),
    /// Remove the keys from the first (included) to the second (excluded).
    DeleteRange(&'a [u8], &'a [u8]),
}

/// How far a batch had come.
#[derive(Clone, Copy, Debug)]
pub struct BatchMark {
    entries: usize,
    bytes: usize,
}

/// Operations in order; a later one on the same key wins.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    buffer: Vec<u8>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Makes room for this many operations with this many bytes of keys and values.
    pub fn reserve(&mut self, operations: usize, bytes: usize) {
        self.entries.reserve(operations);
        self.buffer.reserve(bytes);
    }

    /// Whether there is no operation.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets all operations and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.buffer.clear();
    }

    /// The present end, to go back to.
    pub fn mark(&self) -> BatchMark {
        BatchMark { entries: self.entries.len(), bytes: self.buffer.len() }
    }

    /// Forgets what was added after the mark was taken.
    pub fn rollback(&mut self, mark: BatchMark) {
        self.entries.truncate(mark.entries);
        self.buffer.truncate(mark.bytes);
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.put_parts(family, &[key], &[value]);
    }

    /// Sets the key made of `key` parts to the value made of `value` parts.
    pub fn put_parts(&mut self, family: Family, key: &[&[u8]], value: &[&[u8]]) {
        self.push(family, Kind::Put, key, value);
    }

    /// Sets `key` to the value that `write` appends, of about `bytes` bytes: it is made where it is kept.
    pub fn put_with(&mut self, family: Family, key: &[u8], bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.buffer.reserve(key.len() + bytes);
        let start = self.buffer.len();
        self.buffer.extend_from_slice(key);
        let middle = self.buffer.len();
        write(&mut self.buffer);
        self.entries.push(Entry { family, kind: Kind::Put, start, middle, end: self.buffer.len() });
    }

    /// Removes `key`.
    pub fn delete(&mut self, family: Family, key: &[u8]) {
        self.push(family, Kind::Delete, &[key], &[]);
    }

    /// Removes the keys from `start` (included) to `end` (excluded).
    pub fn delete_range(&mut self, family: Family, start: &[u8], end: &[u8]) {
        if start < end {
            self.push(family, Kind::DeleteRange, &[start], &[end]);
        }
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The operations in order.
    pub fn operations(&self) -> impl Iterator<Item = (Family, BatchOp<'_>)> {
        self.entries.iter().map(|entry| {
            let first = &self.buffer[entry.start..entry.middle];
            let second = &self.buffer[entry.middle..entry.end];
            let operation = match entry.kind {
                Kind::Put => BatchOp::Put(first, second),
                Kind::Delete => BatchOp::Delete(first),
                Kind::DeleteRange => BatchOp::DeleteRange(first, second),
            };
            (entry.family, operation)
        })
    }

    fn push(&mut self, family: Family, kind: Kind, first: &[&[u8]], second: &[&[u8]]) {
        let start = self.buffer.len();
        for part in first {
            self.buffer.extend_from_slice(part);
        }
        let middle = self.buffer.len();
        for part in second {
            self.buffer.extend_from_slice(part);
        }
        self.entries.push(Entry { family, kind, start, middle, end: self.buffer.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollback_forgets_what_came_after_the_mark() {
        let mut batch = Batch::new();
        batch.put_parts(Family::Latest, &[b"a", b"b"], &[b"1", b"2"]);
        let mark = batch.mark();
        batch.delete(Family::Locks, b"x");
        batch.delete_range(Family::Meta, b"a", b"b");
        batch.rollback(mark);
        batch.delete(Family::Txns, b"t");
        let operations: Vec<_> = batch.operations().collect();
        assert_eq!(operations, [(Family::Latest, BatchOp::Put(b"ab", b"12")), (Family::Txns, BatchOp::Delete(b"t"))]);
    }

    #[test]
    fn an_empty_range_is_no_operation() {
        let mut batch = Batch::new();
        batch.delete_range(Family::Latest, b"b", b"b");
        assert!(batch.is_empty());
    }
}
