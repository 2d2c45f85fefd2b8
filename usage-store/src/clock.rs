//! The time and randomness, as far as the ledger needs them.

use std::fmt::Debug;

use tollgate_record::Timestamp;
use uuid::Uuid;

/// Tells the time and makes numbers that nobody else makes.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time. It may jump, backwards too: only retention depends on it.
    fn now(&self) -> Timestamp;

    /// A number that nobody else makes: it names a file.
    fn id(&self) -> Uuid;
}

/// The system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        Timestamp::from(std::time::SystemTime::now())
    }

    fn id(&self) -> Uuid {
        Uuid::now_v7()
    }
}
