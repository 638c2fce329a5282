//! Names: quoting, and the names that Postgres gives to objects whose statement names none.

use std::collections::HashSet;

use super::{INFORMATION_SCHEMA, PG_CATALOG, PG_STRATOS, Snapshot, Table};

/// Longest name in bytes (Postgres's NAMEDATALEN - 1); longer ones are cut, with a notice where the user wrote them.
pub const NAME_BYTES_MAX: usize = 63;

/// OID of a schema that every database has by itself.
pub fn built_in_schema(name: &str) -> Option<u32> {
    match name {
        "pg_catalog" => Some(PG_CATALOG),
        "information_schema" => Some(INFORMATION_SCHEMA),
        "pg_stratos" => Some(PG_STRATOS),
        _ => None,
    }
}

/// The reverse of [`built_in_schema`].
pub fn built_in_schema_name(oid: u32) -> Option<&'static str> {
    match oid {
        PG_CATALOG => Some("pg_catalog"),
        INFORMATION_SCHEMA => Some("information_schema"),
        PG_STRATOS => Some("pg_stratos"),
        _ => None,
    }
}

/// Longest start of `name` that has at most `limit` bytes and ends at a character's end.
fn cut(name: &str, limit: usize) -> &str {
    let mut end = limit.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// `name1_name2_label`, cut so that it fits: the longer of the two names is shortened first (Postgres's `makeObjectName`).
pub fn make_object_name(name1: &str, name2: Option<&str>, label: &str) -> String {
    let overhead = label.len() + 1 + usize::from(name2.is_some());
    let available = NAME_BYTES_MAX.saturating_sub(overhead);
    let (mut length1, mut length2) = (name1.len(), name2.map_or(0, str::len));
    while length1 + length2 > available {
        if length1 > length2 {
            length1 -= 1;
        } else {
            length2 -= 1;
        }
    }
    let mut name = cut(name1, length1).to_owned();
    if let Some(name2) = name2 {
        name.push('_');
        name.push_str(cut(name2, length2));
    }
    name.push('_');
    name.push_str(label);
    name
}

/// Tries `label`, `label1`, `label2`, … until the name is free.
fn first_free(name1: &str, name2: Option<&str>, label: &str, mut taken: impl FnMut(&str) -> bool) -> String {
    let mut name = make_object_name(name1, name2, label);
    let mut pass = 0u64;
    while taken(&name) {
        pass += 1;
        name = make_object_name(name1, name2, &format!("{label}{pass}"));
    }
    name
}

/// A name for a relation that no relation of the schema has, nor any of `also_taken`.
pub fn choose_relation_name(
    snapshot: &Snapshot,
    schema: u32,
    name1: &str,
    name2: Option<&str>,
    label: &str,
    also_taken: &[String],
) -> String {
    first_free(name1, name2, label, |name| {
        also_taken.iter().any(|t| t == name) || snapshot.relations.contains_key(&(schema, name.to_owned()))
    })
}

/// A name for a constraint that no constraint of the schema has, nor any of `also_taken`.
pub fn choose_constraint_name(
    snapshot: &Snapshot,
    schema: u32,
    table: &Table,
    columns: Option<&str>,
    label: &str,
) -> String {
    let others = snapshot.tables.values().map(AsRef::as_ref).filter(|t| t.schema == schema && t.oid != table.oid);
    let constraints = others.chain([table]).flat_map(|t: &Table| &t.constraints);
    let taken: HashSet<&str> = constraints.map(|constraint| constraint.name.as_str()).collect();
    first_free(&table.name, columns, label, |name| taken.contains(name))
}

/// The columns' names joined by underscores, up to a name's length (Postgres's `ChooseIndexNameAddition`).
pub fn joined_columns<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for column in columns {
        if !joined.is_empty() {
            joined.push('_');
        }
        joined.push_str(column);
        if joined.len() > NAME_BYTES_MAX {
            return cut(&joined, NAME_BYTES_MAX).to_owned();
        }
    }
    joined
}

