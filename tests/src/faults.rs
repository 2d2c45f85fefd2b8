//! When the provider refuses, fails or is not there, the application gets its SDK's own exception, and the row says what happened at no cost.

use std::sync::Arc;

use crate::harness::call::{Api, Call};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::raw;
use crate::harness::sdk::{Language, SdkError};
use crate::harness::world::World;

/// What both languages' SDKs raise, as their documentation lists it.
const CLASSES: [(u16, &str); 8] = [
    (400, "BadRequestError"),
    (401, "AuthenticationError"),
    (403, "PermissionDeniedError"),
    (404, "NotFoundError"),
    (409, "ConflictError"),
    (422, "UnprocessableEntityError"),
    (429, "RateLimitError"),
    (500, "InternalServerError"),
];

/// Interfaces whose errors and retries are tried.
const APIS: [Api; 3] = [Api::Chat, Api::Responses, Api::Messages];

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for language in Language::ALL {
        for api in APIS {
            let name = format!("{}_{}_raises_what_the_provider_answered", language.name(), api.name());
            all.push(Claim::new(name, move |world| provider_errors(world, language, api)));
            let name = format!("{}_{}_retries_after_a_429_and_leaves_a_row_an_attempt", language.name(), api.name());
            all.push(Claim::new(name, move |world| retries(world, language, api)));
        }
        let name = format!("{}_raises_a_server_error_when_the_upstream_is_not_there", language.name());
        all.push(Claim::new(name, move |world| not_there(world, language)));
    }
    all.extend(claims_of![
        an_upstream_that_refuses_connections_is_a_502,
        an_upstream_that_hangs_up_is_a_502,
        an_upstream_that_says_nothing_is_a_504,
        an_upstream_that_falls_silent_is_cut_off,
        a_body_that_is_no_json_is_a_400,
        a_body_over_the_limit_is_a_413,
        a_path_that_is_not_allowed_is_a_404,
        a_path_of_no_provider_is_a_404,
        an_upgrade_to_websocket_is_refused_clearly,
    ]);
    all
}

#[track_caller]
fn cost_nothing(row: &Row) {
    assert_eq!((row.text("cost_status"), row.decimal("cost")), (Some("free"), Some(Decimal::ZERO)), "{}", row.0);
}

/// The same error without the provider's request id, which Anthropic puts into the body and which no two answers share.
fn anonymous(error: SdkError) -> SdkError {
    let mut parts = error.message.split("req_");
    let first = parts.next().unwrap_or_default().to_owned();
    let message = parts.fold(first, |text, part| text + "req_" + part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric()));
    SdkError { message, ..error }
}

async fn provider_errors(world: Arc<World>, language: Language, api: Api) {
    for (status, class) in CLASSES {
        let call = Call::new(api).simulate(format!("status={status}"));
        let (through, row, direct) = world.both(language, &call).await;
        let error = through.error.map(anonymous).expect("the provider answered with an error");
        assert_eq!((error.class.as_str(), error.status), (class, Some(status)));
        assert_eq!(Some(error), direct.error.map(anonymous), "the same exception as without the gateway");
        assert_eq!((row.text("outcome"), row.int("status_code")), (Some("upstream_error"), Some(i64::from(status))), "{}", row.0);
        assert!(row.text("error_type").is_some(), "{}", row.0);
        assert_eq!(row.text("call_id"), through.headers.get("x-tollgate-call-id").map(String::as_str));
        cost_nothing(&row);
    }
}

async fn retries(world: Arc<World>, language: Language, api: Api) {
    for stream in [false, true] {
        let session = world.session();
        let fail = format!("id={session}; fail_times=2; status=429; retry_after=0.05");
        let call = Call::new(api).streamed_if(stream).with_usage().retries(3).simulate(fail);
        let reply = world.sdk(language).await.call(call.order(&world.through(api, &session).await)).await;
        assert_eq!(reply.error, None);
        assert!(!reply.text.is_empty());
        let rows = world.gateway().await.session(&session).await;
        let outcomes: Vec<_> = rows.iter().map(|row| (row.text("outcome").unwrap(), row.int("status_code").unwrap())).collect();
        assert_eq!(outcomes, [("upstream_error", 429), ("upstream_error", 429), ("ok", 200)]);
        cost_nothing(&rows[0]);
        cost_nothing(&rows[1]);
        assert!(rows[2].decimal("cost") > Some(Decimal::ZERO));
        assert_eq!(rows[2].text("call_id"), reply.headers.get("x-tollgate-call-id").map(String::as_str));
    }
}

async fn not_there(world: Arc<World>, language: Language) {
    let session = world.session();
    let target = world.through_context("refusing", &session).await;
    let reply = world.sdk(language).await.call(Call::new(Api::Chat).order(&target)).await;
    let error = reply.error.expect("nobody answers");
    assert_eq!((error.class.as_str(), error.status), ("InternalServerError", Some(502)));
    assert_eq!(error.code.as_deref(), Some("upstream_connect_failed"));
    cost_nothing(&world.one_row(&session).await);
}

