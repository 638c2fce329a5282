//! Arrays.

use super::super::{Function, arrays};
use super::{ARRAY, BOOL, COMPATIBLE, COMPATIBLES, ELEMENT, I4, I4S, RECORD, TEXT, f};

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    f(2176, "array_length", &[ARRAY, I4], I4, arrays::array_length),
    f(3179, "cardinality", &[ARRAY], I4, arrays::cardinality),
    f(748, "array_ndims", &[ARRAY], I4, arrays::array_ndims),
    f(747, "array_dims", &[ARRAY], TEXT, arrays::array_dims),
    f(2091, "array_lower", &[ARRAY, I4], I4, arrays::array_lower),
    f(2092, "array_upper", &[ARRAY, I4], I4, arrays::array_upper),
    f(378, "array_append", &[COMPATIBLES, COMPATIBLE], COMPATIBLES, arrays::array_append).lax(),
    f(379, "array_prepend", &[COMPATIBLE, COMPATIBLES], COMPATIBLES, arrays::array_prepend).lax(),
    f(383, "array_cat", &[COMPATIBLES, COMPATIBLES], COMPATIBLES, arrays::array_cat).lax(),
    f(3277, "array_position", &[COMPATIBLES, COMPATIBLE], I4, arrays::array_position).lax(),
    f(3278, "array_position", &[COMPATIBLES, COMPATIBLE, I4], I4, arrays::array_position).lax(),
    f(3279, "array_positions", &[COMPATIBLES, COMPATIBLE], I4S, arrays::array_positions).lax(),
    f(3167, "array_remove", &[COMPATIBLES, COMPATIBLE], COMPATIBLES, arrays::array_remove).lax(),
    f(3168, "array_replace", &[COMPATIBLES, COMPATIBLE, COMPATIBLE], COMPATIBLES, arrays::array_replace).lax(),
    f(6172, "trim_array", &[ARRAY, I4], ARRAY, arrays::trim_array),
    f(1193, "array_fill", &[ELEMENT, I4S], ARRAY, arrays::array_fill).lax(),
    f(9001, arrays::ARRAY_SLICE, &[ARRAY, I4, I4], ARRAY, arrays::slice),
    f(9011, arrays::ARRAY_SET_ELEMENT, &[COMPATIBLES, COMPATIBLE, I4], COMPATIBLES, arrays::set_element).lax(),
    f(9012, arrays::ARRAY_SET_SLICE, &[COMPATIBLES, COMPATIBLES, I4, I4, BOOL, BOOL], COMPATIBLES, arrays::set_slice).lax(),
    f(9003, arrays::RECORD_FIELD, &[RECORD, I4], TEXT, arrays::record_field),
    f(2748, "arraycontains", &[ARRAY, ARRAY], BOOL, arrays::contains),
    f(2749, "arraycontained", &[ARRAY, ARRAY], BOOL, arrays::contained),
    f(2747, "arrayoverlap", &[ARRAY, ARRAY], BOOL, arrays::overlap),
];
