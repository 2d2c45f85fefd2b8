//! The price book: every price list, ready to be asked.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use tollgate_record::{Adjustment, Call, Meter, Name, Payer, Precedence, Price, PriceList, Timestamp, Usage};

use super::pattern::Pattern;
use super::stored;

/// Every price of every list. Never changes; a reload makes a new one.
#[derive(Debug, Default)]
pub struct PriceBook {
    /// The operator's lists, then the shipped ones; each in the order in which they were given.
    lists: Vec<List>,
    /// Whether any list has terms; most books have none, and then no call pays for looking.
    negotiated: bool,
}

#[derive(Debug)]
struct List {
    source: PriceList,
    version: Name,
    /// Places in `source.prices`, by exact model name.
    exact: HashMap<Name, Vec<usize>>,
    /// Globs, most plain characters first.
    globs: Vec<Glob>,
    /// The patterns of `source.terms.adjustments`, in their order.
    adjusted: Vec<Pattern>,
}

#[derive(Debug)]
struct Glob {
    pattern: Pattern,
    /// Places of its prices in the list.
    places: Vec<usize>,
}

/// Whose price is asked for.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) provider: Option<&'a Name>,
    pub(super) template: Option<&'a Name>,
    pub(super) payer: Payer<'a>,
    pub(super) response_model: Option<&'a Name>,
    pub(super) request_model: Option<&'a Name>,
    pub(super) region: Option<&'a Name>,
    pub(super) service_tier: Option<&'a Name>,
    pub(super) input_tokens: u64,
    pub(super) at: Timestamp,
}

/// By which name of a call's model a list is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// That of the model that answered.
    Answered,
    /// The same without its date.
    AnsweredUndated,
    /// That of the model that was asked for.
    Requested,
    /// The same without its date.
    RequestedUndated,
}

/// A list that was asked for a model, and what it has of it.
pub(super) struct Try<'a> {
    pub(super) list: &'a PriceList,
    pub(super) version: &'a Name,
    pub(super) model: &'a str,
    pub(super) named: ModelName,
    pub(super) found: Option<Prices<'a>>,
}

/// The prices of one model in one list.
#[derive(Clone, Copy)]
pub(super) struct Prices<'a> {
    list: &'a List,
    places: &'a [usize],
}

/// A list that has terms for a call.
#[derive(Clone)]
pub(super) struct Offer<'a> {
    list: &'a List,
    /// What it has of the model, if it is not for everyone: then its prices are list prices.
    prices: Option<Prices<'a>>,
}

// === impl PriceBook ===

impl PriceBook {
    /// Makes a book of checked lists.
    pub fn new(lists: Vec<PriceList>) -> Self {
        let mut lists: Vec<List> = lists.into_iter().map(List::new).collect();
        lists.sort_by_key(|list| list.source.shipped);
        let negotiated = lists.iter().any(|list| !list.source.terms.is_empty());
        Self { lists, negotiated }
    }

    /// The lists with their versions, the operator's first.
    pub fn lists(&self) -> impl Iterator<Item = (&PriceList, &Name)> {
        self.lists.iter().map(|list| (&list.source, &list.version))
    }

