//! Joins that the node runs row by row, without a query planner: the same rows must come from its planner, and from PostgreSQL 15.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use stratos_tests::client::{Server, rows};
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;
use tokio_postgres::Client;

const TABLES: &str = "
    CREATE TABLE region (id smallint PRIMARY KEY, name char(8) UNIQUE);
    CREATE TABLE cust (id int PRIMARY KEY, name text, region int, boss int REFERENCES cust);
    CREATE INDEX cust_boss ON cust (boss);
    CREATE TABLE ord (id bigint PRIMARY KEY, cust int REFERENCES cust, day date, note varchar(9));
    CREATE INDEX ord_cust_day ON ord (cust, day DESC);
    CREATE TABLE item (ord bigint REFERENCES ord, n int, prod int, qty int, PRIMARY KEY (ord, n));
    CREATE INDEX item_prod ON item (prod);
    CREATE TABLE prod (id int PRIMARY KEY, title text UNIQUE, price numeric(8, 2), since timestamptz);
    CREATE TABLE loose (a int, b text);
    INSERT INTO region SELECT g, 'r' || g FROM generate_series(0, 5) g;
    INSERT INTO cust SELECT g, 'c' || g, g % 7, CASE WHEN g > 5 THEN g / 5 END FROM generate_series(1, 40) g;
    INSERT INTO prod SELECT g, 't' || g, g * 1.5, timestamptz '2024-01-01' + g * interval '1 day' FROM generate_series(1, 15) g;
    INSERT INTO ord SELECT g, CASE WHEN g % 7 = 0 THEN NULL ELSE g % 60 % 40 + 1 END, date '2024-01-01' + g % 30,
        CASE WHEN g % 3 = 0 THEN NULL ELSE 'n' || g % 5 END FROM generate_series(1, 150) g;
    INSERT INTO item SELECT g / 3 + 1, g % 3, CASE WHEN g % 11 = 0 THEN NULL ELSE g % 17 + 1 END, g % 9 FROM generate_series(0, 400) g
        WHERE g / 3 + 1 <= 140;
    INSERT INTO loose SELECT g, 'c' || g FROM generate_series(1, 9) g;
";

