//! Random tables with random rows and indexes.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::sql::quoted;
use crate::types::{TYPES, Ty};

/// A column of a table.
#[derive(Debug, Clone)]
pub struct TableColumn {
    /// Its name; unique in the schema, apart from `id` and `k`, which all tables have.
    pub name: String,
    /// Its type.
    pub ty: Ty,
    /// Holds values at the borders of the type, with which nothing is computed.
    pub borders: bool,
    /// Takes NULL.
    pub nullable: bool,
}

/// A table: `id int4`, never NULL and different in each row, `k int8` with few different values, and others.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<TableColumn>,
    /// Whether the server knows that `id` is unique.
    pub unique_id: bool,
    /// Whether (k, id) is the primary key.
    pub by_pair: bool,
    /// How many rows it has at first.
    pub rows: usize,
}

/// Rows of the tables, by number.
const ROWS: &[usize] = &[30, 12, 60, 5];
/// Columns besides `id` and `k`.
const OTHERS_MAX: usize = 6;

/// Tables with what makes them.
pub fn schema(random: &mut StdRng) -> (Vec<Table>, Vec<String>) {
    let (mut tables, mut statements) = (Vec::new(), Vec::new());
    for (number, rows) in ROWS.iter().enumerate() {
        let (table, made) = table(random, number, *rows);
        tables.push(table);
        statements.extend(made);
    }
    (tables, statements)
}

fn table(random: &mut StdRng, number: usize, rows: usize) -> (Table, Vec<String>) {
    let name = format!("t{number}");
    let mut columns = vec![
        TableColumn { name: "id".into(), ty: Ty::Int4, borders: false, nullable: false },
        TableColumn { name: "k".into(), ty: Ty::Int8, borders: false, nullable: true },
    ];
    for at in 0..random.random_range(3..=OTHERS_MAX) {
        let ty = *TYPES.choose(random).unwrap();
        let borders = !ty.borders().is_empty() && random.random_bool(0.25);
        let nullable = random.random_bool(0.8);
        columns.push(TableColumn { name: format!("c{number}{at}"), ty, borders, nullable });
    }
    let (mut unique_id, mut by_pair) = (false, false);
    let mut constraints = Vec::new();
    let mut statements = Vec::new();
    match random.random_range(0..6) {
        0 => {}
        1 | 2 => {
            unique_id = true;
            constraints.push("primary key (id)".to_owned());
        }
        3 => {
            by_pair = true;
            columns[1].nullable = false;
            constraints.push("primary key (k, id)".to_owned());
        }
        4 => {
            unique_id = true;
            constraints.push("unique (id)".to_owned());
        }
        _ => {
            unique_id = true;
            statements.push(format!("create unique index on {name} (id desc)"));
        }
    }
    for _ in 0..random.random_range(0..4) {
        let mut keys = Vec::new();
        for _ in 0..random.random_range(1..3) {
            let column = columns.choose(random).unwrap();
            // Indexes on arrays are not supported, jsonb has an order of its own; a column stands in an index once.
            if !matches!(column.ty, Ty::Jsonb | Ty::Ints | Ty::Texts)
                && !keys.iter().any(|key: &String| key.split(' ').next() == Some(&column.name))
            {
                let order = ["", " desc", " nulls first", " desc nulls last"].choose(random).unwrap();
                keys.push(format!("{}{order}", column.name));
            }
        }
        if !keys.is_empty() {
            statements.push(format!("create index on {name} ({})", keys.join(", ")));
        }
    }
    let mut parts: Vec<String> = columns
        .iter()
        .map(|c| format!("{} {}{}", c.name, c.ty.column(), if c.nullable { "" } else { " not null" }))
        .collect();
    parts.extend(constraints);
    statements.insert(0, format!("create table {name} ({})", parts.join(", ")));
    let table = Table { name: name.clone(), columns, unique_id, by_pair, rows };
    let values: Vec<String> = (1..=rows).map(|id| row(random, &table, id)).collect();
    statements.push(format!("insert into {name} values {}", values.join(", ")));
    (table, statements)
}

/// Values for a new row.
pub fn row(random: &mut StdRng, table: &Table, id: usize) -> String {
    let mut values = vec![id.to_string()];
    for column in &table.columns[1..] {
        values.push(match column.name.as_str() {
            "k" if column.nullable && random.random_bool(0.1) => "null".into(),
            "k" => random.random_range(0..7).to_string(),
            _ => value(random, column),
        });
    }
    format!("({})", values.join(", "))
}

/// A value for a column, as a literal.
pub fn value(random: &mut StdRng, column: &TableColumn) -> String {
    if column.nullable && random.random_bool(0.2) {
        return "null".into();
    }
    let at_border = column.borders && random.random_bool(0.5);
    let values = if at_border { column.ty.borders() } else { column.ty.values() };
    quoted(values.choose(random).unwrap())
}
