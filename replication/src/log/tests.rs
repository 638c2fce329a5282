//! The log under restarts, crashes, damage and failing disks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;

use bytes::Bytes;
use proptest::prelude::*;

use super::segment::{Disk, file_name, list};
use super::*;
use crate::target::LogPosition;

fn position(term: u64, index: u64) -> LogPosition {
    LogPosition { term, leader: 1, index }
}

fn entry(term: u64, index: u64, payload: &[u8]) -> LogEntry {
    LogEntry { position: position(term, index), kind: 1, payload: Bytes::copy_from_slice(payload) }
}

fn small(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, cache_bytes: 256, ..LogOptions::default() }
}

/// A callback and the means to wait for it.
fn awaited() -> (Done, mpsc::Receiver<Result<()>>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    (Box::new(move |result| sender.send(result).unwrap()), receiver)
}

fn append(group: &GroupLog, entries: Vec<LogEntry>) -> Result<()> {
    let (done, wait) = awaited();
    group.append(entries, done)?;
    wait.recv().unwrap()
}

fn vote(group: &GroupLog, term: u64) -> Result<()> {
    let (done, wait) = awaited();
    group.save_vote(StoredVote { term, leader: 1, committed: true }, done)?;
    wait.recv().unwrap()
}

/// A copy of what is there at one moment: when the log takes a file away meanwhile, which it may have put elsewhere before, all
/// is copied anew.
fn copy_dir(from: &Path, to: &Path) {
    'again: loop {
        for file in std::fs::read_dir(to).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            match std::fs::copy(file.path(), to.join(file.file_name())) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue 'again,
                copied => copied.unwrap(),
            };
        }
        return;
    }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = PhysicalLog::open(dir.path(), LogOptions::default()).unwrap();
        let (one, two) = (log.group(1), log.group(2));
        append(&one, (0..10).map(|index| entry(1, index, format!("a{index}").as_bytes())).collect()).unwrap();
        append(&two, vec![entry(7, 0, b"two")]).unwrap();
        vote(&one, 3).unwrap();
        one.truncate_after(Some(position(1, 7))).unwrap();
        append(&one, vec![entry(3, 8, b"again")]).unwrap();
        one.purge(position(1, 2)).unwrap();
        one.save_committed(position(3, 8)).unwrap();
        log.close().unwrap();
        assert_eq!(append(&two, vec![entry(7, 1, b"late")]), Err(LogError::Closed));
    }
    let log = PhysicalLog::open(dir.path(), LogOptions::default()).unwrap();
    assert_eq!(log.groups(), [1, 2]);
    let state = log.group(1).state();
    assert_eq!(state.vote, Some(StoredVote { term: 3, leader: 1, committed: true }));
    assert_eq!(state.committed, Some(position(3, 8)));
    assert_eq!(state.purged, Some(position(1, 2)));
    assert_eq!(state.last, Some(position(3, 8)));
    let entries = log.group(1).read(0..100).unwrap();
    assert_eq!(entries.first().unwrap(), &entry(1, 3, b"a3"));
    assert_eq!(entries.last().unwrap(), &entry(3, 8, b"again"));
    assert_eq!(entries.len(), 6);
    assert_eq!(log.group(2).read(0..1).unwrap(), [entry(7, 0, b"two")]);
}

#[test]
fn holes_and_overwrites_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = PhysicalLog::open(dir.path(), LogOptions::default()).unwrap();
    let group = log.group(1);
    assert!(matches!(append(&group, vec![entry(1, 1, b"")]), Err(LogError::Misuse { .. })));
    append(&group, vec![entry(1, 0, b"")]).unwrap();
    assert!(matches!(append(&group, vec![entry(1, 0, b"")]), Err(LogError::Misuse { .. })));
    assert!(matches!(append(&group, vec![entry(1, 1, b""), entry(1, 3, b"")]), Err(LogError::Misuse { .. })));
    group.purge(position(4, 20)).unwrap();
    assert_eq!(group.state().last, Some(position(4, 20)));
    assert!(matches!(group.truncate_after(Some(position(4, 19))), Err(LogError::Misuse { .. })));
    append(&group, vec![entry(4, 21, b"")]).unwrap();
    log.remove_group(1).unwrap();
    assert_eq!(append(&group, vec![entry(4, 22, b"")]), Err(LogError::UnknownGroup { group: 1 }));
    drop(log);
    assert_eq!(PhysicalLog::open(dir.path(), LogOptions::default()).unwrap().groups(), [0_u64; 0]);
}

