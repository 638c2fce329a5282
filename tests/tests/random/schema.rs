//! Random tables with random rows and indexes.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::sql::quoted;
use crate::types::{TYPES, Ty};

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Anything.
    Plain,
    /// Different in each row that has it.
    Unique,
    /// The `id` of a row of the first table.
    Parent,
}

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
    /// What it is for.
    pub role: Role,
    /// Has a default.
    pub default: bool,
}

impl TableColumn {
    fn plain(name: impl Into<String>, ty: Ty, nullable: bool) -> TableColumn {
        TableColumn { name: name.into(), ty, borders: false, nullable, role: Role::Plain, default: false }
    }
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
        let parent = number == 0 || tables.first().is_some_and(|first: &Table| first.unique_id);
        let (table, made) = table(random, number, *rows, parent);
        tables.push(table);
        statements.extend(made);
    }
    (tables, statements)
}

/// `parent`: it may refer to the first table.
fn table(random: &mut StdRng, number: usize, rows: usize, parent: bool) -> (Table, Vec<String>) {
    let name = format!("t{number}");
    let mut columns = vec![TableColumn::plain("id", Ty::Int4, false), TableColumn::plain("k", Ty::Int8, true)];
    for at in 0..random.random_range(3..=OTHERS_MAX) {
        let ty = *TYPES.choose(random).unwrap();
        let borders = !ty.borders().is_empty() && random.random_bool(0.25);
        let nullable = random.random_bool(0.8);
        columns.push(TableColumn { borders, ..TableColumn::plain(format!("c{number}{at}"), ty, nullable) });
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
    if random.random_bool(0.5) {
        let unique = format!("u{number}");
        columns.push(TableColumn { role: Role::Unique, ..TableColumn::plain(unique.clone(), Ty::Int4, true) });
        match random.random_bool(0.5) {
            true => constraints.push(format!("unique ({unique})")),
            false => statements.push(format!("create unique index on {name} ({unique} desc)")),
        }
    }
    if parent && (number > 0 || unique_id && statements.is_empty()) && random.random_bool(0.6) {
        let (child, actions) = (format!("p{number}"), ["no action", "restrict", "cascade", "set null", "set default"]);
        let (delete, update) = (actions.choose(random).unwrap(), actions.choose(random).unwrap());
        let reference = format!("foreign key ({child}) references t0 (id) on delete {delete} on update {update}");
        constraints.push(reference);
        if random.random_bool(0.5) {
            statements.push(format!("create index on {name} ({child})"));
        }
        columns.push(TableColumn { role: Role::Parent, ..TableColumn::plain(child, Ty::Int4, true) });
    }
    for column in columns.iter().filter(|c| c.role == Role::Plain && !c.borders && c.name != "id") {
        let check = match column.ty {
            Ty::Int2 | Ty::Int4 => format!("{} < 95", column.name),
            Ty::Int8 if column.name == "k" => "k < 95".into(),
            Ty::Text => format!("length({}) <= 11", column.name),
            _ => continue,
        };
        if random.random_bool(0.2) {
            constraints.push(format!("check ({check})"));
        }
    }
    for column in &mut columns[1..] {
        column.default = column.role == Role::Plain && random.random_bool(0.4);
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
    let mut parts: Vec<String> = Vec::new();
    for column in &columns {
        let null = if column.nullable { "" } else { " not null" };
        let default = match column.default {
            true => format!(" default {}", quoted(column.ty.values().choose(random).unwrap())),
            false => String::new(),
        };
        parts.push(format!("{} {}{null}{default}", column.name, column.ty.column()));
    }
    parts.extend(constraints);
    statements.insert(0, format!("create table {name} ({})", parts.join(", ")));
    let table = Table { name: name.clone(), columns, unique_id, by_pair, rows };
    let values: Vec<String> = (1..=rows).map(|id| row(random, &table, id)).collect();
    let insert = format!("insert into {name} values {}", values.join(", "));
    statements.push(insert);
    (table, statements)
}

/// Values for a new row.
pub fn row(random: &mut StdRng, table: &Table, id: usize) -> String {
    let values: Vec<String> = table.columns.iter().map(|column| field(random, column, id)).collect();
    format!("({})", values.join(", "))
}

/// A value for a column of a new row.
pub fn field(random: &mut StdRng, column: &TableColumn, id: usize) -> String {
    match (column.name.as_str(), column.role) {
        ("id", _) => id.to_string(),
        ("k", _) if column.nullable && random.random_bool(0.1) => "null".into(),
        ("k", _) => random.random_range(0..7).to_string(),
        (_, Role::Unique) if random.random_bool(0.2) => "null".into(),
        (_, Role::Unique) => (3 * id).to_string(),
        _ => value(random, column),
    }
}

/// A value for a column, as a literal.
pub fn value(random: &mut StdRng, column: &TableColumn) -> String {
    if column.nullable && random.random_bool(0.2) {
        return "null".into();
    }
    match column.role {
        Role::Plain => {}
        Role::Unique => return random.random_range(1..400).to_string(),
        Role::Parent => return random.random_range(1..=ROWS[0]).to_string(),
    }
    let at_border = column.borders && random.random_bool(0.5);
    let values = if at_border { column.ty.borders() } else { column.ty.values() };
    quoted(values.choose(random).unwrap())
}
