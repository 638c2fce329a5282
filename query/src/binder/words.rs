//! Words that Postgres takes for names and the parser for its keywords, and the other way round: the former are quoted before
//! the parser sees them, the latter refused with Postgres's error.

use std::borrow::Cow;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use stratos_types::Result;

use super::parse::near;
use super::source::SourceText;
use crate::dialect::operators::is_operator;
use crate::functions::keywords::is_reserved;

/// Keywords of the parser that may name a table of FROM without AS.
const ALIASES: &[&str] = &["cluster", "explain", "format", "global", "partition", "set", "start", "view"];
/// Keywords of the parser that may be a column's label without AS.
const LABELS: &[&str] = &[
    "analyse", "analyze", "and", "between", "cluster", "collate", "exclude", "explain", "ignore", "ilike", "in", "is",
    "lateral", "like", "match", "operator", "or", "respect", "similar", "view",
];
/// Keywords of the parser that Postgres has never heard of: always names.
const STRANGERS: &[&str] = &[
    "anti",
    "asof",
    "connect",
    "distribute",
    "match_condition",
    "match_recognize",
    "minus",
    "open",
    "output",
    "pivot",
    "prewhere",
    "qualify",
    "sample",
    "semi",
    "settings",
    "sort",
    "top",
    "unpivot",
];
/// Functions whose arguments the parser reads in a syntax of their own.
const OWN_SYNTAX: &[&str] = &["ceil", "extract", "floor", "overlay", "position", "substring", "trim"];
/// Reserved words that may begin what stands after FROM and JOIN.
const RELATION_STARTS: &[&str] = &[
    "cast",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "lateral",
    "localtime",
    "localtimestamp",
    "only",
    "session_user",
    "user",
];
/// Words that may follow the star of a select list.
const AFTER_STAR: &[&str] = &[
    "except",
    "fetch",
    "for",
    "from",
    "group",
    "having",
    "intersect",
    "into",
    "limit",
    "offset",
    "on",
    "order",
    "returning",
    "union",
    "where",
    "window",
];
/// Words that an expression goes on with behind `t.*`, the row as a value.
const AFTER_ROW: &[&str] = &["and", "between", "in", "is", "isnull", "not", "notnull", "or"];
/// Words that may follow INSERT INTO and a name.
const AFTER_INSERTED: &[&str] = &["as", "default", "overriding", "select", "table", "values", "with"];
/// Reserved words that begin an element of CREATE TABLE other than a column.
const TABLE_ELEMENTS: &[&str] = &["check", "constraint", "foreign", "primary", "unique"];

/// What is being read at one level of parentheses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clause {
    SelectList,
    From,
    Other,
}

#[derive(Clone, Copy)]
struct Level {
    clause: Clause,
    /// A FROM here begins a list of relations; inside EXTRACT and its kin it does not.
    has_from: bool,
}

impl Level {
    const NEW: Level = Level { clause: Clause::Other, has_from: false };
}

/// A word that is not quoted, in lower case, and the keyword that it is to the parser.
fn text(token: Option<&TokenWithSpan>) -> Option<(Cow<'_, str>, Keyword)> {
    let Token::Word(Word { value, quote_style: None, keyword }) = &token?.token else { return None };
    // Every word of a statement comes here, and most are written in lower case.
    let lower = match value.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(value.to_ascii_lowercase()),
        false => Cow::Borrowed(value.as_str()),
    };
    Some((lower, *keyword))
}

fn keyword(token: Option<&TokenWithSpan>) -> Keyword {
    match token.map(|t| &t.token) {
        Some(Token::Word(Word { quote_style: None, keyword, value: _ })) => *keyword,
        _ => Keyword::NoKeyword,
    }
}

fn is(token: Option<&TokenWithSpan>, word: &str) -> bool {
    matches!(token.map(|t| &t.token), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn is_token(token: Option<&TokenWithSpan>, wanted: &Token) -> bool {
    token.is_some_and(|t| t.token == *wanted)
}

/// Whether a clause of a query begins with the word, so that the one before it has ended.
pub(super) fn begins_clause(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::WINDOW
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::FETCH
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::RETURNING
    )
}

/// Whether the word says, before JOIN, of what kind a join is.
pub(super) fn is_kind_of_join(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::INNER
            | Keyword::OUTER
            | Keyword::LEFT
            | Keyword::RIGHT
            | Keyword::FULL
            | Keyword::CROSS
            | Keyword::NATURAL
    )
}