#[test]
fn segments_go_when_every_group_has_purged_them() {
    let dir = tempfile::tempdir().unwrap();
    let log = PhysicalLog::open(dir.path(), small(4096)).unwrap();
    let (busy, idle) = (log.group(1), log.group(2));
    append(&idle, vec![entry(1, 0, b"old")]).unwrap();
    vote(&idle, 9).unwrap();
    for index in 0..200 {
        append(&busy, vec![entry(1, index, &[7; 100])]).unwrap();
    }
    assert!(list(dir.path()).unwrap().len() > 5);
    busy.purge(position(1, 190)).unwrap();
    vote(&busy, 2).unwrap();
    assert!(list(dir.path()).unwrap().len() > 5, "the idle group still has an entry in the first segment");
    idle.purge(position(1, 0)).unwrap();
    vote(&busy, 3).unwrap();
    vote(&busy, 4).unwrap();
    assert!(list(dir.path()).unwrap().len() <= 2);
    // Entries are read from the segments once the cache has let them go.
    assert_eq!(busy.read(0..1000).unwrap(), (191..200).map(|index| entry(1, index, &[7; 100])).collect::<Vec<_>>());
    drop(log);
    let log = PhysicalLog::open(dir.path(), small(4096)).unwrap();
    let state = log.group(2).state();
    assert_eq!((state.vote.unwrap().term, state.purged), (9, Some(position(1, 0))));
    assert_eq!(log.group(1).state().last, Some(position(1, 199)));
    assert_eq!(log.group(1).read(195..197).unwrap(), [entry(1, 195, &[7; 100]), entry(1, 196, &[7; 100])]);
}

/// The writer cannot run while a task on its thread appends.
#[test]
fn a_task_on_the_thread_of_the_log_appends_more_than_the_queue_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { queue_bytes: 64 * 1024, ..LogOptions::default() };
    let log = PhysicalLog::open(dir.path(), options).unwrap();
    let group = log.group(1);
    let (sender, receiver) = mpsc::channel();
    let appending = group.clone();
    log.runtime().spawn(async move {
        for index in 0..100 {
            let sender = sender.clone();
            let done: Done = Box::new(move |result| sender.send(result).unwrap());
            appending.append(vec![entry(1, index, &[7; 10_000])], done).unwrap();
            assert!(appending.shared.lock_queue().queued_bytes < 128 * 1024);
        }
    });
    for _ in 0..100 {
        receiver.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    }
    assert_eq!(group.state().last, Some(position(1, 99)));
}

/// A callback that keeps the writer busy until it is let go, and the means to see that it is and to let it go.
fn holding() -> (Done, mpsc::Receiver<()>, mpsc::SyncSender<()>) {
    let (holds, is_held) = mpsc::sync_channel(1);
    let (release, released) = mpsc::sync_channel(1);
    let done: Done = Box::new(move |_| {
        holds.send(()).unwrap();
        released.recv().unwrap();
    });
    (done, is_held, release)
}

