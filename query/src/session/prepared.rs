//! A session's prepared statements, and the plans that they have in the catalog of the moment.

use std::sync::Arc;

use stratos_replication::KeyChanges;
use stratos_types::{Error, ErrorKind, FormatOptions, PgType, Result};

use super::Host;
use super::away::{INLINE_BYTES_MAX, away};
use super::plan::{Planned, Prepared};
use super::session::Session;
use super::settings::Derived;
use super::transaction::Block;
use crate::binder;
use crate::catalog::Snapshot;
use crate::engine::Engine;
use crate::ir::OutputColumn;

/// Prepared statements that one session may have.
const PREPARED_MAX: usize = 10_000;

/// Types of a statement's parameters and columns.
pub struct StatementDescription {
    /// Parameters.
    pub params: Arc<[PgType]>,
    /// Columns; none when the statement gives no rows.
    pub columns: Option<Arc<[OutputColumn]>>,
}

/// Parses on the spot what is short, and the rest where it holds up nobody.
async fn parse_text(engine: &Engine, sql: &str) -> Result<Vec<binder::ParsedStatement>> {
    if sql.len() <= INLINE_BYTES_MAX {
        return binder::parse(sql);
    }
    let sql = sql.to_owned();
    away(engine.planning(), move || binder::parse(&sql)).await
}

/// What plans are made in: the catalog, the search path, and how literals are read.
type PlanContext = (Arc<Snapshot>, Arc<[String]>, Arc<FormatOptions>);

/// The search path, and what it was made from.
pub(super) struct Lookup {
    settings: Arc<Derived>,
    catalog: Arc<Snapshot>,
    path: Arc<[String]>,
}

/// The plan that was asked for last, and what it holds for: Bind and Execute ask for the same one, one after the other.
pub(super) struct LastPlan {
    prepared: Arc<Prepared>,
    changes: KeyChanges,
    settings: Arc<Derived>,
    planned: Arc<Planned>,
}

impl Session {
    /// Parses a query string into its statements, each ready to be planned.
    ///
    /// # Errors
    /// 42601 and the parser's limits.
    pub async fn parse(&mut self, sql: &str) -> Result<Vec<Arc<Prepared>>> {
        self.begin_statement(sql);
        let shared = self.shared.clone();
        let statements = shared.guarded(parse_text(&self.engine, sql)).await?;
        self.tell_of_long_names(statements.first());
        let prepared = |parsed| {
            let mut prepared = Prepared::new(Some(parsed), Vec::new());
            prepared.without_params = true;
            prepared
        };
        Ok(statements.into_iter().map(|parsed| Arc::new(prepared(parsed))).collect())
    }

    /// `Parse` of the extended protocol.
    ///
    /// # Errors
    /// 42601, 42P05, and what planning the statement gives.
    pub async fn prepare(&mut self, name: &str, sql: &str, declared: Vec<Option<PgType>>) -> Result<()> {
        self.refuse_too_many_prepared()?;
        if let Some(known) = self.reusable(sql, &declared)? {
            self.begin_shown(known.shown().clone());
            self.refuse_if_failed(&known)?;
            self.tell_of_long_names(known.parsed.as_deref());
            let prepared = if name.is_empty() { known } else { Arc::new(known.again()) };
            return self.keep_prepared(name, prepared);
        }
        self.begin_statement(sql);
        let shared = self.shared.clone();
        let mut statements = shared.guarded(parse_text(&self.engine, sql)).await?;
        self.tell_of_long_names(statements.first());
        if statements.len() > 1 {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let prepared = Arc::new(Prepared::named(statements.pop(), declared));
        self.refuse_if_failed(&prepared)?;
        if self.plan(&prepared).await?.is_some_and(|planned| !planned.changes_schema()) {
            self.reuse.note(sql, &prepared);
        }
        self.keep_prepared(name, prepared)
    }

    /// Keeps what was prepared, and has no fault of its own.
    fn keep_prepared(&self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        let mut kept = self.shared.prepared.lock();
        if !name.is_empty() && kept.contains_key(name) {
            return Err(Error::new(
                ErrorKind::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        kept.insert(name.to_owned(), prepared);
        Ok(())
    }

    /// 53400 when the session has as many prepared statements as it may.
    pub(super) fn refuse_too_many_prepared(&self) -> Result<()> {
        if self.shared.prepared.lock().len() < PREPARED_MAX {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ConfigurationLimitExceeded, "too many prepared statements in this session"))
    }

    /// A prepared statement by name.
    ///
    /// # Errors
    /// 26000.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.shared.prepared.lock().get(name).cloned().ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Error::new(ErrorKind::InvalidSqlStatementName, message)
        })
    }

