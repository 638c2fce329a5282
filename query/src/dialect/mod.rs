//! The SQL that the parser reads: PostgreSQL 15's, above all the precedence of its operators.
//!
//! The parser's own dialect of Postgres has several operators on wrong levels, reads some words of other systems as operators
//! and lets comparisons associate. [`StratosDialect`] passes for it where the parser asks which dialect it reads, and decides
//! itself how expressions are put together: the levels below are those of Postgres's grammar (`gram.y`), lowest first.
//! [`operators`] says where an operator ends, which the parser's tokenizer does not know either.

mod budget;
mod infix;
pub(crate) mod operators;
mod prefix;

use std::any::TypeId;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Word};

use budget::Budget;
pub(crate) use prefix::{OPERATOR_PREFIX, SYMMETRIC};

/// What continues no expression.
const NONE: u8 = 0;
const OR: u8 = 10;
const AND: u8 = 20;
const NOT: u8 = 30;
/// `IS`, `ISNULL`, `NOTNULL`; they do not associate.
const IS: u8 = 40;
/// `<`, `>`, `=`, `<=`, `>=`, `<>`; they do not associate.
const COMPARISON: u8 = 50;
/// `BETWEEN`, `IN`, `LIKE`, `ILIKE`, `SIMILAR TO`; they do not associate.
const PATTERN: u8 = 60;
/// Every operator that is not named here, before and between operands.
const OPERATOR: u8 = 70;
const SUM: u8 = 80;
const PRODUCT: u8 = 90;
const POWER: u8 = 100;
const AT_TIME_ZONE: u8 = 110;
const COLLATE: u8 = 120;
/// `+` and `-` before an operand.
const SIGN: u8 = 130;
const CAST: u8 = 140;
/// Between two rows only, which are written in parentheses.
const OVERLAPS: u8 = 150;
const PERIOD: u8 = 200;

/// Bytes of a token, about.
const BYTES_PER_TOKEN: usize = 4;

/// PostgreSQL 15's grammar, for sqlparser. A value reads one statement or query string: it counts the steps that take.
#[derive(Debug, Default)]
pub struct StratosDialect {
    budget: Budget,
}

impl StratosDialect {
    /// The grammar for a text of so many tokens.
    pub fn for_tokens(count: usize) -> Self {
        Self { budget: Budget::for_tokens(count) }
    }

    /// The grammar for a text whose tokens nobody has counted.
    pub fn for_text(text: &str) -> Self {
        Self::for_tokens(text.len() / BYTES_PER_TOKEN)
    }

    /// Whether the parser was stopped since it tried too many ways to read the text: whatever it gave is void.
    pub fn is_exhausted(&self) -> bool {
        self.budget.is_exhausted()
    }

    /// Takes a step; if none is left, the parser finds nothing more that it could read.
    fn goes_on(&self, parser: &mut Parser<'_>) -> bool {
        let left = self.budget.spend();
        if !left {
            budget::stop(parser);
        }
        left
    }
}

/// Methods without arguments that answer as the parser's dialect of Postgres does.
macro_rules! as_postgres {
    ($($name:ident)*) => {
        $(fn $name(&self) -> bool {
            PostgreSqlDialect {}.$name()
        })*
    };
}

impl Dialect for StratosDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        PostgreSqlDialect {}.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        PostgreSqlDialect {}.is_reserved_for_identifier(keyword)
    }

    /// The tokenizer would take comments for parts of an operator, and signs that belong to the operand: [`operators`] puts
    /// together what it leaves apart.
    fn is_custom_operator_part(&self, _: char) -> bool {
        false
    }

    /// `5!` went with PostgreSQL 14.
    fn supports_factorial_operator(&self) -> bool {
        false
    }

    /// Every SELECT asks this: one without expressions is a step too, and one that is read in vain ends here.
    fn supports_empty_projections(&self) -> bool {
        self.budget.spend()
    }

    /// Asked behind `*`, which is no step, as of every word that may be an alias.
    fn is_select_item_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        // `INSERT INTO t SELECT 1 ON CONFLICT …`
        self.goes_on(parser) && (explicit || *keyword != Keyword::ON && self.is_column_alias(keyword, parser))
    }

    /// Asked behind every relation that a word follows.
    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        self.goes_on(parser) && (explicit || self.is_table_alias(keyword, parser))
    }

    /// Names of arguments are no expressions: looking for one would read every argument twice, and the innermost of nested
    /// calls as often as two to the power of their depth.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    /// `:=`, the older way to name an argument.
    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    /// They are read with UESCAPE and pairs of surrogates, which the tokenizer does not know (`binder/unicode.rs`).
    fn supports_unicode_string_literal(&self) -> bool {
        false
    }

    as_postgres! {
        supports_filter_during_aggregation supports_group_by_expr allow_extract_custom
        allow_extract_single_quotes supports_create_index_with_clause supports_explain_with_utility_options
        supports_listen_notify supports_bitwise_shift_operators supports_comment_on supports_load_extension
        supports_nested_comments supports_string_escape_constant
        supports_numeric_literal_underscores supports_array_typedef_with_brackets supports_geometric_types
        supports_set_names supports_alter_column_type_using supports_notnull_operator supports_interval_options
        supports_insert_table_alias supports_create_table_like_parenthesized
        supports_select_wildcard_with_alias supports_comma_separated_trim supports_xml_expressions supports_comment_optimizer_hint
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        Some(Ok(precedence(parser)))
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Period => PERIOD,
            Precedence::DoubleColon => CAST,
            Precedence::AtTz => AT_TIME_ZONE,
            Precedence::Caret => POWER,
            Precedence::MulDivModOp => PRODUCT,
            Precedence::PlusMinus => SUM,
            Precedence::Xor | Precedence::Ampersand | Precedence::Pipe | Precedence::PgOther => OPERATOR,
            Precedence::Between | Precedence::Like => PATTERN,
            Precedence::Eq => COMPARISON,
            Precedence::Is => IS,
            Precedence::UnaryNot => NOT,
            Precedence::And => AND,
            Precedence::Or => OR,
            // A bound of a subscript is a whole expression.
            Precedence::Colon => NONE,
        }
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        if !self.goes_on(parser) {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        prefix::parse(parser)
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        if !self.goes_on(parser) {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        infix::parse(parser, left)
    }
}

