//! A long time in pieces that can be read and sorted one by one.

use tollgate_record::Timestamp;

use crate::Span;

const DAY_US: i64 = 86_400_000_000;
const SECOND_US: i64 = 1_000_000;

/// The days, UTC, that instants from `start` on, up to `end`, lie in; the first and the last cut to them.
pub fn days(start: Timestamp, end: Timestamp) -> impl Iterator<Item = Span> {
    let end = end.unix_us();
    let next = move |from: i64| (from.div_euclid(DAY_US) + 1).saturating_mul(DAY_US).min(end);
    let first = start.unix_us();
    let begins = std::iter::successors((first < end).then_some(first), move |from| {
        Some(next(*from)).filter(|from| *from < end)
    });
    begins.map(move |from| Span {
        start: from,
        end: next(from),
    })
}

/// Pieces of a span that have at most so many calls each, if no second has more. `calls` has the seconds since 1970 with their calls, ascending. A piece
/// without calls is not among them.
pub fn slices(span: Span, calls: &[(i64, u64)], most: u64) -> Vec<Span> {
    let mut slices: Vec<Span> = Vec::new();
    let mut held = 0_u64;
    for (second, count) in calls.iter().filter(|(_, count)| *count > 0) {
        let (start, end) = (second.saturating_mul(SECOND_US), (second + 1).saturating_mul(SECOND_US));
        let (start, end) = (start.max(span.start), end.min(span.end));
        match slices.last_mut() {
            Some(last) if held.saturating_add(*count) <= most => {
                last.end = end;
                held += count;
            }
            _ => {
                slices.push(Span { start, end });
                held = *count;
            }
        }
    }
    slices
}
