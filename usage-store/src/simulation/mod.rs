//! The ledger, simulated: every order of steps, crashes and faults, against what was promised.
//!
//! Two gateways append to one table. Their disks ([`crate::disk::simulated`]) tear writes and lose what was not synced; the object store
//! behind the table ([`cloud`]) refuses, answers late, loses answers, and lets a dead gateway's last request arrive after its death. The
//! store itself, its log, Parquet and Delta commits are the real ones. After every start, and whenever a query is asked, the rows are held
//! against a model ([`model`]) that knows only what was acknowledged.
//!
//! `TOLLGATE_SIMULATIONS=100000 cargo test --release -p tollgate-usage-store --lib simulation` runs more of them. A run that fails prints its
//! seed and shrinks to the fewest steps that still fail.

mod cloud;
mod model;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionContext, cast, ident, lit};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use tollgate_record::{CallId, Ending, OpenCall, Outcome, Timestamp};
use url::Url;
use uuid::Uuid;

use crate::clock::Clock;
use crate::disk::simulated::{Crash, Dice, Simulated};
use crate::simulation::cloud::Cloud;
use crate::simulation::model::{Model, Row};
use crate::table::lake::Stamp;
use crate::testing::{ending, intent, name, prices};
use crate::wal::{Durability, lock};
use crate::{Config, Location, Store, Upkeep};

/// Runs in `make test`, for each durability.
const RUNS: u32 = 1_000;
const GATEWAYS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Admit(usize, u8),
    Settle(usize, u8),
    Drop(usize),
    Refuse(usize),
    Sync(usize),
    Flush(usize),
    FlushTogether,
    /// Files are merged; of one gateway while the other flushes.
    Compact(usize),
    CompactAndFlush,
    Checkpoint(usize),
    /// Time passes until the history has ended, then what no version needs is deleted.
    Vacuum(usize),
    Query(usize),
    /// The next appends of the log find the disk full.
    Fill(usize, u32),
    FailSync(usize),
    /// Something befalls that many requests in a hundred.
    Storm(u64),
    Down(bool),
    /// The clock goes on by so many hours, or back.
    Jump(i64),
    /// The gateway dies after some further steps of its disk or of the cloud.
    Crash(usize, Death, u64),
    /// It stops in order and starts again.
    Restart(usize),
}

#[derive(Clone, Copy, Debug)]
enum Death {
    Kill,
    Power,
    /// Killed, and killed again while it starts.
    Twice(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let gateway = 0..GATEWAYS;
    prop_oneof![
        8 => (gateway.clone(), 1..5_u8).prop_map(|(at, calls)| Step::Admit(at, calls)),
        8 => (gateway.clone(), 1..5_u8).prop_map(|(at, calls)| Step::Settle(at, calls)),
        1 => gateway.clone().prop_map(Step::Drop),
        1 => gateway.clone().prop_map(Step::Refuse),
        2 => gateway.clone().prop_map(Step::Sync),
        3 => gateway.clone().prop_map(Step::Flush),
        1 => Just(Step::FlushTogether),
        2 => gateway.clone().prop_map(Step::Compact),
        1 => Just(Step::CompactAndFlush),
        1 => gateway.clone().prop_map(Step::Checkpoint),
        1 => gateway.clone().prop_map(Step::Vacuum),
        1 => gateway.clone().prop_map(Step::Query),
        1 => (gateway.clone(), 1..3_u32).prop_map(|(at, appends)| Step::Fill(at, appends)),
        1 => gateway.clone().prop_map(Step::FailSync),
        1 => prop_oneof![Just(0), Just(0), 5..60_u64].prop_map(Step::Storm),
        1 => any::<bool>().prop_map(Step::Down),
        1 => (-30..80_i64).prop_map(Step::Jump),
        4 => (gateway.clone(), death(), 0..40_u64).prop_map(|(at, death, steps)| Step::Crash(at, death, steps)),
        1 => gateway.prop_map(Step::Restart),
    ]
}

fn death() -> impl Strategy<Value = Death> {
    prop_oneof![Just(Death::Kill), Just(Death::Power), (0..60_u64).prop_map(Death::Twice)]
}

struct Gateway {
    disk: Simulated,
    store: Option<Store>,
    model: Model,
    open: Vec<(CallId, Box<dyn OpenCall>)>,
    /// How it dies, once its disk says that it is dead.
    death: Death,
}

struct World {
    cloud: Cloud,
    gateways: Vec<Gateway>,
    clock: Jumping,
    durability: Durability,
    dice: Dice,
    calls: u64,
}

/// A clock that goes where it is told to, backwards too, and counts its numbers.
#[derive(Clone, Debug)]
struct Jumping(Arc<Mutex<(i64, u128)>>);

impl Jumping {
    fn jump(&self, hours: i64) {
        lock(&self.0).0 += hours * 3_600_000_000;
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_us(lock(&self.0).0)
    }

