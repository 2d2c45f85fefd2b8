#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use http::{Method, response};

use super::*;
use crate::{Codec, End, Meter, Metered};

fn at(location: Location, identifier: &str) -> Option<Locator> {
    Some(Locator {
        location,
        identifier: identifier.to_owned(),
    })
}

fn payload(identifier: &str) -> Option<Locator> {
    at(Location::Payload, identifier)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn gemini() -> Codec {
    let fields = Fields {
        prompt_tokens: payload("$.usageMetadata.promptTokenCount"),
        completion_tokens: payload("$['usageMetadata']['candidatesTokenCount']"),
        total_tokens: payload("$.usageMetadata.totalTokenCount"),
        remaining_tokens: at(Location::Header, "x-remaining"),
        request_model: at(Location::PathParam, "/models/([^:/]+)"),
        response_model: payload("$.modelVersion"),
    };
    let total_only = Fields {
        completion_tokens: None,
        prompt_tokens: payload("$.in"),
        total_tokens: payload("$..total"),
        ..Fields::default()
    };
    let resources = vec![
        Resource {
            path: "/v1/*".into(),
            fields: Fields {
                response_model: at(Location::Header, "x-short"),
                ..Fields::default()
            },
        },
        Resource {
            path: "/v1/special/*".into(),
            fields: Fields {
                response_model: at(Location::Header, "x-long"),
                ..total_only
            },
        },
        Resource {
            path: "/v1/special/exact".into(),
            fields: Fields {
                response_model: at(Location::QueryParam, "model"),
                ..Fields::default()
            },
        },
    ];
    Codec::template(Template::new(name("gemini"), fields, resources, AbortRule::Drain).unwrap())
}

fn call(codec: &Codec, path: &str, head: &[(&str, &str)], body: &str, how: End) -> (Option<Name>, Metered) {
    let endpoint = codec.endpoint(&Method::POST, path.split('?').next().unwrap());
    assert!(endpoint.bears_usage && !endpoint.needs_json);
    let sent = Bytes::from_static(br#"{"contents":[{"parts":[{"text":"hello world"}]}]}"#);
    let request = codec.read(&endpoint, path, &HeaderMap::new(), &sent).unwrap();
    let mut response = http::Response::builder();
    for (name, value) in head {
        response = response.header(*name, *value);
    }
    let head: response::Parts = response.body(()).unwrap().into_parts().0;
    let mut meter = Meter::new(codec, &endpoint, &request, sent, &head);
    assert_eq!(meter.frame(Bytes::copy_from_slice(body.as_bytes())).bytes, body);
    assert!(meter.finish().is_empty());
    (request.model, meter.metered(how))
}

const MODEL: &str = "/v1beta/models/gemini-3%2Dpro:generateContent";

#[test]
fn fields_are_found_in_payload_header_and_path() {
    let codec = gemini();
    assert_eq!((codec.name().as_str(), codec.abort_rule()), ("gemini", AbortRule::Drain));
    let body = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":8,"candidatesTokenCount":5,"totalTokenCount":20},"modelVersion":"gemini-3-pro-001"}"#;
    let (model, metered) = call(&codec, MODEL, &[("x-remaining", "77")], body, End::Complete);
    assert_eq!(model, Some(name("gemini-3-pro")));
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.usage.remaining),
        (Some(8), Some(5), Some(77))
    );
    assert_eq!(
        (metered.response_model, metered.usage.source),
        (Some(name("gemini-3-pro-001")), tollgate_record::UsageSource::Reported)
    );
    let endpoint = codec.endpoint(&Method::POST, MODEL);
    assert_eq!(endpoint.operation_name.as_str(), "generate_content");
}

#[test]
fn the_last_event_of_a_stream_wins() {
    let stream = concat!(
        "data: {\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":1},\"modelVersion\":\"a\"}\r\n\r\n",
        "data: {\"candidates\":[]}\r\n\r\n",
        "data: {\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":9},\"modelVersion\":\"b\"}\r\n\r\n",
    );
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let (_, metered) = call(
        &gemini(),
        path,
        &[("content-type", "text/event-stream")],
        stream,
        End::Complete,
    );
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.response_model),
        (Some(8), Some(9), Some(name("b")))
    );
    assert!(metered.complete);
    let (_, cut) = call(&gemini(), path, &[("content-type", "text/event-stream")], stream, End::Cut);
    assert!(!cut.complete);
}

