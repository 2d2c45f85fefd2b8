//! The circuit breaker between an exporter and its far side.
//!
//! 1. Closed: everything passes. `failures_max` failures in a row open it.
//! 2. Open: nothing passes for a while.
//! 3. Half open: one attempt passes, the probe. If it succeeds the breaker closes, else it opens again; if it is dropped another may probe.
//! 4. Beside these, nothing passes before an instant that the far side asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::ambient::Ambient;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row after which nothing is sent for a while.
    pub failures_max: u32,
    /// That while.
    pub open: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration },
    HalfOpen { probing: bool },
}

#[derive(Debug)]
struct Inner {
    state: State,
    not_before: Duration,
}

pub(crate) struct Breaker {
    limits: BreakerLimits,
    ambient: Arc<dyn Ambient>,
    /// Guards the state; held for a few instructions.
    inner: Mutex<Inner>,
    changed: Notify,
}

/// Leave to make one attempt. Dropped without a word it leaves the breaker as it was.
#[must_use]
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    told: bool,
}

enum Next {
    Go,
    At(Duration),
    WhenChanged,
}

// === impl BreakerLimits ===

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            failures_max: 5,
            open: Duration::from_secs(30),
        }
    }
}

// === impl Breaker ===

impl Breaker {
    pub(crate) fn new(limits: BreakerLimits, ambient: Arc<dyn Ambient>) -> Self {
        let inner = Inner {
            state: State::Closed { failures: 0 },
            not_before: Duration::ZERO,
        };
        Self {
            limits,
            ambient,
            inner: Mutex::new(inner),
            changed: Notify::new(),
        }
    }

    /// Waits until an attempt may be made.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken until it returns.
    pub(crate) async fn admit(&self) -> Pass<'_> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listens from here on, so that no change is missed between looking and waiting.
            changed.as_mut().enable();
            let next = self.lock().next(self.ambient.elapsed());
            match next {
                Next::Go => {
                    return Pass {
                        breaker: self,
                        told: false,
                    };
                }
                Next::At(until) => tokio::select! {
                    () = self.ambient.sleep_until(until) => {}
                    () = changed => {}
                },
                Next::WhenChanged => changed.await,
            }
        }
    }

    /// Lets nothing pass before `until`.
    pub(crate) fn hold(&self, until: Duration) {
        let mut inner = self.lock();
        inner.not_before = inner.not_before.max(until);
    }

    /// Whether it lets nothing pass but a probe.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.lock().state, State::Closed { .. })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next(&mut self, now: Duration) -> Next {
        if now < self.not_before {
            return Next::At(self.not_before);
        }
        match self.state {
            State::Closed { .. } => Next::Go,
            State::Open { until } if now < until => Next::At(until),
            State::Open { .. } | State::HalfOpen { probing: false } => {
                self.state = State::HalfOpen { probing: true };
                Next::Go
            }
            State::HalfOpen { probing: true } => Next::WhenChanged,
        }
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// The far side answered, whatever it said of the rows.
    pub(crate) fn succeeded(mut self) {
        self.told = true;
        self.breaker.lock().state = State::Closed { failures: 0 };
        self.breaker.changed.notify_waiters();
    }

    /// The far side did not take anything.
    pub(crate) fn failed(mut self) {
        self.told = true;
        let limits = self.breaker.limits;
        let open = State::Open {
            until: self.breaker.ambient.elapsed() + limits.open,
        };
        let mut inner = self.breaker.lock();
        inner.state = match inner.state {
            State::Closed { failures } if failures + 1 < limits.failures_max => State::Closed { failures: failures + 1 },
            State::Closed { .. } | State::HalfOpen { .. } => open,
            // An attempt from before it opened, which changes nothing.
            State::Open { until } => State::Open { until },
        };
        drop(inner);
        self.breaker.changed.notify_waiters();
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.told {
            let mut inner = self.breaker.lock();
            if inner.state == (State::HalfOpen { probing: true }) {
                inner.state = State::HalfOpen { probing: false };
            }
            drop(inner);
            self.breaker.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::testing::Virtual;

    const LIMITS: BreakerLimits = BreakerLimits {
        failures_max: 3,
        open: Duration::from_secs(30),
    };

    fn closed() -> (Arc<Virtual>, Breaker) {
        let clock = Arc::new(Virtual::default());
        (Arc::clone(&clock), Breaker::new(LIMITS, clock))
    }

    async fn opened() -> (Arc<Virtual>, Breaker) {
        let (clock, breaker) = closed();
        for _ in 0..3 {
            breaker.admit().await.failed();
        }
        assert!(breaker.is_open());
        (clock, breaker)
    }

    #[tokio::test]
    async fn failures_in_a_row_open_it_and_a_success_starts_the_count_anew() {
        let (_, breaker) = closed();
        for succeeds in [false, false, true, false, false] {
            let pass = breaker.admit().await;
            if succeeds {
                pass.succeeded()
            } else {
                pass.failed()
            }
            assert!(!breaker.is_open());
        }
        breaker.admit().await.failed();
        assert!(breaker.is_open());
        assert!(breaker.admit().now_or_never().is_none());
    }

    #[tokio::test]
    async fn after_a_while_one_probe_passes_and_others_wait_for_what_becomes_of_it() {
        let (clock, breaker) = opened().await;
        let probe = clock.drive(breaker.admit()).await;
        assert_eq!(clock.elapsed(), LIMITS.open);
        assert!(breaker.admit().now_or_never().is_none());
        probe.failed();
        let probe = clock.drive(breaker.admit()).await;
        assert_eq!(clock.elapsed(), LIMITS.open * 2);
        let (second, ()) = tokio::join!(breaker.admit(), async { probe.succeeded() });
        second.succeeded();
        assert_eq!(clock.elapsed(), LIMITS.open * 2);
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn a_probe_that_is_dropped_makes_way_for_another() {
        let (clock, breaker) = opened().await;
        drop(clock.drive(breaker.admit()).await);
        breaker.admit().now_or_never().expect("the probe's place is free").succeeded();
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn an_instant_that_the_far_side_asked_for_holds_all_back() {
        let (clock, breaker) = closed();
        breaker.hold(Duration::from_secs(7));
        breaker.hold(Duration::from_secs(2));
        clock.drive(breaker.admit()).await.succeeded();
        assert_eq!(clock.elapsed(), Duration::from_secs(7));
    }
}
