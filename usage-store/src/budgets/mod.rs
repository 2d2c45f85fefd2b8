//! Budgets over the ledger: rules compiled, counters loaded from the rows that there are, and held against them while calls go on.
//!
//! # Invariants
//! 1. A row is posted to the counters under the lock under which queries begin to see it, so at any instant a counter is the sum that its
//!    SQL gives over what is then seen.
//! 2. Rules are taken over when all of their new counters are loaded: until then the rules before them hold. A budget whose counters could not be
//!    loaded, because the table is out of reach, lets no call pass.
//! 3. Counters are compared with their SQL once a minute, or so seldom that it takes a twentieth of the time; a difference in this gateway's rows is a
//!    defect: it is logged with both numbers, counted in a metric, and the SQL's number holds from then on.
//! 4. What other gateways have written to the same table is seen at that rate, too.

mod alerts;
pub mod backtest;
mod matcher;
pub(crate) mod pricing;
mod proof;
mod rolled;
mod sql;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::prelude::SessionContext;
use tokio_util::sync::CancellationToken;
use tollgate_budget::{BudgetRule, Engine, Rules, Span, Standing, Sum, span};
use tollgate_record::rule::{Budget, Dimension, Limit, RateLimit, Window};
use tollgate_record::{Name, Timestamp};

use self::matcher::Compiled;
pub use self::matcher::{BadRule, check_filter, check_rule};
pub use self::proof::{Proof, Unproved};
pub use self::sql::proof;
use crate::Error;
use crate::error::chain;
use crate::hot::Held;
use crate::rollup::Hourly;
use crate::scan::Scan;
use crate::schema::usage_schema;
use crate::stats::Stats;
use crate::store::Shared;
use crate::table::Table;
use crate::wal::lock;

/// The least time between two comparisons of a counter with its SQL.
const RECONCILE: Duration = Duration::from_secs(60);
/// How many times as long as a comparison takes the wait before the next one is, at least.
const RECONCILE_REST: u32 = 19;
/// How often alerts are looked for.
const ALERTS: Duration = Duration::from_secs(2);
/// How long after a failure counters are loaded again.
const RELOAD: Duration = Duration::from_secs(5);

/// The budgets of a store.
#[derive(Default)]
pub(crate) struct Budgets {
    pub(crate) engine: Arc<Engine>,
    /// Differences that were found, in counters.
    pub(crate) drifts: AtomicU64,
    /// Counters that were compared.
    pub(crate) compared: AtomicU64,
    pub(crate) prices: pricing::Prices,
    /// Whether rows went since counters were compared, because another gateway's came first: then a difference is none of ours.
    left_out: AtomicBool,
    /// One change of the rules at a time.
    changing: tokio::sync::Mutex<()>,
}

/// What a counter is told apart by.
type Values = Vec<Option<Box<str>>>;

/// Sums of own and of others' rows, by values and the first instant of the window or step.
type Amounts = HashMap<(Values, i64), (i128, i128)>;

/// Why rules were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A condition is none.
    #[error(transparent)]
    Bad(#[from] BadRule),
    /// The store was closed meanwhile.
    #[error("the ledger was closed before its rules were taken over")]
    TaskEnded,
}

/// What SQL saw of the table, and the counters at the same instant.
struct Seen {
    rows: Vec<crate::hot::Piece>,
    table: Table,
    hourly: Option<Hourly>,
    standings: Vec<Standing>,
}

impl Budgets {
    /// Says that rows which were counted did not get into the table.
    pub(crate) fn rows_were_left_out(&self) {
        self.left_out.store(true, Relaxed);
    }

    /// Fills in what is known of budgets.
    pub(crate) fn levels(&self, stats: &mut Stats) {
        let (counters, open, refusals) = self.engine.levels();
        stats.budget_counters = counters;
        stats.budget_open_calls = open;
        stats.budget_refusals = refusals;
        stats.budget_compared = self.compared.load(Relaxed);
        stats.budget_drifts = self.drifts.load(Relaxed);
    }
}

impl Shared {
    /// Takes over budgets and rate limits.
    ///
    /// # Errors
    /// [`RulesError::Bad`]; the rules before stay in force.
    pub(crate) async fn set_rules(&self, budgets: Vec<Budget>, rates: Vec<RateLimit>) -> Result<(), RulesError> {
        let _changing = self.budgets().changing.lock().await;
        let compiled = Compiled::new(
            budgets.iter().map(|budget| budget.when.as_deref()),
            rates.iter().map(|rate| rate.when.as_deref()),
        )?;
        let engine = &self.budgets().engine;
        let rules = engine.number(budgets, rates, Arc::new(compiled));
        self.load(&rules).await;
        engine.install(rules);
        self.raise_standing().await;
        Ok(())
    }

