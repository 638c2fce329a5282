//! Aggregates: their signatures, and what they make of rows.
//!
//! For ordered-set aggregates (`percentile_cont(0.5) WITHIN GROUP (ORDER BY x)`) the arguments are the direct ones followed by
//! the ordered one, as in `pg_proc`; the rows come in that order. DISTINCT, FILTER and ORDER BY are the caller's.

mod accumulator;
mod statistics;
mod table;

pub use accumulator::{Accumulator, Rank, over_rows};
pub use statistics::{FloatMoments, float4_sum, float8_sum};

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Aggregate;

static BY_NAME: LazyLock<HashMap<&'static str, Vec<&'static Aggregate>>> = LazyLock::new(|| {
    let mut map: HashMap<&'static str, Vec<&'static Aggregate>> = HashMap::new();
    for aggregate in all() {
        map.entry(aggregate.name).or_default().push(aggregate);
    }
    map
});

/// Every aggregate, in a fixed order.
pub fn all() -> &'static [Aggregate] {
    table::AGGREGATES
}

/// The aggregates of that name (lower case).
pub fn by_name(name: &str) -> &'static [&'static Aggregate] {
    BY_NAME.get(name).map_or(&[], Vec::as_slice)
}
