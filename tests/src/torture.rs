//! Kills at random moments under mixed load, again and again over one data directory, and an audit after each: every call whose answer was
//! read is one row at its exact cost, every other call that anybody heard of is one row, and nothing is there twice or out of place.
//!
//!     make torture                                                  # 200 kills
//!     TOLLGATE_TORTURE_ROUNDS=20 TOLLGATE_TORTURE_SEED=7 cargo test --workspace --test e2e -- torture
//!
//! The seed decides what clients call, when the kill comes, and how the ledger is configured; which instruction it hits is up to the machine.
//! Flushes, commits and the table's upkeep are made so frequent that a good part of the kills lands in one; what the files look like
//! afterwards says in which ([`Wreck`]), and the tally is printed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::claim::Claim;
use crate::harness::config::Config;
use crate::harness::dice::Dice;
use crate::harness::gateway::Gateway;
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::storm::{End, Heard, Storm};
use crate::harness::world::World;
use crate::harness::wreck::{Sight, Wreck};

/// Kills in `make test`.
const ROUNDS: usize = 10;
/// Sets how many kills there are.
const ROUNDS_VARIABLE: &str = "TOLLGATE_TORTURE_ROUNDS";
/// Sets the seed.
const SEED_VARIABLE: &str = "TOLLGATE_TORTURE_SEED";
/// The longest that a round may take on a machine that does other things.
const ROUND_LIMIT: Duration = Duration::from_secs(30);
const CLIENTS: u64 = 10;
/// The longest wait for something to show before the kill comes anyway.
const SIGHT_LIMIT: Duration = Duration::from_secs(2);
/// Answers that must have been read before a kill.
const ANSWERS_MIN: usize = 5;
/// After so many rounds the whole table is audited, and not only what is new.
const AUDIT_EVERY: usize = 10;

pub(crate) fn claims() -> Vec<Claim> {
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |text| text.parse().expect("a number of rounds"));
    let claim = Claim::new("no_kill_costs_doubles_or_changes_a_row", move |world| torture(world, rounds));
    vec![claim.limited(ROUND_LIMIT * (rounds as u32 + 4))]
}

/// When the kill comes: some time after the load began, and then at once or when something shows.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Anytime,
    At(Sight),
}

/// Everything that was established so far.
#[derive(Default)]
struct Books {
    rows: i64,
    cost: Decimal,
    answered: usize,
    unanswered: usize,
    tally: BTreeMap<&'static str, usize>,
}

async fn torture(world: Arc<World>, rounds: usize) {
    let seed = Dice::seed_from(SEED_VARIABLE);
    eprintln!("torture: {rounds} kills, {SEED_VARIABLE}={seed}");
    let started = Instant::now();
    let dice = Dice::new(seed);
    let mut gateway = world.own_gateway(&config(&mut dice.of(0))).await;
    let (mut books, mut wreck) = (Books::default(), Wreck::default());
    let mut logged = 0;
    for round in 1..=rounds {
        let mut dice = dice.of(round as u64);
        let (heard, unheard) = storm(&mut gateway, &mut dice).await;
        books.count(&wreck.look(&gateway.data()));
        // The next start may find another configuration, and may be killed itself while it recovers.
        config(&mut dice).write(&gateway.config());
        while dice.between(1, 5) == 1 {
            gateway.stumble(dice.millis(0, 400)).await;
            wreck.look(&gateway.data());
            books.count(&["recovery: the start after a kill was killed"]);
        }
        gateway.resume().await;
        books.audit_round(&gateway, round, &heard, unheard).await;
        if round % AUDIT_EVERY == 0 {
            books.audit_all(&gateway).await;
        }
        logged = no_error(&gateway, logged, &mut books);
    }
    books.audit_all(&gateway).await;
    let online = gateway.sql(SUMS).await.remove(0);
    assert!(gateway.terminate().await.success());
    assert_eq!(gateway.sql_offline(SUMS).await.remove(0).0, online.0, "the same books when no gateway runs");
    no_error(&gateway, logged, &mut books);
    eprintln!("{}", books.report(rounds, seed, started.elapsed()));
}

