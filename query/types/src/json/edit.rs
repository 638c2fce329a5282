//! Changing jsonb: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`, assignment to a part.

use super::parse::{Escapes, Json, MAX_DEPTH, parse, sort_members};
use super::{invalid, position, text_of};
use crate::{Error, ErrorKind, Result};

/// `jsonb || jsonb`
///
/// # Errors
/// Text that is no jsonb.
pub fn concat(a: &str, b: &str) -> Result<String> {
    let joined = match (parse(a, Escapes::Text)?, parse(b, Escapes::Text)?) {
        (Json::Object(mut a), Json::Object(b)) => {
            a.extend(b);
            sort_members(&mut a);
            Json::Object(a)
        }
        (Json::Array(mut a), Json::Array(b)) => {
            a.extend(b);
            Json::Array(a)
        }
        (Json::Array(mut a), b) => {
            a.push(b);
            Json::Array(a)
        }
        (a, Json::Array(b)) => {
            let mut all = vec![a];
            all.extend(b);
            Json::Array(all)
        }
        (a, b) => Json::Array(vec![a, b]),
    };
    Ok(text_of(&joined))
}

/// `jsonb - text`
///
/// # Errors
/// 22023 from a scalar.
pub fn delete_key(a: &str, key: &str) -> Result<String> {
    delete_keys(a, &[key])
}

/// `jsonb - text[]`
///
/// # Errors
/// 22023 from a scalar.
pub fn delete_keys(a: &str, keys: &[&str]) -> Result<String> {
    let kept = match parse(a, Escapes::Text)? {
        Json::Object(mut members) => {
            members.retain(|(k, _)| !keys.contains(&k.as_str()));
            Json::Object(members)
        }
        Json::Array(mut items) => {
            items.retain(|v| !matches!(v, Json::String(s) if keys.contains(&s.as_str())));
            Json::Array(items)
        }
        _ => return Err(invalid("cannot delete from scalar")),
    };
    Ok(text_of(&kept))
}

/// `jsonb - integer`
///
/// # Errors
/// 22023 from a scalar or an object.
pub fn delete_index(a: &str, index: i32) -> Result<String> {
    match parse(a, Escapes::Text)? {
        Json::Array(mut items) => {
            if let Some(at) = position(index, items.len()) {
                items.remove(at);
            }
            Ok(text_of(&Json::Array(items)))
        }
        Json::Object(_) => Err(invalid("cannot delete from object using integer index")),
        _ => Err(invalid("cannot delete from scalar")),
    }
}

