//! Who calls: keys are checked wherever an SDK puts them, never forwarded, and what a caller says of itself is recorded where its key allows it.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::call::{Api, Call, Target};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::raw;
use crate::harness::sdk::Language;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for language in Language::ALL {
        let name = format!("{}_raises_an_authentication_error_for_an_unknown_key_and_leaves_no_row", language.name());
        all.push(Claim::new(name, move |world| unknown_key(world, language)));
    }
    all.extend(claims_of![
        missing_disabled_and_expired_keys_are_refused,
        a_key_is_found_in_every_header_that_sdks_use,
        the_provider_sees_its_own_credential_and_nothing_of_ours,
        a_caller_names_itself_where_its_key_allows_it,
        a_caller_that_may_not_name_itself_is_not_believed,
    ]);
    all
}

async fn unknown_key(world: Arc<World>, language: Language) {
    for api in [Api::Chat, Api::Responses, Api::Embeddings, Api::Messages] {
        let target = Target { key: "tg-nobody-has-this-key-000".to_owned(), ..world.through(api, &world.session()).await };
        let reply = world.sdk(language).await.call(Call::new(api).order(&target)).await;
        let error = reply.error.expect("the key is unknown");
        assert_eq!((error.class.as_str(), error.status), ("AuthenticationError", Some(401)));
        assert!(!error.message.contains(&target.key), "the key is quoted: {}", error.message);
        let call_id = reply.headers.get("x-tollgate-call-id").expect("every answer names its call").clone();
        let rows = world.gateway().await.sql(&format!("SELECT call_id FROM usage WHERE call_id = '{call_id}'")).await;
        assert!(rows.is_empty(), "nobody is to be charged for it");
    }
}

async fn missing_disabled_and_expired_keys_are_refused(world: Arc<World>) {
    let client = reqwest::Client::new();
    let target = world.through(Api::Chat, &world.session()).await;
    let url = target.url(Api::Chat);
    let body = Call::new(Api::Chat).params.to_string();
    let bare = raw::send(client.post(&url).body(body.clone())).await;
    assert_eq!(bare.status, 401, "{}", bare.text());
    for key in ["tg-e2e-disabled-key-0001", "tg-e2e-expired-key-00001", ""] {
        let answer = raw::send(client.post(&url).bearer_auth(key).body(body.clone())).await;
        assert_eq!(answer.status, 401, "{key}: {}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "authentication_error");
    }
    let answer = raw::send(client.post(&url).bearer_auth(KEY).body(body)).await;
    assert_eq!(answer.status, 200, "the same call with a key that counts: {}", answer.text());
}

async fn a_key_is_found_in_every_header_that_sdks_use(world: Arc<World>) {
    let client = reqwest::Client::new();
    let bearer = format!("Bearer {KEY}");
    for (name, value) in [("authorization", bearer.as_str()), ("x-api-key", KEY), ("x-goog-api-key", KEY), ("api-key", KEY)] {
        for api in [Api::Chat, Api::Messages] {
            let session = world.session();
            let target = world.through(api, &session).await;
            let request = client.post(target.url(api)).header(name, value).header("anthropic-version", "2023-06-01");
            let answer = raw::send(request.header("x-tollgate-session", &session).body(Call::new(api).params.to_string())).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            assert_eq!(world.one_row(&session).await.text("key_id"), Some("application"));
        }
    }
}

async fn the_provider_sees_its_own_credential_and_nothing_of_ours(world: Arc<World>) {
    for (api, header, credential) in [
        (Api::Chat, "authorization", "Bearer provider-credential-of-openai"),
        (Api::Messages, "x-api-key", "provider-credential-of-anthropic"),
    ] {
        let session = world.session();
        let target = world.through(api, &session).await.header("x-tollgate-user", "ada").header("x-application", "kept");
        let call = Call::new(api).simulate("echo=1");
        let request = raw::request(&reqwest::Client::new(), &call, &target);
        // The key also where the other provider's SDK would put it, and a header that is for this connection only.
        let request = request.header("api-key", KEY).header("x-goog-api-key", KEY).header("connection", "x-hop").header("x-hop", "1");
        let answer = raw::send(request).await.json();
        let text = answer.pointer("/choices/0/message/content").or(answer.pointer("/content/0/text"));
        let seen: Value = serde_json::from_str(text.and_then(Value::as_str).expect("it echoes")).unwrap();
        let headers = seen["headers"].to_string().to_lowercase();
        assert!(headers.contains(&credential.to_lowercase()) && headers.contains(header), "{headers}");
        assert!(headers.contains("x-application"), "{headers}");
        for ours in [KEY, "x-tollgate", "x-hop"] {
            assert!(!headers.contains(ours), "{ours} reached the provider: {headers}");
        }
        assert_eq!(seen["path"], api.path());
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn introduces_itself(target: Target) -> Target {
    let target = target.header("x-tollgate-user", "ada").header("x-tollgate-agent", "planner");
    target.header("x-tollgate-tags", "{\"env\": \"prod\", \"feature\": \"search\"}").header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
}

async fn a_caller_names_itself_where_its_key_allows_it(world: Arc<World>) {
    for language in Language::ALL {
        let session = world.session();
        let target = introduces_itself(world.through(Api::Messages, &session).await);
        let reply = world.sdk(language).await.call(Call::new(Api::Messages).order(&target)).await;
        assert_eq!(reply.error, None);
        let row = world.one_row(&session).await;
        assert_eq!((row.text("user_id"), row.text("agent"), row.text("session_id")), (Some("ada"), Some("planner"), Some(&*session)));
        assert_eq!((row.text("trace_id"), row.text("span_id")), (Some(TRACE), Some(SPAN)));
        let tagged = format!("SELECT tags['env'] AS env, tags['feature'] AS feature FROM usage WHERE session_id = '{session}'");
        let tags = world.gateway().await.sql(&tagged).await.remove(0);
        assert_eq!((tags.text("env"), tags.text("feature")), (Some("prod"), Some("search")), "the caller's tags overlay the key's");
    }
}

async fn a_caller_that_may_not_name_itself_is_not_believed(world: Arc<World>) {
    let target = introduces_itself(world.through(Api::Chat, &world.session()).await);
    let target = Target { key: "tg-e2e-silent-key-000001".to_owned(), ..target };
    let reply = world.sdk(Language::Python).await.call(Call::new(Api::Chat).order(&target)).await;
    assert_eq!(reply.error, None);
    let call_id = &reply.headers["x-tollgate-call-id"];
    let row = world.gateway().await.sql(&format!("SELECT * FROM usage WHERE call_id = '{call_id}'")).await.remove(0);
    assert_eq!((row.text("key_id"), row.text("team")), (Some("silent"), Some("silent")));
    assert_eq!((row.text("user_id"), row.text("agent"), row.text("session_id")), (None, None, None), "{}", row.0);
    assert_eq!(row.text("trace_id"), Some(TRACE), "a trace id identifies nobody");
}
