//! Binary wire form (`numeric_send`) and the order-preserving form.
//!
//! Order-preserving form:
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | class: 0 -Infinity, 1 negative, 2 zero, 3 positive, 4 Infinity, 5 NaN; the value part ends here unless 1 or 3 |
//! | 3 | decimal exponent of the first digit + 2^19, big-endian |
//! | n | pairs of decimal digits + 1 (1 to 100), no trailing pair of zeros |
//! | 1 | 0, end of the value part |
//! | 2 | scale, big-endian; finite values only |
//!
//! For class 1 everything between class and scale is complemented.

use bytes::BufMut;
use num_bigint::BigInt;
use num_traits::Signed;

use super::{MAX_SCALE, Numeric, Repr};
use crate::{Error, ErrorKind, Result};

const NEGATIVE_INFINITY: u8 = 0;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
const POSITIVE_INFINITY: u8 = 4;
const NAN: u8 = 5;
const EXPONENT_BIAS: i64 = 1 << 19;

fn corrupt() -> Error {
    Error::new(ErrorKind::DataCorrupted, "malformed numeric in storage")
}

fn malformed(message: &str) -> Error {
    Error::new(ErrorKind::InvalidBinaryRepresentation, message)
}

impl Numeric {
    /// Decimal digits of |unscaled| in ASCII, for finite values other than zero.
    pub(super) fn digits(&self) -> String {
        match &self.0 {
            Repr::Small { unscaled, .. } => unscaled.unsigned_abs().to_string(),
            Repr::Big(big) => big.unscaled.magnitude().to_string(),
            _ => String::new(),
        }
    }

    /// Order-preserving bytes with the scale behind; see the module.
    pub fn to_sortable(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        self.write_sortable(&mut out);
        if let Some(scale) = self.scale() {
            out.extend_from_slice(&scale.to_be_bytes());
        }
        out
    }

    /// Appends the value part alone: self-delimiting, equal for equal values.
    pub fn write_sortable(&self, out: &mut Vec<u8>) {
        let class = match &self.0 {
            Repr::NegInf => NEGATIVE_INFINITY,
            Repr::PosInf => POSITIVE_INFINITY,
            Repr::NaN => NAN,
            _ => match self.signum() {
                0 => ZERO,
                1 => POSITIVE,
                _ => NEGATIVE,
            },
        };
        out.push(class);
        let (POSITIVE | NEGATIVE) = class else {
            return;
        };
        let start = out.len();
        let exponent = self.exponent10().unwrap_or(0) + EXPONENT_BIAS;
        out.extend_from_slice(&(exponent as u32).to_be_bytes()[1..]);
        let digits = self.digits();
        for pair in digits.trim_end_matches('0').as_bytes().chunks(2) {
            let low = pair.get(1).map_or(0, |b| b - b'0');
            out.push((pair[0] - b'0') * 10 + low + 1);
        }
        out.push(0);
        if class == NEGATIVE {
            for b in &mut out[start..] {
                *b = !*b;
            }
        }
    }

    /// Length of the value part at the front of `bytes`, if well formed.
    pub(crate) fn sortable_value_length(bytes: &[u8]) -> Option<usize> {
        let end = match *bytes.first()? {
            NEGATIVE => 0xff,
            POSITIVE => 0,
            class if class <= NAN => return Some(1),
            _ => return None,
        };
        let tail = bytes.get(4..)?;
        Some(4 + tail.iter().position(|b| *b == end)? + 1)
    }

