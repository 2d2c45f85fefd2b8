//! Gemini and Vertex AI on the wire.

use super::*;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const VERTEX: &str = "/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash";
const CLAUDE: &str = "/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929";

fn contents() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]})
}

#[tokio::test]
async fn an_answer_is_a_candidate_with_its_usage() {
    let simulator = Simulator::start().await;
    let reply = simulator
        .ask(GENERATE, "bytes=4; cache_read=10; reasoning=3", &contents())
        .await;
    let answer = reply.json();
    assert_eq!(reply.header("x-gemini-service-tier"), Some("standard"));
    assert_eq!(
        (&answer["candidates"][0]["finishReason"], &answer["modelVersion"]),
        (&json!("STOP"), &json!("gemini-2.5-flash"))
    );
    assert_eq!(answer["candidates"][0]["content"]["role"], "model");
    let usage = json!({"promptTokenCount": 12, "candidatesTokenCount": 1, "totalTokenCount": 16,
        "cachedContentTokenCount": 10, "thoughtsTokenCount": 3,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 1}]});
    assert_eq!(answer["usageMetadata"], usage);
    simulator.stop().await;
}

#[tokio::test]
async fn a_stream_has_running_totals_on_every_chunk_whichever_its_framing() {
    let simulator = Simulator::start().await;
    let directives = "chunks=3; output=30; reasoning=10";
    let events = simulator.ask(&format!("{STREAM}?alt=sse"), directives, &contents()).await;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert!(events.chunks.iter().all(|chunk| chunk.ends_with("\r\n\r\n")));
    let data = events.data();
    let counts = |data: &[Value]| -> Vec<(u64, u64)> {
        let count = |chunk: &Value, name: &str| chunk["usageMetadata"][name].as_u64().unwrap_or(0);
        data.iter()
            .map(|chunk| (count(chunk, "candidatesTokenCount"), count(chunk, "thoughtsTokenCount")))
            .collect()
    };
    assert_eq!(counts(&data), [(0, 10), (10, 10), (20, 10)]);
    let finishes: Vec<&Value> = data.iter().map(|chunk| &chunk["candidates"][0]["finishReason"]).collect();
    assert_eq!(finishes, [&Value::Null, &Value::Null, &json!("STOP")]);
    let array = simulator.ask(STREAM, directives, &contents()).await;
    assert_eq!(array.header("content-type"), Some("application/json; charset=UTF-8"));
    assert_eq!((array.chunks.len(), array.json()), (3, json!(data)));
    let whole = simulator.ask(GENERATE, directives, &contents()).await.json();
    assert_eq!(whole["usageMetadata"], data[2]["usageMetadata"]);
    simulator.stop().await;
}

#[tokio::test]
async fn vertex_has_a_traffic_type_and_can_keep_the_counts_for_the_end() {
    let simulator = Simulator::start().await;
    let path = format!("{VERTEX}:streamGenerateContent?alt=sse");
    let directives = "chunks=2; usage_at=finish; service_tier=PROVISIONED_THROUGHPUT";
    let data = simulator.ask(&path, directives, &contents()).await.data();
    assert_eq!(data[0]["usageMetadata"], json!({"trafficType": "PROVISIONED_THROUGHPUT"}));
    assert_eq!(data[1]["usageMetadata"]["totalTokenCount"], 4);
    let gemini = simulator
        .ask(&format!("{STREAM}?alt=sse"), "chunks=2; usage_at=finish", &contents())
        .await;
    assert_eq!(gemini.data()[0].get("usageMetadata"), None);
    simulator.stop().await;
}

#[tokio::test]
async fn thoughts_and_calls_are_parts() {
    let simulator = Simulator::start().await;
    let mut thinking = contents();
    thinking["generationConfig"] = json!({"thinkingConfig": {"includeThoughts": true}});
    let answer = simulator.ask(GENERATE, "", &thinking).await.json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["thought"], true);
    assert_eq!(answer["usageMetadata"]["thoughtsTokenCount"], 12);
    let mut call = contents();
    call["tools"] = json!([{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT",
        "properties": {"city": {"type": "STRING"}}}}]}]);
    call["toolConfig"] = json!({"functionCallingConfig": {"mode": "ANY"}});
    let expected = json!([{"functionCall": {"name": "f", "args": {"city": "Berlin"}}}]);
    let whole = simulator.ask(GENERATE, "", &call).await.json();
    assert_eq!(whole["candidates"][0]["content"]["parts"], expected);
    let stream = simulator.ask(&format!("{STREAM}?alt=sse"), "", &call).await.data();
    assert_eq!(stream.len(), 1);
    assert_eq!(stream[0]["candidates"][0]["content"]["parts"], expected);
    simulator.stop().await;
}