    /// Loads the counters that are not loaded yet. What fails stays so, and lets no call pass.
    async fn load(&self, rules: &Arc<Rules>) -> bool {
        let engine = &self.budgets().engine;
        let started = Instant::now();
        let (seen, fresh) = {
            let mut view = lock(self.view());
            let fresh = engine.collect(rules);
            let seen = Seen {
                rows: view.hot.pieces(),
                table: view.table.clone(),
                hourly: view.hourly.clone(),
                standings: Vec::new(),
            };
            (seen, fresh)
        };
        let mut whole = true;
        let hours = match fresh.is_empty() {
            true => None,
            false => self.hours(&seen).await.unwrap_or_else(|error| {
                tracing::warn!(error = %chain(&error), "the hourly rollup cannot be read; budgets are loaded from raw rows");
                None
            }),
        };
        for rule in rules.budgets.iter().filter(|rule| fresh.contains(&rule.id)) {
            let now = self.now();
            let loaded = match span(&rule.budget.window, now) {
                None => Ok(Vec::new()),
                Some(span) => self.loaded(&rule.budget, span, &seen, hours.as_ref()).await,
            };
            match loaded {
                Ok(sums) => {
                    engine.load(rule, now, &sums);
                    if let Some(span) = span(&rule.budget.window, now)
                        && let Err(error) = self.tell_others(rule, span, &seen).await
                    {
                        tracing::warn!(budget = %rule.budget.name, error = %chain(&error), "what other gateways have spent is read at the next comparison");
                    }
                }
                Err(error) => {
                    whole = false;
                    tracing::error!(budget = %rule.budget.name, error = %chain(&error), "what a budget has spent could not be read, so its calls are refused until it can");
                }
            }
        }
        if !fresh.is_empty() {
            let duration_ms = started.elapsed().as_millis() as u64;
            tracing::info!(
                budgets = fresh.len(),
                duration_ms,
                "budgets were loaded from the rows that there are"
            );
        }
        whole
    }

