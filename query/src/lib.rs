//! SQL: from a statement's text to rows.
//!
//! A statement takes this path: text → sqlparser → [`binder`](ir) → [`ir::BoundStatement`] → a direct program (gets and writes
//! by key) or a DataFusion plan → rows. [`catalog`] says what exists, [`functions`] what can be called, [`session`] holds
//! what a connection has set.

pub mod catalog;
pub mod ddl;
pub mod functions;
pub mod ir;
pub mod session;
pub mod system;
