//! For tests: rows that look like those of calls, a ledger of them in memory, and a clock that goes on when nothing else happens.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::json::ReaderBuilder;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tollgate_record::{Amount, BoxFuture, CallId, Name, Seq, Timestamp};

use crate::ambient::Ambient;
use crate::schema::usage_schema;
use crate::{Cursor, Exporter, Page, Runner, Source, SourceError, rows};

/// When the first row started: 2026-11-01T00:00:00Z. Each row starts a minute after the one before it.
pub(crate) const FIRST_US: i64 = 1_793_491_200_000_000;
pub(crate) const MINUTE_US: i64 = 60_000_000;

/// The id of a row.
pub(crate) fn id_of(instance: &str, seq: u64) -> String {
    let mut random = [0_u8; 10];
    for (to, from) in random.iter_mut().zip(instance.bytes().rev().chain(std::iter::repeat(7))) {
        *to = from;
    }
    CallId::from_parts(1_793_491_200_000 + seq, random).to_string()
}

/// Rows of one gateway. Odd rows are at list price, even ones have a fifth off.
pub(crate) fn rows_of(instance: &str, places: RangeInclusive<u64>) -> RecordBatch {
    let rows: Vec<_> = places.map(|seq| row(instance, seq)).collect();
    decoded(&rows)
}

/// Rows as written.
pub(crate) fn decoded(rows: &[Value]) -> RecordBatch {
    let mut decoder = ReaderBuilder::new(usage_schema())
        .with_batch_size(rows.len().max(1))
        .build_decoder()
        .unwrap();
    decoder.serialize(rows).unwrap();
    decoder
        .flush()
        .unwrap()
        .unwrap_or_else(|| RecordBatch::new_empty(usage_schema()))
}

/// One row, as JSON.
pub(crate) fn row(instance: &str, seq: u64) -> Value {
    let started = FIRST_US + MINUTE_US * (i64::try_from(seq).unwrap() - 1);
    let start = chrono::DateTime::from_timestamp_micros(started).unwrap();
    let price = |text: &str| text.parse::<Amount>().unwrap();
    // 2.50 and 10 dollars a million tokens, and with a fifth off 2 and 8.
    let (input_price, output_price) = if seq.is_multiple_of(2) {
        (price("0.000002"), price("0.000008"))
    } else {
        (price("0.0000025"), price("0.00001"))
    };
    let of = |tokens: u64, price: Amount| Amount::from_integer(tokens).unwrap().checked_mul(price).unwrap();
    let (input, output) = (of(seq * 10, input_price), of(seq, output_price));
    let list = of(seq * 10, price("0.0000025"))
        .checked_add(of(seq, price("0.00001")))
        .unwrap();
    json!({
        "call_id": id_of(instance, seq), "request_id": id_of(instance, seq), "attempt": 1, "instance": instance, "seq": seq,
        "start_time": start.to_rfc3339(), "start_date": start.date_naive().to_string(), "duration_us": 1_500_000,
        "time_to_first_token_us": 200_000, "org": "acme", "team": format!("team-{}", seq % 3), "user_id": "ann", "key_id": "ads-bot",
        "tags": {"env": "prod", "quote": "a\"b,c"}, "operation_name": "chat", "provider_name": "openai", "request_model": "gpt-x",
        "response_model": "gpt-x-2026", "stream": seq.is_multiple_of(2), "outcome": "ok", "status_code": 200, "decisions": [],
        "input_tokens": seq * 10, "output_tokens": seq, "usage_source": "reported", "cost": input.checked_add(output).unwrap().to_string(),
        "list_cost": list.to_string(), "currency": "USD", "cost_status": "priced", "price_version": "openai-2026",
        "charges": [
            {"meter": "input", "quantity": (seq * 10).to_string(), "unit": "token", "unit_price": input_price.to_string(), "amount": input.to_string()},
            {"meter": "output", "quantity": seq.to_string(), "unit": "token", "unit_price": output_price.to_string(), "amount": output.to_string()},
        ],
        "request_bytes": 100, "response_bytes": 200,
    })
}

/// A ledger in memory. It knows no SQL: every filter lets everything pass.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Rows of each gateway, from place 1 on.
    parts: Vec<(Name, RecordBatch)>,
    /// Reads that fail before the next one succeeds.
    failures: u32,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(parts: &[(&str, u64)]) -> Self {
        let memory = Self::default();
        for (instance, rows) in parts {
            memory.append(rows_of(instance, 1..=*rows));
        }
        memory
    }

    /// Adds rows of one gateway behind those that it has.
    pub(crate) fn append(&self, rows: RecordBatch) {
        let instance = Name::new(rows::text(&rows, "instance", 0).unwrap()).unwrap();
        let mut inner = self.lock();
        match inner.parts.iter_mut().find(|(name, _)| *name == instance) {
            Some((_, part)) => *part = concat_batches(&usage_schema(), [&*part, &rows]).unwrap(),
            None => inner.parts.push((instance, rows)),
        }
    }

    /// Lets the next reads fail.
    pub(crate) fn fail(&self, reads: u32) {
        self.lock().failures = reads;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn page(&self, from: &Cursor, rows_max: usize) -> Page {
        let (mut next, mut room, mut more) = (from.clone(), rows_max, false);
        let mut slices = Vec::new();
        for (instance, part) in &self.parts {
            let passed = from.0.get(instance).map_or(0, |seq| usize::try_from(seq.get()).unwrap());
            let left = part.num_rows().saturating_sub(passed);
            let taken = left.min(room);
            room -= taken;
            more |= left > taken;
            if taken > 0 {
                slices.push(part.slice(passed, taken));
                next.0.insert(instance.clone(), Seq::new((passed + taken) as u64));
            }
        }
        Page {
            rows: concat_batches(&usage_schema(), &slices).unwrap(),
            next,
            more,
        }
    }
}

