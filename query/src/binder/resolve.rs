//! Postgres's choice among overloaded operators and functions, and of a common type
//! (manual, chapter 10; `func_select_candidate` in `parse_func.c`, `select_common_type` in `parse_coerce.c`).

use stratos_types::{Error, ErrorKind, PgType, Result, TypeCategory};

use crate::functions::{ArgType, ReturnType};
use stratos_types::{CastContext, cast_kind};

/// Outcome of a choice among candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Index of the best candidate.
    One(usize),
    /// Nothing accepts the arguments.
    None,
    /// Several are equally good.
    Ambiguous,
}

/// Whether a value of type `from` is taken where `to` is wanted, without anybody asking for it.
pub(crate) fn implicitly(from: PgType, to: PgType) -> bool {
    from == to || from == PgType::Unknown || cast_kind(from, to) == Some(CastContext::Implicit)
}

fn accepts(actual: PgType, formal: ArgType) -> bool {
    match formal {
        ArgType::Is(ty) => implicitly(actual, ty),
        ArgType::AnyElement | ArgType::Compatible | ArgType::Any => true,
        ArgType::AnyNonArray => actual.element().is_none(),
        ArgType::AnyArray | ArgType::CompatibleArray => actual == PgType::Unknown || actual.element().is_some(),
    }
}

fn category(formal: ArgType) -> (TypeCategory, bool) {
    match formal {
        ArgType::Is(ty) => (ty.category(), ty.is_preferred()),
        _ => (TypeCategory::Pseudo, false),
    }
}

/// Polymorphic arguments must agree on one element type.
fn consistent(actual: &[PgType], formal: &[ArgType]) -> bool {
    element_type(actual, formal).is_ok()
}

/// The element type that polymorphic arguments agree on; `None` when there are no polymorphic arguments or none is known.
fn element_type(actual: &[PgType], formal: &[ArgType]) -> Result<Option<PgType>> {
    let mut found: Vec<(PgType, bool)> = Vec::new();
    for (a, f) in actual.iter().zip(formal) {
        if *a == PgType::Unknown {
            continue;
        }
        match f {
            ArgType::AnyElement | ArgType::AnyNonArray => found.push((*a, true)),
            ArgType::AnyArray => found.extend(a.element().map(|element| (element, true))),
            ArgType::Compatible => found.push((*a, false)),
            ArgType::CompatibleArray => found.extend(a.element().map(|element| (element, false))),
            ArgType::Is(_) | ArgType::Any => {}
        }
    }
    let Some((mut best, _)) = found.first().copied() else {
        return Ok(None);
    };
    for (ty, exact) in found {
        if ty == best || !exact && implicitly(ty, best) {
            continue;
        }
        if !exact && implicitly(best, ty) {
            best = ty;
        } else {
            return Err(Error::new(ErrorKind::DatatypeMismatch, "arguments declared \"anyelement\" are not all alike")
                .with_detail(format!("{best} versus {ty}")));
        }
    }
    Ok(Some(best))
}

/// Chooses among candidates, each given by its argument types (as many as the actual ones).
pub(crate) fn choose(actual: &[PgType], candidates: &[Vec<ArgType>]) -> Choice {
    let exact = |types: &[PgType]| {
        candidates.iter().position(|c| {
            c.iter().zip(types).all(|(f, a)| *f == ArgType::Is(*a) && *a != PgType::Unknown)
                || (types.is_empty() && c.is_empty())
        })
    };
    if let Some(i) = exact(actual) {
        return Choice::One(i);
    }
    let mut left: Vec<usize> = (0..candidates.len())
        .filter(|i| {
            let c = &candidates[*i];
            actual.iter().zip(c).all(|(a, f)| accepts(*a, *f)) && consistent(actual, c)
        })
        .collect();
    match left.as_slice() {
        [] => return Choice::None,
        [one] => return Choice::One(*one),
        _ => {}
    }
    // Most exact matches.
    keep_best(&mut left, |i| count(actual, &candidates[i], |a, f| f == ArgType::Is(a)));
    if let [one] = left.as_slice() {
        return Choice::One(*one);
    }
    // Most exact matches or preferred types of the argument's category.
    keep_best(&mut left, |i| {
        count(actual, &candidates[i], |a, f| {
            f == ArgType::Is(a) || {
                let (c, preferred) = category(f);
                preferred && c == a.category()
            }
        })
    });
    if let [one] = left.as_slice() {
        return Choice::One(*one);
    }
    if !actual.contains(&PgType::Unknown) {
        return Choice::Ambiguous;
    }
    by_category(actual, candidates, &mut left);
    if let [one] = left.as_slice() {
        return Choice::One(*one);
    }
    // All known arguments of one type: assume that of the unknown ones too.
    let mut known = actual.iter().copied().filter(|t| *t != PgType::Unknown);
    if let Some(first) = known.next()
        && known.all(|t| t == first)
    {
        let fitting: Vec<usize> = left
            .iter()
            .copied()
            .filter(|i| actual.iter().zip(&candidates[*i]).all(|(a, f)| *a != PgType::Unknown || accepts(first, *f)))
            .collect();
        if let [one] = fitting.as_slice() {
            return Choice::One(*one);
        }
    }
    Choice::Ambiguous
}

