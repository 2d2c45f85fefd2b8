//! What reading an answer takes, whatever it says.

use super::*;
use crate::work;

/// Reads an answer and returns how often each of its bytes was looked at, on average.
fn looks(call: &Call, body: &str) -> u64 {
    work::take();
    let mut meter = call.meter();
    meter.frame(Bytes::copy_from_slice(body.as_bytes()));
    meter.finish();
    work::take() / body.len() as u64
}

#[test]
fn the_kind_of_an_iteration_is_not_written_out_for_each_of_its_numbers() {
    let counts: String = (0..20_000).map(|count| format!("\"n{count}\":1,")).collect();
    let body = format!(
        r#"{{"usage":{{"input_tokens":1,"iterations":[{{{counts}"type":"{}"}}]}}}}"#,
        "k".repeat(1 << 20)
    );
    let call = Call::new(Codec::anthropic(), "/v1/messages", "{}");
    assert!(looks(&call, &body) <= 20);
    let metered = call.answer(&body);
    assert_eq!(metered.usage.unknown.len(), Usage::MAX_UNKNOWN);
    let field = &metered.usage.unknown[0].field;
    assert_eq!(**field, format!("iterations.{}.n0", "k".repeat(64)));
}

#[test]
fn units_of_a_guardrail_are_few_whatever_their_names() {
    let units: String = (0..40_000).map(|count| format!("\"a{count}Units\":1,")).collect();
    let body = format!(
        r#"{{"usage":{{"inputTokens":1,"outputTokens":2}},"trace":{{"guardrail":{{"invocationMetrics":{{"usage":{{{units}"topicPolicyUnits":1}}}}}}}}}}"#
    );
    let call = Call::new(Codec::bedrock(), "/model/m/converse", "{}");
    assert!(looks(&call, &body) <= 20);
    assert_eq!(call.answer(&body).usage.unknown.len(), Usage::MAX_UNKNOWN);
}

#[test]
fn a_stream_of_single_bytes_is_looked_at_as_often_as_a_whole_one() {
    let event = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(100_000)
    );
    for call in [
        Call::stream(Codec::openai(), "/v1/chat/completions", r#"{"model":"m","stream":true}"#),
        Call::stream(Codec::anthropic(), "/v1/messages", "{}"),
    ] {
        work::take();
        call.frames([event.as_bytes()], End::Cut);
        let whole = work::take();
        call.frames(event.as_bytes().chunks(1), End::Cut);
        assert_eq!(work::take(), whole);
    }
}