/// All orders are total.
const QUERIES: &[&str] = &[
    // To a key, from a key, from all rows.
    "SELECT * FROM ord o JOIN cust c ON c.id = o.cust WHERE o.id = 5",
    "SELECT * FROM ord o, cust c WHERE c.id = o.cust AND o.id = 5",
    "SELECT * FROM cust c JOIN ord o ON c.id = o.cust WHERE o.id = 5",
    "SELECT * FROM ord o JOIN cust c ON c.id = o.cust WHERE o.id = 7",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust WHERE c.id IN (2, 3, 39) ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust AND o.id < 20 ORDER BY o.id DESC",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust + 1 ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON o.cust = c.id AND c.id = 3 ORDER BY 1",
    "SELECT o.id, c.name FROM ord o JOIN cust c USING (id) ORDER BY 1",
    "SELECT o.id FROM ord o CROSS JOIN cust c WHERE o.cust = c.id AND c.name = 'c9' ORDER BY 1",
    // What only the rows tell.
    "SELECT o.id, c.id FROM ord o JOIN cust c ON c.id = o.cust AND c.region = o.id % 7 ORDER BY 1",
    "SELECT o.id, c.id FROM ord o JOIN cust c ON c.id = o.cust WHERE c.region = 1 OR o.note = 'n1' ORDER BY 1",
    "SELECT o.id, c.id FROM ord o JOIN cust c ON c.id = o.cust WHERE o.note IS NULL AND c.boss IS NOT NULL ORDER BY 1",
    "SELECT o.id, c.id FROM ord o JOIN cust c ON c.id = o.cust AND 1 = 2",
    "SELECT o.id, c.id FROM ord o JOIN cust c ON c.id = o.cust WHERE NULL::bool",
    "SELECT o.id, 10 / (c.id - 5) FROM ord o JOIN cust c ON c.id = o.cust WHERE o.id < 4 ORDER BY 1",
    "SELECT o.id, 10 / (c.id - 5) FROM ord o JOIN cust c ON c.id = o.cust ORDER BY 1",
    // Types that differ, and ranges.
    "SELECT i.ord, i.n, o.note FROM item i JOIN ord o ON o.id = i.ord WHERE i.ord BETWEEN 3 AND 5 ORDER BY 1, 2",
    "SELECT c.id, r.name FROM cust c JOIN region r ON r.id = c.region ORDER BY 1",
    "SELECT c.id, r.id FROM cust c JOIN region r ON r.name = ('r' || c.region)::char(8) ORDER BY 1",
    "SELECT c.id, r.id FROM cust c JOIN region r ON r.name = 'r' || c.region ORDER BY 1",
    "SELECT p.id, o.id FROM prod p JOIN ord o ON o.cust = p.id AND o.day = p.since::date ORDER BY 1, 2",
    "SELECT p.id, o.id FROM prod p JOIN ord o ON o.cust = p.id AND o.day > p.since ORDER BY 1, 2",
    "SELECT p.id, o.id FROM prod p JOIN ord o ON o.cust = p.id AND o.day BETWEEN '2024-01-03' AND p.since ORDER BY 1, 2",
    "SELECT c.id, o.id FROM cust c JOIN ord o ON o.cust IN (c.id, c.boss) WHERE c.id < 12 ORDER BY 1, 2",
    "SELECT c.id, o.id FROM cust c JOIN ord o ON o.cust = ANY (ARRAY[c.id, c.boss, 7]) WHERE c.id < 12 ORDER BY 1, 2",
    // Several tables, the same one twice.
    "SELECT c.name, p.title, o.id, i.n FROM cust c JOIN ord o ON o.cust = c.id JOIN item i ON i.ord = o.id
        JOIN prod p ON p.id = i.prod WHERE p.title = 't3' ORDER BY o.id, i.n",
    "SELECT c.name, p.title, o.id, i.n FROM cust c JOIN ord o ON o.cust = c.id JOIN item i ON i.ord = o.id
        JOIN prod p ON p.id = i.prod WHERE c.name = 'c12' AND i.qty > 2 ORDER BY o.id, i.n",
    "SELECT c.name, b.name, d.name FROM cust c JOIN cust b ON b.id = c.boss JOIN cust d ON d.id = b.boss ORDER BY c.id",
    "SELECT b.name, c.name FROM cust b JOIN cust c ON c.boss = b.id WHERE b.id = 3 ORDER BY c.id",
    "SELECT a.id, b.id FROM ord a JOIN ord b ON b.cust = a.cust AND b.day = a.day AND b.id > a.id ORDER BY 1, 2",
    // LEFT JOIN.
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust AND c.region = 1 ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust WHERE c.region = 1 ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust WHERE c.id IS NULL ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust AND o.note = 'n1' WHERE o.id < 30 ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust AND false WHERE o.id < 5 ORDER BY o.id",
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = 3 WHERE o.id < 5 ORDER BY o.id",
    "SELECT c.id, o.id FROM cust c LEFT JOIN ord o ON o.cust = c.id AND o.day > '2024-01-20' ORDER BY c.id, o.id",
    "SELECT c.id, o.id, i.n FROM cust c LEFT JOIN ord o ON o.cust = c.id LEFT JOIN item i ON i.ord = o.id AND i.qty = 4
        WHERE c.id < 15 ORDER BY 1, 2, 3",
    "SELECT c.id, o.id, i.n FROM cust c LEFT JOIN ord o ON o.cust = c.id JOIN item i ON i.ord = o.id AND i.qty = 4 ORDER BY 1, 2, 3",
    "SELECT c.id, o.id, b.name FROM cust c JOIN ord o ON o.cust = c.id LEFT JOIN cust b ON b.id = c.boss
        WHERE o.id < 40 AND coalesce(b.region, 0) <> 2 ORDER BY 1, 2",
    "SELECT c.id, b.id, o.id FROM cust c LEFT JOIN cust b ON b.id = c.boss LEFT JOIN ord o ON o.cust = b.id AND o.id < 50 ORDER BY 1, 2, 3",
    "SELECT o.id, c.name FROM cust c RIGHT JOIN ord o ON c.id = o.cust ORDER BY o.id",
    "SELECT o.id, c.id FROM cust c FULL JOIN ord o ON c.id = o.cust ORDER BY o.id, c.id",
    // Orders and limits.
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust ORDER BY o.id DESC LIMIT 5",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust WHERE c.region = 2 ORDER BY o.id LIMIT 3 OFFSET 2",
    "SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust ORDER BY o.id DESC LIMIT 5 OFFSET 143",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust ORDER BY c.name DESC, o.id LIMIT 5",
    "SELECT c.name, o.day, o.id FROM cust c JOIN ord o ON o.cust = c.id WHERE c.id = 12 ORDER BY o.day DESC, o.id LIMIT 2",
    "SELECT c.name, o.id FROM cust c JOIN ord o ON o.cust = c.id ORDER BY c.id, o.id LIMIT 7",
    "SELECT c.id, o.id FROM cust c JOIN ord o ON o.cust = c.id WHERE c.id = 12 ORDER BY c.id, o.id LIMIT 1",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust ORDER BY o.id LIMIT 0",
    "SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust ORDER BY o.id LIMIT -1",
    "SELECT o.id + c.id, upper(c.name) FROM ord o JOIN cust c ON c.id = o.cust WHERE o.id < 9 ORDER BY 1, 2",
    // Aggregates, and what else stands above a join.
    "SELECT count(*), count(c.id), sum(c.region), min(c.name), max(o.day) FROM ord o LEFT JOIN cust c ON c.id = o.cust",
    "SELECT max(o.id) FROM ord o JOIN cust c ON c.id = o.cust WHERE c.region = 2",
    "SELECT min(o.id) + 1 FROM ord o JOIN cust c ON c.id = o.cust WHERE c.id = 99",
    "SELECT count(*) FROM ord o JOIN cust c ON c.id = o.cust WHERE o.id IN (1, 2, 3)",
    "SELECT c.region, count(*) FROM ord o JOIN cust c ON c.id = o.cust GROUP BY c.region ORDER BY 1",
    "SELECT DISTINCT c.name FROM ord o JOIN cust c ON c.id = o.cust ORDER BY 1",
    "SELECT o.id FROM ord o JOIN cust c ON c.id = o.cust WHERE EXISTS (SELECT 1 FROM item i WHERE i.ord = o.id AND i.qty = 8) ORDER BY 1",
    "SELECT (SELECT count(*) FROM ord o JOIN cust c ON c.id = o.cust WHERE c.region = r.id) FROM region r ORDER BY r.id",
    "SELECT o FROM ord o JOIN cust c ON c.id = o.cust WHERE o.id = 3",
    // No index leads there.
    "SELECT l.a, c.id FROM loose l JOIN cust c ON c.name = l.b ORDER BY 1",
    "SELECT l.a, c.id FROM loose l JOIN cust c ON c.id = l.a ORDER BY 1",
    "SELECT l.a, c.id FROM cust c JOIN loose l ON c.id = l.a ORDER BY 1",
    "SELECT count(*) FROM loose l JOIN cust c ON c.id > l.a",
];

