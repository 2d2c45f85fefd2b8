//! What budgets cost a call, and what a counter costs in memory. BENCHMARKS.md says how to run it and what came of it.
//!
//! 1,000 budgets are defined, and 5 of them are for each call; 4 are kept apart by 100,000 users. The yardstick is the same calls through an engine without
//! rules, in turns with the other; figures are min / median / max. What is not measured here: which budgets a call is for (the matcher's answer is made before), and what it could cost (a
//! product of two numbers stands for the price book).
//!
//! Memory is what the kernel says of the process, each figure in a process of its own: a counting allocator would need `unsafe`.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use chrono_tz::Tz;
use tollgate_budget::{Engine, Facts, Matcher, Pricing, Sum, WorstCase, span};
use tollgate_record::admission::{Bounds, Refusal};
use tollgate_record::rule::{Action, Budget, Dimension, Limit, Reservation, Tokens, Unit, Unpriced, Window};
use tollgate_record::{
    Amount, Call, CallId, Caller, Cost, CostStatus, Ending, Identity, Intent, Name, Outcome, Record, Timestamp, Usage, UsageSource,
};

const DEFINED: usize = 1_000;
const USERS: usize = 100_000;
const TEAMS: usize = 100;
/// Calls that are open at a time: what one holds has left the nearest cache when it ends.
const OPEN: usize = 256;
/// Calls of one measurement, and how often it is made.
const CALLS: usize = 400_000;
const ROUNDS: usize = 7;
/// Counters that are made to weigh them.
const WEIGHED: usize = 500_000;
/// Calls at once on one counter that is nearly spent.
const AT_ONCE: usize = 300;
const USD: i128 = 1_000_000_000_000;
/// What every call comes to.
const TOKENS: u64 = 900;
const COST: i128 = 900_000_000;
const DAY_US: i64 = 86_400_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => {
            [1_000, USERS].into_iter().for_each(wall);
            memory();
            contention();
        }
        // One of both alone, to count its instructions.
        ["calls", which, calls] => {
            let bench = Bench::new(USERS / 100);
            let engine = bench.engine(*which == "with");
            bench.calls(&engine, USERS / 100);
            bench.calls(&engine, calls.parse().expect("how many calls"));
        }
        ["weigh", kind] => println!("{}", weigh(kind)),
        other => panic!("{other:?}: nothing, `calls with|without COUNT` or `weigh KIND`"),
    }
}

// === what a call costs ===

/// Who calls. A call is made when it begins and its row when it ends, with budgets and without, as a gateway does: then they are near at hand.
struct Bench {
    users: Vec<Name>,
    teams: Vec<Name>,
    call: Intent,
    row: Record,
    bounds: Bounds,
}

/// The answer that a matcher remembers for every call.
struct Known(Arc<(Vec<u32>, Vec<u32>)>);

impl Matcher for Known {
    fn matching(&self, _facts: &Facts<'_>) -> Arc<(Vec<u32>, Vec<u32>)> {
        Arc::clone(&self.0)
    }
}

/// A millionth of a dollar a token.
struct Flat(Name);

impl Pricing for Flat {
    fn worst(&self, _model: Option<&Name>, bounds: &Bounds) -> WorstCase {
        let output = bounds.output_tokens.unwrap_or(4_096);
        WorstCase {
            cost: Ok((i128::from(bounds.input_tokens + output) * 1_000_000, self.0.clone())),
            input_tokens: bounds.input_tokens,
            output_tokens: output,
        }
    }
}

impl Bench {
    fn new(users: usize) -> Self {
        let call = intent(0, "nobody");
        Self {
            users: (0..users).map(|user| name(&format!("user-{user:06}"))).collect(),
            teams: (0..TEAMS).map(|team| name(&format!("team-{team:02}"))).collect(),
            row: row(&call, TOKENS, COST),
            call,
            bounds: bounds(500, 500),
        }
    }

