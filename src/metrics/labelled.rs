//! Metrics of what is configured: exporters and budgets, by name.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tollgate_exporters::{State, Status};
use tollgate_record::Name;

use super::{Kind, seconds};

/// What they are read out of.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) exporters: Vec<Status>,
    /// How much of its limit each budget's fullest counter has used, in thousandths.
    pub(super) budgets: Vec<(Name, u64)>,
}

/// A metric with a label.
pub(super) struct Labelled {
    /// Its name without the prefix, and without `_total`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is made of it"))]
    pub(super) alarm: &'static str,
    values: Values,
}

enum Values {
    OfExporter(fn(&Status) -> Option<f64>),
    OfBudget,
}

/// All of them.
pub(super) const LABELLED: &[Labelled] = &[
    exporter(
        "exporter_healthy",
        Kind::Gauge,
        "1 if an exporter delivers, waits for rows or was told to pause, else 0.",
        "tollgate_exporter_healthy < 1",
        |status| Some(f64::from(u8::from(matches!(status.state, State::Running | State::Paused)))),
    ),
    exporter(
        "exporter_lag_rows",
        Kind::Gauge,
        "Rows that an exporter has not delivered yet, those that its filter leaves out included.",
        "",
        |status| status.lag_rows.map(count),
    ),
    exporter(
        "exporter_lag_seconds",
        Kind::Gauge,
        "How long ago the oldest of them started.",
        "tollgate_exporter_lag_seconds > 900",
        |status| status.lag_us.map(seconds),
    ),
    exporter(
        "exporter_delivered_rows",
        Kind::Counter,
        "Rows that the far side accepted, each time anew.",
        "",
        |status| Some(count(status.delivered)),
    ),
    exporter(
        "exporter_dead_rows",
        Kind::Counter,
        "Rows that the far side will never take; they are in table `dead_letters`.",
        "increase(tollgate_exporter_dead_rows_total[15m]) > 0",
        |status| Some(count(status.dead)),
    ),
    exporter(
        "exporter_retries",
        Kind::Counter,
        "Deliveries that were tried again.",
        "",
        |status| Some(count(status.retried)),
    ),
    Labelled {
        name: "budget_used_ratio",
        kind: Kind::Gauge,
        label: "budget",
        help: "The part of a budget's limit that its fullest counter has used, what is set aside for open calls included.",
        alarm: "tollgate_budget_used_ratio > 0.9",
        values: Values::OfBudget,
    },
];

const fn exporter(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    alarm: &'static str,
    value: fn(&Status) -> Option<f64>,
) -> Labelled {
    Labelled {
        name,
        kind,
        label: "exporter",
        help,
        alarm,
        values: Values::OfExporter(value),
    }
}

impl Labelled {
    pub(super) fn show(&self, encoder: &mut DescriptorEncoder<'_>, named: &Named) -> Result<(), fmt::Error> {
        let help = self.help.trim_end_matches('.'); // the encoder adds one
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(self.name, help, None, kind)?;
        for (name, value) in self.values(named) {
            let label = [(self.label, name.as_str())];
            let one = family.encode_family(&label)?;
            match self.kind {
                Kind::Counter => ConstCounter::new(value).encode(one),
                Kind::Gauge => ConstGauge::new(value).encode(one),
            }?;
        }
        Ok(())
    }

    fn values<'n>(&self, named: &'n Named) -> Vec<(&'n Name, f64)> {
        match self.values {
            Values::OfExporter(value) => {
                let statuses = named.exporters.iter();
                statuses.filter_map(|status| Some((&status.name, value(status)?))).collect()
            }
            Values::OfBudget => named
                .budgets
                .iter()
                .map(|(name, used)| (name, count(*used) / 1000.0))
                .collect(),
        }
    }
}

/// Prometheus has floats only.
fn count(of: u64) -> f64 {
    of as f64
}
