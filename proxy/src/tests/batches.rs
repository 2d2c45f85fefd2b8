//! Batches: what is noted of them, and results that are recorded as they pass.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tollgate_codec::{Codec, Meter};
use tollgate_record::{CallId, FetchedResults, Ledger, Outcome, ResultsId, batch};

use super::harness::{Memory, Running, SECRET, Setup, Shared, TestBody, Upstream, client, frame, name, openai, provider};
use super::upstreams::refusing;
use crate::Provider;
use crate::results::Recording;

const CONTENT: &str = "/openai/v1/files/file-1/content";

fn line(number: usize) -> String {
    format!(
        r#"{{"id":"batch_req_{number}","custom_id":"{number}","response":{{"status_code":200,"body":{{"object":"chat.completion","model":"m","usage":{{"prompt_tokens":{number},"completion_tokens":2}}}}}},"error":null}}"#
    ) + "\n"
}

fn lines(count: usize) -> &'static str {
    Box::leak((1..=count).map(line).collect::<String>().into_boxed_str())
}

/// An upstream whose every answer is this file.
async fn file(content: &'static str) -> Upstream {
    Upstream::start(move |_| {
        Box::pin(async move {
            let mut answer = Response::new(TestBody::Whole(Some(Bytes::from_static(content.as_bytes()))));
            let kind = HeaderValue::from_static("application/octet-stream");
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            answer
        })
    })
    .await
}

fn fetch(gateway: &Running, path: &str) -> Request<Full<Bytes>> {
    gateway.request(Method::GET, path, "")
}

fn ids(fetched: &[FetchedResults]) -> Vec<CallId> {
    let results = fetched.iter().flat_map(|fetched| &fetched.results);
    results.map(|result| result.call_id).collect()
}

fn recorded(gateway: &Running) -> Vec<FetchedResults> {
    gateway.ledger.fetched.lock().unwrap().clone()
}

#[tokio::test]
async fn a_fetch_is_a_row_without_usage_and_its_results_are_recorded() {
    let content = lines(3);
    let upstream = file(content).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let (head, body) = gateway.call(fetch(&gateway, CONTENT)).await;
    assert_eq!((head.status, body), (StatusCode::OK, Bytes::from_static(content.as_bytes())));
    let row = gateway.ledger.row().await;
    assert_eq!(row.ending.outcome, Outcome::Ok);
    assert!(!row.ending.usage.is_known() && row.ending.usage.unknown.is_empty() && !row.refused);
    let fetched = recorded(&gateway);
    assert_eq!(fetched[0].id, ResultsId::File("file-1".into()));
    assert_eq!(fetched[0].fetch.call_id, row.intent.call_id);
    let results: Vec<_> = fetched.iter().flat_map(|fetched| &fetched.results).collect();
    assert_eq!(results.len(), 3);
    for (result, input) in results.iter().zip(1..) {
        assert_eq!((result.operation_name.as_str(), result.ending.outcome), ("chat", Outcome::Ok));
        assert_eq!(
            (result.ending.usage.input, result.ending.usage.output),
            (Some(input), Some(2))
        );
        assert_eq!(result.ending.usage.service_tier, Some(name("batch")));
    }
}

#[tokio::test]
async fn a_result_has_the_same_id_whenever_it_is_fetched_and_another_where_it_is_another() {
    let upstream = file(lines(3)).await;
    let other = file(lines(3)).await;
    let twice = provider("twice", Codec::azure_openai(), &format!("http://{}", upstream.addr));
    let elsewhere = provider("elsewhere", Codec::openai(), &format!("http://{}", other.addr));
    let gateway = Setup::new(vec![openai(upstream.addr), twice, elsewhere]).start().await;
    let mut seen = Vec::new();
    for path in [
        CONTENT,
        CONTENT,
        "/twice/openai/files/file-1/content",
        "/openai/v1/files/file-2/content",
        "/elsewhere/v1/files/file-1/content",
    ] {
        gateway.call(fetch(&gateway, path)).await;
        seen.push(ids(&std::mem::take(&mut *gateway.ledger.fetched.lock().unwrap())));
    }
    assert_eq!(seen[0].len(), 3);
    assert!(
        seen[0]
            .iter()
            .all(|id| id.is_result() && id.of_same_set() == seen[0][0].of_same_set())
    );
    assert_eq!(seen[1], seen[0], "the same file again");
    assert_eq!(seen[2], seen[0], "by another provider of the same upstream");
    for other in &seen[3..] {
        assert!(
            other.iter().all(|id| !seen[0].contains(id)),
            "another file, or one of that name elsewhere"
        );
    }
}

