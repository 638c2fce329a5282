//! SQL: from a statement's text to rows.
//!
//! A statement takes this path: text → sqlparser → [`binder`] → [`ir::BoundStatement`] → a direct program (gets and writes
//! by key, [`exec`]) or a DataFusion plan ([`lower`], [`scan`]) → rows ([`result`]). [`catalog`] says what exists and [`ddl`]
//! changes it, [`system`] shows it; [`functions`] and [`eval`] say what expressions mean; [`session`] holds what a connection
//! has set and drives all of it; [`engine`] is what the sessions of a node share.

pub mod arrow;
pub mod binder;
mod cache;
pub mod catalog;
pub mod check;
pub mod copy;
pub mod counters;
pub mod ddl;
mod dialect;
mod encodings;
pub mod engine;
pub mod eval;
pub mod exec;
mod fit;
pub mod functions;
pub mod ir;
pub mod lower;
pub mod result;
pub mod rows;
pub mod scan;
pub mod scram;
pub mod sequences;
pub mod session;
pub mod system;
