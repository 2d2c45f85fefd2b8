//! Bedrock on the wire.

use super::*;

const CLAUDE: &str = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0";
const CLASSES: &str = "chunks=2; input=1000; cache_read=600; cache_write_5m=100; cache_write_1h=50; output=80";

/// The messages of an event stream: (`:event-type` or `:exception-type`, payload). Checksums are checked.
fn messages(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (message, rest) = bytes.split_at(number(bytes) as usize);
        let (checked, checksum) = message.split_at(message.len() - 4);
        assert_eq!(crc32fast::hash(checked), number(checksum));
        assert_eq!(crc32fast::hash(&checked[..8]), number(&checked[8..]));
        let headers = number(&checked[4..]) as usize;
        let (mut headers, payload) = checked[12..].split_at(headers);
        let name_length = usize::from(headers[0]);
        headers = &headers[name_length + 2..];
        let value_length = usize::from(u16::from_be_bytes([headers[0], headers[1]]));
        let kind = String::from_utf8(headers[2..][..value_length].to_vec()).unwrap();
        let mut payload: Value = serde_json::from_slice(payload).unwrap();
        if let Some(members) = payload.as_object_mut() {
            members.remove("p");
        }
        all.push((kind, payload));
        bytes = rest;
    }
    all
}

/// The vendor's JSON in each chunk.
fn chunks(bytes: &[u8]) -> Vec<Value> {
    let decode = |text: &str| {
        let digit = |letter: u8| match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut plain = Vec::new();
        for group in text.trim_end_matches('=').as_bytes().chunks(4) {
            let bits = group.iter().fold(0u32, |bits, letter| bits << 6 | u32::from(digit(*letter)));
            let bits = bits << (6 * (4 - group.len()));
            plain.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
        }
        serde_json::from_slice(&plain).unwrap()
    };
    let all = messages(bytes).into_iter();
    all.map(|(kind, payload)| {
        assert_eq!(kind, "chunk");
        decode(payload["bytes"].as_str().unwrap())
    })
    .collect()
}

fn converse() -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hello"}]}], "inferenceConfig": {"maxTokens": 100}})
}

fn claude() -> Value {
    json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]})
}

#[tokio::test]
async fn converse_reports_caches_beside_the_input() {
    let simulator = Simulator::start().await;
    let reply = simulator.ask(&format!("{CLAUDE}/converse"), CLASSES, &converse()).await;
    let answer = reply.json();
    assert_eq!(reply.header("x-amzn-requestid").unwrap().len(), 36);
    assert_eq!(answer["output"]["message"]["role"], "assistant");
    assert_eq!(
        (&answer["stopReason"], &answer["serviceTier"]["type"]),
        (&json!("end_turn"), &json!("default"))
    );
    assert_eq!(
        answer["usage"],
        json!({"inputTokens": 250, "outputTokens": 80, "totalTokens": 1080, "cacheReadInputTokens": 600,
            "cacheWriteInputTokens": 150,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 50}, {"ttl": "5m", "inputTokens": 100}]})
    );
    let routed = simulator.ask(&format!("{CLAUDE}/converse"), "model=other", &converse()).await;
    assert_eq!(routed.json()["trace"]["promptRouter"]["invokedModelId"], "other");
    simulator.stop().await;
}

#[tokio::test]
async fn a_converse_stream_ends_with_its_metadata() {
    let simulator = Simulator::start().await;
    let reply = simulator
        .ask(&format!("{CLAUDE}/converse-stream"), CLASSES, &converse())
        .await;
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let messages = messages(&reply.bytes);
    let kinds: Vec<&str> = messages.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ];
    assert_eq!((kinds, reply.chunks.len()), (expected.to_vec(), 6));
    assert_eq!(messages[4].1, json!({"stopReason": "end_turn"}));
    let whole = simulator
        .ask(&format!("{CLAUDE}/converse"), CLASSES, &converse())
        .await
        .json();
    assert_eq!(messages[5].1["usage"], whole["usage"]);
    simulator.stop().await;
}

#[tokio::test]
async fn an_invocation_of_claude_has_its_counts_in_body_headers_and_last_chunk() {
    let simulator = Simulator::start().await;
    let reply = simulator.ask(&format!("{CLAUDE}/invoke"), CLASSES, &claude()).await;
    let answer = reply.json();
    assert_eq!(answer["model"], "claude-sonnet-4-5-20250929");
    assert_eq!(
        (&answer["usage"]["input_tokens"], answer["usage"].get("service_tier")),
        (&json!(250), None)
    );
    for (name, count) in [("input", "250"), ("output", "80"), ("cache-read-input", "600")] {
        assert_eq!(reply.header(&format!("x-amzn-bedrock-{name}-token-count")), Some(count));
    }
    let stream = simulator
        .ask(&format!("{CLAUDE}/invoke-with-response-stream"), CLASSES, &claude())
        .await;
    let chunks = chunks(&stream.bytes);
    assert_eq!(chunks[0]["message"]["usage"]["cache_read_input_tokens"], 600);
    let last = chunks.last().unwrap();
    assert_eq!(last["type"], "message_stop");
    assert_eq!(
        last["amazon-bedrock-invocationMetrics"],
        json!({"inputTokenCount": 250, "outputTokenCount": 80, "invocationLatency": 12, "firstByteLatency": 12,
            "cacheReadInputTokenCount": 600, "cacheWriteInputTokenCount": 150})
    );
    simulator.stop().await;
}

