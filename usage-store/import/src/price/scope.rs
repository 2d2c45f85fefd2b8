//! For which calls a price is.

use std::fmt;

use tollgate_record::{Amount, Meter, Name, Price, Timestamp};

/// What two prices share that compete for a call; all that a price says but its amount, its time and where it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Model's name, or a glob.
    pub model: Name,
    /// Region; `None` is every region without a price of its own.
    pub region: Option<Name>,
    /// Service tier; `None` is the standard one.
    pub service_tier: Option<Name>,
    /// Input tokens above which it holds.
    pub context_above: Option<u64>,
    /// What is counted.
    pub meter: Meter,
}

// === impl Scope ===

impl Scope {
    /// The scope of a price.
    pub fn of(price: &Price) -> Self {
        Self {
            model: price.model.clone(),
            region: price.region.clone(),
            service_tier: price.service_tier.clone(),
            context_above: price.context_above,
            meter: price.meter,
        }
    }

    /// The same scope, of another meter.
    pub(super) fn with(&self, meter: Meter) -> Self {
        Self { meter, ..self.clone() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.model)?;
        if let Some(region) = &self.region {
            write!(formatter, ", region {region}")?;
        }
        if let Some(tier) = &self.service_tier {
            write!(formatter, ", tier {tier}")?;
        }
        if let Some(above) = self.context_above {
            write!(formatter, ", above {above}")?;
        }
        write!(formatter, ", {}", self.meter.as_str())
    }
}

/// Whether `left` costs at least `factor` times what `right` costs, unit for unit and exactly. Nothing is a multiple of zero.
pub(super) fn at_least(left: &Price, right: &Price, factor: i128) -> bool {
    !right.price.is_zero() && cross(left, right) >= cross(right, left).saturating_mul(factor)
}

/// Whether a unit of `left` costs more than one of `right`.
pub(super) fn dearer(left: &Price, right: &Price) -> bool {
    cross(left, right) > cross(right, left)
}

/// Whether both ask the same for a unit.
pub(super) fn same_unit_price(left: &Price, right: &Price) -> bool {
    cross(left, right) == cross(right, left)
}

/// `left`'s amount times the other's `per`, so that two of these compare as unit prices do. At most 28 and 20 digits: they need no
/// more than an `i128` has, except for amounts that no price has; those are all the same to a comparison.
fn cross(left: &Price, right: &Price) -> i128 {
    left.price.units().saturating_mul(i128::from(right.per))
}

/// What a million units cost, in the unit of an amount; an amount that no price has becomes the largest.
pub(super) fn units_of_a_million(price: &Price) -> i128 {
    price.price.units().saturating_mul(1_000_000) / i128::from(price.per.max(1))
}

/// Whether two prices hold at some moment together.
pub(super) fn meet(left: &Price, right: &Price) -> bool {
    let begins_before_end = |from: Timestamp, to: Option<Timestamp>| to.is_none_or(|to| from < to);
    begins_before_end(left.effective_from, right.effective_to) && begins_before_end(right.effective_from, left.effective_to)
}

/// A day, or an instant that is not the beginning of one, as a list writes it.
pub(super) fn moment(at: Timestamp) -> String {
    let instant = chrono::DateTime::from_timestamp_micros(at.unix_us()).unwrap_or_default();
    if at.unix_us() % Timestamp::DAY_US == 0 {
        instant.format("%Y-%m-%d").to_string()
    } else {
        instant.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()
    }
}

/// `2.5 per 1000000`.
pub(super) fn amount(price: &Price) -> String {
    let discounted = if price.discount == Amount::ZERO {
        String::new()
    } else {
        format!(" less {}", price.discount)
    };
    format!("{}{discounted} per {}", price.price, price.per)
}
