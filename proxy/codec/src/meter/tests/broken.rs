//! Answers that end early, never come, or cannot be read.

use super::anthropic::{DELTA, START, STOP};
use super::openai::{CHUNKS, DONE, USAGE_CHUNK};
use super::*;

const REQUEST: &str = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hello world"}]}"#;

fn chat() -> Call {
    Call::stream(Codec::openai(), "/v1/chat/completions", REQUEST)
}

fn message() -> Call {
    Call::stream(
        Codec::anthropic(),
        "/v1/messages",
        r#"{"model":"claude-opus-5","messages":[{"role":"user","content":"hello world"}]}"#,
    )
}

fn document() -> Call {
    Call::new(Codec::openai(), "/v1/chat/completions", REQUEST)
}

#[test]
fn a_stream_without_its_terminal_event_is_not_complete() {
    let unended = chat()
        .frames([[CHUNKS, USAGE_CHUNK].concat().as_bytes()], End::Complete)
        .metered;
    assert!(!unended.complete);
    assert_eq!(
        (unended.usage.input, unended.usage.source),
        (Some(100), UsageSource::Reported),
        "what was reported stays"
    );
    let left = chat()
        .frames([[CHUNKS, USAGE_CHUNK, DONE].concat().as_bytes()], End::Aborted)
        .metered;
    assert!(left.complete, "the client left after the end");
    assert!(
        !message()
            .frames([[START, DELTA].concat().as_bytes()], End::Complete)
            .metered
            .complete
    );
}

#[test]
fn an_aborted_stream_is_estimated_by_what_was_seen() {
    let metered = chat().frames([CHUNKS.as_bytes()], End::Aborted).metered;
    assert_eq!((metered.usage.source, metered.complete), (UsageSource::Estimated, false));
    // "hello world" and 3 + 3 tokens in; `say "usage":{} twice` out.
    assert_eq!(metered.usage.input, Some(8));
    let output = metered.usage.output.unwrap();
    assert!((5..=9).contains(&output), "{output}");
}

#[test]
fn input_that_was_reported_stays_and_the_placeholder_of_the_output_gives_way() {
    let metered = message().cut(START);
    assert_eq!(
        (metered.usage.input, metered.usage.cache_read, metered.usage.cache_creation_1h),
        (Some(1325), Some(1000), Some(100))
    );
    // "hello world": 2 tokens of o200k_base, at 6/5.
    assert_eq!(
        (metered.usage.output, metered.usage.source),
        (Some(3), UsageSource::Estimated)
    );
    let told = message().cut(&[START, DELTA].concat());
    assert_eq!(
        (told.usage.output, told.usage.source, told.complete),
        (Some(15), UsageSource::Reported, false)
    );
    assert!(message().cut(STOP).complete);
}

#[test]
fn running_totals_of_a_cut_stream_are_not_the_last_word() {
    let metered = chat()
        .cut("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n");
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.usage.source),
        (Some(7), Some(2), UsageSource::Estimated)
    );
}

#[test]
fn usage_that_never_comes_is_estimated() {
    let call = document();
    let mut meter = call.meter();
    meter.frame(Bytes::from_static(
        br#"{"model":"gpt-4o-2024-08-06","choices":[{"message":{"content":"hello world"},"finish_reason":"stop"}]}"#,
    ));
    meter.finish();
    assert!(meter.needs_estimate());
    let metered = meter.metered(End::Complete);
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.usage.source),
        (Some(8), Some(2), UsageSource::Estimated)
    );
    assert!(metered.complete);
    let ended = chat().answer(&[CHUNKS, DONE].concat());
    assert_eq!(
        (ended.usage.input, ended.usage.source, ended.complete),
        (Some(8), UsageSource::Estimated, true)
    );
}

