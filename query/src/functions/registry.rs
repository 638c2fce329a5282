//! Finding functions by name and by OID.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Aggregate, Function, Operator, aggregates, operators, table};

struct Registry {
    by_name: HashMap<&'static str, Vec<&'static Function>>,
    by_oid: HashMap<u32, &'static Function>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry { by_name: HashMap::new(), by_oid: HashMap::new() };
    for function in all() {
        registry.by_name.entry(function.name).or_default().push(function);
        registry.by_oid.insert(function.oid, function);
    }
    registry
});

/// Every function, in a fixed order.
pub fn all() -> impl Iterator<Item = &'static Function> {
    table::ALL.iter().copied().flatten()
}

/// The functions of that name (lower case), none if there is no such name.
pub fn by_name(name: &str) -> &'static [&'static Function] {
    REGISTRY.by_name.get(name).map_or(&[], Vec::as_slice)
}

/// The function with that `pg_proc.oid`.
pub fn by_oid(oid: u32) -> Option<&'static Function> {
    REGISTRY.by_oid.get(&oid).copied()
}

/// The built-in functions, as the binder asks for them.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn;

impl crate::binder::Registry for BuiltIn {
    fn functions(&self, name: &str) -> Vec<&'static Function> {
        by_name(name).to_vec()
    }

    fn aggregates(&self, name: &str) -> Vec<&'static Aggregate> {
        aggregates::by_name(name).to_vec()
    }

    fn operators(&self, symbol: &str) -> Vec<&'static Operator> {
        operators::by_symbol(symbol).to_vec()
    }
}
