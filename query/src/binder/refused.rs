//! Statements of Postgres that this server does not have: they are refused by their names, not as syntax errors.

use sqlparser::tokenizer::{Token, Tokenizer};
use stratos_types::Error;

use crate::dialect::StratosDialect;

/// What may stand after CREATE, ALTER and DROP.
const OBJECTS: &[&str] = &[
    "access method",
    "aggregate",
    "cast",
    "collation",
    "conversion",
    "default privileges",
    "domain",
    "event trigger",
    "extension",
    "foreign data wrapper",
    "foreign table",
    "function",
    "group",
    "index",
    "language",
    "large object",
    "materialized view",
    "operator",
    "operator class",
    "operator family",
    "owned",
    "policy",
    "procedure",
    "publication",
    "routine",
    "rule",
    "server",
    "statistics",
    "subscription",
    "system",
    "tablespace",
    "text search configuration",
    "text search dictionary",
    "text search parser",
    "text search template",
    "transform",
    "trigger",
    "type",
    "user mapping",
    "view",
];

/// Words that may stand between CREATE and the object.
const DECORATIONS: &[&str] = &[
    "or",
    "replace",
    "temp",
    "temporary",
    "unlogged",
    "global",
    "local",
    "recursive",
    "constraint",
    "trusted",
    "procedural",
    "unique",
];

/// Statements by their first words, beside CREATE, ALTER and DROP.
const STATEMENTS: &[&str] = &[
    "call",
    "cluster",
    "commit prepared",
    "do",
    "import foreign schema",
    "listen",
    "load",
    "merge",
    "notify",
    "prepare transaction",
    "reassign owned",
    "refresh materialized view",
    "reindex",
    "rollback prepared",
    "security label",
    "set session authorization",
    "reset session authorization",
    "grant",
    "revoke",
];

/// What ALTER TABLE may do and we cannot, by the words after the table's name.
const TABLE_ACTIONS: &[&str] = &[
    "attach partition",
    "cluster on",
    "detach partition",
    "disable row level security",
    "disable rule",
    "disable trigger",
    "enable always rule",
    "enable always trigger",
    "enable replica rule",
    "enable replica trigger",
    "enable row level security",
    "enable rule",
    "enable trigger",
    "force row level security",
    "inherit",
    "no force row level security",
    "no inherit",
    "not of",
    "of",
    "alter constraint",
    "replica identity",
    "reset (",
    "set access method",
    "set logged",
    "set tablespace",
    "set unlogged",
    "set without cluster",
    "set without oids",
    "validate constraint",
];

/// What CREATE TABLE and ALTER TABLE may say of a table or a constraint and we do not understand.
const TABLE_PHRASES: &[&str] = &[
    "exclude using",
    "exclude (",
    "include (",
    "inherits (",
    "nulls not distinct",
    "partition by",
    "partition of",
    "tablespace",
    "with oids",
    "without oids",
    ") using",
    "storage",
    "compression",
    "no inherit",
    "using index",
    "on commit",
    "not valid",
];

/// What CREATE INDEX may say and we do not understand.
const INDEX_PHRASES: &[&str] = &["on only", "tablespace", "include (", "nulls not distinct", "with ("];

/// What a query or a change of rows may say and we do not understand, with its name.
const QUERY_PHRASES: &[(&str, &str)] = &[
    ("search breadth first by", "SEARCH"),
    ("search depth first by", "SEARCH"),
    (") cycle", "CYCLE"),
    ("where current of", "WHERE CURRENT OF"),
    ("tablesample", "TABLESAMPLE"),
    ("xmlconcat (", "XMLCONCAT"),
    ("xmlelement (", "XMLELEMENT"),
    ("xmlexists (", "XMLEXISTS"),
    ("xmlforest (", "XMLFOREST"),
    ("xmlparse (", "XMLPARSE"),
    ("xmlpi (", "XMLPI"),
    ("xmlroot (", "XMLROOT"),
    ("xmlserialize (", "XMLSERIALIZE"),
    ("xmltable (", "XMLTABLE"),
    ("rows from (", "ROWS FROM"),
];

/// What ALTER DATABASE may do and we cannot.
const DATABASE_ACTIONS: &[&str] = &[
    "allow_connections",
    "connection limit",
    "is_template",
    "refresh collation version",
    "reset",
    "set",
    "set tablespace",
    "with",
];

/// What ALTER SEQUENCE may do and we cannot.
const SEQUENCE_ACTIONS: &[&str] = &["set logged", "set unlogged", "sequence name"];

/// What ALTER ROLE and ALTER USER may do and we cannot.
const ROLE_ACTIONS: &[&str] = &["in database", "reset", "set"];

/// What `ALTER COLUMN` may do and we cannot.
const COLUMN_ACTIONS: &[&str] =
    &["set compression", "set statistics", "set storage", "set (", "reset (", "drop expression"];

