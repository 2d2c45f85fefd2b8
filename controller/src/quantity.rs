//! Durations and sizes as they are written: `500ms`, `64MiB`.

use std::fmt;
use std::time::Duration;

/// A number of bytes, shown in the largest binary unit that leaves no fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A duration, shown in the largest unit that leaves no fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];
const SPANS_MS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration, or says what is wrong with it.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "is no duration: write a whole number and its unit (ms, s, m, h or d), such as 500ms, 30s or 5m";
    scaled(text, &SPANS_MS).map(Duration::from_millis).ok_or(WRONG)
}

/// Reads a size, or says what is wrong with it; a number without unit is bytes.
pub(crate) fn size(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "is no size: write a whole number and its unit (B, KB, MB, GB, KiB, MiB or GiB), such as 64MiB";
    let units = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        &[("", 1)]
    } else {
        &SIZES[..]
    };
    scaled(text, units).ok_or(WRONG)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

// === impl Display ===

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZES.iter().filter(|(name, _)| name.len() != 2);
        show(f, self.0, binary, "B")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(
            f,
            u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX),
            SPANS_MS.iter(),
            "ms",
        )
    }
}

fn show<'a>(
    f: &mut fmt::Formatter<'_>,
    number: u64,
    mut units: impl Iterator<Item = &'a (&'static str, u64)>,
    smallest: &str,
) -> fmt::Result {
    match units.find(|(_, scale)| number >= *scale && number.is_multiple_of(*scale)) {
        Some((unit, scale)) => write!(f, "{}{unit}", number / scale),
        None => write!(f, "{number}{smallest}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("30d").unwrap(), Duration::from_secs(30 * 86_400));
        assert_eq!(duration("5m").unwrap(), Duration::from_secs(300));
        for text in [
            "",
            "5",
            "s",
            "1.5s",
            "1m30s",
            "-1s",
            "5 m",
            "5M",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_tell_1000_from_1024() {
        assert_eq!(size("64MiB").unwrap(), 64 << 20);
        assert_eq!(size("64MB").unwrap(), 64_000_000);
        assert_eq!(size("1024").unwrap(), 1024);
        for text in ["", "64M", "64mib", "1.5GiB", "-1", "MiB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_shortest_exact_form_is_shown() {
        assert_eq!(Size(64 << 20).to_string(), "64MiB");
        assert_eq!(Size(1000).to_string(), "1000B");
        assert_eq!(Span(Duration::from_millis(90_000)).to_string(), "90s");
        assert_eq!(Span(Duration::ZERO).to_string(), "0ms");
    }
}
