//! Rows as bytes, and back.

use stratos_types::row::{RowReader, RowWriter, decode_field};
use stratos_types::{Datum, Error, PgType, Result};

use crate::arrow::{decode_record, encode_record};

/// Writes and reads rows whose columns have these types.
pub(super) struct RowCodec {
    types: Vec<PgType>,
    writer: RowWriter,
    bytes: Vec<u8>,
}

impl RowCodec {
    pub fn new(types: Vec<PgType>) -> RowCodec {
        RowCodec { types, writer: RowWriter::new(), bytes: Vec::new() }
    }

    /// # Errors
    /// 54000 when the row is too big.
    pub fn encode(&mut self, row: &[Datum]) -> Result<&[u8]> {
        for (value, ty) in row.iter().zip(&self.types) {
            match value {
                // With the names of its fields, which rows of tables do without.
                Datum::Record(record) => self.writer.push_raw(Some(&encode_record(record)?)),
                value => self.writer.push(*ty, value)?,
            }
        }
        self.bytes.clear();
        self.writer.finish_into(&mut self.bytes);
        Ok(&self.bytes)
    }

    /// # Errors
    /// Internal, for bytes that [`RowCodec::encode`] has not made.
    pub fn decode(&self, bytes: &[u8], row: &mut Vec<Datum>) -> Result<()> {
        let reader = RowReader::new(bytes)?;
        row.clear();
        for (position, ty) in self.types.iter().enumerate() {
            let field = reader.field(position).ok_or_else(|| Error::internal("a row that lacks columns"))?;
            row.push(match field {
                None => Datum::Null,
                Some(bytes) if *ty == PgType::Record => decode_record(bytes)?,
                Some(bytes) => decode_field(*ty, bytes)?,
            });
        }
        Ok(())
    }
}
