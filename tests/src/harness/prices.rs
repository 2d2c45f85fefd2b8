//! The prices of the tests' models, from which the gateway's price list is written and every cost is worked out again.
//!
//! They are awkward on purpose: six places per million tokens, so that a cost needs all twelve places and a float would show.

use std::fmt::Write;

use super::money::Decimal;

/// One price: provider template, model, service tier, input tokens above which it holds, meter, units it is for, amount.
struct Price(
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<i64>,
    &'static str,
    i128,
    &'static str,
);

const MILLION: i128 = 1_000_000;

/// Every meter has a price.
pub(crate) const OPENAI_MODEL: &str = "ledger-large";
/// Every meter has a price.
pub(crate) const ANTHROPIC_MODEL: &str = "ledger-opus";
/// An alias: another name answers, which ends in a date.
pub(crate) const ALIAS_MODEL: &str = "gpt-4o-mini";
/// Input and output only; the name is matched by a glob.
pub(crate) const PLAIN_MODEL: &str = "ledger-plain-7";
/// No list knows it.
pub(crate) const UNPRICED_MODEL: &str = "nobody-prices-this";
/// Embeddings.
pub(crate) const EMBEDDING_MODEL: &str = "ledger-embedding";

#[rustfmt::skip]
const PRICES: &[Price] = &[
    Price("openai", OPENAI_MODEL, None, None, "input", MILLION, "2.500001"),
    Price("openai", OPENAI_MODEL, None, None, "cache_read", MILLION, "0.250003"),
    Price("openai", OPENAI_MODEL, None, None, "cache_write", MILLION, "3.125007"),
    Price("openai", OPENAI_MODEL, None, None, "audio_in", MILLION, "40.000011"),
    Price("openai", OPENAI_MODEL, None, None, "output", MILLION, "10.000013"),
    Price("openai", OPENAI_MODEL, None, None, "reasoning", MILLION, "11.000017"),
    Price("openai", OPENAI_MODEL, None, None, "audio_out", MILLION, "80.000019"),
    Price("openai", OPENAI_MODEL, None, None, "web_search", 1000, "10.01"),
    Price("openai", OPENAI_MODEL, None, Some(200_000), "input", MILLION, "5.000002"),
    Price("openai", OPENAI_MODEL, None, Some(200_000), "cache_read", MILLION, "0.500006"),
    Price("openai", OPENAI_MODEL, None, Some(200_000), "output", MILLION, "15.000039"),
    Price("openai", OPENAI_MODEL, None, Some(200_000), "reasoning", MILLION, "16.000051"),
    Price("openai", OPENAI_MODEL, Some("flex"), None, "input", MILLION, "1.250003"),
    Price("openai", OPENAI_MODEL, Some("flex"), None, "output", MILLION, "5.000007"),
    Price("openai", OPENAI_MODEL, Some("batch"), None, "input", MILLION, "1.250001"),
    Price("openai", OPENAI_MODEL, Some("batch"), None, "cache_read", MILLION, "0.250003"),
    Price("openai", OPENAI_MODEL, Some("batch"), None, "output", MILLION, "5.000009"),
    Price("openai", OPENAI_MODEL, Some("batch"), None, "reasoning", MILLION, "5.500011"),
    Price("openai", ALIAS_MODEL, None, None, "input", MILLION, "0.150001"),
    Price("openai", ALIAS_MODEL, None, None, "output", MILLION, "0.600003"),
    Price("openai", "ledger-plain-*", None, None, "input", MILLION, "0.000001"),
    Price("openai", "ledger-plain-*", None, None, "output", MILLION, "999999.999999"),
    Price("openai", EMBEDDING_MODEL, None, None, "input", MILLION, "0.020009"),
    Price("anthropic", ANTHROPIC_MODEL, None, None, "input", MILLION, "5.000021"),
    Price("anthropic", ANTHROPIC_MODEL, None, None, "cache_read", MILLION, "0.500023"),
    Price("anthropic", ANTHROPIC_MODEL, None, None, "cache_write", MILLION, "6.250027"),
    Price("anthropic", ANTHROPIC_MODEL, None, None, "cache_write_1h", MILLION, "10.000029"),
    Price("anthropic", ANTHROPIC_MODEL, None, None, "output", MILLION, "25.000031"),
    Price("anthropic", ANTHROPIC_MODEL, None, None, "web_search", 1000, "10"),
    Price("anthropic", ANTHROPIC_MODEL, Some("batch"), None, "input", MILLION, "2.500011"),
    Price("anthropic", ANTHROPIC_MODEL, Some("batch"), None, "cache_read", MILLION, "0.250013"),
    Price("anthropic", ANTHROPIC_MODEL, Some("batch"), None, "cache_write", MILLION, "3.125017"),
    Price("anthropic", ANTHROPIC_MODEL, Some("batch"), None, "output", MILLION, "12.500019"),
    // The agent chooses its model itself.
    Price("anthropic", "claude-*", None, None, "input", MILLION, "3.000037"),
    Price("anthropic", "claude-*", None, None, "cache_read", MILLION, "0.300041"),
    Price("anthropic", "claude-*", None, None, "cache_write", MILLION, "3.750043"),
    Price("anthropic", "claude-*", None, None, "output", MILLION, "15.000047"),
];

