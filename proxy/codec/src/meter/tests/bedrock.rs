//! Expected numbers follow botocore 1.43.11 (`bedrock-runtime/2023-09-30/service-2.json`: `TokenUsage`, `CacheDetail`, `ServiceTier`), litellm 1.106.2
//! (`llms/bedrock/chat/invoke_handler.py`) and AWS's pages of the models' parameters (Claude, Llama, Titan, Nova, Mistral).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::frames::tests::message;

const CONVERSE: &str = "/model/us.amazon.nova-pro-v1%3A0/converse";
const REQUEST: &str = r#"{"messages":[{"role":"user","content":[{"text":"hello world"}]}]}"#;

pub(in super::super) const CLAUDE: &str = "/model/anthropic.claude-opus-5-v1%3A0/invoke-with-response-stream";
pub(in super::super) const LLAMA: &str = "/model/meta.llama3-1-8b-instruct-v1%3A0/invoke-with-response-stream";

fn converse() -> Call {
    Call::new(Codec::bedrock(), CONVERSE, REQUEST)
}

fn invoke(path: &'static str) -> Call {
    Call::new(Codec::bedrock(), path, r#"{"prompt":"hello world"}"#)
}

fn frames_of(call: Call) -> Call {
    Call {
        headers: vec![("content-type", "application/vnd.amazon.eventstream".into())],
        ..call
    }
}

pub(in super::super) fn converse_stream() -> Call {
    frames_of(Call::new(
        Codec::bedrock(),
        "/model/us.amazon.nova-pro-v1%3A0/converse-stream",
        REQUEST,
    ))
}

pub(in super::super) fn invoke_stream(path: &'static str) -> Call {
    frames_of(invoke(path))
}

fn event(name: &str, payload: &str) -> Vec<u8> {
    message("event", name, payload.as_bytes())
}

fn chunk(json: &str) -> Vec<u8> {
    let coded = STANDARD.encode(json);
    event("chunk", &format!(r#"{{"bytes":"{coded}","p":"abcdefgh"}}"#))
}

const METADATA: &str = r#"{"metrics":{"latencyMs":420},"p":"abc","serviceTier":{"type":"priority"},
"usage":{"inputTokens":25,"outputTokens":15,"totalTokens":1340,"cacheReadInputTokens":1000,"cacheWriteInputTokens":300,
"cacheDetails":[{"inputTokens":100,"ttl":"1h"},{"inputTokens":200,"ttl":"5m"}]}}"#;

fn beginning() -> Vec<u8> {
    [
        event("messageStart", r#"{"p":"ab","role":"assistant"}"#),
        event(
            "contentBlockDelta",
            r#"{"contentBlockIndex":0,"delta":{"text":"hello world"},"p":"usage"}"#,
        ),
        event("contentBlockStop", r#"{"contentBlockIndex":0,"p":"a"}"#),
        event("messageStop", r#"{"p":"a","stopReason":"end_turn"}"#),
    ]
    .concat()
}

pub(in super::super) fn conversation() -> Vec<u8> {
    [beginning(), event("metadata", METADATA)].concat()
}

fn nova_usage() -> Usage {
    Usage {
        source: UsageSource::Reported,
        // Beside each other: 25 + 1000 + 300.
        input: Some(1325),
        cache_read: Some(1000),
        cache_creation: Some(300),
        cache_creation_5m: Some(200),
        cache_creation_1h: Some(100),
        output: Some(15),
        service_tier: name("priority"),
        ..Usage::default()
    }
}

#[test]
fn cache_tokens_are_beside_the_input_and_become_part_of_it() {
    let document = METADATA.replacen(
        '{',
        r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","#,
        1,
    );
    let metered = converse().answer(&document);
    assert_eq!(metered.usage, nova_usage());
    assert_eq!((metered.finish_reason, metered.complete), (name("end_turn"), true));
}

#[test]
fn a_streamed_conversation_tells_its_usage_in_its_last_event() {
    let metered = converse_stream().answer_bytes(&conversation());
    assert_eq!(metered.usage, nova_usage());
    assert_eq!((metered.finish_reason, metered.complete), (name("end_turn"), true));
    let mut meter = converse_stream().meter();
    assert!(!meter.frame(beginning().into()).ended);
    assert!(meter.frame(event("metadata", METADATA).into()).ended);
}

#[test]
fn a_cut_conversation_is_estimated_by_what_was_generated() {
    let metered = converse_stream().frames([&*beginning()], End::Aborted).metered;
    // "hello world" is 2 tokens of o200k_base; a message and a request have 3 each.
    assert_eq!(
        (
            metered.usage.input,
            metered.usage.output,
            metered.usage.source,
            metered.complete
        ),
        (Some(2 + 3 + 3), Some(2), UsageSource::Estimated, false)
    );
}

#[test]
fn the_router_names_the_model_and_a_guardrail_has_units_of_its_own() {
    let metered = converse().answer(
        r#"{"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"performanceConfig":{"latency":"optimized"},
        "trace":{"promptRouter":{"invokedModelId":"arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"},
        "guardrail":{"inputAssessment":{"g":{"invocationMetrics":{"guardrailProcessingLatency":9,"usage":{"topicPolicyUnits":1,"contentPolicyUnits":2,"sensitiveInformationPolicyFreeUnits":1}}}},
        "outputAssessments":{"g":[{"invocationMetrics":{"usage":{"topicPolicyUnits":3}}}]}}}}"#,
    );
    assert_eq!(
        (metered.response_model, metered.usage.service_tier),
        (
            name("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"),
            name("optimized")
        )
    );
    let units: Vec<_> = metered
        .usage
        .unknown
        .iter()
        .map(|field| (&*field.field, field.quantity))
        .collect();
    assert_eq!(
        units,
        [
            ("trace.guardrail.topicPolicyUnits", 4),
            ("trace.guardrail.contentPolicyUnits", 2)
        ]
    );
}

pub(in super::super) fn claude() -> Vec<u8> {
    let start = r#"{"type":"message_start","message":{"id":"m","type":"message","model":"claude-opus-5","usage":{"input_tokens":25,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":100},"output_tokens":1}}}"#;
    let metrics = r#"{"inputTokenCount":25,"outputTokenCount":15,"invocationLatency":900,"firstByteLatency":100,"cacheReadInputTokenCount":1000,"cacheWriteInputTokenCount":300}"#;
    [
        chunk(start),
        chunk(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello world"}}"#),
        chunk(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#),
        chunk(&format!(
            r#"{{"type":"message_stop","amazon-bedrock-invocationMetrics":{metrics}}}"#
        )),
    ]
    .concat()
}

#[test]
fn what_claude_tells_and_the_metrics_repeat_is_counted_once() {
    let metered = invoke_stream(CLAUDE).answer_bytes(&claude());
    assert_eq!(
        metered.usage,
        Usage {
            service_tier: None,
            ..nova_usage()
        }
    );
    assert_eq!(
        (metered.response_model, metered.finish_reason, metered.complete),
        (name("claude-opus-5"), name("end_turn"), true)
    );
}

#[test]
fn cache_counts_that_only_the_metrics_tell_are_kept() {
    let metered = invoke_stream(LLAMA).answer_bytes(&chunk(
        r#"{"generation":"","stop_reason":"stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":7,"outputTokenCount":9,"cacheReadInputTokenCount":20,"cacheWriteInputTokenCount":4}}"#,
    ));
    assert_eq!(
        (
            metered.usage.input,
            metered.usage.cache_read,
            metered.usage.cache_creation,
            metered.usage.output
        ),
        (Some(7 + 20 + 4), Some(20), Some(4), Some(9))
    );
}

pub(in super::super) fn llama() -> Vec<u8> {
    [
        chunk(r#"{"generation":"hello","prompt_token_count":7,"generation_token_count":1,"stop_reason":null}"#),
        chunk(r#"{"generation":" world \"stop_reason\":","prompt_token_count":null,"generation_token_count":2,"stop_reason":null}"#),
        chunk(
            r#"{"generation":"","prompt_token_count":null,"generation_token_count":3,"stop_reason":"length","amazon-bedrock-invocationMetrics":{"inputTokenCount":7,"outputTokenCount":3,"invocationLatency":9,"firstByteLatency":1}}"#,
        ),
    ]
    .concat()
}

#[test]
fn every_vendors_stream_ends_with_the_metrics() {
    let metered = invoke_stream(LLAMA).answer_bytes(&llama());
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.usage.source),
        (Some(7), Some(3), UsageSource::Reported)
    );
    assert_eq!((metered.finish_reason, metered.complete), (name("length"), true));
    let nova = [
        chunk(r#"{"messageStart":{"role":"assistant"}}"#),
        chunk(r#"{"contentBlockDelta":{"delta":{"text":"hello world"},"contentBlockIndex":0}}"#),
        chunk(r#"{"messageStop":{"stopReason":"max_tokens"}}"#),
        chunk(
            r#"{"metadata":{"usage":{"inputTokens":7,"outputTokens":3,"cacheReadInputTokenCount":2},"metrics":{},"trace":{}},"amazon-bedrock-invocationMetrics":{"inputTokenCount":7,"outputTokenCount":3,"cacheReadInputTokenCount":2}}"#,
        ),
    ]
    .concat();
    let metered = invoke_stream(LLAMA).answer_bytes(&nova);
    assert_eq!(
        (
            metered.usage.input,
            metered.usage.cache_read,
            metered.usage.output,
            metered.finish_reason
        ),
        (Some(9), Some(2), Some(3), name("max_tokens"))
    );
    let mut cut = llama();
    cut.truncate(cut.len() - 1);
    let metered = invoke_stream(LLAMA).frames([&*cut], End::Aborted).metered;
    // "hello" and " world \"stop_reason\":" are counted apart.
    assert_eq!((metered.usage.input, metered.complete), (Some(2), false));
    assert!(metered.usage.output.is_some() && metered.usage.source == UsageSource::Estimated);
}

#[test]
fn bodies_are_read_in_the_words_of_their_vendors() {
    let of = |path: &'static str, body: &str| {
        let metered = invoke(path).answer(body);
        let usage = metered.usage;
        (
            usage.input,
            usage.output,
            metered.finish_reason.map(|reason| reason.to_string()),
        )
    };
    let said = |reason: &str| Some(reason.to_owned());
    let claude = r#"{"type":"message","model":"claude-opus-5","stop_reason":"end_turn","usage":{"input_tokens":25,"cache_read_input_tokens":1000,"output_tokens":15}}"#;
    assert_eq!(
        of("/model/anthropic.claude-opus-5/invoke", claude),
        (Some(1025), Some(15), said("end_turn"))
    );
    let llama = r#"{"generation":"hi","prompt_token_count":7,"generation_token_count":3,"stop_reason":"stop"}"#;
    assert_eq!(of("/model/meta.llama3/invoke", llama), (Some(7), Some(3), said("stop")));
    let titan =
        r#"{"inputTextTokenCount":7,"results":[{"tokenCount":3,"outputText":"hi","completionReason":"FINISH"},{"tokenCount":4}]}"#;
    assert_eq!(
        of("/model/amazon.titan-text/invoke", titan),
        (Some(7), Some(7), said("FINISH"))
    );
    let nova = r#"{"output":{},"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":3,"totalTokens":12,"cacheReadInputTokenCount":2,"cacheWriteInputTokenCount":0}}"#;
    assert_eq!(
        of("/model/amazon.nova-pro/invoke", nova),
        (Some(9), Some(3), said("end_turn"))
    );
    let openai = r#"{"choices":[{"finish_reason":"stop","stop_reason":null}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;
    assert_eq!(of("/model/openai.gpt-oss/invoke", openai), (Some(7), Some(3), said("stop")));
    let embedded = invoke("/model/amazon.titan-embed-text-v2%3A0/invoke").answer(r#"{"embedding":[0.1],"inputTextTokenCount":4}"#);
    assert_eq!((embedded.usage.input, embedded.usage.output), (Some(4), None));
}

#[test]
fn what_the_body_does_not_tell_the_head_does() {
    let headed = |path: &'static str| {
        invoke(path)
            .header("x-amzn-bedrock-input-token-count", "12")
            .header("x-amzn-bedrock-output-token-count", "34")
            .header("x-amzn-bedrock-service-tier", "flex")
    };
    // Older models of Mistral's tell nothing in the body.
    let metered = headed("/model/mistral.mistral-7b-instruct/invoke").answer(r#"{"outputs":[{"text":"hi","stop_reason":"stop"}]}"#);
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.usage.source),
        (Some(12), Some(34), UsageSource::Reported)
    );
    assert_eq!(
        (metered.finish_reason, metered.usage.service_tier),
        (name("stop"), name("flex"))
    );
    // The body knows of cached tokens, and wins.
    let claude = r#"{"type":"message","usage":{"input_tokens":12,"cache_read_input_tokens":1000,"output_tokens":34}}"#;
    let metered = headed("/model/anthropic.claude-opus-5/invoke").answer(claude);
    assert_eq!((metered.usage.input, metered.usage.cache_read), (Some(1012), Some(1000)));
    let images = invoke("/model/amazon.nova-canvas-v1%3A0/invoke").answer(r#"{"images":["aGk=","aGk="]}"#);
    assert_eq!(
        (images.usage.images, images.usage.input, images.usage.source),
        (Some(2), None, UsageSource::Reported)
    );
}

#[test]
fn errors_have_awss_type() {
    let metered = converse()
        .status(429)
        .header("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/coral/")
        .answer(r#"{"message":"Too many requests"}"#);
    assert_eq!(
        (metered.error_type, metered.usage),
        (name("ThrottlingException"), Usage::default())
    );
    let midway = [
        beginning(),
        message("exception", "modelStreamErrorException", br#"{"message":"m"}"#),
    ]
    .concat();
    let metered = converse_stream().frames([&*midway], End::Complete).metered;
    assert_eq!(
        (metered.error_type, metered.complete),
        (name("modelStreamErrorException"), false)
    );
    let at_once = message("exception", "throttlingException", b"{}");
    let metered = converse_stream().frames([&*at_once], End::Complete).metered;
    assert_eq!(
        (metered.error_type, metered.usage),
        (name("throttlingException"), Usage::default())
    );
}

#[test]
fn a_stream_that_is_damaged_is_sent_on_and_estimated() {
    let mut damaged = conversation();
    let last = damaged.len() - 20;
    damaged[last] ^= 1;
    let metered = converse_stream().answer_bytes(&damaged);
    assert_eq!(
        (metered.usage.output, metered.usage.source),
        (Some(2), UsageSource::Estimated)
    );
}

#[test]
fn the_path_names_the_model_and_an_abandoned_stream_is_drained() {
    let codec = Codec::bedrock();
    let endpoint = codec.endpoint(&Method::POST, CLAUDE);
    let request = codec
        .read(&endpoint, CLAUDE, &HeaderMap::new(), &Bytes::from_static(b"{}"))
        .unwrap();
    assert_eq!(
        (&request.model, request.stream),
        (&name("anthropic.claude-opus-5-v1:0"), true)
    );
    assert_eq!(codec.abort_rule_of(&request), crate::AbortRule::Drain);
    assert_eq!(
        request.upstream_body(&Bytes::from_static(b"{}"), Some("other")),
        "{}",
        "the path names the model, not the body"
    );
}

#[test]
fn a_refusal_of_claudes_before_any_output_is_not_billed() {
    // AWS's page "Fallback credit for refused requests" (November 2026): one token of output beside an empty content.
    let refusal = |content: &str, category: &str| {
        let body = format!(
            r#"{{"id":"msg_1","type":"message","role":"assistant","model":"anthropic.claude-fable-5","content":[{content}],"stop_reason":"refusal",
            "stop_details":{{"type":"refusal","category":"{category}","fallback_credit_token":"t"}},"usage":{{"input_tokens":106,"output_tokens":1}}}}"#
        );
        let usage = invoke("/model/anthropic.claude-fable-5/invoke").answer(&body).usage;
        (usage.input, usage.unbilled_in, usage.output)
    };
    assert_eq!(refusal("", "cyber"), (Some(106), Some(106), Some(0)));
    // "These billing rules apply on every platform" (Anthropic's documentation, "How refusals are billed", September 2026).
    assert_eq!(refusal("", "bio"), (Some(106), None, Some(1)));
    assert_eq!(refusal(r#"{"type":"text","text":"I"}"#, "cyber"), (Some(106), None, Some(1)));
    let start = r#"{"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":106,"output_tokens":1}}}"#;
    let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"category":"cyber"}},"usage":{"output_tokens":3}}"#;
    let streamed = |events: &[&str]| {
        let body: Vec<u8> = events.iter().flat_map(|event| chunk(event)).collect();
        let usage = invoke_stream(CLAUDE).answer_bytes(&body).usage;
        (usage.input, usage.unbilled_in, usage.output)
    };
    assert_eq!(streamed(&[start, end]), (Some(106), Some(106), Some(0)));
    assert_eq!(streamed(&[start, text, end]), (Some(106), None, Some(3)));
}