fn count(actual: &[PgType], formal: &[ArgType], good: impl Fn(PgType, ArgType) -> bool) -> usize {
    actual.iter().zip(formal).filter(|(a, f)| **a != PgType::Unknown && good(**a, **f)).count()
}

fn keep_best(left: &mut Vec<usize>, score: impl Fn(usize) -> usize) {
    let best = left.iter().map(|i| score(*i)).max().unwrap_or(0);
    left.retain(|i| score(*i) == best);
}

/// Steps 4.e: unknown literals take the string category if some candidate does, else the one on which all agree.
fn by_category(actual: &[PgType], candidates: &[Vec<ArgType>], left: &mut Vec<usize>) {
    let mut wanted: Vec<Option<(TypeCategory, bool)>> = vec![None; actual.len()];
    for (n, a) in actual.iter().enumerate() {
        if *a != PgType::Unknown {
            continue;
        }
        let mut slot: Option<(TypeCategory, bool)> = None;
        let mut conflict = false;
        for i in left.iter() {
            let (c, preferred) = category(candidates[*i][n]);
            slot = Some(match slot {
                None => (c, preferred),
                Some((s, p)) if s == c => (s, p || preferred),
                Some(_) if c == TypeCategory::String => (c, preferred),
                Some(kept) => {
                    conflict = true;
                    kept
                }
            });
        }
        if conflict && slot.map(|(c, _)| c) != Some(TypeCategory::String) {
            return;
        }
        wanted[n] = slot;
    }
    let kept: Vec<usize> = left
        .iter()
        .copied()
        .filter(|i| {
            wanted.iter().enumerate().all(|(n, w)| match w {
                None => true,
                Some((c, preferred)) => {
                    let (own, own_preferred) = category(candidates[*i][n]);
                    own == *c && (!preferred || own_preferred)
                }
            })
        })
        .collect();
    if !kept.is_empty() {
        *left = kept;
    }
}

/// Types that the arguments are cast to (`None`: left as they are) and the result's type.
pub(crate) fn settle(actual: &[PgType], formal: &[ArgType], ret: ReturnType) -> Result<(Vec<Option<PgType>>, PgType)> {
    let element = element_type(actual, formal)?;
    let undetermined = || {
        Error::new(ErrorKind::DatatypeMismatch, "could not determine polymorphic type because input has type unknown")
    };
    // Nothing known: compatible arguments are text.
    let compatible = formal.iter().any(|f| matches!(f, ArgType::Compatible | ArgType::CompatibleArray));
    let element = element.or(compatible.then_some(PgType::Text));
    let array = element.and_then(PgType::array);
    let mut targets = Vec::with_capacity(formal.len());
    for (a, f) in actual.iter().zip(formal) {
        targets.push(match f {
            ArgType::Is(ty) => Some(*ty),
            ArgType::Any => None,
            ArgType::AnyElement | ArgType::AnyNonArray | ArgType::Compatible => Some(element.ok_or_else(undetermined)?),
            // int2vector and oidvector are taken as they are.
            ArgType::AnyArray if matches!(a, PgType::Int2Vector | PgType::OidVector) => Some(*a),
            ArgType::AnyArray | ArgType::CompatibleArray => Some(array.ok_or_else(undetermined)?),
        });
    }
    let ret = match ret {
        ReturnType::Is(ty) => ty,
        ReturnType::AnyElement | ReturnType::Compatible => element.ok_or_else(undetermined)?,
        ReturnType::AnyArray | ReturnType::CompatibleArray => array.ok_or_else(undetermined)?,
    };
    Ok((targets, ret))
}

/// The type that UNION, CASE, COALESCE, VALUES and the like give; `context` words the error.
pub(crate) fn common_type(types: &[PgType], context: &str) -> Result<PgType> {
    let Some(first) = types.first().copied() else {
        return Ok(PgType::Text);
    };
    if types.iter().all(|t| *t == first) && first != PgType::Unknown {
        return Ok(first);
    }
    let mut best = first;
    for ty in types.iter().copied().skip(1) {
        if ty == PgType::Unknown || ty == best {
            continue;
        }
        if best == PgType::Unknown {
            best = ty;
        } else if best.category() != ty.category() {
            return Err(Error::new(
                ErrorKind::DatatypeMismatch,
                format!("{context} types {best} and {ty} cannot be matched"),
            ));
        } else if !best.is_preferred() && implicitly(best, ty) && !implicitly(ty, best) {
            best = ty;
        }
    }
    Ok(if best == PgType::Unknown { PgType::Text } else { best })
}
