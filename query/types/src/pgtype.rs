//! The types that exist, by Postgres's names and OIDs (`pg_type.dat`).

use std::fmt;

/// A SQL type without its modifier. Arrays name their element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PgType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Varchar,
    /// `char(n)`, blank-padded.
    Bpchar,
    /// `"char"`, one byte; only in the catalogs.
    Char,
    Name,
    Bytea,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Oid,
    Regclass,
    Regtype,
    Regproc,
    Regnamespace,
    Regrole,
    Xid,
    Int2Vector,
    OidVector,
    PgNodeTree,
    AclItem,
    /// A literal or parameter whose type is not yet known.
    Unknown,
    /// A composite value of unknown shape (`ROW(…)`).
    Record,
    Void,
    /// An array of a scalar type.
    Array(Scalar),
}

/// The scalar types that arrays can hold: a [`PgType`] known not to be an array, so that [`PgType`] stays `Copy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Varchar,
    Bpchar,
    Char,
    Name,
    Bytea,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Oid,
    Regclass,
    Regtype,
    AclItem,
}

/// Postgres's type categories (`pg_type.typcategory`), used to resolve operators and functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum TypeCategory {
    Array,
    Boolean,
    DateTime,
    Numeric,
    String,
    Timespan,
    UserDefined,
    Unknown,
    Pseudo,
    Internal,
}

struct Row {
    ty: PgType,
    scalar: Option<Scalar>,
    oid: u32,
    array_oid: u32,
    /// `pg_type.typname`
    name: &'static str,
    /// what `format_type` prints
    sql: &'static str,
    /// `pg_type.typlen`, bytes; -1 variable
    len: i16,
    category: TypeCategory,
    preferred: bool,
}

#[allow(clippy::too_many_arguments, reason = "a line of the table below")]
const fn row(
    ty: PgType,
    scalar: Option<Scalar>,
    oids: (u32, u32),
    name: &'static str,
    sql: &'static str,
    len: i16,
    category: TypeCategory,
    preferred: bool,
) -> Row {
    Row { ty, scalar, oid: oids.0, array_oid: oids.1, name, sql, len, category, preferred }
}

use TypeCategory as C;
#[rustfmt::skip]
static TYPES: &[Row] = &[
    row(PgType::Bool, Some(Scalar::Bool), (16, 1000), "bool", "boolean", 1, C::Boolean, true),
    row(PgType::Bytea, Some(Scalar::Bytea), (17, 1001), "bytea", "bytea", -1, C::UserDefined, false),
    row(PgType::Char, Some(Scalar::Char), (18, 1002), "char", "\"char\"", 1, C::Internal, false),
    row(PgType::Name, Some(Scalar::Name), (19, 1003), "name", "name", 64, C::String, false),
    row(PgType::Int8, Some(Scalar::Int8), (20, 1016), "int8", "bigint", 8, C::Numeric, false),
    row(PgType::Int2, Some(Scalar::Int2), (21, 1005), "int2", "smallint", 2, C::Numeric, false),
    row(PgType::Int2Vector, None, (22, 1006), "int2vector", "int2vector", -1, C::Array, false),
    row(PgType::Int4, Some(Scalar::Int4), (23, 1007), "int4", "integer", 4, C::Numeric, false),
    row(PgType::Regproc, None, (24, 1008), "regproc", "regproc", 4, C::Numeric, false),
    row(PgType::Text, Some(Scalar::Text), (25, 1009), "text", "text", -1, C::String, true),
    row(PgType::Oid, Some(Scalar::Oid), (26, 1028), "oid", "oid", 4, C::Numeric, true),
    row(PgType::Xid, None, (28, 1011), "xid", "xid", 4, C::UserDefined, false),
    row(PgType::OidVector, None, (30, 1013), "oidvector", "oidvector", -1, C::Array, false),
    row(PgType::Json, Some(Scalar::Json), (114, 199), "json", "json", -1, C::UserDefined, false),
    row(PgType::PgNodeTree, None, (194, 0), "pg_node_tree", "pg_node_tree", -1, C::Internal, false),
    row(PgType::Float4, Some(Scalar::Float4), (700, 1021), "float4", "real", 4, C::Numeric, false),
    row(PgType::Float8, Some(Scalar::Float8), (701, 1022), "float8", "double precision", 8, C::Numeric, true),
    row(PgType::Unknown, None, (705, 0), "unknown", "unknown", -2, C::Unknown, false),
    row(PgType::AclItem, Some(Scalar::AclItem), (1033, 1034), "aclitem", "aclitem", 12, C::UserDefined, false),
    row(PgType::Bpchar, Some(Scalar::Bpchar), (1042, 1014), "bpchar", "character", -1, C::String, false),
    row(PgType::Varchar, Some(Scalar::Varchar), (1043, 1015), "varchar", "character varying", -1, C::String, false),
    row(PgType::Date, Some(Scalar::Date), (1082, 1182), "date", "date", 4, C::DateTime, false),
    row(PgType::Time, Some(Scalar::Time), (1083, 1183), "time", "time without time zone", 8, C::DateTime, false),
    row(PgType::Timestamp, Some(Scalar::Timestamp), (1114, 1115), "timestamp", "timestamp without time zone", 8, C::DateTime, false),
    row(PgType::TimestampTz, Some(Scalar::TimestampTz), (1184, 1185), "timestamptz", "timestamp with time zone", 8, C::DateTime, true),
    row(PgType::Interval, Some(Scalar::Interval), (1186, 1187), "interval", "interval", 16, C::Timespan, true),
    row(PgType::TimeTz, Some(Scalar::TimeTz), (1266, 1270), "timetz", "time with time zone", 12, C::DateTime, false),
    row(PgType::Numeric, Some(Scalar::Numeric), (1700, 1231), "numeric", "numeric", -1, C::Numeric, false),
    row(PgType::Regclass, Some(Scalar::Regclass), (2205, 2210), "regclass", "regclass", 4, C::Numeric, false),
    row(PgType::Regtype, Some(Scalar::Regtype), (2206, 2211), "regtype", "regtype", 4, C::Numeric, false),
    row(PgType::Record, None, (2249, 2287), "record", "record", -1, C::Pseudo, false),
    row(PgType::Void, None, (2278, 0), "void", "void", 4, C::Pseudo, false),
    row(PgType::Uuid, Some(Scalar::Uuid), (2950, 2951), "uuid", "uuid", 16, C::UserDefined, false),
    row(PgType::Jsonb, Some(Scalar::Jsonb), (3802, 3807), "jsonb", "jsonb", -1, C::UserDefined, false),
    row(PgType::Regnamespace, None, (4089, 4090), "regnamespace", "regnamespace", 4, C::Numeric, false),
    row(PgType::Regrole, None, (4096, 4097), "regrole", "regrole", 4, C::Numeric, false),
];

