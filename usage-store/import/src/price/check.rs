//! Mistakes that are easily made in price lists, and cost money when they are.
//!
//! 1. A scope has one price at a time: two are an overlap, or the same price twice; none between two is a gap.
//! 2. A price is not [`JUMP_FACTOR`] times what it was, nor what its sibling is: a mistake of units is a factor of 1,000 or a million.
//! 3. Output is not cheaper than input, nor a cached token dearer than one that is not.
//! 4. A million tokens cost more than a tenth of a cent and less than ten thousand units of the currency.
//!
//! A finding is a question, not a verdict: a vendor may give output away, or a list may leave a time out on purpose.

use std::collections::BTreeMap;
use std::fmt;

use tollgate_record::{Meter, Name, Price, PriceList, Timestamp};

use super::scope::{Scope, amount, at_least, dearer, meet, moment, same_unit_price, units_of_a_million};

/// From which factor on two prices of one scope, or of input and its siblings, are suspicious. The largest that a vendor is known to
/// have, between input and cached input, is 120.
pub const JUMP_FACTOR: i128 = 200;
/// Smallest price of a million tokens that is not suspicious, 0.001, in the unit of an amount.
const MILLION_MIN: i128 = 1_000_000_000;
/// Largest, 10,000.
const MILLION_MAX: i128 = 10_000_000_000_000_000;

/// A suspicion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The list whose price it is.
    pub list: Name,
    /// The place of the list among those that were looked at, and of the price in it.
    pub place: (usize, usize),
    /// The price's scope.
    pub scope: Scope,
    /// What is wrong with it.
    pub kind: Kind,
}

/// What can be wrong with a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another price of the scope holds at the same time, from `from` on.
    Overlap {
        /// When the second begins.
        from: Timestamp,
    },
    /// The same price stands there twice for the same time, from `from` on.
    Twice {
        /// When the second begins.
        from: Timestamp,
    },
    /// No price holds in a period between two.
    Gap {
        /// When the earlier one ends.
        from: Timestamp,
        /// When the later one begins.
        to: Timestamp,
    },
    /// The price is at least [`JUMP_FACTOR`] times another one, or that one is as many times this.
    Jump {
        /// This price.
        price: Price,
        /// The scope's earlier price, or the one of the sibling meter.
        other: Price,
    },
    /// A unit of output costs less than one of input.
    OutputBelowInput {
        /// The price of output.
        price: Price,
        /// The price of input.
        input: Price,
    },
    /// A token from the cache costs more than one that is not.
    CacheReadAboveInput {
        /// The price of a cached token.
        price: Price,
        /// The price of one that is not cached.
        input: Price,
    },
    /// A million tokens cost so little that the price is likely one of a single token.
    LooksPerToken {
        /// The price.
        price: Price,
    },
    /// A million tokens cost so much that `per` is likely too small.
    LooksPerMillion {
        /// The price.
        price: Price,
    },
}

/// Lists that do not say something else than each other on purpose: shipped or not, of a provider, for an org and a team.
type Group<'a> = (bool, &'a Name, Option<&'a Name>, Option<&'a Name>);

/// Prices of one scope, by start.
type Timelines<'a> = BTreeMap<(Group<'a>, Scope), Vec<Entry<'a>>>;

/// A price, and where it stands.
#[derive(Clone, Copy)]
struct Entry<'a> {
    list: &'a Name,
    place: (usize, usize),
    price: &'a Price,
}

/// Looks for mistakes in lists, each by itself and those of one provider together.
///
/// Lists of the operator's own, shipped ones and those for an org or a team are looked at apart, since the one is there to say something else than the other.
pub fn check(lists: &[PriceList]) -> Vec<Finding> {
    let mut timelines = Timelines::new();
    for (list_at, list) in lists.iter().enumerate() {
        let group = (
            list.shipped,
            &list.provider,
            list.terms.org.as_ref(),
            list.terms.team.as_ref(),
        );
        for (price_at, price) in list.prices.iter().enumerate() {
            let timeline = timelines.entry((group, Scope::of(price))).or_default();
            timeline.push(Entry {
                list: &list.name,
                place: (list_at, price_at),
                price,
            });
        }
    }
    for timeline in timelines.values_mut() {
        timeline.sort_by_key(|entry| entry.price.effective_from);
    }
    let mut findings = Vec::new();
    for ((group, scope), timeline) in &timelines {
        let sibling = sibling(scope.meter).and_then(|meter| timelines.get(&(*group, scope.with(meter))));
        times(scope, timeline, &mut findings);
        for entry in timeline {
            let price = entry.price;
            let mut add = |kind| findings.push(entry.finding(scope, kind));
            alone(price).map(&mut add);
            let others = sibling.into_iter().flatten().map(|other| other.price);
            beside(price, others.filter(|other| meet(price, other)))
                .into_iter()
                .for_each(&mut add);
        }
    }
    findings
}

