use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tollgate_record::{
    Amount, Call, CallId, Caller, Cost, CostStatus, Decision, Ending, Identity, Intent, Name, Outcome, Record, Timestamp, Usage,
};

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A call that took a second and a half, of nine input and forty output tokens, for 0.25 USD.
fn row(number: u64, model: &str, outcome: Outcome) -> Record {
    let intent = Intent {
        call_id: CallId::from_parts(number, [0; 10]),
        request_id: CallId::from_parts(number, [0; 10]).as_request(),
        attempt: 1,
        start_time: Timestamp::from_unix_us(1_764_547_200_000_000),
        identity: Arc::new(Identity {
            key_id: name("bot"),
            org: None,
            team: None,
            project: None,
            service: None,
            user: None,
        }),
        caller: Caller::default(),
        call: Call {
            operation_name: name("chat"),
            proxy: None,
            provider_name: Some(name("openai")),
            template: None,
            upstream: None,
            region: None,
            request_model: Some(name(model)),
            stream: false,
            route_rule: None,
            cache: None,
        },
        bears_usage: true,
        request_bytes: 0,
    };
    let mut ending = Ending::of(outcome);
    ending.duration_us = 1_500_000;
    ending.time_to_first_token_us = Some(330_000);
    ending.gateway_overhead_us = Some(400);
    ending.usage = Usage {
        input: Some(9),
        cache_read: Some(2),
        output: Some(40),
        ..Usage::default()
    };
    let cost = Cost {
        status: CostStatus::Priced,
        cost: Some("0.25".parse::<Amount>().unwrap()),
        currency: Some(name("USD")),
        ..Cost::free()
    };
    Record::new(name("gw-1"), intent, ending, cost)
}

fn shown(calls: &Arc<Calls>) -> String {
    let mut registry = Registry::with_prefix("tollgate");
    registry.register_collector(Box::new(Shown(Arc::clone(calls))));
    let mut shown = String::new();
    text::encode(&mut shown, &registry).unwrap();
    shown
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
}

#[test]
fn calls_add_up_by_proxy_provider_and_model() {
    let calls = Arc::new(Calls::default());
    calls.count(&row(1, "gpt-5", Outcome::Ok));
    let mut second = row(2, "gpt-5", Outcome::Ok);
    second.call.proxy = Some(name("assistant"));
    second.cost.currency = Some(name("EUR"));
    calls.count(&second);
    let mut third = row(3, "gpt-5", Outcome::UpstreamError);
    third.caller.trace_id = Some(name(TRACE));
    third.duration_us = 30_000_000;
    calls.count(&third);
    let text = shown(&calls);
    for line in [
        r#"tollgate_calls_total{proxy="",provider="openai",model="gpt-5",outcome="ok"} 1"#,
        r#"tollgate_calls_total{proxy="",provider="openai",model="gpt-5",outcome="upstream_error"} 1"#,
        r#"tollgate_calls_total{proxy="assistant",provider="openai",model="gpt-5",outcome="ok"} 1"#,
        r#"tollgate_tokens_total{proxy="",provider="openai",model="gpt-5",type="output"} 80"#,
        r#"tollgate_tokens_total{proxy="",provider="openai",model="gpt-5",type="cache_read"} 4"#,
        r#"tollgate_cost_total{proxy="",provider="openai",model="gpt-5",currency="USD"} 0.5"#,
        r#"tollgate_cost_total{proxy="assistant",provider="openai",model="gpt-5",currency="EUR"} 0.25"#,
        r#"tollgate_call_duration_seconds_sum{proxy="",provider="openai",model="gpt-5"} 31.5"#,
        r#"tollgate_call_overhead_seconds_count{proxy="",provider="openai",model="gpt-5"} 2"#,
    ] {
        has(&text, line);
    }
    // The slow call is found by its trace, the other one by its row; each stands at the bucket that it fell into, with the second of its end.
    has(
        &text,
        &format!(
            r#"tollgate_call_duration_seconds_bucket{{le="40.0",proxy="",provider="openai",model="gpt-5"}} 2 # {{trace_id="{TRACE}"}} 30.0 1764547230.0"#
        ),
    );
    let by_row = format!(r#"# {{call_id="{}"}} 1.5 1764547201.5"#, CallId::from_parts(1, [0; 10]));
    assert!(text.lines().any(|line| line.ends_with(&by_row)), "{by_row}\n{text}");
}

#[test]
fn what_callers_make_up_is_no_label() {
    let calls = Arc::new(Calls::default());
    for number in 0..1000 {
        calls.count(&row(number, &format!("made-up-{number}"), Outcome::UpstreamError));
    }
    let text = shown(&calls);
    has(
        &text,
        r#"tollgate_calls_total{proxy="",provider="openai",model="other",outcome="upstream_error"} 1000"#,
    );
    assert!(!text.contains("made-up"), "{text}");
    // And if a provider answers whatever it is asked.
    for number in 0..1000 {
        calls.count(&row(number, &format!("answered-{number}"), Outcome::Ok));
    }
    let text = shown(&calls);
    let lines = text.lines().filter(|line| line.starts_with("tollgate_calls_total{"));
    let counted: u64 = lines
        .clone()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(counted, 2000);
    // One more: `other` has two outcomes.
    assert_eq!(lines.count(), SERIES_MAX + 1);
}

#[test]
fn a_refusal_is_counted_by_the_policy_that_refused() {
    let calls = Arc::new(Calls::default());
    let mut refused = row(1, "gpt-5", Outcome::RefusedBudget);
    refused.cost = Cost::free();
    let decision = |policy: &str, action: &str| Decision {
        policy: policy.into(),
        action: action.into(),
        detail: None,
    };
    refused.decisions = vec![decision("budget:warned", "warn"), decision("budget:growth", "refuse")];
    calls.count(&refused);
    calls.count(&refused);
    let mut passed = row(2, "gpt-5", Outcome::Ok);
    passed.decisions = vec![decision("budget:growth", "refuse")];
    calls.count(&passed);
    let text = shown(&calls);
    has(&text, r#"tollgate_policy_refusals_total{policy="budget:growth"} 2"#);
    assert_eq!(text.matches("tollgate_policy_refusals_total{").count(), 1, "{text}");
}

#[test]
fn results_of_batches_cost_and_are_no_requests() {
    let calls = Arc::new(Calls::default());
    calls.count(&row(1, "gpt-5", Outcome::Ok));
    let mut result = row(2, "gpt-5", Outcome::Ok);
    result.usage.service_tier = Some(name("batch"));
    calls.count(&result);
    let text = shown(&calls);
    has(
        &text,
        r#"tollgate_calls_total{proxy="",provider="openai",model="gpt-5",outcome="ok"} 1"#,
    );
    has(
        &text,
        r#"tollgate_call_duration_seconds_count{proxy="",provider="openai",model="gpt-5"} 1"#,
    );
    has(
        &text,
        r#"tollgate_cost_total{proxy="",provider="openai",model="gpt-5",currency="USD"} 0.5"#,
    );
}

#[test]
fn interrupted_calls_count_and_have_no_duration() {
    let calls = Arc::new(Calls::default());
    calls.count(&row(1, "gpt-5", Outcome::Ok));
    calls.count(&row(2, "gpt-5", Outcome::Interrupted));
    let text = shown(&calls);
    has(
        &text,
        r#"tollgate_calls_total{proxy="",provider="openai",model="gpt-5",outcome="interrupted"} 1"#,
    );
    has(
        &text,
        r#"tollgate_call_duration_seconds_count{proxy="",provider="openai",model="gpt-5"} 1"#,
    );
}
