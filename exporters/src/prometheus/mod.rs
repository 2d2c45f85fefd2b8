//! Prometheus: what the rows of table `usage` say of the request path, added up as they are written.
//!
//! # Invariants
//! 1. A row counts once, when queries begin to see it, whatever becomes of the table. Sums begin at zero with the process.
//! 2. Values of labels are bounded: a model has a name of its own once a call of it was answered, while there are fewer than [`SERIES_MAX`] series;
//!    all else is model [`OTHER`]. What callers make up is never a label.
//! 3. Money is added up as whole units; it becomes a float when it is shown.

mod family;
mod series;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tollgate_record::{Name, Outcome, Record};

pub use family::{FAMILIES, Family, Kind};
use series::Series;

/// Most combinations of proxy, provider and model that are told apart.
pub const SERIES_MAX: usize = 300;
/// What a model is called that has no series of its own.
pub const OTHER: &str = "other";

/// What a call went through; a call that was refused before its provider was known has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    proxy: Option<Name>,
    provider: Option<Name>,
    /// `None` is [`OTHER`].
    model: Option<Name>,
}

/// The calls of a gateway by proxy, provider and model.
#[derive(Default)]
pub struct Calls {
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    series: HashMap<Key, Series>,
    /// Calls that a policy refused, by its name: `budget:growth`.
    refusals: BTreeMap<Box<str>, u64>,
}

// === impl Calls ===

impl Calls {
    /// Counts a row.
    pub fn count(&self, row: &Record) {
        let mut sums = self.lock();
        if row.outcome.is_refused() {
            for decision in &row.decisions {
                if matches!(&*decision.action, "refuse" | "refused") {
                    sums.refuse(&decision.policy);
                }
            }
        }
        sums.of(row).count(row);
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("series", &self.lock().series.len())
            .finish_non_exhaustive()
    }
}

/// As the collector of a registry, which puts its prefix before the names.
#[derive(Clone, Debug)]
pub struct Shown(pub Arc<Calls>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sums = self.0.lock();
        let mut series: Vec<(&Key, &Series)> = sums.series.iter().collect();
        series.sort_unstable_by_key(|(key, _)| *key);
        for family in FAMILIES {
            family.show(&mut encoder, &series, &sums.refusals)?;
        }
        Ok(())
    }
}

// === impl Sums ===

impl Sums {
    fn of(&mut self, row: &Record) -> &mut Series {
        let mut key = Key {
            proxy: row.call.proxy.clone(),
            provider: row.call.provider_name.clone(),
            model: row.call.request_model.clone(),
        };
        let is_known = self.series.contains_key(&key);
        let earns_name = row.outcome == Outcome::Ok && self.series.len() < SERIES_MAX;
        if !is_known && !earns_name {
            key.model = None;
        }
        self.series.entry(key).or_default()
    }

    fn refuse(&mut self, policy: &str) {
        let has_room = self.refusals.len() < SERIES_MAX;
        match self.refusals.get_mut(policy) {
            Some(count) => *count += 1,
            None => *self.refusals.entry(if has_room { policy } else { OTHER }.into()).or_default() += 1,
        }
    }
}
