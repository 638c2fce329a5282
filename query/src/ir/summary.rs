//! Trees as text: one node a line, indented, as EXPLAIN and tests want to see them.

use std::fmt;

use stratos_types::{Datum, FormatOptions};

use super::expr::{
    AggregateCall, ColumnId, Expr, ExprKind, FrameBound, Quantifier, SortKey, SubqueryKind, WindowFunction,
};
use super::rel::{OutputColumn, Rel};
use super::statement::{BoundStatement, InsertSource, Returning, StatementKind};

impl fmt::Display for ColumnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[Expr]) -> fmt::Result {
    separated(f, items, ", ")
}

fn separated(f: &mut fmt::Formatter<'_>, items: &[Expr], by: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(by)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Literal(Datum::Null) => write!(f, "NULL:{}", self.ty),
            ExprKind::Literal(value) => {
                let text = value.to_text(self.ty.ty, &FormatOptions::default());
                match value {
                    Datum::Bool(b) => write!(f, "{b}"),
                    Datum::Int4(n) => write!(f, "{n}"),
                    _ => write!(f, "'{text}':{}", self.ty),
                }
            }
            ExprKind::Column(id) => write!(f, "{id}"),
            ExprKind::Param(n) => write!(f, "${}:{}", n + 1, self.ty),
            ExprKind::Call { function, args } => {
                write!(f, "{}(", function.name)?;
                list(f, args)?;
                f.write_str(")")
            }
            ExprKind::Cast { arg, explicit } => {
                let sign = if *explicit { "::" } else { ":>" };
                write!(f, "{arg}{sign}{}", self.ty)
            }
            ExprKind::And(args) => {
                f.write_str("(")?;
                separated(f, args, " AND ")?;
                f.write_str(")")
            }
            ExprKind::Or(args) => {
                f.write_str("(")?;
                separated(f, args, " OR ")?;
                f.write_str(")")
            }
            ExprKind::Not(arg) => write!(f, "NOT {arg}"),
            ExprKind::IsNull(arg) => write!(f, "{arg} IS NULL"),
            ExprKind::NotDistinct { left, right, .. } => {
                write!(f, "({left} IS NOT DISTINCT FROM {right})")
            }
            ExprKind::Case { branches, otherwise } => {
                f.write_str("CASE")?;
                for b in branches {
                    write!(f, " WHEN {} THEN {}", b.when, b.then)?;
                }
                if let Some(e) = otherwise {
                    write!(f, " ELSE {e}")?;
                }
                f.write_str(" END")
            }
            ExprKind::Coalesce(args) => {
                f.write_str("COALESCE(")?;
                list(f, args)?;
                f.write_str(")")
            }
            ExprKind::Extremum { greatest, args, .. } => {
                f.write_str(if *greatest { "GREATEST(" } else { "LEAST(" })?;
                list(f, args)?;
                f.write_str(")")
            }
            ExprKind::InList { arg, list: l, .. } => {
                write!(f, "{arg} IN (")?;
                list(f, l)?;
                f.write_str(")")
            }
            ExprKind::Quantified { quantifier, operator, left, array } => {
                write!(f, "{left} {} {}({array})", operator.name, word(*quantifier))
            }
            ExprKind::Array(items) => {
                f.write_str("ARRAY[")?;
                list(f, items)?;
                write!(f, "]:{}", self.ty)
            }
            ExprKind::Subscript { array, index } => write!(f, "{array}[{index}]"),
            ExprKind::Row(items, _) => {
                f.write_str("ROW(")?;
                list(f, items)?;
                f.write_str(")")
            }
            ExprKind::Subquery { kind, query } => {
                match kind {
                    SubqueryKind::Scalar => {}
                    SubqueryKind::Exists => f.write_str("EXISTS")?,
                    SubqueryKind::Array => f.write_str("ARRAY")?,
                    SubqueryKind::Quantified { quantifier, operator, left } => {
                        write!(f, "{left} {} {}", operator.name, word(*quantifier))?
                    }
                }
                let text = query.to_string();
                let flat: Vec<&str> = text.lines().map(str::trim).collect();
                write!(f, "({})", flat.join(" <- "))
            }
        }
    }
}

