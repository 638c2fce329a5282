//! BEGIN, COMMIT, ROLLBACK, savepoints, SET TRANSACTION.

use sqlparser::ast::{TransactionAccessMode, TransactionIsolationLevel, TransactionMode};
use stratos_types::{Error, ErrorKind, Result};

use super::session::Session;
use super::transaction::{Characteristics, Company, Level, NamedSavepoint, SAVEPOINTS_MAX};
use super::utility::done;
use crate::result::StatementResult;

/// What a list of transaction modes says.
#[derive(Default)]
pub(super) struct Modes {
    pub level: Option<Level>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

impl Modes {
    /// These, where they were said, and `others` otherwise.
    fn or(&self, others: Characteristics) -> Characteristics {
        Characteristics {
            level: self.level.unwrap_or(others.level),
            read_only: self.read_only.unwrap_or(others.read_only),
            deferrable: self.deferrable.unwrap_or(others.deferrable),
        }
    }
}

/// `[NOT] DEFERRABLE` in the text of a statement that has transaction modes: the syntax tree has no place for it.
fn deferrable(text: &str) -> Option<bool> {
    let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let mut before = "";
    words.by_ref().fold(None, |found, word| {
        let is = word.eq_ignore_ascii_case("deferrable").then(|| !before.eq_ignore_ascii_case("not"));
        before = word;
        is.or(found)
    })
}

/// The modes of a statement with this text.
pub(super) fn modes(modes: &[TransactionMode], text: &str) -> Result<Modes> {
    let mut wanted = Modes { deferrable: deferrable(text), ..Modes::default() };
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(mode) => wanted.read_only = Some(*mode == TransactionAccessMode::ReadOnly),
            TransactionMode::IsolationLevel(level) => {
                wanted.level = Some(match level {
                    TransactionIsolationLevel::ReadUncommitted => Level::ReadUncommitted,
                    TransactionIsolationLevel::ReadCommitted => Level::ReadCommitted,
                    TransactionIsolationLevel::RepeatableRead => Level::RepeatableRead,
                    TransactionIsolationLevel::Serializable => Level::Serializable,
                    TransactionIsolationLevel::Snapshot => return Err(Error::unsupported("ISOLATION LEVEL SNAPSHOT")),
                });
            }
        }
    }
    Ok(wanted)
}

fn isolation_too_late() -> Error {
    Error::new(ErrorKind::ActiveSqlTransaction, "SET TRANSACTION ISOLATION LEVEL must be called before any query")
}

fn read_write_too_late() -> Error {
    Error::new(ErrorKind::ActiveSqlTransaction, "transaction read-write mode must be set before any query")
}

fn no_block(statement: &str) -> Error {
    let message = format!("{statement} can only be used in transaction blocks");
    Error::new(ErrorKind::NoActiveSqlTransaction, message)
}

impl Session {
    pub(super) fn begin(&mut self, wanted: Modes) -> Result<()> {
        match &mut self.block {
            Some(block) if block.explicit => {
                self.warning(ErrorKind::ActiveSqlTransaction, "there is already a transaction in progress");
                // What it asks for counts nevertheless.
                self.set_transaction(wanted, Company::None)
            }
            // An implicit transaction that has done something becomes the block, as in Postgres.
            Some(block) if block.used => {
                block.explicit = true;
                if block.read_only && wanted.read_only == Some(false) {
                    return Err(read_write_too_late());
                }
                if wanted.level.is_some_and(|level| level != block.level) {
                    return Err(isolation_too_late());
                }
                block.read_only = wanted.read_only.unwrap_or(block.read_only);
                block.deferrable = wanted.deferrable.unwrap_or(block.deferrable);
                self.show_characteristics();
                Ok(())
            }
            _ => {
                let usual = self.shared.settings.lock().characteristics();
                self.restart_block(wanted.or(usual), true);
                Ok(())
            }
        }
    }

