//! COPY from the client: which rows are taken, and where errors say that they are.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, frame, query};

/// Sends data behind a COPY; tells the rows that it took, or SQLSTATE, message, context and position of its error.
fn copy(frames: &mut Frames, sql: &str, data: &[u8]) -> String {
    copy_in_pieces(frames, sql, data, data.len().max(1))
}

/// The same with so many bytes of the data in each message.
fn copy_in_pieces(frames: &mut Frames, sql: &str, data: &[u8], bytes: usize) -> String {
    frames.send(&query(sql));
    let mut said = String::new();
    while let Some(message) = frames.message() {
        match message.kind {
            'G' => {
                let pieces: Vec<u8> = data.chunks(bytes).flat_map(|piece| frame(b'd', piece)).collect();
                frames.send(&[pieces, frame(b'c', b"")].concat());
            }
            'C' => said += &String::from_utf8_lossy(message.body.strip_suffix(b"\0").unwrap_or_default()),
            'E' => {
                let fields = [b'C', b'M', b'W', b'P'].map(|code| message.field(code).unwrap_or_default());
                said += fields.join("|").trim_end_matches('|');
            }
            'Z' => break,
            _ => {}
        }
    }
    said
}

pub fn copies(server: &Server) {
    let mut frames = Frames::connect(server);
    let create = "DROP TABLE IF EXISTS ct; \
                  CREATE TABLE ct (a int NOT NULL, b text DEFAULT 'none', c int CHECK (c < 100)); \
                  DROP TABLE IF EXISTS c0; CREATE TABLE c0 ()";
    assert!(frames.kinds(&query(create)).ends_with("CCCCZI"));
    let long = "x".repeat(120);
    let shown = "x".repeat(98);
    for (sql, data, expected) in [
        ("COPY ct FROM STDIN WHERE a > 1 AND b <> 'two'", "1\tone\t1\n2\ttwo\t2\n3\tthree\t3\n4\t\\N\t4\n", "COPY 1"),
        ("COPY ct (a) FROM STDIN (FORMAT csv) WHERE b = 'none' AND a % 2 = 0", "5\n6\n7\n8\n", "COPY 2"),
        // What is not taken is not checked.
        ("COPY ct FROM STDIN WHERE a IS NOT NULL AND c < 100", "\\N\tx\t1\n9\tx\t100\n10\tx\t\\N\n", "COPY 0"),
        ("COPY ct FROM STDIN WHERE a > (SELECT 1)", "", "0A000|cannot use subquery in COPY FROM WHERE condition||30"),
        (
            "COPY ct FROM STDIN WHERE max(a) > 1",
            "",
            "42803|aggregate functions are not allowed in COPY FROM WHERE conditions||26",
        ),
        (
            "COPY ct FROM STDIN WHERE row_number() OVER () > 1",
            "",
            "42P20|window functions are not allowed in COPY FROM WHERE conditions||26",
        ),
        (
            "COPY ct FROM STDIN WHERE generate_series(1, a) > 1",
            "",
            "0A000|set-returning functions are not allowed in COPY FROM WHERE conditions||26",
        ),
        (
            "COPY ct FROM STDIN (FORMAT csv, FORCE_NULL a)",
            "",
            "22023|argument to option \"force_null\" must be a list of column names||33",
        ),
        (
            "COPY ct FROM STDIN (FORMAT csv, FORCE_NOT_NULL *)",
            "",
            "22023|argument to option \"force_not_null\" must be a list of column names||33",
        ),
        ("COPY c0 FROM STDIN", "\n\n", "COPY 2"),
        ("COPY c0 FROM STDIN (FORMAT csv)", "\n", "COPY 1"),
        ("COPY c0 FROM STDIN", "x\n", "22P04|extra data after last expected column|COPY c0, line 1: \"x\""),
        ("COPY pg_catalog.pg_am (amname) TO STDOUT", "", "COPY 7"),
        ("COPY BINARY (SELECT 1) TO STDOUT", "", "42601|syntax error at or near \"(\"||13"),
        ("COPY ct FROM STDIN WHERE a", "", "42804|argument of WHERE must be type boolean, not type integer||26"),
        ("COPY ct FROM STDIN WHERE d = 1", "", "42703|column \"d\" does not exist||26"),
        ("COPY ct TO STDOUT WHERE a = 1", "", "42601|WHERE clause not allowed with COPY TO||19"),
        ("COPY ct FROM STDIN WHERE a = 1 b", "", "42601|syntax error at or near \"b\"||32"),
        // The text of the line, where the row as a whole is wrong.
        (
            "COPY ct FROM STDIN",
            "1\ta\t1\n2\ta\t1\t3\n",
            "22P04|extra data after last expected column|COPY ct, line 2: \"2\ta\t1\t3\"",
        ),
        ("COPY ct FROM STDIN", "1\ta\n", "22P04|missing data for column \"c\"|COPY ct, line 1: \"1\ta\""),
        (
            "COPY ct FROM STDIN",
            &format!("1\t{long}\n"),
            &format!("22P04|missing data for column \"c\"|COPY ct, line 1: \"1\t{shown}...\""),
        ),
        ("COPY ct FROM STDIN CSV", "1,\"a\n", "22P04|unterminated CSV quoted field|COPY ct, line 1: \"1,\"a\n\""),
        (
            "COPY ct FROM STDIN CSV",
            "1,a,2,3\n",
            "22P04|extra data after last expected column|COPY ct, line 1: \"1,a,2,3\"",
        ),
        (
            "COPY ct FROM STDIN (FORMAT csv, HEADER match)",
            "a,x,c\n",
            "22P04|column name mismatch in header line field 2: got \"x\", expected \"b\"|COPY ct, line 1: \"a,x,c\"",
        ),
        (
            "COPY ct FROM STDIN",
            "1\ta\t1\n\\N\ta\t1\n",
            "23502|null value in column \"a\" of relation \"ct\" violates not-null constraint|COPY ct, line 2: \"\\N\ta\t1\"",
        ),
        (
            "COPY ct FROM STDIN",
            "1\ta\t100\n",
            "23514|new row for relation \"ct\" violates check constraint \"ct_c_check\"|COPY ct, line 1: \"1\ta\t100\"",
        ),
        (
            "COPY ct FROM STDIN",
            "1\ta\tx\n",
            "22P02|invalid input syntax for type integer: \"x\"|COPY ct, line 1, column c: \"x\"",
        ),
    ] {
        assert_eq!(copy(&mut frames, sql, data.as_bytes()), expected, "{sql} <- {data:?}");
    }
    // A statement behind another one has its place in the whole text.
    let said = copy(&mut frames, "SELECT 1; COPY ct FROM STDIN WHERE d = 1", b"");
    assert_eq!(said, "SELECT 142703|column \"d\" does not exist||36");
    binary(&mut frames);
}

