//! genai-prices' `data.json`: providers with models, each with prices by key (`input_mtok`), by date, and by request (`price_variants`).
//!
//! Both shapes are read that the project publishes: the list of providers (`prices/new_data/v2/data.json`, which the package fetches
//! itself) and the object of units and providers (`v3`). A model is not known by a name but by rules that match one; of those only
//! the ones are taken that a name or a glob can say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use tollgate_record::{Amount, Meter, Name, Price, Timestamp};

use super::json::{self, Object};
use super::litellm::list;
use super::names;
use super::notes::Notes;
use super::scope::Scope;
use super::timeline::{self, Picture};
use super::{Error, FILE_BYTES_MAX, Imported, Options};

/// Key of a price, its meter, and for how many units it is.
const KEYS: [(&str, Meter, u64); 22] = [
    ("audio_hours", Meter::Second, 3600),
    ("cache_audio_read_mtok", Meter::CacheReadAudio, 1_000_000),
    ("cache_image_read_mtok", Meter::CacheReadImage, 1_000_000),
    ("cache_read_mtok", Meter::CacheRead, 1_000_000),
    ("cache_write_1h_mtok", Meter::CacheWrite1h, 1_000_000),
    ("cache_write_5m_mtok", Meter::CacheWrite5m, 1_000_000),
    ("cache_write_mtok", Meter::CacheWrite, 1_000_000),
    ("input_audio_hours", Meter::Second, 3600),
    ("input_audio_mtok", Meter::AudioIn, 1_000_000),
    ("input_document_kpages", Meter::Page, 1000),
    ("input_image_mtok", Meter::ImageIn, 1_000_000),
    ("input_mchars", Meter::Character, 1_000_000),
    ("input_mtok", Meter::Input, 1_000_000),
    ("input_tool_mtok", Meter::ToolUseIn, 1_000_000),
    ("input_video_mtok", Meter::VideoIn, 1_000_000),
    ("output_audio_mtok", Meter::AudioOut, 1_000_000),
    ("output_image_mtok", Meter::ImageOut, 1_000_000),
    ("output_mtok", Meter::Output, 1_000_000),
    ("output_reasoning_mtok", Meter::Reasoning, 1_000_000),
    ("requests_kcount", Meter::Request, 1000),
    ("storage_searches_kcount", Meter::FileSearch, 1000),
    ("web_searches_kcount", Meter::WebSearch, 1000),
];
/// Deepest nesting of the rules that match a name.
const RULES_DEPTH_MAX: u32 = 8;

/// Prices of one moment and one kind of request: what holds for each threshold and meter.
type Prices = BTreeMap<(Option<u64>, Meter), (Amount, u64)>;

/// A set of prices and when it holds.
struct Dated {
    from: Option<Timestamp>,
    tier: Option<Name>,
    prices: Prices,
}

/// Reads genai-prices' data.
///
/// Each provider becomes a list named `genai-prices-` and its name, as we spell it. A model gets the names that its rules match: a name
/// that is equalled as it is, beginnings, ends and parts as globs; other rules are left out with a note. Where two models of a
/// provider match one name, the first has it, as there. A variant for batches, a service tier or fast mode becomes a tier, with
/// the prices of tokens that it leaves as they are. Of prices by the hour of the day the last holds at every hour, with a note.
///
/// # Errors
/// [`Error`] if the file is too large or has another shape.
pub fn read_genai_prices(text: &str, options: &Options<'_>) -> Result<Imported, Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge { bytes: text.len() });
    }
    let shape = |source| Error::Shape {
        format: "genai-prices",
        hint: "a list of providers, as prices/new_data/v2/data.json, or an object with one, as v3/data.json",
        source,
    };
    let raw: Box<RawValue> = serde_json::from_str(text).map_err(shape)?;
    let inner = json::object(&raw).and_then(|mut object| object.remove("providers"));
    let providers: Vec<Object> = serde_json::from_str(inner.as_deref().unwrap_or(&raw).get()).map_err(shape)?;
    let mut notes = Notes::default();
    let mut lists = Vec::new();
    for provider in &providers {
        let Some(theirs) = json::member_text(provider, "id") else {
            notes.add("a provider has no id", "");
            continue;
        };
        let models = provider.get("models").and_then(|raw| json::list(raw)).unwrap_or_default();
        let mut taken = BTreeSet::new();
        let mut prices = Vec::new();
        for model in models.iter().filter_map(|raw| json::object(raw)) {
            prices.extend(read_model(&model, &theirs, &mut taken, options, &mut notes));
        }
        if !prices.is_empty() {
            lists.extend(list("genai-prices", names::provider(&theirs), prices, &mut notes));
        }
    }
    lists.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(Imported {
        lists,
        notes: notes.finish(),
    })
}