fn word(quantifier: Quantifier) -> &'static str {
    match quantifier {
        Quantifier::Any => "ANY",
        Quantifier::All => "ALL",
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expr)?;
        if self.descending {
            f.write_str(" DESC")?;
        }
        match (self.descending, self.nulls_first) {
            (false, true) => f.write_str(" NULLS FIRST"),
            (true, false) => f.write_str(" NULLS LAST"),
            _ => Ok(()),
        }
    }
}

fn keys(keys: &[SortKey]) -> String {
    let shown: Vec<String> = keys.iter().map(ToString::to_string).collect();
    shown.join(", ")
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.aggregate.name)?;
        if self.distinct {
            f.write_str("DISTINCT ")?;
        }
        list(f, &self.args)?;
        if !self.order_by.is_empty() {
            write!(f, " ORDER BY {}", keys(&self.order_by))?;
        }
        f.write_str(")")?;
        if let Some(filter) = &self.filter {
            write!(f, " FILTER ({filter})")?;
        }
        Ok(())
    }
}

fn named(columns: &[(OutputColumn, Expr)]) -> String {
    let shown: Vec<String> = columns.iter().map(|(c, e)| format!("{}={e} AS {}", c.id, c.name)).collect();
    shown.join(", ")
}

fn outputs(columns: &[OutputColumn]) -> String {
    let shown: Vec<String> = columns.iter().map(|c| format!("{}:{} {}", c.id, c.ty, c.name)).collect();
    shown.join(", ")
}

fn bound(bound: &FrameBound) -> String {
    match bound {
        FrameBound::UnboundedPreceding => "UNBOUNDED PRECEDING".into(),
        FrameBound::Preceding(e) => format!("{e} PRECEDING"),
        FrameBound::CurrentRow => "CURRENT ROW".into(),
        FrameBound::Following(e) => format!("{e} FOLLOWING"),
        FrameBound::UnboundedFollowing => "UNBOUNDED FOLLOWING".into(),
    }
}

