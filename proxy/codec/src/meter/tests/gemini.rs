//! Expected numbers follow google-genai 3.4.0 (`types.GenerateContentResponseUsageMetadata`: total = prompt + candidates + tool use + thoughts), and
//! where it is silent litellm 1.106.2 (`llms/vertex_ai/gemini/vertex_and_google_ai_studio_gemini.py`) and genai-prices 0.2.3 (`google`).

use super::*;

const REQUEST: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hello world"}]}]}"#;
const GENERATE: &str = "/v1beta/models/gemini-3-pro:generateContent";

fn generate() -> Call {
    Call::new(Codec::gemini(), GENERATE, REQUEST)
}

/// A stream of events, as `alt=sse` asks for it.
pub(in super::super) fn events() -> Call {
    Call::stream(
        Codec::gemini(),
        "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse",
        REQUEST,
    )
}

/// A stream that is a JSON array.
pub(in super::super) fn elements() -> Call {
    Call::new(Codec::gemini(), "/v1beta/models/gemini-3-pro:streamGenerateContent", REQUEST)
}

/// Chunks whose running totals grow; the first has words of the last in what it generates.
pub(in super::super) const CHUNKS: [&str; 3] = [
    r#"{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"usageMetadata": {"promptTokenCount": 9999}, "say": "\"}] twice"}}}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 100,"totalTokenCount": 140,"thoughtsTokenCount": 40},"modelVersion": "gemini-3-pro-001","responseId": "r"}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": "hello world"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 100,"candidatesTokenCount": 3,"totalTokenCount": 143,"thoughtsTokenCount": 40},"modelVersion": "gemini-3-pro-001","responseId": "r"}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 100,"cachedContentTokenCount": 64,"candidatesTokenCount": 10,"totalTokenCount": 155,"thoughtsTokenCount": 45},"modelVersion": "gemini-3-pro-001","responseId": "r"}"#,
];

pub(in super::super) fn sse(line_end: &str) -> String {
    let events = CHUNKS.map(|chunk| format!("data: {chunk}{line_end}{line_end}"));
    events.concat()
}

pub(in super::super) fn array() -> String {
    format!("[{}\n]\n", CHUNKS.map(|chunk| chunk.replace(',', ",\n  ")).join("\n,\r\n"))
}

fn last_usage() -> Usage {
    Usage {
        source: UsageSource::Reported,
        input: Some(100),
        cache_read: Some(64),
        output: Some(10 + 45),
        reasoning: Some(45),
        ..Usage::default()
    }
}

#[test]
fn thoughts_and_results_of_tools_are_beside_and_cached_tokens_inside() {
    let metered = generate().answer(
        r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}],"modelVersion":"gemini-3-pro-001",
        "usageMetadata":{"promptTokenCount":1000,"cachedContentTokenCount":600,"candidatesTokenCount":50,"thoughtsTokenCount":30,
        "toolUsePromptTokenCount":200,"totalTokenCount":1280,
        "promptTokensDetails":[{"modality":"TEXT","tokenCount":200},{"modality":"AUDIO","tokenCount":300},{"modality":"IMAGE","tokenCount":258},
          {"modality":"VIDEO","tokenCount":142},{"modality":"DOCUMENT","tokenCount":100}],
        "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":250},{"modality":"IMAGE","tokenCount":258},{"modality":"TEXT","tokenCount":92}],
        "candidatesTokensDetails":[{"modality":"TEXT","tokenCount":50}],
        "toolUsePromptTokensDetails":[{"modality":"TEXT","tokenCount":200}]}}"#,
    );
    assert_eq!(
        metered.usage,
        Usage {
            source: UsageSource::Reported,
            input: Some(1000 + 200),
            cache_read: Some(600),
            cache_read_audio: Some(250),
            cache_read_image: Some(258),
            // What is left of the prompt's modality without its cached tokens: 300 - 250, 258 - 258, 142.
            audio_in: Some(50),
            image_in: Some(0),
            video_in: Some(142),
            tool_use_in: Some(200),
            output: Some(50 + 30),
            reasoning: Some(30),
            ..Usage::default()
        }
    );
    assert_eq!(
        (metered.response_model, metered.finish_reason, metered.complete),
        (name("gemini-3-pro-001"), name("STOP"), true)
    );
}

#[test]
fn generated_images_and_sound_are_told_from_text() {
    let usage = generate()
        .answer(
            r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":1310,"totalTokenCount":1320,
            "candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290},{"modality":"AUDIO","tokenCount":5},{"modality":"TEXT","tokenCount":15}]}}"#,
        )
        .usage;
    assert_eq!(
        (usage.output, usage.image_out, usage.audio_out, usage.unknown.len()),
        (Some(1310), Some(1290), Some(5), 0)
    );
}

