//! `to_number` (`NUM_numpart_from_char` of `formatting.c`, in the C locale).

use super::template::{Key, Node, Shape, SignSide, parse};
use super::to_char::power_of_ten;
use crate::{Error, Numeric, Result};

/// Largest precision and scale of `numeric(p,s)`; beyond them Postgres does not round.
const MAX_PRECISION: i64 = 1000;

struct Reader<'a> {
    shape: Shape,
    input: &'a [u8],
    at: usize,
    /// Sign read.
    negative: Option<bool>,
    digits: String,
    read_pre: i64,
    read_post: i64,
    read_point: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// A whole character; digit patterns go by single bytes instead, as Postgres's do.
    fn skip_char(&mut self) {
        self.at += 1;
        while self.peek().is_some_and(|b| b & 0xc0 == 0x80) {
            self.at += 1;
        }
    }

    /// Takes a sign if one follows.
    fn take_sign(&mut self, bracket: u8) {
        match self.peek() {
            Some(b'-') => self.negative = Some(true),
            Some(b'+') => self.negative = Some(false),
            Some(c) if c == bracket && self.shape.bracket => self.negative = Some(true),
            _ => return,
        }
        self.at += 1;
    }

    /// A digit or the point. It leaves the position on the last character read: the caller steps over it.
    fn digit(&mut self, key: Key) {
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        let Some(mut c) = self.peek() else { return };
        if self.negative.is_none() && key != Key::Point && self.read_pre + self.read_post == 0 {
            if self.shape.sign {
                if self.shape.sign_side == Some(SignSide::Before) {
                    self.take_sign(b'-');
                }
            } else {
                self.take_sign(b'<');
            }
            match self.peek() {
                Some(next) => c = next,
                None => return,
            }
        }
        let mut is_read = false;
        if c.is_ascii_digit() {
            if self.read_point && self.read_post == self.shape.post {
                return;
            }
            self.digits.push(char::from(c));
            if self.read_point {
                self.read_post += 1;
            } else {
                self.read_pre += 1;
            }
            is_read = true;
        } else if self.shape.point && !self.read_point && c == b'.' {
            self.digits.push('.');
            self.read_point = true;
            is_read = true;
        }
        if self.negative.is_none() && self.read_pre + self.read_post > 0 {
            self.sign_behind(is_read);
        }
    }

    /// A sign may stand right behind the number.
    fn sign_behind(&mut self, is_read: bool) {
        if self.shape.sign && is_read {
            let next = self.input.get(self.at + 1);
            match next {
                Some(b'-') => self.negative = Some(true),
                Some(b'+') => self.negative = Some(false),
                _ => return,
            }
            self.at += 1;
        } else if !is_read && !self.shape.sign && (self.shape.plus || self.shape.minus) {
            match self.peek() {
                Some(b'-') => self.negative = Some(true),
                Some(b'+') => self.negative = Some(false),
                _ => {}
            }
        }
    }

    /// Skips what belongs to no number.
    fn skip_other(&mut self, count: usize) {
        for _ in 0..count {
            match self.peek() {
                Some(c) if !b"0123456789.,+-".contains(&c) => self.skip_char(),
                _ => break,
            }
        }
    }

    fn key(&mut self, key: Key) {
        match key {
            Key::Zero | Key::Nine | Key::Point => {
                self.digit(key);
                self.at += 1;
            }
            // Before the first digit nothing is grouped, which FM cares about.
            Key::Comma | Key::Group if !self.shape.fill && self.peek() == Some(b',') => {
                self.at += 1;
            }
            Key::Currency => self.skip_other(1),
            Key::Ordinal { .. } if !self.shape.point => self.skip_other(2),
            Key::Minus | Key::Plus | Key::PlusMinus => match self.peek() {
                Some(b'-') if key != Key::Plus => {
                    self.negative = Some(true);
                    self.at += 1;
                }
                Some(b'+') if key != Key::Minus => {
                    self.negative = Some(false);
                    self.at += 1;
                }
                _ => self.skip_other(1),
            },
            _ => {}
        }
    }
}

/// `to_number(text, template)`; `None` is NULL, for an empty template.
///
/// # Errors
/// 42601 for patterns that do not go together, 0A000 for EEEE and RN, 22P02 where no number stands.
pub fn to_number(text: &str, template: &str) -> Result<Option<Numeric>> {
    if template.is_empty() {
        return Ok(None);
    }
    let (shape, nodes) = parse(template)?;
    if shape.scientific {
        return Err(unsupported("\"EEEE\" not supported for input"));
    }
    if shape.roman {
        return Err(unsupported("\"RN\" not supported for input"));
    }
    let mut reader = Reader {
        shape,
        input: text.as_bytes(),
        at: 0,
        negative: None,
        digits: String::new(),
        read_pre: 0,
        read_post: 0,
        read_point: false,
    };
    for node in &nodes {
        if reader.peek().is_none() {
            break;
        }
        match node {
            Node::Key(key) => reader.key(*key),
            Node::Char(_) => reader.skip_char(),
        }
    }
    let sign = match reader.negative {
        None => " ",
        Some(true) => "-",
        Some(false) => "+",
    };
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    let value = Numeric::parse(&format!("{sign}{digits}"))?;
    let precision = reader.shape.pre + reader.shape.multi + reader.read_post;
    let value = if (1..=MAX_PRECISION).contains(&precision) {
        value.with_precision(precision as u32, reader.read_post as i32)?
    } else {
        value
    };
    Ok(Some(if reader.shape.multiply { value.mul(&power_of_ten(-reader.shape.multi)?)? } else { value }))
}

fn unsupported(message: &str) -> Error {
    Error::new(crate::ErrorKind::FeatureNotSupported, message)
}
