//! Everything in `fixtures/postgres15.tsv` against this crate.

use crate::cast::apply_typmod;
use crate::datetime::zone::parse_zone;
use crate::datetime::{arith, fields, interval, to_char};
use crate::*;

const FIXTURE: &str = include_str!("../fixtures/postgres15.tsv");

fn column(name: &str) -> ColumnType {
    let (base, args) = match name.split_once('(') {
        Some((base, rest)) => {
            let (args, tail) = rest.split_once(')').unwrap();
            (format!("{base}{tail}"), args.split(',').map(|a| a.parse::<i32>().unwrap()).collect())
        }
        None => (name.to_owned(), Vec::<i32>::new()),
    };
    if let Some(rest) = base.strip_prefix("interval") {
        let p = args.first().map(|p| *p as u32);
        let typmod =
            if rest.is_empty() && p.is_none() { -1 } else { interval::interval_fields_typmod(rest.trim(), p).unwrap() };
        return ColumnType {
            ty: PgType::from_name(if base.ends_with("[]") { "interval[]" } else { "interval" }).unwrap(),
            typmod,
        };
    }
    let ty = if base == "\"char\"" { PgType::Char } else { PgType::from_name(&base).unwrap() };
    let scalar = ty.element().unwrap_or(ty);
    let typmod = match (scalar, args.as_slice()) {
        (_, []) if base == "char" => 5,
        (_, []) => -1,
        (PgType::Varchar | PgType::Bpchar, [n, ..]) => n + 4,
        (PgType::Numeric, [p, s]) => ColumnType::numeric_typmod(*p as u32, *s),
        (_, [p, ..]) => *p,
    };
    ColumnType { ty, typmod }
}

fn num(s: &str) -> Result<Numeric> {
    Numeric::parse(s)
}

/// The fixture has every value cast to text, which strips blanks and spells booleans out.
fn shown_as_text(value: &Datum, ty: PgType, options: &FormatOptions) -> Result<String> {
    match cast(value, ty, PgType::Text.into(), true, options)? {
        Datum::Text(t) => Ok(t.to_string()),
        _ => Err(Error::internal("no text")),
    }
}

