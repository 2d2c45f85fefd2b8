#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use chrono_tz::Tz;
use proptest::prelude::*;
use tollgate_record::rule::{Action, Budget, Dimension, Limit, Rate, RateLimit, Reservation, Tokens, Unit, Unpriced, Window};
use tollgate_record::{Amount, Timestamp};

use super::{Backtest, Event, Tried, days, slices};
use crate::Span;
use crate::tests::{budget, name};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

fn at(us: i64) -> Timestamp {
    Timestamp::from_unix_us(us)
}

fn tokens(count: u64) -> Budget {
    budget(Limit::Tokens {
        count,
        of: Tokens::Total,
    })
}

fn rate(limit: Rate) -> Tried {
    Tried::Rate(RateLimit {
        name: name("r"),
        when: None,
        per: vec![Dimension::Column("user_id")],
        limit,
    })
}

/// A call of ann: when it began, how long it took, what it came to; it cost a cent for each.
fn give(test: &mut Backtest, calls: &[(i64, i64, i128)]) {
    for (start, duration, amount) in calls {
        give_of(test, "ann", *start, *duration, *amount);
    }
}

fn give_of(test: &mut Backtest, user: &str, start: i64, duration: i64, amount: i128) {
    test.decide(&Event {
        start: at(start),
        end: at(start + duration),
        values: &[Some(user)],
        amount: Some(amount),
        cost: Some((amount * 10_000_000_000, "USD")),
    });
}

fn refused(test: &Backtest) -> Vec<u64> {
    test.trials().map(|trial| trial.refused).collect()
}

#[test]
fn a_refused_call_spends_nothing_so_a_smaller_one_behind_it_passes() {
    let mut test = Backtest::new(Tried::Budget(tokens(100)), &[60, 200]);
    give(&mut test, &[(0, 1, 70), (1, 1, 40), (2, 1, 30), (3, 1, 1), (4, 1, 0)]);
    // Of 100: 70, not 40, 30, not 1. Of 60: not 70, 40, not 30, 1. Of 200: all. What came to nothing passes.
    assert_eq!(refused(&test), [2, 2, 0]);
    let trials: Vec<_> = test.trials().collect();
    assert_eq!(trials[0].cost.iter().collect::<Vec<_>>(), [("USD", 410_000_000_000)]);
    assert_eq!((trials[0].calls, trials[0].first), (5, Some(at(1))));
    assert_eq!((trials[1].limit, trials[1].first), (60, Some(at(0))));
    assert_eq!((trials[2].first, trials[2].cost.iter().count()), (None, 0));
}

#[test]
fn counters_are_kept_apart_and_begin_anew_with_their_window() {
    let mut test = Backtest::new(Tried::Budget(tokens(10)), &[]);
    for (user, start) in [
        ("ann", 0),
        ("bob", 1),
        ("ann", 2),
        ("bob", 3),
        ("bob", 4),
        ("ann", DAY),
        ("ann", DAY + 1),
    ] {
        give_of(&mut test, user, start, 1, 8);
    }
    assert_eq!(refused(&test), [4]);
    let top: Vec<_> = test
        .top(0, 5)
        .iter()
        .map(|(values, tally)| (values[0].clone().unwrap(), tally.refused, tally.first))
        .collect();
    assert_eq!(top, [("ann".into(), 2, Some(at(2))), ("bob".into(), 2, Some(at(3)))]);
    assert_eq!(test.top(0, 1).len(), 1);
    assert!(test.top(7, 1).is_empty());
}

#[test]
fn a_test_that_begins_within_a_window_knows_what_that_holds() {
    let since = at(DAY + 3600 * SECOND);
    let mut test = Backtest::new(Tried::Budget(tokens(10)), &[20]);
    assert_eq!(
        test.opening(since),
        Some(Span {
            start: DAY,
            end: DAY + 3600 * SECOND
        })
    );
    test.open(since, 0, &[Some("ann")], 9);
    give(&mut test, &[(DAY + 3600 * SECOND, 1, 2), (2 * DAY, 1, 9)]);
    assert_eq!(refused(&test), [1, 0]);
}

