//! Every metric of the gateway, in one list; `GET /metrics` shows it in the text format of OpenMetrics, which Prometheus reads.
//!
//! Names are `tollgate_<part>_<noun>_<unit>`, counters end in `_total`; a name is never given another meaning. Each metric is read when it is asked for:
//! nothing is counted twice. What the rows say of the request path ([`tollgate_exporters::prometheus`]), exporters and budgets ([`labelled`]) have
//! labels; the rest has none. The table in docs/operations.md is these lists, and a test holds them against each other; `process_*` ([`process`])
//! are named as everywhere.

mod labelled;
mod process;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tollgate_budget::pool::Reach;
use tollgate_exporters::prometheus::{Calls, Shown};
use tollgate_pool::Member;
use tollgate_proxy::Watcher;
use tollgate_query_api::Engine;
use tollgate_usage_store::Store;

use self::labelled::{LABELLED, Named};
use self::process::Process;
use crate::exporters::Exporters;

/// What an answer of this format is called.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The first part of every name.
const PREFIX: &str = "tollgate";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// A level.
    Gauge,
}

/// The figures of one moment.
struct Figures {
    ledger: tollgate_usage_store::Stats,
    queries: tollgate_query_api::Stats,
    proxy: tollgate_proxy::Stats,
    /// None where budgets are not shared.
    pool: Option<tollgate_pool::Stats>,
    named: Named,
    /// When they were read, and when the process started, in microseconds since 1970.
    now_us: u64,
    started_us: u64,
}

/// One metric.
struct Metric {
    /// Its name without [`PREFIX`], and without `_total`.
    name: &'static str,
    kind: Kind,
    /// What it says, in a sentence.
    help: &'static str,
    /// What to raise an alarm on, in PromQL; empty where nothing is wrong at any value. Stands in the documentation.
    #[cfg_attr(not(test), allow(dead_code))]
    alarm: &'static str,
    /// Its value; whole numbers, but for seconds.
    value: fn(&Figures) -> Value,
}

/// A whole number, or microseconds that are shown as seconds.
enum Value {
    Whole(u64),
    Seconds(u64),
}

macro_rules! metrics {
    ($($kind:ident $name:ident $help:literal $alarm:literal |$figures:ident| $value:expr;)+) => {
        &[$(Metric { name: stringify!($name), kind: Kind::$kind, help: $help, alarm: $alarm, value: |$figures| $value },)+]
    };
}

