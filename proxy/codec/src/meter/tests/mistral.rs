//! Expected numbers follow genai-prices 0.2.3 (`mistral`) and Mistral's documentation of chat completion, audio transcription and OCR.

use super::*;

fn chat() -> Call {
    Call::stream(
        Codec::mistral(),
        "/v1/chat/completions",
        r#"{"model":"mistral-large-latest","stream":true,"messages":[{"role":"user","content":"hello world"}]}"#,
    )
}

#[test]
fn usage_comes_unasked_on_the_last_chunk_with_content() {
    let stream = concat!(
        "data: {\"id\":\"c\",\"model\":\"mistral-large-2512\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"model\":\"mistral-large-2512\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,\"total_tokens\":130,\"completion_tokens\":30,\"prompt_tokens_details\":{\"cached_tokens\":64}}}\n\n",
        "data: [DONE]\n\n",
    );
    let metered = chat().answer(stream);
    assert_eq!(
        (metered.usage.input, metered.usage.cache_read, metered.usage.output),
        (Some(100), Some(64), Some(30))
    );
    assert_eq!(
        (metered.response_model, metered.finish_reason, metered.complete),
        (name("mistral-large-2512"), name("stop"), true)
    );
}

#[test]
fn sound_is_told_by_its_length_and_its_tokens_are_not_billed_twice() {
    let call = Call::new(Codec::mistral(), "/v1/audio/transcriptions", "{}");
    let usage = call
        .answer(
            r#"{"model":"voxtral-mini-2602","text":"hello","segments":[],"usage":{"prompt_audio_seconds":203,"prompt_tokens":4,"total_tokens":3264,"completion_tokens":635}}"#,
        )
        .usage;
    // 3264 - 4 - 635 = 2625 tokens of sound, in the total only.
    assert_eq!(
        usage,
        Usage {
            source: UsageSource::Reported,
            input: Some(4 + 2625),
            unbilled_in: Some(2625),
            output: Some(635),
            media_us: Some(203_000_000),
            ..Usage::default()
        }
    );
    let silent = chat().answer("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5,\"total_tokens\":9,\"prompt_audio_seconds\":null}}\n\ndata: [DONE]\n\n");
    assert_eq!((silent.usage.media_us, silent.usage.unknown.len()), (None, 0));
}

#[test]
fn documents_are_billed_by_the_page() {
    let ocr = |request: &str| Call::new(Codec::mistral(), "/v1/ocr", request);
    let body = r#"{"pages":[{"index":0,"markdown":"hi"}],"model":"mistral-ocr-2512","usage_info":{"pages_processed":29,"doc_size_bytes":null}}"#;
    let plain = ocr(r#"{"model":"mistral-ocr-latest","document_annotation_format":null}"#).answer(body);
    assert_eq!(
        plain.usage,
        Usage {
            source: UsageSource::Reported,
            pages: Some(29),
            ..Usage::default()
        }
    );
    assert_eq!((plain.response_model, plain.complete), (name("mistral-ocr-2512"), true));
    // Annotated pages have a price of their own, and no meter: the row is not priced whole.
    let annotated = ocr(r#"{"model":"mistral-ocr-latest","document_annotation_format":{"type":"json_schema"}}"#).answer(body);
    let unknown: Vec<_> = annotated
        .usage
        .unknown
        .iter()
        .map(|field| (&*field.field, field.quantity))
        .collect();
    assert_eq!((annotated.usage.pages, unknown), (Some(29), vec![("annotated_pages", 29)]));
    let vertex = Call::new(
        Codec::gemini(),
        "/v1/projects/p/locations/l/publishers/mistralai/models/mistral-ocr-2505:rawPredict",
        "{}",
    );
    assert_eq!(vertex.answer(body).usage.pages, Some(29));
}

#[test]
fn errors_are_the_whole_answer() {
    let body = r#"{"object":"error","message":"Service tier capacity exceeded","type":"invalid_request_error","param":null,"code":"3505"}"#;
    let chat = Call {
        headers: vec![("content-type", "application/json".into())],
        ..chat()
    };
    let metered = chat.status(429).answer(body);
    assert_eq!(
        (metered.error_type, metered.usage),
        (name("invalid_request_error"), Usage::default())
    );
    let ocr = Call::new(Codec::mistral(), "/v1/ocr", "{}").status(429).answer(body);
    assert_eq!((ocr.error_type, ocr.usage), (name("invalid_request_error"), Usage::default()));
}
