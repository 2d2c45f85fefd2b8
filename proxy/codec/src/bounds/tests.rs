//! Bounds of requests as providers document them.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use proptest::prelude::*;
use tollgate_record::Name;
use tollgate_record::admission::Bounds;

use super::*;
use crate::{AbortRule, Defaults};

const CHAT: &str = "/v1/chat/completions";

/// What a request may use, and what is sent where it is limited to 77 tokens.
fn of(codec: &Codec, target: &str, body: &str) -> (Bounds, String) {
    let endpoint = codec.endpoint(&Method::POST, target.split('?').next().unwrap());
    let headers = HeaderMap::new();
    let body = Bytes::copy_from_slice(body.as_bytes());
    let mut request = codec.read(&endpoint, target, &headers, &body).unwrap();
    let bounds = codec.bounds(&endpoint, target, &headers, &body, &request);
    codec.limit_to(&endpoint, target, &body, &mut request, 77);
    let sent = String::from_utf8(request.upstream_body(&body, None).to_vec()).unwrap();
    assert_eq!(
        bounds.takes_limit,
        request.given_limit.is_some(),
        "what takes a limit is given one: {sent}"
    );
    (bounds, sent)
}

fn chat(body: &str) -> Bounds {
    of(&Codec::openai(), CHAT, body).0
}

fn lent(name: &str) -> Codec {
    Codec::openai().lent_to(Name::new(name).unwrap(), AbortRule::Cancel)
}

