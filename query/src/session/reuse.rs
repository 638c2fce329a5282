//! Statements of the extended protocol that are prepared again with the same text.
//!
//! Many drivers send Parse with the unnamed statement before each execution, and parsing and planning cost a multiple of
//! running a statement by key. So a text that comes again is answered with the statement that was made of it before, as long as
//! its plan holds: for the same types of parameters, catalog, search path and way to read literals. What no longer holds is made
//! anew, so that nobody can tell but by the time it takes.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use stratos_types::{PgType, Result};

use super::plan::Prepared;
use super::session::Session;

/// Texts that one session remembers; when there are more, it starts over.
const TEXTS_MAX: usize = 256;
/// Longest text that is remembered, bytes.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// Length of all texts that are remembered, bytes; what is made of a text takes a multiple of it.
const TEXTS_BYTES_MAX: usize = 128 << 10;

/// The texts that a session was asked to prepare. A text is only noted when it comes first: many never come again.
#[derive(Default)]
pub(super) struct Reuse {
    texts: HashMap<String, Option<Arc<Prepared>>, RandomState>,
    bytes: usize,
}

impl Reuse {
    /// What was made of a text.
    fn known(&self, sql: &str, declared: &[Option<PgType>]) -> Option<&Arc<Prepared>> {
        self.texts.get(sql)?.as_ref().filter(|prepared| prepared.declared == declared)
    }

    /// A text was prepared.
    pub(super) fn note(&mut self, sql: &str, prepared: &Arc<Prepared>) {
        if sql.len() > TEXT_BYTES_MAX {
            return;
        }
        if let Some(known) = self.texts.get_mut(sql) {
            *known = Some(prepared.clone());
            return;
        }
        if self.texts.len() >= TEXTS_MAX || self.bytes + sql.len() > TEXTS_BYTES_MAX {
            self.clear();
        }
        self.bytes += sql.len();
        self.texts.insert(sql.to_owned(), None);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Reuse::default();
    }
}

impl Session {
    /// The statement that was made of a text before, if it would be made the same again.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn reusable(&mut self, sql: &str, declared: &[Option<PgType>]) -> Result<Option<Arc<Prepared>>> {
        let Some(known) = self.reuse.known(sql, declared).cloned() else { return Ok(None) };
        Ok(self.plan_holds(&known)?.then_some(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(declared: &[Option<PgType>]) -> Arc<Prepared> {
        Arc::new(Prepared::named(None, declared.to_vec()))
    }

    #[test]
    fn a_text_is_kept_when_it_comes_again_and_for_its_types_only() {
        let mut reuse = Reuse::default();
        let int = [Some(PgType::Int4)];
        reuse.note("SELECT $1", &prepared(&int));
        assert!(reuse.known("SELECT $1", &int).is_none());
        let second = prepared(&int);
        reuse.note("SELECT $1", &second);
        assert!(Arc::ptr_eq(reuse.known("SELECT $1", &int).unwrap(), &second));
        assert!(reuse.known("SELECT $1", &[Some(PgType::Int8)]).is_none());
        assert!(reuse.known("SELECT $1", &[]).is_none());
        let other = prepared(&[None]);
        reuse.note("SELECT $1", &other);
        assert!(reuse.known("SELECT $1", &int).is_none());
        assert!(Arc::ptr_eq(reuse.known("SELECT $1", &[None]).unwrap(), &other));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut reuse = Reuse::default();
        for n in 0..10 * TEXTS_MAX {
            reuse.note(&format!("SELECT {n}"), &prepared(&[]));
            assert!(reuse.texts.len() <= TEXTS_MAX);
        }
        for n in 0..100 {
            let long = format!("SELECT {n:0width$}", width = TEXT_BYTES_MAX - 7);
            reuse.note(&long, &prepared(&[]));
            reuse.note(&long, &prepared(&[]));
            assert!(reuse.known(&long, &[]).is_some());
            let texts: usize = reuse.texts.keys().map(String::len).sum();
            assert_eq!(texts, reuse.bytes);
            assert!(texts <= TEXTS_BYTES_MAX);
        }
        let longer = "x".repeat(TEXT_BYTES_MAX + 1);
        reuse.note(&longer, &prepared(&[]));
        reuse.note(&longer, &prepared(&[]));
        assert!(reuse.known(&longer, &[]).is_none());
    }
}