/// What makes segments unnecessary is in a file before they go: a crash between the two leaves a log that opens.
#[test]
fn segments_do_not_go_before_what_makes_them_unnecessary_is_written() {
    type Change = fn(&PhysicalLog);
    let changes: [(&str, Change); 3] = [
        ("purge", |log| log.group(1).purge(position(1, 99)).unwrap()),
        ("truncation", |log| log.group(1).truncate_after(None).unwrap()),
        ("removal", |log| log.remove_group(1).unwrap()),
    ];
    for (what, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let log = PhysicalLog::open(dir.path(), small(4096)).unwrap();
        for index in 0..100 {
            append(&log.group(1), vec![entry(1, index, &[7; 100])]).unwrap();
        }
        append(&log.group(2), vec![entry(1, 0, b"x"), entry(1, 1, b"y")]).unwrap();
        // The writer is kept busy, first so that a purge gets into one batch with a callback, then in that batch.
        let (done, is_held, release_first) = holding();
        log.group(2).append([entry(1, 2, b"z")], done).unwrap();
        is_held.recv().unwrap();
        log.group(2).purge(position(1, 0)).unwrap();
        let (done, is_held, release_second) = holding();
        log.group(2).append([entry(1, 3, b"z")], done).unwrap();
        release_first.send(()).unwrap();
        is_held.recv().unwrap();
        // The change is queued, and the disk breaks before it is written.
        change(&log);
        log.shared.disk.faults.full.store(true, SeqCst);
        release_second.send(()).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while log.failure().is_none() {
            assert!(std::time::Instant::now() < deadline, "the {what} was written");
            std::thread::sleep(Duration::from_millis(1));
        }
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let opened = PhysicalLog::open(copy.path(), small(4096));
        let log = opened.unwrap_or_else(|error| panic!("after a lost {what}: {error}"));
        assert_eq!(log.group(1).state().last, Some(position(1, 99)), "after a lost {what}");
    }
}

/// What is only truncated away needs its segments no longer once the truncation is written.
#[test]
fn truncated_entries_let_their_segments_go() {
    let dir = tempfile::tempdir().unwrap();
    let log = PhysicalLog::open(dir.path(), small(4096)).unwrap();
    for index in 0..100 {
        append(&log.group(1), vec![entry(1, index, &[7; 100])]).unwrap();
    }
    assert!(list(dir.path()).unwrap().len() > 2);
    log.group(1).truncate_after(None).unwrap();
    vote(&log.group(1), 2).unwrap();
    vote(&log.group(1), 3).unwrap();
    assert!(list(dir.path()).unwrap().len() <= 2);
}

#[test]
fn queued_appends_share_a_sync() {
    const APPENDS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let log = PhysicalLog::open(dir.path(), LogOptions::default()).unwrap();
    let before = log.metrics();
    let (sender, receiver) = mpsc::channel();
    for index in 0..APPENDS / 8 {
        for group in 1..=8 {
            let sender = sender.clone();
            let done: Done = Box::new(move |result| sender.send(result).unwrap());
            log.group(group).append([entry(1, index, b"x")], done).unwrap();
        }
    }
    drop(sender);
    assert_eq!(receiver.iter().filter(Result::is_ok).count() as u64, APPENDS);
    let after = log.metrics();
    assert_eq!(after.records - before.records, APPENDS);
    assert!(after.syncs - before.syncs < APPENDS / 4, "{} syncs", after.syncs - before.syncs);
}

#[test]
fn a_relaxed_log_syncs_votes_and_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let interval = Duration::from_millis(20);
    let options =
        LogOptions { durability: Durability::Relaxed, relaxed_sync_interval: interval, ..LogOptions::default() };
    let log = PhysicalLog::open(dir.path(), options).unwrap();
    let group = log.group(1);
    let before = log.metrics().syncs;
    vote(&group, 1).unwrap();
    assert_eq!(log.metrics().syncs, before + 1);
    append(&group, vec![entry(1, 0, b"x")]).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while log.metrics().syncs < before + 2 && std::time::Instant::now() < deadline {
        std::thread::sleep(interval);
    }
    assert_eq!(log.metrics().syncs, before + 2);
}

#[test]
fn a_failed_sync_is_final_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = PhysicalLog::open(dir.path(), small(1 << 20)).unwrap();
    let group = log.group(1);
    append(&group, (0..20).map(|index| entry(1, index, &[1; 50])).collect()).unwrap();
    log.shared.disk.faults.sync_fails.store(true, SeqCst);
    assert!(matches!(append(&group, vec![entry(1, 20, b"lost")]), Err(LogError::Io { action: "sync", .. })));
    log.shared.disk.faults.sync_fails.store(false, SeqCst);
    let again = append(&group, vec![entry(1, 21, b"no")]);
    assert!(matches!(again, Err(LogError::Io { action: "sync", .. })), "{again:?}");
    assert!(matches!(vote(&group, 2), Err(LogError::Io { .. })));
    assert_eq!(group.read(0..20).unwrap().len(), 20);
    assert!(log.close().is_err());
}