#[test]
fn a_stream_is_asked_for_by_path_or_body() {
    let codec = gemini();
    let stream = |path: &str, body: &'static [u8]| {
        let endpoint = codec.endpoint(&Method::POST, path);
        codec
            .read(&endpoint, path, &HeaderMap::new(), &Bytes::from_static(body))
            .unwrap()
            .stream
    };
    assert!(stream("/v1beta/models/m:streamGenerateContent", b"{}"));
    assert!(stream("/model/m/converse-stream", b"{}"));
    assert!(stream("/x", br#"{"stream":true}"#));
    assert!(!stream("/x", b"not json"));
}

#[test]
fn resources_override_field_by_field_the_most_specific_first() {
    let codec = gemini();
    let model = |path: &str| {
        call(&codec, path, &[("x-short", "short"), ("x-long", "long")], "{}", End::Complete)
            .1
            .response_model
    };
    assert_eq!(model("/v1/x"), Some(name("short")));
    assert_eq!(model("/v1/special/x"), Some(name("long")));
    assert_eq!(model("/v1/special/exact?a=b&model=my+own%2Fone"), Some(name("my own/one")));
    let totals = call(
        &codec,
        "/v1/special/exact",
        &[],
        r#"{"in":7,"deep":[{"total":9},{"total":10}]}"#,
        End::Complete,
    )
    .1;
    assert_eq!(
        (totals.usage.input, totals.usage.output),
        (Some(7), None),
        "the exact path inherits in and total, and output from the template"
    );
}

#[test]
fn output_is_what_a_total_holds_besides_the_input() {
    let fields = Fields {
        prompt_tokens: payload("$.in"),
        total_tokens: payload("$..total"),
        ..Fields::default()
    };
    let codec = Codec::template(Template::new(name("t"), fields, vec![], AbortRule::Cancel).unwrap());
    let metered = call(
        &codec,
        "/x",
        &[],
        r#"{"in":7,"deep":[{"total":9},{"total":10}]}"#,
        End::Complete,
    )
    .1;
    assert_eq!((metered.usage.input, metered.usage.output), (Some(7), Some(3)));
}

#[test]
fn with_nothing_but_a_total_the_input_is_estimated_within_it() {
    let fields = Fields {
        total_tokens: payload("$.total"),
        request_model: at(Location::QueryParam, "m"),
        ..Fields::default()
    };
    let codec = Codec::template(Template::new(name("t"), fields, vec![], AbortRule::Cancel).unwrap());
    let metered = call(&codec, "/x?m=gpt-4o", &[], r#"{"total":20}"#, End::Complete).1;
    // "hello world" in one of `contents`: 2 + 3 + 3.
    assert_eq!((metered.usage.input, metered.usage.output), (Some(8), Some(12)));
    assert_eq!(metered.usage.source, tollgate_record::UsageSource::Estimated);
}

#[test]
fn a_path_that_ends_within_an_escape_is_refused() {
    for (path, is_path) in [
        (r"$['\u", false),
        (r"$['\u12", false),
        (r"$['\uD83D\u", false),
        (r"$['\\u']", true),
        (r"$['\u0041']", true),
        (r"$['\uD83D\uDE00'].a", true),
        ("$['\\", false),
        ("$['", false),
    ] {
        assert_eq!(json_path(path).is_ok(), is_path, "{path}");
    }
}

#[test]
fn a_wrong_field_is_named() {
    let wrong = |fields: Fields, in_resource: bool| {
        let (fields, resources) = match in_resource {
            true => (
                Fields::default(),
                vec![Resource {
                    path: "/x".into(),
                    fields,
                }],
            ),
            false => (fields, vec![]),
        };
        Template::new(name("t"), fields, resources, AbortRule::Drain)
            .unwrap_err()
            .to_string()
    };
    let told = wrong(
        Fields {
            prompt_tokens: payload("usage.x"),
            ..Fields::default()
        },
        false,
    );
    assert!(
        told.starts_with("promptTokens: \"usage.x\" is not a JSONPath (RFC 9535): "),
        "{told}"
    );
    let told = wrong(
        Fields {
            remaining_tokens: at(Location::Header, "a b"),
            ..Fields::default()
        },
        true,
    );
    assert_eq!(
        told,
        "resourceMappings.resources[0].remainingTokens: \"a b\" is not a header name"
    );
    let told = wrong(
        Fields {
            request_model: at(Location::PathParam, "models/(.*"),
            ..Fields::default()
        },
        false,
    );
    assert!(
        told.starts_with("requestModel: \"models/(.*\" is not a regular expression: "),
        "{told}"
    );
    let told = wrong(
        Fields {
            request_model: at(Location::PathParam, "models/.*"),
            ..Fields::default()
        },
        false,
    );
    assert_eq!(told, "requestModel: \"models/.*\" has 0 groups, not one");
    let told = wrong(
        Fields {
            request_model: at(Location::QueryParam, ""),
            ..Fields::default()
        },
        false,
    );
    assert_eq!(told, "requestModel: the name of the query parameter is empty");
    let told = wrong(
        Fields {
            completion_tokens: at(Location::QueryParam, "n"),
            ..Fields::default()
        },
        false,
    );
    assert_eq!(
        told,
        "completionTokens: queryParam is part of the request, and this field is told by the answer: use payload or header"
    );
    let resources = vec![Resource {
        path: "x".into(),
        fields: Fields::default(),
    }];
    let told = Template::new(name("t"), Fields::default(), resources, AbortRule::Drain)
        .unwrap_err()
        .to_string();
    assert_eq!(
        told,
        "resourceMappings.resources[0]: \"x\" is not a path: it must begin with / or *"
    );
}

#[test]
fn patterns_take_any_text_for_a_star() {
    for (pattern, path, fits) in [
        ("/a/b", "/a/b", true),
        ("/a/b", "/a/b/c", false),
        ("/a/*", "/a/b/c", true),
        ("*/converse", "/model/x/converse", true),
        ("/model/*/converse", "/model/x/converse", true),
        ("/model/*/converse", "/model/x/converse-stream", false),
        ("/*/b/*/d", "/a/b/c/d", true),
        ("/*/b/*/d", "/a/c/d", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
    }
}

#[test]
fn a_template_may_be_read_from_json() {
    let fields: Fields = serde_json::from_str(
        r#"{"promptTokens":{"location":"payload","identifier":"$.a"},"requestModel":{"location":"pathParam","identifier":"(x)"}}"#,
    )
    .unwrap();
    assert_eq!(fields.request_model, at(Location::PathParam, "(x)"));
    assert!(serde_json::from_str::<Fields>(r#"{"promptToken":{}}"#).is_err());
}
