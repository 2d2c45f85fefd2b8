//! Decimals as other systems write them, among them floats in scientific notation: read exactly, then rounded once to twelve places.

use tollgate_record::Amount;

/// Longest text that is taken for a number, in bytes.
const MAX_BYTES: usize = 400;
/// Largest exponent, either way.
const MAX_EXPONENT: i64 = 400;

/// A number, and whether it had more places than an amount holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) amount: Amount,
    pub(crate) rounded: bool,
}

/// Reads `12.5`, `-0.1`, `.5`, `1.6150000000000001e-03` or `2E+2`. More than twelve places are rounded half to even.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn parse(text: &str) -> Result<Decimal, String> {
    shifted(text, 0)
}

/// Reads the number times ten to the power of `places`, rounded after the shift: the price of a million of what costs 1.23456789e-07.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn shifted(text: &str, places: u32) -> Result<Decimal, String> {
    let text = text.trim();
    let wrong = || {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} is no decimal number")
    };
    if text.len() > MAX_BYTES {
        return Err(wrong());
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| wrong())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || exponent.abs() > MAX_EXPONENT {
        return Err(wrong());
    }
    // The value is the digits times ten to this power, counted in units of an amount.
    let power = exponent - fraction.len() as i64 + i64::from(Amount::SCALE) + i64::from(places);
    let kept = usize::try_from((digits.len() as i64 + power).max(0)).expect("not negative, and bounded by the limits above");
    let (head, tail) = digits.split_at(kept.min(digits.len()));
    let mut units: i128 = 0;
    let zeros = std::iter::repeat_n(&b'0', kept - head.len());
    for digit in head.iter().chain(zeros) {
        let shifted = units
            .checked_mul(10)
            .and_then(|units| units.checked_add(i128::from(digit - b'0')));
        units = shifted.ok_or_else(|| format!("{text:?} is larger than 28 digits hold"))?;
    }
    let rounded = tail.iter().any(|digit| *digit != b'0');
    if rounded {
        // Between the first digit that is cut and the place of the units there are only zeros if all digits are cut.
        let next_to_units = digits.len() as i64 + power >= 0;
        let (first, rest) = tail.split_first().expect("a digit that is not zero was cut");
        let above_half = next_to_units && (*first > b'5' || *first == b'5' && rest.iter().any(|digit| *digit != b'0'));
        let half = next_to_units && *first == b'5' && !above_half;
        if above_half || half && units % 2 != 0 {
            units += 1;
        }
    }
    let amount = Amount::from_units(if negative { -units } else { units });
    let amount = amount.map_err(|_| format!("{text:?} is larger than 28 digits hold"))?;
    Ok(Decimal { amount, rounded })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (String, bool) {
        let decimal = parse(text).unwrap();
        (decimal.amount.to_string(), decimal.rounded)
    }

    #[test]
    fn floats_of_other_systems_are_read_exactly_and_rounded_once_half_to_even() {
        for (text, amount, rounded) in [
            ("1.6150000000000001e-03", "0.001615", true),
            ("0.0016150000000000001", "0.001615", true),
            ("0.6619999999999999", "0.662", true),
            ("1e-12", "0.000000000001", false),
            ("5e-13", "0", true),
            ("15e-13", "0.000000000002", true),
            ("25e-13", "0.000000000002", true),
            ("25.00000001e-13", "0.000000000003", true),
            ("-15e-13", "-0.000000000002", true),
            ("6e-14", "0", true),
            ("9.99e-300", "0", true),
            ("0e-300", "0", false),
            ("1E+3", "1000", false),
            (".5", "0.5", false),
            ("5.", "5", false),
            ("+2.50", "2.5", false),
            ("9999999999999999.999999999999", "9999999999999999.999999999999", false),
            ("00000000000000000000000000000001.5", "1.5", false),
            ("0.000000000001000000000000000", "0.000000000001", false),
        ] {
            assert_eq!(read(text), (amount.to_owned(), rounded), "{text}");
        }
    }

    #[test]
    fn a_shift_comes_before_the_rounding() {
        for (text, places, amount, rounded) in [
            ("1.25e-07", 6, "0.125", false),
            ("1.234567890123456789e-07", 6, "0.123456789012", true),
            ("0.00000000000049", 6, "0.00000049", false),
            ("5e-19", 6, "0", true),
            ("3", 3, "3000", false),
        ] {
            let decimal = shifted(text, places).unwrap();
            assert_eq!(
                (decimal.amount.to_string(), decimal.rounded),
                (amount.to_owned(), rounded),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e1.5",
            "NaN",
            "inf",
            "Infinity",
            "1,5",
            "$1",
            "0x1",
            "1 2",
            "--1",
            "1e999",
            "1e16",
            "10000000000000000",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"9".repeat(401)).is_err());
    }

    proptest! {
        #[test]
        fn the_same_value_is_the_same_amount_however_it_is_written(units in -10_i128.pow(27)..10_i128.pow(27), shift in -20_i64..20) {
            let amount = Amount::from_units(units).unwrap();
            let scientific = format!("{units}e{}", shift - 12 - shift);
            prop_assert_eq!(parse(&amount.to_string()).unwrap(), Decimal { amount, rounded: false });
            prop_assert_eq!(parse(&scientific).unwrap(), Decimal { amount, rounded: false });
        }

        #[test]
        fn no_text_is_further_from_its_amount_than_half_a_unit(mantissa in 0_u64..u64::MAX, exponent in -30_i32..-12) {
            let decimal = parse(&format!("{mantissa}e{exponent}")).unwrap();
            // Compared in units of the mantissa's last digit, which all fit.
            let unit = 10_i128.pow((-12 - exponent) as u32);
            let error = (decimal.amount.units() * unit - i128::from(mantissa)).abs();
            prop_assert!(2 * error <= unit);
            prop_assert_eq!(decimal.rounded, error != 0);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
