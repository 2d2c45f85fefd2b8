//! Files and batches on the wire.

use super::*;

async fn upload(simulator: &Simulator, content: &str) -> Value {
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{content}\r\n--b--\r\n"
    );
    let headers = "authorization: Bearer k\r\ncontent-type: multipart/form-data; boundary=b\r\n";
    read(simulator.open_with("/v1/files", headers, &form).await).await.json()
}

/// The lines of a file of JSON.
fn lines(reply: &Reply) -> Vec<Value> {
    let body = reply.body();
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn line(id: &str, body: &Value) -> String {
    json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}).to_string()
}

#[tokio::test]
async fn a_batch_answers_each_line_and_adds_up_their_usage() {
    let simulator = Simulator::start().await;
    let content = [
        line("a", &hello(false)),
        line("b", &json!({"model": "m"})),
        line("c", &hello(true)),
        line("d", &hello(false)),
    ];
    let file = upload(&simulator, &content.join("\n")).await;
    assert_eq!((&file["object"], &file["purpose"]), (&json!("file"), &json!("batch")));
    let request = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let created = simulator
        .ask(
            "/v1/batches",
            "polls=1; input=100; cache_read=60; output=10; reasoning=4",
            &request,
        )
        .await
        .json();
    assert_eq!(created["status"], "validating");
    let path = format!("/v1/batches/{}", created["id"].as_str().unwrap());
    let running = simulator.get(&path).await.json();
    assert_eq!(
        (&running["status"], &running["output_file_id"]),
        (&json!("in_progress"), &Value::Null)
    );
    let ended = simulator.get(&path).await.json();
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["request_counts"], json!({"total": 4, "completed": 2, "failed": 2}));
    assert_eq!(
        ended["usage"],
        json!({"input_tokens": 200, "input_tokens_details": {"cached_tokens": 120}, "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 8}, "total_tokens": 220})
    );
    let content = |name: &str| format!("/v1/files/{}/content", ended[name].as_str().unwrap());
    let output = lines(&simulator.get(&content("output_file_id")).await);
    assert_eq!((&output[0]["custom_id"], &output[1]["custom_id"]), (&json!("a"), &json!("d")));
    assert_eq!(output[1]["response"]["body"]["usage"]["prompt_tokens"], 100);
    let errors = lines(&simulator.get(&content("error_file_id")).await);
    assert_eq!(errors[0]["response"]["status_code"], 400);
    assert_eq!(errors[0]["response"]["body"]["error"]["param"], "messages");
    simulator.stop().await;
}

#[tokio::test]
async fn a_batch_can_fail_or_be_cancelled_as_a_whole() {
    let simulator = Simulator::start().await;
    let file = upload(&simulator, "{\"custom_id\":").await;
    let request = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions"});
    let created = simulator.ask("/v1/batches", "", &request).await.json();
    let failed = simulator
        .get(&format!("/v1/batches/{}", created["id"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(
        (&failed["status"], &failed["errors"]["data"][0]["line"]),
        (&json!("failed"), &json!(1))
    );
    let other = simulator.ask("/v1/batches", "id=other; polls=9", &request).await.json();
    assert_ne!(other["id"], created["id"]);
    let path = format!("/v1/batches/{}", other["id"].as_str().unwrap());
    let cancelling = simulator.ask(&format!("{path}/cancel"), "", &json!({})).await.json();
    assert_eq!(cancelling["status"], "cancelling");
    assert_eq!(simulator.get(&path).await.json()["status"], "cancelled");
    assert_eq!(simulator.get("/v1/batches/none").await.status, 404);
    let unknown = json!({"input_file_id": "file-x", "endpoint": "/v1/chat/completions"});
    assert_eq!(simulator.ask("/v1/batches", "", &unknown).await.status, 404);
    simulator.stop().await;
}

#[tokio::test]
async fn a_message_batch_ends_with_results_at_an_address() {
    let simulator = Simulator::start().await;
    let params = json!({"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]});
    let batches = "/anthropic/v1/messages/batches";
    let request = json!({"requests": [{"custom_id": "a", "params": params}, {"custom_id": "b", "params": {}}]});
    let created = simulator
        .ask(batches, "polls=1; input=100; cache_read=60; output=9", &request)
        .await
        .json();
    let counts = |processing, succeeded, errored, canceled| json!({"processing": processing, "succeeded": succeeded, "errored": errored, "canceled": canceled, "expired": 0});
    assert_eq!(created["request_counts"], counts(2, 0, 0, 0));
    let path = format!("{batches}/{}", created["id"].as_str().unwrap());
    assert_eq!(simulator.get(&path).await.json()["processing_status"], "in_progress");
    assert_eq!(simulator.get(&format!("{path}/results")).await.status, 404);
    let ended = simulator.get(&path).await.json();
    assert_eq!(ended["request_counts"], counts(0, 1, 1, 0));
    assert_eq!(ended["results_url"], format!("http://simulator{path}/results"));
    let results = lines(&simulator.get(&format!("{path}/results")).await);
    let usage = &results[0]["result"]["message"]["usage"];
    assert_eq!(
        (
            &usage["service_tier"],
            &usage["input_tokens"],
            &usage["cache_read_input_tokens"]
        ),
        (&json!("batch"), &json!(40), &json!(60))
    );
    assert_eq!(results[1]["result"]["error"]["error"]["type"], "invalid_request_error");
    simulator.ask(batches, "polls=5", &request).await;
    let cancelled = simulator.ask(&format!("{path}/cancel"), "", &json!({})).await.json();
    assert_eq!(cancelled["processing_status"], "canceling");
    assert_eq!(simulator.get(&path).await.json()["request_counts"], counts(0, 0, 0, 2));
    let results = lines(&simulator.get(&format!("{path}/results")).await);
    assert_eq!(results[0]["result"], json!({"type": "canceled"}));
    simulator.stop().await;
}
