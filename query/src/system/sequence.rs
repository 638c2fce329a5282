//! A sequence read as a table.

use std::sync::{Arc, LazyLock};

use stratos_types::{ColumnType, Datum, Result};

use super::relations::SEQUENCE_COLUMNS;
use crate::catalog::{Sequence, SystemContext, SystemTable};

/// One row: where the sequence stands.
#[derive(Debug)]
pub(super) struct SequenceTable {
    pub sequence: Arc<Sequence>,
    pub schema: String,
}

static COLUMNS: LazyLock<Vec<(&'static str, ColumnType)>> =
    LazyLock::new(|| SEQUENCE_COLUMNS.iter().map(|(name, ty)| (*name, ColumnType::from(*ty))).collect());

impl SystemTable for SequenceTable {
    fn schema(&self) -> &str {
        &self.schema
    }
    fn name(&self) -> &str {
        &self.sequence.name
    }
    fn oid(&self) -> u32 {
        self.sequence.oid
    }
    fn columns(&self) -> &[(&'static str, ColumnType)] {
        &COLUMNS
    }
    fn rows(&self, context: &SystemContext) -> Result<Vec<Vec<Datum>>> {
        let value = context.store.sequence_value(context.catalog.database, self.sequence.storage)?;
        let (last, called) = value.map_or((self.sequence.first_value(), false), |v| (v.last, v.called));
        // Values are reserved in blocks of the node's own, not as Postgres counts them in `log_cnt`.
        Ok(vec![vec![Datum::Int8(last), Datum::Int8(0), Datum::Bool(called)]])
    }
}
