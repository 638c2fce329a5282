//! Random expressions of a given type.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::schema::Table;
use crate::sql::{Sql, fill, list, text};
use crate::types::{COMPARABLE, OPERATIONS, TYPES, Ty};

/// Something that a query can refer to.
#[derive(Debug, Clone)]
pub struct Column {
    /// How it is written.
    pub sql: String,
    /// Its type.
    pub ty: Ty,
    /// The largest absolute value that an integer may have.
    pub bound: i128,
    /// It may hold values with which nothing is computed.
    pub borders: bool,
    /// Sums of its values do not depend on their order.
    pub exact: bool,
}

/// An expression with what is known of it.
#[derive(Debug, Clone)]
pub struct Typed {
    /// How it is written.
    pub sql: Sql,
    /// The largest absolute value that an integer may have. What could overflow is not generated: where it is computed for rows
    /// that a condition refuses, or not computed at all, is a matter of the plan.
    pub bound: i128,
}

/// A CTE in sight.
#[derive(Debug, Clone)]
pub struct Cte {
    /// Its name.
    pub name: String,
    /// Its columns, with bare names.
    pub columns: Vec<Column>,
}

/// Makes statements.
pub struct Generator {
    /// Where everything random comes from.
    pub random: StdRng,
    /// Tables of the schema.
    pub tables: Vec<Table>,
    /// CTEs of the query under way.
    pub ctes: Vec<Cte>,
    /// How many names were given.
    pub names: usize,
    /// Subqueries that the statement has so far.
    pub subqueries: usize,
}

/// The integers of the values in `types.rs` are at most this.
pub const VALUE_MAX: i128 = 1000;
/// Subqueries in expressions of one statement.
const SUBQUERIES_MAX: usize = 3;

