#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod shared;

use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;
use proptest::prelude::*;
use tollgate_record::admission::{Bounds, Measure, Permit, Refusal};
use tollgate_record::rule::{Action, Budget, Dimension, Limit, Rate, RateLimit, Reservation, Tokens, Unit, Unpriced, Window};
use tollgate_record::{
    Amount, Call, CallId, Caller, Cost, CostStatus, Ending, Identity, Intent, Name, Outcome, Record, Timestamp, Usage, UsageSource,
};

use crate::{Engine, Facts, Matcher, Pricing, Rules, Sum, WorstCase};

const USD: i128 = 1_000_000_000_000;
const DAY: i64 = 86_400_000_000;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Every rule is for every call.
struct All(usize, usize);

impl Matcher for All {
    fn matching(&self, _facts: &Facts<'_>) -> Arc<(Vec<u32>, Vec<u32>)> {
        Arc::new(((0..self.0 as u32).collect(), (0..self.1 as u32).collect()))
    }
}

/// A dollar for a token, of input and of output; of model `cheap`, a cent. An answer that names no limit has 100 at most.
struct Dollars;

impl Pricing for Dollars {
    fn worst(&self, model: Option<&Name>, bounds: &Bounds) -> WorstCase {
        let output = bounds.output_tokens.unwrap_or(100) * bounds.answers.max(1);
        let price = match model.map(Name::as_str) {
            Some("unknown") => Err("model unknown has no price for input".to_owned()),
            Some("cheap") => Ok(USD / 100),
            _ => Ok(USD),
        };
        WorstCase {
            cost: price.map(|price| (price * i128::from(bounds.input_tokens + output), name("USD"))),
            input_tokens: bounds.input_tokens,
            output_tokens: output,
        }
    }
}