#[test]
fn no_estimate_is_needed_for_what_was_reported() {
    let mut meter = chat().meter();
    assert!(meter.needs_estimate());
    meter.frame(Bytes::from(CHUNKS));
    assert!(meter.needs_estimate());
    meter.frame(Bytes::from(USAGE_CHUNK));
    assert!(!meter.needs_estimate());
    let mut meter = document().meter();
    meter.frame(Bytes::from_static(br#"{"usage":{"prompt_tokens":1,"completion_tokens":2}}"#));
    meter.finish();
    assert!(!meter.needs_estimate());
    assert!(!document().status(500).meter().needs_estimate());
}

#[test]
fn an_answer_that_never_began_has_an_input_and_an_unknown_output() {
    let (codec, path) = (Codec::openai(), "/v1/chat/completions");
    let body = Bytes::from_static(REQUEST.as_bytes());
    let endpoint = codec.endpoint(&Method::POST, path);
    let request = codec.read(&endpoint, path, &HeaderMap::new(), &body).unwrap();
    let mut meter = Meter::unanswered(&endpoint, &request, body);
    assert!(meter.needs_estimate());
    let metered = meter.metered(End::Aborted);
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.usage.source),
        (Some(8), None, UsageSource::Estimated)
    );
}

#[test]
fn a_document_that_was_cut_is_estimated() {
    let metered = document().cut(r#"{"choices":[{"message":{"content":"hello wor"#);
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.complete),
        (Some(8), Some(11), false)
    );
    let whole = document()
        .frames(
            [br#"{"usage":{"prompt_tokens":1,"completion_tokens":2}}"#.as_slice()],
            End::Aborted,
        )
        .metered;
    assert_eq!((whole.usage.source, whole.complete), (UsageSource::Reported, true));
}

#[test]
fn usage_of_a_very_long_document_is_found_at_its_end() {
    let text = "x".repeat(WHOLE_BYTES_MAX);
    let body = format!(
        r#"{{"model":"gpt-4o","choices":[{{"message":{{"content":"{text}"}}}}],"usage":{{"prompt_tokens":1,"completion_tokens":2}}}}"#
    );
    let metered = document().frames(body.as_bytes().chunks(1 << 16), End::Complete).metered;
    assert_eq!((metered.usage.input, metered.usage.output), (Some(1), Some(2)));
    assert_eq!((metered.response_model, metered.complete), (name("gpt-4o"), true));
}

#[test]
fn a_coding_that_is_not_known_is_passed_on_and_estimated_by_bytes() {
    let call = chat().header("content-encoding", "compress");
    let metered = call.answer(&[CHUNKS, DONE].concat());
    assert_eq!(metered.usage.output, Some(([CHUNKS, DONE].concat().len() as u64).div_ceil(4)));
    assert_eq!((metered.usage.source, metered.complete), (UsageSource::Estimated, true));
    assert!(!call.frames([b"x".as_slice()], End::Cut).metered.complete);
}

#[test]
fn text_that_is_not_what_its_coding_says_is_passed_on() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let body = "this is not compressed at all, whatever the head says";
        let metered = chat().header("content-encoding", coding).answer(body);
        assert_eq!(metered.usage.source, UsageSource::Estimated, "{coding}");
    }
}

#[test]
fn a_decompression_bomb_is_passed_on_and_no_longer_read() {
    // A brotli of zeros: some hundred bytes for 300 MiB.
    let mut bomb = Vec::new();
    {
        let mut encoder = brotli::CompressorWriter::new(&mut bomb, 1 << 16, 1, 22);
        let zeros = vec![b' '; 1 << 20];
        for _ in 0..300 {
            encoder.write_all(&zeros).unwrap();
        }
    }
    let call = document().header("content-encoding", "br");
    let mut meter = call.meter();
    for frame in bomb.chunks(1 << 14) {
        assert_eq!(meter.frame(Bytes::copy_from_slice(frame)).bytes, frame);
    }
    assert!(meter.unreadable);
    meter.finish();
    assert!(meter.needs_estimate());
    assert_eq!(meter.metered(End::Complete).usage.source, UsageSource::Estimated);
}
