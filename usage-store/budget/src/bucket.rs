//! Rate limits: token buckets, and calls at once.
//!
//! 1. A bucket holds what fits into a window and refills evenly, so a window's worth may come at once, and then as fast as it refills. (The generic cell rate
//!    algorithm of ATM Forum TM 4.0 says the same of requests.)
//! 2. Tokens are taken by estimate when a call is admitted: a quarter of its input's bytes, plus the limit it sets for its answer, or nothing where it sets
//!    none; at most what the bucket holds in all, so that a large call passes if nothing else came. When its row is posted, the difference to what it used is
//!    taken or put back. A bucket may so be in debt, and then refuses until it is refilled.
//! 3. Buckets are kept in memory: a restart begins with full ones.
//! 4. A clock that goes backwards refills nothing.

use std::collections::HashMap;

use tollgate_record::admission::{OverRate, RateKind, RateState};
use tollgate_record::rule::Rate;

use crate::rules::{RateRule, RuleId};

/// Buckets from which on those that are full again are forgotten.
const SWEEP: usize = 16_384;

/// Whose bucket.
pub(crate) type Key = (RuleId, Box<[Option<Box<str>>]>);

/// What is taken out of a bucket, times the window's microseconds, at an instant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) level: i128,
    at: i64,
    /// Calls that have not ended.
    open: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: HashMap<Key, Bucket>,
    sweep: usize,
}

/// What a call takes of a rate limit.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) key: Key,
    pub(crate) rate: Rate,
    pub(crate) count: u64,
}

impl Bucket {
    pub(crate) fn refill(&mut self, count: u64, now: i64) {
        let passed = now.saturating_sub(self.at).max(0);
        self.level = self.level.saturating_sub(i128::from(count) * i128::from(passed)).max(0);
        self.at = self.at.max(now);
    }

    /// By how much a call is too much for a bucket that is refilled; none if it fits.
    pub(crate) fn excess(&self, limit: u64, window_us: i64, count: u64) -> Option<i128> {
        let whole = i128::from(limit) * i128::from(window_us);
        let needs = i128::from(count.min(limit)) * i128::from(window_us);
        // A bucket of tokens that is in debt, or empty, lets nothing pass, not even what needs nothing.
        let excess = self.level.saturating_add(needs.max(1)).saturating_sub(whole);
        (excess > 0).then_some(excess)
    }
}

impl Buckets {
    /// How a limit stands once a call has taken `count`; an error if it does not fit. Takes nothing.
    pub(crate) fn look(&mut self, rule: &RateRule, key: &Key, count: u64, now: i64) -> Result<RateState, Box<OverRate>> {
        let bucket = self.buckets.get(key).copied().unwrap_or_default();
        let state = |of, limit, remaining, reset_us| RateState {
            name: rule.limit.name.clone(),
            of,
            limit,
            remaining,
            reset_us,
        };
        match rule.limit.limit {
            Rate::Concurrency(limit) => {
                let remaining = limit.saturating_sub(bucket.open);
                if remaining == 0 {
                    return Err(Box::new(OverRate {
                        state: state(RateKind::Concurrency, limit, 0, 0),
                        window_us: None,
                        needs: 1,
                        retry_us: None,
                    }));
                }
                Ok(state(RateKind::Concurrency, limit, remaining - 1, 0))
            }
            Rate::Requests { count: limit, window_us } | Rate::Tokens { count: limit, window_us } => {
                let of = kind(rule.limit.limit);
                let mut bucket = bucket;
                bucket.refill(limit, now);
                let whole = i128::from(limit) * i128::from(window_us);
                let needs = i128::from(count.min(limit)) * i128::from(window_us);
                if let Some(excess) = bucket.excess(limit, window_us, count) {
                    let wait = divided_up(excess, i128::from(limit));
                    return Err(Box::new(OverRate {
                        state: state(of, limit, left(whole - bucket.level, window_us), reset(bucket.level, limit)),
                        window_us: u64::try_from(window_us).ok(),
                        needs: count,
                        retry_us: Some(wait),
                    }));
                }
                let level = bucket.level + needs;
                Ok(state(of, limit, left(whole - level, window_us), reset(level, limit)))
            }
        }
    }

    /// Takes what [`Buckets::look`] let pass.
    pub(crate) fn take(&mut self, taken: &Taken, now: i64) {
        if self.buckets.len() >= self.sweep.max(SWEEP) {
            self.buckets
                .retain(|_, bucket| bucket.open > 0 || bucket.level > 0 && now.saturating_sub(bucket.at) < MEMORY_US);
            self.sweep = self.buckets.len() * 2;
        }
        let bucket = match self.buckets.get_mut(&taken.key) {
            Some(bucket) => bucket,
            None => self.buckets.entry(taken.key.clone()).or_insert(Bucket {
                at: now,
                ..Bucket::default()
            }),
        };
        match taken.rate {
            Rate::Concurrency(_) => bucket.open += 1,
            Rate::Requests { count, window_us } | Rate::Tokens { count, window_us } => {
                bucket.refill(count, now);
                bucket.level += i128::from(taken.count.min(count)) * i128::from(window_us);
            }
        }
    }

