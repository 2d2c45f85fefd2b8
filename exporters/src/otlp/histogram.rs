//! Base-2 exponential histograms, by the OpenTelemetry metrics data model ("ExponentialHistogram").
//!
//! 1. Bucket `i` at scale `s` holds values in `(base^i, base^(i+1)]`, `base = 2^(2^-s)`.
//! 2. There are at most [`BUCKETS_MAX`] buckets; where values spread wider, the scale is lowered, which loses resolution and never a count.
//! 3. Merging two histograms counts what recording all their values would have counted.

use std::f64::consts::LOG2_E;

/// The most buckets: the default of OpenTelemetry's SDKs.
pub(super) const BUCKETS_MAX: usize = 160;
/// The finest scale: the default of OpenTelemetry's SDKs.
const SCALE_MAX: i32 = 20;

/// Counts of values that are not negative.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) zero_count: u64,
    pub(super) scale: i32,
    /// The index of the first bucket.
    pub(super) offset: i32,
    pub(super) buckets: Vec<u64>,
}

// === impl Histogram ===

impl Default for Histogram {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: 0.0,
            zero_count: 0,
            scale: SCALE_MAX,
            offset: 0,
            buckets: Vec::new(),
        }
    }
}

impl Histogram {
    /// Counts a value; one that is negative or no number is none.
    pub(super) fn record(&mut self, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if value < f64::MIN_POSITIVE {
            self.zero_count += 1;
            return;
        }
        let index = index(value, self.scale);
        let shift = self.shift_for(index, index);
        self.lower(shift);
        self.add(index >> shift, 1);
    }

    /// Counts what another counted.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.zero_count += other.zero_count;
        if other.buckets.is_empty() {
            return;
        }
        self.lower((self.scale - other.scale).max(0));
        let between = other.scale - self.scale;
        let shift = self.shift_for(other.offset >> between, other.last() >> between);
        self.lower(shift);
        let between = other.scale - self.scale;
        for (index, count) in (other.offset..).zip(&other.buckets) {
            self.add(index >> between, *count);
        }
    }

    /// The index of the last bucket.
    fn last(&self) -> i32 {
        self.offset + i32::try_from(self.buckets.len()).unwrap_or(i32::MAX) - 1
    }

    /// By how much the scale must be lowered so that these indexes fit with those that are there.
    fn shift_for(&self, low: i32, high: i32) -> i32 {
        let (mut low, mut high) = if self.buckets.is_empty() {
            (low, high)
        } else {
            (low.min(self.offset), high.max(self.last()))
        };
        let mut shift = 0;
        while i64::from(high) - i64::from(low) >= i64::try_from(BUCKETS_MAX).unwrap_or(i64::MAX) {
            (low, high, shift) = (low >> 1, high >> 1, shift + 1);
        }
        shift
    }

    fn lower(&mut self, shift: i32) {
        if shift == 0 {
            return;
        }
        self.scale -= shift;
        let (offset, buckets) = (self.offset, std::mem::take(&mut self.buckets));
        for (index, count) in (offset..).zip(buckets) {
            self.add(index >> shift, count);
        }
    }

    /// Adds to a bucket, which fits.
    fn add(&mut self, index: i32, count: u64) {
        if self.buckets.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = usize::try_from(self.offset - index).unwrap_or_default();
            self.buckets.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let place = usize::try_from(index - self.offset).unwrap_or_default();
        if place >= self.buckets.len() {
            self.buckets.resize(place + 1, 0);
        }
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += count;
        }
    }
}

/// The bucket of a positive value at a scale.
fn index(value: f64, scale: i32) -> i32 {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default() - 1023;
    // A power of two is the upper bound of its bucket, and no logarithm may put it beside.
    let power = bits & ((1 << 52) - 1) == 0;
    if scale <= 0 {
        return (exponent - i32::from(power)) >> -scale;
    }
    if power {
        return (exponent << scale) - 1;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "2^20 buckets for each of 2^11 exponents fit an i32"
    )]
    let index = (value.ln() * LOG2_E * f64::from(1 << scale)).ceil() as i32 - 1;
    // A logarithm next to a power of two may be rounded across it.
    index.clamp(exponent << scale, ((exponent + 1) << scale) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    #[test]
    fn buckets_are_those_of_the_specification() {
        // Scale 0, base 2: (0.5, 1] is -1, (1, 2] is 0, (2, 4] is 1, (4, 8] is 2. From the data model's text.
        let scale_0 = [
            (1.0, -1),
            (1.5, 0),
            (2.0, 0),
            (3.0, 1),
            (4.0, 1),
            (4.1, 2),
            (8.0, 2),
            (0.5, -2),
            (0.75, -1),
        ];
        assert!(scale_0.iter().all(|(value, place)| index(*value, 0) == *place));
        // Scale -1, base 4: (1, 4] is 0, (4, 16] is 1, (0.25, 1] is -1.
        let scale_1 = [(4.0, 0), (1.1, 0), (16.0, 1), (1.0, -1), (0.3, -1)];
        assert!(scale_1.iter().all(|(value, place)| index(*value, -1) == *place));
        // Scale 1, base 2^0.5 = 1.414...: (1, 1.414] is 0, (1.414, 2] is 1, (2, 2.828] is 2.
        let scale_2 = [(1.4, 0), (1.42, 1), (2.0, 1), (2.8, 2), (2.83, 3), (1.0, -1)];
        assert!(scale_2.iter().all(|(value, place)| index(*value, 1) == *place));
    }

    #[test]
    fn every_value_lies_within_the_bounds_of_its_bucket() {
        for scale in -4..=8 {
            let base = 2_f64.powf(2_f64.powi(-scale));
            for step in 1..2000 {
                let value = f64::from(step) * 0.037;
                let index = index(value, scale);
                let slack = 1.0 + 1e-9;
                assert!(
                    value > base.powi(index) / slack && value <= base.powi(index + 1) * slack,
                    "{value} at {scale}: {index}"
                );
            }
        }
    }

    #[test]
    fn wide_values_lower_the_scale_and_lose_no_count() {
        let values: Vec<_> = (0..60).map(|power| 2_f64.powi(power)).chain([0.0, 0.001, 7.5]).collect();
        let histogram = of(&values);
        assert_eq!(histogram.count, 63);
        assert_eq!(histogram.zero_count, 1);
        assert_eq!(histogram.zero_count + histogram.buckets.iter().sum::<u64>(), 63);
        assert!(histogram.buckets.len() <= BUCKETS_MAX);
        // From 0.001 (2^-9.97) to 2^59 are 69 octaves: two buckets an octave fit 160, four do not.
        assert_eq!(histogram.scale, 1);
    }

    #[test]
    fn merging_counts_as_recording_all_does() {
        let (one, other): (Vec<f64>, Vec<f64>) = (
            (1..50).map(|n| f64::from(n) * 3.0).collect(),
            (1..90).map(|n| 1.0 / f64::from(n)).collect(),
        );
        let mut merged = of(&one);
        merged.merge(&of(&other));
        let mut all = one;
        all.extend(other);
        let whole = of(&all);
        assert_eq!(
            (merged.scale, merged.offset, &merged.buckets),
            (whole.scale, whole.offset, &whole.buckets)
        );
        assert_eq!((merged.count, merged.zero_count), (whole.count, whole.zero_count));
        let mut from_nothing = Histogram::default();
        from_nothing.merge(&whole);
        assert_eq!(from_nothing, whole);
    }

    #[test]
    fn what_is_no_value_is_not_counted() {
        assert_eq!(of(&[f64::NAN, -1.0, f64::INFINITY]), Histogram::default());
    }
}
