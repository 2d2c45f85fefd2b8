//! Every class of token, wherever a provider writes it, reaches the row and is charged once, at its own price.

use std::sync::Arc;

use crate::harness::call::{Api, Call};
use crate::harness::claim::Claim;
use crate::harness::ledger::{Row, priced};
use crate::harness::money::Decimal;
use crate::harness::raw;
use crate::harness::prices::{ALIAS_MODEL, PLAIN_MODEL, UNPRICED_MODEL};
use crate::harness::sdk::Language;
use crate::harness::usage::Tokens;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for language in Language::ALL {
        for (api, told, tokens) in classes() {
            for stream in [false, true] {
                if stream && api == Api::Embeddings {
                    continue;
                }
                let how = if stream { "_streamed" } else { "" };
                let name = format!("{}_{}{how}_charges_every_class_once", language.name(), api.name());
                let call = Call::new(api).streamed_if(stream).with_usage().simulate(told);
                let tokens = tokens.clone();
                all.push(Claim::new(name, move |world| charged(world, language, call, tokens)));
            }
        }
    }
    let placed = [
        (Api::Chat, "usage_at=finish"),
        (Api::Chat, "usage_at=every"),
        (Api::Chat, "usage_at=nochoices"),
        (Api::Chat, "usage_at=emptydelta"),
        (Api::Chat, "repeat_usage=1"),
        (Api::Chat, "crlf=1; comments=1"),
        (Api::Chat, "flush=0"),
        (Api::Completions, "usage_at=every"),
        (Api::Responses, "crlf=1; comments=1"),
        (Api::Messages, "usage_at=start"),
        (Api::Messages, "usage_at=delta"),
        (Api::Messages, "usage_at=every"),
        (Api::Messages, "repeat_usage=1"),
        (Api::Messages, "crlf=1; comments=1"),
    ];
    for (api, place) in placed {
        let name = format!("{}_usage_is_found_with_{}", api.name(), place.replace(['=', ';', ' '], "_"));
        all.push(Claim::new(name, move |world| found(world, api, place)));
    }
    let rest = crate::harness::claim::claims_of![
        the_whole_call_has_the_price_of_its_context,
        a_service_tier_has_its_own_prices_and_no_others,
        an_alias_is_priced_as_the_model_that_answered,
        amounts_too_large_and_too_small_for_floats_are_exact,
        a_model_without_a_price_is_unpriced_not_free,
        an_unknown_usage_field_is_kept_and_marks_the_row,
        explicit_zeros_are_zeros_and_cost_nothing,
        totals_without_details_leave_the_details_unknown,
        usage_that_never_came_is_estimated_and_says_so,
        searches_of_the_provider_are_charged,
    ];
    all.extend(rest);
    all
}