#[test]
fn thoughts_are_inside_where_the_total_says_so() {
    let of = |total: u64| {
        let body = format!(
            r#"{{"candidates":[{{"finishReason":"STOP"}}],"usageMetadata":{{"promptTokenCount":10,"candidatesTokenCount":50,"thoughtsTokenCount":30,"totalTokenCount":{total}}}}}"#
        );
        let usage = generate().answer(&body).usage;
        let unknown = usage.unknown.first().map(|field| (field.field.to_string(), field.quantity));
        (usage.output, usage.reasoning, unknown)
    };
    assert_eq!(of(60), (Some(50), Some(30), None));
    assert_eq!(of(90), (Some(80), Some(30), None));
    // What no convention explains is shown, and has no price.
    assert_eq!(of(97), (Some(80), Some(30), Some(("totalTokenCount".into(), 7))));
}

#[test]
fn the_last_running_total_of_a_stream_wins() {
    for metered in [
        events().answer(&sse("\n")),
        events().answer(&sse("\r\n")),
        elements().answer(&array()),
    ] {
        assert_eq!(metered.usage, last_usage());
        assert_eq!(
            (metered.response_model, metered.finish_reason, metered.complete),
            (name("gemini-3-pro-001"), name("STOP"), true)
        );
    }
}

#[test]
fn what_a_model_generates_is_never_taken_for_usage() {
    let generated = CHUNKS[0]
        .split(r#","usageMetadata": {"promptTokenCount": 100"#)
        .next()
        .unwrap();
    let stream = format!("{}data: {generated}}}\n\n", sse("\n"));
    assert_eq!(events().answer(&stream).usage.input, Some(100));
}

#[test]
fn what_is_known_so_far_has_the_sums_and_the_end_has_all_of_the_last_object() {
    let usage = r#"{"promptTokenCount":100,"candidatesTokenCount":7,"totalTokenCount":107,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":60}],"trafficType":"ON_DEMAND_FLEX"}"#;
    let second = format!("data: {{\"candidates\":[{{\"index\":0}}],\"usageMetadata\":{usage}}}\n\n");
    let mut meter = events().meter();
    meter.frame(Bytes::from(format!("data: {}\n\n", CHUNKS[0])));
    assert_eq!(
        (meter.usage_so_far().input, meter.usage_so_far().output),
        (Some(100), Some(40))
    );
    meter.frame(Bytes::from(second));
    assert_eq!(
        (meter.usage_so_far().input, meter.usage_so_far().output),
        (Some(100), Some(7))
    );
    let cut = meter.metered(End::Cut).usage;
    assert_eq!(
        (cut.audio_in, cut.output, cut.reasoning, cut.service_tier),
        (Some(60), Some(7), None, name("flex"))
    );
}

#[test]
fn usage_with_nothing_but_a_traffic_type_replaces_nothing() {
    let stream = format!(
        "{}data: {{\"usageMetadata\":{{\"trafficType\":\"PROVISIONED_THROUGHPUT\"}}}}\n\n",
        sse("\n")
    );
    assert_eq!(
        events().answer(&stream).usage,
        Usage {
            service_tier: name("provisioned"),
            ..last_usage()
        }
    );
}

#[test]
fn a_stream_is_cut_unless_the_model_has_said_why_it_stopped() {
    let begun = |count: usize| {
        CHUNKS[..count]
            .iter()
            .map(|chunk| format!("data: {chunk}\n\n"))
            .collect::<String>()
    };
    let cut = events().frames([begun(2).as_bytes()], End::Complete).metered;
    // Running totals of a stream that was cut: 100 in, 3 + 40 out, and not the last word.
    assert_eq!(
        (cut.usage.input, cut.usage.output, cut.usage.source, cut.complete),
        (Some(100), Some(43), UsageSource::Estimated, false)
    );
    assert!(events().frames([begun(3).as_bytes()], End::Complete).metered.complete);
    assert!(!events().frames([begun(3).as_bytes()], End::Aborted).metered.complete);
    // The array's end is a terminal event, and nothing before it.
    let whole = array();
    let (most, end) = whole.split_at(whole.rfind(']').unwrap());
    let mut meter = elements().meter();
    assert!(!meter.frame(Bytes::copy_from_slice(most.as_bytes())).ended);
    assert!(!meter.metered(End::Complete).complete);
    assert!(meter.frame(Bytes::copy_from_slice(end.as_bytes())).ended);
    assert!(meter.metered(End::Aborted).complete);
}

#[test]
fn a_stream_without_usage_is_estimated_by_what_was_generated() {
    let chunk = r#"{"candidates":[{"content":{"parts":[{"text":"hello world"}]}}],
        "modelVersion":"gemini-3-pro-001"}"#;
    let as_event = events().cut(&format!("data: {}\n\n", chunk.replace('\n', "")));
    let as_element = elements().cut(&format!("[{chunk}"));
    for metered in [as_event, as_element] {
        // "hello world" is 2 tokens of o200k_base; a message and a request have 3 each.
        assert_eq!(
            (metered.usage.input, metered.usage.output, metered.usage.source),
            (Some(2 + 3 + 3), Some(2), UsageSource::Estimated)
        );
    }
}

