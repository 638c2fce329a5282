//! Definitions as text, in the form of Postgres's `pg_get_…def` functions.

use stratos_types::ColumnType;

use super::classes::class_name;
use super::expression_text::{Surroundings, Use, printed};
use crate::catalog::{
    Constraint, ConstraintKind, Index, ReferentialAction, Relation, Snapshot, Table, deferral_clause, quote_identifier,
};

/// `pg_get_indexdef(oid)`
pub fn index_definition(table: &Table, index: &Index) -> String {
    let table_name = format!("{}.{}", quote_identifier(&table.schema_name), quote_identifier(&table.name));
    index_definition_on(table, index, &table_name)
}

/// The same with the table's name as it is to be written.
pub fn index_definition_on(table: &Table, index: &Index, table_name: &str) -> String {
    let columns: Vec<String> = index
        .columns
        .iter()
        .map(|key| {
            let mut text = column_name(table, key.attnum);
            if let Some(class) = key.class {
                text.push(' ');
                text.push_str(class_name(class));
            }
            match (key.descending, key.nulls_first) {
                (false, true) => text.push_str(" NULLS FIRST"),
                (true, true) => text.push_str(" DESC"),
                (true, false) => text.push_str(" DESC NULLS LAST"),
                (false, false) => {}
            }
            text
        })
        .collect();
    format!(
        "CREATE {}INDEX {} ON {table_name} USING btree ({})",
        if index.is_key() { "UNIQUE " } else { "" },
        quote_identifier(&index.name),
        columns.join(", ")
    )
}

/// `pg_get_indexdef(oid, column, …)`: the name of the column at that place, from 1.
pub fn index_column(table: &Table, index: &Index, place: usize) -> Option<String> {
    let key = index.columns.get(place.checked_sub(1)?)?;
    Some(column_name(table, key.attnum))
}

fn column_name(table: &Table, attnum: i16) -> String {
    table.column_index(attnum).map(|i| quote_identifier(&table.columns[i].name)).unwrap_or_default()
}

fn column_list(table: &Table, attnums: impl IntoIterator<Item = i16>) -> String {
    let names: Vec<String> = attnums.into_iter().map(|attnum| column_name(table, attnum)).collect();
    names.join(", ")
}

/// A relation's name: with its schema unless it is found without.
pub fn relation_name(snapshot: &Snapshot, path: &[String], relation: &Relation) -> String {
    let name = quote_identifier(relation.name());
    if snapshot.is_visible(relation, path) {
        return name;
    }
    let schema = snapshot.schema_name(relation.schema()).unwrap_or_default();
    format!("{}.{name}", quote_identifier(schema))
}

/// `pg_get_constraintdef(oid)`
pub fn constraint_definition(snapshot: &Snapshot, path: &[String], table: &Table, constraint: &Constraint) -> String {
    match &constraint.kind {
        ConstraintKind::Unique { index, primary } => {
            let index = table.indexes.iter().find(|i| i.oid == *index);
            let columns = index.map(|i| column_list(table, i.columns.iter().map(|c| c.attnum))).unwrap_or_default();
            let kind = if *primary { "PRIMARY KEY" } else { "UNIQUE" };
            let deferrable = index.and_then(|i| i.deferrable);
            let clause = deferral_clause(deferrable.is_some(), deferrable == Some(true));
            format!("{kind} ({columns}){clause}")
        }
        ConstraintKind::Check(check) => format!("CHECK ({})", check_text(table, &check.sql, false)),
        ConstraintKind::ForeignKey(key) => {
            let target = snapshot.tables.get(&key.table);
            let (name, columns) = match target {
                Some(target) => (
                    relation_name(snapshot, path, &Relation::Table(std::sync::Arc::clone(target))),
                    column_list(target, key.referenced.iter().copied()),
                ),
                None => Default::default(),
            };
            let mut text = format!(
                "FOREIGN KEY ({}) REFERENCES {name}({columns})",
                column_list(table, key.columns.iter().copied())
            );
            if key.match_full {
                text.push_str(" MATCH FULL");
            }
            for (clause, action) in [("UPDATE", key.on_update), ("DELETE", key.on_delete)] {
                let action = match action {
                    ReferentialAction::NoAction => continue,
                    ReferentialAction::Restrict => "RESTRICT",
                    ReferentialAction::Cascade => "CASCADE",
                    ReferentialAction::SetNull => "SET NULL",
                    ReferentialAction::SetDefault => "SET DEFAULT",
                };
                text.push_str(&format!(" ON {clause} {action}"));
            }
            text.push_str(key.deferral_clause());
            text
        }
    }
}

/// A CHECK condition as `pg_get_expr(conbin, conrelid, pretty)` prints it: with all parentheses, or with those that are needed.
pub fn check_text(table: &Table, sql: &str, pretty: bool) -> String {
    printed(sql, Use::Condition, &Surroundings { table: Some(table), names: None, pretty })
}

/// A default as `pg_get_expr(adbin, adrelid)` prints it.
pub fn default_text(snapshot: &Snapshot, path: &[String], sql: &str, ty: ColumnType) -> String {
    printed(sql, Use::Value(ty), &Surroundings { table: None, names: Some((snapshot, path)), pretty: false })
}

/// What one of these printed, with those parentheses alone that are needed.
pub fn pretty_text(snapshot: &Snapshot, path: &[String], table: Option<&Table>, text: &str) -> String {
    printed(text, Use::Printed, &Surroundings { table, names: Some((snapshot, path)), pretty: true })
}

/// OIDs of the sequences that a stored expression names.
pub fn sequences_in(sql: &str, snapshot: &Snapshot) -> Vec<u32> {
    if sql.contains("regclass") { crate::ddl::sequences_named_in(sql, snapshot) } else { Vec::new() }
}