/// What the simulator is told to report, and what that is in the ledger's convention.
fn classes() -> [(Api, &'static str, Tokens); 5] {
    let common = Tokens { input: Some(1000), cache_read: Some(600), output: Some(80), reasoning: Some(30), ..Tokens::default() };
    let chat = Tokens { cache_creation: Some(150), audio_in: Some(20), audio_out: Some(10), ..common.clone() };
    let responses = Tokens { cache_creation: Some(150), ..common.clone() };
    let messages = Tokens {
        cache_creation: Some(150),
        cache_creation_5m: Some(100),
        cache_creation_1h: Some(50),
        web_search: Some(3),
        ..common.clone()
    };
    let every = "input=1000; cache_read=600; output=80; reasoning=30";
    [
        (Api::Chat, "input=1000; cache_read=600; output=80; reasoning=30; cache_write=150; audio_in=20; audio_out=10", chat),
        (Api::Completions, every, common),
        (Api::Responses, "input=1000; cache_read=600; output=80; reasoning=30; cache_write=150", responses),
        (
            Api::Messages,
            "input=1000; cache_read=600; output=80; reasoning=30; cache_write_5m=100; cache_write_1h=50; web_search=3",
            messages,
        ),
        (Api::Embeddings, "input=123456789", Tokens { input: Some(123_456_789), ..Tokens::default() }),
    ]
}

/// The SDK shows what the simulator was told, and the row and its bill are that, class by class.
async fn charged(world: Arc<World>, language: Language, call: Call, tokens: Tokens) {
    let session = world.session();
    let reply = world.sdk(language).await.call(call.order(&world.through(call.api, &session).await)).await;
    assert_eq!(reply.error, None);
    let seen = Tokens::of(call.api, &reply.usage.expect("it was reported"));
    assert_eq!(seen.meters(), tokens.meters());
    let row = world.one_row(&session).await;
    shows(&row, &tokens);
    assert_eq!(row.text("usage_source"), Some("reported"));
    priced(&row, &call, &tokens);
}

/// The row's token columns; a detail that was reported as zero may stand as zero.
#[track_caller]
fn shows(row: &Row, tokens: &Tokens) {
    let shown = row.tokens();
    assert_eq!((shown.input, shown.output), (tokens.input, tokens.output), "{}", row.0);
    let details = |of: &Tokens| [of.cache_read, of.cache_creation, of.reasoning].map(Option::unwrap_or_default);
    assert_eq!(details(&shown), details(tokens), "{}", row.0);
}

/// Makes a call with the Python SDK and returns its row.
async fn row_of(world: &World, call: &Call) -> Row {
    let session = world.session();
    let reply = world.sdk(Language::Python).await.call(call.order(&world.through(call.api, &session).await)).await;
    assert_eq!(reply.error, None);
    world.one_row(&session).await
}

/// The same without an SDK: some shapes make theirs fail, and the row must be right all the same.
async fn raw_row(world: &World, call: &Call) -> Row {
    let session = world.session();
    let request = raw::request(&reqwest::Client::new(), call, &world.through(call.api, &session).await);
    let answer = raw::send(request).await;
    assert_eq!((answer.status, &answer.broken), (200, &None), "{}", answer.text());
    world.one_row(&session).await
}

async fn found(world: Arc<World>, api: Api, place: &str) {
    let call = Call::new(api).streamed().with_usage().simulate("input=1000; cache_read=600; output=80").simulate(place);
    let tokens = Tokens { input: Some(1000), cache_read: Some(600), output: Some(80), ..Tokens::default() };
    let row = raw_row(&world, &call).await;
    shows(&row, &tokens);
    priced(&row, &call, &tokens);
}

async fn the_whole_call_has_the_price_of_its_context(world: Arc<World>) {
    for input in [199_999, 200_000, 200_001, 1_000_000] {
        let call = Call::new(Api::Chat).simulate(format!("input={input}; cache_read=1000; output=100; reasoning=10"));
        let tokens =
            Tokens { input: Some(input), cache_read: Some(1000), output: Some(100), reasoning: Some(10), ..Tokens::default() };
        priced(&row_of(&world, &call).await, &call, &tokens);
    }
}

async fn a_service_tier_has_its_own_prices_and_no_others(world: Arc<World>) {
    let told = |tier: &str| Call::new(Api::Chat).simulate(format!("input=100; output=10; service_tier={tier}"));
    let row = row_of(&world, &told("flex")).await;
    assert_eq!(row.text("service_tier"), Some("flex"));
    priced(&row, &told("flex"), &Tokens { input: Some(100), output: Some(10), ..Tokens::default() });
    let row = row_of(&world, &told("ultrafast")).await;
    assert_eq!(row.text("cost_status"), Some("unpriced"), "{}", row.0);
    assert_eq!(row.decimal("cost"), None);
}

async fn an_alias_is_priced_as_the_model_that_answered(world: Arc<World>) {
    let call = Call::new(Api::Chat).model(ALIAS_MODEL).simulate("input=1000000; output=1000000");
    let row = row_of(&world, &call).await;
    assert_eq!(row.text("request_model"), Some(ALIAS_MODEL));
    assert_eq!(row.text("response_model"), Some("gpt-4o-mini-2024-07-18"));
    priced(&row, &call, &Tokens { input: Some(1_000_000), output: Some(1_000_000), ..Tokens::default() });
    assert_eq!(row.decimal("cost"), Some(Decimal::parse("0.750004")));
}

async fn amounts_too_large_and_too_small_for_floats_are_exact(world: Arc<World>) {
    let call = Call::new(Api::Chat).model(PLAIN_MODEL).simulate("input=1000000000000; output=1000000000000");
    let row = row_of(&world, &call).await;
    assert_eq!(row.decimal("cost"), Some(Decimal::parse("1000000000000")), "{}", row.0);
    let call = Call::new(Api::Chat).model(PLAIN_MODEL).simulate("input=1; output=999999");
    let row = row_of(&world, &call).await;
    assert_eq!(row.decimal("cost"), Some(Decimal::parse("999998.999999000002")), "{}", row.0);
}

async fn a_model_without_a_price_is_unpriced_not_free(world: Arc<World>) {
    let call = Call::new(Api::Chat).model(UNPRICED_MODEL).simulate("input=100; output=10");
    let row = row_of(&world, &call).await;
    assert_eq!((row.text("cost_status"), row.decimal("cost")), (Some("unpriced"), None), "{}", row.0);
    assert_eq!((row.int("input_tokens"), row.int("output_tokens")), (Some(100), Some(10)));
    let unknown: Vec<_> = row.charges().into_iter().map(|charge| (charge.meter, charge.amount)).collect();
    assert_eq!(unknown, [("input".to_owned(), None), ("output".to_owned(), None)]);
}

async fn an_unknown_usage_field_is_kept_and_marks_the_row(world: Arc<World>) {
    for api in [Api::Chat, Api::Responses, Api::Messages] {
        for stream in [false, true] {
            let told = "input=100; output=10; unknown_usage_field=moon_tokens:5";
            let call = Call::new(api).streamed_if(stream).with_usage().simulate(told);
            let row = row_of(&world, &call).await;
            assert_eq!(row.text("cost_status"), Some("unpriced"), "{}", row.0);
            row.adds_up();
            let known = Tokens { input: Some(100), output: Some(10), ..Tokens::default() };
            assert_eq!(row.decimal("cost"), Some(known.cost(api.provider(), &[api.model()], None)), "the known part");
            let charges = row.charges();
            let kept = charges.iter().find(|charge| charge.meter.contains("moon_tokens"));
            let kept = kept.unwrap_or_else(|| panic!("moon_tokens is not in {charges:?}"));
            assert_eq!((kept.quantity, kept.amount), (Decimal::integer(5), None));
        }
    }
}

async fn explicit_zeros_are_zeros_and_cost_nothing(world: Arc<World>) {
    for api in Api::TEXT {
        for stream in [false, true] {
            let call = Call::new(api).streamed_if(stream).with_usage().simulate("usage=zero");
            let row = row_of(&world, &call).await;
            assert_eq!((row.int("input_tokens"), row.int("output_tokens")), (Some(0), Some(0)), "{}", row.0);
            assert_eq!(row.text("usage_source"), Some("reported"));
            assert_eq!(row.decimal("cost"), Some(Decimal::ZERO), "{}", row.0);
            assert!(matches!(row.text("cost_status"), Some("priced" | "free")), "{}", row.0);
        }
    }
}

async fn totals_without_details_leave_the_details_unknown(world: Arc<World>) {
    for api in Api::TEXT {
        let call = Call::new(api).simulate("input=100; output=10; usage=totals");
        let row = row_of(&world, &call).await;
        let tokens = Tokens { input: Some(100), output: Some(10), ..Tokens::default() };
        assert_eq!(row.tokens(), tokens, "{}", row.0);
        priced(&row, &call, &tokens);
    }
}

async fn usage_that_never_came_is_estimated_and_says_so(world: Arc<World>) {
    for api in Api::TEXT {
        for (told, stream) in [("usage=none", false), ("usage=none", true), ("usage=null", false), ("usage=null", true)] {
            let call = Call::new(api).streamed_if(stream).simulate(told);
            let row = raw_row(&world, &call).await;
            assert_eq!((row.text("usage_source"), row.text("cost_status")), (Some("estimated"), Some("estimated")), "{}", row.0);
            let (input, output) = (row.int("input_tokens").unwrap(), row.int("output_tokens").unwrap());
            // The prompt has 7 words, the answer 48: a tokenizer counts at least about that, and not several times that.
            assert!((5..=40).contains(&input), "{input} input tokens");
            assert!((40..=150).contains(&output), "{output} output tokens");
            row.adds_up();
            assert!(row.decimal("cost") > Some(Decimal::ZERO), "{}", row.0);
        }
    }
}

async fn searches_of_the_provider_are_charged(world: Arc<World>) {
    for stream in [false, true] {
        let call = Call::new(Api::Responses).streamed_if(stream).simulate("input=100; output=10; web_search=2");
        let row = row_of(&world, &call).await;
        let tokens = Tokens { input: Some(100), output: Some(10), web_search: Some(2), ..Tokens::default() };
        priced(&row, &call, &tokens);
    }
}
