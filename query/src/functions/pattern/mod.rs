//! LIKE, SIMILAR TO, and regular expressions.

mod like;
mod regexp;
mod similar;
mod translate;

pub use like::{ilike, like, like_escape, not_ilike, not_like};
pub use regexp::{
    all_matches, icase, matches, not_icase, not_matches, regexp_count, regexp_instr, regexp_like, regexp_match,
    regexp_replace, regexp_split_to_array, regexp_substr, split, substring_regex,
};
pub use similar::{similar_to_escape, substring_similar};