/// The name of an index: `t_pkey`, `t_a_b_key` of a UNIQUE constraint, `t_a_b_idx`.
pub fn choose_index_name(
    snapshot: &Snapshot,
    table: &Table,
    columns: &[&str],
    primary: bool,
    constraint: bool,
) -> String {
    // Names that come again are numbered.
    let mut distinct: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let numbered = (1..).map(|n| {
            let number = n.to_string();
            format!("{}{number}", cut(column, NAME_BYTES_MAX - number.len()))
        });
        let mut names = std::iter::once((*column).to_owned()).chain(numbered);
        distinct.extend(names.find(|name| !distinct.contains(name)));
    }
    let joined = joined_columns(distinct.iter().map(String::as_str));
    let (columns, label) = match (primary, constraint) {
        (true, _) => (None, "pkey"),
        (false, true) => (Some(joined.as_str()), "key"),
        (false, false) => (Some(joined.as_str()), "idx"),
    };
    let mut taken: Vec<String> = table.indexes.iter().map(|i| i.name.clone()).collect();
    taken.push(table.name.clone());
    if constraint {
        taken.extend(table.constraints.iter().map(|c| c.name.clone()));
    }
    choose_relation_name(snapshot, table.schema, &table.name, columns, label, &taken)
}

/// Words that cannot stand as a column's or table's name unquoted: Postgres's keywords other than the unreserved ones,
/// which is when its `quote_identifier` quotes (src/include/parser/kwlist.h).
#[rustfmt::skip]
const QUOTED_KEYWORDS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between", "bigint",
    "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate", "collation",
    "column", "concurrently", "constraint", "create", "cross", "current_catalog", "current_date", "current_role",
    "current_schema", "current_time", "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable",
    "desc", "distinct", "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign",
    "freeze", "from", "full", "grant", "greatest", "group", "grouping", "having", "ilike", "in", "initially", "inner",
    "inout", "int", "integer", "intersect", "interval", "into", "is", "isnull", "join", "lateral", "leading", "least",
    "left", "like", "limit", "localtime", "localtimestamp", "national", "natural", "nchar", "none", "normalize", "not",
    "notnull", "null", "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay",
    "placing", "position", "precision", "primary", "real", "references", "returning", "right", "row", "select",
    "session_user", "setof", "similar", "smallint", "some", "substring", "symmetric", "table", "tablesample", "then",
    "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values",
    "varchar", "variadic", "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement",
    "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
];

/// The name as it must be written in SQL: quoted where it would fold, clash with a keyword, or not be a word.
pub fn quote_identifier(name: &str) -> String {
    let mut characters = name.chars();
    let plain = characters.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && QUOTED_KEYWORDS.binary_search(&name).is_err();
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A string literal; with `E` where it holds a backslash, as Postgres's `quote_literal` prints it.
pub fn quote_literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if value.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_for_the_search() {
        assert!(QUOTED_KEYWORDS.is_sorted());
    }

    #[test]
    fn quoting() {
        assert_eq!(quote_identifier("abc_1"), "abc_1");
        assert_eq!(quote_identifier("Abc"), "\"Abc\"");
        assert_eq!(quote_identifier("1a"), "\"1a\"");
        assert_eq!(quote_identifier("select"), "\"select\"");
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_identifier("name"), "name");
        assert_eq!(quote_literal("a'b"), "'a''b'");
        assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
    }

    #[test]
    fn long_names_are_cut_at_the_longer_part() {
        let a = "a".repeat(60);
        let name = make_object_name(&a, Some("id"), "seq");
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert_eq!(name, format!("{}_id_seq", "a".repeat(56)));
        let umlauts = "ä".repeat(31);
        let name = make_object_name(&umlauts, None, "pkey");
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with("_pkey"));
    }
}
