//! Where operators end, and what they are called.

use sqlparser::tokenizer::Token;

/// Whether Postgres makes operators of it.
fn is_part(c: char) -> bool {
    is_special(c) || matches!(c, '+' | '-' | '*' | '/' | '<' | '>' | '=')
}

/// Characters that let an operator end in a sign.
fn is_special(c: char) -> bool {
    matches!(c, '~' | '!' | '@' | '#' | '^' | '&' | '|' | '`' | '?' | '%')
}

/// Whether it is an operator, or a part of one, whatever its level.
pub(crate) fn is_operator(token: &Token) -> bool {
    matches!(
        token,
        Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::LtEq
            | Token::Gt
            | Token::GtEq
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::Caret
            | Token::RArrow
            | Token::Char('`')
    ) || is_other(token)
}

/// Whether it is an operator that has no level of its own.
pub(super) fn is_other(token: &Token) -> bool {
    matches!(
        token,
        Token::StringConcat
            | Token::Arrow
            | Token::LongArrow
            | Token::HashArrow
            | Token::HashLongArrow
            | Token::AtArrow
            | Token::ArrowAt
            | Token::HashMinus
            | Token::AtQuestion
            | Token::AtAt
            | Token::AtSign
            | Token::AtDashAt
            | Token::Question
            | Token::QuestionAnd
            | Token::QuestionPipe
            | Token::QuestionMarkDash
            | Token::QuestionMarkDashVerticalBar
            | Token::QuestionMarkSharp
            | Token::QuestionMarkDoubleVerticalBar
            | Token::Tilde
            | Token::TildeAsterisk
            | Token::TildeEqual
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMark
            | Token::DoubleExclamationMark
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk
            | Token::Pipe
            | Token::VerticalBarRightAngleBracket
            | Token::VerticalBarShiftRight
            | Token::VerticalBarAmpersandRightAngleBracket
            | Token::PGSquareRoot
            | Token::PGCubeRoot
            | Token::Ampersand
            | Token::AmpersandLeftAngleBracket
            | Token::AmpersandRightAngleBracket
            | Token::AmpersandLeftAngleBracketVerticalBar
            | Token::Overlap
            | Token::Sharp
            | Token::DoubleSharp
            | Token::ShiftLeft
            | Token::ShiftRight
            | Token::ShiftLeftVerticalBar
            | Token::TwoWayArrow
            | Token::LeftAngleBracketCaret
            | Token::RightAngleBracketCaret
            | Token::CaretAt
            | Token::DoubleEq
            | Token::Spaceship
            | Token::DuckIntDiv
            | Token::CustomBinaryOperator(_)
    )
}

/// Length in bytes of the operator with which a text of operators begins: the longest, except that it ends in a sign only if
/// it has a character that comparisons and arithmetic do not, so that `a>-1` compares with a negative number.
fn length(run: &str) -> usize {
    let end = run.find(|c| !is_part(c)).unwrap_or(run.len());
    let run = &run[..end];
    if run.contains(is_special) {
        return end;
    }
    run.trim_end_matches(['+', '-']).len().max(1.min(end))
}

/// The operators of a text that has nothing else, first to last.
pub(crate) fn split(mut run: &str) -> Vec<(&str, Token)> {
    let mut found = Vec::new();
    while !run.is_empty() {
        let end = match length(run) {
            0 => run.len(),
            end => end,
        };
        let (symbol, rest) = run.split_at(end);
        found.push((symbol, token(symbol)));
        run = rest;
    }
    found
}

/// The parser's token for an operator.
fn token(symbol: &str) -> Token {
    match symbol {
        "=" => Token::Eq,
        "<>" | "!=" => Token::Neq,
        "<" => Token::Lt,
        "<=" => Token::LtEq,
        ">" => Token::Gt,
        ">=" => Token::GtEq,
        "+" => Token::Plus,
        "-" => Token::Minus,
        "*" => Token::Mul,
        "/" => Token::Div,
        "%" => Token::Mod,
        "^" => Token::Caret,
        "=>" => Token::RArrow,
        "||" => Token::StringConcat,
        "->" => Token::Arrow,
        "->>" => Token::LongArrow,
        "#>" => Token::HashArrow,
        "#>>" => Token::HashLongArrow,
        "#-" => Token::HashMinus,
        "@>" => Token::AtArrow,
        "<@" => Token::ArrowAt,
        "@?" => Token::AtQuestion,
        "@@" => Token::AtAt,
        "@" => Token::AtSign,
        "?" => Token::Question,
        "?&" => Token::QuestionAnd,
        "?|" => Token::QuestionPipe,
        "~" => Token::Tilde,
        "~*" => Token::TildeAsterisk,
        "~~" => Token::DoubleTilde,
        "~~*" => Token::DoubleTildeAsterisk,
        "!~" => Token::ExclamationMarkTilde,
        "!~*" => Token::ExclamationMarkTildeAsterisk,
        "!~~" => Token::ExclamationMarkDoubleTilde,
        "!~~*" => Token::ExclamationMarkDoubleTildeAsterisk,
        "|" => Token::Pipe,
        "&" => Token::Ampersand,
        "&&" => Token::Overlap,
        "#" => Token::Sharp,
        "<<" => Token::ShiftLeft,
        ">>" => Token::ShiftRight,
        "^@" => Token::CaretAt,
        "|/" => Token::PGSquareRoot,
        "||/" => Token::PGCubeRoot,
        other => Token::CustomBinaryOperator(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_end_where_they_do_in_postgres() {
        let symbols = |run| split(run).into_iter().map(|(symbol, _)| symbol).collect::<Vec<_>>();
        for (run, expected) in [
            (">-", vec![">", "-"]),
            ("=-", vec!["=", "-"]),
            ("<>-+", vec!["<>", "-", "+"]),
            ("*-", vec!["*", "-"]),
            ("-+-", vec!["-", "+", "-"]),
            ("->-", vec!["->", "-"]),
            ("=>-", vec!["=>", "-"]),
            ("!=-", vec!["!=-"]),
            ("^-", vec!["^-"]),
            ("%-", vec!["%-"]),
            ("||-", vec!["||-"]),
            ("@>-", vec!["@>-"]),
            ("-@", vec!["-@"]),
            ("==", vec!["=="]),
            ("<=>", vec!["<=>"]),
            ("*/", vec!["*/"]),
        ] {
            assert_eq!(symbols(run), expected, "{run}");
        }
        assert_eq!(split("!=")[0].1, Token::Neq);
        assert_eq!(split("->>")[0].1, Token::LongArrow);
        assert_eq!(split("==")[0].1, Token::CustomBinaryOperator("==".to_owned()));
    }
}
