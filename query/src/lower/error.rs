//! Our errors through DataFusion and back.

use std::any::Any;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use stratos_types::{Error, ErrorKind};

use crate::arrow::column_too_large;

/// Wraps one of our errors so that [`error_from`] finds it again.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What a failed plan answers with: our own error if one travelled through, else the nearest condition.
pub fn error_from(error: DataFusionError) -> Error {
    from_ref(&error)
}

/// What a client is told of an error inside of DataFusion that is none of ours.
const INCONSISTENT: &str = "the plan of the statement is inconsistent";

/// How deeply errors wrap each other before we give up looking inside.
const NESTING_MAX: usize = 64;

fn from_ref(error: &DataFusionError) -> Error {
    find(error, 0).unwrap_or_else(|| {
        // A fault of ours or of DataFusion; what it says is for who mends it, not for who asked.
        tracing::error!(%error, "a plan or its execution failed");
        Error::internal(INCONSISTENT)
    })
}

fn find(error: &DataFusionError, depth: usize) -> Option<Error> {
    if depth > NESTING_MAX {
        return None;
    }
    match error {
        DataFusionError::External(inner) => from_any(inner.as_ref(), depth),
        DataFusionError::ArrowError(inner, _) => from_arrow(inner, depth),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => find(inner, depth + 1),
        DataFusionError::Shared(inner) => find(inner, depth + 1),
        DataFusionError::Collection(errors) => errors.iter().find_map(|e| find(e, depth + 1)),
        DataFusionError::ResourcesExhausted(message) => {
            let kind = if message.contains("disk") { ErrorKind::DiskFull } else { ErrorKind::OutOfMemory };
            Some(Error::new(kind, "out of memory").with_detail(message.lines().next().unwrap_or_default()))
        }
        DataFusionError::IoError(inner) => Some(from_io(inner, depth)),
        DataFusionError::NotImplemented(what) => Some(Error::unsupported(what)),
        _ => None,
    }
}

fn from_any(error: &(dyn std::error::Error + Send + Sync + 'static), depth: usize) -> Option<Error> {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return Some(ours.clone());
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return find(inner, depth + 1);
    }
    error.downcast_ref::<ArrowError>().and_then(|inner| from_arrow(inner, depth + 1))
}

fn from_arrow(error: &ArrowError, depth: usize) -> Option<Error> {
    match error {
        ArrowError::ExternalError(inner) => from_any(inner.as_ref(), depth + 1),
        ArrowError::DivideByZero => Some(Error::division_by_zero()),
        ArrowError::ArithmeticOverflow(_) => Some(Error::out_of_range("value")),
        ArrowError::IoError(_, inner) => Some(from_io(inner, depth)),
        ArrowError::OffsetOverflowError(_) => Some(column_too_large()),
        _ => None,
    }
}

/// What a panic while a query runs says; none where it says nothing that anybody but us could understand. Arrow panics where a
/// column's offsets overflow.
pub(super) fn from_panic(panic: &(dyn Any + Send)) -> Option<Error> {
    let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied())?;
    message.contains("offset overflow").then(column_too_large)
}

fn from_io(error: &std::io::Error, depth: usize) -> Error {
    // What writes to the disk wraps the disk's own error.
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<DataFusionError>());
    if let Some(inner) = inner.and_then(|inner| find(inner, depth + 1)) {
        return inner;
    }
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::DiskFull } else { ErrorKind::IoError };
    Error::new(kind, format!("could not spill to disk: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_error_survives_wrapping() {
        let ours = Error::division_by_zero().with_detail("d");
        let wrapped = DataFusionError::Shared(std::sync::Arc::new(
            DataFusionError::ArrowError(
                Box::new(ArrowError::ExternalError(Box::new(to_datafusion(ours.clone())))),
                None,
            )
            .context("while running"),
        ));
        assert_eq!(error_from(wrapped), ours);
    }

    #[test]
    fn faults_inside_are_not_explained_to_clients() {
        let error = error_from(DataFusionError::Internal("a file and a line".into()));
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::InternalError, "internal error: the plan of the statement is inconsistent")
        );
    }

    #[test]
    fn a_full_disk_is_53100_however_deep_inside() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let wrapped = std::io::Error::other(DataFusionError::IoError(full));
        let error =
            error_from(DataFusionError::ArrowError(Box::new(ArrowError::IoError("writing".to_owned(), wrapped)), None));
        assert_eq!(error.kind(), ErrorKind::DiskFull);
    }

    #[test]
    fn exhausted_memory_is_53200() {
        let error = DataFusionError::ResourcesExhausted("Failed to allocate 1 MB".into());
        assert_eq!(error_from(error).kind(), ErrorKind::OutOfMemory);
    }
}
