//! What metric points are told apart by, and what is measured of each.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::attribute::{Attributes, error_type, provider, seconds};
use super::config::{Config, Dimension};
use super::histogram::Histogram;
use crate::row::Rows;

/// The most series of a gateway; the rest share one that is marked, as OpenTelemetry's SDKs do.
const SERIES_MAX: usize = 2000;
/// The most kinds of error of a series; the rest are `_OTHER`, the conventions' word.
const ERRORS_MAX: usize = 50;

/// Columns of the conventions by which points are told apart: operation, provider, model asked for, model that answered, upstream.
const COLUMNS: usize = 5;
/// The most columns that an operator can add.
const DIMENSIONS_MAX: usize = 6;

/// The values of a row, in the order of the attributes.
type Values<'a> = [Option<&'a str>; COLUMNS + DIMENSIONS_MAX];

/// What points are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Series {
    /// These values.
    Of(Box<[Option<Box<str>>]>),
    /// Whatever was beyond the limit.
    Overflow,
}

/// What is measured of a series.
#[derive(Clone, Debug, Default)]
pub(super) struct Measures {
    pub(super) input_tokens: Histogram,
    pub(super) output_tokens: Histogram,
    /// By kind of error.
    pub(super) durations: BTreeMap<Option<Box<str>>, Histogram>,
    pub(super) first_token: Histogram,
    pub(super) per_token: Histogram,
    /// By currency, in units of 10^-12.
    pub(super) costs: BTreeMap<Box<str>, Money>,
}

/// Two sums that only grow; their difference is the cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Money {
    pub(super) booked: i128,
    pub(super) taken_back: i128,
}

/// The measures of some rows, by series.
pub(super) type Measured = HashMap<Series, Measures>;

/// Measures rows. Imported rows are another gateway's traffic and are not measured; corrections are no calls, and only their money is.
pub(super) fn measure(config: &Config, rows: &Rows, chosen: impl Iterator<Item = usize>) -> Measured {
    let mut groups: HashMap<Values<'_>, Measures> = HashMap::new();
    for row in chosen.filter(|row| rows.outcome.get(*row) != Some("imported")) {
        groups.entry(values(config, rows, row)).or_default().record(rows, row);
    }
    let width = COLUMNS + config.dimensions.len().min(DIMENSIONS_MAX);
    let owned = |values: Values<'_>| values.iter().take(width).map(|value| value.map(Into::into)).collect();
    groups
        .into_iter()
        .map(|(values, measures)| (Series::Of(owned(values)), measures))
        .collect()
}

/// Adds measures to totals, and says which series changed.
pub(super) fn add(totals: &mut Measured, measured: Measured) -> Vec<Series> {
    let mut changed = Vec::with_capacity(measured.len());
    for (series, measures) in measured {
        let series = if totals.len() < SERIES_MAX || totals.contains_key(&series) {
            series
        } else {
            Series::Overflow
        };
        totals.entry(series.clone()).or_default().merge(measures);
        changed.push(series);
    }
    changed.sort_unstable();
    changed.dedup();
    changed
}

fn values<'a>(config: &Config, rows: &'a Rows, row: usize) -> Values<'a> {
    let columns = [
        &rows.operation_name,
        &rows.provider_name,
        &rows.request_model,
        &rows.response_model,
        &rows.upstream,
    ]
    .map(|column| column.get(row));
    let dimensions = config.dimensions.iter().map(|dimension: &Dimension| dimension.of(rows, row));
    let mut values = Values::default();
    for (value, column) in values.iter_mut().zip(columns.into_iter().chain(dimensions)) {
        *value = column;
    }
    values
}

// === impl Series ===

impl Series {
    pub(super) fn attributes(&self, config: &Config) -> Attributes {
        let mut attributes = Attributes::with_capacity(12);
        let Self::Of(values) = self else {
            attributes.flag("otel.metric.overflow", Some(true));
            return attributes;
        };
        let mut values = values.iter().map(Option::as_deref);
        let mut next = || values.next().flatten();
        attributes.text("gen_ai.operation.name", next());
        attributes.text("gen_ai.provider.name", next().map(provider));
        attributes.text("gen_ai.request.model", next());
        attributes.text("gen_ai.response.model", next());
        attributes.server(next());
        for dimension in config.dimensions.iter().take(DIMENSIONS_MAX) {
            attributes.text(dimension.attribute(), next());
        }
        attributes
    }

    /// The attributes with one more.
    pub(super) fn attributes_with(&self, config: &Config, key: &str, value: Option<&str>) -> Vec<KeyValue> {
        let mut attributes = self.attributes(config);
        attributes.text(key, value);
        attributes.take()
    }
}

// === impl Measures ===

impl Measures {
    fn record(&mut self, rows: &Rows, row: usize) {
        if let Some(cost) = rows.cost.get(row) {
            let currency = rows.currency.get(row).unwrap_or_default();
            let money = match self.costs.get_mut(currency) {
                Some(money) => money,
                None => self.costs.entry(currency.into()).or_default(),
            };
            // Amounts have 28 digits and batches a thousand rows: no i128 overflows.
            if cost.units() >= 0 {
                money.booked += cost.units()
            } else {
                money.taken_back -= cost.units()
            }
        }
        if rows.corrects.get(row).is_some() {
            return;
        }
        let (duration, first) = (rows.duration_us.count(row), rows.time_to_first_token_us.count(row));
        let (input, output) = (rows.input_tokens.count(row), rows.output_tokens.count(row));
        input.into_iter().for_each(|tokens| self.input_tokens.record(number(tokens)));
        output
            .into_iter()
            .for_each(|tokens| self.output_tokens.record(number(tokens)));
        let error = error_type(rows, row);
        if let Some(duration) = duration {
            let error = error.map(|error| if self.durations.len() < ERRORS_MAX { error } else { "_OTHER" });
            self.durations
                .entry(error.map(Into::into))
                .or_default()
                .record(seconds(duration));
        }
        // Only of a stream is the first byte the first token.
        if error.is_none()
            && rows.stream.get(row) == Some(true)
            && let Some(first) = first
        {
            self.first_token.record(seconds(first));
            if let (Some(duration), Some(output @ 2..)) = (duration, output) {
                self.per_token
                    .record(seconds(duration.saturating_sub(first)) / number(output - 1));
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.input_tokens.merge(&other.input_tokens);
        self.output_tokens.merge(&other.output_tokens);
        self.first_token.merge(&other.first_token);
        self.per_token.merge(&other.per_token);
        for (error, durations) in other.durations {
            let known = self.durations.len() < ERRORS_MAX || self.durations.contains_key(&error);
            let error = if known { error } else { Some("_OTHER".into()) };
            self.durations.entry(error).or_default().merge(&durations);
        }
        for (currency, money) in other.costs {
            let total = self.costs.entry(currency).or_default();
            total.booked = total.booked.saturating_add(money.booked);
            total.taken_back = total.taken_back.saturating_add(money.taken_back);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no call has 2^53 tokens")]
fn number(count: u64) -> f64 {
    count as f64
}
