//! An explanation for people.

use std::fmt::Write;

use tollgate_record::{Adjustment, Amount, Name};
use tollgate_usage_store::rating::{Applied, Line, Try};

use super::question::Answer;
use super::{reason, time};

/// What was asked, how the lists were searched, the charges, and the cost.
pub(crate) fn explanation(answer: &Answer) -> String {
    let mut out = head(answer);
    let explanation = &answer.explanation;
    out.push_str("\nLookup\n");
    if explanation.tries.is_empty() {
        let _ = writeln!(out, "  there is no price list of provider {}", answer.provider);
    }
    let mut list = None;
    for tried in &explanation.tries {
        if list != Some(&tried.version) {
            let shipped = if tried.shipped { "shipped, " } else { "" };
            let _ = writeln!(out, "  {} ({shipped}for {})", tried.version, tried.precedence.as_str());
            list = Some(&tried.version);
        }
        let _ = writeln!(out, "    {}, {}: {}", tried.named.as_str(), tried.model, found(tried));
    }
    if answer.used {
        charges(&mut out, answer);
    } else {
        prices(&mut out, answer);
    }
    out
}

fn head(answer: &Answer) -> String {
    let mut out = format!("{} {} at {}", answer.provider, answer.model, time::shown(answer.at));
    let parts = [
        ("region", &answer.region),
        ("service tier", &answer.service_tier),
        ("org", &answer.org),
        ("team", &answer.team),
    ];
    for (what, name) in parts {
        if let Some(name) = name {
            let _ = write!(out, ", {what} {name}");
        }
    }
    out.push('\n');
    out
}

fn found(tried: &Try) -> String {
    match (&tried.found, tried.adjusts) {
        (Some(pattern), _) if pattern.as_str() == &*tried.model => "found".to_owned(),
        (Some(pattern), _) => format!("found as {pattern}"),
        (None, true) => "adjusted".to_owned(),
        (None, false) => "no price at that time".to_owned(),
    }
}

fn charges(out: &mut String, answer: &Answer) {
    let cost = &answer.explanation.cost;
    let currency = cost.currency.as_ref().map_or("", Name::as_str);
    out.push_str("\nCharges\n");
    for line in &answer.explanation.lines {
        let charge = &line.charge;
        let (meter, quantity, unit) = (charge.meter_text(), charge.quantity, charge.meter.unit());
        match (charge.unit_price, charge.amount) {
            (Some(unit_price), Some(amount)) => {
                let _ = writeln!(out, "  {meter}: {quantity} {unit} x {unit_price} = {amount} {currency}");
                price(out, line);
            }
            _ => {
                let why = reason::unpriced(line, answer).unwrap_or_default();
                let _ = writeln!(out, "  {meter}: {quantity} {unit}, unpriced: {why}");
            }
        }
    }
    if answer.explanation.lines.is_empty() {
        out.push_str("  nothing was used\n");
    }
    let shown = |amount: Option<Amount>| amount.map_or_else(|| "unknown".to_owned(), |amount| format!("{amount} {currency}"));
    let _ = writeln!(
        out,
        "\nCost\n  cost: {} ({})",
        shown(cost.cost).trim_end(),
        cost.status.as_str()
    );
    let _ = writeln!(out, "  list_cost: {}", shown(cost.list_cost).trim_end());
    if let Some(version) = &cost.price_version {
        let _ = writeln!(out, "  price_version: {version}");
    }
}

fn prices(out: &mut String, answer: &Answer) {
    out.push_str("\nPrices of one unit\n");
    for line in &answer.explanation.prices {
        if let Some(unit_price) = line.charge.unit_price {
            let _ = writeln!(
                out,
                "  {}: {unit_price} per {}",
                line.charge.meter.as_str(),
                line.charge.meter.unit()
            );
            price(out, line);
        }
    }
    if answer.explanation.prices.is_empty() {
        out.push_str("  none\n");
    }
}

/// The prices behind a line.
fn price(out: &mut String, line: &Line) {
    if let Some((version, adjustment)) = &line.adjustment {
        let _ = writeln!(out, "      {} by {version}", share(adjustment));
    } else if let Some(owed) = line.price.as_ref().filter(|price| line.list_price.as_ref() != Some(*price)) {
        let _ = writeln!(out, "      price {}", applied(owed, line));
    }
    if let Some(list) = &line.list_price {
        let _ = writeln!(out, "      list price {}", applied(list, line));
    }
}

fn share(adjustment: &Adjustment) -> String {
    let percent = |share: Amount| share.mul_ratio(100, 1).unwrap_or(share);
    let what = if adjustment.discount < Amount::ZERO {
        let markup = Amount::ZERO.checked_sub(adjustment.discount).unwrap_or_default();
        format!("list price plus {}%", percent(markup))
    } else {
        format!("list price less {}%", percent(adjustment.discount))
    };
    let meter = adjustment.meter.map_or("every meter", |meter| meter.as_str());
    format!(
        "{what} for model {} and {meter}, from {}",
        adjustment.model,
        period(adjustment.effective_from, adjustment.effective_to)
    )
}

fn period(from: tollgate_record::Timestamp, to: Option<tollgate_record::Timestamp>) -> String {
    match to {
        Some(to) => format!("{} to {}", time::shown(from), time::shown(to)),
        None => time::shown(from),
    }
}

fn applied(applied: &Applied, line: &Line) -> String {
    let price = &applied.price;
    let mut out = format!("{} per {}", price.price, price.per);
    if !price.discount.is_zero() {
        let _ = write!(out, " less {}%", price.discount.mul_ratio(100, 1).unwrap_or(price.discount));
    }
    let _ = write!(out, ": {}, model {}", applied.version, price.model);
    if price.meter != line.charge.meter {
        let _ = write!(out, ", the price of {}", price.meter.as_str());
    }
    if let Some(region) = &price.region {
        let _ = write!(out, ", region {region}");
    }
    if let Some(tier) = &price.service_tier {
        let _ = write!(out, ", service tier {tier}");
    }
    if let Some(above) = price.context_above {
        let _ = write!(out, ", above {above} input tokens");
    }
    let _ = write!(out, ", from {}", period(price.effective_from, price.effective_to));
    if let Some(source) = &price.source {
        let _ = write!(out, "; {source}");
    }
    out
}
