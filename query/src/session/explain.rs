//! EXPLAIN: how a statement is carried out.

use std::sync::Arc;

use sqlparser::ast::{AnalyzeFormatKind, Expr as AstExpr, Statement, UtilityOption};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::plan::{Action, Planned, Prepared};
use super::session::Session;
use super::transaction::Company;
use crate::exec::direct::Access;
use crate::exec::stored;
use crate::ir::{ColumnId, OutputColumn, Rel};
use crate::lower::ExplainOptions;
use crate::result::{ResultSet, StatementResult};

/// What EXPLAIN was asked for.
struct Wanted {
    analyze: bool,
    json: bool,
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
    match wanted(statement) {
        Ok((Wanted { json: true, .. }, _)) => PgType::Json,
        _ => PgType::Text,
    }
}

fn is_on(option: &UtilityOption) -> Result<bool> {
    match &option.arg {
        None => Ok(true),
        Some(AstExpr::Value(value)) => Ok(!matches!(value.to_string().to_lowercase().as_str(), "false" | "off" | "0")),
        Some(AstExpr::Identifier(word)) => Ok(!matches!(word.value.to_lowercase().as_str(), "false" | "off")),
        Some(other) => Err(Error::new(
            ErrorKind::SyntaxError,
            format!("EXPLAIN option {} requires a Boolean value, not {other}", option.name),
        )),
    }
}

fn wanted(statement: &Statement) -> Result<(Wanted, &Statement)> {
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
    let mut wanted = Wanted { analyze: *analyze, json };
    for option in options.iter().flatten() {
        match option.name.value.to_lowercase().as_str() {
            "analyze" => wanted.analyze = is_on(option)?,
            // They add or leave out numbers that this EXPLAIN does not print.
            "costs" | "timing" | "summary" | "verbose" => {
                is_on(option)?;
            }
            "format" => {
                let format = option.arg.as_ref().map(ToString::to_string);
                let missing = || Error::new(ErrorKind::SyntaxError, "format requires a parameter");
                wanted.json = is_json(&format.ok_or_else(missing)?)?;
            }
            other @ ("buffers" | "settings" | "wal") => {
                return Err(Error::unsupported(format_args!("EXPLAIN option {}", other.to_uppercase())));
            }
            other => {
                return Err(Error::new(ErrorKind::SyntaxError, format!("unrecognized EXPLAIN option \"{other}\"")));
            }
        }
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
        let (wanted, inner) = wanted(statement)?;
        let (inner, planned, params) = match inner {
            Statement::Execute { name: Some(name), parameters, .. } => {
                let found = self.what_to_execute(&super::utility::statement_name(name), parameters).await?;
                let Some(found) = found else { return Ok(StatementResult::Empty) };
                found
            }
            inner => {
                let inner = self.carried_statement(prepared, outer, inner);
                let Some(planned) = self.plan(&inner).await? else { return Ok(StatementResult::Empty) };
                (inner, planned, params)
            }
        };
        // What is done with the rows of the plan below.
        let mut above = None;
        let mut lines = match &planned.action {
            Action::Direct { program, .. } => vec![by_key("Lookup", program.access())],
            Action::Query(plan) => self.explain_rel(&plan.query.rel, &params, wanted.analyze).await?,
            Action::Insert(plan) => {
                above = Some(format!("Insert on {}", plan.rules().table.name));
                match plan.source() {
                    Some(source) => self.explain_rel(source, &params, false).await?,
                    None => Vec::new(),
                }
            }
            Action::Change { tag, direct: Some(direct), .. } => vec![by_key(&capitalised(tag), direct.access())],
            Action::Change { tag, plan, .. } => {
                above = Some(format!("{} on {}", capitalised(tag), plan.rules().table.name));
                self.explain_rel(plan.source(), &params, false).await?
            }
            Action::SchemaChange(change) if change.is_create_as() => {
                return Err(Error::unsupported("EXPLAIN of CREATE TABLE AS"));
            }
            Action::SchemaChange(_) | Action::Utility(_) => {
                return Err(Error::new(
                    ErrorKind::SyntaxError,
                    "EXPLAIN takes SELECT, INSERT, UPDATE, DELETE or VALUES",
                ));
            }
        };
        let below = lines.len();
        if wanted.analyze && !matches!(planned.action, Action::Query(_)) {
            let started = std::time::Instant::now();
            let mut rows = 0;
            match self.execute(&inner, planned, params, Company::String).await? {
                StatementResult::Rows(mut result) => {
                    while let Some(block) = result.next(1024).await? {
                        rows += block.len();
                    }
                    lines.push(format!("Rows: {}", rows));
                }
                StatementResult::Done(tag) => lines.push(format!("Result: {tag}")),
                _ => {}
            }
            lines.push(format!("Execution Time: {:.3} ms", started.elapsed().as_secs_f64() * 1e3));
        }
        let ty = if wanted.json { PgType::Json } else { PgType::Text };
        let column = OutputColumn { id: ColumnId(0), name: "QUERY PLAN".to_owned(), ty: ty.into(), origin: None };
        if wanted.json {
            lines = vec![super::explain_json::document(above.as_deref(), &lines)];
        } else if let Some(above) = above {
            let rest = lines.split_off(below);
            lines = [above].into_iter().chain(lines.into_iter().map(|line| format!("  {line}"))).chain(rest).collect();
        }
        let rows = lines.into_iter().map(|line| vec![Datum::text(line)]).collect();
        Ok(StatementResult::Rows(ResultSet::from_rows(Arc::new([column]), "EXPLAIN", rows)))
    }

    async fn explain_rel(&mut self, rel: &Rel, params: &[Datum], analyze: bool) -> Result<Vec<String>> {
        let catalog = self.current_catalog()?;
        let eval = self.eval_context(&catalog);
        let engine = self.engine.clone();
        let block = self.ensure_block();
        block.used = true;
        stored(block.store.begin_statement())?;
        let view = Arc::new(block.store.view());
        let statement = crate::lower::statement(params, view, &eval, engine.runtime(), !analyze);
        let lines = crate::lower::explain(rel, &statement, ExplainOptions { analyze }).await;
        block.store.finish_statement(true);
        lines
    }
}

fn capitalised(tag: &str) -> String {
    let lower = tag.to_lowercase();
    let mut chars = lower.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