pub(crate) fn budget(limit: Limit) -> Budget {
    Budget {
        name: name("b"),
        when: None,
        per: vec![Dimension::Column("user_id")],
        limit,
        window: Window::Calendar {
            unit: Unit::Day,
            timezone: Tz::UTC,
            week_start: chrono::Weekday::Mon,
        },
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

fn money(dollars: u64) -> Limit {
    Limit::Money {
        amount: Amount::from_integer(dollars).unwrap(),
        currency: name("USD"),
    }
}

fn intent(id: u64, user: &str, model: &str, at: i64) -> Intent {
    Intent {
        call_id: CallId::from_parts(id, [0; 10]),
        request_id: CallId::from_parts(id, [0; 10]).as_request(),
        attempt: 1,
        start_time: Timestamp::from_unix_us(at),
        identity: Arc::new(Identity {
            key_id: name("k"),
            org: None,
            team: None,
            project: None,
            service: None,
            user: Some(name(user)),
        }),
        caller: Caller::default(),
        call: Call {
            operation_name: name("chat"),
            proxy: None,
            provider_name: None,
            template: None,
            upstream: None,
            region: None,
            request_model: Some(name(model)),
            stream: false,
            route_rule: None,
            cache: None,
        },
        request_bytes: 0,
        bears_usage: true,
    }
}

fn row(intent: &Intent, outcome: Outcome, tokens: u64, cost: i128) -> Record {
    let mut ending = Ending::of(outcome);
    ending.usage = Usage {
        source: UsageSource::Reported,
        input: Some(tokens),
        output: Some(0),
        ..Usage::default()
    };
    let cost = Cost {
        status: CostStatus::Priced,
        cost: Some(Amount::from_units(cost).unwrap()),
        currency: Some(name("USD")),
        ..Cost::free()
    };
    Record::new(name("gw"), intent.clone(), ending, cost)
}

fn engine(budgets: Vec<Budget>, rates: Vec<RateLimit>) -> Arc<Engine> {
    let engine = Arc::new(Engine::default());
    install(&engine, budgets, rates);
    engine
}

fn install(engine: &Arc<Engine>, budgets: Vec<Budget>, rates: Vec<RateLimit>) -> Arc<Rules> {
    let matcher = Arc::new(All(budgets.len(), rates.len()));
    let rules = engine.number(budgets, rates, matcher);
    for id in engine.collect(&rules) {
        let rule = rules.budgets.iter().find(|rule| rule.id == id).unwrap();
        engine.load(rule, Timestamp::from_unix_us(0), &[]);
    }
    engine.install(Arc::clone(&rules));
    rules
}

fn bounds(input: u64, output: Option<u64>) -> Bounds {
    Bounds {
        input_tokens: input,
        output_tokens: output,
        answers: 1,
        takes_limit: true,
        takes_model: true,
        ..Bounds::default()
    }
}

fn pass(permit: Permit) {
    permit.hold.unwrap().keep();
}

#[test]
fn a_burst_is_refused_before_anything_is_spent() {
    // litellm#34732: $99 on a $30 budget, since a burst passed before its spend was recorded.
    let engine = engine(vec![budget(money(30))], vec![]);
    let mut admitted = 0;
    for id in 0..300 {
        match engine.reserve(&intent(id, "ann", "m", 0), || bounds(1, Some(2)), &Dollars) {
            Ok(permit) => {
                pass(permit);
                admitted += 1;
            }
            Err(Refusal::Budget(over)) => {
                assert_eq!(over.limit.to_string(), "30 USD");
                assert_eq!(over.reserved.to_string(), "30 USD");
                assert_eq!(over.estimate.unwrap().to_string(), "3 USD");
                assert_eq!(over.per, [("user_id".to_owned(), Some("ann".to_owned()))]);
                assert_eq!(over.resets, Some(Timestamp::from_unix_us(DAY)));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted, 10);
}

#[test]
fn threads_never_pass_a_limit_together() {
    let engine = engine(vec![budget(money(1000))], vec![]);
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || {
                for turn in 0..2000_u64 {
                    let intent = intent(thread * 10_000 + turn, "ann", "m", 0);
                    let Ok(permit) = engine.reserve(&intent, || bounds(1, Some(1)), &Dollars) else {
                        continue;
                    };
                    let standing = engine.standings().remove(0);
                    assert!(standing.own + standing.reserved <= 1000 * USD);
                    match turn % 3 {
                        0 => drop(permit),
                        _ => {
                            pass(permit);
                            engine.post([&row(&intent, Outcome::Ok, 1, USD)]);
                        }
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let standing = engine.standings().remove(0);
    // Affordable to the last: a dollar or two were left only while others held them.
    assert_eq!((standing.reserved, engine.open()), (0, 0));
    assert!(standing.own <= 1000 * USD && standing.own > 990 * USD, "{standing:?}");
}

#[test]
fn what_was_set_aside_is_given_back_when_the_row_is_seen() {
    let engine = engine(vec![budget(money(10))], vec![]);
    let first = intent(1, "ann", "m", 0);
    pass(engine.reserve(&first, || bounds(4, Some(5)), &Dollars).unwrap());
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", 0), || bounds(1, Some(1)), &Dollars)
            .is_err()
    );
    engine.post([&row(&first, Outcome::Ok, 5, 5 * USD)]);
    let permit = engine
        .reserve(&intent(3, "ann", "m", 0), || bounds(1, Some(1)), &Dollars)
        .unwrap();
    assert_eq!(
        permit.remaining.as_ref().unwrap().left,
        Measure::Money(Amount::from_integer(3).unwrap(), name("USD"))
    );
    drop(permit);
    assert_eq!(engine.open(), 0);
    pass(
        engine
            .reserve(&intent(4, "ann", "m", 0), || bounds(1, Some(4)), &Dollars)
            .unwrap(),
    );
    // Another's counter is another's.
    assert!(
        engine
            .reserve(&intent(5, "bob", "m", 0), || bounds(1, Some(9)), &Dollars)
            .is_ok()
    );
}

#[test]
fn a_new_window_begins_with_nothing_and_a_late_row_counts_in_its_own() {
    let engine = engine(vec![budget(money(10))], vec![]);
    let late = intent(1, "ann", "m", DAY - 1);
    pass(engine.reserve(&late, || bounds(1, Some(9)), &Dollars).unwrap());
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", DAY - 1), || bounds(1, Some(1)), &Dollars)
            .is_err()
    );
    pass(
        engine
            .reserve(&intent(3, "ann", "m", DAY), || bounds(1, Some(9)), &Dollars)
            .unwrap(),
    );
    engine.post([&row(&late, Outcome::Ok, 10, 10 * USD)]);
    let mut sums: Vec<_> = engine
        .standings()
        .iter()
        .map(|standing| (standing.span.start, standing.own))
        .collect();
    sums.sort_unstable();
    assert_eq!(sums, [(0, 10 * USD), (DAY, 0)]);
    engine.forget_ended(Timestamp::from_unix_us(DAY));
    assert_eq!(engine.standings().len(), 1);
}

#[test]
fn a_rolling_window_lets_go_step_by_step() {
    let mut rolling = budget(money(10));
    rolling.window = Window::Rolling { length_us: DAY };
    let engine = engine(vec![rolling], vec![]);
    for (id, at) in [(1, 0), (2, DAY / 2)] {
        let intent = intent(id, "ann", "m", at);
        pass(engine.reserve(&intent, || bounds(1, Some(4)), &Dollars).unwrap());
        engine.post([&row(&intent, Outcome::Ok, 5, 5 * USD)]);
    }
    let Err(Refusal::Budget(over)) = engine.reserve(&intent(3, "ann", "m", DAY / 2), || bounds(1, Some(4)), &Dollars) else {
        panic!("10 of 10 are spent")
    };
    let eases = over.resets.unwrap();
    assert_eq!(eases.unix_us(), DAY + DAY / 60);
    assert!(
        engine
            .reserve(&intent(4, "ann", "m", eases.unix_us() - 1), || bounds(1, Some(4)), &Dollars)
            .is_err()
    );
    assert!(
        engine
            .reserve(&intent(5, "ann", "m", eases.unix_us()), || bounds(1, Some(4)), &Dollars)
            .is_ok()
    );
}

#[test]
fn an_answer_without_a_limit_is_clamped_to_what_is_left() {
    let mut clamping = budget(money(50));
    clamping.clamp = true;
    let engine = engine(vec![clamping], vec![]);
    let permit = engine
        .reserve(&intent(1, "ann", "m", 0), || bounds(10, None), &Dollars)
        .unwrap();
    assert_eq!(permit.max_tokens, Some(40));
    assert_eq!(
        (&*permit.decisions[0].policy, &*permit.decisions[0].action),
        ("budget:b", "clamp")
    );
    drop(permit);
    // One that names a limit is not touched, and one for which too little is left is refused.
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", 0), || bounds(10, Some(41)), &Dollars)
            .is_err()
    );
    assert!(
        engine
            .reserve(&intent(3, "ann", "m", 0), || bounds(35, None), &Dollars)
            .is_err()
    );
}

#[test]
fn a_downgrade_asks_the_cheaper_model_if_that_fits() {
    let mut downgrading = budget(money(50));
    downgrading.action = Action::Downgrade(name("cheap"));
    let engine = engine(vec![downgrading], vec![]);
    let permit = engine
        .reserve(&intent(1, "ann", "m", 0), || bounds(10, Some(90)), &Dollars)
        .unwrap();
    assert_eq!(permit.model, Some(name("cheap")));
    assert_eq!(engine.standings()[0].reserved, USD);
    assert_eq!(&*permit.decisions[0].action, "downgrade");
    let fixed = Bounds {
        takes_model: false,
        ..bounds(10, Some(90))
    };
    assert!(engine.reserve(&intent(2, "ann", "m", 0), || fixed.clone(), &Dollars).is_err());
}

#[test]
fn a_warning_lets_pass_and_says_so() {
    let mut warning = budget(money(1));
    warning.action = Action::Warn;
    let engine = engine(vec![warning], vec![]);
    let permit = engine
        .reserve(&intent(1, "ann", "m", 0), || bounds(1, Some(1)), &Dollars)
        .unwrap();
    assert_eq!(&*permit.decisions[0].action, "warn");
    assert_eq!(
        permit.decisions[0].detail.as_deref(),
        Some("limit 1 USD, spent 0 USD, reserved 0 USD, this call up to 2 USD")
    );
}

#[test]
fn what_has_no_price_is_refused_unless_the_budget_admits_it() {
    let lenient = Budget {
        unpriced: Unpriced::Admit,
        ..budget(money(1))
    };
    let strict = engine(vec![budget(money(1))], vec![]);
    let lenient = engine(vec![lenient], vec![]);
    let unknown = intent(1, "ann", "unknown", 0);
    match strict.reserve(&unknown, || bounds(1, Some(1)), &Dollars) {
        Err(Refusal::Unpriced(call)) => assert_eq!(call.missing, "model unknown has no price for input"),
        other => panic!("{other:?}"),
    }
    assert!(lenient.reserve(&unknown, || bounds(1, Some(1)), &Dollars).is_ok());
}

#[test]
fn several_budgets_must_all_admit_and_none_keeps_anything_of_a_refusal() {
    let mut tokens = budget(Limit::Tokens {
        count: 10,
        of: Tokens::Total,
    });
    tokens.name = name("tokens");
    let engine = engine(vec![budget(money(100)), tokens], vec![]);
    match engine.reserve(&intent(1, "ann", "m", 0), || bounds(6, Some(5)), &Dollars) {
        Err(Refusal::Budget(over)) => assert_eq!(
            (over.budget.as_str(), over.estimate.unwrap().to_string()),
            ("tokens", "11 tokens".to_owned())
        ),
        other => panic!("{other:?}"),
    }
    assert!(engine.standings().iter().all(|standing| standing.reserved == 0));
    assert_eq!(engine.standings().iter().map(|standing| standing.refused).sum::<u64>(), 1);
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", 0), || bounds(5, Some(5)), &Dollars)
            .is_ok()
    );
}

#[test]
fn what_is_expected_is_what_calls_came_to_lately() {
    let mut expecting = budget(money(1000));
    expecting.reservation = Reservation::Expected;
    let engine = engine(vec![expecting], vec![]);
    for id in 0..8 {
        let intent = intent(id, "ann", "m", 0);
        let before = engine.standings().first().map_or(0, |standing| standing.reserved);
        let permit = engine.reserve(&intent, || bounds(10, Some(90)), &Dollars).unwrap();
        assert_eq!(
            engine.standings()[0].reserved - before,
            100 * USD,
            "the worst case while too little is known"
        );
        pass(permit);
        engine.post([&row(&intent, Outcome::Ok, 3, 3 * USD)]);
    }
    let _permit = engine
        .reserve(&intent(9, "ann", "m", 0), || bounds(10, Some(90)), &Dollars)
        .unwrap();
    assert_eq!(engine.standings()[0].reserved, 3 * USD);
}

#[test]
fn what_is_priced_later_passes_while_anything_is_left() {
    let batch = || Bounds {
        later: true,
        ..Bounds::default()
    };
    for reservation in [Reservation::WorstCase, Reservation::Expected, Reservation::None] {
        let mut limited = budget(money(3));
        limited.reservation = reservation;
        let engine = engine(vec![limited], vec![]);
        let submitted = intent(1, "ann", "m", 0);
        pass(engine.reserve(&submitted, batch, &Dollars).unwrap());
        engine.post([&row(&submitted, Outcome::Ok, 0, 0)]);
        // Its results come to more than there is.
        let results = intent(2, "ann", "m", 0);
        pass(engine.reserve(&results, || bounds(0, Some(0)), &Dollars).unwrap());
        engine.post([&row(&results, Outcome::Ok, 5, 5 * USD)]);
        let Err(Refusal::Budget(over)) = engine.reserve(&intent(3, "ann", "m", 0), batch, &Dollars) else {
            panic!("{reservation:?}: a batch passed that nothing is left for");
        };
        assert_eq!((over.spent.to_string(), over.estimate), ("5 USD".to_owned(), None));
        // To look at it and to fetch its results starts nothing.
        pass(
            engine
                .reserve(&intent(4, "ann", "m", 0), || bounds(0, Some(0)), &Dollars)
                .unwrap(),
        );
        // Another's counter has all of it left.
        pass(engine.reserve(&intent(5, "bob", "m", 0), batch, &Dollars).unwrap());
    }
}

#[test]
fn without_a_reservation_calls_pass_while_anything_is_left() {
    let mut plain = budget(money(10));
    plain.reservation = Reservation::None;
    let engine = engine(vec![plain], vec![]);
    let first = intent(1, "ann", "m", 0);
    pass(engine.reserve(&first, || bounds(10, Some(90)), &Dollars).unwrap());
    engine.post([&row(&first, Outcome::Ok, 10, 10 * USD)]);
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", 0), || bounds(1, Some(1)), &Dollars)
            .is_err()
    );
}

#[test]
fn a_limit_that_is_edited_keeps_what_was_spent_and_another_question_does_not() {
    let engine = engine(vec![budget(money(10))], vec![]);
    let first = intent(1, "ann", "m", 0);
    pass(engine.reserve(&first, || bounds(1, Some(9)), &Dollars).unwrap());
    engine.post([&row(&first, Outcome::Ok, 10, 10 * USD)]);
    install(&engine, vec![budget(money(12))], vec![]);
    assert_eq!(engine.standings()[0].own, 10 * USD);
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", 0), || bounds(1, Some(2)), &Dollars)
            .is_err()
    );
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", 0), || bounds(1, Some(1)), &Dollars)
            .is_ok()
    );
    let hourly = Budget {
        window: Window::Rolling { length_us: DAY },
        ..budget(money(12))
    };
    let rules = engine.number(vec![hourly], vec![], Arc::new(All(1, 0)));
    let fresh = engine.collect(&rules);
    assert_eq!(fresh, [rules.budgets[0].id], "it has to be loaded");
    let sum = Sum {
        values: vec![Some("ann".into())],
        step: 0,
        own: 7 * USD,
        others: USD,
    };
    engine.load(&rules.budgets[0], Timestamp::from_unix_us(0), &[sum]);
    engine.install(rules);
    let standing = engine
        .standings()
        .into_iter()
        .find(|standing| standing.own == 7 * USD)
        .unwrap();
    assert_eq!(standing.others, USD);
}

