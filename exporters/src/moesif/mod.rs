//! Moesif: API events or actions, users and companies, over its collector's HTTP API.
//!
//! 1. `transaction_id` is `call_id`, by which Moesif drops repeats, in whatever batches they come: delivering again adds nothing.
//! 2. Moesif drops an event whose id it has: it cannot be updated. A correction is therefore never the corrected event again but an action of
//!    its own, negative where it takes back ([`Corrections`]).
//! 3. A request stays under the smallest limit that any source names (`batch.rs`).
//! 4. Money is JSON numbers with all their digits (`cost.rs`). What Moesif makes of them when it adds them up is its own: the ledger is exact.
//! 5. Moesif's configuration may sample events (`sampling.rs`); sums there are then estimates by weight. It can be switched off here.

mod batch;
mod config;
mod cost;
mod event;
mod people;
mod sampling;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, stream};
use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;
use tollgate_record::BoxFuture;
use url::Url;

pub use config::{ACTION_NAME, Config, Corrections, Identity, Shape, TIMEOUT, URL, UnknownIdentity};

use crate::client::{Answer, ClientError, client, retry_after, send, words};
use crate::gzip::gzip;
use crate::row::Rows;
use crate::{Delivery, Destination};
use batch::{Path, Request};
use people::{Known, News, Profile};
use sampling::Rates;

/// The most rows of a batch: ten requests, or some more.
const ROWS_MAX: usize = 1000;
/// The most requests of a batch that are under way at once.
const REQUESTS_AT_ONCE: usize = 4;
/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of a configuration that are read; it may list every user.
const CONFIG_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The shortest time between two questions for the configuration.
const CONFIG_INTERVAL: Duration = Duration::from_secs(60);
/// Where the configuration's version stands in every answer.
const CONFIG_ETAG: &str = "x-moesif-config-etag";

/// Moesif, as a destination.
#[derive(Debug)]
pub struct Moesif {
    config: Arc<Config>,
    client: reqwest::Client,
    users: Known,
    companies: Known,
    /// The lock guards the state alone; requests are made without it.
    sampling: Mutex<Sampling>,
    config_interval: Duration,
}

/// What is known of Moesif's configuration.
#[derive(Debug, Default)]
struct Sampling {
    rates: Arc<Rates>,
    /// Version of what is known.
    etag: Option<String>,
    /// Version that an answer named last.
    announced: Option<String>,
    asked: Option<Instant>,
}

// === impl Moesif ===

