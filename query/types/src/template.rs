//! What the templates of `to_char` and its kin have in common, of dates (`datetime/template.rs`) and of numbers
//! (`numeric/template.rs`) alike.

use std::str::Chars;

/// The pattern that a text begins with, out of a list in which the longer ones stand before their prefixes: its key, how it is
/// written, and whether that is as listed rather than the same in lower case.
pub(crate) fn pattern<'a, K: Copy>(patterns: &[(&str, K)], text: &'a str) -> Option<(K, &'a str, bool)> {
    patterns.iter().find_map(|(name, key)| {
        let written = text.get(..name.len())?;
        let as_listed = written == *name;
        let in_lower_case = written.eq_ignore_ascii_case(name) && !written.bytes().any(|b| b.is_ascii_uppercase());
        (as_listed || in_lower_case).then_some((*key, written, as_listed))
    })
}

/// Gives `each` the characters up to the closing quote; a backslash takes the character behind it as it is.
pub(crate) fn quoted(chars: &mut Chars<'_>, mut each: impl FnMut(char)) {
    while let Some(c) = chars.next() {
        match c {
            '"' => return,
            '\\' => each(chars.next().unwrap_or('\\')),
            c => each(c),
        }
    }
}

/// `st`, `nd`, `rd` or `th` of a number's last digits.
pub(crate) fn ordinal_suffix(digits: &str, upper: bool) -> &'static str {
    let b = digits.as_bytes();
    let teen = b.len() > 1 && b[b.len() - 2] == b'1';
    let index = match b.last() {
        Some(b'1') if !teen => 0,
        Some(b'2') if !teen => 1,
        Some(b'3') if !teen => 2,
        _ => 3,
    };
    if upper { ["ST", "ND", "RD", "TH"][index] } else { ["st", "nd", "rd", "th"][index] }
}
