//! Contexts over a provider: one row with both names, fewer models and paths, and defaults.

use http::{HeaderValue, Method, StatusCode, header};
use tollgate_codec::{Codec, Defaults};
use tollgate_record::{ModelGlob, ModelRules, Outcome};

use super::harness::{PROVIDER_SECRET, Running, Setup, Upstream, error_code, name, openai, provider};
use crate::{Access, AccessMode, Credential, Exception, LlmProxy, Provider, Signer};

const ANSWER: &str = r#"{"model":"gpt-x-2026-01-01","usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;
const CHAT: &str = "/assistant/v1/chat/completions";

/// A proxy `assistant` below `/assistant`.
fn assistant(provider: &str, allow: &[&str], deny: &[&str]) -> LlmProxy {
    let globs = |texts: &[&str]| texts.iter().map(|text| ModelGlob::new(text).unwrap()).collect();
    LlmProxy {
        name: name("assistant"),
        provider: name(provider),
        context: "/assistant".to_owned(),
        models: ModelRules {
            allow: globs(allow),
            deny: globs(deny),
        },
        access: Access::default(),
        defaults: Defaults::default(),
    }
}

async fn start(provider: Provider, proxy: LlmProxy) -> Running {
    let mut setup = Setup::new(vec![provider]);
    setup.proxies.push(proxy);
    setup.start().await
}

/// Status and code of a call that fails.
async fn refused(gateway: &Running, method: Method, path: &str, body: &'static str) -> (u16, String) {
    let (head, body) = gateway.call(gateway.request(method, path, body)).await;
    (head.status.as_u16(), error_code(&body))
}

fn chats_only() -> Access {
    Access {
        mode: AccessMode::DenyAll,
        exceptions: vec![Exception {
            path: "/v1/chat/*".to_owned(),
            methods: vec![Method::POST],
        }],
    }
}

#[tokio::test]
async fn a_call_through_a_proxy_is_one_row_with_both_names() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = start(openai(upstream.addr), assistant("openai", &["gpt-*"], &["*-preview"])).await;
    let body = r#"{"model":"gpt-x","messages":[]}"#;
    let (head, answer) = gateway.call(gateway.chat(&format!("{CHAT}?x=%2F"), body)).await;
    assert_eq!((head.status, &answer[..]), (StatusCode::OK, ANSWER.as_bytes()));
    let seen = upstream.next().await;
    assert_eq!(seen.head.uri, "/v1/chat/completions?x=%2F");
    assert_eq!(seen.head.headers[header::AUTHORIZATION], PROVIDER_SECRET);
    assert_eq!(seen.body, body);
    let row = gateway.ledger.row().await;
    let call = &row.intent.call;
    assert_eq!(
        (&call.proxy, &call.provider_name),
        (&Some(name("assistant")), &Some(name("openai")))
    );
    assert_eq!(
        (&call.template, &call.request_model),
        (&Some(name("openai")), &Some(name("gpt-x")))
    );
    assert_eq!(call.upstream, Some(name(&upstream.addr.to_string())));
    assert_eq!((row.ending.usage.input, row.ending.usage.output), (Some(7), Some(3)));
    assert_eq!((row.ending.outcome, row.ending.decisions.len()), (Outcome::Ok, 0));
}

