//! Clocks and chance, as arguments: tests bring time of their own, which passes when nothing else happens.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use tollgate_record::{BoxFuture, Timestamp};

/// What a runner takes from the world around it.
pub trait Ambient: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Time since a fixed point, which never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits until [`Ambient::elapsed`] has reached `at`.
    fn sleep_until(&self, at: Duration) -> BoxFuture<'static, ()>;

    /// Waits.
    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.elapsed().saturating_add(wait))
    }

    /// A number that nobody can tell beforehand. It spreads retries; nothing secret is made of it.
    fn random(&self) -> u64;
}

/// The system's clocks and chance, and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// The fixed point of [`System`].
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

// === impl System ===

impl Ambient for System {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn elapsed(&self) -> Duration {
        ORIGIN.elapsed()
    }

    fn sleep_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until((*ORIGIN + at).into()))
    }

    fn random(&self) -> u64 {
        // Every `RandomState` has keys of its own.
        RandomState::new().build_hasher().finish()
    }
}
