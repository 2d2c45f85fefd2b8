//! Chance that can be had again: the same seed gives the same throws.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough to spread moments and calls.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in a variable of the environment, else one of the clock.
    pub(crate) fn seed_from(variable: &str) -> u64 {
        let chosen = std::env::var(variable).ok().map(|text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{variable}={text} is no whole number"))
        });
        chosen.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_secs().wrapping_mul(1_000_003) ^ u64::from(now.subsec_nanos())
        })
    }

    /// Dice for a part of the work, which throw the same whatever the other parts do.
    pub(crate) fn of(&self, part: u64) -> Self {
        let mut own = Self(self.0 ^ part.wrapping_mul(0xA076_1D64_78BD_642F));
        own.next();
        own
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of several.
    pub(crate) fn one_of<T: Copy>(&mut self, several: &[T]) -> T {
        several[self.between(0, several.len() as u64 - 1) as usize]
    }
}
