//! Random queries.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::expr::{Column, Cte, Generator, Typed, VALUE_MAX};
use crate::from::From;
use crate::sql::{Sql, fill, list, maybe, nothing, text};
use crate::types::{TYPES, Ty};

/// A query with its columns.
#[derive(Debug, Clone)]
pub struct Query {
    /// How it is written.
    pub sql: Sql,
    /// Its columns, with bare names.
    pub columns: Vec<Column>,
    /// Whether its rows have one order only.
    pub ordered: bool,
}

/// The most columns of a query.
const COLUMNS_MAX: usize = 4;
/// More rows than any group has.
const GROUP_ROWS_MAX: i128 = 100_000;

impl Generator {
    /// A whole statement.
    pub fn statement(&mut self) -> Query {
        self.names = 0;
        self.subqueries = 0;
        self.ctes.clear();
        let mut with = Vec::new();
        if self.chance(0.15) {
            for _ in 0..self.below(2) + 1 {
                let query = self.query(&[], None, 1);
                let name = self.name("w");
                let hint = self.one(&["", "materialized ", "not materialized "]);
                with.push(fill(&format!("{name} as {hint}({{}})"), vec![query.sql]));
                self.ctes.push(Cte { name, columns: query.columns });
            }
        }
        let recursive = self.chance(0.12);
        if recursive {
            with.push(self.recursive());
        }
        let mut query = self.query(&[], None, 2);
        if !with.is_empty() {
            let word = if recursive { "recursive " } else { "" };
            query.sql = fill(&format!("with {word}{{}} {{}}"), vec![list(with), query.sql]);
        }
        query
    }

    /// What stands behind FROM, and a condition on it, as text.
    pub fn partition(&mut self) -> (String, String) {
        self.names = 0;
        self.subqueries = 0;
        self.ctes.clear();
        let from = self.from(&[], 1);
        let condition = self.condition(&from.columns, 2).sql;
        (from.sql.simple(), condition.simple())
    }

    /// A query, of these types if there are any.
    pub fn query(&mut self, outer: &[Column], types: Option<&[Ty]>, depth: usize) -> Query {
        if depth > 0 && self.chance(0.12) {
            return self.set_operation(outer, types, depth);
        }
        let block = self.block(outer, types, depth);
        let (order, ordered) = self.order(&block.1, block.2);
        Query { sql: Sql::All(vec![block.0, order]), columns: block.1, ordered }
    }

    fn set_operation(&mut self, outer: &[Column], types: Option<&[Ty]>, depth: usize) -> Query {
        let types: Vec<Ty> = match types {
            Some(types) => types.to_vec(),
            None => (0..self.below(COLUMNS_MAX) + 1).map(|_| self.distinct_type()).collect(),
        };
        let bare = self.chance(0.2);
        let left = self.side(bare, outer, &types, depth - 1);
        let right = self.side(bare, outer, &types, depth - 1);
        let operation =
            self.one(&["union", "union all", "intersect", "intersect all", "except", "except all", "union all"]);
        let mut made = fill(&format!("({{}}) {operation} ({{}})"), vec![left.0.clone(), right.0.clone()]);
        let mut sides = vec![right.1];
        if self.chance(0.2) {
            let third = self.side(bare, outer, &types, depth - 1);
            let operation = self.one(&["union", "union all", "except"]);
            let longer = fill(&format!("{{}} {operation} ({{}})"), vec![made.clone(), third.0]);
            made = Sql::Or(Box::new(longer), vec![made]);
            sides.push(third.1);
        }
        let mut columns = left.1;
        for side in &sides {
            for (column, other) in columns.iter_mut().zip(side) {
                column.bound = column.bound.max(other.bound);
                column.exact &= other.exact;
                column.borders |= other.borders;
            }
        }
        let (order, ordered) = self.order(&columns, true);
        let made = Sql::Or(Box::new(made), vec![left.0, right.0]);
        Query { sql: Sql::All(vec![made, order]), columns, ordered }
    }

