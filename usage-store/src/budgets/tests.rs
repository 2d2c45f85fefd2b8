#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int64Type};
use chrono_tz::Tz;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use tempfile::TempDir;
use tollgate_budget::{Pricing, WorstCase};
use tollgate_record::admission::{Bounds, Refusal};
use tollgate_record::rule::{Action, Dimension, Reservation, Tokens, Unit, Unpriced};
use tollgate_record::{Amount, Ending, Intent, OpenCall, Tags, Timestamp, Usage, UsageSource};

use super::*;
use crate::rollup::Keeper;
use crate::store::tests::sql;
use crate::testing::{ending, intent, name, prices};
use crate::{Config, Store};

/// A cent a token.
struct Cents;

const CENT: i128 = 10_000_000_000;
const HOUR: i64 = 3_600_000_000;

impl Pricing for Cents {
    fn worst(&self, _model: Option<&Name>, bounds: &Bounds) -> WorstCase {
        let tokens = bounds.input_tokens + bounds.output_tokens.unwrap_or(1000);
        WorstCase {
            cost: Ok((CENT * i128::from(tokens), name("USD"))),
            input_tokens: bounds.input_tokens,
            output_tokens: bounds.output_tokens.unwrap_or(1000),
        }
    }
}

fn budget(text: &str, when: Option<&str>, limit: Limit) -> Budget {
    Budget {
        name: name(text),
        when: when.map(Box::from),
        per: vec![Dimension::Column("team"), Dimension::Tag("env".into())],
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

#[test]
fn a_condition_that_no_admission_can_tell_is_refused_with_the_reason() {
    for (when, reason) in [
        (
            "cost > 1",
            "column cost is only known when a call has ended; known at admission are start_time, start_date, org",
        ),
        (
            "team = 'a' AND response_model = 'm'",
            "column response_model is only known when a call has ended",
        ),
        ("tem = 'a'", "No field named tem"),
        ("team", "it is a value of type Utf8, and a condition is true or false"),
        ("random() < 0.5", "function random() has another value each time"),
        ("start_time > now()", "function now() has another value each time"),
        ("count(*) > 1", "it adds up rows"),
        ("team = 'a' AND", "Expected"),
        ("team IN (SELECT team FROM usage)", "it has a query inside"),
        ("1 = 1; DROP TABLE usage", "Expected"),
    ] {
        let found = check_rule(when).unwrap_err().to_string();
        assert!(found.contains(reason), "{when}: {found}");
    }
    for when in [
        "team = 'growth' AND provider_name = 'openai'",
        "tags['env'] = 'prod' OR user_id IS NULL",
        "request_model LIKE 'gpt-%' AND NOT stream",
        "extract(hour FROM start_time AT TIME ZONE 'Europe/Berlin') BETWEEN 9 AND 17",
        "proxy IN ('a', 'b') AND region <> 'eu-west-1'",
        "date_part('dow', start_date) IN (0, 6)",
    ] {
        check_rule(when).unwrap();
    }
}

#[test]
fn a_rule_is_for_the_calls_that_its_condition_is_true_of() {
    let when = [
        None,
        Some("team = 'even'"),
        Some("team <> 'even'"),
        Some("tags['env'] = 'prod'"),
        Some("tags['none'] = 'x'"),
        Some("user_id = 'ann'"),
        Some("start_time < TIMESTAMP '2023-11-14T22:13:20.002Z'"),
        Some("NOT stream AND request_model = 'm'"),
        Some("1 / CAST(length(team) - 4 AS INT) > 0"),
    ];
    let compiled = Compiled::new(when.into_iter(), [Some("team = 'odd'")].into_iter()).unwrap();
    let of = |intent: &Intent| {
        let found = tollgate_budget::Matcher::matching(&compiled, &tollgate_budget::Facts::from(intent));
        (found.0.clone(), found.1.clone())
    };
    // The last divides by zero for team `even`, and is for it rather than void.
    assert_eq!(of(&intent(0)), (vec![0, 1, 3, 6, 7, 8], vec![]));
    assert_eq!(of(&intent(1)), (vec![0, 2, 3, 6, 7], vec![0]));
    assert_eq!(of(&intent(2)), (vec![0, 1, 3, 7, 8], vec![]), "two milliseconds later");
    let mut other = intent(0);
    other.caller.user = Some(name("ann"));
    other.caller.tags = Arc::new(Tags::default());
    other.call.stream = true;
    assert_eq!(of(&other), (vec![0, 1, 5, 6, 8], vec![]));
}

fn config(folder: &TempDir) -> Config {
    Config {
        background: false,
        ..Config::new(folder.path(), name("gw")).unwrap()
    }
}

fn tokens(input: u64, output: u64) -> Ending {
    Ending {
        usage: Usage {
            source: UsageSource::Reported,
            input: Some(input),
            output: Some(output),
            ..Usage::default()
        },
        ..ending()
    }
}

/// A call of today, so that it lies in the window that the store's clock is in.
fn today(number: u64) -> Intent {
    Intent {
        start_time: Timestamp::from_unix_us(chrono::Utc::now().timestamp_micros()),
        ..intent(number)
    }
}

async fn admit(store: &Store, intent: Intent, most: u64) -> Result<Box<dyn OpenCall>, Refusal> {
    let bounds = Bounds {
        input_tokens: most,
        output_tokens: Some(0),
        answers: 1,
        ..Bounds::default()
    };
    let permit = store.shared().budgets().engine.reserve(&intent, || bounds, &Cents)?;
    Ok(store.ledger().admit_held(intent, permit.hold).await.unwrap())
}

/// What the proof of every counter says, and the counter.
async fn proved(store: &Store) -> Vec<(i128, i128)> {
    let engine = &store.shared().budgets().engine;
    let rules = engine.rules();
    let mut all = Vec::new();
    for rule in &rules.budgets {
        for standing in engine.standings_of(rule) {
            let rows = sql(&*store.tables(), &proof(&rule.budget, standing.span, &standing.values)).await;
            let sum = rows.column(0);
            let sum = match (sum.is_null(0), sum.as_primitive_opt::<Decimal128Type>()) {
                (true, _) => 0,
                (false, Some(money)) => money.value(0),
                (false, None) => i128::from(sum.as_primitive::<Int64Type>().value(0)),
            };
            all.push((standing.own + standing.others, sum));
        }
    }
    all
}

#[tokio::test]
async fn a_budget_that_is_added_later_counts_what_its_window_holds() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(config(&folder), prices()).await.unwrap();
    for number in 0..4 {
        store
            .ledger()
            .admit(today(number))
            .await
            .unwrap()
            .settle(ending())
            .await
            .unwrap();
    }
    store.flush().await.unwrap();
    store.ledger().admit(today(4)).await.unwrap().settle(ending()).await.unwrap();
    let calls = budget("calls", Some("team = 'even'"), Limit::Calls(4));
    store.set_rules(vec![calls.clone()], vec![]).await.unwrap();
    // Calls 0, 2 and 4 were made: one more fits.
    std::mem::forget(
        admit(&store, today(6), 1)
            .await
            .map_err(|refusal| format!("{refusal:?}"))
            .unwrap(),
    );
    assert!(matches!(admit(&store, today(8), 1).await, Err(Refusal::Budget(_))));
    assert!(admit(&store, today(9), 1).await.is_ok(), "another team's");
    // The process ends with a call open: it is a row, and counts.
    drop(store);
    let store = Store::open(config(&folder), prices()).await.unwrap();
    store.set_rules(vec![calls], vec![]).await.unwrap();
    match admit(&store, today(10), 1).await {
        Err(Refusal::Budget(over)) => assert_eq!(over.spent.to_string(), "4 calls"),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(store.shared().reconcile().await.unwrap(), 0);
    for (counter, rows) in proved(&store).await {
        assert_eq!(counter, rows);
    }
}

#[tokio::test]
async fn a_counter_that_is_not_its_sum_is_found_and_set_right() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(config(&folder), prices()).await.unwrap();
    store.set_rules(vec![budget("money", None, money(50))], vec![]).await.unwrap();
    admit(&store, today(0), 10).await.unwrap().settle(ending()).await.unwrap();
    let engine = &store.shared().budgets().engine;
    let rules = engine.rules();
    let standing = engine.standings().remove(0);
    engine.correct(
        &rules.budgets[0],
        standing.span,
        &standing.values,
        standing.span.start,
        CENT,
        0,
    );
    assert_eq!(store.shared().reconcile().await.unwrap(), 1);
    assert_eq!(engine.standings()[0].own, standing.own);
    assert_eq!(store.shared().reconcile().await.unwrap(), 0);
}

#[tokio::test]
async fn rows_of_another_gateway_in_the_same_table_count_once_they_are_seen() {
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = Store::open(config(&ours), prices()).await.unwrap();
    store
        .set_rules(vec![budget("calls", None, Limit::Calls(3))], vec![])
        .await
        .unwrap();
    let other = Config {
        table: config(&ours).table,
        instance: name("other"),
        ..config(&theirs)
    };
    let other = Store::open(other, prices()).await.unwrap();
    for number in [0, 2] {
        other
            .ledger()
            .admit(today(number))
            .await
            .unwrap()
            .settle(ending())
            .await
            .unwrap();
    }
    other.flush().await.unwrap();
    admit(&store, today(4), 1).await.unwrap().settle(ending()).await.unwrap();
    assert_eq!(store.shared().reconcile().await.unwrap(), 0, "others' rows are no difference");
    let standing = store.shared().budgets().engine.standings().remove(0);
    assert_eq!((standing.own, standing.others), (1, 2));
    assert!(admit(&store, today(6), 1).await.is_err());
}

/// The sums of a budget in its window of now: out of hours if they can say it, and out of the raw rows.
async fn both(store: &Store, budget: &Budget) -> Option<(Vec<Sum>, Vec<Sum>)> {
    let shared = store.shared();
    let seen = {
        let mut view = lock(shared.view());
        Seen {
            rows: view.hot.pieces(),
            table: view.table.clone(),
            hourly: view.hourly.clone(),
            standings: Vec::new(),
        }
    };
    let hours = shared.hours(&seen).await.unwrap()?;
    let span = span(&budget.window, shared.now()).unwrap();
    rolled::sums(budget, span)?;
    let sorted = |mut sums: Vec<Sum>| {
        sums.sort_by(|a, b| (&a.values, a.step).cmp(&(&b.values, b.step)));
        sums
    };
    let hourly = sorted(shared.loaded(budget, span, &seen, Some(&hours)).await.unwrap());
    Some((hourly, sorted(shared.sums(budget, span, &seen).await.unwrap())))
}

#[tokio::test]
async fn counters_come_out_of_hours_where_they_can_and_are_the_raw_sums() {
    let folder = TempDir::new().unwrap();
    let calendar = |unit, timezone| Window::Calendar {
        unit,
        timezone,
        week_start: chrono::Weekday::Mon,
    };
    let of = |name: &str, when: Option<&str>, per: &[&'static str], limit: Limit, window: Window| Budget {
        per: per.iter().map(|column| Dimension::Column(column)).collect(),
        window,
        ..budget(name, when, limit)
    };
    let tokens_of = |of| Limit::Tokens { count: 1000, of };
    let (year, days) = (
        calendar(Unit::Year, Tz::UTC),
        Window::Rolling {
            length_us: 60 * 24 * HOUR,
        },
    );
    let answerable = [
        of("money", None, &["team"], money(50), year.clone()),
        of("calls", Some("team = 'even'"), &[], Limit::Calls(9), year.clone()),
        of(
            "input",
            Some("provider_name = 'openai'"),
            &["team", "request_model"],
            tokens_of(Tokens::Input),
            year.clone(),
        ),
        of(
            "output",
            None,
            &["key_id"],
            tokens_of(Tokens::Output),
            calendar(Unit::Year, Tz::Europe__Berlin),
        ),
        of("total", None, &["org"], tokens_of(Tokens::Total), days.clone()),
        of("rolling", None, &["team"], money(50), days),
    ];
    let not = [
        of("by-user", None, &["user_id"], money(50), year.clone()),
        of("of-a-stream", Some("stream"), &["team"], money(50), year.clone()),
        of(
            "by-time",
            Some("start_time > TIMESTAMP '2026-01-01T00:00:00Z'"),
            &[],
            money(50),
            year.clone(),
        ),
        of(
            "half-an-hour",
            None,
            &["team"],
            money(50),
            calendar(Unit::Year, Tz::Asia__Kolkata),
        ),
        of("minutes", None, &["team"], money(50), Window::Rolling { length_us: HOUR }),
        budget("by-tag", None, money(50)),
    ];
    let agree = async |store: &Store, told: &str| {
        for budget in &answerable {
            let (hourly, raw) = both(store, budget).await.unwrap_or_else(|| panic!("{}, {told}", budget.name));
            assert!(!raw.is_empty(), "{}, {told}", budget.name);
            assert_eq!(hourly, raw, "{}, {told}", budget.name);
        }
        for budget in &not {
            assert!(both(store, budget).await.is_none(), "{}, {told}", budget.name);
        }
    };
    let store = Store::open(config(&folder), prices()).await.unwrap();
    let keeper = Keeper::new(store.shared().location(), name("gw")).unwrap();
    let calls = async |store: &Store, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let intent = today(number);
            let start_time = Timestamp::from_unix_us(intent.start_time.unix_us() - i64::try_from(number).unwrap() * HOUR * 7 / 11);
            let call = store.ledger().admit(Intent { start_time, ..intent }).await.unwrap();
            // One in five is interrupted, and known to be so after the next start.
            match number % 5 {
                0 => std::mem::forget(call),
                _ => drop(call.settle(tokens(number, 2 * number)).await.unwrap()),
            }
        }
    };
    calls(&store, 0..20).await;
    store.flush().await.unwrap();
    while keeper
        .step(store.shared().view(), None, crate::table::lake::Stamp::system())
        .await
    {}
    agree(&store, "all of it added up").await;
    calls(&store, 20..30).await;
    store.flush().await.unwrap();
    calls(&store, 30..40).await;
    agree(&store, "some not added up, some in memory").await;
    drop(store);
    let store = Store::open(config(&folder), prices()).await.unwrap();
    agree(&store, "after a start").await;
    store.set_rules(answerable.to_vec(), vec![]).await.unwrap();
    assert_eq!(store.shared().reconcile().await.unwrap(), 0);

    let theirs = TempDir::new().unwrap();
    let other = Config {
        table: config(&folder).table,
        instance: name("other"),
        ..config(&theirs)
    };
    let other = Store::open(other, prices()).await.unwrap();
    calls(&other, 41..44).await;
    other.flush().await.unwrap();
    store.shared().refresh().await.unwrap();
    agree(&store, "with rows of another gateway").await;
    let (hourly, _) = both(&store, &answerable[1]).await.unwrap();
    assert!(hourly[0].own > 0 && hourly[0].others > 0, "{hourly:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Admit { most: u64, chunk: u8 },
    Settle { nth: usize, percent: u64 },
    Drop { nth: usize },
    Flush,
    Restart { with_close: bool },
    Edit { limit: u64 },
    Other { window: bool },
    Prices,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..60_u64, 0..4_u8).prop_map(|(most, chunk)| Step::Admit { most, chunk }),
        6 => (any::<usize>(), 0..=100_u64).prop_map(|(nth, percent)| Step::Settle { nth, percent }),
        2 => any::<usize>().prop_map(|nth| Step::Drop { nth }),
        2 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|with_close| Step::Restart { with_close }),
        1 => (1..30_u64).prop_map(|limit| Step::Edit { limit }),
        1 => any::<bool>().prop_map(|window| Step::Other { window }),
        1 => Just(Step::Prices),
    ]
}