/// Nothing that could belong to an expression or a relation follows.
fn ends_item(next: Option<&TokenWithSpan>) -> bool {
    let Some(next) = next else { return true };
    match &next.token {
        Token::Comma | Token::RParen | Token::SemiColon | Token::EOF => true,
        Token::Word(Word { quote_style: None, keyword, value: _ }) => {
            begins_clause(*keyword)
                || is_kind_of_join(*keyword)
                || matches!(
                    keyword,
                    Keyword::FROM
                        | Keyword::INTO
                        | Keyword::ON
                        | Keyword::USING
                        | Keyword::JOIN
                        | Keyword::FOR
                        | Keyword::SET
                )
        }
        _ => false,
    }
}

/// An expression or a relation may end with this token.
fn ends_operand(previous: Option<&TokenWithSpan>) -> bool {
    match previous.map(|t| &t.token) {
        Some(Token::Word(word)) => {
            let lower = word.value.to_ascii_lowercase();
            word.quote_style.is_some()
                || !is_reserved(&lower)
                || matches!(lower.as_str(), "null" | "true" | "false" | "end")
                || lower.starts_with("current_")
        }
        Some(Token::Number(..) | Token::RParen | Token::RBracket | Token::Placeholder(_)) => true,
        Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_)) => true,
        _ => false,
    }
}

/// An expression may begin after this token.
fn begins_operand(previous: Option<&TokenWithSpan>) -> bool {
    match previous.map(|t| &t.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => matches!(
            word.keyword,
            Keyword::SELECT
                | Keyword::DISTINCT
                | Keyword::ALL
                | Keyword::WHERE
                | Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::BY
                | Keyword::SET
                | Keyword::ON
                | Keyword::HAVING
                | Keyword::CASE
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::COLUMN
                | Keyword::RETURNING
        ),
        Some(Token::Comma | Token::LParen | Token::LBracket | Token::Period) => true,
        Some(token) => is_operator(token),
        None => false,
    }
}

/// Where in its statement a token stands.
struct Place<'a> {
    /// First word of the statement.
    first: &'a str,
    statement_start: bool,
    before: Option<&'a TokenWithSpan>,
    previous: Option<&'a TokenWithSpan>,
    next: Option<&'a TokenWithSpan>,
    level: Level,
    /// Number of parentheses and brackets that are open.
    depth: usize,
    /// CREATE TABLE has been read, AS has not.
    defines_table: bool,
}

/// Whether a word that the parser would take for a keyword is a name here.
fn is_name(word: &str, keyword: Keyword, at: &Place<'_>) -> bool {
    if keyword == Keyword::NoKeyword {
        return false;
    }
    let call = is_token(at.next, &Token::LParen);
    let string =
        matches!(at.next.map(|t| &t.token), Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_)));
    match word {
        // Behind a dot every word is a name, and no call has a syntax of its own.
        _ if is_token(at.previous, &Token::Period) && is_reserved(word) => !call,
        _ if is_token(at.previous, &Token::Period) && OWN_SYNTAX.contains(&word) => call,
        // Privileges have names of their own.
        _ if STRANGERS.contains(&word) => !call && !matches!(at.first, "grant" | "revoke"),
        "exists" => {
            let conditional = is(at.previous, "if") || is(at.previous, "not") && is(at.before, "if");
            !call && !conditional
        }
        "trim" => !call,
        "values" => {
            !(call || at.statement_start || is(at.previous, "default") || at.first == "insert" && at.next.is_none())
        }
        "interval" => !call && !string && at.first != "prepare" && begins_operand(at.previous),
        "local" => is(at.previous, "into"),
        "replace" => is(at.previous, "update"),
        "recursive" => is(at.previous, "with") && (call || is(at.next, "as")),
        _ => {
            let qualifies = is_token(at.next, &Token::Period) && ALIASES.contains(&word);
            let alias = at.level.clause == Clause::From && ALIASES.contains(&word);
            let label = at.level.clause == Clause::SelectList && LABELS.contains(&word);
            qualifies || (alias || label) && ends_operand(at.previous) && ends_item(at.next)
        }
    }
}

