//! One alert: what is told of a budget.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use sha2::{Digest, Sha256};
use tollgate_record::rule::AlertKind;
use tollgate_record::{Amount, Name, Timestamp};

use crate::anomaly::Hour;

/// Bytes of a hash that an id has.
const ID_BYTES: usize = 16;

/// What is told of a budget's counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The budget.
    pub budget: Name,
    /// What the counter is kept apart by, with its values, in the budget's order; `None` is null.
    pub per: Vec<(String, Option<String>)>,
    /// First instant of the window.
    pub window_start: Timestamp,
    /// First instant behind it.
    pub window_end: Timestamp,
    /// What is counted: a currency's code, `tokens` or `calls`.
    pub unit: Name,
    /// What may be used in the window.
    pub limit: Amount,
    /// What was spent when it was raised: in the window; of an anomaly, in the hour.
    pub spent: Amount,
    /// Why it was raised.
    pub cause: Cause,
    /// When it was raised.
    pub raised_at: Timestamp,
}

/// Why an alert was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// So many percent of the limit are spent.
    Threshold {
        /// One of the budget's percentages.
        percent: u16,
    },
    /// The limit is going to be exceeded.
    Projected {
        /// What is spent at the window's end, if it goes on so.
        projected: Amount,
    },
    /// An hour is far outside of what is usual.
    Anomaly {
        /// The hour.
        hour: Hour,
        /// What is usual in it.
        usual: Amount,
        /// The most that would have been no anomaly.
        bound: Amount,
    },
}

/// The largest of some percentages of a limit that is spent, if any is: as counters of budgets see it.
pub fn passed(percentages: &[u16], spent: Amount, limit: Amount) -> Option<u16> {
    let is_passed = |percent: &u16| {
        let (spent, limit) = (
            spent.units().saturating_mul(100),
            limit.units().saturating_mul(i128::from(*percent)),
        );
        spent > 0 && spent >= limit
    };
    percentages.iter().copied().filter(is_passed).max()
}

// === impl Alert ===

impl Alert {
    /// What it is known by: `alert_` and 32 hexadecimal digits that follow from kind, budget, values, window, and percentage or hour. So what is raised again, by
    /// whatever gateway, has the same.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(self.kind().as_str().as_bytes());
        field(self.budget.as_str().as_bytes());
        for (name, value) in &self.per {
            field(name.as_bytes());
            field(if value.is_some() { b"=" } else { b"" });
            field(value.as_deref().unwrap_or_default().as_bytes());
        }
        field(&self.window_start.unix_us().to_le_bytes());
        field(&match self.cause {
            Cause::Threshold { percent } => i64::from(percent).to_le_bytes(),
            Cause::Projected { .. } => [0; 8],
            Cause::Anomaly { hour, .. } => hour.start().unix_us().to_le_bytes(),
        });
        hash.finalize()
            .iter()
            .take(ID_BYTES)
            .fold("alert_".to_owned(), |mut id, byte| {
                let _ = write!(id, "{byte:02x}");
                id
            })
    }

    /// Of which kind it is.
    pub const fn kind(&self) -> AlertKind {
        match self.cause {
            Cause::Threshold { .. } => AlertKind::Threshold,
            Cause::Projected { .. } => AlertKind::Projected,
            Cause::Anomaly { .. } => AlertKind::Anomaly,
        }
    }

    /// A sentence for people.
    pub fn message(&self) -> String {
        let mut whose = String::new();
        for (name, value) in &self.per {
            let comma = if whose.is_empty() { " (" } else { ", " };
            let _ = write!(whose, "{comma}{name} {}", value.as_deref().unwrap_or("null"));
        }
        if !whose.is_empty() {
            whose.push(')');
        }
        let Self {
            budget,
            unit,
            limit,
            spent,
            ..
        } = self;
        let (start, end) = (seconds(self.window_start), seconds(self.window_end));
        match &self.cause {
            Cause::Threshold { percent } => format!(
                "budget {budget}{whose} has passed {percent}% of its limit of {limit} {unit}: {spent} {unit} are spent in the window from {start} to {end}"
            ),
            Cause::Projected { projected } => format!(
                "budget {budget}{whose} is going to exceed its limit of {limit} {unit}: {spent} {unit} are spent since {start}, and it will be {projected} \
                 {unit} by {end} if it goes on so"
            ),
            Cause::Anomaly { hour, usual, bound } => format!(
                "budget {budget}{whose} has spent {spent} {unit} in the hour from {}: usual are {usual} {unit}, and up to {bound} {unit} would be no surprise",
                seconds(hour.start())
            ),
        }
    }
}