    /// Compares counters with the rows, as long as the gateway runs.
    pub(crate) async fn reconcile_when_due(self: Arc<Self>, stop: CancellationToken) {
        let (mut wait, mut since) = (RECONCILE, Instant::now());
        loop {
            self.raise_crossings().await;
            let rules = self.budgets().engine.rules();
            let unloaded = !self.budgets().engine.unloaded(&rules).is_empty();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(if unloaded { RELOAD } else { wait.saturating_sub(since.elapsed()).min(ALERTS) }) => {}
            }
            if !unloaded && since.elapsed() < wait {
                continue;
            }
            since = Instant::now();
            let _changing = self.budgets().changing.lock().await;
            let rules = self.budgets().engine.rules();
            if unloaded {
                self.load(&rules).await;
                continue;
            }
            if rules.budgets.is_empty() {
                continue;
            }
            let started = Instant::now();
            if let Err(error) = self.reconcile().await {
                tracing::warn!(error = %chain(&error), "budgets could not be compared with the rows; counters go on");
            }
            wait = RECONCILE.max(started.elapsed() * RECONCILE_REST);
            self.raise_standing().await;
        }
    }

    /// Compares every counter with its SQL; says in how many this gateway's rows add up to something else.
    ///
    /// # Errors
    /// What the table says; nothing has changed then.
    pub(crate) async fn reconcile(&self) -> Result<u64, Error> {
        if lock(self.view()).table.is_open() {
            self.refresh().await?;
        }
        let engine = &self.budgets().engine;
        let rules = engine.rules();
        let now = self.now();
        let mut drifts = 0;
        let expected = self.budgets().left_out.swap(false, Relaxed);
        for rule in &rules.budgets {
            let seen = {
                let mut view = lock(self.view());
                if let Some(rolling) = rolling(rule) {
                    engine.advance(rule, rolling(now));
                }
                Seen {
                    rows: view.hot.pieces(),
                    table: view.table.clone(),
                    hourly: None,
                    standings: engine.standings_of(rule),
                }
            };
            let mut spans: Vec<Span> = seen.standings.iter().map(|standing| standing.span).collect();
            spans.extend(span(&rule.budget.window, now));
            spans.sort_unstable_by_key(|span| span.start);
            spans.dedup();
            for span in spans {
                let sums = self.sums(&rule.budget, span, &seen).await?;
                drifts += self.compare(rule, span, &seen.standings, sums, expected);
                self.tell_others(rule, span, &seen).await?;
            }
        }
        engine.forget_ended(now);
        if expected {
            tracing::info!(
                counters = drifts,
                "budgets were set right after results of batches that another gateway had recorded first"
            );
            return Ok(0);
        }
        self.budgets().drifts.fetch_add(drifts, Relaxed);
        Ok(drifts)
    }

    /// Compares the counters of one window with sums of the same instant.
    fn compare(&self, rule: &BudgetRule, span: Span, standings: &[Standing], sums: Vec<Sum>, expected: bool) -> u64 {
        let engine = &self.budgets().engine;
        let is_rolling = matches!(rule.budget.window, Window::Rolling { .. });
        let mut found: Amounts = HashMap::new();
        for sum in sums {
            let step = if is_rolling { sum.step } else { span.start };
            found.insert((sum.values, step), (sum.own, sum.others));
        }
        let mut counted: Amounts = HashMap::new();
        for standing in standings.iter().filter(|standing| standing.span == span) {
            self.budgets().compared.fetch_add(1, Relaxed);
            let values = standing.values.to_vec();
            if is_rolling {
                counted.extend(
                    standing
                        .steps
                        .iter()
                        .map(|(step, own, others)| ((values.clone(), *step), (*own, *others))),
                );
            } else {
                counted.insert((values, span.start), (standing.own, standing.others));
            }
        }
        let mut drifts = 0;
        let keys: std::collections::HashSet<_> = found.keys().chain(counted.keys()).cloned().collect();
        for key in keys {
            let (sql_own, sql_others) = found.get(&key).copied().unwrap_or_default();
            let (own, others) = counted.get(&key).copied().unwrap_or_default();
            let (values, step) = key;
            if sql_own != own {
                drifts += 1;
            }
            if sql_own != own && !expected {
                let per: Vec<_> = values.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
                tracing::error!(
                    budget = %rule.budget.name, per = per.join(", "), counter = %own, sql = %sql_own, step,
                    "a budget's counter is not the sum of its rows, which is a defect; the sum holds from now on"
                );
            }
            if (sql_own, sql_others) != (own, others) {
                engine.correct(rule, span, &values, step, sql_own - own, sql_others - others);
            }
        }
        drifts
    }

    /// What the rows of a window add up to.
    async fn sums(&self, budget: &Budget, span: Span, seen: &Seen) -> Result<Vec<Sum>, Error> {
        let is_rolling = matches!(budget.window, Window::Rolling { .. });
        self.sums_of(budget, &sql::sums(budget, span, self.instance()), is_rolling, seen)
            .await
    }

    /// Where gateways share budgets, tells the engine what the rows of each other one come to in a window.
    async fn tell_others(&self, rule: &BudgetRule, span: Span, seen: &Seen) -> Result<(), Error> {
        let engine = &self.budgets().engine;
        if engine.reach().is_none() {
            return Ok(());
        }
        // The same counters, further kept apart by gateway.
        let budget = Budget {
            per: rule
                .budget
                .per
                .iter()
                .cloned()
                .chain([Dimension::Column("instance")])
                .collect(),
            ..rule.budget.clone()
        };
        let sums = self
            .sums_of(&budget, &sql::others(&budget, span, self.instance()), false, seen)
            .await?;
        let mut others: BTreeMap<Values, Vec<(Name, i128)>> = BTreeMap::new();
        for sum in sums {
            let mut values = sum.values;
            if let Some(Some(instance)) = values.pop()
                && let Ok(instance) = Name::new(&instance)
            {
                others.entry(values).or_default().push((instance, sum.others));
            }
        }
        let told = others
            .into_iter()
            .map(|(values, others)| tollgate_budget::Seen { values, others });
        engine.saw(rule, span, told.collect());
        Ok(())
    }

    /// The sums that a query of a budget gives; `has_steps` says whether it has column `step`.
    async fn sums_of(&self, budget: &Budget, text: &str, has_steps: bool, seen: &Seen) -> Result<Vec<Sum>, Error> {
        let rows = Held::of(&seen.rows)?;
        if !seen.table.is_open() {
            // What is in it is not known.
            return Err(Error::Nothing);
        }
        let usage = Scan::new("usage", &usage_schema(), Some(seen.table.scanned()?), rows);
        asked(budget, text, has_steps, "usage", Arc::new(usage)).await
    }

    /// What a counter rests on, at an instant or now.
    pub(crate) fn proof(&self, name: &str, per: &BTreeMap<String, String>, at: Option<Timestamp>) -> Result<Proof, Unproved> {
        Proof::of(&self.budgets().engine, name, per, at.unwrap_or_else(|| self.now()))
    }

    /// Table `alerts`.
    pub(crate) fn alerts_table(&self) -> Result<RecordBatch, Error> {
        Ok(match self.alerts() {
            Some(book) => book.rows()?,
            None => RecordBatch::new_empty(tollgate_alerts::alerts_schema()),
        })
    }

    /// Table `budgets`, as of now.
    pub(crate) fn budgets_table(&self) -> Result<RecordBatch, Error> {
        Ok(table::batch(&self.budgets().engine, self.now())?)
    }

    fn instance(&self) -> &Name {
        &self.recorder().instance
    }

    /// The time, as calls have it.
    pub(crate) fn now(&self) -> Timestamp {
        self.stamp().now
    }
}

