//! Definitions as text, in the form of Postgres's `pg_get_…def` functions.

use sqlparser::ast::{BinaryOperator, DataType, Expr, UnaryOperator, Value};
use stratos_types::{ColumnType, PgType};

use super::classes::class_name;
use crate::catalog::{
    Constraint, ConstraintKind, Index, ReferentialAction, Relation, Snapshot, Table, deferral_clause, quote_identifier,
    quote_literal,
};
use crate::ddl::{column_type, parse_expression};

/// Depth to which expressions are printed in Postgres's form; deeper parts print as they were stored.
const DEPTH_MAX: usize = 64;

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
    match parse_expression(sql) {
        Ok(expression) => Printer { table: Some(table), names: None, pretty }.print(&expression, 0),
        // Damage shows where the condition is used.
        Err(_) => sql.to_owned(),
    }
}

/// A default as `pg_get_expr(adbin, adrelid)` prints it.
pub fn default_text(snapshot: &Snapshot, path: &[String], sql: &str, ty: ColumnType) -> String {
    let Ok(expression) = parse_expression(sql) else {
        return sql.to_owned();
    };
    // A constant string of a number or boolean prints as the constant itself.
    if let Expr::Cast { expr, .. } = &expression
        && let Expr::Value(value) = expr.as_ref()
        && let Value::SingleQuotedString(text) = &value.value
    {
        let lower = text.to_lowercase();
        match ty.ty {
            PgType::Bool if matches!(lower.as_str(), "t" | "true" | "on" | "yes" | "1") => {
                return "true".into();
            }
            PgType::Bool if matches!(lower.as_str(), "f" | "false" | "off" | "no" | "0") => {
                return "false".into();
            }
            PgType::Int2 | PgType::Int4 | PgType::Int8
                if text.bytes().all(|b| b.is_ascii_digit()) && ty.ty == PgType::Int4 =>
            {
                return text.clone();
            }
            _ => {}
        }
    }
    Printer { table: None, names: Some((snapshot, path)), pretty: false }.print(&expression, 0)
}

/// OIDs of the sequences that a stored expression names.
pub fn sequences_in(sql: &str, snapshot: &Snapshot) -> Vec<u32> {
    if sql.contains("regclass") { crate::ddl::sequences_named_in(sql, snapshot) } else { Vec::new() }
}

struct Printer<'a> {
    /// For the types of columns, which decide what casts Postgres shows.
    table: Option<&'a Table>,
    /// For regclass constants.
    names: Option<(&'a Snapshot, &'a [String])>,
    /// Only the parentheses that are needed, by what Postgres takes for needed.
    pretty: bool,
}

/// What an expression stands in, for whether it needs parentheses there.
#[derive(Clone, Copy)]
enum Within<'e> {
    /// An operator with one or two operands, with the first of them or another one.
    Operator(&'e str, bool),
    And,
    Or,
    Not,
    /// `IS NULL`, a cast, `IS DISTINCT FROM`, a list.
    Test,
}

/// How tightly an operator of arithmetic binds, as far as Postgres leaves parentheses out for it.
fn tightness(operator: &str) -> Option<u8> {
    match operator {
        "+" | "-" => Some(1),
        "*" | "/" | "%" => Some(2),
        _ => None,
    }
}

