//! Rows that are wide where joins repeat them or functions make them: more than a column of a batch can tell, in the usual
//! number of rows.

use stratos_tests::client::rows;
use stratos_tests::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_wide_rows() {
    let node = Node::start();
    let client = node.server().connect().await;
    let tables = "CREATE TABLE docs (id int PRIMARY KEY, body text);
        CREATE TABLE events (id int PRIMARY KEY, doc int);
        INSERT INTO docs SELECT g, repeat('x', 1000000) FROM generate_series(1, 2) g;
        INSERT INTO events SELECT g, 1 + g % 2 FROM generate_series(1, 5000) g";
    client.batch_execute(tables).await.unwrap();
    for (query, expected) in [
        ("SELECT count(*), sum(length(d.body)) FROM events e JOIN docs d ON d.id = e.doc", "5000|5000000000"),
        (
            "SELECT count(*) FROM (SELECT body || g AS x FROM docs, generate_series(1, 1500) g) q WHERE length(x) > 5",
            "3000",
        ),
        ("SELECT sum(length(repeat('x', g))) FROM generate_series(2000001, 2001200) g", "2400720600"),
    ] {
        let expected = expected.split('|').map(str::to_owned).collect();
        assert_eq!(rows(&client, query).await, Ok(vec![expected]), "{query}\n{}", node.log());
    }
}
