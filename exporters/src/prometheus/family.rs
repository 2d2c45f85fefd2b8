//! The metrics, in one list.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use tollgate_record::{Name, Outcome};

use super::series::{Example, Series, TOKENS, shown};
use super::{Key, OTHER};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// Observations by size, with examples.
    Histogram,
}

/// A metric with labels.
pub struct Family {
    /// Its name without the gateway's prefix, and without `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
    /// What to raise an alarm on, in PromQL; empty where nothing is wrong at any value.
    pub alarm: &'static str,
    values: Values,
}

/// Where a family's values come from.
enum Values {
    Outcomes,
    Tokens,
    Cost,
    Refusals,
    Count(fn(&Series) -> u64),
    Histogram(fn(&Series) -> &HistogramWithExemplars<Example>),
}

/// All of them.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "calls",
        kind: Kind::Counter,
        labels: &["proxy", "provider", "model", "outcome"],
        help: "Calls, by how they ended; results of batches are none.",
        alarm: r#"sum by (provider) (rate(tollgate_calls_total{outcome=~"upstream_.+"}[5m])) > 0.05 * sum by (provider) (rate(tollgate_calls_total[5m]))"#,
        values: Values::Outcomes,
    },
    Family {
        name: "call_duration_seconds",
        kind: Kind::Histogram,
        labels: &["proxy", "provider", "model"],
        help: "From a request's arrival to its answer's end.",
        alarm: "",
        values: Values::Histogram(|series| &series.duration),
    },
    Family {
        name: "call_time_to_first_token_seconds",
        kind: Kind::Histogram,
        labels: &["proxy", "provider", "model"],
        help: "From a request's arrival to the first byte of its answer's body.",
        alarm: "",
        values: Values::Histogram(|series| &series.first_token),
    },
    Family {
        name: "call_overhead_seconds",
        kind: Kind::Histogram,
        labels: &["proxy", "provider", "model"],
        help: "The part of calls that the gateway itself took.",
        alarm: "histogram_quantile(0.99, sum by (le) (rate(tollgate_call_overhead_seconds_bucket[5m]))) > 0.025",
        values: Values::Histogram(|series| &series.overhead),
    },
    Family {
        name: "tokens",
        kind: Kind::Counter,
        labels: &["proxy", "provider", "model", "type"],
        help: "Tokens: `input` and `output`, and what is inside of these: `cache_read`, `cache_creation`, `reasoning`.",
        alarm: "",
        values: Values::Tokens,
    },
    Family {
        name: "cost",
        kind: Kind::Counter,
        labels: &["proxy", "provider", "model", "currency"],
        help: "What calls cost, as a float; the exact sums are in table `usage`.",
        alarm: "",
        values: Values::Cost,
    },
    Family {
        name: "unpriced_calls",
        kind: Kind::Counter,
        labels: &["proxy", "provider", "model"],
        help: "Calls of which a price is missing.",
        alarm: "increase(tollgate_unpriced_calls_total[15m]) > 0",
        values: Values::Count(|series| series.unpriced),
    },
    Family {
        name: "policy_refusals",
        kind: Kind::Counter,
        labels: &["policy"],
        help: "Calls that a budget, a rate limit or a list of what is allowed refused, by its name.",
        alarm: "",
        values: Values::Refusals,
    },
];

impl Family {
    pub(super) fn show(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        series: &[(&Key, &Series)],
        refusals: &BTreeMap<Box<str>, u64>,
    ) -> Result<(), fmt::Error> {
        let help = self.help.trim_end_matches('.'); // the encoder adds one
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Histogram => MetricType::Histogram,
        };
        let mut family = encoder.encode_descriptor(self.name, help, None, kind)?;
        if let Values::Refusals = self.values {
            for (policy, count) in refusals {
                ConstCounter::new(*count).encode(family.encode_family(&[("policy", &**policy)])?)?;
            }
        }
        for (key, series) in series {
            self.show_series(&mut family, key, series)?;
        }
        Ok(())
    }

    fn show_series(&self, family: &mut MetricEncoder<'_>, key: &Key, series: &Series) -> Result<(), fmt::Error> {
        let labels = key.labels();
        let mut count = |label: Option<(&'static str, &str)>, value: u64| {
            let labels: Vec<_> = labels.into_iter().chain(label).collect();
            if value == 0 {
                return Ok(());
            }
            ConstCounter::new(value).encode(family.encode_family(&labels)?)
        };
        match &self.values {
            Values::Outcomes => {
                for (outcome, calls) in Outcome::ALL.iter().zip(series.calls) {
                    count(Some(("outcome", outcome.as_str())), calls)?;
                }
            }
            Values::Tokens => {
                for (class, tokens) in TOKENS.iter().zip(series.tokens) {
                    count(Some(("type", class)), tokens)?;
                }
            }
            Values::Count(value) => count(None, value(series))?,
            Values::Cost => {
                for (currency, units) in &series.cost {
                    let labels: Vec<_> = labels.into_iter().chain([("currency", currency.as_str())]).collect();
                    ConstCounter::new(shown(*units)).encode(family.encode_family(&labels)?)?;
                }
            }
            Values::Histogram(histogram) => histogram(series).encode(family.encode_family(&labels)?)?,
            Values::Refusals => {}
        }
        Ok(())
    }
}

// === impl Key ===

impl Key {
    /// What is not known is empty: to Prometheus, a label that is not there.
    fn labels(&self) -> [(&'static str, &str); 3] {
        [
            ("proxy", self.proxy.as_ref().map_or("", Name::as_str)),
            ("provider", self.provider.as_ref().map_or("", Name::as_str)),
            ("model", self.model.as_ref().map_or(OTHER, Name::as_str)),
        ]
    }
}
