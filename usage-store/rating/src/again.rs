//! From a row of table `usage` back to what was used, so that it can be rated again.
//!
//! # What a row keeps
//! 1. Totals of tokens stand in columns. Everything else that was counted is the quantity of a charge: every count that is not zero has one,
//!    priced or not, and a field that no codec knows has one under its own name.
//! 2. Input that the provider does not bill is on no line: it is what the columns have and the lines have not.
//! 3. What is rebuilt is proved: split into meters again, it must give the lines of the row. A row for which it does not is refused.
//!
//! # What it does not keep
//! 4. Rows of another system have one line of meter `request`; they are refused, as are rows of which an amount left the column's range.
//! 5. Searches are told by the query and by the grounded answer, and only the one that was billed is on a line. Where the other, had it
//!    been told, would change the cost, the row is refused.
//! 6. Of a call that was billed in parts, each model's lines say what it took in all, and not in how many parts of which sizes. Where the sizes change the
//!    cost, the row is refused.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use tollgate_record::{Amount, AmountError, Call, Cost, Meter, Name, Part, Payer, Timestamp, UnknownUsage, Usage, UsageSource};

use super::{Asked, PriceBook, Quantity, Sizes, quantities, rate_with};

/// What a row of table `usage` says that matters to its price.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Organisation of the key: whose terms apply, with the team.
    pub org: Option<Name>,
    /// Team of the key.
    pub team: Option<Name>,
    /// Column `request_model`.
    pub request_model: Option<Name>,
    /// Column `response_model`.
    pub response_model: Option<Name>,
    /// Column `region`.
    pub region: Option<Name>,
    /// Column `service_tier`.
    pub service_tier: Option<Name>,
    /// Column `start_time`.
    pub start_time: Timestamp,
    /// Whether another system recorded it.
    pub imported: bool,
    /// Column `usage_source`.
    pub source: UsageSource,
    /// Column `input_tokens`.
    pub input: Option<u64>,
    /// Column `cache_read_input_tokens`.
    pub cache_read: Option<u64>,
    /// Column `cache_creation_input_tokens`.
    pub cache_creation: Option<u64>,
    /// Column `output_tokens`.
    pub output: Option<u64>,
    /// Column `reasoning_tokens`.
    pub reasoning: Option<u64>,
    /// Whether nothing was used that could cost.
    pub free: bool,
    /// None for a call that was never made: its tokens are all that it uses.
    pub charges: Option<Vec<Line<'a>>>,
}

/// A line of the row's bill.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// As in `charges.meter`.
    pub meter: &'a str,
    /// As in `charges.quantity`.
    pub quantity: Amount,
    /// Whether it has an amount.
    pub priced: bool,
}

/// Why a row cannot be rated again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unratable {
    /// Another system recorded it.
    #[error("the row was imported: the other system does not say what its cost is made of")]
    Imported,
    /// There are no charges.
    #[error("the row has no charges although it is not free: what it used is not kept")]
    NoCharges,
    /// A meter that rating does not make.
    #[error("the row has charges of meter {meter}, which is not made of counts that rating knows")]
    Meter {
        /// Its name.
        meter: String,
    },
    /// Columns and charges disagree.
    #[error("the row's charges and token columns do not say the same")]
    Counts,
    /// One of two counts of searches is missing.
    #[error("the row keeps only one of its two counts of searches, and this price list bills the other")]
    Searches,
    /// Parts have sizes that are not kept.
    #[error("the row keeps what each model took, not the sizes of its parts, and this price list has prices by size")]
    Sizes,
    /// Too large.
    #[error("an amount exceeds 28 digits at these prices")]
    Overflow,
}

impl From<AmountError> for Unratable {
    fn from(_: AmountError) -> Self {
        Self::Overflow
    }
}

/// Rates a row by a book of lists for `providers`: its provider and its template, whichever is which.
///
/// # Errors
/// [`Unratable`] if the row does not say all that its price depends on.
pub fn rate_again(book: &PriceBook, providers: &[Name], row: &Row<'_>) -> Result<Cost, Unratable> {
    let (usage, other) = rebuilt(row)?;
    let call = Call {
        operation_name: Name::new("rate").expect("it is short and plain"),
        proxy: None,
        // The caller knows that the lists are for this call.
        provider_name: providers.first().cloned(),
        template: providers.get(1).cloned(),
        upstream: None,
        region: row.region.clone(),
        request_model: row.request_model.clone(),
        stream: false,
        route_rule: None,
        cache: None,
    };
    let payer = Payer {
        org: row.org.as_ref(),
        team: row.team.as_ref(),
    };
    let rated = |usage: &Usage, sizes: Sizes| {
        let asked = Asked {
            call: &call,
            payer,
            response_model: row.response_model.as_ref(),
            usage,
            at: row.start_time,
        };
        rate_with(book, asked, sizes, |_| ())
    };
    let cost = rated(&usage, Sizes::Told)?;
    if !usage.parts.is_empty() && rated(&usage, Sizes::Smallest)? != cost {
        return Err(Unratable::Sizes);
    }
    match other {
        Some(other) if rated(&other, Sizes::Told)? != cost => Err(Unratable::Searches),
        _ => Ok(cost),
    }
}