/// The binary form counts rows from 1.
fn binary(frames: &mut Frames) {
    const COPY: &str = "COPY ct (a) FROM STDIN (FORMAT binary)";
    let header = [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8]].concat();
    let row =
        |value: &[u8]| [&1i16.to_be_bytes()[..], &i32::try_from(value.len()).unwrap().to_be_bytes(), value].concat();
    let (good, end) = (row(&[0, 0, 0, 7]), (-1i16).to_be_bytes().to_vec());
    for (data, expected) in [
        ([&header[..], &good, &end].concat(), "COPY 1"),
        ([&header[..], &good].concat(), "COPY 1"),
        ([&header[..], &good, &end, b"x"].concat(), "22P04|received copy data after EOF marker|COPY ct, line 2"),
        (
            [&header[..], &row(&[0, 0, 0, 7, 0])].concat(),
            "22P03|incorrect binary data format|COPY ct, line 1, column a",
        ),
        ([&header[..], &good, &good[..7]].concat(), "22P04|unexpected EOF in COPY data|COPY ct, line 2, column a"),
        (Vec::new(), "22P04|COPY file signature not recognized"),
        (header[..10].to_vec(), "22P04|COPY file signature not recognized"),
        (header[..12].to_vec(), "22P04|invalid COPY file header (missing flags)"),
        ([&header[..11], &[0, 1, 0, 0, 0, 0, 0, 0]].concat(), "22P04|invalid COPY file header (WITH OIDS)"),
        ([&header[..15], &[255; 4]].concat(), "22P04|invalid COPY file header (missing length)"),
        ([&header[..15], &[0, 0, 0, 9, 1]].concat(), "22P04|invalid COPY file header (wrong length)"),
        ([&header[..], &good, &[0, 2]].concat(), "22P04|row field count is 2, expected 1|COPY ct, line 2"),
    ] {
        assert_eq!(copy(frames, COPY, &data), expected, "{data:?}");
    }
    // As it was written before Postgres 9.0.
    let rows = [&header[..], &good, &end].concat();
    assert_eq!(copy(frames, "COPY BINARY ct (a) FROM STDIN", &rows), "COPY 1");
    assert_eq!(
        copy(frames, "COPY BINARY ct (a) FROM STDIN (FORMAT text)", &rows),
        "42601|conflicting or redundant options||32"
    );
    frames.send(&query("COPY BINARY ct (a) TO STDOUT"));
    let sent = frames.until_ready();
    assert_eq!((sent[0].kind, sent[0].body[0]), ('H', 1), "{sent:?}");
    assert!(sent.iter().any(|message| message.kind == 'd' && message.body.starts_with(b"PGCOPY\n")), "{sent:?}");
    frames.send(&query("COPY ct (a, c) TO STDOUT USING DELIMITERS '|'"));
    let sent = frames.until_ready();
    assert!(sent.iter().any(|message| message.kind == 'd' && message.body.contains(&b'|')), "{sent:?}");
    assert_eq!(frames.kinds(&query("COPY (SELECT 1) TO STDOUT DELIMITERS '|'")), "E(42601)ZI");
}

