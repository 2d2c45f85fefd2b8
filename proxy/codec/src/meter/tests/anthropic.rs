//! Expected numbers follow anthropic 2.12.0 (`types/usage.py`, `types/message_delta_usage.py`, `types/beta/beta_usage.py`) and Anthropic's documentation,
//! "Prompt caching": total input tokens = cache_read_input_tokens + cache_creation_input_tokens + input_tokens.

use super::*;

fn messages() -> Call {
    Call::new(
        Codec::anthropic(),
        "/v1/messages?beta=true",
        r#"{"model":"claude-opus-5","messages":[{"role":"user","content":"hello world"}]}"#,
    )
}

fn stream() -> Call {
    Call {
        headers: vec![("content-type", "text/event-stream".into())],
        ..messages()
    }
}

pub(in super::super) const START: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"claude-opus-5-20260701","content":[],"stop_reason":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":100},"output_tokens":1,"service_tier":"standard","inference_geo":"us","speed":"fast"}}}"#,
    "\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello world\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
);
pub(in super::super) const DELTA: &str = concat!(
    "event: message_delta\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":null,"output_tokens":15,"output_tokens_details":{"thinking_tokens":9},"server_tool_use":{"web_search_requests":2,"web_fetch_requests":1}}}"#,
    "\n\n",
);
pub(in super::super) const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[test]
fn cache_tokens_are_beside_the_input_and_become_part_of_it() {
    let metered = messages().answer(
        r#"{"id":"m","type":"message","model":"claude-opus-5-20260701","stop_reason":"end_turn","content":[{"type":"text","text":"hi"}],
        "usage":{"input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":50,"output_tokens_details":{"thinking_tokens":30},
        "server_tool_use":{"web_search_requests":0,"web_fetch_requests":3},"service_tier":"batch","inference_geo":"global","speed":"standard"}}"#,
    );
    assert_eq!(
        metered.usage,
        Usage {
            source: UsageSource::Reported,
            input: Some(10 + 300 + 1000),
            cache_read: Some(1000),
            cache_creation: Some(300),
            cache_creation_5m: Some(100),
            cache_creation_1h: Some(200),
            output: Some(50),
            reasoning: Some(30),
            web_search: Some(0),
            service_tier: name("batch"),
            ..Usage::default()
        }
    );
    assert_eq!(
        (metered.response_model, metered.finish_reason),
        (name("claude-opus-5-20260701"), name("end_turn"))
    );
}

#[test]
fn a_delta_replaces_what_it_tells_and_leaves_the_rest() {
    let metered = stream().answer(&[START, DELTA, STOP].concat());
    assert_eq!(
        metered.usage,
        Usage {
            source: UsageSource::Reported,
            input: Some(25 + 300 + 1000),
            cache_read: Some(1000),
            cache_creation: Some(300),
            cache_creation_5m: Some(200),
            cache_creation_1h: Some(100),
            output: Some(15),
            reasoning: Some(9),
            web_search: Some(2),
            service_tier: name("fast"),
            region: name("us"),
            ..Usage::default()
        }
    );
    assert!(metered.complete);
}

#[test]
fn the_last_of_several_deltas_wins() {
    let more = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":40,\"cache_read_input_tokens\":2000,\"output_tokens\":20}}\n\n";
    let usage = stream().answer(&[START, DELTA, more, STOP].concat()).usage;
    // A loop of server tools reads more than the first event said: cumulative counts replace, 40 + 300 + 2000.
    assert_eq!(
        (usage.input, usage.cache_read, usage.output, usage.cache_creation_1h),
        (Some(2340), Some(2000), Some(20), Some(100))
    );
}

#[test]
fn a_start_without_input_is_corrected_by_the_delta() {
    let start = "data: {\"message\":{\"type\":\"message\",\"model\":\"c\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0}},\"type\":\"message_start\"}\n\n";
    let delta = "data: {\"usage\":{\"input_tokens\":12,\"output_tokens\":3},\"delta\":{\"stop_reason\":\"max_tokens\"},\"type\":\"message_delta\"}\n\n";
    let metered = stream().answer(&[start, delta, STOP].concat());
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.finish_reason),
        (Some(12), Some(3), name("max_tokens"))
    );
}

#[test]
fn a_split_that_exceeds_a_later_total_is_dropped() {
    let delta = "data: {\"type\":\"message_delta\",\"usage\":{\"cache_creation_input_tokens\":50,\"output_tokens\":3}}\n\n";
    let usage = stream().answer(&[START, delta, STOP].concat()).usage;
    assert_eq!(
        (usage.cache_creation, usage.cache_creation_5m, usage.cache_creation_1h),
        (Some(50), None, None)
    );
    assert_eq!(usage.input, Some(25 + 50 + 1000));
}

#[test]
fn the_rate_limits_remainder_is_in_the_head() {
    let metered = messages()
        .header("anthropic-ratelimit-tokens-remaining", "79000")
        .answer(r#"{"usage":{"input_tokens":1,"output_tokens":1}}"#);
    assert_eq!(metered.usage.remaining, Some(79_000));
}

#[test]
fn errors_have_their_type() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"},"request_id":"r"}"#;
    let metered = messages().status(429).answer(body);
    assert_eq!(
        (metered.error_type, metered.usage),
        (name("rate_limit_error"), Usage::default())
    );
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
    let metered = stream()
        .frames([[START, overloaded].concat().as_bytes()], End::Complete)
        .metered;
    assert_eq!((metered.error_type, metered.complete), (name("overloaded_error"), false));
    let metered = stream().cut(overloaded);
    assert_eq!(
        (metered.error_type, metered.usage),
        (name("overloaded_error"), Usage::default())
    );
}

#[test]
fn counting_tokens_uses_none() {
    let call = Call {
        path: "/v1/messages/count_tokens",
        ..messages()
    };
    let metered = call.answer(r#"{"input_tokens":99}"#);
    assert_eq!((metered.usage, metered.complete), (Usage::default(), true));
    assert!(!call.meter().needs_estimate());
}