#[test]
fn alerts_are_raised_once_in_a_window() {
    let mut alerting = budget(money(10));
    alerting.alerts = vec![50, 80, 100];
    let engine = engine(vec![alerting], vec![]);
    let mut raised = Vec::new();
    for id in 0..10 {
        engine.post([&row(&intent(id, "ann", "m", 0), Outcome::Ok, 1, USD)]);
        raised.extend(engine.crossings().into_iter().map(|crossing| (id, crossing.percent)));
    }
    assert_eq!(raised, [(4, 50), (7, 80), (9, 100)]);
}

#[test]
fn a_rate_limit_and_a_budget_are_taken_together_or_not_at_all() {
    let rate = RateLimit {
        name: name("rpm"),
        when: None,
        per: vec![],
        limit: Rate::Requests {
            count: 2,
            window_us: 60_000_000,
        },
    };
    let engine = engine(vec![budget(money(1))], vec![rate]);
    // Refused by the budget, so no request is taken off the rate.
    for id in 0..5 {
        assert!(matches!(
            engine.reserve(&intent(id, "ann", "m", 0), || bounds(9, Some(9)), &Dollars),
            Err(Refusal::Budget(_))
        ));
    }
    for id in 5..7 {
        let permit = engine
            .reserve(&intent(id, "ann", "m", 0), || bounds(0, Some(0)), &Dollars)
            .unwrap();
        assert_eq!(permit.rates[0].remaining, 6 - id);
        pass(permit);
    }
    assert!(matches!(
        engine.reserve(&intent(8, "ann", "m", 0), || bounds(0, Some(0)), &Dollars),
        Err(Refusal::Rate(_))
    ));
}