    /// The list prices: those of the first list for everyone that names the call's model at its time.
    pub(super) fn list_prices<'a>(&'a self, query: &'a Query<'_>) -> Option<Prices<'a>> {
        self.tries(query).find_map(|tried| tried.found)
    }

    /// The lists that are asked for list prices, and by which names, in this order.
    pub(super) fn tries<'a>(&'a self, query: &'a Query<'_>) -> impl Iterator<Item = Try<'a>> {
        let asked = [
            (false, query.provider),
            (false, query.template),
            (true, query.provider),
            (true, query.template),
        ];
        let lists = asked.into_iter().enumerate().flat_map(move |(turn, (shipped, provider))| {
            // A provider that has its template's name is asked once.
            let again = turn % 2 == 1 && query.provider == query.template;
            self.lists.iter().filter(move |list| {
                !again
                    && list.source.shipped == shipped
                    && Some(&list.source.provider) == provider
                    && list.source.terms.precedence() == Precedence::Everyone
            })
        });
        lists.flat_map(move |list| query.models().map(move |(named, model)| list.ask(named, model, query.at)))
    }

    /// The lists that have terms for the call, first the one that wins.
    pub(super) fn offers<'a>(&'a self, query: &'a Query<'_>) -> Vec<Offer<'a>> {
        if !self.negotiated {
            return Vec::new();
        }
        let mut offers: Vec<_> = [query.provider, query.template]
            .into_iter()
            .enumerate()
            .filter(|(turn, _)| *turn == 0 || query.provider != query.template)
            .flat_map(|(turn, provider)| {
                let of_provider = self.lists.iter().filter(move |list| Some(&list.source.provider) == provider);
                of_provider.map(move |list| (turn, list))
            })
            .filter(|(_, list)| !list.source.terms.is_empty() && list.source.terms.hold_for(query.payer))
            .collect();
        offers.sort_by_key(|(turn, list)| (list.source.terms.precedence(), *turn));
        let offers = offers.into_iter().map(|(_, list)| Offer {
            list,
            prices: list.negotiated_prices(query),
        });
        offers.collect()
    }

    /// The first instant after the query's at which another price of the provider may hold.
    pub(super) fn next_change(&self, query: &Query<'_>) -> Option<Timestamp> {
        let periods = self.of_provider(query).flat_map(|list| {
            let prices = list.source.prices.iter();
            let adjustments = list.source.terms.adjustments.iter();
            prices
                .map(|price| (price.effective_from, price.effective_to))
                .chain(adjustments.map(|adjustment| (adjustment.effective_from, adjustment.effective_to)))
        });
        periods
            .flat_map(|(from, to)| [Some(from), to])
            .flatten()
            .filter(|change| *change > query.at)
            .min()
    }

    /// The dated names of the model that was asked for: those that lists name, and one that stands for all others if a glob fits it.
    pub(super) fn dated_names(&self, query: &Query<'_>) -> Vec<Name> {
        let Some(asked) = query.request_model else { return Vec::new() };
        let exact = self.of_provider(query).flat_map(|list| list.exact.keys());
        let is_dated = |name: &&Name| without_date(name.as_str()) == Some(asked.as_str());
        let mut names: Vec<Name> = exact.filter(is_dated).cloned().collect();
        names.sort();
        names.dedup();
        let any = Name::new(&format!("{asked}{ANY_DATE}")).ok();
        names.extend(any.filter(|name| {
            self.of_provider(query).any(|list| {
                let globs = list.globs.iter().map(|glob| &glob.pattern);
                globs.chain(&list.adjusted).any(|pattern| pattern.is_match(name.as_str()))
            })
        }));
        names
    }

    /// The lists for the call's provider and its template.
    fn of_provider(&self, query: &Query<'_>) -> impl Iterator<Item = &List> {
        let providers = [query.provider, query.template];
        self.lists
            .iter()
            .filter(move |list| providers.contains(&Some(&list.source.provider)))
    }
}

/// A date that no model has, and that stands for any.
const ANY_DATE: &str = "-00000000";

// === impl Query ===

impl<'a> Query<'a> {
    /// What a call asks of a book.
    pub(super) fn new(call: &'a Call, payer: Payer<'a>, response_model: Option<&'a Name>, usage: &'a Usage, at: Timestamp) -> Self {
        Self {
            provider: call.provider_name.as_ref(),
            template: call.template.as_ref(),
            payer,
            response_model,
            request_model: call.request_model.as_ref(),
            region: usage.region.as_ref().or(call.region.as_ref()),
            service_tier: usage.service_tier.as_ref(),
            input_tokens: usage.input.unwrap_or(0),
            at,
        }
    }

    /// The names by which a list is asked, in this order.
    pub(super) fn models(&self) -> impl Iterator<Item = (ModelName, &'a str)> + use<'a> {
        let (answered, requested) = (self.response_model.map(Name::as_str), self.request_model.map(Name::as_str));
        [
            (ModelName::Answered, answered),
            (ModelName::AnsweredUndated, answered.and_then(without_date)),
            (ModelName::Requested, requested),
            (ModelName::RequestedUndated, requested.and_then(without_date)),
        ]
        .into_iter()
        .filter_map(|(named, model)| model.map(|model| (named, model)))
    }
}

// === impl ModelName ===

impl ModelName {
    /// What it is called where prices are explained.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "the model that answered",
            Self::AnsweredUndated => "the model that answered, without its date",
            Self::Requested => "the model that was asked for",
            Self::RequestedUndated => "the model that was asked for, without its date",
        }
    }
}

