//! Kind `RateLimit`: how fast calls may come, and how many at once. Counting is the store's work.

use std::time::Duration;

use tollgate_record::Name;
use tollgate_record::rule::{Rate, RateLimit};

use crate::budget::{COUNT_MAX, Conditional};
use crate::condition::{Condition, ConditionOf};
use crate::dimension;
use crate::field::Fields;

/// Shortest window: what is shorter is noise of the network.
const WINDOW_MIN: Duration = Duration::from_secs(1);
/// Longest window: what is longer is a budget of calls or tokens, which survives a restart.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads `spec`.
pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Conditional<RateLimit>> {
    let condition = Condition::read(ConditionOf::RateLimit, &name, &mut spec);
    let per = dimension::read(&mut spec);
    let limit = limit(&mut spec);
    spec.finish();
    Some(Conditional {
        rule: RateLimit {
            name,
            when: condition.as_ref().map(|condition| condition.sql.clone()),
            per: per?,
            limit: limit?,
        },
        condition,
    })
}

fn limit(spec: &mut Fields<'_>) -> Option<Rate> {
    let value = spec.required("limit");
    let window = spec.take("window");
    let value = value?;
    let mut fields = value.fields()?;
    let limits = ["requests", "tokens", "concurrency"].map(|name| (name, fields.take(name)));
    fields.finish();
    let told: Vec<&str> = limits
        .iter()
        .filter(|(_, value)| value.is_some())
        .map(|(name, _)| *name)
        .collect();
    if told.len() != 1 {
        value.wrong(match told.as_slice() {
            [] => "needs one of requests, tokens, concurrency".to_owned(),
            several => format!(
                "has {}: keep one of them, and declare a RateLimit for each of the others",
                several.join(" and ")
            ),
        });
        return None;
    }
    let [requests, tokens, concurrency] = limits.map(|(_, value)| value);
    if let Some(value) = concurrency {
        if let Some(window) = window {
            window.wrong("is not used: concurrency is of calls at once");
        }
        return value.integer(1..=COUNT_MAX).map(Rate::Concurrency);
    }
    let Some(window) = window else {
        spec.wrong("window", "is required, such as 1m");
        return None;
    };
    let window_us = window
        .duration(WINDOW_MIN..=WINDOW_MAX)
        .and_then(|window| i64::try_from(window.as_micros()).ok());
    let requests_count = requests.map(|value| value.integer(1..=COUNT_MAX));
    let tokens_count = tokens.map(|value| value.integer(1..=COUNT_MAX));
    let window_us = window_us?;
    match (requests_count, tokens_count) {
        (Some(count), _) => Some(Rate::Requests {
            count: count?,
            window_us,
        }),
        (None, Some(count)) => Some(Rate::Tokens {
            count: count?,
            window_us,
        }),
        (None, None) => None,
    }
}
