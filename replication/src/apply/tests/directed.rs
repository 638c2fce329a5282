//! Single rules, one test each.

use super::*;
use crate::api::{Direction, PrefixStatistics};
use crate::command::{ConflictReason, TxnStatus};
use crate::error::Error;

fn committed(at: u64) -> CommandResult {
    CommandResult::Committed { commit_ts: ts(at) }
}

fn conflict(key: &Key, reason: ConflictReason) -> CommandResult {
    CommandResult::Conflict { key: key.clone(), reason }
}

#[test]
fn a_snapshot_sees_what_was_committed_before_it() {
    let mut single = Single::new();
    let k = key(1, 1);
    single.run(commit(1, 10, vec![put(&k, "a", 0)], vec![]));
    single.run(commit(2, 20, vec![delete(&k, 10)], vec![]));
    single.run(commit(3, 30, vec![put(&k, "b", 20)], vec![]));
    let seen: Vec<_> = [9, 10, 19, 20, 29, 30, 99].map(|at| single.get(&k, at)).into();
    let (a, b) = (Some(value("a")), Some(value("b")));
    assert_eq!(seen, [None, a.clone(), a, None, None, b.clone(), b]);
    single.assert_sound();
}

#[test]
fn a_write_on_an_outdated_base_is_refused_and_changes_nothing() {
    let mut single = Single::new();
    let (k, other) = (key(1, 2), key(1, 1));
    single.run(commit(1, 10, vec![put(&k, "a", 0)], vec![]));
    let answer = single.run(commit(2, 20, vec![put(&other, "x", 19), put(&k, "b", 9)], vec![]));
    assert_eq!(answer, conflict(&k, ConflictReason::NewerVersion));
    assert_eq!(single.get(&k, 99), Some(value("a")));
    assert_eq!(single.get(&other, 99), None);
    single.assert_sound();
}

#[test]
fn a_repeated_commit_answers_as_the_first_time_and_is_applied_once() {
    let mut single = Single::new();
    let k = key(1, 1);
    let command = commit(7, 10, vec![put(&k, "a", 0)], vec![]);
    assert_eq!(single.run(command.clone()), committed(10));
    single.run(commit(8, 20, vec![put(&k, "b", 10)], vec![]));
    assert_eq!(single.run(command), committed(10));
    assert_eq!(single.get(&k, 99), Some(value("b")));
    // Redrawn timestamps do not make it another transaction.
    assert_eq!(single.run(commit(7, 40, vec![put(&k, "a", 39)], vec![])), committed(10));
    assert_eq!(single.machine.statistics(&k).rows, 1);
    single.assert_sound();
}

#[test]
fn a_repeated_commit_that_may_have_been_forgotten_is_expired() {
    let mut single = Single::new();
    let k = key(1, 1);
    let command = commit(7, 10, vec![put(&k, "a", 0)], vec![]);
    single.run(command.clone());
    single.run(Command::AdvanceGc { threshold: ts(50) });
    assert_eq!(single.run(command), CommandResult::Expired { threshold: ts(50) });
}

#[test]
fn later_entries_of_a_group_see_earlier_ones() {
    let mut single = Single::new();
    let k = key(1, 1);
    let answers = single.run_in(
        FIRST,
        1,
        &[
            commit(1, 10, vec![put(&k, "a", 0)], vec![]),
            commit(2, 20, vec![put(&k, "b", 5)], vec![]),
            commit(3, 30, vec![put(&k, "c", 10)], vec![]),
            commit(4, 40, vec![], vec![Check::SpanUnchanged { span: everything(), base: ts(29) }]),
            commit(5, 50, vec![], vec![Check::SpanUnchanged { span: everything(), base: ts(30) }]),
            commit(1, 10, vec![put(&k, "a", 0)], vec![]),
        ],
    );
    let expected = [
        committed(10),
        conflict(&k, ConflictReason::NewerVersion),
        committed(30),
        conflict(&k, ConflictReason::Changed),
        committed(50),
        committed(10),
    ];
    assert_eq!(answers, expected);
    assert_eq!(single.get(&k, 15), Some(value("a")));
    assert_eq!(single.get(&k, 30), Some(value("c")));
    single.assert_sound();
}

