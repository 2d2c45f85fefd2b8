//! The endpoint over real sockets, on tables in memory that the tests fill.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod chargeback;
mod document;
mod endpoint;
mod formats;
mod ledger;
mod limits;
mod statements;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::tables::Fixture;
use crate::{Engine, Limits, Token, router};

/// The token of every test's server.
const TOKEN: &str = "tg-test-token";
/// Something that must happen has this long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Runs for hours, and gives no row before its end.
const ENDLESS: &str =
    "SELECT sum(a.value * b.value % 7) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b";

struct Server {
    engine: Arc<Engine>,
    client: reqwest::Client,
    url: String,
    _spill: TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let spill = tempfile::tempdir().unwrap();
        let mut limits = Limits {
            spill_dir: spill.path().to_owned(),
            memory_bytes: 512 << 20,
            threads: 2,
            // Queries step back behind whatever else a test machine does.
            timeout: PATIENCE * 5,
            ..Limits::default()
        };
        change(&mut limits);
        let engine = Arc::new(Engine::new(Arc::new(Fixture::new()), limits).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/query/v1/sql", listener.local_addr().unwrap());
        let app = router(Arc::clone(&engine), Token::new(TOKEN));
        tokio::spawn(async move { axum::serve(listener, app).await });
        // Another test of this process may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            engine,
            client: reqwest::Client::new(),
            url,
            _spill: spill,
        }
    }

    fn request(&self, body: &Value) -> RequestBuilder {
        self.client.post(&self.url).bearer_auth(TOKEN).json(body)
    }

    fn sql(&self, sql: &str) -> RequestBuilder {
        self.request(&json!({"sql": sql}))
    }

    /// Rows of a query that succeeds.
    async fn rows(&self, sql: &str) -> Value {
        let response = self.sql(sql).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{sql}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Status and error of a query that fails.
    async fn error(&self, sql: &str) -> (u16, Value) {
        error(self.sql(sql).send().await.unwrap()).await
    }

    async fn bytes(&self, sql: &str, accept: &str) -> Vec<u8> {
        let response = self.sql(sql).header("accept", accept).send().await.unwrap();
        assert_eq!(response.status(), 200, "{sql}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(accept));
        response.bytes().await.unwrap().to_vec()
    }

    async fn wait_for_running(&self, expected: usize) {
        let mut running = self.engine.running();
        tokio::time::timeout(PATIENCE, running.wait_for(|count| *count == expected))
            .await
            .unwrap()
            .unwrap();
    }
}

async fn error(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let error = body["error"].clone();
    assert!(error["code"].is_string() && error["message"].is_string(), "{body}");
    (status, error)
}
