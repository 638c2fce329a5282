//! Set-returning functions: their signatures, and their place in the plan when they stand in a select list.

use std::collections::HashSet;

use sqlparser::ast;
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::resolve::{Choice, choose, settle};
use super::{Binder, Clause};
use crate::functions::{ArgType, ReturnType};
use crate::ir::{ColumnId, Expr, ExprKind, JoinKind, OutputColumn, Rel, TableFunctionKind};

/// A set-returning call of a select list, to be joined laterally.
pub(crate) struct SetReturning {
    pub kind: TableFunctionKind,
    pub args: Vec<Expr>,
    pub columns: Vec<OutputColumn>,
}

/// The elements of an array with their numbers: a function of information_schema that drivers call.
pub(crate) const PG_EXPANDARRAY: &str = "_pg_expandarray";

/// One signature.
struct Signature {
    name: &'static str,
    kind: TableFunctionKind,
    args: &'static [ArgType],
    /// Output columns; an empty name is the function's (or the alias).
    columns: &'static [(&'static str, ReturnType)],
}

use PgType as P;
use TableFunctionKind as K;
const fn is(ty: PgType) -> ArgType {
    ArgType::Is(ty)
}
const fn one(name: &'static str, ty: PgType) -> (&'static str, ReturnType) {
    (name, ReturnType::Is(ty))
}

#[rustfmt::skip]
static SIGNATURES: &[Signature] = &[
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::Int4), is(P::Int4)], columns: &[one("", P::Int4)] },
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::Int4), is(P::Int4), is(P::Int4)], columns: &[one("", P::Int4)] },
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::Int8), is(P::Int8)], columns: &[one("", P::Int8)] },
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::Int8), is(P::Int8), is(P::Int8)], columns: &[one("", P::Int8)] },
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::Numeric), is(P::Numeric)], columns: &[one("", P::Numeric)] },
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::Numeric), is(P::Numeric), is(P::Numeric)], columns: &[one("", P::Numeric)] },
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::Timestamp), is(P::Timestamp), is(P::Interval)], columns: &[one("", P::Timestamp)] },
    Signature { name: "generate_series", kind: K::GenerateSeries, args: &[is(P::TimestampTz), is(P::TimestampTz), is(P::Interval)], columns: &[one("", P::TimestampTz)] },
    Signature { name: "unnest", kind: K::Unnest, args: &[ArgType::AnyArray], columns: &[("", ReturnType::AnyElement)] },
    Signature { name: "generate_subscripts", kind: K::GenerateSubscripts, args: &[ArgType::AnyArray, is(P::Int4)], columns: &[one("", P::Int4)] },
    Signature { name: "generate_subscripts", kind: K::GenerateSubscripts, args: &[ArgType::AnyArray, is(P::Int4), is(P::Bool)], columns: &[one("", P::Int4)] },
    Signature { name: "regexp_matches", kind: K::RegexpMatches, args: &[is(P::Text), is(P::Text)], columns: &[one("", P::Array(stratos_types::Scalar::Text))] },
    Signature { name: "regexp_matches", kind: K::RegexpMatches, args: &[is(P::Text), is(P::Text), is(P::Text)], columns: &[one("", P::Array(stratos_types::Scalar::Text))] },
    Signature { name: "regexp_split_to_table", kind: K::RegexpSplitToTable, args: &[is(P::Text), is(P::Text)], columns: &[one("", P::Text)] },
    Signature { name: "regexp_split_to_table", kind: K::RegexpSplitToTable, args: &[is(P::Text), is(P::Text), is(P::Text)], columns: &[one("", P::Text)] },
    Signature { name: "string_to_table", kind: K::StringToTable, args: &[is(P::Text), is(P::Text)], columns: &[one("", P::Text)] },
    Signature { name: "string_to_table", kind: K::StringToTable, args: &[is(P::Text), is(P::Text), is(P::Text)], columns: &[one("", P::Text)] },
    Signature { name: "json_each", kind: K::JsonEach, args: &[is(P::Json)], columns: &[one("key", P::Text), one("value", P::Json)] },
    Signature { name: "jsonb_each", kind: K::JsonEach, args: &[is(P::Jsonb)], columns: &[one("key", P::Text), one("value", P::Jsonb)] },
    Signature { name: "json_each_text", kind: K::JsonEachText, args: &[is(P::Json)], columns: &[one("key", P::Text), one("value", P::Text)] },
    Signature { name: "jsonb_each_text", kind: K::JsonEachText, args: &[is(P::Jsonb)], columns: &[one("key", P::Text), one("value", P::Text)] },
    Signature { name: "json_array_elements", kind: K::JsonArrayElements, args: &[is(P::Json)], columns: &[one("value", P::Json)] },
    Signature { name: "jsonb_array_elements", kind: K::JsonArrayElements, args: &[is(P::Jsonb)], columns: &[one("value", P::Jsonb)] },
    Signature { name: "json_array_elements_text", kind: K::JsonArrayElementsText, args: &[is(P::Json)], columns: &[one("value", P::Text)] },
    Signature { name: "jsonb_array_elements_text", kind: K::JsonArrayElementsText, args: &[is(P::Jsonb)], columns: &[one("value", P::Text)] },
    Signature { name: "json_object_keys", kind: K::JsonObjectKeys, args: &[is(P::Json)], columns: &[one("", P::Text)] },
    Signature { name: "jsonb_object_keys", kind: K::JsonObjectKeys, args: &[is(P::Jsonb)], columns: &[one("", P::Text)] },
    Signature { name: "pg_options_to_table", kind: K::PgOptionsToTable, args: &[is(P::Array(stratos_types::Scalar::Text))], columns: &[one("option_name", P::Text), one("option_value", P::Text)] },
    Signature { name: "pg_partition_ancestors", kind: K::PgPartitionAncestors, args: &[is(P::Regclass)], columns: &[one("relid", P::Regclass)] },
    Signature { name: PG_EXPANDARRAY, kind: K::ExpandArray, args: &[ArgType::AnyArray], columns: &[("x", ReturnType::AnyElement), one("n", P::Int4)] },
    Signature { name: "pg_get_keywords", kind: K::PgGetKeywords, args: &[], columns: &[one("word", P::Text), one("catcode", P::Char), one("barelabel", P::Bool), one("catdesc", P::Text), one("baredesc", P::Text)] },
];

