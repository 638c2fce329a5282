//! What stands behind FROM: tables, derived tables, joins.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::expr::{Column, Cte, Generator, VALUE_MAX, table_columns};
use crate::query::Query;
use crate::sql::{Sql, fill, list, maybe, nothing, text};
use crate::types::{TYPES, Ty};

/// What stands behind FROM.
pub struct From {
    /// How it is written.
    pub sql: Sql,
    /// Its columns.
    pub columns: Vec<Column>,
    /// What tells one row from another, if there is something.
    pub key: Option<Vec<String>>,
    /// Roughly how many rows.
    pub rows: usize,
}

impl From {
    /// No FROM at all: one row without columns.
    pub fn nothing() -> From {
        From { sql: nothing(), columns: Vec::new(), key: Some(Vec::new()), rows: 1 }
    }
}

/// Nested loops over more rows are not asked for.
const PRODUCT_MAX: usize = 4000;
/// What a derived table is taken to have.
const DERIVED_ROWS: usize = 30;

impl Generator {
    /// FROM with a table or several.
    pub fn from(&mut self, outer: &[Column], depth: usize) -> From {
        let mut from = self.source(outer, &[], depth);
        from.sql = fill(" from {}", vec![from.sql]);
        let count = self.one(&[0, 0, 0, 1, 1, 1, 2]);
        for at in 0..count {
            from = self.joined(from, outer, depth, count == 1 && at == 0);
        }
        from
    }

    /// A table or what stands for one. It may refer to `lateral`.
    fn source(&mut self, outer: &[Column], lateral: &[Column], depth: usize) -> From {
        let choice = self.below(if depth > 0 { 16 } else { 8 });
        let alias = self.name("a");
        let rename = |columns: &[Column]| -> Vec<Column> {
            columns.iter().map(|c| Column { sql: format!("{alias}.{}", c.sql), ..c.clone() }).collect()
        };
        match choice {
            8 | 9 => {
                let query = self.query(&[], None, depth - 1);
                let columns = rename(&query.columns);
                From { sql: fill(&format!("({{}}) {alias}"), vec![query.sql]), columns, key: None, rows: DERIVED_ROWS }
            }
            0 | 10 if !self.ctes.is_empty() => {
                let cte = self.ctes.choose(&mut self.random).unwrap().clone();
                let columns = rename(&cte.columns);
                From { sql: text(format!("{} {alias}", cte.name)), columns, key: None, rows: DERIVED_ROWS }
            }
            11 => {
                let types: Vec<Ty> = (0..2).map(|_| self.one(TYPES)).collect();
                let mut rows = Vec::new();
                for _ in 0..self.below(4) + 1 {
                    let values = types.iter().map(|ty| Sql::Constant { text: self.one(ty.values()), ty: ty.name() });
                    let values = values.collect();
                    rows.push(fill("({})", vec![list(values)]));
                }
                let count = rows.len();
                let sql = fill(&format!("(values {{}}) {alias} (x, y)"), vec![list(rows)]);
                let column = |name: &str, ty: Ty| Column {
                    sql: format!("{alias}.{name}"),
                    ty,
                    bound: VALUE_MAX,
                    borders: false,
                    exact: true,
                };
                From { sql, columns: vec![column("x", types[0]), column("y", types[1])], key: None, rows: count }
            }
            12 => {
                let end = self.below(8);
                let columns = vec![Column {
                    sql: format!("{alias}.g"),
                    ty: Ty::Int4,
                    bound: VALUE_MAX,
                    borders: false,
                    exact: true,
                }];
                let key = Some(vec![format!("{alias}.g")]);
                From { sql: text(format!("generate_series(0, {end}) {alias} (g)")), columns, key, rows: end }
            }
            13 if !lateral.is_empty() => {
                let mut all = lateral.to_vec();
                all.extend_from_slice(outer);
                let query = self.query(&all, None, depth - 1);
                let columns = rename(&query.columns);
                let sql = fill(&format!("lateral ({{}}) {alias}"), vec![query.sql]);
                From { sql, columns, key: None, rows: DERIVED_ROWS }
            }
            14 | 15 => {
                let query = self.first_rows(outer);
                let columns = rename(&query.columns);
                From { sql: fill(&format!("({{}}) {alias}"), vec![query.sql]), columns, key: None, rows: DERIVED_ROWS }
            }
            _ => {
                let table = self.tables.choose(&mut self.random).unwrap().clone();
                let columns = table_columns(&table, &alias);
                let key = Some(vec![format!("{alias}.id")]);
                From { sql: text(format!("{} {alias}", table.name)), columns, key, rows: table.rows }
            }
        }
    }