#[test]
fn a_check_for_existence_follows_the_own_writes_first() {
    let mut single = Single::new();
    let (parent, child) = (key(1, 1), key(2, 1));
    let exists = || vec![Check::KeyExists { key: parent.clone() }];
    let missing = conflict(&parent, ConflictReason::Missing);
    assert_eq!(single.run(commit(1, 10, vec![put(&child, "c", 9)], exists())), missing);
    let both = vec![put(&parent, "p", 9), put(&child, "c", 9)];
    assert_eq!(single.run(commit(2, 20, both, exists())), committed(20));
    assert_eq!(single.run(commit(3, 30, vec![delete(&parent, 20)], exists())), missing);
    assert_eq!(single.run(commit(4, 40, vec![put(&child, "d", 20)], exists())), committed(40));
}

#[test]
fn a_transaction_over_two_shards_commits_through_its_primary() {
    let mut single = Single::new();
    let (a, b) = (key(1, 1), key(2, 1));
    let txn = TxnId(9);
    single.run(Command::Split { at: key(2, 0), new_shard: ShardId(2) });
    let prewrite = |write: Write| Command::Prewrite {
        txn,
        start_ts: ts(10),
        primary: a.clone(),
        writes: vec![write],
        checks: vec![],
    };
    assert_eq!(single.run_in(FIRST, 2, &[prewrite(put(&a, "a", 5))]), [CommandResult::Done]);
    assert_eq!(single.run_in(ShardId(2), 2, &[prewrite(put(&b, "b", 5))]), [CommandResult::Done]);
    assert_eq!(single.machine.locks().len(), 2);
    // Somebody else's write meets the lock.
    let locked = CommandResult::Locked { key: b.clone(), txn, start_ts: ts(10), primary: a.clone() };
    assert_eq!(single.run_in(ShardId(2), 2, &[commit(5, 15, vec![put(&b, "x", 14)], vec![])]), [locked]);
    let decide = Command::CommitPrimary { txn, commit_ts: ts(20), primary: a.clone() };
    assert_eq!(single.run_in(FIRST, 2, &[decide.clone(), decide]), [committed(20), committed(20)]);
    assert_eq!(single.machine.status(&a, txn).unwrap(), Some(TxnStatus::Committed(ts(20))));
    assert_eq!(single.get(&b, 99), None);
    let resolve = Command::Resolve { txn, status: TxnStatus::Committed(ts(20)), keys: vec![b.clone()] };
    assert_eq!(single.run_in(ShardId(2), 2, &[resolve.clone(), resolve]), [CommandResult::Done, CommandResult::Done]);
    assert_eq!(
        (single.get(&a, 20), single.get(&b, 20), single.get(&b, 19)),
        (Some(value("a")), Some(value("b")), None)
    );
    assert!(single.machine.locks().is_empty());
    single.assert_sound();
}

#[test]
fn after_an_abort_no_prewrite_and_no_commit_succeeds() {
    let mut single = Single::new();
    let k = key(1, 1);
    let txn = TxnId(9);
    let prewrite =
        Command::Prewrite { txn, start_ts: ts(10), primary: k.clone(), writes: vec![put(&k, "a", 5)], checks: vec![] };
    assert_eq!(single.run(prewrite.clone()), CommandResult::Done);
    assert_eq!(single.run(Command::Abort { txn, now: ts(15), primary: k.clone() }), CommandResult::Aborted);
    assert!(single.machine.locks().is_empty());
    assert_eq!(single.run(prewrite), CommandResult::Aborted);
    let decide = Command::CommitPrimary { txn, commit_ts: ts(20), primary: k.clone() };
    assert_eq!(single.run(decide), CommandResult::Aborted);
    assert_eq!(single.get(&k, 99), None);
    single.assert_sound();
}

