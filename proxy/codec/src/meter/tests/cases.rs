//! What users of other gateways reported, held here; each test names the thread it came from.

use super::*;
use crate::AbortRule;

type Route = (fn() -> Codec, &'static str);

const ROUTES: [Route; 8] = [
    (Codec::openai, "/v1/chat/completions"),
    (Codec::openai, "/v1/responses"),
    (Codec::anthropic, "/v1/messages"),
    (Codec::azure_openai, "/openai/deployments/d/chat/completions"),
    (Codec::mistral, "/v1/chat/completions"),
    (Codec::gemini, "/v1beta/models/gemini-3-pro:streamGenerateContent"),
    (Codec::bedrock, "/model/m/converse-stream"),
    (Codec::bedrock, "/model/m/invoke-with-response-stream"),
];

const REQUEST: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello world"}]}"#;

/// BerriAI/litellm#33736, #37734, #13245; maximhq/bifrost#3357: calls whose client left had no row, or cost nothing, or their input only.
#[test]
fn a_call_whose_client_left_at_once_has_its_input_and_is_marked_as_estimated() {
    for (codec, path) in ROUTES {
        let codec = codec();
        let body = Bytes::from_static(REQUEST.as_bytes());
        let endpoint = codec.endpoint(&Method::POST, path);
        let request = codec.read(&endpoint, path, &HeaderMap::new(), &body).unwrap();
        let mut meter = Meter::unanswered(&endpoint, &request, body);
        assert!(meter.needs_estimate(), "{path}");
        let metered = meter.metered(End::Aborted);
        assert!(metered.usage.input.is_some_and(|input| input >= 2), "{path}");
        assert_eq!(
            (metered.usage.source, metered.complete),
            (UsageSource::Estimated, false),
            "{path}"
        );
    }
}

/// litellm#36008: an abandoned stream was billed for the chunks that the client drained, while the provider billed the whole answer.
#[test]
fn what_a_provider_bills_to_its_end_is_read_to_its_end() {
    for (codec, path) in ROUTES {
        let codec = codec();
        let endpoint = codec.endpoint(&Method::POST, path);
        let body = Bytes::from_static(REQUEST.as_bytes());
        let request = codec.read(&endpoint, path, &HeaderMap::new(), &body).unwrap();
        assert!(request.stream, "{path}");
        let stops = matches!(codec.name().as_str(), "openai" | "anthropic" | "azure-openai");
        let rule = if stops { AbortRule::Cancel } else { AbortRule::Drain };
        assert_eq!(codec.abort_rule_of(&request), rule, "{path}");
    }
}

/// maximhq/bifrost#520; Portkey-AI/gateway#1180, #1259, #858: a stream whose usage came in a chunk of unexpected shape showed none.
#[test]
fn usage_is_found_in_whichever_chunk_it_comes() {
    let usage = r#""usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}"#;
    for last in [
        format!(r#"{{"choices":[],{usage}}}"#),
        format!(r#"{{"choices":null,{usage}}}"#),
        format!(r#"{{{usage}}}"#),
        format!(r#"{{"choices":[{{"index":0,"delta":{{"content":""}},"finish_reason":"stop"}}],{usage}}}"#),
        format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop",{usage}}}]}}"#),
        format!(r#"{{"choices":[{{"index":0,"delta":{{}}}}],"x_groq":{{"id":"r",{usage}}}}}"#),
        format!(r#"{{"choices":"none",{usage}}}"#),
    ] {
        for order in [[&last[..], "[DONE]"], ["[DONE]", &last[..]]] {
            let stream = order.map(|data| format!("data: {data}\n\n")).concat();
            let call = Call::stream(Codec::openai(), "/v1/chat/completions", REQUEST);
            let metered = call.frames([stream.as_bytes()], End::Complete).metered;
            assert_eq!(
                (metered.usage.input, metered.usage.output, metered.usage.source),
                (Some(7), Some(3), UsageSource::Reported),
                "{stream}"
            );
        }
    }
}

/// litellm#36523: a streamed response through the passthrough route was logged with 0 tokens, the buffered one was right.
#[test]
fn the_same_answer_is_metered_the_same_streamed_or_not() {
    let response = r#"{"id":"r","status":"completed","model":"gpt-5","output":[],"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":2},"output_tokens":6}}"#;
    let event = format!("data: {{\"type\":\"response.completed\",\"response\":{response}}}\n\n");
    let content = r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"cachedContentTokenCount":2,"candidatesTokenCount":6},"modelVersion":"g"}"#;
    let google = |verb: &str| match verb {
        "generate" => "/v1/models/g:generateContent",
        _ => "/v1/models/g:streamGenerateContent",
    };
    let pairs = [
        (
            Call::new(Codec::openai(), "/openai/v1/responses", REQUEST).answer(response),
            Call::stream(Codec::openai(), "/openai/v1/responses", REQUEST).answer(&event),
        ),
        (
            Call::new(Codec::gemini(), google("generate"), REQUEST).answer(content),
            Call::new(Codec::gemini(), google("stream"), REQUEST).answer(&format!("[{content}]")),
        ),
        (
            Call::new(Codec::gemini(), google("generate"), REQUEST).answer(content),
            Call::stream(Codec::gemini(), google("stream"), REQUEST).answer(&format!("data: {content}\n\n")),
        ),
    ];
    for (buffered, streamed) in pairs {
        assert_eq!(
            (buffered.usage.input, buffered.usage.cache_read, buffered.usage.output),
            (Some(5), Some(2), Some(6))
        );
        assert_eq!(buffered, streamed);
    }
}

/// litellm#9812, #29145, #15292; maximhq/bifrost#904: cached tokens were charged twice, at nothing, below nothing, or as uncached ones.
#[test]
fn cached_tokens_are_part_of_the_input_once_whatever_the_convention() {
    let expected = (Some(1325), Some(1000), Some(300));
    let beside = r#""input_tokens":25,"cache_read_input_tokens":1000,"cache_creation_input_tokens":300,"output_tokens":1"#;
    let converse =
        r#""inputTokens":25,"cacheReadInputTokens":1000,"cacheWriteInputTokens":300,"outputTokens":1,"totalTokens":1326"#;
    let inside = r#""prompt_tokens":1325,"completion_tokens":1,"total_tokens":1326,"prompt_tokens_details":{"cached_tokens":1000,"cache_write_tokens":300}"#;
    for (codec, path, usage) in [
        (Codec::anthropic(), "/v1/messages", beside),
        (Codec::azure_foundry(), "/anthropic/v1/messages", beside),
        (
            Codec::gemini(),
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
            beside,
        ),
        (Codec::bedrock(), "/model/anthropic.claude/invoke", beside),
        (Codec::bedrock(), "/model/anthropic.claude/converse", converse),
        (Codec::bedrock(), "/openai/v1/chat/completions", inside),
        (Codec::openai(), "/v1/chat/completions", inside),
        (Codec::anthropic(), "/v1/chat/completions", inside),
    ] {
        let usage = Call::new(codec, path, "{}")
            .answer(&format!(r#"{{"usage":{{{usage}}}}}"#))
            .usage;
        assert_eq!((usage.input, usage.cache_read, usage.cache_creation), expected, "{path}");
        assert!(usage.unknown.is_empty(), "{path}");
    }
}

/// langfuse/langfuse#17148: cached tokens under a name that nobody knew were silently priced at nothing.
#[test]
fn a_count_under_an_unknown_name_is_kept_in_every_dialect() {
    for (codec, path, body, field) in [
        (
            Codec::openai(),
            "/v1/chat/completions",
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"warm_tokens":9}}}"#,
            "prompt_tokens_details.warm_tokens",
        ),
        (
            Codec::anthropic(),
            "/v1/messages",
            r#"{"usage":{"input_tokens":1,"output_tokens":1,"warm_tokens":9}}"#,
            "warm_tokens",
        ),
        (
            Codec::gemini(),
            "/v1/models/g:generateContent",
            r#"{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"warmTokenCount":9}}"#,
            "warmTokenCount",
        ),
        (
            Codec::bedrock(),
            "/model/m/converse",
            r#"{"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2,"warmTokens":9}}"#,
            "warmTokens",
        ),
        (
            Codec::mistral(),
            "/v1/ocr",
            r#"{"usage_info":{"pages_processed":1,"warm_pages":9}}"#,
            "warm_pages",
        ),
        (
            Codec::openai(),
            "/v2/rerank",
            r#"{"meta":{"billed_units":{"search_units":1,"warm_units":9}}}"#,
            "billed_units.warm_units",
        ),
    ] {
        let usage = Call::new(codec, path, "{}").answer(body).usage;
        let unknown: Vec<_> = usage
            .unknown
            .iter()
            .map(|unknown| (&*unknown.field, unknown.quantity))
            .collect();
        assert_eq!(unknown, [(field, 9)], "{path}");
    }
}

/// litellm#38730: a price by the name that was asked for, while another model answered.
#[test]
fn the_model_that_answered_is_told_where_the_answer_names_it() {
    for (codec, path, body) in [
        (
            Codec::openai(),
            "/v1/chat/completions",
            r#"{"model":"answered","usage":{"prompt_tokens":1}}"#,
        ),
        (
            Codec::azure_openai(),
            "/openai/deployments/asked/chat/completions",
            r#"{"model":"answered","usage":{"prompt_tokens":1}}"#,
        ),
        (
            Codec::gemini(),
            "/v1/models/asked:generateContent",
            r#"{"modelVersion":"answered","usageMetadata":{"promptTokenCount":1}}"#,
        ),
        (
            Codec::bedrock(),
            "/model/asked/converse",
            r#"{"usage":{"inputTokens":1},"trace":{"promptRouter":{"invokedModelId":"answered"}}}"#,
        ),
        (
            Codec::mistral(),
            "/v1/ocr",
            r#"{"model":"answered","usage_info":{"pages_processed":1}}"#,
        ),
    ] {
        let metered = Call::new(codec, path, r#"{"model":"asked"}"#).answer(body);
        assert_eq!(metered.response_model, name("answered"), "{path}");
    }
}