fn read_model(model: &Object, provider: &str, taken: &mut BTreeSet<Name>, options: &Options<'_>, notes: &mut Notes) -> Vec<Price> {
    let Some(id) = json::member_text(model, "id") else {
        notes.add("a model has no id", provider);
        return Vec::new();
    };
    let label = format!("{provider}/{id}");
    let mut names = vec![id];
    match model.get("match").and_then(|raw| json::object(raw)) {
        Some(rule) => matched(&rule, &label, RULES_DEPTH_MAX, &mut names, notes),
        None => notes.add("has no rule that matches a name", &label),
    }
    let dated = read_prices(model, &label, notes);
    let pictures = |name: &Name| -> Vec<(Timestamp, Picture)> {
        let days: BTreeSet<Timestamp> = dated
            .iter()
            .filter_map(|set| set.from)
            .filter(|day| *day > options.effective_from)
            .collect();
        let moments = std::iter::once(options.effective_from).chain(days);
        moments.map(|at| (at, picture(&dated, at, name))).collect()
    };
    let mut prices = Vec::new();
    for name in names {
        match Name::new(&name) {
            Ok(name) if taken.insert(name.clone()) => prices.extend(timeline::prices(&pictures(&name), options.source)),
            Ok(_) => {}
            Err(_) => notes.add("a name is no name of ours", &label),
        }
    }
    prices
}

/// The names that a rule matches, as names and globs.
fn matched(rule: &Object, label: &str, depth: u32, into: &mut Vec<String>, notes: &mut Notes) {
    for (kind, raw) in rule {
        let text = json::text(raw);
        match (kind.as_str(), text) {
            (_, Some(text)) if text.contains(['*', '?']) && kind != "regex" => {
                notes.add("a name has * or ?, which a glob takes for any text", label)
            }
            ("equals", Some(text)) => into.push(text),
            ("starts_with", Some(text)) => into.push(format!("{text}*")),
            ("ends_with", Some(text)) => into.push(format!("*{text}")),
            ("contains", Some(text)) => into.push(format!("*{text}*")),
            ("or", _) if depth > 0 => {
                for inner in json::list(raw).unwrap_or_default().iter().filter_map(|raw| json::object(raw)) {
                    matched(&inner, label, depth - 1, into, notes);
                }
            }
            _ => notes.add(format!("no glob says the rule {kind}"), label),
        }
    }
}

/// The model's prices, those that hold first in front; where several hold, the last does.
fn read_prices(model: &Object, label: &str, notes: &mut Notes) -> Vec<Dated> {
    let mut dated = Vec::new();
    let Some(raw) = model.get("prices") else {
        notes.add("has no prices", label);
        return dated;
    };
    match json::list(raw) {
        None => dated.push(Dated {
            from: None,
            tier: None,
            prices: keys(raw, label, notes),
        }),
        Some(conditional) => {
            for entry in conditional.iter().filter_map(|raw| json::object(raw)) {
                let Some(prices) = entry.get("prices") else { continue };
                let from = start(&entry, label, notes);
                let prices = keys(prices, label, notes);
                dated.push(Dated {
                    from,
                    tier: None,
                    prices,
                });
            }
        }
    }
    // There the first variant of a key wins, here the last set: so they are turned around.
    let variants = model
        .get("price_variants")
        .and_then(|raw| json::list(raw))
        .unwrap_or_default();
    for variant in variants.iter().rev().filter_map(|raw| json::object(raw)) {
        let (Some(tier), Some(prices)) = (tier(&variant), variant.get("prices")) else {
            notes.add("a variant is for requests that no tier stands for", label);
            continue;
        };
        let from = start(&variant, label, notes);
        let prices = keys(prices, label, notes);
        dated.push(Dated {
            from,
            tier: Some(tier),
            prices,
        });
    }
    if dated.iter().all(|set| set.prices.is_empty()) {
        notes.add("has no price: free, or not known", label);
    }
    dated
}

