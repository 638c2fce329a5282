//! PostgreSQL 15's key words (`kwlist.h`), as `pg_get_keywords()` lists them.

/// Word, category (U unreserved, C column name, T type or function name, R reserved), and whether it may be a label
/// without AS. Sorted by word.
#[rustfmt::skip]
pub static KEYWORDS: &[(&str, u8, bool)] = &[

];

/// Whether a name that is a plain lower-case identifier can be written without quotes: no key word, or an unreserved one.
pub fn needs_no_quotes(name: &str) -> bool {
    match KEYWORDS.binary_search_by(|(word, ..)| (*word).cmp(name)) {
        Ok(i) => KEYWORDS[i].1 == b'U',
        Err(_) => true,
    }
}