/// All of them.
#[rustfmt::skip]
const METRICS: &[Metric] = metrics! {
    Counter ledger_calls_opened "Calls admitted: entries `opened` written to the log." ""
        |f| Value::Whole(f.ledger.opened);
    Counter ledger_rows_written "Rows written to the log: entries `settled`." ""
        |f| Value::Whole(f.ledger.settled);
    Counter ledger_log_writes "Group commits: calls of write() for the log." ""
        |f| Value::Whole(f.ledger.commits);
    Counter ledger_log_written_bytes "Bytes written to the log." ""
        |f| Value::Whole(f.ledger.written_bytes);
    Counter ledger_log_syncs "fdatasync() of the log that completed." ""
        |f| Value::Whole(f.ledger.syncs);
    Counter ledger_log_write_failures "Writes of the log that failed, a full disk included." "increase(tollgate_ledger_log_write_failures_total[5m]) > 0"
        |f| Value::Whole(f.ledger.write_failures);
    Counter ledger_calls_refused "Calls refused with 503 because the log had no room: the disk was full, or the log at its limit." "increase(tollgate_ledger_calls_refused_total[5m]) > 0"
        |f| Value::Whole(f.ledger.refused);
    Gauge ledger_poisoned "1 if the log takes nothing any more until a restart, else 0." "tollgate_ledger_poisoned > 0"
        |f| Value::Whole(u64::from(f.ledger.poisoned));
    Gauge ledger_log_bytes "Bytes of the log on disk: rows that the table does not have yet." "tollgate_ledger_log_bytes > 0.5 * tollgate_ledger_log_limit_bytes"
        |f| Value::Whole(f.ledger.log_bytes);
    Gauge ledger_log_limit_bytes "Bytes of the log from which on calls are refused." ""
        |f| Value::Whole(f.ledger.log_bytes_max);
    Gauge ledger_open_calls "Calls that were admitted and have not ended." ""
        |f| Value::Whole(f.ledger.open_calls);
    Gauge ledger_owed_rows "Rows that a full disk keeps in memory; they are written first when there is space." "tollgate_ledger_owed_rows > 0"
        |f| Value::Whole(f.ledger.owed_rows);
    Gauge ledger_hot_rows "Rows that the table does not have yet, in memory." ""
        |f| Value::Whole(f.ledger.hot_rows);
    Gauge ledger_uncommitted_age_seconds "At most this old is the oldest row that the table does not have yet; 0 if it has all." "tollgate_ledger_uncommitted_age_seconds > 600"
        |f| Value::Seconds(uncommitted_us(f));
    Gauge ledger_seq "Place of the last row of this gateway." ""
        |f| Value::Whole(f.ledger.last_seq);
    Gauge ledger_committed_seq "Place of the last row of this gateway that the table has." ""
        |f| Value::Whole(f.ledger.committed_seq);
    Counter ledger_flushes "Flushes that committed." ""
        |f| Value::Whole(f.ledger.flushes);
    Counter ledger_flush_failures "Flushes that failed; their rows stay in the log and are tried again." "increase(tollgate_ledger_flush_failures_total[15m]) > 2"
        |f| Value::Whole(f.ledger.flush_failures);
    Counter ledger_flushed_rows "Rows that flushes moved to the table." ""
        |f| Value::Whole(f.ledger.flushed_rows);
    Counter ledger_flush_seconds "Seconds that committed flushes took, together." ""
        |f| Value::Seconds(f.ledger.flush_us);
    Counter ledger_compactions "Compactions of the table that committed." ""
        |f| Value::Whole(f.ledger.compactions);
    Counter ledger_compacted_files "Files that compactions merged." ""
        |f| Value::Whole(f.ledger.compacted_files);
    Counter ledger_compacted_rows "Rows that compactions wrote anew." ""
        |f| Value::Whole(f.ledger.compacted_rows);
    Counter ledger_compacted_bytes "Bytes that compactions wrote." ""
        |f| Value::Whole(f.ledger.compacted_bytes);
    Counter ledger_checkpoints "Checkpoints of the table's log that were written." ""
        |f| Value::Whole(f.ledger.checkpoints);
    Counter ledger_vacuumed_files "Files out of date that were deleted." ""
        |f| Value::Whole(f.ledger.vacuumed_files);
    Counter ledger_vacuumed_bytes "Their size in bytes." ""
        |f| Value::Whole(f.ledger.vacuumed_bytes);
    Counter ledger_expired_rows "Rows that were removed because they were older than spec.ledger.retention." ""
        |f| Value::Whole(f.ledger.expired_rows);
    Counter ledger_upkeep_failures "Steps of the table's upkeep that failed; they are tried again." "increase(tollgate_ledger_upkeep_failures_total[1h]) > 3"
        |f| Value::Whole(f.ledger.upkeep_failures);
    Gauge ledger_table_version "Version of the table that queries see." ""
        |f| Value::Whole(f.ledger.table_version);
    Gauge budget_counters "Counters of budgets." ""
        |f| Value::Whole(f.ledger.budget_counters);
    Gauge budget_open_calls "Calls that hold something of a budget or a rate limit." ""
        |f| Value::Whole(f.ledger.budget_open_calls);
    Counter budget_refusals "Calls that budgets refused." ""
        |f| Value::Whole(f.ledger.budget_refusals);
    Counter budget_counters_compared "Counters that were compared with the sum of their rows." ""
        |f| Value::Whole(f.ledger.budget_compared);
    Counter budget_drifts "Counters that were not the sum of their rows: a defect, whose numbers are in the log." "increase(tollgate_budget_drifts_total[1h]) > 0"
        |f| Value::Whole(f.ledger.budget_drifts);
    Gauge budget_pool_reachable "1 if the server through which gateways share budgets answers and grants, or budgets are not shared; else 0." "tollgate_budget_pool_reachable < 1"
        |f| Value::Whole(f.pool.as_ref().map_or(1, |pool| u64::from(pool.reach == Reach::Up)));
    Gauge budget_pool_leases "Counters that this gateway was granted something of." ""
        |f| Value::Whole(f.pool.as_ref().map_or(0, |pool| pool.leases.granted));
    Gauge budget_pool_live_gateways "Gateways that the server has heard lately." ""
        |f| Value::Whole(f.pool.as_ref().map_or(0, |pool| pool.leases.live));
    Counter budget_pool_questions "Questions for shares of budgets." ""
        |f| Value::Whole(f.pool.as_ref().map_or(0, |pool| pool.questions));
    Counter budget_pool_batches "Batches in which they were asked, those without any included." ""
        |f| Value::Whole(f.pool.as_ref().map_or(0, |pool| pool.batches));
    Counter budget_pool_wait_seconds "Seconds that answers to these took, together." ""
        |f| Value::Seconds(f.pool.as_ref().map_or(0, |pool| pool.waited_us));
    Counter budget_pool_failures "Connections to the server and batches that failed." "increase(tollgate_budget_pool_failures_total[5m]) > 3"
        |f| Value::Whole(f.pool.as_ref().map_or(0, |pool| pool.failures));
    Counter budget_pool_epochs "Times that the server was new to this gateway: one start, and each loss of its data." ""
        |f| Value::Whole(f.pool.as_ref().map_or(0, |pool| pool.epochs));
    Gauge queries_running "Queries that run now." ""
        |f| Value::Whole(f.queries.running);
    Gauge queries_waiting "Queries that wait to run." ""
        |f| Value::Whole(f.queries.waiting);
    Counter queries_done "Queries that gave their last row." ""
        |f| Value::Whole(f.queries.done);
    Counter queries_failed "Queries that ended in an error of their own, limits included." ""
        |f| Value::Whole(f.queries.failed);
    Counter queries_cancelled "Queries whose caller left, or that a shutdown ended." ""
        |f| Value::Whole(f.queries.cancelled);
    Counter queries_refused "Queries refused because too many ran and waited." "increase(tollgate_queries_refused_total[15m]) > 0"
        |f| Value::Whole(f.queries.refused);
    Counter queries_rows "Rows that queries gave out." ""
        |f| Value::Whole(f.queries.rows);
    Gauge queries_memory_bytes "Bytes of memory that queries hold now." ""
        |f| Value::Whole(f.queries.memory_bytes);
    Gauge queries_spill_bytes "Bytes of disk that queries hold now." ""
        |f| Value::Whole(f.queries.spill_bytes);
    Counter proxy_connect_failures "Connections to upstreams that could not be established." ""
        |f| Value::Whole(f.proxy.connect_failures);
    Counter proxy_failovers "Times that a call went on to another URL of its provider, because one could not be connected to." ""
        |f| Value::Whole(f.proxy.went_on);
    Gauge proxy_resting_urls "URLs of providers with several that rest now, because they could not be connected to." "tollgate_proxy_resting_urls > 0"
        |f| Value::Whole(f.proxy.urls_resting);
    Gauge process_start_time_seconds "When the process started, in seconds since 1970." ""
        |f| Value::Seconds(f.started_us);
};

