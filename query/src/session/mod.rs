//! A connection's session: settings, transaction, prepared statements, portals.

mod context;

pub use context::{EvalContext, Host};