fn rolling(rule: &BudgetRule) -> Option<impl Fn(Timestamp) -> Option<Span> + '_> {
    matches!(rule.budget.window, Window::Rolling { .. }).then_some(|now| span(&rule.budget.window, now))
}

/// The sums that a query of a budget gives over one table.
async fn asked(
    budget: &Budget,
    text: &str,
    has_steps: bool,
    name: &'static str,
    table: Arc<dyn TableProvider>,
) -> Result<Vec<Sum>, Error> {
    let context = SessionContext::new_with_state(session());
    context.register_table(name, table).map_err(Error::query)?;
    let found = context.sql(text).await.map_err(Error::query)?;
    let batches = found.collect().await.map_err(Error::query)?;
    let mut sums = Vec::new();
    for batch in batches {
        read(budget, &batch, has_steps, &mut sums)?;
    }
    Ok(sums)
}

/// The rows of a batch of sums.
fn read(budget: &Budget, batch: &RecordBatch, has_steps: bool, sums: &mut Vec<Sum>) -> Result<(), Error> {
    let column = |name: &str, to: DataType| -> Result<_, Error> {
        let column = batch.column_by_name(name).ok_or_else(|| Error::query(missing(name)))?;
        Ok(cast(column, &to)?)
    };
    let texts = (0..budget.per.len())
        .map(|place| column(&format!("d{place}"), DataType::Utf8))
        .collect::<Result<Vec<_>, _>>()?;
    let steps = has_steps.then(|| column("step", DataType::Int64)).transpose()?;
    let is_money = matches!(budget.limit, Limit::Money { .. });
    let counts = |name| match is_money {
        true => column(name, DataType::Decimal128(38, tollgate_record::Amount::SCALE as i8)),
        false => column(name, DataType::Int64),
    };
    let (own, others) = (counts("own")?, counts("others")?);
    let count = |of: &arrow::array::ArrayRef, row: usize| match (of.is_null(row), is_money) {
        (true, _) => 0,
        (false, true) => of.as_primitive::<Decimal128Type>().value(row),
        (false, false) => i128::from(of.as_primitive::<Int64Type>().value(row)),
    };
    for row in 0..batch.num_rows() {
        let values = texts
            .iter()
            .map(|text| (!text.is_null(row)).then(|| Box::from(text.as_string::<i32>().value(row))));
        let sum = Sum {
            values: values.collect(),
            step: steps.as_ref().map_or(0, |steps| steps.as_primitive::<Int64Type>().value(row)),
            own: count(&own, row),
            others: count(&others, row),
        };
        if sum.own != 0 || sum.others != 0 {
            sums.push(sum);
        }
    }
    Ok(())
}

fn missing(column: &str) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::Internal(format!("a budget's sums have no column {column}"))
}

/// What conditions and sums are compiled with: as SQL over HTTP.
pub(crate) fn session() -> SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| {
        let config = crate::dialect().with_target_partitions(1);
        let mut state = SessionStateBuilder::new_with_default_features().with_config(config).build();
        FunctionRegistry::register_udf(&mut state, crate::date_trunc()).expect("a session takes functions");
        state
    });
    // Of its own tables, not the shared ones.
    SessionStateBuilder::new_from_existing(STATE.clone())
        .with_catalog_list(catalogs())
        .build()
}

fn catalogs() -> Arc<dyn datafusion::catalog::CatalogProviderList> {
    use datafusion::catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    };
    let catalog = MemoryCatalogProvider::new();
    catalog
        .register_schema("public", Arc::new(MemorySchemaProvider::new()))
        .expect("a catalog in memory takes a schema");
    let list = MemoryCatalogProviderList::new();
    list.register_catalog("datafusion".to_owned(), Arc::new(catalog));
    Arc::new(list)
}
