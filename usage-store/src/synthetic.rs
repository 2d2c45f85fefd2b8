//! Synthetic traffic: rows that look like those of a company's gateway, the same for the same seed.
//!
//! For benchmarks and tests of size and speed. Skewed as real traffic is: teams, users, keys and models by Zipf's law, prompts and
//! answers log-normal, sessions of several calls, trace ids on some calls, a few failures and retries. Rows come in the order in which
//! calls end, so start times are not sorted, as in a real log. What it does not do: vary load over the day, or change prices.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tollgate_record::{
    Amount, Call, CallId, Caller, Charge, Cost, CostStatus, Ending, Identity, Intent, Meter, Name, Outcome, Record, Seq, Tags,
    Timestamp, Usage, UsageSource,
};

use crate::table::Table;
use crate::table::lake::Stamp;
use crate::{Error, Location};

const TEAMS: usize = 40;
const USERS: usize = 5_000;
const SERVICES: [&str; 12] = [
    "chat-web",
    "support-bot",
    "code-review",
    "search-rag",
    "summarizer",
    "agents",
    "notebook",
    "etl-enrich",
    "mail-triage",
    "translate",
    "eval-runner",
    "playground",
];
const AGENTS: [&str; 5] = ["planner", "coder", "researcher", "reviewer", "triage"];
const REGIONS: [&str; 3] = ["eu-central-1", "us-east-1", "us-west-2"];
/// Calls that are open at one time; they end in another order than they began.
const IN_FLIGHT: usize = 64;
/// Sessions that go on at one time.
const SESSIONS: usize = 400;

/// Asked for, answered, provider, price of a million input, cache read, output tokens (in cents), milliseconds per output token, reasons.
type Model = (&'static str, &'static str, &'static str, u64, u64, u64, u64, bool);
const MODELS: [Model; 12] = [
    ("gpt-5-mini", "gpt-5-mini-2025-08-07", "openai", 25, 3, 200, 6, true),
    (
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "anthropic",
        300,
        30,
        1500,
        14,
        false,
    ),
    ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai", 15, 8, 60, 8, false),
    ("gpt-5", "gpt-5-2025-08-07", "openai", 125, 13, 1000, 12, true),
    (
        "claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "anthropic",
        100,
        10,
        500,
        6,
        false,
    ),
    ("gpt-4o", "gpt-4o-2024-08-06", "openai", 250, 125, 1000, 11, false),
    ("mistral-small-latest", "mistral-small-2506", "mistral", 10, 10, 30, 7, false),
    (
        "claude-opus-4-1",
        "claude-opus-4-1-20250805",
        "anthropic",
        1500,
        150,
        7500,
        22,
        false,
    ),
    ("o4-mini", "o4-mini-2025-04-16", "openai", 110, 28, 440, 9, true),
    ("gpt-5-nano", "gpt-5-nano-2025-08-07", "openai", 5, 1, 40, 4, true),
    (
        "mistral-large-latest",
        "mistral-large-2411",
        "mistral",
        200,
        200,
        600,
        12,
        false,
    ),
    (
        "text-embedding-3-small",
        "text-embedding-3-small",
        "openai",
        2,
        2,
        0,
        0,
        false,
    ),
];

/// An endless iterator of rows.
pub struct Traffic {
    random: Random,
    instance: Name,
    now_us: i64,
    gap_us: f64,
    next_seq: Seq,
    words: Words,
    keys: Vec<Key>,
    key: Zipf,
    model: Zipf,
    users: Vec<Name>,
    user: Zipf,
    sessions: Vec<Session>,
    in_flight: BinaryHeap<Reverse<Flight>>,
    /// A call that failed and is tried again.
    retry: Option<Box<Record>>,
    calls: u64,
}

/// A seeded generator of random numbers (SplitMix64, Steele, Lea and Flood 2014).
pub struct Random(u64);

/// Appends rows of an instance to a table, as a flush does and in the same files; `last` is the highest place among them.
/// Creates the table if there is none, and returns its version.
///
/// # Errors
/// As those of a flush.
pub async fn append(location: &Location, batches: Vec<RecordBatch>, instance: &Name, last: Seq) -> Result<u64, Error> {
    let table = Table::open(location).await?;
    let table = table.append(batches, instance, last, Stamp::system()).await?;
    Ok(table.version())
}

struct Key {
    identity: Arc<Identity>,
    tags: Arc<Tags>,
    traced: bool,
    model_shift: usize,
}

struct Session {
    id: Name,
    key: usize,
    user: Name,
    trace: Name,
    model: usize,
    left: u64,
}

/// Indices by Zipf's law.
struct Zipf(Vec<f64>);

/// A row and when it ends; ordered by that, then by its number.
struct Flight(i64, u64, Box<Record>);

/// Names that many rows share.
struct Words {
    chat: Name,
    embeddings: Name,
    usd: Name,
    stop: Name,
    end_turn: Name,
    rate_limit: Name,
    agents: Vec<Name>,
    regions: Vec<Name>,
    models: Vec<ModelNames>,
}

struct ModelNames {
    request: Name,
    response: Name,
    provider: Name,
    upstream: Name,
    version: Name,
}

// === impl Random ===

impl Random {
    /// A generator of one sequence per seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.bits() % limit.max(1) as u64).unwrap_or(0)
    }

    /// True in `percent` of the cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }

    /// From 0 to 1, 1 excluded.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Log-normal with a median; `spread` is the standard deviation of its logarithm.
    fn log_normal(&mut self, median: f64, spread: f64) -> u64 {
        let (radius, angle) = (1.0 - self.unit(), self.unit());
        let normal = (-2.0 * radius.ln()).sqrt() * (angle * std::f64::consts::TAU).cos();
        (median * (spread * normal).exp()) as u64
    }

    fn hex(&mut self, digits: usize) -> Name {
        let text = format!("{:016x}{:016x}", self.bits(), self.bits());
        name(text.get(..digits).expect("32 digits are enough"))
    }
}

