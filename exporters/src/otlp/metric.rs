//! Calls as metrics: exponential histograms under the conventions' names, and money as sums of whole numbers.
//!
//! 1. Money is `tollgate.cost`, a monotonic sum of integers in units of 10^-12 of the currency: the ledger's own digits, no float between. What
//!    corrections take back is `tollgate.cost.taken_back`, for a monotonic sum cannot fall; the cost is the difference of the two.
//! 2. Cumulative points are totals since the exporter started, and a row is added to them once, by its place (`counted.rs`): a batch that is
//!    delivered again, whole or in halves, is told as the same totals. After a restart totals begin at zero with a new start time, as
//!    OpenTelemetry tells counters to; rows whose delivery the stopped gateway had not noted are then in both streams, a batch at most.
//! 3. Delta points say what a batch adds, over the interval in which its calls ended. They follow from the rows alone: a batch that is delivered
//!    again is the same points at the same times. Whether the far side overwrites or adds them is its own; a batch cut otherwise after a
//!    restart is another point.
//! 4. A total beyond an `i64` (9.2 million of a currency) begins anew, as a restart does. It never wraps.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};

use super::attribute::{SCHEMA_URL, resource, scope};
use super::config::{Config, Temporality};
use super::counted::Counted;
use super::histogram::Histogram;
use super::series::{Measured, Measures, Money, Series, add, measure};
use super::time::Times;
use crate::row::Rows;

/// Unit of money in UCUM: 10^-12, of the currency that the attribute names.
const MONEY_UNIT: &str = "10*-12{currency}";

/// Totals of every gateway whose rows were delivered.
#[derive(Debug, Default)]
pub(super) struct Totals {
    counted: Counted,
    by_instance: HashMap<String, Total>,
}

#[derive(Debug)]
struct Total {
    measured: Measured,
    start_ns: u64,
}

/// One batch adds more money to one series than a point can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// The span of time that points speak of.
#[derive(Clone, Copy, Debug)]
struct Interval {
    start_ns: u64,
    end_ns: u64,
}

/// What a batch's points say. `instances` are the rows by gateway; `started_ns` and `now_ns` are when the exporter was made, and now.
pub(super) fn encode(
    config: &Config,
    rows: &Rows,
    instances: &BTreeMap<Option<&str>, Vec<usize>>,
    totals: &mut Totals,
    (started_ns, now_ns): (u64, u64),
) -> Result<Vec<ResourceMetrics>, TooMuch> {
    let mut messages = Vec::with_capacity(instances.len());
    for (instance, chosen) in instances {
        let metrics = match config.temporality {
            Temporality::Delta => {
                let measured = measure(config, rows, chosen.iter().copied());
                within(&measured)?;
                let ends = || chosen.iter().filter_map(|row| Some(Times::of(rows, *row)?.end_ns));
                let interval = Interval {
                    start_ns: ends().min().unwrap_or(now_ns).saturating_sub(1),
                    end_ns: ends().max().unwrap_or(now_ns),
                };
                let series: BTreeMap<&Series, &Measures> = measured.iter().collect();
                points(config, &series, interval)
            }
            Temporality::Cumulative => totals.add(config, rows, instance.unwrap_or_default(), chosen, (started_ns, now_ns))?,
        };
        if !metrics.is_empty() {
            messages.push(ResourceMetrics {
                resource: Some(resource(config, *instance)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    schema_url: SCHEMA_URL.to_owned(),
                }],
                schema_url: SCHEMA_URL.to_owned(),
            });
        }
    }
    Ok(messages)
}

// === impl Totals ===

impl Totals {
    /// Adds those rows that were not added before, and tells the totals of every series that the rows belong to.
    fn add(
        &mut self,
        config: &Config,
        rows: &Rows,
        instance: &str,
        chosen: &[usize],
        (started_ns, now_ns): (u64, u64),
    ) -> Result<Vec<Metric>, TooMuch> {
        let place = |row: &usize| rows.seq.get(*row).unwrap_or_default();
        let (again, fresh): (Vec<_>, Vec<_>) = chosen.iter().copied().partition(|row| self.counted.has(instance, place(row)));
        let measured = measure(config, rows, fresh.into_iter());
        within(&measured)?;
        let total = self.by_instance.entry(instance.to_owned()).or_insert_with(|| Total {
            measured: HashMap::new(),
            start_ns: started_ns,
        });
        if overflows(&total.measured, &measured) {
            *total = Total {
                measured: HashMap::new(),
                start_ns: now_ns.saturating_sub(1),
            };
        }
        let mut changed = add(&mut total.measured, measured);
        // Rows that come again tell their series again: their points may be what was lost.
        let again = measure(config, rows, again.into_iter());
        changed.extend(again.into_keys().filter(|series| total.measured.contains_key(series)));
        if let (Some(first), Some(last)) = (chosen.iter().map(place).min(), chosen.iter().map(place).max()) {
            self.counted.note(instance, first, last);
        }
        let series: BTreeMap<&Series, &Measures> = changed
            .iter()
            .filter_map(|series| total.measured.get_key_value(series))
            .collect();
        Ok(points(
            config,
            &series,
            Interval {
                start_ns: total.start_ns,
                end_ns: now_ns.max(total.start_ns + 1),
            },
        ))
    }
}