#[test]
fn a_full_disk_is_noticed_before_it_breaks_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let log = PhysicalLog::open(dir.path(), small(64 * 1024)).unwrap();
    let group = log.group(1);
    log.shared.disk.faults.full.store(true, SeqCst);
    // The room that was reserved is still good for what is under way, as the fault only hits allocation here.
    let mut index = 0;
    let refused = loop {
        if let Err(error) = log.check_room(1000) {
            break error;
        }
        assert!(index < 60, "the end of the segment is near and nothing was refused");
        log.shared.disk.faults.full.store(false, SeqCst);
        let (done, wait) = awaited();
        group.append([entry(1, index, &[3; 1000])], done).unwrap();
        wait.recv().unwrap().unwrap();
        log.shared.disk.faults.full.store(true, SeqCst);
        log.shared.prepare_spare();
        while log.shared.spare.lock().preparing {
            std::thread::yield_now();
        }
        index += 1;
    };
    assert!(matches!(refused, LogError::DiskFull { .. }));
    assert!(index > 10);
    assert_eq!(log.failure(), None);
    log.shared.disk.faults.full.store(false, SeqCst);
    log.shared.spare.lock().failed_at = None;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while log.check_room(1000).is_err() {
        assert!(std::time::Instant::now() < deadline, "space is back, and work is still refused");
        std::thread::sleep(Duration::from_millis(5));
    }
    append(&group, vec![entry(1, index, b"goes on")]).unwrap();
}

#[test]
fn a_write_that_meets_a_full_disk_is_refused_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let log = PhysicalLog::open_on(disk, dir.path(), LogOptions::default()).unwrap();
    log.shared.disk.faults.full.store(true, SeqCst);
    assert!(matches!(append(&log.group(1), vec![entry(1, 0, b"x")]), Err(LogError::DiskFull { .. })));
    assert!(matches!(log.check_room(1), Err(LogError::DiskFull { .. })));
    assert!(matches!(crate::error::Error::from(log.failure().unwrap()), crate::error::Error::DiskFull));
}

/// Opens a copy of `dir` whose segment `sequence` holds `bytes`.
fn open_with(dir: &Path, sequence: u64, bytes: &[u8]) -> Result<BTreeMap<u64, u64>> {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir, copy.path());
    std::fs::write(copy.path().join(file_name(sequence)), bytes).unwrap();
    let log = PhysicalLog::open(copy.path(), small(4096))?;
    let mut found = BTreeMap::new();
    for id in log.groups() {
        let group = log.group(id);
        let entries = group.read(0..u64::MAX)?;
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(entry.position.index, index as u64);
            assert_eq!(entry.payload, payload(id, index as u64), "garbage was read");
        }
        found.insert(id, entries.len() as u64);
    }
    Ok(found)
}

fn payload(group: u64, index: u64) -> Bytes {
    Bytes::from(format!("payload of {group} {index} {}", "z".repeat((index % 7) as usize)))
}

/// Three frames in one segment, none closed: as a crash leaves it. Returns where the frames end.
fn crashed_log(dir: &Path) -> Vec<(u64, u64)> {
    let source = tempfile::tempdir().unwrap();
    let log = PhysicalLog::open(source.path(), small(1 << 16)).unwrap();
    let mut ends = Vec::new();
    for round in 0..4_u64 {
        for id in [1, 2] {
            let entries: Vec<_> = (round * 3..round * 3 + 3)
                .map(|index| LogEntry { position: position(1, index), kind: 1, payload: payload(id, index) })
                .collect();
            append(&log.group(id), entries).unwrap();
            let acknowledged = if id == 2 { round * 3 + 3 } else { round * 3 };
            ends.push((log.metrics().bytes + 32, acknowledged));
        }
    }
    copy_dir(source.path(), dir);
    ends
}