#[tokio::test]
async fn every_vendor_counts_in_its_own_words() {
    let simulator = Simulator::start().await;
    let ask = async |model: &str, operation: &str, body: Value| {
        let path = format!("/bedrock/model/{model}/{operation}");
        let reply = simulator.ask(&path, "chunks=2; input=9", &body).await;
        assert_eq!(reply.status, 200, "{model} {}", reply.body());
        reply
    };
    let (whole, stream) = ("invoke", "invoke-with-response-stream");
    let titan = ask("amazon.titan-text-express-v1", whole, json!({"inputText": "hello"}))
        .await
        .json();
    assert_eq!(
        (&titan["inputTextTokenCount"], &titan["results"][0]["tokenCount"]),
        (&json!(9), &json!(2))
    );
    let llama = json!({"prompt": "hello", "max_gen_len": 100});
    let answer = ask("meta.llama3-8b-instruct-v1:0", whole, llama.clone()).await.json();
    assert_eq!(
        (&answer["prompt_token_count"], &answer["generation_token_count"]),
        (&json!(9), &json!(2))
    );
    let streamed = chunks(&ask("meta.llama3-8b-instruct-v1:0", stream, llama).await.bytes);
    assert_eq!(streamed[2]["amazon-bedrock-invocationMetrics"]["inputTokenCount"], 9);
    let mistral = ask("mistral.mistral-large-2402-v1:0", whole, json!({"prompt": "hello"})).await;
    assert_eq!(mistral.header("x-amzn-bedrock-input-token-count"), Some("9"));
    assert_eq!(mistral.json()["outputs"][0]["stop_reason"], "stop");
    let nova = ask("us.amazon.nova-pro-v1:0", whole, converse()).await.json();
    assert_eq!(nova["usage"]["cacheReadInputTokenCount"], 0);
    let nova = chunks(&ask("us.amazon.nova-pro-v1:0", stream, converse()).await.bytes);
    assert_eq!(nova[0], json!({"messageStart": {"role": "assistant"}}));
    let last = nova.last().unwrap();
    assert_eq!(
        (
            &last["metadata"]["usage"]["inputTokens"],
            &last["amazon-bedrock-invocationMetrics"]["inputTokenCount"]
        ),
        (&json!(9), &json!(9))
    );
    let embedding = ask(
        "amazon.titan-embed-text-v2:0",
        whole,
        json!({"inputText": "a", "dimensions": 4}),
    )
    .await;
    assert_eq!(embedding.json()["inputTextTokenCount"], 9);
    simulator.stop().await;
}

#[tokio::test]
async fn a_failed_stream_ends_with_an_exception() {
    let simulator = Simulator::start().await;
    for (operation, body) in [("converse-stream", converse()), ("invoke-with-response-stream", claude())] {
        let reply = simulator.ask(&format!("{CLAUDE}/{operation}"), "error_after=2", &body).await;
        let text = String::from_utf8_lossy(&reply.bytes).into_owned();
        assert_eq!(reply.chunks.len(), 3);
        assert!(text.contains(":exception-type") && text.contains("modelStreamErrorException"));
        let cut = simulator.ask(&format!("{CLAUDE}/{operation}"), "cut_after=2", &body).await;
        assert_eq!((cut.chunks.len(), cut.whole), (2, false));
    }
    let limited = simulator.ask(&format!("{CLAUDE}/converse"), "status=429", &converse()).await;
    assert!(
        limited
            .header("x-amzn-errortype")
            .unwrap()
            .starts_with("ThrottlingException:")
    );
    assert!(limited.json()["message"].is_string());
    let anonymous = read(
        simulator
            .open_with(&format!("{CLAUDE}/converse"), "", &converse().to_string())
            .await,
    )
    .await;
    assert_eq!(anonymous.status, 403);
    simulator.stop().await;
}

#[tokio::test]
async fn tools_and_thinking_are_blocks() {
    let simulator = Simulator::start().await;
    let mut body = converse();
    body["toolConfig"] = json!({"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object",
        "properties": {"city": {"type": "string"}}}}}}], "toolChoice": {"any": {}}});
    body["additionalModelRequestFields"] = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    let answer = simulator.ask(&format!("{CLAUDE}/converse"), "", &body).await.json();
    let content = &answer["output"]["message"]["content"];
    assert!(content[0]["reasoningContent"]["reasoningText"]["signature"].is_string());
    assert_eq!(
        (&content[1]["toolUse"]["input"], &answer["stopReason"]),
        (&json!({"city": "Berlin"}), &json!("tool_use"))
    );
    let stream = simulator.ask(&format!("{CLAUDE}/converse-stream"), "", &body).await;
    let inputs = messages(&stream.bytes);
    let input: String = inputs
        .iter()
        .filter_map(|(_, payload)| payload["delta"]["toolUse"]["input"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), json!({"city": "Berlin"}));
    simulator.stop().await;
}