fn answer(f: &[&str], options: &mut FormatOptions) -> Result<String> {
    let (a, b, c) = (f[1], f[2], f[3]);
    let read = |ty: &str, text: &str, o: &FormatOptions| {
        // As the cast of a literal: strings that are too long are cut.
        let ty = column(ty);
        if !ty.ty.is_string() {
            return Datum::from_text_at(ty, text, o, 0);
        }
        apply_typmod(Datum::from_text_at(ty.ty.into(), text, o, 0)?, ty, true)
    };
    options.time_zone =
        parse_zone(if matches!(f[0], "S" | "Z" | "K" | "L") { "America/New_York" } else { "UTC" }).unwrap();
    let interval_of = |text: &str, o: &FormatOptions| interval::parse_interval(text, -1, o);
    let shown = |i: Interval, o: &FormatOptions| Datum::Interval(i).to_text(PgType::Interval, o);
    Ok(match f[0] {
        "T" => shown_as_text(&read(a, b, options)?, column(a).ty, options)?,
        "N" => {
            let (x, y) = (num(b)?, num(c)?);
            match a {
                "+" => x.add(&y)?,
                "-" => x.sub(&y)?,
                "*" => x.mul(&y)?,
                "/" => x.div(&y)?,
                "%" => x.rem(&y)?,
                "^" => x.power(&y)?,
                "round" => x.round(c.parse().unwrap())?,
                "trunc" => x.trunc(c.parse().unwrap())?,
                "log" => x.log(&y)?,
                "gcd" => x.gcd(&y)?,
                "lcm" => x.lcm(&y)?,
                _ => x.div_trunc(&y)?,
            }
            .to_string()
        }
        "F" => {
            let x = num(b)?;
            match a {
                "sqrt" => x.sqrt()?,
                "exp" => x.exp()?,
                "ln" => x.ln()?,
                "log" => x.log10()?,
                "ceil" => x.ceil(),
                "floor" => x.floor(),
                "round" => x.round(0)?,
                "trunc" => x.trunc(0)?,
                "abs" => x.abs(),
                "sign" => x.sign(),
                "trim_scale" => x.trim_scale(),
                _ => return Ok(x.min_scale().map_or("<NULL>".into(), |s| s.to_string())),
            }
            .to_string()
        }
        "C" => {
            let (from, to) = (column(a), column(c));
            let value = read(a, b, options)?;
            match cast(&value, from.ty, to, true, options)? {
                Datum::Null => "<NULL>".to_owned(),
                v => shown_as_text(&v, to.ty, options)?,
            }
        }
        "X" => {
            let ty = column(a);
            fields::extract(c, ty.ty, &read(a, b, options)?, &options.time_zone)?
                .map_or("<NULL>".into(), |n| n.to_string())
        }
        "R" => match read(a, b, options)? {
            Datum::Timestamp(t) => Datum::Timestamp(fields::trunc_timestamp(c, t)?),
            Datum::TimestampTz(t) => Datum::TimestampTz(fields::trunc_timestamptz(c, t, &options.time_zone)?),
            Datum::Interval(i) => Datum::Interval(fields::trunc_interval(c, i)?),
            other => other,
        }
        .to_text(column(a).ty, options),
        "M" => {
            let (i, by) = (interval_of(b, options)?, c.parse().unwrap());
            shown(if a == "*" { interval::interval_mul(i, by)? } else { interval::interval_div(i, by)? }, options)
        }
        "J" => {
            let i = interval_of(b, options)?;
            shown(
                match a {
                    "justify_days" => interval::justify_days(i)?,
                    "justify_hours" => interval::justify_hours(i)?,
                    _ => interval::justify_interval(i)?,
                },
                options,
            )
        }
        "A" | "Z" => {
            let i = interval_of(c, options)?;
            match read(if f[0] == "A" { "timestamp" } else { "timestamptz" }, b, options)? {
                Datum::Timestamp(t) if a == "+" => {
                    Datum::Timestamp(arith::timestamp_plus(t, i)?).to_text(PgType::Timestamp, options)
                }
                Datum::Timestamp(t) => {
                    Datum::Timestamp(arith::timestamp_minus(t, i)?).to_text(PgType::Timestamp, options)
                }
                Datum::TimestampTz(t) => Datum::TimestampTz(arith::timestamptz_plus(t, i, &options.time_zone)?)
                    .to_text(PgType::TimestampTz, options),
                _ => String::new(),
            }
        }
        "G" => match (read("timestamp", b, options)?, read("timestamp", c, options)?) {
            (Datum::Timestamp(x), Datum::Timestamp(y)) if a == "age" => shown(arith::timestamp_age(x, y)?, options),
            (Datum::Timestamp(x), Datum::Timestamp(y)) => shown(arith::timestamp_diff(x, y)?, options),
            _ => String::new(),
        },
        "K" => {
            let printed = match read(a, b, options)? {
                Datum::Timestamp(t) => to_char::timestamp_to_char(t, c)?,
                Datum::TimestampTz(t) => to_char::timestamptz_to_char(t, c, &options.time_zone)?,
                Datum::Interval(i) => to_char::interval_to_char(i, c)?,
                Datum::Numeric(n) => Some(numeric::to_char::numeric_to_char(&n, c)?),
                Datum::Int8(n) => Some(numeric::to_char::int_to_char(n, c)?),
                Datum::Float8(n) => Some(numeric::to_char::float8_to_char(n, c)?),
                Datum::Float4(n) => Some(numeric::to_char::float4_to_char(n, c)?),
                _ => None,
            };
            printed.unwrap_or("<NULL>".into())
        }
        "L" => match a {
            "to_number" => numeric::to_char::to_number(b, c)?.map_or("<NULL>".into(), |n| n.to_string()),
            "to_date" => Datum::Date(to_char::to_date(b, c)?).to_text(PgType::Date, options),
            _ => Datum::TimestampTz(to_char::to_timestamp(b, c, &options.time_zone)?)
                .to_text(PgType::TimestampTz, options),
        },
        "S" => {
            let (style, order) = a.split_once(", ").unwrap();
            options.date_style = match style {
                "ISO" => DateStyle::Iso,
                "SQL" => DateStyle::Sql,
                "German" => DateStyle::German,
                _ => DateStyle::Postgres,
            };
            options.date_order = match order {
                "MDY" => DateOrder::Mdy,
                "DMY" => DateOrder::Dmy,
                _ => DateOrder::Ymd,
            };
            read(b, c, options)?.to_text(column(b).ty, options)
        }
        _ => {
            options.interval_style = match a {
                "postgres" => IntervalStyle::Postgres,
                "postgres_verbose" => IntervalStyle::PostgresVerbose,
                "sql_standard" => IntervalStyle::SqlStandard,
                _ => IntervalStyle::Iso8601,
            };
            shown(interval_of(b, options)?, options)
        }
    })
}

