//! Which calls Moesif wants to see, by its configuration (`GET /v1/config`).
//!
//! 1. The rate is that of the first regular expression that matches, else the user's, else the company's, else the application's, else 100: the
//!    order of Moesif's own library (PyPI moesifapi 1.5, `app_config.py`).
//! 2. Whether a call is kept follows from its id and the rate alone: a row that is delivered again is kept again, or left out again.
//! 3. An event stands for `100 / rate` calls, rounded down, which is its weight, as in Moesif's libraries.

use std::collections::HashMap;

use regex::Regex;
use serde::Deserialize;

use crate::row::Rows;

/// The most regular expressions that are taken over.
const EXPRESSIONS_MAX: usize = 1000;

/// Rates in percent.
#[derive(Debug, Default)]
pub(super) struct Rates {
    default: Option<f64>,
    users: HashMap<String, f64>,
    companies: HashMap<String, f64>,
    expressions: Vec<(Vec<(Path, Regex)>, f64)>,
}

/// What a regular expression looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Verb,
    Route,
    Status,
    /// Something that no row tells, such as an address: it never matches.
    Untold,
}

/// What of a call decides its rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) company: Option<&'a str>,
    pub(super) verb: &'a str,
    pub(super) uri: &'a str,
    pub(super) status: u16,
}

#[derive(Deserialize)]
struct Wire {
    sample_rate: Option<f64>,
    #[serde(default)]
    user_sample_rate: Option<HashMap<String, f64>>,
    #[serde(default)]
    company_sample_rate: Option<HashMap<String, f64>>,
    #[serde(default)]
    regex_config: Option<Vec<WireExpression>>,
}

#[derive(Deserialize)]
struct WireExpression {
    sample_rate: f64,
    #[serde(default)]
    conditions: Vec<WireCondition>,
}

#[derive(Deserialize)]
struct WireCondition {
    path: String,
    value: String,
}

// === impl Rates ===

impl Rates {
    /// Reads an answer to `GET /v1/config`.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let wanted = wire.regex_config.unwrap_or_default();
        let expressions: Result<Vec<_>, regex::Error> = wanted
            .into_iter()
            .take(EXPRESSIONS_MAX)
            .map(WireExpression::compile)
            .collect();
        Ok(Self {
            default: wire.sample_rate,
            users: wire.user_sample_rate.unwrap_or_default(),
            companies: wire.company_sample_rate.unwrap_or_default(),
            expressions: expressions.map_err(|error| error.to_string())?,
        })
    }

    /// The rate of a call, 0 to 100.
    pub(super) fn of(&self, subject: Subject<'_>) -> f64 {
        let by_expression = self.expressions.iter().find(|(conditions, _)| {
            !conditions.is_empty() && conditions.iter().all(|(path, expression)| subject.matches(*path, expression))
        });
        let rate = by_expression.map(|(_, rate)| rate);
        let rate = rate
            .or_else(|| self.users.get(subject.user?))
            .or_else(|| self.companies.get(subject.company?));
        rate.copied().or(self.default).unwrap_or(100.0).clamp(0.0, 100.0)
    }
}

/// The weight of a call that is kept, at a rate; `None` if it is left out. A correction shares the fate of the call that it corrects.
pub(super) fn weight(rows: &Rows, row: usize, rate: f64) -> Option<u32> {
    let id = rows.corrects.get(row).or(rows.call_id.get(row)).unwrap_or_default();
    if rate >= 100.0 {
        return Some(1);
    }
    // 10^4 steps: rates may have two digits behind the point.
    let (place, limit) = (place(id) % 10_000, rate * 100.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "100 / rate is positive, and at most 10,000 as a place below the limit exists"
    )]
    let weight = (f64::from(place) < limit).then(|| (100.0 / rate) as u32);
    weight.map(|weight| weight.max(1))
}

/// A number that follows from an id, evenly: FNV-1a, folded.
fn place(id: &str) -> u32 {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    u32::try_from(folded).expect("both halves have 32 bits")
}

