//! Which format a caller accepts (RFC 9110, section 12.5.1).

use crate::Format;

/// Formats that HTTP serves, the preferred one first.
pub(super) const SERVED: [Format; 6] = [
    Format::Json,
    Format::NdJson,
    Format::Csv,
    Format::Arrow,
    Format::Parquet,
    Format::Table,
];

/// How well a media range fits: what is written out counts more than a wildcard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Any,
    Type,
    Exact,
}

/// The format of highest quality; of equal ones that which is named most exactly, then the caller's first.
/// None if nothing that is served is accepted.
pub(super) fn negotiate(accept: &str) -> Option<Format> {
    if accept.trim().is_empty() {
        return Some(Format::Json);
    }
    let ranges: Vec<_> = accept.split(',').map(parse).collect();
    let offers = SERVED.into_iter().enumerate().filter_map(|(order, format)| {
        let fits = ranges.iter().enumerate();
        // The most exact range decides the quality of a format; a later, vaguer one does not.
        let (fit, place, quality) = fits
            .filter_map(|(place, (range, quality))| fit(format, range).map(|fit| (fit, place, *quality)))
            .max_by_key(|(fit, place, _)| (*fit, usize::MAX - place))?;
        (quality > 0).then_some((quality, fit, usize::MAX - place, usize::MAX - order, format))
    });
    offers
        .max_by_key(|(quality, fit, place, order, _)| (*quality, *fit, *place, *order))
        .map(|(.., format)| format)
}

/// A media range without its parameters, and its quality in thousandths; one that cannot be read is not accepted.
fn parse(range: &str) -> (String, u16) {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let quality = match quality {
        Some((_, value)) => thousandths(value.trim()).unwrap_or(0),
        None => 1_000,
    };
    (media, quality)
}

/// `0.25` as 250; at most three digits behind the point.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = whole
        .parse::<u16>()
        .ok()?
        .checked_mul(1_000)?
        .checked_add(format!("{fraction:0<3}").parse().ok()?)?;
    (thousandths <= 1_000).then_some(thousandths)
}

fn fit(format: Format, range: &str) -> Option<Fit> {
    let media = format.media_type().split(';').next().unwrap_or_default();
    let (kind, _) = media.split_once('/')?;
    match range.split_once('/') {
        _ if range == media => Some(Fit::Exact),
        Some(("application", "x-ndjson" | "ndjson" | "jsonl")) if format == Format::NdJson => Some(Fit::Exact),
        Some((range, "*")) if range == kind => Some(Fit::Type),
        Some(("*", "*")) => Some(Fit::Any),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_quality_wins_then_the_most_exact_then_the_callers_first() {
        let cases = [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            ("text/*", Some(Format::Csv)),
            ("text/csv, */*", Some(Format::Csv)),
            ("application/json;q=0.5, text/csv;q=0.8", Some(Format::Csv)),
            ("text/csv, application/json", Some(Format::Csv)),
            ("application/vnd.apache.parquet", Some(Format::Parquet)),
            ("APPLICATION/VND.APACHE.ARROW.STREAM; q=1", Some(Format::Arrow)),
            ("application/json;q=0, */*;q=0.1", Some(Format::NdJson)),
            ("application/x-ndjson;charset=utf-8", Some(Format::NdJson)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Format::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=nonsense", None),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiate(accept), expected, "{accept}");
        }
    }
}
