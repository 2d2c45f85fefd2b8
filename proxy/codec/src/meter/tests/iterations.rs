//! Answers of Anthropic's that several models or attempts took part in. Expected numbers follow its documentation, "Refusals and fallback"
//! (platform.claude.com/docs/en/build-with-claude/refusals-and-fallback, September 2026: "Billing and rate limits", "How refusals are billed"), "Advisor tool"
//! ("Usage and billing") and "Compaction", and anthropic 2.12.0 (`types/beta/beta_usage.py`).

use tollgate_record::Part;

use super::*;

fn message(body: &str) -> Metered {
    let call = Call::new(
        Codec::anthropic(),
        "/v1/messages?beta=true",
        r#"{"model":"claude-fable-5","messages":[]}"#,
    );
    call.answer(body)
}

fn stream(events: &[&str]) -> Metered {
    let call = Call {
        headers: vec![("content-type", "text/event-stream".into())],
        ..Call::new(
            Codec::anthropic(),
            "/v1/messages?beta=true",
            r#"{"model":"claude-fable-5","stream":true,"messages":[]}"#,
        )
    };
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    call.frames([body.as_bytes()], End::Complete).metered
}

fn part(model: Option<&str>, input: u64, output: u64) -> Part {
    Part {
        model: model.and_then(name),
        usage: Usage {
            input: Some(input),
            cache_read: Some(0),
            cache_creation: Some(0),
            output: Some(output),
            ..Usage::default()
        },
    }
}

fn unbilled(model: &str, input: u64) -> Part {
    Part {
        model: name(model),
        usage: Usage {
            input: Some(input),
            unbilled_in: Some(input),
            output: Some(0),
            ..Usage::default()
        },
    }
}

fn totals(usage: &Usage) -> (Option<u64>, Option<u64>, Option<u64>) {
    (usage.input, usage.unbilled_in, usage.output)
}

/// The iterations of the documentation's example, with the output of the attempt that was declined.
fn iterations(declined_output: u64) -> String {
    format!(
        r#"{{"input_tokens":412,"output_tokens":264,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"iterations":[
        {{"type":"message","model":"claude-fable-5","input_tokens":535,"output_tokens":{declined_output},"cache_read_input_tokens":0,"cache_creation_input_tokens":0}},
        {{"type":"fallback_message","model":"claude-opus-4-8","input_tokens":412,"output_tokens":264,"cache_read_input_tokens":0,"cache_creation_input_tokens":0}}]}}"#
    )
    .replace('\n', "")
}

fn block(category: &str) -> String {
    format!(
        r#"{{"type":"fallback","from":{{"model":"claude-fable-5"}},"to":{{"model":"claude-opus-4-8"}},"trigger":{{"type":"refusal","category":{category}}}}}"#
    )
}

fn fallback(content: &str, declined_output: u64) -> Metered {
    message(&format!(
        r#"{{"id":"msg_01XFUDYJgAACzvnptvVoYEL","type":"message","role":"assistant","model":"claude-opus-4-8","content":[{content}],
        "stop_reason":"end_turn","stop_details":null,"usage":{}}}"#,
        iterations(declined_output)
    ))
}

