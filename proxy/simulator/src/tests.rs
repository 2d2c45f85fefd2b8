//! The simulator on the wire: raw HTTP/1.1 over a socket, so that nothing of ours reads what is ours.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod azure;
mod batches;
mod bedrock;
mod google;
mod media;
mod mistral;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::{Config, bind};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/anthropic/v1/messages";
const RESPONSES: &str = "/openai/v1/responses";

/// A simulator that runs for one test.
struct Simulator {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<()>,
}

/// An answer, with the body's chunks as they were framed.
#[derive(Debug, PartialEq)]
struct Reply {
    status: u16,
    head: String,
    chunks: Vec<String>,
    /// The body without its framing, where it is not text.
    bytes: Vec<u8>,
    /// Whether the body came to its announced end.
    whole: bool,
}

impl Reply {
    fn body(&self) -> String {
        self.chunks.concat()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body()).unwrap()
    }

    /// The JSON of every `data:` line.
    fn data(&self) -> Vec<Value> {
        let body = self.body();
        let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
        lines
            .filter(|line| *line != "[DONE]")
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Simulator {
    async fn start() -> Self {
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            body_bytes_max: 100_000,
            ..Config::default()
        };
        let server = bind(config).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { address, stop, running }
    }

    async fn stop(self) {
        drop(self.stop);
        self.running.await.unwrap();
    }

    async fn open(&self, path: &str, directives: &str, body: &str) -> TcpStream {
        self.open_with(
            path,
            &format!("authorization: Bearer k\r\nanthropic-version: 2023-06-01\r\n{directives}"),
            body,
        )
        .await
    }

    async fn open_with(&self, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, path: &str, directives: &str, body: &Value) -> Reply {
        let directives = match directives {
            "" => String::new(),
            directives => format!("x-simulate: {directives}\r\n"),
        };
        read(self.open(path, &directives, &body.to_string()).await).await
    }

    async fn get(&self, path: &str) -> Reply {
        read(self.open(path, "", "").await).await
    }
}

async fn read(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let clean = stream.read_to_end(&mut bytes).await.is_ok();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, mut rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    rest = rest.get(4..).unwrap_or_default();
    let (head, text) = (String::from_utf8_lossy(head), |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    });
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut reply = Reply {
        status,
        head: head.into_owned(),
        chunks: Vec::new(),
        bytes: Vec::new(),
        whole: false,
    };
    if let Some(length) = reply.header("content-length") {
        reply.whole = clean && length.parse() == Ok(rest.len());
        reply.chunks.push(text(rest));
        reply.bytes.extend_from_slice(rest);
        return reply;
    }
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(&text(&rest[..end]), 16).unwrap();
        if length == 0 {
            reply.whole = clean;
            break;
        }
        let chunk = &rest[end + 2..][..length];
        reply.chunks.push(text(chunk));
        reply.bytes.extend_from_slice(chunk);
        rest = &rest[end + 2 + length + 2..];
    }
    reply
}