/// Whether Postgres's grammar has no place for a word here, where the parser would take it for a name.
fn is_misplaced(word: &str, at: &Place<'_>) -> bool {
    if at.level.clause == Clause::SelectList
        && is_token(at.previous, &Token::Mul)
        && (matches!(at.before.map(|t| &t.token), Some(Token::Comma | Token::Period))
            || matches!(keyword(at.before), Keyword::SELECT | Keyword::DISTINCT | Keyword::ALL))
    {
        let of_row = is_token(at.before, &Token::Period) && AFTER_ROW.contains(&word);
        return !of_row && !AFTER_STAR.contains(&word);
    }
    let in_from = at.level.clause == Clause::From;
    let allowed: &[&str] = match keyword(at.previous) {
        Keyword::FROM | Keyword::JOIN if in_from => RELATION_STARTS,
        Keyword::AS if in_from => &[],
        Keyword::INTO if at.first == "insert" => &[],
        Keyword::UPDATE if at.first == "update" => &["only"],
        Keyword::TABLE if matches!(at.first, "create" | "alter" | "drop") => &["only"],
        _ if at.defines_table
            && at.depth == 1
            && matches!(at.previous.map(|t| &t.token), Some(Token::LParen | Token::Comma)) =>
        {
            TABLE_ELEMENTS
        }
        _ => return false,
    };
    !allowed.contains(&word) && is_reserved(word)
}

/// What stands behind `INSERT INTO name` and cannot, if anything.
fn after_inserted(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut at = 1;
    while is_token(tokens.get(at), &Token::Period) {
        at += 2;
    }
    let (word, _) = text(tokens.get(at))?;
    (!AFTER_INSERTED.contains(&word.as_ref())).then(|| tokens.get(at)).flatten()
}