// === impl Zipf ===

impl Zipf {
    fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        Self(sums.into_iter().map(|part| part / sum).collect())
    }

    fn pick(&self, random: &mut Random) -> usize {
        let at = random.unit();
        self.0.partition_point(|part| *part < at).min(self.0.len() - 1)
    }
}

// === impl Flight ===

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

// === impl Traffic ===

impl Traffic {
    /// Traffic of one gateway from an instant on.
    ///
    /// # Panics
    /// If `calls_per_second` is zero.
    pub fn new(seed: u64, instance: Name, start: Timestamp, calls_per_second: u64) -> Self {
        assert!(calls_per_second > 0, "traffic needs calls");
        let mut random = Random::new(seed);
        let keys = keys();
        let users: Vec<_> = (0..USERS).map(|number| name(&format!("u{number:05}@example.com"))).collect();
        let mut traffic = Self {
            now_us: start.unix_us(),
            gap_us: 1e6 / calls_per_second as f64,
            next_seq: Seq::ZERO.next(),
            words: Words::new(),
            key: Zipf::new(keys.len(), 1.1),
            keys,
            model: Zipf::new(MODELS.len(), 1.0),
            user: Zipf::new(users.len(), 1.0),
            users,
            sessions: Vec::new(),
            in_flight: BinaryHeap::new(),
            retry: None,
            calls: 0,
            random: Random::new(random.bits()),
            instance,
        };
        for _ in 0..SESSIONS {
            let session = traffic.session();
            traffic.sessions.push(session);
        }
        traffic
    }

    fn session(&mut self) -> Session {
        let key = self.key.pick(&mut self.random);
        let shift = self.keys.get(key).map_or(0, |key| key.model_shift);
        // A team has its own favourites, and asks the others seldom.
        let model = (self.model.pick(&mut self.random) + shift) % MODELS.len();
        // A team has its own people too.
        let user = (self.user.pick(&mut self.random) * 7 + key * 97) % USERS;
        Session {
            id: name(&format!("sess_{}", self.random.hex(24))),
            key,
            user: self.users.get(user).expect("a number below the count").clone(),
            trace: self.random.hex(32),
            model,
            left: 1 + self.random.log_normal(5.0, 0.9).min(200),
        }
    }

