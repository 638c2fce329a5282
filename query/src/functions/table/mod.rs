//! The signatures. Numbers, strictness and volatility are those of `pg_proc.dat` and `pg_operator.dat` of PostgreSQL 15.

mod arithmetic;
mod arrays;
mod compare;
mod datetime;
mod encoding;
mod jsons;
mod math;
pub mod operators;
mod pattern;
mod system;
mod text;

use stratos_types::{PgType, Scalar};

use super::{ArgType, Function, Kernel, ReturnType, Volatility};
use crate::session::EvalContext;

type Eval = fn(&EvalContext, &[PgType], &[stratos_types::Datum]) -> stratos_types::Result<stratos_types::Datum>;

/// All tables.
pub static ALL: &[&[Function]] = &[
    compare::FUNCTIONS,
    arithmetic::FUNCTIONS,
    text::FUNCTIONS,
    pattern::FUNCTIONS,
    datetime::FUNCTIONS,
    math::FUNCTIONS,
    arrays::FUNCTIONS,
    encoding::FUNCTIONS,
    jsons::FUNCTIONS,
    system::FUNCTIONS,
];

/// An immutable, strict function; the methods say otherwise.
const fn f(oid: u32, name: &'static str, args: &'static [ArgType], ret: ArgType, eval: Eval) -> Function {
    Function {
        oid,
        name,
        args,
        variadic: false,
        optional: 0,
        ret: match ret {
            ArgType::Is(ty) => ReturnType::Is(ty),
            ArgType::AnyArray => ReturnType::AnyArray,
            ArgType::Compatible => ReturnType::Compatible,
            ArgType::CompatibleArray => ReturnType::CompatibleArray,
            ArgType::AnyElement | ArgType::AnyNonArray | ArgType::Any => ReturnType::AnyElement,
        },
        strict: true,
        volatility: Volatility::Immutable,
        eval,
        kernel: None,
    }
}

impl Function {
    const fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// Called with NULLs too.
    const fn lax(mut self) -> Self {
        self.strict = false;
        self
    }

    const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    const fn optional(mut self, count: usize) -> Self {
        self.optional = count;
        self
    }

    const fn kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = Some(kernel);
        self
    }
}

macro_rules! short_names {
    ($($name:ident = $ty:expr;)*) => {
        $(const $name: ArgType = ArgType::Is($ty);)*
    };
}

short_names! {
    BOOL = PgType::Bool;
    BYTEA = PgType::Bytea;
    CHAR = PgType::Char;
    NAME = PgType::Name;
    I8 = PgType::Int8;
    I2 = PgType::Int2;
    I4 = PgType::Int4;
    REGPROC = PgType::Regproc;
    TEXT = PgType::Text;
    OID = PgType::Oid;
    XID = PgType::Xid;
    OIDV = PgType::OidVector;
    JSON = PgType::Json;
    NODE = PgType::PgNodeTree;
    F4 = PgType::Float4;
    F8 = PgType::Float8;
    ACL = PgType::AclItem;
    BPCHAR = PgType::Bpchar;
    DATE = PgType::Date;
    TIME = PgType::Time;
    TS = PgType::Timestamp;
    TSTZ = PgType::TimestampTz;
    INTERVAL = PgType::Interval;
    TIMETZ = PgType::TimeTz;
    NUM = PgType::Numeric;
    REGCLASS = PgType::Regclass;
    REGTYPE = PgType::Regtype;
    RECORD = PgType::Record;
    VOID = PgType::Void;
    UUID = PgType::Uuid;
    JSONB = PgType::Jsonb;
    REGNAMESPACE = PgType::Regnamespace;
    REGROLE = PgType::Regrole;
    NAMES = PgType::Array(Scalar::Name);
    I4S = PgType::Array(Scalar::Int4);
    TEXTS = PgType::Array(Scalar::Text);
    ACLS = PgType::Array(Scalar::AclItem);
}
const ELEMENT: ArgType = ArgType::AnyElement;
const ARRAY: ArgType = ArgType::AnyArray;
const COMPATIBLE: ArgType = ArgType::Compatible;
const COMPATIBLES: ArgType = ArgType::CompatibleArray;
const NON_ARRAY: ArgType = ArgType::AnyNonArray;
const ANY: ArgType = ArgType::Any;
