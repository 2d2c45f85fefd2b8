//! Budgets and rate limits that are right, and what becomes of them.

use chrono::Weekday;
use chrono_tz::Tz;
use tollgate_record::rule::{Action, Budget, Dimension, Limit, Rate, Reservation, Tokens, Unit, Unpriced, Window};
use tollgate_record::{Name, Timestamp};

use super::good::good;
use crate::{ConditionOf, Problem};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The only budget of a spec.
fn budget(spec: &str) -> Budget {
    let resources = good(&format!("kind: Budget\nmetadata: {{name: b}}\nspec: {{{spec}}}\n"));
    let [budget] = resources.budgets.as_slice() else {
        panic!("{:?}", resources.budgets)
    };
    budget.clone()
}

fn window(window: &str) -> Window {
    budget(&format!("limit: {{calls: 1}}, window: {window}")).window
}

fn instant(text: &str) -> Timestamp {
    let instant = chrono::DateTime::parse_from_rfc3339(text).expect("an instant");
    Timestamp::from_unix_us(instant.timestamp_micros())
}

#[test]
fn a_budget_says_what_it_leaves_out() {
    let expected = Budget {
        name: name("b"),
        when: None,
        per: Vec::new(),
        limit: Limit::Money {
            amount: "50".parse().expect("an amount"),
            currency: name("USD"),
        },
        window: Window::Calendar {
            unit: Unit::Month,
            timezone: Tz::UTC,
            week_start: Weekday::Mon,
        },
        action: Action::Refuse,
        reservation: Reservation::WorstCase,
        clamp: false,
        unpriced: Unpriced::Refuse,
        status: 402,
        alerts: Vec::new(),
        alert_projected: false,
        alert_anomaly: false,
    };
    assert_eq!(budget("limit: 50 USD, window: month"), expected);
    assert_eq!(budget("limit: {amount: \"50.00\", currency: USD}, window: month"), expected);
    assert_eq!(budget("limit: {amount: 50, currency: USD}, window: month"), expected);
}

#[test]
fn a_budget_takes_what_it_says() {
    let told = budget(
        r#"when: " team = 'growth' ", per: [user_id, "tags['it''s']"], limit: {output_tokens: 0}, window: week, timezone: Europe/Berlin,
           week_start: sunday, action: {downgrade: gpt-x-mini}, reservation: worst_case, clamp: true, status: 429, alerts: [100%, 50, 80]"#,
    );
    assert_eq!(told.when.as_deref(), Some("team = 'growth'"));
    assert_eq!(told.per, [Dimension::Column("user_id"), Dimension::Tag("it's".into())]);
    assert_eq!(
        told.per.iter().map(Dimension::text).collect::<Vec<_>>(),
        ["user_id", "tags['it''s']"]
    );
    let nothing = Limit::Tokens {
        count: 0,
        of: Tokens::Output,
    };
    assert_eq!(told.limit, nothing);
    let week = Window::Calendar {
        unit: Unit::Week,
        timezone: Tz::Europe__Berlin,
        week_start: Weekday::Sun,
    };
    assert_eq!(told.window, week);
    assert_eq!(told.action, Action::Downgrade(name("gpt-x-mini")));
    assert_eq!((told.clamp, told.status), (true, 429));
    assert_eq!(told.alerts, [50, 80, 100]);

    let told = budget("limit: {amount: \"0.5\", currency: EUR}, window: day, action: warn, reservation: none, unpriced: admit");
    assert_eq!(
        (told.action, told.reservation, told.unpriced),
        (Action::Warn, Reservation::None, Unpriced::Admit)
    );
    let tokens = |of| budget(&format!("limit: {{{of}: 7}}, window: day")).limit;
    for (field, of) in [
        ("tokens", Tokens::Total),
        ("input_tokens", Tokens::Input),
        ("output_tokens", Tokens::Output),
    ] {
        assert_eq!(tokens(field), Limit::Tokens { count: 7, of });
    }
    assert_eq!(tokens("calls"), Limit::Calls(7));
}

