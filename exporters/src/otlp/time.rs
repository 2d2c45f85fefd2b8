//! When a call began, reached its upstream and ended, as OTLP counts: nanoseconds since 1970.

use crate::row::Rows;

/// The instants of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) start_ns: u64,
    pub(super) upstream_ns: u64,
    pub(super) end_ns: u64,
}

impl Times {
    /// The instants of a row; `None` if it does not tell when it began. A duration that it does not tell is none.
    pub(super) fn of(rows: &Rows, row: usize) -> Option<Self> {
        let start = u64::try_from(rows.start_time.get(row)?.unix_us()).ok()?;
        let end = start.saturating_add(rows.duration_us.count(row).unwrap_or_default());
        let upstream = start
            .saturating_add(rows.gateway_overhead_us.count(row).unwrap_or_default())
            .min(end);
        let ns = |us: u64| us.saturating_mul(1000);
        Some(Self {
            start_ns: ns(start),
            upstream_ns: ns(upstream),
            end_ns: ns(end),
        })
    }
}