#[test]
fn a_rolling_window_lets_a_step_go_when_all_of_it_is_older() {
    // 60 seconds in steps of one. What came in second 5 counts until second 65 has begun: then the window is 5 to 66, and in 66 it is gone.
    let window = Window::Rolling { length_us: 60 * SECOND };
    let rolling = Budget { window, ..tokens(10) };
    let mut test = Backtest::new(Tried::Budget(rolling.clone()), &[]);
    give(&mut test, &[(5 * SECOND, 1, 8), (65 * SECOND + 999_999, 1, 3)]);
    assert_eq!(refused(&test), [1]);
    give(&mut test, &[(66 * SECOND, 1, 10), (67 * SECOND, 1, 1)]);
    assert_eq!(refused(&test), [2]);
    // The same from an opening, whose steps come in any order.
    let mut test = Backtest::new(Tried::Budget(rolling), &[]);
    test.open(at(60 * SECOND), 30 * SECOND, &[Some("ann")], 1);
    test.open(at(60 * SECOND), 5 * SECOND, &[Some("ann")], 8);
    give(&mut test, &[(65 * SECOND, 1, 2), (66 * SECOND, 1, 9), (67 * SECOND, 1, 1)]);
    assert_eq!(refused(&test), [2]);
}

#[test]
fn a_budget_that_sets_nothing_aside_lets_a_call_pass_while_anything_is_left() {
    let open = Budget {
        reservation: Reservation::None,
        ..tokens(10)
    };
    let mut test = Backtest::new(Tried::Budget(open), &[]);
    give(&mut test, &[(0, 1, 9), (1, 1, 50), (2, 1, 1)]);
    assert_eq!(refused(&test), [1]);
}

#[test]
fn a_warning_is_counted_and_spends() {
    let warns = Budget {
        action: Action::Warn,
        ..tokens(10)
    };
    let mut test = Backtest::new(Tried::Budget(warns), &[]);
    give(&mut test, &[(0, 1, 9), (1, 1, 5), (2, 1, 1)]);
    // 9, then 14, then 15: a budget that refuses would have let the last one pass.
    assert_eq!(refused(&test), [2]);
}

#[test]
fn calls_without_a_price_are_told_apart() {
    let money = |unpriced| {
        let limit = Limit::Money {
            amount: Amount::ONE,
            currency: name("USD"),
        };
        Backtest::new(
            Tried::Budget(Budget {
                unpriced,
                ..budget(limit)
            }),
            &[],
        )
    };
    for (choice, unpriced) in [(Unpriced::Refuse, 1), (Unpriced::Admit, 0)] {
        let mut test = money(choice);
        test.decide(&Event {
            start: at(0),
            end: at(1),
            values: &[None],
            amount: None,
            cost: Some((5, "EUR")),
        });
        let trial = test.trials().next().unwrap();
        assert_eq!((trial.calls, trial.refused, trial.unpriced), (1, 0, unpriced));
    }
}

#[test]
fn requests_come_as_fast_as_the_bucket_refills() {
    let mut test = Backtest::new(
        rate(Rate::Requests {
            count: 6,
            window_us: 60 * SECOND,
        }),
        &[3],
    );
    // Six at once, then one every ten seconds; of three a minute, one every twenty.
    give(&mut test, &[(0, 1, 1); 7]);
    assert_eq!(refused(&test), [1, 4]);
    give(&mut test, &[(10 * SECOND, 1, 1), (20 * SECOND, 1, 1)]);
    assert_eq!(refused(&test), [1, 5]);
}

#[test]
fn tokens_that_a_bucket_does_not_hold_put_it_in_debt() {
    let mut test = Backtest::new(
        rate(Rate::Tokens {
            count: 100,
            window_us: 60 * SECOND,
        }),
        &[],
    );
    // A full bucket lets 300 pass, and is 200 in debt: two minutes, and then what the call needs.
    give(&mut test, &[(0, 1, 300), (119 * SECOND, 1, 1), (121 * SECOND, 1, 1)]);
    assert_eq!(refused(&test), [1]);
}

#[test]
fn calls_at_once_are_those_that_have_not_ended() {
    let mut test = Backtest::new(rate(Rate::Concurrency(2)), &[1]);
    // 0 to 10, 2 to 4; the third at 3 is one too many, the fourth at 4 is not. Of one at once, all but the first are.
    give(&mut test, &[(0, 10, 1), (2, 2, 1), (3, 9, 1), (4, 1, 1)]);
    assert_eq!(refused(&test), [1, 3]);
    give(&mut test, &[(10, 1, 1)]);
    assert_eq!(refused(&test), [1, 3]);
}

