//! Rows of table `usage` as SQL shows them, and what must be true of every one of them.

use serde_json::Value;

use super::call::{Api, Call};
use super::money::Decimal;
use super::prices;
use super::sdk::Reply;
use super::usage::Tokens;

/// One row, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub(crate) Value);

/// A line of a row's bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) meter: String,
    pub(crate) quantity: Decimal,
    pub(crate) unit_price: Option<Decimal>,
    pub(crate) amount: Option<Decimal>,
}

impl Row {
    #[track_caller]
    fn at(&self, column: &str) -> &Value {
        self.0
            .get(column)
            .unwrap_or_else(|| panic!("no column {column} in {}", self.0))
    }

    #[track_caller]
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        self.at(column).as_str()
    }

    #[track_caller]
    pub(crate) fn int(&self, column: &str) -> Option<i64> {
        self.at(column).as_i64()
    }

    #[track_caller]
    pub(crate) fn flag(&self, column: &str) -> Option<bool> {
        self.at(column).as_bool()
    }

    /// A decimal, which JSON carries as a string.
    #[track_caller]
    pub(crate) fn decimal(&self, column: &str) -> Option<Decimal> {
        decimal(self.at(column))
    }

    /// The bill, lines that counted nothing left out.
    #[track_caller]
    pub(crate) fn charges(&self) -> Vec<Charge> {
        let lines = self.at("charges").as_array().expect("charges is a list");
        let charges = lines.iter().map(|line| Charge {
            meter: line["meter"].as_str().unwrap().to_owned(),
            quantity: decimal(&line["quantity"]).unwrap(),
            unit_price: decimal(&line["unit_price"]),
            amount: decimal(&line["amount"]),
        });
        charges.filter(|charge| charge.quantity != Decimal::ZERO).collect()
    }

    /// The token counts of the row's columns; the split of cache writes stands in the charges only.
    pub(crate) fn tokens(&self) -> Tokens {
        Tokens {
            input: self.int("input_tokens"),
            cache_read: self.int("cache_read_input_tokens"),
            cache_creation: self.int("cache_creation_input_tokens"),
            output: self.int("output_tokens"),
            reasoning: self.int("reasoning_tokens"),
            ..Tokens::default()
        }
    }

    /// Whatever the call was: the charges are exact products and add up to the cost.
    #[track_caller]
    pub(crate) fn adds_up(&self) {
        let charges = self.charges();
        for charge in &charges {
            if let (Some(price), Some(amount)) = (charge.unit_price, charge.amount) {
                let quantity = charge.quantity.to_string();
                let (whole, fraction) = quantity.split_once('.').unwrap();
                assert!(
                    fraction.bytes().all(|digit| digit == b'0'),
                    "a fraction of a token in {charge:?}"
                );
                assert_eq!(price.times(whole.parse().unwrap()), amount, "{charge:?}");
            }
        }
        let known: Vec<Decimal> = charges.iter().filter_map(|charge| charge.amount).collect();
        match self.decimal("cost") {
            Some(cost) => assert_eq!(known.into_iter().sum::<Decimal>(), cost, "{}", self.0),
            None => assert!(known.is_empty(), "{}", self.0),
        }
    }
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Decimal::parse(text)),
        other => panic!("a decimal came as {other}, not as a string"),
    }
}

/// The one row of a call that went well says what the SDK saw: model, usage, cost, and the bill line by line.
///
/// `usage` is that of the SDK, or of a call that asked for it where this one did not.
#[track_caller]
pub(crate) fn agrees(row: &Row, call: &Call, reply: &Reply, usage: &Value) {
    let api = call.api;
    assert_eq!(row.text("outcome"), Some("ok"), "{}", row.0);
    assert_eq!(row.int("status_code"), Some(200));
    assert_eq!(row.int("attempt"), Some(1));
    assert_eq!(
        row.text("call_id"),
        reply.headers.get("x-tollgate-call-id").map(String::as_str)
    );
    assert_eq!(row.text("operation_name"), Some(api.operation()));
    assert_eq!(row.flag("stream"), Some(call.is_streamed()));
    assert_eq!(row.text("request_model"), Some(call.model_name()));
    assert_eq!(row.text("response_model"), reply.model.as_deref());
    if matches!(api, Api::Chat | Api::Completions | Api::Messages) {
        assert_eq!(row.text("finish_reason"), reply.finish.as_deref());
    }
    assert_eq!(
        (row.text("org"), row.text("team"), row.text("project")),
        (Some("acme"), Some("growth"), Some("ads"))
    );
    assert_eq!(row.text("usage_source"), Some("reported"), "{}", row.0);
    let seen = Tokens::of(api, usage);
    let shown = Tokens {
        cache_creation_5m: None,
        cache_creation_1h: None,
        audio_in: None,
        audio_out: None,
        web_search: None,
        ..seen.clone()
    };
    assert_eq!(row.tokens(), shown, "usage was {usage}");
    priced(row, call, &seen);
    let told = reply.headers.get("x-tollgate-cost").map(|cost| Decimal::parse(cost));
    if !call.is_streamed() {
        assert_eq!(told, row.decimal("cost"), "x-tollgate-cost");
    }
}

/// The row's bill is what these tokens cost.
#[track_caller]
pub(crate) fn priced(row: &Row, call: &Call, tokens: &Tokens) {
    row.adds_up();
    let models = [row.text("response_model"), Some(call.model_name())];
    let models: Vec<&str> = models.into_iter().flatten().collect();
    let cost = tokens.cost(call.api.provider(), &models, row.text("service_tier"));
    assert_eq!(row.decimal("cost"), Some(cost), "{tokens:?} against {}", row.0["charges"]);
    assert_eq!(row.decimal("list_cost"), Some(cost));
    let mut billed: Vec<(String, Decimal)> = row
        .charges()
        .into_iter()
        .map(|charge| (charge.meter, charge.quantity))
        .collect();
    let mut counted = tokens.clone();
    if !prices::prices_reasoning(call.api.provider(), &models, row.text("service_tier")) {
        counted.reasoning = None;
    }
    let mut expected: Vec<(String, Decimal)> = counted
        .meters()
        .into_iter()
        .map(|(meter, quantity)| (meter.to_owned(), Decimal::integer(quantity)))
        .collect();
    billed.sort();
    expected.sort();
    assert_eq!(billed, expected);
    if !billed.is_empty() {
        assert_eq!(row.text("currency"), Some("USD"));
        assert_eq!(row.text("cost_status"), Some("priced"));
        assert!(row.text("price_version").is_some());
    }
}
