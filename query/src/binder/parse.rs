//! Text to AST: limits, Postgres's wording of syntax errors, and the constructs that the parser does not know.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectName, Reset, ResetStatement, Statement, VisitMut, VisitorMut};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use stratos_types::{Error, ErrorKind, Result};

use super::rewrite::rewrite;
use super::source::SourceText;
use super::{cursor_statement, maintenance, refused};
use crate::dialect::StratosDialect;

/// Longest query string, bytes.
pub const MAX_SQL_BYTES: usize = 64 << 20;
/// Deepest nesting of parentheses, subqueries and the like that the parser follows.
pub const MAX_NESTING: usize = 500;
/// Most brackets that are open at once: few enough that what stands in them is not what meets the parser's limit.
const MAX_BRACKETS: usize = 480;
/// Most parentheses that begin with INSERT, UPDATE, DELETE or MERGE and are open at once. Only a common table expression may,
/// and none inside another; the parser reads them anywhere, several ways, and does not count steps there.
const MAX_CHANGES: usize = 8;
/// Most times that INTERVAL stands directly behind itself: the parser descends there without a limit, and nothing is meant by it.
const MAX_INTERVALS: usize = 16;
/// Longest chain of operators, those inside its operands' parentheses included: each is one level of the tree.
pub const MAX_CHAIN: usize = 5_000;
/// Most terms of an AND or OR: they are one level each in the parser's tree, but not in ours.
pub const MAX_TERMS: usize = 50_000;
/// A chain of more ANDs or ORs than this is made a balanced tree before anybody walks it.
const BALANCED_ABOVE: usize = 100;
/// What is said where something is missing at the end.
const END_OF_INPUT: &str = "syntax error at end of input";

/// A parsed statement.
#[derive(Debug, Clone)]
pub enum Body {
    /// By sqlparser.
    Sql(Box<Statement>),
    /// DDL that sqlparser does not know.
    Ddl(Box<crate::ddl::Extra>),
    /// `VACUUM`, `ANALYZE`.
    Maintain(maintenance::Maintenance),
    /// `CHECKPOINT`.
    Checkpoint,
    /// `COPY`.
    Copy(Box<crate::copy::CopyStatement>),
    /// `FETCH` and `MOVE`.
    Move(super::CursorMove),
    /// `SET CONSTRAINTS`.
    SetConstraints {
        /// Those named; none is all.
        names: Option<Vec<sqlparser::ast::ObjectName>>,
        /// `DEFERRED`, else `IMMEDIATE`.
        deferred: bool,
    },
}

/// One statement of a query string.
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    /// What it is.
    pub body: Body,
    /// Where its text stands in the query string, bytes, without the semicolon.
    pub range: Range<usize>,
    /// The whole query string.
    pub source: Arc<SourceText>,
}

impl ParsedStatement {
    /// The tree, where it is sqlparser's.
    pub fn sql(&self) -> Option<&Statement> {
        match &self.body {
            Body::Sql(statement) => Some(statement),
            _ => None,
        }
    }

    /// The statement's text.
    pub fn text(&self) -> &str {
        self.source.text().get(self.range.clone()).unwrap_or("")
    }
}

/// The tokens for the parser, and whether there is a chain of operators among them that has to be balanced.
fn tokens_of(source: &SourceText) -> Result<(Vec<TokenWithSpan>, bool)> {
    let tokens = super::escapes::tokens(source)?;
    check_numbers(&tokens, source)?;
    source.note_long_names(&tokens);
    let empty = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(w) if w.quote_style == Some('"') && w.value.is_empty());
    if let Some(name) = tokens.iter().find(empty) {
        let error = syntax("zero-length delimited identifier at or near \"\"\"\"".into());
        return Err(source.position(name.span).map_or(error.clone(), |position| error.at(position)));
    }
    let long = check_chains(&tokens)? > BALANCED_ABOVE;
    Ok((rewrite(tokens, source)?, long))
}

/// The tokens of a statement that is read by itself, for the parser.
///
/// # Errors
/// As [`parse`].
pub(crate) fn rewritten_tokens(source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    tokens_of(source).map(|(tokens, _)| tokens)
}

