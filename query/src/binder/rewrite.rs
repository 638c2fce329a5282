//! Constructs of Postgres that the parser does not know, said in its own language before it reads the tokens.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};
use stratos_types::{Error, Result};

use super::creation::Creation;
use super::elements::name_elements;
use super::expression_forms::expression_form;
use super::frames::bracket_offsets;
use super::grouped_items::grouped;
use super::nested_joins::{Joined, ends_joins, nest_joins};
use super::query_forms::query_form;
use super::relations::{EXPRESSION_MARKER, Relations};
use super::source::SourceText;
use super::spaces::without_space;
use super::statement_forms::statement_form;
use super::tablespace::settle_tablespaces;
use super::type_forms::type_form;
use super::words::settle_words;

/// Text of the synthetic hint comment that carries `OVERRIDING … VALUE`.
pub(crate) const OVERRIDING_MARKER: &str = "\u{1}overriding ";
/// Field name that stands for the star of `(composite).*`.
pub(crate) const STAR_MARKER: &str = "\u{1}star";
/// Beginning of the synthetic column name that carries the predicate of `ON CONFLICT (…) WHERE`.
pub(crate) const PREDICATE_MARKER: &str = "\u{1}where ";
/// Beginning of the synthetic column name that carries an expression in the list of ON CONFLICT.
pub(crate) const INDEXED_MARKER: &str = "\u{1}indexed ";
/// Beginning of the synthetic name in a USING list that carries the list's alias.
pub(crate) const JOIN_ALIAS_MARKER: &str = "\u{1}as ";
/// Synthetic first item of GROUP BY that stands for DISTINCT.
pub(crate) const DISTINCT_MARKER: &str = "\u{1}distinct";
/// Name of the synthetic function that `FETCH FIRST (…) ROWS WITH TIES` makes of its count.
pub(crate) const TIES_MARKER: &str = "\u{1}ties";
/// Reserved words that are values without parentheses, and never with.
const NEVER_CALLED: &[&str] = &["current_catalog", "current_date", "current_role", "current_user", "session_user"];
/// Name of the relation that a parenthesised VALUES becomes; Postgres's own.
pub(super) const VALUES_NAME: &str = "*VALUES*";

pub(super) fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(w) if w.quote_style.is_none() => w.keyword,
        _ => Keyword::NoKeyword,
    }
}

pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

pub(super) fn word(value: &str, keyword: Keyword, quoted: bool, span: Span) -> TokenWithSpan {
    TokenWithSpan {
        token: Token::Word(Word { value: value.to_owned(), quote_style: quoted.then_some('"'), keyword }),
        span,
    }
}

pub(super) fn plain(token: Token, span: Span) -> TokenWithSpan {
    TokenWithSpan { token, span }
}

/// How many tokens from the first one on are a dotted name.
pub(super) fn name_length(tokens: &[TokenWithSpan]) -> usize {
    let mut length = 0;
    while matches!(tokens.get(length).map(|t| &t.token), Some(Token::Word(_))) {
        length += 1;
        if !matches!(tokens.get(length).map(|t| &t.token), Some(Token::Period)) {
            break;
        }
        length += 1;
    }
    length
}

/// Where a list of names, behind the parenthesis that opens it, is closed; none if something else stands in it.
pub(super) fn list_end(tokens: &[TokenWithSpan]) -> Option<usize> {
    let close = tokens.iter().position(|t| !matches!(t.token, Token::Word(_) | Token::Comma))?;
    (tokens[close].token == Token::RParen).then_some(close)
}

pub(super) fn is_end(token: Option<&TokenWithSpan>) -> bool {
    matches!(token.map(|t| &t.token), None | Some(Token::SemiColon | Token::EOF))
}

/// Whether `(VALUES …)` may stand as a relation after this token; elsewhere it is an expression, which the parser does not
/// know.
fn values_is_relation(previous: Option<&TokenWithSpan>, in_from: bool) -> bool {
    let Some(previous) = previous else { return true };
    match &previous.token {
        Token::Comma | Token::LParen => in_from,
        Token::SemiColon => true,
        _ => matches!(
            keyword(previous),
            Keyword::FROM
                | Keyword::JOIN
                | Keyword::LATERAL
                | Keyword::USING
                | Keyword::AS
                | Keyword::MATERIALIZED
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::ALL
                | Keyword::DISTINCT
                | Keyword::INTO
        ),
    }
}

