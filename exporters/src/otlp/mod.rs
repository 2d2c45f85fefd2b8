//! OpenTelemetry: spans, events and metrics over OTLP, by gRPC or by HTTP with protobuf.
//!
//! 1. Spans and events carry ids that follow from the row (`id.rs`) and `tollgate.call_id`: a repeat is recognised by them. OTLP itself knows no
//!    repeats, so a receiver that does not look at them keeps both.
//! 2. Of a batch that is tried again, signals that the receiver has taken are left out, as long as the gateway was not restarted. Metrics come
//!    last, when spans and events have passed: what metrics guarantee is in `metric.rs`.
//! 3. Names are those of one version of the conventions, which every message states (`attribute.rs`).
//! 4. No content: prompts and answers are not in a row.
//! 5. A receiver that takes a part and does not say which must not be sent the rest again (OTLP, "Partial Success"). The batch is then
//!    [`Delivery::Rejected`] with its words; its rows are named only if no signal had any taken.

mod attribute;
mod config;
mod counted;
mod histogram;
mod id;
mod log;
mod metric;
mod series;
mod signal;
mod status;
#[cfg(test)]
mod tests;
mod time;
mod trace;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use chrono::Utc;
use http::header;
use tollgate_record::BoxFuture;

pub use attribute::SCHEMA_URL;
pub use config::{Config, Dimension, Protocol, Signals, TIMEOUT, Temporality, UnknownDimension};

use crate::client::{ClientError, client, send};
use crate::gzip::gzip;
use crate::row::{Rows, Text};
use crate::{Delivery, Destination};
use metric::Totals;
use signal::{Clock, Encoded, Message, Signal};

/// The most rows of a batch: about 1.3 MB of spans, where receivers over gRPC stop at 4 MiB by default.
const ROWS_MAX: usize = 1000;
/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Of how many batches that are tried again it is remembered what has been taken.
const REMEMBERED_MAX: usize = 64;

/// A receiver of OTLP, as a destination.
#[derive(Debug)]
pub struct Otlp {
    config: Arc<Config>,
    client: reqwest::Client,
    /// The lock is held while a batch's points are made, on a thread that may block.
    totals: Arc<Mutex<Totals>>,
    started_ns: u64,
    /// What has been taken of batches that are not through. The lock guards the list alone.
    taken: Mutex<VecDeque<(BatchId, Vec<Signal>)>>,
}

/// What a batch is recognised by: the ids of its first and last rows, and how many there are.
type BatchId = (String, String, usize);

// === impl Otlp ===