/// The meter beside which a price is looked at.
fn sibling(meter: Meter) -> Option<Meter> {
    match meter {
        Meter::Output | Meter::CacheRead | Meter::CacheWrite | Meter::CacheWrite5m | Meter::CacheWrite1h => Some(Meter::Input),
        Meter::AudioIn | Meter::ImageIn | Meter::VideoIn | Meter::ToolUseIn => Some(Meter::Input),
        Meter::Reasoning | Meter::AudioOut | Meter::ImageOut => Some(Meter::Output),
        Meter::CacheReadAudio => Some(Meter::AudioIn),
        Meter::CacheReadImage => Some(Meter::ImageIn),
        _ => None,
    }
}

/// Looks at the prices of a scope, one after the other.
fn times(scope: &Scope, timeline: &[Entry<'_>], findings: &mut Vec<Finding>) {
    let mut rest = timeline.iter();
    let Some(mut earlier) = rest.next().map(|entry| entry.price) else {
        return;
    };
    for entry in rest {
        let price = entry.price;
        let mut add = |kind| findings.push(entry.finding(scope, kind));
        let from = price.effective_from;
        match earlier.effective_to {
            Some(ended) if ended < from => add(Kind::Gap { from: ended, to: from }),
            Some(ended) if ended == from => {}
            _ if same_unit_price(earlier, price) && earlier.discount == price.discount => add(Kind::Twice { from }),
            _ => add(Kind::Overlap { from }),
        }
        if jumps(price, earlier) {
            add(Kind::Jump {
                price: price.clone(),
                other: earlier.clone(),
            });
        }
        // What lasts longest is what later ones follow.
        if earlier
            .effective_to
            .is_some_and(|ended| price.effective_to.is_none_or(|to| to >= ended))
        {
            earlier = price;
        }
    }
}

/// Looks at a price by itself.
fn alone(price: &Price) -> Option<Kind> {
    if price.meter.unit() != "token" || price.price.is_zero() {
        return None;
    }
    let million = units_of_a_million(price);
    if million < MILLION_MIN {
        return Some(Kind::LooksPerToken { price: price.clone() });
    }
    (million > MILLION_MAX).then(|| Kind::LooksPerMillion { price: price.clone() })
}

/// Looks at a price beside its sibling's that hold at the same time. Of each kind of mistake the first is enough.
fn beside<'a>(price: &'a Price, others: impl Iterator<Item = &'a Price> + Clone) -> Vec<Kind> {
    let jump = others.clone().find(|other| jumps(price, other)).map(|other| Kind::Jump {
        price: price.clone(),
        other: other.clone(),
    });
    let wrong_way =
        match price.meter {
            Meter::Output => others
                .clone()
                .find(|other| dearer(other, price))
                .map(|input| Kind::OutputBelowInput {
                    price: price.clone(),
                    input: input.clone(),
                }),
            Meter::CacheRead | Meter::CacheReadAudio | Meter::CacheReadImage => others
                .clone()
                .find(|other| dearer(price, other))
                .map(|input| Kind::CacheReadAboveInput {
                    price: price.clone(),
                    input: input.clone(),
                }),
            _ => None,
        };
    jump.into_iter().chain(wrong_way).collect()
}

fn jumps(price: &Price, other: &Price) -> bool {
    at_least(price, other, JUMP_FACTOR) || at_least(other, price, JUMP_FACTOR)
}

// === impl Entry ===

impl Entry<'_> {
    fn finding(&self, scope: &Scope, kind: Kind) -> Finding {
        Finding {
            list: self.list.clone(),
            place: self.place,
            scope: scope.clone(),
            kind,
        }
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.list, self.scope, self.kind)
    }
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { from } => write!(formatter, "two prices hold from {} on", moment(*from)),
            Self::Twice { from } => write!(formatter, "the same price stands there twice from {} on", moment(*from)),
            Self::Gap { from, to } => write!(formatter, "no price from {} to {}", moment(*from), moment(*to)),
            Self::Jump { price, other } if price.meter == other.meter => write!(
                formatter,
                "{} from {} on, after {}",
                amount(price),
                moment(price.effective_from),
                amount(other)
            ),
            Self::Jump { price, other } => write!(
                formatter,
                "{}, while {} is {}",
                amount(price),
                other.meter.as_str(),
                amount(other)
            ),
            Self::OutputBelowInput { price, input } => write!(formatter, "{}, less than input at {}", amount(price), amount(input)),
            Self::CacheReadAboveInput { price, input } => {
                write!(
                    formatter,
                    "{}, more than {} at {}",
                    amount(price),
                    input.meter.as_str(),
                    amount(input)
                )
            }
            Self::LooksPerToken { price } => write!(formatter, "{} looks like the price of one token", amount(price)),
            Self::LooksPerMillion { price } => write!(formatter, "{} looks like the price of a million", amount(price)),
        }
    }
}
