//! Budgets and rate limits: what they refuse, what they change of a request, and what answers tell of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::StatusCode;
use tollgate_codec::{Codec, Defaults};
use tollgate_record::admission::{Measure, OverBudget, OverRate, Permit, RateKind, RateState, Refusal, Remaining, UnpricedCall};
use tollgate_record::{Decision, ModelRules, Outcome, Timestamp};

use super::harness::{Running, Setup, Upstream, error_code, frame, name, openai, provider};
use crate::{Access, LlmProxy};

const ANSWER: &str = r#"{"model":"gpt-x","usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;
const CHAT: &str = "/openai/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-x","messages":[]}"#;

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn usd(amount: &str) -> Measure {
    Measure::Money(amount.parse().unwrap(), name("USD"))
}

fn over_budget(status: u16) -> Refusal {
    Refusal::Budget(Box::new(OverBudget {
        budget: name("growth"),
        per: vec![("user_id".to_owned(), Some("ann".to_owned()))],
        limit: usd("50"),
        spent: usd("49.99"),
        reserved: usd("0.005"),
        estimate: Some(usd("0.02")),
        // 9999-01-01T00:00:00Z
        resets: Some(Timestamp::from_unix_us(253_370_764_800_000_000)),
        status,
    }))
}

fn state(of: RateKind, limit: u64, remaining: u64, reset_us: u64) -> RateState {
    RateState {
        name: name("bot"),
        of,
        limit,
        remaining,
        reset_us,
    }
}

fn over_rate(retry_us: Option<u64>) -> Refusal {
    Refusal::Rate(Box::new(OverRate {
        state: state(RateKind::Requests, 60, 0, 60_000_000),
        window_us: Some(60_000_000),
        needs: 1,
        retry_us,
    }))
}

fn decision(action: &str) -> Decision {
    Decision {
        policy: "budget:growth".into(),
        action: action.into(),
        detail: Some("why".into()),
    }
}

async fn refusing(codec: Codec, refusal: Refusal) -> Running {
    let gateway = Setup::new(vec![provider("p", codec, &format!("http://{}", nowhere()))])
        .start()
        .await;
    gateway.ledger.reserves(move |_, _| Err(refusal.clone()));
    gateway
}