#[test]
fn a_refusal_before_any_output_is_told_and_not_billed() {
    // The documentation's example, whose block tells no category.
    let block_of_example = r#"{"type":"fallback","from":{"model":"claude-fable-5"},"to":{"model":"claude-opus-4-8"}}"#;
    for block in [
        block_of_example.to_owned(),
        block("\"cyber\""),
        block("\"general_harms\""),
        block("null"),
    ] {
        let metered = fallback(
            &format!(r#"{block},{{"type":"text","text":"Hi! How can I help you today?"}}"#),
            0,
        );
        assert_eq!(metered.response_model, name("claude-opus-4-8"));
        assert_eq!(totals(&metered.usage), (Some(535 + 412), Some(535), Some(264)), "{block}");
        assert_eq!(
            metered.usage.parts,
            [unbilled("claude-fable-5", 535), part(None, 412, 264)],
            "{block}"
        );
    }
}

#[test]
fn a_refusal_of_a_billed_category_and_one_after_output_cost_what_their_model_costs() {
    for category in ["bio", "frontier_llm", "reasoning_extraction"] {
        let metered = fallback(&block(&format!("\"{category}\"")), 0);
        assert_eq!(
            metered.usage.parts,
            [part(Some("claude-fable-5"), 535, 0), part(None, 412, 264)],
            "{category}"
        );
        assert_eq!(totals(&metered.usage), (Some(535 + 412), None, Some(264)));
    }
    let metered = fallback(&block("\"cyber\""), 20);
    assert_eq!(
        metered.usage.parts,
        [part(Some("claude-fable-5"), 535, 20), part(None, 412, 264)]
    );
    assert_eq!(totals(&metered.usage), (Some(535 + 412), None, Some(20 + 264)));
    // Without the block it cannot be told whether the refusal is billed: it is not left out.
    let metered = fallback(r#"{"type":"text","text":"hi"}"#, 0);
    assert_eq!(metered.usage.unbilled_in, None);
}

#[test]
fn a_stream_tells_the_same_in_its_last_event() {
    // Declined after output: `message_start` has named the model that was asked for.
    let start = r#"{"type":"message_start","message":{"model":"claude-fable-5","content":[],"usage":{"input_tokens":535,"output_tokens":1,"cache_read_input_tokens":0,"cache_creation_input_tokens":0}}}"#;
    let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let handed_over = format!(
        r#"{{"type":"content_block_start","index":1,"content_block":{}}}"#,
        block("\"cyber\"")
    );
    let end = |declined_output: u64| {
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{}}}"#,
            iterations(declined_output)
        )
    };
    let stop = r#"{"type":"message_stop"}"#;
    let metered = stream(&[start, text, &handed_over, &end(20), stop]);
    assert_eq!(metered.response_model, name("claude-opus-4-8"));
    assert_eq!(
        metered.usage.parts,
        [part(Some("claude-fable-5"), 535, 20), part(None, 412, 264)]
    );
    // Declined before: it names the fallback.
    let start = start.replace("claude-fable-5", "claude-opus-4-8");
    let metered = stream(&[&start, &handed_over, text, &end(0), stop]);
    assert_eq!(metered.usage, fallback(&block("\"cyber\""), 0).usage);
    assert_eq!(totals(&metered.usage), (Some(535 + 412), Some(535), Some(264)));
}

#[test]
fn an_advisors_advice_is_its_models_and_every_turn_counts() {
    // The documentation's example: the totals have the output of both turns, and the input of the first.
    let metered = message(
        r#"{"type":"message","model":"claude-sonnet-5","content":[{"type":"text","text":"t"}],"usage":{"input_tokens":412,"cache_read_input_tokens":0,
        "cache_creation_input_tokens":0,"output_tokens":531,"iterations":[
        {"type":"message","input_tokens":412,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":89},
        {"type":"advisor_message","model":"claude-fable-5","input_tokens":823,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":1612},
        {"type":"message","input_tokens":1348,"cache_read_input_tokens":412,"cache_creation_input_tokens":0,"output_tokens":442}]}}"#,
    );
    let mut second = part(None, 1348 + 412, 442);
    second.usage.cache_read = Some(412);
    assert_eq!(
        metered.usage.parts,
        [part(None, 412, 89), part(Some("claude-fable-5"), 823, 1612), second]
    );
    assert_eq!(
        totals(&metered.usage),
        (Some(412 + 823 + 1348 + 412), None, Some(89 + 1612 + 442))
    );
    assert_eq!(metered.usage.cache_read, Some(412));
    assert_eq!(metered.response_model, name("claude-sonnet-5"));
}

#[test]
fn compactions_are_added_and_unknown_iterations_are_shown() {
    let usage = message(
        r#"{"type":"message","usage":{"input_tokens":100,"output_tokens":20,"iterations":[
        {"type":"compaction","input_tokens":500,"cache_read_input_tokens":40,"cache_creation_input_tokens":0,"output_tokens":60},
        {"type":"message","input_tokens":100,"output_tokens":20,"cache_read_input_tokens":0,"cache_creation_input_tokens":0},
        {"type":"dream","model":"other","input_tokens":7,"output_tokens":8,"cache_read_input_tokens":0}],"container_seconds":9}}"#,
    )
    .usage;
    assert_eq!(
        (usage.input, usage.cache_read, usage.output),
        (Some(100 + 500 + 40), Some(40), Some(20 + 60))
    );
    let mut compaction = part(None, 500 + 40, 60);
    compaction.usage.cache_read = Some(40);
    assert_eq!(usage.parts, [compaction, part(None, 100, 20)]);
    let fields: Vec<_> = usage.unknown.iter().map(|field| (&*field.field, field.quantity)).collect();
    assert_eq!(
        fields,
        [
            ("container_seconds", 9),
            ("iterations.dream.input_tokens", 7),
            ("iterations.dream.output_tokens", 8)
        ]
    );
}

