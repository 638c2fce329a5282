//! The aggregates' signatures, with the numbers of `pg_proc.dat` of PostgreSQL 15.

use stratos_types::{PgType, Scalar};

use super::super::{Aggregate, AggregateKind as K, ArgType, ReturnType};

const ANY: ArgType = ArgType::Any;
const ARRAY: ArgType = ArgType::AnyArray;
const BOOL: ArgType = ArgType::Is(PgType::Bool);
const BPCHAR: ArgType = ArgType::Is(PgType::Bpchar);
const BYTEA: ArgType = ArgType::Is(PgType::Bytea);
const DATE: ArgType = ArgType::Is(PgType::Date);
const ELEMENT: ArgType = ArgType::AnyElement;
const F4: ArgType = ArgType::Is(PgType::Float4);
const F8: ArgType = ArgType::Is(PgType::Float8);
const F8S: ArgType = ArgType::Is(PgType::Array(Scalar::Float8));
const I2: ArgType = ArgType::Is(PgType::Int2);
const I4: ArgType = ArgType::Is(PgType::Int4);
const I8: ArgType = ArgType::Is(PgType::Int8);
const INTERVAL: ArgType = ArgType::Is(PgType::Interval);
const INTERVALS: ArgType = ArgType::Is(PgType::Array(Scalar::Interval));
const JSON: ArgType = ArgType::Is(PgType::Json);
const JSONB: ArgType = ArgType::Is(PgType::Jsonb);
const NON_ARRAY: ArgType = ArgType::AnyNonArray;
const NUM: ArgType = ArgType::Is(PgType::Numeric);
const OID: ArgType = ArgType::Is(PgType::Oid);
const TEXT: ArgType = ArgType::Is(PgType::Text);
const TIME: ArgType = ArgType::Is(PgType::Time);
const TIMETZ: ArgType = ArgType::Is(PgType::TimeTz);
const TS: ArgType = ArgType::Is(PgType::Timestamp);
const TSTZ: ArgType = ArgType::Is(PgType::TimestampTz);

const fn a(oid: u32, name: &'static str, args: &'static [ArgType], ret: ArgType, kind: K) -> Aggregate {
    Aggregate {
        oid,
        name,
        args,
        ret: match ret {
            ArgType::Is(ty) => ReturnType::Is(ty),
            ArgType::AnyArray => ReturnType::AnyArray,
            ArgType::Compatible => ReturnType::Compatible,
            ArgType::CompatibleArray => ReturnType::CompatibleArray,
            ArgType::AnyElement | ArgType::AnyNonArray | ArgType::Any => ReturnType::AnyElement,
        },
        kind,
    }
}

