//! Statements of simple queries that differ only in their integers share a plan.
//!
//! Clients without prepared statements send the same few texts with other numbers in them, and parsing and planning cost a
//! multiple of running a statement by key. So a text that comes again with other integers is prepared once, with parameters
//! in the place of the integers. Only statements by key, whose meaning cannot depend on whether an integer is a literal or a
//! parameter of the same type, are kept; texts with strings, comments or several statements never are.

use std::collections::HashMap;
use std::sync::Arc;

use stratos_types::{Datum, PgType};

use super::plan::{Action, Planned, Prepared};
use super::session::Session;
use crate::binder;

/// Texts that one session remembers; when there are more, it starts over.
const TEXTS_MAX: usize = 256;
/// Longest text that is looked at, bytes.
const TEXT_BYTES_MAX: usize = 2048;
/// Most integers in a text.
const INTEGERS_MAX: usize = 64;

/// What is known of a text.
enum Known {
    /// It came once.
    Seen,
    /// It has to be planned each time.
    Unfit,
    Fit(Arc<Prepared>),
}

/// The texts that a session has met, with their integers taken out.
#[derive(Default)]
pub(super) struct Recall {
    texts: HashMap<String, Known>,
}

/// The constant before which a minus belongs to the number: -2147483648 is an int4, 2147483648 is none.
const LEAST_INT4_NEGATED: i64 = 1 << 31;

/// A text with parameters for its integers, and their values.
struct Masked {
    text: String,
    values: Vec<Datum>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Takes the integers out; `None` for a text that is never remembered.
fn mask(sql: &str) -> Option<Masked> {
    let sql = sql.trim_end_matches(|c: char| c == ';' || c.is_ascii_whitespace());
    if sql.len() > TEXT_BYTES_MAX {
        return None;
    }
    let bytes = sql.as_bytes();
    let mut masked = Masked { text: String::with_capacity(sql.len() + 16), values: Vec::new() };
    // Text up to here is in `masked`.
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' | b'"' | b'$' | b';' | b'\\' => return None,
            b'-' if bytes.get(at + 1) == Some(&b'-') => return None,
            b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
            b'0'..=b'9' => {
                let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                let end = at + digits;
                if bytes.get(end).is_some_and(|b| *b == b'.' || is_word(*b)) || masked.values.len() >= INTEGERS_MAX {
                    return None;
                }
                let value: i64 = sql[at..end].parse().ok()?;
                // With a minus before it, it is an int4 after all.
                if value == LEAST_INT4_NEGATED {
                    return None;
                }
                masked.text.push_str(&sql[copied..at]);
                // The type is part of the text, so that another one is another text.
                masked.values.push(match i32::try_from(value) {
                    Ok(small) => Datum::Int4(small),
                    Err(_) => Datum::Int8(value),
                });
                masked.text.push(if i32::try_from(value).is_ok() { '\u{1}' } else { '\u{2}' });
                copied = end;
                at = end;
            }
            b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => return None,
            byte if is_word(byte) => at += bytes[at..].iter().take_while(|b| is_word(**b)).count(),
            byte if byte < b' ' && !byte.is_ascii_whitespace() => return None,
            _ => at += 1,
        }
    }
    masked.text.push_str(&sql[copied..]);
    Some(masked)
}

/// The text with parameters, and their types.
fn parameterized(masked: &str) -> (String, Vec<Option<PgType>>) {
    let mut text = String::with_capacity(masked.len() + 16);
    let mut types = Vec::new();
    for c in masked.chars() {
        let ty = match c {
            '\u{1}' => PgType::Int4,
            '\u{2}' => PgType::Int8,
            other => {
                text.push(other);
                continue;
            }
        };
        types.push(Some(ty));
        text.push_str(&format!("${}", types.len()));
    }
    (text, types)
}

/// Whether a plan is of a kind that may be kept.
fn is_fit(planned: &Planned) -> bool {
    match &planned.action {
        Action::Direct { .. } | Action::Change { direct: Some(_), .. } => true,
        Action::Insert(plan) => plan.source().is_none(),
        Action::Utility(body) => super::utility::is_plain_block_statement(body),
        _ => false,
    }
}

impl Session {
    /// The statement that a text stands for, prepared before, with the values of its parameters; `None` when the text has to
    /// be parsed.
    pub fn recall(&mut self, sql: &str) -> Option<(Arc<Prepared>, Vec<Datum>)> {
        let Masked { text, values } = mask(sql)?;
        match self.recall.texts.get(&text) {
            Some(Known::Fit(prepared)) => {
                let prepared = prepared.clone();
                match self.plan_here(&prepared) {
                    Ok(Some(planned)) if is_fit(&planned) => Some((prepared, values)),
                    // The catalog has changed under it.
                    _ => {
                        self.recall.texts.remove(&text);
                        None
                    }
                }
            }
            Some(Known::Unfit) => None,
            Some(Known::Seen) => {
                let prepared = self.prepare_masked(&text);
                self.recall.texts.insert(text, prepared.clone().map_or(Known::Unfit, Known::Fit));
                prepared.map(|prepared| (prepared, values))
            }
            None => {
                if self.recall.texts.len() >= TEXTS_MAX {
                    self.recall.texts.clear();
                }
                self.recall.texts.insert(text, Known::Seen);
                None
            }
        }
    }

    fn prepare_masked(&mut self, masked: &str) -> Option<Arc<Prepared>> {
        let (text, types) = parameterized(masked);
        let count = types.len();
        let [parsed] = <[_; 1]>::try_from(binder::parse(&text).ok()?).ok()?;
        let prepared = Arc::new(Prepared::new(Some(parsed), types));
        let planned = self.plan_here(&prepared).ok()??;
        (planned.params.len() == count && is_fit(&planned)).then_some(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_become_parameters() {
        let masked = mask("UPDATE t2 SET a = a + -15 WHERE id=3000000000 AND b IN (1,2) ;\n").unwrap();
        assert_eq!(masked.text, "UPDATE t2 SET a = a + -\u{1} WHERE id=\u{2} AND b IN (\u{1},\u{1})");
        let values = [Datum::Int4(15), Datum::Int8(3_000_000_000), Datum::Int4(1), Datum::Int4(2)];
        assert_eq!(masked.values, values);
        let (text, types) = parameterized(&masked.text);
        assert_eq!(text, "UPDATE t2 SET a = a + -$1 WHERE id=$2 AND b IN ($3,$4)");
        assert_eq!(types[1], Some(PgType::Int8));
    }

    #[test]
    fn texts_that_could_mean_something_else_are_left_alone() {
        for sql in [
            "SELECT 1; SELECT 2",
            "SELECT 'now'::timestamp",
            "SELECT 1 -- one",
            "SELECT /* 2 */ 1",
            "SELECT $1",
            "SELECT 1.5",
            "SELECT .5",
            "SELECT 1e5",
            "SELECT 0x1F",
            "SELECT 99999999999999999999",
            "SELECT -2147483648",
            "SELECT \"a1\" FROM t",
        ] {
            assert!(mask(sql).is_none(), "{sql}");
        }
    }
}
