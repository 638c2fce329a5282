//! The system keyspace: where descriptors are stored.
//!
//! Every key starts with `0x01`; the second byte says what follows. All numbers are unsigned, big-endian. Keys of one kind
//! have one length, so that no key is a prefix of another.
//!
//! | second byte | then | value |
//! |---|---|---|
//! | `0x01` | nothing | the catalog's version, u64 |
//! | `0x02` | database OID u32 | [`Database`](super::Database), JSON |
//! | `0x03` | role OID u32 | [`Role`](super::Role), JSON |
//! | `0x04` | database u32, schema OID u32 | [`Schema`](super::Schema), JSON |
//! | `0x05` | database u32, table OID u32 | [`Table`](super::Table), JSON |
//! | `0x06` | database u32, sequence OID u32 | [`Sequence`](super::Sequence), JSON |
//! | `0x07` | database u32, sequence storage u32 | [`SequenceValue`], 9 bytes |
//! | `0x08` | database u32 (0: shared), class OID u32, object OID u32 | a comment, UTF-8 |
//! | `0x09` | nothing | the secret from which salts of unknown roles come, 32 bytes |
//! | `0x0a` | nothing | the database `postgres` was made once, 1 byte |

use bytes::Bytes;
use stratos_types::{Error, Result};

/// First byte of the system keyspace.
pub const SYSTEM: u8 = 0x01;
/// First byte of rows and index entries.
pub const DATA: u8 = 0x02;

const VERSION: u8 = 0x01;
const DATABASE: u8 = 0x02;
const ROLE: u8 = 0x03;
const SCHEMA: u8 = 0x04;
const TABLE: u8 = 0x05;
const SEQUENCE: u8 = 0x06;
const SEQUENCE_VALUE: u8 = 0x07;
const COMMENT: u8 = 0x08;
const SALT_SECRET: u8 = 0x09;
const MAINTENANCE_MADE: u8 = 0x0a;

