//! What a back-test found, written for people or programs.

use std::fmt::Write;

use serde::Serialize;
use tollgate_budget::backtest::{Backtest, Costs, Tried};
use tollgate_record::{Amount, Timestamp};

use crate::cli::Told;

/// One rule with one limit.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    rule: String,
    kind: &'static str,
    limit: String,
    /// Whether it is the limit that the rule declares.
    declared: bool,
    calls: u64,
    refused: u64,
    unpriced: u64,
    cost: Vec<Money>,
    first: Option<String>,
    top: Vec<Whose>,
    untold: u64,
}

/// Whose calls.
#[derive(Debug, Serialize)]
struct Whose {
    per: Vec<Value>,
    refused: u64,
    cost: Vec<Money>,
    first: Option<String>,
}

#[derive(Debug, Serialize)]
struct Value {
    of: String,
    value: Option<String>,
}

/// An amount as text, so that no reader rounds it.
#[derive(Debug, Serialize)]
struct Money {
    amount: String,
    currency: String,
}

const HEADS: [&str; 9] = [
    "rule",
    "kind",
    "limit",
    "calls",
    "refused",
    "unpriced",
    "cost of those refused",
    "first refused",
    "most of them",
];

/// Columns that are numbers, which stand to the right.
const NUMBERS: std::ops::Range<usize> = 3..6;

/// A line for each limit of each rule.
pub(super) fn told(tests: &[Backtest], top: usize) -> Vec<Line> {
    tests.iter().flat_map(|test| lines(test, top)).collect()
}

fn lines(test: &Backtest, top: usize) -> impl Iterator<Item = Line> {
    let rule = test.rule();
    test.trials().enumerate().map(move |(place, trial)| Line {
        rule: rule.name().to_string(),
        kind: match rule {
            Tried::Budget(_) if rule.only_warns() => "budget, warns",
            Tried::Budget(_) => "budget",
            Tried::Rate(_) => "rate limit",
        },
        limit: rule.words(trial.limit),
        declared: place == 0,
        calls: trial.calls,
        refused: trial.refused,
        unpriced: trial.unpriced,
        cost: money(&trial.cost),
        first: trial.first.map(instant),
        top: test
            .top(place, top)
            .into_iter()
            .map(|(values, tally)| Whose {
                per: rule
                    .per()
                    .iter()
                    .zip(values.iter())
                    .map(|(dimension, value)| Value {
                        of: dimension.text(),
                        value: value.as_deref().map(str::to_owned),
                    })
                    .collect(),
                refused: tally.refused,
                cost: money(&tally.cost),
                first: tally.first.map(instant),
            })
            .collect(),
        untold: trial.untold,
    })
}

/// Writes lines to standard output.
pub(super) fn print(lines: &[Line], format: Told) -> anyhow::Result<()> {
    match format {
        Told::Table => print!("{}", table(lines)),
        Told::Json => println!("{}", serde_json::to_string_pretty(lines)?),
        Told::Csv => print!("{}", csv(lines)),
    }
    Ok(())
}