/// Parses a query string into its statements; none for an empty one.
///
/// # Errors
/// Syntax errors (42601) with position, 54001 when it is nested too deeply, 54000 when it is too long.
pub fn parse(sql: &str) -> Result<Vec<ParsedStatement>> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(Error::new(
            ErrorKind::ProgramLimitExceeded,
            format!("query string is longer than {MAX_SQL_BYTES} bytes"),
        ));
    }
    let source = Arc::new(SourceText::new(sql));
    let (tokens, long) = tokens_of(&source)?;
    let dialect = StratosDialect::for_tokens(tokens.len());
    let ends = statement_ends(&tokens, &source);
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let first = parser.peek_token();
        if first.token == Token::EOF {
            return Ok(statements);
        }
        let start = source.byte_at(first.span.start).unwrap_or(0);
        let end = ends.get(ends.partition_point(|end| *end < start)).copied().unwrap_or(source.text().len());
        let text = source.text().get(start..end).unwrap_or("").trim_end();
        if let Some(body) = extra(&first.token, text, &source, start)? {
            while !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF) {
                parser.next_token();
            }
            statements.push(ParsedStatement { body, range: start..start + text.len(), source: Arc::clone(&source) });
            continue;
        }
        let parsed = parser.parse_statement();
        if dialect.is_exhausted() {
            return Err(too_complex());
        }
        let mut statement = match parsed {
            Ok(statement) => statement,
            Err(e) => {
                return Err(refused::by_name(text).unwrap_or_else(|| parser_error(&source, &e, &parser)));
            }
        };
        // DESCRIBE of another system; Postgres explains statements.
        if let Statement::ExplainTable { table_name, .. } = &statement {
            let explain = matches!(&first.token, Token::Word(w) if w.keyword == Keyword::EXPLAIN);
            let wrong = match table_name.0.first().and_then(|part| part.as_ident()).filter(|_| explain) {
                Some(name) => TokenWithSpan { token: Token::make_word(&name.value, name.quote_style), span: name.span },
                None => first,
            };
            return Err(near(&source, &wrong));
        }
        if long {
            let _: ControlFlow<()> = statement.visit(&mut Balance);
        }
        let next = parser.peek_token();
        let end = match next.token {
            Token::EOF => source.text().len(),
            Token::SemiColon => source.byte_at(next.span.start).unwrap_or(source.text().len()),
            _ => return Err(refused::by_name(text).unwrap_or_else(|| near(&source, &next))),
        };
        if let Some(create) = super::creation::select_into(&mut statement)? {
            statement = Statement::CreateTable(create);
        }
        let start = source.byte_at(first.span.start).unwrap_or(0);
        let text = source.text().get(start..end).unwrap_or("");
        statements.push(ParsedStatement {
            body: Body::Sql(Box::new(statement)),
            range: start..start + text.trim_end().len(),
            source: Arc::clone(&source),
        });
    }
}

/// Byte offsets of the semicolons between statements.
fn statement_ends(tokens: &[sqlparser::tokenizer::TokenWithSpan], source: &SourceText) -> Vec<usize> {
    tokens
        .iter()
        .filter(|token| token.token == Token::SemiColon)
        .filter_map(|token| source.byte_at(token.span.start))
        .collect()
}

/// Statements that sqlparser does not know, by their first word.
fn extra(first: &Token, text: &str, source: &SourceText, start: usize) -> Result<Option<Body>> {
    let Token::Word(word) = first else { return Ok(None) };
    match word.value.to_ascii_lowercase().as_str() {
        "alter" | "create" | "drop" | "comment" => {
            let read = crate::ddl::parse_extra(text).transpose();
            let refused = |error: Error| match error.kind() {
                ErrorKind::SyntaxError => refused::by_name(text).unwrap_or_else(|| placed(error, text, source, start)),
                _ => error,
            };
            Ok(read.map_err(refused)?.map(|extra| Body::Ddl(Box::new(extra))))
        }
        "fetch" | "move" => cursor_statement::parse(text, source, start).map(|moved| Some(Body::Move(moved))),
        verb @ ("vacuum" | "analyze" | "analyse") => match maintenance::parse(text, verb == "vacuum") {
            Ok(read) => Ok(Some(Body::Maintain(read))),
            Err(error) => Err(placed(error, text, source, start)),
        },
        "set" => set_constraints(text),
        "reset" => Ok(reset_by_words(text)),
        "copy" => {
            let base = source.position_of_byte(start).map_or(0, |position| position - 1);
            match crate::copy::parse(text, base) {
                Ok(copy) => Ok(Some(Body::Copy(Box::new(copy)))),
                Err(error) => Err(placed(error, text, source, start)),
            }
        }
        "checkpoint" if text.len() == "checkpoint".len() => Ok(Some(Body::Checkpoint)),
        _ => Ok(None),
    }
}

