//! Sequences across the end of a process.

use stratos_tests::node::Node;

/// Whatever became of the sequence before, a crash skips values and repeats none.
#[test]
fn a_crash_repeats_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    node.server().sql("CREATE SEQUENCE s; CREATE SEQUENCE c MAXVALUE 20 CYCLE");
    let mut last = 0;
    for increment in [1, 1000, 3, 50_000] {
        let next = |node: &Node, count: usize| -> i64 {
            let sql = format!("SELECT max(nextval('s')) FROM generate_series(1, {count})");
            node.server().sql(&sql).parse().unwrap()
        };
        assert!(next(&node, 1) > last);
        node.server().sql(&format!("ALTER SEQUENCE s INCREMENT BY {increment}"));
        let first = next(&node, 1);
        last = next(&node, 40);
        assert_eq!(last - first, 40 * increment, "no value is skipped while the node runs");
        node.kill();
        node = Node::dev(&data);
        let after = next(&node, 1);
        assert!(after > last, "{after} after {last}, by steps of {increment}");
        last = after;
    }
}

/// A clean stop skips nothing, also where ALTER SEQUENCE cut a block short, and restarts and drops leave nothing behind.
#[test]
fn a_clean_stop_skips_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    node.server().sql("CREATE SEQUENCE s; SELECT nextval('s'); ALTER SEQUENCE s INCREMENT BY 10");
    assert_eq!(node.server().sql("SELECT nextval('s')"), "11");
    node.server().sql("CREATE SEQUENCE d; SELECT nextval('d'); ALTER SEQUENCE d RESTART WITH 7; SELECT nextval('d')");
    node.server().sql("CREATE SEQUENCE gone; SELECT nextval('gone'); DROP SEQUENCE gone");
    assert!(node.stop().is_some_and(|status| status.success()));
    let node = Node::dev(&data);
    assert_eq!(node.server().sql("SELECT nextval('s'), nextval('d')"), "21|8");
}