    fn intent(&self, turn: usize) -> Intent {
        // A step that is prime to the number of users, so that all come before one comes again.
        let user = turn * 61_803 % self.users.len();
        let call_id = CallId::from_parts(turn as u64, [7; 10]);
        Intent {
            call_id,
            request_id: call_id.as_request(),
            identity: Arc::new(Identity {
                team: Some(self.teams[user % TEAMS].clone()),
                user: Some(self.users[user].clone()),
                ..Identity::clone(&self.call.identity)
            }),
            ..self.call.clone()
        }
    }

    fn row(&self, intent: Intent) -> Record {
        let ending = Ending {
            usage: self.row.usage.clone(),
            ..Ending::of(Outcome::Ok)
        };
        Record::new(self.row.instance.clone(), intent, ending, self.row.cost.clone())
    }

    fn engine(&self, with: bool) -> Arc<Engine> {
        if !with {
            return Arc::new(Engine::default());
        }
        let mut budgets: Vec<Budget> = (0..DEFINED)
            .map(|place| budget(&format!("other-{place}"), money(1), month(), "user_id"))
            .collect();
        // Among the others, as in a file that has grown.
        let rolling = Window::Rolling { length_us: DAY_US };
        let day = calendar(Unit::Day);
        for (place, mine) in [
            (100, budget("user-day", money(1_000_000), day, "user_id")),
            (300, budget("user-month", money(10_000_000), month(), "user_id")),
            (
                500,
                budget(
                    "user-tokens",
                    Limit::Tokens {
                        count: u64::MAX,
                        of: Tokens::Total,
                    },
                    month(),
                    "user_id",
                ),
            ),
            (700, budget("user-calls", Limit::Calls(u64::MAX), rolling, "user_id")),
            (900, budget("team-month", money(100_000_000), month(), "team")),
        ] {
            budgets[place] = mine;
        }
        engine(budgets, vec![100, 300, 500, 700, 900])
    }

    /// Admits and settles calls of users in no order; [`OPEN`] of them are open at any time.
    #[inline(never)]
    fn calls(&self, engine: &Arc<Engine>, count: usize) {
        let pricing = Flat(name("USD"));
        let mut open = VecDeque::with_capacity(OPEN + 1);
        for turn in 0..count + OPEN {
            if turn < count {
                let intent = self.intent(turn);
                let permit = engine
                    .reserve(&intent, || self.bounds.clone(), &pricing)
                    .expect("the limits are far");
                if let Some(hold) = permit.hold {
                    hold.keep();
                }
                open.push_back(intent);
            }
            if turn >= OPEN
                && let Some(oldest) = open.pop_front()
            {
                engine.post([&self.row(oldest)]);
            }
        }
    }
}

fn wall(users: usize) {
    let bench = Bench::new(users);
    let (without, with) = (bench.engine(false), bench.engine(true));
    // All counters are there, as they are in a gateway that has run for a while.
    bench.calls(&with, users);
    bench.calls(&without, users);
    let mut all: [[Vec<f64>; 2]; 3] = Default::default();
    for _ in 0..ROUNDS {
        let [without, with] = [&without, &with].map(|engine| {
            let (started, before) = (Instant::now(), cpu_ns());
            bench.calls(engine, CALLS);
            [started.elapsed().as_nanos() as f64, (cpu_ns() - before) as f64].map(|ns| ns / 1_000.0 / CALLS as f64)
        });
        let difference = [with[0] - without[0], with[1] - without[1]];
        for (all, figures) in all.iter_mut().zip([without, with, difference]) {
            for (all, figure) in all.iter_mut().zip(figures) {
                all.push(figure);
            }
        }
    }
    let (counters, open, _) = with.levels();
    assert_eq!((counters as usize, open), (users * 4 + TEAMS, 0));
    // Every call is in every kind of counter once, to the last one.
    let made = (users + CALLS * ROUNDS) as i128;
    let spent: i128 = with.standings().iter().map(|standing| standing.own).sum();
    assert_eq!(spent, made * (3 * COST + TOKENS as i128 + 1));
    println!("| {users} users, {counters} counters; {ROUNDS} x {CALLS} calls | us/call | CPU, us/call |\n| --- | --- | --- |");
    for (what, figures) in ["without budgets", "1,000 budgets, 5 for each call", "difference"]
        .into_iter()
        .zip(all)
    {
        let [wall, cpu] = figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            format!("{:.2} / {:.2} / {:.2}", figures[0], figures[ROUNDS / 2], figures[ROUNDS - 1])
        });
        println!("| {what} | {wall} | {cpu} |");
    }
    println!();
}

