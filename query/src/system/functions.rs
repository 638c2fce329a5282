//! pg_proc: the functions that types and operators name, and those that statements can call.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use stratos_types::{Datum, Result};

use super::definitions;
use super::rows::{Rows, boolean, int2, oid, oid_array, text};
use super::statics;
use crate::catalog::{BOOTSTRAP_ROLE, PG_CATALOG, SystemContext};
use crate::functions::{self, ArgType, ReturnType, Volatility};

/// `internal`, `pg_language`
const INTERNAL: u32 = 12;
/// Polymorphic pseudo-types, `pg_type`.
const ANY: u32 = 2276;
const ANY_ARRAY: u32 = 2277;
const ANY_ELEMENT: u32 = 2283;
const ANY_NON_ARRAY: u32 = 2776;
const ANY_COMPATIBLE: u32 = 5077;
const ANY_COMPATIBLE_ARRAY: u32 = 5078;

fn argument(ty: ArgType) -> u32 {
    match ty {
        ArgType::Is(ty) => ty.oid(),
        ArgType::AnyElement => ANY_ELEMENT,
        ArgType::AnyArray => ANY_ARRAY,
        ArgType::AnyNonArray => ANY_NON_ARRAY,
        ArgType::Compatible => ANY_COMPATIBLE,
        ArgType::CompatibleArray => ANY_COMPATIBLE_ARRAY,
        ArgType::Any => ANY,
    }
}

fn result(ty: ReturnType) -> u32 {
    match ty {
        ReturnType::Is(ty) => ty.oid(),
        ReturnType::AnyElement => ANY_ELEMENT,
        ReturnType::AnyArray => ANY_ARRAY,
        ReturnType::Compatible => ANY_COMPATIBLE,
        ReturnType::CompatibleArray => ANY_COMPATIBLE_ARRAY,
    }
}

struct Signature {
    number: u32,
    name: &'static str,
    args: &'static [ArgType],
    variadic: bool,
    optional: usize,
    result: u32,
    strict: bool,
    volatility: &'static str,
    kind: &'static str,
}

fn push(rows: &mut Rows<'_>, function: &Signature) {
    let variadic = function.args.last().filter(|_| function.variadic).map_or(0, |ty| argument(*ty));
    rows.push([
        ("oid", oid(function.number)),
        ("proname", text(function.name)),
        ("pronamespace", oid(PG_CATALOG)),
        ("proowner", oid(BOOTSTRAP_ROLE)),
        ("prolang", oid(INTERNAL)),
        ("procost", Datum::Float4(1.0)),
        ("provariadic", oid(variadic)),
        ("prokind", text(function.kind)),
        ("proisstrict", boolean(function.strict)),
        ("provolatile", text(function.volatility)),
        ("proparallel", text("s")),
        ("pronargs", int2(function.args.len())),
        ("pronargdefaults", int2(function.optional)),
        ("prorettype", oid(function.result)),
        ("proargtypes", oid_array(function.args.iter().map(|ty| argument(*ty)))),
        ("prosrc", text(function.name)),
    ]);
}

/// The functions do not change while the server runs.
static ROWS: LazyLock<Vec<Vec<Datum>>> = LazyLock::new(|| {
    let Some(definition) = definitions::find("pg_catalog", "pg_proc") else {
        return Vec::new();
    };
    let mut rows = Rows::new(&definition);
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    for row in statics::rows("pg_proc") {
        if let Some(Datum::Oid(number)) = row.first() {
            seen.insert(*number);
        }
        rows.extend([row.clone()]);
    }
    for function in functions::all() {
        // What only the binder calls has a name that nobody can write.
        if function.name.contains(' ') {
            continue;
        }
        if !seen.insert(function.oid) {
            continue;
        }
        push(
            &mut rows,
            &Signature {
                number: function.oid,
                name: function.name,
                args: function.args,
                variadic: function.variadic,
                optional: function.optional,
                result: result(function.ret),
                strict: function.strict,
                volatility: match function.volatility {
                    Volatility::Immutable => "i",
                    Volatility::Stable => "s",
                    Volatility::Volatile => "v",
                },
                kind: "f",
            },
        );
    }
    for aggregate in functions::aggregates::all() {
        if !seen.insert(aggregate.oid) {
            continue;
        }
        push(
            &mut rows,
            &Signature {
                number: aggregate.oid,
                name: aggregate.name,
                args: aggregate.args,
                variadic: false,
                optional: 0,
                result: result(aggregate.ret),
                strict: false,
                volatility: "i",
                kind: "a",
            },
        );
    }
    rows.finish()
});

pub(super) fn pg_proc(rows: &mut Rows<'_>, _: &SystemContext) -> Result<()> {
    rows.extend(ROWS.iter().cloned());
    Ok(())
}