/// Whether an expression goes on with this token.
fn goes_on(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::DoubleColon)
        || crate::dialect::operators::is_operator(&token.token)
        || matches!(
            keyword(token),
            Keyword::IS | Keyword::NOTNULL | Keyword::NOT | Keyword::IN | Keyword::BETWEEN | Keyword::AND | Keyword::OR
        )
        || is_word(token, "isnull")
}

/// What is open at one level of parentheses.
#[derive(Default)]
pub(super) struct Open {
    /// A FROM list is being read.
    in_from: bool,
    /// The parenthesis closes a `(VALUES …)` that was made a relation.
    values: bool,
    /// A SELECT was read, and its FROM.
    pub select: bool,
    pub from: bool,
    /// A set operation was read.
    pub set_operation: bool,
    /// LIMIT, OFFSET or FETCH was read.
    pub limited: bool,
    /// Locking clauses that stood before LIMIT: the parser wants them behind it.
    pub locks: Vec<TokenWithSpan>,
    /// Joins whose ON or USING has not come yet.
    joins: Vec<Joined>,
    /// The FROM list.
    relations: Relations,
    /// The parenthesis closes an expression that was made a relation.
    expression: bool,
    /// These are the arguments of SUBSTRING; SIMILAR and ESCAPE were read.
    pub substring: bool,
    pub similar: bool,
    pub escaped: bool,
}

/// What is being rewritten: what was written, and where in the statement that is.
pub(super) struct Rewriting<'s> {
    pub source: &'s SourceText,
    pub out: Vec<TokenWithSpan>,
    /// Levels of parentheses, of which the outermost is always there.
    open: Vec<Open>,
    /// Where a hint for INSERT goes.
    pub insert_at: Option<usize>,
    creation: Creation,
    /// The first word of a statement comes next.
    pub starts: bool,
    /// The parenthesis that comes next is that of an expression that is made a relation.
    expression: bool,
    /// The statement's first word.
    pub first: Keyword,
}

/// What has not been rewritten yet; never empty.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'t>(&'t [TokenWithSpan]);

impl<'t> Ahead<'t> {
    /// The token that comes next.
    pub fn token(self) -> &'t TokenWithSpan {
        &self.0[0]
    }

    /// The one so many tokens behind it.
    pub fn get(self, behind: usize) -> Option<&'t TokenWithSpan> {
        self.0.get(behind)
    }

    /// Its keyword.
    pub fn keyword(self, behind: usize) -> Keyword {
        self.get(behind).map_or(Keyword::NoKeyword, keyword)
    }

    /// Whether it is this one.
    pub fn is(self, behind: usize, token: &Token) -> bool {
        self.get(behind).is_some_and(|t| t.token == *token)
    }

    /// All from that one on.
    pub fn from(self, behind: usize) -> &'t [TokenWithSpan] {
        self.0.get(behind..).unwrap_or_default()
    }

    /// All from the next one to before that one.
    pub fn to(self, behind: usize) -> &'t [TokenWithSpan] {
        self.0.get(..behind).unwrap_or(self.0)
    }
}

/// Says in the parser's language what it does not know: `TABLE t`, `FROM ONLY t`, `x ISNULL`, `ORDER BY x USING >`, `FOR NO KEY UPDATE`,
/// `FOR UPDATE OF a, b`, `FOR UPDATE` before LIMIT, `USING (…) AS x`, joins whose
/// conditions come at the end, `GROUP BY DISTINCT`, `OVERRIDING … VALUE`, `ON CONFLICT (…) WHERE`, `(row).*`, `(VALUES …)` as
/// an expression, a SELECT of nothing, options of sequences in any order, forms of CREATE TABLE, `interval(3) '…'`. Refuses by
/// name what cannot be said.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let tokens = settle_tablespaces(settle_words(without_space(tokens, source)?, source)?)?;
    let mut tokens = bracket_offsets(grouped(name_elements(tokens, source)));
    let mut rewriting = Rewriting::new(source, tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match rewriting.step(Ahead(&tokens[at..]))? {
            Some(used) => at += used,
            None => {
                // Literals may be long: they are not copied.
                let end = plain(Token::EOF, tokens[at].span);
                rewriting.take_over(std::mem::replace(&mut tokens[at], end));
                at += 1;
            }
        }
    }
    rewriting.end()
}

