//! Proxies over providers, and providers of several URLs, by the SDKs that applications use: they only change the base URL.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::call::{Api, Call};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::ledger::{Row, agrees};
use crate::harness::money::Decimal;
use crate::harness::raw;
use crate::harness::sdk::{Language, Order, Reply};
use crate::harness::world::{KEY, World};

/// Interfaces that the proxies of the shared gateway serve.
const APIS: [Api; 3] = [Api::Chat, Api::Responses, Api::Messages];

const CLAUDE: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for language in Language::ALL {
        for api in APIS {
            for stream in [false, true] {
                let how = if stream { "_streamed" } else { "" };
                let name = format!("{}_{}{how}_through_a_proxy_is_one_row_with_both_names", language.name(), api.name());
                all.push(Claim::new(name, move |world| passes(world, language, api, stream)));
            }
            let name = format!("{}_{}_is_refused_a_model_that_is_not_allowed", language.name(), api.name());
            all.push(Claim::new(name, move |world| refused(world, language, api)));
        }
        let name = format!("{}_goes_on_from_a_url_that_refuses", language.name());
        all.push(Claim::new(name, move |world| goes_on(world, language)));
    }
    all.extend(claims_of![
        defaults_are_all_that_changes_in_a_body,
        paths_that_the_proxy_denies_are_a_404,
        gemini_by_its_own_sdk_goes_through_a_proxy,
        bedrock_by_its_own_sdk_goes_through_a_proxy,
    ]);
    all
}

/// Context and name of the proxy for an interface.
fn proxy(api: Api) -> (&'static str, &'static str) {
    match api {
        Api::Messages => ("team/writer", "writer"),
        _ => ("assistant", "assistant"),
    }
}

#[track_caller]
fn is_of(row: &Row, proxy: &str, provider: &str) {
    assert_eq!((row.text("proxy"), row.text("provider_name")), (Some(proxy), Some(provider)), "{}", row.0);
}

async fn passes(world: Arc<World>, language: Language, api: Api, stream: bool) {
    let (context, name) = proxy(api);
    let session = world.session();
    // Fewer tokens than the proxy's default limit, so that the answer is the same as without it.
    let call = Call::new(api).streamed_if(stream).with_usage().simulate("chunks=10");
    let sdk = world.sdk(language).await;
    let through = sdk.call(call.order(&world.through_context(context, &session).await)).await;
    let direct = sdk.call(call.order(&world.simulator().await)).await;
    assert_eq!((&through.error, &direct.error), (&None, &None));
    assert!(!through.text.is_empty());
    assert_eq!((&through.text, &through.usage, through.events), (&direct.text, &direct.usage, direct.events));
    let row = world.one_row(&session).await;
    is_of(&row, name, api.provider());
    agrees(&row, &call, &through, &direct.usage.expect("it asked"));
}

async fn refused(world: Arc<World>, language: Language, api: Api) {
    let (context, name) = proxy(api);
    for model in ["gpt-4o", "ledger-secret-1"] {
        let session = world.session();
        let call = Call::new(api).model(model);
        let reply = world.sdk(language).await.call(call.order(&world.through_context(context, &session).await)).await;
        let error = reply.error.expect("the model is not allowed");
        assert_eq!((error.class.as_str(), error.status), ("PermissionDeniedError", Some(403)));
        let allowed = if api == Api::Messages { "ledger-opus" } else { "ledger-*, but not ledger-secret*" };
        let told = format!("proxy {name} does not allow model {model}; it allows {allowed}");
        assert!(error.message.contains(&told), "{}", error.message);
        let row = world.one_row(&session).await;
        is_of(&row, name, api.provider());
        assert_eq!((row.text("outcome"), row.int("status_code")), (Some("refused_policy"), Some(403)), "{}", row.0);
        assert_eq!((row.text("error_type"), row.text("request_model")), (Some("model_not_allowed"), Some(model)));
        assert_eq!((row.text("cost_status"), row.decimal("cost")), (Some("free"), Some(Decimal::ZERO)), "{}", row.0);
    }
}

async fn goes_on(world: Arc<World>, language: Language) {
    let simulator = world.stage().await.simulator.trim_start_matches("http://").to_owned();
    for _ in 0..4 {
        let session = world.session();
        let call = Call::new(Api::Chat);
        let reply = world.sdk(language).await.call(call.order(&world.through_context("spread", &session).await)).await;
        assert_eq!(reply.error, None);
        let row = world.one_row(&session).await;
        assert_eq!((row.text("outcome"), row.text("upstream")), (Some("ok"), Some(simulator.as_str())), "{}", row.0);
        assert!(row.decimal("cost") > Some(Decimal::ZERO), "{}", row.0);
    }
    // Whichever call came first to the URL that refuses says so.
    let rows = world.gateway().await.sql("SELECT decisions FROM usage WHERE provider_name = 'spread'").await;
    let passed_over = json!({"policy": "upstream", "action": "passed_over", "detail": "127.0.0.1:9: upstream_connect_failed"});
    assert!(rows.iter().any(|row| row.0["decisions"] == json!([passed_over])), "{rows:?}");
}