#[test]
fn commands_outside_the_shard_or_with_an_old_epoch_are_refused() {
    let mut single = Single::new();
    let outside = Bytes::from_static(&[1, 1]);
    let answer = single.run(commit(1, 10, vec![put(&outside, "x", 0)], vec![]));
    assert_eq!(answer, CommandResult::WrongShard { epoch: 1 });
    single.run(Command::Split { at: key(1, 5), new_shard: ShardId(2) });
    let stale = single.run(commit(2, 20, vec![put(&key(1, 1), "x", 0)], vec![]));
    assert_eq!(stale, CommandResult::StaleEpoch { epoch: 2 });
    let moved = single.run_in(FIRST, 2, &[commit(3, 30, vec![put(&key(1, 6), "x", 0)], vec![])]);
    assert_eq!(moved, [CommandResult::WrongShard { epoch: 2 }]);
    assert_eq!(single.machine.shard_map().find(&key(1, 6)).unwrap().shard, ShardId(2));
}

#[test]
fn garbage_in_the_log_is_answered_and_passed_over() {
    let single = Single::new();
    let entries = [(position(2), Bytes::from_static(b"garbage")), (position(3), Bytes::new())];
    let answers = single.machine.apply(FIRST, &entries, Some(value("members"))).unwrap();
    assert!(matches!(CommandResult::decode(&answers[0]).unwrap(), CommandResult::Refused { .. }));
    assert!(answers[1].is_empty());
    assert_eq!(single.machine.applied(FIRST).unwrap(), Some(position(3)));
    assert_eq!(single.machine.membership(FIRST).unwrap(), Some(value("members")));
    assert!(matches!(single.machine.apply(FIRST, &entries, None), Err(Error::Corruption { .. })));
}

#[test]
fn writes_out_of_order_are_refused() {
    let mut single = Single::new();
    let writes = vec![put(&key(1, 2), "x", 0), put(&key(1, 1), "x", 0)];
    assert!(matches!(single.run(commit(1, 10, writes, vec![])), CommandResult::Refused { .. }));
    let twice = vec![put(&key(1, 2), "x", 0), put(&key(1, 2), "x", 0)];
    assert!(matches!(single.run(commit(2, 20, twice, vec![])), CommandResult::Refused { .. }));
}

#[test]
fn numbers_are_given_once_and_limits_only_grow() {
    let mut single = Single::new();
    let ids = |count| Command::ReserveIds { name: "oid".to_owned(), count };
    let answers = single.run_in(FIRST, 1, &[ids(5), ids(1), ids(u64::MAX)]);
    assert_eq!(answers[..2], [CommandResult::Ids { first: 1 }, CommandResult::Ids { first: 6 }]);
    assert!(matches!(answers[2], CommandResult::Refused { .. }));
    assert_eq!(single.run(ids(1)), CommandResult::Ids { first: 7 });
    single.run(Command::ReserveTimestamps { until: ts(100) });
    let answer = single.run(Command::ReserveTimestamps { until: ts(50) });
    assert_eq!(answer, CommandResult::Moment { ts: ts(100) });
    assert_eq!(single.machine.reserved_until(FIRST).unwrap(), ts(100));
}

#[test]
fn a_dropped_range_is_removed_once_no_snapshot_reads_it() {
    let mut single = Single::new();
    for (txn, table) in [(1, 1), (2, 2)] {
        let writes = (0..4).map(|row| put(&key(table, row), "abc", 0)).collect();
        single.run(commit(txn, 10 + txn as u64, writes, vec![]));
    }
    let span = Span::new(key(1, 2), key(2, 1));
    let drop = |force| Command::DeleteRange { span: span.clone(), dropped_at: ts(20), force };
    assert!(matches!(single.run(drop(false)), CommandResult::Refused { .. }));
    single.run(Command::AdvanceGc { threshold: ts(20) });
    assert_eq!(single.run(drop(false)), CommandResult::Done);
    let statistics = |table| single.machine.statistics(&key(table, 0)[..13]);
    assert_eq!(statistics(1), PrefixStatistics { rows: 2, bytes: 34 });
    assert_eq!(statistics(2), PrefixStatistics { rows: 3, bytes: 51 });
    assert_eq!((single.get(&key(1, 1), 99), single.get(&key(1, 2), 99)), (Some(value("abc")), None));
    single.assert_sound();
}

