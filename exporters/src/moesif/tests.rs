//! Against a collector that checks every field by the published schema and answers as it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use http::{Method, Uri};
use serde_json::{Value, json};

use super::*;
use crate::fixture;

/// What the collector was asked.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    headers: HeaderMap,
    text: String,
}

#[derive(Default)]
struct Collector {
    asked: Mutex<Vec<Asked>>,
    answers: Mutex<VecDeque<(u16, &'static str, &'static str)>>,
    sampling: Mutex<(&'static str, &'static str)>,
    /// A transaction that no batch may hold.
    poison: Mutex<Option<String>>,
}

async fn collect(State(collector): State<Arc<Collector>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let (etag, sampling) = *collector.sampling.lock().unwrap();
    let mut text = String::new();
    if method == Method::POST {
        assert_eq!(headers["content-encoding"], "gzip");
        GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
    }
    let poisoned = collector.poison.lock().unwrap().as_ref().is_some_and(|id| text.contains(id));
    collector.asked.lock().unwrap().push(Asked {
        path: uri.path().to_owned(),
        headers,
        text,
    });
    if method == Method::GET {
        return ([("X-Moesif-Config-ETag", etag)], sampling).into_response();
    }
    if poisoned {
        return (StatusCode::BAD_REQUEST, "an event is malformed").into_response();
    }
    let (status, wait, words) = collector.answers.lock().unwrap().pop_front().unwrap_or((201, "", "{}"));
    let mut response = (StatusCode::from_u16(status).unwrap(), words).into_response();
    response.headers_mut().insert("x-moesif-config-etag", etag.parse().unwrap());
    if !wait.is_empty() {
        response.headers_mut().insert(header::RETRY_AFTER, wait.parse().unwrap());
    }
    response
}

/// A collector, and a destination that delivers to it.
async fn start(change: impl FnOnce(&mut Config)) -> (Arc<Collector>, Moesif) {
    let collector = Arc::new(Collector {
        sampling: Mutex::new(("1", "{}")),
        ..Collector::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = Router::new().fallback(collect).with_state(Arc::clone(&collector));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = Config::new(url, "app-1".parse().unwrap());
    change(&mut config);
    let mut moesif = Moesif::new(config).unwrap();
    moesif.config_interval = Duration::ZERO;
    (collector, moesif)
}

impl Collector {
    fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.path == path)
            .cloned()
            .collect()
    }

    /// Every event or action that came in at a path.
    fn items(&self, path: &str) -> Vec<Value> {
        self.asked(path)
            .iter()
            .flat_map(|asked| serde_json::from_str::<Vec<Value>>(&asked.text).unwrap())
            .collect()
    }
}

/// Checks that an object has no field but these, each of its type; those marked `!` must be there. As in moesifapi 1.5's models and the API reference.
fn check(object: &Value, fields: &[(&str, &str)]) {
    let object = object.as_object().unwrap();
    for (name, value) in object {
        let (_, kind) = fields
            .iter()
            .find(|(field, _)| field == name)
            .unwrap_or_else(|| panic!("field {name} is not Moesif's"));
        let fits = match kind.trim_end_matches('!') {
            "text" => value.is_string(),
            "int" => value.is_u64(),
            "time" => value
                .as_str()
                .is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok()),
            "object" => value.is_object(),
            kind => panic!("{kind} is no kind"),
        };
        assert!(fits, "{name} is {value}");
    }
    for (name, _) in fields.iter().filter(|(_, kind)| kind.ends_with('!')) {
        assert!(object.contains_key(*name), "{name} is missing");
    }
}

fn check_event(event: &Value) {
    check(
        event,
        &[
            ("request", "object!"),
            ("response", "object!"),
            ("transaction_id", "text!"),
            ("direction", "text!"),
            ("weight", "int!"),
            ("user_id", "text"),
            ("company_id", "text"),
            ("subscription_id", "text"),
            ("session_token", "text"),
            ("trace_id", "text"),
            ("metadata", "object!"),
        ],
    );
    check(
        &event["request"],
        &[("time", "time!"), ("uri", "text!"), ("verb", "text!"), ("headers", "object!")],
    );
    check(
        &event["response"],
        &[("time", "time!"), ("status", "int!"), ("headers", "object")],
    );
    assert_eq!(event["transaction_id"].as_str().unwrap().len(), 36);
    assert_eq!(event["direction"], "Outgoing");
}

fn check_action(action: &Value) {
    check(
        action,
        &[
            ("action_name", "text!"),
            ("request", "object!"),
            ("transaction_id", "text!"),
            ("user_id", "text"),
            ("company_id", "text"),
            ("subscription_id", "text"),
            ("session_token", "text"),
            ("metadata", "object!"),
        ],
    );
    check(&action["request"], &[("time", "time!"), ("uri", "text!")]);
}

