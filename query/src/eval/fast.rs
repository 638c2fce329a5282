//! The commonest operators on the commonest types, without a call: keys are integers and strings.

use std::cmp::Ordering;

use stratos_types::Datum;

use crate::functions::Kernel;

/// The result where it is certain; `None` leaves it (and every error) to the function.
pub fn binary(kernel: Kernel, x: &Datum, y: &Datum) -> Option<Datum> {
    match (x, y) {
        (Datum::Int4(x), Datum::Int4(y)) => match kernel {
            Kernel::Add => x.checked_add(*y).map(Datum::Int4),
            Kernel::Sub => x.checked_sub(*y).map(Datum::Int4),
            Kernel::Mul => x.checked_mul(*y).map(Datum::Int4),
            _ => comparison(kernel, x.cmp(y)),
        },
        (Datum::Int8(x), Datum::Int8(y)) => match kernel {
            Kernel::Add => x.checked_add(*y).map(Datum::Int8),
            Kernel::Sub => x.checked_sub(*y).map(Datum::Int8),
            Kernel::Mul => x.checked_mul(*y).map(Datum::Int8),
            _ => comparison(kernel, x.cmp(y)),
        },
        (Datum::Text(x), Datum::Text(y)) => comparison(kernel, x.as_bytes().cmp(y.as_bytes())),
        (Datum::Uuid(x), Datum::Uuid(y)) => comparison(kernel, x.cmp(y)),
        (Datum::Bool(x), Datum::Bool(y)) => comparison(kernel, x.cmp(y)),
        (Datum::Oid(x), Datum::Oid(y)) => comparison(kernel, x.cmp(y)),
        (Datum::Timestamp(x), Datum::Timestamp(y)) | (Datum::TimestampTz(x), Datum::TimestampTz(y)) => {
            comparison(kernel, x.cmp(y))
        }
        _ => None,
    }
}

fn comparison(kernel: Kernel, order: Ordering) -> Option<Datum> {
    let holds = match kernel {
        Kernel::Eq => order.is_eq(),
        Kernel::NotEq => order.is_ne(),
        Kernel::Lt => order.is_lt(),
        Kernel::LtEq => order.is_le(),
        Kernel::Gt => order.is_gt(),
        Kernel::GtEq => order.is_ge(),
        Kernel::Add | Kernel::Sub | Kernel::Mul | Kernel::Div | Kernel::Rem | Kernel::Neg => {
            return None;
        }
    };
    Some(Datum::Bool(holds))
}
