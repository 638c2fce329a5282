//! What one session may have at a time. PostgreSQL has memory for limits.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, query};

/// More prepared statements, advisory locks of a transaction, and made-up settings than a session may have.
pub fn limits(server: &Server) {
    let mut frames = Frames::connect(server);
    for thousand in 0..10 {
        let prepare: String = (0..1_000).map(|n| format!("PREPARE p{} AS SELECT 1;", 1_000 * thousand + n)).collect();
        assert_eq!(frames.kinds(&query(&prepare)), format!("{}ZI", "C".repeat(1_000)));
    }
    assert_eq!(frames.kinds(&query("PREPARE p10000 AS SELECT 1")), "E(53400)ZI");
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
