//! What a statement compiles to.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use stratos_types::{Error, ErrorKind, FormatOptions, PgType, Result};

use crate::binder::{self, BindContext, Body, ParsedStatement};
use crate::catalog::{PreparedFacts, Snapshot, Table};
use crate::ddl::{self, DdlStatement};
use crate::engine::Engine;
use crate::eval::Known;
use crate::exec::change::ChangePlan;
use crate::exec::direct::DirectChange;
use crate::exec::direct_select::DirectSelect;
use crate::exec::insert::InsertPlan;
use crate::exec::row_locks;
use crate::ir::{BoundStatement, InsertSource, OutputColumn, Query, StatementKind};
use crate::lower::PlanTemplate;

/// A statement as a client prepared it, with its last plan.
pub struct Prepared {
    /// The statement; none when the text held none.
    pub parsed: Option<Arc<ParsedStatement>>,
    /// Types that the client gave for its parameters.
    pub declared: Vec<Option<PgType>>,
    /// Unix microseconds.
    pub prepared_micros: i64,
    /// A simple query: there is nobody to give parameters.
    pub without_params: bool,
    /// Made by `PREPARE` rather than by the protocol.
    pub from_sql: bool,
    /// The client was told, or may ask at any time, what goes in and what comes out: it must stay as it was found first.
    keeps_shape: bool,
    shape: OnceLock<Shape>,
    shown: OnceLock<Arc<str>>,
    plan: Mutex<Option<CachedPlan>>,
}

/// What goes into a statement and what comes out of it.
#[derive(Clone)]
struct Shape {
    params: Vec<Option<PgType>>,
    output: Arc<[OutputColumn]>,
}

impl Shape {
    fn gives(&self, output: &[OutputColumn]) -> bool {
        self.output.len() == output.len()
            && self.output.iter().zip(output).all(|(was, is)| was.name == is.name && was.ty == is.ty)
    }
}

#[derive(Clone)]
struct CachedPlan {
    planned: Arc<Planned>,
    catalog_version: u64,
    search_path: Arc<[String]>,
    /// Literals were read with these.
    format: Arc<FormatOptions>,
}

/// A planned statement.
pub struct Planned {
    /// What to do.
    pub action: Action,
    /// Types of the parameters.
    pub params: Arc<[PgType]>,
    /// Columns of the result; empty when it gives no rows.
    pub output: Arc<[OutputColumn]>,
    /// The catalog that it was planned with.
    pub catalog: Arc<Snapshot>,
    /// What must not fail before it begins.
    pub known: Known,
}

/// A query for DataFusion.
pub struct QueryPlan {
    /// The query.
    pub query: Query,
    /// The tables of which it locks rows, by OID.
    pub locked: Vec<Arc<Table>>,
    /// What its executions have in common.
    pub template: Arc<PlanTemplate>,
}

/// What is said of a prepared statement whose columns are no longer those that its client was told.
pub const CHANGED_RESULT: &str = "cached plan must not change result type";

/// What a planned statement does.
pub enum Action {
    /// Rows, one by one.
    Direct {
        /// The program.
        program: Box<DirectSelect>,
        /// The general form, where the program may find more rows than it should hold.
        general: Option<Box<QueryPlan>>,
    },
    /// Rows by DataFusion.
    Query(Box<QueryPlan>),
    /// INSERT.
    Insert(Box<InsertPlan>),
    /// UPDATE, DELETE.
    Change {
        /// First word of the tag.
        tag: &'static str,
        /// The general form.
        plan: Arc<ChangePlan>,
        /// By key, where the statement has the shape.
        direct: Option<Box<DirectChange>>,
        /// Whether rows come back.
        returns: bool,
    },
    /// DDL.
    SchemaChange(Box<DdlStatement>),
    /// Everything else: taken from the syntax tree.
    Utility(Box<Body>),
}

impl Planned {
    /// Whether it is DDL.
    pub fn changes_schema(&self) -> bool {
        matches!(self.action, Action::SchemaChange(_))
    }

    /// Whether it answers with rows, which may have no columns.
    pub fn gives_rows(&self) -> bool {
        match &self.action {
            Action::Direct { .. } | Action::Query(_) => true,
            Action::Insert(plan) => plan.returns(),
            Action::Change { returns, .. } => *returns,
            Action::SchemaChange(_) | Action::Utility(_) => !self.output.is_empty(),
        }
    }

    /// Whether it reads one row at most.
    pub fn is_of_one_row(&self) -> bool {
        matches!(&self.action, Action::Direct { program, .. } if program.is_single())
    }
}

impl Prepared {
    /// How many parameters the statement has, once it was planned.
    pub fn parameters(&self) -> Option<usize> {
        match &self.parsed {
            None => Some(0),
            Some(_) => self.shape.get().map(|shape| shape.params.len()),
        }
    }