    /// A call that began now.
    fn call(&mut self) -> Box<Record> {
        self.calls += 1;
        self.now_us += (-(1.0 - self.random.unit()).ln() * self.gap_us) as i64;
        let mut random_bytes = [0; 10];
        random_bytes[..8].copy_from_slice(&self.random.bits().to_be_bytes());
        random_bytes[8..].copy_from_slice(&self.random.bits().to_be_bytes()[..2]);
        let call_id = CallId::from_parts(u64::try_from(self.now_us / 1000).unwrap_or(0), random_bytes);
        let at = self.random.below(SESSIONS);
        let ended = self.sessions.get_mut(at).is_none_or(|session| {
            session.left = session.left.saturating_sub(1);
            session.left == 0
        });
        if ended {
            let fresh = self.session();
            *self.sessions.get_mut(at).expect("a number below the count") = fresh;
        }
        let session = self.sessions.get(at).expect("a number below the count");
        let key = self.keys.get(session.key).expect("a number below the count");
        let random = &mut self.random;
        let model = MODELS.get(session.model).expect("a number below the count");
        let names = self.words.models.get(session.model).expect("a name for each");
        let embeds = model.5 == 0;
        let caller = Caller {
            user: (!key.traced || random.percent(80)).then(|| session.user.clone()),
            agent: random
                .percent(20)
                .then(|| self.words.agents.get(session.model % AGENTS.len()).cloned())
                .flatten(),
            session_id: (!embeds && session.left > 1).then(|| session.id.clone()),
            trace_id: key.traced.then(|| session.trace.clone()),
            span_id: key.traced.then(|| random.hex(16)),
            parent_call_id: None,
            tags: Arc::clone(&key.tags),
        };
        let call = Call {
            operation_name: if embeds { &self.words.embeddings } else { &self.words.chat }.clone(),
            proxy: None,
            provider_name: Some(names.provider.clone()),
            template: None,
            upstream: Some(names.upstream.clone()),
            region: (model.2 == "mistral")
                .then(|| self.words.regions.get(session.key % 3).cloned())
                .flatten(),
            request_model: Some(names.request.clone()),
            stream: !embeds && !session.key.is_multiple_of(3),
            route_rule: None,
            cache: None,
        };
        let input = random.log_normal(900.0, 1.3).clamp(8, 180_000);
        let intent = Intent {
            call_id,
            request_id: call_id.as_request(),
            attempt: 1,
            start_time: Timestamp::from_unix_us(self.now_us),
            identity: Arc::clone(&key.identity),
            caller,
            call,
            request_bytes: 180 + input * 4 + random.bits() % 64,
            bears_usage: true,
        };
        let mut ending = match random.below(100) {
            0 | 1 => Ending {
                status_code: Some(429),
                error_type: Some(self.words.rate_limit.clone()),
                duration_us: random.log_normal(90_000.0, 0.4),
                response_bytes: 312,
                ..Ending::of(Outcome::UpstreamError)
            },
            2 => Ending {
                status_code: Some(200),
                ..Ending::of(Outcome::ClientAborted)
            },
            _ => Ending {
                status_code: Some(200),
                finish_reason: (!embeds).then(|| {
                    if model.2 == "anthropic" {
                        &self.words.end_turn
                    } else {
                        &self.words.stop
                    }
                    .clone()
                }),
                ..Ending::of(Outcome::Ok)
            },
        };
        ending.gateway_overhead_us = Some(random.log_normal(70.0, 0.5));
        let mut cost = Cost::free();
        if ending.outcome != Outcome::UpstreamError {
            let output = if embeds {
                0
            } else {
                random.log_normal(220.0, 1.0).clamp(1, 16_000)
            };
            let first = random.log_normal(450_000.0, 0.5);
            let cached = (!embeds && input > 1024 && random.percent(45)).then(|| input * (random.bits() % 10) / 10 / 128 * 128);
            let reasoned = model.7.then(|| output * (random.bits() % 8) / 10 / 64 * 64);
            ending.response_model = Some(names.response.clone());
            ending.time_to_first_token_us = Some(first);
            ending.duration_us = first + output * model.6 * 1000 + random.bits() % 4000;
            ending.response_bytes = if intent.call.stream {
                output * 190 + random.bits() % 512
            } else {
                600 + output * 4 + random.bits() % 64
            };
            ending.usage = Usage {
                source: if ending.outcome == Outcome::Ok {
                    UsageSource::Reported
                } else {
                    UsageSource::Estimated
                },
                input: Some(input),
                cache_read: cached,
                output: (!embeds).then_some(output),
                reasoning: reasoned,
                remaining: (model.2 == "openai").then(|| 2_000_000 - (random.bits() % 400) * 1000),
                ..Usage::default()
            };
            let written = (model.2 == "anthropic" && cached.is_some()).then(|| (input - cached.unwrap_or(0)) / 2 / 64 * 64);
            ending.usage.cache_creation = written;
            cost = bill(
                model,
                names,
                &self.words.usd,
                [input, cached.unwrap_or(0), written.unwrap_or(0), output],
            );
            if ending.outcome != Outcome::Ok {
                cost.status = CostStatus::Estimated;
            }
        }
        Box::new(Record::new(self.instance.clone(), intent, ending, cost))
    }
}

impl Iterator for Traffic {
    type Item = Box<Record>;

