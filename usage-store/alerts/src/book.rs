//! The durable list of alerts, and of what each webhook has taken.
//!
//! 1. An alert is on disk before [`Book::raise`] says that it is new. What has the same id is not new, also after a restart: it is told once.
//! 2. An alert is for the webhooks that there were when it was raised. One that is taken out of the configuration and put back goes on where it was.
//! 3. That a webhook took it, refused it, or was given up on is on disk before it counts. After a crash it may be sent once more, never once less.
//! 4. An alert is kept until [`KEPT_DAYS`] after its window's end, and longer while a webhook that there is has yet to take it. There are at most
//!    [`ALERTS_MAX`]: beyond, the oldest go that are delivered and whose window has ended, then the oldest that are delivered, then the oldest. An alert
//!    that went while its window lasts could be raised again.
//! 5. The file is written anew when most of it no longer counts.
//!
//! Reading waits for no disk: the file has a lock of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use tollgate_record::notice::{Answered, NotKept, Notice, Outbox};
use tollgate_record::rule::AlertKind;
use tollgate_record::{Name, Timestamp};

use crate::entry::{Entry, Line, Owed, Said};
use crate::lines::Lines;
use crate::written::Written;
use crate::{Alert, Error, table};

/// Alerts that are kept at most. One takes about a kilobyte of memory, and one of the file.
pub const ALERTS_MAX: usize = 50_000;
/// Days after its window's end for which an alert is kept.
pub const KEPT_DAYS: i64 = 400;
/// Bytes of the file beyond which it is written anew, if less than half of them count.
const REWRITE_BYTES_MIN: u64 = 1 << 20;

/// A webhook that alerts are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its name.
    pub name: Name,
    /// Of which budgets; none is all.
    pub budgets: Vec<Name>,
    /// Of which kinds; none is all.
    pub kinds: Vec<AlertKind>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct Limits {
    alerts_max: usize,
    rewrite_bytes_min: u64,
}

/// The list.
#[derive(Debug)]
pub struct Book {
    limits: Limits,
    /// Guards the file, and is taken before `state` by whoever changes that.
    file: Mutex<Kept>,
    /// Guards what is known; held for no write.
    state: Mutex<State>,
}

/// The file, and how much of it counted when it was last written whole.
#[derive(Debug)]
struct Kept {
    lines: Lines,
    whole_bytes: u64,
}

/// What is known. Entries stand under the order in which they were raised.
#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<u64, Entry>,
    by_id: HashMap<String, u64>,
    /// Of each webhook, what it has yet to take: by tries, then by order.
    pending: HashMap<Name, BTreeSet<(u32, u64)>>,
    next: u64,
    subscribers: Vec<Subscriber>,
}

// === impl Subscriber ===

impl Subscriber {
    fn wants(&self, alert: &Alert) -> bool {
        (self.budgets.is_empty() || self.budgets.contains(&alert.budget))
            && (self.kinds.is_empty() || self.kinds.contains(&alert.kind()))
    }
}

// === impl Book ===

impl Book {
    /// Opens the list in a folder, which is made if it is missing. Alerts are for `subscribers` until others are set. Blocks.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Damaged`], [`Error::File`].
    pub fn open(folder: &Path, subscribers: Vec<Subscriber>, now: Timestamp) -> Result<Self, Error> {
        let limits = Limits {
            alerts_max: ALERTS_MAX,
            rewrite_bytes_min: REWRITE_BYTES_MIN,
        };
        Self::open_limited(folder, subscribers, now, limits)
    }

    fn open_limited(folder: &Path, subscribers: Vec<Subscriber>, now: Timestamp, limits: Limits) -> Result<Self, Error> {
        let (lines, bodies) = Lines::open(folder)?;
        let mut state = State {
            subscribers,
            ..State::default()
        };
        for (place, body) in bodies.iter().enumerate() {
            state.read(body).map_err(|reason| lines.damaged(place, reason))?;
        }
        state.forget(now, limits.alerts_max);
        let file = Kept {
            whole_bytes: lines.bytes(),
            lines,
        };
        let book = Self {
            limits,
            file: Mutex::new(file),
            state: Mutex::new(state),
        };
        book.rewrite(&mut book.file())?;
        Ok(book)
    }

