//! Expected numbers follow openai 2.54.0: `types/completion_usage.py`, `types/responses/response_usage.py`, `types/chat/chat_completion_chunk.py`.

use super::*;

const CHAT: &str = "/v1/chat/completions";

fn chat() -> Call {
    Call::new(
        Codec::openai(),
        CHAT,
        r#"{"model":"gpt-5","messages":[{"role":"user","content":"hello world"}]}"#,
    )
}

fn chat_stream(options: &str) -> Call {
    Call::stream(
        Codec::openai(),
        CHAT,
        &format!(r#"{{"model":"gpt-5","stream":true{options},"messages":[{{"role":"user","content":"hello world"}}]}}"#),
    )
}

pub(in super::super) const CHUNKS: &str = concat!(
    r#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-5-2026-01-01","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
    "\n\n",
    r#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-5-2026-01-01","choices":[{"index":0,"delta":{"content":"say \"usage\":{} twice"},"finish_reason":null}],"usage":null}"#,
    "\n\n",
    r#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-5-2026-01-01","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
    "\n\n",
);
pub(in super::super) const USAGE_CHUNK: &str = concat!(
    r#"data: {"id":"c","object":"chat.completion.chunk","model":"gpt-5-2026-01-01","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":60}}}"#,
    "\n\n"
);
pub(in super::super) const DONE: &str = "data: [DONE]\n\n";

#[test]
fn cached_written_reasoning_and_audio_tokens_are_inside_the_counts() {
    let metered = chat().answer(
        r#"{"id":"x","model":"gpt-5-2026-01-01","service_tier":"priority","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1000,"completion_tokens":300,"total_tokens":1300,
        "prompt_tokens_details":{"cached_tokens":640,"cache_write_tokens":128,"audio_tokens":40},
        "completion_tokens_details":{"reasoning_tokens":200,"audio_tokens":7,"accepted_prediction_tokens":5,"rejected_prediction_tokens":6}}}"#,
    );
    assert_eq!(
        metered.usage,
        Usage {
            source: UsageSource::Reported,
            input: Some(1000),
            cache_read: Some(640),
            cache_creation: Some(128),
            audio_in: Some(40),
            output: Some(300),
            reasoning: Some(200),
            audio_out: Some(7),
            service_tier: name("priority"),
            ..Usage::default()
        }
    );
    assert_eq!(
        (metered.response_model, metered.finish_reason),
        (name("gpt-5-2026-01-01"), name("stop"))
    );
    assert!(metered.complete && metered.error_type.is_none());
}

#[test]
fn zero_is_reported_and_absent_is_not() {
    let usage = chat()
        .answer(r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":0}}}"#)
        .usage;
    assert_eq!(
        (usage.input, usage.output, usage.cache_read, usage.reasoning),
        (Some(0), Some(0), Some(0), None)
    );
    assert_eq!(usage.source, UsageSource::Reported);
}

#[test]
fn unknown_fields_are_kept_with_their_path_unless_zero() {
    let usage = chat()
        .answer(
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"energy":0.00012,"num_searches":0,"nothing":null,
            "prompt_tokens_details":{"smell_tokens":9},"list":[{"a":1}]}}"#,
        )
        .usage;
    let fields: Vec<_> = usage.unknown.iter().map(|field| (&*field.field, field.quantity)).collect();
    assert_eq!(
        fields,
        [("energy", 1), ("prompt_tokens_details.smell_tokens", 9), ("list[].a", 1)]
    );
    let many: Vec<_> = (0..100).map(|count| format!(r#""f{count}":1"#)).collect();
    let usage = chat()
        .answer(&format!(r#"{{"usage":{{"prompt_tokens":1,{}}}}}"#, many.join(",")))
        .usage;
    assert_eq!(usage.unknown.len(), Usage::MAX_UNKNOWN);
}

#[test]
fn a_total_that_is_larger_says_what_stands_beside() {
    // xAI: completion_tokens without reasoning, total with it (genai-prices, litellm `xai/chat`).
    let xai = chat().answer(
        r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}}}"#,
    );
    assert_eq!(
        (xai.usage.output, xai.usage.reasoning, xai.usage.unknown.len()),
        (Some(25), Some(20), 0)
    );
    // Nobody knows what it is.
    let other = chat()
        .answer(r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35}}"#)
        .usage;
    assert_eq!(
        (other.output, other.unknown[0].quantity, &*other.unknown[0].field),
        (Some(5), 20, "total_tokens")
    );
    // Google's compatible endpoint leaves thoughts out, which are billed as output.
    for model in ["gemini-3-pro", "google/gemini-3-pro"] {
        let google = chat()
            .answer(&format!(
                r#"{{"model":"{model}","usage":{{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35}}}}"#
            ))
            .usage;
        assert_eq!(
            (google.output, google.reasoning, google.unknown.len()),
            (Some(25), Some(20), 0)
        );
    }
    let implied = chat().answer(r#"{"usage":{"prompt_tokens":10,"total_tokens":35}}"#).usage;
    assert_eq!((implied.output, implied.unknown.len()), (Some(25), 0));
}

