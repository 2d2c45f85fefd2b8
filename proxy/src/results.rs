//! Results of a batch on their way past: what the meter has read of them is recorded while the answer goes on.
//!
//! 1. A result's id follows from where it is (the provider's host, the file or the batch) and from what it is called there, so that the ledger knows
//!    one that it has. Of a provider of several URLs the least host counts: whichever URL a fetch goes to, its results are the same.
//! 2. One write at a time; what has been read meanwhile waits, and once much of it waits the upstream is not read on. So memory is bounded.
//! 3. The answer ends when all that was read is recorded. If it cannot be recorded, the answer ends as an error, never cleanly.
//! 4. A client that leaves loses nothing of what was read; the rest is recorded when somebody fetches it again.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sha2::{Digest, Sha256};
use tollgate_codec::{Meter, ToldResult};
use tollgate_record::{BatchResult, BoxFuture, CallId, FetchedResults, Intent, Ledger, Name, ResultsId, Unavailable};

/// Results that may wait for a write before the upstream is no longer read.
const WAITING_MAX: usize = 512;

/// Results that are being recorded. Boxed wherever it goes: hardly any call has one.
pub(crate) struct Recording {
    ledger: Arc<dyn Ledger>,
    id: ResultsId,
    host: Box<str>,
    /// Of the place that they are at.
    place: Sha256,
    fetch: Arc<Intent>,
    waiting: Vec<ToldResult>,
    writing: Option<BoxFuture<'static, Result<(), Unavailable>>>,
}

impl Recording {
    /// For the call that fetches what is called so at a host.
    pub(crate) fn new(ledger: &Arc<dyn Ledger>, id: &ResultsId, host: &str, fetch: Intent) -> Box<Self> {
        Box::new(Self {
            ledger: Arc::clone(ledger),
            id: id.clone(),
            place: place(host, id),
            host: host.into(),
            fetch: Arc::new(fetch),
            waiting: Vec::new(),
            writing: None,
        })
    }

    /// Notes that another URL was called than the one that the call was admitted for.
    pub(crate) fn went_to(&mut self, upstream: &Name) {
        Arc::make_mut(&mut self.fetch).call.upstream = Some(upstream.clone());
    }

    /// Takes what a meter has read.
    pub(crate) fn take(&mut self, meter: &mut Meter) {
        let mut told = meter.take_results();
        if let (false, Some(id)) = (told.is_empty(), meter.results_place()) {
            self.place = place(&self.host, id);
        }
        self.waiting.append(&mut told);
    }

    /// Ready when more may be read; records meanwhile.
    ///
    /// # Errors
    /// [`Unavailable`] if results cannot be recorded.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unavailable>> {
        self.poll_until(cx, WAITING_MAX)
    }

    /// Records all that was taken.
    ///
    /// # Errors
    /// As [`Self::poll_ready`].
    pub(crate) async fn finish(&mut self) -> Result<(), Unavailable> {
        std::future::poll_fn(|cx| self.poll_until(cx, 0)).await
    }

    /// Ready when a write is going on and no more than so many wait, or nothing is left to write.
    fn poll_until(&mut self, cx: &mut Context<'_>, waiting_max: usize) -> Poll<Result<(), Unavailable>> {
        loop {
            if let Some(writing) = &mut self.writing {
                match writing.as_mut().poll(cx) {
                    Poll::Pending if waiting_max > 0 && self.waiting.len() <= waiting_max => return Poll::Ready(Ok(())),
                    written => ready!(written)?,
                }
                self.writing = None;
            }
            if self.waiting.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let results = std::mem::take(&mut self.waiting)
                .into_iter()
                .map(|told| self.named(told))
                .collect();
            self.writing = Some(self.ledger.record_results(FetchedResults {
                id: self.id.clone(),
                fetch: Arc::clone(&self.fetch),
                results,
            }));
        }
    }

    fn named(&self, told: ToldResult) -> BatchResult {
        let mut result = self.place.clone();
        add(&mut result, &told.key);
        BatchResult {
            call_id: CallId::of_result(start(self.place.clone()), start(result)),
            operation_name: told.operation_name,
            ending: told.ending,
        }
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({:?})", self.id)
    }
}

/// Where results are: at a host, by what they are called there.
fn place(host: &str, id: &ResultsId) -> Sha256 {
    let (kind, text) = match id {
        ResultsId::Batch(id) => ("batch", id),
        ResultsId::File(id) => ("file", id),
    };
    let mut place = Sha256::new();
    for part in [host, kind, text] {
        add(&mut place, part);
    }
    place
}

/// Adds a part with its length, so that no two lists of parts are one text.
fn add(hash: &mut Sha256, part: &str) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn start<const BYTES: usize>(hash: Sha256) -> [u8; BYTES] {
    let digest = hash.finalize();
    let mut start = [0; BYTES];
    for (to, from) in start.iter_mut().zip(digest) {
        *to = from;
    }
    start
}
