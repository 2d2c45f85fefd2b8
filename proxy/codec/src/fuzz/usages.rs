//! Usage objects of every provider, buffered and streamed.

use serde_json::value::RawValue;
use tollgate_record::Usage;

use super::answers::{KINDS, Kind, message, seen};
use super::input::Input;
use crate::{peek, work};

/// One usage object in a buffered and in a streamed answer, which must meter the same: an interface, sizes of frames, and the object.
pub fn usage(data: &[u8]) {
    let mut input = Input(data);
    let interface = input.byte();
    let sizes = input.sizes();
    let Ok(usage) = serde_json::from_slice::<&RawValue>(input.0) else {
        return;
    };
    // Line ends are white space in JSON, and end a line of server-sent events.
    let usage = usage.get().replace(['\n', '\r'], " ");
    check_peek(&usage);
    if usage.len() > work::limit(1 << 20) / 2 {
        // What is around it is longer in some answers than in others, and they have limits.
        return;
    }
    let (document, stream) = match interface % 6 {
        0 => completion(&usage),
        1 => response(&usage),
        2 => anthropic(&usage),
        3 => content(&usage),
        4 => converse(&usage),
        _ => units(&usage),
    };
    let usage_of = |(place, body): &(usize, Vec<u8>), sizes: &[usize]| -> Usage {
        let kind: &Kind = &KINDS[*place];
        seen(kind.meter(200, "identity"), body, sizes).facts.unwrap().usage
    };
    let buffered = usage_of(&document, &sizes);
    assert_eq!(usage_of(&stream, &sizes), buffered);
    check(&buffered);
}

/// What holds of all usage.
fn check(usage: &Usage) {
    assert!(usage.unknown.len() <= Usage::MAX_UNKNOWN);
    assert!(
        usage
            .unknown
            .iter()
            .all(|field| field.quantity > 0 && field.field.len() <= 600)
    );
    assert!(usage.parts.len() <= Usage::MAX_PARTS);
    let mut parts = Usage::default();
    usage.parts.iter().for_each(|part| parts.add(&part.usage));
    // What parts have is what the call has, or a part of it.
    assert!(parts.input <= usage.input && parts.output <= usage.output);
    assert!(parts.cache_read <= usage.cache_read && parts.cache_creation <= usage.cache_creation);
    assert!(parts.cache_creation_5m <= usage.cache_creation_5m && parts.cache_creation_1h <= usage.cache_creation_1h);
}

fn completion(usage: &str) -> ((usize, Vec<u8>), (usize, Vec<u8>)) {
    let document = format!(r#"{{"model":"m","choices":[],"usage":{usage}}}"#);
    let stream = format!("data: {document}\n\ndata: [DONE]\n\n");
    ((0, document.into()), (2, stream.into()))
}

fn response(usage: &str) -> ((usize, Vec<u8>), (usize, Vec<u8>)) {
    let document = format!(r#"{{"model":"m","status":"completed","usage":{usage}}}"#);
    let stream = format!("data: {{\"type\":\"response.completed\",\"response\":{document}}}\n\n");
    ((4, document.into()), (5, stream.into()))
}

fn anthropic(usage: &str) -> ((usize, Vec<u8>), (usize, Vec<u8>)) {
    let document = format!(r#"{{"model":"m","usage":{usage}}}"#);
    let stream = format!(
        "data: {{\"type\":\"message_start\",\"message\":{{\"model\":\"m\"}}}}\n\ndata: {{\"type\":\"message_delta\",\"usage\":{usage}}}\n\n"
    );
    ((13, document.into()), (14, stream.into()))
}

fn content(usage: &str) -> ((usize, Vec<u8>), (usize, Vec<u8>)) {
    let document = format!(r#"{{"candidates":[],"modelVersion":"m","usageMetadata":{usage}}}"#);
    // Behind the first chunk they are read the short way.
    let stream = format!("data: {{\"modelVersion\":\"m\"}}\r\n\r\ndata: {document}\r\n\r\n");
    ((15, document.into()), (17, stream.into()))
}

fn converse(usage: &str) -> ((usize, Vec<u8>), (usize, Vec<u8>)) {
    let document = format!(r#"{{"usage":{usage}}}"#);
    let stream = message(b"metadata", document.as_bytes());
    ((20, document.into()), (21, stream))
}

fn units(usage: &str) -> ((usize, Vec<u8>), (usize, Vec<u8>)) {
    let document = format!(r#"{{"usage":{{"billed_units":{usage}}}}}"#);
    let stream = format!("data: {{\"type\":\"message-end\",\"delta\":{document}}}\n\n");
    ((26, document.into()), (27, stream.into()))
}

/// A cheap look misses no key that stands in the document, and finds no other value than the document's.
fn check_peek(value: &str) {
    let document = format!(r#"{{"a":{value},"usage":{value}}}"#);
    let Ok(read) = serde_json::from_str::<serde_json::Value>(&document) else {
        return;
    };
    let told = &read["usage"];
    assert!(told.is_null() || peek::USAGE.has_value_in(document.as_bytes()));
    if let Some((found, text)) = peek::USAGE.last_of_top::<serde_json::Value>(document.as_bytes()) {
        assert_eq!(&found, told);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(text).ok(), Some(found));
    }
}
