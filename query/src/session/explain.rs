//! EXPLAIN: how a statement is carried out.

use std::borrow::Cow;
use std::sync::Arc;

use sqlparser::ast::{AnalyzeFormatKind, Expr as AstExpr, Statement, UtilityOption};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::plan::{Action, Planned, Prepared};
use super::session::Session;
use super::transaction::Company;
use crate::binder::{SourceText, data_wanted, name_parts};
use crate::exec::direct::Access;
use crate::exec::stored;
use crate::ir::{ColumnId, OutputColumn, Rel};
use crate::lower::ExplainOptions;
use crate::result::{ResultSet, StatementResult};

/// What EXPLAIN was asked for.
struct Wanted {
    analyze: bool,
    json: bool,
    costs: bool,
    timing: bool,
    summary: bool,
}

impl Wanted {
    /// What is shown of a plan that runs or does not.
    fn options(&self, analyze: bool) -> ExplainOptions {
        ExplainOptions { analyze, costs: self.costs, timing: self.timing, summary: self.summary }
    }
}

/// Whether the name of a format is JSON.
fn is_json(format: &str) -> Result<bool> {
    match format.trim_matches('\'').to_lowercase().as_str() {
        "text" => Ok(false),
        "json" => Ok(true),
        known @ ("xml" | "yaml") => Err(Error::unsupported(format!("EXPLAIN (FORMAT {})", known.to_uppercase()))),
        other => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("unrecognized value for EXPLAIN option \"format\": \"{other}\""),
        )),
    }
}

/// The type of what EXPLAIN gives.
pub(super) fn explained_as(statement: &Statement) -> PgType {
    match wanted(statement, None) {
        Ok((Wanted { json: true, .. }, _)) => PgType::Json,
        _ => PgType::Text,
    }
}

fn is_on(option: &UtilityOption) -> Result<bool> {
    let text = match &option.arg {
        None => return Ok(true),
        Some(AstExpr::Value(value)) => match crate::binder::string_of(&value.value) {
            Some(text) => text.to_lowercase(),
            None => value.to_string().to_lowercase(),
        },
        Some(other) => other.to_string().to_lowercase(),
    };
    match text.as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => {
            let name = option.name.value.to_lowercase();
            Err(Error::new(ErrorKind::SyntaxError, format!("{name} requires a Boolean value")))
        }
    }
}

/// Options that say something only of a statement that runs.
fn needs_analyze(option: &str) -> Error {
    let message = format!("EXPLAIN option {} requires ANALYZE", option.to_uppercase());
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn wanted<'s>(statement: &'s Statement, source: Option<&SourceText>) -> Result<(Wanted, &'s Statement)> {
    let Statement::Explain { analyze, verbose: _, query_plan, estimate, statement, format, options, .. } = statement
    else {
        return Err(Error::internal("not an EXPLAIN"));
    };
    if *query_plan || *estimate {
        return Err(Error::unsupported("EXPLAIN QUERY PLAN and EXPLAIN ESTIMATE"));
    }
    let format = match format {
        None => None,
        Some(AnalyzeFormatKind::Keyword(format) | AnalyzeFormatKind::Assignment(format)) => Some(format.to_string()),
    };
    let json = format.map_or(Ok(false), |format| is_json(&format))?;
    let mut wanted = Wanted { analyze: *analyze, json, costs: true, timing: true, summary: true };
    let mut timing = false;
    let mut wal = false;
    for option in options.iter().flatten() {
        let at = |error: Error| match source.and_then(|source| source.position(option.name.span)) {
            Some(position) => error.at(position),
            None => error,
        };
        match option.name.value.to_lowercase().as_str() {
            "analyze" => wanted.analyze = is_on(option)?,
            "costs" => wanted.costs = is_on(option)?,
            "summary" => wanted.summary = is_on(option)?,
            // It adds what this EXPLAIN does not print.
            "verbose" => {
                is_on(option)?;
            }
            "timing" => {
                timing = is_on(option)?;
                wanted.timing = timing;
            }
            "wal" => wal = is_on(option)?,
            "format" => {
                let format = option.arg.as_ref().map(ToString::to_string);
                let missing = || Error::new(ErrorKind::SyntaxError, "format requires a parameter");
                wanted.json = is_json(&format.ok_or_else(missing)?).map_err(at)?;
            }
            other @ ("buffers" | "settings") => {
                return Err(Error::unsupported(format_args!("EXPLAIN option {}", other.to_uppercase())));
            }
            other => {
                let message = format!("unrecognized EXPLAIN option \"{other}\"");
                return Err(at(Error::new(ErrorKind::SyntaxError, message)));
            }
        }
    }
    if wal {
        return Err(if wanted.analyze { Error::unsupported("EXPLAIN option WAL") } else { needs_analyze("wal") });
    }
    if timing && !wanted.analyze {
        return Err(needs_analyze("timing"));
    }
    Ok((wanted, statement))
}

