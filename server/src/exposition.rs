//! What the node's parts count themselves, in the text format of Prometheus.

use std::fmt::{Display, Write};
use std::path::Path;

use stratos_query::counters::StatementKind;
use stratos_query::engine::Engine;
use stratos_replication::HistogramSnapshot;
use stratos_replication::directory::disk_use;
use stratos_replication::histogram::BUCKETS_MICROS;

/// Microseconds of a second.
const SECOND_MICROS: f64 = 1e6;

/// The page as it grows. Writing to a text does not fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn describe(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.describe(name, "counter", help);
        self.sample(name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.describe(name, "gauge", help);
        self.sample(name, "", value);
    }

    /// The samples of a histogram; `labels` is empty or `name="value"`.
    fn durations(&mut self, name: &str, labels: &str, seen: &HistogramSnapshot) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let ends = BUCKETS_MICROS.iter().map(|micros| (*micros as f64 / SECOND_MICROS).to_string());
        for (end, in_bucket) in ends.chain(["+Inf".to_owned()]).zip(seen.buckets) {
            count += in_bucket;
            self.sample(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"{end}\""), count);
        }
        self.sample(&format!("{name}_sum"), labels, seen.sum_micros as f64 / SECOND_MICROS);
        self.sample(&format!("{name}_count"), labels, count);
    }
}

/// What a running node has counted, and what it takes. Looks at the files in its directory.
pub fn page(engine: &Engine, data_dir: &Path) -> String {
    let mut page = Page::default();
    statements(&mut page, engine);
    store(&mut page, engine);
    disk(&mut page, engine, data_dir);
    process(&mut page, engine);
    page.0
}

fn statements(page: &mut Page, engine: &Engine) {
    let counters = engine.counters();
    let seen = StatementKind::ALL.map(|kind| (format!("kind=\"{}\"", kind.name()), counters.statements(kind)));
    page.describe("stratos_sql_statements_total", "counter", "Statements that have ended, failed ones included.");
    for (kind, seen) in &seen {
        page.sample("stratos_sql_statements_total", kind, seen.count());
    }
    let name = "stratos_sql_statement_duration_seconds";
    page.describe(name, "histogram", "From the start of a statement until its client was told of its end.");
    for (kind, seen) in &seen {
        page.durations(name, kind, seen);
    }
    let activity = counters.total();
    page.describe(
        "stratos_sql_transactions_total",
        "counter",
        "Transactions that ended, single statements among them.",
    );
    page.sample("stratos_sql_transactions_total", "outcome=\"committed\"", activity.commits);
    page.sample("stratos_sql_transactions_total", "outcome=\"rolled_back\"", activity.rollbacks);
    let rows = "stratos_sql_rows_changed_total";
    page.describe(rows, "counter", "Rows that statements changed, whether or not their transactions committed.");
    page.sample(rows, "kind=\"inserted\"", activity.inserted);
    page.sample(rows, "kind=\"updated\"", activity.updated);
    page.sample(rows, "kind=\"deleted\"", activity.deleted);
    let (bytes, files) = engine.spilled();
    page.gauge("stratos_sql_spill_bytes", "What running queries keep on the disk.", bytes);
    page.gauge("stratos_sql_spill_files", "Files in which they keep it.", files);
}

fn store(page: &mut Page, engine: &Engine) {
    let store = engine.store().metrics_snapshot();
    page.counter("stratos_store_commits_total", "Transactions with writes that committed in the store.", store.commits);
    page.counter("stratos_store_conflicts_total", "Commits refused because of a conflict.", store.conflicts);
    page.gauge("stratos_store_open_commits", "Commits on their way.", store.open_commits);
    page.gauge("stratos_store_locks", "Locks of rows and tables that are held.", store.row_locks);
    page.counter("stratos_store_lock_waits_total", "Requests for a lock that had to wait.", store.row_lock_waits);
    page.counter("stratos_store_deadlocks_total", "Deadlocks that were broken.", store.deadlocks);
    let age = store.oldest_snapshot_age_micros as f64 / SECOND_MICROS;
    page.gauge("stratos_store_oldest_snapshot_age_seconds", "Age of the oldest snapshot in use.", age);
    let groups = engine.store().shards().iter().filter(|shard| shard.leader.is_some()).count();
    page.gauge("stratos_raft_groups", "Consensus groups of this node that have a leader.", groups);
    let Some(log) = engine.store().log_metrics() else { return };
    page.counter("stratos_log_appends_total", "Batches written to the log.", log.batches);
    page.counter("stratos_log_records_total", "Records in them.", log.records);
    page.counter("stratos_log_written_bytes_total", "Bytes of them.", log.bytes);
    page.counter("stratos_log_syncs_total", "Syncs of the log to the disk.", log.syncs);
    page.gauge("stratos_log_segments", "Segments of the log on the disk.", log.segments);
    let name = "stratos_log_sync_duration_seconds";
    page.describe(name, "histogram", "How long a sync of the log took.");
    page.durations(name, "", &log.sync_times);
}

fn disk(page: &mut Page, engine: &Engine, data_dir: &Path) {
    let used = disk_use(data_dir);
    page.gauge("stratos_disk_log_bytes", "Files of the log, prepared ones included.", used.log_bytes);
    page.gauge("stratos_disk_state_bytes", "Files of the state, after compression.", used.state_bytes);
    if let Some(free) = used.free_bytes {
        page.gauge("stratos_disk_free_bytes", "What is free on the disk of the data directory.", free);
    }
    let limit = engine.options().spill_bytes_max;
    page.gauge("stratos_sql_spill_limit_bytes", "Most that running queries may keep on the disk.", limit);
}

fn process(page: &mut Page, engine: &Engine) {
    let started = engine.started_micros() as f64 / SECOND_MICROS;
    page.gauge("stratos_start_time_seconds", "When the node started, in Unix time.", started);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    page.gauge("stratos_uptime_seconds", "For how long it has run.", (now - started).max(0.0));
    if let Some(bytes) = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        page.gauge("stratos_process_resident_memory_bytes", "Memory that the process takes.", bytes);
    }
    page.gauge("stratos_sql_connections_max", "Sessions that may be open at once.", engine.options().connections_max);
}

/// The resident memory in the system's description of a process.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stratos_replication::Histogram;

    use super::*;

    #[test]
    fn buckets_of_a_histogram_add_up() {
        let histogram = Histogram::default();
        for millis in [1, 2, 90_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        page.durations("x_seconds", "kind=\"a\"", &histogram.snapshot());
        let text = page.0;
        for line in [
            "x_seconds_bucket{kind=\"a\",le=\"0.0005\"} 0",
            "x_seconds_bucket{kind=\"a\",le=\"0.001\"} 1",
            "x_seconds_bucket{kind=\"a\",le=\"60\"} 2",
            "x_seconds_bucket{kind=\"a\",le=\"+Inf\"} 3",
            "x_seconds_sum{kind=\"a\"} 90.003",
            "x_seconds_count{kind=\"a\"} 3",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn resident_memory_is_found() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1234 << 10));
        assert_eq!(resident_bytes("VmRSS: much"), None);
    }
}