/// Of the conditions that the fixture has; the server has them all.
fn sqlstate(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::FeatureNotSupported => "0A000",
        ErrorKind::StringDataRightTruncation => "22001",
        ErrorKind::NumericValueOutOfRange => "22003",
        ErrorKind::InvalidDatetimeFormat => "22007",
        ErrorKind::DatetimeFieldOverflow => "22008",
        ErrorKind::InvalidTimeZoneDisplacement => "22009",
        ErrorKind::DivisionByZero => "22012",
        ErrorKind::IntervalFieldOverflow => "22015",
        ErrorKind::CharacterNotInRepertoire => "22021",
        ErrorKind::InvalidArgumentForLogarithm => "2201E",
        ErrorKind::InvalidArgumentForPowerFunction => "2201F",
        ErrorKind::InvalidParameterValue => "22023",
        ErrorKind::InvalidTextRepresentation => "22P02",
        ErrorKind::UntranslatableCharacter => "22P05",
        ErrorKind::SyntaxError => "42601",
        ErrorKind::CannotCoerce => "42846",
        _ => "?????",
    }
}

#[test]
fn postgres_answers_the_same() {
    let mut wrong = 0;
    for line in FIXTURE.lines().filter(|l| !l.starts_with('#')) {
        let f: Vec<&str> = line.split('\t').collect();
        let want = f[4..].join("\t");
        let got = match answer(&f, &mut FormatOptions::default()) {
            Ok(text) => text.replace('\n', "<NL>").replace('\t', "<TAB>"),
            Err(e) => {
                let detail = e.detail().map_or(String::new(), |d| format!(" DETAIL {d}"));
                format!("ERROR {} {}{detail}", sqlstate(e.kind()), e.message())
            }
        };
        // Details are compared where the fixture has them.
        let (got, want_shown) = match (got.split_once(" DETAIL "), want.contains(" DETAIL ")) {
            (Some((got, _)), false) => (got.to_owned(), want.clone()),
            _ => (got, want.clone()),
        };
        if got != want_shown {
            wrong += 1;
            eprintln!("{} | {} | {} | {}\n    want {want_shown}\n    got  {got}", f[0], f[1], f[2], f[3]);
        }
    }
    assert_eq!(wrong, 0, "lines differ");
}