fn by_key(action: &str, access: &Access) -> String {
    format!("{action} on {} using {} (by key, no query plan)", access.table().name, access.index_name())
}

impl Session {
    pub(super) async fn explain(
        &mut self,
        prepared: &Prepared,
        outer: &Planned,
        statement: &Statement,
        params: Vec<Datum>,
    ) -> Result<StatementResult> {
        let source = prepared.parsed.as_ref().map(|parsed| Arc::clone(&parsed.source));
        let (wanted, inner) = wanted(statement, source.as_deref())?;
        let (inner, planned, params) = match inner {
            Statement::Execute { name: Some(name), parameters, .. } => {
                let found = self.what_to_execute(&super::utility::statement_name(name), parameters, source).await?;
                let Some(found) = found else { return Ok(StatementResult::Empty) };
                found
            }
            inner => {
                let Some(inner) = self.explained(inner, &wanted)? else {
                    return Ok(StatementResult::Rows(shown(&wanted, Vec::new())));
                };
                let inner = self.carried_statement(prepared, outer, &inner);
                let Some(planned) = self.plan(&inner).await? else { return Ok(StatementResult::Empty) };
                (inner, planned, params)
            }
        };
        let by_planner = match &planned.action {
            Action::Query(_) => true,
            Action::Direct { program, general: Some(_) } => !self.runs_directly(program),
            _ => false,
        };
        // What is done with the rows of the plan below.
        let mut above = None;
        let mut lines = match &planned.action {
            Action::Direct { general: Some(plan), .. } if by_planner => {
                self.explain_rel(&plan.query.rel, &params, wanted.options(wanted.analyze)).await?
            }
            Action::Direct { program, .. } => program.describe(),
            Action::Query(plan) => self.explain_rel(&plan.query.rel, &params, wanted.options(wanted.analyze)).await?,
            Action::Insert(plan) => {
                above = Some(format!("Insert on {}", plan.rules().table.name));
                match plan.source() {
                    Some(source) => self.explain_rel(source, &params, wanted.options(false)).await?,
                    None => Vec::new(),
                }
            }
            Action::Change { tag, direct: Some(direct), .. } => vec![by_key(&capitalised(tag), direct.access())],
            Action::Change { tag, plan, .. } => {
                above = Some(format!("{} on {}", capitalised(tag), plan.rules().table.name));
                self.explain_rel(plan.source(), &params, wanted.options(false)).await?
            }
            Action::SchemaChange(_) | Action::Utility(_) => {
                return Err(Error::new(
                    ErrorKind::SyntaxError,
                    "EXPLAIN takes SELECT, INSERT, UPDATE, DELETE or VALUES",
                ));
            }
        };
        let below = lines.len();
        if wanted.analyze && !by_planner {
            let started = std::time::Instant::now();
            let mut rows: Option<usize> = None;
            match self.execute(&inner, planned, params, Company::String).await? {
                StatementResult::Rows(mut result) => {
                    let mut given = 0;
                    while let Some(block) = result.next(1024).await? {
                        given += block.len();
                    }
                    rows = Some(given);
                }
                StatementResult::Done(tag) => lines.push(format!("Result: {tag}")),
                _ => {}
            }
            let millis = started.elapsed().as_secs_f64() * 1e3;
            if let (Some(rows), Some(first)) = (rows, lines.first_mut()) {
                let time = if wanted.timing { format!("time={millis:.3} ") } else { String::new() };
                first.push_str(&format!(" (actual {time}rows={rows})"));
            }
            if wanted.summary {
                lines.push(format!("Execution Time: {millis:.3} ms"));
            }
        }
        if wanted.json {
            lines = vec![super::explain_json::document(above.as_deref(), &lines)];
        } else if let Some(above) = above {
            let rest = lines.split_off(below);
            lines = [above].into_iter().chain(lines.into_iter().map(|line| format!("  {line}"))).chain(rest).collect();
        }
        Ok(StatementResult::Rows(shown(&wanted, lines)))
    }