/// The first day of a set of prices.
fn start(entry: &Object, label: &str, notes: &mut Notes) -> Option<Timestamp> {
    let constraint = entry.get("constraint").and_then(|raw| json::object(raw))?;
    let Some(day) = json::member_text(&constraint, "start_date") else {
        notes.add("prices by the hour of the day: the last holds at every hour", label);
        return None;
    };
    match day.parse::<chrono::NaiveDate>() {
        Ok(day) => Some(Timestamp::from_unix_us(
            day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros(),
        )),
        Err(_) => {
            notes.add(format!("{day:?} is no day"), label);
            None
        }
    }
}

/// The service tier of a variant.
fn tier(variant: &Object) -> Option<Name> {
    let when = variant.get("when").and_then(|raw| json::object(raw))?;
    let mut conditions = when.iter();
    let (Some((key, value)), None) = (conditions.next(), conditions.next()) else {
        return None;
    };
    let value = json::text(value)?;
    let known = match key.as_str() {
        "processing" | "service_tier" => !matches!(value.as_str(), "default" | "standard"),
        "speed" => value == "fast",
        _ => false,
    };
    known.then(|| Name::new(&value).ok()).flatten()
}

/// Prices by key, those above thresholds too.
fn keys(raw: &RawValue, label: &str, notes: &mut Notes) -> Prices {
    let mut prices = Prices::new();
    for (key, raw) in json::object(raw).unwrap_or_default() {
        if raw.get() == "null" {
            continue;
        }
        let Some((_, meter, per)) = KEYS.iter().find(|(name, _, _)| *name == key) else {
            notes.add(format!("{key} has no meter"), label);
            continue;
        };
        let tiered = json::object(&raw);
        let mut found: Vec<(Option<u64>, &RawValue)> = Vec::new();
        let tiers: Vec<Object> = tiered
            .as_ref()
            .and_then(|tiered| json::list(tiered.get("tiers")?))
            .unwrap_or_default()
            .iter()
            .filter_map(|raw| json::object(raw))
            .collect();
        match &tiered {
            None => found.push((None, &raw)),
            Some(tiered) => found.extend(tiered.get("base").map(|base| (None, &**base))),
        }
        for tier in &tiers {
            let start: Option<u64> = tier.get("start").and_then(|raw| raw.get().parse().ok());
            match (start, tier.get("price")) {
                (Some(start), Some(price)) => found.push((Some(start), price)),
                _ => notes.add(format!("{key} has a tier without start or price"), label),
            }
        }
        for (above, raw) in found {
            match json::amount(raw, 0) {
                Ok(price) => {
                    if price.rounded {
                        notes.add(format!("{key} has more than twelve decimal places: rounded"), label);
                    }
                    prices.insert((above, *meter), (price.amount, *per));
                }
                Err(reason) => notes.add(format!("{key} {reason}"), label),
            }
        }
    }
    prices
}

/// What holds at a moment: the standard tier, and each variant over it.
fn picture(dated: &[Dated], at: Timestamp, name: &Name) -> Picture {
    let active = |set: &&Dated| set.from.is_none_or(|from| from <= at);
    let standard = dated.iter().filter(|set| set.tier.is_none());
    let standard = standard.clone().rfind(active).or_else(|| standard.clone().next());
    let Some(standard) = standard else {
        return Picture::new();
    };
    let mut tiers: BTreeMap<Option<&Name>, Prices> = BTreeMap::from([(None, standard.prices.clone())]);
    for set in dated.iter().filter(active) {
        let Some(tier) = &set.tier else { continue };
        // What is not counted in tokens costs the same in every tier, and is found there without a price of its own.
        let tokens = || {
            let prices = standard.prices.iter().filter(|((_, meter), _)| meter.unit() == "token");
            prices.map(|(key, price)| (*key, *price)).collect()
        };
        let prices = tiers.entry(Some(tier)).or_insert_with(tokens);
        // A price replaces the standard one with all its thresholds.
        prices.retain(|(_, meter), _| !set.prices.contains_key(&(None, *meter)));
        prices.extend(set.prices.iter().map(|(key, price)| (*key, *price)));
    }
    let mut picture = Picture::new();
    for (tier, prices) in tiers {
        for ((context_above, meter), price) in prices {
            let scope = Scope {
                model: name.clone(),
                region: None,
                service_tier: tier.cloned(),
                context_above,
                meter,
            };
            picture.insert(scope, price);
        }
    }
    picture
}
