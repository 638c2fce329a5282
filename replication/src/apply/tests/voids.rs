//! Runs of deleted keys that scans pass over.

use super::*;
use crate::api::Direction;

/// The rows that a scan of a table gives.
fn rows(single: &Single, direction: Direction, at: u64) -> Vec<u8> {
    let mut rows = Vec::new();
    let mut scan = single.machine.scan(Span::prefix(&key(1, 0)[..13]), direction, ts(at)).unwrap();
    let mut visit = |key: &[u8], _: &[u8]| rows.push(key[13]);
    while single.machine.scan_on(&mut scan, 100, 1 << 20, &mut visit).unwrap() {}
    if let Direction::Backward = direction {
        rows.reverse();
    }
    rows
}

/// Twenty rows at 10, of which the first ten are deleted at 20.
fn half_deleted() -> Single {
    let mut single = Single::new();
    single.run(commit(1, 10, (1..=20).map(|row| put(&key(1, row), "a", 0)).collect(), vec![]));
    single.run(commit(2, 20, (1..=10).map(|row| delete(&key(1, row), 10)).collect(), vec![]));
    single
}

/// The rows from and to which nothing is, as is known at a row.
fn void_at(single: &Single, row: u8, at: u64) -> Option<(u8, u8)> {
    let (span, _) = single.machine.voids.around(&key(1, row), ts(at))?;
    Some((span.start[13], span.end[13]))
}

#[test]
fn a_scan_leaves_behind_where_nothing_is() {
    for direction in [Direction::Forward, Direction::Backward] {
        let mut single = half_deleted();
        assert_eq!(void_at(&single, 5, 99), None);
        assert_eq!(rows(&single, direction, 99), (11..=20).collect::<Vec<_>>());
        assert_eq!(void_at(&single, 5, 99), Some((1, 10)), "{direction:?}");
        // Who came before sees what was there.
        assert_eq!(void_at(&single, 5, 19), None);
        assert_eq!(rows(&single, direction, 19), (1..=20).collect::<Vec<_>>());
        assert_eq!(rows(&single, direction, 20), (11..=20).collect::<Vec<_>>());
        // What is written there ends it.
        single.run(commit(3, 30, vec![put(&key(1, 7), "b", 20)], vec![]));
        assert_eq!(rows(&single, direction, 30), [7].into_iter().chain(11..=20).collect::<Vec<_>>());
        assert_eq!(rows(&single, direction, 29), (11..=20).collect::<Vec<_>>());
        assert!(void_at(&single, 5, 99).is_none_or(|(_, end)| end < 7));
        single.assert_sound();
    }
}

#[test]
fn it_grows_as_more_is_deleted_behind_it() {
    let mut single = half_deleted();
    assert_eq!(rows(&single, Direction::Forward, 99), (11..=20).collect::<Vec<_>>());
    single.run(commit(3, 30, (11..=15).map(|row| delete(&key(1, row), 10)).collect(), vec![]));
    assert_eq!(rows(&single, Direction::Forward, 25), (11..=20).collect::<Vec<_>>());
    assert_eq!(rows(&single, Direction::Forward, 30), (16..=20).collect::<Vec<_>>());
    assert_eq!(void_at(&single, 3, 99), Some((1, 15)));
    // Its newest tombstone counts.
    assert_eq!(void_at(&single, 3, 29), None);
    assert_eq!(rows(&single, Direction::Forward, 29), (11..=20).collect::<Vec<_>>());
    // Between the keys that were deleted, too.
    single.run(commit(4, 40, vec![put(&key(1, 12), "b", 30)], vec![]));
    assert_eq!(rows(&single, Direction::Backward, 40), [12].into_iter().chain(16..=20).collect::<Vec<_>>());
}

#[test]
fn what_is_not_empty_is_not_taken_for_it() {
    let mut single = half_deleted();
    // A run that is told of too late: a row has come meanwhile.
    let run = Span::new(key(1, 1), Span::key(&key(1, 10)).end);
    single.run(commit(3, 30, vec![put(&key(1, 4), "b", 20)], vec![]));
    let engine = Arc::clone(single.machine.engine());
    single.machine.voids.note(engine.as_ref(), &run, None).unwrap();
    assert_eq!(void_at(&single, 5, 99), None);
    assert_eq!(rows(&single, Direction::Forward, 99), [4].into_iter().chain(11..=20).collect::<Vec<_>>());
}
