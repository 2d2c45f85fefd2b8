//! Money: a fixed-point decimal of scale 12 in an `i128`. Never a float, never unchecked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An exact decimal with twelve digits behind the point: an amount of money, a unit price, or a quantity.
///
/// Holds up to 28 digits (sixteen before the point), as the column type `Decimal(28, 12)` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Amount(i128);

/// Why a text or a calculation is no [`Amount`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is not a plain decimal number such as `2.50`.
    #[error("{text:?} is not a plain decimal number such as \"2.50\"")]
    NotADecimal {
        /// What was read.
        text: String,
    },
    /// More digits behind the point than an amount holds.
    #[error("{text:?} has more than {} digits behind the point", Amount::SCALE)]
    TooPrecise {
        /// What was read.
        text: String,
    },
    /// More digits than `Decimal(28, 12)` holds.
    #[error("amount exceeds 28 digits")]
    Overflow,
}

impl Amount {
    /// Digits behind the point.
    pub const SCALE: u32 = 12;
    /// Digits in all.
    pub const PRECISION: u8 = 28;
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One unit (one dollar, one token).
    pub const ONE: Self = Self(10_i128.pow(Self::SCALE));
    /// The largest amount of `Decimal(28, 12)`.
    pub const MAX: Self = Self(10_i128.pow(Self::PRECISION as u32) - 1);

    /// The most 10^-12 that fit.
    pub const MAX_UNITS: i128 = 10_i128.pow(Self::PRECISION as u32) - 1;

    /// Makes an amount of `units` times 10^-12.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 28 digits.
    pub const fn from_units(units: i128) -> Result<Self, AmountError> {
        if units > Self::MAX_UNITS || units < -Self::MAX_UNITS {
            return Err(AmountError::Overflow);
        }
        Ok(Self(units))
    }

    /// Makes an amount of a whole number; every `u64` fits the `i128`, and up to 10^16 fits the column.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] from 10^16.
    pub const fn from_integer(whole: u64) -> Result<Self, AmountError> {
        Self::from_units(whole as i128 * Self::ONE.0)
    }

    /// The amount in units of 10^-12.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Adds, or refuses to overflow.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 28 digits.
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.0
            .checked_add(other.0)
            .ok_or(AmountError::Overflow)
            .and_then(Self::from_units)
    }

    /// Subtracts, or refuses to overflow.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 28 digits.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.0
            .checked_sub(other.0)
            .ok_or(AmountError::Overflow)
            .and_then(Self::from_units)
    }

    /// Multiplies two decimals, rounding once, half to even.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 28 digits.
    pub fn checked_mul(self, other: Self) -> Result<Self, AmountError> {
        self.mul_ratio(other.0, Self::ONE.0)
    }

    /// Divides by a whole number, rounding once, half to even.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] if `divisor` is zero.
    pub fn checked_div(self, divisor: u64) -> Result<Self, AmountError> {
        self.mul_ratio(1, i128::from(divisor))
    }

    /// `self * numerator / denominator`, rounded once, half to even.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] if the product leaves the `i128` or the result 28 digits, or the denominator is not positive.
    pub fn mul_ratio(self, numerator: i128, denominator: i128) -> Result<Self, AmountError> {
        if denominator <= 0 {
            return Err(AmountError::Overflow);
        }
        let product = self.0.checked_mul(numerator).ok_or(AmountError::Overflow)?;
        let (quotient, remainder) = (product.div_euclid(denominator), product.rem_euclid(denominator));
        // Compared as remainder against what is left, since twice the remainder could overflow.
        let rest = denominator - remainder;
        let round_up = remainder > rest || (remainder == rest && quotient % 2 != 0);
        Self::from_units(if round_up { quotient + 1 } else { quotient })
    }
}

// === impl Display, FromStr ===

impl fmt::Display for Amount {
    /// Writes the shortest exact decimal: `2.5`, `0.000001`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let one = Self::ONE.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        // An amount has 16 digits before its point and 12 after it: 64 bits hold either, and are written several times faster than 128.
        let (whole, mut fraction) = ((magnitude / one) as u64, (magnitude % one) as u64);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let mut digits = Self::SCALE as usize;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        write!(f, "{whole}.{fraction:0digits$}")
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Reads a plain decimal (`-12.5`); no exponent, no separators, no sign `+`.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let not_a_decimal = || AmountError::NotADecimal { text: text.to_owned() };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(fraction) {
            return Err(not_a_decimal());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > Self::SCALE as usize {
            return Err(AmountError::TooPrecise { text: text.to_owned() });
        }
        let whole: i128 = whole.parse().map_err(|_| AmountError::Overflow)?;
        let padded = format!("{fraction:0<12}");
        let fraction: i128 = padded.parse().map_err(|_| not_a_decimal())?;
        let units = whole
            .checked_mul(Self::ONE.0)
            .and_then(|units| units.checked_add(fraction))
            .ok_or(AmountError::Overflow)?;
        Self::from_units(if negative { -units } else { units })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn text_survives_a_round_trip() {
        for text in ["0", "2.5", "-2.5", "0.000000000001", "9999999999999999.999999999999"] {
            assert_eq!(amount(text).to_string(), text);
        }
        assert_eq!(amount("2.50"), amount("2.5"));
        assert_eq!(amount("1.0000000000000"), Amount::ONE);
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "1e3", "+1", "1,5", " 1", "--1", "0x1"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        assert!(matches!(
            "0.0000000000001".parse::<Amount>(),
            Err(AmountError::TooPrecise { .. })
        ));
        assert_eq!("10000000000000000".parse::<Amount>(), Err(AmountError::Overflow));
    }

    #[test]
    fn ratios_round_once_half_to_even() {
        let one_unit = Amount::from_units(1).unwrap();
        let cases = [
            (1, 2, 0),
            (3, 2, 2),
            (5, 2, 2),
            (-1, 2, 0),
            (-3, 2, -2),
            (2, 3, 1),
            (1, 3, 0),
            (-2, 3, -1),
        ];
        for (numerator, denominator, expected) in cases {
            let rounded = one_unit.mul_ratio(numerator, denominator).unwrap();
            assert_eq!(rounded.units(), expected, "{numerator}/{denominator}");
        }
    }

    #[test]
    fn sums_beyond_the_column_are_refused() {
        let most = Amount::from_units(10_i128.pow(28) - 1).unwrap();
        assert_eq!(most.checked_add(Amount::from_units(1).unwrap()), Err(AmountError::Overflow));
        assert_eq!(Amount::ONE.checked_div(0), Err(AmountError::Overflow));
    }
}