/// The same with parameters, and their values.
const WITH_PARAMETERS: &[(&str, &[i32])] = &[
    ("SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust WHERE o.id = $1::int", &[5, 7, 999]),
    ("SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust WHERE c.id = $1 ORDER BY o.id", &[5, 40, 999]),
    ("SELECT o.id, c.name FROM ord o LEFT JOIN cust c ON c.id = o.cust AND c.region = $1 ORDER BY o.id", &[0, 6]),
    ("SELECT o.id, c.name FROM ord o JOIN cust c ON c.id = o.cust ORDER BY o.id DESC LIMIT $1::int", &[0, 3, 200]),
    ("SELECT i.n, p.title FROM item i JOIN prod p ON p.id = i.prod WHERE i.ord = $1::int ORDER BY i.n", &[1, 140, 141]),
];

async fn prepare(server: &Server) -> Client {
    let client = server.connect().await;
    client.batch_execute("SET TimeZone TO 'UTC'").await.unwrap();
    client.batch_execute(TABLES).await.unwrap_or_else(|error| panic!("{}: {error:?}", server.uri()));
    client
}

/// What a transaction has written before the queries run in it.
const WRITES: &str = "
    INSERT INTO cust VALUES (41, 'c41', 2, 12), (42, 'c42', NULL, 41);
    UPDATE ord SET cust = 41 WHERE id IN (5, 9, 23);
    UPDATE ord SET cust = NULL, note = 'n1' WHERE id = 3;
    DELETE FROM item WHERE ord BETWEEN 10 AND 14;
    UPDATE prod SET title = 'none' WHERE id = 3;
    UPDATE prod SET title = 't3' WHERE id = 4;
    INSERT INTO item VALUES (5, 7, 4, 4), (12, 0, 3, 8);
