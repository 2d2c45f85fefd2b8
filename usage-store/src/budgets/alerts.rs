//! Alerts: what is to be told of budgets, put into the [`Book`].
//!
//! # Invariants
//! 1. A percentage of a window is told once, also across restarts: the book knows each alert by what it is. What a crash kept from the book is found when the
//!    counters are loaded: then, and after each comparison with their SQL, every counter is looked at.
//! 2. Nothing here holds a lock while it waits for the disk, and no call waits for any of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tollgate_alerts::anomaly::{self, Hour};
use tollgate_alerts::{Alert, Book, Cause, passed, projection};
use tollgate_budget::{BudgetRule, Crossing, Engine, Span, Standing, span};
use tollgate_record::admission::Measure;
use tollgate_record::rule::{Dimension, Limit, Window};
use tollgate_record::{Amount, Name, Timestamp};

use super::{Seen, sql};
use crate::Error;
use crate::error::chain;
use crate::store::Shared;
use crate::wal::lock;

/// The least time between two looks for anomalies.
const ANOMALIES: Duration = Duration::from_mins(5);
/// How many times as long as a look takes the wait before the next one is, at least.
const ANOMALIES_REST: u32 = 19;

/// Hours of each counter, with what they came to.
type Hours = HashMap<Vec<Option<Box<str>>>, Vec<(Hour, Amount)>>;

impl Shared {
    /// Tells of counters that passed a percentage since the last look.
    pub(super) async fn raise_crossings(&self) {
        let crossings = self.budgets().engine.crossings();
        if crossings.is_empty() {
            return;
        }
        let rules = self.budgets().engine.rules();
        let now = self.now();
        let alert = |crossing: &Crossing| {
            let rule = rules.budgets.iter().find(|rule| rule.id == crossing.standing.rule)?;
            let cause = Cause::Threshold {
                percent: crossing.percent,
            };
            Some(of_counter(rule, &crossing.standing, cause, now))
        };
        self.raise(crossings.iter().filter_map(alert).collect()).await;
    }

    /// Looks at every counter: for percentages that were passed and not told, and for limits that are going to be exceeded.
    pub(super) async fn raise_standing(&self) {
        let engine = &self.budgets().engine;
        let rules = engine.rules();
        let now = self.now();
        let mut alerts = Vec::new();
        for rule in &rules.budgets {
            let budget = &rule.budget;
            if budget.alerts.is_empty() && !budget.alert_projected {
                continue;
            }
            for standing in engine.standings_of(rule) {
                if !standing.span.has(now) {
                    continue;
                }
                let [limit, spent] = amounts(rule, &standing);
                if let Some(percent) = passed(&budget.alerts, spent, limit) {
                    alerts.push(of_counter(rule, &standing, Cause::Threshold { percent }, now));
                }
                let [start, end] = instants(standing.span);
                if budget.alert_projected
                    && let Some(projected) = projection::overrun(&budget.window, start, end, now, spent, limit)
                {
                    alerts.push(of_counter(rule, &standing, Cause::Projected { projected }, now));
                }
            }
        }
        self.raise(alerts).await;
    }

    /// Looks for hours that are far outside of what is usual, as long as the gateway runs.
    pub(crate) async fn look_for_anomalies_when_due(self: Arc<Self>, stop: CancellationToken) {
        let mut wait = ANOMALIES;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let started = Instant::now();
            if let Err(error) = self.raise_anomalies().await {
                tracing::warn!(error = %chain(&error), "anomalies of budgets could not be looked for; they are looked for again");
            }
            wait = ANOMALIES.max(started.elapsed() * ANOMALIES_REST);
        }
    }

    /// Judges this hour, as far as it is, and the last one.
    ///
    /// # Errors
    /// What the table says.
    pub(crate) async fn raise_anomalies(&self) -> Result<(), Error> {
        let rules = self.budgets().engine.rules();
        let now = self.now();
        let this = Hour::of(now);
        for rule in rules.budgets.iter().filter(|rule| rule.budget.alert_anomaly) {
            let Some(window) = span(&rule.budget.window, now) else {
                continue;
            };
            let seen = {
                let mut view = lock(self.view());
                Seen {
                    rows: view.hot.pieces(),
                    table: view.table.clone(),
                    hourly: None,
                    standings: Vec::new(),
                }
            };
            let from = this.plus(-1 - anomaly::HISTORY_HOURS);
            let text = sql::hours(&rule.budget, from.start(), this.plus(1).start());
            let mut hours = Hours::new();
            for sum in self.sums_of(&rule.budget, &text, true, &seen).await? {
                let hour = Hour::of(Timestamp::from_unix_us(sum.step));
                let came_to = Standing {
                    own: sum.own,
                    ..Standing::nothing(rule.id, window)
                };
                let [_, spent] = amounts(rule, &came_to);
                hours.entry(sum.values).or_default().push((hour, spent));
            }
            let alerts: Vec<Alert> = hours
                .iter()
                .flat_map(|(values, hours)| [this.plus(-1), this].map(|hour| judge(rule, window, values, hours, hour, now)))
                .flatten()
                .collect();
            self.raise(alerts).await;
        }
        Ok(())
    }

    /// Puts alerts into the book. Those that it knows are told already.
    async fn raise(&self, alerts: Vec<Alert>) {
        if alerts.is_empty() {
            return;
        }
        let Some(book) = self.alerts().cloned() else {
            return;
        };
        let raised = tokio::task::spawn_blocking(move || tell(&book, &alerts)).await;
        if let Err(error) = raised {
            tracing::error!(%error, "alerts were not told");
        }
    }
}

