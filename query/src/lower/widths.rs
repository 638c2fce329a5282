//! How many rows a batch may have: joins repeat what a row has, and functions make long values of short ones, so that batches
//! of the usual number of rows could take more memory than there is, and more than the offsets of a column can tell.

use stratos_types::Datum;

use super::context::StatementContext;
use super::runtime::BATCH_ROWS;
use crate::ir::{Expr, ExprKind, Rel, Walk};

/// Bytes that a batch is expected to take at most.
pub(super) const BATCH_BYTES_MAX: usize = 64 << 20;
/// Rows of a batch where a function makes values of a length that is not known before.
const GROWING_ROWS_MAX: usize = 512;
/// Functions whose results may be much longer than all that they are given.
const GROWING: &[&str] =
    &["array_fill", "array_to_string", "format", "lpad", "regexp_replace", "repeat", "replace", "rpad"];

/// Rows of a batch of a relation.
pub(super) fn batch_rows(rel: &Rel, statement: &StatementContext) -> usize {
    let mut width = Width::default();
    width.read(rel, statement);
    let repeated = if width.sources > 1 { width.read } else { 0 };
    let rows = (BATCH_BYTES_MAX / (repeated + width.made).max(1)).clamp(1, BATCH_ROWS);
    if width.grows { rows.min(GROWING_ROWS_MAX) } else { rows }
}

#[derive(Default)]
struct Width {
    /// Bytes of a row of all tables together, on average.
    read: usize,
    /// Tables, functions and lists of rows.
    sources: usize,
    /// Bytes of the values of functions, as far as they can be told.
    made: usize,
    grows: bool,
}

impl Width {
    fn read(&mut self, rel: &Rel, statement: &StatementContext) {
        match rel {
            Rel::Scan { table, .. } => {
                let statistics = statement.statistics(table);
                let row = statistics.bytes / statistics.rows.max(1);
                self.read = self.read.saturating_add(usize::try_from(row).unwrap_or(usize::MAX));
                self.sources += 1;
            }
            Rel::TableFunction { .. } | Rel::CteScan { .. } | Rel::SystemScan { .. } => self.sources += 1,
            Rel::Values { columns, .. } if !columns.is_empty() => self.sources += 1,
            _ => {}
        }
        for expr in rel.exprs() {
            expr.visit(&mut |e| {
                let bytes = self.grown(e);
                self.made = self.made.saturating_add(bytes);
                Walk::Into
            });
        }
        for input in rel.inputs() {
            self.read(input, statement);
        }
    }

    fn grown(&mut self, e: &Expr) -> usize {
        let ExprKind::Call { function, args } = &e.kind else { return 0 };
        if !GROWING.contains(&function.name) {
            return 0;
        }
        self.grows = true;
        // The length, or the number of repetitions.
        match (function.name, args.get(1).map(|arg| &arg.kind)) {
            ("repeat" | "lpad" | "rpad", Some(ExprKind::Literal(Datum::Int4(n)))) => usize::try_from(*n).unwrap_or(0),
            _ => 0,
        }
    }
}