#[test]
fn other_spellings_of_cached_tokens_are_known() {
    let deepseek = chat()
        .answer(r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":7,"prompt_cache_miss_tokens":3}}"#);
    assert_eq!((deepseek.usage.cache_read, deepseek.usage.unknown.len()), (Some(7), 0));
    let both = chat().answer(
        r#"{"usage":{"cached_tokens":6,"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":6},"prompt_cache_hit_tokens":6}}"#,
    );
    assert_eq!((both.usage.cache_read, both.usage.unknown.len()), (Some(6), 0));
}

#[test]
fn tiers_are_those_that_were_used() {
    for (told, tier) in [
        ("default", None),
        ("auto", None),
        ("flex", name("flex")),
        ("priority", name("priority")),
        ("fast", name("priority")),
        ("batch", name("batch")),
    ] {
        let metered = chat().answer(&format!(r#"{{"usage":{{"prompt_tokens":1}},"service_tier":"{told}"}}"#));
        assert_eq!(metered.usage.service_tier, tier, "{told}");
    }
}

#[test]
fn the_rate_limits_remainder_is_in_the_head() {
    let metered = chat()
        .header("x-ratelimit-remaining-tokens", "149984")
        .answer(r#"{"usage":{"prompt_tokens":1}}"#);
    assert_eq!(metered.usage.remaining, Some(149_984));
}

#[test]
fn the_usage_chunk_is_removed_if_the_client_had_not_asked() {
    let call = chat_stream("");
    let stream = [CHUNKS, USAGE_CHUNK, DONE].concat();
    let seen = call.frames([stream.as_bytes()], End::Complete);
    assert_eq!(seen.sent, [CHUNKS, DONE].concat());
    assert_eq!(
        (
            seen.metered.usage.input,
            seen.metered.usage.output,
            seen.metered.usage.cache_read
        ),
        (Some(100), Some(50), Some(60))
    );
    assert_eq!(
        (seen.metered.response_model, seen.metered.finish_reason),
        (name("gpt-5-2026-01-01"), name("stop"))
    );
    assert!(seen.metered.complete);
    // The client gets nothing of it even where the upstream ends right there.
    let unended = format!("{CHUNKS}{}", USAGE_CHUNK.trim_end());
    assert_eq!(call.frames([unended.as_bytes()], End::Complete).sent, CHUNKS);
}

#[test]
fn nothing_is_removed_if_the_client_asked() {
    let stream = [CHUNKS, USAGE_CHUNK, DONE].concat();
    let metered = chat_stream(r#","stream_options":{"include_usage":true}"#).answer(&stream);
    assert_eq!((metered.usage.input, metered.usage.output), (Some(100), Some(50)));
}

#[test]
fn chunks_with_choices_or_without_usage_are_never_removed() {
    // Mistral: usage on the last chunk with content. Azure: annotations with empty choices. vLLM: running totals on every chunk.
    let stream = concat!(
        "data: {\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\n",
        "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\": {\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
        "data: {\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"usage\" : {\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n",
        "data: {\"model\":\"m\",\"choices\":[],\"usage\":null}\n\n",
        "data: [DONE]\n\n",
    );
    let metered = chat_stream("").answer(stream);
    assert_eq!(
        (metered.usage.input, metered.usage.output),
        (Some(7), Some(3)),
        "the last total wins, none are added"
    );
    assert_eq!((metered.response_model, metered.finish_reason), (name("m"), name("length")));
    let moonshot = "data: {\"choices\":[{\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5}}]}\n\ndata: [DONE]\n\n";
    let metered = chat_stream("").answer(moonshot);
    assert_eq!((metered.usage.input, metered.usage.output), (Some(4), Some(5)));
}

#[test]
fn the_terminal_line_is_held_even_without_its_blank_line() {
    let mut meter = chat_stream(r#","stream_options":{"include_usage":true}"#).meter();
    assert!(!meter.frame(Bytes::from_static(b"data: {}\n\ndata: [DONE]")).ended);
    assert!(meter.frame(Bytes::from_static(b"\n")).ended);
    assert!(meter.frame(Bytes::from_static(b"\n")).ended);
}

#[test]
fn an_edited_stream_holds_nothing_behind_its_terminal_line() {
    let mut meter = chat_stream("").meter();
    let first = meter.frame(Bytes::from([CHUNKS, USAGE_CHUNK, "data: [DO"].concat()));
    assert_eq!((first.bytes, first.ended), (Bytes::from(CHUNKS), false));
    let last = meter.frame(Bytes::from("NE]\n"));
    assert_eq!((last.bytes, last.ended), (Bytes::from("data: [DONE]\n"), true));
    assert_eq!(meter.metered(End::Complete).usage.input, Some(100));
    assert_eq!(meter.frame(Bytes::from("\n")).bytes, "\n");
    assert!(meter.finish().is_empty());
}

#[test]
fn a_stream_is_known_by_its_content_type() {
    let metered = chat_stream("").header("x-unrelated", "1");
    let json = Call {
        headers: chat().headers,
        ..metered
    };
    assert_eq!(
        json.answer(r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#)
            .usage
            .input,
        Some(3)
    );
    let html = Call {
        headers: vec![("content-type", "text/html".into())],
        ..chat()
    };
    let metered = html.answer("<html>\"usage\":{\"prompt_tokens\":3}");
    // What is no answer that can be read may have cost something all the same.
    assert_eq!((metered.usage, metered.complete), (unmeasured(), true));
}

/// One of something that was not counted and may have a price.
fn unmeasured() -> Usage {
    let unknown = vec![tollgate_record::UnknownUsage {
        field: "request".into(),
        quantity: 1,
    }];
    Usage {
        unknown,
        ..Usage::default()
    }
}

#[test]
fn an_endpoint_that_is_not_metered_never_looks_free_unless_it_is_known_to_be() {
    let of = |path| Call { path, ..chat() }.answer("{}").usage;
    for path in ["/v1/images/generations", "/v1/audio/speech"] {
        assert_eq!(of(path), unmeasured(), "{path}");
    }
    for path in [
        "/v1/moderations",
        "/v1/files",
        "/v1/messages/count_tokens",
        // What a batch's results cost stands in their own rows.
        "/v1/batches",
        "/v1/messages/batches",
        "/v1/batches/batch_1/cancel",
    ] {
        assert_eq!(of(path), Usage::default(), "{path}");
    }
    let refused = Call {
        path: "/v1/images/generations",
        ..chat()
    }
    .status(400)
    .answer("{}");
    assert_eq!(refused.usage, Usage::default());
}

#[test]
fn errors_use_nothing_unless_they_say_so() {
    let body = r#"{"error":{"message":"no","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    let metered = chat().status(429).answer(body);
    assert_eq!(
        (metered.error_type, metered.usage),
        (name("insufficient_quota"), Usage::default())
    );
    let code = chat()
        .status(400)
        .answer(r#"{"error":{"message":"no","type":null,"code":"content_filter"},"usage":{"prompt_tokens":5}}"#);
    assert_eq!(
        (code.error_type, code.usage.input, code.usage.source),
        (name("content_filter"), Some(5), UsageSource::Reported)
    );
    assert_eq!(
        chat()
            .status(404)
            .answer(r#"{"error":{"code":404,"message":"x"}}"#)
            .error_type,
        name("404")
    );
    assert_eq!(chat().status(500).answer(r#"{"error":"bad"}"#).error_type, name("error"));
    assert_eq!(chat().status(502).answer("<html>").error_type, None);
    let other = Call {
        path: "/v1/files",
        request: String::new(),
        ..chat()
    };
    assert_eq!(other.status(413).answer(body).error_type, name("insufficient_quota"));
    // A host that answers 200 to an error bills nothing that is known.
    let ok = chat().answer(body);
    assert_eq!(
        (ok.usage.source, ok.error_type),
        (UsageSource::None, name("insufficient_quota"))
    );
}

#[test]
fn an_error_inside_a_stream_is_told() {
    let metered = chat_stream("").cut(&format!(
        "{CHUNKS}data: {{\"error\":{{\"message\":\"x\",\"type\":\"server_error\"}}}}\n\n"
    ));
    assert_eq!((metered.error_type, metered.complete), (name("server_error"), false));
    let metered = chat_stream("").cut("event: error\ndata: what?\n\n");
    assert_eq!(metered.error_type, name("error"));
}

fn responses(stream: bool) -> Call {
    let request = r#"{"model":"gpt-5","input":"hello world"}"#;
    if stream {
        Call::stream(Codec::openai(), "/v1/responses", request)
    } else {
        Call::new(Codec::openai(), "/v1/responses", request)
    }
}

const RESPONSE: &str = r#"{"id":"r","object":"response","status":"completed","model":"gpt-5-2026-01-01","service_tier":"flex","error":null,"incomplete_details":null,
"output":[{"type":"web_search_call","action":{"type":"search","query":"q"}},{"type":"web_search_call","action":{"type":"open_page","url":"u"}},{"type":"message","content":[]}],
"usage":{"input_tokens":328,"input_tokens_details":{"cached_tokens":128,"cache_write_tokens":64},"output_tokens":52,"output_tokens_details":{"reasoning_tokens":12},"total_tokens":380}}"#;

fn is_the_response(metered: &Metered) {
    let usage = &metered.usage;
    assert_eq!(
        (usage.input, usage.cache_read, usage.cache_creation),
        (Some(328), Some(128), Some(64))
    );
    assert_eq!(
        (usage.output, usage.reasoning, usage.web_search),
        (Some(52), Some(12), Some(1)),
        "opened pages are steps of a search"
    );
    assert_eq!(
        (usage.service_tier.clone(), usage.unknown.len(), usage.source),
        (name("flex"), 0, UsageSource::Reported)
    );
    assert_eq!(
        (&metered.response_model, &metered.finish_reason),
        (&name("gpt-5-2026-01-01"), &name("completed"))
    );
    assert!(metered.complete);
}

#[test]
fn a_response_tells_its_usage_and_searches() {
    is_the_response(&responses(false).answer(RESPONSE));
    let compact = Call {
        path: "/v1/responses/compact",
        ..responses(false)
    };
    is_the_response(&compact.answer(RESPONSE));
}

#[test]
fn a_streamed_response_tells_them_in_its_last_event() {
    let response = RESPONSE.replace('\n', "");
    let stream = format!(
        concat!(
            "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"status\":\"in_progress\",\"model\":\"gpt-5-2026-01-01\",\"service_tier\":\"auto\",\"usage\":null}}}}\n\n",
            "event: response.output_item.done\ndata: {{\"type\":\"response.output_item.done\",\"item\":{{\"type\":\"web_search_call\",\"action\":{{\"type\":\"search\"}}}}}}\n\n",
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}}\n\n",
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{}}}\n\n"
        ),
        response
    );
    is_the_response(&responses(true).answer(&stream));
    let cut = responses(true).cut(&stream[..stream.len() - 20]);
    assert_eq!(
        (cut.usage.web_search, cut.usage.source, cut.complete),
        (Some(1), UsageSource::Estimated, false)
    );
    assert_eq!(
        (cut.usage.input, cut.usage.output),
        (Some(2), Some(1)),
        "\"hello world\" in, \"hello\" out"
    );
}

const TOOLS: [&str; 6] = [
    r#"{"type":"file_search_call","queries":["a","b"]}"#,
    r#"{"type":"code_interpreter_call","container_id":"cntr_1","code":"1"}"#,
    r#"{"type":"code_interpreter_call","container_id":"cntr_1","code":"2"}"#,
    r#"{"type":"code_interpreter_call","container_id":"cntr_2","code":"3"}"#,
    r#"{"type":"image_generation_call","result":"aGk="}"#,
    r#"{"type":"web_search_call"}"#,
];

#[test]
fn calls_of_the_providers_tools_are_counted_among_the_output() {
    let usage = r#""usage":{"input_tokens":5,"output_tokens":6}"#;
    let whole = format!(r#"{{"status":"completed","output":[{}],{usage}}}"#, TOOLS.join(","));
    let events = TOOLS.map(|item| format!("data: {{\"type\":\"response.output_item.done\",\"item\":{item}}}\n\n"));
    // The last event of some hosts has no output.
    let bare = format!("data: {{\"type\":\"response.completed\",\"response\":{{\"output\":[],{usage}}}}}\n\n");
    let full = format!("data: {{\"type\":\"response.completed\",\"response\":{whole}}}\n\n");
    for metered in [
        responses(false).answer(&whole),
        responses(true).answer(&[&*events.concat(), &bare].concat()),
        responses(true).answer(&[&*events.concat(), &full].concat()),
    ] {
        let usage = metered.usage;
        assert_eq!(
            (usage.web_search, usage.file_search, usage.code_interpreter),
            (Some(1), Some(1), Some(2)),
            "a container is one however often it runs code"
        );
        let unknown: Vec<_> = usage.unknown.iter().map(|field| (&*field.field, field.quantity)).collect();
        assert_eq!(
            unknown,
            [("image_generation_call", 1)],
            "it is billed as a call of another model"
        );
    }
}

#[test]
fn what_a_host_tells_of_its_tools_wins_over_what_is_counted() {
    let usage = responses(false)
        .answer(r#"{"output":[{"type":"web_search_call"}],"usage":{"input_tokens":5,"output_tokens":6},"tool_usage":{"web_search":{"num_requests":3},"image_gen":{"input_tokens":0,"output_tokens":7}}}"#)
        .usage;
    let unknown: Vec<_> = usage.unknown.iter().map(|field| (&*field.field, field.quantity)).collect();
    assert_eq!(
        (usage.web_search, unknown),
        (Some(3), vec![("tool_usage.image_gen.output_tokens", 7)])
    );
}

#[test]
fn a_response_that_failed_or_is_incomplete_is_an_end_too() {
    let stream = "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"},\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n";
    let failed = responses(true).answer(stream);
    assert_eq!(
        (failed.error_type, failed.finish_reason, failed.complete),
        (name("server_error"), name("failed"), true)
    );
    assert_eq!(failed.usage.input, Some(9));
    let stream = "data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n";
    assert_eq!(responses(true).answer(stream).finish_reason, name("max_output_tokens"));
    let error = responses(true).cut(
        "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"m\",\"sequence_number\":1}\n\n",
    );
    assert_eq!(
        (error.error_type, error.complete, error.usage.source),
        (name("rate_limit_exceeded"), false, UsageSource::None)
    );
}

#[test]
fn embeddings_have_input_only() {
    let call = Call::new(
        Codec::openai(),
        "/v1/embeddings",
        r#"{"model":"text-embedding-3-small","input":"hello world"}"#,
    );
    let small = call.answer(r#"{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#);
    assert_eq!(
        (small.usage.input, small.usage.output, small.usage.source),
        (Some(8), None, UsageSource::Reported)
    );
    let floats = vec!["-0.0123456789"; 400_000].join(",");
    let body = format!(
        r#"{{"object":"list","data":[{{"embedding":[{floats}]}}],"model":"text-embedding-3-small","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#
    );
    let large = call.frames(body.as_bytes().chunks(16_384), End::Complete).metered;
    assert_eq!((large.usage, large.response_model), (small.usage, small.response_model));
    let unreported = call.answer(r#"{"object":"list","data":[]}"#);
    assert_eq!(
        (unreported.usage.input, unreported.usage.output, unreported.usage.source),
        (Some(2), None, UsageSource::Estimated)
    );
}

#[test]
fn the_same_host_may_speak_in_anothers_words() {
    let call = Call {
        codec: Codec::anthropic(),
        ..chat()
    };
    assert_eq!(
        call.answer(r#"{"usage":{"prompt_tokens":11,"completion_tokens":2,"cached_tokens":4}}"#)
            .usage
            .cache_read,
        Some(4)
    );
}
