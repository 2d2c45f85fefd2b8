//! Price files of others, and the YAML that is made of them.

use proptest::prelude::*;
use tollgate_record::{Adjustment, Amount, Meter, Price, PriceList, Timestamp};

use super::{amount, day, list, name, options, price};
use crate::price::scope::moment;
use crate::price::{Imported, read_genai_prices, read_litellm, to_yaml};

/// A list as lines: provider, model, region, tier, context, meter, price, per, from, to.
fn lines(imported: &Imported) -> Vec<String> {
    let line = |list: &PriceList, price: &Price| {
        let region = price
            .region
            .as_ref()
            .map(|region| format!(" in {region}"))
            .unwrap_or_default();
        let tier = price.service_tier.as_ref().map(|tier| format!(" {tier}")).unwrap_or_default();
        let above = price.context_above.map(|above| format!(" >{above}")).unwrap_or_default();
        let from = moment(price.effective_from);
        let to = price.effective_to.map(moment).unwrap_or_default();
        format!(
            "{} {}{region}{tier}{above} {} {}/{} {from}..{to}",
            list.provider,
            price.model,
            price.meter.as_str(),
            price.price,
            price.per
        )
    };
    let lists = imported.lists.iter();
    lists
        .flat_map(|list| list.prices.iter().map(move |price| line(list, price)))
        .collect()
}

fn notes(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn litellm_prices_of_a_token_become_prices_of_a_million() {
    let file = r#"{
        "sample_spec": {"litellm_provider": "one of https://docs.litellm.ai", "input_cost_per_token": 0.1},
        "gpt-x": {
            "litellm_provider": "openai", "mode": "chat", "max_tokens": 128000,
            "input_cost_per_token": 1.25e-06, "output_cost_per_token": 0.00001, "cache_read_input_token_cost": 1.25e-07,
            "input_cost_per_token_above_272k_tokens": 2.5E-6, "input_cost_per_token_batches": 6.25e-7,
            "input_cost_per_token_above_272k_tokens_priority": "5e-06", "output_cost_per_reasoning_token": 1e-05,
            "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.01},
            "input_cost_per_image_token": 8e-06, "cache_read_input_image_token_cost": 2e-06, "output_cost_per_image_token": 3e-05,
            "input_cost_per_pixel": 1e-9
        }
    }"#;
    let imported = read_litellm(file, &options()).unwrap();
    assert_eq!(
        lines(&imported),
        [
            "openai gpt-x input 1.25/1000000 2026-01-01..",
            "openai gpt-x cache_read 0.125/1000000 2026-01-01..",
            // Reasoning costs what output costs, and needs no line.
            "openai gpt-x output 10/1000000 2026-01-01..",
            "openai gpt-x web_search 10/1000 2026-01-01..",
            "openai gpt-x cache_read_image 2/1000000 2026-01-01..",
            "openai gpt-x image_in 8/1000000 2026-01-01..",
            "openai gpt-x image_out 30/1000000 2026-01-01..",
            "openai gpt-x >272000 input 2.5/1000000 2026-01-01..",
            "openai gpt-x batch input 0.625/1000000 2026-01-01..",
            "openai gpt-x priority >272000 input 5/1000000 2026-01-01..",
        ]
    );
    assert_eq!(notes(&imported), ["input_cost_per_pixel has no meter: gpt-x"]);
    let list = &imported.lists[0];
    assert_eq!(
        (list.name.as_str(), list.currency.as_str(), list.shipped),
        ("litellm-openai", "USD", false)
    );
    assert_eq!(list.prices[0].source.as_deref(), Some("a file of 2026-11-25"));
}