fn rules(limit: u64, rolling: bool) -> Vec<Budget> {
    let mut all = vec![
        budget("money", Some("team IS NOT NULL"), money(limit)),
        budget(
            "tokens",
            Some("tags['env'] = 'prod'"),
            Limit::Tokens {
                count: limit * 100,
                of: Tokens::Total,
            },
        ),
        budget("calls", None, Limit::Calls(limit * 3)),
    ];
    if rolling {
        all[1].window = Window::Rolling {
            length_us: 3_600_000_000,
        };
        all[2].per = vec![];
    }
    all
}

async fn run(steps: Vec<Step>) {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(config(&folder), prices()).await.unwrap();
    let (mut limit, mut rolling) = (10, false);
    store.set_rules(rules(limit, rolling), vec![]).await.unwrap();
    let mut open: Vec<(Box<dyn OpenCall>, u64, u64)> = Vec::new();
    let mut calls: BTreeMap<u64, bool> = BTreeMap::new();
    for (number, step) in steps.into_iter().enumerate() {
        let number = number as u64;
        match &step {
            Step::Admit { most, chunk } => {
                let number = number * 4 + u64::from(*chunk);
                if let Ok(call) = admit(&store, today(number), *most).await {
                    open.push((call, *most, number));
                }
            }
            Step::Settle { nth, percent } if !open.is_empty() => {
                let (call, most, number) = open.remove(nth % open.len());
                call.settle(tokens(most * percent / 100, 0)).await.unwrap();
                calls.insert(number, true);
            }
            Step::Drop { nth } if !open.is_empty() => {
                let (call, _, number) = open.remove(nth % open.len());
                drop(call);
                calls.insert(number, false);
            }
            Step::Settle { .. } | Step::Drop { .. } => {}
            Step::Flush => store.flush().await.unwrap(),
            Step::Restart { with_close } => {
                for (call, _, number) in open.drain(..) {
                    std::mem::forget(call);
                    calls.insert(number, false);
                }
                if *with_close {
                    store.close().await.unwrap();
                } else {
                    drop(store);
                }
                store = Store::open(config(&folder), prices()).await.unwrap();
                store.set_rules(rules(limit, rolling), vec![]).await.unwrap();
            }
            Step::Edit { limit: new } => {
                limit = *new;
                store.set_rules(rules(limit, rolling), vec![]).await.unwrap();
            }
            Step::Other { window } => {
                rolling = *window;
                store.set_rules(rules(limit, rolling), vec![]).await.unwrap();
            }
            Step::Prices => store.set_prices(prices()).unwrap(),
        }
        // A call that was let go is settled by a task of the log; whoever asks for the next place waits for it.
        store
            .ledger()
            .admit(today(1_000_000 + number))
            .await
            .unwrap()
            .settle(tokens(0, 0))
            .await
            .unwrap();
        calls.insert(1_000_000 + number, true);
        for (counter, rows) in proved(&store).await {
            assert_eq!(counter, rows, "after {step:?}");
        }
        let engine = &store.shared().budgets().engine;
        assert_eq!(engine.open(), open.len(), "after {step:?}");
        let counted = engine
            .rules()
            .budgets
            .iter()
            .find(|rule| rule.budget.name == name("calls"))
            .map(|rule| engine.standings_of(rule));
        let counted: i128 = counted.unwrap().iter().map(|standing| standing.own).sum();
        assert_eq!(counted, calls.len() as i128, "after {step:?}");
    }
    assert_eq!(store.shared().reconcile().await.unwrap(), 0);
}