fn key(kind: u8, numbers: &[u32]) -> Bytes {
    let mut key = Vec::with_capacity(2 + 4 * numbers.len());
    key.extend_from_slice(&[SYSTEM, kind]);
    for number in numbers {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key.into()
}

/// The catalog's version. Every transaction with DDL writes it, having locked it first, so that DDL statements of
/// concurrent transactions wait for each other instead of failing at commit.
pub fn version() -> Bytes {
    key(VERSION, &[])
}

/// A database.
pub fn database(oid: u32) -> Bytes {
    key(DATABASE, &[oid])
}

/// All databases.
pub fn databases() -> Bytes {
    key(DATABASE, &[])
}

/// A role.
pub fn role(oid: u32) -> Bytes {
    key(ROLE, &[oid])
}

/// All roles.
pub fn roles() -> Bytes {
    key(ROLE, &[])
}

/// A schema.
pub fn schema(database: u32, oid: u32) -> Bytes {
    key(SCHEMA, &[database, oid])
}

/// All schemas of a database.
pub fn schemas(database: u32) -> Bytes {
    key(SCHEMA, &[database])
}

/// A table. A transaction that writes or locks rows holds on to this key (ROW EXCLUSIVE, ROW SHARE) until it ends, and with it to those of
/// the tables that foreign keys may lead it to; one that changes the table locks it.
pub fn table(database: u32, oid: u32) -> Bytes {
    key(TABLE, &[database, oid])
}

/// Whether a key is that of a table's descriptor.
pub fn is_table(key: &[u8]) -> bool {
    key.starts_with(&[SYSTEM, TABLE])
}

/// Database and OID of the table whose descriptor has this key.
pub fn table_of(key: &[u8]) -> Option<(u32, u32)> {
    let numbers = key.strip_prefix(&[SYSTEM, TABLE])?;
    let (database, table) = numbers.split_first_chunk()?;
    Some((u32::from_be_bytes(*database), u32::from_be_bytes(table.try_into().ok()?)))
}

/// All tables of a database.
pub fn tables(database: u32) -> Bytes {
    key(TABLE, &[database])
}

/// A sequence's descriptor.
pub fn sequence(database: u32, oid: u32) -> Bytes {
    key(SEQUENCE, &[database, oid])
}

/// All sequences of a database.
pub fn sequences(database: u32) -> Bytes {
    key(SEQUENCE, &[database])
}

/// A sequence's value, by [`Sequence::storage`](super::Sequence::storage).
pub fn sequence_value(database: u32, storage: u32) -> Bytes {
    key(SEQUENCE_VALUE, &[database, storage])
}

/// Values of all sequences of a database.
pub fn sequence_values(database: u32) -> Bytes {
    key(SEQUENCE_VALUE, &[database])
}

/// A comment; `database` is 0 for databases and roles.
pub fn comment(database: u32, class: u32, object: u32) -> Bytes {
    key(COMMENT, &[database, class, object])
}

/// All comments of a database (0: of shared objects).
pub fn comments(database: u32) -> Bytes {
    key(COMMENT, &[database])
}

/// Whether the database `postgres` was made once: who drops it does not get it back.
pub fn maintenance_made() -> Bytes {
    key(MAINTENANCE_MADE, &[])
}

/// The secret from which the salts of roles come that are not there or have no password.
pub fn salt_secret() -> Bytes {
    key(SALT_SECRET, &[])
}

/// The numbers at the end of a key of `prefix`'s kind, for instance class and object of a comment.
///
/// # Errors
/// The key is not `prefix` followed by whole numbers: the store is damaged.
pub fn numbers_after(prefix: &[u8], key: &[u8]) -> Result<Vec<u32>> {
    let rest = key
        .strip_prefix(prefix)
        .filter(|rest| rest.len() % 4 == 0)
        .ok_or_else(|| Error::internal("a key of the catalog has an unknown form"))?;
    Ok(rest.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// First bytes of all rows and index entries of a database.
pub fn database_data(database: u32) -> Vec<u8> {
    let mut prefix = vec![DATA];
    prefix.extend_from_slice(&database.to_be_bytes());
    prefix
}

/// First bytes of all rows and index entries of a table's storage.
pub fn storage_data(database: u32, storage: u32) -> Vec<u8> {
    let mut prefix = database_data(database);
    prefix.extend_from_slice(&storage.to_be_bytes());
    prefix
}

/// First bytes of all entries of an index ([`Index::id`](super::Index::id)); 13 bytes, as the store's statistics.
pub fn index_data(database: u32, storage: u32, index: u32) -> Vec<u8> {
    let mut prefix = storage_data(database, storage);
    prefix.extend_from_slice(&index.to_be_bytes());
    prefix
}

/// Where a sequence stands: Postgres's `last_value` and `is_called`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceValue {
    /// The value that was given out last, or, before the first, the one that will be.
    pub last: i64,
    /// Whether `last` was given out.
    pub called: bool,
}

impl SequenceValue {
    /// Big-endian two's complement of `last`, then 0 or 1.
    pub fn encode(self) -> Bytes {
        let mut bytes = self.last.to_be_bytes().to_vec();
        bytes.push(u8::from(self.called));
        bytes.into()
    }

    /// The reverse of [`SequenceValue::encode`].
    ///
    /// # Errors
    /// Another length: the store is damaged.
    pub fn decode(bytes: &[u8]) -> Result<SequenceValue> {
        match bytes.split_last_chunk::<1>() {
            Some((last, [called])) => Ok(SequenceValue {
                last: i64::from_be_bytes(
                    last.try_into().map_err(|_| Error::internal("a sequence's value has a wrong length"))?,
                ),
                called: *called != 0,
            }),
            None => Err(Error::internal("a sequence's value is empty")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_a_prefix_of_another() {
        let keys = [
            version(),
            database(1),
            role(1),
            schema(1, 1),
            table(1, 1),
            sequence(1, 1),
            sequence_value(1, 1),
            comment(1, 1, 1),
        ];
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert!(i == j || !b.starts_with(a), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn sequence_values_come_back() {
        for last in [i64::MIN, -1, 0, 1, i64::MAX] {
            let value = SequenceValue { last, called: last > 0 };
            assert_eq!(SequenceValue::decode(&value.encode()).unwrap(), value);
        }
        assert!(SequenceValue::decode(&[]).is_err());
        assert!(SequenceValue::decode(&[1, 2]).is_err());
    }

    #[test]
    fn numbers_are_read_back() {
        assert_eq!(numbers_after(&comments(7), &comment(7, 1259, 16384)).unwrap(), vec![1259, 16384]);
        assert!(numbers_after(&comments(7), &table(7, 1)).is_err());
    }
}