/// Loads the gateway and kills it. Returns what the clients heard of, and how many calls they may have made beside.
async fn storm(gateway: &mut Gateway, dice: &mut Dice) -> (Vec<Heard>, usize) {
    let aims = [
        Aim::Anytime,
        Aim::Anytime,
        Aim::At(Sight::Rotation),
        Aim::At(Sight::File),
        Aim::At(Sight::Commit),
        Aim::At(Sight::Checkpoint),
    ];
    let (aim, wait, then) = (dice.one_of(&aims), dice.millis(20, 900), Duration::from_micros(dice.between(0, 3000)));
    let mut storm = Storm::start(gateway, CLIENTS, dice);
    tokio::time::sleep(wait).await;
    while storm.answered() < ANSWERS_MIN {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if let Aim::At(sight) = aim {
        let data = gateway.data();
        tokio::task::spawn_blocking(move || {
            sight.wait(&data, SIGHT_LIMIT);
            std::thread::sleep(then);
        })
        .await
        .unwrap();
    }
    assert!(storm.rages(), "the gateway let a client down before it was killed");
    gateway.kill().await;
    storm.stop().await
}

/// A ledger that is always busy with something.
fn config(dice: &mut Dice) -> Config {
    let (rows, interval) = (dice.between(30, 300), dice.between(30, 400));
    let durability = dice.one_of(&["process", "process", "power"]);
    let upkeep = dice.between(10, 500);
    let ledger = format!(
        "durability: {durability}, flush: {{rows: {rows}, interval: {interval}ms}}, compaction: {{interval: {upkeep}ms, target: 64KiB}}"
    );
    Config::standard().replacing("durability: process, flush: {rows: 200, interval: 1s}", &ledger)
}

/// What whole-table audits and the comparison with offline SQL look at.
const SUMS: &str = "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, max(seq) AS last, min(seq) AS first, sum(cost) AS cost, \
                    sum(input_tokens) AS input, sum(output_tokens) AS output FROM usage";

impl Books {
    fn count(&mut self, phases: &[&'static str]) {
        let phases = if phases.is_empty() { &["nothing of the table's was under way"] } else { phases };
        for phase in phases {
            *self.tally.entry(phase).or_default() += 1;
        }
    }

    /// Holds the rows that are new against what the clients know.
    async fn audit_round(&mut self, gateway: &Gateway, round: usize, heard: &[Heard], unheard: usize) {
        let new = format!(
            "SELECT seq, call_id, outcome, status_code, cost, cost_status, charges FROM usage WHERE seq > {} ORDER BY seq",
            self.rows
        );
        let rows = gateway.sql(&new).await;
        let mut by_id: BTreeMap<&str, &Row> = BTreeMap::new();
        let mut interrupted = 0;
        for row in &rows {
            self.rows += 1;
            assert_eq!(row.int("seq"), Some(self.rows), "round {round}: a row is missing or doubled at {}", row.0);
            let twice = by_id.insert(row.text("call_id").unwrap(), row);
            assert!(twice.is_none(), "round {round}: two rows of one call: {}", row.0);
            row.adds_up();
            self.cost = self.cost + row.decimal("cost").unwrap_or(Decimal::ZERO);
            interrupted += usize::from(row.text("outcome") == Some("interrupted"));
        }
        for call in heard {
            let row = by_id.remove(call.call_id.as_str());
            let row = row.unwrap_or_else(|| panic!("round {round}: {} {} has no row", call.asked, call.call_id));
            match call.end {
                End::Read { outcome, status, cost } => {
                    self.answered += 1;
                    let found = (row.text("outcome"), row.int("status_code"), row.decimal("cost"));
                    let due = (Some(outcome), Some(i64::from(status)), Some(cost));
                    assert_eq!(found, due, "round {round}: {} {}", call.asked, row.0);
                    let status = if outcome == "ok" { "priced" } else { "free" };
                    assert_eq!(row.text("cost_status"), Some(status), "round {round}: {} {}", call.asked, row.0);
                }
                End::Unread => self.unanswered += 1,
            }
        }
        let left = by_id.len();
        assert!(left <= unheard, "round {round}: {left} rows, and {unheard} calls that nobody heard of: {by_id:?}");
        self.unanswered += left;
        if interrupted > 0 {
            self.count(&["calls were open, and are on the books as interrupted"]);
        }
    }

    /// What was established in earlier rounds still holds.
    async fn audit_all(&self, gateway: &Gateway) {
        let sums = gateway.sql(SUMS).await.remove(0);
        let rows = Some(self.rows);
        let found = (sums.int("calls"), sums.int("ids"), sums.int("last"), sums.int("first"));
        assert_eq!(found, (rows, rows, rows, Some(1)), "{}", sums.0);
        assert_eq!(sums.decimal("cost"), Some(self.cost), "the cost of earlier rounds has changed");
    }

    fn report(&self, rounds: usize, seed: u64, took: Duration) -> String {
        let mut text = format!(
            "torture: {rounds} kills in {} s, seed {seed}: {} rows, {} USD; {} answers were read to their ends, {} calls not; no row was lost, doubled or changed",
            took.as_secs(),
            self.rows,
            self.cost,
            self.answered,
            self.unanswered
        );
        for (phase, times) in &self.tally {
            text.push_str(&format!("\n{times:>6} x {phase}"));
        }
        text
    }
}

/// Nothing in the gateway's log is an error; returns how much of it was read.
fn no_error(gateway: &Gateway, from: usize, books: &mut Books) -> usize {
    let log = gateway.logged();
    let new = log.get(from..).unwrap_or_default();
    let errors: Vec<&str> = new.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    if new.contains("the torn end of the log was cut off") {
        books.count(&["the log's end was torn, and cut off"]);
    }
    log.len()
}
