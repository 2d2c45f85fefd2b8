//! The dearest that a call can come to, before it is made.
//!
//! # What holds
//! 1. For every usage within the bounds, `rate` comes to no more than [`worst`], whichever service tier the provider serves, however many tokens of the
//!    input are read from or written to a cache, and whichever context tier they reach.
//! 2. Of regions, the call's own counts; a call without one may be in any.
//! 3. The model that was asked for answers, under its own name or under one of its dated names. Another model, to which a provider
//!    routes or falls back, is not covered; nor is a region that the provider tells in place of the call's own.
//! 4. What was negotiated counts as [`super::rate`] would apply it, mark-ups included. A meter that no list prices costs nothing there, and nothing here:
//!    whether that is enough to be told is for [`Missing`] to say.
//! 5. Amounts of one currency only: that of the model as it was asked for.
//!
//! # How
//! 6. Every token of the input is billed by one meter, so that the dearest of their prices for all of it is the most that it can cost; so of the output, and of calls of tools. Sound,
//!    images and video are only looked at where the request may have them (`input_open`).
//! 7. Prices of one unit are rounded up to twelve places, so that no rounding of a bill makes it larger.
//! 8. An input of which the context window is known is never longer than that for each answer: providers refuse what is. Where the input is open, it is the window, for each
//!    time that the model may read it.
//!
//! [`Dearest`] may be kept for calls of the same provider, template, model, region and payer, with the same book, until [`Dearest::until`].

use std::collections::BTreeSet;
use std::fmt;

use tollgate_record::admission::Bounds;
use tollgate_record::limits::Limits;
use tollgate_record::{Amount, Call, Meter, Name, Payer, Timestamp, Usage};

use super::PriceBook;
use super::book::Query;
use super::deal::{Deal, Deals};

/// Meters of an input that is nothing but text.
const TEXT_IN: [Meter; 6] = [
    Meter::Input,
    Meter::CacheRead,
    Meter::CacheWrite,
    Meter::CacheWrite5m,
    Meter::CacheWrite1h,
    Meter::ToolUseIn,
];
/// Meters of what else an input may have.
const MEDIA_IN: [Meter; 5] = [
    Meter::AudioIn,
    Meter::ImageIn,
    Meter::VideoIn,
    Meter::CacheReadAudio,
    Meter::CacheReadImage,
];
/// Meters of an output, besides reasoning.
const OUT: [Meter; 3] = [Meter::Output, Meter::AudioOut, Meter::ImageOut];
/// Meters of tools that the provider runs.
const TOOLS: [Meter; 5] = [
    Meter::WebSearch,
    Meter::SearchQuery,
    Meter::MapsGrounding,
    Meter::FileSearch,
    Meter::CodeInterpreter,
];

/// The dearest that a call can come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worst {
    /// What it can cost.
    pub cost: Amount,
    /// ISO 4217 code of it.
    pub currency: Name,
    /// The tokens that it can use.
    pub tokens: Tokens,
}

/// The most tokens that a call can use, whatever they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Input tokens.
    pub input: u64,
    /// Output tokens of all answers.
    pub output: u64,
}

/// What has no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Missing {
    /// The model that was asked for.
    pub model: Option<Name>,
    /// The provider.
    pub provider: Option<Name>,
    /// What is not priced; none if nothing of the model is.
    pub meter: Option<Meter>,
}

/// What a unit of everything costs at the most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dearest {
    currency: Name,
    model: Option<Name>,
    provider: Option<Name>,
    /// The first instant at which another price may hold.
    pub until: Option<Timestamp>,
    text_in: Unit,
    any_in: Unit,
    out: Unit,
    tool: Unit,
    image: Unit,
    character: Unit,
    second: Unit,
    page: Unit,
}

/// The dearest price of one unit, in parts of an amount; none if no list has one.
type Unit = Option<i128>;

