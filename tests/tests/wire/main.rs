//! The wire, byte by byte: what drivers rely on, and what only a broken or hostile client sends.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod again;
mod alike;
mod copies;
mod hostile;
mod implicit;
mod lifecycle;
mod limits;
mod login;
mod negotiation;
mod pipelines;
mod portals;
mod privileges;
mod sequences;
mod stopping;

use stratos_tests::client::Server;
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;

#[test]
fn a_node_and_its_clients() {
    let mut node = Node::start();
    let server = node.server().clone();
    let mut failed = Vec::new();
    type Part = (&'static str, fn(&Server));
    let parts: [Part; 24] = [
        ("pipelining", pipelines::pipelining),
        ("shapes", portals::shapes),
        ("portals", portals::portals),
        ("fetched", portals::fetched),
        ("again", again::again),
        ("implicit", implicit::implicit),
        ("privileges", privileges::privileges),
        ("startup", login::startup),
        ("versions", login::versions),
        ("copies", copies::copies),
        ("line_ends", copies::line_ends),
        ("headers", copies::headers),
        ("row_limits", pipelines::row_limits),
        ("answered_at_each_sync", pipelines::answered_at_each_sync),
        ("silent_until_asked", pipelines::silent_until_asked),
        ("others_temporary", privileges::others_temporary),
        ("cancel", stopping::cancel),
        ("negotiation", negotiation::with_tls),
        ("malformed", hostile::malformed),
        ("garbage", hostile::garbage),
        ("bad_text", hostile::bad_text),
        ("long_statements", stopping::long_statements),
        ("half_open", hostile::half_open),
        ("limits", limits::limits),
    ];
    for (name, part) in parts {
        // The parts are independent: what one finds should not hide what the next would.
        if std::panic::catch_unwind(|| part(&server)).is_err() {
            failed.push(name);
        }
        assert!(node.alive(), "{name} ended the node: {}", node.log());
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(stopping::timeouts(&server));
    assert_eq!(node.http("/healthz").0, "HTTP/1.1 200 OK");
    assert_eq!(node.http("/readyz").0, "HTTP/1.1 200 OK");
    assert!(node.http("/metrics").1.contains("stratos_sql_connections_total"));
    assert!(failed.is_empty(), "failed: {failed:?}");
    assert!(!node.log().contains("panicked"), "{}", node.log());
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
}

/// What the parts expect is not our opinion.
#[test]
fn postgres_agrees() {
    let postgres = Postgres::start();
    let parts: [fn(&Server); 19] = [
        pipelines::pipelining,
        portals::shapes,
        portals::portals,
        portals::fetched,
        again::again,
        implicit::implicit,
        privileges::privileges,
        login::startup,
        login::versions,
        copies::copies,
        copies::line_ends,
        copies::headers,
        pipelines::row_limits,
        pipelines::answered_at_each_sync,
        pipelines::silent_until_asked,
        privileges::others_temporary,
        stopping::cancel,
        negotiation::without_tls,
        hostile::malformed,
    ];
    for part in parts {
        part(postgres.server());
    }
    tokio::runtime::Runtime::new().unwrap().block_on(stopping::timeouts(postgres.server()));
}