#[test]
fn a_lock_holds_the_threshold_back() {
    let mut single = Single::new();
    let k = key(1, 1);
    single.run(Command::Prewrite {
        txn: TxnId(1),
        start_ts: ts(30),
        primary: k.clone(),
        writes: vec![put(&k, "a", 20)],
        checks: vec![],
    });
    let answer = single.run(Command::AdvanceGc { threshold: ts(100) });
    assert_eq!(answer, CommandResult::Moment { ts: ts(29) });
}

#[test]
fn snapshots_below_the_threshold_are_refused() {
    let mut single = Single::new();
    single.run(Command::AdvanceGc { threshold: ts(100) });
    assert!(matches!(single.machine.read(&key(1, 1), ts(99), |_| ()), Err(Error::SnapshotTooOld)));
    assert!(matches!(single.machine.scan(everything(), Direction::Forward, ts(99)), Err(Error::SnapshotTooOld)));
    assert!(single.machine.read(&key(1, 1), ts(100), |_| ()).is_ok());
}

#[test]
fn a_shard_is_split_near_its_middle() {
    let mut single = Single::new();
    let writes = (0..10).map(|row| put(&key(1, row), "abc", 0)).collect();
    single.run(commit(1, 10, writes, vec![]));
    assert_eq!(single.machine.middle_key(FIRST).unwrap(), Some(key(1, 5)));
    single.run(Command::Split { at: key(1, 5), new_shard: ShardId(2) });
    assert_eq!(single.machine.shard_statistics(FIRST).unwrap().rows, 5);
    assert_eq!(single.machine.shard_statistics(ShardId(2)).unwrap().rows, 5);
    assert_eq!(single.machine.statistics(&key(1, 0)[..13]).rows, 10);
    single.assert_sound();
}

#[test]
fn the_check_finds_damage() {
    use crate::engine::{Batch, Family};
    use crate::mvcc::record;
    let mut single = Single::new();
    let k = key(1, 1);
    single.run(commit(1, 10, vec![put(&k, "a", 0)], vec![]));
    single.run(commit(2, 20, vec![put(&k, "b", 10)], vec![]));
    let findings = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        change(&mut batch);
        single.machine.engine().write(&batch).unwrap();
        let report = crate::check::check_store(&single.machine).unwrap();
        report.findings.iter().map(|finding| finding.place).collect::<Vec<_>>()
    };
    assert_eq!(findings(&|_| ()), Vec::<&str>::new());
    // A row that nobody counted, then a row outside all shards, then a broken link.
    let row = [record::version_header(ts(5), true).as_ref(), b"xy"].concat();
    assert_eq!(findings(&|batch| batch.put(Family::Latest, &key(1, 9), &row)), ["statistics"]);
    assert_eq!(findings(&|batch| batch.put(Family::Latest, &[9, 9], &row)), ["latest", "statistics"]);
    let gone = findings(&|batch| batch.delete(Family::Latest, &k));
    assert_eq!(gone, ["latest", "statistics", "history"]);
}

#[test]
fn a_removed_lock_does_not_hide_a_piece_that_came_after_it() {
    let k = key(1, 1);
    let prewrite = |txn: u128, at: u64, writes: Vec<Write>| Command::Prewrite {
        txn: TxnId(txn),
        start_ts: ts(at),
        primary: k.clone(),
        writes,
        checks: vec![],
    };
    let decide = |txn: u128, at: u64| Command::CommitPrimary { txn: TxnId(txn), commit_ts: ts(at), primary: k.clone() };
    let piece = vec![put(&k, "two", 20), put(&key(1, 2), "two", 20), put(&key(1, 3), "two", 20)];
    let log =
        [prewrite(1, 10, vec![put(&k, "one", 5)]), decide(1, 20), prewrite(2, 21, piece), decide(2, 30), decide(2, 30)];
    let answers = [CommandResult::Done, committed(20), CommandResult::Done, committed(30), committed(30)];
    // In one group, as when a log is replayed, and one by one, as when each waited for the one before.
    for group in [log.len(), 1] {
        let mut single = Single::new();
        let found: Vec<_> = log.chunks(group).flat_map(|group| single.run_in(FIRST, 1, group)).collect();
        assert_eq!(found, answers, "in groups of {group}");
        assert_eq!(single.get(&key(1, 3), 30), Some(value("two")));
        single.assert_sound();
    }
}