#[test]
fn outside_of_its_period_a_budget_is_for_no_call() {
    let window = Window::Once {
        start: at(10),
        end: at(20),
    };
    let mut test = Backtest::new(Tried::Budget(Budget { window, ..tokens(1) }), &[]);
    assert_eq!(test.opening(at(5)), None);
    give(&mut test, &[(9, 1, 5), (10, 1, 1), (19, 1, 1), (20, 1, 5)]);
    let trial = test.trials().next().unwrap();
    assert_eq!((trial.calls, trial.refused), (2, 1));
}

#[test]
fn counters_that_hold_nothing_are_forgotten() {
    let mut test = Backtest::new(
        rate(Rate::Requests {
            count: 1,
            window_us: SECOND,
        }),
        &[],
    );
    for user in 0..100_000_i64 {
        give_of(&mut test, &user.to_string(), user * 1_000, 1, 1);
    }
    // One call a millisecond, and a bucket is full again after a second: about 1,000 of them are not.
    assert!(test.counters.len() <= super::SWEEP, "{}", test.counters.len());
    assert_eq!(refused(&test), [0]);
}

#[test]
fn limits_are_read_in_the_unit_of_the_rule() {
    let money = Tried::Budget(budget(Limit::Money {
        amount: Amount::ONE,
        currency: name("EUR"),
    }));
    assert_eq!(money.read_limit("0.5"), Ok(500_000_000_000));
    assert_eq!(money.words(500_000_000_000), "0.5 EUR");
    assert!(money.read_limit("ten").unwrap_err().contains("\"ten\" is no amount of EUR"));
    assert!(money.read_limit("0").unwrap_err().contains("not above zero"));
    let requests = rate(Rate::Concurrency(5));
    assert_eq!(requests.read_limit(" 12 "), Ok(12));
    assert_eq!(requests.words(12), "12 at once");
    assert!(requests.read_limit("1.5").unwrap_err().contains("no whole number"));
}

#[test]
fn days_are_cut_to_the_time_that_is_asked_for() {
    let spans: Vec<_> = days(at(DAY / 2), at(2 * DAY + 1))
        .map(|span| (span.start, span.end))
        .collect();
    assert_eq!(spans, [(DAY / 2, DAY), (DAY, 2 * DAY), (2 * DAY, 2 * DAY + 1)]);
    assert_eq!(days(at(DAY), at(2 * DAY)).count(), 1);
    assert_eq!(days(at(5), at(5)).count(), 0);
}

#[test]
fn slices_have_no_more_calls_than_they_may() {
    let span = Span {
        start: 1_500_000,
        end: 9_250_000,
    };
    let found = slices(span, &[(1, 3), (2, 3), (3, 0), (4, 4), (5, 20), (9, 1)], 10);
    let found: Vec<_> = found.iter().map(|span| (span.start, span.end)).collect();
    assert_eq!(
        found,
        [(1_500_000, 5_000_000), (5_000_000, 6_000_000), (9_000_000, 9_250_000)]
    );
}

// === impl against a model that remembers every call ===

#[derive(Clone, Debug)]
struct Made {
    user: u8,
    start: i64,
    end: i64,
    amount: i128,
}