/// Time that this thread has had of a core.
fn cpu_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says how long a thread has run");
    told.split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok())
        .expect("in nanoseconds")
}

// === what a counter weighs ===

fn memory() {
    println!("| counters, {WEIGHED} of each | bytes a counter |\n| --- | --- |");
    for kind in ["calendar", "rolling, 1 step", "rolling, 61 steps"] {
        let own = std::env::current_exe().unwrap();
        let told = std::process::Command::new(own).args(["weigh", kind]).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        println!("| {kind} | {} |", String::from_utf8_lossy(&told.stdout).trim());
    }
    println!();
}

fn weigh(kind: &str) -> usize {
    let (window, steps, count) = match kind {
        "calendar" => (month(), 1, WEIGHED),
        "rolling, 1 step" => (Window::Rolling { length_us: DAY_US }, 1, WEIGHED),
        "rolling, 61 steps" => (Window::Rolling { length_us: DAY_US }, 61, WEIGHED / 10),
        other => panic!("{other}"),
    };
    let engine = engine(vec![budget("weighed", money(1), window.clone(), "user_id")], vec![0]);
    let rules = engine.rules();
    let now = Timestamp::from_unix_us(400 * DAY_US);
    let first = span(&window, now).unwrap().start;
    let load = |user: usize| {
        for step in 0..steps {
            let sum = Sum {
                values: vec![Some(format!("user-{user:06}").into())],
                step: first + step * (DAY_US / 60),
                own: 1,
                others: 0,
            };
            engine.load(&rules.budgets[0], now, &[sum]);
        }
    };
    // What is made once.
    (0..1_000).for_each(load);
    let before = resident_bytes();
    (1_000..1_000 + count).for_each(load);
    let weight = (resident_bytes() - before) / count;
    assert_eq!(engine.levels().0 as usize, count + 1_000);
    weight
}

/// Pages that the process has in memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says how large a process is");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("it says so in VmRSS");
    line.trim().trim_end_matches("kB").trim().parse::<usize>().expect("in kB") * 1024
}

// === calls at once on a counter that is nearly spent ===

