//! What is noted of a forwarded call while it lasts, and how that becomes its ending.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use tollgate_codec::{End, Meter, Metered, Step};
use tollgate_record::{CallId, Decision, Ending, Name, OpenCall, Outcome, Receipt, Unavailable};

use crate::fault::Code;
use crate::gateway::Shared;
use crate::results::Recording;
use crate::upstream::Upstream;

/// Notes on one forwarded call.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) gateway: Arc<Shared>,
    pub(crate) provider: Arc<Upstream>,
    pub(crate) call_id: CallId,
    pub(crate) started: Instant,
    /// Whether the upstream is read on to its end if the client leaves.
    pub(crate) reads_on: bool,
    /// From the complete request to its handing over to the upstream's client.
    pub(crate) overhead_us: u64,
    /// From the request's arrival to the first byte of the answer's body.
    pub(crate) first_us: Option<u64>,
    /// Bytes of the answer's body that the client was offered.
    pub(crate) response_bytes: u64,
    /// Status that the client was sent.
    pub(crate) status: Option<StatusCode>,
    /// Host that was called, where it is not the one that the call was admitted for.
    pub(crate) upstream: Option<Name>,
    /// Model that was asked in place of the one that the client named.
    pub(crate) downgraded_to: Option<Name>,
    /// What was decided on the way.
    pub(crate) decisions: Vec<Decision>,
}

impl Book {
    /// Notes bytes of the answer's body.
    pub(crate) fn offered(&mut self, bytes: usize) {
        if bytes > 0 && self.first_us.is_none() {
            self.first_us = Some(micros_since(self.started));
        }
        self.response_bytes += bytes as u64;
    }

    /// Forgets what was noted for a client that left before its answer was sent.
    pub(crate) const fn was_sent_nothing(&mut self) {
        self.status = None;
        self.response_bytes = 0;
        self.first_us = None;
    }

    fn ending(&mut self, metered: Metered, fault: Option<Code>) -> Ending {
        let (outcome, code) = match fault {
            Some(code) => (outcome_of(code), Some(code)),
            None if metered.error_type.is_some() || self.status.is_some_and(is_error) => (Outcome::UpstreamError, None),
            None if metered.complete => (Outcome::Ok, None),
            // The transport ended as it should, but the stream's last event never came.
            None => (Outcome::UpstreamCut, Some(Code::UpstreamCut)),
        };
        let duration_us = micros_since(self.started);
        let mut decisions = std::mem::take(&mut self.decisions);
        decisions.extend(metered.decisions);
        tracing::debug!(
            call_id = %self.call_id,
            provider = %self.provider.name,
            outcome = outcome.as_str(),
            status = self.status.map(|status| status.as_u16()),
            duration_us,
            "ended a call"
        );
        Ending {
            outcome,
            status_code: self.status.map(|status| status.as_u16()),
            error_type: code.map(Code::name).or(metered.error_type),
            finish_reason: metered.finish_reason,
            // Where the answer names none, the price is not that of the model which the client asked for.
            response_model: metered.response_model.or_else(|| self.downgraded_to.take()),
            upstream: self.upstream.take(),
            decisions,
            usage: metered.usage,
            duration_us,
            time_to_first_token_us: self.first_us,
            gateway_overhead_us: Some(self.overhead_us),
            response_bytes: self.response_bytes,
        }
    }
}

/// What came of a settled call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) receipt: Receipt,
    /// Whether the meter saw the answer's end.
    pub(crate) complete: bool,
}

/// A call whose answer is being metered. Boxed wherever it goes: it is large, and moves often.
pub(crate) struct Metering {
    pub(crate) open: Box<dyn OpenCall>,
    pub(crate) meter: Meter,
    pub(crate) book: Book,
    /// Results of a batch, if it is such that the answer tells.
    pub(crate) results: Option<Box<Recording>>,
}

impl Metering {
    /// Shows the meter a frame.
    pub(crate) fn frame(&mut self, bytes: Bytes) -> Step {
        let step = self.meter.frame(bytes);
        if let Some(results) = &mut self.results {
            results.take(&mut self.meter);
        }
        step
    }
}