    fn joined(&mut self, left: From, outer: &[Column], depth: usize, only: bool) -> From {
        let lateral = self.chance(0.3);
        let right = self.source(outer, if lateral { &left.columns } else { &[] }, depth);
        let is_lateral =
            matches!(&right.sql, Sql::All(parts) if matches!(&parts[0], Sql::Text(t) if t.starts_with("lateral")));
        let mut kind = self.one(&["join", "join", "left join", "right join", "full join", "cross join"]);
        if is_lateral && matches!(kind, "right join" | "full join") {
            kind = "left join";
        }
        let mut columns = left.columns.clone();
        columns.extend(right.columns.iter().cloned());
        let key = left.key.clone().zip(right.key.clone()).map(|(left, right)| [left, right].concat());
        let large = left.rows * right.rows > PRODUCT_MAX;
        let ends = |column: &&Column| column.sql.ends_with(".k") || column.sql.ends_with(".id");
        let (l, r): (Vec<_>, Vec<_>) =
            (left.columns.iter().filter(ends).collect(), right.columns.iter().filter(ends).collect());
        let pair = l.choose(&mut self.random).copied().cloned().zip(r.choose(&mut self.random).copied().cloned());
        if only && !is_lateral && l.len() == 2 && r.len() == 2 && self.random.random_bool(0.2) {
            let natural = self.chance(0.3);
            let merged =
                |name: &str, ty: Ty| Column { sql: name.into(), ty, bound: VALUE_MAX, borders: false, exact: true };
            columns.push(merged("k", Ty::Int8));
            let kind = if kind == "cross join" { "join" } else { kind };
            let sql = if natural {
                columns.push(merged("id", Ty::Int4));
                fill(&format!("{{}} natural {kind} {{}}"), vec![left.sql, right.sql])
            } else {
                fill(&format!("{{}} {kind} {{}} using (k)"), vec![left.sql, right.sql])
            };
            return From { sql, columns, key, rows: left.rows.max(right.rows) * 4 };
        }
        // What PostgreSQL cannot hash it does not join fully.
        let operator = if kind != "full join" && self.chance(0.15) { "is not distinct from" } else { "=" };
        let equality = pair.map(|(l, r)| text(format!("({} {operator} {})", l.sql, r.sql)));
        let subqueries = std::mem::replace(&mut self.subqueries, usize::MAX);
        let extra = self.condition(&columns, 1).sql;
        self.subqueries = subqueries;
        let condition = match (equality, kind) {
            (Some(equality), "cross join") if large => {
                kind = "join";
                equality
            }
            (_, "cross join") if !large => {
                return From {
                    sql: fill("{} cross join {}", vec![left.sql, right.sql]),
                    columns,
                    key,
                    rows: left.rows * right.rows,
                };
            }
            (Some(equality), _) if large || self.random.random_bool(0.6) => {
                if self.chance(0.4) {
                    let made = fill("({} and {})", vec![equality.clone(), extra]);
                    Sql::Or(Box::new(made), vec![equality])
                } else {
                    equality
                }
            }
            // What PostgreSQL can neither hash nor merge, it does not join fully.
            (Some(equality), "full join") => equality,
            (None, "full join") => {
                kind = "left join";
                extra
            }
            (None, "cross join") => {
                kind = "join";
                text("false")
            }
            (None, _) if large => text("false"),
            _ => extra,
        };
        let rows = (left.rows * right.rows).min(PRODUCT_MAX / 2);
        let without = left.sql.clone();
        let sql = fill(&format!("{{}} {kind} {{}} on {{}}"), vec![left.sql, right.sql, condition]);
        From { sql: Sql::Or(Box::new(sql), vec![without]), columns, key, rows }
    }

