//! `numeric`: exact decimals of any scale.

/// A `numeric` value. Equality and order are by value (1.1 = 1.10), NaN equals itself and is greater than everything.
#[derive(Debug, Clone, PartialEq)]
pub enum Numeric {
    /// NaN.
    NaN,
}

impl Numeric {
    /// Bytes beyond the enum itself.
    pub fn size_bytes(&self) -> usize {
        0
    }
}
