//! Kind `PriceList`: what a provider's models cost, and since when. Applying prices is the store's work.

use std::collections::HashMap;

use tollgate_record::{Amount, Meter, Name, Price, PriceList, Timestamp};

use crate::field::Fields;
use crate::nearest::nearest;
use crate::terms::{self, share};
use crate::value::Value;

/// Largest number of units that a price is for.
const PER_MAX: u64 = 1_000_000_000_000;
/// Largest context tier, in tokens.
const CONTEXT_ABOVE_MAX: u64 = 1_000_000_000_000;

/// What two prices must share to compete for a call.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    model: Name,
    region: Option<Name>,
    service_tier: Option<Name>,
    context_above: Option<u64>,
    meter: Meter,
}

/// One price or adjustment, and where it stands.
#[derive(Clone)]
pub(crate) struct Row<'a> {
    pub(crate) value: Value<'a>,
    pub(crate) index: usize,
    pub(crate) from: Timestamp,
    pub(crate) to: Option<Timestamp>,
}

/// Reads `spec`; whether the provider exists is checked when all documents are known.
pub(crate) fn read(name: Name, mut spec: Fields<'_>, shipped: bool) -> Option<PriceList> {
    let provider = spec.required("provider").and_then(|value| value.name());
    let currency = spec.required("currency").and_then(|value| currency(&value));
    let source = spec.take("source").and_then(|value| value.text()).map(|text| text.resolved);
    let terms = terms::read(&mut spec, source.as_deref());
    // A list may consist of adjustments alone.
    let list = if spec.has("adjustments") {
        spec.take("prices")
    } else {
        spec.required("prices")
    };
    spec.finish();
    let prices = match &list {
        Some(list) => self::prices(list, source.as_deref())?,
        None => Vec::new(),
    };
    Some(PriceList {
        name,
        provider: provider?,
        currency: currency?,
        shipped,
        prices,
        terms,
    })
}

fn prices(list: &Value<'_>, source: Option<&str>) -> Option<Vec<Price>> {
    let items = list.items()?;
    if items.len() == 0 {
        list.wrong("has no price");
    }
    let mut prices = Vec::with_capacity(items.len());
    let mut scopes: HashMap<Scope, Vec<Row<'_>>> = HashMap::new();
    for (index, item) in items.enumerate() {
        let Some(price) = item.fields().and_then(|fields| price(fields, source)) else {
            continue;
        };
        let row = Row {
            value: item,
            index,
            from: price.effective_from,
            to: price.effective_to,
        };
        scopes.entry(Scope::of(&price)).or_default().push(row);
        prices.push(price);
    }
    let mut competing: Vec<Vec<Row<'_>>> = scopes.into_values().filter(|rows| rows.len() > 1).collect();
    // A map has no order, and messages should come in the same one every time.
    competing.sort_by_key(|rows| rows.first().map(|row| row.index));
    for rows in competing {
        report_overlaps(
            rows,
            "spec.prices",
            "the same model, region, service tier, context tier and meter at the same time",
        );
    }
    Some(prices)
}

/// A field that is an ISO 4217 code.
pub(crate) fn currency(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    let code = currency_code(&text.resolved);
    if code.is_none() {
        value.wrong(format!("{} is no ISO 4217 code such as USD", text.quoted()));
    }
    code
}

/// An ISO 4217 code.
pub(crate) fn currency_code(text: &str) -> Option<Name> {
    let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    Name::new(text).ok().filter(|_| is_code)
}

fn price(mut fields: Fields<'_>, list_source: Option<&str>) -> Option<Price> {
    let model = fields.required("model").and_then(|value| value.name());
    let region = fields.name("region");
    let service_tier = fields
        .name("service_tier")
        .filter(|tier| !matches!(tier.as_str(), "standard" | "default"));
    let context_above = fields
        .take("context_above")
        .and_then(|value| value.integer(1..=CONTEXT_ABOVE_MAX));
    let meter = fields.required("meter").and_then(|value| meter(&value));
    if let (Some(unit), Some(meter)) = (fields.take("unit"), meter)
        && let Some(text) = unit.text()
        && text.resolved.strip_suffix('s').unwrap_or(&text.resolved) != meter.unit()
    {
        unit.wrong(format!(
            "{} is not the unit of meter {}, which is {}",
            text.quoted(),
            meter.as_str(),
            meter.unit()
        ));
    }
    let per = fields.required("per").and_then(|value| value.integer(1..=PER_MAX));
    let price = fields.required("price").and_then(|value| non_negative(&value));
    let discount = fields.take("discount").map_or(Some(Amount::ZERO), |value| share(&value));
    let period = period(&mut fields, "price");
    let source = fields.take("source").and_then(|value| value.text()).map(|text| text.resolved);
    fields.finish();
    let (effective_from, effective_to) = period?;
    Some(Price {
        model: model?,
        region,
        service_tier,
        context_above,
        meter: meter?,
        per: per?,
        price: price?,
        discount: discount?,
        effective_from,
        effective_to,
        source: source.as_deref().or(list_source).map(Box::from),
    })
}

/// When a price or an adjustment, which is `what`, holds.
pub(crate) fn period(fields: &mut Fields<'_>, what: &str) -> Option<(Timestamp, Option<Timestamp>)> {
    let effective_from = fields.required("effective_from").and_then(|value| value.day_or_instant());
    let to = fields.take("effective_to");
    let effective_to = to.as_ref().map_or(Some(None), |value| value.day_or_instant().map(Some));
    if let (Some(to), Some(from), Some(Some(until))) = (&to, effective_from, effective_to)
        && until <= from
    {
        to.wrong(format!("is not after effective_from: the {what} would never hold"));
        return None;
    }
    Some((effective_from?, effective_to?))
}

pub(crate) fn meter(value: &Value<'_>) -> Option<Meter> {
    let text = value.text()?;
    let meter = Meter::parse(&text.resolved);
    if meter.is_none() {
        let known = Meter::PRICED.map(Meter::as_str);
        let meant = match nearest(&text.resolved, known) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        value.wrong(format!(
            "{} is no meter{meant} (known here: {})",
            text.quoted(),
            known.join(", ")
        ));
    }
    meter
}

fn non_negative(value: &Value<'_>) -> Option<Amount> {
    let amount = value.amount()?;
    if amount < Amount::ZERO {
        value.wrong("is negative: a price is zero or more; a rebate is a discount");
        return None;
    }
    Some(amount)
}

/// Reports every row of the list at `path` that begins before an earlier one has ended; the rows have `what` in common.
pub(crate) fn report_overlaps(mut rows: Vec<Row<'_>>, path: &str, what: &str) {
    rows.sort_by_key(|row| (row.from, row.index));
    let mut last: Option<&Row<'_>> = None;
    for row in &rows {
        let Some(earlier) = last else {
            last = Some(row);
            continue;
        };
        if earlier.to.is_none_or(|to| row.from < to) {
            let (first, second) = if row.index < earlier.index {
                (row, earlier)
            } else {
                (earlier, row)
            };
            second.value.wrong(format!(
                "overlaps {path}[{}] on line {}: {what}",
                first.index,
                first.value.line()
            ));
        }
        // The one that lasts longest is what later ones can run into.
        if earlier.to.is_some_and(|to| row.to.is_none_or(|until| until > to)) {
            last = Some(row);
        }
    }
}

// === impl Scope ===

impl Scope {
    pub(crate) fn of(price: &Price) -> Self {
        Self {
            model: price.model.clone(),
            region: price.region.clone(),
            service_tier: price.service_tier.clone(),
            context_above: price.context_above,
            meter: price.meter,
        }
    }
}
