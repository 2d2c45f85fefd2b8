//! Hosts that speak OpenAI's words with an accent: Azure, xAI, DeepSeek, Groq, OpenRouter, vLLM.

use super::*;

fn chat() -> Call {
    Call::new(
        Codec::openai(),
        "/v1/chat/completions",
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello world"}]}"#,
    )
}

fn stream() -> Call {
    Call {
        headers: vec![("content-type", "text/event-stream".into())],
        ..chat()
    }
}

fn counts(metered: &Metered) -> (Option<u64>, Option<u64>, Option<u64>, usize) {
    let usage = &metered.usage;
    (usage.input, usage.cache_read, usage.output, usage.unknown.len())
}

/// Microsoft's page "Content streaming": annotations of filters come in chunks without choices, before and between the others.
#[test]
fn azures_annotations_are_told_from_its_usage_and_the_deployment_is_what_is_asked_for() {
    let call = Call {
        codec: Codec::azure_openai(),
        path: "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
        request: r#"{"stream":true,"messages":[{"role":"user","content":"hello world"}]}"#.to_owned(),
        ..stream()
    };
    let annotations = "data: {\"id\":\"\",\"model\":\"\",\"object\":\"\",\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{}}]}\n\n";
    let content = "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}],\"usage\":null}\n\n";
    let late = "data: {\"id\":\"\",\"model\":\"\",\"choices\":[{\"index\":0,\"finish_reason\":null,\"content_filter_results\":{},\"content_filter_offsets\":{\"check_offset\":44}}],\"usage\":null}\n\n";
    let stop = "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
    let usage = "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024-11-20\",\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150}}\n\n";
    let done = "data: [DONE]\n\n";
    let whole = [annotations, content, late, stop, usage, done].concat();
    let seen = call.frames([whole.as_bytes()], End::Complete);
    assert_eq!(
        seen.sent,
        [annotations, content, late, stop, done].concat(),
        "the client had not asked for usage"
    );
    assert_eq!(counts(&seen.metered), (Some(100), None, Some(50), 0));
    assert_eq!(seen.metered.response_model, name("gpt-4o-2024-11-20"));
    let endpoint = call
        .codec
        .endpoint(&Method::POST, "/openai/deployments/my-gpt/chat/completions");
    let body = Bytes::from_static(br#"{"model":"ignored","messages":[]}"#);
    let request = call.codec.read(&endpoint, call.path, &HeaderMap::new(), &body).unwrap();
    assert_eq!(request.model, name("my-gpt"));
}

/// genai-prices 0.2.3 (`x-ai`), litellm 1.106.2 (`xai/chat`); docs.x.ai "Cost tracking": ticks are what is billed, 10^10 a dollar.
#[test]
fn xais_reasoning_is_beside_in_chat_and_inside_in_responses() {
    let metered = chat().answer(
        r#"{"model":"grok-4","choices":[],"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"prompt_tokens_details":{"text_tokens":32,"audio_tokens":0,"image_tokens":0,"cached_tokens":6},
        "completion_tokens_details":{"reasoning_tokens":94,"audio_tokens":0},"num_sources_used":0,"cost_in_usd_ticks":15000000}}"#,
    );
    assert_eq!(counts(&metered), (Some(32), Some(6), Some(9 + 94), 0));
    assert_eq!(metered.usage.reasoning, Some(94));
    let responses = Call {
        path: "/v1/responses",
        ..chat()
    };
    let metered = responses.answer(
        r#"{"status":"completed","output":[],"usage":{"input_tokens":32,"output_tokens":103,"total_tokens":135,"output_tokens_details":{"reasoning_tokens":94}}}"#,
    );
    assert_eq!(
        (counts(&metered), metered.usage.reasoning),
        ((Some(32), None, Some(103), 0), Some(94))
    );
}

/// browser-use PR 5684: hits and misses add up to the prompt; some answers tell the hits twice.
#[test]
fn deepseeks_hits_are_inside_the_prompt_and_counted_once() {
    let metered = chat().answer(
        r#"{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":64},
        "completion_tokens_details":{"reasoning_tokens":12},"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}}"#,
    );
    assert_eq!(counts(&metered), (Some(100), Some(64), Some(20), 0));
}

