//! What goes on after an operand. The left operand comes borrowed: only what the parser itself cannot read is built here, with
//! a copy of it; the rest is looked at and left to the parser.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, UnaryOperator,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, Word};

use super::prefix::quantifier;
use super::{AND, IS, PATTERN, SYMMETRIC, keyword, no_place, opens_query, operators};

/// Tokens of `OPERATOR(schema.+)` at most.
const OPERATOR_NAME_TOKENS_MAX: usize = 8;

/// Reads an operator and its right operand, if it is not one that the parser reads as Postgres does.
pub(super) fn parse(parser: &mut Parser<'_>, left: &Expr) -> Option<Result<Expr, ParserError>> {
    match &parser.peek_token_ref().token {
        Token::Word(word) => match word.keyword {
            Keyword::IS | Keyword::NOTNULL if is_distinct(left) => Some(no_place(parser)),
            Keyword::IS => {
                let negated = keyword(parser, 1) == Keyword::NOT;
                let what = keyword(parser, if negated { 2 } else { 1 });
                (what == Keyword::DISTINCT).then(|| distinct(parser, left))
            }
            Keyword::NOT | Keyword::IN | Keyword::BETWEEN | Keyword::LIKE | Keyword::ILIKE | Keyword::SIMILAR => {
                Some(if is_pattern(left) { no_place(parser) } else { pattern(parser, left) })
            }
            Keyword::COLLATE => Some(collate(parser, left)),
            Keyword::OVERLAPS if !is_row(left) => Some(no_place(parser)),
            Keyword::OPERATOR => {
                let end = (2..OPERATOR_NAME_TOKENS_MAX)
                    .find(|ahead| parser.peek_nth_token_ref(*ahead).token == Token::RParen)?;
                quantifier(parser, end + 1).then(|| {
                    let operator = named(parser, end)?;
                    quantified(parser, left, operator)
                })
            }
            _ => None,
        },
        Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq if is_comparison(left) => {
            Some(no_place(parser))
        }
        token => {
            let quantified_by = quantifier(parser, 1);
            let unknown = matches!(
                token,
                Token::DoubleEq
                    | Token::Spaceship
                    | Token::ExclamationMark
                    | Token::DoubleExclamationMark
                    | Token::AtDashAt
                    | Token::PGSquareRoot
                    | Token::PGCubeRoot
                    | Token::VerticalBarRightAngleBracket
            );
            if !quantified_by && !unknown || !operators::is_operator(token) {
                return None;
            }
            let operator = symbolic(&parser.next_token().token);
            Some(if quantified_by { quantified(parser, left, operator) } else { binary(parser, left, operator) })
        }
    }
}

/// A comparison without parentheses around it: no other one may follow.
fn is_comparison(expr: &Expr) -> bool {
    use BinaryOperator as B;
    matches!(expr, Expr::BinaryOp { op: B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq, left: _, right: _ })
}

/// The same for those of the level of LIKE that end in an operand.
fn is_pattern(expr: &Expr) -> bool {
    matches!(expr, Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } | Expr::Between { .. })
}

/// The same for IS.
fn is_distinct(expr: &Expr) -> bool {
    matches!(expr, Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..))
}

fn is_row(expr: &Expr) -> bool {
    match expr {
        Expr::Tuple(_) => true,
        Expr::Function(function) => function.name.to_string().eq_ignore_ascii_case("row"),
        _ => false,
    }
}

fn symbolic(token: &Token) -> BinaryOperator {
    match token {
        Token::Eq => BinaryOperator::Eq,
        Token::Neq => BinaryOperator::NotEq,
        Token::Lt => BinaryOperator::Lt,
        Token::LtEq => BinaryOperator::LtEq,
        Token::Gt => BinaryOperator::Gt,
        Token::GtEq => BinaryOperator::GtEq,
        Token::Tilde => BinaryOperator::PGRegexMatch,
        Token::TildeAsterisk => BinaryOperator::PGRegexIMatch,
        Token::ExclamationMarkTilde => BinaryOperator::PGRegexNotMatch,
        Token::ExclamationMarkTildeAsterisk => BinaryOperator::PGRegexNotIMatch,
        Token::DoubleTilde => BinaryOperator::PGLikeMatch,
        Token::DoubleTildeAsterisk => BinaryOperator::PGILikeMatch,
        Token::ExclamationMarkDoubleTilde => BinaryOperator::PGNotLikeMatch,
        Token::ExclamationMarkDoubleTildeAsterisk => BinaryOperator::PGNotILikeMatch,
        other => BinaryOperator::Custom(other.to_string()),
    }
}

