//! Several gateways with one pool: never more than the limit, whatever is killed, lost, seen late or changed; and what is affordable is had in the end.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use futures::FutureExt;
use tollgate_record::admission::NotShared;

use super::*;
use crate::pool::{Memory, OnOutage, Reach};
use crate::{Seen, Span, span};

const SECOND: i64 = 1_000_000;
const GRACE_MS: u64 = 1_000;
/// More than two looks at a lease are apart.
const LOOK: i64 = 6 * SECOND;

/// What a call holds while it is open.
struct Open {
    intent: Intent,
    permit: Permit,
    worst: u64,
}

struct Gateway {
    name: Name,
    /// None while it is dead.
    engine: Option<Arc<Engine>>,
    epoch: String,
    /// Of a dead one, what its log has.
    open: Vec<Open>,
}

/// Gateways, their pool and their table.
struct World {
    pool: Memory,
    budget: Budget,
    clock: Arc<AtomicI64>,
    gateways: Vec<Gateway>,
    /// All rows, each with the gateway that wrote it.
    rows: Vec<(usize, Record)>,
    calls: u64,
    /// What each user may have come to: the limit, or more where that was lowered below what was spent.
    excused: HashMap<String, i128>,
}

impl World {
    fn new(count: usize, budget: Budget, grace_ms: u64) -> Self {
        let mut world = Self {
            pool: Memory::new(grace_ms),
            budget,
            clock: Arc::new(AtomicI64::new(DAY / 3)),
            gateways: Vec::new(),
            rows: Vec::new(),
            calls: 0,
            excused: HashMap::new(),
        };
        for place in 0..count {
            world.gateways.push(Gateway {
                name: name(&format!("gw-{place}")),
                engine: None,
                epoch: String::new(),
                open: Vec::new(),
            });
            world.start(place);
        }
        world
    }

    fn now(&self) -> i64 {
        self.clock.load(Relaxed)
    }

    fn pass_time(&self, us: i64) {
        self.clock.fetch_add(us, Relaxed);
    }

    fn engine(&self, gateway: usize) -> Arc<Engine> {
        Arc::clone(self.gateways[gateway].engine.as_ref().unwrap())
    }

    /// Starts a gateway: what was open becomes rows, and counters are loaded from its own; those of others come with the next look at the table.
    fn start(&mut self, place: usize) {
        for open in std::mem::take(&mut self.gateways[place].open) {
            std::mem::forget(open.permit);
            let row = row(&open.intent, Outcome::Interrupted, open.worst, i128::from(open.worst) * USD);
            self.rows.push((place, row));
        }
        let engine = Arc::new(Engine::default());
        self.pass_time(1);
        let clock = Arc::clone(&self.clock);
        engine.share(
            OnOutage::Leases,
            self.now() as u64,
            Arc::new(move || clock.load(Relaxed)),
            Arc::new(|| {}),
        );
        let rules = engine.number(vec![self.budget.clone()], vec![], Arc::new(All(1, 0)));
        engine.collect(&rules);
        let sums: Vec<Sum> = self
            .sums()
            .into_iter()
            .map(|((by, user, step), own)| Sum {
                values: vec![Some(user.into())],
                step,
                own: if by == place { own } else { 0 },
                others: 0,
            })
            .collect();
        engine.load(&rules.budgets[0], Timestamp::from_unix_us(self.now()), &sums);
        engine.install(rules);
        self.gateways[place].engine = Some(engine);
        self.gateways[place].epoch = String::new();
        self.look(place);
        self.speak(place);
    }

    fn span(&self) -> Span {
        span(&self.budget.window, Timestamp::from_unix_us(self.now())).unwrap()
    }

    /// What rows of the window come to, by gateway, user and step.
    fn sums(&self) -> HashMap<(usize, String, i64), i128> {
        let span = self.span();
        let mut sums = HashMap::new();
        for (by, row) in &self.rows {
            if span.has(row.start_time) {
                let step = match self.budget.window {
                    Window::Rolling { length_us } => row.start_time.unix_us().div_euclid(length_us / 60) * (length_us / 60),
                    _ => span.start,
                };
                let user = row.identity.user.as_ref().unwrap().to_string();
                *sums.entry((*by, user, step)).or_default() += row.cost.cost.unwrap().units();
            }
        }
        sums
    }