    /// A statement that has not been planned.
    pub fn new(parsed: Option<ParsedStatement>, declared: Vec<Option<PgType>>) -> Prepared {
        Prepared {
            parsed: parsed.map(Arc::new),
            declared,
            prepared_micros: super::now_micros(),
            without_params: false,
            from_sql: false,
            keeps_shape: false,
            shape: OnceLock::new(),
            shown: OnceLock::new(),
            plan: Mutex::new(None),
        }
    }

    /// As [`Prepared::new`], for a statement that clients know by a name: types of parameters and columns that were found at
    /// the first planning stay.
    pub fn named(parsed: Option<ParsedStatement>, declared: Vec<Option<PgType>>) -> Prepared {
        Prepared { keeps_shape: true, ..Prepared::new(parsed, declared) }
    }

    /// The same statement, prepared anew by the protocol, with the plan that this one has.
    pub fn again(&self) -> Prepared {
        Prepared {
            parsed: self.parsed.clone(),
            declared: self.declared.clone(),
            prepared_micros: super::now_micros(),
            without_params: self.without_params,
            from_sql: false,
            keeps_shape: self.keeps_shape,
            shape: self.shape.clone(),
            shown: self.shown.clone(),
            plan: Mutex::new(self.plan.lock().clone()),
        }
    }

    /// What `pg_prepared_statements` shows of it.
    pub fn facts(&self, name: &str) -> PreparedFacts {
        let plan = self.plan.lock();
        PreparedFacts {
            name: name.to_owned(),
            statement: self.parsed.as_ref().map_or_else(String::new, |parsed| parsed.text().to_owned()),
            prepared_micros: self.prepared_micros,
            params: match (plan.as_ref(), self.shape.get()) {
                (Some(cached), _) => cached.planned.params.to_vec(),
                (None, Some(shape)) => shape.params.iter().flatten().copied().collect(),
                (None, None) => Vec::new(),
            },
            from_sql: self.from_sql,
        }
    }

    /// What others may see of its text.
    pub(super) fn shown(&self) -> &Arc<str> {
        self.shown.get_or_init(|| super::passwords::shown(self.parsed.as_ref().map_or("", |parsed| parsed.text())))
    }

    /// Length of the whole query string, bytes.
    pub fn text_bytes(&self) -> usize {
        self.parsed.as_ref().map_or(0, |parsed| parsed.source.text().len())
    }

    /// The last plan, if it holds for this catalog and search path.
    pub fn known_plan(
        &self,
        catalog: &Arc<Snapshot>,
        path: &Arc<[String]>,
        format: &Arc<FormatOptions>,
    ) -> Option<Arc<Planned>> {
        let plan = self.plan.lock();
        let cached = plan.as_ref().filter(|cached| {
            !catalog.private
                && cached.catalog_version == catalog.version
                && cached.planned.catalog.database == catalog.database
                && (Arc::ptr_eq(&cached.search_path, path) || cached.search_path == *path)
                && (Arc::ptr_eq(&cached.format, format) || cached.format == *format)
        });
        cached.map(|cached| cached.planned.clone())
    }

    /// A new plan for this catalog and search path.
    ///
    /// # Errors
    /// What binding the statement gives; 0A000 where its columns are not those of its first plan.
    pub fn plan(
        &self,
        engine: &Arc<Engine>,
        catalog: &Arc<Snapshot>,
        path: &Arc<[String]>,
        format: &Arc<FormatOptions>,
    ) -> Result<Option<Arc<Planned>>> {
        let Some(parsed) = &self.parsed else { return Ok(None) };
        let shape = self.shape.get();
        let params = shape.map_or(&self.declared, |shape| &shape.params);
        let planned = Arc::new(plan_statement(engine, parsed, (params, self.without_params), catalog, path, format)?);
        if let Some(shape) = shape
            && !shape.gives(&planned.output)
        {
            return Err(Error::new(ErrorKind::FeatureNotSupported, CHANGED_RESULT));
        }
        if self.keeps_shape {
            let params = planned.params.iter().copied().map(Some).collect();
            self.shape.get_or_init(|| Shape { params, output: planned.output.clone() });
        }
        if !catalog.private {
            *self.plan.lock() = Some(CachedPlan {
                planned: planned.clone(),
                catalog_version: catalog.version,
                search_path: path.clone(),
                format: format.clone(),
            });
        }
        Ok(Some(planned))
    }
}