/// The error of a statement that was read by itself, with its place in the whole query string.
fn placed(error: Error, text: &str, source: &SourceText, start: usize) -> Error {
    let behind = source.text().get(start + text.len()..).unwrap_or("");
    let space = behind.len() - behind.trim_start().len();
    let end = start + text.len() + space;
    if error.message() == END_OF_INPUT {
        let next = source.text().get(end..).is_some_and(|rest| rest.starts_with(';'));
        return match source.position_of_byte(end) {
            Some(position) if next => syntax("syntax error at or near \";\"".into()).at(position),
            _ => at_end(source),
        };
    }
    match (error.position(), source.position_of_byte(start)) {
        (Some(_), Some(first)) => error.behind(first - 1),
        _ => error,
    }
}

/// RESET of a setting that has a name of several words; none for another RESET.
fn reset_by_words(text: &str) -> Option<Body> {
    let words: Vec<String> = text.split_ascii_whitespace().skip(1).map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = match words.as_slice() {
        ["time", "zone"] => "timezone",
        ["session", "authorization"] => "session_authorization",
        ["transaction", "isolation", "level"] => "transaction_isolation",
        _ => return None,
    };
    let reset = Reset::ConfigurationParameter(ObjectName::from(Ident::new(name)));
    Some(Body::Sql(Box::new(Statement::Reset(ResetStatement { reset }))))
}

/// `SET CONSTRAINTS {ALL | name, …} {DEFERRED | IMMEDIATE}`; none for another SET.
fn set_constraints(text: &str) -> Result<Option<Body>> {
    let second = text.split_ascii_whitespace().nth(1);
    if !second.is_some_and(|word| word.eq_ignore_ascii_case("constraints")) {
        return Ok(None);
    }
    let dialect = StratosDialect::default();
    let refuse = |e: ParserError| Error::new(ErrorKind::SyntaxError, format!("syntax error: {e}"));
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(refuse)?;
    parser.next_token();
    parser.next_token();
    let names = match parser.parse_keyword(Keyword::ALL) {
        true => None,
        false => Some(parser.parse_comma_separated(|p| p.parse_object_name(false)).map_err(refuse)?),
    };
    let deferred = parser.parse_keyword(Keyword::DEFERRED);
    if !deferred && !parser.parse_keyword(Keyword::IMMEDIATE) || parser.peek_token().token != Token::EOF {
        let message = match parser.peek_token().token {
            Token::EOF => "syntax error at end of input".to_owned(),
            other => format!("syntax error at or near \"{other}\""),
        };
        return Err(Error::new(ErrorKind::SyntaxError, message));
    }
    Ok(Some(Body::SetConstraints { names, deferred }))
}

/// Parses a single expression (a column's default, a CHECK).
///
/// # Errors
/// As [`parse`].
pub fn parse_expr(sql: &str) -> Result<(Expr, Arc<SourceText>)> {
    let source = Arc::new(SourceText::new(sql));
    let (tokens, long) = tokens_of(&source)?;
    let dialect = StratosDialect::for_tokens(tokens.len());
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr();
    if dialect.is_exhausted() {
        return Err(too_complex());
    }
    let mut expr = parsed.map_err(|e| parser_error(&source, &e, &parser))?;
    if long {
        let _: ControlFlow<()> = expr.visit(&mut Balance);
    }
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(near(&source, &next));
    }
    Ok((expr, source))
}

