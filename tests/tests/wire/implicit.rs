//! What a string of statements or a pipeline does is one transaction, its settings included.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, bind, execute, parse, query, sync};

fn piped(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", "", &[]), execute("", 0)].concat()
}

pub fn implicit(server: &Server) {
    let mut frames = Frames::connect(server);
    let name = |frames: &mut Frames| frames.values(&query("SHOW application_name")).concat();
    // Told, or not: what the client believes at the end is what is.
    let mut believed = String::new();
    let mut run = |frames: &mut Frames, bytes: &[u8], expected: &str| {
        frames.send(bytes);
        let messages = frames.until_ready();
        for message in messages.iter().filter(|m| m.kind == 'S') {
            if let Some(value) = message.body.strip_prefix(b"application_name\0") {
                believed = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
            }
        }
        let kinds: String = messages.iter().map(|m| m.kind).filter(|k| !matches!(k, 'S' | 'N' | 'T' | 'D')).collect();
        assert_eq!(kinds, expected);
        assert_eq!(name(frames), believed);
        believed.clone()
    };
    let set = "SET application_name = 'a'";
    assert_eq!(run(&mut frames, &query(&format!("{set}; SELECT 1/0")), "CEZ"), "");
    assert_eq!(run(&mut frames, &query(&format!("{set}; SELECT nothing")), "CEZ"), "");
    assert_eq!(run(&mut frames, &query(&format!("{set}; BEGIN; ROLLBACK")), "CCCZ"), "");
    let failing = [piped(set), parse("", "SELECT nothing"), sync()].concat();
    assert_eq!(run(&mut frames, &failing, "12CEZ"), "");
    let failing = query("SELECT set_config('application_name', 'b', false); SELECT 1/0");
    assert_eq!(run(&mut frames, &failing, "CEZ"), "");
    assert_eq!(run(&mut frames, &query(&format!("{set}; BEGIN; COMMIT")), "CCCZ"), "a");
    for read_only in ["SET transaction_read_only = on", "SET TRANSACTION READ ONLY"] {
        assert_eq!(frames.kinds(&query(&format!("{read_only}; CREATE TABLE refused (a int)"))), "CE(25006)ZI");
    }
    assert_eq!(run(&mut frames, &query("RESET application_name; SELECT 1/0"), "CEZ"), "a");
    assert_eq!(run(&mut frames, &[piped("SET application_name = 'b'"), sync()].concat(), "12CZ"), "b");
    assert_eq!(run(&mut frames, &query("SET application_name = 'c'; SELECT 1"), "CCZ"), "c");
    assert_eq!(run(&mut frames, &query("BEGIN; SET application_name = 'd'; COMMIT"), "CCCZ"), "d");
    assert_eq!(frames.values(&query("SELECT 1; SET LOCAL work_mem = '64kB'; SHOW work_mem")), ["1", "64kB"]);
    assert_ne!(frames.values(&query("SHOW work_mem")), ["64kB"]);

    // What needs a block, and what must not be in one.
    for (sql, kinds) in [
        ("ROLLBACK AND CHAIN", "E(25P01)ZI"),
        ("COMMIT AND CHAIN", "E(25P01)ZI"),
        ("SELECT 1; COMMIT AND CHAIN", "DCE(25P01)ZI"),
        ("SELECT 1; ROLLBACK AND CHAIN", "DCE(25P01)ZI"),
        ("VACUUM; SELECT 1", "E(25001)ZI"),
        ("SELECT 1; VACUUM", "DCE(25001)ZI"),
        ("CREATE DATABASE never; SELECT 1", "E(25001)ZI"),
        ("DISCARD ALL; SELECT 1", "E(25001)ZI"),
        ("BEGIN; VACUUM", "CE(25001)ZE"),
        ("ROLLBACK", "CZI"),
        ("UNLISTEN *", "CZI"),
        ("UNLISTEN something", "CZI"),
    ] {
        assert_eq!(frames.kinds(&query(sql)).replace('T', ""), kinds, "{sql}");
    }
    for sql in ["VACUUM", "CREATE DATABASE never", "DISCARD ALL"] {
        assert_eq!(frames.kinds(&[piped("SELECT 1"), piped(sql), sync()].concat()), "12DC12E(25001)ZI", "{sql}");
    }
    assert_eq!(frames.kinds(&[piped("VACUUM"), sync(), piped("SELECT 1"), sync()].concat()), "12CZI");
    frames.until_ready();
    let declared = [piped("SELECT 1"), piped("DECLARE c CURSOR FOR SELECT 1"), sync()].concat();
    assert_eq!(frames.kinds(&declared), "12DC12E(25P01)ZI");

    // Names that are cut, and what has nothing to go back to.
    let long = format!("Aé{}", "b".repeat(70));
    let cut = |name: &str| format!("identifier \"{name}\" will be truncated to \"{}\"", &name[..63]);
    let folded = long.replace('A', "a");
    for (sql, expected) in [
        (format!("SELECT 1 AS {long}, 2 AS \"{long}\""), vec![("42622", cut(&folded)), ("42622", cut(&long))]),
        (format!("SELECT '{long}' AS {}", "c".repeat(63)), vec![]),
        (
            "RESET TRANSACTION ISOLATION LEVEL".to_owned(),
            vec![("25P01", "RESET TRANSACTION can only be used in transaction blocks".to_owned())],
        ),
        ("BEGIN; RESET TRANSACTION ISOLATION LEVEL; COMMIT".to_owned(), vec![]),
    ] {
        frames.send(&query(&sql));
        let said = frames.until_ready();
        let said = said.iter().filter(|m| m.kind == 'N').filter_map(|m| Some((m.field(b'C')?, m.field(b'M')?)));
        let expected: Vec<_> = expected.into_iter().map(|(code, text)| (code.to_owned(), text)).collect();
        assert_eq!(said.collect::<Vec<_>>(), expected, "{sql}");
    }
    for _ in 0..3 {
        frames.send(&[parse("", &format!("SELECT 1 AS {long}")), sync()].concat());
        assert_eq!(frames.until_ready().iter().map(|message| message.kind).collect::<String>(), "N1Z");
    }

    // Notices that the client does not want.
    let mut notices = |level: &str| -> Vec<String> {
        frames.kinds(&query(&format!("SET client_min_messages = {level}")));
        frames.send(&query("DROP TABLE IF EXISTS never; COMMIT"));
        frames.until_ready().iter().filter(|m| m.kind == 'N').filter_map(|m| m.field(b'S')).collect()
    };
    assert_eq!(notices("notice"), ["NOTICE", "WARNING"]);
    assert_eq!(notices("warning"), ["WARNING"]);
    assert_eq!(notices("error"), [""; 0]);
    assert_eq!(notices("log"), ["NOTICE", "WARNING"]);
}