/// Quotes names that the parser would take for keywords.
///
/// # Errors
/// 42601 at words that Postgres has no place for and the parser has.
pub(super) fn settle_words(mut tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let mut levels = vec![Level::NEW];
    let mut first = String::new();
    let mut statement_start = true;
    let mut defines_table = false;
    for i in 0..tokens.len() {
        let token = &tokens[i];
        let starts = std::mem::replace(&mut statement_start, false);
        match &token.token {
            Token::LParen | Token::LBracket => levels.push(Level::NEW),
            Token::RParen | Token::RBracket if levels.len() > 1 => {
                levels.pop();
            }
            Token::SemiColon => {
                levels = vec![Level::NEW];
                statement_start = true;
            }
            _ => {}
        }
        let Some((word, word_keyword)) = text(Some(token)) else { continue };
        if starts {
            word.as_ref().clone_into(&mut first);
            defines_table = false;
        }
        let next = tokens.get(i + 1).filter(|t| !matches!(t.token, Token::SemiColon | Token::EOF));
        let wanted = match word_keyword {
            Keyword::DELETE => Keyword::FROM,
            Keyword::INSERT => Keyword::INTO,
            _ => Keyword::NoKeyword,
        };
        if let (true, Some(next)) = (starts && wanted != Keyword::NoKeyword, next)
            && keyword(Some(next)) != wanted
        {
            return Err(near(source, next));
        }
        if word_keyword == Keyword::INTO
            && first == "insert"
            && i > 0
            && is(tokens.get(i - 1), "insert")
            && let Some(wrong) = after_inserted(tokens.get(i + 1..).unwrap_or_default())
        {
            return Err(near(source, wrong));
        }
        let depth = levels.len() - 1;
        let Some(level) = levels.last_mut() else { continue };
        let inside = |n: usize| i.checked_sub(n).and_then(|at| tokens.get(at)).filter(|t| t.token != Token::SemiColon);
        let place = Place {
            first: &first,
            statement_start: starts,
            before: inside(1).and_then(|_| inside(2)),
            previous: inside(1),
            next,
            level: *level,
            depth,
            defines_table,
        };
        if is_name(&word, word_keyword, &place) {
            let value = word.into_owned();
            tokens[i].token = Token::Word(Word { value, quote_style: Some('"'), keyword: Keyword::NoKeyword });
            continue;
        }
        if !starts && is_misplaced(&word, &place) {
            return Err(near(source, &tokens[i]));
        }
        match word_keyword {
            Keyword::SELECT => *level = Level { clause: Clause::SelectList, has_from: true },
            Keyword::DELETE | Keyword::UPDATE if starts => level.has_from = true,
            Keyword::FROM if level.has_from && keyword(place.previous) != Keyword::DISTINCT => {
                level.clause = Clause::From;
            }
            Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::FETCH
            | Keyword::FOR
            | Keyword::WINDOW
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::RETURNING
            | Keyword::SET => level.clause = Clause::Other,
            Keyword::TABLE if first == "create" && depth == 0 => defines_table = true,
            Keyword::AS if depth == 0 => defines_table = false,
            _ => {}
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn names_and_reserved_words_are_told_apart() {
        for sql in [
            "SELECT rows, exists, interval, trim, values FROM rows AS x WHERE exists = interval",
            "SELECT exists (SELECT 1), interval '1 day', interval '1' hour, trim(both ' ' from x) FROM t",
            "CREATE TABLE t (a int[] DEFAULT array[1, null], b interval, exists int, values text DEFAULT user)",
            "CREATE TABLE t (a int, PRIMARY KEY (a), UNIQUE (b), CHECK (a > 1), FOREIGN KEY (a) REFERENCES u)",
            "SELECT * FROM t set JOIN u view ON set.id = view.id",
            "SELECT 1 view, 2 like, 3 cluster FROM t start",
            "INSERT INTO local VALUES (1)",
            "INSERT INTO t DEFAULT VALUES",
            "WITH recursive AS (SELECT 1) SELECT * FROM recursive",
            "SELECT extract(day FROM current_date), substring(x FROM 2), a IS DISTINCT FROM null FROM t",
            "SELECT a.*, 2 * b, count(*) c FROM a LEFT JOIN LATERAL (SELECT 1) b ON true",
            "DROP TABLE IF EXISTS t",
            "SELECT * FROM user",
            "SELECT p.user, p.from, p.true, p.null AS x, p.current_date FROM p WHERE p.user = p.order",
            "UPDATE p SET id = 1 WHERE p.user = 'u' RETURNING p.end",
            "SELECT top, top + 1, sort FROM q open WHERE top > 1 ORDER BY top",
            "SELECT 1 minus, max(a) ignore, 3 top FROM q format, q sample, q settings, q global, q pivot",
            "SELECT pg_catalog.substring('abc', 2), format('%s', 1)",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql).map(|_| ()));
        }
        for (sql, wrong) in [
            ("SELECT * FROM where", "where"),
            ("SELECT * form t", "form"),
            ("SELECT a FROM t AS order", "order"),
            ("CREATE TABLE order (a int)", "order"),
            ("CREATE TABLE t (a int, select int)", "select"),
            ("INSERT INTO t valeus (1)", "valeus"),
            ("INSERT t VALUES (1)", "t"),
            ("DELETE t", "t"),
            ("UPDATE check SET a = 1", "check"),
        ] {
            let error = parse(sql).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("syntax error at or near \"{wrong}\""), "{sql}");
        }
    }

    #[test]
    fn locks_may_stand_before_limit() {
        for sql in [
            "SELECT * FROM t FOR UPDATE LIMIT 1",
            "SELECT * FROM t LIMIT 1 FOR UPDATE",
            "SELECT * FROM (SELECT * FROM t FOR SHARE OF t NOWAIT OFFSET 1) s",
            "SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED FETCH FIRST ROW ONLY",
            "INSERT INTO u SELECT * FROM t FOR UPDATE LIMIT 1 ON CONFLICT DO NOTHING RETURNING a",
            "SELECT 1 FOR UPDATE",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql).map(|_| ()));
        }
        assert!(parse("SELECT 1 UNION SELECT 2 FOR UPDATE").is_err());
        assert!(parse("SELECT * FROM t FOR UPDATE ORDER BY a").is_err());
    }
}
