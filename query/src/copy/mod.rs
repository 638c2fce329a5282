//! COPY: rows in and out in bulk, as text, CSV or Postgres's binary form.
//!
//! - [`options`]: what the statement asks for
//! - [`text`], [`csv`], [`binary`]: the three formats, a record at a time
//! - [`lines`]: where lines of the first two end
//! - [`run`]: COPY FROM STDIN and COPY TO STDOUT of a session; [`incoming`]: rows that come, [`out`]: rows that go, in these formats

pub mod binary;
pub mod csv;
mod incoming;
pub mod lines;
pub mod options;
mod out;
mod parse;
mod run;
pub mod text;

pub use incoming::CopyIn;
pub use out::CopyOut;
pub use parse::{CopySource, CopyStatement, parse};