    fn id(&self) -> Uuid {
        let mut state = lock(&self.0);
        state.1 += 1;
        Uuid::from_u128(state.1)
    }
}

impl Gateway {
    /// Nothing of this process reaches its disk or the cloud any more.
    async fn die(&mut self) {
        self.disk.die_after(0);
        let _ = self.disk.step();
        // A dead process runs no destructors: what these queue finds a dead disk.
        self.open.clear();
        self.store = None;
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
}

impl World {
    fn new(seed: u64, durability: Durability) -> Self {
        let gateway = |at: u64| Gateway {
            disk: Simulated::new(seed ^ (at + 1)),
            store: None,
            model: Model::default(),
            open: Vec::new(),
            death: Death::Kill,
        };
        Self {
            cloud: Cloud::new(seed),
            gateways: (0..GATEWAYS as u64).map(gateway).collect(),
            clock: Jumping(Arc::new(Mutex::new((1_700_000_000_000_000, 0)))),
            durability,
            dice: Dice::new(seed),
            calls: 0,
        }
    }

    fn config(&self, at: usize) -> Config {
        let url = Url::parse("memory:///usage/").unwrap();
        let disk = &self.gateways[at].disk;
        Config {
            table: Location::new(url, self.cloud.client(disk)),
            durability: self.durability,
            flush_rows: 4,
            disk: Arc::new(disk.clone()),
            clock: Arc::new(self.clock.clone()),
            background: false,
            ..Config::new("/data", name(&format!("gw-{at}"))).unwrap()
        }
    }

    /// Starts a gateway, however often it takes, and holds its rows against its promises.
    async fn start(&mut self, at: usize) -> Result<(), String> {
        for attempt in 0..20 {
            if attempt == 10 {
                // Weather passes.
                self.cloud.storm(0);
                self.cloud.set_down(false);
            }
            let store = Store::open(self.config(at), prices()).await;
            let gateway = &mut self.gateways[at];
            if gateway.disk.is_dead() {
                drop(store);
                gateway.disk.crash(Crash::Kill);
                continue;
            }
            match store {
                Ok(store) => {
                    gateway.store = Some(store);
                    return self.check(at, true).await;
                }
                Err(error) => {
                    let weather = matches!(error, crate::Error::Table(_));
                    if !weather {
                        return Err(format!("gateway {at} does not start: {}", crate::error::chain(&error)));
                    }
                }
            }
        }
        Err(format!("gateway {at} does not start in calm weather"))
    }

    /// Lets a gateway die at once and start again.
    async fn bury(&mut self, at: usize, death: Death) -> Result<(), String> {
        let gateway = &mut self.gateways[at];
        let crash = if matches!(death, Death::Power) {
            Crash::Power
        } else {
            Crash::Kill
        };
        gateway.die().await;
        gateway.disk.crash(crash);
        if crash == Crash::Power {
            gateway.model.power_cut();
        }
        self.cloud.deliver().await;
        if let Death::Twice(steps) = death {
            self.gateways[at].disk.die_after(steps);
        }
        self.start(at).await
    }

