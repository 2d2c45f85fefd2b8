//! A gateway as a member of the pool: brings the engine's questions to the server, and its answers back.
//!
//! 1. One batch of questions is under way at a time; what comes up meanwhile goes with the next one. So a call waits for two answers at most.
//! 2. The server hears of the gateway four times in its time of grace, with questions or without. So what it has lost it is told again in time.
//! 3. While the server is out of reach every question is answered with that at once, and it is tried again with growing pauses.
//! 4. At the end what is not used is given back, within a limit of time.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tollgate_budget::pool::{AMOUNT_MAX, Ask, Reach, Reply};
use tollgate_budget::{Engine, Leases};

use crate::link::Link;
use crate::{Config, Error};

/// Most questions of a batch: as many as the server answers in about a millisecond, since it does nothing else meanwhile.
const BATCH: usize = 128;
/// How often leases are looked at, how many at most, and how many at a time: calls wait meanwhile.
const TEND: Duration = Duration::from_secs(1);
const TEND_MOST: usize = 16_384;
const TEND_AT_ONCE: usize = 1_024;
/// How often the server hears of a gateway in its time of grace.
const BEATS: u32 = 4;
/// Pauses between attempts to connect, at most as long as those between beats: a server that is back has to be told in its time of grace.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often the questions are asked again where the server has begun a new epoch meanwhile.
const EPOCHS: usize = 3;
/// How many times the limit for one answer giving back may take at the end.
const CLOSING: u32 = 8;

/// A gateway as a member of the pool.
pub struct Member {
    config: Config,
    engine: Arc<Engine>,
    wake: Arc<Notify>,
    /// Why the server is out of reach; `None` when it is not.
    state: watch::Sender<Option<Arc<str>>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    questions: AtomicU64,
    batches: AtomicU64,
    failures: AtomicU64,
    epochs: AtomicU64,
    waited_us: AtomicU64,
}

/// What is to be known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Whether the pool answers, and grants.
    pub reach: Reach,
    /// Questions that were asked.
    pub questions: u64,
    /// Batches of questions, those without any included.
    pub batches: u64,
    /// Microseconds that answers to them took, together.
    pub waited_us: u64,
    /// Connections and batches that failed.
    pub failures: u64,
    /// Epochs of the server that were seen; the first one is none that was lost.
    pub epochs: u64,
    /// Leases.
    pub leases: Leases,
}

