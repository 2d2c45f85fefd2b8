//! What SDKs do not show: the bytes are the provider's own, compressed or not, over HTTP/1.1, HTTP/2 and TLS.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::call::{Api, Call, Target};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::ledger::agrees;
use crate::harness::raw::{self, Answer};
use crate::harness::sdk::Language;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        answers_are_the_same_bytes,
        compressed_answers_are_the_same_bytes_and_metered,
        a_usage_chunk_that_was_not_asked_for_is_removed_and_nothing_else,
        a_stream_that_must_be_edited_is_asked_for_uncompressed,
        frames_leave_as_they_come,
        an_answer_names_its_call_and_a_buffered_one_its_cost,
        http2_without_tls_is_spoken,
        tls_is_spoken_with_http1_and_http2,
        paths_without_usage_are_forwarded_and_leave_a_row,
    ]
}

/// The same call through the gateway and to the simulator, and its session.
async fn twice(world: &World, client: &reqwest::Client, call: &Call) -> (Answer, Answer, String) {
    let session = world.session();
    let through = raw::send(raw::request(client, call, &world.through(call.api, &session).await)).await;
    let direct = raw::send(raw::request(client, call, &world.simulator().await)).await;
    assert_eq!((through.status, &through.broken, direct.status, &direct.broken), (200, &None, 200, &None));
    (through, direct, session)
}

async fn answers_are_the_same_bytes(world: Arc<World>) {
    let client = reqwest::Client::new();
    for api in Api::ALL {
        for stream in [false, true] {
            if stream && api == Api::Embeddings {
                continue;
            }
            for told in ["chunks=20", "flush=0; crlf=1; comments=1"] {
                let call = Call::new(api).streamed_if(stream).with_usage();
                let call = if api == Api::Embeddings { call } else { call.simulate(told) };
                let (through, direct, session) = twice(&world, &client, &call).await;
                assert_eq!(through.text(), direct.text(), "{api:?}");
                assert_eq!(through.header("content-type"), direct.header("content-type"));
                let row = world.one_row(&session).await;
                assert_eq!((row.text("outcome"), row.int("response_bytes")), (Some("ok"), Some(direct.body.len() as i64)));
                assert_eq!(row.int("request_bytes"), Some(call.params.to_string().len() as i64));
            }
        }
    }
}

async fn compressed_answers_are_the_same_bytes_and_metered(world: Arc<World>) {
    let client = reqwest::Client::new();
    for api in Api::TEXT {
        for encoding in ["gzip", "br", "zstd"] {
            for stream in [false, true] {
                let told = format!("encoding={encoding}; input=1000; output=77");
                let call = Call::new(api).streamed_if(stream).with_usage().simulate(told);
                let session = world.session();
                let accept = |request: reqwest::RequestBuilder| request.header("accept-encoding", encoding);
                let through = raw::send(accept(raw::request(&client, &call, &world.through(api, &session).await))).await;
                let direct = raw::send(accept(raw::request(&client, &call, &world.simulator().await))).await;
                assert_eq!((through.status, through.header("content-encoding")), (200, Some(encoding)));
                assert_eq!(through.body, direct.body, "{api:?} {encoding}");
                let row = world.one_row(&session).await;
                assert_eq!((row.text("usage_source"), row.int("input_tokens"), row.int("output_tokens")), (Some("reported"), Some(1000), Some(77)));
            }
        }
    }
}

/// The events of a stream, those of `usage: null` without it.
fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let without_null = |mut event: Value| {
        if event.get("usage").is_some_and(Value::is_null) {
            event.as_object_mut().expect("events are objects").remove("usage");
        }
        event
    };
    lines.map(|data| without_null(serde_json::from_str(data).unwrap())).collect()
}

async fn a_usage_chunk_that_was_not_asked_for_is_removed_and_nothing_else(world: Arc<World>) {
    let client = reqwest::Client::new();
    for api in [Api::Chat, Api::Completions] {
        for told in ["chunks=20", "chunks=5; crlf=1; comments=1", "chunks=5; flush=0"] {
            let call = Call::new(api).streamed().simulate(told);
            let (through, direct, session) = twice(&world, &client, &call).await;
            assert_eq!(events(&through), events(&direct));
            assert!(through.text().trim_end().ends_with("data: [DONE]"));
            assert_eq!(world.one_row(&session).await.text("usage_source"), Some("reported"), "it asked on its own account");
            // Of a provider that sends the chunk unasked, the client would have seen it: it stays.
            let call = Call::new(api).streamed().simulate(told).simulate("include_usage=1");
            let (through, _, session) = twice(&world, &client, &call).await;
            assert!(through.text().trim_end().ends_with("data: [DONE]"));
            assert_eq!(world.one_row(&session).await.text("usage_source"), Some("reported"));
        }
    }
}

