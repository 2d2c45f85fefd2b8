//! Records for tests, each told apart by a number.

use std::sync::Arc;

use tollgate_record::{
    Amount, Call, CallId, Caller, Charge, Cost, CostStatus, Decision, Ending, Identity, Intent, Meter, Name, Outcome, Price,
    PriceList, Record, Tags, Terms, Timestamp, Usage, UsageSource,
};

use crate::PriceBook;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn intent(number: u64) -> Intent {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let call_id = CallId::from_parts(1_700_000_000_000, random);
    Intent {
        call_id,
        request_id: call_id.as_request(),
        attempt: 1,
        start_time: Timestamp::from_unix_us(1_700_000_000_000_000 + number as i64 * 1_000),
        identity: Arc::new(Identity {
            key_id: name("key"),
            org: Some(name("acme")),
            team: Some(name(if number.is_multiple_of(2) { "even" } else { "odd" })),
            project: None,
            service: None,
            user: None,
        }),
        caller: Caller {
            tags: Arc::new(Tags::from_pairs([("env", "prod"), ("number", "one")])),
            ..Caller::default()
        },
        call: Call {
            operation_name: name("chat"),
            proxy: None,
            provider_name: Some(name("openai")),
            template: Some(name("openai")),
            upstream: Some(name("api.openai.com:443")),
            region: None,
            request_model: Some(name("m")),
            stream: false,
            route_rule: None,
            cache: None,
        },
        request_bytes: 1001,
        bears_usage: true,
    }
}

pub(crate) fn ending() -> Ending {
    Ending {
        status_code: Some(200),
        usage: Usage {
            source: UsageSource::Reported,
            input: Some(100),
            output: Some(20),
            ..Usage::default()
        },
        decisions: vec![Decision {
            policy: "p".into(),
            action: "noted".into(),
            detail: None,
        }],
        duration_us: 1234,
        ..Ending::of(Outcome::Ok)
    }
}

/// A row that costs `number` millionths.
pub(crate) fn record(number: u64) -> Record {
    let cost = Amount::from_units(i128::from(number) * 1_000_000).unwrap();
    let charge = Charge {
        meter: Meter::Input,
        field: None,
        quantity: Amount::ONE,
        unit_price: Some(cost),
        amount: Some(cost),
    };
    let cost = Cost {
        status: CostStatus::Priced,
        cost: Some(cost),
        list_cost: Some(cost),
        avoided_cost: None,
        currency: Some(name("USD")),
        price_version: Some(name("list@1")),
        charges: vec![charge],
    };
    Record::new(name("gw"), intent(number), ending(), cost)
}

/// What a million tokens of model `m` cost, always.
pub(crate) fn price(meter: Meter, price: &str) -> Price {
    Price {
        model: name("m"),
        region: None,
        service_tier: None,
        context_above: None,
        meter,
        per: 1_000_000,
        price: price.parse().unwrap(),
        discount: Amount::ZERO,
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    }
}

/// An operator's list of OpenAI's prices for everyone, in dollars.
pub(crate) fn list(prices: Vec<Price>) -> PriceList {
    PriceList {
        name: name("list"),
        provider: name("openai"),
        currency: name("USD"),
        shipped: false,
        prices,
        terms: Terms::default(),
    }
}

/// Input at 2, output at 10 a million: a call of [`ending`] costs 100 * 2 + 20 * 10 = 400 millionths.
pub(crate) fn prices() -> PriceBook {
    PriceBook::new(vec![list(vec![price(Meter::Input, "2"), price(Meter::Output, "10")])])
}

/// A batch with text as it was before views, which tests read more easily.
pub(crate) fn plain(batch: &arrow::array::RecordBatch) -> arrow::array::RecordBatch {
    use arrow::datatypes::{DataType, Field, Schema};
    let (fields, columns): (Vec<_>, Vec<_>) = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let kind = match field.data_type() {
                DataType::Utf8View => DataType::Utf8,
                other => other.clone(),
            };
            (
                Field::new(field.name(), kind.clone(), true),
                arrow::compute::cast(column, &kind).unwrap(),
            )
        })
        .unzip();
    arrow::array::RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}