/// A step of what may happen.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        user: u8,
        input: u64,
        output: u64,
    },
    /// A call ends at a share of its worst case.
    Settle {
        nth: usize,
        percent: u64,
    },
    /// A call is let go before it is admitted.
    Drop {
        nth: usize,
    },
    /// Time passes.
    Wait {
        minutes: i64,
    },
    /// The limit is edited.
    Edit {
        dollars: u64,
    },
    /// A row of something that nobody reserved.
    Unasked {
        user: u8,
        dollars: u64,
    },
    /// The process ends: what is open becomes rows, and counters are loaded from all rows.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, 0..20_u64, 0..40_u64).prop_map(|(user, input, output)| Step::Reserve { user, input, output }),
        5 => (any::<usize>(), 0..=100_u64).prop_map(|(nth, percent)| Step::Settle { nth, percent }),
        2 => any::<usize>().prop_map(|nth| Step::Drop { nth }),
        2 => (1..2000_i64).prop_map(|minutes| Step::Wait { minutes }),
        1 => (50..200_u64).prop_map(|dollars| Step::Edit { dollars }),
        1 => (0..3_u8, 0..5_u64).prop_map(|(user, dollars)| Step::Unasked { user, dollars }),
        1 => Just(Step::Restart),
    ]
}

/// What a window's sum is, worked out from the rows alone.
fn sums(rows: &[Record], now: i64, window: &Window) -> HashMap<String, i128> {
    let mut sums = HashMap::new();
    for row in rows {
        let at = row.start_time.unix_us();
        let inside = match window {
            Window::Rolling { length_us } => {
                let width = length_us / 60;
                let begin = now.div_euclid(width) * width;
                begin - length_us <= at && at < begin + width
            }
            _ => at.div_euclid(DAY) == now.div_euclid(DAY),
        };
        if inside {
            *sums.entry(row.identity.user.as_ref().unwrap().to_string()).or_default() += row.cost.cost.unwrap().units();
        }
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

fn run(window: Window, steps: &[Step]) {
    let mut declared = Budget {
        window,
        ..budget(money(100))
    };
    let mut engine = engine(vec![declared.clone()], vec![]);
    let mut rows: Vec<Record> = Vec::new();
    let mut open: Vec<(Intent, Option<Permit>, u64)> = Vec::new();
    let (mut now, mut limit, mut unasked) = (DAY / 3, 100_u64, 0_u64);
    for (number, step) in steps.iter().enumerate() {
        let number = number as u64;
        match step {
            Step::Reserve { user, input, output } => {
                let intent = intent(number, &format!("u{user}"), "m", now);
                let before = sums(&rows, now, &declared.window)
                    .get(&format!("u{user}"))
                    .copied()
                    .unwrap_or(0);
                let held: u64 = open
                    .iter()
                    .filter(|(other, ..)| other.identity.user == intent.identity.user && same(&declared.window, other, now))
                    .map(|(.., worst)| worst)
                    .sum();
                let worst = input + output;
                let fits = before + i128::from(held + worst) * USD <= i128::from(limit) * USD || worst == 0;
                match engine.reserve(&intent, || bounds(*input, Some(*output)), &Dollars) {
                    Ok(permit) => {
                        assert!(fits, "admitted {worst} with {before} spent and {held} held of {limit}");
                        open.push((intent, Some(permit), worst));
                    }
                    Err(refusal) => assert!(!fits, "{refusal:?}"),
                }
            }
            Step::Settle { nth, percent } if !open.is_empty() => {
                let (intent, permit, worst) = open.remove(nth % open.len());
                pass(permit.unwrap());
                let row = row(
                    &intent,
                    Outcome::Ok,
                    worst,
                    i128::from(worst) * USD * i128::from(*percent) / 100,
                );
                engine.post([&row]);
                rows.push(row);
            }
            Step::Drop { nth } if !open.is_empty() => drop(open.remove(nth % open.len())),
            Step::Settle { .. } | Step::Drop { .. } => {}
            Step::Wait { minutes } => now += minutes * 60_000_000,
            Step::Edit { dollars } => {
                limit = *dollars;
                declared.limit = money(limit);
                install(&engine, vec![declared.clone()], vec![]);
            }
            Step::Unasked { user, dollars } => {
                unasked += dollars;
                let row = row(
                    &intent(number, &format!("u{user}"), "m", now),
                    Outcome::Ok,
                    1,
                    i128::from(*dollars) * USD,
                );
                engine.post([&row]);
                rows.push(row);
            }
            Step::Restart => {
                for (intent, permit, worst) in open.drain(..) {
                    pass(permit.unwrap());
                    rows.push(row(&intent, Outcome::Interrupted, worst, i128::from(worst) * USD));
                }
                engine = Arc::new(Engine::default());
                let rules = engine.number(vec![declared.clone()], vec![], Arc::new(All(1, 0)));
                engine.collect(&rules);
                let mut loaded = Vec::new();
                for row in &rows {
                    let at = row.start_time.unix_us();
                    let sum = sums(std::slice::from_ref(row), now, &declared.window);
                    let width = match declared.window {
                        Window::Rolling { length_us } => length_us / 60,
                        _ => 1,
                    };
                    loaded.extend(sum.into_iter().map(|(user, own)| Sum {
                        values: vec![Some(user.into())],
                        step: at.div_euclid(width) * width,
                        own,
                        others: 0,
                    }));
                }
                engine.load(&rules.budgets[0], Timestamp::from_unix_us(now), &loaded);
                engine.install(rules);
            }
        }
        engine.forget_ended(Timestamp::from_unix_us(now));
        let mut counted: HashMap<String, i128> = HashMap::new();
        for standing in engine.standings() {
            if standing.span.start <= now && now < standing.span.end && standing.own != 0 {
                counted.insert(standing.values[0].as_deref().unwrap().to_owned(), standing.own);
            }
        }
        assert_eq!(counted, sums(&rows, now, &declared.window), "after {step:?}");
        let reserved: i128 = engine.standings().iter().map(|standing| standing.reserved).sum();
        assert_eq!(reserved, open.iter().map(|(.., worst)| i128::from(*worst) * USD).sum());
        if unasked == 0 && !steps[..=number as usize].iter().any(|step| matches!(step, Step::Edit { .. })) {
            assert!(counted.values().all(|spent| *spent <= 100 * USD), "exceeded: {counted:?}");
        }
    }
}

/// Whether what a call holds counts against calls of now: in a calendar, only in the same window.
fn same(window: &Window, other: &Intent, now: i64) -> bool {
    matches!(window, Window::Rolling { .. }) || other.start_time.unix_us().div_euclid(DAY) == now.div_euclid(DAY)
}

proptest! {
    #[test]
    fn counters_equal_the_rows_and_are_never_exceeded(steps in proptest::collection::vec(step(), 1..80)) {
        let day = Window::Calendar { unit: Unit::Day, timezone: Tz::UTC, week_start: chrono::Weekday::Mon };
        run(day, &steps);
    }

    #[test]
    fn so_do_those_of_rolling_windows(steps in proptest::collection::vec(step(), 1..80)) {
        run(Window::Rolling { length_us: DAY }, &steps);
    }
}

#[test]
fn three_hundred_calls_at_once_on_a_counter_that_is_nearly_spent_come_to_no_unit_more() {
    // Each sets aside 10 and comes to 7, and asks again until its own 10 are not left when nobody holds anything.
    const LIMIT: i128 = 10_000;
    let limit = Limit::Tokens {
        count: LIMIT as u64,
        of: Tokens::Total,
    };
    let engine = engine(vec![budget(limit)], vec![]);
    let together = std::sync::Barrier::new(300);
    let ids = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..300 {
            scope.spawn(|| {
                together.wait();
                loop {
                    let call = intent(ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed), "ann", "m", 0);
                    let admitted = engine.reserve(&call, || bounds(5, Some(5)), &Dollars);
                    let standing = engine.standings().remove(0);
                    assert!(standing.own + standing.reserved <= LIMIT, "{standing:?}");
                    match admitted {
                        Ok(permit) => {
                            pass(permit);
                            engine.post([&row(&call, Outcome::Ok, 7, 0)]);
                        }
                        Err(_) if standing.own + 10 > LIMIT => return,
                        Err(_) => std::thread::yield_now(),
                    }
                }
            });
        }
    });
    let standing = engine.standings().remove(0);
    // 1,427 calls come to 9,989, of which 10 more are left: one more call. Then 9,996, and none.
    assert_eq!((standing.own, standing.reserved, engine.open()), (9_996, 0, 0));
}
