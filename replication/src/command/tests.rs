use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::overlay::Buffered;

fn blob() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn ts() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn txn() -> impl Strategy<Value = TxnId> {
    any::<u128>().prop_map(TxnId)
}

fn span() -> impl Strategy<Value = Span> {
    (blob(), blob()).prop_map(|(start, end)| Span { start, end })
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let op = prop_oneof![Just(Op::Delete), blob().prop_map(Op::Put)];
    prop::collection::vec((blob(), op, ts()).prop_map(|(key, op, base)| Write { key, op, base }), 0..5)
}

fn checks() -> impl Strategy<Value = Vec<Check>> {
    let check = prop_oneof![
        (span(), ts()).prop_map(|(span, base)| Check::SpanUnchanged { span, base }),
        blob().prop_map(|key| Check::KeyExists { key }),
    ];
    prop::collection::vec(check, 0..5)
}

fn command() -> impl Strategy<Value = Command> {
    let status = prop_oneof![ts().prop_map(TxnStatus::Aborted), ts().prop_map(TxnStatus::Committed)];
    prop_oneof![
        (txn(), ts(), ts(), writes(), checks()).prop_map(|(txn, start_ts, commit_ts, writes, checks)| {
            Command::Commit { txn, start_ts, commit_ts, writes, checks }
        }),
        (txn(), ts(), blob(), writes(), checks()).prop_map(|(txn, start_ts, primary, writes, checks)| {
            Command::Prewrite { txn, start_ts, primary, writes, checks }
        }),
        (txn(), ts(), blob()).prop_map(|(txn, commit_ts, primary)| Command::CommitPrimary { txn, commit_ts, primary }),
        (txn(), status, prop::collection::vec(blob(), 0..5)).prop_map(|(txn, status, keys)| Command::Resolve {
            txn,
            status,
            keys
        }),
        (txn(), ts(), blob()).prop_map(|(txn, now, primary)| Command::Abort { txn, now, primary }),
        (span(), ts(), any::<bool>()).prop_map(|(span, dropped_at, force)| Command::DeleteRange {
            span,
            dropped_at,
            force
        }),
        (blob(), any::<u64>()).prop_map(|(at, id)| Command::Split { at, new_shard: ShardId(id) }),
        (any::<u64>(), span()).prop_map(|(id, span)| Command::CreateShard { shard: ShardId(id), span }),
        ts().prop_map(|until| Command::ReserveTimestamps { until }),
        (".{0,20}", any::<u64>()).prop_map(|(name, count)| Command::ReserveIds { name, count }),
        ts().prop_map(|threshold| Command::AdvanceGc { threshold }),
    ]
}

fn result() -> impl Strategy<Value = CommandResult> {
    let reason =
        prop_oneof![Just(ConflictReason::NewerVersion), Just(ConflictReason::Changed), Just(ConflictReason::Missing)];
    prop_oneof![
        Just(CommandResult::Done),
        ts().prop_map(|commit_ts| CommandResult::Committed { commit_ts }),
        Just(CommandResult::Aborted),
        (blob(), reason).prop_map(|(key, reason)| CommandResult::Conflict { key, reason }),
        (blob(), txn(), ts(), blob())
            .prop_map(|(key, txn, start_ts, primary)| { CommandResult::Locked { key, txn, start_ts, primary } }),
        any::<u64>().prop_map(|epoch| CommandResult::StaleEpoch { epoch }),
        any::<u64>().prop_map(|epoch| CommandResult::WrongShard { epoch }),
        ts().prop_map(|threshold| CommandResult::Expired { threshold }),
        any::<u64>().prop_map(|first| CommandResult::Ids { first }),
        ts().prop_map(|ts| CommandResult::Moment { ts }),
        ".{0,20}".prop_map(|reason| CommandResult::Refused { reason }),
    ]
}