impl Member {
    /// Makes an engine share its budgets. To be called before its first rules are installed; [`Member::run`] does the rest.
    pub fn new(config: Config, engine: Arc<Engine>) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        let since = std::time::Instant::now();
        let clock = move || i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX);
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seq = u64::try_from(unix.as_micros()).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX);
        let waking = Arc::clone(&wake);
        engine.share(config.on_outage, seq, Arc::new(clock), Arc::new(move || waking.notify_one()));
        Arc::new(Self {
            config,
            engine,
            wake,
            state: watch::Sender::new(Some("it was not asked yet".into())),
            counts: Counts::default(),
        })
    }

    /// Asks the server until `stop`, then gives back what is not used. To be stopped when no call is under way any more.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        while !stop.is_cancelled() {
            match Link::connect(&self.config).await {
                Err(error) => self.fail(&error, &[]),
                Ok(link) => {
                    let before = self.counts.batches.load(Relaxed);
                    if self.serve(link, &stop).await.is_ok() {
                        return;
                    }
                    if self.counts.batches.load(Relaxed) > before {
                        pause = PAUSE_MIN;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX).min(self.config.grace / BEATS);
            self.tend();
        }
    }

    /// Waits until the server has answered for the first time, or the time is over; says whether it has.
    pub async fn reached(&self, within: Duration) -> bool {
        let mut state = self.state.subscribe();
        let reached = state.wait_for(Option::is_none);
        tokio::time::timeout(within, reached).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Why the server is out of reach; `None` when it is not.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.state.borrow().clone()
    }

    /// What is to be known of it.
    pub fn stats(&self) -> Stats {
        let count = |of: &AtomicU64| of.load(Relaxed);
        Stats {
            reach: self.engine.reach().unwrap_or(Reach::Away),
            questions: count(&self.counts.questions),
            batches: count(&self.counts.batches),
            waited_us: count(&self.counts.waited_us),
            failures: count(&self.counts.failures),
            epochs: count(&self.counts.epochs),
            leases: self.engine.leases().unwrap_or_default(),
        }
    }

    /// Asks over a connection until it fails or the member is stopped.
    async fn serve(&self, mut link: Link, stop: &CancellationToken) -> Result<(), Error> {
        let mut epoch = String::new();
        let mut beat = Instant::now();
        let mut tend = Instant::now();
        loop {
            if stop.is_cancelled() {
                self.close(&mut link, &mut epoch).await;
                return Ok(());
            }
            if Instant::now() >= tend {
                self.tend();
                tend = Instant::now() + TEND;
            }
            let asks = self.engine.asks(BATCH);
            if asks.is_empty() && Instant::now() < beat {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(beat.min(tend)) => {}
                }
                continue;
            }
            let reply = self.batch(&mut link, &mut epoch, &asks).await?;
            let mut next = self.config.grace / BEATS;
            if reply.grace_ms > 0 {
                next = next.min(Duration::from_millis(reply.grace_ms));
            }
            beat = Instant::now() + next;
        }
    }

    /// Asks a batch of questions, of the epoch that there is.
    async fn batch(&self, link: &mut Link, epoch: &mut String, asks: &[Ask]) -> Result<Reply, Error> {
        let started = Instant::now();
        let mut left = EPOCHS;
        let reply = loop {
            let reply = match link.ask(&self.config, epoch, asks).await {
                Ok(reply) => reply,
                Err(error) => {
                    self.fail(&error, asks);
                    return Err(error);
                }
            };
            if reply.epoch != *epoch {
                self.counts.epochs.fetch_add(1, Relaxed);
                tracing::info!(
                    address = self.config.address(),
                    epoch = reply.epoch,
                    grace_ms = reply.grace_ms,
                    "the pool of shared budgets is told what this gateway holds"
                );
                epoch.clone_from(&reply.epoch);
                self.engine.tell_all();
            }
            left -= 1;
            if reply.answers.is_some() || asks.is_empty() || left == 0 {
                break reply;
            }
        };
        let waited_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counts.waited_us.fetch_add(waited_us, Relaxed);
        self.counts.batches.fetch_add(1, Relaxed);
        self.counts.questions.fetch_add(asks.len() as u64, Relaxed);
        self.engine.replied(asks, &reply);
        if self.state.send_replace(None).is_some() {
            tracing::info!(
                address = self.config.address(),
                live = reply.live,
                "the pool of shared budgets is within reach"
            );
        }
        Ok(reply)
    }

    fn tend(&self) {
        (0..TEND_MOST / TEND_AT_ONCE).for_each(|_| self.engine.tend(TEND_AT_ONCE));
    }

    fn fail(&self, error: &Error, asks: &[Ask]) {
        self.counts.failures.fetch_add(1, Relaxed);
        let words: Arc<str> = error.to_string().into();
        let before = self.state.send_replace(Some(Arc::clone(&words)));
        // Only now: who is refused for it can be told why.
        self.engine.lost(asks);
        // Said once, not at every attempt.
        if before.is_none_or(|before| before != words) {
            tracing::error!(
                address = self.config.address(), on_outage = ?self.config.on_outage, error = %words,
                "the pool of shared budgets is out of reach"
            );
        }
    }

    /// Gives back what is not used.
    async fn close(&self, link: &mut Link, epoch: &mut String) {
        let giving = async {
            while self.engine.give_back() {
                let asks = self.engine.asks(BATCH);
                if asks.is_empty() || self.batch(link, epoch, &asks).await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(self.config.timeout * CLOSING, giving).await.is_err() {
            tracing::warn!(
                address = self.config.address(),
                "not everything that was granted was given back; it stays taken until this gateway starts again or the windows end"
            );
        }
    }
}
