//! LiteLLM's `model_prices_and_context_window.json`: an object of models, each with costs of one token (or second, page, image).
//!
//! A key names the model and often its provider, a Region or a data zone before it (`bedrock/eu-west-1/meta.llama3-8b-instruct-v1:0`,
//! `azure/eu/gpt-5`). Thresholds and service tiers are endings of the field's name (`input_cost_per_token_above_200k_tokens_priority`).
//! The file has no dates and knows only today's prices.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tollgate_record::{Meter, Name, Price, PriceList, Terms};

use super::json::{self, Object};
use super::names;
use super::notes::Notes;
use super::scope::Scope;
use super::timeline::{self, Picture};
use super::{Error, FILE_BYTES_MAX, Imported, Options};
use crate::decimal::Decimal;

/// Field of one token's cost, and its meter. Longer names stand before those they begin with.
const TOKEN_FIELDS: [(&str, Meter); 13] = [
    ("cache_creation_input_token_cost_above_1hr", Meter::CacheWrite1h),
    ("cache_creation_input_token_cost", Meter::CacheWrite),
    ("cache_read_input_audio_token_cost", Meter::CacheReadAudio),
    ("cache_read_input_image_token_cost", Meter::CacheReadImage),
    ("cache_read_input_token_cost", Meter::CacheRead),
    ("input_cost_per_audio_token", Meter::AudioIn),
    ("input_cost_per_image_token", Meter::ImageIn),
    ("input_cost_per_token", Meter::Input),
    ("input_cost_per_video_token", Meter::VideoIn),
    ("output_cost_per_audio_token", Meter::AudioOut),
    ("output_cost_per_image_token", Meter::ImageOut),
    ("output_cost_per_reasoning_token", Meter::Reasoning),
    ("output_cost_per_token", Meter::Output),
];
/// Endings of a field that name a service tier, and ours.
const TIERS: [(&str, &str); 4] = [
    ("_batches", "batch"),
    ("_flex", "flex"),
    ("_priority", "priority"),
    ("_ultrafast", "ultrafast"),
];
/// Keys that begin with the provider's name in another spelling than `litellm_provider`.
const PREFIXES: [&str; 2] = ["vertex_ai", "bedrock"];

/// One model of the file.
struct Entry<'a> {
    key: &'a str,
    fields: Object,
}

/// What a key says.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    region: Option<&'a str>,
    model: &'a str,
    /// Whether it names the provider: such a key is meant for it more than one that does not.
    exact: bool,
}

/// Reads LiteLLM's price file.
///
/// Each provider becomes a list named `litellm-` and its name, as we spell it; prices of a token become prices of a million. A model
/// that the file has under several keys keeps the price of the key that names the provider. xAI's threshold is "from 200,000 tokens
/// on", which is "above 199,999". What has no meter (prices of pixels, of seconds of video, by the size of a search) is left out with a
/// note, as is a model whose input and output are zero: the file writes an unknown price so.
///
/// # Errors
/// [`Error`] if the file is too large or has another shape.
pub fn read_litellm(text: &str, options: &Options<'_>) -> Result<Imported, Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge { bytes: text.len() });
    }
    let models: Object = serde_json::from_str(text).map_err(|source| Error::Shape {
        format: "litellm",
        hint: "an object of models, as model_prices_and_context_window.json",
        source,
    })?;
    let mut notes = Notes::default();
    let mut entries = Vec::with_capacity(models.len());
    for (key, raw) in models.iter().filter(|(key, _)| *key != "sample_spec") {
        let Some(fields) = json::object(raw) else {
            notes.add("is no object", key);
            continue;
        };
        let Some(theirs) = json::member_text(&fields, "litellm_provider") else {
            notes.add("has no litellm_provider", key);
            continue;
        };
        match Place::of(key, &theirs) {
            Some(place) => entries.push((place, names::provider(&theirs).to_owned(), Entry { key, fields })),
            None => notes.add("the key has parts that are neither provider nor region", key),
        }
    }
    entries.sort_by_key(|(place, _, _)| !place.exact);
    let mut pictures: BTreeMap<&str, Picture> = BTreeMap::new();
    for (place, provider, entry) in &entries {
        entry.read(place, provider, pictures.entry(provider).or_default(), &mut notes);
    }
    let lists = pictures
        .into_iter()
        .filter(|(_, picture)| !picture.is_empty())
        .filter_map(|(provider, picture)| {
            let prices = timeline::prices(&[(options.effective_from, picture)], options.source);
            list("litellm", provider, prices, &mut notes)
        })
        .collect();
    Ok(Imported {
        lists,
        notes: notes.finish(),
    })
}

