//! Surroundings for tests of expressions and plans that need no session.

use std::sync::Arc;

use stratos_types::{Datum, Error, Result};

use super::context::{EvalContext, Host, RelationSize};

/// A session that has nothing.
pub(crate) struct NoSession;

impl NoSession {
    /// Default formats, the clock at the Unix epoch, an empty catalog.
    pub fn context() -> EvalContext {
        EvalContext {
            format: Arc::default(),
            transaction_micros: 0,
            statement_micros: 0,
            catalog: Arc::default(),
            host: Arc::new(NoSession),
            given_up: Arc::default(),
        }
    }
}

impl Host for NoSession {
    fn current_user(&self) -> String {
        "tester".to_owned()
    }
    fn session_user(&self) -> String {
        "tester".to_owned()
    }
    fn current_database(&self) -> String {
        "test".to_owned()
    }
    fn search_path(&self, _: bool) -> Vec<String> {
        vec!["pg_catalog".to_owned(), "public".to_owned()]
    }
    fn backend_pid(&self) -> i32 {
        1
    }
    fn setting(&self, _: &str) -> Option<String> {
        None
    }
    fn set_config(&self, _: &str, value: &str, _: bool) -> Result<String> {
        Ok(value.to_owned())
    }
    fn nextval(&self, _: u32) -> Result<i64> {
        Err(Error::internal("no sequences"))
    }
    fn currval(&self, _: u32) -> Result<i64> {
        Err(Error::internal("no sequences"))
    }
    fn lastval(&self) -> Result<i64> {
        Err(Error::internal("no sequences"))
    }
    fn setval(&self, _: u32, _: i64, _: bool) -> Result<i64> {
        Err(Error::internal("no sequences"))
    }
    fn relation_size(&self, _: u32) -> Option<RelationSize> {
        None
    }
    fn database_bytes(&self, _: u32) -> u64 {
        0
    }
    fn check_canceled(&self) -> Result<()> {
        Ok(())
    }
    fn transaction_id(&self) -> Result<i64> {
        Ok(1)
    }
    fn assigned_transaction_id(&self) -> Option<i64> {
        None
    }
    fn node_function(&self, _: &str, _: &[Datum]) -> Result<Datum> {
        Ok(Datum::Null)
    }
}