    /// Back from [`Numeric::to_sortable`]; without the scale bytes, the least scale that holds the value.
    ///
    /// # Errors
    /// Data corrupted.
    pub fn from_sortable(bytes: &[u8]) -> Result<Numeric> {
        let length = Numeric::sortable_value_length(bytes).ok_or_else(corrupt)?;
        let (value, suffix) = bytes.split_at(length);
        let scale = match suffix {
            [] => None,
            [a, b] => Some(u16::from_be_bytes([*a, *b])),
            _ => return Err(corrupt()),
        };
        let flip = match value[0] {
            NEGATIVE_INFINITY => return Ok(Numeric::NEG_INFINITY),
            POSITIVE_INFINITY => return Ok(Numeric::INFINITY),
            NAN => return Ok(Numeric::NAN),
            ZERO => {
                let scale = scale.unwrap_or(0);
                if u32::from(scale) > MAX_SCALE {
                    return Err(corrupt());
                }
                return Ok(Numeric::from_scaled(0, scale));
            }
            NEGATIVE => 0xff,
            _ => 0,
        };
        let byte = |i: usize| u32::from(value[i] ^ flip);
        let exponent = i64::from(byte(1) << 16 | byte(2) << 8 | byte(3)) - EXPONENT_BIAS;
        let mut digits = String::with_capacity(2 * length);
        for b in &value[4..length - 1] {
            let pair = (b ^ flip).wrapping_sub(1);
            if pair > 99 {
                return Err(corrupt());
            }
            digits.push(char::from(b'0' + pair / 10));
            digits.push(char::from(b'0' + pair % 10));
        }
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return Err(corrupt());
        }
        let (whole, fraction) = significant.split_at(1);
        let number = Numeric::from_digits(flip != 0, whole, fraction, exponent).map_err(|_| corrupt())?;
        match scale {
            Some(scale) if number.scale() <= Some(scale) => number.round(i32::from(scale)).map_err(|_| corrupt()),
            Some(_) => Err(corrupt()),
            None => Ok(number),
        }
    }

    /// Appends `numeric_send`: groups, weight, sign, scale, base-10000 groups.
    pub fn write_binary(&self, out: &mut impl BufMut) {
        let mut header = |groups: u16, weight: i16, sign: u16, scale: u16| {
            out.put_slice(&groups.to_be_bytes());
            out.put_slice(&weight.to_be_bytes());
            out.put_slice(&sign.to_be_bytes());
            out.put_slice(&scale.to_be_bytes());
        };
        let scale = match &self.0 {
            Repr::NaN => return header(0, 0, 0xc000, 0),
            // Postgres sends what the header bits of an infinity read as: scale 32.
            Repr::PosInf => return header(0, 0, 0xd000, 32),
            Repr::NegInf => return header(0, 0, 0xf000, 32),
            _ => self.scale().unwrap_or(0),
        };
        let Some(exponent) = self.exponent10() else {
            return header(0, 0, 0, scale);
        };
        let sign = if self.signum() < 0 { 0x4000 } else { 0 };
        let weight = exponent.div_euclid(4);
        let lead = exponent.rem_euclid(4) as usize + 1;
        let mut digits = "0".repeat(4 - lead);
        digits.push_str(self.digits().trim_end_matches('0'));
        let groups: Vec<u16> = digits
            .as_bytes()
            .chunks(4)
            .map(|c| {
                let n = c.iter().fold(0u16, |n, b| n * 10 + u16::from(b - b'0'));
                n * 10u16.pow(4 - c.len() as u32)
            })
            .collect();
        header(groups.len() as u16, weight as i16, sign, scale);
        for group in groups {
            out.put_slice(&group.to_be_bytes());
        }
    }

    /// `numeric_recv`.
    ///
    /// # Errors
    /// 22P03 when malformed.
    pub fn from_binary(bytes: &[u8]) -> Result<Numeric> {
        let word = |i: usize| -> Result<u16> {
            match bytes.get(2 * i..2 * i + 2) {
                Some([a, b]) => Ok(u16::from_be_bytes([*a, *b])),
                _ => Err(Error::new(ErrorKind::ProtocolViolation, "insufficient data left in message")),
            }
        };
        let (groups, weight, sign, scale) = (word(0)?, i64::from(word(1)? as i16), word(2)?, word(3)?);
        let negative = match sign {
            0 => false,
            0x4000 => true,
            0xc000 => return Ok(Numeric::NAN),
            0xd000 => return Ok(Numeric::INFINITY),
            0xf000 => return Ok(Numeric::NEG_INFINITY),
            _ => return Err(malformed("invalid sign in external \"numeric\" value")),
        };
        if u32::from(scale) > MAX_SCALE {
            return Err(malformed("invalid scale in external \"numeric\" value"));
        }
        let mut digits = String::with_capacity(usize::from(groups) * 4);
        for i in 0..usize::from(groups) {
            let group = word(4 + i)?;
            if group > 9999 {
                return Err(malformed("invalid digit in external \"numeric\" value"));
            }
            digits.push_str(&format!("{group:04}"));
        }
        if bytes.len() != 8 + 2 * usize::from(groups) {
            return Err(malformed("incorrect binary data format"));
        }
        // value = digits × 10^shift, then cut to the scale
        let shift = (weight + 1 - i64::from(groups)) * 4;
        let mut unscaled = if digits.is_empty() {
            BigInt::from(0)
        } else {
            BigInt::parse_bytes(digits.as_bytes(), 10).ok_or_else(corrupt)?
        };
        let to_scale = shift + i64::from(scale);
        if unscaled.is_positive() && to_scale.unsigned_abs() > 300_000 {
            return Err(super::overflow());
        }
        if to_scale >= 0 {
            unscaled *= super::pow10(to_scale as u32);
        } else {
            unscaled /= super::pow10((-to_scale) as u32);
        }
        Numeric::checked(if negative { -unscaled } else { unscaled }, u32::from(scale))
    }
}