impl Subject<'_> {
    fn matches(&self, path: Path, expression: &Regex) -> bool {
        match path {
            Path::Verb => expression.is_match(self.verb),
            Path::Route => expression.is_match(route(self.uri)),
            Path::Status => expression.is_match(&self.status.to_string()),
            Path::Untold => false,
        }
    }
}

/// The path of a URI, without its query.
fn route(uri: &str) -> &str {
    let path = uri
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)));
    path.and_then(|path| path.split('?').next()).unwrap_or("/")
}

impl WireExpression {
    fn compile(self) -> Result<(Vec<(Path, Regex)>, f64), regex::Error> {
        let conditions: Result<_, _> = self
            .conditions
            .into_iter()
            .map(|condition| {
                let path = match condition.path.as_str() {
                    "request.verb" => Path::Verb,
                    "request.route" => Path::Route,
                    "response.status" => Path::Status,
                    _ => Path::Untold,
                };
                Ok((path, Regex::new(&condition.value)?))
            })
            .collect();
        Ok((conditions?, self.sample_rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    const SUBJECT: Subject<'_> = Subject {
        user: Some("ann"),
        company: Some("growth"),
        verb: "POST",
        uri: "https://api.openai.com/chat?x=1",
        status: 200,
    };

    #[test]
    fn an_expression_goes_before_the_user_and_the_user_before_the_company() {
        let read = |text: &str| Rates::read(text.as_bytes()).unwrap();
        let rate = |text: &str| format!("{}", read(text).of(SUBJECT));
        let (user, company) = (r#""user_sample_rate":{"ann":40}"#, r#""company_sample_rate":{"growth":30}"#);
        let expression = |path: &str, value: &str| {
            format!(r#""regex_config":[{{"sample_rate":5,"conditions":[{{"path":"{path}","value":"{value}"}}]}}]"#)
        };
        assert_eq!(rate("{}"), "100");
        assert_eq!(rate(r#"{"sample_rate":20}"#), "20");
        assert_eq!(rate(&format!(r#"{{"sample_rate":20,{company}}}"#)), "30");
        assert_eq!(rate(&format!(r#"{{"sample_rate":20,{company},{user}}}"#)), "40");
        assert_eq!(rate(&format!("{{{user},{}}}", expression("request.route", "^/chat$"))), "5");
        assert_eq!(rate(&format!("{{{user},{}}}", expression("response.status", "5.."))), "40");
        assert_eq!(rate(&format!("{{{user},{}}}", expression("request.ip_address", ".*"))), "40");
        assert!(Rates::read(b"<html>").is_err());
    }

    #[test]
    fn a_quarter_of_the_calls_is_kept_with_weight_four_and_always_the_same() {
        let calls: Vec<_> = (0..4000).map(fixture::call).collect();
        let rows = Rows::new(&fixture::batch(&calls)).unwrap();
        let kept = || {
            (0..rows.len())
                .filter_map(|row| Some((row, weight(&rows, row, 25.0)?)))
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(), kept());
        assert!(kept().iter().all(|(_, weight)| *weight == 4));
        // 4000 draws at a quarter: 1000, with a standard deviation of 27; five of them either way.
        assert!((863..=1137).contains(&kept().len()), "{}", kept().len());
        assert_eq!(weight(&rows, 0, 0.0), None);
        assert_eq!(weight(&rows, 0, 100.0), Some(1));
    }

    #[test]
    fn a_correction_shares_the_fate_of_its_call() {
        let corrections: Vec<_> = (0..200)
            .map(|number| {
                let call = fixture::call(number);
                fixture::call_with(number + 100_000, serde_json::json!({"corrects": call["call_id"]}))
            })
            .collect();
        let calls = Rows::new(&fixture::batch(&(0..200).map(fixture::call).collect::<Vec<_>>())).unwrap();
        let corrections = Rows::new(&fixture::batch(&corrections)).unwrap();
        assert!((0..200).all(|row| weight(&calls, row, 50.0) == weight(&corrections, row, 50.0)));
    }
}