/// A list of prices in dollars.
pub(super) fn list(format: &str, provider: &str, prices: Vec<Price>, notes: &mut Notes) -> Option<PriceList> {
    let (Ok(name), Ok(ours), Ok(currency)) = (
        Name::new(&format!("{format}-{provider}")),
        Name::new(provider),
        Name::new("USD"),
    ) else {
        notes.add("the provider's name is no name of ours", provider);
        return None;
    };
    let mut list = PriceList {
        name,
        provider: ours,
        currency,
        shipped: false,
        prices,
        terms: Terms::default(),
    };
    timeline::sort(&mut list);
    Some(list)
}

// === impl Place ===

impl<'a> Place<'a> {
    /// `None` if parts of the key stand for something that a price list has no field for: image sizes, commitments.
    fn of(key: &'a str, theirs: &str) -> Option<Self> {
        let family = theirs.split(['-', '_']).next().unwrap_or(theirs);
        let named = key
            .split_once('/')
            .filter(|(first, _)| *first == theirs || PREFIXES.contains(first) || *first == family && !names::is_aws_region(first));
        let (exact, rest) = match named {
            Some((_, rest)) => (true, rest),
            None => (false, key),
        };
        let place = |region, model| Some(Self { region, model, exact });
        match names::provider(theirs) {
            "awsbedrock" => match rest.split_once('/') {
                None => place(None, rest),
                Some((region, model)) if names::is_aws_region(region) && !model.contains('/') => place(Some(region), model),
                Some(_) => None,
            },
            "azure-openai" => match rest.split_once('/') {
                None => place(None, rest),
                Some((zone @ ("eu" | "us" | "us-gov"), model)) if !model.contains('/') => place(Some(zone), model),
                Some(("global" | "global-standard", model)) if !model.contains('/') => place(None, model),
                Some(_) => None,
            },
            // Their models' own names have slashes.
            _ => place(None, rest),
        }
    }
}

// === impl Entry ===

