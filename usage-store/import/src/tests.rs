//! Exports as users have them: tests/fixtures/import at the workspace's root, of which make_litellm.py says how LiteLLM made its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::File;

use proptest::prelude::*;
use tollgate_record::{Amount, CostStatus, Name, Outcome, Record, UsageSource};

use crate::{COLUMNS, Error, Format, Options, Problem, Rows};

fn root() -> String {
    format!("{}/../..", std::env::var("CARGO_MANIFEST_DIR").unwrap())
}

fn options(format: Format) -> Options {
    Options {
        format,
        source: None,
        rename: Vec::new(),
        instance: Name::new("gw").unwrap(),
    }
}

fn fixture(file: &str, options: Options) -> (Vec<Record>, Vec<String>) {
    let file = File::open(format!("{}/tests/fixtures/import/{file}", root())).unwrap();
    sorted(Rows::open(file, options).unwrap())
}

fn text(text: &str, options: Options) -> (Vec<Record>, Vec<String>) {
    sorted(Rows::open(std::io::Cursor::new(text.to_owned()), options).unwrap())
}

fn sorted(rows: Rows) -> (Vec<Record>, Vec<String>) {
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Ok(record) => records.push(record),
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    (records, problems)
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn total(records: &[Record]) -> Amount {
    let costs = records.iter().filter_map(|record| record.cost.cost);
    costs.fold(Amount::ZERO, |sum, cost| sum.checked_add(cost).unwrap())
}

/// What must hold of every imported row.
fn whole(record: &Record) {
    assert_eq!(record.outcome, Outcome::Imported);
    let charges = record.cost.charges.iter().filter_map(|charge| charge.amount);
    let sum = charges.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap());
    assert_eq!(record.cost.cost.unwrap_or(Amount::ZERO), sum, "{record:?}");
    assert_eq!(
        record.cost.cost.is_none(),
        record.cost.charges.is_empty() && record.cost.status == CostStatus::Unpriced
    );
    let usage = &record.usage;
    let cached = usage.cache_read.unwrap_or(0) + usage.cache_creation.unwrap_or(0);
    assert!(cached <= usage.input.unwrap_or(0), "{usage:?}");
    assert!(usage.reasoning <= usage.output, "{usage:?}");
    assert_eq!(usage.source == UsageSource::None, !usage.is_known());
    assert_eq!(record.decisions.first().unwrap().action.as_ref(), "imported");
    assert_eq!(record.call_id.uuid().get_version_num(), 8);
}

#[test]
fn litellms_rows_are_the_same_whether_exported_as_csv_or_json() {
    let (csv, rejected) = fixture("litellm-spendlogs.csv", options(Format::LitellmSpendlogs));
    assert!(rejected.is_empty(), "{rejected:?}");
    assert_eq!(csv.len(), 42);
    csv.iter().for_each(whole);
    let (lines, _) = fixture("litellm-spendlogs.jsonl", options(Format::LitellmSpendlogs));
    assert_eq!(lines, csv);
    let (array, _) = fixture("litellm-spendlogs.json", options(Format::LitellmSpendlogs));
    assert_eq!(array, csv[..10]);
}

#[test]
fn litellms_sums_are_those_that_postgresql_gave_when_it_exported_them() {
    let (records, _) = fixture("litellm-spendlogs.csv", options(Format::LitellmSpendlogs));
    assert_eq!(total(&records), amount("0.07021681"));
    assert_eq!(records.iter().filter_map(|record| record.usage.input).sum::<u64>(), 52_991);
    assert_eq!(records.iter().filter_map(|record| record.usage.output).sum::<u64>(), 2402);
    let with = |status| records.iter().filter(|record| record.cost.status == status).count();
    // Three calls failed; of thirteen others LiteLLM knew no price, or no usage.
    assert_eq!(
        (with(CostStatus::Priced), with(CostStatus::Free), with(CostStatus::Unpriced)),
        (26, 3, 13)
    );
}