#[rustfmt::skip]
pub static AGGREGATES: &[Aggregate] = &[
    a(2335, "array_agg", &[NON_ARRAY], ARRAY, K::ArrayAgg),
    a(2100, "avg", &[I8], NUM, K::Avg),
    a(2101, "avg", &[I4], NUM, K::Avg),
    a(2102, "avg", &[I2], NUM, K::Avg),
    a(2103, "avg", &[NUM], NUM, K::Avg),
    a(2104, "avg", &[F4], F8, K::Avg),
    a(2105, "avg", &[F8], F8, K::Avg),
    a(2106, "avg", &[INTERVAL], INTERVAL, K::Avg),
    a(2236, "bit_and", &[I2], I2, K::BitAnd),
    a(2238, "bit_and", &[I4], I4, K::BitAnd),
    a(2240, "bit_and", &[I8], I8, K::BitAnd),
    a(2237, "bit_or", &[I2], I2, K::BitOr),
    a(2239, "bit_or", &[I4], I4, K::BitOr),
    a(2241, "bit_or", &[I8], I8, K::BitOr),
    a(6164, "bit_xor", &[I2], I2, K::BitXor),
    a(6165, "bit_xor", &[I4], I4, K::BitXor),
    a(6166, "bit_xor", &[I8], I8, K::BitXor),
    a(2517, "bool_and", &[BOOL], BOOL, K::BoolAnd),
    a(2518, "bool_or", &[BOOL], BOOL, K::BoolOr),
    a(2829, "corr", &[F8, F8], F8, K::Corr),
    a(2147, "count", &[ANY], I8, K::Count),
    a(2803, "count", &[], I8, K::CountStar),
    a(2827, "covar_pop", &[F8, F8], F8, K::CovarPop),
    a(2828, "covar_samp", &[F8, F8], F8, K::CovarSamp),
    a(2519, "every", &[BOOL], BOOL, K::BoolAnd),
    a(3175, "json_agg", &[ELEMENT], JSON, K::JsonAgg),
    a(3197, "json_object_agg", &[ANY, ANY], JSON, K::JsonObjectAgg),
    a(3267, "jsonb_agg", &[ELEMENT], JSONB, K::JsonAgg),
    a(3270, "jsonb_object_agg", &[ANY, ANY], JSONB, K::JsonObjectAgg),
    a(2050, "max", &[ARRAY], ARRAY, K::Max),
    a(2115, "max", &[I8], I8, K::Max),
    a(2116, "max", &[I4], I4, K::Max),
    a(2117, "max", &[I2], I2, K::Max),
    a(2118, "max", &[OID], OID, K::Max),
    a(2119, "max", &[F4], F4, K::Max),
    a(2120, "max", &[F8], F8, K::Max),
    a(2122, "max", &[DATE], DATE, K::Max),
    a(2123, "max", &[TIME], TIME, K::Max),
    a(2124, "max", &[TIMETZ], TIMETZ, K::Max),
    a(2126, "max", &[TS], TS, K::Max),
    a(2127, "max", &[TSTZ], TSTZ, K::Max),
    a(2128, "max", &[INTERVAL], INTERVAL, K::Max),
    a(2129, "max", &[TEXT], TEXT, K::Max),
    a(2130, "max", &[NUM], NUM, K::Max),
    a(2244, "max", &[BPCHAR], BPCHAR, K::Max),
    a(2051, "min", &[ARRAY], ARRAY, K::Min),
    a(2131, "min", &[I8], I8, K::Min),
    a(2132, "min", &[I4], I4, K::Min),
    a(2133, "min", &[I2], I2, K::Min),
    a(2134, "min", &[OID], OID, K::Min),
    a(2135, "min", &[F4], F4, K::Min),
    a(2136, "min", &[F8], F8, K::Min),
    a(2138, "min", &[DATE], DATE, K::Min),
    a(2139, "min", &[TIME], TIME, K::Min),
    a(2140, "min", &[TIMETZ], TIMETZ, K::Min),
    a(2142, "min", &[TS], TS, K::Min),
    a(2143, "min", &[TSTZ], TSTZ, K::Min),
    a(2144, "min", &[INTERVAL], INTERVAL, K::Min),
    a(2145, "min", &[TEXT], TEXT, K::Min),
    a(2146, "min", &[NUM], NUM, K::Min),
    a(2245, "min", &[BPCHAR], BPCHAR, K::Min),
    a(3984, "mode", &[ELEMENT], ELEMENT, K::Mode),
    a(3974, "percentile_cont", &[F8, F8], F8, K::PercentileCont),
    a(3976, "percentile_cont", &[F8, INTERVAL], INTERVAL, K::PercentileCont),
    a(3980, "percentile_cont", &[F8S, F8], F8S, K::PercentileCont),
    a(3982, "percentile_cont", &[F8S, INTERVAL], INTERVALS, K::PercentileCont),
    a(3972, "percentile_disc", &[F8, ELEMENT], ELEMENT, K::PercentileDisc),
    a(3978, "percentile_disc", &[F8S, ELEMENT], ARRAY, K::PercentileDisc),
    a(2822, "regr_avgx", &[F8, F8], F8, K::RegrAvgX),
    a(2823, "regr_avgy", &[F8, F8], F8, K::RegrAvgY),
    a(2818, "regr_count", &[F8, F8], I8, K::RegrCount),
    a(2826, "regr_intercept", &[F8, F8], F8, K::RegrIntercept),
    a(2824, "regr_r2", &[F8, F8], F8, K::RegrR2),
    a(2825, "regr_slope", &[F8, F8], F8, K::RegrSlope),
    a(2819, "regr_sxx", &[F8, F8], F8, K::RegrSxx),
    a(2821, "regr_sxy", &[F8, F8], F8, K::RegrSxy),
    a(2820, "regr_syy", &[F8, F8], F8, K::RegrSyy),
    a(2154, "stddev", &[I8], NUM, K::StddevSamp),
    a(2155, "stddev", &[I4], NUM, K::StddevSamp),
    a(2156, "stddev", &[I2], NUM, K::StddevSamp),
    a(2157, "stddev", &[F4], F8, K::StddevSamp),
    a(2158, "stddev", &[F8], F8, K::StddevSamp),
    a(2159, "stddev", &[NUM], NUM, K::StddevSamp),
    a(2724, "stddev_pop", &[I8], NUM, K::StddevPop),
    a(2725, "stddev_pop", &[I4], NUM, K::StddevPop),
    a(2726, "stddev_pop", &[I2], NUM, K::StddevPop),
    a(2727, "stddev_pop", &[F4], F8, K::StddevPop),
    a(2728, "stddev_pop", &[F8], F8, K::StddevPop),
    a(2729, "stddev_pop", &[NUM], NUM, K::StddevPop),
    a(2712, "stddev_samp", &[I8], NUM, K::StddevSamp),
    a(2713, "stddev_samp", &[I4], NUM, K::StddevSamp),
    a(2714, "stddev_samp", &[I2], NUM, K::StddevSamp),
    a(2715, "stddev_samp", &[F4], F8, K::StddevSamp),
    a(2716, "stddev_samp", &[F8], F8, K::StddevSamp),
    a(2717, "stddev_samp", &[NUM], NUM, K::StddevSamp),
    a(3538, "string_agg", &[TEXT, TEXT], TEXT, K::StringAgg),
    a(3545, "string_agg", &[BYTEA, BYTEA], BYTEA, K::StringAgg),
    a(2107, "sum", &[I8], NUM, K::Sum),
    a(2108, "sum", &[I4], I8, K::Sum),
    a(2109, "sum", &[I2], I8, K::Sum),
    a(2110, "sum", &[F4], F4, K::Sum),
    a(2111, "sum", &[F8], F8, K::Sum),
    a(2113, "sum", &[INTERVAL], INTERVAL, K::Sum),
    a(2114, "sum", &[NUM], NUM, K::Sum),
    a(2718, "var_pop", &[I8], NUM, K::VarPop),
    a(2719, "var_pop", &[I4], NUM, K::VarPop),
    a(2720, "var_pop", &[I2], NUM, K::VarPop),
    a(2721, "var_pop", &[F4], F8, K::VarPop),
    a(2722, "var_pop", &[F8], F8, K::VarPop),
    a(2723, "var_pop", &[NUM], NUM, K::VarPop),
    a(2641, "var_samp", &[I8], NUM, K::VarSamp),
    a(2642, "var_samp", &[I4], NUM, K::VarSamp),
    a(2643, "var_samp", &[I2], NUM, K::VarSamp),
    a(2644, "var_samp", &[F4], F8, K::VarSamp),
    a(2645, "var_samp", &[F8], F8, K::VarSamp),
    a(2646, "var_samp", &[NUM], NUM, K::VarSamp),
    a(2148, "variance", &[I8], NUM, K::VarSamp),
    a(2149, "variance", &[I4], NUM, K::VarSamp),
    a(2150, "variance", &[I2], NUM, K::VarSamp),
    a(2151, "variance", &[F4], F8, K::VarSamp),
    a(2152, "variance", &[F8], F8, K::VarSamp),
    a(2153, "variance", &[NUM], NUM, K::VarSamp),
];