/// Which calls a limit lets pass: by looking, for each, at all that passed before.
fn model(rule: &Tried, limit: i128, calls: &[Made]) -> Vec<bool> {
    let mut passed: Vec<&Made> = Vec::new();
    let mut answers = Vec::new();
    for call in calls {
        let own = passed.iter().filter(|other| other.user == call.user);
        let fits = match rule {
            Tried::Budget(budget) => {
                let counts = |other: &Made| match budget.window {
                    Window::Rolling { length_us } => {
                        let step = |us: i64| us.div_euclid(length_us / 60);
                        step(other.start) >= step(call.start) - 60
                    }
                    _ => other.start.div_euclid(DAY) == call.start.div_euclid(DAY),
                };
                let spent: i128 = own.filter(|other| counts(other)).map(|other| other.amount).sum();
                call.amount == 0 || spent + call.amount <= limit
            }
            Tried::Rate(of) => match of.limit {
                Rate::Concurrency(_) => (own.filter(|other| other.end > call.start).count() as i128) < limit,
                Rate::Requests { window_us, .. } | Rate::Tokens { window_us, .. } => {
                    // What is in a bucket is the most that came in from any call on, less what has been refilled since.
                    let own: Vec<_> = own.collect();
                    let window = i128::from(window_us);
                    let since = |first: usize| {
                        let came: i128 = own[first..].iter().map(|other| other.amount).sum();
                        came * window - i128::from(call.start - own[first].start) * limit
                    };
                    let level = (0..own.len()).map(since).max().unwrap_or(0).max(0);
                    level + (call.amount.min(limit) * window).max(1) <= limit * window
                }
            },
        };
        answers.push(fits);
        if fits {
            passed.push(call);
        }
    }
    answers
}

fn rules() -> impl Strategy<Value = Tried> {
    let calendar = Window::Calendar {
        unit: Unit::Day,
        timezone: Tz::UTC,
        week_start: chrono::Weekday::Mon,
    };
    let rolling = Window::Rolling {
        length_us: 60 * 3600 * SECOND,
    };
    prop_oneof![
        prop_oneof![Just(calendar), Just(rolling)].prop_map(|window| Tried::Budget(Budget { window, ..tokens(50) })),
        Just(rate(Rate::Concurrency(3))),
        Just(rate(Rate::Requests {
            count: 4,
            window_us: DAY / 4
        })),
        Just(rate(Rate::Tokens {
            count: 40,
            window_us: DAY / 4
        })),
    ]
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let call = (0_u8..3, 0..DAY / 6, 1..DAY / 2, 0_i128..30);
    proptest::collection::vec(call, 1..80).prop_map(|calls| {
        let mut now = 0;
        let make = |(user, wait, duration, amount)| {
            // Some begin at the same instant.
            now += if wait % 5 == 0 { 0 } else { wait };
            Made {
                user,
                start: now,
                end: now + duration,
                amount,
            }
        };
        calls.into_iter().map(make).collect()
    })
}

proptest! {
    #[test]
    fn every_limit_refuses_what_a_model_refuses_that_remembers_every_call(rule in rules(), calls in made(), others in proptest::collection::vec(1_i128..200, 0..3)) {
        let counts_calls = matches!(&rule, Tried::Rate(limit) if !matches!(limit.limit, Rate::Tokens { .. }));
        let calls: Vec<Made> = calls.into_iter().map(|call| Made { amount: if counts_calls { 1 } else { call.amount }, ..call }).collect();
        let mut test = Backtest::new(rule.clone(), &others);
        for call in &calls {
            give_of(&mut test, &call.user.to_string(), call.start, call.end - call.start, call.amount);
        }
        for (place, trial) in test.trials().enumerate() {
            let passes = model(&rule, trial.limit, &calls);
            let mut by: BTreeMap<String, (u64, i128, i64)> = BTreeMap::new();
            for (call, _) in calls.iter().zip(&passes).filter(|(_, passes)| !**passes) {
                let told = by.entry(call.user.to_string()).or_insert((0, 0, call.start));
                told.0 += 1;
                told.1 += call.amount * 10_000_000_000;
            }
            prop_assert_eq!(trial.calls, calls.len() as u64);
            prop_assert_eq!(trial.refused, by.values().map(|told| told.0).sum::<u64>());
            prop_assert_eq!(trial.cost.iter().map(|(_, sum)| sum).sum::<i128>(), by.values().map(|told| told.1).sum::<i128>());
            let first = calls.iter().zip(&passes).find(|(_, passes)| !**passes).map(|(call, _)| at(call.start));
            prop_assert_eq!(trial.first, first);
            let told: BTreeMap<String, (u64, i128, i64)> = test.top(place, 10).into_iter().map(|(values, tally)| {
                let cost = tally.cost.iter().map(|(_, sum)| sum).sum();
                (values[0].as_deref().unwrap().to_owned(), (tally.refused, cost, tally.first.unwrap().unix_us()))
            }).collect();
            prop_assert_eq!(told, by);
        }
    }
}
