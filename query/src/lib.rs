//! SQL: from a statement's text to rows.
//!
//! A statement takes this path: text → sqlparser → [`binder`](ir) → [`ir::BoundStatement`] → a direct program (gets and writes
//! by key) or a DataFusion plan → rows. [`catalog`] says what exists, [`functions`] what can be called, [`session`] holds
//! what a connection has set.

pub mod arrow;
pub mod catalog;
pub mod functions;
pub mod ir;
pub mod lower;
pub mod rows;
pub mod scan;
pub mod session;