#[test]
fn a_crash_at_any_byte_of_the_tail_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let ends = crashed_log(dir.path());
    let sequence = *list(dir.path()).unwrap().last().unwrap();
    let whole = std::fs::read(dir.path().join(file_name(sequence))).unwrap();
    let used = ends.last().unwrap().0 as usize;
    // The last frame is cut, zeroed or scrambled from any byte on; all before it was acknowledged.
    let last_frame = ends[ends.len() - 2].0 as usize;
    for cut in last_frame..=used {
        let expected = if cut == used { 12 } else { 9 };
        for (how, fill) in [("zeros", 0_u8), ("noise", 0xA5)] {
            let mut bytes = whole.clone();
            bytes[cut..used].fill(fill);
            let found = open_with(dir.path(), sequence, &bytes).unwrap_or_else(|error| panic!("{how} {cut}: {error}"));
            assert_eq!((found[&1], found[&2]), (12, expected), "{how} from {cut}");
        }
        let found = open_with(dir.path(), sequence, &whole[..cut]).unwrap();
        assert_eq!((found[&1], found[&2]), (12, expected), "cut at {cut}");
    }
}

#[test]
fn damage_before_the_last_frame_is_reported_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let ends = crashed_log(dir.path());
    let sequence = *list(dir.path()).unwrap().last().unwrap();
    let whole = std::fs::read(dir.path().join(file_name(sequence))).unwrap();
    let last_frame = ends[ends.len() - 2].0 as usize;
    for at in 32..last_frame {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        match open_with(dir.path(), sequence, &bytes) {
            Err(LogError::Corruption { path, offset, .. }) => {
                assert!(path.ends_with(file_name(sequence)));
                assert!(offset <= at as u64);
            }
            other => panic!("damage at {at} gave {other:?}"),
        }
    }
}

#[test]
fn damage_after_an_orderly_end_is_never_taken_for_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = PhysicalLog::open(dir.path(), small(1 << 16)).unwrap();
        for index in 0..3 {
            append(&log.group(1), vec![LogEntry { position: position(1, index), kind: 1, payload: payload(1, index) }])
                .unwrap();
        }
        log.close().unwrap();
    }
    let sequence = *list(dir.path()).unwrap().last().unwrap();
    let whole = std::fs::read(dir.path().join(file_name(sequence))).unwrap();
    for at in 0..whole.len() - 24 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let result = open_with(dir.path(), sequence, &bytes);
        assert!(matches!(result, Err(LogError::Corruption { .. })), "damage at {at} gave {result:?}");
    }
    assert_eq!(open_with(dir.path(), sequence, &whole).unwrap()[&1], 3);
}

#[test]
fn missing_segments_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    {
        let log = PhysicalLog::open(dir.path(), small(2048)).unwrap();
        for index in 0..60 {
            append(&log.group(1), vec![entry(1, index, &[1; 100])]).unwrap();
        }
    }
    let sequences = list(dir.path()).unwrap();
    assert!(sequences.len() > 3);
    for missing in [sequences[0], sequences[1]] {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        std::fs::remove_file(copy.path().join(file_name(missing))).unwrap();
        let result = PhysicalLog::open(copy.path(), small(2048)).map(|_| ());
        assert!(matches!(result, Err(LogError::Corruption { .. })), "{result:?}");
    }
}

#[test]
fn a_directory_that_is_no_directory_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, b"").unwrap();
    let result = PhysicalLog::open(&path, LogOptions::default()).map(|_| ());
    assert!(matches!(result, Err(LogError::Io { path: found, .. }) if found == path));
}

