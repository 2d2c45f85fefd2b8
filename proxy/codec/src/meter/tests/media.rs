//! Expected numbers follow openai 2.54.0: `types/images_response.py`, `types/image_gen_completed_event.py`, `types/audio/transcription.py`,
//! `types/audio/transcription_verbose.py`, `types/audio/transcription_text_done_event.py`.

use super::*;

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";

fn images() -> Call {
    Call::new(
        Codec::openai(),
        "/v1/images/generations",
        r#"{"model":"gpt-image-1.5","prompt":"hello world","n":2}"#,
    )
}

pub(in super::super) fn images_stream() -> Call {
    Call::stream(
        Codec::openai(),
        "/v1/images/edits",
        r#"{"model":"gpt-image-1.5","prompt":"hello world","stream":true}"#,
    )
}

pub(in super::super) const IMAGES: &str = concat!(
    "event: image_edit.partial_image\ndata: {\"type\":\"image_edit.partial_image\",\"b64_json\":\"aGk=\",\"partial_image_index\":0}\n\n",
    "event: image_edit.completed\ndata: {\"type\":\"image_edit.completed\",\"b64_json\":\"aGk=\",\"usage\":{\"total_tokens\":4400,\"input_tokens\":240,\"output_tokens\":4160,\"input_tokens_details\":{\"text_tokens\":40,\"image_tokens\":200}}}\n\n",
);

fn transcribed(form: &str) -> Call {
    Call {
        sent_as: "multipart/form-data; boundary=b",
        ..Call::new(Codec::openai(), "/v1/audio/transcriptions", form)
    }
}

pub(in super::super) fn transcribed_stream() -> Call {
    Call {
        headers: vec![("content-type", "text/event-stream".into())],
        ..transcribed(FORM)
    }
}

pub(in super::super) const TRANSCRIPT: &str = concat!(
    "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hello\"}\n\n",
    "data: {\"type\":\"transcript.text.done\",\"text\":\"hello\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":4,\"audio_tokens\":10},\"output_tokens\":45,\"total_tokens\":59}}\n\n",
);

#[test]
fn images_have_text_and_image_tokens_inside_the_counts() {
    let usage = images()
        .answer(
            r#"{"created":1,"data":[{"b64_json":"aGk="},{"b64_json":"aGk="}],"usage":{"total_tokens":4410,"input_tokens":250,"output_tokens":4160,
            "input_tokens_details":{"text_tokens":50,"image_tokens":200},"output_tokens_details":{"text_tokens":60,"image_tokens":4100}}}"#,
        )
        .usage;
    assert_eq!(
        usage,
        Usage {
            source: UsageSource::Reported,
            input: Some(250),
            image_in: Some(200),
            output: Some(4160),
            image_out: Some(4100),
            ..Usage::default()
        },
        "what is told in tokens is not told in images too"
    );
}

#[test]
fn images_without_usage_are_counted_one_by_one() {
    let metered = images().answer(r#"{"created":1,"data":[{"url":"u"},{"url":"v"}]}"#);
    assert_eq!(
        metered.usage,
        Usage {
            source: UsageSource::Reported,
            images: Some(2),
            ..Usage::default()
        }
    );
}

#[test]
fn streamed_images_tell_their_usage_when_they_are_whole() {
    let metered = images_stream().answer(IMAGES);
    assert_eq!(
        (
            metered.usage.input,
            metered.usage.image_in,
            metered.usage.output,
            metered.complete
        ),
        (Some(240), Some(200), Some(4160), true)
    );
    let partial = IMAGES.split("event: image_edit.completed").next().unwrap();
    let cut = images_stream().cut(partial);
    // Nothing tells what it used, and it may have cost something.
    assert_eq!((cut.complete, cut.usage.unknown.len()), (false, 1));
}

#[test]
fn speech_is_billed_by_the_character_of_the_request() {
    let call = Call {
        headers: vec![("content-type", "audio/mpeg".into())],
        ..Call::new(
            Codec::openai(),
            "/v1/audio/speech",
            r#"{"model":"tts-1","input":"h\u00e9llo w\ud83c\udf0drld\n","voice":"alloy"}"#,
        )
    };
    let metered = call.answer_bytes(&[0, 1, 2, 255]);
    assert_eq!(
        metered.usage,
        Usage {
            // The gateway counted them: "héllo w🌍rld" and a line end.
            source: UsageSource::Estimated,
            characters: Some(12),
            ..Usage::default()
        }
    );
    assert!(metered.complete && !call.meter().needs_estimate());
    assert_eq!(call.status(500).answer_bytes(b"{}").usage, Usage::default());
}

#[test]
fn streamed_speech_tells_tokens_in_place_of_characters() {
    let call = Call::stream(
        Codec::openai(),
        "/v1/audio/speech",
        r#"{"model":"gpt-4o-mini-tts","input":"hello","stream_format":"sse"}"#,
    );
    let delta = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"aGk=\"}\n\n";
    let done =
        "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n";
    let metered = call.answer(&[delta, done].concat());
    assert_eq!(
        (metered.usage.input, metered.usage.output, metered.usage.characters),
        (Some(14), Some(101), None)
    );
    assert!(metered.complete);
    assert_eq!(call.cut(delta).usage.characters, Some(5));
}

#[test]
fn a_transcription_tells_tokens_or_seconds() {
    let tokens = transcribed(FORM).answer(
        r#"{"text":"hello","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,"total_tokens":59}}"#,
    );
    let expected = Usage {
        source: UsageSource::Reported,
        input: Some(14),
        audio_in: Some(10),
        output: Some(45),
        ..Usage::default()
    };
    assert_eq!(tokens.usage, expected);
    assert_eq!(transcribed_stream().answer(TRANSCRIPT).usage, expected);
    let of = |body: &str| {
        let usage = transcribed(FORM).answer(body).usage;
        assert_eq!((usage.input, usage.unknown.len()), (None, 0));
        usage.media_us
    };
    assert_eq!(
        of(r#"{"text":"hello","usage":{"type":"duration","seconds":9}}"#),
        Some(9_000_000)
    );
    assert_eq!(
        of(r#"{"text":"hello","usage":{"type":"duration","seconds":8.47}}"#),
        Some(8_470_000)
    );
    // What is billed wins over what was measured.
    assert_eq!(
        of(r#"{"text":"hello","duration":8.470000267028809,"usage":{"type":"duration","seconds":9}}"#),
        Some(9_000_000)
    );
    assert_eq!(of(r#"{"text":"hello","duration":8.470000267028809}"#), Some(8_470_000));
}

#[test]
fn a_format_without_usage_never_looks_free() {
    let srt = Call {
        headers: vec![("content-type", "text/plain; charset=utf-8".into())],
        ..transcribed(FORM)
    };
    let usage = srt.answer("1\n00:00:00,000 --> 00:00:08,470\nhello\n").usage;
    assert_eq!((usage.media_us, usage.unknown.len()), (None, 1));
}

#[test]
fn a_forms_model_is_the_one_that_is_asked_for() {
    let call = transcribed(FORM);
    let endpoint = call.codec.endpoint(&Method::POST, call.path);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, call.sent_as.parse().unwrap())]);
    let body = Bytes::copy_from_slice(FORM.as_bytes());
    let request = call.codec.read(&endpoint, call.path, &headers, &body).unwrap();
    assert_eq!((request.model, request.stream), (name("whisper-1"), false));
}