#[test]
fn litellm_keys_become_providers_regions_and_models() {
    let file = r#"{
        "bedrock/eu-west-2/zai.glm-5": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1.2e-6},
        "zai.glm-5": {"litellm_provider": "bedrock_converse", "mode": "chat", "input_cost_per_token": 1e-6},
        "azure/eu/gpt-x": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 1.1e-6},
        "bedrock/us-east-1/1-month-commitment/x": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_second": 0.011},
        "gemini-x": {"litellm_provider": "vertex_ai-language-models", "mode": "chat", "input_cost_per_token": 3e-6},
        "gemini/gemini-x": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 2e-6, "web_search_billing_unit": "per_query",
            "search_context_cost_per_query": {"search_context_size_low": 0.014}, "google_maps_grounding_cost_per_query": 0.014},
        "xai/grok-x": {"litellm_provider": "xai", "mode": "chat", "input_cost_per_token": 2e-6, "input_cost_per_token_above_200k_tokens": 4e-6}
    }"#;
    let imported = read_litellm(file, &options()).unwrap();
    assert_eq!(
        lines(&imported),
        [
            "awsbedrock zai.glm-5 input 1/1000000 2026-01-01..",
            "awsbedrock zai.glm-5 in eu-west-2 input 1.2/1000000 2026-01-01..",
            "azure-openai gpt-x in eu input 1.1/1000000 2026-01-01..",
            "gemini gemini-x input 2/1000000 2026-01-01..",
            "gemini gemini-x search_query 14/1000 2026-01-01..",
            "gemini gemini-x maps_grounding 14/1000 2026-01-01..",
            "xai grok-x input 2/1000000 2026-01-01..",
            // "From 200,000 on" is "above 199,999".
            "xai grok-x >199999 input 4/1000000 2026-01-01..",
        ]
    );
    assert_eq!(
        notes(&imported),
        [
            "input is 3 under this key, and 2 under the one that was taken: gemini-x",
            "the key has parts that are neither provider nor region: bedrock/us-east-1/1-month-commitment/x",
        ]
    );
}

#[test]
fn litellm_zeros_and_what_is_no_amount_are_left_out_with_a_note() {
    let file = r#"{
        "free": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0.0},
        "embed": {"litellm_provider": "groq", "mode": "embedding", "input_cost_per_token": 1e-7, "output_cost_per_token": 0},
        "long": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 1.2345678901234567891e-6},
        "noise": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 1.3200000000000002e-07},
        "words": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": "cheap"},
        "less": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": -1e-6},
        "whisper": {"litellm_provider": "groq", "mode": "audio_transcription", "input_cost_per_second": 3.083e-05},
        "ocr": {"litellm_provider": "mistral", "mode": "ocr", "ocr_cost_per_page": 4e-3, "ocr_cost_per_page_batches": 0.002},
        "none": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": null},
        "nobody": {"mode": "chat", "input_cost_per_token": 1e-6},
        "text": "no object"
    }"#;
    let imported = read_litellm(file, &options()).unwrap();
    assert_eq!(
        lines(&imported),
        [
            "groq embed input 0.1/1000000 2026-01-01..",
            // A million times 0.0000012345678901234567891, at twelve places.
            "groq long input 1.234567890123/1000000 2026-01-01..",
            // What a float of 0.132 per million has too much is gone.
            "groq noise input 0.132/1000000 2026-01-01..",
            "groq whisper second 0.00003083/1 2026-01-01..",
            "mistral ocr page 4/1000 2026-01-01..",
            "mistral ocr batch page 2/1000 2026-01-01..",
        ]
    );
    assert_eq!(
        notes(&imported),
        [
            "has no litellm_provider: nobody",
            "input and output are zero: free, or not known: free",
            "input_cost_per_token \"cheap\" is no decimal number: words",
            "input_cost_per_token -1e-6 is negative: less",
            "input_cost_per_token has more than twelve decimal places: rounded: long, noise",
            "is no object: text",
        ]
    );
}

