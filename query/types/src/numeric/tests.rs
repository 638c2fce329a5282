use super::*;
use proptest::prelude::*;

fn n(s: &str) -> Numeric {
    Numeric::parse(s).unwrap()
}

#[test]
fn quotients_have_the_scale_of_postgres() {
    assert_eq!(n("1").div(&n("3")).unwrap().to_string(), "0.33333333333333333333");
    assert_eq!(n("10000").div(&n("3")).unwrap().to_string(), "3333.3333333333333333");
    assert_eq!(n("2").sqrt().unwrap().to_string(), "1.414213562373095");
    assert!(n("1").div(&n("0")).is_err());
}

fn any_numeric() -> impl Strategy<Value = Numeric> {
    prop_oneof![
        8 => (any::<i64>(), 0u16..20).prop_map(|(u, s)| Numeric::from_scaled(u.into(), s)),
        4 => (-1000i64..1000, 0u16..4).prop_map(|(u, s)| Numeric::from_scaled(u.into(), s)),
        3 => (any::<i128>(), 0u16..40).prop_map(|(u, s)| Numeric::from_scaled(u, s)),
        2 => "-?[0-9]{40,60}\\.[0-9]{0,30}".prop_map(|s| n(&s)),
        1 => Just(Numeric::NAN),
        1 => Just(Numeric::INFINITY),
        1 => Just(Numeric::NEG_INFINITY),
    ]
}

proptest! {
    #[test]
    fn sortable_order_is_value_order(a in any_numeric(), b in any_numeric()) {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        a.write_sortable(&mut x);
        b.write_sortable(&mut y);
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        if a != b {
            prop_assert!(!x.starts_with(&y) && !y.starts_with(&x));
        }
    }

    #[test]
    fn forms_round_trip(a in any_numeric()) {
        for back in [
            Numeric::from_sortable(&a.to_sortable()).unwrap(),
            n(&a.to_string()),
            { let mut out = Vec::new(); a.write_binary(&mut out); Numeric::from_binary(&out).unwrap() },
        ] {
            prop_assert_eq!(&back, &a);
            prop_assert_eq!(back.to_string(), a.to_string());
        }
    }

    #[test]
    fn garbage_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Numeric::from_sortable(&bytes);
        let _ = Numeric::from_binary(&bytes);
    }

    #[test]
    fn sums_agree_with_additions(values in proptest::collection::vec(any_numeric(), 0..20)) {
        let mut sum = NumericSum::default();
        let mut plain = Numeric::ZERO;
        for v in &values {
            sum.add(v).unwrap();
            plain = plain.add(v).unwrap();
        }
        prop_assert_eq!(sum.finish().unwrap().to_string(), plain.to_string());
    }
}