/// `OPERATOR(schema.+)`, of which the last token is so many ahead.
fn named(parser: &mut Parser<'_>, end: usize) -> Result<BinaryOperator, ParserError> {
    let mut name = Vec::new();
    for _ in 0..=end {
        let token = parser.next_token();
        match &token.token {
            Token::LParen | Token::RParen | Token::Period => {}
            Token::Word(Word { keyword: Keyword::OPERATOR, quote_style: None, value: _ }) if name.is_empty() => {}
            Token::Word(word) => name.push(word.value.clone()),
            symbol if operators::is_operator(symbol) => name.push(symbol.to_string()),
            _ => return parser.expected("an operator", token),
        }
    }
    Ok(BinaryOperator::PGCustomBinaryOperator(name))
}

fn binary(parser: &mut Parser<'_>, left: &Expr, op: BinaryOperator) -> Result<Expr, ParserError> {
    let right = parser.parse_subexpr(super::OPERATOR)?;
    Ok(Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right) })
}

/// `left op ANY (array or query)`, behind the operator.
fn quantified(parser: &mut Parser<'_>, left: &Expr, compare_op: BinaryOperator) -> Result<Expr, ParserError> {
    let word = parser.next_token();
    let quantifier = match &word.token {
        Token::Word(word) => word.keyword,
        _ => return parser.expected("ANY, SOME or ALL", word),
    };
    parser.expect_token(&Token::LParen)?;
    let is_query = opens_query(parser).unwrap_or(true);
    let right = if is_query { Expr::Subquery(parser.parse_query()?) } else { parser.parse_expr()? };
    parser.expect_token(&Token::RParen)?;
    let (left, right) = (Box::new(left.clone()), Box::new(right));
    Ok(match quantifier {
        Keyword::ALL => Expr::AllOp { left, compare_op, right },
        _ => Expr::AnyOp { left, compare_op, right, is_some: quantifier == Keyword::SOME },
    })
}

fn distinct(parser: &mut Parser<'_>, left: &Expr) -> Result<Expr, ParserError> {
    parser.expect_keyword(Keyword::IS)?;
    let negated = parser.parse_keyword(Keyword::NOT);
    parser.expect_keywords(&[Keyword::DISTINCT, Keyword::FROM])?;
    let (left, right) = (Box::new(left.clone()), Box::new(parser.parse_subexpr(IS)?));
    Ok(if negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) })
}

fn collate(parser: &mut Parser<'_>, left: &Expr) -> Result<Expr, ParserError> {
    parser.expect_keyword(Keyword::COLLATE)?;
    Ok(Expr::Collate { expr: Box::new(left.clone()), collation: parser.parse_object_name(false)? })
}

/// `[NOT] LIKE`, `ILIKE`, `SIMILAR TO`, `IN` and `BETWEEN`.
fn pattern(parser: &mut Parser<'_>, left: &Expr) -> Result<Expr, ParserError> {
    let negated = parser.parse_keyword(Keyword::NOT);
    let word = keyword(parser, 0);
    parser.next_token();
    match word {
        Keyword::IN => member(parser, left, negated),
        Keyword::BETWEEN => between(parser, left, negated),
        Keyword::SIMILAR => {
            parser.expect_keyword(Keyword::TO)?;
            like(parser, left, word, negated)
        }
        _ if quantifier(parser, 0) => {
            let operator = match (word, negated) {
                (Keyword::LIKE, false) => BinaryOperator::PGLikeMatch,
                (Keyword::LIKE, true) => BinaryOperator::PGNotLikeMatch,
                (_, false) => BinaryOperator::PGILikeMatch,
                (_, true) => BinaryOperator::PGNotILikeMatch,
            };
            quantified(parser, left, operator)
        }
        _ => like(parser, left, word, negated),
    }
}