impl From<Scalar> for PgType {
    fn from(scalar: Scalar) -> PgType {
        TYPES.iter().find(|r| r.scalar == Some(scalar)).map_or(PgType::Unknown, |r| r.ty)
    }
}

impl PgType {
    fn row(self) -> &'static Row {
        let base = match self {
            PgType::Array(element) => element.into(),
            scalar => scalar,
        };
        TYPES.iter().find(|r| r.ty == base).unwrap_or(&TYPES[0])
    }

    /// Every type that has a row of its own in `pg_type`, arrays excepted.
    pub fn all() -> impl Iterator<Item = PgType> {
        TYPES.iter().map(|r| r.ty)
    }

    /// Postgres's OID of the type.
    pub fn oid(self) -> u32 {
        match self {
            PgType::Array(_) => self.row().array_oid,
            _ => self.row().oid,
        }
    }

    /// The type with that OID, if we have it.
    pub fn from_oid(oid: u32) -> Option<PgType> {
        TYPES.iter().find_map(|r| {
            if r.oid == oid {
                Some(r.ty)
            } else if r.array_oid == oid {
                r.scalar.map(PgType::Array)
            } else {
                None
            }
        })
    }

    /// `pg_type.typname`: `int4`, `_int4`.
    pub fn name(self) -> String {
        match self {
            PgType::Array(_) => format!("_{}", self.row().name),
            _ => self.row().name.to_owned(),
        }
    }

    /// The type by `typname` or SQL name in lower case (`int4`, `integer`, `_text`, `text[]`).
    pub fn from_name(name: &str) -> Option<PgType> {
        if let Some(element) = name.strip_suffix("[]").or_else(|| name.strip_prefix('_')) {
            return PgType::from_name(element)?.array();
        }
        let name = match name {
            "int" => "int4",
            "decimal" => "numeric",
            "float" => "float8",
            "char" => "bpchar",
            other => other,
        };
        TYPES.iter().find(|r| (r.name == name && r.ty != PgType::Char) || r.sql == name).map(|r| r.ty)
    }

    /// The name that `format_type` prints without a modifier: `integer`, `text[]`.
    pub fn sql_name(self) -> String {
        match self {
            PgType::Array(_) => format!("{}[]", self.row().sql),
            _ => self.row().sql.to_owned(),
        }
    }

    /// `pg_type.typlen` in bytes; -1 for variable length.
    #[allow(clippy::len_without_is_empty, reason = "the catalog's word, not a container's")]
    pub fn len(self) -> i16 {
        match self {
            PgType::Array(_) => -1,
            _ => self.row().len,
        }
    }

    /// `pg_type.typcategory`.
    pub fn category(self) -> TypeCategory {
        match self {
            PgType::Array(_) => TypeCategory::Array,
            _ => self.row().category,
        }
    }

    /// Whether the type is the preferred one of its category.
    pub fn is_preferred(self) -> bool {
        !matches!(self, PgType::Array(_)) && self.row().preferred
    }

    /// The array of this type, where arrays of it exist.
    pub fn array(self) -> Option<PgType> {
        match self {
            PgType::Array(_) => None,
            _ => self.row().scalar.map(PgType::Array),
        }
    }

    /// The element type of an array; `int2vector` and `oidvector` count as arrays.
    pub fn element(self) -> Option<PgType> {
        match self {
            PgType::Array(element) => Some(element.into()),
            PgType::Int2Vector => Some(PgType::Int2),
            PgType::OidVector => Some(PgType::Oid),
            _ => None,
        }
    }

    /// text, varchar, char(n), name and undecided literals: values that are a string in memory.
    pub fn is_string(self) -> bool {
        matches!(self, PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Char | PgType::Name | PgType::Unknown)
    }

    /// oid and the reg* types: an unsigned 32-bit number in memory.
    pub fn is_oid_like(self) -> bool {
        matches!(
            self,
            PgType::Oid
                | PgType::Regclass
                | PgType::Regtype
                | PgType::Regproc
                | PgType::Regnamespace
                | PgType::Regrole
                | PgType::Xid
        )
    }
}

