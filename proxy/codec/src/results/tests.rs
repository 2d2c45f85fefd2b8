#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

/// OpenAI's guide "Batch", section "Retrieve the results" (platform.openai.com/docs/guides/batch, November 2026), each line on one.
const OPENAI: &str = concat!(
    r#"{"id": "batch_req_123", "custom_id": "request-2", "response": {"status_code": 200, "request_id": "req_123", "body": {"id": "chatcmpl-123", "object": "chat.completion", "created": 1711652795, "model": "gpt-3.5-turbo-0125", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "logprobs": null, "finish_reason": "stop"}], "usage": {"prompt_tokens": 22, "completion_tokens": 2, "total_tokens": 24}, "system_fingerprint": "fp_123"}}, "error": null}"#,
    "\n",
    r#"{"id": "batch_req_456", "custom_id": "request-1", "response": {"status_code": 200, "request_id": "req_789", "body": {"id": "chatcmpl-abc", "object": "chat.completion", "created": 1711652789, "model": "gpt-3.5-turbo-0125", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello! How can I assist you today?"}, "logprobs": null, "finish_reason": "stop"}], "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}, "system_fingerprint": "fp_3ba"}}, "error": null}"#,
    "\n",
);

/// The same guide, section "Batch expiration".
const EXPIRED: &str = concat!(
    r#"{"id": "batch_req_123", "custom_id": "request-3", "response": null, "error": {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."}}"#,
    "\n",
);

/// Anthropic's guide "Batch processing", section "Retrieving batch results" (platform.claude.com/docs/en/build-with-claude/batch-processing,
/// November 2026), and two results that failed, in the shapes of its SDK (anthropic 2.12.0, `types/messages/message_batch_*_result.py`).
const ANTHROPIC: &str = concat!(
    r#"{"custom_id":"my-second-request","result":{"type":"succeeded","message":{"id":"msg_014VwiXbi91y3JMjcpyGBHX5","type":"message","role":"assistant","model":"claude-opus-4-6","content":[{"type":"text","text":"Hello again! It's nice to see you."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":11,"output_tokens":36}}}}"#,
    "\n",
    r#"{"custom_id":"my-first-request","result":{"type":"succeeded","message":{"id":"msg_01FqfsLoHwgeFbguDgpz48m7","type":"message","role":"assistant","model":"claude-opus-4-6","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":34,"cache_read_input_tokens":5,"service_tier":"batch"}}}}"#,
    "\n",
    r#"{"custom_id":"c","result":{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: required"},"request_id":"req_1"}}}"#,
    "\n",
    r#"{"custom_id":"d","result":{"type":"expired"}}"#,
    "\n",
    r#"{"custom_id":"e","result":{"type":"canceled"}}"#,
    "\n",
);

fn file() -> Lines {
    Lines::new(&ResultsId::File("file-1".into()), false)
}

fn batch() -> Lines {
    Lines::new(&ResultsId::Batch("msgbatch_1".into()), false)
}

fn all(mut lines: Lines, text: &str) -> Vec<ToldResult> {
    lines.read(text.as_bytes());
    lines.read_rest();
    assert_eq!(lines.unread, 0);
    lines.told
}

/// Key, operation, outcome, model, input and output.
fn told(result: &ToldResult) -> (&str, &str, Outcome, Option<&str>, Option<u64>, Option<u64>) {
    let ending = &result.ending;
    (
        &result.key,
        result.operation_name.as_str(),
        ending.outcome,
        ending.response_model.as_ref().map(Name::as_str),
        ending.usage.input,
        ending.usage.output,
    )
}

fn tier(result: &ToldResult) -> Option<&str> {
    result.ending.usage.service_tier.as_ref().map(Name::as_str)
}

#[test]
fn each_line_of_openais_is_a_result_of_the_tier_batch() {
    let results = all(file(), OPENAI);
    let model = Some("gpt-3.5-turbo-0125");
    assert_eq!(
        told(&results[0]),
        ("batch_req_123\nrequest-2", "chat", Outcome::Ok, model, Some(22), Some(2))
    );
    assert_eq!(
        told(&results[1]),
        ("batch_req_456\nrequest-1", "chat", Outcome::Ok, model, Some(20), Some(9))
    );
    assert_eq!(results.len(), 2);
    for (result, line) in results.iter().zip(OPENAI.lines()) {
        assert_eq!(tier(result), Some("batch"));
        assert_eq!(result.ending.usage.source, UsageSource::Reported);
        assert_eq!(
            (
                result.ending.status_code,
                result.ending.finish_reason.as_ref().unwrap().as_str()
            ),
            (Some(200), "stop")
        );
        assert_eq!(result.ending.response_bytes, line.len() as u64);
    }
}