impl Entry<'_> {
    fn read(&self, place: &Place<'_>, provider: &str, into: &mut Picture, notes: &mut Notes) {
        let (Ok(model), region) = (Name::new(place.model), place.region.map(Name::new).transpose()) else {
            notes.add("the model's name is no name of ours", self.key);
            return;
        };
        let scope = Scope {
            model,
            region: region.ok().flatten(),
            service_tier: None,
            context_above: None,
            meter: Meter::Input,
        };
        let mut found = Picture::new();
        for (field, raw) in &self.fields {
            if !field.contains("cost") && !field.contains("pricing") || raw.get() == "null" {
                continue;
            }
            match self.price(field, raw, provider, &scope) {
                Ok((scope, price, per)) => {
                    if price.rounded {
                        notes.add(format!("{field} has more than twelve decimal places: rounded"), self.key);
                    }
                    found.insert(scope, (price.amount, per));
                }
                Err(reason) => notes.add(format!("{field} {reason}"), self.key),
            }
        }
        self.leave_out(&mut found, notes);
        for (scope, price) in found {
            match into.get(&scope) {
                None => {
                    into.insert(scope, price);
                }
                Some(kept) if *kept == price => {}
                Some((kept, _)) => notes.add(
                    format!(
                        "{} is {} under this key, and {kept} under the one that was taken",
                        scope.meter.as_str(),
                        price.0
                    ),
                    self.key,
                ),
            }
        }
    }

    /// The price of a field and for how many units it is, or why it is none.
    fn price(&self, field: &str, raw: &RawValue, provider: &str, scope: &Scope) -> Result<(Scope, Decimal, u64), String> {
        let mode = json::member_text(&self.fields, "mode").unwrap_or_default();
        let image = matches!(mode.as_str(), "image_generation" | "image_edit");
        let by_token = self.fields.contains_key("output_cost_per_image_token");
        let (meter, per, places) = match field {
            "search_context_cost_per_query" => {
                let by_query = json::member_text(&self.fields, "web_search_billing_unit").is_some_and(|unit| unit == "per_query");
                let meter = if by_query { Meter::SearchQuery } else { Meter::WebSearch };
                return Ok((scope.with(meter), search(raw)?, 1000));
            }
            "google_maps_grounding_cost_per_query" => (Meter::MapsGrounding, 1000, 3),
            "ocr_cost_per_page" | "ocr_cost_per_page_batches" => (Meter::Page, 1000, 3),
            "input_cost_per_second" if mode == "audio_transcription" => (Meter::Second, 1, 0),
            "input_cost_per_character" if mode == "audio_speech" => (Meter::Character, 1_000_000, 6),
            "output_cost_per_image" if image && !by_token => (Meter::Image, 1, 0),
            _ => {
                let mut fields = TOKEN_FIELDS.iter();
                let known = fields.find_map(|(name, meter)| Some((field.strip_prefix(name)?, *meter)));
                let placed = known.and_then(|(rest, meter)| Some((ending(rest, provider)?, meter)));
                let ((context_above, service_tier), meter) = placed.ok_or("has no meter")?;
                let scope = Scope {
                    context_above,
                    service_tier,
                    ..scope.with(meter)
                };
                return Ok((scope, json::amount(raw, 6)?, 1_000_000));
            }
        };
        let service_tier = field.ends_with("_batches").then(|| Name::new("batch").ok()).flatten();
        let scope = Scope {
            service_tier,
            ..scope.with(meter)
        };
        Ok((scope, json::amount(raw, places)?, per))
    }

    /// Leaves out zeros that stand for something else than a price of nothing.
    fn leave_out(&self, found: &mut Picture, notes: &mut Notes) {
        let zero = |scope: &Scope, found: &Picture| found.get(scope).is_none_or(|(amount, _)| amount.is_zero());
        let unknown: Vec<Scope> = found
            .keys()
            .filter(|scope| matches!(scope.meter, Meter::Input | Meter::Output))
            .filter(|scope| zero(&scope.with(Meter::Input), found) && zero(&scope.with(Meter::Output), found))
            .cloned()
            .collect();
        if !unknown.is_empty() {
            notes.add("input and output are zero: free, or not known", self.key);
        }
        for scope in unknown {
            found.remove(&scope);
        }
        let embeds = json::member_text(&self.fields, "mode")
            .is_some_and(|mode| !matches!(mode.as_str(), "chat" | "completion" | "responses"));
        // An embedding has no output tokens, and a cache without a price is none.
        found.retain(|scope, (amount, _)| {
            !amount.is_zero()
                || !(embeds && scope.meter == Meter::Output || matches!(scope.meter, Meter::CacheRead | Meter::CacheWrite))
        });
        // Reasoning costs what output costs, if it is not told otherwise.
        let reasoning: Vec<Scope> = found
            .iter()
            .filter(|(scope, price)| scope.meter == Meter::Reasoning && found.get(&scope.with(Meter::Output)) == Some(price))
            .map(|(scope, _)| scope.clone())
            .collect();
        for scope in reasoning {
            found.remove(&scope);
        }
    }
}

