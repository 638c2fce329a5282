//! The Postgres protocol, version 3: bytes of a socket to calls of a [`Session`](stratos_query::session::Session), and back.
//!
//! Frames are decoded and encoded by `pgwire`; the state machine is ours, because transactions, portals and pipelining follow
//! the session's.
//!
//! - [`listener`]: accepts, within limits
//! - [`connection`]: frames in and out, over TCP or TLS; [`frame`]: what they must look like
//! - [`startup`]: negotiation, authentication, first messages
//! - [`auth`]: passwords, by SCRAM-SHA-256
//! - [`serve`]: the message loop
//! - [`simple`], [`extended`], [`copy`]: the three ways to run statements
//! - [`encode`]: rows, errors and notices as messages

pub mod auth;
pub mod connection;
pub mod copy;
pub mod encode;
pub mod extended;
pub mod frame;
pub mod listener;
pub mod serve;
pub mod simple;
pub mod startup;
