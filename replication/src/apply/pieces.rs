//! The pieces of prewritten transactions. Those of one transaction follow one another and do not overlap; the spans of different
//! transactions' may, though their keys do not. A large transaction has thousands, and readers ask about single keys all the
//! while: one look per transaction must do.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::api::{Key, Span, TxnId};
use crate::mvcc::record::PieceRecord;

/// Pieces by their transactions and first keys.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    by_txn: BTreeMap<TxnId, BTreeMap<Key, Arc<PieceRecord>>>,
    keys: usize,
}

impl Pieces {
    /// Keys that they hold.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// The piece that holds `key`, among those of which the first key `counts`.
    pub(super) fn on(&self, key: &[u8], counts: impl Fn(&[u8]) -> bool) -> Option<&Arc<PieceRecord>> {
        self.by_txn.values().find_map(|pieces| {
            let (first, piece) = before(pieces, key)?;
            (piece.op_on(key).is_some() && counts(first)).then_some(piece)
        })
    }

    /// The pieces that hold keys inside the span or on both sides of it: by transaction, and in order within one.
    pub(super) fn over<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = &'a Arc<PieceRecord>> {
        self.by_txn.values().flat_map(move |pieces| over(pieces, span))
    }

    /// As [`Pieces::over`], without those of `txn`, an iterator for each transaction.
    pub(super) fn foreign_over<'a>(
        &'a self,
        span: &'a Span,
        txn: TxnId,
    ) -> impl Iterator<Item = impl Iterator<Item = &'a Arc<PieceRecord>>> {
        self.by_txn.iter().filter(move |(owner, _)| **owner != txn).map(move |(_, pieces)| over(pieces, span))
    }

    /// All pieces.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<PieceRecord>> {
        self.by_txn.values().flat_map(BTreeMap::values)
    }

    /// Adds a piece, in the place of the one that begins with the same key, whose transaction may be another one.
    pub(super) fn insert(&mut self, piece: Arc<PieceRecord>) {
        self.remove(piece.first());
        self.keys += piece.writes.len();
        self.by_txn.entry(piece.txn).or_default().insert(piece.first().clone(), piece);
    }

    /// Forgets the piece that begins with `first`.
    pub(super) fn remove(&mut self, first: &[u8]) {
        for pieces in self.by_txn.values_mut() {
            self.keys -= pieces.remove(first).map_or(0, |former| former.writes.len());
        }
        self.by_txn.retain(|_, pieces| !pieces.is_empty());
    }

    /// Forgets the pieces that begin inside the span.
    pub(super) fn remove_in(&mut self, span: &Span) {
        let mut kept = 0;
        self.by_txn.retain(|_, pieces| {
            pieces.retain(|first, _| !span.contains(first));
            kept += pieces.values().map(|piece| piece.writes.len()).sum::<usize>();
            !pieces.is_empty()
        });
        self.keys = kept;
    }
}

/// The last piece of a transaction that does not begin behind `key`.
fn before<'a>(pieces: &'a BTreeMap<Key, Arc<PieceRecord>>, key: &[u8]) -> Option<(&'a Key, &'a Arc<PieceRecord>)> {
    pieces.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
}

fn over<'a>(
    pieces: &'a BTreeMap<Key, Arc<PieceRecord>>,
    span: &'a Span,
) -> impl Iterator<Item = &'a Arc<PieceRecord>> + use<'a> {
    let reaches_in = before(pieces, &span.start).filter(|(_, piece)| piece.last() >= &span.start);
    let from = reaches_in.map_or(span.start.as_ref(), |(first, _)| first.as_ref());
    let range = (from < span.end.as_ref())
        .then(|| pieces.range::<[u8], _>((Bound::Included(from), Bound::Excluded(span.end.as_ref()))));
    range.into_iter().flatten().map(|(_, piece)| piece)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::api::Timestamp;
    use crate::command::Op;

    fn piece(txn: u128, keys: &[&'static str]) -> Arc<PieceRecord> {
        let writes = keys.iter().map(|key| (Bytes::from(*key), Op::Delete)).collect();
        Arc::new(PieceRecord { txn: TxnId(txn), start_ts: Timestamp(1), primary: Bytes::from("a"), writes })
    }

    /// Two transactions whose pieces lie between one another.
    fn interleaved() -> Pieces {
        let mut pieces = Pieces::default();
        for one in [piece(1, &["b", "d", "f"]), piece(1, &["h", "j"]), piece(2, &["c", "i"]), piece(2, &["k", "m"])] {
            pieces.insert(one);
        }
        pieces
    }

    #[test]
    fn a_key_belongs_to_the_piece_that_holds_it() {
        let pieces = interleaved();
        let owner = |key: &str| pieces.on(key.as_bytes(), |_| true).map(|piece| (piece.txn.0, piece.first().clone()));
        for (key, found) in [("b", Some((1, "b"))), ("f", Some((1, "b"))), ("j", Some((1, "h"))), ("i", Some((2, "c")))]
        {
            assert_eq!(owner(key), found.map(|(txn, first)| (txn, Bytes::from(first))), "{key}");
        }
        for key in ["a", "e", "g", "l", "z"] {
            assert_eq!(owner(key), None, "{key}");
        }
        assert!(pieces.on(b"d", |first| first != b"b").is_none(), "a piece that does not count was found");
    }

    #[test]
    fn pieces_reach_into_a_span_from_before_it() {
        let pieces = interleaved();
        let firsts = |start: &'static str, end: &'static str| -> Vec<Bytes> {
            let span = Span::new(Bytes::from(start), Bytes::from(end));
            pieces.over(&span).map(|piece| piece.first().clone()).collect()
        };
        assert_eq!(firsts("e", "g"), ["b", "c"]);
        assert_eq!(firsts("g", "h"), ["c"]);
        assert_eq!(firsts("i", "l"), ["h", "c", "k"]);
        assert_eq!(firsts("n", "z"), Vec::<Bytes>::new());
        assert_eq!(firsts("z", "b"), Vec::<Bytes>::new());
        let span = Span::new(Bytes::from("a"), Bytes::from("z"));
        let foreign: Vec<usize> = pieces.foreign_over(&span, TxnId(1)).map(Iterator::count).collect();
        assert_eq!(foreign, [2]);
    }

    #[test]
    fn what_is_removed_is_gone() {
        let mut pieces = interleaved();
        assert_eq!(pieces.keys(), 9);
        pieces.remove(b"c");
        assert_eq!(pieces.keys(), 7);
        assert!(pieces.on(b"i", |_| true).is_none());
        pieces.remove_in(&Span::new(Bytes::from("b"), Bytes::from("k")));
        assert_eq!(pieces.all().map(|piece| piece.first().clone()).collect::<Vec<_>>(), ["k"]);
        assert_eq!(pieces.keys(), 2);
        pieces.insert(piece(3, &["k"]));
        assert_eq!(pieces.keys(), 1);
        assert_eq!(pieces.on(b"k", |_| true).map(|piece| piece.txn), Some(TxnId(3)));
        pieces.remove(b"k");
        assert_eq!(pieces.keys(), 0);
    }
}
