//! Images, speech and transcriptions on the wire.

use super::*;

const TRANSCRIBE: &str = "/v1/audio/transcriptions";

fn picture(stream: bool) -> Value {
    json!({"model": "gpt-image-1", "prompt": "12345678", "size": "1024x1536", "quality": "low", "stream": stream,
        "partial_images": if stream { json!(2) } else { Value::Null }})
}

async fn transcribe(simulator: &Simulator, directives: &str, fields: &[(&str, &str)]) -> Reply {
    let mut form = String::new();
    for (name, value) in fields.iter().chain(&[("file", "the bytes of a file")]) {
        form += &format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    let headers =
        format!("authorization: Bearer k\r\ncontent-type: multipart/form-data; boundary=b\r\nx-simulate: {directives}\r\n");
    read(simulator.open_with(TRANSCRIBE, &headers, &(form + "--b--\r\n")).await).await
}

#[tokio::test]
async fn images_count_text_and_images_apart() {
    let simulator = Simulator::start().await;
    let path = "/v1/images/generations";
    let whole = simulator.ask(path, "image_in=10", &picture(false)).await.json();
    let usage = json!({"input_tokens": 12, "output_tokens": 408, "total_tokens": 420,
        "input_tokens_details": {"text_tokens": 2, "image_tokens": 10},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 408}});
    assert_eq!(whole["usage"], usage);
    let data = simulator.ask(path, "image_in=10", &picture(true)).await.data();
    let kinds: Vec<&Value> = data.iter().map(|event| &event["type"]).collect();
    let (partial, completed) = ("image_generation.partial_image", "image_generation.completed");
    assert_eq!(kinds, [partial, partial, completed]);
    assert_eq!((data[0].get("usage"), &data[2]["usage"]), (None, &usage));
    let dalle = json!({"model": "dall-e-3", "prompt": "x", "n": 2});
    let old = simulator.ask(path, "", &dalle).await.json();
    assert_eq!((old.get("usage"), old["data"].as_array().unwrap().len()), (None, 2));
    assert_eq!(simulator.ask(path, "cache_read=1", &picture(false)).await.status, 400);
    simulator.stop().await;
}

#[tokio::test]
async fn speech_is_bytes_or_events() {
    let simulator = Simulator::start().await;
    let mut body = json!({"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "hello"});
    let bytes = simulator.ask("/v1/audio/speech", "bytes=1000; chunks=4", &body).await;
    assert_eq!(
        (bytes.header("content-type"), bytes.bytes.len(), bytes.chunks.len()),
        (Some("audio/mpeg"), 1000, 4)
    );
    assert_eq!(bytes.bytes[..4], [0xff, 0xfb, 0x90, 0xc4]);
    body["stream_format"] = json!("sse");
    let data = simulator.ask("/v1/audio/speech", "output=70", &body).await.data();
    let usage = json!({"input_tokens": 2, "output_tokens": 70, "total_tokens": 72});
    assert_eq!(data.last().unwrap(), &json!({"type": "speech.audio.done", "usage": usage}));
    simulator.stop().await;
}

#[tokio::test]
async fn transcriptions_count_tokens_or_seconds_or_nothing() {
    let simulator = Simulator::start().await;
    let (gpt, whisper) = (("model", "gpt-4o-transcribe"), ("model", "whisper-1"));
    let tokens = json!({"type": "tokens", "input_tokens": 70, "output_tokens": 2, "total_tokens": 72,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 70}});
    let directives = "seconds=7; chunks=2";
    let whole = transcribe(&simulator, directives, &[gpt]).await;
    assert_eq!(whole.json()["usage"], tokens);
    let stream = transcribe(&simulator, directives, &[gpt, ("stream", "true")]).await.data();
    assert_eq!(stream.len(), 3);
    assert_eq!(
        (&stream[2]["type"], &stream[2]["usage"]),
        (&json!("transcript.text.done"), &tokens)
    );
    let verbose = [whisper, ("response_format", "verbose_json")];
    let verbose = transcribe(&simulator, directives, &verbose).await.json();
    assert_eq!(
        (&verbose["usage"], &verbose["duration"]),
        (&json!({"type": "duration", "seconds": 7}), &json!(7.0))
    );
    let text = transcribe(&simulator, directives, &[whisper, ("response_format", "text")]).await;
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.body().trim_end(), verbose["text"].as_str().unwrap());
    let unfit = transcribe(&simulator, "", &[gpt, ("response_format", "verbose_json")]).await;
    assert_eq!(unfit.json()["error"]["param"], "response_format");
    simulator.stop().await;
}