#[tokio::test]
async fn calls_at_the_providers_own_context_have_no_proxy() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = start(openai(upstream.addr), assistant("openai", &["gpt-x"], &[])).await;
    gateway
        .call(gateway.chat("/openai/v1/chat/completions", r#"{"model":"other"}"#))
        .await;
    let row = gateway.ledger.row().await;
    assert_eq!((row.intent.call.proxy, row.ending.outcome), (None, Outcome::Ok));
}

#[tokio::test]
async fn a_model_that_is_not_allowed_is_refused_in_the_providers_shape() {
    let body = r#"{"model":"gpt-y"}"#;
    for (codec, path, reason) in [
        (Codec::openai(), "/v1/chat/completions", "permission_error"),
        (Codec::anthropic(), "/v1/messages", "request_id"),
        (Codec::gemini(), "/v1beta/models/gpt-y:generateContent", "PERMISSION_DENIED"),
        (Codec::bedrock(), "/model/gpt-y/converse", "AccessDeniedException"),
        (
            Codec::azure_openai(),
            "/openai/deployments/gpt-y/chat/completions",
            "permission_error",
        ),
        (Codec::mistral(), "/v1/chat/completions", "permission_error"),
    ] {
        let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
        let provider = provider("p", codec, &format!("http://{}", upstream.addr));
        let gateway = start(provider, assistant("p", &["gpt-x", "o*"], &["o1"])).await;
        let (head, answer) = gateway.call(gateway.chat(&format!("/assistant{path}"), body)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(head.status, StatusCode::FORBIDDEN, "{path}");
        let told = "proxy assistant does not allow model gpt-y; it allows gpt-x, o*, but not o1";
        assert!(answer.contains(told) && answer.contains(reason), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("model_not_allowed"), "{answer}");
        assert!(!upstream.was_asked());
        let row = gateway.ledger.row().await;
        assert!(row.refused);
        let call = &row.intent.call;
        assert_eq!(
            (&call.proxy, &call.request_model),
            (&Some(name("assistant")), &Some(name("gpt-y")))
        );
        assert_eq!(
            (row.ending.outcome, row.ending.status_code),
            (Outcome::RefusedPolicy, Some(403))
        );
        assert_eq!(row.ending.error_type, Some(name("model_not_allowed")));
        let [decision] = row.ending.decisions.as_slice() else {
            panic!("{row:?}")
        };
        assert_eq!((&*decision.policy, &*decision.action), ("models", "refuse"));
    }
}

#[tokio::test]
async fn every_model_that_an_upstream_could_take_must_be_allowed() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = start(openai(upstream.addr), assistant("openai", &["gpt-x"], &[])).await;
    for body in [
        r#"{"model":"gpt-y","model":"gpt-x"}"#,
        r#"{"model":"gpt-x","model":"gpt-y"}"#,
        r#"{"model":"gpt-x","Model":"gpt-y"}"#,
        r#"{"model":"gpt-x","mod\u0065l":"gpt-y"}"#,
        r#"{"model":"gpt-x","models":["gpt-x","gpt-y"]}"#,
        r#"{"model":"GPT-X"}"#,
        r#"{"model":"gpt-x "}"#,
    ] {
        let refusal = refused(&gateway, Method::POST, CHAT, body).await;
        assert_eq!(refusal, (403, "model_not_allowed".to_owned()), "{body}");
    }
    assert!(!upstream.was_asked());
    assert_eq!(
        gateway
            .call(gateway.chat(CHAT, r#"{"model":"gpt-x","models":["gpt-x"]}"#))
            .await
            .0
            .status,
        200
    );
}

#[tokio::test]
async fn what_may_run_a_model_and_names_none_does_not_pass() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = start(openai(upstream.addr), assistant("openai", &["gpt-x"], &[])).await;
    for (path, body) in [
        ("/v1/chat/completions", "{}"),
        ("/v1/chat/completions", r#"{"model":null}"#),
        ("/v1/chat/completions", r#"{"model":["gpt-x"]}"#),
        ("/v1/batches", r#"{"input_file_id":"f"}"#),
        ("/v1/threads/t1/runs", "{}"),
        ("/v1/audio/transcriptions", "model=gpt-x"),
    ] {
        let refusal = refused(&gateway, Method::POST, &format!("/assistant{path}"), body).await;
        assert_eq!(refusal, (403, "model_not_named".to_owned()), "{path} {body}");
    }
    assert!(!upstream.was_asked());
    for (method, path) in [(Method::GET, "/assistant/v1/models"), (Method::POST, "/assistant/v1/files")] {
        assert_eq!(gateway.call(gateway.request(method, path, "")).await.0.status, 200);
    }
}

#[tokio::test]
async fn a_list_that_allows_everything_holds_nothing_up() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = start(openai(upstream.addr), assistant("openai", &["*"], &[])).await;
    for (path, body) in [("/v1/batches", "{}"), ("/v1/chat/completions", r#"{"model":7}"#)] {
        let path = format!("/assistant{path}");
        assert_eq!(gateway.call(gateway.chat(&path, body)).await.0.status, 200);
    }
}

#[tokio::test]
async fn a_path_must_be_allowed_by_the_provider_and_the_proxy() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let no_files = Access {
        mode: AccessMode::AllowAll,
        exceptions: vec![Exception {
            path: "/v1/chat/files*".to_owned(),
            methods: vec![],
        }],
    };
    for (of_provider, of_proxy, files_denied_by) in [
        (no_files.clone(), chats_only(), "provider openai"),
        (chats_only(), no_files, "proxy assistant"),
    ] {
        let guarded = Provider {
            access: of_provider,
            ..openai(upstream.addr)
        };
        let proxy = LlmProxy {
            access: of_proxy,
            ..assistant("openai", &["*"], &[])
        };
        let gateway = start(guarded, proxy).await;
        assert_eq!(gateway.call(gateway.chat(CHAT, "{}")).await.0.status, 200);
        for path in ["/v1/embeddings", "/v1/chat/files/f", "/v1/chat/%66iles"] {
            let (head, body) = gateway.call(gateway.chat(&format!("/assistant{path}"), "{}")).await;
            assert_eq!(
                (head.status, error_code(&body).as_str()),
                (StatusCode::NOT_FOUND, "path_not_allowed")
            );
            let body = String::from_utf8_lossy(&body);
            assert!(
                !path.contains("files") || body.contains(&format!("access control of {files_denied_by} ")),
                "{body}"
            );
        }
        let rows = gateway.ledger.rows();
        assert!(rows.iter().all(|row| row.intent.call.proxy == Some(name("assistant"))));
    }
}

#[tokio::test]
async fn defaults_reach_the_upstream_and_the_row() {
    let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let mut proxy = assistant("openai", &["gpt-*"], &[]);
    proxy.defaults = Defaults {
        model: Some(name("gpt-x")),
        max_tokens: Some(64),
    };
    let gateway = start(openai(upstream.addr), proxy).await;
    for (body, sent, model) in [
        (
            r#"{ "messages":[], "n" : 1.50 }"#,
            r#"{"model":"gpt-x","max_completion_tokens":64, "messages":[], "n" : 1.50 }"#,
            "gpt-x",
        ),
        (
            r#"{"model":"gpt-y","max_tokens":7}"#,
            r#"{"model":"gpt-y","max_tokens":7}"#,
            "gpt-y",
        ),
    ] {
        assert_eq!(gateway.call(gateway.chat(CHAT, body)).await.0.status, 200);
        let seen = upstream.next().await;
        assert_eq!(seen.body, sent);
        assert_eq!(seen.head.headers[header::CONTENT_LENGTH], sent.len().to_string());
        let row = gateway.ledger.rows().pop().unwrap();
        assert_eq!(row.intent.call.request_model, Some(name(model)));
        assert_eq!(row.intent.request_bytes, body.len() as u64, "what the client sent");
    }
    let refusal = refused(&gateway, Method::POST, CHAT, r#"{"model":null}"#).await;
    assert_eq!(refusal, (403, "model_not_named".to_owned()), "null is what the caller said");
    gateway.call(gateway.chat("/openai/v1/chat/completions", "{}")).await;
    assert_eq!(upstream.next().await.body, "{}", "the provider's own context gives nothing");
}

#[tokio::test]
async fn native_routes_work_through_a_proxy() {
    let mut upstream = Upstream::json(
        StatusCode::OK,
        r#"{"usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10}}"#,
    )
    .await;
    let signer = Signer::new(name("eu-west-1"), name("bedrock"), "AKIDOFTHEGATEWAY", "secret", None);
    let bedrock = Provider {
        credential: Some(Credential::Signature(signer)),
        ..provider("bedrock", Codec::bedrock(), &format!("http://{}", upstream.addr))
    };
    let mut proxy = assistant("bedrock", &["*nova-pro*"], &[]);
    proxy.defaults.max_tokens = Some(64);
    let gateway = start(bedrock, proxy).await;
    let path = "/assistant/model/eu.amazon.nova-pro-v1%3A0/converse";
    assert_eq!(gateway.call(gateway.chat(path, r#"{"messages":[]}"#)).await.0.status, 200);
    let seen = upstream.next().await;
    assert_eq!(seen.head.uri, "/model/eu.amazon.nova-pro-v1%3A0/converse");
    assert_eq!(seen.body, r#"{"inferenceConfig":{"maxTokens":64},"messages":[]}"#);
    assert!(
        seen.head.headers["authorization"]
            .to_str()
            .unwrap()
            .contains("Credential=AKIDOFTHEGATEWAY/")
    );
    let row = gateway.ledger.row().await;
    assert_eq!(row.intent.call.request_model, Some(name("eu.amazon.nova-pro-v1:0")));
    assert_eq!(row.intent.call.proxy, Some(name("assistant")));
}

#[tokio::test]
async fn a_key_in_the_query_of_gemini_ends_at_a_proxy_too() {
    let mut upstream = Upstream::json(StatusCode::OK, "{}").await;
    let gemini = Provider {
        key_in_query: true,
        ..provider("gemini", Codec::gemini(), &format!("http://{}", upstream.addr))
    };
    let gateway = start(gemini, assistant("gemini", &["gemini-*"], &[])).await;
    let mut request = gateway.chat(
        "/assistant/v1beta/models/gemini-3-pro:generateContent?key=tg-secret&alt=sse",
        "{}",
    );
    request.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(gateway.call(request).await.0.status, 200);
    assert_eq!(
        upstream.next().await.head.uri,
        "/v1beta/models/gemini-3-pro:generateContent?alt=sse"
    );
}

#[tokio::test]
async fn refusals_before_the_path_is_read_name_the_proxy_too() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = start(openai(upstream.addr), assistant("openai", &["gpt-x"], &[])).await;
    let mut request = gateway.chat(CHAT, "{}");
    request.headers_mut().insert("x-tollgate-tags", HeaderValue::from_static("["));
    assert_eq!(gateway.call(request).await.0.status, 400);
    assert_eq!(gateway.ledger.row().await.intent.call.proxy, Some(name("assistant")));
    let (_, body) = gateway.call(gateway.chat("/asistant/v1/models", "")).await;
    assert!(String::from_utf8_lossy(&body).contains("there is /v1/, /openai/, /assistant/"));
}