impl<'s> Rewriting<'s> {
    fn new(source: &'s SourceText, tokens: usize) -> Self {
        Rewriting {
            source,
            out: Vec::with_capacity(tokens + 8),
            open: vec![Open::default()],
            insert_at: None,
            creation: Creation::default(),
            starts: true,
            expression: false,
            first: Keyword::NoKeyword,
        }
    }

    /// Keeps account of a token and says it otherwise, if need be: how many tokens that took. None where it stays as it is.
    fn step(&mut self, ahead: Ahead<'_>) -> Result<Option<usize>> {
        let depth = self.open.len() - 1;
        if let Some(used) = self.creation.step(ahead.from(0), self.first, depth, &mut self.out) {
            return Ok(Some(used));
        }
        let mut used = self.parentheses(ahead)?;
        if used.is_none() {
            self.clauses(ahead);
            used = self.relation(ahead);
        }
        if used.is_none() {
            self.no_call(ahead)?;
            used = statement_form(self, ahead)?;
        }
        if used.is_none() {
            used = type_form(self, ahead);
        }
        if used.is_none() {
            used = query_form(self, ahead)?;
        }
        if used.is_none() {
            used = expression_form(self, ahead)?;
        }
        if used.is_some() {
            self.starts = false;
        }
        Ok(used)
    }

    /// Writes a token as it is.
    fn take_over(&mut self, token: TokenWithSpan) {
        self.starts = token.token == Token::SemiColon || (self.starts && token.token == Token::LParen);
        if token.token == Token::SemiColon {
            self.insert_at = None;
        }
        self.out.push(token);
    }

    fn end(mut self) -> Result<Vec<TokenWithSpan>> {
        if self.open.iter().any(|level| !level.joins.is_empty()) {
            return Err(super::parse::at_end(self.source));
        }
        if let Some(level) = self.open.last_mut() {
            self.out.append(&mut level.locks);
        }
        Ok(self.out)
    }

