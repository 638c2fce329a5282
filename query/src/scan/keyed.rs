//! A scan narrowed to the rows with certain keys, which are known only while the query runs.

use stratos_replication::{Direction, Span};
use stratos_types::{Datum, PgType, Result, key};

use super::exec::{ScanExec, condition_text, properties};
use super::source::RowSource;
use super::spans::{Access, Condition, Test, key_columns};
use crate::catalog::{Index, IndexState};
use crate::ir::ROW_ID_NAME;
use crate::rows::{index_prefix, row_key_of_entry};

/// Entries that are read at a time while keys are looked up in an index.
const ENTRIES_PER_STEP: usize = 256;
/// Bytes of entries that are read at a time.
const ENTRY_BYTES_PER_STEP: usize = 1 << 20;

/// Rows for one key of an index that is not unique, as nothing is known about values.
pub(crate) const ROWS_PER_KEY: u64 = 10;

/// How rows are found by values of some of a scan's columns.
#[derive(Debug, Clone)]
pub(crate) struct KeyPath {
    /// Position in [`crate::catalog::Table::indexes`].
    index: usize,
    /// What the leading columns of the index are equal to.
    parts: Vec<Part>,
    /// A key has one row at most.
    pub unique: bool,
}

#[derive(Debug, Clone)]
enum Part {
    /// The value of a key, by position.
    Key(usize),
    /// A condition of the scan.
    Constant(Datum),
}

impl ScanExec {
    /// How to find rows by values of the columns at these positions of the output; none where no index begins with them.
    pub(crate) fn key_path(&self, keys: &[usize]) -> Option<KeyPath> {
        let positions: Vec<usize> =
            keys.iter().map(|at| self.wanted.get(*at).map(|c| c.index)).collect::<Option<_>>()?;
        let indexes = self.table.indexes.iter().enumerate();
        let public = indexes.filter(|(_, index)| index.state == IndexState::Public);
        let paths = public.filter_map(|(at, index)| self.path_through(at, index, &positions));
        // The most specific one; of equals the first, which is the table itself.
        paths.rev().max_by_key(|path| (path.unique, path.parts.len()))
    }

    fn path_through(&self, at: usize, index: &Index, positions: &[usize]) -> Option<KeyPath> {
        let columns = key_columns(&self.table, index);
        let mut parts = Vec::with_capacity(columns.len());
        for column in &columns {
            if let Some(key) = positions.iter().position(|position| *position == column.position) {
                parts.push(Part::Key(key));
                continue;
            }
            let constant = self.conditions.iter().find_map(|condition| match &condition.test {
                Test::In(values) if condition.column == column.position => match values.as_slice() {
                    [value] if !value.is_null() => Some(value.clone()),
                    _ => None,
                },
                _ => None,
            });
            match constant {
                Some(value) => parts.push(Part::Constant(value)),
                None => break,
            }
        }
        let unique = parts.len() == columns.len() && (index.unique || at == 0);
        parts.iter().any(|part| matches!(part, Part::Key(_))).then_some(KeyPath { index: at, parts, unique })
    }

    /// The type of an output column, as it is in the table.
    pub(crate) fn column_type(&self, at: usize) -> Option<PgType> {
        let column = self.wanted.get(at)?;
        Some(self.table.columns.get(column.index).map_or(PgType::Int8, |c| c.ty.ty))
    }

    /// The scan as EXPLAIN shows it where it is looked into by keys, which `text` shows.
    pub(crate) fn shown_with_keys(&self, path: &KeyPath, text: &dyn Fn(usize) -> Option<String>) -> ScanExec {
        let columns = key_columns(&self.table, &self.table.indexes[path.index]);
        let compared = columns.iter().zip(&path.parts).map(|(column, part)| {
            let name = self.table.columns.get(column.position).map_or(ROW_ID_NAME, |c| c.name.as_str());
            match part {
                Part::Key(at) => format!("({name} = {})", text(*at).unwrap_or_default()),
                Part::Constant(value) => {
                    let test = Test::In(vec![value.clone()]);
                    condition_text(&self.table, &Condition { column: column.position, test })
                }
            }
        });
        let rows = if path.unique { 1 } else { ROWS_PER_KEY.min(self.rows) };
        ScanExec { rows, lookups: Some((path.index, compared.collect())), ..self.clone() }
    }

    /// The same scan of rows with one of these keys only, in no order; none when more than `rows_max` rows would have to be read.
    /// No value is NULL: it would equal nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn with_keys(
        &self,
        source: &dyn RowSource,
        path: &KeyPath,
        keys: &[Vec<Datum>],
        rows_max: u64,
    ) -> Result<Option<ScanExec>> {
        let index = &self.table.indexes[path.index];
        let columns = key_columns(&self.table, index);
        let prefix = index_prefix(&self.table, index);
        let mut prefixes: Vec<Vec<u8>> = Vec::with_capacity(keys.len());
        for values in keys {
            let mut out = prefix.to_vec();
            for (column, part) in columns.iter().zip(&path.parts) {
                let value = match part {
                    Part::Key(at) => values.get(*at).unwrap_or(&Datum::Null),
                    Part::Constant(value) => value,
                };
                key::encode_column(&mut out, column.ty, value, column.descending, column.nulls_first);
            }
            prefixes.push(out);
        }
        prefixes.sort();
        prefixes.dedup();
        let mut spans: Vec<Span> = prefixes.iter().map(|prefix| Span::prefix(prefix)).collect();
        let (mut index_at, mut points) = (path.index, path.unique);
        if !path.unique {
            let fetches = path.index > 0 && !self.covered_by(index);
            let Some(rows) = self.entries(source, &spans, index, fetches, rows_max)? else { return Ok(None) };
            if fetches {
                spans = rows;
                spans.sort_by(|a, b| a.start.cmp(&b.start));
                (index_at, points) = (0, true);
            }
        }
        let access =
            Access { index: index_at, spans: Vec::new(), conditions: self.access.conditions.clone(), lookup: points };
        Ok(Some(ScanExec {
            properties: properties(&self.schema, None, 1),
            access,
            partitions: vec![spans],
            points,
            direction: Direction::Forward,
            ordering: None,
            ..self.clone()
        }))
    }

    /// Goes through the entries of an index, at most `max` of them, and gives the places of their rows if they are asked for.
    fn entries(
        &self,
        source: &dyn RowSource,
        spans: &[Span],
        index: &Index,
        places: bool,
        max: u64,
    ) -> Result<Option<Vec<Span>>> {
        let mut out = Vec::new();
        let mut count = 0;
        for span in spans {
            let mut cursor = source.scan(span.clone(), Direction::Forward);
            let mut failed = None;
            let mut more = true;
            while more {
                more = cursor.next_chunk(ENTRIES_PER_STEP, ENTRY_BYTES_PER_STEP, &mut |key, value| {
                    count += 1;
                    if places {
                        match row_key_of_entry(&self.table, index, key, value) {
                            Ok(row) => out.push(Span::key(&row)),
                            Err(error) => failed = Some(error),
                        }
                    }
                })?;
                if let Some(error) = failed.take() {
                    return Err(error);
                }
                if count > max {
                    return Ok(None);
                }
            }
        }
        Ok(Some(out))
    }
}