impl Moesif {
    /// Makes the destination; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`] if a certificate or key cannot be used.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        let client = client(&config.tls, Some(config.timeout), false)?;
        let (users, companies) = (Known::default(), Known::default());
        Ok(Self {
            config: Arc::new(config),
            client,
            users,
            companies,
            sampling: Mutex::default(),
            config_interval: CONFIG_INTERVAL,
        })
    }

    async fn deliver(&self, batch: &RecordBatch) -> Delivery {
        let rates = self.rates().await;
        let (config, batch) = (Arc::clone(&self.config), batch.clone());
        let encoding = tokio::task::spawn_blocking(move || {
            let rows = Rows::new(&batch).map_err(|error| error.to_string())?;
            let lacks = |batch::Lacks(column)| format!("rows lack column {column}, which Moesif requires: do not leave it out");
            let requests = batch::encode(&config, rates.as_deref(), &rows, gzip).map_err(lacks)?;
            let news = if config.profiles {
                News::of(&config, &rows)
            } else {
                News::default()
            };
            Ok((requests, news))
        });
        let (requests, news) = match encoding.await {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(reason)) => return Delivery::Stuck { reason },
            Err(error) => {
                return Delivery::Stuck {
                    reason: format!("a batch could not be encoded: {error}"),
                };
            }
        };
        for (known, profiles, path) in [
            (&self.companies, news.companies, "v1/companies/batch"),
            (&self.users, news.users, "v1/users/batch"),
        ] {
            if let Some(failed) = self.introduce(known, profiles, path).await {
                return failed;
            }
        }
        let sent = requests.into_iter().map(|request| self.send(request));
        stream::iter(sent)
            .buffer_unordered(REQUESTS_AT_ONCE)
            .fold(Delivery::Accepted, async |one, other| worst(one, other))
            .await
    }

    async fn send(&self, request: Request) -> Delivery {
        let path = match request.path {
            Path::Events => "v1/events/batch",
            Path::Actions => "v1/actions/batch",
        };
        self.post(path, request.body).await
    }

    /// Tells of users or companies; `None` if the batch may go on. A profile that is refused is no reason to keep calls back.
    async fn introduce(&self, known: &Known, profiles: Vec<Profile>, path: &'static str) -> Option<Delivery> {
        let news = known.unknown(profiles);
        for some in news.chunks(batch::EVENTS_MAX) {
            let body = serde_json::to_vec(some).expect("a profile has text keys");
            match self.post(path, gzip(&body)).await {
                Delivery::Accepted => known.remember(some),
                Delivery::Invalid { answer } => {
                    tracing::warn!(path, answer, profiles = some.len(), "moesif refused profiles");
                    known.remember(some);
                }
                failed => return Some(failed),
            }
        }
        None
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Delivery {
        let request = self
            .client
            .post(self.address(path))
            .header("x-moesif-application-id", &self.config.application_id);
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip")
            .body(body);
        match send(request, ANSWER_BYTES_MAX).await {
            Ok(answer) => {
                self.note_version(&answer.headers);
                judge(path, &answer)
            }
            Err(reason) => Delivery::Retry {
                after: None,
                reason: format!("POST {path}: {reason}"),
            },
        }
    }

    fn address(&self, path: &str) -> Url {
        let mut url = self.config.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// The rates of Moesif's configuration, asked for anew if an answer named another version. What cannot be had leaves what is known.
    async fn rates(&self) -> Option<Arc<Rates>> {
        if !self.config.sampling || self.config.shape == Shape::Actions {
            return None;
        }
        if self.ask_now() {
            match self.fetch().await {
                Ok((rates, etag)) => {
                    let mut state = self.state();
                    state.rates = Arc::new(rates);
                    // An answer without a version is taken for the announced one, else it would be asked for again and again.
                    state.etag = etag.or_else(|| state.announced.clone());
                }
                Err(reason) => tracing::warn!(reason, "moesif's configuration could not be read; sampling stays as it was"),
            }
        }
        Some(Arc::clone(&self.state().rates))
    }

    fn ask_now(&self) -> bool {
        let mut state = self.state();
        let changed = state.asked.is_none() || state.etag.is_none() || state.announced.is_some() && state.announced != state.etag;
        let due = state.asked.is_none_or(|asked| asked.elapsed() >= self.config_interval);
        if changed && due {
            state.asked = Some(Instant::now());
        }
        changed && due
    }

    async fn fetch(&self) -> Result<(Rates, Option<String>), String> {
        let request = self
            .client
            .get(self.address("v1/config"))
            .header("x-moesif-application-id", &self.config.application_id);
        let answer = send(request, CONFIG_BYTES_MAX).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("GET v1/config answered {}", answer.status));
        }
        Ok((Rates::read(&answer.body)?, version(&answer.headers)))
    }

    fn note_version(&self, headers: &HeaderMap) {
        if let Some(version) = version(headers) {
            self.state().announced = Some(version);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Sampling> {
        self.sampling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Destination for Moesif {
    fn rows_max(&self) -> usize {
        ROWS_MAX
    }

    fn deliver<'a>(&'a self, rows: &'a RecordBatch) -> BoxFuture<'a, Delivery> {
        Box::pin(self.deliver(rows))
    }

    /// By the sampling that is known: Moesif is not asked.
    fn preview(&self, rows: &RecordBatch) -> Option<String> {
        let sampled = self.config.sampling && self.config.shape == Shape::Events;
        let rates = sampled.then(|| Arc::clone(&self.state().rates));
        let requests = batch::encode(&self.config, rates.as_deref(), &Rows::new(rows).ok()?, <[u8]>::to_vec).ok()?;
        let bodies: Result<Vec<_>, _> = requests.into_iter().map(|request| String::from_utf8(request.body)).collect();
        Some(bodies.ok()?.join("\n"))
    }
}

fn version(headers: &HeaderMap) -> Option<String> {
    headers.get(CONFIG_ETAG)?.to_str().ok().map(str::to_owned)
}

/// What an answer says of a request.
fn judge(path: &str, answer: &Answer) -> Delivery {
    let told = format!("POST {path} answered {}: {}", answer.status, words(&answer.body));
    match answer.status.as_u16() {
        200..=299 => Delivery::Accepted,
        400 | 413 | 422 => Delivery::Invalid { answer: told },
        408 | 425 | 429 | 500..=599 => Delivery::Retry {
            after: retry_after(&answer.headers, chrono::Utc::now()),
            reason: told,
        },
        _ => Delivery::Stuck { reason: told },
    }
}

/// What became of a batch whose parts fared so. Parts that were accepted are dropped by their ids when the batch comes again.
fn worst(one: Delivery, other: Delivery) -> Delivery {
    match (one, other) {
        (Delivery::Accepted, other) => other,
        (one, Delivery::Accepted) => one,
        (stuck @ Delivery::Stuck { .. }, _) | (_, stuck @ Delivery::Stuck { .. }) => stuck,
        (Delivery::Retry { after, reason }, Delivery::Retry { after: later, .. }) => Delivery::Retry {
            after: after.max(later),
            reason,
        },
        (retry @ Delivery::Retry { .. }, _) | (_, retry @ Delivery::Retry { .. }) => retry,
        (invalid, _) => invalid,
    }
}