impl Otlp {
    /// Makes the destination; nothing is sent yet. Totals of metrics begin at zero.
    ///
    /// # Errors
    /// [`ClientError`] if a certificate or key cannot be used.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        let client = client(&config.tls, Some(config.timeout), config.protocol == Protocol::Grpc)?;
        Ok(Self {
            config: Arc::new(config),
            client,
            totals: Arc::default(),
            started_ns: now_ns(),
            taken: Mutex::default(),
        })
    }

    async fn deliver(&self, batch: &RecordBatch) -> Delivery {
        let id = batch_id(batch);
        let taken = self.taken_of(&id);
        let encoded = match self.encode(batch, &taken).await {
            Ok(encoded) => encoded,
            Err(delivery) => return delivery,
        };
        let mut refused = Vec::new();
        let mut none_taken = true;
        for message in encoded {
            match self.export(&message).await {
                Ok(None) => none_taken = false,
                Ok(Some((count, words))) => {
                    none_taken &= count >= message.items;
                    refused.push(format!(
                        "{} of {} {} were refused: {words}",
                        count,
                        message.items,
                        message.signal.items()
                    ));
                }
                Err(delivery) => return delivery,
            }
            self.note(&id, message.signal);
        }
        self.forget(&id);
        if refused.is_empty() {
            return Delivery::Accepted;
        }
        let answer = refused.join("; ");
        tracing::warn!(answer, "the otlp receiver took a part of a batch");
        let rows = if none_taken {
            (0..batch.num_rows()).collect()
        } else {
            Vec::new()
        };
        Delivery::Rejected { rows, answer }
    }

    /// The messages of a batch, but for signals that were taken.
    async fn encode(&self, batch: &RecordBatch, taken: &[Signal]) -> Result<Vec<Message>, Delivery> {
        let (config, totals, batch) = (Arc::clone(&self.config), Arc::clone(&self.totals), batch.clone());
        let (taken, clock) = (
            taken.to_vec(),
            Clock {
                started_ns: self.started_ns,
                now: now_ns,
            },
        );
        let encoding = tokio::task::spawn_blocking(move || {
            let rows = Rows::new(&batch).map_err(|error| Delivery::Stuck {
                reason: error.to_string(),
            })?;
            Encoded {
                config: &config,
                rows: &rows,
            }
            .messages(&taken, &totals, clock)
        });
        encoding.await.unwrap_or_else(|error| {
            Err(Delivery::Stuck {
                reason: format!("a batch could not be encoded: {error}"),
            })
        })
    }

    /// Sends a message; how many of its items were refused, and why.
    async fn export(&self, message: &Message) -> Result<Option<(u64, String)>, Delivery> {
        let config = &self.config;
        let grpc = config.protocol == Protocol::Grpc;
        let (path, kind) = if grpc {
            (message.signal.grpc_path(), "application/grpc")
        } else {
            (message.signal.http_path(), "application/x-protobuf")
        };
        let mut url = config.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        let body = if config.gzip {
            gzip(&message.bytes)
        } else {
            message.bytes.clone()
        };
        let mut request = self
            .client
            .post(url)
            .headers(config.headers.clone())
            .header(header::CONTENT_TYPE, kind);
        if grpc {
            request = request
                .header(header::TE, "trailers")
                .header("grpc-timeout", format!("{}m", timeout_ms(config.timeout)));
        }
        if config.gzip {
            request = request.header(if grpc { "grpc-encoding" } else { "content-encoding" }, "gzip");
        }
        let request = request.body(if grpc { status::frame(&body, config.gzip) } else { body });
        let answer = send(request, ANSWER_BYTES_MAX).await.map_err(|reason| Delivery::Retry {
            after: None,
            reason: format!("{path}: {reason}"),
        })?;
        let response = if grpc {
            status::grpc(path, &answer, Utc::now())
        } else {
            status::http(path, &answer, Utc::now())
        }?;
        message.signal.refused(&response).map_err(|error| Delivery::Retry {
            after: None,
            reason: format!("{path} answered what is no OTLP response: {error}"),
        })
    }

    fn taken_of(&self, id: &BatchId) -> Vec<Signal> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken
            .iter()
            .find(|(batch, _)| batch == id)
            .map(|(_, signals)| signals.clone())
            .unwrap_or_default()
    }

    fn note(&self, id: &BatchId, signal: Signal) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.iter_mut().find(|(batch, _)| batch == id) {
            Some((_, signals)) => signals.push(signal),
            None => taken.push_back((id.clone(), vec![signal])),
        }
        if taken.len() > REMEMBERED_MAX {
            taken.pop_front();
        }
    }

    fn forget(&self, id: &BatchId) {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(batch, _)| batch != id);
    }
}

impl Destination for Otlp {
    fn rows_max(&self) -> usize {
        ROWS_MAX
    }

    fn deliver<'a>(&'a self, rows: &'a RecordBatch) -> BoxFuture<'a, Delivery> {
        Box::pin(self.deliver(rows))
    }

    /// The messages as OTLP writes them in JSON, one a line. Metrics say what these rows add, and the totals stay as they are.
    fn preview(&self, rows: &RecordBatch) -> Option<String> {
        let rows = Rows::new(rows).ok()?;
        let clock = Clock {
            started_ns: self.started_ns,
            now: now_ns,
        };
        let encoded = Encoded {
            config: &self.config,
            rows: &rows,
        };
        let messages = encoded.messages(&[], &Mutex::default(), clock).ok()?;
        let lines: Option<Vec<_>> = messages.iter().map(Message::json).collect();
        Some(lines?.join("\n"))
    }
}

fn batch_id(batch: &RecordBatch) -> BatchId {
    let ids = Text::of(batch, "call_id").ok();
    let id = |row: usize| ids.as_ref().and_then(|ids| ids.get(row)).unwrap_or_default().to_owned();
    (id(0), id(batch.num_rows().saturating_sub(1)), batch.num_rows())
}

/// A timeout as gRPC writes it: at most eight digits.
fn timeout_ms(timeout: Duration) -> u128 {
    timeout.as_millis().min(99_999_999)
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