#[test]
fn one_iteration_of_the_model_that_answered_is_the_call() {
    let usage = r#"{"input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":0,"output_tokens":5,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}"#;
    let one = r#""iterations":[{"type":"message","input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":0,"output_tokens":5}]"#;
    let without = message(&format!(
        r#"{{"model":"claude-fable-5","content":[{{"type":"text"}}],"usage":{usage}}}}}"#
    ));
    let with = message(&format!(
        r#"{{"model":"claude-fable-5","content":[{{"type":"text"}}],"usage":{usage},{one}}}}}"#
    ));
    assert_eq!(with, without);
    assert_eq!(with.usage.cache_creation_1h, Some(200));
    assert!(with.usage.parts.is_empty());
}

#[test]
fn what_was_counted_after_the_list_is_the_answering_models() {
    let start = r#"{"type":"message_start","message":{"model":"claude-opus-5","content":[],"usage":{"input_tokens":10,"output_tokens":1,"iterations":[{"type":"message","input_tokens":10,"output_tokens":1},{"type":"advisor_message","model":"claude-fable-5","input_tokens":7,"output_tokens":8}]}}}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    let usage = stream(&[start, end, r#"{"type":"message_stop"}"#]).usage;
    assert_eq!((usage.input, usage.output), (Some(10 + 7), Some(15 + 8)));
    let outputs: Vec<_> = usage.parts.iter().map(|part| part.usage.output).collect();
    assert_eq!(outputs, [Some(1), Some(8)]);
}

#[test]
fn an_answer_that_is_a_refusal_is_billed_by_its_category() {
    let refusal = |category: &str, content: &str, output: u64| {
        message(&format!(
            r#"{{"type":"message","model":"claude-fable-5","content":[{content}],"stop_reason":"refusal",
            "stop_details":{{"type":"refusal","category":{category},"explanation":"e"}},
            "usage":{{"input_tokens":106,"cache_read_input_tokens":50,"output_tokens":{output}}}}}"#
        ))
        .usage
    };
    // The sample of AWS's page "Fallback credit for refused requests" counts one token of output beside an empty content.
    for (category, output) in [("\"cyber\"", 0), ("null", 1), ("\"general_harms\"", 0)] {
        assert_eq!(
            totals(&refusal(category, "", output)),
            (Some(156), Some(156), Some(0)),
            "{category}"
        );
    }
    let billed = refusal("\"bio\"", "", 0);
    assert_eq!((totals(&billed), billed.cache_read), ((Some(156), None, Some(0)), Some(50)));
    // After output it costs what an answer costs.
    let partial = refusal("\"cyber\"", r#"{"type":"text","text":"I"}"#, 3);
    assert_eq!(totals(&partial), (Some(156), None, Some(3)));
    let start = r#"{"type":"message_start","message":{"model":"claude-fable-5","content":[],"usage":{"input_tokens":106,"output_tokens":1}}}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"category":"cyber"}},"usage":{"output_tokens":1}}"#;
    let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    assert_eq!(totals(&stream(&[start, end]).usage), (Some(106), Some(106), Some(0)));
    assert_eq!(totals(&stream(&[start, text, end]).usage), (Some(106), None, Some(1)));
}

#[test]
fn many_iterations_become_no_more_parts_than_are_kept() {
    let one = r#"{"type":"message","input_tokens":2,"output_tokens":1}"#;
    let many = vec![one; 200].join(",");
    let body = format!(r#"{{"model":"m","usage":{{"input_tokens":2,"output_tokens":200,"iterations":[{many}]}}}}"#);
    let usage = message(&body).usage;
    assert_eq!(usage.parts.len(), Usage::MAX_PARTS);
    assert_eq!((usage.input, usage.output), (Some(400), Some(200)));
    let mut sum = Usage::default();
    usage.parts.iter().for_each(|part| sum.add(&part.usage));
    assert_eq!((sum.input, sum.output), (Some(400), Some(200)));
}