#[test]
fn what_litellm_tells_of_a_call_stands_in_its_columns() {
    let (records, _) = fixture("litellm-spendlogs.csv", options(Format::LitellmSpendlogs));
    let claude = &records[5];
    assert_eq!(claude.start_time.unix_us(), 1_790_640_025_000_000, "the time is UTC");
    assert_eq!(claude.call.operation_name.as_str(), "chat");
    assert_eq!(claude.identity.key_id.as_str(), "ads-bot");
    assert_eq!(claude.identity.org.as_ref().unwrap().as_str(), "acme");
    assert_eq!(claude.identity.user.as_ref().unwrap().as_str(), "user-1");
    assert_eq!(claude.call.provider_name.as_ref().unwrap().as_str(), "anthropic");
    assert_eq!(claude.call.upstream.as_ref().unwrap().as_str(), "127.0.0.1:9821");
    assert_eq!(claude.response_model.as_ref().unwrap().as_str(), "claude-sonnet-4-5");
    let usage = &claude.usage;
    assert_eq!(
        (usage.input, usage.cache_read, usage.cache_creation, usage.output),
        (Some(1185), Some(305), Some(55), Some(35))
    );
    assert_eq!(claude.cost.cost, Some(amount("0.00329775")));
    // Row 0: a key without an alias, a team, tags; the spend is a float.
    let first = &records[0];
    assert_eq!(first.identity.key_id.as_str(), "0".repeat(64));
    assert_eq!(first.identity.team.as_ref().unwrap().as_str(), "growth");
    assert_eq!(first.caller.tags.iter().collect::<Vec<_>>(), [("batch", ""), ("env", "prod")]);
    assert_eq!(first.cost.cost, Some(amount("0.0001395")));
    let noted = first.decisions[1].detail.as_deref();
    assert_eq!(noted, Some("spend 0.00013949999999999998 was rounded to 0.0001395"));
    // Row 1 was streamed, row 2 was not; row 7 failed.
    assert!(records[1].call.stream && !records[2].call.stream);
    assert_eq!(records[2].usage.reasoning, Some(11));
    assert_eq!(
        (records[7].status_code, records[7].error_type.as_ref().unwrap().as_str()),
        (Some(429), "RateLimitError")
    );
    assert_eq!(records[40].call.operation_name.as_str(), "embeddings");
    assert_eq!(records[40].cost.cost, Some(amount("0.00000024")));
}

#[test]
fn litellms_cache_beside_the_prompt_is_put_inside_and_keys_are_hashed() {
    let row = r#"{"request_id": "r", "startTime": "2026-01-01T00:00:00Z", "endTime": "2025-12-31T00:00:00Z", "model": "m", "spend": 1.0E-2,
        "api_key": "sk-secret", "prompt_tokens": 10, "completion_tokens": 1, "cache_hit": "True",
        "metadata": "{\"additional_usage_values\": {\"cache_read_input_tokens\": 100, \"cache_creation_input_tokens\": 20}}"}"#;
    let (records, problems) = text(row, options(Format::LitellmSpendlogs));
    assert!(problems.is_empty(), "{problems:?}");
    let record = &records[0];
    assert_eq!(
        (record.usage.input, record.usage.cache_read, record.usage.cache_creation),
        (Some(130), Some(100), Some(20))
    );
    // printf sk-secret | sha256sum
    assert_eq!(
        record.identity.key_id.as_str(),
        "746b4ad1ca9129e1caf080bf9406d43531b8bbf97f42cc1597ee4f3d4663938e"
    );
    assert!(!format!("{record:?}").contains("sk-secret"));
    assert_eq!(record.duration_us, 0);
    assert_eq!(
        record.decisions[1].detail.as_deref(),
        Some("endTime is before startTime, so the duration is not known")
    );
    assert_eq!(record.call.cache.as_ref().unwrap().as_str(), "hit");
}