#[test]
fn windows_roll_in_steps_of_whole_microseconds() {
    for (text, length_us) in [
        ("1m", 60_000_000),
        ("90s", 90_000_000),
        ("24h", 86_400_000_000),
        ("30d", 2_592_000_000_000_i64),
    ] {
        assert_eq!(window(text), Window::Rolling { length_us }, "{text}");
        assert_eq!(length_us % Window::STEPS, 0, "{text}");
    }
}

#[test]
fn days_of_a_period_are_those_of_its_time_zone() {
    let period = |start, end| Window::Once {
        start: instant(start),
        end: instant(end),
    };
    assert_eq!(
        window("{start: 2026-12-01, end: 2026-12-31}, timezone: Europe/Berlin"),
        period("2026-11-30T23:00:00Z", "2026-12-30T23:00:00Z")
    );
    assert_eq!(
        window("{start: 2026-12-01, end: \"2026-12-01T12:00:00+01:00\"}"),
        period("2026-12-01T00:00:00Z", "2026-12-01T11:00:00Z")
    );
    // Brazil's clocks went from 24:00 of 3 November 2018 to 01:00 of the 4th, when they were two hours behind UTC.
    assert_eq!(
        window("{start: 2018-11-03, end: 2018-11-04}, timezone: America/Sao_Paulo"),
        period("2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z")
    );
    // Samoa had no 30 December 2011.
    assert!(matches!(
        window("{start: 2011-12-30, end: 2012-01-01}, timezone: Pacific/Apia"),
        Window::Once { .. }
    ));
}

#[test]
fn a_rate_limit_is_of_one_thing() {
    let limit = |spec: &str| {
        let resources = good(&format!("kind: RateLimit\nmetadata: {{name: r}}\nspec: {{{spec}}}\n"));
        let [limit] = resources.rate_limits.as_slice() else {
            panic!("{:?}", resources.rate_limits)
        };
        limit.limit
    };
    let window_us = 60_000_000;
    assert_eq!(
        limit("limit: {requests: 5}, window: 1m"),
        Rate::Requests { count: 5, window_us }
    );
    assert_eq!(limit("limit: {tokens: 5}, window: 60s"), Rate::Tokens { count: 5, window_us });
    assert_eq!(limit("limit: {concurrency: 5}"), Rate::Concurrency(5));
}

#[test]
fn a_budget_fits_into_what_is_kept() {
    let resources = good(
        "kind: Gateway\nmetadata: {name: g}\nspec: {ledger: {retention: 31d}}\n---\n\
         kind: Budget\nmetadata: {name: a}\nspec: {limit: 1 USD, window: month}\n---\n\
         kind: Budget\nmetadata: {name: b}\nspec: {limit: 1 USD, window: 31d}\n",
    );
    assert_eq!(resources.budgets.len(), 2);
}

#[test]
fn a_condition_knows_where_it_stands() {
    let resources = good(
        r#"
kind: Budget
metadata: {name: a}
spec: {limit: 1 USD, window: day}
---
kind: RateLimit
metadata: {name: b}
spec:
  limit: {concurrency: 1}
  when: |
    team = 'growth'
    AND NOT stream
---
kind: Budget
metadata: {name: c}
spec: {limit: 1 USD, window: day, when: cost > 1}
"#,
    );
    let conditions: Vec<_> = resources
        .conditions
        .iter()
        .map(|condition| (condition.of, condition.name.as_str(), &*condition.sql))
        .collect();
    assert_eq!(
        conditions,
        [
            (ConditionOf::RateLimit, "b", "team = 'growth'\nAND NOT stream"),
            (ConditionOf::Budget, "c", "cost > 1")
        ]
    );
    let problem = resources
        .conditions
        .last()
        .map(|condition| condition.problem("names column cost"));
    let expected = Problem {
        document: "tollgate.yaml, document 3 (Budget c), line 16".to_owned(),
        path: "spec.when".to_owned(),
        reason: "names column cost".to_owned(),
    };
    assert_eq!(problem, Some(expected.clone()));
    let problems = crate::Problems::of(vec![expected]).expect("there is one");
    assert_eq!(
        problems.to_string(),
        "tollgate.yaml, document 3 (Budget c), line 16: spec.when: names column cost"
    );
    assert_eq!(crate::Problems::of(Vec::new()), None);
}
