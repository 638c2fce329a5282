//! How long values may get that functions make.

use std::cell::Cell;

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use crate::session::EvalContext;

/// Most bytes that one value may have. Postgres allows a gigabyte; a value is copied several times on its way to the client.
const VALUE_BYTES_MAX: usize = 256 << 20;
/// Most bytes of a value that is computed while a plan is made: what becomes a constant of the plan is copied by each pass over
/// it. An expression that gives more is computed when the plan runs.
const PLANNED_BYTES_MAX: usize = 1 << 20;
/// A value of so many bytes took a while: somebody may have given up the statement meanwhile.
const LONG_BYTES: usize = 1 << 20;
/// Most values that a function collects, lest they should take more memory than the longest text.
pub(super) const COLLECTED_MAX: usize = 4 << 20;

/// Name of the function that takes what LIMIT was given; no identifier that anybody writes.
pub const LIMIT_COUNT: &str = "limit count";
/// The same of OFFSET.
pub const OFFSET_COUNT: &str = "offset count";

fn count(value: &Datum, kind: ErrorKind, clause: &str) -> Result<Datum> {
    match value {
        Datum::Int8(count) if *count < 0 => Err(Error::new(kind, format!("{clause} must not be negative"))),
        value => Ok(value.clone()),
    }
}

/// A number of rows for LIMIT.
pub(super) fn limit_count(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    count(&a[0], ErrorKind::InvalidRowCountInLimit, "LIMIT")
}

/// A number of rows for OFFSET.
pub(super) fn offset_count(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    count(&a[0], ErrorKind::InvalidRowCountInOffset, "OFFSET")
}

thread_local! {
    static PLANNING: Cell<bool> = const { Cell::new(false) };
}

/// Most bytes that a value may have now.
pub(super) fn value_bytes_max() -> usize {
    if PLANNING.get() { PLANNED_BYTES_MAX } else { VALUE_BYTES_MAX }
}

/// Runs the optimizer, which computes what is constant, and leaves as it is what fails.
pub(crate) fn while_planning<T>(work: impl FnOnce() -> T) -> T {
    /// Restores what was before, also when the work panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            PLANNING.set(self.0);
        }
    }
    let _restore = Restore(PLANNING.replace(true));
    work()
}

/// 54000.
pub(super) fn too_long() -> Error {
    Error::new(ErrorKind::ProgramLimitExceeded, "requested length too large")
}

/// What a function gave, unless it is too long, or took so long that nobody waits for it.
///
/// # Errors
/// 54000, 57014.
pub(crate) fn of_fair_length(ctx: &EvalContext, value: Datum) -> Result<Datum> {
    let bytes = match &value {
        Datum::Text(s) | Datum::Jsonb(s) => s.len(),
        Datum::Bytea(b) => b.len(),
        _ => 0,
    };
    if bytes > LONG_BYTES {
        ctx.check_canceled()?;
        if bytes > value_bytes_max() {
            return Err(too_long());
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::functions::pattern::all_matches;
    use crate::session::NoSession;

    #[test]
    fn long_work_ends_when_nobody_waits_for_it() {
        let ctx = NoSession::context();
        let args = |length| ["x".repeat(length), "x".to_owned(), "g".to_owned()].map(Datum::text);
        assert_eq!(all_matches(&ctx, &args(5_000)).unwrap().len(), 5_000);
        ctx.given_up.store(true, Ordering::Relaxed);
        assert_eq!(all_matches(&ctx, &args(5_000)).unwrap_err().kind(), ErrorKind::QueryCanceled);
        assert_eq!(all_matches(&ctx, &args(50)).unwrap().len(), 50);
        let gave = |length| of_fair_length(&ctx, Datum::text("x".repeat(length)));
        assert!(gave(LONG_BYTES).is_ok());
        assert_eq!(gave(LONG_BYTES + 1).unwrap_err().kind(), ErrorKind::QueryCanceled);
    }

    #[test]
    fn plans_take_in_shorter_values_only_while_they_are_made() {
        assert_eq!(value_bytes_max(), VALUE_BYTES_MAX);
        while_planning(|| {
            assert_eq!(value_bytes_max(), PLANNED_BYTES_MAX);
            while_planning(|| ());
            assert_eq!(value_bytes_max(), PLANNED_BYTES_MAX);
        });
        assert!(std::panic::catch_unwind(|| while_planning(|| panic!("on the way"))).is_err());
        assert_eq!(value_bytes_max(), VALUE_BYTES_MAX);
    }
}