impl Source for Memory {
    fn read<'a>(&'a self, from: &'a Cursor, _filter: Option<&'a str>, rows_max: usize) -> BoxFuture<'a, Result<Page, SourceError>> {
        Box::pin(async move {
            let mut inner = self.lock();
            if inner.failures > 0 {
                inner.failures -= 1;
                return Err(SourceError {
                    reason: "the table is away".to_owned(),
                });
            }
            Ok(inner.page(from, rows_max))
        })
    }

    fn end(&self, before: Option<Timestamp>) -> BoxFuture<'_, Result<Cursor, SourceError>> {
        Box::pin(async move {
            let inner = self.lock();
            let mut end = Cursor::default();
            for (instance, part) in &inner.parts {
                let before = |row: &usize| before.is_none_or(|before| rows::instant(part, "start_time", *row).unwrap() < before);
                let places = (0..part.num_rows()).take_while(before).count();
                if places > 0 {
                    end.0.insert(instance.clone(), Seq::new(places as u64));
                }
            }
            Ok(end)
        })
    }

    fn lag<'a>(&'a self, from: &'a Cursor) -> BoxFuture<'a, Result<(u64, Option<u64>), SourceError>> {
        Box::pin(async move {
            let behind = |(instance, part): &(Name, RecordBatch)| {
                let passed = from.0.get(instance).map_or(0, |seq| seq.get());
                (part.num_rows() as u64).saturating_sub(passed)
            };
            let rows = self.lock().parts.iter().map(behind).sum::<u64>();
            Ok((rows, (rows > 0).then_some(1)))
        })
    }
}

/// Times that a future is polled before it is said to wait for time alone.
const POLLS: u32 = 50;

/// A clock for tests. It stands still until [`Virtual::drive`] finds that a future only waits; then it jumps to the next instant that is waited for.
#[derive(Debug)]
pub(crate) struct Virtual {
    elapsed: tokio::sync::watch::Sender<Duration>,
    /// Guards the instants that are waited for.
    waited: Mutex<Vec<Duration>>,
    random: AtomicU64,
    /// Things under way that take time of the real world, but for those that hang.
    busy: AtomicI64,
}

/// While it is there the clock stands still, or is no longer held back by what hangs.
pub(crate) struct Busy(Arc<Virtual>, i64);

// === impl Busy ===

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(self.1, Ordering::SeqCst);
    }
}

// === impl Virtual ===

impl Default for Virtual {
    fn default() -> Self {
        Self {
            elapsed: tokio::sync::watch::Sender::new(Duration::ZERO),
            waited: Mutex::default(),
            random: AtomicU64::new(1),
            busy: AtomicI64::new(0),
        }
    }
}

impl Virtual {
    /// Runs a future to its end, on this clock.
    pub(crate) async fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::pin!(future);
        loop {
            let idle = async {
                for _ in 0..POLLS {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                done = &mut future => return done,
                () = idle => self.jump(),
            }
        }
    }

    /// Runs an exporter until `work` is done, then stops it.
    pub(crate) async fn run<T>(&self, exporter: &Exporter, runner: Runner, work: impl AsyncFnOnce(&Exporter) -> T) -> T {
        let stop = CancellationToken::new();
        let working = async {
            let done = work(exporter).await;
            stop.cancel();
            done
        };
        self.drive(async { tokio::join!(runner.run(stop.clone()), working).1 }).await
    }

    /// Holds the clock back while something goes on in the real world.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(self), 1)
    }

    /// Lets the clock go on although something seems to go on: it hangs.
    pub(crate) fn hung(self: &Arc<Self>) -> Busy {
        self.busy.fetch_sub(1, Ordering::SeqCst);
        Busy(Arc::clone(self), -1)
    }

    fn jump(&self) {
        if self.busy.load(Ordering::SeqCst) > 0 {
            return;
        }
        let now = *self.elapsed.borrow();
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        waited.retain(|at| *at > now);
        if let Some(next) = waited.iter().min().copied() {
            drop(waited);
            self.elapsed.send_replace(next);
        }
    }
}

impl Ambient for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_us(FIRST_US + i64::try_from(self.elapsed().as_micros()).unwrap())
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn sleep_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        let mut elapsed = self.elapsed.subscribe();
        Box::pin(async move {
            elapsed
                .wait_for(|now| *now >= at)
                .await
                .expect("the clock outlives who waits for it");
        })
    }

    fn random(&self) -> u64 {
        self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}