/// Every call sets aside 10 tokens and comes to 7. Threads ask until there is not even that left for one of them alone.
fn contention() {
    const LIMIT: i128 = 100_000;
    let limit = Limit::Tokens {
        count: LIMIT as u64,
        of: Tokens::Total,
    };
    let engine = engine(
        vec![Budget {
            per: vec![],
            ..budget("one", limit, month(), "user_id")
        }],
        vec![0],
    );
    let (made, refused, ids) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let together = Barrier::new(AT_ONCE);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let pricing = Flat(name("USD"));
                together.wait();
                loop {
                    let intent = intent(ids.fetch_add(1, Relaxed) as usize, "ann");
                    match engine.reserve(&intent, || bounds(5, 5), &pricing) {
                        Ok(permit) => {
                            permit.hold.unwrap().keep();
                            let standing = &engine.standings()[0];
                            assert!(standing.own + standing.reserved <= LIMIT, "{standing:?}");
                            engine.post([&row(&intent, 7, 0)]);
                            made.fetch_add(1, Relaxed);
                        }
                        Err(Refusal::Budget(_)) => {
                            refused.fetch_add(1, Relaxed);
                            let standing = &engine.standings()[0];
                            if standing.own + 10 > LIMIT {
                                return;
                            }
                            // What others hold goes back when their rows are posted.
                            std::thread::yield_now();
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let standing = &engine.standings()[0];
    let made = made.load(Relaxed);
    assert_eq!((standing.own, standing.reserved, engine.open()), (i128::from(made) * 7, 0, 0));
    assert!(standing.own <= LIMIT && standing.own + 10 > LIMIT, "{standing:?}");
    println!(
        "{AT_ONCE} threads on one counter of {LIMIT} tokens, 10 set aside and 7 used by each call: {made} calls made, {} of {LIMIT} tokens spent, {} refusals; {seconds:.2} s",
        standing.own,
        refused.load(Relaxed)
    );
}

// === what all of them are made of ===

fn engine(budgets: Vec<Budget>, matching: Vec<u32>) -> Arc<Engine> {
    let engine = Arc::new(Engine::default());
    let rules = engine.number(budgets, vec![], Arc::new(Known(Arc::new((matching, vec![])))));
    for id in engine.collect(&rules) {
        let rule = rules.budgets.iter().find(|rule| rule.id == id).unwrap();
        engine.load(rule, Timestamp::from_unix_us(400 * DAY_US), &[]);
    }
    engine.install(rules);
    engine
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn money(dollars: u64) -> Limit {
    Limit::Money {
        amount: Amount::from_integer(dollars).unwrap(),
        currency: name("USD"),
    }
}

fn month() -> Window {
    calendar(Unit::Month)
}

fn calendar(unit: Unit) -> Window {
    Window::Calendar {
        unit,
        timezone: Tz::Europe__Berlin,
        week_start: chrono::Weekday::Mon,
    }
}

fn budget(text: &str, limit: Limit, window: Window, per: &'static str) -> Budget {
    Budget {
        name: name(text),
        when: None,
        per: vec![Dimension::Column(per)],
        limit,
        window,
        action: Action::Refuse,
        reservation: Reservation::WorstCase,
        clamp: false,
        unpriced: Unpriced::Refuse,
        status: 402,
        alerts: vec![80, 100],
        alert_projected: false,
        alert_anomaly: false,
    }
}

fn bounds(input: u64, output: u64) -> Bounds {
    Bounds {
        input_tokens: input,
        output_tokens: Some(output),
        answers: 1,
        takes_limit: true,
        takes_model: true,
        ..Bounds::default()
    }
}

fn intent(id: usize, user: &str) -> Intent {
    let call_id = CallId::from_parts(id as u64, [7; 10]);
    Intent {
        call_id,
        request_id: call_id.as_request(),
        attempt: 1,
        start_time: Timestamp::from_unix_us(400 * DAY_US + id as i64),
        identity: Arc::new(Identity {
            key_id: name("key"),
            org: None,
            team: Some(name(&format!("team-{:02}", id % TEAMS))),
            project: None,
            service: None,
            user: Some(name(user)),
        }),
        caller: Caller::default(),
        call: Call {
            operation_name: name("chat"),
            proxy: None,
            provider_name: Some(name("openai")),
            template: None,
            upstream: None,
            region: None,
            request_model: Some(name("large")),
            stream: false,
            route_rule: None,
            cache: None,
        },
        request_bytes: 2_000,
        bears_usage: true,
    }
}

fn row(intent: &Intent, tokens: u64, cost: i128) -> Record {
    let mut ending = Ending::of(Outcome::Ok);
    ending.usage = Usage {
        source: UsageSource::Reported,
        input: Some(tokens),
        output: Some(0),
        ..Usage::default()
    };
    assert!(cost < USD);
    let cost = Cost {
        status: CostStatus::Priced,
        cost: Some(Amount::from_units(cost).unwrap()),
        currency: Some(name("USD")),
        ..Cost::free()
    };
    Record::new(name("gw"), intent.clone(), ending, cost)
}
