//! Azure OpenAI on the wire.

use super::*;

const DEPLOYMENT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

#[tokio::test]
async fn a_stream_begins_with_what_the_filter_says_of_the_prompt() {
    let simulator = Simulator::start().await;
    let mut body = hello(true);
    body.as_object_mut().unwrap().remove("model");
    body["stream_options"] = json!({"include_usage": true});
    let reply = simulator.ask(DEPLOYMENT, "chunks=2", &body).await;
    let data = reply.data();
    assert_eq!((&data[0]["choices"], data[0].get("usage")), (&json!([]), None));
    assert_eq!(
        data[0]["prompt_filter_results"][0]["content_filter_results"]["hate"]["severity"],
        "safe"
    );
    assert_eq!(data[1]["choices"][0]["content_filter_results"], json!({}));
    assert_eq!(data[2]["choices"][0]["content_filter_results"]["violence"]["filtered"], false);
    let last = data.last().unwrap();
    assert_eq!(
        (&last["choices"], &last["usage"]["completion_tokens"]),
        (&json!([]), &json!(2))
    );
    assert_eq!(last["model"], "gpt-4o-2024-08-06");
    assert_eq!(reply.header("x-ms-region"), Some("East US 2"));
    assert_eq!(reply.header("apim-request-id").unwrap().len(), 36);
    simulator.stop().await;
}

#[tokio::test]
async fn the_other_endpoints_are_openais() {
    let simulator = Simulator::start().await;
    let whole = simulator.ask(DEPLOYMENT, "", &hello(false)).await.json();
    assert_eq!(whole["prompt_filter_results"][0]["prompt_index"], 0);
    assert!(whole["choices"][0]["content_filter_results"].is_object());
    let path = "/azure/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21";
    let embedding = simulator.ask(path, "", &json!({"input": "hello", "dimensions": 4})).await;
    assert_eq!(embedding.json()["model"], "text-embedding-3-small");
    let answer = simulator.ask("/azure/openai/v1/responses", "", &response(false)).await;
    assert_eq!(answer.json()["object"], "response");
    simulator.stop().await;
}

#[tokio::test]
async fn the_key_is_in_a_header_of_its_own() {
    let simulator = Simulator::start().await;
    let body = hello(false).to_string();
    for (header, status) in [("api-key: k\r\n", 200), ("", 401)] {
        let reply = read(simulator.open_with(DEPLOYMENT, header, &body).await).await;
        assert_eq!(reply.status, status);
    }
    let limited = simulator.ask(DEPLOYMENT, "status=429", &hello(false)).await;
    assert_eq!(limited.json()["error"]["code"], "429");
    simulator.stop().await;
}