    pub(super) async fn commit(&mut self, chain: bool) -> Result<StatementResult> {
        if chain {
            self.explicit_block("COMMIT AND CHAIN")?;
        }
        let Some(block) = &self.block else {
            self.warning(ErrorKind::NoActiveSqlTransaction, "there is no transaction in progress");
            self.end_cursors();
            return done("COMMIT");
        };
        let (failed, characteristics) = (block.failed, block.characteristics());
        if !block.explicit {
            self.warning(ErrorKind::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        if failed {
            self.rollback_block().await;
        } else {
            self.commit_block().await?;
        }
        self.end_cursors();
        if chain {
            self.start_block(characteristics, true);
        }
        done(if failed { "ROLLBACK" } else { "COMMIT" })
    }

    pub(super) async fn rollback(&mut self, chain: bool) -> Result<StatementResult> {
        if chain {
            self.explicit_block("ROLLBACK AND CHAIN")?;
        }
        let again = self.block.as_ref().map(|b| (b.explicit, b.characteristics()));
        if !again.is_some_and(|(explicit, _)| explicit) {
            self.warning(ErrorKind::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        self.rollback_block().await;
        self.end_cursors();
        if let (true, Some((_, characteristics))) = (chain, again) {
            self.start_block(characteristics, true);
        }
        done("ROLLBACK")
    }

    /// Whether a statement shares its transaction with those that come before and after it.
    pub(super) fn shares_block(&self, company: Company) -> bool {
        company == Company::String || self.block.as_ref().is_some_and(|block| block.explicit)
    }

    /// 25P01 for a statement that would have effects only on its own transaction.
    pub(super) fn require_block(&self, statement: &str, company: Company) -> Result<()> {
        if self.shares_block(company) { Ok(()) } else { Err(no_block(statement)) }
    }

    pub(super) fn explicit_block(&mut self, statement: &str) -> Result<&mut super::transaction::Block> {
        match &mut self.block {
            Some(block) if block.explicit => Ok(block),
            _ => Err(no_block(statement)),
        }
    }

    pub(super) fn savepoint(&mut self, name: String) -> Result<StatementResult> {
        let settings = self.shared.settings.lock().clone();
        let advisory = self.shared.advisory.mark();
        let last_portal = self.portals.last();
        let block = self.explicit_block("SAVEPOINT")?;
        if block.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Error::new(ErrorKind::ProgramLimitExceeded, "too many savepoints in this transaction"));
        }
        let id = block.store.savepoint();
        block.savepoints.push(NamedSavepoint {
            name,
            id,
            settings,
            catalog: block.catalog.clone(),
            jobs: block.jobs.len(),
            deferred: block.deferred.mark(),
            last_portal,
            advisory,
        });
        done("SAVEPOINT")
    }

    fn find_savepoint(&mut self, statement: &str, name: &str) -> Result<usize> {
        let block = self.explicit_block(statement)?;
        block.savepoints.iter().rposition(|s| s.name == name).ok_or_else(|| {
            Error::new(ErrorKind::InvalidSavepointSpecification, format!("savepoint \"{name}\" does not exist"))
        })
    }

    pub(super) fn release(&mut self, name: &str) -> Result<StatementResult> {
        let at = self.find_savepoint("RELEASE SAVEPOINT", name)?;
        let block = self.explicit_block("RELEASE SAVEPOINT")?;
        block.store.release(block.savepoints[at].id);
        block.savepoints.truncate(at);
        done("RELEASE")
    }

    pub(super) fn rollback_to(&mut self, name: &str) -> Result<StatementResult> {
        let at = self.find_savepoint("ROLLBACK TO SAVEPOINT", name)?;
        let block = self.explicit_block("ROLLBACK TO SAVEPOINT")?;
        block.savepoints.truncate(at + 1);
        block.failed = false;
        self.return_to_last_savepoint();
        done("ROLLBACK")
    }

    /// Undoes what came after the youngest savepoint, which stays; nothing without one.
    pub(super) fn return_to_last_savepoint(&mut self) {
        let Some(block) = &mut self.block else { return };
        let Some(savepoint) = block.savepoints.last() else { return };
        block.store.rollback_to(savepoint.id);
        block.catalog = savepoint.catalog.clone();
        block.jobs.truncate(savepoint.jobs);
        block.deferred.undo_to(&savepoint.deferred, &mut block.store);
        let (advisory, last_portal) = (savepoint.advisory, savepoint.last_portal);
        let settings = savepoint.settings.clone();
        self.shared.settings.lock().return_to(settings);
        self.shared.advisory.undo_to(advisory);
        self.close_younger(last_portal);
        self.publish_catalog();
    }

    pub(super) fn set_transaction(&mut self, wanted: Modes, company: Company) -> Result<()> {
        if self.block.is_none() && !self.shares_block(company) {
            self.warning(ErrorKind::NoActiveSqlTransaction, "SET TRANSACTION can only be used in transaction blocks");
            return Ok(());
        }
        let block = self.ensure_block();
        if wanted.level.is_some_and(|level| block.used && level != block.level) {
            return Err(isolation_too_late());
        }
        if wanted.read_only == Some(false) && block.read_only && block.used {
            return Err(read_write_too_late());
        }
        if wanted.deferrable.is_some() && block.used {
            let message = "SET TRANSACTION [NOT] DEFERRABLE must be called before any query";
            return Err(Error::new(ErrorKind::ActiveSqlTransaction, message));
        }
        let nested = !block.savepoints.is_empty();
        let within = |message: &str| Err(Error::new(ErrorKind::ActiveSqlTransaction, message));
        if nested && wanted.level.is_some_and(|level| level != block.level) {
            return within("SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction");
        }
        if nested && wanted.read_only == Some(false) && block.read_only {
            return within("cannot set transaction read-write mode inside a read-only transaction");
        }
        if nested && wanted.deferrable.is_some() {
            return within("SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction");
        }
        let characteristics = wanted.or(block.characteristics());
        let explicit = block.explicit;
        if block.used || nested {
            block.read_only = characteristics.read_only;
            self.show_characteristics();
            return Ok(());
        }
        self.restart_block(characteristics, explicit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::deferrable;

    #[test]
    fn deferrable_is_read_from_the_text() {
        assert_eq!(deferrable("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"), Some(true));
        assert_eq!(deferrable("begin not deferrable"), Some(false));
        assert_eq!(deferrable("BEGIN READ ONLY"), None);
    }
}
