//! Statements as others may read them: `pg_stat_activity` shows what a session runs, and passwords must not be in it.

use std::borrow::Cow;
use std::sync::Arc;

use super::shared::QUERY_BYTES_MAX;

/// The word behind which a password stands, in CREATE ROLE and ALTER ROLE.
const WORD: &[u8] = b"password";
/// What stands for a password.
const BLANK: &str = "'***'";

/// The part of a statement's text that others see.
pub(super) fn shown(sql: &str) -> Arc<str> {
    without_passwords(&sql[..sql.floor_char_boundary(QUERY_BYTES_MAX)]).into()
}

/// The statement with `'***'` for every string behind the word PASSWORD. A string that does not end is a password to the end.
fn without_passwords(sql: &str) -> Cow<'_, str> {
    // Every statement comes by here: a look at the rarest letter spares most of the comparisons.
    let mut windows = sql.as_bytes().windows(WORD.len());
    if !windows.any(|window| window[4] | 0x20 == b'w' && window.eq_ignore_ascii_case(WORD)) {
        return Cow::Borrowed(sql);
    }
    let mut shown = String::with_capacity(sql.len());
    let mut copied = 0;
    let mut at = 0;
    let mut behind_the_word = false;
    while at < sql.len() {
        let end = at + token_bytes(&sql[at..]);
        let token = &sql[at..end];
        if is_space(token) {
            at = end;
            continue;
        }
        let is_string = token.ends_with('\'') || token.contains('\'') || token.starts_with('$');
        if behind_the_word && is_string {
            shown.push_str(&sql[copied..at]);
            shown.push_str(BLANK);
            copied = end;
            // A string may go on in the next one.
        } else {
            behind_the_word = token.as_bytes().eq_ignore_ascii_case(WORD);
        }
        at = end;
    }
    shown.push_str(&sql[copied..]);
    Cow::Owned(shown)
}

fn is_space(token: &str) -> bool {
    token.starts_with(char::is_whitespace) || token.starts_with("--") || token.starts_with("/*")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// Bytes of the first token of a text that is not empty: white space, a comment, a word, a string with its prefix, a quoted
/// name, or one character.
fn token_bytes(text: &str) -> usize {
    let until = |at: Option<usize>| at.unwrap_or(text.len());
    let Some(first) = text.chars().next() else { return 0 };
    if first.is_whitespace() {
        return until(text.find(|c: char| !c.is_whitespace()));
    }
    if text.starts_with("--") {
        return until(text.find('\n'));
    }
    if text.starts_with("/*") {
        return comment_bytes(text);
    }
    if first == '$'
        && let Some(tag) = text[1..].find('$').map(|end| &text[..end + 2])
        && tag[1..tag.len() - 1].chars().all(|c| is_word(c) && c != '$')
        && !tag[1..].starts_with(|c: char| c.is_ascii_digit())
    {
        return until(text[tag.len()..].find(tag).map(|end| end + 2 * tag.len()));
    }
    // E'…', U&'…', N'…', B'…', X'…'
    let prefix = match text.as_bytes() {
        [b'e' | b'E' | b'n' | b'N' | b'b' | b'B' | b'x' | b'X', b'\'', ..] => 1,
        [b'u' | b'U', b'&', b'\'' | b'"', ..] => 2,
        _ => 0,
    };
    match text.as_bytes().get(prefix) {
        Some(quote @ (b'\'' | b'"')) => prefix + quoted_bytes(&text.as_bytes()[prefix..], *quote, is_escaped(text)),
        _ if is_word(first) => until(text.find(|c: char| !is_word(c))),
        _ => first.len_utf8(),
    }
}

fn is_escaped(text: &str) -> bool {
    text.starts_with(['e', 'E'])
}

/// Bytes of a quoted text, its quotes included.
fn quoted_bytes(text: &[u8], quote: u8, escaped: bool) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if escaped => at += 1,
            byte if *byte == quote && text.get(at + 1) == Some(&quote) => at += 1,
            byte if *byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Bytes of a comment, with those inside it.
fn comment_bytes(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (sql, shown) in [
            ("ALTER ROLE a PASSWORD 'secret'", "ALTER ROLE a PASSWORD '***'"),
            ("alter role a encrypted password'se''cret' login", "alter role a encrypted password'***' login"),
            (r"CREATE USER a PASSWORD E'se\'cret' LOGIN", "CREATE USER a PASSWORD '***' LOGIN"),
            ("CREATE USER a PASSWORD $q$sec'ret$q$; SELECT 1", "CREATE USER a PASSWORD '***'; SELECT 1"),
            ("CREATE USER a PASSWORD $$secret$$", "CREATE USER a PASSWORD '***'"),
            ("ALTER ROLE a PASSWORD /* 'x' */ -- y\n 'secret'", "ALTER ROLE a PASSWORD /* 'x' */ -- y\n '***'"),
            ("ALTER ROLE a PASSWORD 'sec'\n'ret'", "ALTER ROLE a PASSWORD '***'\n'***'"),
            ("ALTER ROLE a PASSWORD U&'secret'", "ALTER ROLE a PASSWORD '***'"),
            ("ALTER ROLE a PASSWORD 'secr", "ALTER ROLE a PASSWORD '***'"),
            ("ALTER ROLE a PASSWORD $q$secr", "ALTER ROLE a PASSWORD '***'"),
            ("ALTER ROLE a PASSWORD NULL", "ALTER ROLE a PASSWORD NULL"),
            ("SELECT password, 'x' FROM a WHERE password = 'x'", "SELECT password, 'x' FROM a WHERE password = 'x'"),
            ("SELECT 'password' 'x', \"password\" FROM é", "SELECT 'password' 'x', \"password\" FROM é"),
            ("SELECT $1, 'password", "SELECT $1, 'password"),
        ] {
            assert_eq!(without_passwords(sql), shown, "{sql}");
        }
    }
}
