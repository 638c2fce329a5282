//! Stratos.
fn main() {}
