//! Evaluating typed expressions over rows.

mod cast;

pub use cast::{cast, to_text, write_text};
