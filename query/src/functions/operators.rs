//! Operators: symbols for functions.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::table::operators::OPERATORS;
use super::{ArgType, Operator, by_oid};

struct Registry {
    all: Vec<Operator>,
    by_symbol: HashMap<&'static str, Vec<usize>>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry { all: Vec::with_capacity(OPERATORS.len()), by_symbol: HashMap::new() };
    for &(oid, symbol, proc) in OPERATORS {
        // The tables are constants and a test walks them: a row whose function is missing would be found there.
        let Some(function) = by_oid(proc) else {
            continue;
        };
        let (left, right) = match function.args {
            [right] => (None, *right),
            [left, right] => (Some(*left), *right),
            _ => continue,
        };
        // An operator takes what a variadic function collects as one array.
        let right = match right {
            ArgType::Is(element) if function.variadic => element.array().map_or(right, ArgType::Is),
            other => other,
        };
        registry.by_symbol.entry(symbol).or_default().push(registry.all.len());
        registry.all.push(Operator { oid, symbol, left, right, function });
    }
    registry
});

static BY_SYMBOL: LazyLock<HashMap<&'static str, Vec<&'static Operator>>> = LazyLock::new(|| {
    REGISTRY
        .by_symbol
        .iter()
        .map(|(symbol, rows)| (*symbol, rows.iter().map(|i| &REGISTRY.all[*i]).collect()))
        .collect()
});

/// Every operator, in a fixed order.
pub fn all() -> &'static [Operator] {
    &REGISTRY.all
}

/// The operators with that symbol, binary and prefix ones.
pub fn by_symbol(symbol: &str) -> &'static [&'static Operator] {
    BY_SYMBOL.get(symbol).map_or(&[], Vec::as_slice)
}

/// The binary operator with exactly these operand types.
pub fn exact(symbol: &str, left: ArgType, right: ArgType) -> Option<&'static Operator> {
    by_symbol(symbol).iter().copied().find(|o| o.left == Some(left) && o.right == right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_function() {
        for (oid, symbol, proc) in OPERATORS {
            assert!(all().iter().any(|o| o.oid == *oid), "operator {symbol} ({oid}) wants function {proc}");
        }
    }

    #[test]
    fn oids_are_unique() {
        let mut seen = std::collections::HashSet::new();
        for f in super::super::all() {
            assert!(seen.insert(f.oid), "{} {}", f.oid, f.name);
        }
    }
}
