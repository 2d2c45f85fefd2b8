//! The price book: every price list, ready to be asked.

use std::collections::HashMap;

use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest, Sha256};
use tollgate_record::{Meter, Name, Price, PriceList, Timestamp};

/// Every price of every list. Never changes; a reload makes a new one.
#[derive(Debug, Default)]
pub struct PriceBook {
    /// The operator's lists, then the shipped ones; each in the order in which they were given.
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    source: PriceList,
    version: Name,
    /// Places in `source.prices`, by exact model name.
    exact: HashMap<Name, Vec<usize>>,
    /// Globs, most plain characters first.
    globs: Vec<Glob>,
}

#[derive(Debug)]
struct Glob {
    /// What stands before the first `*` or `?`: most models are told apart by it, and no pattern is run for them.
    stem: Box<str>,
    matcher: GlobMatcher,
    /// Places of its prices in the list.
    places: Vec<usize>,
}

/// Whose price is asked for.
pub(super) struct Query<'a> {
    pub(super) provider: Option<&'a Name>,
    pub(super) template: Option<&'a Name>,
    pub(super) response_model: Option<&'a Name>,
    pub(super) request_model: Option<&'a Name>,
    pub(super) region: Option<&'a Name>,
    pub(super) service_tier: Option<&'a Name>,
    pub(super) input_tokens: u64,
    pub(super) at: Timestamp,
}

/// The prices of one model in one list.
pub(super) struct Prices<'a> {
    list: &'a List,
    places: &'a [usize],
}

// === impl PriceBook ===

impl PriceBook {
    /// Makes a book of checked lists.
    pub fn new(lists: Vec<PriceList>) -> Self {
        let mut lists: Vec<List> = lists.into_iter().map(List::new).collect();
        lists.sort_by_key(|list| list.source.shipped);
        Self { lists }
    }

    /// The lists with their versions, the operator's first.
    pub fn lists(&self) -> impl Iterator<Item = (&PriceList, &Name)> {
        self.lists.iter().map(|list| (&list.source, &list.version))
    }

    /// The prices of the first list that names the call's model at its time.
    pub(super) fn find(&self, query: &Query<'_>) -> Option<Prices<'_>> {
        let names = [query.response_model, query.request_model]
            .into_iter()
            .flatten()
            .map(Name::as_str);
        let candidates: Vec<&str> = names.flat_map(|name| [Some(name), without_date(name)]).flatten().collect();
        let of = |shipped: bool, provider: Option<&Name>| {
            let lists = self
                .lists
                .iter()
                .filter(move |list| list.source.shipped == shipped && Some(&list.source.provider) == provider);
            lists
                .flat_map(|list| candidates.iter().filter_map(|model| list.find(model, query.at)))
                .next()
        };
        of(false, query.provider)
            .or_else(|| of(false, query.template))
            .or_else(|| of(true, query.provider))
            .or_else(|| of(true, query.template))
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
        globs.sort_by_key(|(model, _)| {
            std::cmp::Reverse(model.as_str().bytes().filter(|byte| !matches!(byte, b'*' | b'?')).count())
        });
        let globs = globs
            .into_iter()
            .filter_map(|(model, places)| Glob::new(model.as_str(), places))
            .collect();
        let version = version(&source);
        Self {
            source,
            version,
            exact,
            globs,
        }
    }

    fn find(&self, model: &str, at: Timestamp) -> Option<Prices<'_>> {
        let exact = self.exact.get(model);
        let globs = self.globs.iter().filter(|glob| glob.is_match(model)).map(|glob| &glob.places);
        exact
            .into_iter()
            .chain(globs)
            .map(|places| Prices { list: self, places })
            .find(|prices| prices.at(at).next().is_some())
    }
}

// === impl Glob ===

impl Glob {
    fn new(model: &str, places: Vec<usize>) -> Option<Self> {
        let stem = model.split(['*', '?']).next().unwrap_or_default().into();
        Some(Self {
            stem,
            matcher: matcher(model)?,
            places,
        })
    }

    fn is_match(&self, model: &str) -> bool {
        model.starts_with(&*self.stem) && self.matcher.is_match(model)
    }
}

/// A glob in which `/` is a character like any other, as it is in model names.
fn matcher(model: &str) -> Option<GlobMatcher> {
    // Brackets and braces stand for themselves: only `*` and `?` are promised.
    let mut escaped = String::with_capacity(model.len());
    for character in model.chars() {
        if matches!(character, '[' | ']' | '{' | '}' | '\\' | '!') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    GlobBuilder::new(&escaped)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .ok()
        .map(|glob| glob.compile_matcher())
}

/// The list's name and the first digits of a hash of its content: another content is another version.
fn version(list: &PriceList) -> Name {
    let content = postcard::to_stdvec(list).expect("a price list has a known length");
    let digest: String = Sha256::digest(content)
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name: String = list.name.as_str().chars().take(200).collect();
    Name::new(&format!("{name}@{digest}")).unwrap_or_else(|_| list.name.clone())
}

/// The name without `-2026-01-01` or `-20260101` at its end, if it has such an end.
fn without_date(model: &str) -> Option<&str> {
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

// === impl Prices ===

impl<'a> Prices<'a> {
    pub(super) fn currency(&self) -> &'a Name {
        &self.list.source.currency
    }

    pub(super) fn version(&self) -> &'a Name {
        &self.list.version
    }

    /// The price of a meter for a call, by the rules of [`super`].
    pub(super) fn price(&self, meter: Meter, query: &Query<'_>) -> Option<&'a Price> {
        let tier = query.service_tier;
        let stand_in = match meter {
            Meter::CacheWrite5m | Meter::CacheWrite1h => Some(Meter::CacheWrite),
            Meter::ImageIn | Meter::VideoIn | Meter::ToolUseIn => Some(Meter::Input),
            Meter::CacheReadImage => Some(Meter::CacheRead),
            _ => None,
        };
        let has_own = || self.at(query.at).any(|price| price.meter == meter);
        let found = self.best(meter, tier, query).or_else(|| {
            let stand_in = stand_in.filter(|_| !has_own())?;
            self.best(stand_in, tier, query)
        });
        if found.is_none() && tier.is_some() && meter.unit() != "token" {
            return self.best(meter, None, query);
        }
        found
    }

    fn best(&self, meter: Meter, tier: Option<&Name>, query: &Query<'_>) -> Option<&'a Price> {
        self.at(query.at)
            .filter(|price| price.meter == meter && price.service_tier.as_ref() == tier)
            .filter(|price| price.region.is_none() || price.region.as_ref() == query.region)
            .filter(|price| price.context_above.is_none_or(|above| query.input_tokens > above))
            .max_by_key(|price| (price.region.is_some(), price.context_above, price.effective_from))
    }

    fn at(&self, at: Timestamp) -> impl Iterator<Item = &'a Price> {
        let prices = &self.list.source.prices;
        self.places
            .iter()
            .filter_map(|place| prices.get(*place))
            .filter(move |price| price.effective_from <= at && price.effective_to.is_none_or(|to| at < to))
    }
}
