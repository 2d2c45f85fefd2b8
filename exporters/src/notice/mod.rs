//! Notices (alerts of budgets) sent to webhooks, signed by Standard Webhooks.
//!
//! 1. A notice is sent to a webhook until that has answered with 2xx, and that is on disk. So it comes at least once; what comes again has the same
//!    `webhook-id`, by which the far side drops it.
//! 2. A webhook that is not there, asks for time, or has to be mended (5xx, 408, 425, 429; redirects, 401, 403 and the like) is tried again for as long as the
//!    notice is kept, one notice after the other, so that none holds up the rest.
//! 3. A notice that a webhook says it will never take (400, 404, 410, 413, 422) is sent [`REFUSALS_MAX`] times, over some hours, and then given up on.
//! 4. One notice at a time is under way to each webhook, and nothing else is in memory. A webhook waits for no other.
//! 5. Redirects are not followed: what is told does not go where it was not meant to.

mod endpoint;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_record::notice::{Answered, Notice, Outbox};
use tollgate_record::{Name, Timestamp};

use self::endpoint::Target;
pub use self::endpoint::{EVENT_TYPE, Endpoint};
use crate::{Ambient, Backoff, ClientError, Delivery};

/// How often a notice is sent to a webhook that says it will never take it.
pub const REFUSALS_MAX: u32 = 12;
/// Waits before a notice that was refused is sent again: twelve tries take two and a half to five hours.
const REFUSED: Backoff = Backoff {
    first: Duration::from_secs(30),
    max: Duration::from_hours(1),
};
/// Wait before an answer that could not be written is written again.
const FILE_RETRY: Duration = Duration::from_secs(5);

/// How notices are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeSettings {
    /// Waits between tries of a webhook that does not take anything now.
    pub backoff: Backoff,
    /// Wait between tries when nothing will pass until someone changes something.
    pub stuck_retry: Duration,
    /// Wait before the outbox is asked again, when it had nothing.
    pub poll: Duration,
}

/// What sends notices. It does nothing until it is run.
pub struct Notifier {
    outbox: Arc<dyn Outbox>,
    settings: NoticeSettings,
    ambient: Arc<dyn Ambient>,
    targets: watch::Sender<Arc<Vec<Arc<Target>>>>,
}

// === impl NoticeSettings ===

impl Default for NoticeSettings {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            stuck_retry: Duration::from_secs(300),
            poll: Duration::from_secs(1),
        }
    }
}

// === impl Notifier ===

impl Notifier {
    /// One that sends what an outbox has, to nobody as of yet.
    pub fn new(outbox: Arc<dyn Outbox>, settings: NoticeSettings, ambient: Arc<dyn Ambient>) -> Arc<Self> {
        Arc::new(Self {
            outbox,
            settings,
            ambient,
            targets: watch::Sender::new(Arc::default()),
        })
    }

    /// Sends to these webhooks from now on. What is under way to those before is waited for.
    ///
    /// # Errors
    /// [`ClientError`]: a CA file cannot be used; then nothing changes.
    pub fn set(&self, endpoints: Vec<Endpoint>) -> Result<(), ClientError> {
        let targets: Result<Vec<_>, _> = endpoints
            .into_iter()
            .map(|endpoint| Target::new(endpoint).map(Arc::new))
            .collect();
        self.targets.send_replace(Arc::new(targets?));
        Ok(())
    }

    /// Sends until `stop`, then waits for the answers to what is under way, each within its timeout.
    ///
    /// # Cancel safety
    /// Dropped at any point it is as if the process had ended: what was not answered, and kept as such, is sent again.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.targets.subscribe();
        loop {
            let targets = Arc::clone(&changes.borrow_and_update());
            let halt = stop.child_token();
            let mut workers = JoinSet::new();
            for target in targets.iter() {
                workers.spawn(Arc::clone(&self).work(Arc::clone(target), halt.clone()));
            }
            let is_changed = tokio::select! {
                () = stop.cancelled() => false,
                changed = changes.changed() => changed.is_ok(),
            };
            halt.cancel();
            while workers.join_next().await.is_some() {}
            if !is_changed {
                return;
            }
        }
    }

    /// Sends to one webhook.
    async fn work(self: Arc<Self>, target: Arc<Target>, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let now = self.ambient.now();
            let wait = match self.outbox.next(target.name(), now) {
                None => self.settings.poll,
                Some(notice) => {
                    let (status, delivery) = target.send(&notice, now).await;
                    let (answer, wait) = self.judge(&notice, status, delivery, &mut failures);
                    if let Answered::Failed { reason } | Answered::Refused { reason, .. } | Answered::GivenUp { reason } = &answer {
                        let given_up = matches!(answer, Answered::GivenUp { .. });
                        tracing::warn!(webhook = %target.name(), alert = notice.id, given_up, reason, "an alert was not taken");
                    }
                    self.keep(target.name(), notice.id, answer, &stop).await;
                    wait
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.ambient.sleep(wait) => {}
            }
        }
    }

    /// What an answer means for the notice, and how long the webhook is left alone after it.
    fn judge(&self, notice: &Notice, status: Option<StatusCode>, delivery: Delivery, failures: &mut u32) -> (Answered, Duration) {
        let (reason, after) = match delivery {
            Delivery::Accepted => {
                *failures = 0;
                return (Answered::Taken, Duration::ZERO);
            }
            Delivery::Retry { after, reason } => (reason, after),
            Delivery::Invalid { answer } => (answer, None),
            Delivery::Stuck { reason } => (reason, None),
            Delivery::Rejected { .. } => ("only a part was taken".to_owned(), None),
        };
        *failures = failures.saturating_add(1);
        let wait = self.settings.backoff.wait(*failures, after, self.ambient.random());
        match status {
            Some(status) if is_refusal(status) => {
                let refusals = notice.refusals.saturating_add(1);
                if refusals >= REFUSALS_MAX {
                    return (Answered::GivenUp { reason }, wait);
                }
                let rest = REFUSED.wait(refusals, None, self.ambient.random());
                let again = later(self.ambient.now(), rest);
                (Answered::Refused { reason, again }, wait)
            }
            Some(status) if is_stuck(status) => (Answered::Failed { reason }, wait.max(self.settings.stuck_retry)),
            _ => (Answered::Failed { reason }, wait),
        }
    }

    /// Keeps an answer. While it cannot be written nothing else is sent: the same notice would be sent without end.
    async fn keep(&self, webhook: &Name, id: String, answer: Answered, stop: &CancellationToken) {
        let kept = Arc::new((webhook.clone(), id, answer));
        loop {
            let (outbox, told) = (Arc::clone(&self.outbox), Arc::clone(&kept));
            let done = tokio::task::spawn_blocking(move || {
                let (webhook, id, answer) = &*told;
                outbox.answered(webhook, id, answer)
            });
            let reason = match done.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::error!(%webhook, alert = kept.1, reason, "what a webhook said to an alert could not be kept; it is tried again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.ambient.sleep(FILE_RETRY) => {}
            }
        }
    }
}

/// Whether the webhook says that it will never take the notice.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 410 | 413 | 422)
}

/// Whether nothing will pass until someone changes something.
fn is_stuck(status: StatusCode) -> bool {
    !status.is_server_error() && !matches!(status.as_u16(), 408 | 425 | 429)
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let us = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_us(now.unix_us().saturating_add(us))
}
