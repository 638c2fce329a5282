//! COPY: rows in and out in bulk, as text, CSV or Postgres's binary form.
//!
//! - [`options`]: what the statement asks for
//! - [`text`], [`csv`], [`binary`]: the three formats, a record at a time
//! - [`run`]: COPY FROM STDIN and COPY TO STDOUT of a session

pub mod binary;
pub mod csv;
pub mod options;
mod parse;
mod run;
pub mod text;

pub use parse::{CopySource, CopyStatement, parse};
pub use run::{CopyIn, CopyOut};