    /// A gateway reads the table: rows of others as they are now.
    fn look(&mut self, place: usize) {
        let engine = self.engine(place);
        let rules = engine.rules();
        let rule = &rules.budgets[0];
        engine.advance(rule, Some(self.span()));
        let mut others: HashMap<(String, i64), i128> = HashMap::new();
        let mut by_name: HashMap<String, HashMap<usize, i128>> = HashMap::new();
        for ((by, user, step), amount) in self.sums() {
            if by != place {
                *others.entry((user.clone(), step)).or_default() += amount;
                *by_name.entry(user).or_default().entry(by).or_default() += amount;
            }
        }
        let span = self.span();
        for standing in engine.standings().into_iter().filter(|standing| standing.span == span) {
            let user = standing.values[0].as_deref().unwrap().to_owned();
            let known = match self.budget.window {
                Window::Rolling { .. } => standing.steps.iter().map(|(step, _, others)| (*step, *others)).collect(),
                _ => vec![(span.start, standing.others)],
            };
            for (step, known) in known {
                *others.entry((user.clone(), step)).or_default() -= known;
            }
        }
        for ((user, step), amount) in others {
            engine.correct(rule, span, &[Some(user.into())], step, 0, amount);
        }
        let named = |by_name: HashMap<usize, i128>| {
            let named = by_name.into_iter();
            named.map(|(by, amount)| (self.gateways[by].name.clone(), amount)).collect()
        };
        let seen = by_name.into_iter().map(|(user, by_name)| Seen {
            values: vec![Some(user.into())],
            others: named(by_name),
        });
        engine.saw(rule, span, seen.collect());
        engine.forget_ended(Timestamp::from_unix_us(self.now()));
    }

    /// Brings a gateway's questions to the pool until it has none. The first one may be none, so that it is heard.
    fn speak(&mut self, place: usize) {
        let engine = self.engine(place);
        let mut first = true;
        loop {
            let asks = engine.asks(3);
            if asks.is_empty() && !first {
                return;
            }
            first = false;
            self.pass_time(1000);
            let now_ms = self.now() as u64 / 1000;
            let gateway = &mut self.gateways[place];
            let mut reply = self.pool.ask(&gateway.name, &gateway.epoch, &asks, now_ms);
            if reply.epoch != gateway.epoch {
                gateway.epoch.clone_from(&reply.epoch);
                engine.tell_all();
                reply = self.pool.ask(&gateway.name, &gateway.epoch, &asks, now_ms);
            }
            engine.replied(&asks, &reply);
        }
    }

    /// Reserves as a gateway does: asked again when what it waits for has come.
    fn reserve(&mut self, place: usize, user: &str, input: u64, output: Option<u64>) -> Result<Permit, Refusal> {
        self.calls += 1;
        let call = intent(self.calls, user, "m", self.now());
        let engine = self.engine(place);
        let mut rounds = 0;
        let decided = loop {
            match engine.reserve(&call, || bounds(input, output), &Dollars) {
                Err(Refusal::Pending(pending)) if rounds < 3 => {
                    rounds += 1;
                    let waiting = engine.granted(&pending);
                    self.speak(place);
                    assert!(waiting.now_or_never().is_some(), "what was asked for was answered");
                }
                decided => break decided,
            }
        };
        assert!(!matches!(decided, Err(Refusal::Pending(_))), "nobody else asked in between");
        decided
    }

    fn call(&mut self, place: usize, user: &str, input: u64, output: u64) -> bool {
        match self.reserve(place, user, input, Some(output)) {
            Ok(permit) => {
                let intent = intent(self.calls, user, "m", self.now_of_last());
                self.gateways[place].open.push(Open {
                    intent,
                    permit,
                    worst: input + output,
                });
                true
            }
            Err(_) => false,
        }
    }

