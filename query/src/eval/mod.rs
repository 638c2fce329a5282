//! Evaluating typed expressions over rows.
//!
//! [`eval`] walks an expression with columns looked up by identity; a [`Program`] has them resolved to positions, for
//! expressions that run on many rows. Both call the functions' row implementations: nothing here knows what a function means.

mod cast;
mod fast;
mod known;
mod program;
mod row;
#[cfg(test)]
mod tests;

pub use cast::{cast, cast_text, from_text, named, prints_names, to_text, with_names, write_text};
pub use known::Known;
pub use program::{Layout, Program};
pub use row::{ColumnSource, call, eval, eval_condition};
