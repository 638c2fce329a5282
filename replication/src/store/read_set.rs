//! What a serializable transaction has read: disjoint spans, bounded in number.

use std::collections::BTreeMap;

use crate::api::{Key, Span};

/// How many spans are kept apart. Beyond it neighbours are joined: the transaction then depends on more than it read, which may
/// cost a retry and never an anomaly.
pub const READ_SPANS_MAX: usize = 8192;

/// A set of keys as disjoint spans.
#[derive(Debug, Default)]
pub struct ReadSet {
    /// Start to end.
    spans: BTreeMap<Key, Key>,
}

impl ReadSet {
    /// Adds the keys of a span.
    pub fn record(&mut self, span: &Span) {
        if span.is_empty() {
            return;
        }
        let (mut start, mut end) = (span.start.clone(), span.end.clone());
        if let Some((before, until)) = self.spans.range::<Key, _>(..=&start).next_back()
            && *until >= start
        {
            if *until >= end {
                return;
            }
            start = before.clone();
        }
        while let Some((inside, until)) = self.spans.range::<Key, _>(&start..=&end).next() {
            end = end.max(until.clone());
            let inside = inside.clone();
            self.spans.remove(&inside);
        }
        self.spans.insert(start, end);
        if self.spans.len() > READ_SPANS_MAX {
            self.join_neighbours();
        }
    }

    fn join_neighbours(&mut self) {
        let mut joined = BTreeMap::new();
        let mut spans = std::mem::take(&mut self.spans).into_iter();
        while let Some((start, end)) = spans.next() {
            // Reads of different tables stay apart: joining them would depend on all tables between.
            match spans.next() {
                Some((second, until))
                    if crate::api::statistics_prefix(&start) == crate::api::statistics_prefix(&second) =>
                {
                    joined.insert(start, until);
                }
                Some((second, until)) => {
                    joined.insert(start, end);
                    joined.insert(second, until);
                }
                None => {
                    joined.insert(start, end);
                }
            }
        }
        self.spans = joined;
    }

    /// The spans in key order.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.spans.iter().map(|(start, end)| Span { start: start.clone(), end: end.clone() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_recorded_and_stays_disjoint(
            spans in proptest::collection::vec((0..40_u8, 0..40_u8), 0..30)
        ) {
            let mut set = ReadSet::default();
            let mut model = [false; 40];
            for (start, end) in spans {
                set.record(&Span::new(vec![start], vec![end]));
                for key in start..end {
                    model[usize::from(key)] = true;
                }
            }
            let found: Vec<Span> = set.spans().collect();
            for pair in found.windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
            for (key, recorded) in model.iter().enumerate() {
                let inside = found.iter().any(|span| span.contains(&[key as u8]));
                prop_assert_eq!(inside, *recorded);
            }
        }
    }

    #[test]
    fn the_number_of_spans_is_bounded_and_nothing_is_lost() {
        let mut set = ReadSet::default();
        let key = |number: u32| [&[0_u8; 13][..], &number.to_be_bytes()].concat();
        for number in 0..3 * READ_SPANS_MAX as u32 {
            set.record(&Span::key(&key(number * 2)));
        }
        assert!(set.spans().count() <= READ_SPANS_MAX + 1);
        for number in (0..3 * READ_SPANS_MAX as u32).step_by(97) {
            assert!(set.spans().any(|span| span.contains(&key(number * 2))));
        }
    }
}