    /// Calls begin when they are made, and time passes while they wait.
    fn now_of_last(&self) -> i64 {
        self.now()
    }

    fn settle(&mut self, place: usize, nth: usize, percent: u64) {
        let open = self.gateways[place].open.remove(nth);
        pass(open.permit);
        let cost = i128::from(open.worst) * USD * i128::from(percent) / 100;
        let row = row(&open.intent, Outcome::Ok, open.worst, cost);
        self.engine(place).post([&row]);
        self.rows.push((place, row));
    }

    /// What was spent, and what is set aside by calls of the window, by user.
    fn totals(&self) -> HashMap<String, i128> {
        let mut totals: HashMap<String, i128> = HashMap::new();
        for ((_, user, _), amount) in self.sums() {
            *totals.entry(user).or_default() += amount;
        }
        let span = self.span();
        for open in self.gateways.iter().flat_map(|gateway| &gateway.open) {
            if span.has(open.intent.start_time) {
                let user = open.intent.identity.user.as_ref().unwrap().to_string();
                *totals.entry(user).or_default() += i128::from(open.worst) * USD;
            }
        }
        totals
    }

    /// Everyone was heard in the time of grace, and hears that it is over.
    fn outlast_grace(&mut self) {
        self.pass_time(2 * GRACE_MS as i64 * 1000);
        for place in 0..self.gateways.len() {
            self.speak(place);
        }
    }

    fn limit(&self) -> i128 {
        match &self.budget.limit {
            Limit::Money { amount, .. } => amount.units(),
            _ => unreachable!("these tests count money"),
        }
    }

    fn edit(&mut self, dollars: u64) {
        self.budget.limit = money(dollars);
        self.excused = self.totals();
        let alive = (0..self.gateways.len()).filter(|place| self.gateways[*place].engine.is_some());
        for place in alive.collect::<Vec<_>>() {
            install(&self.engine(place), vec![self.budget.clone()], vec![]);
        }
    }

    /// No user is above the limit, or further above it than before.
    fn check(&mut self, after: &dyn std::fmt::Debug) {
        let totals = self.totals();
        for (user, total) in &totals {
            let excused = self.excused.get(user).copied().unwrap_or(0);
            assert!(*total <= self.limit().max(excused), "{user} came to {total} after {after:?}");
        }
        let limit = self.limit();
        self.excused = totals.into_iter().filter(|(_, total)| *total > limit).collect();
    }

    /// Everyone is alive, nothing is open, the table was read, and idle leases were looked at.
    fn quiet(&mut self) {
        for place in 0..self.gateways.len() {
            if self.gateways[place].engine.is_none() {
                self.start(place);
            }
            while !self.gateways[place].open.is_empty() {
                self.settle(place, 0, 50);
            }
        }
        self.rest();
    }