#[test]
fn tiers_are_told_by_the_head_or_by_the_usage() {
    let body = |more: &str| format!(r#"{{"candidates":[],"usageMetadata":{{"promptTokenCount":1{more}}}}}"#);
    let of = |more: &str| generate().answer(&body(more)).usage.service_tier;
    assert_eq!(of(r#","trafficType":"ON_DEMAND""#), None);
    assert_eq!(of(r#","trafficType":"ON_DEMAND_PRIORITY""#), name("priority"));
    assert_eq!(of(r#","trafficType":"ON_DEMAND_FLEX""#), name("flex"));
    assert_eq!(of(r#","serviceTier":"SERVICE_TIER_FLEX""#), name("flex"));
    assert_eq!(of(r#","serviceTier":"standard""#), None);
    let headed = generate().header("x-gemini-service-tier", "priority").answer(&body(""));
    assert_eq!(headed.usage.service_tier, name("priority"));
}

#[test]
fn searches_are_told_by_query_and_by_answer_and_their_results_are_no_billed_input() {
    let answer = |grounding: &str, more: &str| {
        generate()
            .answer(&format!(
                r#"{{"candidates":[{{"finishReason":"STOP"{more},"groundingMetadata":{grounding}}}],
                "usageMetadata":{{"promptTokenCount":10,"candidatesTokenCount":5,"toolUsePromptTokenCount":500,"totalTokenCount":515}}}}"#
            ))
            .usage
    };
    let search = r#"{"webSearchQueries":["a","b",""],"groundingChunks":[{"web":{"uri":"u"}}]}"#;
    let usage = answer(search, "");
    assert_eq!(
        (usage.web_search, usage.search_query, usage.maps_grounding),
        (Some(1), Some(2), None)
    );
    assert_eq!(
        (usage.input, usage.tool_use_in, usage.unbilled_in),
        (Some(510), None, Some(500))
    );
    let usage = answer(r#"{"groundingChunks":[{"maps":{"uri":"u"}}]}"#, "");
    assert_eq!(
        (usage.web_search, usage.search_query, usage.maps_grounding),
        (None, None, Some(1))
    );
    assert_eq!(usage.unbilled_in, Some(500));
    // Pages that the prompt names are billed, and nothing tells them apart.
    let usage = answer(search, r#","urlContextMetadata":{"urlMetadata":[]}"#);
    assert_eq!((usage.tool_use_in, usage.unbilled_in), (Some(500), None));
    let usage = answer("{}", "");
    assert_eq!(
        (usage.web_search, usage.tool_use_in, usage.unbilled_in),
        (None, Some(500), None)
    );
}

#[test]
fn a_blocked_prompt_has_a_reason_and_its_usage() {
    let metered = generate().answer(
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":7,"totalTokenCount":7},"modelVersion":"gemini-3-pro-001"}"#,
    );
    assert_eq!(
        (metered.finish_reason, metered.usage.input, metered.usage.output),
        (name("SAFETY"), Some(7), Some(0))
    );
}

#[test]
fn errors_have_googles_status() {
    let error = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[]}}"#;
    let metered = generate().status(429).answer(error);
    assert_eq!(
        (metered.error_type, metered.usage),
        (name("RESOURCE_EXHAUSTED"), Usage::default())
    );
    // A stream that fails at once is an array of one error.
    let listed = elements().status(429).answer(&format!("[{error}]"));
    assert_eq!(
        (listed.error_type, listed.usage),
        (name("RESOURCE_EXHAUSTED"), Usage::default())
    );
    let midway = events().cut(&format!("data: {}\n\ndata: {error}\n\n", CHUNKS[0]));
    assert_eq!((midway.error_type, midway.complete), (name("RESOURCE_EXHAUSTED"), false));
}

#[test]
fn embeddings_have_input_only_and_are_estimated_where_none_is_told() {
    let call = Call::new(
        Codec::gemini(),
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        r#"{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"hello world"}]}}]}"#,
    );
    let told = call
        .answer(r#"{"embeddings":[{"values":[0.1,-2e-3]}],"usageMetadata":{"promptTokenCount":4}}"#)
        .usage;
    assert_eq!((told.input, told.output, told.source), (Some(4), None, UsageSource::Reported));
    let floats = vec!["-0.0123456789"; 40_000].join(",");
    let long = format!(r#"{{"embeddings":[{{"values":[{floats}]}}],"usageMetadata":{{"promptTokenCount":4}}}}"#);
    assert_eq!(call.answer(&long).usage, told);
    let untold = call.answer(r#"{"embeddings":[{"values":[0.1]}]}"#).usage;
    assert_eq!(
        (untold.input, untold.output, untold.source),
        (Some(2), None, UsageSource::Estimated)
    );
}

#[test]
fn predictions_tell_tokens_characters_or_images() {
    let path = |model: &'static str| Call::new(Codec::gemini(), model, r#"{"instances":[{"content":"hello world"}]}"#);
    let embeddings = r#"{"predictions":[{"embeddings":{"values":[0.1],"statistics":{"truncated":false,"token_count":4}}},
        {"embeddings":{"values":[0.1],"statistics":{"truncated":false,"token_count":3.0}}}],"metadata":{"billableCharacterCount":20}}"#;
    let gemini = path("/v1/projects/p/locations/l/publishers/google/models/gemini-embedding-001:predict").answer(embeddings);
    assert_eq!(
        (gemini.usage.input, gemini.usage.characters, gemini.usage.unbilled_in),
        (Some(7), None, None)
    );
    let older = path("/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict").answer(embeddings);
    assert_eq!(
        (older.usage.input, older.usage.characters, older.usage.unbilled_in),
        (Some(7), Some(20), Some(7))
    );
    let imagen = path("/v1/projects/p/locations/l/publishers/google/models/imagen-4.0-generate-001:predict")
        .answer(r#"{"predictions":[{"bytesBase64Encoded":"aGk=","mimeType":"image/png"},{"bytesBase64Encoded":"aGk=","mimeType":"image/png"}]}"#);
    assert_eq!(
        (imagen.usage.images, imagen.usage.input, imagen.usage.source),
        (Some(2), None, UsageSource::Reported)
    );
    // Anything else may have a price.
    let other = path("/v1/projects/p/locations/l/publishers/google/models/x:predict").answer(r#"{"predictions":[{}]}"#);
    assert_eq!(other.usage.unknown.len(), 1);
}

#[test]
fn counting_tokens_uses_none() {
    let call = Call {
        path: "/v1beta/models/gemini-3-pro:countTokens",
        ..generate()
    };
    assert_eq!(call.answer(r#"{"totalTokens":31}"#).usage, Usage::default());
}

#[test]
fn anthropics_models_on_vertex_answer_in_anthropics_words() {
    use crate::meter::tests::anthropic::{DELTA, START, STOP};
    let call = Call::stream(
        Codec::gemini(),
        "/v1/projects/p/locations/global/publishers/anthropic/models/claude-opus-5@20260701:streamRawPredict",
        r#"{"anthropic_version":"vertex-2023-10-16","messages":[{"role":"user","content":"hello world"}],"stream":true}"#,
    );
    let metered = call.answer(&[START, DELTA, STOP].concat());
    // Beside each other: 25 + 300 + 1000.
    assert_eq!(
        (metered.usage.input, metered.usage.cache_read, metered.usage.output),
        (Some(1325), Some(1000), Some(15))
    );
    assert!(metered.complete);
}

#[test]
fn the_path_names_the_model_and_asks_for_the_stream() {
    let codec = Codec::gemini();
    let read = |path: &str, body: &'static str| {
        let endpoint = codec.endpoint(&Method::POST, path);
        let request = codec
            .read(&endpoint, path, &HeaderMap::new(), &Bytes::from_static(body.as_bytes()))
            .unwrap();
        (request.model.clone(), request.stream, codec.abort_rule_of(&request))
    };
    use crate::AbortRule::Drain;
    assert_eq!(read(GENERATE, REQUEST), (name("gemini-3-pro"), false, Drain));
    assert_eq!(
        read("/v1beta/models/gemini-3-pro:streamGenerateContent", "no JSON is needed"),
        (name("gemini-3-pro"), true, Drain)
    );
}