    /// A call has ended, having used so many tokens; `None` if it was never made.
    pub(crate) fn settle(&mut self, taken: &Taken, used: Option<u64>, now: i64) {
        let Some(bucket) = self.buckets.get_mut(&taken.key) else {
            return;
        };
        let difference = match (taken.rate, used) {
            (Rate::Concurrency(_), _) => {
                bucket.open = bucket.open.saturating_sub(1);
                return;
            }
            (Rate::Requests { .. }, Some(_)) => return,
            (Rate::Requests { count, .. } | Rate::Tokens { count, .. }, used) => {
                i128::from(used.unwrap_or(0)) - i128::from(taken.count.min(count))
            }
        };
        if let Rate::Requests { count, window_us } | Rate::Tokens { count, window_us } = taken.rate {
            bucket.refill(count, now);
            bucket.level = bucket.level.saturating_add(difference * i128::from(window_us)).max(0);
        }
    }
}

/// How long a bucket that nobody asks for is remembered, which is the longest window of a rate limit.
const MEMORY_US: i64 = 86_400_000_000;

const fn kind(rate: Rate) -> RateKind {
    match rate {
        Rate::Requests { .. } => RateKind::Requests,
        Rate::Tokens { .. } => RateKind::Tokens,
        Rate::Concurrency(_) => RateKind::Concurrency,
    }
}

fn left(level: i128, window_us: i64) -> u64 {
    u64::try_from(level.max(0) / i128::from(window_us.max(1))).unwrap_or(u64::MAX)
}

/// Microseconds until nothing is taken any more.
fn reset(level: i128, count: u64) -> u64 {
    divided_up(level, i128::from(count))
}

fn divided_up(level: i128, by: i128) -> u64 {
    let by = by.max(1);
    u64::try_from((level.max(0) + by - 1) / by).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tollgate_record::Name;
    use tollgate_record::rule::RateLimit;

    use super::*;

    fn rule(limit: Rate) -> RateRule {
        RateRule {
            id: RuleId(0),
            limit: RateLimit {
                name: Name::new("r").unwrap(),
                when: None,
                per: Vec::new(),
                limit,
            },
        }
    }

    fn ask(buckets: &mut Buckets, rule: &RateRule, count: u64, now: i64) -> Result<Taken, Box<OverRate>> {
        let key: Key = (rule.id, Box::default());
        buckets.look(rule, &key, count, now)?;
        let taken = Taken {
            key,
            rate: rule.limit.limit,
            count,
        };
        buckets.take(&taken, now);
        Ok(taken)
    }

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn tokens_are_counted_not_requests() {
        // wso2/api-platform#2932: "30 tokens an hour" let 30 requests an hour pass.
        let (mut buckets, rule) = (
            Buckets::default(),
            rule(Rate::Tokens {
                count: 30,
                window_us: HOUR,
            }),
        );
        let first = ask(&mut buckets, &rule, 10, 0).unwrap();
        buckets.settle(&first, Some(45), 0);
        // 15 in debt, so 15 tokens and one more have to come in, at 30 an hour: just over half an hour.
        let refused = ask(&mut buckets, &rule, 0, 0).unwrap_err();
        let retry = refused.retry_us.unwrap();
        assert!((1_800_000_000..1_800_000_010).contains(&retry), "{retry}");
        assert!(ask(&mut buckets, &rule, 0, i64::try_from(retry).unwrap()).is_ok());
    }

    #[test]
    fn requests_come_as_fast_as_the_bucket_refills() {
        let (mut buckets, rule) = (
            Buckets::default(),
            rule(Rate::Requests {
                count: 6,
                window_us: 60_000_000,
            }),
        );
        for _ in 0..6 {
            ask(&mut buckets, &rule, 1, 0).unwrap();
        }
        assert_eq!(ask(&mut buckets, &rule, 1, 0).unwrap_err().retry_us, Some(10_000_000));
        assert!(ask(&mut buckets, &rule, 1, 9_999_999).is_err());
        ask(&mut buckets, &rule, 1, 10_000_000).unwrap();
        assert!(
            ask(&mut buckets, &rule, 1, 10_000_000).is_err(),
            "a clock that stands still refills nothing"
        );
        assert!(ask(&mut buckets, &rule, 1, 5_000_000).is_err(), "nor one that goes backwards");
    }

    #[test]
    fn what_was_never_made_is_put_back() {
        let (mut buckets, rule) = (
            Buckets::default(),
            rule(Rate::Requests {
                count: 1,
                window_us: HOUR,
            }),
        );
        let taken = ask(&mut buckets, &rule, 1, 0).unwrap();
        assert!(ask(&mut buckets, &rule, 1, 0).is_err());
        buckets.settle(&taken, None, 0);
        assert!(ask(&mut buckets, &rule, 1, 0).is_ok());
    }

    #[test]
    fn calls_at_once_are_counted_while_they_are_open() {
        let (mut buckets, rule) = (Buckets::default(), rule(Rate::Concurrency(2)));
        let first = ask(&mut buckets, &rule, 1, 0).unwrap();
        ask(&mut buckets, &rule, 1, 0).unwrap();
        assert_eq!(ask(&mut buckets, &rule, 1, 0).unwrap_err().state.limit, 2);
        buckets.settle(&first, Some(100), 0);
        assert!(ask(&mut buckets, &rule, 1, 0).is_ok());
    }

    #[test]
    fn a_call_larger_than_the_bucket_passes_when_it_is_full() {
        let (mut buckets, rule) = (
            Buckets::default(),
            rule(Rate::Tokens {
                count: 100,
                window_us: 60_000_000,
            }),
        );
        let taken = ask(&mut buckets, &rule, 1_000, 0).unwrap();
        buckets.settle(&taken, Some(1_000), 0);
        // 900 in debt at 100 a minute: nine minutes and a moment.
        let retry = ask(&mut buckets, &rule, 0, 0).unwrap_err().retry_us.unwrap();
        assert!((540_000_000..540_000_010).contains(&retry), "{retry}");
    }
}
