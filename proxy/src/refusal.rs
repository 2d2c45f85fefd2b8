//! A call that a budget or a rate limit does not let pass: what the client is told, and what its row says.

use std::fmt;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use tollgate_record::admission::{NotShared, OverBudget, OverRate, RateKind, Refusal, Unshared};
use tollgate_record::{Decision, Name, Timestamp};

use crate::fault::Code;

/// How near the end of a budget's window must be for a client to be told when to come again, in seconds.
const RETRY_AFTER_MAX: u64 = 3600;
/// When to try again what waits for calls to end, in seconds.
const RETRY_AFTER_CONCURRENCY: u64 = 1;

/// When to try again where it is not known yet what is spent, in seconds.
const RETRY_AFTER_UNLOADED: u64 = 1;

/// When to try again where a share of a budget could not be had, in seconds.
const RETRY_AFTER_UNSHARED: u64 = 1;

/// A refusal, and when it was made.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) at: SystemTime,
}

impl Refused {
    pub(crate) const fn code(&self) -> Code {
        match &self.refusal {
            Refusal::Budget(_) => Code::BudgetExceeded,
            Refusal::Unpriced(_) => Code::UnpricedModel,
            Refusal::Unloaded { .. } | Refusal::Pending(_) | Refusal::Unshared(_) => Code::BudgetUnavailable,
            Refusal::Rate(_) => Code::RateLimitExceeded,
        }
    }

    /// HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match &self.refusal {
            Refusal::Budget(over) => over.status,
            Refusal::Unpriced(call) => call.status,
            Refusal::Unloaded { .. } | Refusal::Pending(_) | Refusal::Unshared(_) => 503,
            Refusal::Rate(_) => 429,
        }
    }

    /// Seconds after which the call may pass, rounded up; `None` if that is far off or never.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match &self.refusal {
            Refusal::Budget(over) => {
                let left = until(over.resets?, self.at)?;
                Some(seconds(left)).filter(|seconds| *seconds <= RETRY_AFTER_MAX)
            }
            Refusal::Unpriced(_) => None,
            Refusal::Unloaded { .. } => Some(RETRY_AFTER_UNLOADED),
            Refusal::Pending(_) => Some(RETRY_AFTER_UNSHARED),
            Refusal::Unshared(unshared) => Some(match unshared.why {
                NotShared::Fresh(us) => seconds(Duration::from_micros(us)).max(RETRY_AFTER_UNSHARED),
                NotShared::Away | NotShared::Contended => RETRY_AFTER_UNSHARED,
            }),
            Refusal::Rate(over) => match (over.retry_us, over.state.of) {
                (Some(us), _) => Some(seconds(Duration::from_micros(us))),
                (None, RateKind::Concurrency) => Some(RETRY_AFTER_CONCURRENCY),
                (None, _) => None,
            },
        }
    }

    /// Whether a client should not try the same again by itself: money does not come back in the seconds that SDKs wait.
    pub(crate) fn is_final(&self) -> bool {
        match &self.refusal {
            Refusal::Budget(_) | Refusal::Unpriced(_) => true,
            Refusal::Unloaded { .. } | Refusal::Pending(_) | Refusal::Unshared(_) => false,
            Refusal::Rate(_) => self.retry_after().is_none(),
        }
    }

    /// What the row says.
    pub(crate) fn decision(&self) -> Decision {
        let policy = match &self.refusal {
            Refusal::Budget(over) => format!("budget:{}", over.budget),
            Refusal::Unpriced(call) => format!("budget:{}", call.budget),
            Refusal::Unloaded { budget } => format!("budget:{budget}"),
            Refusal::Pending(pending) => format!("budget:{}", pending.budget),
            Refusal::Unshared(unshared) => format!("budget:{}", unshared.budget),
            Refusal::Rate(over) => format!("rate_limit:{}", over.state.name),
        };
        Decision {
            policy: policy.into(),
            action: "refuse".into(),
            detail: Some(self.to_string().into()),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            Refusal::Budget(over) => budget(over, f),
            Refusal::Unpriced(call) => write!(
                f,
                "budget {} cannot tell what this call could cost, since there is no price: {}; ask the operator to add it to a price list, \
                 or to set unpriced: admit",
                call.budget, call.missing
            ),
            Refusal::Unloaded { budget } => write!(
                f,
                "budget {budget} does not know yet what is spent of it, because the ledger's table is out of reach; try again"
            ),
            Refusal::Pending(pending) => not_shared(&pending.budget, NotShared::Contended, f),
            Refusal::Unshared(unshared) => {
                let Unshared { budget, why } = &**unshared;
                not_shared(budget, *why, f)
            }
            Refusal::Rate(over) => rate(over, f),
        }
    }
}