const GENAI: &str = r#"[{"id": "google", "name": "Google", "models": [
    {"id": "gemini-x", "match": {"or": [{"equals": "gemini-x"}, {"starts_with": "gemini-x-preview"}, {"regex": "^gemini-x-\\d"}]},
     "prices": [
        {"prices": {"input_mtok": {"base": 1.25, "tiers": [{"start": 200000, "price": 2.5}]}, "output_mtok": 10, "web_searches_kcount": 35}},
        {"constraint": {"start_date": "2026-12-01"}, "prices": {"input_mtok": 2, "output_mtok": 10, "web_searches_kcount": 35}}],
     "price_variants": [
        {"when": {"processing": "batch"}, "constraint": {"start_date": "2026-10-14"}, "prices": {"input_mtok": 0.625}},
        {"when": {"route": "eu"}, "prices": {"input_mtok": 3}}]},
    {"id": "free", "match": {"equals": "free"}, "prices": {}}
]}]"#;

#[test]
fn genai_prices_follow_dates_tiers_and_thresholds() {
    let imported = read_genai_prices(GENAI, &options()).unwrap();
    let exact: Vec<String> = lines(&imported)
        .into_iter()
        .filter(|line| line.starts_with("gemini gemini-x "))
        .collect();
    assert_eq!(
        exact,
        [
            "gemini gemini-x input 1.25/1000000 2026-01-01..2026-12-01",
            "gemini gemini-x input 2/1000000 2026-12-01..",
            "gemini gemini-x output 10/1000000 2026-01-01..",
            "gemini gemini-x web_search 35/1000 2026-01-01..",
            "gemini gemini-x >200000 input 2.5/1000000 2026-01-01..2026-12-01",
            "gemini gemini-x batch input 0.625/1000000 2026-10-14..",
            // A variant leaves output as it is; a tier needs a price of its own for each token meter, a search does not.
            "gemini gemini-x batch output 10/1000000 2026-10-14..",
        ]
    );
    assert_eq!(lines(&imported).len(), 2 * exact.len());
    assert!(lines(&imported).contains(&"gemini gemini-x-preview* output 10/1000000 2026-01-01..".to_owned()));
    assert_eq!(
        notes(&imported),
        [
            "a variant is for requests that no tier stands for: google/gemini-x",
            "has no price: free, or not known: google/free",
            "no glob says the rule regex: google/gemini-x",
        ]
    );
}

#[test]
fn genai_prices_are_the_same_in_the_shape_with_units() {
    let with_units = format!(r#"{{"units": {{}}, "providers": {GENAI}}}"#);
    assert_eq!(
        read_genai_prices(&with_units, &options()).unwrap(),
        read_genai_prices(GENAI, &options()).unwrap()
    );
}

#[test]
fn genai_prices_by_the_hour_are_taken_as_the_last_and_noted() {
    let file = r#"[{"id": "deepseek", "models": [{"id": "flash", "match": {"equals": "flash"}, "prices": [
        {"prices": {"input_mtok": 0.15}},
        {"constraint": {"start_time": "01:00:00Z", "end_time": "04:00:00Z"}, "prices": {"input_mtok": 0.3}}]}]}]"#;
    let imported = read_genai_prices(file, &options()).unwrap();
    assert_eq!(lines(&imported), ["deepseek flash input 0.3/1000000 2026-01-01.."]);
    assert_eq!(
        notes(&imported),
        ["prices by the hour of the day: the last holds at every hour: deepseek/flash"]
    );
}

#[test]
fn another_file_is_refused_with_what_it_should_be() {
    for file in ["", "[]", "3", "{\"gpt\": "] {
        assert!(read_litellm(file, &options()).is_err(), "{file}");
    }
    let error = read_genai_prices(r#"{"gpt-x": {}}"#, &options()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is no genai-prices file (a list of providers, as prices/new_data/v2/data.json, or an object with one, as v3/data.json)"
    );
}

