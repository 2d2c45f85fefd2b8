//! Exporters as the gateway runs them: made of their configuration, on threads of their own, and replaced when that changes.
//!
//! Nothing here is on the request path: an exporter reads the ledger as queries do, and its far side may be down for as long as the table keeps rows.

pub(crate) mod command;
pub(crate) mod destination;
mod http;
mod source;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_controller as controller;
use tollgate_controller::exporter::{Redacted, Start};
use tollgate_exporters as exporters;
use tollgate_exporters::{Destination, Exporter, Part, Redaction, Settings, Shape, Share, System};
use tollgate_record::Amount;
use tollgate_usage_store::Store;
use tollgate_usage_store::priority::{Work, step_back};

pub(crate) use self::http::router;

/// What a configuration declares of one exporter, ready to run.
pub(crate) struct Declared {
    declared: controller::Exporter,
    settings: Settings,
    destination: Arc<dyn Destination>,
}

/// The exporters that run.
pub(crate) struct Exporters {
    folder: PathBuf,
    running: Mutex<BTreeMap<String, Running>>,
    tracker: TaskTracker,
    /// Taken at the end.
    threads: Mutex<Option<tokio::runtime::Runtime>>,
    handle: tokio::runtime::Handle,
}

struct Running {
    declared: controller::Exporter,
    exporter: Exporter,
    stop: CancellationToken,
}

/// Makes what a configuration declares. Nothing is sent.
///
/// # Errors
/// What of it cannot be used.
pub(crate) fn declared(resources: &controller::Resources) -> anyhow::Result<Vec<Declared>> {
    let make = |declared: &controller::Exporter| {
        let made = settings(declared).and_then(|settings| Ok((settings, destination::of(declared)?)));
        let (settings, destination) = made.with_context(|| format!("Exporter {} cannot be used", declared.name))?;
        Ok(Declared {
            declared: declared.clone(),
            settings,
            destination,
        })
    };
    resources.exporters.iter().map(make).collect()
}

fn settings(declared: &controller::Exporter) -> anyhow::Result<Settings> {
    let mut settings = Settings::new(declared.name.clone());
    settings.start = match declared.from {
        Start::Now => exporters::Start::Now,
        Start::Beginning => exporters::Start::Beginning,
        Start::Instant(at) => exporters::Start::At(at),
    };
    settings.filter = declared.when.as_deref().map(str::to_owned);
    settings.batch.rows = declared.batch.rows;
    settings.batch.bytes = usize::try_from(declared.batch.bytes).unwrap_or(usize::MAX);
    settings.batch.linger = declared.batch.interval;
    settings.poll = settings.poll.min(declared.batch.interval);
    let columns: Vec<String> = declared.columns.iter().map(|column| (*column).to_owned()).collect();
    let mut redact: Vec<_> = declared.redact.iter().map(|cell| (part(cell), Redaction::Remove)).collect();
    if let Some(hash) = &declared.hash {
        let key = hash.key.expose().as_bytes();
        redact.extend(hash.of.iter().map(|cell| (part(cell), Redaction::Hash(key.to_vec()))));
    }
    settings.shape = Shape::new(share(declared.sample)?, Some(&columns), &redact)
        .map_err(|(field, problem)| anyhow::anyhow!("spec.{field} {problem}"))?;
    Ok(settings)
}

/// What does not leave as it is, as exporters name it.
fn part(cell: &Redacted) -> Part {
    match cell {
        Redacted::Column(column) => Part::Column((*column).to_owned()),
        Redacted::Tag(tag) => Part::Tag(tag.to_string()),
    }
}

/// A share as exporters draw it; twelve digits are more than they tell apart.
fn share(sample: Amount) -> anyhow::Result<Share> {
    let share: f64 = sample.to_string().parse()?;
    Share::new(share).context("spec.sample is no share")
}

// === impl Exporters ===

impl Exporters {
    /// None run yet.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn new(data: &Path) -> anyhow::Result<Self> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("export")
            .on_thread_start(|| step_back(Work::Maintenance))
            .enable_all()
            .build()
            .context("cannot start threads for exporters")?;
        Ok(Self {
            folder: data.join("exporters"),
            running: Mutex::default(),
            tracker: TaskTracker::new(),
            handle: threads.handle().clone(),
            threads: Mutex::new(Some(threads)),
        })
    }

    /// Runs what is declared, and nothing else: those that are gone end, those that have changed go on otherwise. One whose files cannot be opened does not run; that is
    /// logged, and stops neither the others nor the gateway.
    pub(crate) async fn apply(&self, declared: Vec<Declared>, store: &Store) {
        let names: Vec<String> = declared.iter().map(|one| one.declared.name.to_string()).collect();
        for (name, gone) in self.lock().extract_if(.., |name, _| !names.contains(name)) {
            gone.stop.cancel();
            tracing::info!(exporter = name, "an exporter ended");
        }
        for one in declared {
            let name = one.declared.name.to_string();
            let known = self
                .lock()
                .get(&name)
                .map(|running| (running.declared.clone(), running.exporter.clone()));
            let done = match known {
                Some((declared, _)) if declared == one.declared => Ok(()),
                Some((_, exporter)) => self.replace(&exporter, one).await,
                None => self.start(one, store),
            };
            if let Err(error) = done {
                tracing::error!(
                    exporter = name,
                    error = format!("{error:#}"),
                    "an exporter does not run as it is declared"
                );
            }
        }
    }

    async fn replace(&self, exporter: &Exporter, one: Declared) -> anyhow::Result<()> {
        exporter.replace(one.settings, one.destination).await?;
        if let Some(running) = self.lock().get_mut(one.declared.name.as_str()) {
            running.declared = one.declared;
        }
        Ok(())
    }

    fn start(&self, one: Declared, store: &Store) -> anyhow::Result<()> {
        let source = Arc::new(source::Ledger::new(store.rows(self.handle.clone())));
        let (exporter, runner) = exporters::open(&self.folder, one.settings, one.destination, source, Arc::new(System))?;
        let stop = CancellationToken::new();
        self.tracker.spawn_on(runner.run(stop.clone()), &self.handle);
        let name = one.declared.name.to_string();
        tracing::info!(exporter = name, "an exporter runs");
        let running = Running {
            declared: one.declared,
            exporter,
            stop,
        };
        self.lock().insert(name, running);
        Ok(())
    }

    /// An exporter by its name.
    pub(crate) fn of(&self, name: &str) -> Option<Exporter> {
        self.lock().get(name).map(|running| running.exporter.clone())
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Exporter> {
        self.lock().values().map(|running| running.exporter.clone()).collect()
    }

    /// Ends them: what is under way is waited for, and cursors are left behind what was accepted.
    pub(crate) async fn close(&self, limit: std::time::Duration) {
        for running in self.lock().values() {
            running.stop.cancel();
        }
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            tracing::warn!("exporters were cut off by the end; what was under way is sent again");
        }
        self.lock().clear();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(threads) = threads {
            threads.shutdown_background();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::exporters;

    #[test]
    fn exporters_know_the_columns_that_the_store_writes() {
        assert_eq!(exporters::usage_schema(), tollgate_usage_store::usage_schema());
    }
}
