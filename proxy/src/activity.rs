//! What happens on one client connection, and whether it has taken too long. Kept as instants that a watchdog looks at now and
//! then, so that no call pays for a timer of its own.
//!
//! 1. A request's head must arrive within [`Limits::header_read`] of its first byte; the first head within that of the connection.
//! 2. A connection without a call is closed after [`Limits::keep_alive_idle`].
//! 3. A client that takes none of the bytes it is offered for [`Limits::client_stall`] is cut off.
//!
//! Each is noticed at most one [`period`] late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// State of one client connection. Orderings are relaxed: each value stands for itself, and a watchdog that reads an old one looks again.
#[derive(Debug)]
pub(crate) struct Activity {
    origin: Instant,
    calls: AtomicU32,
    multiplexed: AtomicBool,
    /// Microseconds after `origin`, plus one; zero is "not so".
    head_since: AtomicU64,
    idle_since: AtomicU64,
    stalled_since: AtomicU64,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// Close it politely: nothing goes on.
    Retire,
    /// Drop it: its peer is too slow.
    Cut(&'static str),
}

/// One call in flight: counted on its connection and in the gateway until dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    open: Arc<AtomicUsize>,
}

/// How often the watchdog looks.
pub(crate) fn period(limits: &Limits) -> Duration {
    limits.header_read.min(limits.keep_alive_idle).min(limits.client_stall)
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            calls: AtomicU32::new(0),
            multiplexed: AtomicBool::new(false),
            head_since: AtomicU64::new(1),
            idle_since: AtomicU64::new(1),
            stalled_since: AtomicU64::new(0),
        }
    }

    /// Notes that the first bytes were HTTP/2's: from here on bytes without a call are no head, but pings and windows.
    pub(crate) fn is_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    /// Notes that bytes came in.
    pub(crate) fn bytes_read(&self) {
        let awaits_head = self.calls.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0;
        if awaits_head && !self.multiplexed.load(Ordering::Relaxed) {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Notes whether the peer takes bytes.
    pub(crate) fn wrote(&self, stalled: bool) {
        if !stalled {
            if self.stalled_since.load(Ordering::Relaxed) != 0 {
                self.stalled_since.store(0, Ordering::Relaxed);
            }
        } else if self.stalled_since.load(Ordering::Relaxed) == 0 {
            self.stalled_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Notes that a head is complete and its call begins.
    pub(crate) fn begin(self: &Arc<Self>, open: &Arc<AtomicUsize>) -> InFlight {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        open.fetch_add(1, Ordering::Relaxed);
        InFlight {
            activity: Arc::clone(self),
            open: Arc::clone(open),
        }
    }

    /// What is to be done now.
    pub(crate) fn verdict(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let exceeds = |since: u64, limit: Duration| since != 0 && Duration::from_micros(now.saturating_sub(since)) >= limit;
        if exceeds(self.stalled_since.load(Ordering::Relaxed), limits.client_stall) {
            return Verdict::Cut("client stopped reading");
        }
        if self.calls.load(Ordering::Relaxed) > 0 {
            return Verdict::Keep;
        }
        let multiplexed = self.multiplexed.load(Ordering::Relaxed);
        if !multiplexed && exceeds(self.head_since.load(Ordering::Relaxed), limits.header_read) {
            return Verdict::Cut("request head did not arrive in time");
        }
        if exceeds(self.idle_since.load(Ordering::Relaxed), limits.keep_alive_idle) {
            return Verdict::Retire;
        }
        Verdict::Keep
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.idle_since.store(self.activity.now(), Ordering::Relaxed);
        self.activity.calls.fetch_sub(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);

    fn limits(header_read: Duration, keep_alive_idle: Duration, client_stall: Duration) -> Limits {
        Limits {
            header_read,
            keep_alive_idle,
            client_stall,
            ..Limits::default()
        }
    }

    #[test]
    fn a_connection_that_sends_no_head_is_cut() {
        let activity = Activity::new();
        assert!(matches!(
            activity.verdict(&limits(Duration::ZERO, NEVER, NEVER)),
            Verdict::Cut(_)
        ));
        assert_eq!(activity.verdict(&limits(NEVER, NEVER, NEVER)), Verdict::Keep);
    }

    #[test]
    fn an_idle_connection_is_retired_but_not_one_with_a_call() {
        let activity = Arc::new(Activity::new());
        let open = Arc::new(AtomicUsize::new(0));
        let call = activity.begin(&open);
        let impatient = limits(Duration::ZERO, Duration::ZERO, NEVER);
        assert_eq!(activity.verdict(&impatient), Verdict::Keep);
        assert_eq!(open.load(Ordering::Relaxed), 1);
        drop(call);
        assert_eq!(activity.verdict(&impatient), Verdict::Retire);
        assert_eq!(open.load(Ordering::Relaxed), 0);
        activity.bytes_read();
        assert!(matches!(activity.verdict(&impatient), Verdict::Cut(_)));
    }

    #[test]
    fn http2_frames_between_calls_are_no_head() {
        let activity = Arc::new(Activity::new());
        activity.is_multiplexed();
        activity.bytes_read();
        assert_eq!(activity.verdict(&limits(Duration::ZERO, NEVER, NEVER)), Verdict::Keep);
    }

    #[test]
    fn a_client_that_stops_reading_is_cut_even_in_a_call() {
        let activity = Arc::new(Activity::new());
        let open = Arc::new(AtomicUsize::new(0));
        let _call = activity.begin(&open);
        let impatient = limits(NEVER, NEVER, Duration::ZERO);
        assert_eq!(activity.verdict(&impatient), Verdict::Keep);
        activity.wrote(true);
        assert!(matches!(activity.verdict(&impatient), Verdict::Cut(_)));
        activity.wrote(false);
        assert_eq!(activity.verdict(&impatient), Verdict::Keep);
    }
}