/// The dearest that a call can come to.
///
/// A call that uses nothing ([`Bounds::is_nothing`]) costs nothing, whatever is priced: do not ask.
///
/// # Errors
/// [`Missing`] if something that the call may use has no price.
pub fn worst(
    book: &PriceBook,
    limits: &Limits,
    call: &Call,
    payer: Payer<'_>,
    bounds: &Bounds,
    at: Timestamp,
) -> Result<Worst, Missing> {
    Dearest::of(book, call, payer, at)?.cost(bounds, limits)
}

/// The most tokens that a call can use.
pub fn tokens(bounds: &Bounds, limits: &Limits) -> Tokens {
    let passes = bounds.passes.max(1);
    let window = limits.input_tokens;
    let input = match (bounds.input_open, bounds.answers) {
        // Many texts may be embedded at once, each with a window of its own.
        (true, 0) => bounds.input_tokens.max(window),
        (true, _) => window.saturating_mul(passes),
        (false, answers) if answers > 0 && limits.input_known => {
            bounds.input_tokens.min(window.saturating_mul(answers)).saturating_mul(passes)
        }
        (false, _) => bounds.input_tokens.saturating_mul(passes),
    };
    let of_one = bounds.output_tokens.unwrap_or(limits.output_tokens);
    Tokens {
        input,
        output: of_one.saturating_mul(bounds.answers),
    }
}

// === impl Dearest ===

impl Dearest {
    /// The dearest prices for a call.
    ///
    /// # Errors
    /// [`Missing`] if no list prices the model.
    pub fn of(book: &PriceBook, call: &Call, payer: Payer<'_>, at: Timestamp) -> Result<Self, Missing> {
        let usage = Usage::default();
        let asked = Query::new(call, payer, None, &usage, at);
        let missing = || Missing {
            model: call.request_model.clone(),
            provider: call.provider_name.clone(),
            meter: None,
        };
        let currency = Deals::new(book, &asked).currency().cloned().ok_or_else(missing)?;
        let mut dearest = Self {
            currency,
            model: call.request_model.clone(),
            provider: call.provider_name.clone(),
            until: book.next_change(&asked),
            text_in: None,
            any_in: None,
            out: None,
            tool: None,
            image: None,
            character: None,
            second: None,
            page: None,
        };
        dearest.look(book, &asked);
        for dated in book.dated_names(&asked) {
            let query = Query {
                response_model: Some(&dated),
                ..asked
            };
            dearest.look(book, &query);
        }
        Ok(dearest)
    }

    /// Looks at every tier, region and context in which a call for these names can be.
    fn look(&mut self, book: &PriceBook, query: &Query<'_>) {
        let deals = Deals::new(book, query);
        if deals.currency() != Some(&self.currency) {
            return;
        }
        let mut tiers: BTreeSet<Option<&Name>> = BTreeSet::from([None]);
        let mut regions = BTreeSet::from([query.region]);
        let mut inputs = BTreeSet::from([0]);
        for price in deals.prices() {
            tiers.insert(price.service_tier.as_ref());
            if query.region.is_none() {
                regions.insert(price.region.as_ref());
            }
            inputs.extend(price.context_above.map(|above| above.saturating_add(1)));
        }
        for service_tier in tiers {
            for region in &regions {
                for input_tokens in &inputs {
                    let query = Query {
                        service_tier,
                        region: *region,
                        input_tokens: *input_tokens,
                        ..*query
                    };
                    self.take(&deals.again(&query));
                }
            }
        }
    }