/// Where the figures come from. Holds neither back from ending: a scraper's connection may outlive them.
pub(crate) struct Metrics {
    store: Weak<Store>,
    engine: Weak<Engine>,
    proxy: Watcher,
    exporters: Weak<Exporters>,
    calls: Arc<Calls>,
    pool: Option<Arc<Member>>,
    started_us: u64,
}

/// The list at one moment, for the encoder.
#[derive(Debug)]
struct Moment(Figures);

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(
        store: &Arc<Store>,
        engine: &Arc<Engine>,
        proxy: Watcher,
        exporters: &Arc<Exporters>,
        calls: Arc<Calls>,
        pool: Option<Arc<Member>>,
    ) -> Self {
        Self {
            pool,
            exporters: Arc::downgrade(exporters),
            calls,
            store: Arc::downgrade(store),
            engine: Arc::downgrade(engine),
            proxy,
            started_us: now_us(),
        }
    }

    /// All metrics as they are now; `None` once the gateway ends.
    pub(crate) async fn text(&self) -> Option<String> {
        let mut exporters = Vec::new();
        for exporter in self.exporters.upgrade()?.all() {
            exporters.push(exporter.status().await);
        }
        let (store, engine) = (self.store.upgrade()?, self.engine.upgrade()?);
        let figures = Figures {
            ledger: store.stats(),
            queries: engine.stats(),
            proxy: self.proxy.stats()?,
            pool: self.pool.as_ref().map(|member| member.stats()),
            named: Named {
                exporters,
                budgets: store.fullest_budgets(),
            },
            now_us: now_us(),
            started_us: self.started_us,
        };
        Some(write(figures, &self.calls))
    }
}

fn write(figures: Figures, calls: &Arc<Calls>) -> String {
    let started_us = figures.started_us;
    let mut registry = Registry::default();
    let own = registry.sub_registry_with_prefix(PREFIX);
    own.register_collector(Box::new(Shown(Arc::clone(calls))));
    own.register_collector(Box::new(Moment(figures)));
    registry.register_collector(Box::new(Process { started_us }));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("writing to a text cannot fail");
    text
}

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in METRICS {
            let help = metric.help.trim_end_matches('.'); // the encoder adds one
            let value = (metric.value)(&self.0);
            match (metric.kind, value) {
                (Kind::Counter, Value::Whole(count)) => put(&mut encoder, metric, help, &ConstCounter::new(count)),
                (Kind::Counter, Value::Seconds(us)) => put(&mut encoder, metric, help, &ConstCounter::new(seconds(us))),
                (Kind::Gauge, Value::Whole(level)) => put(
                    &mut encoder,
                    metric,
                    help,
                    &ConstGauge::new(i64::try_from(level).unwrap_or(i64::MAX)),
                ),
                (Kind::Gauge, Value::Seconds(us)) => put(&mut encoder, metric, help, &ConstGauge::new(seconds(us))),
            }?;
        }
        for metric in LABELLED {
            metric.show(&mut encoder, &self.0.named)?;
        }
        Ok(())
    }
}