    /// A side of a set operation; `bare`: perhaps without FROM.
    fn side(&mut self, bare: bool, outer: &[Column], types: &[Ty], depth: usize) -> (Sql, Vec<Column>, bool) {
        if !bare || self.chance(0.3) {
            return self.block(outer, Some(types), depth);
        }
        let items = types.iter().map(|ty| self.item(Some(*ty), outer, true, 1)).collect();
        let (list, columns) = self.select_list(items);
        (fill("select {}", vec![list]), columns, true)
    }

    /// A type of which equal values look the same.
    fn distinct_type(&mut self) -> Ty {
        loop {
            let ty = self.one(TYPES);
            if !matches!(ty, Ty::Interval | Ty::Jsonb | Ty::Bpchar) {
                return ty;
            }
        }
    }

    /// What sorts by all columns, and perhaps limits, if equal rows look the same; and whether it does.
    fn order(&mut self, columns: &[Column], plain: bool) -> (Sql, bool) {
        if !plain || self.chance(0.4) {
            return (nothing(), false);
        }
        let mut positions: Vec<usize> = (1..=columns.len()).collect();
        positions.shuffle(&mut self.random);
        let keys = positions
            .into_iter()
            .map(|position| {
                let direction = self.one(&["", "", " desc", " nulls first", " desc nulls last"]);
                text(format!("{position}{direction}"))
            })
            .collect();
        let mut parts = vec![text(" order by "), list(keys)];
        if self.chance(0.4) {
            parts.push(maybe(text(format!(" limit {}", self.below(12)))));
        }
        if self.chance(0.15) {
            parts.push(maybe(text(format!(" offset {}", self.below(6)))));
        }
        (Sql::All(parts), true)
    }

    /// One SELECT without ORDER BY: how it is written, its columns, and whether equal rows look the same.
    fn block(&mut self, outer: &[Column], types: Option<&[Ty]>, depth: usize) -> (Sql, Vec<Column>, bool) {
        let from = if self.chance(0.06) { From::nothing() } else { self.from(outer, depth) };
        let mut all = from.columns.clone();
        all.extend_from_slice(outer);
        let condition = if self.chance(0.6) {
            let condition = self.condition(&all, depth).sql;
            maybe(fill(" where {}", vec![condition]))
        } else {
            nothing()
        };
        let wanted: Vec<Option<Ty>> = match types {
            Some(types) => types.iter().map(|ty| Some(*ty)).collect(),
            None => vec![None; self.below(COLUMNS_MAX) + 1],
        };
        match self.below(10) {
            0..=2 => self.grouped(&from, &condition, &wanted, depth),
            3 | 4 => self.windowed(&from, &condition, &wanted, depth),
            5 => self.distinct_on(&from, &condition, &wanted, depth),
            n => {
                let distinct = n == 6;
                let plain = distinct || types.is_some() || self.chance(0.8);
                let mut items = Vec::new();
                for ty in &wanted {
                    items.push(self.item(*ty, &all, plain, depth));
                }
                let word = if distinct { maybe(text("distinct ")) } else { nothing() };
                let (list, columns) = self.select_list(items);
                (fill("select {}{}{}{}", vec![word, list, from.sql, condition]), columns, plain)
            }
        }
    }

    /// Something for the select list: the expression and its type.
    fn item(&mut self, ty: Option<Ty>, columns: &[Column], plain: bool, depth: usize) -> (Typed, Ty, bool) {
        let usable: Vec<&Column> = columns.iter().filter(|c| ty.is_none_or(|ty| ty == c.ty)).collect();
        if let Some(column) = usable.choose(&mut self.random).copied().cloned()
            && self.random.random_bool(0.5)
        {
            let (sql, ty) = if plain { self.plain(text(column.sql), column.ty) } else { (text(column.sql), column.ty) };
            return (Typed { sql, bound: column.bound }, ty, column.borders);
        }
        let ty = ty.unwrap_or_else(|| self.one(TYPES));
        let made = self.expr(ty, columns, depth);
        let (sql, ty) = if plain { self.plain(made.sql, ty) } else { (made.sql, ty) };
        (Typed { sql, bound: made.bound }, ty, false)
    }