/// Parses an expression that stands at a place of another text: its parts get the places that they have there.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_expr_at(sql: &str, place: Span) -> Result<(Expr, Arc<SourceText>)> {
    let count = |n: u64| usize::try_from(n).unwrap_or(0).saturating_sub(1);
    parse_expr(&("\n".repeat(count(place.start.line)) + &" ".repeat(count(place.start.column)) + sql))
}

/// Postgres 15 knows no digits in groups and no other base than ten; a word does not begin where a number ends.
fn check_numbers(tokens: &[TokenWithSpan], source: &SourceText) -> Result<()> {
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1).filter(|next| matches!(&next.token, Token::Word(w) if w.quote_style.is_none()));
        let (start, end) = match (&token.token, next) {
            (Token::Number(..), Some(word)) => (token.span.start, word.span.end),
            (Token::Number(digits, _), None) if digits.contains('_') => (token.span.start, token.span.end),
            (Token::HexStringLiteral(_), _) => (token.span.start, token.span.end),
            _ => continue,
        };
        let place = source.byte_at(start);
        let bytes = place.zip(source.byte_at(end));
        let text = bytes.and_then(|(start, end)| source.text().get(start..end)).unwrap_or("");
        if text.starts_with(['x', 'X']) {
            continue;
        }
        let message = format!("trailing junk after numeric literal at or near \"{text}\"");
        let error = Error::new(ErrorKind::SyntaxError, message);
        return Err(match place.and_then(|byte| source.position_of_byte(byte)) {
            Some(position) => error.at(position),
            None => error,
        });
    }
    Ok(())
}

/// 54001 of a statement that nests too deeply, or that can be read in too many ways.
pub(crate) fn too_complex() -> Error {
    Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded")
        .with_hint("Simplify the statement: it has too many nested expressions.")
}

/// How deep the tree of what stands between two parentheses gets.
#[derive(Default)]
struct Depth {
    /// Operators since the last AND, OR, comma or branch of a CASE.
    operators: usize,
    /// Depth of what was in parentheses since then.
    nested: usize,
    /// The deepest of the parts before.
    before: usize,
    /// ANDs and ORs since the last comma or branch.
    terms: usize,
    /// It begins as a statement that changes rows.
    changes: bool,
}

impl Depth {
    fn total(&self) -> usize {
        self.before.max(self.operators + self.nested)
    }

    /// What follows stands beside what came before, not above it.
    fn next_part(&mut self) {
        self.before = self.total();
        (self.operators, self.nested) = (0, 0);
    }
}

/// Bounds what nests before the parser looks for a way to read it, and left-associative chains, which are deep trees although
/// nothing nests, before the tree exists. Gives the length of the longest chain of ANDs and ORs.
fn check_chains(tokens: &[TokenWithSpan]) -> Result<usize> {
    let mut outer: Vec<Depth> = Vec::new();
    let mut level = Depth::default();
    let mut longest = 0;
    // The parser takes back what nests too deeply, and reads a CASE inside as something else.
    let mut cases = 0usize;
    let mut changes = 0usize;
    let mut intervals = 0usize;
    let mut opened = false;
    for token in tokens {
        let first = std::mem::take(&mut opened);
        match &token.token {
            Token::Word(w) if w.keyword == Keyword::INTERVAL => intervals += 1,
            Token::Whitespace(_) => {}
            _ => intervals = 0,
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                outer.push(std::mem::take(&mut level));
                opened = true;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                changes -= usize::from(level.changes);
                let inner = std::mem::replace(&mut level, outer.pop().unwrap_or_default());
                level.nested = level.nested.max(inner.total() + 1);
            }
            Token::Comma | Token::SemiColon => {
                level.next_part();
                level.terms = 0;
            }
            Token::Whitespace(_) => opened = first,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::EOF => {}
            Token::Word(w) => match w.keyword {
                Keyword::AND | Keyword::OR => {
                    level.next_part();
                    level.terms += 1;
                    longest = longest.max(level.terms);
                }
                Keyword::INSERT | Keyword::UPDATE | Keyword::DELETE | Keyword::MERGE if first => {
                    level.changes = true;
                    changes += 1;
                }
                Keyword::CASE => cases += 1,
                Keyword::END => cases = cases.saturating_sub(1),
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE => {
                    level.next_part();
                    level.terms = 0;
                }
                Keyword::NOT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::LIKE
                | Keyword::IS
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::BETWEEN => level.operators += 1,
                _ => {}
            },
            _ => level.operators += 1,
        }
        let nests =
            outer.len() > MAX_BRACKETS || cases > MAX_NESTING / 2 || changes > MAX_CHANGES || intervals > MAX_INTERVALS;
        if nests || level.operators + level.nested > MAX_CHAIN || level.terms > MAX_TERMS {
            return Err(too_complex());
        }
    }
    Ok(longest)
}

