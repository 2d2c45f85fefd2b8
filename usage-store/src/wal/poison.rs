//! Why the log takes nothing any more. Once set it stays: after a failed write or sync nobody knows what the disk holds.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tollgate_record::Unavailable;

use crate::wal::lock;

/// Why the log takes nothing any more, if so.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    poisoned: AtomicBool,
    reason: Mutex<Option<Arc<str>>>,
}

impl Poison {
    /// The reason, if it is set.
    pub(crate) fn reason(&self) -> Option<Arc<str>> {
        if !self.poisoned.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.reason).clone()
    }

    /// Refuses if it is set.
    pub(crate) fn check(&self) -> Result<(), Unavailable> {
        self.reason().map_or(Ok(()), |reason| Err(Unavailable { reason }))
    }

    /// The reason as an error of the file system.
    pub(crate) fn error(&self) -> Option<io::Error> {
        self.reason().map(|reason| io::Error::other(Unavailable { reason }))
    }

    /// Sets it; the first reason stays.
    pub(crate) fn set(&self, reason: &str) -> Unavailable {
        let mut slot = lock(&self.reason);
        if slot.is_none() {
            tracing::error!(
                reason,
                "the ledger was poisoned: calls are refused until the gateway is started anew"
            );
            *slot = Some(reason.into());
        }
        self.poisoned.store(true, Ordering::Release);
        Unavailable {
            reason: slot.clone().unwrap_or_else(|| reason.into()),
        }
    }
}