    /// The select list with names, of the types that were promised.
    fn select_list(&mut self, items: Vec<(Typed, Ty, bool)>) -> (Sql, Vec<Column>) {
        let (mut parts, mut columns) = (Vec::new(), Vec::new());
        for (item, ty, borders) in items {
            let name = self.name("n");
            let null = text(format!("null::{} as {name}", ty.name()));
            // A set operation takes the types of its sides as they are.
            let cast = if matches!(ty, Ty::Text | Ty::Numeric | Ty::Varchar) {
                format!("::{}", ty.name())
            } else {
                String::new()
            };
            let named = fill(&format!("({{}}){cast} as {name}"), vec![item.sql]);
            parts.push(Sql::Or(Box::new(named), vec![null]));
            let exact = !matches!(ty, Ty::Float4 | Ty::Float8);
            columns.push(Column { sql: name, ty, bound: item.bound, borders, exact });
        }
        (list(parts), columns)
    }

    fn grouped(
        &mut self,
        from: &From,
        condition: &Sql,
        wanted: &[Option<Ty>],
        depth: usize,
    ) -> (Sql, Vec<Column>, bool) {
        let mut keys: Vec<(Sql, Ty, Column)> = Vec::new();
        if !from.columns.is_empty() {
            for _ in 0..self.below(3) {
                let column = from.columns.choose(&mut self.random).unwrap().clone();
                let (sql, ty) = self.plain(text(column.sql.clone()), column.ty);
                if !keys.iter().any(|(_, _, other)| other.sql == column.sql) {
                    keys.push((sql, ty, column));
                }
            }
        }
        let sets = keys.len() == 2 && self.chance(0.25);
        let mut items = Vec::new();
        for ty in wanted {
            let key = keys.iter().filter(|(_, t, _)| ty.is_none_or(|ty| ty == *t)).collect::<Vec<_>>();
            let key = key.choose(&mut self.random).map(|(sql, ty, column)| ((*sql).clone(), *ty, column.clone()));
            items.push(match key {
                Some((sql, ty, column)) if self.chance(0.5) => (Typed { sql, bound: column.bound }, ty, column.borders),
                _ if ty.is_none() && sets && self.chance(0.3) => {
                    let sql = fill("grouping({}, {})", vec![keys[1].0.clone(), keys[0].0.clone()]);
                    (Typed { sql, bound: 4 }, Ty::Int4, false)
                }
                _ => {
                    let (made, ty) = self.aggregate(&from.columns, *ty, depth);
                    (made, ty, false)
                }
            });
        }
        let (select, columns) = self.select_list(items);
        let names: Vec<Sql> = keys.iter().map(|(sql, ..)| sql.clone()).collect();
        let group = match names.as_slice() {
            [] => nothing(),
            [a, b] if sets => {
                let forms = [
                    "grouping sets (({}, {}), ({}), ())",
                    "rollup ({}, {}), grouping sets (({}), ())",
                    "grouping sets (({}), ({}, {}))",
                    "cube ({}, {}), {}",
                    "distinct rollup ({}, {}), rollup ({})",
                ];
                let form = self.one(&forms);
                fill(&format!(" group by {form}"), vec![a.clone(), b.clone(), a.clone()])
            }
            _ => fill(" group by {}", vec![list(names)]),
        };
        let having = if self.chance(0.25) {
            let subject = self.aggregate(&from.columns, Some(Ty::Int8), 1).0.sql;
            let operator = self.one(&[">", "<=", "<>", "="]);
            let value = self.below(5);
            maybe(fill(&format!(" having ({{}} {operator} {value})"), vec![subject]))
        } else {
            nothing()
        };
        let parts = vec![select, from.sql.clone(), condition.clone(), group, having];
        (fill("select {}{}{}{}{}", parts), columns, true)
    }