/// Whether a name is that of a set-returning function.
pub(crate) fn returns_set(name: &str) -> bool {
    SIGNATURES.iter().any(|s| s.name == name)
}

/// Whether it takes so many arguments.
pub(crate) fn takes(name: &str, count: usize) -> bool {
    SIGNATURES.iter().any(|s| s.name == name && s.args.len() == count) || name == "unnest" && count > 0
}

/// A resolved call: which function, its arguments, names and types of its columns (an empty name is the alias's).
pub(crate) struct TableCall {
    pub kind: TableFunctionKind,
    pub args: Vec<Expr>,
    pub columns: Vec<(String, ColumnType)>,
}

impl Binder<'_> {
    /// Chooses among the signatures of a set-returning function.
    pub(crate) fn table_call(&mut self, name: &str, args: Vec<Expr>, span: Span) -> Result<TableCall> {
        if name == "unnest" && args.len() > 1 {
            return self.unnest_together(args, span);
        }
        let fitting: Vec<&Signature> =
            SIGNATURES.iter().filter(|s| s.name == name && s.args.len() == args.len()).collect();
        let candidates: Vec<Vec<ArgType>> = fitting.iter().map(|s| s.args.to_vec()).collect();
        let actual: Vec<PgType> = args.iter().map(|e| e.ty.ty).collect();
        let signature = match choose(&actual, &candidates) {
            Choice::One(i) => fitting[i],
            Choice::None => return Err(self.undefined_function(name, &actual, span)),
            Choice::Ambiguous => return Err(self.ambiguous_function(name, &actual, span)),
        };
        let mut columns = Vec::with_capacity(signature.columns.len());
        for (column, ret) in signature.columns {
            let (_, ty) = settle(&actual, signature.args, *ret)?;
            columns.push(((*column).to_owned(), ty.into()));
        }
        let ret = signature.columns.first().map_or(ReturnType::Is(PgType::Void), |(_, r)| *r);
        let (args, _) = self.settle_args(signature.args, ret, args, span)?;
        Ok(TableCall { kind: signature.kind, args, columns })
    }

    /// `unnest(a, b, …)`: arrays side by side, a column each.
    fn unnest_together(&mut self, args: Vec<Expr>, span: Span) -> Result<TableCall> {
        let mut columns = Vec::with_capacity(args.len());
        for arg in &args {
            let element = arg.ty.ty.element().ok_or_else(|| self.undefined_function("unnest", &[arg.ty.ty], span))?;
            columns.push(("unnest".to_owned(), element.into()));
        }
        Ok(TableCall { kind: TableFunctionKind::Unnest, args, columns })
    }

    /// A set-returning call outside FROM: the value is a column that a lateral join will give.
    pub(crate) fn set_in_select(&mut self, name: &str, args: Vec<Expr>, span: Span) -> Result<Expr> {
        let Some(clause) = self.clause() else {
            return Err(Error::unsupported("set-returning function here"));
        };
        let level = self.levels.last();
        if let Some(what) = level.and_then(|l| l.conditional) {
            return Err(self.at(
                Error::new(
                    ErrorKind::FeatureNotSupported,
                    format!("set-returning functions are not allowed in {what}"),
                )
                .with_hint("You might be able to move the set-returning function into a LATERAL FROM item."),
                span,
            ));
        }
        if level.is_some_and(|l| l.in_aggregate) {
            return Err(self.at(
                Error::new(
                    ErrorKind::FeatureNotSupported,
                    "aggregate function calls cannot contain set-returning function calls",
                )
                .with_hint("You might be able to move the set-returning function into a LATERAL FROM item."),
                span,
            ));
        }
        if level.is_some_and(|l| l.in_window) {
            return Err(self.at(
                Error::new(
                    ErrorKind::FeatureNotSupported,
                    "window function calls cannot contain set-returning function calls",
                )
                .with_hint("You might be able to move the set-returning function into a LATERAL FROM item."),
                span,
            ));
        }
        if !clause.allows_sets() {
            return Err(self.at(
                Error::new(
                    ErrorKind::FeatureNotSupported,
                    format!("set-returning functions are not allowed in {}", clause.place()),
                ),
                span,
            ));
        }
        // Several arrays side by side are for FROM alone.
        if name == "unnest" && args.len() != 1 {
            let types: Vec<PgType> = args.iter().map(|arg| arg.ty.ty).collect();
            return Err(self.undefined_function(name, &types, span));
        }
        let call = self.table_call(name, args, span)?;
        let single = call.columns.len() == 1;
        let named = |column: String| if single { name.to_owned() } else { column };
        // A grouping key that is written as an item of the select list is that item.
        let written = |set: &&SetReturning| {
            set.kind == call.kind
                && set.args.len() == call.args.len()
                && set.args.iter().zip(&call.args).all(|(a, b)| a.same(b))
        };
        let twin = self.levels.last().filter(|_| clause == Clause::GroupBy).and_then(|l| l.sets.iter().find(written));
        let twin = twin.map(|set| set.columns.clone());
        let known = twin.is_some();
        let columns: Vec<OutputColumn> = match twin {
            Some(columns) => columns,
            None => call.columns.into_iter().map(|(c, ty)| self.output(named(c), ty)).collect(),
        };
        let mut fields: Vec<Expr> = columns.iter().map(|c| Expr::column(c.id, c.ty)).collect();
        let expr = if single {
            fields.remove(0)
        } else {
            let names = columns.iter().map(|c| c.name.as_str().into()).collect();
            Expr { kind: ExprKind::Row(fields, Some(names)), ty: PgType::Record.into() }
        };
        if let Some(level) = self.levels.last_mut()
            && !known
        {
            level.sets.push(SetReturning { kind: call.kind, args: call.args, columns });
        }
        Ok(expr)
    }

    /// Joins the set-returning calls of a select list: one call multiplies the rows; several go in step, the shorter
    /// ones padded with NULLs. A call whose argument is another call comes after that, in step with those that do so too.
    pub(crate) fn join_sets(&mut self, input: Rel, sets: Vec<SetReturning>) -> Result<Rel> {
        self.join_numbered_sets(input, sets, false).map(|(rel, _)| rel)
    }

    /// As [`Binder::join_sets`], with what the rows that were one before are to be ordered by, where that is asked for.
    pub(crate) fn join_numbered_sets(
        &mut self,
        input: Rel,
        mut sets: Vec<SetReturning>,
        numbered: bool,
    ) -> Result<(Rel, Vec<Expr>)> {
        let mut rel = input;
        let mut numbers = Vec::new();
        while !sets.is_empty() {
            let open: HashSet<ColumnId> = sets.iter().flat_map(|set| &set.columns).map(|column| column.id).collect();
            let waits =
                |set: &SetReturning| set.args.iter().flat_map(Expr::columns).any(|column| open.contains(&column));
            let (waiting, ready) = sets.into_iter().partition(waits);
            let (joined, number) = self.join_in_step(rel, ready, numbered)?;
            rel = joined;
            numbers.extend(number);
            sets = waiting;
        }
        Ok((rel, numbers))
    }

    fn join_in_step(&mut self, input: Rel, sets: Vec<SetReturning>, numbered: bool) -> Result<(Rel, Option<Expr>)> {
        let alone = sets.len() == 1 && !numbered;
        let mut sets = sets.into_iter();
        let Some(first) = sets.next() else { return Err(Error::internal("a call in its own arguments")) };
        if alone {
            let SetReturning { kind, args, columns } = first;
            let call = Rel::TableFunction { function: kind, args, columns, ordinality: false };
            return Ok((lateral(input, call), None));
        }
        let (mut step, mut number) = self.numbered(first);
        for set in sets {
            let (other, other_number) = self.numbered(set);
            let on = self.operator("=", Some(number.clone()), other_number.clone(), None)?;
            step = Rel::Join {
                left: Box::new(step),
                right: Box::new(other),
                kind: JoinKind::Full,
                on: Some(on),
                lateral: false,
            };
            number = Expr { kind: ExprKind::Coalesce(vec![number, other_number]), ty: PgType::Int8.into() };
        }
        Ok((lateral(input, step), Some(number)))
    }

    /// Takes the calls that grouping keys are made of, with those in their arguments, out of those of the select list: rows are
    /// grouped after these have multiplied them.
    ///
    /// # Errors
    /// 42803 if one of them needs what is computed of groups: the columns in `late`.
    pub(crate) fn sets_of_keys<'k>(
        &self,
        sets: &mut Vec<SetReturning>,
        keys: impl IntoIterator<Item = &'k Expr>,
        late: &[ColumnId],
    ) -> Result<Vec<SetReturning>> {
        let mut wanted: Vec<ColumnId> = keys.into_iter().flat_map(Expr::columns).collect();
        let mut taken = Vec::new();
        // A call stands behind those in its arguments.
        for at in (0..sets.len()).rev() {
            if !sets[at].columns.iter().any(|c| wanted.contains(&c.id)) {
                continue;
            }
            let set = sets.remove(at);
            wanted.extend(set.args.iter().flat_map(Expr::columns));
            taken.insert(0, set);
        }
        if taken.iter().flat_map(|set| &set.args).flat_map(Expr::columns).any(|c| late.contains(&c)) {
            return Err(Error::new(ErrorKind::GroupingError, "aggregate functions are not allowed in GROUP BY"));
        }
        Ok(taken)
    }

    fn numbered(&mut self, set: SetReturning) -> (Rel, Expr) {
        let number = self.output("ordinality", PgType::Int8.into());
        let expr = Expr::column(number.id, number.ty);
        let mut columns = set.columns;
        columns.push(number);
        let rel = Rel::TableFunction { function: set.kind, args: set.args, columns, ordinality: true };
        (rel, expr)
    }

    /// Arguments of a function in FROM.
    pub(crate) fn function_args(&mut self, args: &[ast::FunctionArg]) -> Result<Vec<Expr>> {
        let args = self.in_clause(super::Clause::FromFunction, |b| {
            args.iter().map(|a| b.plain_arg(a)).collect::<Result<Vec<_>>>()
        })?;
        Ok(super::call::without_results(args))
    }
}

/// For each row of the left what the right gives for it.
fn lateral(left: Rel, right: Rel) -> Rel {
    Rel::Join { left: Box::new(left), right: Box::new(right), kind: JoinKind::Inner, on: None, lateral: true }
}
