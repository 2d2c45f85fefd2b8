//! Rating: usage and prices in, charges out. A pure function of its arguments, so that history can be rated again.
//!
//! # Which price
//! 1. Lists are asked in this order: the operator's for the provider, the operator's for its template, the shipped ones in the same
//!    order. The first that names the model at the time of the call's start prices all of it.
//! 2. A list is asked for the model that answered, then for its name without a date suffix, then for the model that was asked for, then for that one
//!    without a date suffix. An exact name beats a glob; of globs, the one with more plain characters wins.
//! 3. Of that model's prices for a meter, those of the call's region beat those of every region, and the highest context tier below
//!    the call's input tokens beats the others; it reprices the whole call.
//! 4. Token meters need a price of the call's service tier. Other meters fall back to the standard tier.
//! 5. A meter for which the model has no price at all, in no tier, takes that of another where the two are one price by rule:
//!    - `cache_write_5m` and `cache_write_1h` take `cache_write`;
//!    - `reasoning` takes `output`: the output rate everywhere but at Perplexity's deep research, which lists its own (genai-prices 0.2.3, litellm 1.106.2);
//!    - `image_in` and `video_in` take `input`, `cache_read_image` takes `cache_read`: OpenAI converts images of a prompt to tokens at the model's rate, and
//!      Gemini's pages price "text / image / video" in one line; models that price them apart (gpt-image, gpt-realtime) list the meter;
//!    - `tool_use_in` takes `input`: results of URL context, file search and code execution are prompt tokens (litellm `vertex_ai/gemini`).
//! 6. `audio_in`, `audio_out`, `cache_read_audio` and `image_out` take no other's price: where providers price them, it is several times the text's.
//! 7. Searches are billed by the query (Gemini 3) or by the grounded answer (Gemini 2, OpenAI, Anthropic): `search_query` where the call tells
//!    queries and the model has a price for them, else `web_search`, where the call tells searches; never both.
//! 8. `second` counts in decimals, to the microsecond. Input that the provider does not bill (`Usage::unbilled_in`) is on no line.
//!
//! What was used and has no price is a charge without an amount, and the row is `unpriced`.

mod book;
#[cfg(test)]
mod tests;

use tollgate_record::{Amount, AmountError, Call, Charge, Cost, CostStatus, Meter, Name, Price, Timestamp, Usage, UsageSource};

pub use book::PriceBook;
use book::{Prices, Query};

/// Prices a call.
///
/// `at` is the call's start; `call` and `response_model` say whose price is asked for.
///
/// # Errors
/// [`AmountError::Overflow`] if an amount leaves `Decimal(28, 12)`: a quantity or a price that cannot be meant.
pub fn rate(
    book: &PriceBook,
    call: &Call,
    response_model: Option<&Name>,
    usage: &Usage,
    at: Timestamp,
) -> Result<Cost, AmountError> {
    let quantities = quantities(usage);
    if quantities.is_empty() && usage.unknown.is_empty() {
        return Ok(Cost::free());
    }
    let query = Query {
        provider: call.provider_name.as_ref(),
        template: call.template.as_ref(),
        response_model,
        request_model: call.request_model.as_ref(),
        region: usage.region.as_ref().or(call.region.as_ref()),
        service_tier: usage.service_tier.as_ref(),
        input_tokens: usage.input.unwrap_or(0),
        at,
    };
    let prices = book.find(&query);
    let mut bill = Bill::new(usage.source);
    let priced = |meter| prices.as_ref().and_then(|prices| prices.price(meter, &query));
    for (meter, quantity) in quantities {
        match meter {
            // Without a price of its own, reasoning is output.
            Meter::Output => {
                let reasoning = Quantity::whole(usage.reasoning.unwrap_or(0).min(quantity.count));
                match priced(Meter::Reasoning) {
                    Some(price) if reasoning.count > 0 => {
                        let rest = Quantity::whole(quantity.count - reasoning.count);
                        bill.charge(Meter::Output, rest, priced(Meter::Output))?;
                        bill.priced(Meter::Reasoning, reasoning, price)?;
                    }
                    _ => bill.charge(Meter::Output, quantity, priced(Meter::Output))?,
                }
            }
            // The same searches, told twice.
            Meter::WebSearch if usage.search_query.unwrap_or(0) > 0 && priced(Meter::SearchQuery).is_some() => {}
            Meter::SearchQuery if usage.web_search.unwrap_or(0) > 0 && priced(Meter::SearchQuery).is_none() => {}
            _ => bill.charge(meter, quantity, priced(meter))?,
        }
    }
    for unknown in &usage.unknown {
        bill.unknown(&unknown.field, unknown.quantity)?;
    }
    Ok(bill.finish(prices.as_ref()))
}

/// How much of a meter's unit: `count` of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quantity {
    count: u64,
    /// Parts of one unit.
    parts: u64,
}