/// The row's usage; and, if it may have had a second count of its searches, the same with that.
fn rebuilt(row: &Row<'_>) -> Result<(Usage, Option<Usage>), Unratable> {
    if row.imported {
        return Err(Unratable::Imported);
    }
    let mut usage = Usage {
        source: row.source,
        input: row.input,
        cache_read: row.cache_read,
        cache_creation: row.cache_creation,
        output: row.output,
        reasoning: row.reasoning,
        service_tier: row.service_tier.clone(),
        ..Usage::default()
    };
    let Some(lines) = &row.charges else {
        return Ok((usage, None));
    };
    if lines.is_empty() && !row.free {
        return Err(Unratable::NoCharges);
    }
    let mut billed = Billed::default();
    let mut parts: Vec<BilledPart> = Vec::new();
    for line in lines {
        match line.meter.split_once(':') {
            Some((meter, model)) if meter != UNKNOWN => {
                if !parts.iter().any(|part| part.model.as_str() == model) {
                    parts.push(BilledPart::new(model)?);
                }
                let part = parts.iter_mut().find(|part| part.model.as_str() == model);
                let part = part.ok_or(Unratable::Counts)?;
                part.billed.take(&mut part.usage, &Line { meter, ..*line }, true)?;
            }
            _ => billed.take(&mut usage, line, false)?,
        }
    }
    let mut plain_billed = billed.input;
    for part in &mut parts {
        // Columns are of the whole call.
        usage.add(&part.usage);
        plain_billed = plain_billed.saturating_add(part.billed.input);
        part.complete()?;
    }
    let inside = [
        usage.cache_read,
        usage.cache_creation,
        usage.audio_in,
        usage.image_in,
        usage.video_in,
        usage.tool_use_in,
    ];
    let inside = inside.into_iter().flatten().fold(0, u64::saturating_add);
    let plain = usage.input.unwrap_or(0).saturating_sub(inside);
    let unbilled = plain.checked_sub(plain_billed).ok_or(Unratable::Counts)?;
    usage.unbilled_in = (unbilled > 0).then_some(unbilled);
    let mut rest = usage.clone();
    for part in parts {
        rest.take_off(&part.usage);
        if !part.billed.is_of(&part.usage) {
            return Err(Unratable::Counts);
        }
        usage.parts.push(Part {
            model: Some(part.model),
            usage: part.usage,
        });
    }
    if !billed.is_of(&rest) {
        return Err(Unratable::Counts);
    }
    let other = match (usage.web_search, usage.search_query) {
        (Some(_), None) => Some(Usage {
            search_query: Some(1),
            ..usage.clone()
        }),
        // Queries without a price give way to searches: where they are on a line, there were no searches.
        (None, Some(_)) if billed.queries_priced => Some(Usage {
            web_search: Some(1),
            ..usage.clone()
        }),
        _ => None,
    };
    Ok((usage, other))
}

/// What stands before the `:` of a field that no codec knows.
const UNKNOWN: &str = "unknown";

/// The lines of one model, of a call that was billed in parts.
struct BilledPart {
    model: Name,
    billed: Billed,
    usage: Usage,
}

impl BilledPart {
    fn new(model: &str) -> Result<Self, Unratable> {
        Ok(Self {
            model: Name::new(model).map_err(|_| Unratable::Counts)?,
            billed: Billed::default(),
            usage: Usage::default(),
        })
    }

    /// Fills in what columns tell of a whole call.
    fn complete(&mut self) -> Result<(), Unratable> {
        let line = |meter: Meter| count(self.billed.of(meter), 1);
        let sum = |counts: &[Option<u64>]| counts.iter().flatten().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let some = |sum: u64| (sum > 0).then_some(sum);
        let usage = &mut self.usage;
        let (read, written) = (line(Meter::CacheRead)?, line(Meter::CacheWrite)?);
        let (output, reasoning) = (line(Meter::Output)?, line(Meter::Reasoning)?);
        usage.cache_read = some(sum(&[Some(read), usage.cache_read_audio, usage.cache_read_image]));
        usage.cache_creation = some(sum(&[Some(written), usage.cache_creation_5m, usage.cache_creation_1h]));
        usage.output = some(sum(&[Some(output), Some(reasoning), usage.audio_out, usage.image_out]));
        usage.reasoning = some(reasoning);
        usage.input = some(sum(&[
            Some(self.billed.input),
            usage.cache_read,
            usage.cache_creation,
            usage.audio_in,
            usage.image_in,
            usage.video_in,
            usage.tool_use_in,
        ]));
        Ok(())
    }
}

