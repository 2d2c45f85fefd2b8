//! Exact decimals of twelve places, written again here so that the tests do not check the product's arithmetic with the product's arithmetic.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

const PLACES: usize = 12;
const ONE: i128 = 10_i128.pow(12);

/// An amount, a quantity or a price, in units of 10^-12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decimal(i128);

impl Decimal {
    pub(crate) const ZERO: Self = Self(0);

    /// Reads a plain decimal; panics on anything else, or on more than twelve places.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fraction = fraction.trim_end_matches('0');
        assert!(
            !whole.is_empty() && plain(whole) && plain(fraction) && fraction.len() <= PLACES,
            "`{text}` is no plain decimal"
        );
        let whole: i128 = whole.parse().unwrap();
        let fraction: i128 = format!("{fraction:0<PLACES$}").parse().unwrap();
        Self(sign * (whole * ONE + fraction))
    }

    pub(crate) const fn integer(count: i64) -> Self {
        Self(count as i128 * ONE)
    }

    /// The price of one unit, of a price for `per` units; panics if it has more than twelve places.
    #[track_caller]
    pub(crate) fn per(self, per: i128) -> Self {
        assert_eq!(self.0 % per, 0, "a price in the tests must be exact: {self} / {per}");
        Self(self.0 / per)
    }

    /// A whole number of units at this price.
    pub(crate) fn times(self, quantity: i64) -> Self {
        Self(self.0 * i128::from(quantity))
    }
}

impl Add for Decimal {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (
            self.0.unsigned_abs() / ONE.unsigned_abs(),
            self.0.unsigned_abs() % ONE.unsigned_abs(),
        );
        write!(f, "{sign}{whole}.{fraction:012}")
    }
}