/// Makes balanced trees of long chains of ANDs and ORs, parents before what is below them, so that nobody has to descend
/// as deep as the chain is long.
struct Balance;

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        for op in [BinaryOperator::And, BinaryOperator::Or] {
            if chain_length(expr, &op) > BALANCED_ABOVE {
                let terms = take_chain(std::mem::replace(expr, nothing()), &op);
                *expr = balanced(terms, &op);
            }
        }
        ControlFlow::Continue(())
    }
}

fn nothing() -> Expr {
    Expr::Value(sqlparser::ast::Value::Null.into())
}

fn chain_length(mut expr: &Expr, chained: &BinaryOperator) -> usize {
    let mut length = 0;
    while let Expr::BinaryOp { left, op, right: _ } = expr
        && op == chained
    {
        length += 1;
        expr = left;
    }
    length
}

fn take_chain(mut expr: Expr, chained: &BinaryOperator) -> Vec<Expr> {
    let mut terms = Vec::new();
    loop {
        match expr {
            Expr::BinaryOp { left, op, right } if op == *chained => {
                terms.push(*right);
                expr = *left;
            }
            first => {
                terms.push(first);
                terms.reverse();
                return terms;
            }
        }
    }
}

fn balanced(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    match terms.len() {
        0 | 1 => terms.pop().unwrap_or_else(nothing),
        count => {
            let right = terms.split_off(count / 2);
            Expr::BinaryOp { left: Box::new(balanced(terms, op)), op: op.clone(), right: Box::new(balanced(right, op)) }
        }
    }
}

fn syntax(message: String) -> Error {
    Error::new(ErrorKind::SyntaxError, message)
}

pub(crate) fn near(source: &SourceText, token: &TokenWithSpan) -> Error {
    let Some(start) = source.byte_at(token.span.start) else {
        return at_end(source);
    };
    let end = source.byte_at(token.span.end).unwrap_or(start);
    let text = source.text().get(start..end).unwrap_or("");
    if token.token == Token::EOF || text.is_empty() {
        return at_end(source);
    }
    let e = syntax(format!("syntax error at or near \"{text}\""));
    match source.position_of_byte(start) {
        Some(p) => e.at(p),
        None => e,
    }
}

pub(super) fn at_end(source: &SourceText) -> Error {
    syntax(END_OF_INPUT.into()).at(source.text().chars().count() + 1)
}