#[tokio::test]
async fn a_call_is_an_event_with_every_field_in_its_place() {
    let (collector, moesif) = start(|config| config.subscription = vec![Identity::Tag("cost_center".into())]).await;
    assert_eq!(moesif.deliver(&fixture::batch(&[fixture::call(1)])).await, Delivery::Accepted);
    let asked = collector.asked("/v1/events/batch");
    assert_eq!(asked[0].headers["x-moesif-application-id"], "app-1");
    assert_eq!(asked[0].headers["content-type"], "application/json");
    assert!(
        asked[0].text.contains(r#""total_cost":0.000123456789"#),
        "every digit, and no quotes"
    );
    let events = collector.items("/v1/events/batch");
    check_event(&events[0]);
    let mut event = events[0].clone();
    // Numbers with all their digits do not survive a parser of floats: those are compared as text above.
    event["metadata"]["ai_context"]["cost_metrics"].take();
    assert_eq!(
        event,
        json!({
            "request": {"time": "2025-12-01T00:00:00.000Z", "uri": "https://api.openai.com/chat", "verb": "POST", "headers": {}},
            "response": {"time": "2025-12-01T00:00:01.500Z", "status": 200, "headers": {}},
            "transaction_id": "01938f00-0000-7000-8000-000000000001", "direction": "Outgoing", "weight": 1,
            "user_id": "ann", "company_id": "growth", "subscription_id": "4711", "session_token": "s-1",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "metadata": {
                "ai_context": {
                    "provider": "openai", "model": "gpt-5-2025-08-07", "cost_metrics": null,
                    "usage": {"input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 40, "reasoning_tokens": 10, "total_tokens": 49, "usage_source": "reported"},
                },
                "aiMetadata": {"model": "gpt-5-2025-08-07", "vendorName": "openai"},
                "aiTokenUsage": {"promptTokens": 9, "completionTokens": 40, "totalTokens": 49},
                "responseLatency": 1500, "backendLatency": 1499,
                "guardrailHits": [{"policy": "pii", "action": "noted", "detail": "an e-mail address"}],
                "tollgate": {
                    "request_id": "01938f00-0000-7000-9000-000000000001", "attempt": 1, "instance": "gw-1", "seq": 1,
                    "org": "acme", "team": "growth", "project": "search", "service": "ranker", "agent": "planner", "key_id": "bot",
                    "operation_name": "chat", "proxy": "chat-eu", "upstream": "api.openai.com:443", "region": "eu", "request_model": "gpt-5",
                    "stream": true, "route_rule": "default", "outcome": "ok", "status_code": 200, "finish_reason": "stop",
                    "time_to_first_token_us": 330_000, "request_bytes": 1024, "response_bytes": 4096, "tags": {"cost_center": "4711"},
                },
            },
        })
    );
}

#[tokio::test]
async fn rows_that_lack_columns_still_are_events_by_the_schema() {
    let (collector, moesif) = start(|_| ()).await;
    let batch = fixture::batch(&[fixture::call(1)]);
    let schema = batch.schema();
    let others: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !["call_id", "start_time"].contains(name))
        .collect();
    assert_eq!(moesif.deliver(&fixture::without(&batch, &others)).await, Delivery::Accepted);
    collector.items("/v1/events/batch").iter().for_each(check_event);
    assert_eq!(collector.items("/v1/events/batch").len(), 1);
    assert!(collector.asked("/v1/users/batch").is_empty());
    let stuck = moesif.deliver(&fixture::without(&batch, &["start_time"])).await;
    assert_eq!(
        stuck,
        Delivery::Stuck {
            reason: "rows lack column start_time, which Moesif requires: do not leave it out".to_owned()
        }
    );
}

#[tokio::test]
async fn a_correction_is_an_action_that_takes_back_and_one_that_books() {
    let correction = |number: u64, cost: &str| {
        fixture::call_with(
            number,
            json!({"corrects": "01938f00-0000-7000-8000-000000000001", "cost": cost}),
        )
    };
    let rows = fixture::batch(&[fixture::call(1), correction(2, "-0.000123456789"), correction(3, "0.0001")]);
    let (collector, moesif) = start(|_| ()).await;
    assert_eq!(moesif.deliver(&rows).await, Delivery::Accepted);
    assert_eq!(collector.items("/v1/events/batch").len(), 1);
    let actions = collector.items("/v1/actions/batch");
    actions.iter().for_each(check_action);
    let told: Vec<_> = actions
        .iter()
        .map(|action| {
            (
                action["action_name"].as_str().unwrap(),
                action["metadata"]["tollgate"]["corrects"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("AI Cost Correction", "01938f00-0000-7000-8000-000000000001"); 2]);
    let text = &collector.asked("/v1/actions/batch")[0].text;
    assert!(
        text.contains(r#""total_cost":-0.000123456789"#) && text.contains(r#""total_cost":0.0001,"#),
        "{text}"
    );

    let (collector, moesif) = start(|config| config.corrections = Corrections::Leave).await;
    assert_eq!(moesif.deliver(&rows).await, Delivery::Accepted);
    assert!(collector.asked("/v1/actions/batch").is_empty());
}

#[tokio::test]
async fn calls_are_actions_where_the_operator_says_so() {
    let (collector, moesif) = start(|config| config.shape = Shape::Actions).await;
    assert_eq!(moesif.deliver(&fixture::batch(&[fixture::call(1)])).await, Delivery::Accepted);
    let actions = collector.items("/v1/actions/batch");
    actions.iter().for_each(check_action);
    assert_eq!(actions[0]["action_name"], "AI Call");
    assert!(collector.asked("/v1/events/batch").is_empty() && collector.asked("/v1/config").is_empty());
}

#[tokio::test]
async fn sampling_follows_the_configuration_and_its_changes() {
    let rows = fixture::batch(&(0..400).map(fixture::call).collect::<Vec<_>>());
    let (collector, moesif) = start(|_| ()).await;
    *collector.sampling.lock().unwrap() = ("1", r#"{"sample_rate": 25}"#);
    assert_eq!(moesif.deliver(&rows).await, Delivery::Accepted);
    let kept = collector.items("/v1/events/batch");
    assert!(kept.iter().all(|event| event["weight"] == 4));
    // 400 draws at a quarter: 100, with a standard deviation of 8.7; five of them either way.
    assert!((57..=143).contains(&kept.len()), "{}", kept.len());
    assert_eq!(moesif.deliver(&rows).await, Delivery::Accepted);
    assert_eq!(
        collector.items("/v1/events/batch").len(),
        kept.len() * 2,
        "a row that comes again meets the same fate"
    );
    assert_eq!(collector.asked("/v1/config").len(), 1);

    *collector.sampling.lock().unwrap() = ("2", r#"{"sample_rate": 25, "company_sample_rate": {"growth": 0}}"#);
    moesif.deliver(&rows).await;
    assert_eq!(moesif.deliver(&rows).await, Delivery::Accepted);
    assert_eq!(collector.asked("/v1/config").len(), 2, "an answer named another version");
    assert_eq!(
        collector.items("/v1/events/batch").len(),
        kept.len() * 3,
        "none of the last batch"
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_leaves_every_call_in() {
    let (collector, moesif) = start(|_| ()).await;
    *collector.sampling.lock().unwrap() = ("1", "<html>");
    assert_eq!(moesif.deliver(&fixture::batch(&[fixture::call(1)])).await, Delivery::Accepted);
    assert_eq!(collector.items("/v1/events/batch")[0]["weight"], 1);
}

#[tokio::test]
async fn requests_stay_under_the_limits_and_hold_every_row_once() {
    let long = "x".repeat(6000);
    let tagged = |number: u64| fixture::call_with(number, json!({"tags": {"note": long}}));
    let rows: Vec<_> = (0..200).map(fixture::call).chain((200..300).map(tagged)).collect();
    let (collector, moesif) = start(|_| ()).await;
    assert_eq!(moesif.deliver(&fixture::batch(&rows)).await, Delivery::Accepted);
    let asked = collector.asked("/v1/events/batch");
    assert!(asked.iter().all(|asked| asked.text.len() <= batch::BYTES_MAX + 1
        && serde_json::from_str::<Vec<Value>>(&asked.text).unwrap().len() <= batch::EVENTS_MAX));
    let ids: BTreeSet<_> = collector
        .items("/v1/events/batch")
        .iter()
        .map(|event| event["transaction_id"].to_string())
        .collect();
    assert_eq!((ids.len(), collector.items("/v1/events/batch").len()), (300, 300));
    assert!(asked.len() >= 5, "two of a hundred, and the long ones in three or more");
}

#[tokio::test]
async fn answers_are_judged_by_their_status() {
    let (collector, moesif) = start(|config| (config.profiles, config.sampling) = (false, false)).await;
    let rows = fixture::batch(&[fixture::call(1)]);
    let mut told = BTreeMap::new();
    for (status, wait) in [
        (201, ""),
        (202, ""),
        (400, ""),
        (401, ""),
        (403, ""),
        (404, ""),
        (413, ""),
        (429, "7"),
        (500, ""),
        (503, "2"),
    ] {
        collector.answers.lock().unwrap().push_back((status, wait, "words"));
        told.insert(status, moesif.deliver(&rows).await);
    }
    let said = |status: &str| format!("POST v1/events/batch answered {status}: words");
    let retry = |after: Option<u64>, status: &str| Delivery::Retry {
        after: after.map(Duration::from_secs),
        reason: said(status),
    };
    assert_eq!(
        told,
        BTreeMap::from([
            (201, Delivery::Accepted),
            (202, Delivery::Accepted),
            (
                400,
                Delivery::Invalid {
                    answer: said("400 Bad Request")
                }
            ),
            (
                401,
                Delivery::Stuck {
                    reason: said("401 Unauthorized")
                }
            ),
            (
                403,
                Delivery::Stuck {
                    reason: said("403 Forbidden")
                }
            ),
            (
                404,
                Delivery::Stuck {
                    reason: said("404 Not Found")
                }
            ),
            (
                413,
                Delivery::Invalid {
                    answer: said("413 Payload Too Large")
                }
            ),
            (429, retry(Some(7), "429 Too Many Requests")),
            (500, retry(None, "500 Internal Server Error")),
            (503, retry(Some(2), "503 Service Unavailable")),
        ])
    );
}

#[tokio::test]
async fn halving_a_refused_batch_leads_to_the_row_and_the_rest_passes() {
    let (collector, moesif) = start(|config| (config.profiles, config.sampling) = (false, false)).await;
    *collector.poison.lock().unwrap() = Some("01938f00-0000-7000-8000-000000000005".to_owned());
    let rows = fixture::batch(&(0..8).map(fixture::call).collect::<Vec<_>>());
    let (mut queue, mut dead, mut passed) = (VecDeque::from([(0, 8)]), Vec::new(), 0);
    while let Some((start, len)) = queue.pop_front() {
        match moesif.deliver(&rows.slice(start, len)).await {
            Delivery::Accepted => passed += len,
            Delivery::Invalid { .. } if len == 1 => dead.push(start),
            Delivery::Invalid { .. } => queue.extend([(start, len / 2), (start + len / 2, len - len / 2)]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((dead, passed), (vec![5], 7));
}

#[tokio::test]
async fn users_and_companies_are_told_of_when_they_are_new_or_changed() {
    let (collector, moesif) = start(|_| ()).await;
    let rows = fixture::batch(&[fixture::call(1), fixture::call(2)]);
    moesif.deliver(&rows).await;
    moesif.deliver(&rows).await;
    let users = collector.items("/v1/users/batch");
    let who = json!({"org": "acme", "team": "growth", "project": "search", "service": "ranker"});
    assert_eq!(
        users,
        [json!({"user_id": "ann", "company_id": "growth", "metadata": who, "modified_time": "2025-12-01T00:00:00.000Z"})]
    );
    let companies = collector.items("/v1/companies/batch");
    assert_eq!(
        companies,
        [
            json!({"company_id": "growth", "metadata": {"org": "acme", "team": "growth"}, "modified_time": "2025-12-01T00:00:00.000Z"})
        ]
    );

    moesif
        .deliver(&fixture::batch(&[fixture::call_with(3, json!({"project": "ads"}))]))
        .await;
    assert_eq!(collector.items("/v1/users/batch").len(), 2);
    assert_eq!(collector.items("/v1/users/batch")[1]["metadata"]["project"], "ads");
    assert_eq!(
        collector.items("/v1/companies/batch").len(),
        1,
        "a team's projects are not part of its profile"
    );
}

#[tokio::test]
async fn a_collector_that_is_down_is_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let mut config = Config::new(url, "app-1".parse().unwrap());
    config.sampling = false;
    let delivery = Moesif::new(config)
        .unwrap()
        .deliver(&fixture::batch(&[fixture::call(1)]))
        .await;
    assert!(matches!(delivery, Delivery::Retry { after: None, .. }), "{delivery:?}");
}

#[test]
fn the_application_id_is_in_no_output() {
    let config = Config::new(URL.parse().unwrap(), "app-secret".parse().unwrap());
    assert!(!format!("{config:?}").contains("app-secret"));
    assert_eq!(
        "tags.".parse::<Identity>().unwrap_err().to_string(),
        "\"tags.\" is none of org, team, project, service, user_id, agent, key_id, session_id and tags.NAME"
    );
    assert_eq!("tags.plan".parse(), Ok(Identity::Tag("plan".into())));
}