    /// Takes the prices that hold for one tier, region and context.
    fn take(&mut self, deals: &Deals<'_>) {
        let most = |meters: &[Meter]| meters.iter().filter_map(|meter| unit(&deals.of(*meter)?)).max();
        let text_in = most(&TEXT_IN);
        self.text_in = self.text_in.max(text_in);
        self.any_in = self.any_in.max(text_in).max(most(&MEDIA_IN));
        self.out = self.out.max(most(&OUT)).max(deals.of_reasoning().as_ref().and_then(unit));
        self.tool = self.tool.max(most(&TOOLS));
        self.image = self.image.max(most(&[Meter::Image]));
        self.character = self.character.max(most(&[Meter::Character]));
        self.second = self.second.max(most(&[Meter::Second]));
        self.page = self.page.max(most(&[Meter::Page]));
    }

    /// ISO 4217 code of what it costs.
    pub fn currency(&self) -> &Name {
        &self.currency
    }

    /// The dearest that a call with these bounds can come to, of a model with these limits.
    ///
    /// # Errors
    /// [`Missing`] if something that the call may use has no price. A call that uses nothing but tokens needs prices for input and output; one that also
    /// uses images, characters, seconds or pages is billed by the one or the other, and needs a price for any of it.
    pub fn cost(&self, bounds: &Bounds, limits: &Limits) -> Result<Worst, Missing> {
        let tokens = tokens(bounds, limits);
        let input = if bounds.input_open { self.any_in } else { self.text_in };
        let others = [
            (self.image, bounds.images, Meter::Image),
            (self.character, bounds.characters, Meter::Character),
            (self.second, bounds.seconds, Meter::Second),
            (self.page, bounds.pages, Meter::Page),
        ];
        let main = [(input, tokens.input, Meter::Input), (self.out, tokens.output, Meter::Output)];
        let tool = (self.tool, bounds.tool_calls, Meter::WebSearch);
        let mut used_others = others.iter().filter(|(_, count, _)| *count > 0).peekable();
        let is_missing = |(unit, count, _): &&(Unit, u64, Meter)| *count > 0 && unit.is_none();
        let missing = if let Some((_, _, meter)) = used_others.peek() {
            let meter = *meter;
            let any = used_others.chain(&main).any(|(unit, count, _)| *count > 0 && unit.is_some());
            (!any).then_some(meter)
        } else if bounds.tool_calls > 0 && bounds.answers == 0 {
            // What ranks documents is billed by the search, and not by its tokens.
            None
        } else {
            main.iter().find(is_missing).map(|(_, _, meter)| *meter)
        };
        let missing = missing.or_else(|| Some(&tool).filter(is_missing).map(|(_, _, meter)| *meter));
        if let Some(meter) = missing {
            return Err(Missing {
                model: self.model.clone(),
                provider: self.provider.clone(),
                meter: Some(meter),
            });
        }
        let lines = main.into_iter().chain(others).chain([tool]);
        let units = lines.fold(0_i128, |sum, (unit, count, _)| {
            sum.saturating_add(unit.unwrap_or(0).saturating_mul(i128::from(count)))
        });
        Ok(Worst {
            cost: Amount::from_units(units).unwrap_or(Amount::MAX),
            currency: self.currency.clone(),
            tokens,
        })
    }
}

/// What one unit costs, rounded up.
fn unit(deal: &Deal<'_>) -> Option<i128> {
    let (price, share) = (deal.price(), deal.share().ok()?);
    let exact = price.price.units().checked_mul(share.units());
    let parts = i128::from(price.per).checked_mul(Amount::ONE.units());
    match (exact, parts) {
        (Some(exact), Some(parts)) if parts > 0 => Some(exact / parts + i128::from(exact % parts > 0)),
        // More digits than there are: no bill can be made with such a price.
        _ => Some(Amount::MAX.units()),
    }
}

// === impl Missing ===

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = self.provider.as_ref().map_or("the provider", |name| name.as_str());
        match (&self.model, self.meter) {
            (None, _) => write!(f, "the request names no model, and so no price of {provider} is known"),
            (Some(model), None) => write!(f, "no price list for {provider} names model {model}"),
            (Some(model), Some(meter)) => write!(f, "model {model} of {provider} has no price for meter {}", meter.as_str()),
        }
    }
}
