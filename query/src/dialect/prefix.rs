//! What begins an expression: operators before their operand, `NOT`, constants of a named type, queries in parentheses.

use sqlparser::ast::{CastKind, DataType, Expr, Ident, TypedString, UnaryOperator};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, Word};

use super::{NOT, OPERATOR, SIGN, keyword, operators};

/// Prefix of [`Expr::Prefixed`] around the lower bound of `BETWEEN SYMMETRIC`, which the tree has no place for.
pub(crate) const SYMMETRIC: &str = "SYMMETRIC";
/// Beginning of the prefix of [`Expr::Prefixed`] that is an operator by its name: `OPERATOR(pg_catalog.-)`.
pub(crate) const OPERATOR_PREFIX: &str = "OPERATOR(";

/// Reads what begins an expression, if it is not what the parser reads as Postgres does.
pub(super) fn parse(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    match &parser.peek_token_ref().token {
        Token::Word(word) => match word.keyword {
            Keyword::NoKeyword => name_or_constant(parser),
            Keyword::NAME if is_string(&parser.peek_nth_token_ref(1).token) => Some(typed_constant(parser)),
            Keyword::NOT => Some(not(parser)),
            Keyword::GROUPING if is_grouping_sets(parser) => Some(grouping_sets(parser)),
            Keyword::OPERATOR if names_operator(parser) => Some(named_operator(parser)),
            _ => None,
        },
        // The parser would first look for the name of a type.
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) => {
            Some(parser.parse_value().map(Expr::Value))
        }
        Token::Plus => Some(sign(parser, UnaryOperator::Plus)),
        Token::Minus => Some(sign(parser, UnaryOperator::Minus)),
        Token::LParen if parser.peek_nth_token_ref(1).token == Token::LParen => query(parser),
        token if operators::is_other(token) => Some(operator(parser)),
        _ => None,
    }
}

fn is_grouping_sets(parser: &Parser<'_>) -> bool {
    let follows = |n: usize, wanted: &dyn Fn(&Token) -> bool| wanted(&parser.peek_nth_token_ref(n).token);
    follows(1, &|token| matches!(token, Token::Word(word) if word.keyword == Keyword::SETS))
        && follows(2, &|token| *token == Token::LParen)
}

/// `GROUPING SETS (…)` among grouping sets; the outermost are read by the parser.
fn grouping_sets(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    for _ in 0..3 {
        parser.next_token();
    }
    let sets = parser.parse_comma_separated(|parser| {
        if !parser.consume_token(&Token::LParen) {
            return Ok(vec![parser.parse_expr()?]);
        }
        let set = if parser.peek_token_ref().token == Token::RParen {
            Vec::new()
        } else {
            parser.parse_comma_separated(Parser::parse_expr)?
        };
        parser.expect_token(&Token::RParen)?;
        Ok(set)
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::GroupingSets(sets))
}

fn is_string(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_))
}

/// A column, or a constant of a type that the parser has no word for. Calls are left to the parser.
fn name_or_constant(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    match &parser.peek_nth_token_ref(1).token {
        Token::LParen => None,
        next if is_string(next) => Some(typed_constant(parser)),
        Token::Period if is_string(&parser.peek_nth_token_ref(3).token) => Some(typed_constant(parser)),
        _ => Some(parser.parse_identifier().map(Expr::Identifier)),
    }
}

/// `regtype 'int'`, `pg_catalog.int4 '1'`
fn typed_constant(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    Ok(Expr::TypedString(TypedString {
        data_type: DataType::Custom(parser.parse_object_name(false)?, Vec::new()),
        value: parser.parse_value()?,
        uses_odbc_syntax: false,
    }))
}

fn unary(op: UnaryOperator, expr: Expr) -> Expr {
    // Trees are printed and read again, where `- -1` would be a comment.
    let expr = if op != UnaryOperator::Not && begins_with_sign(&expr) { Expr::Nested(Box::new(expr)) } else { expr };
    Expr::UnaryOp { op, expr: Box::new(expr) }
}

fn begins_with_sign(mut expr: &Expr) -> bool {
    loop {
        expr = match expr {
            Expr::BinaryOp { left, op: _, right: _ } => left,
            Expr::Cast { kind: CastKind::DoubleColon, expr, .. } => expr,
            Expr::Collate { expr, collation: _ } => expr,
            Expr::AtTimeZone { timestamp, time_zone: _ } => timestamp,
            Expr::UnaryOp { op, expr: _ } => return matches!(op, UnaryOperator::Plus | UnaryOperator::Minus),
            _ => return false,
        };
    }
}

