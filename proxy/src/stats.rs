//! What the request path counts, for metrics.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::gateway::Shared;

/// Figures of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections to upstreams that could not be established.
    pub connect_failures: u64,
    /// Times that a call went on to another URL of its provider.
    pub went_on: u64,
    /// URLs that rest now.
    pub urls_resting: u64,
}

/// Asks a gateway for its figures, without holding it back from ending.
#[derive(Clone, Debug)]
pub struct Watcher(pub(crate) Weak<Shared>);

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connect_failures: AtomicU64,
    went_on: AtomicU64,
}

impl Watcher {
    /// The figures of this moment; `None` once the gateway has ended.
    pub fn stats(&self) -> Option<Stats> {
        let shared = self.0.upgrade()?;
        let resting = shared.snapshot.load().urls_resting(Instant::now());
        Some(Stats {
            connect_failures: shared.counters.connect_failures.load(Ordering::Relaxed),
            went_on: shared.counters.went_on.load(Ordering::Relaxed),
            urls_resting: u64::try_from(resting).unwrap_or(u64::MAX),
        })
    }
}

impl Counters {
    pub(crate) fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn went_on(&self) {
        self.went_on.fetch_add(1, Ordering::Relaxed);
    }
}
