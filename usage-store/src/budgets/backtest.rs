//! The SQL of a back-test: what a window held when it begins, how many calls there are in each second, and the calls themselves.
//!
//! Calls are the rows that were made and that correct none: a price that was put right later is not looked at. They are asked for day by day, so that a
//! table of any size is sorted in pieces; [`seconds`] tells how small the pieces have to be.

use chrono::DateTime;
use tollgate_budget::backtest::Tried;
use tollgate_budget::{Span, step_us};
use tollgate_record::CostStatus;
use tollgate_record::rule::{Budget, Dimension, Limit, Rate, Tokens, Unpriced, Window};

use super::sql;

/// Columns `d0`, `d1`...: what a budget is kept apart by, and `step` of a rolling window; then `amount`, what the rows before the test came to.
pub fn opening(budget: &Budget, span: Span) -> String {
    let mut columns = dimensions(&budget.per);
    let mut groups: Vec<String> = budget.per.iter().map(Dimension::text).collect();
    if let Window::Rolling { length_us } = budget.window {
        let step = step_us(length_us);
        let step = format!("CAST(start_time AS BIGINT) / {step} * {step}");
        columns.push(format!("{step} AS step"));
        groups.push(step);
    }
    columns.push(format!("sum({}) AS amount", sql::measure(&budget.limit)));
    let mut text = format!(
        "SELECT {} FROM usage WHERE {}",
        columns.join(", "),
        sql::conditions(budget, span).join(" AND ")
    );
    if !groups.is_empty() {
        text.push_str(&format!(" GROUP BY {}", groups.join(", ")));
    }
    text
}

/// Columns `second` and `calls`: in which seconds since 1970 calls began, and how many. The span lies in one day.
pub fn seconds(rule: &Tried, span: Span) -> String {
    let second = "CAST(start_time AS BIGINT) / 1000000";
    format!(
        "SELECT {second} AS second, count(*) AS calls FROM usage WHERE {} GROUP BY {second} ORDER BY second",
        conditions(rule, span)
    )
}

/// Columns `began` and `duration_us`, in microseconds, `d0`, `d1`..., `amount`, `cost` and `currency`: a row for each call, in the order in which
/// they began. The span lies in one day.
pub fn calls(rule: &Tried, span: Span) -> String {
    let mut columns = vec!["CAST(start_time AS BIGINT) AS began".to_owned(), "duration_us".to_owned()];
    columns.extend(dimensions(rule.per()));
    columns.push(format!("{} AS amount", amount(rule)));
    columns.extend(["cost".to_owned(), "currency".to_owned()]);
    format!(
        "SELECT {} FROM usage WHERE {} ORDER BY start_time, call_id",
        columns.join(", "),
        conditions(rule, span)
    )
}

fn dimensions(per: &[Dimension]) -> Vec<String> {
    per.iter()
        .enumerate()
        .map(|(place, dimension)| format!("{} AS d{place}", dimension.text()))
        .collect()
}

/// What a call adds, null if it has no price in the budget's currency. Where null is nothing for a sum, it is zero here.
fn amount(rule: &Tried) -> String {
    match rule {
        Tried::Budget(budget) => match &budget.limit {
            Limit::Money { currency, .. } => {
                let counted = format!("currency = {} OR cost = 0", sql::quoted(currency.as_str()));
                match budget.unpriced {
                    // Of a call that is priced in part, the budget does not know what it comes to.
                    Unpriced::Refuse => format!(
                        "CASE WHEN cost_status <> {} AND ({counted}) THEN cost END",
                        sql::quoted(CostStatus::Unpriced.as_str())
                    ),
                    Unpriced::Admit => format!("CASE WHEN {counted} THEN cost END"),
                }
            }
            limit => format!("coalesce({}, 0)", sql::measure(limit)),
        },
        Tried::Rate(limit) => match limit.limit {
            Rate::Tokens { count, .. } => sql::measure(&Limit::Tokens {
                count,
                of: Tokens::Total,
            }),
            Rate::Requests { .. } | Rate::Concurrency(_) => "1".to_owned(),
        },
    }
}

