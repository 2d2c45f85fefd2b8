//! Rating: usage and prices in, charges out. A pure function of its arguments, so that history can be rated again.
//!
//! # Which price
//! 1. List prices: the operator's lists for everyone are asked first, those for the provider, then those for its template; then the shipped ones in the same
//!    order. The first that names the model at the time of the call's start has the list prices of all of it.
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
//! # What was negotiated
//! 9. Lists with terms are asked in this order: for the org and team of the call's key, for its team, for its org, then those for everyone; in each,
//!    those of the provider, then those of its template, then the order of the documents.
//! 10. Meter by meter, the first of them decides that has a price of its own for it, or takes a share off the list price. Of one list, a price beats an adjustment; of
//!     adjustments, an exact model beats a glob, a longer glob a shorter, and one of the meter one of every meter. The price of another meter stands in (5) only where it
//!     does in the list prices too. Shares do not add up: one applies. What no list names costs the list price.
//! 11. An adjustment for everyone leaves alone the list prices that have a `discount` of their own.
//! 12. `cost` is what is owed, `list_cost` the same quantities at list prices before every discount. A price that was negotiated for something that no list for everyone
//!     prices counts as its list price too. A share is exact; the amount of a charge is rounded once, half to even.
//! 13. A call has one currency: that of the first list with negotiated prices of the model, else that of the list prices. Prices of another one are not looked at.
//!
//! # What several models took
//! 14. A call whose usage has parts ([`Usage::parts`]) is billed part by part, and what no part has with the call. A part of another model than the one that answered
//!     takes the prices of that model's name, never those of the model that was asked for. Its size, not the call's, is held against context tiers (3).
//!     Its charges name the model. All are in one currency; what has prices only in another one is without price.
//!
//! What was used and has no price is a charge without an amount, and the row is `unpriced`.

pub mod again;
mod bill;
mod book;
mod deal;
mod explain;
mod limits;
pub mod lists;
mod pattern;
mod portion;
mod quantity;
pub mod stored;
#[cfg(test)]
mod tests;
pub mod worst;

use tollgate_record::{AmountError, Call, Cost, Meter, Name, Payer, Timestamp, Usage};

use bill::{Bill, BillLine};
pub use book::{ModelName, PriceBook};
use deal::Deals;
pub use explain::{Applied, Explanation, Line, Try, explain};
pub use limits::LimitBook;
pub use lists::Unlisted;
use portion::{Asked, Sizes};
use quantity::{Quantity, quantities};
pub use worst::{Dearest, Missing, Tokens, Worst, tokens, worst};

/// Prices a call.
///
/// `at` is the call's start; `call` and `response_model` say whose price is asked for, `payer` whose terms.
///
/// # Errors
/// [`AmountError::Overflow`] if an amount leaves `Decimal(28, 12)`: a quantity or a price that cannot be meant.
pub fn rate(
    book: &PriceBook,
    call: &Call,
    payer: Payer<'_>,
    response_model: Option<&Name>,
    usage: &Usage,
    at: Timestamp,
) -> Result<Cost, AmountError> {
    let asked = Asked {
        call,
        payer,
        response_model,
        usage,
        at,
    };
    rate_with(book, asked, Sizes::Told, |_| ())
}

/// Prices a call, and shows each line of its bill.
fn rate_with(book: &PriceBook, asked: Asked<'_>, sizes: Sizes, each: impl FnMut(&BillLine<'_>)) -> Result<Cost, AmountError> {
    let portions: Vec<_> = asked
        .portions(book, sizes)
        .into_iter()
        .map(|portion| (quantities(&portion.usage), portion))
        .filter(|(quantities, portion)| !quantities.is_empty() || !portion.usage.unknown.is_empty())
        .collect();
    if portions.is_empty() {
        return Ok(Cost::free());
    }
    let mut deals: Vec<_> = portions.iter().map(|(_, portion)| Deals::new(book, &portion.query)).collect();
    let currency = deals.iter().find_map(Deals::currency);
    for deals in deals.iter_mut().filter(|deals| deals.currency() != currency) {
        deals.forget();
    }
    let mut bill = Bill::new(asked.usage.source);
    for ((quantities, portion), deals) in portions.iter().zip(&deals) {
        bill.label = portion.label;
        charge(&mut bill, deals, quantities, &portion.usage)?;
    }
    bill.lines.iter().for_each(each);
    Ok(bill.finish(&deals))
}

/// Charges what was used.
fn charge<'a>(bill: &mut Bill<'a>, deals: &Deals<'a>, quantities: &[(Meter, Quantity)], usage: &Usage) -> Result<(), AmountError> {
    for &(meter, quantity) in quantities {
        match meter {
            // Without a price of its own, reasoning is output.
            Meter::Output => {
                let reasoning = Quantity::whole(usage.reasoning.unwrap_or(0).min(quantity.count));
                match deals.of_reasoning() {
                    Some(deal) if reasoning.count > 0 => {
                        let rest = Quantity::whole(quantity.count - reasoning.count);
                        bill.charge(Meter::Output, rest, deals.of(Meter::Output))?;
                        bill.charge(Meter::Reasoning, reasoning, Some(deal))?;
                    }
                    _ => bill.charge(Meter::Output, quantity, deals.of(Meter::Output))?,
                }
            }
            // The same searches, told twice.
            Meter::WebSearch if usage.search_query.unwrap_or(0) > 0 && deals.of(Meter::SearchQuery).is_some() => {}
            Meter::SearchQuery if usage.web_search.unwrap_or(0) > 0 && deals.of(Meter::SearchQuery).is_none() => {}
            _ => bill.charge(meter, quantity, deals.of(meter))?,
        }
    }
    for unknown in &usage.unknown {
        bill.unknown(&unknown.field, unknown.quantity)?;
    }
    Ok(())
}