    /// An expression that stands in two places: its constants are no parameters, which would be two.
    fn unchanging(&mut self, ty: Ty, columns: &[Column], depth: usize) -> Sql {
        text(self.expr(ty, columns, depth).sql.simple())
    }

    /// An aggregate of a type, equal results of which look the same.
    fn aggregate(&mut self, columns: &[Column], ty: Option<Ty>, depth: usize) -> (Typed, Ty) {
        let ty = ty.unwrap_or_else(|| {
            self.one(&[
                Ty::Int8,
                Ty::Int8,
                Ty::Int8,
                Ty::Numeric,
                Ty::Text,
                Ty::Bool,
                Ty::Ints,
                Ty::Int4,
                Ty::Date,
                Ty::Float8,
            ])
        });
        let depth = depth.saturating_sub(1);
        let mut bound = VALUE_MAX;
        let distinct = self.one(&["", "", "distinct "]);
        let sql = match (ty, self.below(6)) {
            (Ty::Int8, 0) => text("count(*)"),
            (Ty::Int8, 1 | 2) => {
                let of = self.one(TYPES);
                let arg = self.expr(of, columns, depth).sql;
                fill(&format!("count({distinct}{{}})"), vec![arg])
            }
            (Ty::Int8, _) => {
                let of = self.one(&[Ty::Int2, Ty::Int4]);
                let arg = self.expr(of, columns, depth);
                bound = arg.bound * GROUP_ROWS_MAX;
                fill(&format!("sum({distinct}{{}})"), vec![arg.sql])
            }
            (Ty::Numeric, 0..=3) => {
                let of = self.one(&[Ty::Int2, Ty::Int4, Ty::Int8, Ty::Numeric, Ty::Numeric]);
                let arg = self.expr(of, columns, depth).sql;
                let function = match of {
                    Ty::Int2 | Ty::Int4 => "avg",
                    _ => self.one(&["sum", "avg"]),
                };
                fill(&format!("{function}({distinct}{{}})"), vec![arg])
            }
            (Ty::Numeric, _) => {
                let arg = self.expr(Ty::Int4, columns, depth).sql;
                let function = self.one(&["stddev", "var_pop", "variance", "stddev_pop"]);
                fill(&format!("{function}({{}})"), vec![arg])
            }
            (Ty::Text, 0 | 1) => {
                let arg = self.unchanging(Ty::Text, columns, depth);
                let order = self.one(&["", " desc"]);
                fill(&format!("string_agg({{}}, ',' order by {{}}{order})"), vec![arg.clone(), arg])
            }
            (Ty::Text, 2) => {
                let arg = self.expr(Ty::Text, columns, depth).sql;
                fill("(mode() within group (order by {}))", vec![arg])
            }
            (Ty::Ints, _) => {
                let arg = self.unchanging(Ty::Int4, columns, depth);
                let order = self.one(&["", " desc nulls last", " nulls first"]);
                fill(&format!("array_agg({distinct}{{}} order by {{}}{order})"), vec![arg.clone(), arg])
            }
            (Ty::Bool, _) => {
                let arg = self.condition(columns, depth).sql;
                let function = self.one(&["bool_and", "bool_or", "every"]);
                fill(&format!("{function}({{}})"), vec![arg])
            }
            (Ty::Int4 | Ty::Int2, 0) => {
                let arg = self.expr(ty, columns, depth);
                bound = 2 * arg.bound + 1;
                let function = self.one(&["bit_and", "bit_or"]);
                fill(&format!("{function}({{}})"), vec![arg.sql])
            }
            (Ty::Float8, 0 | 1) => {
                let exact: Vec<Column> = columns.iter().filter(|c| c.exact && c.ty == Ty::Float8).cloned().collect();
                let arg = exact.choose(&mut self.random).map_or_else(|| text("1::float8"), |c| text(c.sql.clone()));
                let function = self.one(&["sum", "avg"]);
                fill(&format!("({function}({{}}) + 0)"), vec![arg])
            }
            (Ty::Float8, 2) => {
                let arg = self.expr(Ty::Int4, columns, depth).sql;
                let at = self.one(&["0", "0.5", "0.25", "1"]);
                fill(&format!("percentile_cont({at}) within group (order by {{}})"), vec![arg])
            }
            (Ty::Uuid | Ty::Bytea, _) => {
                // No maximum in PostgreSQL 15.
                let arg = self.unchanging(ty, columns, depth);
                fill("((array_agg({} order by {}))[1])", vec![arg.clone(), arg])
            }
            (_, 5) if ty.ordered() => {
                let arg = self.expr(ty, columns, depth);
                bound = arg.bound;
                let arg = self.plain(arg.sql, ty).0;
                fill("(percentile_disc(0.5) within group (order by {}))", vec![arg])
            }
            _ => {
                let arg = self.expr(ty, columns, depth);
                bound = arg.bound;
                let arg = self.plain(arg.sql, ty).0;
                let function = self.one(&["max", "min"]);
                fill(&format!("{function}({{}})"), vec![arg])
            }
        };
        let is_call = matches!(&sql, Sql::All(parts) if matches!(&parts[0], Sql::Text(t) if !t.starts_with('(')));
        let sql = if is_call && self.chance(0.2) {
            let condition = self.condition(columns, depth).sql;
            Sql::All(vec![sql, maybe(fill(" filter (where {})", vec![condition]))])
        } else {
            sql
        };
        let (sql, ty) = self.plain(sql, ty);
        (Typed { sql, bound }, ty)
    }