#[test]
fn counters_equal_their_sql_and_the_model_through_everything() {
    // Each step asks SQL for every counter: a case takes seconds. PROPTEST_CASES makes them more.
    let cases = Cases {
        cases: std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(6),
        max_shrink_iters: 100,
        ..Cases::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    TestRunner::new(cases)
        .run(&proptest::collection::vec(step(), 5..30), |steps| {
            runtime.block_on(run(steps));
            Ok(())
        })
        .unwrap();
}

/// What the book says: kind, percentage, team, spent.
fn told(book: &tollgate_alerts::Book) -> Vec<(String, Option<i64>, String)> {
    let rows = book.rows().unwrap();
    let text = |row: usize, column: &str| rows.column_by_name(column).unwrap().as_string::<i32>().value(row).to_owned();
    let percents = rows.column_by_name("percent").unwrap();
    let percents = percents.as_primitive::<Int64Type>();
    let all = (0..rows.num_rows()).map(|row| {
        let percent = (!percents.is_null(row)).then(|| percents.value(row));
        (text(row, "kind"), percent, text(row, "unit"))
    });
    all.collect()
}

#[tokio::test]
async fn a_percentage_is_told_once_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let alerts = folder.path().join("alerts");
    let watched = Budget {
        per: vec![],
        alerts: vec![50, 100],
        ..budget("calls", None, Limit::Calls(4))
    };
    let told_of = |kinds: &[i64]| -> Vec<_> {
        let one = |percent: &i64| ("threshold".to_owned(), Some(*percent), "calls".to_owned());
        kinds.iter().map(one).collect()
    };
    let open = async || {
        let book = Arc::new(tollgate_alerts::Book::open(&alerts, vec![], Timestamp::from_unix_us(0)).unwrap());
        let config = Config {
            alerts: Some(Arc::clone(&book)),
            ..config(&folder)
        };
        let store = Store::open(config, prices()).await.unwrap();
        store.set_rules(vec![watched.clone()], vec![]).await.unwrap();
        (store, book)
    };
    let (store, book) = open().await;
    for number in 0..2 {
        assert_eq!(told(&book), told_of(&[]));
        admit(&store, today(number), 1).await.unwrap().settle(ending()).await.unwrap();
    }
    store.shared().raise_crossings().await;
    assert_eq!(told(&book), told_of(&[50]));
    admit(&store, today(2), 1).await.unwrap().settle(ending()).await.unwrap();
    store.shared().raise_crossings().await;
    assert_eq!(told(&book), told_of(&[50]));
    // The last percentage is passed, and the process ends before that is told.
    admit(&store, today(3), 1).await.unwrap().settle(ending()).await.unwrap();
    drop((store, book));
    let (store, book) = open().await;
    assert_eq!(told(&book), told_of(&[50, 100]));
    store.shared().raise_standing().await;
    assert_eq!(told(&book), told_of(&[50, 100]));
    let shown = sql(
        &*store.tables(),
        "SELECT budget, spent, limit_amount FROM alerts WHERE percent = 100",
    )
    .await;
    assert_eq!(shown.num_rows(), 1);
    assert_eq!(
        shown.column(1).as_primitive::<Decimal128Type>().value(0),
        Amount::from_integer(4).unwrap().units()
    );
}

