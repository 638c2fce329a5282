//! What PostgreSQL 15 has and we have not: a call of it is refused by its name, not told that there is no such function.

use std::collections::HashMap;
use std::sync::LazyLock;

/// How many arguments a function takes: a number, or a number and more.
#[derive(Clone, Copy)]
struct Arity {
    count: usize,
    or_more: bool,
}

/// PostgreSQL 15's `pg_proc`, without what statements cannot call: a line has numbers of arguments (`1,3+`), and the names of
/// the functions that take them.
static NAMES: &str = include_str!("../system/data/function_names.txt");

static ARITIES: LazyLock<HashMap<&'static str, Vec<Arity>>> = LazyLock::new(|| {
    let mut arities = HashMap::new();
    for line in NAMES.lines() {
        let mut words = line.split(' ');
        let counts: Vec<Arity> = words
            .next()
            .unwrap_or_default()
            .split(',')
            .filter_map(|written| {
                let number = written.trim_end_matches('+');
                Some(Arity { count: number.parse().ok()?, or_more: number.len() < written.len() })
            })
            .collect();
        arities.extend(words.map(|name| (name, counts.clone())));
    }
    arities
});

/// Whether PostgreSQL 15 has a function of this name that takes so many arguments.
pub(crate) fn postgres_has(name: &str, arguments: usize) -> bool {
    ARITIES.get(name).is_some_and(|arities| {
        arities.iter().any(|arity| arity.count == arguments || arity.or_more && arguments >= arity.count)
    })
}

/// Whether PostgreSQL 15 has a function of this name.
pub(crate) fn has_name(name: &str) -> bool {
    ARITIES.contains_key(name)
}

#[cfg(test)]
mod tests {
    use super::postgres_has;

    #[test]
    fn names_count_with_their_arguments() {
        for (name, arguments, has) in [
            ("int4range", 2, true),
            ("int4range", 4, false),
            ("json_to_record", 1, true),
            ("jsonb_path_query", 2, true),
            ("jsonb_path_query", 5, false),
            ("concat", 7, true),
            ("concat", 0, false),
            ("rank", 0, true),
            ("int4in", 1, true),
            ("nosuch", 1, false),
            ("", 0, false),
        ] {
            assert_eq!(postgres_has(name, arguments), has, "{name} {arguments}");
        }
    }
}