proptest! {
    #[test]
    fn a_prewrite_encoded_from_the_buffered_writes_is_the_same(
        epoch in any::<u64>(), txn in txn(), start_ts in ts(), primary in blob(), writes in writes()
    ) {
        let buffered: Vec<(Key, Buffered)> = writes
            .iter()
            .map(|write| {
                let value = if let Op::Put(value) = &write.op { Some(value.clone()) } else { None };
                (write.key.clone(), Buffered { value, base: write.base })
            })
            .collect();
        let pairs = buffered.iter().map(|(key, write)| (key, write));
        let bytes = encode_prewrite(epoch, txn, start_ts, &primary, (writes.len(), 0), pairs);
        let whole = Command::Prewrite { txn, start_ts, primary, writes, checks: Vec::new() };
        prop_assert_eq!(bytes, whole.encode(epoch));
    }

    #[test]
    fn commands_survive_the_round_trip(command in command(), epoch in any::<u64>()) {
        let bytes = command.encode(epoch);
        prop_assert_eq!(Command::decode(&bytes).unwrap(), (epoch, command));
    }

    #[test]
    fn results_survive_the_round_trip(result in result()) {
        prop_assert_eq!(CommandResult::decode(&result.encode()).unwrap(), result);
    }

    /// Every shortened form is refused: no field is optional at the end.
    #[test]
    fn shortened_commands_are_refused(command in command(), cut in any::<prop::sample::Index>()) {
        let bytes = command.encode(1);
        prop_assert!(Command::decode(&bytes.slice(..cut.index(bytes.len()))).is_err());
    }

    /// Whatever holds others up until it is through must be told from new work, and so must what may take long.
    #[test]
    fn kinds_are_told_from_the_bytes(command in command(), epoch in any::<u64>()) {
        let finishing = matches!(
            command,
            Command::CommitPrimary { .. }
                | Command::Resolve { .. }
                | Command::Abort { .. }
                | Command::ReserveTimestamps { .. }
        );
        prop_assert_eq!(finishes_work(&command.encode(epoch)), finishing);
        let walking = matches!(command, Command::Split { .. } | Command::DeleteRange { .. });
        prop_assert_eq!(walks_ranges(&command.encode(epoch)), walking);
    }

    #[test]
    fn longer_commands_are_refused(command in command(), extra in any::<u8>()) {
        let mut bytes = command.encode(1).to_vec();
        bytes.push(extra);
        prop_assert!(Command::decode(&bytes.into()).is_err());
    }

    #[test]
    fn garbage_does_not_panic(tag in 0u8..14, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = vec![COMMAND_VERSION, tag];
        bytes.extend(body);
        let bytes = Bytes::from(bytes);
        let _ = Command::decode(&bytes);
        let _ = CommandResult::decode(&bytes);
    }

    /// A damaged byte may give another command, but never a panic and never more memory than the bytes warrant.
    #[test]
    fn damage_does_not_panic(command in command(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = command.encode(1).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Command::decode(&bytes.into());
    }
}

/// The bytes of version 1, frozen: logs on disk hold them.
#[test]
fn golden_bytes() {
    let command = Command::Commit {
        txn: TxnId(0x0102),
        start_ts: Timestamp(3),
        commit_ts: Timestamp(4),
        writes: vec![
            Write { key: Bytes::from_static(b"k"), op: Op::Put(Bytes::from_static(b"vv")), base: Timestamp(2) },
            Write { key: Bytes::from_static(b"l"), op: Op::Delete, base: Timestamp(1) },
        ],
        checks: vec![Check::KeyExists { key: Bytes::from_static(b"p") }],
    };
    let mut expected = vec![1, 1, 0xAC, 0x02];
    expected.extend([0; 14]);
    expected.extend([1, 2]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 3]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 4]);
    expected.extend([2, 1, b'k', 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, b'v', b'v']);
    expected.extend([1, b'l', 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    expected.extend([1, 2, 1, b'p']);
    assert_eq!(command.encode(300).as_ref(), expected);
    assert_eq!(CommandResult::Committed { commit_ts: Timestamp(5) }.encode().as_ref(), [1, 1, 0, 0, 0, 0, 0, 0, 0, 5]);
}