fn not_shared(budget: &Name, why: NotShared, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "budget {budget} is shared by several gateways, and this one ")?;
    match why {
        NotShared::Away => f.write_str(
            "cannot be granted enough of it for this call, because the pool that they share (Redis) is out of reach; try again, or ask the operator to look at it",
        ),
        NotShared::Fresh(us) => write!(
            f,
            "is granted no more of it for {}, because the pool that they share (Redis) is new or was restarted, and every gateway has to say first what it \
             holds; try again",
            span(us)
        ),
        NotShared::Contended => f.write_str("was not granted enough of it for this call in time, since many calls want some at once; try again"),
    }
}

fn budget(over: &OverBudget, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "budget {}", over.budget)?;
    for (index, (dimension, value)) in over.per.iter().enumerate() {
        let value = value.as_deref().unwrap_or("none");
        write!(f, "{}{dimension} {value}", if index > 0 { ", " } else { " of " })?;
    }
    write!(
        f,
        " has too little left: of {} in its window {} are spent and {} are reserved for calls under way, and ",
        over.limit, over.spent, over.reserved
    )?;
    match &over.estimate {
        Some(estimate) => write!(f, "this call could come to {estimate}; ")?,
        None => f.write_str("this call starts work that is priced later; ")?,
    }
    match over.resets {
        Some(resets) => write!(f, "the window resets at {}", rfc3339(resets)),
        None => f.write_str("the window does not reset"),
    }
}

fn rate(over: &OverRate, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (state, kind) = (&over.state, over.state.of.as_str());
    write!(f, "rate limit {} allows {} {kind}", state.name, state.limit)?;
    if let Some(window_us) = over.window_us {
        write!(f, " in {}", span(window_us))?;
    }
    write!(
        f,
        ", and this call needs {} of the {} that are left; ",
        over.needs, state.remaining
    )?;
    match (over.retry_us, state.of) {
        (Some(us), _) => write!(f, "try again in {}", span(us)),
        (None, RateKind::Concurrency) => f.write_str("try again when another call has ended"),
        (None, _) => f.write_str("such a call never fits: send a smaller one"),
    }
}

/// Seconds with as many digits as they have, at most three.
fn span(us: u64) -> String {
    let ms = us.div_ceil(1000);
    match (ms / 1000, ms % 1000) {
        (seconds, 0) => format!("{seconds} s"),
        (seconds, ms) => format!("{seconds}.{} s", format!("{ms:03}").trim_end_matches('0')),
    }
}

fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// The time until an instant; none if it has passed.
fn until(instant: Timestamp, now: SystemTime) -> Option<Duration> {
    let left = instant.unix_us().checked_sub(Timestamp::from(now).unix_us())?;
    u64::try_from(left).ok().map(Duration::from_micros)
}

