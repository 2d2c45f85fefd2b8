//! Price lists that say two things of the same calls: which one holds would depend on the order of the documents.
//!
//! Lists of another precedence do not contradict each other, and neither do a name and a glob that fits it.

use std::collections::HashMap;

use tollgate_record::{Meter, Name, PriceList, Timestamp};

use crate::load::{Declared, Resource};
use crate::price::Scope;

/// What lists must share to contradict each other.
type For<'a> = (&'a Name, Option<&'a Name>, Option<&'a Name>);

/// What two of their entries must share.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Price(Scope),
    Adjustment(Name, Option<Meter>),
}

/// An entry of a list.
struct Entry<'d> {
    declared: &'d Declared<'d>,
    path: String,
    from: Timestamp,
    to: Option<Timestamp>,
}

/// Reports entries that hold at the same time as one of an earlier document.
pub(crate) fn report(declared: &[Declared<'_>]) {
    let mut seen: HashMap<(For<'_>, Key), Vec<Entry<'_>>> = HashMap::new();
    for this in declared {
        let Some(Resource::PriceList(list)) = &this.resource else {
            continue;
        };
        let of = (&list.provider, list.terms.org.as_ref(), list.terms.team.as_ref());
        for (key, entry) in entries(this, list) {
            let earlier = seen.entry((of, key)).or_default();
            let other = earlier
                .iter()
                .find(|other| !std::ptr::eq(other.declared, this) && other.meets(&entry));
            if let Some(other) = other {
                let reason = format!(
                    "holds at the same time as {} of {}: both lists are for {}, so the order of the documents would decide; end one of them",
                    other.path,
                    other.declared.document.place,
                    audience(list)
                );
                this.document.wrong(&entry.path, reason);
            }
            earlier.push(entry);
        }
    }
}

fn entries<'d>(declared: &'d Declared<'d>, list: &'d PriceList) -> impl Iterator<Item = (Key, Entry<'d>)> {
    let prices = list.prices.iter().enumerate().map(move |(index, price)| {
        let entry = Entry {
            declared,
            path: format!("spec.prices[{index}]"),
            from: price.effective_from,
            to: price.effective_to,
        };
        (Key::Price(Scope::of(price)), entry)
    });
    let adjustments = list.terms.adjustments.iter().enumerate().map(move |(index, adjustment)| {
        let entry = Entry {
            declared,
            path: format!("spec.adjustments[{index}]"),
            from: adjustment.effective_from,
            to: adjustment.effective_to,
        };
        (Key::Adjustment(adjustment.model.clone(), adjustment.meter), entry)
    });
    prices.chain(adjustments)
}

fn audience(list: &PriceList) -> String {
    let part = |what: &str, name: &Option<Name>| name.as_ref().map(|name| format!("{what} {name}"));
    let parts: Vec<String> = [part("org", &list.terms.org), part("team", &list.terms.team)]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() {
        "everyone".to_owned()
    } else {
        parts.join(", ")
    }
}

// === impl Entry ===

impl Entry<'_> {
    fn meets(&self, other: &Self) -> bool {
        let before = |from: Timestamp, to: Option<Timestamp>| to.is_none_or(|to| from < to);
        before(self.from, other.to) && before(other.from, self.to)
    }
}