/// RFC 3339, to the second.
fn seconds(at: Timestamp) -> String {
    text(at, SecondsFormat::Secs)
}

/// RFC 3339.
pub(crate) fn text(at: Timestamp, format: SecondsFormat) -> String {
    let at = DateTime::from_timestamp_micros(at.unix_us()).unwrap_or(DateTime::UNIX_EPOCH);
    at.to_rfc3339_opts(format, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alert, amount, anomaly, projected};

    #[test]
    fn an_id_follows_from_what_it_is_and_from_nothing_else() {
        let first = alert("ads", 80, 0);
        let mut later = first.clone();
        (later.spent, later.limit) = (amount("99"), amount("1"));
        later.raised_at = Timestamp::from_unix_us(77);
        assert_eq!(first.id(), later.id());
        assert_eq!((first.id().len(), &first.id()[..6]), (38, "alert_"));
        // Kept for ever: receivers tell repeats by it.
        assert_eq!(first.id(), "alert_7491eea092599a3b75cfc02c4d27ca15");

        let mut ids = vec![
            first.id(),
            alert("ads", 100, 0).id(),
            alert("ad", 80, 0).id(),
            alert("ads", 80, 1).id(),
        ];
        ids.extend([projected("ads").id(), anomaly("ads", 5).id(), anomaly("ads", 6).id()]);
        for per in [
            vec![("user_id".to_owned(), None)],
            vec![("user_id".to_owned(), Some(String::new()))],
            vec![("user_id".to_owned(), Some("ann".to_owned()))],
            vec![("user_id".to_owned(), Some("bob".to_owned()))],
            vec![],
        ] {
            ids.push(
                Alert {
                    per,
                    ..alert("x", 80, 0)
                }
                .id(),
            );
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }

    #[test]
    fn percentages_are_passed_exactly() {
        let passed = |spent, limit| passed(&[50, 80, 100], amount(spent), amount(limit));
        assert_eq!(passed("39.999999999999", "80"), None);
        assert_eq!(passed("40", "80"), Some(50));
        assert_eq!(passed("79.999999999999", "80"), Some(80));
        assert_eq!(passed("8000", "80"), Some(100));
        assert_eq!((passed("0", "0"), passed("0.000000000001", "0")), (None, Some(100)));
    }

    #[test]
    fn sentences_say_whose_how_much_and_when() {
        assert_eq!(
            alert("ads", 80, 0).message(),
            "budget ads (user_id ann) has passed 80% of its limit of 50 USD: 40.25 USD are spent in the window from 2026-11-01T00:00:00Z to \
             2026-12-01T00:00:00Z"
        );
        assert_eq!(
            projected("ads").message(),
            "budget ads (user_id ann) is going to exceed its limit of 50 USD: 40.25 USD are spent since 2026-11-01T00:00:00Z, and it will be 60.375 USD by \
             2026-12-01T00:00:00Z if it goes on so"
        );
        assert_eq!(
            anomaly("ads", 5).message(),
            "budget ads (user_id ann) has spent 40.25 USD in the hour from 2026-11-01T05:00:00Z: usual are 2 USD, and up to 7.5 USD would be no surprise"
        );
    }
}