";

/// The answer to a query; in a block, of which an error must not be the end.
async fn answer(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, String> {
    client.batch_execute("SAVEPOINT here").await.unwrap();
    let answer = rows(client, sql).await;
    client.batch_execute("ROLLBACK TO here").await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_agree() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let (ours, theirs) = (prepare(node.server()).await, prepare(postgres.server()).await);
    let planner = node.server().connect().await;
    planner.batch_execute("SET TimeZone TO 'UTC'; SET stratos.direct_queries = off").await.unwrap();
    let (mut wrong, mut direct) = (Vec::new(), 0);
    for writes in ["", WRITES] {
        for sql in QUERIES {
            let mut right = None;
            for (form, client) in [("right", &theirs), ("direct", &ours), ("again", &ours), ("planned", &planner)] {
                client.batch_execute(&format!("BEGIN; {writes}")).await.unwrap();
                let answer = answer(client, sql).await;
                client.batch_execute("ROLLBACK").await.unwrap();
                let right = right.get_or_insert_with(|| answer.clone());
                if answer != *right {
                    wrong.push(format!("{form}: {sql}\n  expected {right:?}\n  actual   {answer:?}"));
                }
            }
            let plan = rows(&ours, &format!("EXPLAIN {sql}")).await.unwrap_or_default().concat().join("\n");
            direct += usize::from(plan.contains("Nested Loop") && plan.contains("by key"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(direct > 100, "only {direct} joins go by key");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_agree() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let (ours, theirs) = (prepare(node.server()).await, prepare(postgres.server()).await);
    for (sql, values) in WITH_PARAMETERS {
        for value in *values {
            let right = theirs.query(*sql, &[value]).await.unwrap().len();
            let literal = sql.replace("$1", &value.to_string());
            assert_eq!(rows(&ours, &literal).await, rows(&theirs, &literal).await, "{literal}");
            for _ in 0..2 {
                assert_eq!(ours.query(*sql, &[value]).await.unwrap().len(), right, "{sql} {value}");
            }
        }
    }
}

/// What turns out to look at many rows begins anew with the planner, in the middle of a prepared statement's life.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_grows_goes_to_the_planner() {
    let node = Node::start();
    let client = node.server().connect().await;
    client
        .batch_execute("CREATE TABLE p (id int PRIMARY KEY, v int); CREATE TABLE c (id int PRIMARY KEY, p int); CREATE INDEX ON c (p)")
        .await
        .unwrap();
    let all = client.prepare("SELECT p.id, c.id FROM p JOIN c ON c.p = p.id WHERE p.v >= $1 ORDER BY 2").await.unwrap();
    let one = client.prepare("SELECT c.id FROM p JOIN c ON c.p = p.id WHERE p.id = $1 ORDER BY 1").await.unwrap();
    for count in [10, 900, 1_100, 5_000, 20_000] {
        let fill = format!(
            "INSERT INTO p SELECT i, i FROM generate_series((SELECT count(*) + 1 FROM p), {count} / 10) i;
             INSERT INTO c SELECT i, i % ({count} / 10) + 1 FROM generate_series((SELECT count(*) + 1 FROM c), {count}) i;
             UPDATE c SET p = 1 WHERE id % 2 = 0"
        );
        client.batch_execute(&fill).await.unwrap();
        let found: Vec<i32> = client.query(&all, &[&0]).await.unwrap().iter().map(|row| row.get(1)).collect();
        assert!(found.iter().copied().eq(1..=count), "{count}: {} found", found.len());
        let found = client.query(&one, &[&1]).await.unwrap().len();
        assert!(found >= count as usize / 2, "{count}: {found}");
    }
}