/// Whether an expression needs no parentheses where it stands (`isSimpleNode` in Postgres's ruleutils.c).
fn is_simple(expression: &Expr, within: Within<'_>) -> bool {
    let in_chain = matches!(within, Within::And | Within::Or | Within::Not);
    match expression {
        Expr::Nested(inner) => is_simple(inner, within),
        Expr::BinaryOp { op: BinaryOperator::And, .. } => matches!(within, Within::And | Within::Or),
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => matches!(within, Within::Or),
        Expr::UnaryOp { op: UnaryOperator::Not, .. } => matches!(within, Within::And | Within::Or),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(expr.as_ref(), Expr::Value(_)) => true,
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => is_simple(expr, within),
        Expr::BinaryOp { op, .. } => match within {
            Within::Operator(outer, first) => match (tightness(&op.to_string()), tightness(outer)) {
                (Some(inner), Some(outer)) => inner > outer || (inner == outer && first),
                _ => false,
            },
            _ => in_chain,
        },
        Expr::Between { negated, .. } => match negated {
            false => matches!(within, Within::And | Within::Or),
            true => matches!(within, Within::Or),
        },
        Expr::IsNotDistinctFrom(..) => matches!(within, Within::And | Within::Or),
        Expr::InList { .. } => false,
        Expr::UnaryOp { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsDistinctFrom(..)
        | Expr::Like { .. }
        | Expr::ILike { .. } => in_chain,
        Expr::Cast { expr, .. } => is_simple(expr, Within::Test),
        _ => true,
    }
}

impl Printer<'_> {
    /// In the parentheses that Postgres puts around an operation wherever it stands.
    fn enclosed(&self, text: String) -> String {
        if self.pretty { text } else { format!("({text})") }
    }

    /// A part of an expression, printed, with parentheses where it needs some.
    fn part(&self, expression: &Expr, printed: String, within: Within<'_>) -> String {
        if self.pretty && !is_simple(expression, within) { format!("({printed})") } else { printed }
    }

    fn inner(&self, expression: &Expr, within: Within<'_>, depth: usize) -> String {
        self.part(expression, self.print(expression, depth), within)
    }

    fn column_type(&self, expression: &Expr) -> Option<PgType> {
        match expression {
            Expr::Identifier(ident) => {
                let table = self.table?;
                let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
                table.column_named(&name).map(|i| table.columns[i].ty.ty)
            }
            Expr::Nested(inner) => self.column_type(inner),
            Expr::Cast { data_type, .. } => column_type(data_type).ok().map(|t| t.ty),
            _ => None,
        }
    }

    /// A side of a comparison, given the other side's type: constants show theirs, varchar is compared as text.
    fn operand(&self, expression: &Expr, other: Option<PgType>, depth: usize) -> String {
        if let Expr::Value(value) = expression
            && let Value::SingleQuotedString(text) = &value.value
        {
            let ty = match other {
                Some(PgType::Varchar | PgType::Name) | None => PgType::Text,
                Some(ty) => ty,
            };
            return format!("{}::{}", quote_literal(text), type_name(ty.into()));
        }
        let text = self.print(expression, depth);
        if self.column_type(expression) == Some(PgType::Varchar) && matches!(expression, Expr::Identifier(_)) {
            return if self.pretty { format!("{text}::text") } else { format!("({text})::text") };
        }
        text
    }

    fn comparison(&self, left: &Expr, operator: &str, right: &Expr, depth: usize) -> String {
        let (left_type, right_type) = (self.column_type(left), self.column_type(right));
        let (within_left, within_right) = match operator {
            "IS DISTINCT FROM" => (Within::Test, Within::Test),
            _ => (Within::Operator(operator, true), Within::Operator(operator, false)),
        };
        let left = self.part(left, self.operand(left, right_type, depth), within_left);
        let right = self.part(right, self.operand(right, left_type, depth), within_right);
        self.enclosed(format!("{left} {operator} {right}"))
    }

    /// The parts of a chain of one of AND and OR, which Postgres prints without inner parentheses.
    fn chain<'e>(expression: &'e Expr, operator: &BinaryOperator, into: &mut Vec<&'e Expr>) {
        // An explicit stack, because chains are as long as their author liked.
        let mut pending = vec![expression];
        while let Some(next) = pending.pop() {
            match next {
                Expr::BinaryOp { left, op, right } if op == operator => {
                    pending.push(right);
                    pending.push(left);
                }
                Expr::Nested(inner) => pending.push(inner),
                other => into.push(other),
            }
        }
    }

    fn print(&self, expression: &Expr, depth: usize) -> String {
        if depth > DEPTH_MAX {
            return expression.to_string();
        }
        let depth = depth + 1;
        match expression {
            Expr::Nested(inner) => self.print(inner, depth),
            Expr::Identifier(ident) => ident.to_string(),
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right: _ } => {
                let _ = left;
                let mut parts = Vec::new();
                Self::chain(expression, op, &mut parts);
                let within = if *op == BinaryOperator::And { Within::And } else { Within::Or };
                let printed: Vec<String> = parts.iter().map(|part| self.inner(part, within, depth)).collect();
                self.enclosed(printed.join(&format!(" {op} ")))
            }
            Expr::BinaryOp { left, op, right } => {
                let operator = match op {
                    BinaryOperator::NotEq => "<>".to_owned(),
                    other => other.to_string(),
                };
                self.comparison(left, &operator, right, depth)
            }
            Expr::UnaryOp { op, expr } => match (op, expr.as_ref()) {
                (UnaryOperator::Minus, Expr::Value(value)) => match &value.value {
                    Value::Number(number, _) => {
                        let ty = if number.parse::<i32>().is_ok() {
                            "integer"
                        } else if number.parse::<i64>().is_ok() {
                            "bigint"
                        } else {
                            "numeric"
                        };
                        format!("'-{number}'::{ty}")
                    }
                    _ => expression.to_string(),
                },
                (UnaryOperator::Not, inner) => self.enclosed(format!("NOT {}", self.inner(inner, Within::Not, depth))),
                (UnaryOperator::Plus, inner) => self.print(inner, depth),
                (op, inner) => {
                    let symbol = op.to_string();
                    self.enclosed(format!("{op} {}", self.inner(inner, Within::Operator(&symbol, true), depth)))
                }
            },
            Expr::IsNull(inner) => self.enclosed(format!("{} IS NULL", self.inner(inner, Within::Test, depth))),
            Expr::IsNotNull(inner) => self.enclosed(format!("{} IS NOT NULL", self.inner(inner, Within::Test, depth))),
            Expr::IsTrue(inner) => self.enclosed(format!("{} IS TRUE", self.inner(inner, Within::Test, depth))),
            Expr::IsFalse(inner) => self.enclosed(format!("{} IS FALSE", self.inner(inner, Within::Test, depth))),
            Expr::IsNotTrue(inner) => self.enclosed(format!("{} IS NOT TRUE", self.inner(inner, Within::Test, depth))),
            Expr::IsNotFalse(inner) => {
                self.enclosed(format!("{} IS NOT FALSE", self.inner(inner, Within::Test, depth)))
            }
            Expr::IsDistinctFrom(left, right) => self.comparison(left, "IS DISTINCT FROM", right, depth),
            Expr::IsNotDistinctFrom(left, right) => {
                let distinct = self.comparison(left, "IS DISTINCT FROM", right, depth);
                self.enclosed(format!("NOT {distinct}"))
            }
            Expr::Between { expr, negated, low, high } => {
                if let Expr::Prefixed { prefix: _, value } = low.as_ref() {
                    return self.between_symmetric(expr, *negated, [value, high], depth);
                }
                let (first, joint, second) = if *negated { ("<", "OR", ">") } else { (">=", "AND", "<=") };
                self.enclosed(format!(
                    "{} {joint} {}",
                    self.comparison(expr, first, low, depth),
                    self.comparison(expr, second, high, depth)
                ))
            }
            Expr::InList { expr, list, negated } => {
                let ty = self.column_type(expr);
                let items: Vec<String> = list.iter().map(|item| self.operand(item, ty, depth)).collect();
                let test = if *negated { "<> ALL" } else { "= ANY" };
                let expr = self.part(expr, self.operand(expr, None, depth), Within::Test);
                self.enclosed(format!("{expr} {test} (ARRAY[{}])", items.join(", ")))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.comparison(expr, if *negated { "!~~" } else { "~~" }, pattern, depth)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.comparison(expr, if *negated { "!~~*" } else { "~~*" }, pattern, depth)
            }
            Expr::Cast { expr, data_type, array: false, format: None, .. } => self.cast(expr, data_type, depth),
            Expr::Value(value) => match &value.value {
                Value::Boolean(value) => value.to_string(),
                Value::Null => "NULL".into(),
                Value::SingleQuotedString(text) => {
                    format!("{}::text", quote_literal(text))
                }
                _ => expression.to_string(),
            },
            Expr::Function(function) => {
                let mut printed = function.clone();
                self.arguments(&mut printed, depth);
                let text = printed.to_string();
                match text.to_lowercase().as_str() {
                    "current_timestamp" | "current_date" | "current_time" | "current_user" | "session_user"
                    | "current_role" | "localtime" | "localtimestamp" => text.to_uppercase(),
                    _ => text,
                }
            }
            other => other.to_string(),
        }
    }

    /// `BETWEEN SYMMETRIC`: the bounds in either order.
    fn between_symmetric(&self, expr: &Expr, negated: bool, bounds: [&Expr; 2], depth: usize) -> String {
        let sides = [bounds, [bounds[1], bounds[0]]].map(|[low, high]| {
            let [expr, low, high] = [expr, low, high].map(|part| Box::new(part.clone()));
            self.print(&Expr::Between { expr, negated, low, high }, depth)
        });
        // An alternative between two ANDs needs no parentheses, one between two ORs does.
        let sides = sides.map(|side| if self.pretty && negated { format!("({side})") } else { side });
        self.enclosed(sides.join(if negated { " AND " } else { " OR " }))
    }

    /// Arguments print by the same rules; a name in a string that is a sequence prints as found on the search path.
    fn arguments(&self, function: &mut sqlparser::ast::Function, depth: usize) {
        use sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArguments, Ident};
        let FunctionArguments::List(list) = &mut function.args else {
            return;
        };
        for argument in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument {
                let text = match self.column_type(expression) {
                    Some(PgType::Varchar) => self.operand(expression, None, depth),
                    _ => self.print(expression, depth),
                };
                // Printed text stands in for the tree: an identifier is written as it is.
                *expression = Expr::Identifier(Ident::new(text));
            }
        }
    }

    fn cast(&self, expression: &Expr, data_type: &DataType, depth: usize) -> String {
        let Ok(ty) = column_type(data_type) else {
            return format!("({})::{data_type}", self.print(expression, depth));
        };
        if let Expr::Value(value) = expression
            && let Value::SingleQuotedString(text) = &value.value
        {
            if ty.ty == PgType::Regclass
                && let Some((snapshot, path)) = self.names
                && let Some((schema, name)) = crate::ddl::name_in_string(text)
                && let Some(relation) = snapshot.find_relation(schema.as_deref(), &name, path)
            {
                let shown = relation_name(snapshot, path, &relation);
                return format!("{}::regclass", quote_literal(&shown));
            }
            return format!("{}::{}", quote_literal(text), type_name(ty));
        }
        let inner = self.print(expression, depth);
        if !self.pretty && inner.starts_with('(') && inner.ends_with(')') && matches!(expression, Expr::Nested(_)) {
            return format!("{inner}::{}", type_name(ty));
        }
        match self.pretty && is_simple(expression, Within::Test) {
            true => format!("{inner}::{}", type_name(ty)),
            false => format!("({inner})::{}", type_name(ty)),
        }
    }
}

/// A type as Postgres prints it in a cast.
fn type_name(ty: ColumnType) -> String {
    if ty.ty == PgType::Bpchar && ty.char_length().is_none() {
        return "bpchar".into();
    }
    ty.to_string()
}
