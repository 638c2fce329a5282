//! How long the parser may look for a way to read a text.
//!
//! The parser takes back what does not go on as it thought and reads it as something else: `array[…]` as an array, then as
//! a subscript of a column that is called array; `((…` in FROM as a query, then as a join. Where such alternatives nest, each
//! level doubles the work. Steps are counted therefore, and when they are spent nothing that is left can be read.

use std::cell::Cell;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Steps that every text has.
const STEPS_MIN: usize = 20_000;
/// Steps for each token. Reading without detours takes about one; every nested join that begins with a query doubles what the
/// query takes.
const STEPS_PER_TOKEN: usize = 32;

static POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// The steps that are left.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self::for_tokens(0)
    }
}

impl Budget {
    pub(super) fn for_tokens(count: usize) -> Self {
        Self(Cell::new(count.saturating_mul(STEPS_PER_TOKEN).saturating_add(STEPS_MIN)))
    }

    /// Takes a step; false if none is left.
    pub(super) fn spend(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        !self.is_exhausted()
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.0.get() == 0
    }
}

/// Ends the parser's search: every token becomes one that fits nowhere, so that each alternative that is still to be tried
/// fails at its first token, whether it asks the dialect or not.
pub(super) fn stop(parser: &mut Parser<'_>) {
    let nowhere = Token::Char(char::REPLACEMENT_CHARACTER);
    if parser.peek_token_ref().token == nowhere {
        return;
    }
    let at = parser.get_current_index();
    let mut tokens = Vec::new();
    while parser.token_at(tokens.len()).token != Token::EOF {
        tokens.push(TokenWithSpan::wrap(nowhere.clone()));
    }
    let stopped = std::mem::replace(parser, Parser::new(&POSTGRES));
    *parser = stopped.with_tokens_with_locations(tokens);
    // The callers step back to where they were.
    for _ in 0..=at {
        parser.advance_token();
    }
}
