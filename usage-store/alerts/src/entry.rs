//! What is kept of an alert, and the lines that it is kept in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_record::notice::Answered;
use tollgate_record::{Name, Timestamp};

use crate::Alert;
use crate::written::Written;

/// Bytes of an answer that are kept.
const REASON_BYTES_MAX: usize = 512;

/// An alert, and how far it got.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) alert: Alert,
    /// The webhooks that it is for: those that there were when it was raised.
    pub(crate) owed: BTreeMap<Name, Owed>,
}

/// How far an alert got with one webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) end: Option<End>,
    /// Tries that failed, refusals among them; those that did not fail for good are not kept over a restart.
    pub(crate) tries: u32,
    pub(crate) refusals: u32,
    /// When it may be sent, in microseconds since 1970.
    pub(crate) again_us: i64,
    /// What was said last.
    pub(crate) reason: Option<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Taken,
    GivenUp,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// What was raised at once.
    Raised(Vec<Raised>),
    /// What a webhook said.
    Said(Said),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Raised {
    alert: Written,
    owed: Vec<Name>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) webhook: Name,
    what: What,
    #[serde(default)]
    refusals: u32,
    #[serde(default)]
    again_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Taken,
    Refused,
    GivenUp,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(alert: Alert, owed: impl IntoIterator<Item = Name>) -> Self {
        Self {
            id: alert.id(),
            alert,
            owed: owed.into_iter().map(|webhook| (webhook, Owed::default())).collect(),
        }
    }

    /// As it is written when it is raised.
    pub(crate) fn raised(&self) -> Raised {
        Raised {
            alert: Written::of(&self.alert),
            owed: self.owed.keys().cloned().collect(),
        }
    }

    /// With how many webhooks it ended so.
    pub(crate) fn ended(&self, end: End) -> usize {
        self.owed.values().filter(|owed| owed.end == Some(end)).count()
    }

    /// All lines that say how it stands.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        let told = self.owed.iter().filter(|(_, owed)| owed.end.is_some() || owed.refusals > 0);
        let said = told.map(|(webhook, owed)| Line::Said(Said::of(&self.id, webhook, owed)));
        std::iter::once(Line::Raised(vec![self.raised()])).chain(said)
    }
}

// === impl Owed ===

impl Owed {
    /// After an answer.
    pub(crate) fn answered(&self, answer: &Answered) -> Self {
        let mut next = self.clone();
        next.tries = next.tries.saturating_add(1);
        match answer {
            Answered::Taken => {
                next.end = Some(End::Taken);
                next.reason = None;
            }
            Answered::Failed { reason } => next.reason = Some(cut(reason)),
            Answered::Refused { reason, again } => {
                next.refusals = next.refusals.saturating_add(1);
                next.again_us = again.unix_us();
                next.reason = Some(cut(reason));
            }
            Answered::GivenUp { reason } => {
                next.refusals = next.refusals.saturating_add(1);
                next.end = Some(End::GivenUp);
                next.reason = Some(cut(reason));
            }
        }
        next
    }

    pub(crate) fn may_be_sent(&self, now: Timestamp) -> bool {
        self.end.is_none() && self.again_us <= now.unix_us()
    }
}

// === impl Raised, Said ===

impl Raised {
    pub(crate) fn read(self) -> Result<Entry, String> {
        let id = self.alert.id.clone();
        let entry = Entry::new(self.alert.read()?, self.owed);
        match entry.id == id {
            true => Ok(entry),
            false => Err(format!("{id} is not the id of what it says")),
        }
    }
}

impl Said {
    /// How it stands with a webhook that took it or refused it.
    pub(crate) fn of(id: &str, webhook: &Name, owed: &Owed) -> Self {
        Self {
            id: id.to_owned(),
            webhook: webhook.clone(),
            what: match owed.end {
                Some(End::Taken) => What::Taken,
                Some(End::GivenUp) => What::GivenUp,
                None => What::Refused,
            },
            refusals: owed.refusals,
            again_us: owed.again_us,
            reason: owed.reason.clone(),
        }
    }

    pub(crate) fn owed(&self) -> Owed {
        Owed {
            end: match self.what {
                What::Taken => Some(End::Taken),
                What::GivenUp => Some(End::GivenUp),
                What::Refused => None,
            },
            tries: self.refusals,
            refusals: self.refusals,
            again_us: self.again_us,
            reason: self.reason.clone(),
        }
    }
}

fn cut(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default().to_owned()
}