    fn windowed(
        &mut self,
        from: &From,
        condition: &Sql,
        wanted: &[Option<Ty>],
        depth: usize,
    ) -> (Sql, Vec<Column>, bool) {
        let mut items = Vec::new();
        for ty in wanted {
            items.push(match ty {
                None | Some(Ty::Int8) if self.chance(0.7) => self.window(from),
                _ => self.item(*ty, &from.columns, true, depth),
            });
        }
        let (select, columns) = self.select_list(items);
        (fill("select {}{}{}", vec![select, from.sql.clone(), condition.clone()]), columns, true)
    }

    /// A window function, of type int8.
    fn window(&mut self, from: &From) -> (Typed, Ty, bool) {
        let mut over = Vec::new();
        if self.chance(0.6) && !from.columns.is_empty() {
            let column = from.columns.choose(&mut self.random).unwrap().clone();
            if column.ty.ordered() {
                over.push(maybe(text(format!("partition by {} ", column.sql))));
            }
        }
        let mut keys: Vec<String> = Vec::new();
        let usable: Vec<&Column> = from.columns.iter().filter(|c| c.ty.ordered()).collect();
        for _ in 0..self.below(3) {
            if let Some(column) = usable.choose(&mut self.random) {
                let direction = self.random.random_range(0..4);
                keys.push(format!("{}{}", column.sql, ["", " desc", " nulls first", " desc nulls last"][direction]));
            }
        }
        let total = from.key.is_some() && self.chance(0.6);
        if total {
            keys.extend(from.key.iter().flatten().cloned());
        }
        let by = keys.len();
        if by > 0 {
            over.push(text(format!("order by {}", keys.join(", "))));
        }
        let mut bound = VALUE_MAX * GROUP_ROWS_MAX;
        let call = if total && self.chance(0.6) {
            let arg = self.leaf(Ty::Int4, &from.columns).sql;
            match self.below(7) {
                0 => text("row_number()"),
                1 => text(format!("ntile({})", self.below(4) + 1)),
                2 => {
                    let function = self.one(&["lag", "lead"]);
                    let by = self.below(3);
                    fill(&format!("{function}({{}}, {by})"), vec![arg])
                }
                3 => {
                    let function = self.one(&["lag", "lead"]);
                    fill(&format!("{function}({{}}, 1, -7)"), vec![arg])
                }
                n => {
                    let function = ["first_value({})", "last_value({})", "nth_value({}, 2)"][n - 4];
                    over.push(text(self.frame(by, true)));
                    fill(function, vec![arg])
                }
            }
        } else {
            match self.below(6) {
                0 => text("rank()"),
                1 => text("dense_rank()"),
                2 => fill("(1000 * {})", vec![text("percent_rank()")]),
                n => {
                    let arg = self.leaf(Ty::Int4, &from.columns);
                    bound = arg.bound.max(1) * GROUP_ROWS_MAX;
                    over.push(text(self.frame(by, total)));
                    let call = fill(["sum({})", "count({})", "max({})"][n - 3], vec![arg.sql]);
                    if self.chance(0.2) {
                        let condition = self.condition(&from.columns, 0).sql;
                        Sql::All(vec![call, maybe(fill(" filter (where {})", vec![condition]))])
                    } else {
                        call
                    }
                }
            }
        };
        let sql = match &call {
            Sql::All(parts) if matches!(&parts[0], Sql::Text(t) if t == "(1000 * ") => {
                fill("(1000 * percent_rank() over ({}))::int8", vec![Sql::All(over)])
            }
            _ => fill("({} over ({}))::int8", vec![call, Sql::All(over)]),
        };
        (Typed { sql, bound }, Ty::Int8, false)
    }