fn put(encoder: &mut DescriptorEncoder<'_>, metric: &Metric, help: &str, value: &impl EncodeMetric) -> Result<(), fmt::Error> {
    let encoder = encoder.encode_descriptor(metric.name, help, None, value.metric_type())?;
    value.encode(encoder)
}

/// Times are no money: a float will do.
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// How long ago the table had every row. Since the start, if it has not been so since; a row that was there before is older.
fn uncommitted_us(figures: &Figures) -> u64 {
    if figures.ledger.hot_rows == 0 {
        return 0;
    }
    let since = figures.ledger.flushed_time_us.max(figures.started_us);
    figures.now_us.saturating_sub(since)
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures")
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tollgate_exporters::prometheus::{self, FAMILIES};

    use super::*;

    fn figures() -> Figures {
        Figures {
            ledger: tollgate_usage_store::Stats {
                hot_rows: 3,
                flushed_time_us: 40_000_000,
                flush_us: 1_500_000,
                settled: u64::MAX,
                poisoned: true,
                ..tollgate_usage_store::Stats::default()
            },
            queries: tollgate_query_api::Stats::default(),
            proxy: tollgate_proxy::Stats::default(),
            pool: None,
            named: Named::default(),
            now_us: 50_250_000,
            started_us: 7_000_000,
        }
    }

    /// The row of a metric in docs/operations.md.
    fn documented(name: &str, is_counter: bool, labels: &[&str], help: &str, alarm: &str) -> String {
        let total = if is_counter { "_total" } else { "" };
        let by = match labels {
            [] => String::new(),
            labels => format!("By `{}`: ", labels.join("`, `")),
        };
        let alarm = if alarm.is_empty() {
            String::new()
        } else {
            format!("`{alarm}`")
        };
        format!("| `{PREFIX}_{name}{total}` | {by}{help} | {alarm} |")
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        let document = std::fs::read_to_string(format!("{root}/docs/operations.md")).unwrap();
        let listed: Vec<&str> = document
            .lines()
            .filter(|line| line.starts_with(&format!("| `{PREFIX}_")))
            .collect();
        let calls = FAMILIES
            .iter()
            .map(|of| documented(of.name, of.kind == prometheus::Kind::Counter, of.labels, of.help, of.alarm));
        let plain = METRICS
            .iter()
            .map(|of| documented(of.name, of.kind == Kind::Counter, &[], of.help, of.alarm));
        let named = LABELLED
            .iter()
            .map(|of| documented(of.name, of.kind == Kind::Counter, &[of.label], of.help, of.alarm));
        let expected: Vec<String> = calls.chain(plain).chain(named).collect();
        assert_eq!(listed, expected, "docs/operations.md should say:\n{}", expected.join("\n"));
    }

    #[test]
    fn every_value_is_written_with_its_unit() {
        let text = write(figures(), &Arc::default());
        for line in [
            "tollgate_ledger_rows_written_total 18446744073709551615",
            "tollgate_ledger_poisoned 1",
            "tollgate_ledger_uncommitted_age_seconds 10.25",
            "tollgate_ledger_flush_seconds_total 1.5",
            "# TYPE tollgate_ledger_flush_seconds counter",
            "tollgate_process_start_time_seconds 7.0",
            "process_start_time_seconds 7.0",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        for metric in METRICS {
            let units = [
                "bytes",
                "seconds",
                "rows",
                "calls",
                "seq",
                "version",
                "poisoned",
                "urls",
                "counters",
                "reachable",
                "leases",
                "gateways",
            ];
            let of_a_kind = metric.kind == Kind::Counter
                || units.iter().any(|unit| metric.name.contains(unit))
                || metric.name.starts_with("queries_");
            assert!(of_a_kind, "{} does not say what it counts", metric.name);
            assert!(
                metric.alarm.is_empty() || metric.alarm.contains(metric.name),
                "{}",
                metric.alarm
            );
        }
    }

    #[test]
    fn no_row_that_waits_is_no_age() {
        let mut none = figures();
        none.ledger.hot_rows = 0;
        assert_eq!(uncommitted_us(&none), 0);
        let mut never = figures();
        never.ledger.flushed_time_us = 0;
        assert_eq!(uncommitted_us(&never), 43_250_000, "since the start");
    }
}
