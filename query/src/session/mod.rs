//! A connection's session: settings, transaction, prepared statements, portals.
//!
//! - [`session`](Session): what the server drives
//! - [`transaction`]: the transaction block, as Postgres's state machine has it
//! - [`prepared`]: prepared statements, and their plans in the catalog of the moment
//! - [`plan`]: what a statement compiles to, and for how long that holds
//! - [`execute`]: carrying a planned statement out
//! - [`block`], [`set`]: BEGIN, COMMIT and savepoints; SET and SHOW · [`utility`]: other statements about the session
//! - [`schema_change`]: DDL and its jobs
//! - [`recall`]: plans of simple queries that come again with other integers
//! - [`reuse`]: statements that are prepared again with the same text
//! - [`cursor`]: DECLARE, FETCH, MOVE, CLOSE
//! - [`passwords`]: statements as others may read them
//! - [`settings`], [`cancel`], [`shared`]: see there

mod advisory;
mod away;
mod block;
pub mod cancel;
mod commit;
mod constraints;
mod context;
mod cursor;
mod execute;
mod explain;
mod explain_json;
#[cfg(test)]
mod no_session;
mod passwords;
mod plan;
mod prepared;
mod random;
mod recall;
mod reuse;
mod schema_change;
#[allow(clippy::module_inception, reason = "the session itself, among what belongs to it")]
mod session;
mod set;
mod setting_table;
mod setting_value;
mod settings;
mod shared;
mod temporary;
mod transaction;
mod utility;

pub(crate) use advisory::wait_facts;
pub use context::{EvalContext, Host, RelationSize};
pub use cursor::{Portal, PortalState, cannot_run};
#[cfg(test)]
pub(crate) use no_session::NoSession;
pub use plan::{CHANGED_RESULT, Planned, Prepared};
pub use prepared::StatementDescription;
pub(crate) use schema_change::scram_verifier;
pub use session::{Session, TransactionStatus};
pub use setting_table::{SERVER_VERSION, SERVER_VERSION_NUM};
pub use setting_value::parse_bool;
pub(crate) use setting_value::quote_if_needed;
pub(crate) use settings::DIRECT_QUERIES;
pub use settings::Settings;
pub(crate) use shared::Identity;
pub use shared::{Activity, SessionShared};
pub(crate) use temporary::drop_temporary;
pub use transaction::Company;

/// Microseconds since the Unix epoch by this node's clock: for `now()` and what people read, never for a decision.
pub fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
