//! What one session may have at a time. PostgreSQL has memory for limits.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, query};

/// More prepared statements, advisory locks of a transaction, and made-up settings than a session may have.
pub fn limits(server: &Server) {
    let mut frames = Frames::connect(server);
    let prepare: String = (0..=10_000).map(|n| format!("PREPARE p{n} AS SELECT 1;")).collect();
    let kinds = frames.kinds(&query(&prepare));
    assert!(kinds.ends_with("CE(53400)ZI"), "{}", &kinds[kinds.len() - 40..]);
    // Those that were prepared before stay, and the session goes on.
    assert_eq!(frames.kinds(&query("EXECUTE p9999")), "TDCZI");
    assert_eq!(frames.kinds(&query("EXECUTE p10000")), "E(26000)ZI");

    let ask = "SELECT count(pg_advisory_xact_lock(7)) FROM generate_series(1, 1100000)";
    assert_eq!(frames.kinds(&query(ask)).replace('T', ""), "E(53200)ZI");
    assert_eq!(frames.values(&query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")), ["0"]);

    let local = "SELECT count(set_config('made.up_' || g, repeat('x', 1000), true)) FROM generate_series(1, 1000) g";
    assert_eq!(frames.kinds(&query(local)).replace('T', ""), "E(53400)ZI");
    assert_eq!(frames.kinds(&query("SELECT 1")), "TDCZI");
}