fn within(measured: &Measured) -> Result<(), TooMuch> {
    let fits = |money: &Money| i64::try_from(money.booked).is_ok() && i64::try_from(money.taken_back).is_ok();
    if measured.values().flat_map(|measures| measures.costs.values()).all(fits) {
        Ok(())
    } else {
        Err(TooMuch)
    }
}

fn overflows(totals: &Measured, added: &Measured) -> bool {
    added
        .iter()
        .flat_map(|(series, measures)| measures.costs.iter().map(move |cost| (series, cost)))
        .any(|(series, (currency, money))| {
            let total = [series, &Series::Overflow]
                .into_iter()
                .filter_map(|series| totals.get(series)?.costs.get(currency));
            total.into_iter().any(|total| {
                i64::try_from(total.booked + money.booked).is_err() || i64::try_from(total.taken_back + money.taken_back).is_err()
            })
        })
}

/// The metrics of some series; those without a point are left out.
fn points(config: &Config, series: &BTreeMap<&Series, &Measures>, interval: Interval) -> Vec<Metric> {
    let temporality = match config.temporality {
        Temporality::Delta => AggregationTemporality::Delta,
        Temporality::Cumulative => AggregationTemporality::Cumulative,
    };
    let histogram = |name: &str, unit: &str, description: &str, data_points: Vec<_>| {
        let data = Data::ExponentialHistogram(ExponentialHistogram {
            data_points,
            aggregation_temporality: temporality.into(),
        });
        metric(name, unit, description, data)
    };
    let sum = |name: &str, description: &str, data_points: Vec<_>| {
        let data = Data::Sum(Sum {
            data_points,
            aggregation_temporality: temporality.into(),
            is_monotonic: true,
        });
        metric(name, MONEY_UNIT, description, data)
    };
    let (mut tokens, mut durations, mut first_token, mut per_token) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut booked, mut taken_back) = (Vec::new(), Vec::new());
    for (series, measures) in series {
        for (kind, histogram) in [("input", &measures.input_tokens), ("output", &measures.output_tokens)] {
            tokens.extend(point(histogram, interval, || {
                series.attributes_with(config, "gen_ai.token.type", Some(kind))
            }));
        }
        for (error, histogram) in &measures.durations {
            durations.extend(point(histogram, interval, || {
                series.attributes_with(config, "error.type", error.as_deref())
            }));
        }
        first_token.extend(point(&measures.first_token, interval, || series.attributes(config).take()));
        per_token.extend(point(&measures.per_token, interval, || series.attributes(config).take()));
        for (currency, money) in &measures.costs {
            let number = |units: i128| NumberDataPoint {
                attributes: series.attributes_with(
                    config,
                    "tollgate.currency",
                    Some(currency).filter(|code| !code.is_empty()).map(|code| &**code),
                ),
                start_time_unix_nano: interval.start_ns,
                time_unix_nano: interval.end_ns,
                // Checked before: `within` and `overflows`.
                value: Some(Value::AsInt(i64::try_from(units).unwrap_or(i64::MAX))),
                ..NumberDataPoint::default()
            };
            booked.push(number(money.booked));
            if money.taken_back > 0 {
                taken_back.push(number(money.taken_back));
            }
        }
    }
    let metrics = [
        (
            tokens.len(),
            histogram(
                "gen_ai.client.token.usage",
                "{token}",
                "Number of input and output tokens used.",
                tokens,
            ),
        ),
        (
            durations.len(),
            histogram(
                "gen_ai.client.operation.duration",
                "s",
                "GenAI operation duration.",
                durations,
            ),
        ),
        (
            first_token.len(),
            histogram(
                "gen_ai.server.time_to_first_token",
                "s",
                "Time to generate first token for successful responses.",
                first_token,
            ),
        ),
        (
            per_token.len(),
            histogram(
                "gen_ai.server.time_per_output_token",
                "s",
                "Time per output token generated after the first token for successful responses.",
                per_token,
            ),
        ),
        (
            booked.len(),
            sum("tollgate.cost", "What calls cost, as it was booked.", booked),
        ),
        (
            taken_back.len(),
            sum(
                "tollgate.cost.taken_back",
                "What corrections took back of the cost.",
                taken_back,
            ),
        ),
    ];
    metrics
        .into_iter()
        .filter(|(points, _)| *points > 0)
        .map(|(_, metric)| metric)
        .collect()
}

fn metric(name: &str, unit: &str, description: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn point(
    histogram: &Histogram,
    interval: Interval,
    attributes: impl FnOnce() -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
) -> Option<ExponentialHistogramDataPoint> {
    (histogram.count > 0).then(|| ExponentialHistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: interval.start_ns,
        time_unix_nano: interval.end_ns,
        count: histogram.count,
        sum: Some(histogram.sum),
        scale: histogram.scale,
        zero_count: histogram.zero_count,
        positive: Some(Buckets {
            offset: histogram.offset,
            bucket_counts: histogram.buckets.clone(),
        }),
        min: Some(histogram.min),
        max: Some(histogram.max),
        ..ExponentialHistogramDataPoint::default()
    })
}