/// The lines of a bill, by meter.
#[derive(Debug, Default)]
struct Billed {
    lines: Vec<(Meter, Amount)>,
    input: u64,
    queries_priced: bool,
}

impl Billed {
    /// Takes a line, and its count into the usage if no column has it. Lines of several parts add up.
    fn take(&mut self, usage: &mut Usage, line: &Line<'_>, several: bool) -> Result<(), Unratable> {
        let unknown_meter = || Unratable::Meter {
            meter: line.meter.to_owned(),
        };
        if let Some(field) = line.meter.strip_prefix("unknown:") {
            usage.unknown.push(UnknownUsage {
                field: field.into(),
                quantity: count(line.quantity, 1)?,
            });
            return Ok(());
        }
        let meter = Meter::parse(line.meter).ok_or_else(unknown_meter)?;
        match self.lines.iter_mut().find(|(other, _)| *other == meter) {
            None => self.lines.push((meter, line.quantity)),
            Some((_, quantity)) if several => *quantity = quantity.checked_add(line.quantity)?,
            Some(_) => return Err(Unratable::Counts),
        }
        let mut input = None;
        let place = match meter {
            Meter::Input => &mut input,
            // Those that columns tell.
            Meter::CacheRead | Meter::CacheWrite | Meter::Output | Meter::Reasoning => return Ok(()),
            Meter::CacheWrite5m => &mut usage.cache_creation_5m,
            Meter::CacheWrite1h => &mut usage.cache_creation_1h,
            Meter::AudioIn => &mut usage.audio_in,
            Meter::AudioOut => &mut usage.audio_out,
            Meter::Image => &mut usage.images,
            Meter::WebSearch => &mut usage.web_search,
            Meter::SearchQuery => &mut usage.search_query,
            Meter::Second => &mut usage.media_us,
            Meter::Character => &mut usage.characters,
            Meter::Page => &mut usage.pages,
            Meter::CacheReadAudio => &mut usage.cache_read_audio,
            Meter::CacheReadImage => &mut usage.cache_read_image,
            Meter::ImageIn => &mut usage.image_in,
            Meter::ImageOut => &mut usage.image_out,
            Meter::VideoIn => &mut usage.video_in,
            Meter::ToolUseIn => &mut usage.tool_use_in,
            Meter::MapsGrounding => &mut usage.maps_grounding,
            Meter::FileSearch => &mut usage.file_search,
            Meter::CodeInterpreter => &mut usage.code_interpreter,
            Meter::Request | Meter::ToolCall | Meter::Unknown => return Err(unknown_meter()),
        };
        let parts = if meter == Meter::Second { 1_000_000 } else { 1 };
        let counted = count(line.quantity, parts)?;
        *place = Some(place.unwrap_or(0).saturating_add(counted));
        self.input = self.input.saturating_add(input.unwrap_or(0));
        self.queries_priced |= meter == Meter::SearchQuery && line.priced;
        Ok(())
    }

    fn of(&self, meter: Meter) -> Amount {
        let found = self.lines.iter().find(|(other, _)| *other == meter);
        found.map_or(Amount::ZERO, |(_, quantity)| *quantity)
    }

    /// Whether these are the lines that the usage makes.
    fn is_of(&self, usage: &Usage) -> bool {
        let made = quantities(usage);
        let is_made = |(meter, quantity): &(Meter, Quantity)| {
            let expected = quantity.amount();
            match meter {
                // Reasoning is split off where it has a price of its own.
                Meter::Output => {
                    let reasoning = self.of(Meter::Reasoning);
                    let told = Quantity::whole(usage.reasoning.unwrap_or(0).min(quantity.count)).amount();
                    let sum = self.of(Meter::Output).checked_add(reasoning);
                    (reasoning.is_zero() || told == Ok(reasoning)) && sum == expected
                }
                _ => expected == Ok(self.of(*meter)),
            }
        };
        let all_made = made.iter().all(is_made);
        // And there is no line beside them.
        let lines = self.lines.iter().filter(|(_, quantity)| !quantity.is_zero());
        let known = |meter: Meter| made.iter().any(|(other, _)| *other == meter);
        all_made
            && lines
                .map(|(meter, _)| *meter)
                .all(|meter| known(if meter == Meter::Reasoning { Meter::Output } else { meter }))
    }
}

/// A quantity as a count of parts of its unit.
fn count(quantity: Amount, parts: i128) -> Result<u64, Unratable> {
    let units = quantity.units().checked_mul(parts).ok_or(Unratable::Counts)?;
    if units < 0 || units % Amount::ONE.units() != 0 {
        return Err(Unratable::Counts);
    }
    u64::try_from(units / Amount::ONE.units()).map_err(|_| Unratable::Counts)
}
