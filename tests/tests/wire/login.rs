//! The startup message, and what somebody learns who is not let in.

use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::frames::{Frames, Message, frame, packet, query};
use stratos_tests::node::{Node, stratos};

/// Settings of the startup message are those of SET, and what RESET returns to.
pub fn startup(server: &Server) {
    let error = |said: &[Message]| said.iter().find(|m| m.kind == 'E').and_then(|m| m.field(b'C'));
    let show = |parameters: &[(&str, &str)], name: &str| {
        let (mut frames, said) = Frames::start(server, parameters);
        assert_eq!(error(&said), None, "{parameters:?}");
        let before = frames.values(&query(&format!("SHOW {name}")));
        frames.kinds(&query(&format!("SET {name} = DEFAULT")));
        assert_eq!(frames.values(&query(&format!("SHOW {name}"))), before, "{parameters:?}");
        before.concat()
    };
    assert_eq!(show(&[("options", "-c my.guc=5")], "my.guc"), "5");
    assert_eq!(show(&[("my.guc", "6")], "my.guc"), "6");
    assert_eq!(show(&[("options", "-c TimeZone=UTC"), ("TimeZone", "Asia/Tokyo")], "TimeZone"), "Asia/Tokyo");
    assert_eq!(show(&[("TimeZone", "Asia/Tokyo"), ("options", "-c TimeZone=UTC")], "TimeZone"), "Asia/Tokyo");
    assert_eq!(show(&[("options", "--statement-timeout=5s")], "statement_timeout"), "5s");
    for no in ["no", "off", "false", "0"] {
        assert_eq!(show(&[("replication", no), ("application_name", "x")], "application_name"), "x");
    }
    for (major, minor) in [(2, 0), (4, 0), (1, 7)] {
        let mut frames = Frames::raw(server);
        frames.send(&packet(major << 16 | minor, b"user\0stratos\0\0"));
        let said = String::from_utf8_lossy(&frames.until_closed()).into_owned();
        let expected = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
        assert!(said.contains(&expected), "{said:?}");
    }
    for (parameter, value, state) in [
        ("is_superuser", "on", "55P02"),
        ("options", "-c is_superuser=on", "55P02"),
        ("nonsense", "1", "42704"),
        ("options", "--nonsense=1", "42704"),
        ("options", "--nonsense", "42601"),
        ("options", "-c nonsense", "42601"),
        ("options", "nonsense", "42601"),
        ("statement_timeout", "soon", "22023"),
        ("replication", "perhaps", "22023"),
    ] {
        let (_, said) = Frames::start(server, &[(parameter, value)]);
        assert_eq!(error(&said).as_deref(), Some(state), "{parameter}={value}: {said:?}");
    }
}

/// A client that asks for a newer version or for options of the protocol is told what is spoken here.
pub fn versions(server: &Server) {
    for (version, options, expected) in [
        (3 << 16 | 2, "", &[0, 3, 0, 0, 0, 0, 0, 0][..]),
        (3 << 16 | 2, "_pq_.bar\0y\0_pq_.foo\0x\0", b"\0\x03\0\0\0\0\0\x02_pq_.bar\0_pq_.foo\0"),
        (3 << 16, "_pq_.foo\0x\0", b"\0\x03\0\0\0\0\0\x01_pq_.foo\0"),
    ] {
        let mut frames = Frames::raw(server);
        let body = format!("user\0{}\0database\0{}\0{options}\0", server.user, server.database);
        frames.send(&packet(version, body.as_bytes()));
        let negotiation = frames.message().unwrap();
        assert_eq!((negotiation.kind, &negotiation.body[..]), ('v', expected));
        assert!(frames.until_ready().iter().all(|message| message.kind != 'E'));
    }
}

/// Somebody without a password learns nothing of the roles, and takes no memory.
#[test]
fn strangers() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    node.server().sql("CREATE ROLE known LOGIN PASSWORD 'secret'; CREATE ROLE bare LOGIN");
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
    let start = || {
        let config = dir.path().join("node.toml");
        let text = format!("data_dir = {data:?}\nsql_addr = \"127.0.0.1:0\"\nhttp_addr = \"127.0.0.1:0\"\n");
        std::fs::write(&config, text).unwrap();
        Node::greeted(stratos(["start", "--config", config.to_str().unwrap()]), &data).unwrap()
    };
    let mut node = start();
    let salts = |server: &Server| ["known", "bare", "nobody", "nobody2"].map(|user| salt(server, user));
    let first = salts(node.server());
    assert_eq!(salts(node.server()), first);
    assert!(first.iter().enumerate().all(|(at, salt)| !first[..at].contains(salt)), "{first:?}");
    assert!(first.iter().all(|salt| salt.len() == first[0].len()), "{first:?}");

    // A length beyond what a password needs is refused before its bytes are waited for.
    let mut frames = asked(node.server(), "known");
    let mut head = vec![b'p'];
    head.extend((1_i32 << 20).to_be_bytes());
    frames.send(&head);
    let said = frames.until_closed();
    assert!(said.is_empty() || said[0] == b'E', "{said:?}");

    // The same after a restart.
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
    let node = start();
    assert_eq!(salts(node.server()), first);
}

/// A connection that was asked for a password.
fn asked(server: &Server, user: &str) -> Frames {
    let mut frames = Frames::raw(server);
    frames.send(&packet(3 << 16, format!("user\0{user}\0database\0stratos\0\0").as_bytes()));
    assert_eq!(frames.message().unwrap().kind, 'R');
    frames
}

/// The salt that a client is told.
fn salt(server: &Server, user: &str) -> String {
    let mut frames = asked(server, user);
    let first = b"n,,n=,r=abcdefghijkl";
    let mut body = b"SCRAM-SHA-256\0".to_vec();
    body.extend(i32::try_from(first.len()).unwrap().to_be_bytes());
    body.extend(first);
    frames.send(&frame(b'p', &body));
    let said = frames.message().unwrap().body;
    let said = String::from_utf8_lossy(&said[4..]).into_owned();
    said.split(',').find_map(|part| part.strip_prefix("s=")).unwrap().to_owned()
}

#[test]
fn passwords() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // The first password is set on a node that trusts loopback.
    let mut node = Node::dev(&data);
    node.server().sql("ALTER ROLE stratos PASSWORD 'correct horse'");
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));

    let config = dir.path().join("node.toml");
    let text = format!("data_dir = {data:?}\nsql_addr = \"127.0.0.1:0\"\nhttp_addr = \"127.0.0.1:0\"\n");
    std::fs::write(&config, text).unwrap();
    let node = Node::greeted(stratos(["start", "--config", config.to_str().unwrap()]), &data).unwrap();
    let with = |password: Option<&str>| Server { password: password.map(str::to_owned), ..node.server().clone() };
    assert_eq!(with(Some("correct horse")).sql("SELECT 1"), "1");
    for wrong in [Some("wrong"), Some(""), None] {
        let output = with(wrong).psql(&["-wc", "SELECT 1"]);
        assert!(!output.status.success(), "{wrong:?}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        rows(&with(Some("correct horse")).connect().await, "SELECT 1").await.unwrap();
        let error = with(Some("wrong")).try_connect().await.unwrap_err();
        assert_eq!(sqlstate(&error), "28P01");
        // Whether a role exists cannot be told from the answer.
        let nobody = Server { user: "nobody".into(), ..with(Some("wrong")) };
        assert_eq!(sqlstate(&nobody.try_connect().await.unwrap_err()), "28P01");
    });
    assert_eq!(with(Some("correct horse")).sql("SELECT 1"), "1");
}
