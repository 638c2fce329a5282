//! A log is applied in other groups after a restart than before it: any log, in any groups, has the same answers and leaves the
//! same state. Here the commands follow no protocol, so that they meet what a protocol meets rarely.

use proptest::prelude::*;

use super::*;
use crate::command::TxnStatus;
use crate::engine::Family;

const KEYS: u8 = 5;
const TXNS: u8 = 5;
/// How many entries a restart puts into a group, at most.
const REPLAY_GROUP: usize = 64;

#[derive(Clone, Debug)]
enum Step {
    /// Which keys, and how many moments the base is behind.
    Commit {
        keys: u8,
        behind: u8,
        check: bool,
    },
    Prewrite {
        txn: u8,
        keys: u8,
        behind: u8,
    },
    Decide {
        txn: u8,
        commit: bool,
    },
    Resolve {
        txn: u8,
        commit: bool,
        keys: u8,
    },
    Gc {
        behind: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || 1u8..(1 << KEYS);
    prop_oneof![
        2 => (keys(), 0u8..4, any::<bool>()).prop_map(|(keys, behind, check)| Step::Commit { keys, behind, check }),
        4 => (0..TXNS, keys(), 0u8..2).prop_map(|(txn, keys, behind)| Step::Prewrite { txn, keys, behind }),
        4 => (0..TXNS, prop::bool::weighted(0.7)).prop_map(|(txn, commit)| Step::Decide { txn, commit }),
        2 => (0..TXNS, any::<bool>(), keys()).prop_map(|(txn, commit, keys)| Step::Resolve { txn, commit, keys }),
        1 => (4u8..8).prop_map(|behind| Step::Gc { behind }),
    ]
}

fn chosen(keys: u8) -> impl Iterator<Item = Key> {
    (0..KEYS).filter(move |row| keys & (1 << row) != 0).map(|row| key(1, row))
}

/// The commands of the steps. A transaction's number is used again once it is decided, as another one.
fn log_of(steps: &[Step]) -> Vec<Bytes> {
    let mut current: Vec<(TxnId, Key)> = (0..TXNS).map(|txn| (TxnId(u128::from(txn) + 1), key(1, 0))).collect();
    let mut next_txn = 100u128;
    let mut now = 100u64;
    let mut fresh = || {
        next_txn += 1;
        TxnId(next_txn)
    };
    let mut log = Vec::new();
    for step in steps {
        now += 10;
        let writes = |keys: u8, behind: u8| -> Vec<Write> {
            chosen(keys).map(|key| put(&key, &format!("{now}"), now - u64::from(behind) * 10)).collect()
        };
        let status = |commit: bool| if commit { TxnStatus::Committed(ts(now)) } else { TxnStatus::Aborted(ts(now)) };
        log.push(match step {
            Step::Commit { keys, behind, check } => {
                let span = Span::new(key(1, 0), key(1, KEYS));
                let checks = if *check { vec![Check::SpanUnchanged { span, base: ts(now - 30) }] } else { vec![] };
                let (txn, writes) = (fresh(), writes(*keys, *behind));
                Command::Commit { txn, start_ts: ts(now - 1), commit_ts: ts(now), writes, checks }
            }
            Step::Prewrite { txn, keys, behind } => {
                let writes = writes(*keys, *behind);
                let slot = &mut current[usize::from(*txn)];
                *slot = (fresh(), writes[0].key.clone());
                let (txn, primary) = slot.clone();
                Command::Prewrite { txn, start_ts: ts(now), primary, writes, checks: vec![] }
            }
            Step::Decide { txn, commit } => {
                let (txn, primary) = current[usize::from(*txn)].clone();
                match commit {
                    true => Command::CommitPrimary { txn, commit_ts: ts(now), primary },
                    false => Command::Abort { txn, now: ts(now), primary },
                }
            }
            Step::Resolve { txn, commit, keys } => {
                let txn = current[usize::from(*txn)].0;
                Command::Resolve { txn, status: status(*commit), keys: chosen(*keys).collect() }
            }
            Step::Gc { behind } => Command::AdvanceGc { threshold: ts(now - u64::from(*behind) * 10) },
        });
    }
    log.into_iter().map(|command| command.encode(1)).collect()
}

/// Answers, all records of the store, and the keys that stay locked.
type Outcome = (Vec<CommandResult>, Vec<(Family, Vec<u8>, Vec<u8>)>, Vec<Key>);

/// The answers to a log applied in groups, and everything that the engine and the table of locks hold then.
fn applied(log: &[Bytes], group: usize) -> Outcome {
    let single = Single::new();
    let mut answers = Vec::new();
    for (at, entries) in log.chunks(group).enumerate() {
        let first = at * group + 1;
        let entries: Vec<_> =
            entries.iter().enumerate().map(|(at, bytes)| (position((first + at) as u64), bytes.clone())).collect();
        let found = single.machine.apply(FIRST, &entries, None).unwrap();
        answers.extend(found.iter().map(|answer| CommandResult::decode(answer).unwrap()));
    }
    let mut stored = Vec::new();
    for family in [Family::Latest, Family::History, Family::Locks, Family::Txns, Family::Meta] {
        let mut cursor = single.machine.engine().cursor(family, &[], None).unwrap();
        cursor.seek_first().unwrap();
        while let Some((key, value)) = cursor.item() {
            stored.push((family, key.to_vec(), value.to_vec()));
            cursor.next().unwrap();
        }
    }
    let locks = single.machine.locks().in_span(&everything()).into_iter().map(|(key, _)| key).collect();
    (answers, stored, locks)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_answered_the_same_in_any_groups(
        steps in prop::collection::vec(step(), 1..40),
        group in 2usize..REPLAY_GROUP,
    ) {
        let log = log_of(&steps);
        let one_by_one = applied(&log, 1);
        for group in [group, REPLAY_GROUP] {
            prop_assert_eq!(&one_by_one, &applied(&log, group), "in groups of {}", group);
        }
    }
}
