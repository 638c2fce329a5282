//! Stratos.