#[test]
fn a_written_list_is_read_back_as_it_was() {
    let mut original = list(vec![
        price("gpt-x", Meter::Input, "1.25"),
        Price {
            model: name("us.anthropic.claude-x-v1:0"),
            region: Some(name("eu")),
            service_tier: Some(name("batch")),
            context_above: Some(200_000),
            per: 1000,
            discount: amount("0.15"),
            effective_to: Some(Timestamp::from_unix_us(day("2026-06-01").unix_us() + 90_000_000)),
            source: Some("contract \"4711\"".into()),
            ..price("x", Meter::WebSearch, "0.000000000001")
        },
        price("null", Meter::Output, "0"),
        price("claude-*@?", Meter::Output, "15"),
        price("${env:HOME} $$ $", Meter::Output, "15"),
    ]);
    original.shipped = true;
    for price in &mut original.prices {
        price.source.get_or_insert("a file".into());
    }
    let yaml = to_yaml(&original);
    assert_eq!(tollgate_controller::shipped_prices(&yaml).expect(&yaml), original);
    assert_eq!(
        yaml.lines().nth(8).unwrap(),
        r#"    - {model: gpt-x, meter: input, per: 1000000, price: "1.25", effective_from: 2026-01-01}"#
    );
    // Where one price has no source, no other's may become it.
    original.prices[0].source = None;
    assert_eq!(tollgate_controller::shipped_prices(&to_yaml(&original)).unwrap(), original);
}

/// JSON of the shape that a price file has, with values that it should not have.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,20}(\\.[0-9]{1,20})?(e-?[0-9]{1,3})?",
        "[a-z_/:*.-]{0,12}".prop_map(|text| format!("{text:?}")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = proptest::sample::select(vec![
            "id",
            "models",
            "match",
            "or",
            "equals",
            "starts_with",
            "prices",
            "base",
            "tiers",
            "start",
            "price",
            "constraint",
            "start_date",
            "input_mtok",
            "price_variants",
            "when",
            "processing",
            "litellm_provider",
            "mode",
            "input_cost_per_token",
            "output_cost_per_token_above_200k_tokens",
            "search_context_cost_per_query",
            "gpt-x",
            "providers",
        ]);
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("{key:?}:{value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn no_file_makes_a_reader_panic(file in json()) {
        let _ = read_litellm(&file, &options());
        let _ = read_genai_prices(&file, &options());
    }

    #[test]
    fn every_price_is_read_back_as_it_was_written(
        model in "(\\$\\{env:)?[^\\p{C}]{1,20}",
        region in proptest::option::of("[^\\p{C}]{1,8}"),
        source in "[^\\p{C}]{1,20}",
        units in 0..10_i128.pow(27),
        per in 1..=1_000_000_000_000_u64,
        from in 0..4_000_000_000_000_000_i64,
        lasts in 1..1_000_000_000_000_000_i64,
    ) {
        let mut original = list(vec![Price {
            region: region.as_deref().map(name),
            price: Amount::from_units(units).unwrap(),
            per,
            effective_from: Timestamp::from_unix_us(from),
            effective_to: Some(Timestamp::from_unix_us(from + lasts)),
            source: Some(source.into()),
            ..price(&model, Meter::Output, "1")
        }]);
        original.shipped = true;
        let yaml = to_yaml(&original);
        let read = tollgate_controller::shipped_prices(&yaml).map_err(|problems| format!("{problems:?} in {yaml}"));
        prop_assert_eq!(read, Ok(original));
    }
}

#[test]
fn negotiated_prices_are_read_back_as_they_were() {
    let adjustment = |model: &str, meter, discount: &str, source: Option<&str>| Adjustment {
        model: name(model),
        meter,
        discount: discount.parse().unwrap(),
        effective_from: day("2026-01-01"),
        effective_to: source.map(|_| day("2027-01-01")),
        source: source.map(Into::into),
    };
    let mut original = list(vec![]);
    original.shipped = true;
    original.terms.team = Some(name("yes"));
    original.terms.adjustments = vec![
        adjustment("*", None, "0.125", Some("contract ${env:SECRET}")),
        adjustment("gpt-5*", Some(Meter::Output), "-0.03", None),
    ];
    let read = |list: &PriceList| tollgate_controller::shipped_prices(&to_yaml(list)).unwrap();
    assert_eq!(read(&original), original);
    original.terms.org = Some(name("acme"));
    original.prices = vec![price("a", Meter::Input, "1")];
    assert_eq!(read(&original), original);
}