#[test]
fn openrouters_activity_is_read_with_what_own_keys_cost() {
    let (records, rejected) = fixture("openrouter-activity.csv", options(Format::OpenrouterActivity));
    assert!(rejected.is_empty(), "{rejected:?}");
    records.iter().for_each(whole);
    let costs: Vec<_> = records.iter().map(|record| record.cost.cost.unwrap().to_string()).collect();
    assert_eq!(costs, ["0.00340125", "0.000000105", "0", "0.002205", "0.001615"]);
    let statuses: Vec<_> = records.iter().map(|record| record.cost.status.as_str()).collect();
    assert_eq!(statuses, ["priced", "priced", "free", "estimated", "priced"]);
    let first = &records[0];
    assert_eq!(
        (
            first.usage.input,
            first.usage.cache_read,
            first.usage.output,
            first.usage.reasoning
        ),
        (Some(5123), Some(4096), Some(640), Some(128))
    );
    assert_eq!((first.duration_us, first.time_to_first_token_us), (8_123_000, Some(912_000)));
    assert!(first.call.stream);
    assert_eq!(first.identity.service.as_ref().unwrap().as_str(), "Ads");
    assert_eq!(
        first.caller.tags.iter().collect::<Vec<_>>(),
        [("openrouter_provider", "Anthropic"), ("openrouter_variant", "standard")]
    );
    assert_eq!(records[3].duration_us, 1_200_750);
    assert_eq!(records[4].identity.key_id.as_str(), "imported");
    assert_eq!(records[4].usage.cache_read, None);
}

#[test]
fn columns_of_other_names_are_mapped_and_bad_lines_are_named() {
    let rename = [
        ("id", "request_id"),
        ("When", "start_time"),
        ("who", "user_id"),
        ("squad", "team"),
        ("model", "request_model"),
        ("in", "input_tokens"),
        ("out", "output_tokens"),
        ("price", "cost"),
        ("internal note", ""),
    ];
    let mut mapped = options(Format::Csv);
    mapped.rename = rename.map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned())).to_vec();
    let (records, rejected) = fixture("own.csv", mapped);
    records.iter().for_each(whole);
    assert_eq!(records.len(), 4);
    assert_eq!(records[1].call_id, records[3].call_id, "the same request is the same row");
    assert_eq!(
        records[1].start_time, records[3].start_time,
        "whatever zone its time is told in"
    );
    assert_eq!((records[2].cost.status, records[2].cost.cost), (CostStatus::Unpriced, None));
    assert_eq!(
        rejected,
        [
            "line 6: start_time: \"yesterday\" is no time such as 2026-11-23T18:00:00.123Z",
            "line 7: cost: -0.1 is negative; a credit is no call",
            "line 8: 6 cells, and 9 columns",
            "line 9: request_id is missing",
        ]
    );
}