/// A chunk cannot be taken out of a compressed stream, so the provider is asked for a plain one; of those that compress all the same the usage is read.
async fn a_stream_that_must_be_edited_is_asked_for_uncompressed(world: Arc<World>) {
    for (call, accepted) in [
        (Call::new(Api::Chat).streamed(), "identity"),
        (Call::new(Api::Chat).streamed().with_usage(), "gzip"),
        (Call::new(Api::Chat), "gzip"),
        (Call::new(Api::Messages).streamed(), "gzip"),
    ] {
        let session = world.session();
        let target = world.through(call.api, &session).await.header("accept-encoding", "gzip");
        let reply = world.sdk(Language::Python).await.call(call.clone().simulate("echo=1").order(&target)).await;
        assert_eq!(reply.error, None);
        let seen: Value = serde_json::from_str(&reply.text).unwrap();
        assert!(seen["headers"].to_string().contains(accepted), "{seen}");
    }
    let call = Call::new(Api::Chat).streamed().simulate("encoding=gzip; input=1000; output=77");
    let (through, row, direct) = world.both(Language::JavaScript, &call).await;
    assert_eq!((&through.error, &through.text), (&None, &direct.text));
    assert_eq!((row.int("input_tokens"), row.int("output_tokens")), (Some(1000), Some(77)), "{}", row.0);
}

async fn frames_leave_as_they_come(world: Arc<World>) {
    for api in Api::TEXT {
        let session = world.session();
        // After three events the provider says nothing more: what the client has by then did not wait for an end.
        let call = Call::new(api).streamed().simulate(format!("stall_after=3; id={session}"));
        let target = world.through(api, &session).await;
        let mut response = raw::request(&reqwest::Client::new(), &call, &target).send().await.unwrap();
        let mut seen = String::new();
        while seen.matches("\ndata: ").count() + usize::from(seen.starts_with("data: ")) < 3 {
            let chunk = response.chunk().await.unwrap().expect("the stream stays open");
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

async fn an_answer_names_its_call_and_a_buffered_one_its_cost(world: Arc<World>) {
    let client = reqwest::Client::new();
    let call = Call::new(Api::Chat);
    let (through, _, session) = twice(&world, &client, &call).await;
    let row = world.one_row(&session).await;
    assert_eq!(through.header("x-tollgate-call-id"), row.text("call_id"));
    assert!(through.header("x-tollgate-cost").is_some());
    let (through, _, session) = twice(&world, &client, &call.streamed()).await;
    assert_eq!(through.header("x-tollgate-call-id"), world.one_row(&session).await.text("call_id"));
    assert_eq!(through.header("x-tollgate-cost"), None, "the cost of a stream is not known when it begins");
}

async fn http2_without_tls_is_spoken(world: Arc<World>) {
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for api in Api::TEXT {
        for stream in [false, true] {
            let call = Call::new(api).streamed_if(stream).with_usage().simulate("chunks=20");
            let (through, direct, session) = twice(&world, &client, &call).await;
            assert_eq!(through.text(), direct.text());
            assert_eq!(world.one_row(&session).await.text("outcome"), Some("ok"));
        }
    }
}

async fn tls_is_spoken_with_http1_and_http2(world: Arc<World>) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let pem = issued.cert.pem();
    // The folder of the configuration has *.yaml files for the gateway; the others are found relative to it.
    let config = Config::standard()
        .with("certificate.pem", pem.clone())
        .with("key.pem", issued.signing_key.serialize_pem())
        .replacing("listen: {http:", "tls: {certificate: certificate.pem, key: key.pem}\n  listen: {https: \"127.0.0.1:0\", http:");
    let gateway = world.own_gateway(&config).await;
    let https = gateway.addresses().https.clone().expect("it listens for TLS");
    let target = Target::new(format!("https://{https}/openai"), KEY);
    let trusting = || reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
    for (client, version) in [
        (trusting().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
        (trusting().build().unwrap(), reqwest::Version::HTTP_2),
    ] {
        let call = Call::new(Api::Chat);
        let response = raw::request(&client, &call, &target).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
        let call_id = response.headers()["x-tollgate-call-id"].to_str().unwrap().to_owned();
        response.bytes().await.unwrap();
        let rows = gateway.sql(&format!("SELECT outcome FROM usage WHERE call_id = '{call_id}'")).await;
        assert_eq!(rows.len(), 1);
    }
}

async fn paths_without_usage_are_forwarded_and_leave_a_row(world: Arc<World>) {
    let session = world.session();
    let target = world.through(Api::Chat, &session).await;
    let request = reqwest::Client::new().get(format!("{}/v1/models", target.root)).bearer_auth(&target.key);
    let through = raw::send(request.header("x-tollgate-session", &session)).await;
    assert_eq!(through.status, 200, "{}", through.text());
    assert!(through.json()["data"].is_array());
    let row = world.one_row(&session).await;
    assert_eq!((row.text("outcome"), row.text("usage_source"), row.text("cost_status")), (Some("ok"), Some("none"), Some("free")), "{}", row.0);
    assert_eq!(row.int("input_tokens"), None);
    // And one that bears usage, so that the row above is not the only kind.
    let (reply, row, _) = world.both(Language::Python, &Call::new(Api::Chat)).await;
    agrees(&row, &Call::new(Api::Chat), &reply, &reply.usage.clone().unwrap());
}
