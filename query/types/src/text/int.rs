//! Decimal digits of integers, without the machinery of `fmt`.

/// Digits and sign of the longest: -9223372036854775808.
const MAX_LEN: usize = 20;

/// An integer as it prints.
pub(super) struct Decimal {
    buffer: [u8; MAX_LEN],
    start: usize,
}

impl Decimal {
    pub fn new(value: i64) -> Decimal {
        let mut buffer = [0; MAX_LEN];
        let mut start = MAX_LEN;
        let mut rest = value.unsigned_abs();
        loop {
            start -= 1;
            buffer[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            start -= 1;
            buffer[start] = b'-';
        }
        Decimal { buffer, start }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub fn push_to(&self, out: &mut String) {
        // Digits are ASCII.
        out.push_str(std::str::from_utf8(self.bytes()).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn prints_as_fmt_does() {
        for n in [0, 1, -1, 9, 10, -10, 123_456_789, i64::MAX, i64::MIN] {
            assert_eq!(Decimal::new(n).bytes(), n.to_string().as_bytes());
        }
    }
}
