//! Row-by-row operations as DataFusion functions: the Postgres meaning of a function is its `eval` over Datums.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr as DfExpr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use stratos_types::{ArrayDatum, ColumnType, Datum, FieldNames, PgType, Result};

use super::context::{StatementContext, statement_of};
use super::error::to_datafusion;
use super::expr::{function_may_fail, one_row_may_fail, reads_text};
use super::kernel;
use super::subquery::{SubqueryPlan, SubqueryUse};
use super::tuples::TupleSet;
use crate::arrow::{ColumnBuilder, ColumnReader, arrow_type, datum_of_scalar, scalar_of};
use crate::eval::Program;
use crate::functions::{self, Function, Kernel};
use crate::ir::Quantifier;
use crate::session::EvalContext;

/// What a [`RowFunction`] does to a row of arguments.
#[derive(Clone)]
pub(crate) enum RowOp {
    /// A function or operator.
    Call(&'static Function),
    /// The same, on whole columns where Arrow's checked kernel succeeds; a failure is repeated by row for its message.
    Arithmetic(&'static Function, Kernel),
    /// A cast of the only argument.
    Cast { to: ColumnType, explicit: bool },
    /// `args[0] op ANY/ALL (args[1])`
    Quantified(Quantifier, &'static Function),
    /// `args[0] IS NOT DISTINCT FROM args[1]`
    NotDistinct(&'static Function),
    /// `ARRAY[…]`
    Array(PgType),
    /// `args[0][args[1]]`
    Subscript,
    /// `ROW(…)`, with the fields' names where they have some.
    Row(Option<FieldNames>),
    /// GREATEST and LEAST.
    Extremum { greatest: bool, less: &'static Function },
    /// COALESCE whose arguments must not be evaluated twice.
    Coalesce,
    /// What equality looks at; see [`kernel::equality_key`].
    EqualityKey,
    /// A float, of which NaN has one form: what min and max look at.
    OneNan,
    /// A list of `args[0]` zeros, to be unnested.
    Repeat,
    /// Whether the arguments are a row of a list.
    Member(Arc<TupleSet>),
    /// A subquery: arguments are the outer columns, after the left operand if it has one.
    Subquery(Arc<SubqueryPlan>),
    /// A whole expression: arguments are its columns.
    Program(Arc<RowProgram>),
}

/// An expression that is evaluated row by row as a whole.
pub(crate) struct RowProgram {
    pub program: Program,
    /// It calls something volatile.
    pub volatile: bool,
    /// It may raise an error that a condition beside it commonly guards against.
    pub may_fail: bool,
}

/// A [`RowOp`] with the Postgres types of its arguments and result.
#[derive(Clone)]
pub(crate) struct RowFunction {
    op: RowOp,
    args: Vec<PgType>,
    ret: PgType,
    name: String,
    signature: Signature,
}

impl RowFunction {
    /// The call of an operation on lowered arguments.
    pub fn call(op: RowOp, types: Vec<PgType>, ret: PgType, args: Vec<DfExpr>) -> DfExpr {
        let volatility = match &op {
            // `set_config` may stand before it: it must not be folded.
            RowOp::Call(f) if f.name == "current_setting" => Volatility::Volatile,
            RowOp::Call(f) | RowOp::Arithmetic(f, _) => match f.volatility {
                functions::Volatility::Immutable => Volatility::Immutable,
                functions::Volatility::Stable => Volatility::Stable,
                functions::Volatility::Volatile => Volatility::Volatile,
            },
            RowOp::Cast { .. } => Volatility::Stable,
            RowOp::Subquery(plan) if plan.volatile || plan.repeated.recurses() => Volatility::Volatile,
            RowOp::Program(program) if program.volatile => Volatility::Volatile,
            RowOp::Subquery(_) | RowOp::Program(_) => Volatility::Stable,
            _ => Volatility::Immutable,
        };
        let name = op.name(&types);
        let signature =
            if args.is_empty() { Signature::nullary(volatility) } else { Signature::variadic_any(volatility) };
        let function = RowFunction { op, args: types, ret, name, signature };
        ScalarUDF::new_from_impl(function).call(args)
    }

    /// What it does.
    pub(super) fn operation(&self) -> &RowOp {
        &self.op
    }

    /// Types of its arguments.
    pub(super) fn arguments(&self) -> &[PgType] {
        &self.args
    }

    /// Type of its result.
    pub(super) fn result(&self) -> PgType {
        self.ret
    }

    /// Whether it may raise an error that a condition beside it commonly guards against.
    pub fn may_fail(&self) -> bool {
        match &self.op {
            RowOp::Call(function) | RowOp::Arithmetic(function, _) => function_may_fail(function),
            RowOp::Cast { to, .. } => self.args.first().is_some_and(|from| reads_text(*from, to.ty)),
            RowOp::Subquery(plan) => matches!(plan.usage, SubqueryUse::Scalar) && one_row_may_fail(&plan.query),
            RowOp::Program(program) => program.may_fail,
            _ => false,
        }
    }

    fn is_volatile(&self) -> bool {
        self.signature.volatility == Volatility::Volatile
    }

    fn eval_rows(
        &self,
        statement: &Arc<StatementContext>,
        args: &[ColumnarValue],
        rows: usize,
    ) -> Result<ColumnBuilder> {
        let mut values = vec![Datum::Null; args.len()];
        let mut columns = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            match arg {
                ColumnarValue::Scalar(scalar) => {
                    values[i] = datum_of_scalar(scalar, self.args[i])?;
                }
                ColumnarValue::Array(array) => {
                    columns.push((i, ColumnReader::new(array.clone(), self.args[i])?));
                }
            }
        }
        let mut out = ColumnBuilder::new(self.ret, rows);
        for row in 0..rows {
            for (i, column) in &columns {
                values[*i] = column.get(row)?;
            }
            out.push(&self.op.eval(statement, &self.args, &values)?)?;
            if row % ROWS_PER_CANCEL_CHECK == ROWS_PER_CANCEL_CHECK - 1 {
                statement.eval.check_canceled()?;
            }
        }
        Ok(out)
    }
}

/// Rows after which a row-by-row loop asks whether its statement was cancelled.
const ROWS_PER_CANCEL_CHECK: usize = 1024;

impl RowOp {
    /// Distinct for distinct operations, because DataFusion names columns after it.
    fn name(&self, types: &[PgType]) -> String {
        match self {
            RowOp::Call(f) | RowOp::Arithmetic(f, _) => format!("{}_{}", f.name, f.oid),
            RowOp::Cast { to, explicit } => format!(
                "cast_{}_{}_{}{}",
                types.first().map_or(0, |t| t.oid()),
                to.ty.oid(),
                to.typmod,
                if *explicit { "" } else { "_assign" }
            ),
            RowOp::Quantified(quantifier, f) => format!("{quantifier:?}_{}", f.oid).to_lowercase(),
            RowOp::NotDistinct(f) => format!("not_distinct_{}", f.oid),
            RowOp::Array(element) => format!("array_{}", element.oid()),
            RowOp::Subscript => "subscript".into(),
            RowOp::Row(None) => "row".into(),
            RowOp::Row(Some(names)) => format!("row_{}", names.join(",")),
            RowOp::Extremum { greatest, less } => {
                format!("{}_{}", if *greatest { "greatest" } else { "least" }, less.oid)
            }
            RowOp::Coalesce => "coalesce".into(),
            RowOp::EqualityKey => {
                format!("equality_key_{}", types.first().map_or(0, |t| t.oid()))
            }
            RowOp::OneNan => format!("one_nan_{}", types.first().map_or(0, |t| t.oid())),
            RowOp::Repeat => "repeat_rows".into(),
            RowOp::Member(set) => format!("member_{:x}", Arc::as_ptr(set) as usize),
            RowOp::Subquery(plan) => format!("subquery_{:x}", Arc::as_ptr(plan) as usize),
            RowOp::Program(program) => format!("program_{:x}", Arc::as_ptr(program) as usize),
        }
    }

    fn eval(&self, statement: &Arc<StatementContext>, types: &[PgType], values: &[Datum]) -> Result<Datum> {
        let ctx = &statement.eval;
        Ok(match self {
            RowOp::Call(f) | RowOp::Arithmetic(f, _) => return call(ctx, f, types, values),
            RowOp::Cast { to, explicit } => match &values[0] {
                Datum::Null => Datum::Null,
                value => {
                    return crate::eval::cast(ctx, value, types[0], *to, *explicit);
                }
            },
            RowOp::Quantified(quantifier, operator) => {
                let Datum::Array(array) = &values[1] else {
                    return Ok(Datum::Null);
                };
                return quantified(ctx, *quantifier, operator, types[0], &values[0], array.element, &array.values);
            }
            RowOp::NotDistinct(equals) => match (values[0].is_null(), values[1].is_null()) {
                (true, true) => Datum::Bool(true),
                (false, false) => return call(ctx, equals, types, values),
                _ => Datum::Bool(false),
            },
            RowOp::Array(element) => Datum::Array(Arc::new(ArrayDatum { element: *element, values: values.to_vec() })),
            RowOp::Subscript => match (&values[0], &values[1]) {
                (Datum::Array(array), Datum::Int4(index)) => {
                    // int2vector and oidvector count from 0, as in Postgres.
                    let first = i64::from(!matches!(types[0], PgType::Int2Vector | PgType::OidVector));
                    usize::try_from(i64::from(*index) - first)
                        .ok()
                        .and_then(|i| array.values.get(i))
                        .cloned()
                        .unwrap_or(Datum::Null)
                }
                _ => Datum::Null,
            },
            RowOp::Row(names) => {
                Datum::row(types.iter().copied().zip(values.iter().cloned()).collect(), names.clone())?
            }
            RowOp::Extremum { greatest, less } => {
                let mut best = Datum::Null;
                for value in values.iter().filter(|v| !v.is_null()) {
                    let replace = best.is_null() || {
                        let pair =
                            if *greatest { [best.clone(), value.clone()] } else { [value.clone(), best.clone()] };
                        call(ctx, less, &[types[0], types[0]], &pair)? == Datum::Bool(true)
                    };
                    if replace {
                        best = value.clone();
                    }
                }
                best
            }
            RowOp::Coalesce => values.iter().find(|v| !v.is_null()).cloned().unwrap_or(Datum::Null),
            RowOp::EqualityKey => kernel::equality_key_datum(&values[0], types[0]),
            RowOp::OneNan => kernel::one_nan_datum(&values[0]),
            RowOp::Repeat => {
                let count = match &values[0] {
                    Datum::Int8(n) => usize::try_from(*n).unwrap_or(0),
                    _ => 0,
                };
                Datum::Array(Arc::new(ArrayDatum { element: PgType::Bool, values: vec![Datum::Bool(true); count] }))
            }
            RowOp::Member(set) => set.contains(values),
            RowOp::Subquery(plan) => return plan.eval(statement, values),
            RowOp::Program(program) => return program.program.run(values, &statement.params, ctx),
        })
    }
}

/// Calls a function, NULLs handled as it declares.
pub(crate) fn call(ctx: &EvalContext, function: &Function, types: &[PgType], values: &[Datum]) -> Result<Datum> {
    crate::eval::call(ctx, function, types, values)
}

/// `left op ANY/ALL (list)` with three-valued logic.
pub(crate) fn quantified(
    ctx: &EvalContext,
    quantifier: Quantifier,
    operator: &Function,
    left_type: PgType,
    left: &Datum,
    item_type: PgType,
    items: &[Datum],
) -> Result<Datum> {
    let decisive = quantifier == Quantifier::Any;
    let mut unknown = false;
    for item in items {
        match call(ctx, operator, &[left_type, item_type], &[left.clone(), item.clone()])? {
            Datum::Bool(b) if b == decisive => return Ok(Datum::Bool(decisive)),
            Datum::Bool(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(!decisive) })
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        if matches!(self.op, RowOp::EqualityKey) {
            return Ok(kernel::equality_key_type(self.ret));
        }
        Ok(arrow_type(self.ret))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match &self.op {
            RowOp::EqualityKey => {
                return kernel::equality_key(&args.args[0], self.ret).map_err(to_datafusion);
            }
            RowOp::OneNan => return kernel::one_nan(&args.args[0]).map_err(to_datafusion),
            RowOp::Arithmetic(_, kernel) => {
                if let Some(result) = kernel::arithmetic(*kernel, &args.args) {
                    return Ok(result);
                }
            }
            _ => {}
        }
        let statement = statement_of(&args.config_options)?;
        let constant = !self.is_volatile() && args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let mut out = self.eval_rows(statement, &args.args, rows).map_err(to_datafusion)?;
        let array = out.finish();
        if constant {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        let same_content = match (&self.op, &other.op) {
            (RowOp::Subquery(a), RowOp::Subquery(b)) => Arc::ptr_eq(a, b),
            (RowOp::Program(a), RowOp::Program(b)) => Arc::ptr_eq(a, b),
            (RowOp::Member(a), RowOp::Member(b)) => Arc::ptr_eq(a, b),
            _ => true,
        };
        // The name distinguishes operations; see `RowOp::name`.
        same_content
            && std::mem::discriminant(&self.op) == std::mem::discriminant(&other.op)
            && self.name == other.name
            && self.args == other.args
            && self.ret == other.ret
    }
}

impl Eq for RowFunction {}

impl Hash for RowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.args.hash(state);
        self.ret.hash(state);
    }
}

impl fmt::Debug for RowFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A constant as an expression.
pub(crate) fn literal(ty: PgType, value: &Datum) -> Result<DfExpr> {
    Ok(DfExpr::Literal(scalar_of(ty, value)?, None))
}
