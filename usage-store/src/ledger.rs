//! The request path's side of the store: admit, settle, refuse.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tollgate_record::admission::{Admission, Bounds, Hold, Pending};
use tollgate_record::{
    BoxFuture, CallId, Cost, CostStatus, Ending, FetchedResults, Intent, Ledger, Name, OpenCall, Outcome, Payer, Receipt, Record,
    Unavailable, Usage,
};

use crate::budgets::pricing::Priced;
use crate::recovery::describe;
use crate::results;
use crate::store::Shared;
use crate::wal::{Append, Log, entry, lock};
use tollgate_rating::{PriceBook, rate};

/// Models without a price that are warned of; further ones only mark their rows.
const WARNED_MAX: usize = 1000;

/// Records calls in the log and prices them.
pub(crate) struct Recorder {
    pub(crate) instance: Name,
    pub(crate) log: Arc<Log>,
    pub(crate) prices: ArcSwap<PriceBook>,
    /// Models that were warned of.
    pub(crate) warned: Mutex<HashSet<String>>,
}

/// The ledger as the request path sees it.
pub(crate) struct Handle {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) shared: Arc<Shared>,
    /// Where rows are read, if not in place.
    pub(crate) threads: Option<tokio::runtime::Handle>,
}

/// A call between `admit` and `settle`.
struct Open {
    recorder: Arc<Recorder>,
    prices: Arc<PriceBook>,
    call_id: CallId,
    started: std::time::Instant,
    /// Taken when the call is settled, so that dropping knows.
    intent: Option<Box<Intent>>,
    noted: Option<Usage>,
    /// What budgets and rate limits set aside.
    hold: Option<Box<dyn Hold>>,
}

// === impl Handle ===

impl Ledger for Handle {
    fn reserve(&self, intent: &Intent, bounds: &dyn Fn() -> Bounds) -> Admission {
        let budgets = self.shared.budgets();
        let pricing = Priced {
            prices: &budgets.prices,
            book: &self.recorder.prices.load(),
            intent,
        };
        budgets.engine.reserve(intent, bounds, &pricing)
    }

    fn granted(&self, pending: &Pending) -> BoxFuture<'static, ()> {
        Box::pin(self.shared.budgets().engine.granted(pending))
    }

    fn admit_held(&self, intent: Intent, hold: Option<Box<dyn Hold>>) -> BoxFuture<'_, Result<Box<dyn OpenCall>, Unavailable>> {
        Box::pin(async move {
            let recorder = Arc::clone(&self.recorder);
            let append = Append::Opened {
                call_id: intent.call_id,
                payload: entry::encode(&intent).into(),
            };
            let prices = recorder.prices.load_full();
            let written = recorder.log.append(append);
            // Made before the wait: if this future is dropped meanwhile, dropping the call settles it.
            let mut open = Box::new(Open {
                call_id: intent.call_id,
                started: std::time::Instant::now(),
                intent: Some(Box::new(intent)),
                noted: None,
                hold,
                prices,
                recorder,
            });
            if let Err(unavailable) = wait(written).await {
                open.intent = None;
                return Err(unavailable);
            }
            Ok(open as Box<dyn OpenCall>)
        })
    }

    fn refuse(&self, intent: Intent, ending: Ending) -> BoxFuture<'_, Result<Receipt, Unavailable>> {
        let record = Record::new(self.recorder.instance.clone(), intent, ending, Cost::free());
        Box::pin(self.recorder.record(record))
    }

    fn record_results(&self, fetched: FetchedResults) -> BoxFuture<'static, Result<(), Unavailable>> {
        Box::pin(results::record(Arc::clone(&self.shared), self.threads.clone(), fetched))
    }
}

// === impl Recorder ===

impl Recorder {
    /// Writes a row. The row is queued when this returns its future, not when that is polled.
    pub(crate) fn record(&self, record: Record) -> impl Future<Output = Result<Receipt, Unavailable>> + use<> {
        let receipt = Receipt {
            call_id: record.call_id,
            cost: record.cost.cost,
            cost_status: record.cost.status,
        };
        let payload = entry::encode(&record);
        let written = self.log.append(Append::Settled {
            record: Box::new(record),
            payload,
        });
        async move { wait(written).await.map(|()| receipt) }
    }

    pub(crate) fn warn_unpriced(&self, record: &Record) {
        let model = describe(&record.call);
        let mut warned = lock(&self.warned);
        if warned.len() < WARNED_MAX && warned.insert(model.clone()) {
            let answered = record.response_model.as_ref().map_or("-", Name::as_str);
            tracing::warn!(
                model,
                answered,
                "a call could not be priced in full: add the missing price to a PriceList"
            );
        }
    }
}

// === impl Open ===

impl Open {
    fn end(&mut self, ending: Ending) -> Option<impl Future<Output = Result<Receipt, Unavailable>> + use<>> {
        let intent = *self.intent.take()?;
        if let Some(hold) = self.hold.take() {
            // The row gives it back, when queries see what the call came to.
            hold.keep();
        }
        let cost = price(&self.prices, &intent, &ending);
        let record = Record::new(self.recorder.instance.clone(), intent, ending, cost);
        if record.cost.status == CostStatus::Unpriced {
            self.recorder.warn_unpriced(&record);
        }
        Some(self.recorder.record(record))
    }
}

impl OpenCall for Open {
    fn call_id(&self) -> CallId {
        self.call_id
    }

    fn note(&mut self, usage: &Usage) {
        self.noted = Some(usage.clone());
    }

    fn settle(mut self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Receipt, Unavailable>> {
        let written = self.end(ending).expect("a call is settled once: settling takes it");
        Box::pin(written)
    }
}

impl Drop for Open {
    /// Settles a call that was let go. Only queues the row: nobody waits for it.
    fn drop(&mut self) {
        if self.intent.is_none() {
            return;
        }
        let mut ending = Ending::of(Outcome::ClientAborted);
        ending.usage = self.noted.take().unwrap_or_default();
        ending.duration_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        drop(self.end(ending));
    }
}

/// Prices a call; one that cannot be priced is unpriced, and the log says why.
pub(crate) fn price(prices: &PriceBook, intent: &Intent, ending: &Ending) -> Cost {
    let (call, payer) = (&intent.call, Payer::from(&*intent.identity));
    let cost = rate(
        prices,
        call,
        payer,
        ending.response_model.as_ref(),
        &ending.usage,
        intent.start_time,
    );
    cost.unwrap_or_else(|error| {
        tracing::error!(%error, model = describe(call), "a call could not be priced");
        Cost {
            status: CostStatus::Unpriced,
            cost: None,
            list_cost: None,
            ..Cost::free()
        }
    })
}

async fn wait(written: oneshot::Receiver<Result<(), Unavailable>>) -> Result<(), Unavailable> {
    written.await.unwrap_or_else(|_| {
        Err(Unavailable {
            reason: "the ledger was closed".into(),
        })
    })
}