    /// `Close` of a statement.
    pub fn close_prepared(&mut self, name: &str) {
        self.shared.prepared.lock().remove(name);
    }

    /// `Describe` of a statement.
    ///
    /// # Errors
    /// What planning the statement gives.
    pub async fn describe(&mut self, prepared: &Arc<Prepared>) -> Result<StatementDescription> {
        let planned = self.plan(prepared).await?;
        Ok(match planned {
            None => StatementDescription { params: Arc::default(), columns: None },
            Some(planned) => {
                StatementDescription { params: planned.params.clone(), columns: self.columns_of(&planned)? }
            }
        })
    }

    pub(super) fn columns_of(&mut self, planned: &Planned) -> Result<Option<Arc<[OutputColumn]>>> {
        if let Some(columns) = self.output_of_utility(planned)? {
            return Ok(Some(columns));
        }
        Ok(planned.gives_rows().then(|| planned.output.clone()))
    }

    /// The statement's plan in the current catalog.
    ///
    /// # Errors
    /// What planning the statement gives.
    pub(super) async fn plan(&mut self, prepared: &Arc<Prepared>) -> Result<Option<Arc<Planned>>> {
        if prepared.text_bytes() <= INLINE_BYTES_MAX {
            return self.plan_here(prepared);
        }
        let (catalog, path, format) = self.plan_context()?;
        if let Some(planned) = prepared.known_plan(&catalog, &path, &format) {
            return Ok(Some(planned));
        }
        let (engine, prepared) = (self.engine.clone(), prepared.clone());
        let slots = engine.planning().clone();
        let shared = self.shared.clone();
        shared.guarded(away(&slots, move || prepared.plan(&engine, &catalog, &path, &format))).await
    }

    /// As [`Session::plan`], on the spot: for short statements.
    ///
    /// # Errors
    /// What planning the statement gives.
    pub(super) fn plan_here(&mut self, prepared: &Arc<Prepared>) -> Result<Option<Arc<Planned>>> {
        if let Some(planned) = self.last_plan(prepared) {
            return Ok(Some(planned.clone()));
        }
        let (catalog, path, format) = self.plan_context()?;
        let planned = match prepared.known_plan(&catalog, &path, &format) {
            Some(planned) => Some(planned),
            None => prepared.plan(&self.engine, &catalog, &path, &format)?,
        };
        self.last_plan = None;
        if let (Some(planned), (Some(changes), committed)) = (&planned, &self.catalog)
            && Arc::ptr_eq(committed, &catalog)
        {
            let settings = self.shared.settings.lock().derived().clone();
            let (prepared, planned) = (prepared.clone(), planned.clone());
            self.last_plan = Some(LastPlan { prepared, changes: *changes, settings, planned });
        }
        Ok(planned)
    }

    /// Whether the statement has a plan that would be made the same now.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn plan_holds(&mut self, prepared: &Arc<Prepared>) -> Result<bool> {
        if self.last_plan(prepared).is_some() {
            return Ok(true);
        }
        let (catalog, path, format) = self.plan_context()?;
        Ok(prepared.known_plan(&catalog, &path, &format).is_some())
    }

    /// The statement's plan, if it is the one that was asked for last and nothing that it depends on has changed since.
    fn last_plan(&self, prepared: &Arc<Prepared>) -> Option<&Arc<Planned>> {
        let last = self.last_plan.as_ref().filter(|last| Arc::ptr_eq(&last.prepared, prepared))?;
        let changes = self.engine.catalog_changes();
        let holds = changes == last.changes
            && changes.under_way == 0
            && self.block.as_ref().and_then(Block::own_catalog).is_none()
            && Arc::ptr_eq(self.shared.settings.lock().derived(), &last.settings);
        holds.then_some(&last.planned)
    }

    /// What plans are made in.
    pub(super) fn plan_context(&mut self) -> Result<PlanContext> {
        let catalog = self.current_catalog()?;
        let path = self.lookup_path();
        let format = self.shared.settings.lock().format().clone();
        Ok((catalog, path, format))
    }

    /// The schemas in which names are looked up, existing ones only.
    pub(super) fn lookup_path(&mut self) -> Arc<[String]> {
        let settings = self.shared.settings.lock().derived().clone();
        let catalog = self.shared.catalog.lock().clone();
        if let Some(known) = &self.lookup
            && Arc::ptr_eq(&known.settings, &settings)
            && Arc::ptr_eq(&known.catalog, &catalog)
        {
            return known.path.clone();
        }
        let path: Arc<[String]> = self.shared.search_path(false).into();
        self.lookup = Some(Lookup { settings, catalog, path: path.clone() });
        path
    }
}
