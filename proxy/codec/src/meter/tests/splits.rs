//! However an answer is cut into frames, and however it is compressed, the same is metered and the same is sent.

use proptest::prelude::*;

use super::anthropic::{DELTA, START, STOP};
use super::openai::{CHUNKS, DONE, USAGE_CHUNK};
use super::*;
use super::{bedrock, cohere, gemini, media};

/// Every kind of answer, with its call.
fn answers() -> Vec<(Call, Vec<u8>)> {
    let chat = |options: &str| {
        let request = format!(r#"{{"model":"gpt-5","stream":true{options},"messages":[]}}"#);
        Call::stream(Codec::openai(), "/v1/chat/completions", &request)
    };
    let message = || {
        Call::stream(
            Codec::anthropic(),
            "/v1/messages",
            r#"{"model":"claude-opus-5","messages":[]}"#,
        )
    };
    let response = concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m\"}}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\ndata: \"response\":{\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}}\n\n",
    );
    let document = r#"{"model":"m","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":8}}"#;
    let texts = vec![
        (chat(""), [": hello\n\n", CHUNKS, USAGE_CHUNK, DONE].concat()),
        (chat(""), [CHUNKS, USAGE_CHUNK, DONE].concat().replace('\n', "\r\n")),
        (chat(""), [CHUNKS, USAGE_CHUNK, DONE].concat().replace('\n', "\r")),
        (
            chat(r#","stream_options":{"include_usage":true}"#),
            [CHUNKS, USAGE_CHUNK, DONE].concat(),
        ),
        (message(), [START, DELTA, STOP].concat()),
        (message(), [START, DELTA, STOP].concat().replace('\n', "\r\n")),
        (Call::stream(Codec::openai(), "/v1/responses", "{}"), response.to_owned()),
        (Call::new(Codec::openai(), "/v1/chat/completions", "{}"), document.to_owned()),
        (gemini::events(), gemini::sse("\r\n")),
        (gemini::elements(), gemini::array()),
        (media::transcribed_stream(), media::TRANSCRIPT.to_owned()),
        (media::images_stream(), media::IMAGES.to_owned()),
        (cohere::stream(), cohere::EVENTS.to_owned()),
    ];
    let frames = [
        (bedrock::converse_stream(), bedrock::conversation()),
        (bedrock::invoke_stream(bedrock::CLAUDE), bedrock::claude()),
        (bedrock::invoke_stream(bedrock::LLAMA), bedrock::llama()),
    ];
    let texts = texts.into_iter().map(|(call, text)| (call, text.into_bytes()));
    texts.chain(frames).collect()
}

#[test]
fn every_split_in_two_meters_and_sends_the_same() {
    for (call, text) in answers() {
        let whole = call.frames([&*text], End::Complete);
        assert!(whole.metered.complete && whole.metered.usage.source == UsageSource::Reported);
        for at in 0..text.len() {
            let (first, second) = text.split_at(at);
            assert_eq!(call.frames([first, second], End::Complete), whole, "split at {at}");
        }
        assert_eq!(call.frames(text.chunks(1), End::Complete), whole);
    }
}

#[test]
fn usage_behind_the_terminal_event_is_metered_and_sent_however_it_is_cut() {
    let stream = [CHUNKS, DONE, USAGE_CHUNK].concat();
    let call = || Call::stream(Codec::openai(), "/v1/chat/completions", r#"{"model":"m","stream":true}"#);
    for at in 0..stream.len() {
        let (first, second) = stream.as_bytes().split_at(at);
        let seen = call().frames([first, second], End::Complete);
        assert_eq!(seen.sent, stream, "split at {at}");
        assert_eq!(
            (seen.metered.usage.input, seen.metered.usage.source),
            (Some(100), UsageSource::Reported),
            "split at {at}"
        );
    }
    // What belongs to an event that is taken out is not sent, though the terminal event is in it.
    let odd = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7}}\ndata: [DONE]\n\ndata: 1\n\n";
    let whole = call().frames([odd.as_bytes()], End::Complete);
    for at in 0..odd.len() {
        let (first, second) = odd.as_bytes().split_at(at);
        assert_eq!(call().frames([first, second], End::Complete), whole, "split at {at}");
    }
    assert_eq!(whole.sent, "data: 1\n\n");
}

#[test]
fn compressed_answers_are_metered_and_sent_as_they_are() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for (call, text) in answers() {
            let metered = call.frames([&*text], End::Complete).metered;
            let body = compressed(coding, &text);
            let call = call.header("content-encoding", coding);
            for size in [1, 7, body.len()] {
                let seen = call.frames(body.chunks(size), End::Complete);
                assert_eq!(seen.metered, metered, "{coding}");
                assert_eq!(seen.sent, body);
            }
        }
    }
}

#[test]
fn the_end_of_a_compressed_stream_is_seen_in_the_frame_that_holds_it() {
    // Flushed after each event, as servers do that compress streams.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut meter = Call::stream(Codec::anthropic(), "/v1/messages", "{}")
        .header("content-encoding", "gzip")
        .meter();
    for (event, ends) in [(START, false), (DELTA, false), (STOP, true)] {
        encoder.write_all(event.as_bytes()).unwrap();
        encoder.flush().unwrap();
        let frame = std::mem::take(encoder.get_mut());
        assert_eq!(meter.frame(frame.into()).ended, ends);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_frames_meter_and_send_the_same(
        which in 0..16_usize,
        coding in prop::sample::select(vec!["identity", "gzip", "deflate", "br", "zstd"]),
        sizes in prop::collection::vec(1..200_usize, 1..40),
    ) {
        let (call, text) = answers().swap_remove(which);
        let body = compressed(coding, &text);
        let call = call.header("content-encoding", coding);
        let whole = call.frames([&*body], End::Complete);
        let mut frames = Vec::new();
        let (mut rest, mut sizes) = (&*body, sizes.iter().cycle());
        while !rest.is_empty() {
            let (frame, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            frames.push(frame);
            rest = after;
        }
        prop_assert_eq!(call.frames(frames, End::Complete), whole);
    }

    #[test]
    fn no_bytes_make_a_meter_fail(body in prop::collection::vec(any::<u8>(), 0..400), which in 0..16_usize, size in 1..50_usize) {
        let (call, _) = answers().swap_remove(which);
        call.frames(body.chunks(size), End::Cut);
        let text = format!("data: {{\"type\":{}\n\n", String::from_utf8_lossy(&body));
        let seen = call.frames(text.as_bytes().chunks(size), End::Cut);
        prop_assert_eq!(&*seen.sent, text.as_bytes());
    }

    /// What is damaged on its way may be metered as anything, but is sent on as it came, wherever frames end.
    #[test]
    fn damaged_answers_do_not_make_a_meter_fail(
        which in 0..16_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        size in 1..200_usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let (call, mut text) = answers().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        text.truncate(cut.index(text.len()) + 1);
        let whole = call.frames([&*text], End::Cut);
        let framed = call.frames(text.chunks(size), End::Cut);
        prop_assert_eq!(&framed, &whole);
        if !call.request.contains("\"stream\":true") || call.request.contains("include_usage") {
            prop_assert_eq!(&*whole.sent, &*text);
        }
    }
}