impl fmt::Display for PgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql_name())
    }
}

/// A type with its modifier, as a column or a cast has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnType {
    /// The type.
    pub ty: PgType,
    /// `pg_attribute.atttypmod`: -1 for none; `varchar(n)`: n + 4; `numeric(p,s)`: ((p << 16) | (s & 0x7ff)) + 4; `timestamp(p)`: p.
    pub typmod: i32,
}

impl From<PgType> for ColumnType {
    fn from(ty: PgType) -> Self {
        ColumnType { ty, typmod: -1 }
    }
}

impl ColumnType {
    /// `varchar(n)`, `char(n)`: the length in characters, if one is set.
    pub fn char_length(self) -> Option<usize> {
        match self.ty {
            PgType::Varchar | PgType::Bpchar if self.typmod >= 4 => usize::try_from(self.typmod - 4).ok(),
            _ => None,
        }
    }

    /// `numeric(p,s)`: precision and scale (scale may be negative, as since Postgres 15), if set.
    pub fn numeric_precision_scale(self) -> Option<(u32, i32)> {
        if self.ty != PgType::Numeric || self.typmod < 4 {
            return None;
        }
        let packed = self.typmod - 4;
        let scale = ((packed & 0x7ff) ^ 1024) - 1024;
        Some((((packed >> 16) & 0xffff) as u32, scale))
    }

    /// The modifier of `numeric(p,s)`.
    pub fn numeric_typmod(precision: u32, scale: i32) -> i32 {
        (((precision as i32) << 16) | (scale & 0x7ff)) + 4
    }

    /// time, timestamp and interval: digits after the second's point, if set.
    pub fn time_precision(self) -> Option<u32> {
        match self.ty {
            PgType::Time | PgType::TimeTz | PgType::Timestamp | PgType::TimestampTz => u32::try_from(self.typmod).ok(),
            PgType::Interval if self.typmod >= 0 => Some((self.typmod & 0xffff) as u32).filter(|p| *p <= 6),
            _ => None,
        }
    }
}

/// The fields that an interval's modifier leaves, as they are written; none when it leaves all.
fn interval_fields(typmod: i32) -> Option<&'static str> {
    const FIELDS: &[&str] = &[
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "year to month",
        "day to hour",
        "day to minute",
        "day to second",
        "hour to minute",
        "hour to second",
        "minute to second",
    ];
    let range = |typmod: i32| (typmod >> 16) & 0x7fff;
    let of = |fields| crate::datetime::interval::interval_fields_typmod(fields, None).map(range);
    FIELDS.iter().copied().find(|fields| of(fields) == Some(range(typmod)))
}

impl fmt::Display for ColumnType {
    /// What `format_type(oid, typmod)` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(n) = self.char_length() {
            return write!(f, "{}({n})", self.ty.sql_name());
        }
        if let Some((precision, scale)) = self.numeric_precision_scale() {
            return write!(f, "numeric({precision},{scale})");
        }
        match (self.ty, self.time_precision()) {
            (PgType::Time, Some(p)) => write!(f, "time({p}) without time zone"),
            (PgType::TimeTz, Some(p)) => write!(f, "time({p}) with time zone"),
            (PgType::Timestamp, Some(p)) => write!(f, "timestamp({p}) without time zone"),
            (PgType::TimestampTz, Some(p)) => write!(f, "timestamp({p}) with time zone"),
            (PgType::Interval, precision) if self.typmod >= 0 => {
                f.write_str("interval")?;
                if let Some(fields) = interval_fields(self.typmod) {
                    write!(f, " {fields}")?;
                }
                precision.map_or(Ok(()), |p| write!(f, "({p})"))
            }
            _ => f.write_str(&self.ty.sql_name()),
        }
    }
}