impl Rel {
    /// This node alone, on one line.
    pub fn headline(&self) -> String {
        match self {
            Rel::Scan { table, alias, columns, lock } => {
                let shown: Vec<String> =
                    columns.iter().map(|c| format!("{}={}", c.id, table.columns[c.index].name)).collect();
                let lock = lock.map_or_else(String::new, |l| {
                    format!(
                        " lock {:?}{}{}",
                        l.mode,
                        if l.nowait { " nowait" } else { "" },
                        if l.skip_locked { " skip locked" } else { "" }
                    )
                });
                format!("Scan {} {alias} [{}]{lock}", table.name, shown.join(", "))
            }
            Rel::SystemScan { table, columns } => {
                format!("SystemScan {} [{}]", table.name(), outputs(columns))
            }
            Rel::Values { columns, rows } => {
                let shown: Vec<String> = rows
                    .iter()
                    .map(|r| {
                        let items: Vec<String> = r.iter().map(ToString::to_string).collect();
                        format!("({})", items.join(", "))
                    })
                    .collect();
                format!("Values [{}] {}", outputs(columns), shown.join(", "))
            }
            Rel::TableFunction { function, args, columns, ordinality } => {
                let shown: Vec<String> = args.iter().map(ToString::to_string).collect();
                format!(
                    "{function:?}({}) [{}]{}",
                    shown.join(", "),
                    outputs(columns),
                    if *ordinality { " ordinality" } else { "" }
                )
            }
            Rel::Filter { predicate, .. } => format!("Filter {predicate}"),
            Rel::Project { columns, .. } => format!("Project {}", named(columns)),
            Rel::Join { kind, on, lateral, .. } => format!(
                "{kind:?}Join{}{}",
                if *lateral { " lateral" } else { "" },
                on.as_ref().map_or_else(String::new, |e| format!(" on {e}"))
            ),
            Rel::Aggregate { group_by, grouping_sets, aggregates, groupings, .. } => {
                let mut text = format!("Aggregate by [{}]", named(group_by));
                if let Some(sets) = grouping_sets {
                    text.push_str(&format!(" sets {sets:?}"));
                }
                let calls: Vec<String> = aggregates
                    .iter()
                    .map(|(c, a)| format!("{}={a}", c.id))
                    .chain(groupings.iter().map(|(c, g)| format!("{}=GROUPING{g:?}", c.id)))
                    .collect();
                text.push_str(&format!(" [{}]", calls.join(", ")));
                text
            }
            Rel::Window { calls, .. } => {
                let shown: Vec<String> = calls
                    .iter()
                    .map(|(c, w)| {
                        let function = match &w.function {
                            WindowFunction::Aggregate(a) => a.to_string(),
                            WindowFunction::Builtin { name, args } => {
                                let items: Vec<String> = args.iter().map(ToString::to_string).collect();
                                format!("{name}({})", items.join(", "))
                            }
                        };
                        let partition: Vec<String> = w.partition_by.iter().map(ToString::to_string).collect();
                        let frame = w.frame.as_ref().map_or_else(String::new, |f| {
                            format!(" {:?} {} TO {}", f.units, bound(&f.start), bound(&f.end))
                        });
                        format!(
                            "{}={function} OVER (by [{}] order [{}]{frame})",
                            c.id,
                            partition.join(", "),
                            keys(&w.order_by)
                        )
                    })
                    .collect();
                format!("Window {}", shown.join(", "))
            }
            Rel::Sort { keys: k, .. } => format!("Sort {}", keys(k)),
            Rel::Limit { limit, offset, .. } => {
                let part =
                    |name: &str, e: &Option<Expr>| e.as_ref().map_or_else(String::new, |e| format!(" {name} {e}"));
                format!("Limit{}{}", part("limit", limit), part("offset", offset))
            }
            Rel::Distinct { .. } => "Distinct".into(),
            Rel::DistinctOn { on, keys: k, .. } => {
                let shown: Vec<String> = on.iter().map(ToString::to_string).collect();
                format!("DistinctOn [{}] order [{}]", shown.join(", "), keys(k))
            }
            Rel::SetOp { op, all, columns, .. } => {
                format!("{op:?}{} [{}]", if *all { " all" } else { "" }, outputs(columns))
            }
            Rel::With { ctes, .. } => {
                let shown: Vec<String> = ctes
                    .iter()
                    .map(|c| format!("{}@{}{}", c.name, c.id, if c.recursive.is_some() { " recursive" } else { "" }))
                    .collect();
                format!("With {}", shown.join(", "))
            }
            Rel::CteScan { cte, columns } => format!("CteScan @{cte} [{}]", outputs(columns)),
            Rel::Alias { columns, .. } => {
                let shown: Vec<String> = columns.iter().map(|(c, id)| format!("{}={id} AS {}", c.id, c.name)).collect();
                format!("Alias {}", shown.join(", "))
            }
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        if depth > 0 {
            f.write_str("\n")?;
        }
        write!(f, "{:width$}{}", "", self.headline(), width = depth * 2)?;
        for input in self.inputs() {
            input.write(f, depth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

fn returning(f: &mut fmt::Formatter<'_>, r: Option<&Returning>) -> fmt::Result {
    match r {
        Some(r) => write!(f, "\nReturning {}", named(&r.columns)),
        None => Ok(()),
    }
}

impl fmt::Display for BoundStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StatementKind::Query(query) => write!(f, "{}", query.rel),
            StatementKind::Insert(insert) => {
                write!(f, "Insert {}", insert.table.name)?;
                match &insert.source {
                    InsertSource::Rows(rows) => {
                        for row in rows {
                            f.write_str("\n  (")?;
                            list(f, row)?;
                            f.write_str(")")?;
                        }
                    }
                    InsertSource::Query(rel) => {
                        f.write_str(" values (")?;
                        list(f, &insert.values)?;
                        f.write_str(")")?;
                        rel.write(f, 1)?;
                    }
                }
                if let Some(on) = &insert.on_conflict {
                    write!(f, "\nOn conflict {:?}", on.arbiters)?;
                    for a in on.update.iter().flatten() {
                        write!(f, " set {}={}", insert.table.columns[a.column].name, a.value)?;
                    }
                    if let Some(filter) = &on.filter {
                        write!(f, " where {filter}")?;
                    }
                }
                returning(f, insert.returning.as_ref())
            }
            StatementKind::Update(update) => {
                write!(f, "Update {}", update.table.name)?;
                for a in &update.assignments {
                    write!(f, " set {}={}", update.table.columns[a.column].name, a.value)?;
                }
                update.source.write(f, 1)?;
                returning(f, update.returning.as_ref())
            }
            StatementKind::Delete(delete) => {
                write!(f, "Delete {}", delete.table.name)?;
                delete.source.write(f, 1)?;
                returning(f, delete.returning.as_ref())
            }
        }
    }
}
