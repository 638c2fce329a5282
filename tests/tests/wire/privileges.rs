//! What roles may see of each other and do to each other.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, query};

pub fn privileges(server: &Server) {
    server
        .sql("CREATE ROLE plain LOGIN; CREATE ROLE other LOGIN; CREATE ROLE maker LOGIN CREATEROLE; CREATE ROLE shut");
    let of = |user: &str| Frames::connect(&Server { user: user.to_owned(), ..server.clone() });
    let (mut admin, mut plain, mut own, mut other, mut maker) =
        (Frames::connect(server), of("plain"), of("plain"), of("other"), of("maker"));

    // What others run is theirs, and what they wrote behind PASSWORD nobody's.
    assert_eq!(admin.kinds(&query("ALTER ROLE other PASSWORD 'geheim' VALID UNTIL 'infinity'")), "CZI");
    let seen = |pid: i32| query(&format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}"));
    assert_eq!(plain.values(&seen(admin.key.0)), ["<insufficient privilege>"]);
    let rest =
        "SELECT count(state) + count(query_start) + count(client_port) + count(backend_start) + count(backend_type)";
    let rest = query(&format!("{rest} FROM pg_stat_activity WHERE pid = {}", admin.key.0));
    assert_eq!(plain.values(&rest), ["0"]);
    own.kinds(&query("SELECT 'mine'"));
    assert_eq!(plain.values(&seen(own.key.0)), ["SELECT 'mine'"]);
    assert_eq!(Frames::connect(server).values(&seen(own.key.0)), ["SELECT 'mine'"]);

    // Nobody ends others' statements and sessions.
    for (function, said) in [("pg_cancel_backend", "canceled"), ("pg_terminate_backend", "terminated")] {
        let call = |pid: i32, frames: &mut Frames| {
            frames.send(&query(&format!("SELECT {function}({pid})")));
            let messages = frames.until_ready();
            let error = messages.iter().find(|m| m.kind == 'E');
            error.map(|error| (error.field(b'C').unwrap_or_default(), error.field(b'M').unwrap_or_default()))
        };
        let (state, message) = call(admin.key.0, &mut plain).unwrap();
        assert_eq!(state, "42501");
        assert!(message.contains("must be a superuser to"), "{message}");
        let (state, message) = call(other.key.0, &mut plain).unwrap();
        assert_eq!(state, "42501");
        assert!(message.contains(said), "{message}");
        assert_eq!(call(own.key.0, &mut plain), None);
        assert_eq!(call(0, &mut plain), None);
    }
    assert_eq!(other.kinds(&query("SELECT 1")), "TDCZI");
    assert_eq!(admin.kinds(&query(&format!("SELECT pg_terminate_backend({})", other.key.0))), "TDCZI");
    assert!(own.until_ready().iter().any(|m| m.field(b'C').as_deref() == Some("57P01")));

    // Who may manage roles manages no superusers.
    for sql in [
        "ALTER ROLE stratos RENAME TO renamed",
        "ALTER ROLE stratos PASSWORD 'mine'",
        "ALTER ROLE maker SUPERUSER",
        "DROP ROLE stratos",
    ] {
        assert_eq!(maker.kinds(&query(sql)), "E(42501)ZI", "{sql}");
    }
    assert_eq!(maker.kinds(&query("ALTER ROLE shut RENAME TO closed")), "CZI");

    // What only superusers may.
    for (sql, said) in [
        ("CHECKPOINT", "must be superuser or have privileges of pg_checkpoint to do CHECKPOINT"),
        ("SELECT rolname FROM pg_authid", "permission denied for table pg_authid"),
        ("SELECT usename FROM pg_shadow", "permission denied for view pg_shadow"),
    ] {
        plain.send(&query(sql));
        let messages = plain.until_ready();
        let error = messages.iter().find(|m| m.kind == 'E').unwrap_or_else(|| panic!("{sql}: {messages:?}"));
        assert_eq!(error.field(b'C').as_deref(), Some("42501"), "{sql}");
        assert_eq!(error.field(b'M').as_deref(), Some(said), "{sql}");
    }
    assert_eq!(plain.kinds(&query("SELECT rolname FROM pg_roles WHERE rolname = 'plain'")), "TDCZI");

    // Sessions of a role are counted.
    assert_eq!(admin.kinds(&query("CREATE ROLE few LOGIN CONNECTION LIMIT 1")), "CZI");
    let limit = query("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'few'");
    assert_eq!(admin.values(&limit), ["1"]);
    let refused = || {
        let (_, said) = Frames::start(&Server { user: "few".to_owned(), ..server.clone() }, &[]);
        let error = said.iter().find(|m| m.kind == 'E');
        error.map(|error| (error.field(b'C').unwrap_or_default(), error.field(b'M').unwrap_or_default()))
    };
    let first = of("few");
    assert_eq!(refused(), Some(("53300".to_owned(), "too many connections for role \"few\"".to_owned())));
    assert_eq!(admin.kinds(&query("ALTER ROLE few CONNECTION LIMIT -1")), "CZI");
    assert_eq!(refused(), None);
    assert_eq!(admin.kinds(&query("ALTER ROLE few CONNECTION LIMIT 0")), "CZI");
    assert_eq!(refused().unwrap().0, "53300");
    assert_eq!(admin.kinds(&query("ALTER ROLE few SUPERUSER")), "CZI");
    assert_eq!(refused(), None);
    assert_eq!(admin.kinds(&query("ALTER ROLE few CONNECTION LIMIT -2")), "E(22023)ZI");
    drop(first);

    // Roles that may not log in say so.
    let (_, said) = Frames::start(&Server { user: "closed".to_owned(), ..server.clone() }, &[]);
    let error = said.iter().find(|m| m.kind == 'E').unwrap();
    assert_eq!(error.field(b'C').as_deref(), Some("28000"));
    assert_eq!(error.field(b'M').as_deref(), Some("role \"closed\" is not permitted to log in"));
}

/// Temporary tables are their session's, whatever role another one has: it may drop them, and no more.
pub fn others_temporary(server: &Server) {
    let (mut owner, mut other) = (Frames::connect(server), Frames::connect(server));
    assert_eq!(owner.kinds(&query("CREATE TEMP TABLE mine (a int); INSERT INTO mine VALUES (1)")), "CCZI");
    let schema = owner.values(&query("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")).concat();
    for refused in [
        "INSERT INTO {}.mine VALUES (2)",
        "TRUNCATE {}.mine",
        "ALTER TABLE {}.mine ADD b int",
        "CREATE INDEX ON {}.mine (a)",
    ] {
        let refused = refused.replace("{}", &schema);
        assert_eq!(other.kinds(&query(&refused)), "E(0A000)ZI", "{refused}");
    }
    // PostgreSQL finds nothing there, where it does not refuse to look.
    for read in ["SELECT * FROM {}.mine", "COPY {}.mine TO STDOUT", "DELETE FROM {}.mine RETURNING a"] {
        let kinds = other.kinds(&query(&read.replace("{}", &schema)));
        assert!(!kinds.contains(['D', 'd']), "{read}: {kinds}");
    }
    assert_eq!(owner.values(&query("SELECT a FROM mine")), ["1"]);
    assert_eq!(other.kinds(&query(&format!("DROP TABLE {schema}.mine"))), "CZI");
    assert_eq!(owner.kinds(&query("SELECT a FROM mine")), "E(42P01)ZI");
}