fn hello(stream: bool) -> Value {
    json!({"model": "gpt-4o-mini", "max_tokens": 1000, "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
}

fn response(stream: bool) -> Value {
    json!({"model": "gpt-5", "stream": stream, "input": "hello"})
}

#[tokio::test]
async fn equal_requests_get_equal_bytes() {
    let simulator = Simulator::start().await;
    for (path, body) in [
        (CHAT, hello(false)),
        (CHAT, hello(true)),
        (MESSAGES, hello(true)),
        (RESPONSES, response(true)),
    ] {
        let (one, two) = (simulator.ask(path, "", &body).await, simulator.ask(path, "", &body).await);
        assert_eq!((one.status, one.whole), (200, true), "{one:?}");
        assert_eq!(one.chunks, two.chunks);
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_chat_stream_is_framed_as_openai_does() {
    let simulator = Simulator::start().await;
    let mut body = hello(true);
    body["stream_options"] = json!({"include_usage": true});
    let reply = simulator.ask(CHAT, "chunks=3; cache_read=100", &body).await;
    assert_eq!(reply.chunks.len(), 1 + 3 + 1 + 1 + 1);
    assert!(
        reply
            .chunks
            .iter()
            .all(|chunk| chunk.starts_with("data: ") && chunk.ends_with("\n\n"))
    );
    assert_eq!(reply.chunks.last().unwrap(), "data: [DONE]\n\n");
    let data = reply.data();
    assert_eq!(
        data[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": "", "refusal": null})
    );
    assert_eq!(data[4]["choices"][0]["finish_reason"], "stop");
    assert!(
        data[..5]
            .iter()
            .all(|chunk| chunk.as_object().unwrap().get("usage") == Some(&Value::Null))
    );
    assert_eq!(data[5]["choices"], json!([]));
    assert_eq!(data[5]["usage"]["prompt_tokens"], 102);
    assert_eq!(data[5]["usage"]["completion_tokens"], 3);
    let unasked = simulator.ask(CHAT, "chunks=3", &hello(true)).await;
    assert_eq!(unasked.chunks.len(), 6);
    assert!(unasked.data().iter().all(|chunk| chunk.get("usage").is_none()));
    simulator.stop().await;
}

#[tokio::test]
async fn a_messages_stream_is_framed_as_anthropic_does() {
    let simulator = Simulator::start().await;
    let directives = "chunks=2; cache_read=10; cache_write_5m=3; cache_write_1h=4";
    let reply = simulator.ask(MESSAGES, directives, &hello(true)).await;
    let events: Vec<&str> = reply
        .chunks
        .iter()
        .map(|chunk| chunk.lines().next().unwrap().strip_prefix("event: ").unwrap())
        .collect();
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(events, expected);
    let data = reply.data();
    assert!(events.iter().zip(&data).all(|(event, data)| data["type"] == *event));
    let start = &data[0]["message"]["usage"];
    assert_eq!(
        (
            &start["input_tokens"],
            &start["cache_creation_input_tokens"],
            &start["output_tokens"]
        ),
        (&json!(2), &json!(7), &json!(1))
    );
    assert_eq!(
        start["cache_creation"],
        json!({"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4})
    );
    let end = &data[6]["usage"];
    assert_eq!((&end["output_tokens"], end.get("cache_creation")), (&json!(2), None));
    simulator.stop().await;
}

#[tokio::test]
async fn a_responses_stream_counts_its_events_and_ends_with_the_response() {
    let simulator = Simulator::start().await;
    let reply = simulator
        .ask(RESPONSES, "chunks=2; reasoning=5; web_search=1", &response(true))
        .await;
    let data = reply.data();
    assert!(
        data.iter()
            .enumerate()
            .all(|(index, event)| event["sequence_number"] == index)
    );
    assert_eq!(
        (&data[0]["type"], &data[1]["type"]),
        (&json!("response.created"), &json!("response.in_progress"))
    );
    let last = data.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(
        last["response"],
        simulator
            .ask(RESPONSES, "chunks=2; reasoning=5; web_search=1", &response(false))
            .await
            .json()
    );
    let kinds: Vec<&Value> = last["response"]["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["type"])
        .collect();
    assert_eq!(kinds, ["reasoning", "web_search_call", "message"]);
    assert_eq!(last["response"]["usage"]["output_tokens"], 7);
    assert!(!reply.body().contains("[DONE]"));
    simulator.stop().await;
}

#[tokio::test]
async fn whole_and_streamed_text_agree() {
    let simulator = Simulator::start().await;
    let whole = simulator.ask(CHAT, "", &hello(false)).await.json();
    let streamed = simulator.ask(CHAT, "", &hello(true)).await.data();
    let deltas = streamed
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    assert_eq!(whole["choices"][0]["message"]["content"], deltas.collect::<String>());
    simulator.stop().await;
}

#[tokio::test]
async fn a_tool_call_is_streamed_in_pieces_that_make_valid_json() {
    let simulator = Simulator::start().await;
    let schema = json!({"type": "object", "properties": {"location": {"type": "string"}, "days": {"type": "integer"}}});
    let mut chat = hello(true);
    chat["messages"][0]["content"] = json!("what is the Weather");
    let mut messages = chat.clone();
    chat["tools"] = json!([{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]);
    messages["tools"] = json!([{"name": "get_weather", "input_schema": schema}]);
    let deltas = simulator.ask(CHAT, "chunks=3", &chat).await.data();
    let arguments = |delta: &Value| delta["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].clone();
    let pieces: Vec<Value> = deltas.iter().map(arguments).filter(Value::is_string).collect();
    assert_eq!(pieces.len(), 4);
    let joined: String = pieces.iter().filter_map(Value::as_str).collect();
    let expected = json!({"days": 1, "location": "Berlin"});
    assert_eq!(serde_json::from_str::<Value>(&joined).unwrap(), expected);
    let events = simulator.ask(MESSAGES, "", &messages).await.data();
    let joined: String = events
        .iter()
        .filter_map(|event| event["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&joined).unwrap(), expected);
    simulator.stop().await;
}

#[tokio::test]
async fn a_cut_stream_has_its_events_and_no_end() {
    let simulator = Simulator::start().await;
    for cut in ["reset", "close"] {
        let reply = simulator
            .ask(CHAT, &format!("cut_after=3; cut={cut}; id={cut}"), &hello(true))
            .await;
        assert_eq!((reply.chunks.len(), reply.whole), (3, false), "{cut}");
        let whole = simulator.ask(CHAT, &format!("cut_at=40; cut={cut}"), &hello(false)).await;
        assert_eq!((whole.body().len(), whole.whole), (40, false), "{cut}");
        let seen = simulator.get(&format!("/simulator/requests?id={cut}")).await.json();
        assert_eq!((&seen["cut"], &seen["closed_early"]), (&json!(1), &json!(0)));
    }
    assert_eq!(simulator.ask(CHAT, "drop=1; cut=close", &hello(false)).await.status, 0);
    simulator.stop().await;
}

#[tokio::test]
async fn a_peer_that_leaves_is_counted() {
    let simulator = Simulator::start().await;
    for directives in ["id=a; stall_after=2", "id=a; tps=1", "id=a; delay_ms=600000"] {
        let stream = simulator
            .open(CHAT, &format!("x-simulate: {directives}\r\n"), &hello(true).to_string())
            .await;
        simulator.get("/simulator/requests?id=a&until=in_flight:1").await;
        drop(stream);
        let seen = simulator.get("/simulator/requests?id=a&until=in_flight:0").await.json();
        assert_eq!(seen["reached"], true);
        let gone = simulator
            .get(&format!("/simulator/requests?id=a&until=closed_early:{}", seen["requests"]))
            .await
            .json();
        assert_eq!(gone["reached"], true, "{directives}");
    }
    assert_eq!(simulator.get("/simulator/requests?id=a&until=nonsense:1").await.status, 400);
    simulator.stop().await;
}

#[tokio::test]
async fn the_first_requests_of_an_id_fail_and_the_next_succeeds() {
    let simulator = Simulator::start().await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let reply = simulator
            .ask(MESSAGES, "id=r; fail_times=2; status=529; retry_after=0.5", &hello(false))
            .await;
        assert_eq!(reply.header("retry-after"), (reply.status == 529).then_some("0.5"));
        statuses.push(reply.status);
    }
    assert_eq!(statuses, [529, 529, 200]);
    simulator.stop().await;
}

#[tokio::test]
async fn bad_requests_are_refused_in_the_shape_of_the_provider() {
    let simulator = Simulator::start().await;
    let missing = simulator.ask(CHAT, "", &json!({"messages": []})).await;
    assert_eq!((missing.status, &missing.json()["error"]["param"]), (400, &json!("model")));
    let missing = simulator
        .ask(
            MESSAGES,
            "",
            &json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}),
        )
        .await;
    assert_eq!(missing.json()["error"]["message"], "max_tokens: Field required");
    assert_eq!(missing.json()["request_id"], missing.header("request-id").unwrap());
    let directive = simulator.ask(CHAT, "chonks=5", &hello(false)).await;
    assert!(directive.json()["error"]["message"].as_str().unwrap().contains("`chonks`"));
    let unfit = simulator.ask(MESSAGES, "audio_in=5", &hello(false)).await;
    assert_eq!(
        (unfit.status, unfit.json()["error"]["type"].as_str()),
        (400, Some("invalid_request_error"))
    );
    let streamless = simulator.ask(CHAT, "cut_after=1", &hello(false)).await;
    assert_eq!(streamless.status, 400);
    let mut unlimited = hello(true);
    unlimited["max_tokens"] = Value::Null;
    let vast = simulator.ask(CHAT, "bytes=10000000; chunk_bytes=1", &unlimited).await;
    assert_eq!(vast.status, 400);
    let syntax = read(simulator.open(CHAT, "", "{\"model\":").await).await;
    assert!(
        syntax.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("could not parse the JSON")
    );
    let anonymous = read(simulator.open_with(CHAT, "", "{}").await).await;
    assert_eq!(anonymous.status, 401);
    let large = simulator.ask(CHAT, "", &json!({"x": "x".repeat(100_000)})).await;
    assert_eq!(large.status, 413);
    assert_eq!(simulator.ask("/openai/v1/nothing", "", &json!({})).await.status, 404);
    assert_eq!(simulator.get(RESPONSES).await.status, 405);
    simulator.stop().await;
}

#[tokio::test]
async fn an_error_takes_the_place_of_what_follows() {
    let simulator = Simulator::start().await;
    let chat = simulator.ask(CHAT, "error_after=2", &hello(true)).await;
    assert_eq!((chat.chunks.len(), chat.whole), (3, true));
    assert_eq!(chat.data()[2]["error"]["type"], "server_error");
    let messages = simulator.ask(MESSAGES, "error_after=3", &hello(true)).await;
    assert_eq!(messages.data().last().unwrap()["error"]["type"], "overloaded_error");
    let responses = simulator.ask(RESPONSES, "error_after=3", &response(true)).await;
    let last = responses.data().last().unwrap().clone();
    assert_eq!(
        (&last["type"], &last["sequence_number"]),
        (&json!("response.failed"), &json!(3))
    );
    simulator.stop().await;
}

#[tokio::test]
async fn embeddings_say_the_same_in_both_encodings() {
    let simulator = Simulator::start().await;
    let ask =
        |format: &str| json!({"model": "text-embedding-3-small", "input": ["a", "b"], "encoding_format": format, "dimensions": 8});
    let floats = simulator.ask("/v1/embeddings", "", &ask("float")).await.json();
    let encoded = simulator.ask("/v1/embeddings", "", &ask("base64")).await.json();
    for index in 0..2 {
        let vector: Vec<f32> = serde_json::from_value(floats["data"][index]["embedding"].clone()).unwrap();
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(encoded["data"][index]["embedding"], crate::out::base64(&bytes));
    }
    assert_eq!(floats["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    simulator.stop().await;
}

#[tokio::test]
async fn a_request_is_echoed_as_it_came() {
    let simulator = Simulator::start().await;
    let reply = simulator
        .ask("/v1/chat/completions?a=b", "echo=body", &hello(false))
        .await
        .json();
    let echo: Value = serde_json::from_str(reply["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&echo["path"], &echo["headers"]["authorization"]),
        (&json!("/v1/chat/completions?a=b"), &json!("Bearer k"))
    );
    assert_eq!(
        serde_json::from_str::<Value>(echo["body"].as_str().unwrap()).unwrap(),
        hello(false)
    );
    simulator.stop().await;
}

#[tokio::test]
async fn shutdown_lets_running_answers_end() {
    let simulator = Simulator::start().await;
    let stream = simulator
        .open(CHAT, "x-simulate: id=s; chunks=5; tps=50\r\n", &hello(true).to_string())
        .await;
    simulator.get("/simulator/requests?id=s&until=chunks:1").await;
    let reading = tokio::spawn(read(stream));
    simulator.stop().await;
    assert!(reading.await.unwrap().whole);
}
