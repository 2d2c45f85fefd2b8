//! Mistral on the wire.

use super::*;

const MISTRAL: &str = "/mistral/v1/chat/completions";

#[tokio::test]
async fn usage_comes_unasked_with_the_finish_reason() {
    let simulator = Simulator::start().await;
    let data = simulator
        .ask(MISTRAL, "chunks=2; cache_read=5; seconds=3", &hello(true))
        .await
        .data();
    assert_eq!(data.len(), 4);
    assert!(data[..3].iter().all(|chunk| chunk.get("usage").is_none()));
    assert_eq!(data[3]["choices"][0]["finish_reason"], "stop");
    let usage = json!({"prompt_tokens": 7, "total_tokens": 9, "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 5}, "prompt_audio_seconds": 3});
    assert_eq!(data[3]["usage"], usage);
    let plain = simulator.ask(MISTRAL, "chunks=2", &hello(false)).await.json();
    assert_eq!(
        plain["usage"],
        json!({"prompt_tokens": 2, "total_tokens": 4, "completion_tokens": 2})
    );
    assert_eq!(simulator.ask(MISTRAL, "usage_at=nochoices", &hello(true)).await.status, 400);
    simulator.stop().await;
}

#[tokio::test]
async fn a_tool_call_comes_whole() {
    let simulator = Simulator::start().await;
    let mut body = hello(true);
    body["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    body["tool_choice"] = json!("any");
    let data = simulator.ask(MISTRAL, "", &body).await.data();
    let choice = &data[1]["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["delta"]["tool_calls"][0]["function"]["arguments"], "{}");
    simulator.stop().await;
}

#[tokio::test]
async fn pages_are_counted() {
    let simulator = Simulator::start().await;
    let document = json!({"model": "mistral-ocr-latest",
        "document": {"type": "document_url", "document_url": "https://example.com/a.pdf"}, "pages": [0, 3]});
    let answer = simulator.ask("/v1/ocr", "", &document).await.json();
    assert_eq!(
        (&answer["usage_info"]["pages_processed"], &answer["pages"][1]["index"]),
        (&json!(2), &json!(3))
    );
    let more = simulator.ask("/v1/ocr", "pages=7", &document).await.json();
    assert_eq!(more["usage_info"]["pages_processed"], 7);
    simulator.stop().await;
}