impl Generator {
    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    /// A number below this.
    pub fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    /// One of them.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.random).unwrap()
    }

    /// A new name.
    pub fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// A constant, seldom NULL.
    pub fn constant(&mut self, ty: Ty) -> Typed {
        if self.chance(0.08) {
            return Typed { sql: text(format!("null::{}", ty.name())), bound: 0 };
        }
        let value = self.one(ty.values());
        let plain = matches!(ty, Ty::Int4) && !value.starts_with('-') || ty == Ty::Bool;
        let sql = if plain && self.chance(0.5) { text(value) } else { Sql::Constant { text: value, ty: ty.name() } };
        Typed { sql, bound: value.parse::<i128>().map_or(VALUE_MAX, i128::abs) }
    }

    /// A column of the type, or a constant.
    pub fn leaf(&mut self, ty: Ty, columns: &[Column]) -> Typed {
        let fitting: Vec<&Column> = columns.iter().filter(|c| c.ty == ty && !c.borders).collect();
        if let Some(column) = fitting.choose(&mut self.random)
            && self.random.random_bool(0.85)
        {
            return Typed { sql: text(column.sql.clone()), bound: column.bound };
        }
        self.constant(ty)
    }

    /// An expression of a type.
    pub fn expr(&mut self, ty: Ty, columns: &[Column], depth: usize) -> Typed {
        if depth == 0 || self.chance(0.25) {
            return self.leaf(ty, columns);
        }
        let made = match self.below(20) {
            0 | 1 => self.case(ty, columns, depth),
            2 => self.choice(ty, columns, depth),
            3 if ty != Ty::Jsonb => {
                let (a, b) = (self.expr(ty, columns, depth - 1), self.expr(ty, columns, depth - 1));
                Typed { bound: a.bound, sql: fill("nullif({}, {})", vec![a.sql, b.sql]) }
            }
            4 if self.subqueries < SUBQUERIES_MAX => self.scalar_subquery(ty, columns, depth),
            _ if ty == Ty::Bool => self.condition(columns, depth),
            _ if ty.largest().is_some() && self.chance(0.6) => self.arithmetic(ty, columns, depth),
            _ => self.operation(ty, columns, depth),
        };
        let simple = [self.leaf(ty, columns).sql, text(format!("null::{}", ty.name()))];
        Typed { sql: Sql::Or(Box::new(made.sql), simple.into()), bound: made.bound }
    }

    fn case(&mut self, ty: Ty, columns: &[Column], depth: usize) -> Typed {
        let (then, other) = (self.expr(ty, columns, depth - 1), self.expr(ty, columns, depth - 1));
        let bound = then.bound.max(other.bound);
        if self.chance(0.3) {
            let (of, is) = (self.expr(Ty::Int4, columns, depth - 1), self.constant(Ty::Int4));
            let parts = vec![of.sql, is.sql, then.sql, other.sql];
            return Typed { sql: fill("(case {} when {} then {} else {} end)", parts), bound };
        }
        let condition = self.condition(columns, depth - 1);
        let (template, parts) = if self.chance(0.8) {
            ("(case when {} then {} else {} end)", vec![condition.sql, then.sql, other.sql])
        } else {
            ("(case when {} then {} end)", vec![condition.sql, then.sql])
        };
        Typed { sql: fill(template, parts), bound }
    }

    fn choice(&mut self, ty: Ty, columns: &[Column], depth: usize) -> Typed {
        let (a, b) = (self.expr(ty, columns, depth - 1), self.expr(ty, columns, depth - 1));
        // The greater of two floats or intervals that are equal may be either.
        let ordered = ty.ordered() && !matches!(ty, Ty::Interval | Ty::Numeric | Ty::Bpchar);
        let name = if ordered { self.one(&["coalesce", "greatest", "least"]) } else { "coalesce" };
        Typed { bound: a.bound.max(b.bound), sql: fill(&format!("{name}({{}}, {{}})"), vec![a.sql, b.sql]) }
    }

    fn operation(&mut self, ty: Ty, columns: &[Column], depth: usize) -> Typed {
        let fitting: Vec<_> = OPERATIONS.iter().filter(|operation| operation.0 == ty).collect();
        let Some((_, template, args, bound)) = fitting.choose(&mut self.random).copied() else {
            return self.leaf(ty, columns);
        };
        let args = args.iter().map(|arg| self.expr(*arg, columns, depth - 1).sql).collect();
        Typed { sql: fill(template, args), bound: *bound }
    }

    /// Integers, with an eye on overflows.
    fn arithmetic(&mut self, ty: Ty, columns: &[Column], depth: usize) -> Typed {
        let Some(largest) = ty.largest() else { return self.leaf(ty, columns) };
        let a = self.expr(ty, columns, depth - 1);
        let from = self.one(&[Ty::Int2, Ty::Int4, Ty::Int8]);
        let b = if self.chance(0.6) { self.expr(ty, columns, depth - 1) } else { self.expr(from, columns, depth - 1) };
        let cast = |sql: Sql| fill(&format!("({{}})::{}", ty.name()), vec![sql]);
        let both = |template: &str, a: &Typed, b: &Typed| cast(fill(template, vec![a.sql.clone(), b.sql.clone()]));
        let least = a.bound.min(b.bound);
        let (sql, bound) = match self.below(9) {
            0 | 1 => (both("({} + {})", &a, &b), a.bound + b.bound),
            2 => (both("({} - {})", &a, &b), a.bound + b.bound),
            3 => (both("({} * {})", &a, &b), a.bound * b.bound),
            4 => (both("({} / nullif({}, 0))", &a, &b), a.bound),
            5 => (both("({} % nullif({}, 0))", &a, &b), a.bound),
            6 => (fill("abs({})", vec![a.sql.clone()]), a.bound),
            7 => (fill("(- {})", vec![a.sql.clone()]), a.bound),
            _ => {
                let other = self.expr(ty, columns, depth - 1);
                let operator = self.one(&["&", "|", "#"]);
                let template = format!("({{}} {operator} {{}})");
                (fill(&template, vec![a.sql.clone(), other.sql]), 2 * a.bound.max(other.bound) + 1)
            }
        };
        if bound > largest || least > largest { a } else { Typed { sql, bound } }
    }

    /// A truth value.
    pub fn condition(&mut self, columns: &[Column], depth: usize) -> Typed {
        let next = depth.saturating_sub(1);
        let sql = match self.below(if depth == 0 { 10 } else { 20 }) {
            0..=5 => self.comparison(columns, next),
            6 => {
                let column = self.column(columns);
                let test = self.one(&["is null", "is not null"]);
                fill(&format!("({{}} {test})"), vec![column])
            }
            7 => {
                let a = self.leaf(Ty::Int4, columns).sql;
                let values = (0..self.below(4) + 1).map(|_| self.constant(Ty::Int4).sql).collect();
                let not = self.one(&["", "not "]);
                fill(&format!("({{}} {not}in ({{}}))"), vec![a, list(values)])
            }
            8 => {
                let ty = self.orderable();
                let parts = (0..3).map(|_| self.expr(ty, columns, next).sql).collect();
                let kind = self.one(&["between", "not between", "between symmetric"]);
                fill(&format!("({{}} {kind} {{}} and {{}})"), parts)
            }
            9 => self.border(columns),
            10 | 11 => {
                let (a, b) = (self.condition(columns, next).sql, self.condition(columns, next).sql);
                let word = self.one(&["and", "or"]);
                let made = fill(&format!("({{}} {word} {{}})"), vec![a.clone(), b.clone()]);
                Sql::Or(Box::new(made), vec![a, b])
            }
            12 => {
                let a = self.condition(columns, next).sql;
                Sql::Or(Box::new(fill("(not {})", vec![a.clone()])), vec![a])
            }
            13 => {
                let a = self.condition(columns, next).sql;
                let test =
                    self.one(&["is true", "is not true", "is false", "is not false", "is unknown", "is not unknown"]);
                Sql::Or(Box::new(fill(&format!("({{}} {test})"), vec![a.clone()])), vec![a])
            }
            14 => {
                let (t, u) = (self.orderable(), self.orderable());
                let mut parts = Vec::new();
                for ty in [t, u, t, u] {
                    parts.push(self.expr(ty, columns, next).sql);
                }
                let operator = self.one(&["=", "<>", "<", ">="]);
                fill(&format!("(({{}}, {{}}) {operator} ({{}}, {{}}))"), parts)
            }
            15 | 16 if self.subqueries < SUBQUERIES_MAX => self.subquery_condition(columns, depth),
            17 => self.listed(columns),
            _ => self.operation(Ty::Bool, columns, depth.max(1)).sql,
        };
        let simple = vec![text("true"), text("false")];
        Typed { sql: Sql::Or(Box::new(sql), simple), bound: 0 }
    }

    /// Something among constants: rows in a list, or a chain of ORs, also long ones.
    fn listed(&mut self, columns: &[Column]) -> Sql {
        let count = self.one(&[1, 2, 3, 9, 12]);
        let types = [self.orderable(), self.orderable()];
        let left = types.map(|ty| self.leaf(ty, columns).sql);
        if self.chance(0.3) {
            let ors = (0..count).map(|_| {
                let value = self.constant(types[0]).sql;
                fill("{} = {}", vec![left[0].clone(), value])
            });
            let ors: Vec<Sql> = ors.collect();
            return chained(ors, " or ");
        }
        let rows = (0..count).map(|_| {
            let values = types.map(|ty| self.constant(ty).sql);
            fill("({}, {})", values.into())
        });
        let rows: Vec<Sql> = rows.collect();
        let [a, b] = left;
        if self.chance(0.3) {
            let pairs = rows.into_iter().map(|row| fill("({}, {}) = {}", vec![a.clone(), b.clone(), row])).collect();
            return chained(pairs, " or ");
        }
        let not = self.one(&["", "not "]);
        fill(&format!("(({{}}, {{}}) {not}in ({{}}))"), vec![a, b, list(rows)])
    }

    /// A type with an order.
    pub fn orderable(&mut self) -> Ty {
        loop {
            let ty = self.one(TYPES);
            if ty.ordered() {
                return ty;
            }
        }
    }

    /// Any column, or a constant when there is none.
    fn column(&mut self, columns: &[Column]) -> Sql {
        columns.choose(&mut self.random).map_or_else(|| text("1"), |column| text(column.sql.clone()))
    }

    fn comparison(&mut self, columns: &[Column], depth: usize) -> Sql {
        let operator =
            self.one(&["=", "=", "=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"]);
        let template = format!("({{}} {operator} {{}})");
        // Mostly a column with something of its type: that is what indexes serve.
        let usable: Vec<Column> = columns.iter().filter(|c| c.ty.ordered() && !c.borders).cloned().collect();
        if let Some(column) = usable.choose(&mut self.random).cloned()
            && self.random.random_bool(0.7)
        {
            let other = if self.chance(0.5) { self.constant(column.ty) } else { self.expr(column.ty, columns, depth) };
            return fill(&template, vec![text(column.sql), other.sql]);
        }
        let (left, right) = match self.chance(0.4) {
            true => self.one(COMPARABLE),
            false => {
                let ty = self.orderable();
                (ty, ty)
            }
        };
        let (left, right) = if self.chance(0.5) { (left, right) } else { (right, left) };
        let parts = vec![self.expr(left, columns, depth).sql, self.expr(right, columns, depth).sql];
        fill(&template, parts)
    }

    /// A comparison with a value at the border of the type.
    fn border(&mut self, columns: &[Column]) -> Sql {
        let fitting: Vec<Column> = columns.iter().filter(|c| !c.ty.borders().is_empty()).cloned().collect();
        let Some(column) = fitting.choose(&mut self.random).cloned() else { return self.comparison(columns, 0) };
        let operator = self.one(&["=", "<>", "<", "<=", ">", ">="]);
        let value = Sql::Constant { text: self.one(column.ty.borders()), ty: column.ty.name() };
        fill(&format!("({{}} {operator} {{}})"), vec![text(column.sql), value])
    }

    fn subquery_condition(&mut self, columns: &[Column], depth: usize) -> Sql {
        self.subqueries += 1;
        if self.chance(0.4) {
            let query = self.inner(columns, None, depth);
            let not = self.one(&["", "not "]);
            return fill(&format!("({not}exists ({{}}))"), vec![query]);
        }
        if self.chance(0.15) {
            let types = [self.orderable(), self.orderable()];
            let [a, b] = types.map(|ty| self.leaf(ty, columns).sql);
            let query = self.inner_values(columns, &types, depth);
            let test = self.one(&["in", "in", "not in"]);
            return fill(&format!("(({{}}, {{}}) {test} ({{}}))"), vec![a, b, query]);
        }
        let ty = self.orderable();
        let left = self.leaf(ty, columns).sql;
        let query = self.inner(columns, Some(ty), depth);
        // No array of these types is supported, or it has an order of its own.
        let element = !matches!(ty, Ty::Ints | Ty::Texts | Ty::Bpchar);
        if element && self.chance(0.25) {
            let test = self.one(&["= any", "= any", "<> all", "< any"]);
            return fill(&format!("({{}} {test} (array({{}})))"), vec![left, query]);
        }
        let test = self.one(&["in", "in", "not in", "= any", "<> all", "< any", ">= all"]);
        fill(&format!("({{}} {test} ({{}}))"), vec![left, query])
    }

    /// A query for an expression around it, which may refer to the columns there.
    fn inner(&mut self, columns: &[Column], ty: Option<Ty>, depth: usize) -> Sql {
        self.inner_values(columns, ty.as_slice(), depth)
    }

    /// The same, of several columns; of a constant if there is none.
    fn inner_values(&mut self, columns: &[Column], types: &[Ty], depth: usize) -> Sql {
        let table = self.tables.choose(&mut self.random).unwrap().clone();
        let alias = self.name("s");
        let mut all = table_columns(&table, &alias);
        let own = all.clone();
        all.extend_from_slice(columns);
        let mut condition = self.condition(&all, depth.saturating_sub(1)).sql;
        if self.chance(0.5)
            && let Some(outer) = columns.iter().rfind(|c| c.ty == Ty::Int8 || c.ty == Ty::Int4)
        {
            let key = self.one(&["k", "id"]);
            let correlated = text(format!("({alias}.{key} = {})", outer.sql));
            let made = fill("({} and {})", vec![correlated.clone(), condition.clone()]);
            condition = Sql::Or(Box::new(made), vec![correlated, condition]);
        }
        let mut values = Vec::new();
        for ty in types {
            let inside = if self.chance(0.7) { &own } else { &all };
            values.push(self.expr(*ty, inside, depth.saturating_sub(1)).sql);
        }
        let value = if values.is_empty() { text("1") } else { list(values) };
        fill(
            &format!("select {{}} from {} {alias} {{}}", table.name),
            vec![value, Sql::Maybe(Box::new(fill("where {}", vec![condition])))],
        )
    }

    /// A subquery with exactly one row.
    fn scalar_subquery(&mut self, ty: Ty, columns: &[Column], depth: usize) -> Typed {
        self.subqueries += 1;
        if ty == Ty::Int8 {
            let query = self.inner(columns, None, depth);
            return Typed { sql: fill("(select count(*) from ({}) z)", vec![query]), bound: VALUE_MAX };
        }
        let sole = matches!(ty, Ty::Bool | Ty::Jsonb | Ty::Uuid | Ty::Bytea | Ty::Interval | Ty::Bpchar | Ty::Numeric);
        if sole {
            // No maximum, or none that looks the same whichever of its equals is taken.
            let a = self.expr(ty, columns, depth - 1);
            let condition = self.condition(columns, depth - 1).sql;
            let limited = self.one(&["", " limit 1", " offset 0"]);
            let template = format!("(select {{}} where {{}}{limited})");
            return Typed { sql: fill(&template, vec![a.sql, condition]), bound: a.bound };
        }
        let query = self.inner(columns, Some(ty), depth);
        let function = self.one(&["max", "min"]);
        let bound = ty.largest().unwrap_or(0);
        Typed { sql: fill(&format!("(select {function}(v) from ({{}}) z (v))"), vec![query]), bound }
    }

    /// Something that looks the same whenever it is equal, so that it can be grouped, sorted and made distinct; and its type then.
    pub fn plain(&mut self, sql: Sql, ty: Ty) -> (Sql, Ty) {
        match ty {
            Ty::Numeric => (fill("round({}, 2)", vec![sql]), ty),
            Ty::Interval | Ty::Jsonb | Ty::Bpchar => (fill("cast({} as text)", vec![sql]), Ty::Text),
            _ => (sql, ty),
        }
    }
}

/// The columns of a table under an alias.
pub fn table_columns(table: &Table, alias: &str) -> Vec<Column> {
    table
        .columns
        .iter()
        .map(|c| Column {
            sql: format!("{alias}.{}", c.name),
            ty: c.ty,
            bound: VALUE_MAX,
            borders: c.borders,
            exact: !c.borders,
        })
        .collect()
}

/// Conditions with a word between them.
fn chained(conditions: Vec<Sql>, word: &str) -> Sql {
    let mut all = vec![text("(")];
    for (at, condition) in conditions.into_iter().enumerate() {
        if at > 0 {
            all.push(text(word));
        }
        all.push(condition);
    }
    all.push(text(")"));
    Sql::All(all)
}