fn not(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    parser.next_token();
    Ok(match parser.parse_subexpr(NOT)? {
        Expr::Exists { subquery, negated: false } => Expr::Exists { subquery, negated: true },
        operand => unary(UnaryOperator::Not, operand),
    })
}

fn sign(parser: &mut Parser<'_>, sign: UnaryOperator) -> Result<Expr, ParserError> {
    parser.next_token();
    let mut operand = parser.parse_subexpr(SIGN)?;
    if !is_collated(&operand) {
        return Ok(unary(sign, operand));
    }
    // The parser gives COLLATE to the operand whatever comes before it, and casts to what it made of that.
    let mut casts = Vec::new();
    while let Expr::Cast { expr, data_type, .. } = operand {
        casts.push(data_type);
        operand = *expr;
    }
    if let Expr::Collate { expr, collation } = operand {
        operand = Expr::Collate { expr: Box::new(unary(sign, *expr)), collation };
    }
    Ok(casts.into_iter().rev().fold(operand, |operand, data_type| Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(operand),
        data_type,
        array: false,
        format: None,
    }))
}

/// Whether it is `… COLLATE …`, with casts behind it.
fn is_collated(mut expr: &Expr) -> bool {
    while let Expr::Cast { kind: CastKind::DoubleColon, expr: inner, .. } = expr {
        expr = inner;
    }
    matches!(expr, Expr::Collate { .. })
}

fn operator(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let token = parser.next_token();
    let operand = parser.parse_subexpr(OPERATOR)?;
    Ok(match token.token {
        Token::Tilde => unary(UnaryOperator::BitwiseNot, operand),
        Token::AtSign => unary(UnaryOperator::PGAbs, operand),
        Token::PGSquareRoot => unary(UnaryOperator::PGSquareRoot, operand),
        Token::PGCubeRoot => unary(UnaryOperator::PGCubeRoot, operand),
        other => by_name(format!("{OPERATOR_PREFIX}{other})"), token.span, operand),
    })
}

fn by_name(name: String, span: Span, operand: Expr) -> Expr {
    Expr::Prefixed { prefix: Ident { value: name, quote_style: None, span }, value: Box::new(operand) }
}

/// Whether `OPERATOR(` goes on as the name of an operator, and not as the call of a function with that name.
fn names_operator(parser: &Parser<'_>) -> bool {
    parser.peek_nth_token_ref(1).token == Token::LParen
        && (operators::is_operator(&parser.peek_nth_token_ref(2).token)
            || parser.peek_nth_token_ref(3).token == Token::Period
                && (3..8).any(|ahead| operators::is_operator(&parser.peek_nth_token_ref(ahead).token)))
}

fn named_operator(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&Token::LParen)?;
    let mut name = String::from(OPERATOR_PREFIX);
    while let Token::Word(Word { value, .. }) = &parser.peek_token_ref().token {
        name.push_str(value);
        name.push('.');
        parser.next_token();
        parser.expect_token(&Token::Period)?;
    }
    let symbol = parser.next_token();
    if !operators::is_operator(&symbol.token) {
        return parser.expected("an operator", symbol);
    }
    parser.expect_token(&Token::RParen)?;
    name.push_str(&symbol.token.to_string());
    name.push(')');
    Ok(by_name(name, span, parser.parse_subexpr(OPERATOR)?))
}

/// `((SELECT 1) UNION (SELECT 2))`: the parser sees a query only directly behind the parenthesis.
fn query(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    parser.next_token();
    if super::opens_query(parser) != Some(true) {
        parser.prev_token();
        return None;
    }
    Some(parser.parse_query().and_then(|query| {
        parser.expect_token(&Token::RParen)?;
        Ok(Expr::Subquery(query))
    }))
}

/// Whether `ANY (`, `SOME (` or `ALL (` stands so many tokens ahead.
pub(super) fn quantifier(parser: &Parser<'_>, ahead: usize) -> bool {
    matches!(keyword(parser, ahead), Keyword::ANY | Keyword::SOME | Keyword::ALL)
        && parser.peek_nth_token_ref(ahead + 1).token == Token::LParen
}
