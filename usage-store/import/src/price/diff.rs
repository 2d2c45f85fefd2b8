//! What one version of price lists changes in another.

use std::collections::BTreeMap;
use std::fmt;

use tollgate_record::{Adjustment, Amount, Meter, Name, Price, PriceList, Timestamp};

use super::scope::{Scope, amount, moment, same_unit_price};

/// A price that is new, gone or another; a pair is the same scope from the same moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Provider whose calls it prices.
    pub provider: Name,
    /// Organisation that it is for.
    pub org: Option<Name>,
    /// Team that it is for.
    pub team: Option<Name>,
    /// The price before; `None` if there was none.
    pub old: Option<Entry>,
    /// The price after; `None` if there is none.
    pub new: Option<Entry>,
}

/// A price, or a share of list prices, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The place of the list among those that were compared, and of the entry among its prices or its adjustments.
    pub place: (usize, usize),
    /// What it says.
    pub content: Content,
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A price.
    Price(Price),
    /// A share of list prices.
    Adjustment(Adjustment),
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
            let same = old.zip(new).is_some_and(|(old, new)| old.content.says_the_same(&new.content));
            let (provider, org, team, ..) = place;
            (!same).then(|| Change {
                provider: provider.clone(),
                org: org.clone(),
                team: team.clone(),
                old: old.cloned(),
                new: new.cloned(),
            })
        })
        .collect()
}

/// What two versions of an entry share.
type Place = (Name, Option<Name>, Option<Name>, What, Timestamp);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Price(Scope),
    Adjustment(Name, Option<Meter>),
}

/// Of several entries at one place, which [`super::check()`] reports, the last one stands.
fn by_place(lists: &[PriceList]) -> BTreeMap<Place, Entry> {
    let mut entries = BTreeMap::new();
    for (list_at, list) in lists.iter().enumerate() {
        let terms = &list.terms;
        let mut add = |what, from, at, content| {
            let place = (list.provider.clone(), terms.org.clone(), terms.team.clone(), what, from);
            let entry = Entry {
                place: (list_at, at),
                content,
            };
            entries.insert(place, entry);
        };
        for (at, price) in list.prices.iter().enumerate() {
            let content = Content::Price(price.clone());
            add(What::Price(Scope::of(price)), price.effective_from, at, content);
        }
        for (at, adjustment) in terms.adjustments.iter().enumerate() {
            let what = What::Adjustment(adjustment.model.clone(), adjustment.meter);
            add(what, adjustment.effective_from, at, Content::Adjustment(adjustment.clone()));
        }
    }
    entries
}

// === impl Content ===

impl Content {
    /// Whether both ask the same, and until the same time.
    fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Price(old), Self::Price(new)) => {
                same_unit_price(old, new) && old.discount == new.discount && old.effective_to == new.effective_to
            }
            (Self::Adjustment(old), Self::Adjustment(new)) => old.discount == new.discount && old.effective_to == new.effective_to,
            _ => false,
        }
    }

    /// For which calls it is.
    fn subject(&self) -> String {
        match self {
            Self::Price(price) => Scope::of(price).to_string(),
            Self::Adjustment(adjustment) => {
                let meter = adjustment.meter.map_or("every meter", Meter::as_str);
                format!("{}, {meter}", adjustment.model)
            }
        }
    }

    fn period(&self) -> String {
        let (text, from, to) = match self {
            Self::Price(price) => (amount(price), price.effective_from, price.effective_to),
            Self::Adjustment(adjustment) => (share(adjustment.discount), adjustment.effective_from, adjustment.effective_to),
        };
        let to = to.map(|to| format!(" to {}", moment(to))).unwrap_or_default();
        format!("{text} from {}{to}", moment(from))
    }
}

/// `list price less 0.15`.
fn share(discount: Amount) -> String {
    let text = discount.to_string();
    match text.strip_prefix('-') {
        Some(markup) => format!("list price plus {markup} of it"),
        None => format!("list price less {text} of it"),
    }
}

// === impl Change ===

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(either) = self.new.as_ref().or(self.old.as_ref()) else {
            return Ok(());
        };
        write!(formatter, "{}: ", self.provider)?;
        for (what, name) in [("org", &self.org), ("team", &self.team)] {
            if let Some(name) = name {
                write!(formatter, "{what} {name}: ")?;
            }
        }
        write!(formatter, "{}: ", either.content.subject())?;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(formatter, "{}, was {}", new.content.period(), old.content.period()),
            (None, Some(new)) => write!(formatter, "new, {}", new.content.period()),
            (Some(old), None) => write!(formatter, "gone, was {}", old.content.period()),
            (None, None) => Ok(()),
        }
    }
}
