//! Changing jsonb: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`.

use super::parse::{Json, parse, sort_members};
use super::{invalid, position, text_of};
use crate::{Error, ErrorKind, Result};

/// `jsonb || jsonb`
///
/// # Errors
/// Text that is no jsonb.
pub fn concat(a: &str, b: &str) -> Result<String> {
    let joined = match (parse(a, true)?, parse(b, true)?) {
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
    let kept = match parse(a, true)? {
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
    match parse(a, true)? {
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
    let mut target = parse(a, true)?;
    if !matches!(target, Json::Array(_) | Json::Object(_)) {
        return Err(invalid(scalar_message));
    }
    change(&mut target, path, 0, action)?;
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
    let value = &parse(value, true)?;
    edit(a, path, &Action::Set { value, create }, "cannot set path in scalar")
}

/// `jsonb_insert(target, path, value, insert_after)`
///
/// # Errors
/// As [`set`]; 22023 for a key that exists.
pub fn insert(a: &str, path: &[&str], value: &str, after: bool) -> Result<String> {
    let value = &parse(value, true)?;
    edit(a, path, &Action::Insert { value, after }, "cannot set path in scalar")
}
