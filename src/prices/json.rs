//! An explanation as JSON: amounts and quantities are decimal strings.

use serde_json::{Value, json};
use tollgate_record::{Adjustment, Amount, Meter, Name, Price};
use tollgate_usage_store::rating::{Applied, Line, Try};

use super::question::Answer;
use super::{reason, time};

/// What was asked, the cost, the lookup, and the charges; of a call without quantities, the prices.
pub(crate) fn explanation(answer: &Answer) -> Value {
    let explanation = &answer.explanation;
    let cost = &explanation.cost;
    let mut told = json!({
        "provider": text(&answer.provider),
        "template": text(&answer.template),
        "model": text(&answer.model),
        "at": time::shown(answer.at),
        "region": answer.region.as_ref().map(text),
        "service_tier": answer.service_tier.as_ref().map(text),
        "org": answer.org.as_ref().map(text),
        "team": answer.team.as_ref().map(text),
        "lookup": explanation.tries.iter().map(lookup).collect::<Vec<_>>(),
    });
    let more = if answer.used {
        json!({
            "cost": cost.cost.map(amount),
            "list_cost": cost.list_cost.map(amount),
            "currency": cost.currency.as_ref().map(text),
            "cost_status": cost.status.as_str(),
            "price_version": cost.price_version.as_ref().map(text),
            "charges": explanation.lines.iter().map(|line| charge(line, answer)).collect::<Vec<_>>(),
        })
    } else {
        json!({ "prices": explanation.prices.iter().map(unit_price).collect::<Vec<_>>() })
    };
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    told
}

fn text(name: &Name) -> &str {
    name.as_str()
}

fn amount(amount: Amount) -> String {
    amount.to_string()
}

fn lookup(tried: &Try) -> Value {
    json!({
        "list": text(&tried.list),
        "version": text(&tried.version),
        "shipped": tried.shipped,
        "for": tried.precedence.as_str(),
        "model": tried.model,
        "name": tried.named.as_str(),
        "found": tried.found.as_ref().map(text),
        "adjusts": tried.adjusts,
    })
}

fn charge(line: &Line, answer: &Answer) -> Value {
    let charge = &line.charge;
    json!({
        "meter": charge.meter_text(),
        "unit": charge.meter.unit(),
        "quantity": amount(charge.quantity),
        "unit_price": charge.unit_price.map(amount),
        "amount": charge.amount.map(amount),
        "list_amount": line.list_amount.map(amount),
        "price": line.price.as_ref().map(applied),
        "list_price": line.list_price.as_ref().map(applied),
        "adjustment": line.adjustment.as_ref().map(adjustment),
        "unpriced": reason::unpriced(line, answer),
    })
}

/// Without quantities.
fn unit_price(line: &Line) -> Value {
    json!({
        "meter": line.charge.meter.as_str(),
        "unit": line.charge.meter.unit(),
        "unit_price": line.charge.unit_price.map(amount),
        "list_unit_price": line.list_amount.map(amount),
        "price": line.price.as_ref().map(applied),
        "list_price": line.list_price.as_ref().map(applied),
        "adjustment": line.adjustment.as_ref().map(adjustment),
    })
}

fn applied(applied: &Applied) -> Value {
    let Price {
        model,
        region,
        service_tier,
        context_above,
        meter,
        per,
        price,
        discount,
        effective_from,
        effective_to,
        source,
    } = &applied.price;
    json!({
        "list": text(&applied.list),
        "version": text(&applied.version),
        "model": text(model),
        "region": region.as_ref().map(text),
        "service_tier": service_tier.as_ref().map(text),
        "context_above": context_above,
        "meter": meter.as_str(),
        "per": per,
        "price": amount(*price),
        "discount": amount(*discount),
        "effective_from": time::shown(*effective_from),
        "effective_to": effective_to.map(time::shown),
        "source": source,
    })
}

fn adjustment((version, adjustment): &(Name, Adjustment)) -> Value {
    json!({
        "version": text(version),
        "model": text(&adjustment.model),
        "meter": adjustment.meter.map(Meter::as_str),
        "discount": amount(adjustment.discount),
        "effective_from": time::shown(adjustment.effective_from),
        "effective_to": adjustment.effective_to.map(time::shown),
        "source": adjustment.source,
    })
}