fn rfc3339(instant: Timestamp) -> String {
    match DateTime::<Utc>::from_timestamp_micros(instant.unix_us()) {
        Some(instant) => instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => "the end of time".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tollgate_record::admission::{Measure, RateState, UnpricedCall};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn usd(amount: &str) -> Measure {
        Measure::Money(amount.parse().unwrap(), name("USD"))
    }

    fn at(us: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(us)
    }

    fn over_budget(resets: Option<Timestamp>) -> Refused {
        let over = OverBudget {
            budget: name("growth"),
            per: vec![("user_id".into(), Some("ann".into())), ("tags['env']".into(), None)],
            limit: usd("50"),
            spent: usd("49.99"),
            reserved: usd("0.005"),
            estimate: Some(usd("0.02")),
            resets,
            status: 402,
        };
        Refused {
            refusal: Refusal::Budget(Box::new(over)),
            // 2026-11-30T23:00:00Z
            at: at(1_796_079_600_000_000),
        }
    }

    fn over_rate(of: RateKind, retry_us: Option<u64>) -> Refused {
        let over = OverRate {
            state: RateState {
                name: name("bot"),
                of,
                limit: 60,
                remaining: 2,
                reset_us: 58_000_000,
            },
            window_us: (of != RateKind::Concurrency).then_some(60_000_000),
            needs: 3,
            retry_us,
        };
        Refused {
            refusal: Refusal::Rate(Box::new(over)),
            at: at(0),
        }
    }

    #[test]
    fn a_budget_says_whose_it_is_and_all_of_its_numbers() {
        // 2026-12-01T00:00:00Z, an hour later.
        let refused = over_budget(Some(Timestamp::from_unix_us(1_796_083_200_000_000)));
        assert_eq!(
            refused.to_string(),
            "budget growth of user_id ann, tags['env'] none has too little left: of 50 USD in its window 49.99 USD are spent and 0.005 USD are reserved for \
             calls under way, and this call could come to 0.02 USD; the window resets at 2026-12-01T00:00:00Z"
        );
        let decision = refused.decision();
        assert_eq!((&*decision.policy, &*decision.action), ("budget:growth", "refuse"));
        assert_eq!(decision.detail.as_deref(), Some(refused.to_string().as_str()));
        assert!(over_budget(None).to_string().ends_with("; the window does not reset"));
    }

    #[test]
    fn a_client_is_told_to_come_again_where_the_window_ends_within_an_hour() {
        let resets = |us| over_budget(Some(Timestamp::from_unix_us(us))).retry_after();
        assert_eq!(resets(1_796_083_200_000_000), Some(3600));
        assert_eq!(resets(1_796_083_200_000_001), None);
        assert_eq!(resets(1_796_079_600_000_001), Some(1));
        assert_eq!(resets(1_796_079_599_999_999), None);
        assert_eq!(over_budget(None).retry_after(), None);
        assert!(over_budget(Some(Timestamp::from_unix_us(1_796_079_600_000_001))).is_final());
    }

    #[test]
    fn a_rate_limit_says_when_a_call_fits() {
        let soon = over_rate(RateKind::Requests, Some(1_000_001));
        assert_eq!(
            soon.to_string(),
            "rate limit bot allows 60 requests in 60 s, and this call needs 3 of the 2 that are left; try again in 1.001 s"
        );
        assert_eq!((soon.retry_after(), soon.is_final()), (Some(2), false));
        assert_eq!(&*soon.decision().policy, "rate_limit:bot");
        let never = over_rate(RateKind::Tokens, None);
        assert!(never.to_string().ends_with("such a call never fits: send a smaller one"));
        assert_eq!((never.retry_after(), never.is_final()), (None, true));
        let busy = over_rate(RateKind::Concurrency, None);
        assert!(
            busy.to_string().starts_with("rate limit bot allows 60 calls at once, and"),
            "{busy}"
        );
        assert_eq!((busy.retry_after(), busy.is_final()), (Some(1), false));
    }

    #[test]
    fn a_budget_that_does_not_know_what_is_spent_is_tried_again() {
        let refused = Refused {
            refusal: Refusal::Unloaded { budget: name("growth") },
            at: at(0),
        };
        assert!(
            refused.to_string().starts_with("budget growth does not know yet"),
            "{refused}"
        );
        assert_eq!(
            (refused.status(), refused.retry_after(), refused.is_final()),
            (503, Some(1), false)
        );
        assert_eq!(&*refused.decision().policy, "budget:growth");
    }

    #[test]
    fn a_share_that_cannot_be_had_is_tried_again() {
        let unshared = |why| Refused {
            refusal: Refusal::Unshared(Box::new(Unshared {
                budget: name("growth"),
                why,
            })),
            at: at(0),
        };
        for (why, retry_after, words) in [
            (NotShared::Away, 1, "(Redis) is out of reach"),
            (NotShared::Fresh(7_500_000), 8, "no more of it for 7.5 s"),
            (NotShared::Fresh(1), 1, "is new or was restarted"),
            (NotShared::Contended, 1, "many calls want some at once"),
        ] {
            let refused = unshared(why);
            assert!(refused.to_string().starts_with("budget growth is shared by several gateways"));
            assert!(refused.to_string().contains(words), "{refused}");
            assert_eq!(
                (refused.code(), refused.status(), refused.retry_after(), refused.is_final()),
                (Code::BudgetUnavailable, 503, Some(retry_after), false)
            );
            assert_eq!(&*refused.decision().policy, "budget:growth");
        }
    }

    #[test]
    fn what_has_no_price_is_named() {
        let call = UnpricedCall {
            budget: name("growth"),
            missing: "model gpt-x, meter output".to_owned(),
            status: 402,
        };
        let refused = Refused {
            refusal: Refusal::Unpriced(Box::new(call)),
            at: at(0),
        };
        assert!(
            refused.to_string().contains("no price: model gpt-x, meter output;"),
            "{refused}"
        );
        assert_eq!(
            (refused.status(), refused.retry_after(), refused.is_final()),
            (402, None, true)
        );
        assert_eq!(&*refused.decision().policy, "budget:growth");
    }
}