fn like(parser: &mut Parser<'_>, left: &Expr, word: Keyword, negated: bool) -> Result<Expr, ParserError> {
    let expr = Box::new(left.clone());
    let mut pattern = parser.parse_subexpr(PATTERN)?;
    let mut escape_char = None;
    if parser.parse_keyword(Keyword::ESCAPE) {
        // The tree has a place for constants only; what Postgres makes of it are calls.
        match (parser.parse_subexpr(PATTERN)?, word) {
            (Expr::Value(constant), _) => escape_char = Some(constant),
            (escape, Keyword::SIMILAR) => {
                let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
                let right = Box::new(call("similar_to_escape", vec![pattern, escape]));
                return Ok(Expr::BinaryOp { left: expr, op, right });
            }
            (escape, _) => pattern = call("like_escape", vec![pattern, escape]),
        }
    }
    let pattern = Box::new(pattern);
    Ok(match word {
        Keyword::LIKE => Expr::Like { negated, any: false, expr, pattern, escape_char },
        Keyword::ILIKE => Expr::ILike { negated, any: false, expr, pattern, escape_char },
        _ => Expr::SimilarTo { negated, expr, pattern, escape_char },
    })
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `[NOT] IN (list or query)`, behind IN.
fn member(parser: &mut Parser<'_>, left: &Expr, negated: bool) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(left.clone());
    let member = if opens_query(parser).unwrap_or(true) {
        Expr::InSubquery { expr, subquery: parser.parse_query()?, negated }
    } else {
        Expr::InList { expr, list: parser.parse_comma_separated(Parser::parse_expr)?, negated }
    };
    parser.expect_token(&Token::RParen)?;
    Ok(member)
}

/// `[NOT] BETWEEN [SYMMETRIC] low AND high`, behind BETWEEN.
fn between(parser: &mut Parser<'_>, left: &Expr, negated: bool) -> Result<Expr, ParserError> {
    let word = match &parser.peek_token_ref().token {
        Token::Word(Word { value, quote_style: None, keyword: _ }) => value.to_ascii_uppercase(),
        _ => String::new(),
    };
    let symmetric = word == SYMMETRIC;
    let mut span = Span::empty();
    if symmetric || word == "ASYMMETRIC" {
        span = parser.next_token().span;
    }
    let mut low = parser.parse_subexpr(AND)?;
    if !is_restricted(&low) {
        return no_place(parser);
    }
    parser.expect_keyword(Keyword::AND)?;
    let high = Box::new(parser.parse_subexpr(PATTERN)?);
    if symmetric {
        let prefix = Ident { value: SYMMETRIC.to_owned(), quote_style: None, span };
        low = Expr::Prefixed { prefix, value: Box::new(low) };
    }
    Ok(Expr::Between { expr: Box::new(left.clone()), negated, low: Box::new(low), high })
}

/// Whether an expression is one of those that Postgres calls `b_expr`: without the operators that are words.
fn is_restricted(expr: &Expr) -> bool {
    let mut rest = vec![expr];
    while let Some(expr) = rest.pop() {
        match expr {
            Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, left: _, right: _ }
            | Expr::UnaryOp { op: UnaryOperator::Not, expr: _ }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. }
            | Expr::Between { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. }
            | Expr::AtTimeZone { .. }
            | Expr::Collate { .. }
            | Expr::Exists { negated: true, subquery: _ }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsNormalized { .. } => return false,
            Expr::BinaryOp { left, op: _, right } => rest.extend([&**left, right]),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                rest.extend([&**left, right]);
            }
            Expr::UnaryOp { expr, op: _ } | Expr::Prefixed { value: expr, prefix: _ } => rest.push(expr),
            Expr::Cast { kind: sqlparser::ast::CastKind::DoubleColon, expr, .. } => rest.push(expr),
            _ => {}
        }
    }
    true
}