/// Plans a statement, of whose parameters some may have types already; or there are to be none (`without_params`).
///
/// # Errors
/// What binding the statement gives.
pub fn plan_statement(
    engine: &Arc<Engine>,
    parsed: &ParsedStatement,
    (declared, without_params): (&[Option<PgType>], bool),
    catalog: &Arc<Snapshot>,
    path: &[String],
    format: &Arc<FormatOptions>,
) -> Result<Planned> {
    let statement = match &parsed.body {
        Body::Ddl(extra) => {
            let ddl = DdlStatement::Extra(extra.as_ref().clone());
            return Ok(without_rows(Action::SchemaChange(Box::new(ddl)), catalog));
        }
        Body::Maintain(_) | Body::Checkpoint | Body::Copy(_) | Body::Move(_) | Body::SetConstraints { .. } => {
            return Ok(without_rows(Action::Utility(Box::new(parsed.body.clone())), catalog));
        }
        Body::Sql(statement) => statement,
    };
    let context = || {
        let source = Some(parsed.source.clone());
        BindContext { format: format.clone(), ..BindContext::of(catalog, path.to_vec(), source) }
    };
    if ddl::is_ddl(statement) {
        let ddl = DdlStatement::Sql(statement.clone());
        let params = match ddl.query_with_parameters().filter(|_| !without_params) {
            Some(query) => {
                binder::bind(&sqlparser::ast::Statement::Query(Box::new(query.clone())), &context(), declared)?.params
            }
            None => Vec::new(),
        };
        let planned = without_rows(Action::SchemaChange(Box::new(ddl)), catalog);
        return Ok(Planned { params: params.into(), ..planned });
    }
    let context = context();
    if !binder::is_bound(statement) {
        let output = super::utility::output_of(statement);
        let action = Action::Utility(Box::new(parsed.body.clone()));
        // Of a statement that carries another one, the parameters are the inner one's.
        let params = match super::utility::carried(statement).filter(|inner| binder::is_bound(inner)) {
            Some(inner) => binder::bind(&inner, &context, declared)?.params,
            None => Vec::new(),
        };
        let (params, output) = (params.into(), output.into());
        return Ok(Planned { action, params, output, catalog: catalog.clone(), known: Known::default() });
    }
    let bound = binder::bind(statement, &BindContext { without_params, ..context }, declared)?;
    plan_bound(engine, bound, catalog)
}

fn without_rows(action: Action, catalog: &Arc<Snapshot>) -> Planned {
    let (params, output) = (Arc::default(), Arc::new([]));
    Planned { action, params, output, catalog: catalog.clone(), known: Known::default() }
}

/// Chooses how to carry out a bound statement.
///
/// # Errors
/// Expressions that cannot be compiled, rules of a table that no longer bind.
pub fn plan_bound(engine: &Arc<Engine>, bound: BoundStatement, catalog: &Arc<Snapshot>) -> Result<Planned> {
    let BoundStatement { kind, params, output } = bound;
    let known = match &kind {
        StatementKind::Query(query) => Known::of(&query.rel)?,
        StatementKind::Insert(insert) => match &insert.source {
            InsertSource::Query(rel) => Known::of(rel)?,
            _ => Known::default(),
        },
        StatementKind::Update(update) => {
            Known::of_change(&update.source, update.assignments.iter().map(|assignment| &assignment.value))?
        }
        StatementKind::Delete(delete) => Known::of_change(&delete.source, std::iter::empty())?,
    };
    let action = match kind {
        StatementKind::Query(query) => {
            let program = if query.locks_rows { None } else { DirectSelect::compile(&query.rel)? };
            let general = |query: Query| {
                let template = Arc::new(PlanTemplate::new(&params));
                Box::new(QueryPlan { locked: row_locks::locked_tables(&query.rel), query, template })
            };
            match program {
                Some(program) if program.is_by_key() => Action::Direct { program: Box::new(program), general: None },
                Some(program) => Action::Direct { program: Box::new(program), general: Some(general(query)) },
                None => Action::Query(general(query)),
            }
        }
        StatementKind::Insert(insert) => {
            let rules = engine.table_rules(&insert.table, catalog)?;
            Action::Insert(Box::new(InsertPlan::new(*insert, rules)?))
        }
        StatementKind::Update(update) => {
            let rules = engine.table_rules(&update.table, catalog)?;
            let returns = update.returning.is_some();
            let plan = Arc::new(ChangePlan::update(*update, rules)?);
            Action::Change {
                tag: "UPDATE",
                direct: DirectChange::compile(plan.source(), &plan)?.map(Box::new),
                plan,
                returns,
            }
        }
        StatementKind::Delete(delete) => {
            let rules = engine.table_rules(&delete.table, catalog)?;
            let returns = delete.returning.is_some();
            let plan = Arc::new(ChangePlan::delete(*delete, rules)?);
            Action::Change {
                tag: "DELETE",
                direct: DirectChange::compile(plan.source(), &plan)?.map(Box::new),
                plan,
                returns,
            }
        }
    };
    Ok(Planned { action, params: params.into(), output: output.into(), catalog: catalog.clone(), known })
}
