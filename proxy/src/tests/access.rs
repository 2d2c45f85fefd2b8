//! What keys, services and teams may call.

use std::sync::Arc;

use http::{Method, StatusCode};
use tollgate_codec::{Codec, Defaults};
use tollgate_record::{AccessRules, Holder, ModelGlob, ModelRules, Outcome};

use super::harness::{Running, SECRET, Setup, Upstream, error_code, name, openai, provider};
use crate::key::tests::key;
use crate::{Access, Key, LlmProxy};

const ANSWER: &str = r#"{"model":"gpt-x","usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;

fn only(allow: &[&str], deny: &[&str]) -> ModelRules {
    let globs = |texts: &[&str]| texts.iter().map(|text| ModelGlob::new(text).unwrap()).collect();
    ModelRules {
        allow: globs(allow),
        deny: globs(deny),
    }
}

fn open(holder: Holder, called: &str) -> AccessRules {
    AccessRules {
        holder,
        name: name(called),
        models: ModelRules::everything(),
        operations: ModelRules::everything(),
        proxies: ModelRules::everything(),
    }
}

/// Providers `openai` and `other`, proxy `assistant` over the first, and a key with these rules.
async fn start(upstream: &Upstream, rules: Vec<AccessRules>) -> Running {
    let other = provider("other", Codec::openai(), &format!("http://{}", upstream.addr));
    let mut setup = Setup::new(vec![openai(upstream.addr), other]);
    setup.keys = vec![Key {
        access: rules.into(),
        ..key("bot", SECRET)
    }];
    setup.proxies.push(LlmProxy {
        name: name("assistant"),
        provider: name("openai"),
        context: "/assistant".to_owned(),
        models: ModelRules::everything(),
        access: Access::default(),
        defaults: Defaults::default(),
    });
    setup.start().await
}

/// Status, and code and message of a call that is refused.
async fn call(gateway: &Running, method: Method, path: &str, body: &'static str) -> (u16, String, String) {
    let (head, body) = gateway.call(gateway.request(method, path, body)).await;
    if head.status.is_success() {
        return (head.status.as_u16(), String::new(), String::new());
    }
    let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let message = message["error"]["message"].as_str().unwrap().to_owned();
    (head.status.as_u16(), error_code(&body), message)
}