/// The price of a thousand searches, where it does not depend on how much is searched.
fn search(raw: &RawValue) -> Result<Decimal, String> {
    let sizes = json::object(raw).ok_or("is no object")?;
    let mut prices = sizes.values().map(|size| json::amount(size, 3));
    let first = prices.next().ok_or("is empty")??;
    for price in prices {
        if price? != first {
            return Err("depends on the size of the search".to_owned());
        }
    }
    Ok(first)
}

/// Threshold and tier at the end of a field's name; `None` if it says something else.
fn ending(rest: &str, provider: &str) -> Option<(Option<u64>, Option<Name>)> {
    let (rest, tier) = TIERS
        .iter()
        .find_map(|(suffix, tier)| Some((rest.strip_suffix(suffix)?, Some(*tier))))
        .unwrap_or((rest, None));
    let tier = tier.and_then(|tier| Name::new(tier).ok());
    if rest.is_empty() {
        return Some((None, tier));
    }
    let thousands: u64 = rest.strip_prefix("_above_")?.strip_suffix("k_tokens")?.parse().ok()?;
    let above = thousands.checked_mul(1000)?.checked_sub(u64::from(provider == "xai"))?;
    Some((Some(above), tier))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_provider_region_and_model() {
        for (key, theirs, region, model, exact) in [
            ("gpt-5", "openai", None, "gpt-5", false),
            ("xai/grok-4.7", "xai", None, "grok-4.7", true),
            ("groq/openai/gpt-oss-20b", "groq", None, "openai/gpt-oss-20b", true),
            ("together_ai/zai-org/GLM-5", "together_ai", None, "zai-org/GLM-5", true),
            (
                "vertex_ai/claude-opus-5@default",
                "vertex_ai-anthropic_models",
                None,
                "claude-opus-5@default",
                true,
            ),
            ("gemini-2.5-pro", "vertex_ai-language-models", None, "gemini-2.5-pro", false),
            (
                "us.anthropic.claude-opus-5",
                "bedrock_converse",
                None,
                "us.anthropic.claude-opus-5",
                false,
            ),
            (
                "bedrock/eu-west-1/meta.llama3-8b-instruct-v1:0",
                "bedrock",
                Some("eu-west-1"),
                "meta.llama3-8b-instruct-v1:0",
                true,
            ),
            (
                "bedrock_mantle/us-gov-west-1/openai.gpt-5.4",
                "bedrock_mantle",
                Some("us-gov-west-1"),
                "openai.gpt-5.4",
                true,
            ),
            ("azure/eu/gpt-5", "azure", Some("eu"), "gpt-5", true),
            ("azure/global/gpt-5", "azure", None, "gpt-5", true),
        ] {
            assert_eq!(Place::of(key, theirs), Some(Place { region, model, exact }), "{key}");
        }
        for (key, theirs) in [
            ("bedrock/us-east-1/1-month-commitment/anthropic.claude-v1", "bedrock"),
            ("1024-x-1024/50-steps/stability.stable-diffusion-xl-v1", "bedrock"),
            ("azure/hd/1024-x-1024/dall-e-3", "azure"),
        ] {
            assert_eq!(Place::of(key, theirs), None, "{key}");
        }
    }

    #[test]
    fn endings_name_thresholds_and_tiers() {
        let tier = |text: &str| Name::new(text).ok();
        assert_eq!(ending("", "openai"), Some((None, None)));
        assert_eq!(ending("_above_200k_tokens", "openai"), Some((Some(200_000), None)));
        assert_eq!(ending("_above_200k_tokens", "xai"), Some((Some(199_999), None)));
        assert_eq!(
            ending("_above_272k_tokens_priority", "openai"),
            Some((Some(272_000), tier("priority")))
        );
        assert_eq!(ending("_batches", "openai"), Some((None, tier("batch"))));
        for other in [
            "_cache_hit",
            "_above_8s_interval",
            "_balanced",
            "_above_99999999999999999999k_tokens",
        ] {
            assert_eq!(ending(other, "openai"), None, "{other}");
        }
    }
}