/// It names a key or two, and writes all that the piece holds.
#[test]
fn what_ends_a_piece_takes_long() {
    let mut single = Single::new();
    let keys: Vec<Key> = (1..=3).map(|at| key(1, at)).collect();
    let writes: Vec<Write> = keys.iter().map(|key| put(key, "a", 0)).collect();
    let (txn, start_ts, primary) = (TxnId(7), ts(5), keys[0].clone());
    let takes_long = |single: &Single, command: &Command| single.machine.takes_long(&command.encode(1));
    let committed = Command::CommitPrimary { txn, commit_ts: ts(10), primary: primary.clone() };
    let resolve = |status| Command::Resolve { txn, status, keys: vec![keys[2].clone()] };
    assert!(!takes_long(&single, &committed));
    single.run(Command::Prewrite { txn, start_ts, primary, writes, checks: vec![] });
    assert!(takes_long(&single, &committed));
    assert!(takes_long(&single, &resolve(TxnStatus::Committed(ts(10)))));
    assert!(!takes_long(&single, &resolve(TxnStatus::Aborted(ts(10)))));
    single.run(committed.clone());
    assert!(!takes_long(&single, &committed));
}

/// In one group of entries a piece goes and another transaction's takes its place.
#[test]
fn a_piece_takes_the_place_of_another_transactions() {
    let mut single = Single::new();
    let keys: Vec<Key> = (1..=3).map(|at| key(1, at)).collect();
    let writes: Vec<Write> = keys.iter().map(|key| put(key, "a", 0)).collect();
    let prewrite = |txn, from: usize| {
        let (txn, primary, writes) = (TxnId(txn), keys[0].clone(), writes[from..].to_vec());
        Command::Prewrite { txn, start_ts: ts(5), primary, writes, checks: vec![] }
    };
    single.run(prewrite(7, 0));
    let abort = Command::Abort { txn: TxnId(7), now: ts(8), primary: keys[0].clone() };
    let answers = single.run_in(FIRST, 1, &[abort, prewrite(8, 0)]);
    assert_eq!(answers, [CommandResult::Aborted, CommandResult::Done]);
    assert_eq!(single.machine.locks().len(), keys.len());
    assert!(single.machine.locks().in_span(&everything()).iter().all(|(_, lock)| lock.txn == TxnId(8)));
    single.assert_sound();
}

/// Whether a look at all of them at once tells that nothing is in the way, or each has to be looked at.
#[test]
fn many_writes_meet_what_one_would() {
    let all = |base| -> Vec<Write> { (1..=4).map(|at| put(&key(1, at), "b", base)).collect() };
    let lone = |txn, at| commit(txn, 10, vec![put(&key(1, at), "a", 0)], vec![]);
    let prewrite = |at: u8| {
        let (primary, writes) = (key(1, at), vec![put(&key(1, at), "a", 0)]);
        Command::Prewrite { txn: TxnId(7), start_ts: ts(5), primary, writes, checks: vec![] }
    };
    // In one group, and with what came before written already.
    for group in [2, 1] {
        let run = |first: Command, base| {
            let mut single = Single::new();
            let log = [first, commit(2, 20, all(base), vec![])];
            let answers: Vec<_> = log.chunks(group).flat_map(|group| single.run_in(FIRST, 1, group)).collect();
            single.assert_sound();
            (answers[1].clone(), single)
        };
        let (answer, single) = run(lone(1, 9), 0);
        assert_eq!(answer, committed(20));
        assert_eq!(single.machine.statistics(&key(1, 1)).rows, 5);
        let (answer, single) = run(lone(1, 3), 0);
        assert_eq!(answer, conflict(&key(1, 3), ConflictReason::NewerVersion));
        assert_eq!(single.get(&key(1, 1), 99), None);
        let (answer, single) = run(lone(1, 3), 10);
        assert_eq!(answer, committed(20));
        assert_eq!((single.get(&key(1, 3), 19), single.get(&key(1, 3), 20)), (Some(value("a")), Some(value("b"))));
        let (answer, _) = run(prewrite(3), 0);
        assert!(matches!(answer, CommandResult::Locked { key: at, .. } if at == key(1, 3)));
    }
}