#[test]
fn a_chat_is_bounded_by_its_bytes_and_its_limit() {
    // OpenAI's reference, "Create chat completion".
    let body = r#"{"model":"gpt-5","messages":[{"role":"developer","content":"You are a helpful assistant."},{"role":"user","content":"Hello!"}],"max_completion_tokens":100}"#;
    assert_eq!(
        chat(body),
        Bounds {
            input_tokens: body.len() as u64 + REQUEST_TOKENS,
            passes: 1,
            output_tokens: Some(100),
            answers: 1,
            takes_model: true,
            ..Bounds::default()
        }
    );
    let (bounds, sent) = of(&Codec::openai(), CHAT, r#"{"model":"gpt-5","messages":[]}"#);
    assert_eq!((bounds.output_tokens, bounds.takes_limit), (None, true));
    assert_eq!(sent, r#"{"max_completion_tokens":77,"model":"gpt-5","messages":[]}"#);
}

#[test]
fn repeated_limits_count_by_the_largest() {
    let output = |body| chat(body).output_tokens;
    assert_eq!(output(r#"{"max_tokens":1,"max_tokens":100000}"#), Some(100_000));
    assert_eq!(output(r#"{"max_tokens":100000,"max_tokens":1}"#), Some(100_000));
    assert_eq!(output(r#"{"max_tokens":5,"max_completion_tokens":7}"#), Some(7));
    assert_eq!(output(r#"{"max_tokens":null,"max_completion_tokens":7}"#), Some(7));
}

#[test]
fn what_is_no_plain_number_is_no_limit() {
    for value in [
        "null",
        "-1",
        "0",
        "1.5",
        "10.0",
        "1e1",
        "\"10\"",
        "true",
        "[10]",
        "{}",
        "18446744073709551616",
        "1e999",
    ] {
        for body in [
            format!(r#"{{"max_tokens":{value}}}"#),
            format!(r#"{{"max_tokens":10,"max_tokens":{value}}}"#),
        ] {
            let bounds = chat(&body);
            assert_eq!((bounds.output_tokens, bounds.takes_limit), (None, false), "{body}");
        }
    }
    // Some upstreams read names in any case, others do not.
    assert_eq!(chat(r#"{"MAX_TOKENS":10}"#).output_tokens, None);
    assert_eq!(chat(r#"{"max_tokens":10,"Max_Tokens":1000}"#).output_tokens, None);
    assert_eq!(chat(r#"{"maxTokens":10}"#).output_tokens, None);
    assert_eq!(chat(r#"{"max_tok\u0065ns":10}"#).output_tokens, Some(10));
}

#[test]
fn a_limit_counts_where_the_provider_reads_it() {
    let body = r#"{"model":"m","max_completion_tokens":10}"#;
    let output = |codec: &Codec, target: &str| of(codec, target, body).0.output_tokens;
    assert_eq!(output(&lent("groq"), CHAT), Some(10));
    assert_eq!(output(&lent("vllm"), CHAT), None);
    assert_eq!(output(&Codec::mistral(), CHAT), None);
    assert_eq!(output(&Codec::gemini(), "/v1beta/openai/chat/completions"), Some(10));
    let azure = "/openai/deployments/d/chat/completions?api-version=";
    assert_eq!(output(&Codec::azure_openai(), &format!("{azure}2024-06-01")), None);
    assert_eq!(output(&Codec::azure_openai(), &format!("{azure}2024-10-21")), Some(10));
    let both = r#"{"model":"m","max_tokens":5,"max_completion_tokens":10}"#;
    assert_eq!(of(&lent("vllm"), CHAT, both).0.output_tokens, Some(10));
}

#[test]
fn answers_multiply() {
    assert_eq!(chat(r#"{"n":3,"max_tokens":5}"#).answers, 3);
    assert_eq!(chat(r#"{"n":null}"#).answers, 1);
    for odd in ["\"2\"", "2.0", "-1", "0"] {
        assert_eq!(chat(&format!(r#"{{"n":{odd}}}"#)).answers, ANSWERS_MAX, "{odd}");
    }
    let completion = |body| of(&Codec::openai(), "/v1/completions", body).0;
    let bounds = completion(r#"{"model":"gpt-3.5-turbo-instruct","prompt":"Say this is a test","max_tokens":7,"n":2,"best_of":5}"#);
    assert_eq!((bounds.output_tokens, bounds.answers), (Some(7), 5));
    assert_eq!(completion(r#"{"prompt":["a","b","c"],"n":2}"#).answers, 6);
    assert_eq!(completion(r#"{"prompt":[[1,2],[3]]}"#).answers, 2);
    assert_eq!(completion(r#"{"prompt":[1,2,3]}"#).answers, 1);
}

#[test]
fn a_response_has_its_own_limit() {
    let of = |body: &str| of(&Codec::openai(), "/v1/responses", body).0;
    // OpenAI's reference, "Create a model response".
    let bounds = of(r#"{"model":"gpt-5","input":"Tell me a story.","max_output_tokens":500}"#);
    assert_eq!(
        (bounds.output_tokens, bounds.answers, bounds.input_open, bounds.takes_limit),
        (Some(500), 1, false, false)
    );
    let text = r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"c","output":"1"}],"previous_response_id":null,"conversation":null,"text":{"format":{"type":"text"}}}"#;
    let bounds = of(text);
    assert_eq!(
        (bounds.input_open, bounds.output_tokens, bounds.takes_limit),
        (false, None, true)
    );
    for open in [
        r#"{"input":"x","previous_response_id":"resp_1"}"#,
        r#"{"input":"x","conversation":{"id":"conv_1"}}"#,
        r#"{"input":"x","prompt":{"id":"pmpt_1","version":"2"}}"#,
        r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
        r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a/b.png"}]}]}"#,
        r#"{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}"#,
    ] {
        assert!(of(open).input_open, "{open}");
    }
}

#[test]
fn what_is_no_text_leaves_the_input_open() {
    let content = |part: &str| chat(&format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#));
    assert!(!content(r#"{"type":"text","text":"\"type\":\"image_url\""}"#).input_open);
    assert!(content(r#"{"type":"image_url","image_url":{"url":"https://a/b.png"}}"#).input_open);
    assert!(content(r#"{"type":"file","file":{"file_id":"f"}}"#).input_open);
    assert!(content(r#"{"type":"a_part_of_next_year","x":1}"#).input_open);
    let sound = content(r#"{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}"#);
    assert!(sound.input_open && sound.seconds >= 1);
    let elsewhere = of(
        &Codec::mistral(),
        CHAT,
        r#"{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":"https://a/b.mp3"}]}]}"#,
    );
    assert_eq!(elsewhere.0.seconds, FILE_BYTES_MAX.div_ceil(SOUND_BYTES_PER_SECOND));
}

#[test]
fn names_in_schemas_and_arguments_are_no_media() {
    let bounds = chat(
        r#"{"model":"m","messages":[],"metadata":{"image":"x"},"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object",
        "properties":{"image":{"type":"string"},"type":{"type":"string"},"file_id":{"type":"string"}}}}}],"tool_choice":"auto"}"#,
    );
    assert_eq!((bounds.input_open, bounds.tool_calls, bounds.passes), (false, 0, 1));
    let claude = anthropic(
        r#"{"max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"type":"x","image":1}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x"}]}]}]}"#,
    );
    assert!(!claude.input_open);
    let picture = r#"{"max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"base64","data":"x"}}]}]}]}"#;
    assert!(anthropic(picture).input_open);
}

fn anthropic(body: &str) -> Bounds {
    of(&Codec::anthropic(), "/v1/messages", body).0
}

#[test]
fn a_message_has_its_limit_and_its_searches() {
    // Anthropic's reference, "Create a Message", and its documentation of the web search tool.
    let plain = r#"{"model":"claude-opus-5","max_tokens":1024,"messages":[{"role":"user","content":"Hello, world"}]}"#;
    let bounds = anthropic(plain);
    assert_eq!(bounds.input_tokens, plain.len() as u64 + REQUEST_TOKENS);
    assert_eq!(
        (bounds.output_tokens, bounds.answers, bounds.tool_calls, bounds.takes_model),
        (Some(1024), 1, 0, true)
    );
    let searching = |tool: &str| {
        let bounds = anthropic(&format!(r#"{{"max_tokens":1024,"messages":[],"tools":[{tool}]}}"#));
        (bounds.input_open, bounds.tool_calls, bounds.passes)
    };
    assert_eq!(
        searching(r#"{"type":"web_search_20250305","name":"web_search","max_uses":5}"#),
        (true, 5, 6)
    );
    let unlimited = (true, TOOL_CALLS_MAX, ITERATIONS_MAX + 1);
    assert_eq!(searching(r#"{"type":"web_search_20250305","name":"web_search"}"#), unlimited);
    assert_eq!(searching(r#"{"type":"web_search_20250305","max_uses":-1}"#), unlimited);
    assert_eq!(
        searching(r#"{"type":"web_search_20250305","max_uses":1,"max_uses":null}"#),
        unlimited
    );
    assert_eq!(searching(r#"{"name":"f","input_schema":{"type":"object"}}"#), (false, 0, 1));
    assert_eq!(searching(r#"{"type":"bash_20250124","name":"bash"}"#), (false, 0, 1));
}

#[test]
fn tools_add_the_tokens_that_providers_write() {
    let with = |tools: &str| {
        let body = format!(r#"{{"max_tokens":9,"messages":[],"tools":[{tools}]}}"#);
        anthropic(&body).input_tokens - body.len() as u64
    };
    assert_eq!(with(""), REQUEST_TOKENS);
    assert_eq!(with(r#"{"name":"f","input_schema":{}}"#), REQUEST_TOKENS + TOOLS_TOKENS);
    assert_eq!(
        with(r#"{"type":"bash_20250124","name":"bash"}"#),
        REQUEST_TOKENS + TOOLS_TOKENS + OWN_TOOL_TOKENS
    );
}

#[test]
fn thinking_beyond_the_limit_has_none() {
    let thinking = |budget: &str| {
        anthropic(&format!(
            r#"{{"max_tokens":2000,"thinking":{{"type":"enabled","budget_tokens":{budget}}},"messages":[]}}"#
        ))
        .output_tokens
    };
    assert_eq!(thinking("1024"), Some(2000));
    assert_eq!(thinking("30000"), None);
    assert_eq!(thinking("1e9"), None);
    assert_eq!(
        chat(r#"{"max_tokens":5,"prediction":{"type":"content","content":"x"}}"#).output_tokens,
        None
    );
}

#[test]
fn openais_tools_are_limited_together() {
    let of = |body: &str| of(&Codec::openai(), "/v1/responses", body).0;
    let searching = r#""tools":[{"type":"web_search"},{"type":"code_interpreter","container":{"type":"auto"}}]"#;
    let bounds = of(&format!(r#"{{"input":"x",{searching},"max_tool_calls":3}}"#));
    assert_eq!((bounds.input_open, bounds.tool_calls, bounds.passes), (true, 3, 4));
    let bounds = of(&format!(r#"{{"input":"x",{searching}}}"#));
    assert_eq!(
        (bounds.tool_calls, bounds.passes),
        (2 * TOOL_CALLS_MAX, 2 * TOOL_CALLS_MAX + 1)
    );
    let bounds = of(&format!(r#"{{"input":"x",{searching},"max_tool_calls":"3"}}"#));
    assert_eq!(bounds.tool_calls, 2 * TOOL_CALLS_MAX);
    assert_eq!(of(r#"{"input":"x","max_tool_calls":3}"#).tool_calls, 0);
    let search = chat(r#"{"model":"gpt-4o-search-preview","web_search_options":null,"messages":[]}"#);
    assert_eq!((search.input_open, search.tool_calls), (true, TOOL_CALLS_MAX));
    assert!(chat(r#"{"model":"m","web_search_options":{},"messages":[]}"#).input_open);
}

#[test]
fn geminis_limit_stands_inside() {
    let path = "/v1beta/models/gemini-3-pro:generateContent";
    let gemini = |body| of(&Codec::gemini(), path, body).0;
    // Google's reference, "Generating content".
    let bounds = gemini(
        r#"{"contents":[{"parts":[{"text":"Write a story"}]}],"generationConfig":{"stopSequences":["Title"],"maxOutputTokens":800,"candidateCount":2},
        "safetySettings":[{"category":"HARM_CATEGORY_DANGEROUS_CONTENT","threshold":"BLOCK_ONLY_HIGH"}]}"#,
    );
    assert_eq!(
        (
            bounds.output_tokens,
            bounds.answers,
            bounds.input_open,
            bounds.takes_limit,
            bounds.takes_model
        ),
        (Some(800), 2, false, false, false)
    );
    assert_eq!(
        gemini(r#"{"generation_config":{"max_output_tokens":5},"generationConfig":{"maxOutputTokens":9}}"#).output_tokens,
        Some(9)
    );
    let halved = gemini(r#"{"generationConfig":{"maxOutputTokens":5},"generationConfig":{"topK":1}}"#);
    assert_eq!((halved.output_tokens, halved.takes_limit), (None, true));
    for (body, takes) in [
        ("{}", true),
        (r#"{"generationConfig":{}}"#, true),
        (r#"{"generationConfig":null}"#, false),
    ] {
        let bounds = gemini(body);
        assert_eq!((bounds.output_tokens, bounds.takes_limit), (None, takes), "{body}");
    }
    let search = gemini(r#"{"contents":[],"tools":[{"functionDeclarations":[{"name":"f"}]},{"googleSearch":{}}]}"#);
    assert_eq!(
        (search.input_open, search.tool_calls, search.passes),
        (true, TOOL_CALLS_MAX, 2)
    );
    let calls = gemini(
        r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{"image":"x"}}}]}],"tools":[{"functionDeclarations":[]}]}"#,
    );
    assert_eq!((calls.input_open, calls.tool_calls), (false, 0));
    for open in [
        r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"x"}}]}]}"#,
        r#"{"contents":[{"parts":[{"file_data":{"file_uri":"x"}}]}]}"#,
        r#"{"contents":[],"cachedContent":"cachedContents/1"}"#,
    ] {
        assert!(gemini(open).input_open, "{open}");
    }
}

#[test]
fn bedrocks_limits_are_those_of_the_vendor() {
    let output = |path: &str, body: &str| of(&Codec::bedrock(), path, body).0.output_tokens;
    // AWS's reference, "Converse", and "Inference request parameters".
    let converse = "/model/anthropic.claude-opus-5/converse";
    assert_eq!(
        output(
            converse,
            r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":512}}"#
        ),
        Some(512)
    );
    assert_eq!(
        output(
            converse,
            r#"{"inferenceConfig":{"maxTokens":512},"additionalModelRequestFields":{"max_tokens":9999}}"#
        ),
        None
    );
    assert_eq!(
        output(
            converse,
            r#"{"inferenceConfig":{"maxTokens":512},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":4000}}}"#
        ),
        None
    );
    assert_eq!(
        output(
            converse,
            r#"{"inferenceConfig":{"maxTokens":512},"additionalModelRequestFields":{"top_k":5}}"#
        ),
        Some(512)
    );
    for (model, body, expected) in [
        (
            "anthropic.claude-opus-5",
            r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"messages":[]}"#,
            Some(64),
        ),
        (
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fx",
            r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"messages":[]}"#,
            Some(64),
        ),
        (
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fx",
            r#"{"max_tokens":64}"#,
            None,
        ),
        (
            "meta.llama3-1-8b-instruct-v1:0",
            r#"{"prompt":"x","max_gen_len":64}"#,
            Some(64),
        ),
        ("meta.llama3-1-8b-instruct-v1:0", r#"{"prompt":"x","max_tokens":64}"#, None),
        (
            "mistral.mistral-large-2407-v1:0",
            r#"{"prompt":"x","max_tokens":64}"#,
            Some(64),
        ),
        (
            "amazon.titan-text-express-v1",
            r#"{"inputText":"x","textGenerationConfig":{"maxTokenCount":64}}"#,
            Some(64),
        ),
        (
            "amazon.nova-pro-v1:0",
            r#"{"messages":[],"inferenceConfig":{"max_new_tokens":64}}"#,
            Some(64),
        ),
        ("vendor.unknown", r#"{"max_tokens":64}"#, None),
    ] {
        let path = format!("/model/{model}/invoke");
        assert_eq!(output(&path, body), expected, "{model}");
        assert!(!of(&Codec::bedrock(), &path, body).0.takes_limit);
    }
    let drawn = of(
        &Codec::bedrock(),
        "/model/amazon.nova-canvas-v1:0/invoke",
        r#"{"taskType":"TEXT_IMAGE","imageGenerationConfig":{"numberOfImages":3}}"#,
    );
    assert_eq!(drawn.0.images, 3);
}

#[test]
fn what_has_no_answer_of_tokens_has_no_output() {
    let embedded = of(
        &Codec::openai(),
        "/v1/embeddings",
        r#"{"model":"text-embedding-3-small","input":["a","b"],"n":5}"#,
    );
    assert_eq!((embedded.0.answers, embedded.0.output_tokens), (0, None));
    assert!(embedded.0.input_tokens > 0 && embedded.0.takes_model && !embedded.0.takes_limit);
    for path in ["/v1/moderations", "/v1/messages/count_tokens", "/v1/files"] {
        assert_eq!(of(&Codec::openai(), path, r#"{"model":"m"}"#).0, Bounds::default(), "{path}");
    }
    let codec = Codec::openai();
    let endpoint = codec.endpoint(&Method::GET, "/v1/models");
    let headers = HeaderMap::new();
    let bounds = codec.bounds(&endpoint, "/v1/models", &headers, b"", &Request::default());
    assert_eq!(bounds, Bounds::default());
}

#[test]
fn a_batch_is_priced_later_when_it_is_submitted_and_nothing_when_it_is_looked_at() {
    for (codec, path, looks) in [
        (Codec::openai(), "/v1/batches", "/v1/batches/batch_abc123"),
        (
            Codec::anthropic(),
            "/v1/messages/batches",
            "/v1/messages/batches/msgbatch_01/results",
        ),
        (Codec::mistral(), "/v1/batch/jobs", "/v1/batch/jobs/6b1f"),
        (
            Codec::gemini(),
            "/v1beta/models/gemini-3-pro:batchGenerateContent",
            "/v1beta/batches/b1",
        ),
    ] {
        let submitted = of(&codec, path, r#"{"requests":[]}"#).0;
        let later = Bounds {
            later: true,
            ..Bounds::default()
        };
        assert_eq!(submitted, later, "{path}");
        let endpoint = codec.endpoint(&Method::GET, looks);
        let looked = codec.bounds(&endpoint, looks, &HeaderMap::new(), b"", &Request::default());
        assert_eq!(looked, Bounds::default(), "{looks}");
    }
}

#[test]
fn media_are_counted_by_what_bills_them() {
    let images = |body: &str| of(&Codec::openai(), "/v1/images/generations", body).0;
    let bounds = images(r#"{"model":"gpt-image-1","prompt":"a cat","n":3,"size":"1024x1024"}"#);
    assert_eq!(
        (bounds.images, bounds.answers, bounds.output_tokens, bounds.input_open),
        (3, 3, Some(IMAGE_TOKENS), false)
    );
    assert_eq!(images(r#"{"prompt":"a"}"#).images, 1);
    assert_eq!(images(" {\"prompt\":\"a\",\"n\":4}").images, 4);
    let odd = images(r#"{"prompt":"a","n":"2","size":"4096x4096"}"#);
    assert_eq!((odd.images, odd.output_tokens), (IMAGES_MAX, None));
    let speech = of(
        &Codec::openai(),
        "/v1/audio/speech",
        "{\"model\":\"tts-1\",\"input\":\"h\u{e9}\\u00e9\"}",
    );
    assert_eq!(speech.0.characters, 3);
    let pages = |body: &str| of(&Codec::mistral(), "/v1/ocr", body).0.pages;
    assert_eq!(
        pages(r#"{"model":"m","document":{"type":"document_url","document_url":"u"}}"#),
        PAGES_MAX
    );
    assert_eq!(pages(r#"{"model":"m","pages":[0,4],"document":{}}"#), 2);
    let drawn = |parameters: &str| {
        let body = format!(r#"{{"instances":[{{"prompt":"x"}}]{parameters}}}"#);
        of(
            &Codec::gemini(),
            "/v1/projects/p/locations/l/publishers/google/models/imagen-4:predict",
            &body,
        )
        .0
        .images
    };
    assert_eq!((drawn(r#","parameters":{"sampleCount":2}"#), drawn("")), (2, IMAGEN_IMAGES));
    // 300 documents of 10 bytes are three units, and their texts less than one more.
    let documents = vec![r#""ten bytes""#; 300].join(",");
    let ranked = of(
        &Codec::openai(),
        "/v2/rerank",
        &format!(r#"{{"model":"m","query":"q","documents":[{documents}]}}"#),
    );
    assert_eq!(ranked.0.tool_calls, 4);
}

#[test]
fn a_form_is_bounded_by_its_bytes() {
    let part = |name: &str, value: &str| format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, "multipart/form-data; boundary=b".parse().unwrap())]);
    let of = |path: &str, body: String| {
        let codec = Codec::openai();
        let endpoint = codec.endpoint(&Method::POST, path);
        let body = Bytes::from(body);
        let request = codec.read(&endpoint, path, &headers, &body).unwrap();
        codec.bounds(&endpoint, path, &headers, &body, &request)
    };
    let sound = format!("{}{}--b--", part("model", "whisper-1"), part("file", &"x".repeat(75_000)));
    let bytes = sound.len() as u64;
    let bounds = of("/v1/audio/transcriptions", sound);
    assert_eq!((bounds.seconds, bounds.input_open), (bytes.div_ceil(750), true));
    let edit = |n: &str| {
        of(
            "/v1/images/edits",
            format!("{}{}--b--", part("n", n), part("image", "\u{1}PNG")),
        )
        .images
    };
    assert_eq!((edit("2"), edit("two")), (2, IMAGES_MAX));
    let referred = of("/v1/audio/transcriptions", format!("{}--b--", part("url", "https://a/b.mp3")));
    assert_eq!(referred.seconds, FILE_BYTES_MAX.div_ceil(750));
}

#[test]
fn a_model_that_falls_back_to_others_cannot_be_renamed() {
    let takes = |body| chat(body).takes_model;
    assert!(takes(r#"{"model":"a"}"#));
    for body in [r#"{"model":"a","models":["b"]}"#, r#"{"model":"a","Model":"b"}"#, "{}"] {
        assert!(!takes(body), "{body}");
    }
}

#[test]
fn a_limit_that_is_given_bounds_the_answer_and_the_smallest_holds() {
    let codec = Codec::openai();
    let endpoint = codec.endpoint(&Method::POST, CHAT);
    let headers = HeaderMap::new();
    let body = Bytes::from_static(b"{}");
    let mut request = codec.read(&endpoint, CHAT, &headers, &body).unwrap();
    let defaults = Defaults {
        model: Name::new("m").ok(),
        max_tokens: Some(64),
    };
    codec.complete(&endpoint, CHAT, &body, &mut request, &defaults);
    let bounds = codec.bounds(&endpoint, CHAT, &headers, &body, &request);
    assert_eq!(
        (bounds.output_tokens, bounds.takes_limit, bounds.takes_model),
        (Some(64), true, true)
    );
    codec.limit_to(&endpoint, CHAT, &body, &mut request, 100);
    codec.limit_to(&endpoint, CHAT, &body, &mut request, 10);
    assert_eq!(
        request.upstream_body(&body, None),
        r#"{"model":"m","max_completion_tokens":10}"#.as_bytes()
    );
    assert_eq!(
        request.upstream_body(&body, Some("other")),
        r#"{"model":"other","max_completion_tokens":10}"#.as_bytes()
    );
    assert_eq!(
        codec.bounds(&endpoint, CHAT, &headers, &body, &request).output_tokens,
        Some(10)
    );
}

#[test]
fn a_body_that_cannot_be_read_is_open() {
    let codec = Codec::bedrock();
    let path = "/model/amazon.nova-pro-v1:0/converse";
    let deep = format!("{}{}", r#"{"a":"#.repeat(500), "}".repeat(500));
    for body in ["", "not json", "[1]", r#"{"inferenceConfig":{"maxTokens":5}"#, deep.as_str()] {
        let bounds = of(&codec, path, body).0;
        assert!(
            bounds.input_open && bounds.output_tokens.is_none() && bounds.answers == ANSWERS_MAX && !bounds.takes_limit,
            "{body}"
        );
    }
}

/// A conversation with one part, as deep inside of parts as is told.
fn nested(part: &str, deep: usize) -> String {
    let (before, after) = (r#"{"type":"tool_result","content":["#.repeat(deep), "]}".repeat(deep));
    format!(r#"{{"model":"claude-opus-4-6","max_tokens":5,"messages":[{{"role":"user","content":[{before}{part}{after}]}}]}}"#)
}

#[test]
fn parts_are_seen_however_deep_they_lie() {
    let bounds = |part, deep| of(&Codec::anthropic(), "/v1/messages", &nested(part, deep)).0;
    for deep in 0..8 {
        let text = bounds(r#"{"type":"text","text":"no \"type\": \"image\""}"#, deep);
        assert!(!text.input_open && text.output_tokens == Some(5), "{deep}: {text:?}");
        for other in [
            r#"{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}"#,
            r#"{"type":"text","text":["not a text",{"type":"document"}]}"#,
        ] {
            let bounds = bounds(other, deep);
            assert!(bounds.input_open && bounds.output_tokens == Some(5), "{deep}: {bounds:?}");
        }
    }
    let beyond = bounds(r#"{"type":"text","text":""}"#, 10_000);
    assert!(beyond.input_open && beyond.output_tokens.is_none());
}

/// A value of JSON, with escapes of every kind where a text has room for them.
fn written(text: &str, escaped: bool) -> String {
    if !escaped {
        return serde_json::Value::from(text).to_string();
    }
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_bound_is_at_least_what_the_vocabularies_count(
        texts in prop::collection::vec((any::<String>(), any::<bool>()), 1..6),
        n in 1_u64..5,
        limit in prop::option::of(1_u64..10_000),
    ) {
        let messages: Vec<String> = texts
            .iter()
            .map(|(text, escaped)| format!(r#"{{"role":"user","content":{}}}"#, written(text, *escaped)))
            .collect();
        let limit_member = limit.map_or(String::new(), |limit| format!(r#","max_tokens":{limit}"#));
        let body = format!(r#"{{"model":"m","n":{n}{limit_member},"messages":[{}]}}"#, messages.join(","));
        let bounds = chat(&body);
        for vocabulary in [tiktoken_rs::o200k_base_singleton(), tiktoken_rs::cl100k_base_singleton()] {
            let counted: u64 = texts.iter().map(|(text, _)| vocabulary.encode_ordinary(text).len() as u64 + 4).sum();
            prop_assert!(bounds.input_tokens >= counted + 3, "{} < {counted}", bounds.input_tokens);
        }
        prop_assert!(!bounds.input_open);
        prop_assert_eq!((bounds.answers, bounds.output_tokens), (n, limit));
    }

    /// Whatever is in front of or behind a limit, no upstream can take a larger one than is told.
    #[test]
    fn no_upstream_can_take_a_larger_limit(values in prop::collection::vec(
        prop_oneof![
            (0_u64..2000).prop_map(|count| count.to_string()),
            Just("null".to_owned()), Just("-5".to_owned()), Just("1e6".to_owned()), Just("\"9\"".to_owned()),
        ], 1..4), names in prop::collection::vec(0_usize..3, 4)) {
        let keys = ["max_tokens", "max_completion_tokens", "Max_Tokens"];
        let members: BTreeSet<String> = values.iter().zip(&names).map(|(value, name)| format!("\"{}\":{value}", keys[*name])).collect();
        let members: Vec<String> = members.into_iter().collect();
        let bounds = chat(&format!("{{{}}}", members.join(",")));
        if let Some(limit) = bounds.output_tokens {
            for value in &values {
                prop_assert!(value == "null" || value.parse::<u64>().is_ok_and(|value| value <= limit));
            }
        }
    }
}