fn table(lines: &[Line]) -> String {
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(lines.iter().map(cells));
    let mut widths = [0; HEADS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (place, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, behind) = if NUMBERS.contains(&place) {
                (&*padding, "")
            } else {
                ("", &*padding)
            };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(behind);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn csv(lines: &[Line]) -> String {
    let mut text = String::new();
    let heads = HEADS.map(|head| head.replace(' ', "_"));
    for row in std::iter::once(heads).chain(lines.iter().map(cells)) {
        let row: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        text.push_str(&row.join(","));
        text.push('\n');
    }
    text
}

/// As RFC 4180 has it.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

fn cells(line: &Line) -> [String; HEADS.len()] {
    let mut most = String::new();
    for (place, whose) in line.top.iter().enumerate() {
        if place > 0 {
            most.push_str("; ");
        }
        // Of a rule with one counter there is nobody to tell apart.
        if whose.per.is_empty() {
            most.push_str("all");
        }
        let values = whose.per.iter().map(|value| match &value.value {
            Some(text) => format!("{}={text}", value.of),
            None => format!("{} is null", value.of),
        });
        most.push_str(&values.collect::<Vec<_>>().join(" "));
        let cost = words(&whose.cost);
        let cost = if cost.is_empty() { cost } else { format!(" ({cost})") };
        // A string takes all that is written to it.
        let _ = write!(most, ": {}{cost}", whose.refused);
    }
    [
        line.rule.clone(),
        line.kind.to_owned(),
        line.limit.clone(),
        line.calls.to_string(),
        line.refused.to_string(),
        line.unpriced.to_string(),
        words(&line.cost),
        line.first.clone().unwrap_or_default(),
        most,
    ]
}

fn words(cost: &[Money]) -> String {
    let parts: Vec<String> = cost
        .iter()
        .map(|money| format!("{} {}", money.amount, money.currency))
        .collect();
    parts.join(" + ")
}

fn money(costs: &Costs) -> Vec<Money> {
    let mut all: Vec<Money> = costs
        .iter()
        .map(|(currency, units)| Money {
            // A sum beyond what an amount may be is not told as another one.
            amount: Amount::from_units(units).map_or_else(|error| error.to_string(), |amount| amount.to_string()),
            currency: currency.to_owned(),
        })
        .collect();
    all.sort_unstable_by(|left, right| left.currency.cmp(&right.currency));
    all
}

fn instant(at: Timestamp) -> String {
    chrono::DateTime::from_timestamp_micros(at.unix_us()).map_or_else(
        || at.unix_us().to_string(),
        |at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tollgate_budget::backtest::Event;
    use tollgate_record::Name;
    use tollgate_record::rule::{Dimension, Rate, RateLimit};

    use super::*;

    /// One request an hour for each user; ann makes three at once, someone without a name two.
    fn tried() -> Vec<Line> {
        let rule = Tried::Rate(RateLimit {
            name: Name::new("hourly").unwrap(),
            when: None,
            per: vec![Dimension::Column("user_id"), Dimension::Tag("a,b".into())],
            limit: Rate::Requests {
                count: 1,
                window_us: 3_600_000_000,
            },
        });
        let mut test = Backtest::new(rule, &[2]);
        let calls = [
            (Some("ann"), "USD"),
            (Some("ann"), "USD"),
            (Some("ann"), "EUR"),
            (None, "USD"),
            (None, "USD"),
        ];
        for (place, (user, currency)) in (0..).zip(calls) {
            test.decide(&Event {
                start: Timestamp::from_unix_us(1_793_534_400_000_000 + place * 1_000_000),
                end: Timestamp::from_unix_us(1_793_534_400_000_000 + place * 1_000_000),
                values: &[user, Some("x")],
                amount: Some(1),
                cost: Some((250_000_000_000, currency)),
            });
        }
        told(&[test], 5)
    }

    #[test]
    fn a_table_has_a_line_for_each_limit() {
        assert_eq!(
            table(&tried()),
            "\
rule    kind        limit       calls  refused  unpriced  cost of those refused  first refused         most of them
hourly  rate limit  1 requests      5        3         0  0.25 EUR + 0.5 USD     2026-11-01T12:00:01Z  user_id=ann tags['a,b']=x: 2 (0.25 EUR + 0.25 USD); user_id is null tags['a,b']=x: 1 (0.25 USD)
hourly  rate limit  2 requests      5        1         0  0.25 EUR               2026-11-01T12:00:02Z  user_id=ann tags['a,b']=x: 1 (0.25 EUR)
"
        );
    }

    #[test]
    fn csv_quotes_what_has_commas_and_json_keeps_all_apart() {
        let lines = tried();
        let text = csv(&lines);
        assert!(
            text.starts_with("rule,kind,limit,calls,refused,unpriced,cost_of_those_refused,first_refused,most_of_them\n"),
            "{text}"
        );
        assert!(
            text.ends_with(",2026-11-01T12:00:02Z,\"user_id=ann tags['a,b']=x: 1 (0.25 EUR)\"\n"),
            "{text}"
        );
        let json = serde_json::to_value(&lines).unwrap();
        let whose = json.pointer("/0/top/1").unwrap();
        assert_eq!(
            *whose,
            serde_json::json!({
                "per": [{"of": "user_id", "value": null}, {"of": "tags['a,b']", "value": "x"}],
                "refused": 1,
                "cost": [{"amount": "0.25", "currency": "USD"}],
                "first": "2026-11-01T12:00:04Z",
            })
        );
        assert_eq!(json.pointer("/1/declared"), Some(&serde_json::json!(false)));
    }
}
