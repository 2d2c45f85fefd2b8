//! The memory of all queries together, shared fairly among what can spill, with a part kept for what cannot.
//!
//! DataFusion's `FairSpillPool` gives all of it to sorts and joins that can spill. The merge that reads their sorted output cannot, and
//! then finds nothing left: an `ORDER BY` that spilled fails at its last step. Here what can spill gets three quarters at most.

use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// Of the memory, in quarters: what can spill gets so many.
const SPILLABLE_QUARTERS: usize = 3;

/// A pool of a fixed number of bytes.
#[derive(Debug)]
pub(crate) struct Pool {
    bytes: usize,
    /// Guards the sums below, which change together.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Consumers that can spill, whether they hold something or not.
    spillers: usize,
    spillable: usize,
    unspillable: usize,
}

impl Pool {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            held: Mutex::new(Held::default()),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        if consumer.can_spill() {
            &mut self.spillable
        } else {
            &mut self.unspillable
        }
    }
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "queries({} bytes)", self.bytes)
    }
}

impl MemoryPool for Pool {
    fn name(&self) -> &str {
        "queries"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.held().spillers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut held = self.held();
            held.spillers = held.spillers.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.held().of(reservation.consumer()) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut held = self.held();
        let sum = held.of(reservation.consumer());
        *sum = sum.saturating_sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        let mut held = self.held();
        let consumer = reservation.consumer();
        let (wanted, allowed) = if consumer.can_spill() {
            let spillable = (self.bytes / 4 * SPILLABLE_QUARTERS).min(self.bytes.saturating_sub(held.unspillable));
            (
                reservation.size().saturating_add(additional),
                spillable / held.spillers.max(1),
            )
        } else {
            (additional, self.bytes.saturating_sub(held.spillable + held.unspillable))
        };
        if wanted > allowed {
            let name = consumer.name();
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{name} wants {wanted} bytes and may have {allowed}"
            )));
        }
        *held.of(consumer) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let held = self.held();
        held.spillable + held.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_can_spill_leaves_a_quarter_to_what_cannot() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Pool::new(400));
        let consumer = |name: &str, spills| MemoryConsumer::new(name).with_can_spill(spills).register(&pool);
        let (one, two, merge) = (consumer("one", true), consumer("two", true), consumer("merge", false));
        one.try_grow(150).unwrap();
        two.try_grow(150).unwrap();
        assert!(one.try_grow(1).is_err(), "a fair share is half of three quarters");
        merge.try_grow(100).unwrap();
        assert!(merge.try_grow(1).is_err());
        assert_eq!(pool.reserved(), 400);
        drop(one);
        merge.try_grow(150).unwrap();
        assert!(two.try_grow(1).is_err(), "what cannot spill took its room");
        drop((two, merge));
        assert_eq!(pool.reserved(), 0);
        consumer("three", true).try_grow(300).unwrap();
    }
}
