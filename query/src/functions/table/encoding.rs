//! Digests, encodings, quoting, format.

use super::super::{Function, encoding, hashing};
use super::{ANY, BYTEA, ELEMENT, I4, I8, NAME, TEXT, UUID, f};

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    f(2311, "md5", &[TEXT], TEXT, encoding::md5),
    f(2321, "md5", &[BYTEA], TEXT, encoding::md5),
    f(3419, "sha224", &[BYTEA], BYTEA, encoding::sha224),
    f(3420, "sha256", &[BYTEA], BYTEA, encoding::sha256),
    f(3421, "sha384", &[BYTEA], BYTEA, encoding::sha384),
    f(3422, "sha512", &[BYTEA], BYTEA, encoding::sha512),
    f(1946, "encode", &[BYTEA, TEXT], TEXT, encoding::encode),
    f(1947, "decode", &[TEXT, TEXT], BYTEA, encoding::decode),
    f(1717, "convert_to", &[TEXT, NAME], BYTEA, encoding::convert_to).stable(),
    f(1714, "convert_from", &[BYTEA, NAME], TEXT, encoding::convert_from).stable(),
    f(1282, "quote_ident", &[TEXT], TEXT, encoding::quote_ident),
    f(1283, "quote_literal", &[TEXT], TEXT, encoding::quote_literal),
    f(1285, "quote_literal", &[ELEMENT], TEXT, encoding::quote_literal).stable(),
    f(1289, "quote_nullable", &[TEXT], TEXT, encoding::quote_nullable).lax(),
    f(1290, "quote_nullable", &[ELEMENT], TEXT, encoding::quote_nullable).stable().lax(),
    f(3539, "format", &[TEXT, ANY], TEXT, encoding::format).stable().lax().variadic(),
    f(3540, "format", &[TEXT], TEXT, encoding::format).stable().lax(),
    f(400, "hashtext", &[TEXT], I4, hashing::hashtext),
    f(448, "hashtextextended", &[TEXT, I8], I8, hashing::hashtextextended),
    f(438, "num_nulls", &[ANY], I4, encoding::num_nulls).lax().variadic(),
    f(440, "num_nonnulls", &[ANY], I4, encoding::num_nonnulls).lax().variadic(),
    f(3432, "gen_random_uuid", &[], UUID, encoding::gen_random_uuid).volatile(),
];
