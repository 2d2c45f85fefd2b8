//! The boundary between what is to be told and who tells it: notices are kept until each webhook that they are for has taken them.

use crate::{Name, Timestamp};

/// Something that a webhook is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is known by, wherever and however often it is sent: letters, digits and `_`.
    pub id: String,
    /// When it came up.
    pub raised_at: Timestamp,
    /// What is told: a JSON object.
    pub data: String,
    /// How often this webhook has said that it will never take it.
    pub refusals: u32,
}

/// What a webhook said to a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It has it.
    Taken,
    /// It did not take it now. The webhook is at fault, not the notice.
    Failed {
        /// What it said, or why there is no answer.
        reason: String,
    },
    /// It says that it will never take it. It is asked again all the same, since people mend webhooks.
    Refused {
        /// What it said.
        reason: String,
        /// Not before this instant.
        again: Timestamp,
    },
    /// It has said so as often as it is asked.
    GivenUp {
        /// What it said last.
        reason: String,
    },
}

/// An answer could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotKept {
    /// Why, with the causes.
    pub reason: String,
}

/// Where notices are kept.
pub trait Outbox: Send + Sync + 'static {
    /// The notice that a webhook is to be sent next: of those that it has neither taken nor been given up on, and that may be sent now, the one that was
    /// tried least often, the oldest of these first. So one that it cannot take holds up no other.
    fn next(&self, webhook: &Name, now: Timestamp) -> Option<Notice>;

    /// Keeps what a webhook said. Blocks; but for [`Answered::Failed`] it is durable then. Of a notice that is not known, nothing is kept.
    ///
    /// # Errors
    /// [`NotKept`]; then it is as if the webhook had not been asked.
    fn answered(&self, webhook: &Name, id: &str, answer: &Answered) -> Result<(), NotKept>;
}