#[derive(Clone, Debug)]
enum Step {
    Append { group: u64, count: u64, bytes: usize },
    Truncate { group: u64, back: u64 },
    Purge { group: u64, keep: u64 },
    PurgeBeyond { group: u64, by: u64 },
    Vote { group: u64 },
    Remove { group: u64 },
    Reopen { orderly: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = 1..4_u64;
    let step = prop_oneof![
        8 => (group.clone(), 1..6_u64, 0..200_usize)
            .prop_map(|(group, count, bytes)| Step::Append { group, count, bytes }),
        2 => (group.clone(), 0..5_u64).prop_map(|(group, back)| Step::Truncate { group, back }),
        2 => (group.clone(), 0..5_u64).prop_map(|(group, keep)| Step::Purge { group, keep }),
        1 => (group.clone(), 1..5_u64).prop_map(|(group, by)| Step::PurgeBeyond { group, by }),
        2 => group.clone().prop_map(|group| Step::Vote { group }),
        1 => group.prop_map(|group| Step::Remove { group }),
        1 => any::<bool>().prop_map(|orderly| Step::Reopen { orderly }),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    term: u64,
    entries: BTreeMap<u64, LogEntry>,
    purged: Option<LogPosition>,
    vote: Option<u64>,
}

impl Model {
    fn next(&self) -> u64 {
        let after_purge = self.purged.map_or(0, |purged| purged.index + 1);
        self.entries.last_key_value().map_or(after_purge, |(index, _)| index + 1)
    }
}

fn compare(log: &PhysicalLog, models: &BTreeMap<u64, Model>) {
    for (id, model) in models {
        let group = log.group(*id);
        let state = group.state();
        assert_eq!(state.vote.map(|vote| vote.term), model.vote);
        assert_eq!(state.purged, model.purged);
        let last = model.entries.last_key_value().map(|(_, entry)| entry.position).or(model.purged);
        assert_eq!(state.last, last);
        assert_eq!(group.read(0..u64::MAX).unwrap(), model.entries.values().cloned().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_log_behaves_as_a_map(steps in steps()) {
        let mut dir = tempfile::tempdir().unwrap();
        let options = LogOptions { durability: Durability::Relaxed, ..small(2048) };
        let mut log = PhysicalLog::open(dir.path(), options.clone()).unwrap();
        let mut models: BTreeMap<u64, Model> = (1..4).map(|id| (id, Model::default())).collect();
        for step in steps {
            match step {
                Step::Append { group, count, bytes } => {
                    let model = models.get_mut(&group).unwrap();
                    let next = model.next();
                    let entries: Vec<_> = (next..next + count)
                        .map(|index| entry(model.term, index, &vec![index as u8; bytes]))
                        .collect();
                    model.entries.extend(entries.iter().map(|entry| (entry.position.index, entry.clone())));
                    append(&log.group(group), entries).unwrap();
                }
                Step::Truncate { group, back } => {
                    let model = models.get_mut(&group).unwrap();
                    let keep = model.entries.len().saturating_sub(back as usize);
                    let last = model.entries.values().take(keep).last().map(|entry| entry.position).or(model.purged);
                    model.entries.retain(|index, _| last.is_some_and(|last| *index <= last.index));
                    model.term += 1;
                    log.group(group).truncate_after(last).unwrap();
                }
                Step::Purge { group, keep } => {
                    let model = models.get_mut(&group).unwrap();
                    let count = model.entries.len().saturating_sub(keep as usize);
                    if let Some(upto) = model.entries.values().take(count).last().map(|entry| entry.position) {
                        model.entries.retain(|index, _| *index > upto.index);
                        model.purged = Some(upto);
                        log.group(group).purge(upto).unwrap();
                    }
                }
                Step::PurgeBeyond { group, by } => {
                    let model = models.get_mut(&group).unwrap();
                    model.term += 1;
                    let upto = position(model.term, model.next() + by);
                    model.entries.clear();
                    model.purged = Some(upto);
                    log.group(group).purge(upto).unwrap();
                }
                Step::Vote { group } => {
                    let model = models.get_mut(&group).unwrap();
                    model.vote = Some(model.term);
                    vote(&log.group(group), model.term).unwrap();
                }
                Step::Remove { group } => {
                    models.insert(group, Model::default());
                    log.remove_group(group).unwrap();
                }
                Step::Reopen { orderly } => {
                    // Everything queued is with the operating system once a later vote is acknowledged.
                    let model = models.get_mut(&1).unwrap();
                    model.vote = Some(model.term);
                    vote(&log.group(1), model.term).unwrap();
                    if orderly {
                        log.close().unwrap();
                    } else {
                        let copy = tempfile::tempdir().unwrap();
                        copy_dir(dir.path(), copy.path());
                        drop(log);
                        dir = copy;
                    }
                    log = PhysicalLog::open(dir.path(), options.clone()).unwrap();
                }
            }
            compare(&log, &models);
        }
    }
}