#[tokio::test]
async fn tokens_are_counted_and_embedded() {
    let simulator = Simulator::start().await;
    let counted = simulator
        .ask("/v1/models/m:countTokens", "cache_read=5", &contents())
        .await
        .json();
    assert_eq!(
        (&counted["totalTokens"], &counted["cachedContentTokenCount"]),
        (&json!(7), &json!(5))
    );
    let request = json!({"model": "models/m", "content": {"parts": [{"text": "12345678"}]}, "outputDimensionality": 4});
    let one = simulator.ask("/v1beta/models/m:embedContent", "", &request).await.json();
    assert_eq!(one["embedding"]["values"].as_array().unwrap().len(), 4);
    assert_eq!(one["usageMetadata"]["promptTokenCount"], 2);
    let batch = simulator
        .ask(
            "/v1beta/models/m:batchEmbedContents",
            "",
            &json!({"requests": [request, request]}),
        )
        .await
        .json();
    assert_eq!(batch["embeddings"][1], one["embedding"]);
    assert_eq!(batch["usageMetadata"]["promptTokenCount"], 4);
    let instances = json!({"instances": [{"content": "12345678"}], "parameters": {"outputDimensionality": 4}});
    let predicted = simulator.ask(&format!("{VERTEX}:predict"), "", &instances).await.json();
    assert_eq!(
        predicted["predictions"][0]["embeddings"]["statistics"],
        json!({"truncated": false, "token_count": 2})
    );
    assert_eq!(predicted["metadata"]["billableCharacterCount"], 8);
    simulator.stop().await;
}

#[tokio::test]
async fn a_key_is_taken_from_header_query_or_bearer() {
    let simulator = Simulator::start().await;
    let body = contents().to_string();
    for (path, header, status) in [
        (GENERATE.to_owned(), "x-goog-api-key: k\r\n", 200),
        (format!("{GENERATE}?key=k"), "", 200),
        (GENERATE.to_owned(), "authorization: Bearer k\r\n", 200),
        (GENERATE.to_owned(), "", 403),
        (format!("{VERTEX}:generateContent"), "", 401),
    ] {
        let reply = read(simulator.open_with(&path, header, &body).await).await;
        assert_eq!(reply.status, status, "{path} {header}");
    }
    simulator.stop().await;
}

#[tokio::test]
async fn errors_have_the_shape_of_google() {
    let simulator = Simulator::start().await;
    let missing = simulator.ask(GENERATE, "", &json!({"contents": []})).await;
    assert_eq!(
        (missing.status, &missing.json()["error"]["status"]),
        (400, &json!("INVALID_ARGUMENT"))
    );
    let limited = simulator.ask(GENERATE, "status=429", &contents()).await.json();
    assert_eq!(limited["error"]["status"], "RESOURCE_EXHAUSTED");
    let unfit = simulator.ask(GENERATE, "cache_write=5", &contents()).await;
    assert_eq!(unfit.status, 400);
    let failed = simulator
        .ask(&format!("{STREAM}?alt=sse"), "error_after=2", &contents())
        .await
        .data();
    assert_eq!((failed.len(), &failed[2]["error"]["code"]), (3, &json!(503)));
    let array = simulator.ask(STREAM, "error_after=1", &contents()).await.json();
    assert_eq!(array[1]["error"]["status"], "UNAVAILABLE");
    let cut = simulator.ask(STREAM, "cut_after=2", &contents()).await;
    assert_eq!((cut.chunks.len(), cut.whole), (2, false));
    assert_eq!(simulator.ask(STREAM, "crlf=1", &contents()).await.status, 400);
    simulator.stop().await;
}

#[tokio::test]
async fn claude_on_vertex_is_named_by_the_path_and_speaks_anthropic() {
    let simulator = Simulator::start().await;
    let body = json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello"}]});
    let reply = simulator
        .ask(&format!("{CLAUDE}:rawPredict"), "input=100; cache_read=60", &body)
        .await;
    let answer = reply.json();
    assert_eq!(answer["model"], "claude-sonnet-4-5-20250929");
    assert!(answer["id"].as_str().unwrap().starts_with("msg_vrtx_"));
    assert_eq!(
        (&answer["usage"]["input_tokens"], &answer["usage"]["cache_read_input_tokens"]),
        (&json!(40), &json!(60))
    );
    assert!(reply.header("request-id").unwrap().starts_with("req_vrtx_"));
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let data = simulator
        .ask(&format!("{CLAUDE}:streamRawPredict"), "", &streamed)
        .await
        .data();
    assert_eq!(data[0]["type"], "message_start");
    let unversioned = simulator.ask(&format!("{CLAUDE}:rawPredict"), "", &hello(false)).await;
    assert_eq!(unversioned.json()["error"]["message"], "anthropic_version: Field required");
    let failed = simulator.ask(&format!("{CLAUDE}:rawPredict"), "status=529", &body).await;
    assert_eq!(failed.json()["error"]["type"], "overloaded_error");
    simulator.stop().await;
}