/// Writes the row of a call whose answer was metered, counting tokens on a thread of its own where that is needed.
///
/// # Errors
/// [`Unavailable`] if the row cannot be written.
pub(crate) async fn settle(mut metering: Box<Metering>, end: End, fault: Option<Code>) -> Result<Settled, Unavailable> {
    // Whoever sends on what the meter still holds has asked for it before; of a lost answer it only completes the count.
    let _ = metering.meter.finish();
    if let Some(results) = metering.results.take() {
        return Box::pin(settle_results(metering, results, end, fault)).await;
    }
    if metering.meter.needs_estimate() {
        return Box::pin(settle_estimated(metering, end, fault)).await;
    }
    let metered = metering.meter.metered(end);
    let complete = metered.complete;
    let ending = metering.book.ending(metered, fault);
    let Metering { open, book, .. } = *metering;
    let receipt = write(open, book.call_id, ending).await?;
    Ok(Settled { receipt, complete })
}

/// Records what is left of a batch's results, then the call that fetched them. If they cannot be recorded, the call has not gone well.
async fn settle_results(
    mut metering: Box<Metering>,
    mut results: Box<Recording>,
    end: End,
    fault: Option<Code>,
) -> Result<Settled, Unavailable> {
    results.take(&mut metering.meter);
    let recorded = results.finish().await;
    let fault = match &recorded {
        Ok(()) => fault,
        Err(unavailable) => {
            tracing::error!(call_id = %metering.book.call_id, reason = %unavailable.reason, "failed to record results of a batch");
            Some(Code::LedgerUnavailable)
        }
    };
    let metered = metering.meter.metered(end);
    let complete = metered.complete;
    let ending = metering.book.ending(metered, fault);
    let Metering { open, book, .. } = *metering;
    let receipt = write(open, book.call_id, ending).await?;
    recorded.map(|()| Settled { receipt, complete })
}

async fn settle_estimated(metering: Box<Metering>, end: End, fault: Option<Code>) -> Result<Settled, Unavailable> {
    let Metering {
        open,
        mut meter,
        mut book,
        ..
    } = *metering;
    let counting = book.gateway.runtime.spawn_blocking(move || meter.metered(end));
    let metered = counting.await.unwrap_or_else(|error| {
        tracing::error!(call_id = %book.call_id, %error, "failed to estimate the usage of a call");
        Metered::default()
    });
    let complete = metered.complete;
    let receipt = write(open, book.call_id, book.ending(metered, fault)).await?;
    Ok(Settled { receipt, complete })
}

/// Writes the row of a call of which nothing was metered.
///
/// # Errors
/// [`Unavailable`] if the row cannot be written.
pub(crate) async fn settle_unmetered(open: Box<dyn OpenCall>, book: &mut Book, fault: Code) -> Result<Receipt, Unavailable> {
    write(open, book.call_id, book.ending(Metered::default(), Some(fault))).await
}

/// A plain function: a future would carry the ending a second time.
fn write(open: Box<dyn OpenCall>, call_id: CallId, ending: Ending) -> impl Future<Output = Result<Receipt, Unavailable>> {
    let settling = open.settle(ending);
    async move {
        let settled = settling.await;
        if let Err(unavailable) = &settled {
            tracing::error!(%call_id, reason = %unavailable.reason, "failed to settle a call");
        }
        settled
    }
}

/// What a fault is in column `outcome`.
pub(crate) const fn outcome_of(code: Code) -> Outcome {
    match code {
        Code::ClientLeft => Outcome::ClientAborted,
        Code::GatewayShutdown | Code::LedgerUnavailable => Outcome::Interrupted,
        Code::UpstreamCut => Outcome::UpstreamCut,
        Code::UpstreamConnectTimeout | Code::UpstreamFirstByteTimeout | Code::UpstreamIdleTimeout => Outcome::Timeout,
        Code::UpstreamLookupFailed
        | Code::UpstreamConnectFailed
        | Code::UpstreamTlsFailed
        | Code::UpstreamReset
        | Code::UpstreamProtocolError => Outcome::UpstreamError,
        Code::BudgetExceeded | Code::UnpricedModel | Code::BudgetUnavailable => Outcome::RefusedBudget,
        Code::RateLimitExceeded => Outcome::RefusedRate,
        _ => Outcome::RefusedPolicy,
    }
}

/// Microseconds since an instant.
pub(crate) fn micros_since(instant: Instant) -> u64 {
    u64::try_from(instant.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