    async fn take(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Admit(at, calls) => {
                for _ in 0..calls {
                    self.admit(at).await;
                }
            }
            Step::Settle(at, calls) => self.settle(at, calls).await,
            Step::Drop(at) => {
                let gateway = &mut self.gateways[at];
                if let Some((id, call)) = gateway.open.pop() {
                    gateway.model.end(id, Outcome::ClientAborted, None, false, false);
                    drop(call);
                }
            }
            Step::Refuse(at) => self.refuse(at).await,
            Step::Sync(at) => {
                let gateway = &mut self.gateways[at];
                if gateway.store.as_ref().unwrap().sync().is_ok() {
                    gateway.model.sync();
                }
            }
            Step::Flush(at) => {
                let flushed = self.gateways[at].store.as_ref().unwrap().flush().await;
                self.flushed(at, flushed);
            }
            Step::FlushTogether => {
                let stores: Vec<_> = self.gateways.iter().map(|gateway| gateway.store.as_ref().unwrap()).collect();
                let flushed = futures::future::join_all(stores.iter().map(|store| store.flush())).await;
                for (at, flushed) in flushed.into_iter().enumerate() {
                    self.flushed(at, flushed);
                }
            }
            Step::Compact(at) => compact(self.store(at)).await,
            Step::CompactAndFlush => {
                let (flushed, ()) = futures::future::join(self.store(1).flush(), compact(self.store(0))).await;
                self.flushed(1, flushed);
            }
            Step::Checkpoint(at) => {
                // What fails is tried again later: nothing depends on it.
                let _ = self.store(at).shared().table().lake().checkpoint(1).await;
            }
            Step::Vacuum(at) => {
                self.cloud.deliver().await;
                let stores: Vec<_> = (0..GATEWAYS).map(|at| self.store(at)).collect();
                vacuum(&stores, at).await;
            }
            Step::Query(at) => self.check(at, false).await?,
            Step::Fill(at, appends) => self.gateways[at].disk.fill_up(appends),
            Step::FailSync(at) => self.gateways[at].disk.fail_syncs(1),
            Step::Storm(percent) => self.cloud.storm(percent),
            Step::Down(down) => self.cloud.set_down(down),
            Step::Jump(hours) => self.clock.jump(hours),
            Step::Crash(at, death, steps) => {
                let gateway = &mut self.gateways[at];
                gateway.death = death;
                gateway.disk.die_after(steps);
            }
            Step::Restart(at) => {
                let gateway = &mut self.gateways[at];
                let closed = gateway.store.take().unwrap().close().await;
                if gateway.disk.is_dead() {
                    let death = gateway.death;
                    return self.bury(at, death).await;
                }
                if closed.is_ok() {
                    gateway.model.sync();
                }
                gateway.die().await;
                gateway.disk.crash(Crash::Kill);
                return self.start(at).await;
            }
        }
        for at in 0..GATEWAYS {
            let gateway = &self.gateways[at];
            let poisoned = gateway.store.as_ref().is_some_and(|store| store.unavailable().is_some());
            if gateway.disk.is_dead() || poisoned {
                self.bury(at, gateway.death).await?;
            }
        }
        Ok(())
    }

    fn store(&self, at: usize) -> &Store {
        self.gateways[at].store.as_ref().unwrap()
    }

    fn flushed(&mut self, at: usize, flushed: Result<(), crate::Error>) {
        let gateway = &mut self.gateways[at];
        if flushed.is_ok() && gateway.store.as_ref().unwrap().stats().hot_rows == 0 {
            gateway.model.commit();
        }
    }

    fn firm(&self) -> bool {
        self.durability == Durability::Power
    }

    async fn admit(&mut self, at: usize) {
        self.calls += 1;
        let mut intent = intent(self.calls);
        // Calls of a few days, in no order.
        let day = self.dice.below(3) as i64;
        intent.start_time = Timestamp::from_unix_us(self.clock.now().unix_us() - day * 86_400_000_000);
        let id = intent.call_id;
        let (firm, gateway) = (self.firm(), &mut self.gateways[at]);
        let admitted = gateway.store.as_ref().unwrap().ledger().admit(intent).await;
        gateway.model.admit(id, admitted.is_ok(), firm);
        if let Ok(call) = admitted {
            gateway.open.push((id, call));
        }
    }