/// Sends a call to a context of the gateway; expects the error, and the row that says the same.
async fn refused(world: &World, context: &str, call: &Call, (status, code): (u16, &str), outcome: &str) -> Row {
    let session = world.session();
    let target = world.through_context(context, &session).await;
    let answer = raw::send(raw::request(&reqwest::Client::new(), call, &target)).await;
    speaks_openai(&answer, status, code);
    recorded(world, &session, (status, code), outcome).await
}

/// The row of a session whose call failed.
async fn recorded(world: &World, session: &str, (status, code): (u16, &str), outcome: &str) -> Row {
    let row = world.one_row(session).await;
    assert_eq!((row.text("outcome"), row.int("status_code")), (Some(outcome), Some(i64::from(status))), "{}", row.0);
    assert_eq!(row.text("error_type"), Some(code));
    row
}

/// An error of the gateway in OpenAI's shape, with a stable code and the call's id.
#[track_caller]
fn speaks_openai(answer: &raw::Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = answer.json()["error"].clone();
    assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
    assert_eq!(error["code"], code);
    assert_eq!(error["call_id"].as_str(), answer.header("x-tollgate-call-id"), "every answer names its call");
}

async fn an_upstream_that_refuses_connections_is_a_502(world: Arc<World>) {
    for stream in [false, true] {
        let call = Call::new(Api::Chat).streamed_if(stream);
        cost_nothing(&refused(&world, "refusing", &call, (502, "upstream_connect_failed"), "upstream_error").await);
    }
}

async fn an_upstream_that_hangs_up_is_a_502(world: Arc<World>) {
    refused(&world, "openai", &Call::new(Api::Chat).simulate("drop=1"), (502, "upstream_reset"), "upstream_error").await;
}

async fn an_upstream_that_says_nothing_is_a_504(world: Arc<World>) {
    let call = Call::new(Api::Chat).simulate("delay_ms=5000");
    let row = refused(&world, "impatient", &call, (504, "upstream_first_byte_timeout"), "timeout").await;
    assert_eq!(row.text("cost_status"), Some("estimated"), "it may bill what it did: {}", row.0);
}

async fn an_upstream_that_falls_silent_is_cut_off(world: Arc<World>) {
    let session = world.session();
    let target = world.through_context("impatient", &session).await;
    let call = Call::new(Api::Chat).streamed().simulate("stall_after=3");
    let answer = raw::send(raw::request(&reqwest::Client::new(), &call, &target)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.broken.is_some(), "a stream that was cut off must not end cleanly: {}", answer.text());
    let row = world.one_row_soon(&session).await;
    assert_eq!(row.text("outcome"), Some("timeout"), "{}", row.0);
    assert_eq!(row.text("cost_status"), Some("estimated"), "{}", row.0);
}

async fn a_body_that_is_no_json_is_a_400(world: Arc<World>) {
    let session = world.session();
    let target = world.through(Api::Chat, &session).await;
    let request = reqwest::Client::new().post(target.url(Api::Chat)).bearer_auth(&target.key).header("x-tollgate-session", &session);
    let answer = raw::send(request.body("{\"model\": ")).await;
    speaks_openai(&answer, 400, "bad_json");
    cost_nothing(&recorded(&world, &session, (400, "bad_json"), "refused_policy").await);
}

async fn a_body_over_the_limit_is_a_413(world: Arc<World>) {
    let session = world.session();
    let target = world.through(Api::Messages, &session).await;
    let mut call = Call::new(Api::Messages);
    call.params["system"] = serde_json::json!("x".repeat(2 << 20));
    let answer = raw::send(raw::request(&reqwest::Client::new(), &call, &target)).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let body = answer.json();
    assert_eq!((body["type"].as_str(), body["error"]["type"].as_str()), (Some("error"), Some("request_too_large")), "{body}");
    cost_nothing(&recorded(&world, &session, (413, "body_too_large"), "refused_policy").await);
}

async fn a_path_that_is_not_allowed_is_a_404(world: Arc<World>) {
    let call = Call::new(Api::Embeddings);
    cost_nothing(&refused(&world, "chat-only", &call, (404, "path_not_allowed"), "refused_policy").await);
    let session = world.session();
    let target = world.through_context("chat-only", &session).await;
    let answer = raw::send(raw::request(&reqwest::Client::new(), &Call::new(Api::Chat), &target)).await;
    assert_eq!(answer.status, 200, "the exception holds: {}", answer.text());
    assert_eq!(world.one_row(&session).await.text("outcome"), Some("ok"));
}

async fn a_path_of_no_provider_is_a_404(world: Arc<World>) {
    cost_nothing(&refused(&world, "nobody", &Call::new(Api::Chat), (404, "unknown_path"), "refused_policy").await);
}

async fn an_upgrade_to_websocket_is_refused_clearly(world: Arc<World>) {
    let session = world.session();
    let target = world.through(Api::Responses, &session).await;
    let request = reqwest::Client::new().get(target.url(Api::Responses)).bearer_auth(&target.key);
    let request = request.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-version", "13");
    let answer = raw::send(request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")).await;
    speaks_openai(&answer, 501, "upgrade_unsupported");
    assert!(answer.text().to_lowercase().contains("websocket"), "it says why: {}", answer.text());
}