    fn next(&mut self) -> Option<Box<Record>> {
        while self.in_flight.len() < IN_FLIGHT {
            let mut record = self.call();
            if let Some(failed) = self.retry.take() {
                record.request_id = failed.request_id;
                record.attempt = failed.attempt + 1;
            }
            let end = self.now_us + i64::try_from(record.duration_us).unwrap_or(0);
            self.in_flight.push(Reverse(Flight(end, self.calls, record)));
        }
        let Reverse(Flight(_, _, mut record)) = self.in_flight.pop()?;
        record.seq = self.next_seq;
        self.next_seq = self.next_seq.next();
        if record.outcome == Outcome::UpstreamError && record.attempt < 3 {
            self.retry = Some(record.clone());
        }
        Some(record)
    }
}

// === impl Words ===

impl Words {
    fn new() -> Self {
        let models = MODELS.iter().map(|model| ModelNames {
            request: name(model.0),
            response: name(model.1),
            provider: name(model.2),
            upstream: name(&format!("api.{}.com:443", model.2)),
            version: name(&format!("{}-2026@5e1d3a9c", model.2)),
        });
        Self {
            chat: name("chat"),
            embeddings: name("embeddings"),
            usd: name("USD"),
            stop: name("stop"),
            end_turn: name("end_turn"),
            rate_limit: name("rate_limit_exceeded"),
            agents: AGENTS.map(name).into(),
            regions: REGIONS.map(name).into(),
            models: models.collect(),
        }
    }
}

/// A key per team and service that the team has: the first teams have more.
fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    for (number, service) in SERVICES.iter().enumerate() {
        for team in 0..TEAMS {
            if (team * 5 + number * 3) % (2 + team / 4) != 0 {
                continue;
            }
            let team_name = format!("team-{team:02}");
            let environment = if number % 4 == 3 { "staging" } else { "prod" };
            let center = format!("cc-{}", 4000 + team * 10);
            let mut tags = vec![("env", environment), ("cost_center", center.as_str())];
            if number % 2 == 0 {
                tags.push(("feature", *service));
            }
            keys.push(Key {
                identity: Arc::new(Identity {
                    key_id: name(&format!("{team_name}-{service}")),
                    org: Some(name(if team % 8 == 7 { "acme-labs" } else { "acme" })),
                    team: Some(name(&team_name)),
                    project: Some(name(&format!("{team_name}-p{}", number % 3))),
                    service: Some(name(service)),
                    user: None,
                }),
                tags: Arc::new(Tags::from_pairs(tags)),
                traced: keys.len() % 3 == 1,
                model_shift: team % 5,
            });
        }
    }
    keys
}

/// One to four charges, exact, for tokens: all input, of it read from a cache, of it written to one, output.
fn bill(model: &Model, names: &ModelNames, usd: &Name, [input, read, written, output]: [u64; 4]) -> Cost {
    let lines = [
        (Meter::Input, model.3, input - read - written),
        (Meter::CacheRead, model.4, read),
        (Meter::CacheWrite5m, model.3 * 5 / 4, written),
        (Meter::Output, model.5, output),
    ];
    let mut sum = 0;
    let charges = lines
        .into_iter()
        .filter(|(_, _, quantity)| *quantity > 0)
        .map(|(meter, cents, quantity)| {
            // A cent a million is 10^-8, or 10^4 units.
            let unit = i128::from(cents) * 10_000;
            let amount = unit * i128::from(quantity);
            sum += amount;
            Charge {
                meter,
                field: None,
                quantity: Amount::from_integer(quantity).expect("a count of tokens fits"),
                unit_price: Some(units(unit)),
                amount: Some(units(amount)),
            }
        })
        .collect();
    Cost {
        status: CostStatus::Priced,
        cost: Some(units(sum)),
        list_cost: Some(units(sum)),
        avoided_cost: None,
        currency: Some(usd.clone()),
        price_version: Some(names.version.clone()),
        charges,
    }
}

fn units(units: i128) -> Amount {
    Amount::from_units(units).expect("the price of a call fits")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a literal is a name")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn traffic(seed: u64) -> Traffic {
        Traffic::new(seed, name("gw"), Timestamp::from_unix_us(1_790_000_000_000_000), 1000)
    }

    #[test]
    fn the_same_seed_gives_the_same_rows() {
        let rows: Vec<_> = traffic(7).take(2000).collect();
        assert_eq!(rows, traffic(7).take(2000).collect::<Vec<_>>());
        assert_ne!(rows, traffic(8).take(2000).collect::<Vec<_>>());
    }

    #[test]
    fn places_have_no_gaps_and_costs_are_the_sum_of_their_charges() {
        for (number, row) in traffic(1).take(5000).enumerate() {
            assert_eq!(row.seq.get(), number as u64 + 1);
            let sum: i128 = row.cost.charges.iter().map(|charge| charge.amount.unwrap().units()).sum();
            assert_eq!(row.cost.cost.map_or(0, Amount::units), sum);
        }
    }
}