    fn rest(&mut self) {
        for _ in 0..3 {
            self.pass_time(LOOK);
            for place in 0..self.gateways.len() {
                if self.gateways[place].engine.is_some() {
                    self.look(place);
                    self.engine(place).tend(1000);
                    self.speak(place);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Happens {
    Call {
        by: usize,
        user: u8,
        input: u64,
        output: u64,
    },
    Settle {
        by: usize,
        nth: usize,
        percent: u64,
    },
    Let {
        by: usize,
        nth: usize,
    },
    Kill {
        by: usize,
    },
    Start {
        by: usize,
    },
    Look {
        by: usize,
    },
    Rest,
    Wait {
        minutes: i64,
    },
    Edit {
        dollars: u64,
    },
    /// The pool forgets everything, and those who live tell it within the time of grace.
    Flush,
    /// Questions of a gateway are lost on the way there, or on the way back.
    Lose {
        by: usize,
        arrived: bool,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let by = 0..3_usize;
    prop_oneof![
        12 => (by.clone(), 0..2_u8, 0..8_u64, 0..12_u64).prop_map(|(by, user, input, output)| Happens::Call { by, user, input, output }),
        8 => (by.clone(), any::<usize>(), 0..=100_u64).prop_map(|(by, nth, percent)| Happens::Settle { by, nth, percent }),
        2 => (by.clone(), any::<usize>()).prop_map(|(by, nth)| Happens::Let { by, nth }),
        2 => by.clone().prop_map(|by| Happens::Kill { by }),
        2 => by.clone().prop_map(|by| Happens::Start { by }),
        2 => by.clone().prop_map(|by| Happens::Look { by }),
        2 => Just(Happens::Rest),
        1 => (1..1500_i64).prop_map(|minutes| Happens::Wait { minutes }),
        1 => (40..150_u64).prop_map(|dollars| Happens::Edit { dollars }),
        1 => Just(Happens::Flush),
        2 => (by, any::<bool>()).prop_map(|(by, arrived)| Happens::Lose { by, arrived }),
    ]
}

fn play(window: Window, all: &[Happens]) {
    let declared = Budget {
        window,
        ..budget(money(100))
    };
    let mut world = World::new(3, declared, GRACE_MS);
    world.outlast_grace();
    for happens in all {
        let alive = |world: &World, by: usize| world.gateways[by].engine.is_some();
        match *happens {
            Happens::Call { by, user, input, output } if alive(&world, by) => {
                world.call(by, &format!("u{user}"), input, output);
            }
            Happens::Settle { by, nth, percent } if alive(&world, by) && !world.gateways[by].open.is_empty() => {
                let nth = nth % world.gateways[by].open.len();
                world.settle(by, nth, percent);
            }
            Happens::Let { by, nth } if alive(&world, by) && !world.gateways[by].open.is_empty() => {
                let nth = nth % world.gateways[by].open.len();
                drop(world.gateways[by].open.remove(nth));
            }
            // What is open stays in its log, and what it was granted stays taken.
            Happens::Kill { by } => world.gateways[by].engine = None,
            Happens::Start { by } if !alive(&world, by) => world.start(by),
            Happens::Look { by } if alive(&world, by) => world.look(by),
            Happens::Rest => world.rest(),
            Happens::Wait { minutes } => {
                world.pass_time(minutes * 60 * SECOND);
                // As a gateway that goes on does meanwhile.
                world.rest();
            }
            Happens::Edit { dollars } => world.edit(dollars),
            Happens::Flush if (0..3).all(|by| alive(&world, by)) => {
                world.pool.flush();
                (0..3).for_each(|by| world.speak(by));
                world.outlast_grace();
            }
            Happens::Lose { by, arrived } if alive(&world, by) => {
                let engine = world.engine(by);
                let asks = engine.asks(100);
                if arrived {
                    let gateway = &world.gateways[by];
                    world
                        .pool
                        .ask(&gateway.name, &gateway.epoch, &asks, world.now() as u64 / 1000);
                }
                engine.lost(&asks);
                world.speak(by);
            }
            _ => {}
        }
        world.check(happens);
    }
    // A slice that a gateway was killed with before it had a row of the counter is given back when it looks at that counter again.
    for place in 0..3 {
        if world.gateways[place].engine.is_none() {
            world.start(place);
        }
        for user in ["u0", "u1"] {
            let touched = world.reserve(place, user, 1, Some(0));
            drop(touched);
        }
    }
    world.quiet();
    world.check(&"the end");
    for (place, user) in [(0, "u0"), (2, "u1")] {
        // A quantum for each gateway is lost to rounding, which is less than the dollar that is not asked for.
        let ask = |world: &mut World| {
            let spent = world.totals().get(user).copied().unwrap_or(0);
            let left = (world.limit() - spent) / USD - 1;
            match u64::try_from(left) {
                Ok(left) => world.reserve(place, user, left, Some(0)).map(drop),
                Err(_) => Ok(()),
            }
        };
        // Where a step of a rolling window has just ended, what the others have of it goes back when they look.
        let had = ask(&mut world).or_else(|_| {
            world.rest();
            ask(&mut world)
        });
        assert!(had.is_ok(), "{had:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn gateways_never_exceed_a_budget_together(all in proptest::collection::vec(happens(), 1..90)) {
        let day = Window::Calendar { unit: Unit::Day, timezone: Tz::UTC, week_start: chrono::Weekday::Mon };
        play(day, &all);
    }

    #[test]
    fn nor_one_of_a_rolling_window(all in proptest::collection::vec(happens(), 1..90)) {
        play(Window::Rolling { length_us: DAY }, &all);
    }
}

#[test]
fn what_one_was_granted_is_not_anothers() {
    let mut world = World::new(2, budget(money(100)), 0);
    // A hundredth in itself, and a slice: a quarter of the rest for each of two gateways, at most a twentieth of the limit.
    assert!(world.call(0, "ann", 10, 0));
    assert_eq!(world.engine(0).leases().unwrap().granted, 1);
    assert!(world.call(1, "ann", 80, 0));
    // 10 and 5 are with the first, so 85 are here.
    assert!(world.call(1, "ann", 5, 0));
    let Err(Refusal::Budget(over)) = world.reserve(1, "ann", 1, Some(0)) else {
        panic!("5 dollars are left, and they are with the other")
    };
    assert_eq!(
        (over.limit.to_string(), over.spent.to_string(), over.reserved.to_string()),
        ("100 USD".to_owned(), "0 USD".to_owned(), "100 USD".to_owned()),
        "85 of its own, and 15 that the other was granted"
    );
    // It costs no question to say so again, until a while has passed.
    assert!(matches!(
        world
            .engine(1)
            .reserve(&intent(900, "ann", "m", world.now()), || bounds(1, Some(0)), &Dollars),
        Err(Refusal::Budget(_))
    ));
    // The first is idle: what it does not use goes back.
    world.rest();
    assert!(world.call(1, "ann", 5, 0));
    assert!(!world.call(0, "ann", 1, 0));
    world.check(&"all of it");
}

#[test]
fn many_small_calls_cost_few_questions() {
    let mut world = World::new(1, budget(money(1_000)), 0);
    let mut waited = 0;
    for id in 0..200 {
        let call = intent(10_000 + id, "ann", "m", world.now());
        let engine = world.engine(0);
        let permit = match engine.reserve(&call, || bounds(1, Some(0)), &Dollars) {
            Err(Refusal::Pending(_)) => {
                waited += 1;
                world.speak(0);
                engine.reserve(&call, || bounds(1, Some(0)), &Dollars).unwrap()
            }
            permit => permit.unwrap(),
        };
        pass(permit);
        // What is asked for ahead is answered beside the calls.
        if id % 10 == 9 {
            world.speak(0);
        }
    }
    // A slice is 50 dollars: the first call waits, and 25 before the slice ends more is on its way.
    assert_eq!(waited, 1);
}

#[test]
fn calls_that_wait_share_a_question_and_all_get_what_they_need() {
    let world = &mut World::new(1, budget(money(100)), 0);
    let engine = world.engine(0);
    let calls: Vec<_> = (0..30).map(|id| intent(500 + id, "ann", "m", world.now())).collect();
    let pending: Vec<_> = calls
        .iter()
        .map(|call| match engine.reserve(call, || bounds(3, Some(0)), &Dollars) {
            Err(Refusal::Pending(pending)) => pending,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(pending.iter().all(|other| *other == pending[0]), "all wait for the same");
    let asks = engine.asks(100);
    assert_eq!(asks.len(), 1);
    assert_eq!((asks[0].need, asks[0].want), (3_000_000, 90_000_000 + 5_000_000));
    let waiting: Vec<_> = pending.iter().map(|pending| engine.granted(pending)).collect();
    let now_ms = world.now() as u64 / 1000;
    let reply = world.pool.ask(&name("gw-0"), &world.gateways[0].epoch, &asks, now_ms);
    engine.replied(&asks, &reply);
    assert!(waiting.into_iter().all(|waiting| waiting.now_or_never().is_some()));
    for call in &calls {
        pass(engine.reserve(call, || bounds(3, Some(0)), &Dollars).unwrap());
    }
}

#[test]
fn while_the_pool_is_away_calls_pass_within_what_was_granted_and_no_further() {
    let mut world = World::new(1, budget(money(100)), 0);
    assert!(world.call(0, "ann", 10, 0));
    let engine = world.engine(0);
    engine.lost(&[]);
    assert_eq!(engine.reach(), Some(Reach::Away));
    // 10 and a slice of 5.
    let now = world.now();
    pass(
        engine
            .reserve(&intent(800, "ann", "m", now), || bounds(5, Some(0)), &Dollars)
            .unwrap(),
    );
    match engine.reserve(&intent(801, "ann", "m", now), || bounds(1, Some(0)), &Dollars) {
        Err(Refusal::Unshared(unshared)) => {
            assert_eq!((unshared.budget.as_str(), unshared.why), ("b", NotShared::Away));
        }
        other => panic!("{other:?}"),
    }
    // What the limit does not allow is refused for that, and what costs nothing passes.
    assert!(matches!(
        engine.reserve(&intent(802, "ann", "m", now), || bounds(101, Some(0)), &Dollars),
        Err(Refusal::Budget(_))
    ));
    assert!(
        engine
            .reserve(&intent(803, "ann", "m", now), || bounds(0, Some(0)), &Dollars)
            .is_ok()
    );
}

#[test]
fn by_choice_nothing_passes_while_the_pool_is_away() {
    let engine = Arc::new(Engine::default());
    engine.share(OnOutage::Refuse, 1, Arc::new(|| 0), Arc::new(|| {}));
    let warning = Budget {
        action: Action::Warn,
        ..budget(money(1))
    };
    install(&engine, vec![budget(money(100))], vec![]);
    assert!(matches!(
        engine.reserve(&intent(1, "ann", "m", 0), || bounds(1, Some(0)), &Dollars),
        Err(Refusal::Unshared(_))
    ));
    // What refuses nothing is not shared.
    install(&engine, vec![warning], vec![]);
    assert!(
        engine
            .reserve(&intent(2, "ann", "m", 0), || bounds(9, Some(0)), &Dollars)
            .is_ok()
    );
}

#[test]
fn a_pool_that_is_new_grants_nothing_until_everyone_was_heard() {
    let mut world = World::new(1, budget(money(100)), 10_000);
    match world.reserve(0, "ann", 1, Some(0)) {
        Err(Refusal::Unshared(unshared)) => assert!(matches!(unshared.why, NotShared::Fresh(us) if us > 9 * 1_000_000)),
        other => panic!("{other:?}"),
    }
    world.pass_time(10 * SECOND);
    world.speak(0);
    assert!(world.call(0, "ann", 10, 0));
    // It loses everything: what is held is told, and used meanwhile.
    world.pool.flush();
    world.speak(0);
    assert!(world.call(0, "ann", 5, 0));
    assert!(!world.call(0, "ann", 1, 0));
    world.pass_time(10 * SECOND);
    world.speak(0);
    assert!(world.call(0, "ann", 85, 0));
    assert!(!world.call(0, "ann", 1, 0));
}

#[test]
fn rows_of_gateways_that_never_asked_count_once() {
    // Two new ones both see what an old one spent before there was a pool: 10 are left for both together, not for each.
    let mut world = World::new(3, budget(money(100)), 0);
    let old = intent(1, "ann", "m", world.now());
    world.rows.push((2, row(&old, Outcome::Ok, 90, 90 * USD)));
    world.gateways[2].engine = None;
    (0..2).for_each(|place| world.look(place));
    assert!(world.call(0, "ann", 6, 0));
    assert!(!world.call(1, "ann", 6, 0));
    world.rest();
    assert!(world.call(1, "ann", 4, 0));
    assert!(!world.call(0, "ann", 1, 0));
    world.check(&"all of it");
}

#[test]
fn a_lowered_limit_holds_for_what_goes_back_too() {
    let mut world = World::new(2, budget(money(100)), 0);
    assert!(world.call(0, "ann", 34, 0));
    assert!(world.call(1, "ann", 8, 0));
    world.edit(40);
    world.speak(0);
    // The second gets 4 of its 8 back, and 34 are with the first: 2 more are there, not 4.
    world.settle(1, 0, 50);
    assert!(!world.call(1, "ann", 3, 0));
    assert!(world.call(1, "ann", 2, 0));
    world.check(&"all of it");
    // A raised one is there at the next question.
    world.edit(50);
    assert!(world.call(1, "ann", 10, 0));
    assert!(!world.call(0, "ann", 1, 0));
}

#[test]
fn a_nearly_spent_budget_is_clamped_to_what_the_pool_has() {
    let clamping = Budget {
        clamp: true,
        ..budget(money(100))
    };
    let mut world = World::new(2, clamping, 0);
    assert!(world.call(0, "ann", 40, 0));
    // An answer of 100 at most, and 10 of input; 45 are with the other.
    let permit = world.reserve(1, "ann", 10, None).unwrap();
    assert_eq!(permit.max_tokens, Some(45));
    assert_eq!(&*permit.decisions[0].action, "clamp");
    drop(permit);
    assert!(
        world.reserve(1, "ann", 40, None).is_err(),
        "15 are less than any answer may be limited to"
    );
}

#[test]
fn a_downgrade_is_tried_when_the_pool_has_nothing_for_what_was_asked() {
    let downgrading = Budget {
        action: Action::Downgrade(name("cheap")),
        ..budget(money(100))
    };
    let mut world = World::new(2, downgrading, 0);
    assert!(world.call(0, "ann", 90, 0));
    let permit = world.reserve(1, "ann", 90, Some(10)).unwrap();
    assert_eq!(permit.model, Some(name("cheap")));
    let permit = world.reserve(1, "ann", 2, Some(2)).unwrap();
    assert_eq!(
        permit.model, None,
        "4 of the 5 that the other does not hold, less a dollar for the cheap one"
    );
}

#[test]
fn without_a_reservation_grants_follow_what_was_spent() {
    let plain = Budget {
        reservation: Reservation::None,
        ..budget(money(100))
    };
    let mut world = World::new(2, plain, 0);
    for _ in 0..3 {
        assert!(world.call(0, "ann", 20, 0));
        world.settle(0, 0, 100);
        world.speak(0);
    }
    let Err(Refusal::Budget(over)) = ({
        assert!(world.call(1, "ann", 60, 0));
        world.settle(1, 0, 100);
        world.speak(1);
        world.reserve(1, "ann", 1, Some(0))
    }) else {
        panic!("120 of 100 are spent")
    };
    assert_eq!(over.spent.to_string(), "60 USD");
    world.look(0);
    assert!(!world.call(0, "ann", 1, 0));
}

#[test]
fn a_share_of_a_rolling_window_lapses_before_the_pool_gives_it_away() {
    let rolling = Budget {
        window: Window::Rolling { length_us: DAY },
        ..budget(money(100))
    };
    let mut world = World::new(2, rolling, 0);
    assert!(world.call(0, "ann", 50, 0));
    drop(world.gateways[0].open.pop());
    // The first is cut off from the pool, and goes on for an hour at most.
    let engine = world.engine(0);
    engine.lost(&[]);
    let fits = |world: &World, id| {
        let call = intent(id, "ann", "m", world.now());
        engine.reserve(&call, || bounds(40, Some(0)), &Dollars).is_ok()
    };
    engine.tend(10);
    world.pass_time(3_599 * SECOND);
    engine.tend(10);
    assert!(fits(&world, 700));
    world.pass_time(LOOK);
    engine.tend(10);
    assert!(!fits(&world, 701));
    // A day, a step, an hour and two minutes after the first was heard, and not before, the second has all of it.
    let held = 3_600 * SECOND + DAY + DAY / 60 + 120 * SECOND;
    world.pass_time(held - 3_599 * SECOND - LOOK - SECOND);
    assert!(!world.call(1, "ann", 60, 0));
    world.pass_time(2 * SECOND);
    assert!(world.call(1, "ann", 100, 0));
}
