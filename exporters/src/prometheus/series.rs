//! What the calls of one combination of labels add up to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use tollgate_record::{Amount, CallId, CostStatus, Name, Outcome, Record};

/// Upper bounds of whole calls and of first tokens, in seconds: a cached answer to a long piece of reasoning.
const SECONDS: [f64; 15] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0,
];
/// Upper bounds of what the gateway itself takes of a call, in seconds.
const OVERHEAD_SECONDS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0];
/// The tier of results of batches, which were no requests of their own.
const BATCH: &str = "batch";

/// Token counts, each with the value of label `type`. All but `input` and `output` are inside of one of these.
pub(super) const TOKENS: [&str; 5] = ["input", "output", "cache_read", "cache_creation", "reasoning"];

/// The sums of one combination.
pub(super) struct Series {
    /// By the order of [`Outcome::ALL`].
    pub(super) calls: [u64; Outcome::ALL.len()],
    pub(super) duration: HistogramWithExemplars<Example>,
    pub(super) first_token: HistogramWithExemplars<Example>,
    pub(super) overhead: HistogramWithExemplars<Example>,
    /// By the order of [`TOKENS`].
    pub(super) tokens: [u64; TOKENS.len()],
    /// In units of [`Amount`], by currency.
    pub(super) cost: BTreeMap<Name, i128>,
    pub(super) unpriced: u64,
}

/// By what the call behind an observation can be found: its trace, or its row.
#[derive(Clone, Debug)]
pub(super) enum Example {
    Trace(Name),
    Call(CallId),
}

impl Default for Series {
    fn default() -> Self {
        Self {
            calls: Default::default(),
            duration: HistogramWithExemplars::new(SECONDS.into_iter()),
            first_token: HistogramWithExemplars::new(SECONDS.into_iter()),
            overhead: HistogramWithExemplars::new(OVERHEAD_SECONDS.into_iter()),
            tokens: Default::default(),
            cost: BTreeMap::new(),
            unpriced: 0,
        }
    }
}

impl Series {
    /// Counts a row.
    pub(super) fn count(&mut self, row: &Record) {
        let is_request = row.usage.service_tier.as_ref().is_none_or(|tier| tier.as_str() != BATCH);
        if is_request && let Some(count) = self.calls.get_mut(row.outcome as usize) {
            *count += 1;
        }
        // How long an interrupted call took is not known.
        if is_request && row.outcome != Outcome::Interrupted {
            let ended = SystemTime::UNIX_EPOCH
                + Duration::from_micros(
                    u64::try_from(row.start_time.unix_us())
                        .unwrap_or(0)
                        .saturating_add(row.duration_us),
                );
            let observe = |histogram: &HistogramWithExemplars<Example>, us: u64| {
                histogram.observe(seconds(us), Some(Example::of(row)), Some(ended));
            };
            observe(&self.duration, row.duration_us);
            if let Some(us) = row.time_to_first_token_us {
                observe(&self.first_token, us);
            }
            if let Some(us) = row.gateway_overhead_us {
                observe(&self.overhead, us);
            }
        }
        let usage = &row.usage;
        let counts = [
            usage.input,
            usage.output,
            usage.cache_read,
            usage.cache_creation,
            usage.reasoning,
        ];
        for (sum, count) in self.tokens.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count.unwrap_or(0));
        }
        if let (Some(currency), Some(cost)) = (&row.cost.currency, row.cost.cost) {
            let sum = self.cost.entry(currency.clone()).or_default();
            *sum = sum.saturating_add(cost.units());
        }
        if row.cost.status == CostStatus::Unpriced {
            self.unpriced += 1;
        }
    }
}

impl Example {
    fn of(row: &Record) -> Self {
        match &row.caller.trace_id {
            Some(trace) => Self::Trace(trace.clone()),
            None => Self::Call(row.call_id),
        }
    }
}

impl EncodeLabelSet for Example {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Trace(trace) => ("trace_id", trace.as_str()).encode(encoder.encode_label()),
            Self::Call(call) => ("call_id", call.to_string()).encode(encoder.encode_label()),
        }
    }
}

/// Times are no money: a float will do.
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// An amount as Prometheus can hold it: a float, good for 15 digits.
pub(super) fn shown(units: i128) -> f64 {
    units as f64 / 10f64.powi(i32::from(Amount::SCALE as u8))
}
