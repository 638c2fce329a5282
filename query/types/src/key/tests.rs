use super::*;
use proptest::prelude::*;

fn array(element: PgType, values: impl Iterator<Item = Datum>) -> Datum {
    Datum::Array(Arc::new(ArrayDatum { element, values: values.collect() }))
}

/// Numbers near each other, in several scales, and the special ones.
fn numeric() -> impl Strategy<Value = Numeric> + Clone + 'static {
    prop_oneof![
        6 => (-1100i128..1100, 0u16..4).prop_map(|(n, s)| Numeric::from_scaled(n, s)),
        2 => (any::<i128>(), 0u16..60).prop_map(|(n, s)| Numeric::from_scaled(n, s)),
        1 => ("-?[0-9]{1,60}", -50i32..50)
            .prop_map(|(n, e)| Numeric::parse(&format!("{n}e{e}")).unwrap()),
        1 => Just(Numeric::NAN),
        1 => Just(Numeric::INFINITY),
        1 => Just(Numeric::NEG_INFINITY),
    ]
    .boxed()
}

/// Canonical texts of small jsonb values, many of them equal to each other or nearly so.
fn json() -> impl Strategy<Value = String> + Clone + 'static {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        prop::sample::select(vec!["0", "-0.0", "1", "1.0", "1.00", "-1", "10", "1e1", "0.5"]).prop_map(str::to_owned),
        prop::sample::select(vec![r#""""#, r#""a""#, r#""ab""#, r#""\u0001""#, r#""é""#]).prop_map(str::to_owned),
    ];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        let name = prop::sample::select(vec!["", "a", "b", "aa"]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((name, inner), 0..3).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    value.prop_map(|text| crate::json::canonicalize(&text).unwrap()).boxed()
}

fn typed() -> impl Strategy<Value = (PgType, Datum, Datum)> {
    fn pair<T: std::fmt::Debug + 'static>(
        ty: PgType,
        values: impl Strategy<Value = T> + Clone + 'static,
        make: fn(T) -> Datum,
    ) -> impl Strategy<Value = (PgType, Datum, Datum)> {
        let one = prop_oneof![9 => values.prop_map(make), 1 => Just(Datum::Null)].boxed();
        (one.clone(), one).prop_map(move |(a, b)| (ty, a, b))
    }
    let interval = (-40i32..40, -70i32..70, any::<i32>()).prop_map(|(months, days, t)| Interval {
        months,
        days,
        micros: i64::from(t) * 86_400,
    });
    let timetz = (0i64..86_400_000_000, -50_000i32..50_000)
        .prop_map(|(micros, zone_seconds_west)| TimeTz { micros, zone_seconds_west });
    prop_oneof![
        pair(PgType::Int2, any::<i16>(), Datum::Int2),
        pair(PgType::Int8, any::<i64>(), Datum::Int8),
        pair(PgType::Float4, any::<f32>(), Datum::Float4),
        pair(PgType::Float8, any::<f64>(), Datum::Float8),
        pair(PgType::Text, "[\\x00a b]{0,4}", |s: String| Datum::text(s)),
        pair(PgType::Bpchar, "[ab ]{0,4}", |s: String| Datum::text(s)),
        pair(PgType::Bytea, proptest::collection::vec(0u8..3, 0..5), |v: Vec<u8>| { Datum::Bytea(v.into()) }),
        pair(PgType::Interval, interval, Datum::Interval),
        pair(PgType::TimeTz, timetz, Datum::TimeTz),
        pair(PgType::Bool, any::<bool>(), Datum::Bool),
        pair(PgType::Int4, any::<i32>(), Datum::Int4),
        pair(PgType::Date, any::<i32>(), Datum::Date),
        pair(PgType::Time, 0i64..86_400_000_000, Datum::Time),
        pair(PgType::Timestamp, any::<i64>(), Datum::Timestamp),
        pair(PgType::TimestampTz, any::<i64>(), Datum::TimestampTz),
        pair(PgType::Numeric, numeric(), Datum::Numeric),
        pair(
            PgType::Array(crate::Scalar::Int4),
            proptest::collection::vec(proptest::option::of(-2i32..3), 0..4),
            |v| array(PgType::Int4, v.into_iter().map(|n| n.map_or(Datum::Null, Datum::Int4)))
        ),
        pair(
            PgType::Array(crate::Scalar::Text),
            proptest::collection::vec(proptest::option::of("[\\x00a]{0,2}"), 0..4),
            |v| array(PgType::Text, v.into_iter().map(|s| s.map_or(Datum::Null, Datum::text)))
        ),
        pair(PgType::Array(crate::Scalar::Numeric), proptest::collection::vec(numeric(), 0..3), |v| array(
            PgType::Numeric,
            v.into_iter().map(Datum::Numeric)
        )),
        pair(PgType::Jsonb, json(), |text: String| Datum::Jsonb(text.into())),
        pair(PgType::Uuid, any::<[u8; 16]>(), Datum::Uuid),
        pair(PgType::Oid, any::<u32>(), Datum::Oid),
    ]
}

proptest! {
    #[test]
    fn bytes_order_as_values((ty, a, b) in typed(), descending: bool, nulls_first: bool) {
        let encode = |v: &Datum| {
            let mut out = Vec::new();
            encode_column(&mut out, ty, v, descending, nulls_first);
            out
        };
        let (x, y) = (encode(&a), encode(&b));
        let mut want = compare(ty, &a, &b);
        if a.is_null() != b.is_null() {
            want = if a.is_null() == nulls_first { Ordering::Less } else { Ordering::Greater };
        } else if descending {
            want = want.reverse();
        }
        prop_assert_eq!(x.cmp(&y), want);
        if want.is_ne() {
            prop_assert!(!x.starts_with(&y) && !y.starts_with(&x));
        }
        if ty == PgType::Jsonb {
            // The row has it; a key does not give it back.
            return Ok(());
        }
        let mut rest = x.as_slice();
        let back = decode_column(&mut rest, ty, descending, nulls_first).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(compare(ty, &back, &a), Ordering::Equal);
        if is_lossless(ty) {
            prop_assert_eq!(back, a);
        }
    }

    #[test]
    fn garbage_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), ty in 0usize..40, d: bool) {
        if let Some(ty) = PgType::all().nth(ty) {
            let _ = decode_column(&mut bytes.as_slice(), ty, d, false);
            let _ = crate::row::decode_field(ty, &bytes);
            let _ = Datum::from_binary(ty, &bytes);
            if let Ok(row) = crate::row::RowReader::new(&bytes) {
                let _ = row.field(0);
            }
        }
    }
}

#[test]
fn bytes_are_frozen() {
    let mut out = Vec::new();
    encode_column(&mut out, PgType::Int4, &Datum::Int4(1), false, false);
    encode_column(&mut out, PgType::Text, &Datum::text("a"), true, false);
    encode_column(&mut out, PgType::Int4, &Datum::Null, false, false);
    assert_eq!(out, [2, 0x80, 0, 0, 1, 2, !b'a', 0xff, 0xfe, 3]);
}