/// The first line decides how lines end, and the end marker is one only where it stands alone.
pub fn line_ends(server: &Server) {
    let mut frames = Frames::connect(server);
    frames.kinds(&query("DROP TABLE IF EXISTS le; CREATE TABLE le (a int, b text)"));
    for (sql, data, expected) in [
        ("COPY le FROM STDIN", "1\ta\r2\tb\r", "COPY 2"),
        ("COPY le FROM STDIN", "1\ta\n2\tb\r\n", "22P04|literal carriage return found in data|COPY le, line 2"),
        ("COPY le FROM STDIN", "1\ta\r\n2\tb\n", "22P04|literal newline found in data|COPY le, line 2"),
        ("COPY le FROM STDIN", "1\ta\rx\n2\tb\n", "22P04|literal newline found in data|COPY le, line 2"),
        ("COPY le FROM STDIN", "1\ta\r\n2\tb\rc\r\n", "22P04|literal carriage return found in data|COPY le, line 2"),
        ("COPY le FROM STDIN", "1\ta\n\\.", "22P04|end-of-copy marker corrupt|COPY le, line 2"),
        ("COPY le FROM STDIN", "1\ta\n\\.x\n", "22P04|end-of-copy marker corrupt|COPY le, line 2"),
        ("COPY le FROM STDIN", "1\ta\\.\n2\tb\n", "COPY 1"),
        ("COPY le FROM STDIN", "1\ta\\\\.\n", "COPY 1"),
        (
            "COPY le FROM STDIN",
            "1\ta\r\n\\.\n",
            "22P04|end-of-copy marker does not match previous newline style|COPY le, line 2",
        ),
        (
            "COPY le FROM STDIN",
            "1\ta\n\\.\r\n",
            "22P04|end-of-copy marker does not match previous newline style|COPY le, line 2",
        ),
        ("COPY le FROM STDIN", "1\ta\r\n\\.\r\nx\n", "COPY 1"),
        ("COPY le FROM STDIN", "1\ta\\", "COPY 1"),
        ("COPY le FROM STDIN", "1\ta\\\n2\n", "COPY 1"),
        ("COPY le FROM STDIN", "1\ta\r\n2\tb\r", "22P04|literal carriage return found in data|COPY le, line 2"),
        ("COPY le FROM STDIN CSV", "1,a\r2,b\r", "COPY 2"),
        ("COPY le FROM STDIN CSV", "1,a\n2,b\r\n", "22P04|unquoted carriage return found in data|COPY le, line 2"),
        ("COPY le FROM STDIN CSV", "1,a\r\n2,b\n", "22P04|unquoted newline found in data|COPY le, line 2"),
        ("COPY le FROM STDIN CSV", "1,a\rb\n", "22P04|unquoted newline found in data|COPY le, line 2"),
        (
            "COPY le FROM STDIN CSV",
            "1,a\n\\.",
            "22P02|invalid input syntax for type integer: \"\\.\"|COPY le, line 2, column a: \"\\.\"",
        ),
        ("COPY le FROM STDIN CSV", "1,a\n\\.\nx\n", "COPY 1"),
        (
            "COPY le FROM STDIN CSV",
            "1,a\n\\.\r\n",
            "22P04|end-of-copy marker does not match previous newline style|COPY le, line 2",
        ),
        ("COPY le FROM STDIN CSV", "1,a\r\n\\.\n", "22P04|unquoted newline found in data|COPY le, line 2"),
        (
            "COPY le FROM STDIN CSV",
            "1,a\n\\.x,b\n",
            "22P02|invalid input syntax for type integer: \"\\.x\"|COPY le, line 2, column a: \"\\.x\"",
        ),
        ("COPY le FROM STDIN CSV", "1,a\n2,\"\\.\n\\.\n\"\n3,c\n", "COPY 3"),
        ("COPY le FROM STDIN CSV", "\n", "22P04|missing data for column \"b\"|COPY le, line 1: \"\""),
        ("COPY le FROM STDIN CSV", "1,a\n\n", "22P04|missing data for column \"b\"|COPY le, line 2: \"\""),
        (
            "COPY le FROM STDIN CSV",
            "1,\"x\ny\"\n2,\"x\ny\"\nx,b\n",
            "22P02|invalid input syntax for type integer: \"x\"|COPY le, line 4, column a: \"x\"",
        ),
        (
            "COPY le FROM STDIN CSV",
            "1,\"x\r\ny\"\r\n2,\"x\r\ny\"\r\nx,b\r\n",
            "22P02|invalid input syntax for type integer: \"x\"|COPY le, line 5, column a: \"x\"",
        ),
        (
            "COPY le FROM STDIN CSV",
            "1,\"x\ry\"\r2,\"x\ny\"\rx,b\r",
            "22P02|invalid input syntax for type integer: \"x\"|COPY le, line 4, column a: \"x\"",
        ),
        // Quoted line ends before it are lines too.
        (
            "COPY le FROM STDIN CSV",
            "1,\"a\nb\nc\"\n2,\"a\nb\"\r\n",
            "22P04|unquoted carriage return found in data|COPY le, line 3",
        ),
        (
            "COPY le FROM STDIN CSV",
            "1,a\n2,\"a\nb\nc\"\r\n",
            "22P04|unquoted carriage return found in data|COPY le, line 4",
        ),
        (
            "COPY le FROM STDIN CSV",
            "1,a\r\n2,\"a\r\nb\r\nc\"\n",
            "22P04|unquoted newline found in data|COPY le, line 4",
        ),
    ] {
        for bytes in [1, 3, 100] {
            let said = copy_in_pieces(&mut frames, sql, data.as_bytes(), bytes);
            assert_eq!(said, expected, "{sql} {data:?} in pieces of {bytes}");
        }
    }
}

