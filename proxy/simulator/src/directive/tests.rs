#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use http::HeaderValue;

fn parse(value: &'static str) -> Result<Directives, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, HeaderValue::from_static(value));
    Directives::of(&headers)
}

#[test]
fn no_header_asks_for_nothing() {
    assert_eq!(Directives::of(&HeaderMap::new()).unwrap(), Directives::default());
    assert_eq!(parse(" ; ").unwrap(), Directives::default());
}

#[test]
fn spaces_around_keys_and_values_do_not_matter() {
    let directives = parse("chunks=100;ttft_ms = 20 ;  cache_write_1h=7; unknown_usage_field=moon_tokens:5").unwrap();
    assert_eq!(directives.chunks, Some(100));
    assert_eq!(directives.first_token, Duration::from_millis(20));
    assert_eq!(directives.cache_writes(), (0, 7));
    assert_eq!(directives.unknown_usage_field, Some(("moon_tokens".into(), 5)));
}

#[test]
fn several_header_lines_count_as_one() {
    let mut headers = HeaderMap::new();
    headers.append(HEADER, HeaderValue::from_static("id=a"));
    headers.append(HEADER, HeaderValue::from_static("input=5"));
    let directives = Directives::of(&headers).unwrap();
    assert_eq!((directives.id.as_deref(), directives.input), (Some("a"), Some(5)));
}

#[test]
fn every_listed_key_is_understood() {
    for key in KEYS {
        let refused = Directives::default().set(key, "\u{0}").err();
        assert!(
            matches!(&refused, Some(Refusal::DirectiveValue { key: named, .. }) if named == key),
            "{key}: {refused:?}"
        );
    }
}

#[test]
fn a_misspelt_key_is_named_with_the_keys_there_are() {
    let message = parse("cache_reed=5").unwrap_err().to_string();
    assert!(
        message.contains("`cache_reed`") && message.contains("cache_read,"),
        "{message}"
    );
}

#[test]
fn values_out_of_range_name_key_value_and_range() {
    for (value, key) in [
        ("chunks=0", "chunks"),
        ("chunks=-1", "chunks"),
        ("chunks=+1", "chunks"),
        ("status=200", "status"),
        ("encoding=lzma", "encoding"),
        ("retry_after=soon; status=429", "retry_after"),
        ("usage=some", "usage"),
        ("unknown_usage_field=x", "unknown_usage_field"),
        ("id=", "id"),
    ] {
        match parse(value).unwrap_err() {
            Refusal::DirectiveValue { key: named, .. } => assert_eq!(named, key),
            other => panic!("{value}: {other:?}"),
        }
    }
}

#[test]
fn contradictions_are_refused() {
    for value in [
        "fail_times=2",
        "retry_after=1",
        "bytes=10; chunks=2; chunk_bytes=5",
        "bytes=3; chunks=4",
        "chunks=100000; chunk_bytes=1000",
        "cache_write=5; cache_write_5m=1; cache_write_1h=1",
    ] {
        assert!(matches!(parse(value), Err(Refusal::DirectiveConflict { .. })), "{value}");
    }
    assert!(matches!(parse("id=a; id=b"), Err(Refusal::DirectiveTwice { .. })));
    assert!(matches!(parse("stream"), Err(Refusal::DirectiveSyntax { .. })));
}