    /// The level of parentheses that is open.
    pub fn level(&mut self) -> &mut Open {
        if self.open.is_empty() {
            self.open.push(Open::default());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Opens one that was written already.
    pub fn open(&mut self) {
        self.open.push(Open::default());
    }

    /// The keyword that was written last.
    pub fn previous(&self) -> Keyword {
        self.out.last().map_or(Keyword::NoKeyword, keyword)
    }

    /// Whether this was.
    pub fn is_behind(&self, tokens: &[Token]) -> bool {
        self.out.last().is_some_and(|t| tokens.contains(&t.token))
    }

    /// Writes keywords and punctuation at a place of the source.
    pub fn say(&mut self, words: &[Keyword], span: Span) {
        self.out.extend(words.iter().map(|k| word(&format!("{k:?}"), *k, false, span)));
    }

    pub fn put(&mut self, token: Token, span: Span) {
        self.out.push(plain(token, span));
    }

    /// A construct that is refused by name.
    pub fn refuse(&self, what: &str, token: &TokenWithSpan) -> Error {
        let e = Error::unsupported(what);
        match self.source.position(token.span) {
            Some(p) => e.at(p),
            None => e,
        }
    }

    /// Parentheses open and close levels; some are of what is not there for the parser.
    fn parentheses(&mut self, ahead: Ahead<'_>) -> Result<Option<usize>> {
        let token = ahead.token();
        let span = token.span;
        let ends_query = matches!(token.token, Token::RParen | Token::SemiColon | Token::EOF)
            || matches!(keyword(token), Keyword::ON | Keyword::RETURNING);
        if ends_query {
            let mut locks = std::mem::take(&mut self.level().locks);
            self.out.append(&mut locks);
        }
        if !self.level().joins.is_empty() && ends_joins(token) {
            return Err(super::parse::near(self.source, token));
        }
        match &token.token {
            // `t.*` as a value: something is done with it.
            Token::Mul if self.is_behind(&[Token::Period]) && ahead.get(1).is_some_and(goes_on) => {
                self.out.push(word(STAR_MARKER, Keyword::NoKeyword, true, span));
                return Ok(Some(1));
            }
            Token::LParen if ahead.keyword(1) == Keyword::VALUES => {
                let in_from = self.level().in_from;
                let values = !self.starts && !values_is_relation(self.out.last(), in_from);
                if values {
                    self.out.push(token.clone());
                    self.select_star_from(span);
                }
                self.open.push(Open { values, ..Open::default() });
            }
            Token::LParen => {
                let (expression, substring) =
                    (std::mem::take(&mut self.expression), self.previous() == Keyword::SUBSTRING);
                self.open.push(Open { expression, substring, ..Open::default() });
            }
            Token::RParen => return self.close(ahead),
            Token::SemiColon => self.open = vec![Open::default()],
            _ => {}
        }
        Ok(None)
    }

    fn close(&mut self, ahead: Ahead<'_>) -> Result<Option<usize>> {
        let token = ahead.token();
        let span = token.span;
        let closed = if self.open.len() > 1 { self.open.pop() } else { None };
        match closed {
            Some(Open { values: true, .. }) => {
                self.out.push(token.clone());
                self.say(&[Keyword::AS], span);
                self.out.push(word(VALUES_NAME, Keyword::NoKeyword, true, span));
            }
            Some(Open { expression: true, .. }) => self.out.push(token.clone()),
            Some(Open { similar: true, escaped: false, .. }) => {
                return Err(super::parse::near(self.source, token));
            }
            _ => {}
        }
        if ahead.is(1, &Token::Period) && ahead.is(2, &Token::Mul) {
            self.out.push(token.clone());
            self.put(Token::Period, span);
            self.out.push(word(STAR_MARKER, Keyword::NoKeyword, true, span));
            return Ok(Some(3));
        }
        Ok(None)
    }

    /// Writes `SELECT * FROM`.
    pub fn select_star_from(&mut self, span: Span) {
        self.say(&[Keyword::SELECT], span);
        self.put(Token::Mul, span);
        self.say(&[Keyword::FROM], span);
    }

    /// Which clause is read, and the joins and relations in it.
    fn clauses(&mut self, ahead: Ahead<'_>) {
        let token = ahead.token();
        let level = self.level();
        match keyword(token) {
            Keyword::FROM => (level.in_from, level.from) = (true, true),
            Keyword::SELECT => {
                (level.in_from, level.from, level.limited) = (false, false, false);
                level.select = true;
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => level.set_operation = true,
            Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH => (level.in_from, level.limited) = (false, true),
            Keyword::WHERE
            | Keyword::ON
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::RETURNING
            | Keyword::SET => level.in_from = false,
            _ => {}
        }
        // In parentheses without a SELECT it is EXTRACT's and its kin's.
        let changes = self.first == Keyword::UPDATE && self.open.len() == 1;
        if let Some(level) = self.open.last_mut() {
            level.relations.step(token, &self.out, changes || level.select);
            nest_joins(token, &mut level.joins, &mut self.out);
        }
        if self.starts {
            self.first = keyword(token);
        }
    }

    /// A call in FROM that is no function's, as one.
    fn relation(&mut self, ahead: Ahead<'_>) -> Option<usize> {
        let token = ahead.token();
        let called = self.open.last()?.relations.expression(token, ahead.get(1), &self.out)?;
        self.out.push(word(EXPRESSION_MARKER, Keyword::NoKeyword, true, token.span));
        self.put(Token::LParen, token.span);
        self.out.push(token.clone());
        if !called {
            self.put(Token::RParen, token.span);
        }
        self.expression = called;
        Some(1)
    }

    /// 42601 for parentheses behind words that never have them.
    fn no_call(&self, ahead: Ahead<'_>) -> Result<()> {
        if NEVER_CALLED.iter().any(|word| is_word(ahead.token(), word))
            && !self.is_behind(&[Token::Period])
            && let Some(bracket) = ahead.get(1).filter(|t| t.token == Token::LParen)
        {
            return Err(super::parse::near(self.source, bracket));
        }
        Ok(())
    }
}
