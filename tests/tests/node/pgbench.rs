//! pgbench as it comes: its tables, its primary keys right after its large load, its scripts in every protocol.

use std::process::{Command, Stdio};

use stratos_tests::client::Server;
use stratos_tests::node::Node;
use stratos_tests::postgres::program;

/// 300,000 accounts: far more than one entry of the log holds, so that locks of the load are still being resolved when the
/// keys are asked for.
const SCALE: &str = "3";
const CLIENTS: u32 = 4;
const TRANSACTIONS: u32 = 50;

fn pgbench(server: &Server, arguments: &[&str]) -> String {
    let mut command = Command::new(program("pgbench"));
    command.args(arguments).arg(server.uri()).stdin(Stdio::null());
    let output = command.output().expect("pgbench is installed: run scripts/setup.sh test");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "pgbench {arguments:?}\n{out}{err}");
    out.into_owned()
}

#[test]
fn pgbench_runs_unchanged() {
    let mut node = Node::start();
    let server = node.server().clone();
    // Twice: the second time there are tables to drop.
    pgbench(&server, &["-i", "-q", "-s", SCALE]);
    pgbench(&server, &["-i", "-q", "-s", SCALE]);
    let (clients, transactions) = (CLIENTS.to_string(), TRANSACTIONS.to_string());
    let mut ran = 0;
    for protocol in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "simple-update", "select-only"] {
            let load = ["-n", "-M", protocol, "-b", script, "-c", &clients, "-t", &transactions];
            let told = pgbench(&server, &load);
            let all = CLIENTS * TRANSACTIONS;
            assert!(told.contains(&format!("actually processed: {all}/{all}")), "{protocol} {script}\n{told}");
            ran += if script == "select-only" { 0 } else { all };
        }
    }
    // Every change left its trace, once.
    assert_eq!(server.sql("SELECT count(*) FROM pgbench_history"), ran.to_string());
    let agree = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)";
    assert_eq!(server.sql(agree), "t");
    assert!(node.stop().is_some_and(|status| status.success()));
}