    /// Says for which webhooks alerts are that are raised from now on.
    pub fn set_subscribers(&self, subscribers: Vec<Subscriber>) {
        self.state().subscribers = subscribers;
    }

    /// Keeps an alert; false if it is known. Blocks until it is on disk.
    ///
    /// # Errors
    /// [`Error::File`]; then it is not kept, and may be raised again.
    pub fn raise(&self, alert: Alert) -> Result<bool, Error> {
        Ok(self.raise_all(vec![alert])?.first().copied().unwrap_or(false))
    }

    /// Keeps alerts, all or none, with one write; says of each whether it is new.
    ///
    /// # Errors
    /// As [`Book::raise`].
    pub fn raise_all(&self, alerts: Vec<Alert>) -> Result<Vec<bool>, Error> {
        let mut file = self.file();
        let mut new: Vec<Entry> = Vec::new();
        let mut are_new = Vec::with_capacity(alerts.len());
        {
            let state = self.state();
            let mut seen = HashSet::new();
            for alert in alerts {
                let id = alert.id();
                let is_new = !state.by_id.contains_key(&id) && seen.insert(id);
                are_new.push(is_new);
                if is_new {
                    let wants = state.subscribers.iter().filter(|subscriber| subscriber.wants(&alert));
                    let owed: Vec<Name> = wants.map(|subscriber| subscriber.name.clone()).collect();
                    new.push(Entry::new(alert, owed));
                }
            }
        }
        let Some(now) = new.iter().map(|entry| entry.alert.raised_at).max() else {
            return Ok(are_new);
        };
        file.lines
            .append(&text(&Line::Raised(new.iter().map(Entry::raised).collect())))?;
        let mut state = self.state();
        for entry in new {
            state.insert(entry);
        }
        state.forget(now, self.limits.alerts_max);
        drop(state);
        self.rewrite_or_warn(&mut file);
        Ok(are_new)
    }

    /// Table `alerts`, in the order in which they were raised.
    ///
    /// # Errors
    /// Only if this crate's schema and columns disagree.
    pub fn rows(&self) -> Result<RecordBatch, ArrowError> {
        table::batch(self.state().entries.values())
    }

    /// Writes the file anew, if most of it no longer counts.
    fn rewrite(&self, file: &mut Kept) -> Result<(), Error> {
        if file.lines.bytes() < self.limits.rewrite_bytes_min.max(file.whole_bytes.saturating_mul(2)) {
            return Ok(());
        }
        let bodies: Vec<String> = {
            let state = self.state();
            state
                .entries
                .values()
                .flat_map(Entry::lines)
                .map(|line| text(&line))
                .collect()
        };
        file.lines.replace(&bodies)?;
        file.whole_bytes = file.lines.bytes();
        Ok(())
    }

    /// What had to be kept is kept: that the file is larger than it needs to be is for the next time.
    fn rewrite_or_warn(&self, file: &mut Kept) {
        if let Err(error) = self.rewrite(file) {
            tracing::warn!(error = %chain(&error), "the alerts' file could not be written anew, and is larger than it needs to be");
        }
    }

    fn file(&self) -> MutexGuard<'_, Kept> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox for Book {
    fn next(&self, webhook: &Name, now: Timestamp) -> Option<Notice> {
        let state = self.state();
        let orders = state.pending.get(webhook)?.iter();
        let mut entries = orders.filter_map(|(_, order)| state.entries.get(order));
        entries.find_map(|entry| {
            let owed = entry.owed.get(webhook).filter(|owed| owed.may_be_sent(now))?;
            Some(Notice {
                id: entry.id.clone(),
                raised_at: entry.alert.raised_at,
                data: text(&Written::of(&entry.alert)),
                refusals: owed.refusals,
            })
        })
    }