    /// A frame over so many keys; by rows only where no two rows are peers. (EXCLUDE is not supported.)
    fn frame(&mut self, keys: usize, total: bool) -> String {
        let units = match (keys, total) {
            (0, _) => return String::new(),
            (_, true) => self.one(&["rows", "groups", "range"]),
            _ => self.one(&["groups", "range"]),
        };
        if self.chance(0.3) {
            return String::new();
        }
        let offset = self.below(3);
        let (start, end) = match units {
            "range" => (
                self.one(&["unbounded preceding", "current row"]).to_owned(),
                self.one(&["current row", "unbounded following"]).to_owned(),
            ),
            _ => (
                [String::from("unbounded preceding"), format!("{offset} preceding"), "current row".into()]
                    [self.below(3)]
                .clone(),
                [format!("{offset} following"), "current row".into(), "unbounded following".into()][self.below(3)]
                    .clone(),
            ),
        };
        format!(" {units} between {start} and {end}")
    }

    fn distinct_on(
        &mut self,
        from: &From,
        condition: &Sql,
        wanted: &[Option<Ty>],
        depth: usize,
    ) -> (Sql, Vec<Column>, bool) {
        let mut items = Vec::new();
        for ty in wanted {
            items.push(self.item(*ty, &from.columns, true, depth));
        }
        let (select, columns) = self.select_list(items);
        let ordered: Vec<Column> = from.columns.iter().filter(|c| c.ty.ordered()).cloned().collect();
        let (Some(key), Some(on)) = (&from.key, ordered.choose(&mut self.random)) else {
            let parts = vec![maybe(text("distinct ")), select, from.sql.clone(), condition.clone()];
            return (fill("select {}{}{}{}", parts), columns, true);
        };
        let direction = self.random.random_range(0..3);
        let direction = ["", " desc", " nulls first"][direction];
        let order = text(format!(" order by {}{direction}, {}", on.sql, key.join(", ")));
        let parts = vec![text(on.sql.clone()), select, from.sql.clone(), condition.clone(), order];
        // In parentheses, because what is around it may sort by other things.
        let name = self.name("d");
        let inner = fill("select distinct on ({}) {}{}{}{}", parts);
        (fill(&format!("select * from ({{}}) {name}"), vec![inner]), columns, true)
    }
}
