//! What the endpoint asks of a request, and its answers when it does not get that.

use serde_json::json;

use super::{Server, TOKEN, error};

#[tokio::test]
async fn a_query_without_the_token_is_refused() {
    let server = Server::start().await;
    let body = json!({"sql": "SELECT 1"});
    for value in [
        None,
        Some("Bearer wrong"),
        Some("Basic dGc6dGc="),
        Some(TOKEN),
        Some("Bearer "),
    ] {
        let mut request = server.client.post(&server.url).json(&body);
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        let response = request.send().await.unwrap();
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        let (status, error) = error(response).await;
        assert_eq!((status, error["code"].as_str()), (401, Some("unauthorized")), "{value:?}");
        assert!(!error.to_string().contains(TOKEN));
    }
    assert_eq!(server.engine.stats().done, 0);
    let lower = server
        .client
        .post(&server.url)
        .json(&body)
        .header("authorization", format!("bearer {TOKEN}"));
    assert_eq!(lower.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_is_not_what_is_read_is_refused() {
    let server = Server::start().await;
    let post = || server.client.post(&server.url).bearer_auth(TOKEN);
    let json = |body: &str| {
        post()
            .header("content-type", "application/json; charset=utf-8")
            .body(body.to_owned())
    };
    let cases = [
        (post().body(r#"{"sql": "SELECT 1"}"#), 415, "unsupported_media_type"),
        (
            post().header("content-type", "text/plain").body("SELECT 1"),
            415,
            "unsupported_media_type",
        ),
        (json(""), 400, "bad_request"),
        (json("SELECT 1"), 400, "bad_request"),
        (json("{}"), 400, "bad_request"),
        (json(r#"{"sql": 1}"#), 400, "bad_request"),
        (json(r#"{"sql": "SELECT 1", "limit": 5}"#), 400, "bad_request"),
        (json(r#"{"sql": "SELECT 1"} x"#), 400, "bad_request"),
        (json(r#"{"sql": "SELECT $1", "params": "x"}"#), 400, "bad_params"),
        (json(r#"{"sql": "SELECT $1", "params": [[1]]}"#), 400, "bad_params"),
        (
            json(&format!(r#"{{"sql": "{}"}}"#, "x".repeat(2 << 20))),
            413,
            "request_too_large",
        ),
        (
            json(&format!(r#"{{"sql": "{}"}}"#, "x".repeat(200 << 10))),
            400,
            "statement_too_long",
        ),
    ];
    for (request, status, code) in cases {
        let (actual, error) = error(request.send().await.unwrap()).await;
        assert_eq!((actual, error["code"].as_str()), (status, Some(code)), "{error}");
    }
    assert_eq!(
        server
            .client
            .get(&server.url)
            .bearer_auth(TOKEN)
            .send()
            .await
            .unwrap()
            .status(),
        405
    );
}

#[tokio::test]
async fn a_format_that_is_not_served_is_refused_with_those_that_are() {
    let server = Server::start().await;
    let response = server
        .sql("SELECT 1")
        .header("accept", "text/html, image/*;q=0.5")
        .send()
        .await
        .unwrap();
    let (status, error) = error(response).await;
    assert_eq!((status, error["code"].as_str()), (406, Some("not_acceptable")));
    assert!(
        error["hint"].as_str().unwrap().contains("application/vnd.apache.parquet"),
        "{error}"
    );
}

#[tokio::test]
async fn placeholders_take_values_by_place_or_name() {
    let server = Server::start().await;
    let rows = |body| {
        let request = server.request(&body);
        async move { request.send().await.unwrap().json::<serde_json::Value>().await.unwrap() }
    };
    let by_place = rows(json!({
        "sql": "SELECT count(*) AS calls FROM usage WHERE team = $1 AND start_time >= $2 AND input_tokens > $3",
        "params": ["growth", "2026-11-01T00:00:00Z", 0]
    }))
    .await;
    let by_name = rows(json!({
        "sql": "SELECT count(*) AS calls FROM usage WHERE team = $team AND start_time >= $since AND input_tokens > $least",
        "params": {"team": "growth", "since": "2026-11-01T00:00:00Z", "least": 0}
    }))
    .await;
    assert_eq!(by_place, by_name);
    assert!(by_place[0]["calls"].as_i64().unwrap() > 10, "{by_place}");

    let quoted = rows(json!({"sql": "SELECT $1 AS text", "params": ["'; DROP TABLE usage --"]})).await;
    assert_eq!(quoted, json!([{"text": "'; DROP TABLE usage --"}]));

    for body in [json!({"sql": "SELECT $2", "params": [1]}), json!({"sql": "SELECT $1 + 1"})] {
        let (status, error) = error(server.request(&body).send().await.unwrap()).await;
        assert_eq!(status, 400, "{error}");
    }
}

#[tokio::test]
async fn a_stopping_engine_finishes_what_runs_and_refuses_what_comes() {
    let server = Server::start().await;
    assert_eq!(server.rows("SELECT 1 AS one").await, json!([{"one": 1}]));
    let engine = std::sync::Arc::clone(&server.engine);
    let endless = tokio::spawn(server.sql(super::ENDLESS).send());
    server.wait_for_running(1).await;
    engine.shutdown(std::time::Duration::ZERO).await;
    assert_ne!(endless.await.unwrap().unwrap().status(), 200);
    let (status, error) = server.error("SELECT 1").await;
    assert_eq!((status, error["code"].as_str()), (503, Some("shutting_down")));
}