/// A provider of several URLs.
fn several(called: &str, addresses: &[SocketAddr]) -> Provider {
    let urls = addresses.iter().map(|addr| format!("http://{addr}").parse().unwrap());
    Provider {
        upstreams: urls.map(|url| (url, 1)).collect(),
        ..provider(called, Codec::openai(), "http://unused")
    }
}

#[tokio::test]
async fn a_result_has_the_same_id_by_whichever_url_of_a_provider_it_is_fetched() {
    let (one, other) = (file(lines(3)).await, file(lines(3)).await);
    let ab = several("ab", &[one.addr, other.addr]);
    let ba = several("ba", &[other.addr, one.addr]);
    let gateway = Setup::new(vec![ab, ba]).start().await;
    for path in ["/ab/v1/files/file-1/content", "/ba/v1/files/file-1/content"].repeat(2) {
        gateway.call(fetch(&gateway, path)).await;
    }
    let fetched = recorded(&gateway);
    let hosts: HashSet<_> = fetched
        .iter()
        .map(|fetched| fetched.fetch.call.upstream.clone().unwrap())
        .collect();
    assert_eq!(hosts.len(), 2, "both were called");
    let ids = ids(&fetched);
    assert_eq!((ids.len(), ids.into_iter().collect::<HashSet<_>>().len()), (4 * 3, 3));
}

#[tokio::test]
async fn results_name_the_host_that_they_came_from() {
    let upstream = file(lines(1)).await;
    let gateway = Setup::new(vec![several("p", &[refusing().await, upstream.addr])])
        .start()
        .await;
    gateway.call(fetch(&gateway, "/p/v1/files/file-1/content")).await;
    let host = recorded(&gateway)[0].fetch.call.upstream.clone();
    assert_eq!(host, Some(name(&upstream.addr.to_string())));
}