#[tokio::test]
async fn all_that_apply_must_allow_the_model() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let rules = vec![
        AccessRules {
            models: only(&["gpt-*"], &[]),
            ..open(Holder::Key, "bot")
        },
        AccessRules {
            models: only(&["*"], &["*-preview"]),
            ..open(Holder::Service, "ads")
        },
        AccessRules {
            models: only(&["gpt-x*", "o9"], &[]),
            ..open(Holder::Team, "growth")
        },
    ];
    let gateway = start(&upstream, rules).await;
    let chat = "/openai/v1/chat/completions";
    for (path, body, expected) in [
        (chat, r#"{"model":"gpt-x"}"#, None),
        (
            chat,
            r#"{"model":"o9"}"#,
            Some("key bot does not allow model o9; it allows gpt-*"),
        ),
        (
            chat,
            r#"{"model":"gpt-x-preview"}"#,
            Some("service ads does not allow model gpt-x-preview; it allows *, but not *-preview"),
        ),
        (
            chat,
            r#"{"model":"gpt-y"}"#,
            Some("team growth does not allow model gpt-y; it allows gpt-x*, o9"),
        ),
        // The name counts as the provider takes it, whichever the default route leads to.
        ("/v1/chat/completions", r#"{"model":"gpt-x"}"#, None),
        ("/v1/chat/completions", r#"{"model":"openai/gpt-x"}"#, None),
        ("/v1/chat/completions", r#"{"model":"other/gpt-x-mini"}"#, None),
        (
            "/v1/chat/completions",
            r#"{"model":"other/o9"}"#,
            Some("key bot does not allow model o9; it allows gpt-*"),
        ),
        ("/assistant/v1/chat/completions", r#"{"model":"gpt-x"}"#, None),
        (
            "/openai/v1/chat/completions",
            r#"{"model":"openai/gpt-x"}"#,
            Some("key bot does not allow model openai/gpt-x; it allows gpt-*"),
        ),
    ] {
        let (status, code, message) = call(&gateway, Method::POST, path, body).await;
        match expected {
            None => assert_eq!((status, message.as_str()), (200, ""), "{path} {body}"),
            Some(told) => assert_eq!(
                (status, code.as_str(), message.as_str()),
                (403, "model_not_allowed", told),
                "{path} {body}"
            ),
        }
    }
    let (status, code, _) = call(&gateway, Method::POST, "/openai/v1/batches", r#"{"input_file_id":"f"}"#).await;
    assert_eq!((status, code.as_str()), (403, "model_not_named"));
    let (status, ..) = call(&gateway, Method::GET, "/openai/v1/models", "").await;
    assert_eq!(status, 200, "nothing runs a model there");
}

#[tokio::test]
async fn a_refusal_is_in_the_providers_shape_and_leaves_a_row() {
    for (codec, path, shape) in [
        (Codec::openai(), "/v1/chat/completions", "permission_error"),
        (Codec::anthropic(), "/v1/messages", "permission_error"),
        (Codec::gemini(), "/v1beta/models/gpt-y:generateContent", "PERMISSION_DENIED"),
        (Codec::bedrock(), "/model/gpt-y/converse", "AccessDeniedException"),
    ] {
        let mut upstream = Upstream::json(StatusCode::OK, ANSWER).await;
        let mut setup = Setup::new(vec![provider("p", codec, &format!("http://{}", upstream.addr))]);
        let rules = AccessRules {
            operations: only(&["embeddings"], &[]),
            ..open(Holder::Team, "growth")
        };
        setup.keys = vec![Key {
            access: Arc::new([rules]),
            ..key("bot", SECRET)
        }];
        let gateway = setup.start().await;
        let (head, body) = gateway.call(gateway.chat(&format!("/p{path}"), r#"{"model":"gpt-y"}"#)).await;
        let body = String::from_utf8_lossy(&body);
        assert_eq!(head.status, StatusCode::FORBIDDEN);
        assert!(
            body.contains(shape) && body.contains("team growth does not allow operation "),
            "{body}"
        );
        assert!(body.to_ascii_lowercase().contains("operation_not_allowed"), "{body}");
        assert!(!upstream.was_asked());
        let row = gateway.ledger.row().await;
        assert!(row.refused);
        assert_eq!(row.ending.outcome, Outcome::RefusedPolicy);
        assert_eq!(row.ending.error_type, Some(name("operation_not_allowed")));
        let [decision] = row.ending.decisions.as_slice() else {
            panic!("{:?}", row.ending.decisions)
        };
        assert_eq!((&*decision.policy, &*decision.action), ("operations", "refuse"));
        assert!(
            decision
                .detail
                .as_deref()
                .unwrap()
                .starts_with("team growth does not allow operation")
        );
    }
}

#[tokio::test]
async fn operations_go_by_their_names_and_paths() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let rules = AccessRules {
        operations: only(&["chat", "/v1/models*"], &[]),
        ..open(Holder::Key, "bot")
    };
    let gateway = start(&upstream, vec![rules]).await;
    let model = r#"{"model":"gpt-x"}"#;
    for (method, path, body, allowed) in [
        (Method::POST, "/openai/v1/chat/completions", model, true),
        (Method::GET, "/openai/v1/models", "", true),
        (Method::GET, "/openai/v1/models/gpt-4o", "", true),
        (Method::POST, "/openai/v1/embeddings", model, false),
        (Method::POST, "/openai/v1/batches", "{}", false),
    ] {
        let (status, code, _) = call(&gateway, method, path, body).await;
        let expected = if allowed { (200, "") } else { (403, "operation_not_allowed") };
        assert_eq!((status, code.as_str()), expected, "{path}");
    }
}

#[tokio::test]
async fn who_is_bound_to_a_proxy_cannot_go_round_it() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let model = r#"{"model":"gpt-x"}"#;
    let rules = |proxies| AccessRules {
        proxies,
        ..open(Holder::Key, "bot")
    };
    let gateway = start(&upstream, vec![rules(only(&["assistant"], &[]))]).await;
    let (status, ..) = call(&gateway, Method::POST, "/assistant/v1/chat/completions", model).await;
    assert_eq!(status, 200);
    for path in ["/openai/v1/chat/completions", "/v1/chat/completions"] {
        let (status, code, message) = call(&gateway, Method::POST, path, model).await;
        assert_eq!((status, code.as_str()), (403, "proxy_not_allowed"));
        assert_eq!(
            message,
            "key bot does not allow calls by no proxy; it allows those by assistant"
        );
    }

    let gateway = start(&upstream, vec![rules(only(&["*"], &["assistant"]))]).await;
    let (status, ..) = call(&gateway, Method::POST, "/openai/v1/chat/completions", model).await;
    assert_eq!(status, 200);
    let (status, code, message) = call(&gateway, Method::POST, "/assistant/v1/chat/completions", model).await;
    assert_eq!((status, code.as_str()), (403, "proxy_not_allowed"));
    assert_eq!(
        message,
        "key bot does not allow calls by assistant; it allows those by *, but not assistant"
    );
}
