//! A price list as the configuration reads it.

use std::collections::BTreeMap;
use std::fmt::Write;

use tollgate_record::{Adjustment, Name, Price, PriceList, Terms, Timestamp};

use super::scope::moment;

/// Writes a list as a `PriceList` document, a line a price.
///
/// The source that most prices have stands in `spec.source`, and only the others name theirs. What [`PriceList`] does not hold is not
/// written: comments, and whether a list is shipped.
pub fn to_yaml(list: &PriceList) -> String {
    let source = common_source(list);
    let mut yaml = format!(
        "apiVersion: tollgate/v1\nkind: PriceList\nmetadata: {{name: {}}}\nspec:\n  provider: {}\n  currency: {}\n",
        scalar(list.name.as_str()),
        scalar(list.provider.as_str()),
        scalar(list.currency.as_str()),
    );
    if let Some(source) = source {
        let _ = writeln!(yaml, "  source: {}", quoted(source));
    }
    yaml.push_str(&payer(&list.terms));
    if !list.terms.adjustments.is_empty() {
        yaml.push_str("  adjustments:\n");
        for one in &list.terms.adjustments {
            yaml.push_str(&adjustment(one, source));
        }
    }
    if list.prices.is_empty() {
        return yaml;
    }
    yaml.push_str("  prices:\n");
    for price in &list.prices {
        yaml.push_str(&line(price, source));
    }
    yaml
}

fn payer(terms: &Terms) -> String {
    let part = |what: &str, name: &Option<Name>| name.as_ref().map(|name| format!("{what}: {}", scalar(name.as_str())));
    let parts = [part("org", &terms.org), part("team", &terms.team)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("  for: {{{}}}\n", parts.join(", "))
}

fn adjustment(adjustment: &Adjustment, list_source: Option<&str>) -> String {
    let mut fields = vec![format!("model: {}", scalar(adjustment.model.as_str()))];
    fields.extend(adjustment.meter.map(|meter| format!("meter: {}", meter.as_str())));
    let amount = adjustment.discount.to_string();
    fields.push(match amount.strip_prefix('-') {
        Some(markup) => format!("markup: {}", quoted(markup)),
        None => format!("discount: {}", quoted(&amount)),
    });
    fields.push(format!("effective_from: {}", time(adjustment.effective_from)));
    fields.extend(adjustment.effective_to.map(|to| format!("effective_to: {}", time(to))));
    let source = adjustment.source.as_deref().filter(|source| Some(*source) != list_source);
    fields.extend(source.map(|source| format!("source: {}", quoted(source))));
    format!("    - {{{}}}\n", fields.join(", "))
}

fn line(price: &Price, list_source: Option<&str>) -> String {
    let mut fields = vec![format!("model: {}", scalar(price.model.as_str()))];
    fields.extend(
        price
            .region
            .iter()
            .map(|region| format!("region: {}", scalar(region.as_str()))),
    );
    fields.extend(
        price
            .service_tier
            .iter()
            .map(|tier| format!("service_tier: {}", scalar(tier.as_str()))),
    );
    fields.extend(price.context_above.map(|above| format!("context_above: {above}")));
    fields.push(format!("meter: {}, per: {}", price.meter.as_str(), price.per));
    fields.push(format!("price: {}", quoted(&price.price.to_string())));
    if !price.discount.is_zero() {
        fields.push(format!("discount: {}", quoted(&price.discount.to_string())));
    }
    fields.push(format!("effective_from: {}", time(price.effective_from)));
    fields.extend(price.effective_to.map(|to| format!("effective_to: {}", time(to))));
    let source = price.source.as_deref().filter(|source| Some(*source) != list_source);
    fields.extend(source.map(|source| format!("source: {}", quoted(source))));
    format!("    - {{{}}}\n", fields.join(", "))
}

/// The source that most prices and adjustments have; `None` if one has none, which would otherwise get this one.
fn common_source(list: &PriceList) -> Option<&str> {
    let prices = list.prices.iter().map(|price| price.source.as_deref());
    let adjustments = list.terms.adjustments.iter().map(|adjustment| adjustment.source.as_deref());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for source in prices.chain(adjustments) {
        *counts.entry(source?).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(source, _)| source)
}

/// A text without quotes where YAML leaves no doubt that it is one.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'));
    // Words that YAML, old or new, reads as a boolean or as nothing.
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if plain && !word { text.to_owned() } else { quoted(text) }
}

/// A text in double quotes; JSON's escapes are YAML's too. The configuration takes `${env:NAME}` for a reference, and would put a secret
/// in place of a name that a stranger's file has so: every dollar is doubled, which makes it a plain one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}

fn time(at: Timestamp) -> String {
    if at.unix_us() % Timestamp::DAY_US == 0 {
        moment(at)
    } else {
        quoted(&moment(at))
    }
}
