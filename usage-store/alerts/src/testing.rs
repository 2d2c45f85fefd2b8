//! For tests: alerts of a budget of 50 dollars in November 2026.

use tollgate_record::{Amount, Name, Timestamp};

use crate::anomaly::Hour;
use crate::{Alert, Cause};

/// 2026-11-01T00:00:00Z.
pub(crate) const START: i64 = 1_793_491_200_000_000;
const DAY_US: i64 = Timestamp::DAY_US;

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An alert at a percentage, in the window so many months of 30 days later.
pub(crate) fn alert(budget: &str, percent: u16, windows: i64) -> Alert {
    let start = START + windows * 30 * DAY_US;
    Alert {
        budget: name(budget),
        per: vec![("user_id".to_owned(), Some("ann".to_owned()))],
        window_start: Timestamp::from_unix_us(start),
        window_end: Timestamp::from_unix_us(start + 30 * DAY_US),
        unit: name("USD"),
        limit: amount("50"),
        spent: amount("40.25"),
        cause: Cause::Threshold { percent },
        raised_at: Timestamp::from_unix_us(start + 20 * DAY_US),
    }
}

pub(crate) fn projected(budget: &str) -> Alert {
    Alert {
        cause: Cause::Projected {
            projected: amount("60.375"),
        },
        ..alert(budget, 80, 0)
    }
}

pub(crate) fn anomaly(budget: &str, hour: i64) -> Alert {
    Alert {
        cause: Cause::Anomaly {
            hour: Hour::of(Timestamp::from_unix_us(START)).plus(hour),
            usual: amount("2"),
            bound: amount("7.5"),
        },
        ..alert(budget, 80, 0)
    }
}
