use super::*;

#[test]
fn fields_read_back_apart() {
    let mut w = RowWriter::new();
    w.push(PgType::Int4, &Datum::Int4(7)).unwrap();
    w.push(PgType::Text, &Datum::Null).unwrap();
    w.push_absent();
    w.push(PgType::Text, &Datum::text("xy")).unwrap();
    let bytes = w.finish();
    assert_eq!(bytes, [1, 0, 4, 0, 0b0010_0100, 4, 0, 4, 0, 4, 0, 6, 0, 7, 0, 0, 0, b'x', b'y']);
    let r = RowReader::new(&bytes).unwrap();
    assert_eq!(field_i32(r.field(0).unwrap().unwrap()).unwrap(), 7);
    assert_eq!(r.field(1), Some(None));
    assert_eq!(r.field(2), None);
    assert_eq!(field_str(r.field(3).unwrap().unwrap()).unwrap(), "xy");
    assert_eq!(r.field(4), None);
}