#[tokio::test]
async fn a_call_over_budget_is_refused_in_the_providers_shape_with_all_numbers() {
    for (codec, path, kind) in [
        (Codec::openai(), "/v1/chat/completions", r#""type":"budget_exceeded""#),
        (Codec::anthropic(), "/v1/messages", r#""type":"budget_exceeded""#),
        (Codec::gemini(), "/v1beta/models/gpt-x:generateContent", "RESOURCE_EXHAUSTED"),
        (Codec::bedrock(), "/model/gpt-x/converse", "ServiceQuotaExceededException"),
        (Codec::mistral(), "/v1/chat/completions", r#""type":"budget_exceeded""#),
    ] {
        for status in [402, 429] {
            let gateway = refusing(codec.clone(), over_budget(status)).await;
            let (head, body) = gateway.call(gateway.chat(&format!("/p{path}"), BODY)).await;
            let body = String::from_utf8_lossy(&body);
            assert_eq!(head.status.as_u16(), status, "{path}");
            assert_eq!(head.headers["x-should-retry"], "false");
            assert!(
                !head.headers.contains_key("retry-after"),
                "the window ends in thousands of years"
            );
            let told = "budget growth of user_id ann has too little left: of 50 USD in its window 49.99 USD are spent and 0.005 USD are reserved for calls under \
                        way, and this call could come to 0.02 USD; the window resets at 9999-01-01T00:00:00Z";
            assert!(body.contains(told) && body.contains(kind), "{body}");
            assert!(body.to_ascii_lowercase().contains("budget_exceeded"), "{body}");
            let row = gateway.ledger.row().await;
            assert!(row.refused);
            let ending = row.ending;
            assert_eq!((ending.outcome, ending.status_code), (Outcome::RefusedBudget, Some(status)));
            assert_eq!(ending.error_type, Some(name("budget_exceeded")));
            let [decision] = ending.decisions.as_slice() else {
                panic!("{:?}", ending.decisions)
            };
            assert_eq!((&*decision.policy, &*decision.action), ("budget:growth", "refuse"));
            assert_eq!(decision.detail.as_deref(), Some(told));
        }
    }
}

#[tokio::test]
async fn a_call_without_a_price_is_refused_with_what_is_missing() {
    let refusal = Refusal::Unpriced(Box::new(UnpricedCall {
        budget: name("growth"),
        missing: "model gpt-x, meter output".to_owned(),
        status: 402,
    }));
    let gateway = refusing(Codec::openai(), refusal).await;
    let (head, body) = gateway.call(gateway.chat("/p/v1/chat/completions", BODY)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::PAYMENT_REQUIRED, "unpriced_model")
    );
    assert_eq!(head.headers["x-should-retry"], "false");
    assert!(String::from_utf8_lossy(&body).contains("model gpt-x, meter output"));
    let row = gateway.ledger.row().await;
    assert_eq!(row.ending.outcome, Outcome::RefusedBudget);
    assert_eq!(&*row.ending.decisions[0].policy, "budget:growth");
}

#[tokio::test]
async fn a_call_over_its_rate_is_told_when_to_come_again() {
    let gateway = refusing(Codec::openai(), over_rate(Some(1_200_000))).await;
    let (head, body) = gateway.call(gateway.chat("/p/v1/chat/completions", BODY)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded")
    );
    assert_eq!(head.headers["retry-after"], "2");
    assert!(!head.headers.contains_key("x-should-retry"));
    assert_eq!(head.headers["x-ratelimit-limit-requests"], "60");
    assert_eq!(head.headers["x-ratelimit-remaining-requests"], "0");
    assert_eq!(head.headers["x-ratelimit-reset-requests"], "1m0s");
    let row = gateway.ledger.row().await;
    assert_eq!(row.ending.outcome, Outcome::RefusedRate);
    let decision = &row.ending.decisions[0];
    assert_eq!((&*decision.policy, &*decision.action), ("rate_limit:bot", "refuse"));
    assert!(decision.detail.as_deref().unwrap().contains("60 requests in 60 s"));
}

#[tokio::test]
async fn a_call_that_never_fits_is_not_to_be_tried_again() {
    let gateway = refusing(Codec::anthropic(), over_rate(None)).await;
    let (head, _) = gateway.call(gateway.chat("/p/v1/messages", BODY)).await;
    assert_eq!(head.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!head.headers.contains_key("retry-after"));
    assert_eq!(head.headers["x-should-retry"], "false");
    assert_eq!(head.headers["anthropic-ratelimit-requests-limit"], "60");
}

#[tokio::test]
async fn an_answer_tells_what_is_left_in_place_of_what_the_upstream_tells() {
    for streamed in [false, true] {
        let upstream = Upstream::start(move |_| {
            Box::pin(async move {
                let mut answer = super::harness::json(StatusCode::OK, ANSWER);
                let headers = answer.headers_mut();
                if streamed {
                    headers.insert("content-type", http::HeaderValue::from_static("text/event-stream"));
                }
                headers.insert("x-ratelimit-limit-requests", http::HeaderValue::from_static("10000"));
                headers.insert("x-ratelimit-limit-tokens", http::HeaderValue::from_static("2000000"));
                headers.insert("x-tollgate-budget-remaining", http::HeaderValue::from_static("forged"));
                answer
            })
        })
        .await;
        let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
        gateway.ledger.permits(|| Permit {
            remaining: Some(Remaining {
                budget: name("growth"),
                left: usd("0.25"),
            }),
            rates: vec![
                state(RateKind::Requests, 60, 59, 1_000_000),
                state(RateKind::Concurrency, 5, 4, 0),
            ],
            ..Permit::free()
        });
        let (head, _) = gateway.call(gateway.chat(CHAT, BODY)).await;
        assert_eq!(head.headers["x-tollgate-budget-remaining"], "0.25 USD; budget=growth");
        assert_eq!(
            head.headers.get_all("x-ratelimit-limit-requests").iter().collect::<Vec<_>>(),
            ["60"]
        );
        assert_eq!(head.headers["x-ratelimit-remaining-requests"], "59");
        assert_eq!(head.headers["x-ratelimit-reset-requests"], "1s");
        assert_eq!(
            head.headers["x-ratelimit-limit-tokens"], "2000000",
            "the gateway has no limit of them"
        );
        gateway.ledger.row().await;
    }
}

#[tokio::test]
async fn without_rules_the_upstreams_limits_stand() {
    let upstream = Upstream::start(|_| {
        Box::pin(async {
            let mut answer = super::harness::json(StatusCode::OK, ANSWER);
            let limit = http::HeaderValue::from_static("10000");
            answer.headers_mut().insert("x-ratelimit-limit-requests", limit);
            answer
        })
    })
    .await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let (head, _) = gateway.call(gateway.chat(CHAT, BODY)).await;
    assert_eq!(head.headers["x-ratelimit-limit-requests"], "10000");
    assert!(!head.headers.contains_key("x-tollgate-budget-remaining"));
}

#[tokio::test]
async fn what_was_set_aside_goes_to_the_ledger_with_the_call_and_decisions_to_the_row() {
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.permits(|| Permit {
        decisions: vec![decision("warn")],
        ..Permit::free()
    });
    gateway.call(gateway.chat(CHAT, BODY)).await;
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.decisions),
        (Outcome::Ok, vec![decision("warn")])
    );
    assert_eq!(*gateway.ledger.held.lock().unwrap(), [true]);
    assert_eq!(gateway.ledger.given_back.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn decisions_stand_in_the_row_of_a_stream_and_of_a_lost_upstream() {
    let (upstream, frames) = Upstream::stream("text/event-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.permits(|| Permit {
        decisions: vec![decision("warn")],
        ..Permit::free()
    });
    let mut body = gateway
        .send(gateway.chat(
            CHAT,
            r#"{"model":"gpt-x","stream":true,"stream_options":{"include_usage":true}}"#,
        ))
        .await
        .into_body();
    frames.send(Bytes::from_static(b"data: [DONE]\n\n")).await.unwrap();
    drop(frames);
    while let Some(frame) = frame(&mut body).await {
        frame.unwrap();
    }
    assert_eq!(gateway.ledger.row().await.ending.decisions, [decision("warn")]);

    let gateway = Setup::new(vec![openai(nowhere())]).start().await;
    gateway.ledger.permits(|| Permit {
        decisions: vec![decision("warn")],
        ..Permit::free()
    });
    gateway.call(gateway.chat(CHAT, BODY)).await;
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.decisions),
        (Outcome::UpstreamError, vec![decision("warn")])
    );
}