// === impl Offer ===

impl<'a> Offer<'a> {
    /// The list.
    pub(super) fn list(&self) -> &'a PriceList {
        &self.list.source
    }

    /// Its version.
    pub(super) fn version(&self) -> &'a Name {
        &self.list.version
    }

    /// Its prices of the model.
    pub(super) fn prices(&self) -> Option<Prices<'a>> {
        self.prices
    }

    /// The name or glob by which it has prices of a model, unless they are list prices.
    pub(super) fn pattern(&self, model: &str, query: &Query<'_>) -> Option<&'a Name> {
        self.prices.and_then(|_| self.list.find(model, query.at)?.pattern())
    }

    /// Whether it takes something off the list prices of a model.
    pub(super) fn adjusts(&self, model: &str, query: &Query<'_>) -> bool {
        let mut adjustments = self.list.source.terms.adjustments.iter().zip(&self.list.adjusted);
        adjustments.any(|(adjustment, pattern)| {
            pattern.is_match(model) && holds(adjustment.effective_from, adjustment.effective_to, query.at)
        })
    }

    /// What it takes off the list price of a meter: the most specific of its adjustments, by the model and then by the meter.
    pub(super) fn adjustment(&self, meter: Meter, query: &Query<'_>) -> Option<&'a Adjustment> {
        let adjustments = self.list.source.terms.adjustments.iter().zip(&self.list.adjusted);
        adjustments
            .filter(|(adjustment, _)| adjustment.meter.is_none_or(|of| of == meter))
            .filter(|(adjustment, _)| holds(adjustment.effective_from, adjustment.effective_to, query.at))
            .filter(|(_, pattern)| query.models().any(|(_, model)| pattern.is_match(model)))
            .max_by_key(|(adjustment, pattern)| (pattern.exact, pattern.plain, adjustment.meter.is_some()))
            .map(|(adjustment, _)| adjustment)
    }
}

// === impl List ===

impl List {
    fn new(source: PriceList) -> Self {
        let mut exact: HashMap<Name, Vec<usize>> = HashMap::new();
        let mut globs: Vec<(Name, Vec<usize>)> = Vec::new();
        for (place, price) in source.prices.iter().enumerate() {
            if !price.model.as_str().contains(['*', '?']) {
                exact.entry(price.model.clone()).or_default().push(place);
            } else if let Some((_, places)) = globs.iter_mut().find(|(model, _)| *model == price.model) {
                places.push(place);
            } else {
                globs.push((price.model.clone(), vec![place]));
            }
        }
        let mut globs: Vec<Glob> = globs
            .into_iter()
            .map(|(model, places)| Glob {
                pattern: Pattern::new(model.as_str()),
                places,
            })
            .collect();
        globs.sort_by_key(|glob| std::cmp::Reverse(glob.pattern.plain));
        let adjustments = source.terms.adjustments.iter();
        let adjusted = adjustments
            .map(|adjustment| Pattern::new(adjustment.model.as_str()))
            .collect();
        let version = version(&source);
        Self {
            source,
            version,
            exact,
            globs,
            adjusted,
        }
    }

    fn ask<'a>(&'a self, named: ModelName, model: &'a str, at: Timestamp) -> Try<'a> {
        Try {
            list: &self.source,
            version: &self.version,
            model,
            named,
            found: self.find(model, at),
        }
    }

    /// Its prices of the call's model, unless they are list prices.
    fn negotiated_prices<'a>(&'a self, query: &Query<'_>) -> Option<Prices<'a>> {
        if self.source.terms.precedence() == Precedence::Everyone {
            return None;
        }
        query.models().find_map(|(_, model)| self.find(model, query.at))
    }

    fn find(&self, model: &str, at: Timestamp) -> Option<Prices<'_>> {
        let exact = self.exact.get(model);
        let globs = self
            .globs
            .iter()
            .filter(|glob| glob.pattern.is_match(model))
            .map(|glob| &glob.places);
        exact
            .into_iter()
            .chain(globs)
            .map(|places| Prices { list: self, places })
            .find(|prices| prices.at(at).next().is_some())
    }
}