#[test]
fn a_file_that_is_something_else_is_refused_before_any_row() {
    let refused = |text: &str, options: Options| {
        Rows::open(std::io::Cursor::new(text.to_owned()), options)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(refused("date,model,cost\n", options(Format::OpenrouterActivity)).starts_with("column generation_id is missing"));
    assert!(refused("request_id,model\n", options(Format::LitellmSpendlogs)).starts_with("column starttime is missing"));
    assert!(refused("request_id,start_time,colour\n", options(Format::Csv)).contains("--map colour="));
    assert_eq!(refused(" \n", options(Format::Csv)), "the file is empty");
    let mut twice = options(Format::Csv);
    twice.rename = vec![("a".into(), "team".into())];
    assert_eq!(
        refused("request_id,start_time,a,team\n", twice.clone()),
        "two columns are called \"team\""
    );
    twice.rename = vec![("a".into(), "colour".into())];
    assert!(matches!(
        Rows::open(std::io::Cursor::new("a\n"), twice),
        Err(Error::Map { .. })
    ));
}

#[test]
fn a_file_that_was_cut_off_says_so_after_its_rows() {
    let row = r#"{"request_id": "r", "start_time": "2026-01-01T00:00:00Z"}"#;
    let mut rows = Rows::open(std::io::Cursor::new(format!("[{row},{{\"request_id\"")), options(Format::Csv)).unwrap();
    assert!(rows.next().unwrap().is_ok());
    assert!(matches!(rows.next(), Some(Err(Problem::Broken { .. }))));
    assert!(rows.next().is_none());
}

#[test]
fn one_bad_object_does_not_hide_those_after_it() {
    let lines = "{\"request_id\": \"r\", \"start_time\": \"2026-01-01T00:00:00Z\", \"team\": 5}\n{\"a\": }\n{\"request_id\": \"s\", \"start_time\": \"2026-01-01T00:00:00Z\", \"colour\": 1}\n{\"request_id\": \"t\", \"start_time\": \"2026-01-01T00:00:00Z\", \"tags\": {\"a\": \"b\"}, \"cost\": 0.10, \"currency\": \"EUR\", \"cost_status\": \"estimated\", \"attempt\": 2}\n";
    let (records, rejected) = text(lines, options(Format::Csv));
    assert_eq!((records.len(), rejected.len()), (2, 2), "{rejected:?}");
    assert!(rejected[0].starts_with("line 2: is no JSON object"));
    assert!(rejected[1].starts_with("line 3: column \"colour\""));
    let last = &records[1];
    assert_eq!(
        (last.cost.status, last.cost.cost, last.attempt),
        (CostStatus::Estimated, Some(amount("0.1")), 2)
    );
    assert_eq!(last.cost.currency.as_ref().unwrap().as_str(), "EUR");
    assert_ne!(
        last.call_id.uuid(),
        last.request_id.uuid(),
        "a second attempt is a row of its own under the same request"
    );
}

#[test]
fn a_source_of_another_name_is_other_rows() {
    let csv = "request_id,start_time\n1,2026-01-01T00:00:00Z\n";
    let mut billing = options(Format::Csv);
    billing.source = Some(Name::new("billing").unwrap());
    assert_ne!(text(csv, options(Format::Csv)).0[0].call_id, text(csv, billing).0[0].call_id);
}

#[test]
fn a_quote_that_is_not_closed_does_not_fill_the_memory() {
    let open = std::io::Read::chain(&b"request_id,start_time\n\"1"[..], std::io::repeat(b'x'));
    let mut rows = Rows::open(open, options(Format::Csv)).unwrap();
    let problem = rows.next().unwrap().unwrap_err().to_string();
    assert!(problem.contains("larger than 64 MiB"), "{problem}");
    assert!(rows.next().is_none());
}

#[test]
fn the_documentation_lists_every_column_and_no_other() {
    let document = std::fs::read_to_string(format!("{}/docs/import.md", root())).unwrap();
    let (_, table) = document.split_once("| column | meaning |").unwrap();
    let listed: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .map(|(name, doc)| (name.to_owned(), doc.to_owned()))
        .collect();
    let known: Vec<_> = COLUMNS
        .iter()
        .map(|column| (column.name.to_owned(), column.doc.to_owned()))
        .collect();
    assert_eq!(listed, known);
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "\\PC{0,200}", rows in prop::collection::vec("[\\[\\]{}\",:a-z0-9.\n-]{0,40}", 0..5)) {
        for format in Format::ALL {
            let header = "request_id,start_time,cost,tags,generation_id,created_at,cost_total,model_permaslug,startTime,spend,model\n";
            for input in [text.clone(), format!("{header}{}", rows.join("\n")), format!("[{}]", rows.join(","))] {
                if let Ok(rows) = Rows::open(std::io::Cursor::new(input), options(format)) {
                    rows.take(100).for_each(drop);
                }
            }
        }
    }
}
