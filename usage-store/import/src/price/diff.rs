//! What one version of price lists changes in another.

use std::collections::BTreeMap;
use std::fmt;

use tollgate_record::{Name, Price, PriceList, Timestamp};

use super::scope::{Scope, amount, moment, same_unit_price};

/// A price that is new, gone or another; a pair is the same scope from the same moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Provider whose calls it prices.
    pub provider: Name,
    /// The price before; `None` if there was none.
    pub old: Option<Price>,
    /// The price after; `None` if there is none.
    pub new: Option<Price>,
}

/// Compares two versions of price lists, provider by provider.
///
/// Prices are compared, not texts: `2.5` for a million is `0.0025` for a thousand, and neither the source of a price nor its place, nor
/// which of a provider's lists has it, is a change. A price that begins on another day is one that is gone and one that is new.
pub fn diff(old: &[PriceList], new: &[PriceList]) -> Vec<Change> {
    let (before, after) = (by_place(old), by_place(new));
    let mut places: Vec<_> = before.keys().chain(after.keys()).collect();
    places.sort();
    places.dedup();
    places
        .into_iter()
        .filter_map(|place| {
            let (old, new) = (before.get(place), after.get(place));
            let same = old.zip(new).is_some_and(|(old, new)| {
                same_unit_price(old, new) && old.discount == new.discount && old.effective_to == new.effective_to
            });
            (!same).then(|| Change {
                provider: place.0.clone(),
                old: old.copied().cloned(),
                new: new.copied().cloned(),
            })
        })
        .collect()
}

type Place = (Name, Scope, Timestamp);

/// Of several prices at one place, which [`super::check`] reports, the last one stands.
fn by_place(lists: &[PriceList]) -> BTreeMap<Place, &Price> {
    let prices = lists
        .iter()
        .flat_map(|list| list.prices.iter().map(move |price| (list.provider.clone(), price)));
    prices
        .map(|(provider, price)| ((provider, Scope::of(price), price.effective_from), price))
        .collect()
}

// === impl Change ===

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = |price: &Price| {
            let to = price.effective_to.map(|to| format!(" to {}", moment(to))).unwrap_or_default();
            format!("{} from {}{to}", amount(price), moment(price.effective_from))
        };
        let Some(either) = self.new.as_ref().or(self.old.as_ref()) else {
            return Ok(());
        };
        write!(formatter, "{}: {}: ", self.provider, Scope::of(either))?;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(formatter, "{}, was {}", period(new), period(old)),
            (None, Some(new)) => write!(formatter, "new, {}", period(new)),
            (Some(old), None) => write!(formatter, "gone, was {}", period(old)),
            (None, None) => Ok(()),
        }
    }
}
