//! Settles a call whose client left, by the provider's rule: the upstream is cancelled, or read on within limits since it bills the
//! rest anyway and reports it.

use std::sync::Arc;

use tollgate_codec::{AbortRule, End};

use crate::book::{self, Metering};
use crate::fault::Code;
use crate::gateway::Shared;
use crate::live::Upstream;

/// Ends a call that has lost its client. Runs as a tracked task.
pub(crate) async fn finish(mut upstream: Upstream, mut metering: Box<Metering>) {
    let gateway = Arc::clone(&metering.book.gateway);
    let fault = reason(&gateway);
    let answered = metering.book.status.is_none_or(|status| status.is_success());
    let end = if answered && fault == Code::ClientLeft && metering.book.reads_on {
        read_on(&mut upstream, &mut metering, &gateway).await
    } else {
        End::Aborted
    };
    // Closed before the tokens are counted: every moment that it stays open may be billed.
    drop(upstream);
    // A failure to settle is logged where it happens, and there is nobody left to tell.
    let _ = book::settle(metering, end, Some(fault)).await;
}

/// Why a call has no client: it left, or the gateway is at the end of its shutdown.
pub(crate) fn reason(gateway: &Shared) -> Code {
    if gateway.cut.is_cancelled() {
        Code::GatewayShutdown
    } else {
        Code::ClientLeft
    }
}

/// Whether an upstream is read on without a client.
pub(crate) fn reads_on(rule: AbortRule, bears_usage: bool) -> bool {
    rule == AbortRule::Drain && bears_usage
}

async fn read_on(upstream: &mut Upstream, metering: &mut Metering, gateway: &Shared) -> End {
    let limits = &gateway.limits;
    let mut bytes_left = limits.abandoned_bytes_max;
    let reading = async {
        loop {
            match upstream.next().await {
                Ok(Some(bytes)) => {
                    let Some(left) = bytes_left.checked_sub(bytes.len() as u64) else {
                        return End::Aborted;
                    };
                    bytes_left = left;
                    if metering.frame(bytes).ended {
                        return End::Complete;
                    }
                }
                Ok(None) => return End::Complete,
                Err(_) => return End::Cut,
            }
        }
    };
    tokio::select! {
        end = reading => end,
        () = tokio::time::sleep(limits.abandoned_read) => End::Aborted,
        () = gateway.cut.cancelled() => End::Aborted,
    }
}
