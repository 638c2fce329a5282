//! Postgres's hash functions, whose values users store and lock by (`pg_advisory_lock(hashtext('job'))`): Bob Jenkins's lookup3
//! as in `common/hashfn.c`, reading bytes in little-endian order.

use stratos_types::{Datum, PgType, Result};

use super::args::{int, text};
use crate::session::EvalContext;

const INITIAL: u32 = 0x9e37_79b9;
const SALT: u32 = 3_923_095;

#[derive(Clone, Copy)]
struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(length: usize) -> State {
        let start = INITIAL.wrapping_add(length as u32).wrapping_add(SALT);
        State { a: start, b: start, c: start }
    }

    fn mix(&mut self) {
        let State { a, b, c } = self;
        for (x, y, z, turn) in
            [(0, 2, 1, 4_u32), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4)]
        {
            // The three words in the roles that this round gives them.
            let mut words = [*a, *b, *c];
            words[x] = words[x].wrapping_sub(words[y]);
            words[x] ^= words[y].rotate_left(turn);
            words[y] = words[y].wrapping_add(words[z]);
            [*a, *b, *c] = words;
        }
    }

    fn finish(&mut self) {
        let State { a, b, c } = self;
        for (x, y, turn) in [(2, 1, 14_u32), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)] {
            let mut words = [*a, *b, *c];
            words[x] ^= words[y];
            words[x] = words[x].wrapping_sub(words[y].rotate_left(turn));
            [*a, *b, *c] = words;
        }
    }

    fn add(&mut self, block: &[u8; 12]) {
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        self.a = self.a.wrapping_add(word(0));
        self.b = self.b.wrapping_add(word(4));
        self.c = self.c.wrapping_add(word(8));
    }
}

fn digest(bytes: &[u8], seed: u64) -> State {
    let mut state = State::new(bytes.len());
    if seed != 0 {
        state.a = state.a.wrapping_add((seed >> 32) as u32);
        state.b = state.b.wrapping_add(seed as u32);
        state.mix();
    }
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        let mut full = [0_u8; 12];
        full.copy_from_slice(block);
        state.add(&full);
        state.mix();
    }
    // The last word's lowest byte is left to the length.
    let rest = blocks.remainder();
    let mut last = [0_u8; 12];
    let (head, tail) = rest.split_at(rest.len().min(8));
    last[..head.len()].copy_from_slice(head);
    last[9..9 + tail.len()].copy_from_slice(tail);
    state.add(&last);
    state.finish();
    state
}

/// `hash_any`
pub(crate) fn hash_bytes(bytes: &[u8]) -> u32 {
    digest(bytes, 0).c
}

/// `hash_any_extended`
pub(crate) fn hash_bytes_extended(bytes: &[u8], seed: u64) -> u64 {
    let state = digest(bytes, seed);
    u64::from(state.b) << 32 | u64::from(state.c)
}

/// `hashtext(text)`
pub fn hashtext(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int4(hash_bytes(text(&a[0])?.as_bytes()) as i32))
}

/// `hashtextextended(text, seed)`
pub fn hashtextextended(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int8(hash_bytes_extended(text(&a[0])?.as_bytes(), int(&a[1])? as u64) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_postgres() {
        for (text, hash) in [("a", 1_075_015_857), ("hello world", 1_021_725_223)] {
            assert_eq!(hash_bytes(text.as_bytes()) as i32, hash, "{text}");
        }
        assert_eq!(hash_bytes_extended(b"a", 0) as i64, 3_591_986_179_850_072_241);
    }
}