async fn defaults_are_all_that_changes_in_a_body(world: Arc<World>) {
    let said = r#"{ "messages":[{"role":"user","content":"caf\u00e9"}], "zy" : 1.50e1,"zz":{"model":"gpt-4o"} }"#;
    let given = r#"{"model":"ledger-large","max_completion_tokens":64,"#;
    for (body, expected, model) in [
        (said.to_owned(), said.replacen('{', given, 1), "ledger-large"),
        (
            said.replacen('{', r#"{"max_tokens":7,"model":"ledger-plain-7","#, 1),
            said.replacen('{', r#"{"max_tokens":7,"model":"ledger-plain-7","#, 1),
            "ledger-plain-7",
        ),
    ] {
        let session = world.session();
        let target = world.through_context("assistant", &session).await;
        let call = Call::new(Api::Chat).simulate("echo=body");
        let answer = raw::send(raw::request(&reqwest::Client::new(), &call, &target).body(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        let seen: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(seen["body"], expected);
        let row = world.one_row(&session).await;
        is_of(&row, "assistant", "openai");
        assert_eq!(row.text("request_model"), Some(model));
    }
}

async fn paths_that_the_proxy_denies_are_a_404(world: Arc<World>) {
    let session = world.session();
    let call = Call::new(Api::Embeddings);
    let target = world.through_context("assistant", &session).await;
    let answer = raw::send(raw::request(&reqwest::Client::new(), &call, &target)).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (404, Some("path_not_allowed")));
    is_of(&world.one_row(&session).await, "assistant", "openai");
    // The provider's own context is as it was.
    let session = world.session();
    let answer = raw::send(raw::request(&reqwest::Client::new(), &call, &world.through(Api::Embeddings, &session).await)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.one_row(&session).await.text("proxy"), None);
}

/// Makes a call by a provider's own SDK through a context of the gateway for these.
async fn native(world: &World, sdk: &'static str, call: &'static str, context: &str, params: Value, simulate: &str) -> (Reply, Row) {
    let (gateway, session) = (world.native_gateway().await, world.session());
    let headers = [("x-tollgate-session".to_owned(), session.clone()), ("x-simulate".to_owned(), simulate.to_owned())];
    let order = Order {
        id: 0,
        sdk,
        call,
        base_url: format!("{}/{context}", gateway.url()),
        api_key: KEY.to_owned(),
        headers: headers.into(),
        params,
        max_retries: 0,
        abort_after: None,
    };
    let reply = world.sdk(Language::Python).await.call(order).await;
    let mut rows = gateway.session(&session).await;
    assert_eq!(rows.len(), 1, "a call leaves exactly one row: {rows:#?}");
    (reply, rows.remove(0))
}

async fn gemini_by_its_own_sdk_goes_through_a_proxy(world: Arc<World>) {
    for stream in [false, true] {
        let params = json!({"model": "gemini-2.5-flash", "contents": "hello", "stream": stream});
        let (reply, row) = native(&world, "google", "generate", "gemini-assistant", params, "input=1000; output=30").await;
        assert_eq!(reply.error, None);
        is_of(&row, "gemini-assistant", "gemini");
        assert_eq!((row.text("request_model"), row.flag("stream")), (Some("gemini-2.5-flash"), Some(stream)));
        assert_eq!([row.int("input_tokens"), row.int("output_tokens")], [Some(1000), Some(30)], "{}", row.0);
        assert_eq!(row.text("cost_status"), Some("priced"), "{}", row.0);
    }
    let params = json!({"model": "gemini-2.5-flash", "contents": "hello", "stream": false});
    let (reply, _) = native(&world, "google", "generate", "gemini-assistant", params, "echo=body").await;
    let seen: Value = serde_json::from_str(&reply.text).unwrap_or_else(|error| panic!("{error}: {}", reply.text));
    let body: Value = serde_json::from_str(seen["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["generationConfig"]["maxOutputTokens"], 40, "{body}");

    let params = json!({"model": "gemini-2.5-pro", "contents": "hello", "stream": false});
    let (reply, row) = native(&world, "google", "generate", "gemini-assistant", params, "input=1").await;
    let error = reply.error.expect("the model is denied");
    assert_eq!((error.status, error.code.as_deref()), (Some(403), Some("PERMISSION_DENIED")), "{error:?}");
    is_of(&row, "gemini-assistant", "gemini");
    assert_eq!(row.text("outcome"), Some("refused_policy"), "{}", row.0);
}

async fn bedrock_by_its_own_sdk_goes_through_a_proxy(world: Arc<World>) {
    let blocks = json!([{"role": "user", "content": [{"text": "hello"}]}]);
    for stream in [false, true] {
        let params = json!({"modelId": CLAUDE, "messages": blocks, "stream": stream});
        let (reply, row) = native(&world, "bedrock", "converse", "bedrock-assistant", params, "input=1000; output=30").await;
        assert_eq!(reply.error, None);
        is_of(&row, "bedrock-assistant", "bedrock");
        assert_eq!((row.text("request_model"), row.flag("stream")), (Some(CLAUDE), Some(stream)));
        assert_eq!([row.int("input_tokens"), row.int("output_tokens")], [Some(1000), Some(30)], "{}", row.0);
        assert_eq!((row.text("region"), row.text("cost_status")), (Some("eu-central-1"), Some("priced")), "{}", row.0);
    }
    let params = json!({"modelId": "amazon.nova-pro-v1:0", "messages": blocks, "stream": false});
    let (reply, row) = native(&world, "bedrock", "converse", "bedrock-assistant", params, "input=1").await;
    let error = reply.error.expect("the model is not allowed");
    assert_eq!((error.status, error.code.as_deref()), (Some(403), Some("AccessDeniedException")), "{error:?}");
    assert_eq!((row.text("outcome"), row.text("error_type")), (Some("refused_policy"), Some("model_not_allowed")), "{}", row.0);
}