/// The first line is looked at where it is a header, also where there is none.
pub fn headers(server: &Server) {
    let mut frames = Frames::connect(server);
    let create = "DROP TABLE IF EXISTS h1, h2; CREATE TABLE h1 (a text); CREATE TABLE h2 (a int, b text)";
    assert!(frames.kinds(&query(create)).ends_with("CCCZI"));
    let missing = "22P04|wrong number of fields in header line: got 1, expected 2|COPY h2, line 1: \"\"";
    let mismatch = "22P04|column name mismatch in header line field 1: got";
    for (sql, data, expected) in [
        ("COPY h2 FROM STDIN (HEADER)", &b""[..], "COPY 0"),
        ("COPY h2 FROM STDIN (HEADER match)", b"", missing),
        ("COPY h2 FROM STDIN (HEADER match)", b"\\.\n", missing),
        ("COPY h2 FROM STDIN (FORMAT csv, HEADER match)", b"", missing),
        ("COPY h2 FROM STDIN (FORMAT csv, HEADER match)", b"\\.\n", missing),
        ("COPY h2 FROM STDIN (HEADER match)", b"a\tb\\.\n", "COPY 0"),
        ("COPY h2 FROM STDIN (HEADER match)", b"a\tb\n\\.\n", "COPY 0"),
        ("COPY h2 FROM STDIN (HEADER match)", b"a\tb", "COPY 0"),
        ("COPY h1 FROM STDIN (HEADER match)", b"", &format!("{mismatch} \"\", expected \"a\"|COPY h1, line 1: \"\"")),
        (
            "COPY h1 FROM STDIN (FORMAT csv, HEADER match)",
            b"",
            &format!("{mismatch} null value (\"\"), expected \"a\"|COPY h1, line 1: \"\""),
        ),
        (
            "COPY h1 FROM STDIN (FORMAT csv, NULL 'x', HEADER match)",
            b"",
            &format!("{mismatch} \"\", expected \"a\"|COPY h1, line 1: \"\""),
        ),
        // Nobody reads it, but it is text.
        (
            "COPY h2 FROM STDIN (HEADER)",
            b"a\tb\xff\n1\tb\n",
            "22021|invalid byte sequence for encoding \"UTF8\": 0xff|COPY h2, line 1",
        ),
        (
            "COPY h2 FROM STDIN (HEADER)",
            b"a\tb\0\n1\tb\n",
            "22021|invalid byte sequence for encoding \"UTF8\": 0x00|COPY h2, line 1",
        ),
        (
            "COPY h2 FROM STDIN (HEADER match)",
            b"a\tb\xff\n1\tb\n",
            "22021|invalid byte sequence for encoding \"UTF8\": 0xff|COPY h2, line 1",
        ),
        (
            "COPY h2 FROM STDIN (FORMAT csv, HEADER)",
            b"a,b\xc3\x28\n1,b\n",
            "22021|invalid byte sequence for encoding \"UTF8\": 0xc3 0x28|COPY h2, line 1",
        ),
    ] {
        for bytes in [1, 100] {
            let said = copy_in_pieces(&mut frames, sql, data, bytes);
            assert_eq!(said, expected, "{sql} {data:?} in pieces of {bytes}");
        }
    }
}