#[tokio::test]
async fn the_end_waits_until_results_are_recorded() {
    let (upstream, frames) = Upstream::stream("application/octet-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.results_gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut body = gateway.send(fetch(&gateway, CONTENT)).await.into_body();
    frames.send(Bytes::from(line(1))).await.unwrap();
    assert_eq!(
        frame(&mut body).await.unwrap().unwrap(),
        line(1),
        "what is not the end does not wait"
    );
    frames.send(Bytes::from(line(2))).await.unwrap();
    drop(frames);
    let end = tokio::spawn(async move { body.collect().await.unwrap().to_bytes() });
    gateway
        .ledger
        .recording
        .subscribe()
        .wait_for(|calls| *calls == 1)
        .await
        .unwrap();
    assert!(gateway.ledger.rows().is_empty() && recorded(&gateway).is_empty() && !end.is_finished());
    gateway.ledger.results_gate.add_permits(2);
    assert_eq!(end.await.unwrap(), line(2));
    assert_eq!(ids(&recorded(&gateway)).len(), 2);
    assert_eq!(gateway.ledger.row().await.ending.outcome, Outcome::Ok);
}

#[tokio::test]
async fn an_answer_whose_results_cannot_be_recorded_ends_as_an_error() {
    let (upstream, frames) = Upstream::stream("application/octet-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.results_fail.store(true, Ordering::SeqCst);
    let body = gateway.send(fetch(&gateway, CONTENT)).await.into_body();
    frames.send(Bytes::from(line(1))).await.unwrap();
    drop(frames);
    assert!(body.collect().await.is_err());
    let row = gateway.ledger.row().await;
    assert_eq!(
        (row.ending.outcome, row.ending.error_type),
        (Outcome::Interrupted, Some(name("ledger_unavailable")))
    );
}

#[tokio::test]
async fn what_was_read_of_an_answer_whose_client_left_is_recorded() {
    let (upstream, frames) = Upstream::stream("application/octet-stream").await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    gateway.ledger.results_gate.forget_permits(Semaphore::MAX_PERMITS);
    let mut socket = gateway.connect().await;
    let request = format!(
        "GET {CONTENT} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {SECRET}\r\n\r\n",
        gateway.addr
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    frames
        .send(Bytes::from(line(1) + &line(2) + "{\"custom_id\":\"3\""))
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.windows(15).any(|bytes| bytes == b"\"custom_id\":\"3\"") {
        assert!(socket.read_buf(&mut answer).await.unwrap() > 0);
    }
    drop(socket);
    frames.closed().await;
    gateway.ledger.results_gate.add_permits(9);
    let row = gateway.ledger.row().await;
    assert_eq!(row.ending.outcome, Outcome::ClientAborted);
    assert_eq!(ids(&recorded(&gateway)).len(), 2);
}

#[tokio::test]
async fn results_are_asked_for_whole_and_in_an_encoding_that_is_read() {
    let mut upstream = file(lines(1)).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    for (path, whole) in [(CONTENT, true), ("/openai/v1/files/file-1", false)] {
        let mut request = fetch(&gateway, path);
        request
            .headers_mut()
            .insert(header::RANGE, HeaderValue::from_static("bytes=5-"));
        request
            .headers_mut()
            .insert(header::IF_RANGE, HeaderValue::from_static("\"x\""));
        request
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, odd"));
        client().request(request).await.unwrap();
        let seen = upstream.next().await.head.headers.clone();
        assert_eq!(
            (seen.contains_key(header::RANGE), seen.contains_key(header::IF_RANGE)),
            (!whole, !whole)
        );
        assert_eq!(seen[header::ACCEPT_ENCODING], if whole { "gzip" } else { "gzip, odd" });
    }
}

#[tokio::test]
async fn what_answers_tell_of_a_batch_is_noted() {
    let told = r#"{"id":"batch_1","object":"batch","status":"completed","output_file_id":"file-1","error_file_id":null}"#;
    let upstream = Upstream::json(StatusCode::OK, told).await;
    let gateway = Setup::new(vec![openai(upstream.addr)]).start().await;
    let output = batch::output("file-1", "batch_1");
    for (method, path, noted) in [
        (
            Method::POST,
            "/openai/v1/batches",
            vec![batch::submitted("batch_1"), output.clone()],
        ),
        (Method::GET, "/openai/v1/batches/batch_1", vec![output.clone()]),
        (Method::POST, "/openai/v1/batches/batch_1/cancel", vec![output]),
        (Method::GET, "/openai/v1/batches", vec![]),
        (Method::GET, "/openai/v1/models/batch_1", vec![]),
    ] {
        gateway.call(gateway.request(method, path, "{}")).await;
        let row = gateway.ledger.rows().pop().unwrap();
        assert_eq!(row.ending.decisions, noted, "{path}");
        assert!(row.ending.usage.unknown.is_empty(), "it costs nothing");
    }
}

#[tokio::test]
async fn the_address_of_results_is_that_of_the_gateway() {
    let told = r#"{"id":"msgbatch_1","results_url":"https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"}"#;
    let mut upstream = Upstream::json(StatusCode::OK, told).await;
    let anthropic = provider("anthropic", Codec::anthropic(), &format!("http://{}", upstream.addr));
    let gateway = Setup::new(vec![anthropic]).start().await;
    let ours = format!(
        r#"{{"id":"msgbatch_1","results_url":"http://{}/anthropic/v1/messages/batches/msgbatch_1/results"}}"#,
        gateway.addr
    );
    for path in [
        "/anthropic/v1/messages/batches/msgbatch_1",
        "/anthropic/v1/messages/batches?limit=1",
    ] {
        let mut request = fetch(&gateway, path);
        request
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let (head, body) = gateway.call(request).await;
        assert_eq!(body, ours);
        assert_eq!(head.headers[header::CONTENT_LENGTH], ours.len().to_string());
        assert_eq!(upstream.next().await.head.headers[header::ACCEPT_ENCODING], "identity");
    }
}

#[tokio::test]
async fn results_that_wait_are_bounded() {
    let ledger = Memory::new();
    ledger.results_gate.forget_permits(Semaphore::MAX_PERMITS);
    let shared: Arc<dyn Ledger> = Arc::new(Shared(Arc::clone(&ledger)));
    let codec = Codec::openai();
    let path = "/v1/files/file-1/content";
    let endpoint = codec.endpoint(&Method::GET, path);
    let request = codec.read(&endpoint, path, &http::HeaderMap::new(), &Bytes::new()).unwrap();
    let (head, ()) = Response::new(()).into_parts();
    let mut meter = Meter::new(&codec, &endpoint, &request, Bytes::new(), &head);
    let intent = super::harness::intent();
    let mut recording = Recording::new(&shared, endpoint.results.as_ref().unwrap(), "h:1", intent);
    let mut cx = Context::from_waker(Waker::noop());
    let mut given = 0;
    while recording.poll_ready(&mut cx) == Poll::Ready(Ok(())) {
        meter.frame(Bytes::from_static(lines(100).as_bytes()));
        recording.take(&mut meter);
        given += 100;
        assert!(given < 2000, "the upstream is read on and on");
    }
    // A first write of a hundred, and as many as may wait.
    assert_eq!(given, 700);
    ledger.results_gate.add_permits(9);
    recording.finish().await.unwrap();
    let counts: Vec<_> = ledger
        .fetched
        .lock()
        .unwrap()
        .iter()
        .map(|fetched| fetched.results.len())
        .collect();
    assert_eq!(counts, [100, 600]);
}

/// An upstream that answers paths that end so with JSON, and all others with lines.
async fn job(path: &'static str, json: &'static str, lines: &'static str) -> Upstream {
    Upstream::start(move |request| {
        let is_job = request.head.uri.path().ends_with(path);
        Box::pin(async move {
            let (body, kind) = if is_job {
                (json, "application/json")
            } else {
                (lines, "application/octet-stream")
            };
            let mut answer = Response::new(TestBody::Whole(Some(Bytes::from_static(body.as_bytes()))));
            answer
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            answer
        })
    })
    .await
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[tokio::test]
async fn results_that_stand_in_a_batch_are_recorded_once_however_they_are_fetched() {
    let outputs = lines(2).lines().collect::<Vec<_>>().join(",");
    let json = leak(format!(
        r#"{{"id":"job-1","status":"SUCCESS","outputs":[{outputs}],"output_file":"file-9"}}"#
    ));
    let upstream = job("/jobs/job-1", json, lines(2)).await;
    let mistral = provider("mistral", Codec::mistral(), &format!("http://{}", upstream.addr));
    let gateway = Setup::new(vec![mistral]).start().await;
    let mut seen = Vec::new();
    for path in [
        "/mistral/v1/batch/jobs/job-1?inline=true",
        "/mistral/v1/batch/jobs/job-1?inline=true",
        "/mistral/v1/files/file-9/content",
    ] {
        gateway.call(fetch(&gateway, path)).await;
        seen.push(std::mem::take(&mut *gateway.ledger.fetched.lock().unwrap()));
    }
    assert_eq!(seen[0][0].id, ResultsId::Batch("job-1".into()));
    let of: Vec<_> = seen.iter().map(|fetched| ids(fetched)).collect();
    assert_eq!(of[0].len(), 2);
    assert_eq!((&of[1], &of[2]), (&of[0], &of[0]));
    // Each fetch is a row that costs nothing.
    let rows = gateway.ledger.rows();
    assert!(
        rows.iter()
            .all(|row| !row.ending.usage.is_known() && row.ending.usage.unknown.is_empty())
    );
}

#[tokio::test]
async fn a_batch_of_geminis_is_recorded_when_it_is_looked_at() {
    let json = r#"{"name":"batches/b1","done":true,"response":{"inlinedResponses":{"inlinedResponses":[
        {"response":{"candidates":[{"finishReason":"STOP"}],"modelVersion":"m","usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2}}},
        {"response":{"candidates":[{"finishReason":"STOP"}],"modelVersion":"m","usageMetadata":{"promptTokenCount":6,"candidatesTokenCount":2}}}]}}}"#;
    let upstream = job("/batches/b1", json, r#"{"name":"batches/b1","metadata":{}}"#).await;
    let gemini = provider("gemini", Codec::gemini(), &format!("http://{}", upstream.addr));
    let gateway = Setup::new(vec![gemini]).start().await;
    let submitted = gateway.request(Method::POST, "/gemini/v1beta/models/m:batchGenerateContent", "{}");
    gateway.call(submitted).await;
    gateway.call(fetch(&gateway, "/gemini/v1beta/batches/b1")).await;
    let rows = gateway.ledger.rows();
    assert!(rows.iter().all(|row| row.ending.usage.unknown.is_empty()));
    let fetched = recorded(&gateway);
    assert_eq!(fetched[0].id, ResultsId::Batch("b1".into()));
    let results: Vec<_> = fetched.iter().flat_map(|fetched| &fetched.results).collect();
    let inputs: Vec<_> = results.iter().map(|result| result.ending.usage.input).collect();
    assert_eq!(inputs, [Some(5), Some(6)]);
    assert!(
        results
            .iter()
            .all(|result| result.ending.usage.service_tier == Some(name("batch")))
    );
}