proptest::proptest! {
    #[test]
    fn templates_do_not_panic(
        parts in proptest::collection::vec(proptest::sample::select(TEMPLATE_PARTS), 0..8),
        text in "[-+0-9a-z,.: \u{e9}]{0,24}",
        n in proptest::prelude::any::<i64>(),
        x in proptest::prelude::any::<f64>(),
    ) {
        let template = parts.concat();
        let zone = parse_zone("America/New_York").unwrap();
        let _ = to_char::to_timestamp(&text, &template, &zone);
        let _ = to_char::to_date(&text, &template);
        let _ = to_char::timestamp_to_char(n.max(datetime::MIN_TIMESTAMP), &template);
        let i = Interval { months: n as i32, days: (n >> 32) as i32, micros: n };
        let _ = to_char::interval_to_char(i, &template);
        let _ = numeric::to_char::to_number(&text, &template);
        let _ = numeric::to_char::int_to_char(n, &template);
        let _ = numeric::to_char::float8_to_char(x, &template);
        let _ = numeric::to_char::numeric_to_char(&Numeric::from_scaled(n.into(), 9), &template);
    }

    #[test]
    fn text_input_does_not_panic(text in "[-+0-9a-zTPZ,.:{}\"/ \u{e9}\u{0}]{0,24}", ty in 0usize..40) {
        if let Some(ty) = PgType::all().nth(ty) {
            for ty in std::iter::once(ty).chain(ty.array()) {
                for typmod in [-1, 4, 5, 0x50004] {
                    let column = ColumnType { ty, typmod };
                    let _ = Datum::from_text_at(column, &text, &FormatOptions::default(), 0);
                }
            }
        }
    }

    #[test]
    fn text_reads_back(ty in proptest::sample::select(READ_BACK), bits in proptest::prelude::any::<[u8; 16]>()) {
        let wide = i64::from_be_bytes(bits[..8].try_into().unwrap());
        let narrow = i32::from_be_bytes(bits[8..12].try_into().unwrap());
        let value = match ty {
            PgType::Int4 => Datum::Int4(narrow),
            PgType::Int8 => Datum::Int8(wide),
            PgType::Float4 => Datum::Float4(f32::from_bits(narrow as u32)),
            PgType::Float8 => Datum::Float8(f64::from_bits(wide as u64)),
            PgType::Numeric => Datum::Numeric(Numeric::from_scaled(wide.into(), narrow.rem_euclid(40) as u16)),
            PgType::Date => Datum::Date(narrow.rem_euclid(2_000_000)),
            PgType::Time => Datum::Time(wide.rem_euclid(datetime::MICROS_PER_DAY)),
            PgType::Timestamp => Datum::Timestamp(wide.max(datetime::MIN_TIMESTAMP)),
            PgType::TimestampTz => Datum::TimestampTz(wide.max(datetime::MIN_TIMESTAMP)),
            PgType::Interval => Datum::Interval(Interval { months: narrow >> 4, days: (wide >> 36) as i32, micros: wide / 2 }),
            PgType::Uuid => Datum::Uuid(bits),
            PgType::Bytea => Datum::Bytea(bits.to_vec().into()),
            _ => Datum::Oid(narrow as u32),
        };
        let options = FormatOptions::default();
        let text = value.to_text(ty, &options);
        let back = Datum::from_text_at(ty.into(), &text, &options, 0).unwrap();
        proptest::prop_assert!(key::compare(ty, &back, &value).is_eq(), "{text} {back:?} {value:?}");
        let mut bytes = bytes::BytesMut::new();
        value.write_text_bytes(ty, &options, &mut bytes);
        proptest::prop_assert_eq!(&bytes[..], text.as_bytes());
        let mut binary = bytes::BytesMut::new();
        value.write_binary(ty, &mut binary).unwrap();
        let back = Datum::from_binary(ty, &binary).unwrap();
        proptest::prop_assert!(key::compare(ty, &back, &value).is_eq());
        let mut row = row::RowWriter::new();
        row.push(ty, &value).unwrap();
        let row = row.finish();
        let field = row::RowReader::new(&row).unwrap().field(0).flatten().unwrap();
        let back = row::decode_field(ty, field).unwrap();
        proptest::prop_assert_eq!(back.to_text(ty, &options), text);
    }
}

const READ_BACK: &[PgType] = &[
    PgType::Int4,
    PgType::Int8,
    PgType::Float4,
    PgType::Float8,
    PgType::Numeric,
    PgType::Date,
    PgType::Time,
    PgType::Timestamp,
    PgType::TimestampTz,
    PgType::Interval,
    PgType::Uuid,
    PgType::Bytea,
    PgType::Oid,
];

const TEMPLATE_PARTS: &[&str] = &[
    "YYYY", "IYYY", "Y,YYY", "YY", "Y", "CC", "MM", "Month", "RM", "DD", "DDD", "D", "W", "WW", "IW", "ID", "J", "Q",
    "HH", "HH24", "MI", "SS", "MS", "US", "FF3", "SSSS", "AM", "BC", "TZH", "TZM", "FM", "TM", "FX", "th", "-", " ",
    "x", "\"q\"", "9", "0", ".", "D", "G", ",", "S", "PR", "PL", "SG", "V", "EEEE", "RN", "L", "B", "99999", "\u{e9}",
];