    /// Settles some of the open calls at once, so that they share a write.
    async fn settle(&mut self, at: usize, calls: u8) {
        let (firm, gateway) = (self.firm(), &mut self.gateways[at]);
        let keep = gateway.open.len().saturating_sub(usize::from(calls));
        let (ids, settling): (Vec<_>, Vec<_>) = gateway
            .open
            .drain(keep..)
            .map(|(id, call)| (id, call.settle(ending())))
            .unzip();
        for (id, receipt) in ids.into_iter().zip(futures::future::join_all(settling).await) {
            let cost = receipt.as_ref().ok().and_then(|receipt| receipt.cost);
            gateway.model.end(id, Outcome::Ok, cost, receipt.is_ok(), firm);
        }
    }

    async fn refuse(&mut self, at: usize) {
        self.calls += 1;
        let (intent, firm) = (intent(self.calls), self.firm());
        let id = intent.call_id;
        let ledger = self.gateways[at].store.as_ref().unwrap().ledger();
        let refused = ledger.refuse(intent, Ending::of(Outcome::RefusedPolicy)).await;
        self.gateways[at].model.end(
            id,
            Outcome::RefusedPolicy,
            Some(tollgate_record::Amount::ZERO),
            refused.is_ok(),
            firm,
        );
    }

    /// Holds a gateway's rows against its promises.
    async fn check(&mut self, at: usize, started: bool) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..20 {
            let rows = rows(self.gateways[at].store.as_ref().unwrap(), at).await;
            let gateway = &mut self.gateways[at];
            if gateway.disk.is_dead() {
                // It is buried later; what it answered meanwhile nobody saw.
                return Ok(());
            }
            match rows {
                Ok(rows) => return gateway.model.check(&rows, started),
                Err(reason) if reason.contains("twice") => return Err(reason),
                // A query may fail while the cloud is down. After a start the rows are needed.
                Err(_) if !started => return Ok(()),
                Err(reason) => {
                    last = reason;
                    self.cloud.storm(0);
                    self.cloud.set_down(false);
                }
            }
        }
        Err(format!("rows cannot be read in calm weather: {last}"))
    }

    /// Everything calms down, everyone flushes: the table alone must hold what was promised.
    async fn end(&mut self) -> Result<(), String> {
        self.cloud.storm(0);
        self.cloud.set_down(false);
        for at in 0..GATEWAYS {
            self.bury(at, Death::Kill).await?;
            let store = self.gateways[at].store.as_ref().unwrap();
            store.flush().await.map_err(|error| crate::error::chain(&error))?;
            if store.stats().hot_rows != 0 {
                return Err("a flush in calm weather left rows behind".to_owned());
            }
            self.check(at, false).await?;
        }
        Ok(())
    }
}

/// Merges what there is to merge. That it fails changes nothing.
async fn compact(store: &Store) {
    let shared = store.shared();
    // The days of all calls are over: two files are enough.
    let stamp = || Stamp {
        now: Timestamp::from_unix_us(shared.stamp().now.unix_us() + 10 * 86_400_000_000),
        ..shared.stamp()
    };
    while let Ok(Some(_)) = shared.table().compact_once(Upkeep::TARGET_BYTES, &|_| true, stamp()).await {
        if shared.refresh().await.is_err() {
            return;
        }
    }
}

/// Deletes what is out of every history, if everyone has seen the newest version.
async fn vacuum(stores: &[&Store], at: usize) {
    for store in stores {
        let _ = store.shared().refresh().await;
    }
    let Ok(newest) = stores[at].shared().table().newest().await else {
        return;
    };
    let seen = |store: &&Store| store.shared().table().version() == newest.version();
    if stores.iter().all(seen) {
        let later = Timestamp::from_unix_us(Timestamp::from(std::time::SystemTime::now()).unix_us() + 60 * 86_400_000_000);
        let _ = newest.lake().vacuum(Upkeep::HISTORY, later).await;
        let _ = newest.lake().forget_log(Upkeep::HISTORY, later).await;
    }
}

