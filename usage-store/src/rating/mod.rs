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
//! 5. A cache write of a told lifetime falls back to `cache_write`; reasoning without a price of its own is output.
//!
//! What was used and has no price is a charge without an amount, and the row is `unpriced`.

mod book;
#[cfg(test)]
mod tests;

use tollgate_record::{Amount, AmountError, Call, Charge, Cost, CostStatus, Meter, Name, Timestamp, Usage, UsageSource};

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
    for (meter, quantity) in quantities {
        match meter {
            // Without a price of its own, reasoning is output.
            Meter::Output => {
                let reasoning = usage.reasoning.unwrap_or(0).min(quantity);
                match prices.as_ref().and_then(|prices| prices.price(Meter::Reasoning, &query)) {
                    Some(price) if reasoning > 0 => {
                        bill.charge(Meter::Output, quantity - reasoning, prices.as_ref(), &query)?;
                        bill.priced(Meter::Reasoning, reasoning, price)?;
                    }
                    _ => bill.charge(Meter::Output, quantity, prices.as_ref(), &query)?,
                }
            }
            _ => bill.charge(meter, quantity, prices.as_ref(), &query)?,
        }
    }
    for unknown in &usage.unknown {
        bill.unknown(&unknown.field, unknown.quantity)?;
    }
    Ok(bill.finish(prices.as_ref()))
}

/// Splits the totals into what each meter counts. Explicit zeros are no charge.
fn quantities(usage: &Usage) -> Vec<(Meter, u64)> {
    let of = |count: Option<u64>| count.unwrap_or(0);
    let (read, created) = (of(usage.cache_read), of(usage.cache_creation));
    let (short, long) = (of(usage.cache_creation_5m), of(usage.cache_creation_1h));
    let (audio_in, audio_out) = (of(usage.audio_in), of(usage.audio_out));
    // Parts that exceed their whole would be a provider's mistake; saturating keeps the parts, which are what is billed.
    let plain_input = of(usage.input)
        .saturating_sub(read)
        .saturating_sub(created)
        .saturating_sub(audio_in);
    let parts = [
        (Meter::Input, plain_input),
        (Meter::CacheRead, read),
        (Meter::CacheWrite5m, short),
        (Meter::CacheWrite1h, long),
        (Meter::CacheWrite, created.saturating_sub(short).saturating_sub(long)),
        (Meter::AudioIn, audio_in),
        (Meter::Output, of(usage.output).saturating_sub(audio_out)),
        (Meter::AudioOut, audio_out),
        (Meter::WebSearch, of(usage.web_search)),
    ];
    parts.into_iter().filter(|(_, quantity)| *quantity > 0).collect()
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

    fn charge(&mut self, meter: Meter, quantity: u64, prices: Option<&Prices<'_>>, query: &Query<'_>) -> Result<(), AmountError> {
        match prices.and_then(|prices| prices.price(meter, query)) {
            Some(price) => self.priced(meter, quantity, price),
            None => self.without_price(meter, None, quantity),
        }
    }

    fn priced(&mut self, meter: Meter, quantity: u64, price: &tollgate_record::Price) -> Result<(), AmountError> {
        if quantity == 0 {
            return Ok(());
        }
        let list_amount = price.price.mul_ratio(i128::from(quantity), i128::from(price.per))?;
        let owed = if price.discount.is_zero() {
            price.price
        } else {
            price.price.checked_mul(Amount::ONE.checked_sub(price.discount)?)?
        };
        let amount = if price.discount.is_zero() {
            list_amount
        } else {
            owed.mul_ratio(i128::from(quantity), i128::from(price.per))?
        };
        self.charges.push(Charge {
            meter,
            field: None,
            quantity: Amount::from_integer(quantity)?,
            unit_price: Some(owed.checked_div(price.per)?),
            amount: Some(amount),
        });
        self.total = self.total.checked_add(amount)?;
        self.list_total = self.list_total.checked_add(list_amount)?;
        self.priced = true;
        Ok(())
    }

    fn unknown(&mut self, field: &str, quantity: u64) -> Result<(), AmountError> {
        self.without_price(Meter::Unknown, Some(field.into()), quantity)
    }

    fn without_price(&mut self, meter: Meter, field: Option<Box<str>>, quantity: u64) -> Result<(), AmountError> {
        if quantity == 0 {
            return Ok(());
        }
        self.charges.push(Charge {
            meter,
            field,
            quantity: Amount::from_integer(quantity)?,
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