#[test]
fn a_request_that_was_never_made_costs_nothing() {
    let results = all(file(), EXPIRED);
    assert_eq!(
        told(&results[0]),
        ("batch_req_123\nrequest-3", "batch_result", Outcome::Timeout, None, None, None)
    );
    assert_eq!(results[0].ending.error_type, Name::new("batch_expired").ok());
    assert!(results[0].ending.usage.unknown.is_empty());
}

#[test]
fn a_request_that_the_provider_refused_costs_nothing() {
    let line = r#"{"custom_id":"a","response":{"status_code":400,"request_id":"r","body":{"error":{"message":"no","type":"invalid_request_error","code":"x"}}},"error":null}"#;
    let results = all(file(), line);
    assert_eq!(
        (results[0].ending.outcome, results[0].ending.status_code),
        (Outcome::UpstreamError, Some(400))
    );
    assert_eq!(results[0].ending.error_type, Name::new("invalid_request_error").ok());
    assert_eq!(results[0].ending.usage, tollgate_record::Usage::default());
}

#[test]
fn what_openai_batches_answer_is_told_by_the_body() {
    let line = |body: &str| format!(r#"{{"custom_id":"a","response":{{"status_code":200,"body":{body}}},"error":null}}"#);
    for (body, operation, input, output) in [
        (
            r#"{"object":"list","data":[],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            "embeddings",
            Some(8),
            None,
        ),
        (
            r#"{"object":"text_completion","model":"m","usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
            "text_completion",
            Some(5),
            Some(7),
        ),
        (
            r#"{"object":"response","model":"m","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}"#,
            "chat",
            Some(3),
            Some(4),
        ),
    ] {
        let results = all(file(), &line(body));
        assert_eq!(
            (results[0].operation_name.as_str(), tier(&results[0])),
            (operation, Some("batch"))
        );
        assert_eq!(
            (results[0].ending.usage.input, results[0].ending.usage.output),
            (input, output),
            "{body}"
        );
    }
    // A moderation is free; what is not known is not.
    let free = all(
        file(),
        &line(r#"{"id":"modr-1","model":"omni-moderation-latest","results":[]}"#),
    );
    assert_eq!((free[0].ending.outcome, free[0].ending.usage.unknown.len()), (Outcome::Ok, 0));
    for unknown in [r#"{"object":"video","id":"v"}"#, "null", r#""text""#] {
        let results = all(file(), &line(unknown));
        assert_eq!(
            (results[0].ending.outcome, &*results[0].ending.usage.unknown[0].field),
            (Outcome::Ok, "request"),
            "{unknown}"
        );
    }
}

#[test]
fn each_line_of_anthropics_is_a_result_and_only_those_that_succeeded_cost() {
    let results = all(batch(), ANTHROPIC);
    let model = Some("claude-opus-4-6");
    assert_eq!(
        told(&results[0]),
        ("my-second-request", "chat", Outcome::Ok, model, Some(11), Some(36))
    );
    // Tokens read from a cache stand beside the input, and inside it in the ledger.
    assert_eq!(
        told(&results[1]),
        ("my-first-request", "chat", Outcome::Ok, model, Some(15), Some(34))
    );
    assert!(results[..2].iter().all(|result| tier(result) == Some("batch")));
    let failed: Vec<_> = results[2..]
        .iter()
        .map(|result| {
            (
                result.ending.outcome,
                result.ending.error_type.as_ref().unwrap().as_str(),
                result.ending.usage.is_known(),
            )
        })
        .collect();
    assert_eq!(
        failed,
        [
            (Outcome::UpstreamError, "invalid_request_error", false),
            (Outcome::Timeout, "expired", false),
            (Outcome::ClientAborted, "canceled", false),
        ]
    );
}

#[test]
fn results_are_the_same_however_the_text_is_cut() {
    for (text, lines) in [(OPENAI, file as fn() -> Lines), (ANTHROPIC, batch as fn() -> Lines)] {
        let whole = all(lines(), text);
        for size in [1, 2, 7, 100, 700] {
            let mut reader = lines();
            let mut seen = Vec::new();
            for part in text.as_bytes().chunks(size) {
                reader.read(part);
                seen.append(&mut reader.told);
            }
            assert_eq!(seen, whole, "{size}");
        }
        // Line ends of another system, empty lines, and no line end at the end.
        let other = format!("\r\n{}", text.trim_end().replace('\n', "\r\n\r\n"));
        assert_eq!(all(lines(), &other), whole);
    }
}

#[test]
fn what_is_cut_off_is_no_result_yet() {
    let first = OPENAI.find('\n').unwrap();
    for end in [0, 1, first / 2, first - 1] {
        let mut lines = file();
        lines.read(&OPENAI.as_bytes()[..end]);
        lines.read_rest();
        assert_eq!((lines.told.len(), lines.unread), (0, 0), "{end}");
        // More may come.
        lines.read(&OPENAI.as_bytes()[end..]);
        assert_eq!((lines.told.len(), lines.unread), (2, 0), "{end}");
    }
    let mut lines = file();
    lines.read(&OPENAI.as_bytes()[..first]);
    lines.read_rest();
    assert_eq!(lines.told.len(), 1, "a whole result without its line end is one");
    lines.read(&OPENAI.as_bytes()[first..]);
    assert_eq!(lines.told.len(), 2, "and is told once");
}

#[test]
fn a_part_of_a_file_has_the_results_that_are_whole_in_it() {
    let first = OPENAI.find('\n').unwrap();
    for start in [1, 10, first - 1, first, first + 1] {
        let mut lines = Lines::new(&ResultsId::File("f".into()), true);
        lines.read(&OPENAI.as_bytes()[start..]);
        lines.read_rest();
        assert_eq!((lines.told.len(), lines.unread), (1, 0), "{start}");
        assert_eq!(&*lines.told[0].key, "batch_req_456\nrequest-1");
    }
}

#[test]
fn files_without_results_tell_none() {
    let input =
        r#"{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}"#;
    for text in [
        input,
        r#"{"messages":[{"role":"user","content":"\"custom_id\" \"response\""}]}"#,
        "{}",
        "",
        "[1,2]\n{}",
        "a,b\n1,2\n",
    ] {
        assert!(all(file(), text).is_empty(), "{text}");
        assert!(all(file(), &format!("{text}\n")).is_empty(), "{text}");
    }
    let mut binary = file();
    binary.read(&[0x89, b'P', b'N', b'G', b'\n', 0]);
    binary.read(OPENAI.as_bytes());
    assert!(binary.told.is_empty() && binary.line.capacity() == 0);
}

#[test]
fn a_result_that_cannot_be_read_is_counted() {
    let mut broken = file();
    broken.read(b"{\"custom_id\":\"a\",\"response\":{]}\n");
    broken.read(OPENAI.as_bytes());
    assert_eq!((broken.told.len(), broken.unread), (2, 1));
}

#[test]
fn a_line_beyond_the_limit_is_counted_if_it_is_a_result_and_not_kept() {
    let long = "x".repeat(LINE_BYTES_MAX);
    for (start, unread) in [
        (r#"{"id":"b","custom_id":"a","response":{"body":""#, 1),
        (r#"{"messages":[""#, 0),
    ] {
        let mut lines = file();
        lines.read(start.as_bytes());
        lines.read(long.as_bytes());
        assert!(lines.line.capacity() <= KEPT_BYTES);
        lines.read(b"\"}}\n");
        lines.read(OPENAI.as_bytes());
        assert_eq!((lines.told.len(), lines.unread), (2, unread));
    }
}

/// A batch that is looked at, as the meter reads it: what it tells, its decisions, where the results are called otherwise, and what was not read.
fn looked_at(codec: crate::Codec, path: &str, body: &str) -> (Vec<ToldResult>, crate::Metered, Option<ResultsId>) {
    let endpoint = codec.endpoint(&http::Method::GET, path);
    assert!(endpoint.results.is_some() && endpoint.tells_batch());
    let request = crate::Request::default();
    let mut head = http::Response::new(()).into_parts().0;
    head.headers
        .insert("content-type", http::HeaderValue::from_static("application/json"));
    let mut meter = crate::Meter::new(&codec, &endpoint, &request, bytes::Bytes::new(), &head);
    let (start, end) = body.split_at(body.len() / 2);
    for part in [start, end] {
        meter.frame(bytes::Bytes::copy_from_slice(part.as_bytes()));
        assert!(meter.take_results().is_empty());
    }
    meter.finish();
    let told = meter.take_results();
    assert!(meter.take_results().is_empty());
    let place = meter.results_place().cloned();
    (told, meter.metered(crate::End::Complete), place)
}

/// Google's API reference "Batch API" (ai.google.dev/api/batch-api, November 2026: `GenerateContentBatchOutput`, `InlinedResponse`), as google-genai 3.6.1 reads it
/// (`batches.py`).
const GEMINI: &str = r#"{"name":"batches/abc123","metadata":{"@type":"type.googleapis.com/google.ai.generativelanguage.v1beta.GenerateContentBatch",
    "model":"models/gemini-3.6-flash","state":"BATCH_STATE_SUCCEEDED","name":"batches/abc123"},"done":true,
    "response":{"@type":"type.googleapis.com/google.ai.generativelanguage.v1beta.GenerateContentBatchOutput","inlinedResponses":{"inlinedResponses":[
    {"metadata":{"key":"a"},"response":{"candidates":[{"content":{"parts":[{"text":"4"}]},"finishReason":"STOP"}],"modelVersion":"gemini-3.6-flash",
    "usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":1,"thoughtsTokenCount":7,"totalTokenCount":13}}},
    {"metadata":{"key":"a"},"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}},
    {"response":{"embedding":{"values":[0.5]},"usageMetadata":{"promptTokenCount":3}}}]}}}"#;

#[test]
fn a_batch_of_geminis_has_its_results_in_it() {
    let (told_results, metered, place) = looked_at(crate::Codec::gemini(), "/v1beta/batches/abc123", GEMINI);
    let model = Some("gemini-3.6-flash");
    let results: Vec<_> = told_results.iter().map(told).collect();
    // Thoughts stand beside candidates: 1 + 7. Keys may repeat, places do not.
    assert_eq!(
        results,
        [
            ("0", "generate_content", Outcome::Ok, model, Some(5), Some(8)),
            ("1", "batch_result", Outcome::UpstreamError, None, None, None),
            ("2", "embeddings", Outcome::Ok, None, Some(3), None),
        ]
    );
    assert_eq!(told_results[1].ending.error_type, Name::new("INVALID_ARGUMENT").ok());
    assert_eq!([tier(&told_results[0]), tier(&told_results[2])], [Some("batch"); 2]);
    assert!(told_results[1].ending.usage.unknown.is_empty());
    assert!(place.is_none() && metered.usage == tollgate_record::Usage::default() && metered.decisions.is_empty());
    // The SDK reads the same from the metadata.
    let moved = GEMINI.replace("\"model\":", "\"output\":RESPONSE,\"model\":");
    let at = moved.find("\"response\":{\"@type\"").unwrap();
    let response = moved[at + 11..moved.len() - 1].to_owned();
    let moved = format!("{},\"x\":0}}", &moved[..at - 1].trim_end().trim_end_matches(',')).replace("RESPONSE", &response);
    assert_eq!(
        looked_at(crate::Codec::gemini(), "/v1beta/batches/abc123", &moved).0,
        told_results
    );
}

#[test]
fn a_batch_of_geminis_that_is_going_on_or_has_a_file_tells_no_results() {
    let pending = r#"{"name":"batches/abc123","metadata":{"state":"BATCH_STATE_RUNNING","batchStats":{"requestCount":"2"}}}"#;
    let (results, metered, _) = looked_at(crate::Codec::gemini(), "/v1beta/batches/abc123", pending);
    assert!(results.is_empty() && metered.decisions.is_empty() && metered.usage.unknown.is_empty());
    let of_file = r#"{"name":"batches/abc123","done":true,"response":{"responsesFile":"files/batch-abc123"}}"#;
    let (results, metered, _) = looked_at(crate::Codec::gemini(), "/v1beta/batches/abc123", of_file);
    assert!(results.is_empty());
    assert_eq!(metered.decisions, [tollgate_record::batch::output("batch-abc123", "abc123")]);
}

/// Google's guide "Batch API", section "Input file" (ai.google.dev/gemini-api/docs/batch-api, November 2026): each line has a request's key, and a response or an error.
#[test]
fn each_line_of_a_file_of_geminis_is_a_result() {
    let lines = concat!(
        r#"{"key":"request-1","response":{"candidates":[{"finishReason":"STOP"}],"modelVersion":"gemini-3.6-flash","usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"totalTokenCount":7}}}"#,
        "\n",
        r#"{"key":"request-2","error":{"code":13,"message":"no","status":"INTERNAL"}}"#,
        "\n",
        r#"{"key":"request-3","response":{"candidates":[]}}"#,
        "\n",
        // Somebody's own file.
        r#"{"key":"k","response":{"text":"t"}}"#,
        "\n",
        r#"{"key":"k","request":{"contents":[]}}"#,
        "\n",
    );
    let results = all(file(), lines);
    let seen: Vec<_> = results.iter().map(told).collect();
    let model = Some("gemini-3.6-flash");
    assert_eq!(
        seen,
        [
            ("request-1", "generate_content", Outcome::Ok, model, Some(5), Some(2)),
            ("request-2", "batch_result", Outcome::UpstreamError, None, None, None),
            ("request-3", "generate_content", Outcome::Ok, None, None, None),
        ]
    );
    // It may have cost something.
    assert_eq!(results[2].ending.usage.unknown.len(), 1);
}

#[test]
fn a_job_of_mistrals_has_its_results_in_it() {
    // mistralai 3.7.0, `models/batchjob.py`: `outputs` are objects, in the words of the lines of its files.
    let outputs = OPENAI.lines().collect::<Vec<_>>().join(",");
    let job = |rest: &str| format!(r#"{{"id":"job-1","object":"batch","status":"SUCCESS","outputs":[{outputs}]{rest}}}"#);
    let path = "/v1/batch/jobs/job-1?inline=true";
    let (results, metered, place) = looked_at(crate::Codec::mistral(), path, &job(""));
    assert_eq!(results, all(file(), OPENAI));
    assert!(place.is_none() && metered.usage.unknown.is_empty());
    // Where it names a file of the same results, they are those of the file.
    let (again, metered, place) = looked_at(crate::Codec::mistral(), path, &job(r#","output_file":"file-9""#));
    assert_eq!((again, place), (results, Some(ResultsId::File("file-9".into()))));
    assert_eq!(metered.decisions, [tollgate_record::batch::output("file-9", "job-1")]);
    let (none, ..) = looked_at(
        crate::Codec::mistral(),
        path,
        r#"{"id":"job-1","status":"RUNNING","outputs":null}"#,
    );
    assert!(none.is_empty());
}

#[test]
fn results_in_a_batch_that_cannot_be_read_are_told() {
    let job = r#"{"id":"job-1","outputs":[{"other":1},7]}"#;
    let (results, metered, _) = looked_at(crate::Codec::mistral(), "/v1/batch/jobs/job-1", job);
    assert!(results.is_empty());
    let unread: Vec<_> = metered
        .usage
        .unknown
        .iter()
        .map(|field| (&*field.field, field.quantity))
        .collect();
    assert_eq!(unread, [("unread_batch_results", 2)]);
    let long = format!(r#"{{"id":"job-1","outputs":[{{"custom_id":"{}"}}]}}"#, "x".repeat(17 << 20));
    let (results, metered, _) = looked_at(crate::Codec::mistral(), "/v1/batch/jobs/job-1", &long);
    assert!(
        results.is_empty()
            && metered
                .usage
                .unknown
                .iter()
                .any(|field| &*field.field == "unread_batch_results")
    );
}

#[test]
fn a_batch_whose_results_are_never_read_does_not_look_free() {
    let submitted = |codec: crate::Codec, path: &str| {
        let endpoint = codec.endpoint(&http::Method::POST, path);
        let head = http::Response::new(()).into_parts().0;
        let mut meter = crate::Meter::new(&codec, &endpoint, &crate::Request::default(), bytes::Bytes::new(), &head);
        meter.frame(bytes::Bytes::from_static(br#"{"id":"b1"}"#));
        meter.finish();
        !meter.metered(crate::End::Complete).usage.unknown.is_empty()
    };
    let lent = |name: &str| crate::Codec::openai().lent_to(Name::new(name).unwrap(), crate::AbortRule::Cancel);
    assert!(submitted(crate::Codec::bedrock(), "/openai/v1/batches"));
    assert!(submitted(crate::Codec::gemini(), "/v1beta/openai/batches"));
    assert!(submitted(lent("together"), "/v1/batches") && submitted(lent("xai"), "/v1/batches"));
    assert!(!submitted(crate::Codec::openai(), "/v1/batches") && !submitted(lent("groq"), "/v1/batches"));
    assert!(!submitted(crate::Codec::gemini(), "/v1beta/models/m:batchGenerateContent"));
    // To a bucket of the customer's.
    assert!(submitted(
        crate::Codec::gemini(),
        "/v1/projects/p/locations/l/batchPredictionJobs"
    ));
    assert!(submitted(crate::Codec::bedrock(), "/model-invocation-job"));
}
