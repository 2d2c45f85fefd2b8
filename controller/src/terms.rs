//! What a `PriceList` says of negotiated prices: for whom it is, and which share of list prices is owed.

use tollgate_record::{Adjustment, Amount, Name, Terms};

use crate::field::Fields;
use crate::price::{Row, meter, period, report_overlaps};
use crate::value::Value;

/// Largest mark-up, ten times the list price: what is beyond is a percentage read as a factor.
const MARKUP_MAX: u64 = 10;

/// Reads `spec.for` and `spec.adjustments`.
pub(crate) fn read(spec: &mut Fields<'_>, list_source: Option<&str>) -> Terms {
    let (org, team) = spec.take("for").map_or((None, None), |value| payer(&value));
    Terms {
        org,
        team,
        adjustments: spec
            .take("adjustments")
            .map(|value| adjustments(&value, list_source))
            .unwrap_or_default(),
    }
}

fn payer(value: &Value<'_>) -> (Option<Name>, Option<Name>) {
    let Some(mut fields) = value.fields() else {
        return (None, None);
    };
    if !fields.has("org") && !fields.has("team") {
        value.wrong("names neither org nor team: leave it out in a list for everyone");
    }
    let payer = (fields.name("org"), fields.name("team"));
    fields.finish();
    payer
}

fn adjustments(value: &Value<'_>, list_source: Option<&str>) -> Vec<Adjustment> {
    let Some(items) = value.items() else {
        return Vec::new();
    };
    if items.len() == 0 {
        value.wrong("has no adjustment");
    }
    let mut rows = Vec::new();
    for (index, item) in items.enumerate() {
        let Some(adjustment) = item.fields().and_then(|fields| adjustment(fields, list_source)) else {
            continue;
        };
        let row = Row {
            value: item,
            index,
            from: adjustment.effective_from,
            to: adjustment.effective_to,
        };
        rows.push(((adjustment.model.clone(), adjustment.meter), row, adjustment));
    }
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    for same in rows.chunk_by(|left, right| left.0 == right.0) {
        let same = same.iter().map(|(_, row, _)| row.clone()).collect();
        report_overlaps(same, "spec.adjustments", "the same model and meter at the same time");
    }
    rows.sort_by_key(|(_, row, _)| row.index);
    rows.into_iter().map(|(.., adjustment)| adjustment).collect()
}

fn adjustment(mut fields: Fields<'_>, list_source: Option<&str>) -> Option<Adjustment> {
    let model = match fields.take("model") {
        Some(value) => value.name(),
        None => Name::new("*").ok(),
    };
    let of = fields.take("meter");
    let meter = of.as_ref().map_or(Some(None), |value| meter(value).map(Some));
    let discount = fields.take("discount");
    let markup = fields.take("markup");
    let discount = match (&discount, &markup) {
        (Some(discount), None) => share(discount),
        (None, Some(markup)) => raise(markup),
        (Some(_), Some(_)) => {
            fields.wrong("markup", "stands beside discount: write one of them");
            None
        }
        (None, None) => {
            fields.wrong_map("has neither discount nor markup");
            None
        }
    };
    let period = period(&mut fields, "adjustment");
    let source = fields.take("source").and_then(|value| value.text()).map(|text| text.resolved);
    fields.finish();
    let (effective_from, effective_to) = period?;
    Some(Adjustment {
        model: model?,
        meter: meter?,
        discount: discount?,
        effective_from,
        effective_to,
        source: source.as_deref().or(list_source).map(Box::from),
    })
}

/// A share that is not owed.
pub(crate) fn share(value: &Value<'_>) -> Option<Amount> {
    let amount = value.share()?;
    if amount < Amount::ZERO || amount > Amount::ONE {
        value.wrong("must be from 0 to 1, or from 0% to 100%: \"15%\" and \"0.15\" are 15 percent off");
        return None;
    }
    Some(amount)
}

/// A share that is owed on top, as a discount below zero.
fn raise(value: &Value<'_>) -> Option<Amount> {
    let amount = value.share()?;
    let most = Amount::from_integer(MARKUP_MAX).ok()?;
    if amount < Amount::ZERO || amount > most {
        value.wrong("must be from 0 to 10, or from 0% to 1000%: \"3%\" and \"0.03\" are 3 percent on top");
        return None;
    }
    Amount::ZERO.checked_sub(amount).ok()
}