/// The rows of a gateway as its queries see them.
async fn rows(store: &Store, at: usize) -> Result<BTreeMap<CallId, Row>, String> {
    static ENGINE: LazyLock<SessionState> = LazyLock::new(|| SessionContext::new().state());
    // What it remembers of files would be wrong in another world, where files of the same names have other rows.
    let engine = SessionStateBuilder::new_from_existing(ENGINE.clone()).with_runtime_env(Arc::default());
    let text = |error: datafusion::error::DataFusionError| error.to_string();
    let named = store.tables().snapshot().await.map_err(text)?;
    let (_, usage) = named
        .into_iter()
        .find(|(name, _)| *name == "usage")
        .ok_or("there is no table usage")?;
    let plain = |name: &str| cast(ident(name), DataType::Utf8);
    let frame = SessionContext::new_with_state(engine.build())
        .read_table(usage)
        .and_then(|usage| usage.filter(ident("instance").eq(lit(format!("gw-{at}")))))
        .and_then(|own| own.select([plain("call_id"), ident("seq"), plain("outcome"), ident("cost")]));
    let batches = frame.map_err(text)?.collect().await.map_err(text)?;
    let mut rows = BTreeMap::new();
    for batch in batches {
        let costs = batch.column(3).as_primitive::<Decimal128Type>();
        for row in 0..batch.num_rows() {
            let id = batch.column(0).as_string::<i32>().value(row);
            let id: CallId = id.parse().map_err(|_| format!("no call's id: {id}"))?;
            let found = Row {
                seq: batch.column(1).as_primitive::<Int64Type>().value(row),
                outcome: batch.column(2).as_string::<i32>().value(row).to_owned(),
                cost: costs.is_valid(row).then(|| costs.value(row)),
            };
            if rows.insert(id, found).is_some() {
                return Err(format!("{id} stands twice"));
            }
        }
    }
    Ok(rows)
}

async fn run(seed: u64, durability: Durability, steps: Vec<Step>) -> Result<(), String> {
    let mut world = World::new(seed, durability);
    for at in 0..GATEWAYS {
        world.start(at).await?;
    }
    for step in &steps {
        world.take(step).await.map_err(|reason| format!("after {step:?}: {reason}"))?;
    }
    world.end().await.map_err(|reason| format!("at the end: {reason}"))
}

fn simulate(durability: Durability) {
    let runs = std::env::var("TOLLGATE_SIMULATIONS").ok().and_then(|runs| runs.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Runs {
        cases: runs.unwrap_or(RUNS),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Runs::default()
    });
    let strategy = (any::<u64>(), prop::collection::vec(step(), 1..30));
    let outcome = runner.run(&strategy, |(seed, steps)| {
        let ran = runtime.block_on(runtime.spawn(run(seed, durability, steps)));
        let held = ran.map_err(|panic| TestCaseError::fail(format!("panicked: {panic}")))?;
        held.map_err(TestCaseError::fail)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_in_process_durability() {
    simulate(Durability::Process);
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_in_power_durability() {
    simulate(Durability::Power);
}

/// Found by the runs above, once in some ten thousand.
#[test]
fn what_a_start_wrote_survives_a_power_cut() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let steps = vec![
        Step::Admit(0, 2),
        Step::Admit(0, 4),
        Step::Crash(0, Death::Kill, 0),
        Step::Admit(1, 1),
        Step::Compact(0),
        Step::Crash(0, Death::Power, 0),
        Step::Admit(0, 1),
    ];
    for seed in (0..20).chain([7_682_822_531_396_634_002]) {
        let held = runtime.block_on(run(seed, Durability::Process, steps.clone()));
        assert_eq!(held, Ok(()), "seed {seed}");
    }
}