/// The unquoted keyword that stands `ahead` tokens after the next one.
fn keyword(parser: &Parser<'_>, ahead: usize) -> Keyword {
    match &parser.peek_nth_token_ref(ahead).token {
        Token::Word(Word { keyword, quote_style: None, value: _ }) => *keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Whether these tokens are `NOT` of `NOT LIKE` and its kin.
fn negates_pattern(parser: &Parser<'_>) -> bool {
    matches!(keyword(parser, 1), Keyword::IN | Keyword::BETWEEN | Keyword::LIKE | Keyword::ILIKE | Keyword::SIMILAR)
}

/// How strongly the next token binds what stands before it.
fn precedence(parser: &Parser<'_>) -> u8 {
    let next = &parser.peek_token_ref().token;
    match next {
        Token::Word(word) => match word.keyword {
            Keyword::OR => OR,
            Keyword::AND => AND,
            Keyword::NOT if negates_pattern(parser) => PATTERN,
            Keyword::IS | Keyword::NOTNULL => IS,
            Keyword::IN | Keyword::BETWEEN | Keyword::LIKE | Keyword::ILIKE | Keyword::SIMILAR => PATTERN,
            Keyword::OPERATOR if parser.peek_nth_token_ref(1).token == Token::LParen => OPERATOR,
            Keyword::AT if keyword(parser, 1) == Keyword::TIME && keyword(parser, 2) == Keyword::ZONE => AT_TIME_ZONE,
            // In the definition of a column it is the column's, which the parser tells nobody but its own dialects.
            Keyword::COLLATE => match (PostgreSqlDialect {}).get_next_precedence(parser) {
                Some(Ok(_)) => COLLATE,
                _ => NONE,
            },
            Keyword::OVERLAPS => OVERLAPS,
            _ => NONE,
        },
        Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => COMPARISON,
        Token::Plus | Token::Minus => SUM,
        Token::Mul | Token::Div | Token::Mod => PRODUCT,
        Token::Caret => POWER,
        Token::DoubleColon => CAST,
        Token::Period => PERIOD,
        other if operators::is_other(other) => OPERATOR,
        _ => NONE,
    }
}

/// The error of a sentence that cannot go on with the next token.
fn no_place<T>(parser: &Parser<'_>) -> Result<T, ParserError> {
    parser.expected_ref("the end of the expression", parser.peek_token_ref())
}

/// Tokens that are looked at to tell a query in parentheses from an expression that begins with one.
const QUERY_LOOKAHEAD_MAX: usize = 4_096;

/// Whether a query stands in the parenthesis that was just opened, and not an expression or a list that begins with a query in
/// parentheses; none where that shows too late.
fn opens_query(parser: &Parser<'_>) -> Option<bool> {
    let first = parser.get_current_index() + 1;
    let mut tokens = (first..first + QUERY_LOOKAHEAD_MAX)
        .map(|at| &parser.token_at(at).token)
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .peekable();
    let mut level = 0usize;
    while tokens.peek() == Some(&&Token::LParen) {
        tokens.next();
        level += 1;
    }
    let word = |token: Option<&&Token>| match token {
        Some(Token::Word(Word { keyword, quote_style: None, value: _ })) => *keyword,
        _ => Keyword::NoKeyword,
    };
    if !matches!(word(tokens.peek()), Keyword::SELECT | Keyword::WITH | Keyword::VALUES) {
        return Some(false);
    }
    let mut depth = level;
    while level > 0 {
        match tokens.next()? {
            Token::LParen => depth += 1,
            Token::RParen if depth > level => depth -= 1,
            Token::RParen => {
                (level, depth) = (level - 1, depth - 1);
                let goes_on = matches!(
                    word(tokens.peek()),
                    Keyword::UNION
                        | Keyword::INTERSECT
                        | Keyword::EXCEPT
                        | Keyword::ORDER
                        | Keyword::LIMIT
                        | Keyword::OFFSET
                        | Keyword::FETCH
                );
                if !goes_on && tokens.peek() != Some(&&Token::RParen) {
                    return Some(false);
                }
            }
            Token::EOF => return Some(false),
            _ => {}
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests;