/// The prices as configuration documents, one list a provider template.
pub(crate) fn documents() -> String {
    let mut text = String::new();
    for provider in ["openai", "anthropic"] {
        writeln!(
            text,
            "---\napiVersion: tollgate/v1\nkind: PriceList\nmetadata: {{name: {provider}-e2e}}"
        )
        .unwrap();
        writeln!(text, "spec:\n  provider: {provider}\n  currency: USD\n  prices:").unwrap();
        for Price(_, model, tier, above, meter, per, price) in PRICES.iter().filter(|price| price.0 == provider) {
            let tier = tier.map(|tier| format!("service_tier: {tier}, ")).unwrap_or_default();
            let above = above.map(|tokens| format!("context_above: {tokens}, ")).unwrap_or_default();
            writeln!(
                text,
                "    - {{model: \"{model}\", {tier}{above}meter: {meter}, per: {per}, price: \"{price}\", effective_from: 2024-01-01}}"
            )
            .unwrap();
        }
    }
    text
}

/// Whether reasoning tokens have a price of their own; without one they are charged among the output.
pub(crate) fn prices_reasoning(provider: &str, models: &[&str], tier: Option<&str>) -> bool {
    PRICES
        .iter()
        .any(|price| price.0 == provider && models.contains(&price.1) && price.2 == tier && price.4 == "reasoning")
}

/// The price of one unit of a meter, as docs/prices.md says it is found: exact names before globs, the tier's entry and no other, the largest
/// context that is exceeded; written tokens of a known lifetime fall back to `cache_write`, reasoning to `output`.
pub(crate) fn unit_price(provider: &str, models: &[&str], tier: Option<&str>, input: i64, meter: &str) -> Option<Decimal> {
    let undated = |name: &str| name.rsplit_once("-20").map_or(name.to_owned(), |(stem, _)| stem.to_owned());
    let named = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(stem) => name.starts_with(stem),
        None => pattern == name,
    };
    let names = models.iter().flat_map(|name| [(*name).to_owned(), undated(name)]);
    let known = names
        .into_iter()
        .find(|name| PRICES.iter().any(|price| price.0 == provider && named(price.1, name)))?;
    let find = |meter: &str| {
        let of_model = PRICES
            .iter()
            .filter(|price| price.0 == provider && named(price.1, &known) && price.2 == tier);
        let fits = of_model.filter(|price| price.4 == meter && price.3.is_none_or(|above| input > above));
        fits.max_by_key(|price| price.3)
            .map(|price| Decimal::parse(price.6).per(price.5))
    };
    let fallback = match meter {
        "cache_write_5m" | "cache_write_1h" => Some("cache_write"),
        "reasoning" => Some("output"),
        _ => None,
    };
    find(meter).or_else(|| find(fallback?))
}
