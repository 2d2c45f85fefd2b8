//! What an exporter says of itself: a row of table `exports`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tollgate_record::{Name, Timestamp};

use crate::Cursor;

/// What an exporter does. The words are part of table `exports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It delivers, or waits for rows.
    Running,
    /// The far side did not take the last batch; it is tried again.
    Retrying,
    /// Nothing passes until the configuration or the far side is changed, or dead letters are cleared; it is tried again now and then.
    Stuck,
    /// It was told to pause.
    Paused,
    /// It cannot go on by itself; the last error says what to do.
    Failed,
    /// It does not run.
    Stopped,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The exporter.
    pub name: Name,
    /// What it does.
    pub state: State,
    /// Whether the circuit breaker keeps it from sending.
    pub breaker_open: bool,
    /// Behind the last row that was delivered, passed over, or declared dead.
    pub cursor: Cursor,
    /// Rows behind the cursor, those that the filter leaves out included; `None` if it is not known.
    pub lag_rows: Option<u64>,
    /// Microseconds since the oldest of them started; `None` if there is none, or it is not known.
    pub lag_us: Option<u64>,
    /// Rows that the far side accepted, each time anew, since the exporter is there.
    pub delivered: u64,
    /// Attempts that were made again, since the exporter is there.
    pub retried: u64,
    /// Rows that the far side will never take, since the exporter is there.
    pub dead: u64,
    /// Rows that replays delivered, since the process began.
    pub replayed: u64,
    /// The last thing that went wrong, which may be over.
    pub last_error: Option<String>,
    /// When it did.
    pub last_error_time: Option<Timestamp>,
    /// When the far side last accepted rows, since the process began.
    pub last_delivery_time: Option<Timestamp>,
}

/// The snapshot as its writers share it.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<Status>);

// === impl State ===

impl State {
    /// The word as it stands in table `exports`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stuck => "stuck",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(name: Name) -> Self {
        Self(Mutex::new(Status {
            name,
            state: State::Stopped,
            breaker_open: false,
            cursor: Cursor::default(),
            lag_rows: None,
            lag_us: None,
            delivered: 0,
            retried: 0,
            dead: 0,
            replayed: 0,
            last_error: None,
            last_error_time: None,
            last_delivery_time: None,
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what went wrong, and what the exporter does about it.
    pub(crate) fn went_wrong(&self, state: State, error: String, now: Timestamp) {
        let mut status = self.lock();
        tracing::warn!(exporter = %status.name, state = state.as_str(), error, "export did not go on");
        status.state = state;
        status.last_error = Some(error);
        status.last_error_time = Some(now);
    }
}