enum Action<'a> {
    Delete,
    Set { value: &'a Json, create: bool },
    Insert { value: &'a Json, after: bool },
}

fn change(target: &mut Json, path: &[&str], depth: usize, action: &Action<'_>) -> Result<()> {
    let Some(step) = path.get(depth) else {
        return Ok(());
    };
    let last = depth + 1 == path.len();
    match target {
        Json::Object(members) => {
            let found = members.iter().position(|(k, _)| k == step);
            match (found, action) {
                (Some(at), _) if !last => change(&mut members[at].1, path, depth + 1, action)?,
                (Some(at), Action::Delete) => {
                    members.remove(at);
                }
                (Some(at), Action::Set { value, .. }) => members[at].1 = (*value).clone(),
                (Some(_), Action::Insert { .. }) => {
                    return Err(invalid("cannot replace existing key")
                        .with_hint("Try using the function jsonb_set to replace key value."));
                }
                (None, Action::Set { value, create: true } | Action::Insert { value, .. }) if last => {
                    members.push(((*step).to_owned(), (*value).clone()));
                    sort_members(members);
                }
                _ => {}
            }
        }
        Json::Array(items) => {
            let index: i32 = step.trim().parse().map_err(|_| {
                Error::new(
                    ErrorKind::InvalidTextRepresentation,
                    format!("path element at position {} is not an integer: \"{step}\"", depth + 1),
                )
            })?;
            let found = position(index, items.len());
            match (found, action) {
                (Some(at), _) if !last => change(&mut items[at], path, depth + 1, action)?,
                (Some(at), Action::Delete) => {
                    items.remove(at);
                }
                (Some(at), Action::Set { value, .. }) => items[at] = (*value).clone(),
                (Some(at), Action::Insert { value, after }) => {
                    items.insert(at + usize::from(*after), (*value).clone());
                }
                (None, Action::Set { value, create: true } | Action::Insert { value, .. }) if last => {
                    let at = if index < 0 { 0 } else { items.len() };
                    items.insert(at, (*value).clone());
                }
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

fn edit(a: &str, path: &[&str], action: &Action<'_>, scalar_message: &str) -> Result<String> {
    let mut target = parse(a, Escapes::Text)?;
    if !matches!(target, Json::Array(_) | Json::Object(_)) {
        return Err(invalid(scalar_message));
    }
    let is_empty = match &target {
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    };
    // Where nothing is there to be changed, no step of the path is looked at.
    let adds = !matches!(action, Action::Delete | Action::Set { create: false, .. });
    if adds || !is_empty {
        change(&mut target, path, 0, action)?;
    }
    Ok(text_of(&target))
}

/// `jsonb #- text[]`
///
/// # Errors
/// 22023 from a scalar.
pub fn delete_path(a: &str, path: &[&str]) -> Result<String> {
    edit(a, path, &Action::Delete, "cannot delete path in scalar")
}

/// `jsonb_set(target, path, value, create_if_missing)`
///
/// # Errors
/// 22023 for a scalar, 22P02 for a step into an array that is no integer.
pub fn set(a: &str, path: &[&str], value: &str, create: bool) -> Result<String> {
    let value = &parse(value, Escapes::Text)?;
    edit(a, path, &Action::Set { value, create }, "cannot set path in scalar")
}

/// `jsonb_insert(target, path, value, insert_after)`
///
/// # Errors
/// As [`set`]; 22023 for a key that exists.
pub fn insert(a: &str, path: &[&str], value: &str, after: bool) -> Result<String> {
    let value = &parse(value, Escapes::Text)?;
    edit(a, path, &Action::Insert { value, after }, "cannot set path in scalar")
}

/// Most elements that an array gets because a step of an assignment lies behind its end.
const FILLED_MAX: usize = 1 << 20;

/// The index that a step into an array is.
fn index_of(step: &str, depth: usize) -> Result<i32> {
    step.trim_start().parse().map_err(|_| {
        let message = format!("path element at position {} is not an integer: \"{step}\"", depth + 1);
        Error::new(ErrorKind::InvalidTextRepresentation, message)
    })
}

/// Makes an array so long by nulls.
fn fill(items: &mut Vec<Json>, length: usize) -> Result<()> {
    if length > FILLED_MAX {
        let message = format!("number of jsonb array elements exceeds the maximum allowed ({FILLED_MAX})");
        return Err(Error::new(ErrorKind::ProgramLimitExceeded, message));
    }
    if items.len() < length {
        items.resize(length, Json::Null);
    }
    Ok(())
}

/// What is made for the steps of a path of which nothing is there: an array for an integer, an object for another one.
fn made(path: &[&str], value: &Json) -> Result<Json> {
    let mut made = value.clone();
    for step in path.iter().rev() {
        made = match step.trim_start().parse::<i32>() {
            Ok(index) => {
                let mut items = Vec::new();
                fill(&mut items, usize::try_from(index).unwrap_or(0))?;
                items.push(made);
                Json::Array(items)
            }
            Err(_) => Json::Object(vec![((*step).to_owned(), made)]),
        };
    }
    Ok(made)
}

fn put(target: &mut Json, path: &[&str], depth: usize, value: &Json) -> Result<()> {
    let Some((step, rest)) = path.get(depth..).and_then(<[&str]>::split_first) else {
        *target = value.clone();
        return Ok(());
    };
    match target {
        Json::Object(members) => match members.iter().position(|(name, _)| name == step) {
            Some(at) => put(&mut members[at].1, path, depth + 1, value),
            None => {
                members.push(((*step).to_owned(), made(rest, value)?));
                sort_members(members);
                Ok(())
            }
        },
        Json::Array(items) => {
            let index = index_of(step, depth)?;
            let at = match usize::try_from(index) {
                Ok(at) => at,
                Err(_) => position(index, items.len()).ok_or_else(|| {
                    invalid(&format!("path element at position {} is out of range: {index}", depth + 1))
                })?,
            };
            if let Some(item) = items.get_mut(at) {
                return put(item, path, depth + 1, value);
            }
            fill(items, at)?;
            items.push(made(rest, value)?);
            Ok(())
        }
        _ => Err(invalid("cannot replace existing key")
            .with_detail("The path assumes key is a composite object, but it is a scalar value.")),
    }
}

/// `SET target['b'][2] = value`: what the path leads to is replaced. What is missing on its way is made, and gaps in arrays are
/// filled with nulls.
///
/// # Errors
/// 22023 for a path through a scalar or before the beginning of an array, 22P02 for a step into an array that is no integer,
/// 54000 and 54001 for arrays that get too long, and paths that are.
pub fn assign(target: &str, path: &[&str], value: &str) -> Result<String> {
    if path.len() > MAX_DEPTH as usize {
        return Err(Error::new(ErrorKind::StatementTooComplex, "a path with too many steps"));
    }
    let value = parse(value, Escapes::Text)?;
    let mut target = parse(target, Escapes::Text)?;
    put(&mut target, path, 0, &value)?;
    Ok(text_of(&target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_where_paths_lead() {
        for (target, path, meant) in [
            (r#"{"a":1}"#, &["a"][..], r#"{"a": 9}"#),
            ("{}", &["a", "1", "b"], r#"{"a": [null, {"b": 9}]}"#),
            ("[1, 2]", &["-1"], "[1, 9]"),
            ("[1]", &["3"], "[1, null, null, 9]"),
            ("[[]]", &["0", "0"], "[[9]]"),
        ] {
            assert_eq!(assign(target, path, "9").unwrap(), meant, "{target} {path:?}");
        }
        for (target, path, kind) in [
            ("5", &["a"][..], ErrorKind::InvalidParameterValue),
            (r#"{"a": 1}"#, &["a", "b"], ErrorKind::InvalidParameterValue),
            ("[1]", &["-2"], ErrorKind::InvalidParameterValue),
            ("[1]", &["x"], ErrorKind::InvalidTextRepresentation),
            ("[1]", &["2000000000"], ErrorKind::ProgramLimitExceeded),
            ("{}", &["a"; 1000], ErrorKind::StatementTooComplex),
        ] {
            assert_eq!(assign(target, path, "9").unwrap_err().kind(), kind, "{target} {path:?}");
        }
    }
}