/// The list's name and the first digits of a hash of its content: another content is another version.
fn version(list: &PriceList) -> Name {
    let digest: String = Sha256::digest(stored::content(list))
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name: String = list.name.as_str().chars().take(200).collect();
    Name::new(&format!("{name}@{digest}")).unwrap_or_else(|_| list.name.clone())
}

/// The name without `-2026-01-01` or `-20260101` at its end, if it has such an end.
pub(super) fn without_date(model: &str) -> Option<&str> {
    let is_date = |tail: &str, pattern: &str| {
        tail.len() == pattern.len()
            && tail
                .bytes()
                .zip(pattern.bytes())
                .all(|(byte, shape)| if shape == b'-' { byte == b'-' } else { byte.is_ascii_digit() })
    };
    ["-0000-00-00", "-00000000"].into_iter().find_map(|pattern| {
        let (head, tail) = model.split_at_checked(model.len().checked_sub(pattern.len())?)?;
        (!head.is_empty() && is_date(tail, pattern)).then_some(head)
    })
}

/// Whether a period that begins with `from` and ends before `to` has a moment.
fn holds(from: Timestamp, to: Option<Timestamp>, at: Timestamp) -> bool {
    from <= at && to.is_none_or(|to| at < to)
}

/// The meter whose price another one takes where it has none of its own.
pub(super) const fn stand_in(meter: Meter) -> Option<Meter> {
    match meter {
        Meter::CacheWrite5m | Meter::CacheWrite1h => Some(Meter::CacheWrite),
        Meter::ImageIn | Meter::VideoIn | Meter::ToolUseIn => Some(Meter::Input),
        Meter::CacheReadImage => Some(Meter::CacheRead),
        _ => None,
    }
}

// === impl Prices ===

impl<'a> Prices<'a> {
    pub(super) fn list(&self) -> &'a PriceList {
        &self.list.source
    }

    pub(super) fn version(&self) -> &'a Name {
        &self.list.version
    }

    /// The model's name, or the glob, that they stand under.
    pub(super) fn pattern(&self) -> Option<&'a Name> {
        let place = self.places.first()?;
        self.list.source.prices.get(*place).map(|price| &price.model)
    }

    /// The price of a meter for a call, by the rules of [`super`]; another meter's stands in where the model has none of this one.
    pub(super) fn price(&self, meter: Meter, query: &Query<'_>) -> Option<&'a Price> {
        let stand_in = stand_in(meter).filter(|_| !self.has(meter, query));
        self.own(meter, query).or_else(|| self.own(stand_in?, query))
    }

    /// The price of a meter for a call; none of another meter.
    pub(super) fn own(&self, meter: Meter, query: &Query<'_>) -> Option<&'a Price> {
        let tier = query.service_tier;
        let found = self.best(meter, tier, query);
        if found.is_none() && tier.is_some() && meter.unit() != "token" {
            return self.best(meter, None, query);
        }
        found
    }

    /// Whether the model has a price of the meter, in whichever tier and region.
    pub(super) fn has(&self, meter: Meter, query: &Query<'_>) -> bool {
        self.at(query.at).any(|price| price.meter == meter)
    }

    /// The highest context tier that a call of this size is above, of any meter.
    pub(super) fn context_tier(&self, query: &Query<'_>) -> Option<u64> {
        let tiers = self.at(query.at).filter_map(|price| price.context_above);
        tiers.filter(|above| query.input_tokens > *above).max()
    }

    fn best(&self, meter: Meter, tier: Option<&Name>, query: &Query<'_>) -> Option<&'a Price> {
        self.at(query.at)
            .filter(|price| price.meter == meter && price.service_tier.as_ref() == tier)
            .filter(|price| price.region.is_none() || price.region.as_ref() == query.region)
            .filter(|price| price.context_above.is_none_or(|above| query.input_tokens > above))
            .max_by_key(|price| (price.region.is_some(), price.context_above, price.effective_from))
    }

    /// Those that hold at an instant.
    pub(super) fn at(&self, at: Timestamp) -> impl Iterator<Item = &'a Price> + use<'a> {
        let prices = &self.list.source.prices;
        self.places
            .iter()
            .filter_map(|place| prices.get(*place))
            .filter(move |price| holds(price.effective_from, price.effective_to, at))
    }
}