/// Groq's API reference of streams: `x_groq.id` first, `x_groq.usage` last; its times are not billed.
#[test]
fn groqs_usage_comes_in_an_object_of_its_own() {
    let metered = stream().answer(concat!(
        "data: {\"model\":\"llama-3.3\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}],\"x_groq\":{\"id\":\"req_1\"}}\n\n",
        "data: {\"model\":\"llama-3.3\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"req_1\",\"usage\":{\"queue_time\":0.037,\"prompt_tokens\":18,\"prompt_time\":0.0006,\"completion_tokens\":556,\"completion_time\":0.46,\"total_tokens\":574,\"total_time\":0.464}}}\n\n",
        "data: [DONE]\n\n",
    ));
    assert_eq!(counts(&metered), (Some(18), None, Some(556), 0));
}

/// openrouter.ai, "Usage accounting" and "Streaming": `cost` is an amount of credits and no usage; comments keep the connection open.
#[test]
fn openrouters_comments_and_costs_are_no_usage() {
    let metered = stream().answer(concat!(
        ": OPENROUTER PROCESSING\n\n",
        "data: {\"model\":\"openai/gpt-5\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n",
        ": OPENROUTER PROCESSING\n\n",
        "data: {\"model\":\"openai/gpt-5\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":194,\"completion_tokens\":2,\"total_tokens\":196,\"cost\":0.95,\"is_byok\":false,\"prompt_tokens_details\":{\"cached_tokens\":10,\"cache_write_tokens\":100,\"audio_tokens\":0,\"video_tokens\":4},\"cost_details\":{\"upstream_inference_cost\":19,\"upstream_inference_prompt_cost\":1},\"completion_tokens_details\":{\"reasoning_tokens\":1,\"image_tokens\":0}}}\n\n",
        "data: [DONE]\n\n",
    ));
    assert_eq!(counts(&metered), (Some(194), Some(10), Some(2), 0));
    assert_eq!(
        (metered.usage.cache_creation, metered.usage.video_in, metered.usage.audio_in),
        (Some(100), Some(4), Some(0))
    );
}

/// vLLM PR 6652, `continuous_usage_stats`: running totals in every chunk.
#[test]
fn vllms_running_totals_are_never_added() {
    let chunk = |count: u64| {
        format!(
            "data: {{\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}},\"finish_reason\":null}}],\"usage\":{{\"prompt_tokens\":7,\"total_tokens\":{},\"completion_tokens\":{count}}}}}\n\n",
            7 + count
        )
    };
    let last = "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":11,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\ndata: [DONE]\n\n";
    let metered = stream().answer(&[&*chunk(1), &chunk(2), &chunk(3), last].concat());
    assert_eq!(counts(&metered), (Some(7), Some(2), Some(4), 0));
}

/// openai 2.54.0, `types/realtime/realtime_response_usage.py`: cached tokens are split by modality, as they are billed.
#[test]
fn cached_tokens_are_split_by_modality_where_they_are_told_so() {
    let usage = chat()
        .answer(
            r#"{"choices":[],"usage":{"input_tokens":500,"output_tokens":90,"total_tokens":590,
            "input_token_details":{"text_tokens":200,"audio_tokens":200,"image_tokens":100,"cached_tokens":300,
              "cached_tokens_details":{"text_tokens":100,"audio_tokens":150,"image_tokens":50}},
            "output_token_details":{"text_tokens":30,"audio_tokens":60}}}"#,
        )
        .usage;
    // Uncached: 200 - 150 of the sound, 100 - 50 of the images; text is what is left.
    assert_eq!(
        (
            usage.cache_read,
            usage.cache_read_audio,
            usage.cache_read_image,
            usage.audio_in,
            usage.image_in
        ),
        (Some(300), Some(150), Some(50), Some(50), Some(50))
    );
    assert_eq!((usage.output, usage.audio_out, usage.unknown.len()), (Some(90), Some(60), 0));
}

#[test]
fn modalities_never_exceed_what_was_not_cached() {
    let usage = chat()
        .answer(r#"{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":80,"audio_tokens":15,"image_tokens":50}}}"#)
        .usage;
    assert_eq!((usage.audio_in, usage.image_in), (Some(15), Some(5)));
}
