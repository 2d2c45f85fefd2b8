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