/// Keeps alerts, and says those that are new in the log.
fn tell(book: &Book, alerts: &[Alert]) {
    match book.raise_all(alerts.to_vec()) {
        Ok(are_new) => {
            for (alert, _) in alerts.iter().zip(are_new).filter(|(_, is_new)| *is_new) {
                tracing::warn!(budget = %alert.budget, kind = alert.kind().as_str(), id = alert.id(), "{}", alert.message());
            }
        }
        Err(error) => tracing::error!(
            alerts = alerts.len(),
            error = %chain(&error),
            "alerts could not be kept; they are raised again at the next look"
        ),
    }
}

fn judge(
    rule: &BudgetRule,
    window: Span,
    values: &[Option<Box<str>>],
    hours: &[(Hour, Amount)],
    hour: Hour,
    now: Timestamp,
) -> Option<Alert> {
    let (_, spent) = hours.iter().find(|(of, _)| *of == hour)?;
    let [limit, _] = amounts(rule, &Standing::nothing(rule.id, window));
    let floor = anomaly::floor(limit, window.end - window.start);
    let history: Vec<(Hour, Amount)> = hours.iter().filter(|(of, _)| *of < hour).copied().collect();
    let found = anomaly::judge(&history, hour, *spent, floor)?;
    let standing = Standing {
        values: Arc::from(values),
        ..Standing::nothing(rule.id, span(&rule.budget.window, hour.start()).unwrap_or(window))
    };
    let cause = Cause::Anomaly {
        hour,
        usual: found.usual,
        bound: found.bound,
    };
    Some(Alert {
        spent: *spent,
        ..of_counter(rule, &standing, cause, now)
    })
}

fn of_counter(rule: &BudgetRule, standing: &Standing, cause: Cause, now: Timestamp) -> Alert {
    let budget = &rule.budget;
    let [limit, spent] = amounts(rule, standing);
    // A rolling window has no beginning of its own: what is told is told once a length of it.
    let [start, end] = match budget.window {
        Window::Rolling { length_us } => {
            let start = standing.span.end.div_euclid(length_us) * length_us;
            instants(Span {
                start,
                end: start + length_us,
            })
        }
        _ => instants(standing.span),
    };
    let values = budget.per.iter().map(Dimension::text).zip(standing.values.iter());
    Alert {
        budget: budget.name.clone(),
        per: values
            .map(|(name, value)| (name, value.as_deref().map(str::to_owned)))
            .collect(),
        window_start: start,
        window_end: end,
        unit: unit(&budget.limit),
        limit,
        spent,
        cause,
        raised_at: now,
    }
}

/// What a counter may spend, and what it has spent.
fn amounts(rule: &BudgetRule, standing: &Standing) -> [Amount; 2] {
    let [limit, spent, ..] = Engine::words(rule, standing);
    [limit, spent].map(|measure| match measure {
        Measure::Money(amount, _) | Measure::Tokens(amount) | Measure::Calls(amount) => amount,
    })
}

/// What is counted.
fn unit(limit: &Limit) -> Name {
    let word = match limit {
        Limit::Money { currency, .. } => return currency.clone(),
        Limit::Tokens { .. } => "tokens",
        Limit::Calls(_) => "calls",
    };
    Name::new(word).expect("the word is a name")
}

fn instants(span: Span) -> [Timestamp; 2] {
    [span.start, span.end].map(Timestamp::from_unix_us)
}
