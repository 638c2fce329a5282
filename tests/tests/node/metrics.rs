//! What an operator sees of a node: its metrics page, sizes, activity.

use std::time::{Duration, Instant};

use stratos_tests::node::{Node, stratos};

/// The value of a sample of `/metrics`; 0 if it is not there yet.
fn sample(node: &Node, name: &str) -> f64 {
    let (_, text) = node.http("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

fn number(node: &Node, sql: &str) -> i64 {
    node.server().sql(sql).parse().unwrap()
}

#[test]
fn what_sessions_do_is_counted() {
    let node = Node::start();
    let server = node.server();
    server.sql("CREATE TABLE t (a int PRIMARY KEY, b int)");
    let kind = |kind: &str| sample(&node, &format!("stratos_sql_statements_total{{kind=\"{kind}\"}}"));
    let names = ["select", "insert", "update", "delete", "ddl", "transaction"];
    let before = names.map(kind);
    server.sql("INSERT INTO t SELECT i, i FROM generate_series(1, 10) i");
    server.sql("UPDATE t SET b = 0 WHERE a > 4");
    server.sql("DELETE FROM t WHERE a > 9");
    server.sql("BEGIN");
    server.sql("SELECT * FROM t");
    let after = names.map(kind);
    for (name, (before, after)) in names.iter().zip(before.into_iter().zip(after)).take(4) {
        assert!(after > before, "{name}: {before}, then {after}");
    }
    assert!(kind("ddl") >= 1.0 && kind("transaction") >= 1.0);
    let of_updates = "stratos_sql_statement_duration_seconds_count{kind=\"update\"}";
    assert_eq!(sample(&node, of_updates), kind("update"));

    let failed = "stratos_sql_errors_total{class=\"22\"}";
    assert_eq!(sample(&node, failed), 0.0);
    assert!(!server.psql(&["-c", "SELECT 1 / 0"]).status.success());
    assert_eq!(sample(&node, failed), 1.0);

    let changed = |what: &str| sample(&node, &format!("stratos_sql_rows_changed_total{{kind=\"{what}\"}}"));
    assert_eq!(["inserted", "updated", "deleted"].map(changed), [10.0, 6.0, 1.0]);
    let database = |column: &str| {
        number(&node, &format!("SELECT {column} FROM pg_stat_database WHERE datname = current_database()"))
    };
    assert_eq!(["tup_inserted", "tup_updated", "tup_deleted"].map(database), [10, 6, 1]);
    assert!(database("xact_commit") >= 5 && database("xact_rollback") >= 1);
}

#[test]
fn the_node_tells_what_it_takes() {
    let node = Node::start();
    node.server().sql("CREATE TABLE t (a int)");
    let syncs = sample(&node, "stratos_log_syncs_total");
    node.server().sql("INSERT INTO t VALUES (1)");
    assert!(sample(&node, "stratos_log_syncs_total") > syncs);
    for name in [
        "stratos_log_appends_total",
        "stratos_log_written_bytes_total",
        "stratos_log_sync_duration_seconds_bucket{le=\"+Inf\"}",
        "stratos_disk_log_bytes",
        "stratos_disk_state_bytes",
        "stratos_disk_free_bytes",
        "stratos_process_resident_memory_bytes",
        "stratos_start_time_seconds",
        "stratos_uptime_seconds",
        "stratos_raft_groups",
        "stratos_store_commits_total",
    ] {
        assert!(sample(&node, name) > 0.0, "{name}");
    }
    // Every sample belongs to a family that is described.
    let (_, page) = node.http("/metrics");
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(page.contains(&format!("# TYPE {family} ")) || page.contains(&format!("# TYPE {name} ")), "{line}");
    }
}

#[test]
fn sizes_are_there_at_once_and_of_each_database() {
    let node = Node::start();
    let server = node.server();
    let database = "SELECT pg_database_size('stratos')";
    let empty = number(&node, database);
    server.sql("CREATE TABLE big (a int PRIMARY KEY, b text); CREATE INDEX ON big (b);");
    server.sql("INSERT INTO big SELECT i, 'number ' || i FROM generate_series(1, 100000) i");
    let own = number(&node, "SELECT pg_table_size('big')");
    let indexes = number(&node, "SELECT pg_indexes_size('big')");
    assert!(own > 100_000 * 16 && indexes > 100_000 * 16, "{own}, {indexes}");
    assert!(number(&node, "SELECT pg_total_relation_size('big') - pg_relation_size('big_b_idx')") >= own);
    assert!(number(&node, database) >= empty + own + indexes);
    let other = number(&node, "SELECT pg_database_size('postgres')");
    assert!(other < own, "{other} bytes in a database that is empty");
    // The templates are empty databases, for psql's \\l+ among others.
    assert_eq!(number(&node, "SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datname LIKE 'template%'"), 0);
    assert_eq!(server.sql("SELECT has_database_privilege('template1', 'CONNECT')"), "t");
    let refused = server.psql(&["-c", "SELECT pg_database_size('nowhere')"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("database \"nowhere\" does not exist"), "{refused:?}");
}

#[test]
fn who_sleeps_is_seen_to() {
    let node = Node::start();
    let server = node.server().clone();
    let sleeping = std::thread::spawn(move || server.sql("SELECT 'slept' FROM pg_sleep(3)"));
    let seen = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Timeout' AND wait_event = 'PgSleep'";
    let until = Instant::now() + Duration::from_secs(30);
    while number(&node, seen) != 1 {
        assert!(Instant::now() < until && !sleeping.is_finished(), "nobody sleeps");
    }
    assert_eq!(sleeping.join().unwrap(), "slept");
    assert_eq!(number(&node, seen), 0);
}

/// Tools for operators ask for these, and do without rows.
#[test]
fn what_tools_ask_for_is_there() {
    let node = Node::start();
    for name in ["pg_config", "pg_hba_file_rules", "pg_file_settings", "pg_backend_memory_contexts"] {
        assert_eq!(number(&node, &format!("SELECT count(*) FROM pg_catalog.{name}")), 0, "{name}");
    }
    node.server().sql("CREATE TABLE t (a int)");
    let privileges =
        "SELECT string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM information_schema.table_privileges
        WHERE table_name = 't' AND grantee = 'stratos' AND is_grantable = 'YES'";
    let all = "DELETE INSERT REFERENCES SELECT TRIGGER TRUNCATE UPDATE";
    assert_eq!(node.server().sql(privileges), all);
    assert_eq!(node.server().sql(&privileges.replace("table_privileges", "role_table_grants")), all);
}

/// Settings of a development node come by flag and by environment, and the flag wins.
#[test]
fn a_development_node_goes_by_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let command = |flags: &[&str]| {
        let mut all = vec!["dev", "--sql-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data"];
        all.push(data.to_str().unwrap());
        all.extend(flags);
        let mut command = stratos(all);
        command.env("STRATOS_CONNECTIONS_MAX", "7").env("STRATOS_ROW_CACHE_MB", "3");
        command
    };
    let node = Node::greeted(command(&[]), &data).unwrap();
    assert_eq!(node.server().sql("SHOW max_connections"), "7");
    assert_eq!(sample(&node, "stratos_sql_connections_max"), 7.0);
    assert_eq!(sample(&node, "stratos_row_cache_capacity_bytes"), (3 << 20) as f64);
    drop(node);
    let node = Node::greeted(command(&["--connections-max", "9"]), &data).unwrap();
    assert_eq!(node.server().sql("SHOW max_connections"), "9");
    drop(node);
    let refused = command(&["--connections-max", "0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("connections_max is 0"), "{refused:?}");
}
