//! The boundary between the request path and the store: a call is admitted, and every admitted call ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::admission::{Admission, Bounds, Hold, Pending, Permit};
use crate::{
    Amount, Call, CallId, Caller, CostStatus, Decision, FetchedResults, Identity, Name, Outcome, RequestId, Timestamp, Usage,
};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A call that asks to be admitted: all that is known before the upstream is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// This attempt.
    pub call_id: CallId,
    /// The client's request.
    pub request_id: RequestId,
    /// 1 for the first attempt.
    pub attempt: u16,
    /// When the request arrived.
    pub start_time: Timestamp,
    /// What the key says.
    pub identity: Arc<Identity>,
    /// What the caller says.
    pub caller: Caller,
    /// What is asked of whom.
    pub call: Call,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Whether the endpoint bears usage; a crash of any other call costs nothing.
    pub bears_usage: bool,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status that the client was sent.
    pub status_code: Option<u16>,
    /// Stable code of the error, the provider's or the gateway's.
    pub error_type: Option<Name>,
    /// Why the model stopped.
    pub finish_reason: Option<Name>,
    /// Model that answered.
    pub response_model: Option<Name>,
    /// Host and port that were called, where they are not those that the call was admitted for.
    pub upstream: Option<Name>,
    /// What policies did.
    pub decisions: Vec<Decision>,
    /// What was used.
    pub usage: Usage,
    /// From the request's arrival to the answer's end.
    pub duration_us: u64,
    /// From the request's arrival to the first byte of the answer's body.
    pub time_to_first_token_us: Option<u64>,
    /// Part of the duration that the gateway itself took.
    pub gateway_overhead_us: Option<u64>,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

/// What a settled call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The row's id.
    pub call_id: CallId,
    /// What it cost; `None` if no price is known.
    pub cost: Option<Amount>,
    /// How sure that is.
    pub cost_status: CostStatus,
}

/// The ledger cannot record, so the call must not be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot record calls: {reason}")]
pub struct Unavailable {
    /// Why, for the log.
    pub reason: Arc<str>,
}

/// Where calls are recorded.
///
/// # Guarantees
/// 1. When `admit_held` returns an [`OpenCall`], its `opened` entry is durable in the configured sense: a crash from here on leaves a row.
/// 2. When `settle` or `refuse` returns, the row is durable in the configured sense and every later query sees it.
/// 3. One `admit_held` leaves one row, whichever way its [`OpenCall`] goes.
/// 4. When `record_results` returns, each of the results has one row, durable in the configured sense, however often it was given before, and
///    by whichever gateway of the table. If another gateway was given the same result and its row has not reached the table yet, both have one
///    until they do: the table takes the first.
pub trait Ledger: Send + Sync + 'static {
    /// Decides whether a call may pass, and sets aside what it could come to. Waits for nothing. `bounds` reads the request's body, and is asked only if a
    /// rule is for the call.
    ///
    /// # Errors
    /// Why it may not. [`Pending`] says that this is not decided: then [`Ledger::granted`] is waited for, and the call reserved again.
    fn reserve(&self, intent: &Intent, bounds: &dyn Fn() -> Bounds) -> Admission {
        let (_, _) = (intent, bounds);
        Ok(Permit::free())
    }

    /// Waits until what [`Ledger::reserve`] has asked for of shared budgets is granted, or is known not to be. Then the call is reserved again. The wait is bounded by
    /// the time in which the pool has to answer.
    ///
    /// # Cancel safety
    /// Safe: what is granted meanwhile is kept.
    fn granted(&self, pending: &Pending) -> BoxFuture<'static, ()> {
        let _ = pending;
        Box::pin(std::future::ready(()))
    }

    /// Records that a call is about to be forwarded; `hold` is what was set aside for it.
    ///
    /// # Errors
    /// [`Unavailable`] if it cannot be recorded; the call must then be refused with status 503.
    ///
    /// # Cancel safety
    /// A future dropped half way leaves either nothing or a row with outcome `client_aborted`.
    fn admit_held(&self, intent: Intent, hold: Option<Box<dyn Hold>>) -> BoxFuture<'_, Result<Box<dyn OpenCall>, Unavailable>>;

    /// The same for a call that nothing was set aside for.
    ///
    /// # Errors
    /// As [`Ledger::admit_held`].
    fn admit(&self, intent: Intent) -> BoxFuture<'_, Result<Box<dyn OpenCall>, Unavailable>> {
        self.admit_held(intent, None)
    }

    /// Records a call that is refused before any upstream was asked; it costs nothing.
    ///
    /// # Errors
    /// [`Unavailable`] if it cannot be recorded.
    ///
    /// # Cancel safety
    /// A future dropped half way may still leave the row.
    fn refuse(&self, intent: Intent, ending: Ending) -> BoxFuture<'_, Result<Receipt, Unavailable>>;

    /// Records results of a batch, each as a row of its own that is priced at once. Those that have a row are left out.
    ///
    /// # Errors
    /// [`Unavailable`] if they cannot be recorded, or if it cannot be told which of them are: some may be recorded then, and giving all of them
    /// again records the rest. The client must not see a clean end of them.
    ///
    /// # Cancel safety
    /// As after an error.
    fn record_results(&self, fetched: FetchedResults) -> BoxFuture<'static, Result<(), Unavailable>>;
}

/// A call that was admitted and has not ended. Dropping it settles it as `client_aborted` with what was noted last.
pub trait OpenCall: Send + 'static {
    /// The row's id.
    fn call_id(&self) -> CallId;

    /// Remembers what was metered so far, for the case that this value is dropped.
    fn note(&mut self, usage: &Usage);

    /// Prices the call and writes its row.
    ///
    /// # Errors
    /// [`Unavailable`] if the row cannot be written; the client must then not see a clean end of its answer.
    ///
    /// # Cancel safety
    /// Once polled, the row is written even if the future is dropped.
    fn settle(self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Receipt, Unavailable>>;
}

// === impl Ending ===

impl Ending {
    /// An ending without usage, times or sizes, to be filled in.
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            status_code: None,
            error_type: None,
            finish_reason: None,
            response_model: None,
            upstream: None,
            decisions: Vec::new(),
            usage: Usage::default(),
            duration_us: 0,
            time_to_first_token_us: None,
            gateway_overhead_us: None,
            response_bytes: 0,
        }
    }
}
