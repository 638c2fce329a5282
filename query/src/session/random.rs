//! `random()` after `setseed`: the generator of Postgres (`common/pg_prng.c`), so that the numbers are the same too.

/// xoroshiro128**.
#[derive(Debug, Clone, Copy)]
pub(super) struct Random {
    s0: u64,
    s1: u64,
}

fn splitmix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut value = *seed;
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl Random {
    /// `seed` is from -1 to 1.
    pub(super) fn new(seed: f64) -> Random {
        let mut seed = (((1_u64 << 52) - 1) as f64 * seed) as i64 as u64;
        let (s0, s1) = (splitmix(&mut seed), splitmix(&mut seed));
        Random { s0, s1 }
    }

    /// From 0, below 1.
    pub(super) fn next(&mut self) -> f64 {
        let Random { s0, s1 } = *self;
        let value = s0.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let mixed = s1 ^ s0;
        self.s0 = s0.rotate_left(24) ^ mixed ^ (mixed << 16);
        self.s1 = mixed.rotate_left(37);
        (value >> 12) as f64 / (1_u64 << 52) as f64
    }
}
