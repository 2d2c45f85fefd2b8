//! Expected numbers follow genai-prices 0.2.3 (`cohere`): what is billed stands in `billed_units`.

use super::*;

fn call(path: &'static str) -> Call {
    Call::new(
        Codec::openai(),
        path,
        r#"{"model":"command-a","messages":[{"role":"user","content":"hello world"}]}"#,
    )
}

pub(in super::super) fn stream() -> Call {
    Call {
        headers: vec![("content-type", "text/event-stream".into())],
        ..call("/v2/chat")
    }
}

pub(in super::super) const EVENTS: &str = concat!(
    "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"hello world\"}}}}\n\n",
    "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":5,\"output_tokens\":418},\"tokens\":{\"input_tokens\":71,\"output_tokens\":418},\"cached_tokens\":16}}}\n\n",
);

#[test]
fn billed_units_are_billed_and_processed_tokens_are_not() {
    let document = r#"{"id":"c","finish_reason":"COMPLETE","message":{"role":"assistant"},"usage":{"billed_units":{"input_tokens":5,"output_tokens":418},"tokens":{"input_tokens":71,"output_tokens":418}}}"#;
    for metered in [call("/v2/chat").answer(document), stream().answer(EVENTS)] {
        assert_eq!(
            metered.usage,
            Usage {
                source: UsageSource::Reported,
                input: Some(5),
                output: Some(418),
                ..Usage::default()
            }
        );
        assert_eq!((metered.finish_reason, metered.complete), (name("COMPLETE"), true));
    }
    let cut = stream().cut(EVENTS.split("event: message-end").next().unwrap());
    // "hello world" is 2 tokens of o200k_base; a message and a request have 3 each.
    assert_eq!(
        (cut.usage.input, cut.usage.output, cut.usage.source),
        (Some(8), Some(2), UsageSource::Estimated)
    );
}

#[test]
fn rankings_are_billed_by_the_search_and_embeddings_by_the_token() {
    let ranked =
        call("/v2/rerank").answer(r#"{"results":[],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":2}}}"#);
    assert_eq!(
        (ranked.usage.search_query, ranked.usage.input, ranked.usage.unknown.len()),
        (Some(2), None, 0)
    );
    let embedded =
        call("/v2/embed").answer(r#"{"embeddings":{"float":[[0.1]]},"meta":{"billed_units":{"input_tokens":3,"images":1}}}"#);
    assert_eq!((embedded.usage.input, embedded.usage.images), (Some(3), Some(1)));
    let other = call("/v1/rerank").answer(r#"{"results":[],"usage":{"total_tokens":12}}"#);
    assert_eq!((other.usage.input, other.usage.unknown.len()), (Some(12), 0));
    let untold = call("/v2/rerank").answer(r#"{"results":[],"meta":{"billed_units":{}}}"#);
    assert_eq!(untold.usage.unknown.len(), 1, "never free");
}