/// Where the dollar-quoted string begins that has no end: at a `$tag$` that does not come again.
fn open_dollar(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(start) = text.get(from..)?.find('$').map(|at| from + at) {
        let name: usize =
            text[start + 1..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
        let end = start + 1 + name;
        if !text.get(end..)?.starts_with('$') {
            from = start + 1;
            continue;
        }
        let tag = text.get(start..=end)?;
        match text.get(end + 1..)?.find(tag) {
            Some(closed) => from = end + 1 + closed + tag.len(),
            None => return Some(start),
        }
    }
    None
}

pub(super) fn token_error(source: &SourceText, message: &str, at: Location) -> Error {
    let byte = source.byte_at(at).unwrap_or(0);
    let lower = message.to_ascii_lowercase();
    // What is not closed is reported where it was opened; the tokenizer says where the text ended.
    let opened = if lower.contains("dollar") {
        open_dollar(source.text())
    } else if lower.contains("comment") {
        source.text().find("/*")
    } else {
        None
    };
    let byte = opened.unwrap_or(byte);
    let rest = source.text().get(byte..).unwrap_or("");
    let text = if lower.contains("dollar") {
        format!("unterminated dollar-quoted string at or near \"{rest}\"")
    } else if lower.contains("comment") {
        format!("unterminated /* comment at or near \"{rest}\"")
    } else if lower.contains("close delimiter") {
        format!("unterminated quoted identifier at or near \"{rest}\"")
    } else if let Some(error) = bad_escape(source, byte) {
        return error;
    } else if lower.contains("unterminated") {
        format!("unterminated quoted string at or near \"{rest}\"")
    } else {
        let word: String = rest.chars().take_while(|c| !c.is_whitespace()).collect();
        format!("syntax error at or near \"{word}\"")
    };
    let e = syntax(text);
    match source.position_of_byte(byte) {
        Some(p) => e.at(p),
        None => e,
    }
}

/// What is wrong with an escape of the `E'…'` that begins there; none where nothing is but that it has no end.
pub(super) fn bad_escape(source: &SourceText, start: usize) -> Option<Error> {
    let text = source.text().get(start..)?.strip_prefix(['e', 'E'])?.strip_prefix('\'')?;
    let place = |rest: &str| source.position_of_byte(source.text().len() - rest.len());
    let at = |error: Error, rest: &str| match place(rest) {
        Some(position) => error.at(position),
        None => error,
    };
    let mut rest = text;
    let mut high: Option<u32> = None;
    loop {
        let first = rest.chars().next()?;
        let escape = rest.strip_prefix('\\').and_then(|behind| behind.chars().next());
        let wanted = match escape {
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        if wanted == 0 {
            if high.is_some() {
                let end = rest.find(['\\', '\'']).filter(|end| *end > 0).unwrap_or(first.len_utf8());
                let message = format!("invalid Unicode surrogate pair at or near \"{}\"", rest.get(..end)?);
                return Some(at(syntax(message), rest));
            }
            // A quote in a string is written twice.
            let behind = rest.strip_prefix("''");
            if behind.is_none() && first == '\'' {
                return None;
            }
            let skipped = escape.map_or(0, char::len_utf8);
            rest = behind.or_else(|| rest.get(first.len_utf8() + skipped..))?;
            continue;
        }
        let digits = rest.get(2..2 + wanted).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
        let Some(number) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            let error = Error::new(ErrorKind::InvalidEscapeSequence, "invalid Unicode escape")
                .with_hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX.");
            return Some(at(error, rest));
        };
        let written = rest.get(..2 + wanted)?;
        match (high.take(), number) {
            (None, 0xD800..=0xDBFF) => high = Some(number),
            (Some(_), 0xDC00..=0xDFFF) => {}
            (Some(_), _) | (None, 0xDC00..=0xDFFF) => {
                return Some(at(syntax(format!("invalid Unicode surrogate pair at or near \"{written}\"")), rest));
            }
            (None, 0 | 0x0011_0000..) => {
                return Some(at(syntax(format!("invalid Unicode escape value at or near \"{written}\"")), rest));
            }
            (None, _) => {}
        }
        rest = rest.get(2 + wanted..)?;
    }
}

/// Postgres's words for what the parser does not understand.
pub(crate) fn parser_error(source: &SourceText, error: &ParserError, parser: &Parser<'_>) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_complex(),
        ParserError::TokenizerError(m) | ParserError::ParserError(m) => m,
    };
    // Messages end in " at Line: 3, Column: 7" where the place is known.
    if let Some(at) = location_in(message) {
        let start = source.byte_at(at);
        let mut tokens = (0..=parser.get_current_index().saturating_add(4)).rev().map(|i| parser.token_at(i));
        if let Some(found) = tokens.find(|t| source.byte_at(t.span.start) == start) {
            return near(source, found);
        }
    }
    if message.contains("found: EOF") {
        return at_end(source);
    }
    near(source, &parser.peek_token())
}

fn location_in(message: &str) -> Option<Location> {
    let (_, rest) = message.rsplit_once(" at Line: ")?;
    let (line, column) = rest.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}
