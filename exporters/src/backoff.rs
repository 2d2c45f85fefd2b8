//! How long to wait before a batch is tried again.

use std::time::Duration;

/// Waits that double from try to try up to a limit, each spread over its upper half so that exporters that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure, before it is spread.
    pub first: Duration,
    /// The longest wait that is chosen here; the far side may ask for a longer one.
    pub max: Duration,
}

/// The longest wait that a far side may ask for: one that asks for more is asked again after an hour.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

// === impl Backoff ===

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            max: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row (from 1): never less than what the far side asked for, within [`RETRY_AFTER_MAX`].
    pub(crate) fn wait(self, failures: u32, asked: Option<Duration>, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.max);
        let whole_us = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        let half = whole_us / 2;
        let spread = Duration::from_micros(half + random % (whole_us - half + 1));
        asked.map_or(spread, |asked| spread.max(asked.min(RETRY_AFTER_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        max: Duration::from_secs(10),
    };

    #[test]
    fn waits_double_up_to_the_limit_and_are_spread_over_their_upper_half() {
        for (failures, most) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (400, 10)] {
            let most = Duration::from_secs(most);
            for random in [0, 1, 12_345_678_901, u64::MAX] {
                let wait = BACKOFF.wait(failures, None, random);
                assert!(most / 2 <= wait && wait <= most, "{failures} failures: {wait:?}");
            }
            assert_eq!(BACKOFF.wait(failures, None, 0), most / 2);
        }
    }

    #[test]
    fn a_far_side_that_asks_for_time_gets_it_within_an_hour() {
        let asked = |secs| BACKOFF.wait(1, Some(Duration::from_secs(secs)), 0);
        assert_eq!(asked(120), Duration::from_secs(120));
        assert_eq!(asked(0), Duration::from_millis(500));
        assert_eq!(asked(86_400), RETRY_AFTER_MAX);
    }
}
