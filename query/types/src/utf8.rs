//! Text from outside: UTF-8 without zero bytes.

use crate::{Error, ErrorKind, Result};

/// Bytes that claim to be text.
///
/// # Errors
/// 22021 with the bytes that are none, as Postgres names them: so many as the first of them announces.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) => Err(invalid(&[0])),
        Err(error) => {
            // A zero byte before it is met first.
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let bad = if valid.contains(&0) { &[0][..] } else { bytes.get(error.valid_up_to()..).unwrap_or_default() };
            Err(invalid(bad))
        }
    }
}

fn invalid(bytes: &[u8]) -> Error {
    let announced = match bytes.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = bytes.iter().take(announced).map(|b| format!("0x{b:02x}")).collect();
    let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
    Error::new(ErrorKind::CharacterNotInRepertoire, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_named() {
        assert_eq!(utf8("aé☃".as_bytes()).unwrap(), "aé☃");
        // The sequences are PostgreSQL 15's.
        for (bytes, named) in [
            (&b"a\xff"[..], "0xff"),
            (b"\xc3(", "0xc3 0x28"),
            (b"\xe2\x82", "0xe2 0x82"),
            (b"\xf0\x9f\x98x", "0xf0 0x9f 0x98 0x78"),
            (b"a\0b\xff", "0x00"),
            (b"\x80", "0x80"),
        ] {
            let error = utf8(bytes).unwrap_err();
            assert_eq!(error.message(), format!("invalid byte sequence for encoding \"UTF8\": {named}"));
            assert_eq!(error.kind(), ErrorKind::CharacterNotInRepertoire);
        }
    }
}