    /// What is planned for a statement: of DECLARE and CREATE TABLE AS it is their query. None where nothing would run, because
    /// the table is there.
    fn explained<'s>(&mut self, statement: &'s Statement, wanted: &Wanted) -> Result<Option<Cow<'s, Statement>>> {
        match statement {
            Statement::Declare { .. } => Ok(super::utility::carried(statement)),
            Statement::CreateTable(create) if let Some(query) = &create.query => {
                if wanted.analyze {
                    return Err(Error::unsupported("EXPLAIN ANALYZE of CREATE TABLE AS"));
                }
                let parts = name_parts(&create.name)?;
                let (schema, name) = match parts.as_slice() {
                    [schema, name] => (Some(schema.as_str()), name),
                    [name] => (None, name),
                    _ => return Err(Error::internal("a table's name of many parts")),
                };
                let catalog = self.current_catalog()?;
                let path = self.eval_context(&catalog).host.search_path(false);
                let first = path.get(..1).unwrap_or_default();
                if catalog.find_relation(schema, name, first).is_some() {
                    let exists = format!("relation \"{name}\" already exists");
                    if !create.if_not_exists {
                        return Err(Error::new(ErrorKind::DuplicateTable, exists));
                    }
                    self.warning(ErrorKind::DuplicateTable, format!("{exists}, skipping"));
                    return Ok(None);
                }
                let query = data_wanted(query).0;
                Ok(Some(Cow::Owned(Statement::Query(Box::new(query.clone())))))
            }
            other => Ok(Some(Cow::Borrowed(other))),
        }
    }

    async fn explain_rel(&mut self, rel: &Rel, params: &[Datum], options: ExplainOptions) -> Result<Vec<String>> {
        let catalog = self.current_catalog()?;
        let eval = self.eval_context(&catalog);
        let engine = self.engine.clone();
        let block = self.ensure_block();
        block.used = true;
        stored(block.store.begin_statement())?;
        let view = Arc::new(block.store.view());
        let statement = crate::lower::statement(params, view, &eval, engine.runtime(), !options.analyze);
        let lines = crate::lower::explain(rel, &statement, options).await;
        block.store.finish_statement(true);
        lines
    }
}

/// The lines of a plan as rows.
fn shown(wanted: &Wanted, lines: Vec<String>) -> ResultSet {
    let ty = if wanted.json { PgType::Json } else { PgType::Text };
    let column = OutputColumn { id: ColumnId(0), name: "QUERY PLAN".to_owned(), ty: ty.into(), origin: None };
    let rows = lines.into_iter().map(|line| vec![Datum::text(line)]).collect();
    ResultSet::from_rows(Arc::new([column]), "EXPLAIN", rows)
}

fn capitalised(tag: &str) -> String {
    let lower = tag.to_lowercase();
    let mut chars = lower.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