fn conditions(rule: &Tried, span: Span) -> String {
    // Outside of what a calendar names the instants below say all.
    let day = DateTime::from_timestamp_micros(span.start).map(|at| format!("start_date = DATE '{}'", at.date_naive()));
    let mut all: Vec<String> = day.into_iter().collect();
    all.extend(rule.when().map(|when| format!("({when})")));
    all.push(sql::made());
    all.push(format!("start_time >= {}", sql::instant(span.start)));
    all.push(format!("start_time < {}", sql::instant(span.end)));
    all.join(" AND ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::Weekday;
    use chrono_tz::Tz;
    use tollgate_record::rule::{Action, RateLimit, Reservation, Unit};
    use tollgate_record::{Amount, Name};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn budget(limit: Limit, window: Window) -> Budget {
        Budget {
            name: name("b"),
            when: Some("team = 'growth' OR stream".into()),
            per: vec![Dimension::Column("user_id"), Dimension::Tag("it's".into())],
            limit,
            window,
            action: Action::Refuse,
            reservation: Reservation::WorstCase,
            clamp: false,
            unpriced: Unpriced::Refuse,
            status: 402,
            alerts: vec![],
            alert_projected: false,
            alert_anomaly: false,
        }
    }

    fn month() -> Window {
        Window::Calendar {
            unit: Unit::Month,
            timezone: Tz::UTC,
            week_start: Weekday::Mon,
        }
    }

    fn dollars() -> Limit {
        Limit::Money {
            amount: Amount::ONE,
            currency: name("USD"),
        }
    }

    /// The first of November 2026, from noon to one in the afternoon.
    const NOON: Span = Span {
        start: 1_793_534_400_000_000,
        end: 1_793_538_000_000_000,
    };

    const OF_NOON: &str = "start_time >= TIMESTAMP '2026-11-01T12:00:00Z' AND start_time < TIMESTAMP '2026-11-01T13:00:00Z'";
    const MADE: &str = "corrects IS NULL AND outcome NOT IN ('refused_budget', 'refused_rate', 'refused_policy')";

    #[test]
    fn calls_are_asked_for_in_their_order_with_what_the_rule_counts() {
        let rule = Tried::Budget(budget(dollars(), month()));
        assert_eq!(
            calls(&rule, NOON),
            format!(
                "SELECT CAST(start_time AS BIGINT) AS began, duration_us, user_id AS d0, tags['it''s'] AS d1, \
                 CASE WHEN cost_status <> 'unpriced' AND (currency = 'USD' OR cost = 0) THEN cost END AS amount, cost, currency FROM usage \
                 WHERE start_date = DATE '2026-11-01' AND (team = 'growth' OR stream) AND {MADE} AND {OF_NOON} ORDER BY start_time, call_id"
            )
        );
        let admits = Budget {
            unpriced: Unpriced::Admit,
            ..budget(dollars(), month())
        };
        assert!(calls(&Tried::Budget(admits), NOON).contains("CASE WHEN currency = 'USD' OR cost = 0 THEN cost END AS amount,"));
        assert_eq!(
            seconds(&rule, NOON),
            format!(
                "SELECT CAST(start_time AS BIGINT) / 1000000 AS second, count(*) AS calls FROM usage \
                 WHERE start_date = DATE '2026-11-01' AND (team = 'growth' OR stream) AND {MADE} AND {OF_NOON} \
                 GROUP BY CAST(start_time AS BIGINT) / 1000000 ORDER BY second"
            )
        );
    }

    #[test]
    fn a_rate_limit_without_conditions_asks_for_all_calls() {
        let rate = |limit| {
            Tried::Rate(RateLimit {
                name: name("r"),
                when: None,
                per: vec![],
                limit,
            })
        };
        let tokens = calls(&rate(Rate::Tokens { count: 5, window_us: 60 }), NOON);
        assert_eq!(
            tokens,
            format!(
                "SELECT CAST(start_time AS BIGINT) AS began, duration_us, coalesce(input_tokens, 0) + coalesce(output_tokens, 0) AS amount, \
                 cost, currency FROM usage WHERE start_date = DATE '2026-11-01' AND {MADE} AND {OF_NOON} ORDER BY start_time, call_id"
            )
        );
        assert!(calls(&rate(Rate::Concurrency(2)), NOON).contains(" 1 AS amount,"));
    }

    #[test]
    fn what_a_window_holds_is_the_sum_of_the_budget_itself() {
        assert_eq!(
            opening(&budget(dollars(), month()), NOON),
            format!(
                "SELECT user_id AS d0, tags['it''s'] AS d1, sum(cost) AS amount FROM usage \
                 WHERE (team = 'growth' OR stream) AND currency = 'USD' AND {OF_NOON} GROUP BY user_id, tags['it''s']"
            )
        );
        let rolling = Budget {
            when: None,
            per: vec![],
            ..budget(
                Limit::Calls(3),
                Window::Rolling {
                    length_us: 3_600_000_000,
                },
            )
        };
        assert_eq!(
            opening(&rolling, NOON),
            format!(
                "SELECT CAST(start_time AS BIGINT) / 60000000 * 60000000 AS step, sum(1) AS amount FROM usage \
                 WHERE {MADE} AND {OF_NOON} GROUP BY CAST(start_time AS BIGINT) / 60000000 * 60000000"
            )
        );
        let alone = Budget {
            per: vec![],
            ..budget(dollars(), month())
        };
        assert!(!opening(&alone, NOON).contains("GROUP BY"));
    }
}