#[tokio::test]
async fn an_hour_far_outside_of_its_own_history_is_told_once() {
    const HOUR: i64 = 3_600_000_000;
    let folder = TempDir::new().unwrap();
    let book = Arc::new(tollgate_alerts::Book::open(&folder.path().join("alerts"), vec![], Timestamp::from_unix_us(0)).unwrap());
    let config = Config {
        alerts: Some(Arc::clone(&book)),
        ..config(&folder)
    };
    let store = Store::open(config, prices()).await.unwrap();
    let watched = Budget {
        per: vec![Dimension::Column("team")],
        window: Window::Calendar {
            unit: Unit::Month,
            timezone: Tz::UTC,
            week_start: chrono::Weekday::Mon,
        },
        alert_anomaly: true,
        ..budget(
            "tokens",
            None,
            Limit::Tokens {
                count: 1_000_000,
                of: Tokens::Total,
            },
        )
    };
    store.set_rules(vec![watched], vec![]).await.unwrap();
    let last_hour = chrono::Utc::now().timestamp_micros().div_euclid(HOUR) * HOUR - HOUR;
    let spend = async |number: u64, at: i64, count: u64| {
        let call = Intent {
            start_time: Timestamp::from_unix_us(at),
            ..intent(number)
        };
        store
            .ledger()
            .admit(call)
            .await
            .unwrap()
            .settle(tokens(0, count))
            .await
            .unwrap();
    };
    // Two teams, by the number, that use a thousand tokens an hour for four weeks; half of it is in the table.
    for hour in 1..=28 * 24 {
        for team in 0..2 {
            spend(hour * 2 + team, last_hour - i64::try_from(hour).unwrap() * HOUR, 1000).await;
        }
        if hour == 14 * 24 {
            store.flush().await.unwrap();
        }
    }
    spend(0, last_hour, 1500).await;
    spend(1, last_hour, 20_000).await;
    store.shared().raise_anomalies().await.unwrap();
    store.shared().raise_anomalies().await.unwrap();
    assert_eq!(told(&book), [("anomaly".to_owned(), None, "tokens".to_owned())]);
    let shown = sql(&*store.tables(), "SELECT per['team'], spent, usual FROM alerts").await;
    let amounts = [1, 2].map(|column| shown.column(column).as_primitive::<Decimal128Type>().value(0));
    assert_eq!(
        amounts,
        [20_000, 1000].map(|count| Amount::from_integer(count).unwrap().units())
    );
    assert_eq!(shown.column(0).as_string::<i32>().value(0), "odd");
}