/// What ALTER INDEX may do and we cannot.
const INDEX_ACTIONS: &[&str] = &[
    "attach partition",
    "depends on extension",
    "no depends on extension",
    "set tablespace",
    "set (",
    "reset (",
    "alter",
];

fn begins(words: &[String], phrase: &str) -> bool {
    let mut words = words.iter();
    phrase.split(' ').all(|expected| words.next().is_some_and(|word| word == expected))
}

fn longest(words: &[String], phrases: &[&'static str]) -> Option<&'static str> {
    phrases.iter().copied().filter(|phrase| begins(words, phrase)).max_by_key(|phrase| phrase.len())
}

/// The words of a statement, folded; other tokens as they are written.
fn words(text: &str) -> Vec<String> {
    const ENOUGH: usize = 4096;
    let tokens = Tokenizer::new(&StratosDialect::default(), text).tokenize().unwrap_or_default();
    tokens
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .take(ENOUGH)
        .map(|token| match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
            other => other.to_string(),
        })
        .collect()
}

/// Words after a (perhaps dotted) name, with what may stand before it.
fn after_name(mut words: &[String]) -> &[String] {
    for skipped in ["if", "exists", "only"] {
        if words.first().is_some_and(|word| word == skipped) {
            words = &words[1..];
        }
    }
    let mut at = 1;
    while words.get(at).is_some_and(|word| word == ".") {
        at += 2;
    }
    let at = if words.get(at).is_some_and(|word| word == "*") { at + 1 } else { at };
    words.get(at..).unwrap_or_default()
}

/// A phrase's name with that of its statement.
fn in_phrase(statement: &str, phrase: &str) -> String {
    format!("{statement} … {}", phrase.trim_matches([' ', '(', ')']).to_uppercase())
}

/// The statement's name if Postgres has it and we have not.
fn name_of(text: &str) -> Option<String> {
    let words = words(text);
    let first = words.first()?.as_str();
    let set = ["set null", "set default"].iter().find(|set| {
        let listed = [format!("on delete {set} ("), format!("on update {set} (")];
        (0..words.len()).any(|at| listed.iter().any(|phrase| begins(&words[at..], phrase)))
    });
    if let Some(set) = set.filter(|_| matches!(first, "create" | "alter")) {
        return Some(format!("a list of columns behind {}", set.to_uppercase()));
    }
    if first == "comment" && words.get(1).is_some_and(|word| word == "on") {
        return longest(words.get(2..)?, OBJECTS).map(|object| format!("COMMENT ON {}", object.to_uppercase()));
    }
    if matches!(first, "with" | "select" | "insert" | "update" | "delete" | "(" | "values" | "table") {
        let said = QUERY_PHRASES.iter().find(|(phrase, _)| (0..words.len()).any(|at| begins(&words[at..], phrase)));
        return said.map(|(_, name)| (*name).to_owned());
    }
    if !matches!(first, "create" | "alter" | "drop") {
        return longest(&words, STATEMENTS).map(str::to_uppercase);
    }
    let mut rest = words.get(1..)?;
    let decorated = rest;
    if first == "create" {
        while rest.first().is_some_and(|word| DECORATIONS.contains(&word.as_str())) {
            rest = &rest[1..];
        }
    }
    let action = |object: &str, actions: &[&'static str], after: &[String]| {
        longest(after, actions)
            .map(|action| format!("ALTER {object} … {}", action.trim_end_matches(" (").to_uppercase()))
    };
    if begins(rest, "table all in tablespace") || begins(rest, "index all in tablespace") {
        return Some(format!("ALTER {} ALL IN TABLESPACE", rest[0].to_uppercase()));
    }
    if first == "alter" && begins(rest, "table") {
        let after = after_name(&rest[1..]);
        if begins(after, "alter") {
            let column = after.get(1..).unwrap_or_default();
            let column = if begins(column, "column") { &column[1..] } else { column };
            return action("TABLE … ALTER COLUMN", COLUMN_ACTIONS, column.get(1..).unwrap_or_default())
                .or_else(|| action("TABLE", TABLE_ACTIONS, after));
        }
        let said = TABLE_PHRASES.iter().find(|phrase| (0..after.len()).any(|at| begins(&after[at..], phrase)));
        return action("TABLE", TABLE_ACTIONS, after).or_else(|| said.map(|phrase| in_phrase("ALTER TABLE", phrase)));
    }
    for (object, actions) in
        [("database", DATABASE_ACTIONS), ("sequence", SEQUENCE_ACTIONS), ("role", ROLE_ACTIONS), ("user", ROLE_ACTIONS)]
    {
        if first == "alter" && begins(rest, object) && !begins(rest, "user mapping") {
            return action(&object.to_uppercase(), actions, after_name(&rest[1..]));
        }
    }
    if first == "alter" && begins(rest, "index") {
        return action("INDEX", INDEX_ACTIONS, after_name(&rest[1..]));
    }
    if first == "create" && begins(rest, "table") {
        if begins(after_name(rest.get(1..)?), "of") {
            return Some("CREATE TABLE … OF".to_owned());
        }
        let said = |phrase: &str| (0..rest.len()).any(|at| begins(&rest[at..], phrase));
        if let Some(phrase) = TABLE_PHRASES.iter().find(|phrase| said(phrase)) {
            return Some(in_phrase("CREATE TABLE", phrase));
        }
        // The plain form was understood or is wrong; the others are ours to refuse.
        let kept: Vec<String> = decorated.iter().take(decorated.len() - rest.len()).map(|w| w.to_uppercase()).collect();
        return (!kept.is_empty()).then(|| format!("CREATE {} TABLE", kept.join(" ")));
    }
    if begins(rest, "index") {
        let said = INDEX_PHRASES.iter().find(|phrase| (0..rest.len()).any(|at| begins(&rest[at..], phrase)));
        return said.filter(|_| first == "create").map(|phrase| in_phrase("CREATE INDEX", phrase));
    }
    longest(rest, OBJECTS).map(|object| format!("{} {}", first.to_uppercase(), object.to_uppercase()))
}

/// The refusal, for a statement that the parser did not understand.
pub(super) fn by_name(text: &str) -> Option<Error> {
    name_of(text).map(Error::unsupported)
}

/// The refusal, for a statement that the parser understood and nobody carries out.
pub(crate) fn refusal(text: &str) -> Error {
    let name = name_of(text).unwrap_or_else(|| {
        let words = words(text);
        let create = words.first().is_some_and(|first| matches!(first.as_str(), "create" | "alter" | "drop"));
        words.iter().take(if create { 2 } else { 1 }).map(|word| word.to_uppercase()).collect::<Vec<_>>().join(" ")
    });
    Error::unsupported(name)
}

/// What a statement is called in messages: `CREATE TABLE`.
pub(crate) fn command_name(text: &str) -> String {
    let mut words = words(text);
    words.dedup_by(|word, before| before == "create" && DECORATIONS.contains(&word.as_str()));
    let object = words.first().is_some_and(|word| matches!(word.as_str(), "create" | "alter" | "drop"));
    if words.first().is_some_and(|word| word == "truncate") {
        return "TRUNCATE TABLE".to_owned();
    }
    let count = if object { 2 } else { 1 };
    words.iter().take(count).map(|word| word.to_uppercase()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn statements_are_refused_by_their_names() {
        for (text, name) in [
            ("CREATE RULE r AS ON INSERT TO t DO NOTHING", "CREATE RULE"),
            ("create or replace view v as select 1", "CREATE VIEW"),
            ("CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW"),
            ("CREATE UNLOGGED TABLE t (a int)", "CREATE UNLOGGED TABLE"),
            ("DO $$ BEGIN END $$", "DO"),
            ("REINDEX TABLE t", "REINDEX"),
            ("LISTEN x", "LISTEN"),
            (
                "create table t (a int, foreign key (a) references p on delete set null (a))",
                "a list of columns behind SET NULL",
            ),
            ("alter table only s.t alter column c set statistics 5", "ALTER TABLE … ALTER COLUMN … SET STATISTICS"),
            ("ALTER TABLE IF EXISTS t INHERIT u", "ALTER TABLE … INHERIT"),
            ("ALTER INDEX i SET (fillfactor = 50)", "ALTER INDEX … SET"),
            ("DROP OWNED BY r", "DROP OWNED"),
            ("CREATE INDEX i ON t (a) TABLESPACE s", "CREATE INDEX … TABLESPACE"),
            ("CREATE INDEX ON ONLY t (a)", "CREATE INDEX … ON ONLY"),
            ("CREATE TABLE t (a int, UNIQUE (a) INCLUDE (b))", "CREATE TABLE … INCLUDE"),
            ("CREATE TABLE t (a int) USING heap", "CREATE TABLE … USING"),
            ("ALTER TABLE t ADD CHECK (a > 0) NO INHERIT", "ALTER TABLE … NO INHERIT"),
            ("ALTER DATABASE d SET work_mem = '1MB'", "ALTER DATABASE … SET"),
            ("ALTER ROLE r IN DATABASE d SET work_mem = '1MB'", "ALTER ROLE … IN DATABASE"),
            ("DELETE FROM t WHERE CURRENT OF c", "WHERE CURRENT OF"),
            ("WITH RECURSIVE t AS (SELECT 1) SEARCH DEPTH FIRST BY a SET b SELECT 1", "SEARCH"),
            ("WITH RECURSIVE t AS (SELECT 1) CYCLE a SET b USING c SELECT 1", "CYCLE"),
            ("COMMENT ON FUNCTION f(int) IS 'x'", "COMMENT ON FUNCTION"),
        ] {
            assert_eq!(name_of(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn a_wrong_statement_that_we_have_is_not_refused() {
        for text in ["CREATE TABLE t (a int,)", "ALTER TABLE t ADD", "SELEC 1", "CREATE INDEX ON", "DROP TABLE"] {
            assert_eq!(name_of(text), None, "{text}");
        }
    }
}