#[tokio::test]
async fn a_permit_whose_call_is_not_admitted_is_given_back() {
    // The model that the budget would have it ask is not allowed.
    let upstream = Upstream::json(StatusCode::OK, ANSWER).await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    setup.proxies.push(proxy(&["gpt-x"], Defaults::default()));
    let gateway = setup.start().await;
    gateway.ledger.permits(|| Permit {
        decisions: vec![decision("downgrade")],
        model: Some(name("gpt-mini")),
        ..Permit::free()
    });
    let (head, body) = gateway.call(gateway.chat("/assistant/v1/chat/completions", BODY)).await;
    assert_eq!(
        (head.status, error_code(&body).as_str()),
        (StatusCode::FORBIDDEN, "model_not_allowed")
    );
    assert_eq!(gateway.ledger.given_back.load(Ordering::SeqCst), 1);
    let row = gateway.ledger.row().await;
    assert_eq!(row.ending.decisions.first(), Some(&decision("downgrade")));
    assert_eq!(row.ending.decisions.len(), 2);

    // The ledger cannot record.
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.permits(Permit::free);
    gateway.ledger.admit_fails.store(true, Ordering::SeqCst);
    let (head, _) = gateway.call(gateway.chat(CHAT, BODY)).await;
    assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(gateway.ledger.given_back.load(Ordering::SeqCst), 1);
}

/// A proxy `assistant` over provider `openai`.
fn proxy(allow: &[&str], defaults: Defaults) -> LlmProxy {
    LlmProxy {
        name: name("assistant"),
        provider: name("openai"),
        context: "/assistant".to_owned(),
        models: ModelRules {
            allow: allow
                .iter()
                .map(|glob| tollgate_record::ModelGlob::new(glob).unwrap())
                .collect(),
            deny: Vec::new(),
        },
        access: Access::default(),
        defaults,
    }
}

#[tokio::test]
async fn a_request_is_given_the_limit_and_the_model_of_its_permit() {
    // An answer that names no model.
    let mut upstream = Upstream::json(StatusCode::OK, r#"{"usage":{"prompt_tokens":7,"completion_tokens":3}}"#).await;
    let mut setup = Setup::new(vec![openai(upstream.addr)]);
    let defaults = Defaults {
        model: Some(name("gpt-default")),
        max_tokens: None,
    };
    setup.proxies.push(proxy(&["*"], defaults));
    let gateway = setup.start().await;
    gateway.ledger.permits(|| Permit {
        decisions: vec![decision("downgrade")],
        model: Some(name("gpt-mini")),
        max_tokens: Some(17),
        ..Permit::free()
    });
    for (path, body, asked, sent) in [
        (
            CHAT,
            r#"{"model":"gpt-x","messages":[]}"#,
            "gpt-x",
            r#"{"max_completion_tokens":17,"model":"gpt-mini","messages":[]}"#,
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"openai/gpt-x"}"#,
            "gpt-x",
            r#"{"max_completion_tokens":17,"model":"gpt-mini"}"#,
        ),
        (
            "/assistant/v1/chat/completions",
            r#"{"messages":[]}"#,
            "gpt-default",
            r#"{"model":"gpt-mini","max_completion_tokens":17,"messages":[]}"#,
        ),
    ] {
        let (head, _) = gateway.call(gateway.chat(path, body)).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(upstream.next().await.body, sent, "{path}");
        let row = gateway.ledger.rows().pop().unwrap();
        assert_eq!(row.intent.call.request_model, Some(name(asked)));
        assert_eq!(row.ending.response_model, Some(name("gpt-mini")), "for its price");
        assert_eq!(row.ending.decisions, [decision("downgrade")]);
    }
}

#[tokio::test]
async fn calls_without_usage_are_asked_about_too() {
    let upstream = Upstream::json(StatusCode::OK, "{}").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    gateway.ledger.reserves(move |intent, bounds| {
        let call = (intent.call.operation_name.to_string(), intent.bears_usage, bounds.answers);
        seen.lock().unwrap().push(call);
        Ok(Permit::free())
    });
    for (path, body) in [
        ("/openai/v1/batches", r#"{"input_file_id":"f"}"#),
        ("/openai/v1/moderations", r#"{"input":"x"}"#),
        (CHAT, BODY),
    ] {
        gateway.call(gateway.chat(path, body)).await;
    }
    assert_eq!(
        *asked.lock().unwrap(),
        [
            ("/v1/batches".to_owned(), false, 0),
            ("/v1/moderations".to_owned(), false, 0),
            ("chat".to_owned(), true, 1)
        ]
    );
}