/// Splits the totals into what each meter counts. Explicit zeros are no charge.
fn quantities(usage: &Usage) -> Vec<(Meter, Quantity)> {
    let of = |count: Option<u64>| count.unwrap_or(0);
    let rest = |whole: Option<u64>, parts: &[u64]| parts.iter().fold(of(whole), |rest, part| rest.saturating_sub(*part));
    let (read, created) = (of(usage.cache_read), of(usage.cache_creation));
    let (read_audio, read_image) = (of(usage.cache_read_audio), of(usage.cache_read_image));
    let (short, long) = (of(usage.cache_creation_5m), of(usage.cache_creation_1h));
    let (audio_in, image_in, video_in) = (of(usage.audio_in), of(usage.image_in), of(usage.video_in));
    let (tool_use_in, unbilled_in) = (of(usage.tool_use_in), of(usage.unbilled_in));
    let (audio_out, image_out) = (of(usage.audio_out), of(usage.image_out));
    let input_parts = [read, created, audio_in, image_in, video_in, tool_use_in, unbilled_in];
    let whole = [
        // Parts that exceed their whole would be a provider's mistake; saturating keeps the parts, which are what is billed.
        (Meter::Input, rest(usage.input, &input_parts)),
        (Meter::CacheRead, rest(usage.cache_read, &[read_audio, read_image])),
        (Meter::CacheReadAudio, read_audio),
        (Meter::CacheReadImage, read_image),
        (Meter::CacheWrite5m, short),
        (Meter::CacheWrite1h, long),
        (Meter::CacheWrite, rest(usage.cache_creation, &[short, long])),
        (Meter::AudioIn, audio_in),
        (Meter::ImageIn, image_in),
        (Meter::VideoIn, video_in),
        (Meter::ToolUseIn, tool_use_in),
        (Meter::Output, rest(usage.output, &[audio_out, image_out])),
        (Meter::AudioOut, audio_out),
        (Meter::ImageOut, image_out),
        (Meter::Image, of(usage.images)),
        (Meter::Character, of(usage.characters)),
        (Meter::Page, of(usage.pages)),
        (Meter::WebSearch, of(usage.web_search)),
        (Meter::SearchQuery, of(usage.search_query)),
        (Meter::MapsGrounding, of(usage.maps_grounding)),
        (Meter::FileSearch, of(usage.file_search)),
        (Meter::CodeInterpreter, of(usage.code_interpreter)),
    ];
    let seconds = Quantity {
        count: of(usage.media_us),
        parts: 1_000_000,
    };
    whole
        .into_iter()
        .map(|(meter, count)| (meter, Quantity::whole(count)))
        .chain([(Meter::Second, seconds)])
        .filter(|(_, quantity)| quantity.count > 0)
        .collect()
}

// === impl Quantity ===

impl Quantity {
    const fn whole(count: u64) -> Self {
        Self { count, parts: 1 }
    }

    /// Exact, as the parts of a unit divide the 10^12 of an amount.
    fn amount(self) -> Result<Amount, AmountError> {
        Amount::ONE.mul_ratio(i128::from(self.count), i128::from(self.parts))
    }

    /// What the quantity costs at `price` for `per` units, rounded once, half to even.
    fn cost(self, price: Amount, per: u64) -> Result<Amount, AmountError> {
        price.mul_ratio(i128::from(self.count), i128::from(per) * i128::from(self.parts))
    }
}

struct Bill {
    source: UsageSource,
    charges: Vec<Charge>,
    total: Amount,
    list_total: Amount,
    priced: bool,
    unpriced: bool,
}

impl Bill {
    fn new(source: UsageSource) -> Self {
        Self {
            source,
            charges: Vec::with_capacity(4),
            total: Amount::ZERO,
            list_total: Amount::ZERO,
            priced: false,
            unpriced: false,
        }
    }

    fn charge(&mut self, meter: Meter, quantity: Quantity, price: Option<&Price>) -> Result<(), AmountError> {
        match price {
            Some(price) => self.priced(meter, quantity, price),
            None => self.without_price(meter, None, quantity),
        }
    }

    fn priced(&mut self, meter: Meter, quantity: Quantity, price: &Price) -> Result<(), AmountError> {
        if quantity.count == 0 {
            return Ok(());
        }
        let list_amount = quantity.cost(price.price, price.per)?;
        let owed = if price.discount.is_zero() {
            price.price
        } else {
            price.price.checked_mul(Amount::ONE.checked_sub(price.discount)?)?
        };
        let amount = if price.discount.is_zero() {
            list_amount
        } else {
            quantity.cost(owed, price.per)?
        };
        self.charges.push(Charge {
            meter,
            field: None,
            quantity: quantity.amount()?,
            unit_price: Some(owed.checked_div(price.per)?),
            amount: Some(amount),
        });
        self.total = self.total.checked_add(amount)?;
        self.list_total = self.list_total.checked_add(list_amount)?;
        self.priced = true;
        Ok(())
    }

    fn unknown(&mut self, field: &str, quantity: u64) -> Result<(), AmountError> {
        self.without_price(Meter::Unknown, Some(field.into()), Quantity::whole(quantity))
    }

    fn without_price(&mut self, meter: Meter, field: Option<Box<str>>, quantity: Quantity) -> Result<(), AmountError> {
        if quantity.count == 0 {
            return Ok(());
        }
        self.charges.push(Charge {
            meter,
            field,
            quantity: quantity.amount()?,
            unit_price: None,
            amount: None,
        });
        self.unpriced = true;
        Ok(())
    }

    fn finish(self, prices: Option<&Prices<'_>>) -> Cost {
        let status = match (self.unpriced, self.source) {
            (true, _) => CostStatus::Unpriced,
            (false, UsageSource::Estimated) => CostStatus::Estimated,
            (false, _) => CostStatus::Priced,
        };
        Cost {
            status,
            cost: self.priced.then_some(self.total),
            list_cost: self.priced.then_some(self.list_total),
            avoided_cost: None,
            currency: prices.map(|prices| prices.currency().clone()),
            price_version: prices.map(|prices| prices.version().clone()),
            charges: self.charges,
        }
    }
}