    /// The first rows of a table, or those after them, in an order that the query gives but does not show.
    fn first_rows(&mut self, outer: &[Column]) -> Query {
        let table = self.tables.choose(&mut self.random).unwrap().clone();
        let alias = self.name("o");
        let own = table_columns(&table, &alias);
        let mut all = own.clone();
        all.extend_from_slice(outer);
        let mut columns = Vec::new();
        let mut items = Vec::new();
        for column in &own {
            if self.chance(0.5) {
                continue;
            }
            let name = self.name("f");
            let computed = column.ty == Ty::Int4 && self.chance(0.3);
            let sql = if computed { format!("({} % 100)", column.sql) } else { column.sql.clone() };
            items.push(text(format!("{sql} as {name}")));
            columns.push(Column { sql: name, ..column.clone() });
        }
        if items.is_empty() {
            let name = self.name("f");
            items.push(text(format!("{alias}.k as {name}")));
            columns.push(Column { sql: name, ty: Ty::Int8, bound: VALUE_MAX, borders: false, exact: true });
        }
        let condition = if self.chance(0.4) {
            let condition = self.condition(&all, 1).sql;
            maybe(fill(" where {}", vec![condition]))
        } else {
            nothing()
        };
        let mut keys = Vec::new();
        let usable: Vec<&Column> = own.iter().filter(|c| c.ty.ordered()).collect();
        if self.chance(0.5)
            && let Some(column) = usable.choose(&mut self.random)
        {
            keys.push(format!("{}{}", column.sql, self.one(&["", " desc", " nulls first"])));
        }
        keys.push(format!("{alias}.id{}", self.one(&["", " desc"])));
        let (limit, offset) = (self.below(table.rows + 3), self.below(table.rows));
        let end = match self.below(4) {
            0 => format!(" limit {limit}"),
            1 => format!(" limit {limit} offset {offset}"),
            _ => format!(" offset {offset}"),
        };
        let order = text(format!(" order by {}", keys.join(", ")));
        let parts = vec![list(items), condition, order, maybe(text(end))];
        let sql = fill(&format!("select {{}} from {} {alias}{{}}{{}}{{}}", table.name), parts);
        Query { sql, columns, ordered: false }
    }

    /// A recursive CTE: its definition, with a few rounds of few rows.
    pub fn recursive(&mut self) -> Sql {
        let name = self.name("r");
        let (from, alias) = (self.tables.choose(&mut self.random).unwrap().clone(), self.name("s"));
        let seeds = table_columns(&from, &alias);
        let integer = |made: Sql| fill("(({}) % 100)::int4", vec![made]);
        let shortened = |made: Sql| fill("left({}, 6)", vec![made]);
        let (x, y) = (self.expr(Ty::Int4, &seeds, 1).sql, self.expr(Ty::Text, &seeds, 1).sql);
        let condition = self.condition(&seeds, 1).sql;
        let seed = fill(
            &format!("select 0, {{}}, {{}} from {} {alias} where ({alias}.id < 6) and {{}}", from.name),
            vec![integer(x), shortened(y), condition],
        );
        let column = |prefix: &str, name: &str, ty: Ty| {
            let sql = if prefix.is_empty() { name.into() } else { format!("{prefix}.{name}") };
            Column { sql, ty, bound: 100, borders: false, exact: true }
        };
        let columns = |prefix: &str| {
            vec![column(prefix, "n", Ty::Int4), column(prefix, "x", Ty::Int4), column(prefix, "y", Ty::Text)]
        };
        let mut all = columns(&name);
        let mut source = text(name.clone());
        let mut rounds = self.below(5) + 1;
        if self.chance(0.7) {
            let (other, alias) = (self.tables.choose(&mut self.random).unwrap().clone(), self.name("j"));
            let key = self.one(&["id", "id", "k"]);
            if key == "k" {
                rounds = 2;
            }
            let (left, right) = (format!("{} {alias}", other.name), name.clone());
            let (left, right) = if self.chance(0.5) { (left, right) } else { (right, left) };
            let to = self.one(&["x", "x", "n"]);
            source = text(format!("{left} join {right} on ({alias}.{key} = {name}.{to})"));
            all.extend(table_columns(&other, &alias));
        }
        let (x, y) = (self.expr(Ty::Int4, &all, 1).sql, self.expr(Ty::Text, &all, 1).sql);
        let condition = self.condition(&all, 1).sql;
        let word = self.one(&["union", "union all"]);
        let term = fill(
            &format!("select {name}.n + 1, {{}}, {{}} from {{}} where ({name}.n < {rounds}) and {{}}"),
            vec![integer(x), shortened(y), source, condition],
        );
        self.ctes.push(Cte { name: name.clone(), columns: columns("") });
        fill(&format!("{name}(n, x, y) as ({{}} {word} {{}})"), vec![seed, term])
    }
}
