//! The body of a webhook: a JSON batch of our own, or a batch of CloudEvents.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use chrono::{DateTime, SecondsFormat};
use sha2::{Digest, Sha256};

use crate::json::write_objects;
use crate::rows;

/// What kind of event it is, in both formats.
pub const EVENT_TYPE: &str = "tollgate.usage";

/// The form of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `{"type": "tollgate.usage", "rows": [...]}`.
    #[default]
    Json,
    /// CloudEvents 1.0 in batched content mode (JSON event format, section 4): an event a row, with `id` the `call_id` and `source` the gateway.
    CloudEvents,
}

// === impl Format ===

impl Format {
    /// The media type of a body.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::CloudEvents => "application/cloudevents-batch+json; charset=UTF-8",
        }
    }

    /// A body.
    ///
    /// # Errors
    /// Rows of another schema.
    pub(crate) fn encode(self, rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let mut out = Vec::with_capacity(rows.num_rows() * 1024);
        match self {
            Self::Json => {
                out.extend_from_slice(b"{\"type\":\"tollgate.usage\",\"rows\":[");
                write_objects(rows, &mut out, comma, |_, _| ())?;
                out.extend_from_slice(b"]}");
            }
            Self::CloudEvents => {
                out.push(b'[');
                write_objects(
                    rows,
                    &mut out,
                    |row, out| {
                        comma(row, out);
                        envelope(rows, row, out);
                    },
                    |_, out| out.push(b'}'),
                )?;
                out.push(b']');
            }
        }
        Ok(out)
    }
}

fn comma(row: usize, out: &mut Vec<u8>) {
    if row > 0 {
        out.push(b',');
    }
}

/// All of an event before its data. A `call_id` and an encoded name need no escapes in JSON.
fn envelope(rows: &RecordBatch, row: usize, out: &mut Vec<u8>) {
    let id = rows::text(rows, "call_id", row).unwrap_or_default();
    let source = reference(rows::text(rows, "instance", row).unwrap_or_default());
    let time = rows::instant(rows, "start_time", row).and_then(|time| DateTime::from_timestamp_micros(time.unix_us()));
    let time = time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true);
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"{source}\",\"type\":\"{EVENT_TYPE}\",\"time\":\"{time}\",\
         \"datacontenttype\":\"application/json\",\"data\":"
    );
    out.extend_from_slice(event.as_bytes());
}

/// A name as a relative URI reference (RFC 3986): what is not unreserved is percent-encoded.
fn reference(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The id of a batch: the same for the same rows, so that the far side can drop a batch that it has.
pub(crate) fn batch_id(rows: &RecordBatch) -> String {
    let mut hash = Sha256::new();
    for row in 0..rows.num_rows() {
        hash.update(rows::text(rows, "call_id", row).unwrap_or_default().as_bytes());
        hash.update(rows::int(rows, "seq", row).unwrap_or_default().to_le_bytes());
    }
    hash.finalize().iter().take(16).fold("msg_".to_owned(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{id_of, rows_of};

    #[test]
    fn a_json_batch_has_every_row() {
        let body: Value = serde_json::from_slice(&Format::Json.encode(&rows_of("gw-1", 1..=3)).unwrap()).unwrap();
        assert_eq!(body["type"], "tollgate.usage");
        let ids: Vec<_> = body["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["call_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, [id_of("gw-1", 1), id_of("gw-1", 2), id_of("gw-1", 3)]);
        // One token at 2.50 dollars a million is 0.0000025: 10 of them and one at 10.
        assert_eq!(body["rows"][0]["cost"], "0.000035");
    }

    #[test]
    fn cloud_events_have_the_attributes_that_the_specification_requires() {
        let body: Value = serde_json::from_slice(&Format::CloudEvents.encode(&rows_of("gw 1/\u{e4}", 1..=2)).unwrap()).unwrap();
        let event = &body[1];
        assert_eq!(
            (&event["specversion"], &event["type"], &event["source"], &event["time"]),
            (
                &json!("1.0"),
                &json!("tollgate.usage"),
                &json!("gw%201%2F%C3%A4"),
                &json!("2026-11-01T00:01:00.000000Z")
            )
        );
        assert_eq!(event["id"], event["data"]["call_id"]);
        assert_eq!(event["data"]["seq"], 2);
    }

    #[test]
    fn the_id_of_a_batch_follows_from_its_rows() {
        let id = |places| batch_id(&rows_of("gw-1", places));
        assert_eq!(id(1..=3), id(1..=3));
        assert_ne!(id(1..=3), id(1..=2));
        assert_eq!(id(1..=1).len(), 36);
    }
}