    fn answered(&self, webhook: &Name, id: &str, answer: &Answered) -> Result<(), NotKept> {
        let mut file = self.file();
        let Some((order, next)) = self
            .state()
            .owed(webhook, id)
            .map(|(order, owed)| (order, owed.answered(answer)))
        else {
            return Ok(());
        };
        if !matches!(answer, Answered::Failed { .. }) {
            let line = Line::Said(Said::of(id, webhook, &next));
            file.lines
                .append(&text(&line))
                .map_err(|error| NotKept { reason: chain(&error) })?;
        }
        self.state().set(order, webhook, next);
        self.rewrite_or_warn(&mut file);
        Ok(())
    }
}

// === impl State ===

impl State {
    /// Takes over a line of the file.
    fn read(&mut self, body: &str) -> Result<(), String> {
        match serde_json::from_str(body).map_err(|error| error.to_string())? {
            Line::Raised(raised) => {
                for raised in raised {
                    self.insert(raised.read()?);
                }
            }
            Line::Said(said) => {
                // Of one that was forgotten nothing is known.
                if let Some((order, _)) = self.owed(&said.webhook, &said.id) {
                    self.set(order, &said.webhook, said.owed());
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry) {
        let order = self.next;
        self.next += 1;
        for webhook in entry.owed.keys() {
            self.pending.entry(webhook.clone()).or_default().insert((0, order));
        }
        self.by_id.insert(entry.id.clone(), order);
        self.entries.insert(order, entry);
    }

    fn owed(&self, webhook: &Name, id: &str) -> Option<(u64, &Owed)> {
        let order = *self.by_id.get(id)?;
        Some((order, self.entries.get(&order)?.owed.get(webhook)?))
    }

    fn set(&mut self, order: u64, webhook: &Name, next: Owed) {
        let owed = self.entries.get_mut(&order).and_then(|entry| entry.owed.get_mut(webhook));
        let Some(owed) = owed else { return };
        let pending = self.pending.entry(webhook.clone()).or_default();
        pending.remove(&(owed.tries, order));
        if next.end.is_none() {
            pending.insert((next.tries, order));
        }
        *owed = next;
    }

    /// Whether a webhook that there is has yet to take it.
    fn is_open(&self, entry: &Entry) -> bool {
        let waits = |name: &Name| entry.owed.get(name).is_some_and(|owed| owed.end.is_none());
        self.subscribers.iter().any(|subscriber| waits(&subscriber.name))
    }

    /// Forgets what is old, and what is too many.
    fn forget(&mut self, now: Timestamp, alerts_max: usize) {
        let kept_us = KEPT_DAYS.saturating_mul(Timestamp::DAY_US);
        let ended = |entry: &Entry, ago_us: i64| entry.alert.window_end.unix_us().saturating_add(ago_us) <= now.unix_us();
        let mut gone: Vec<u64> = Vec::new();
        // In the order in which they go.
        let mut kept: Vec<(bool, bool, u64)> = Vec::new();
        for (order, entry) in &self.entries {
            let is_open = self.is_open(entry);
            if ended(entry, kept_us) && !is_open {
                gone.push(*order);
            } else {
                kept.push((is_open, !ended(entry, 0), *order));
            }
        }
        let excess = kept.len().saturating_sub(alerts_max);
        if excess > 0 {
            kept.sort_unstable();
        }
        let excess = kept.get(..excess).unwrap_or_default();
        let undelivered = excess.iter().filter(|(is_open, ..)| *is_open).count();
        gone.extend(excess.iter().map(|(.., order)| *order));
        if undelivered > 0 {
            tracing::warn!(
                alerts = undelivered,
                limit = alerts_max,
                "alerts were forgotten before every webhook had taken them, because there are too many"
            );
        }
        for order in gone {
            self.remove(order);
        }
    }

    fn remove(&mut self, order: u64) {
        let Some(entry) = self.entries.remove(&order) else { return };
        self.by_id.remove(&entry.id);
        for (webhook, owed) in entry.owed {
            if let Some(pending) = self.pending.get_mut(&webhook) {
                pending.remove(&(owed.tries, order));
            }
        }
    }
}

fn text(line: &impl serde::Serialize) -> String {
    serde_json::to_string(line).expect("texts and numbers are JSON")
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
