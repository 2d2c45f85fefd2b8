//! What the simulator has seen: requests and how they ended, in all and by the `id` of their directives.
//!
//! The lock guards the map of ids; it is held for a lookup or a listing and never across an await. Requests without
//! an id touch atomics only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::out::Out;

/// The most ids that are remembered; requests with further ones are only counted in all.
const IDS_MAX: usize = 65_536;

/// How requests ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    cut: AtomicU64,
    closed_early: AtomicU64,
    chunks: AtomicU64,
}

/// The counts, in all and by id.
#[derive(Debug)]
pub(crate) struct Seen {
    all: Tally,
    by_id: Mutex<HashMap<Box<str>, Arc<Tally>>>,
    /// Told of every change to a count that has an id.
    changed: watch::Sender<()>,
}

/// A request that is being answered. Dropped before it was told how the request ended, it counts as closed early by
/// the peer: hyper drops an answer only when its connection is gone.
#[derive(Debug)]
pub(crate) struct Guard {
    seen: Arc<Seen>,
    tally: Option<Arc<Tally>>,
    ended: bool,
    /// Which request with this id it is, from 1; 0 without an id.
    pub(crate) attempt: u64,
}

impl Seen {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            all: Tally::default(),
            by_id: Mutex::default(),
            changed: watch::channel(()).0,
        })
    }

    /// Counts a request.
    pub(crate) fn begin(self: &Arc<Self>, id: Option<&str>) -> Guard {
        self.all.requests.fetch_add(1, Relaxed);
        let tally = id.and_then(|id| self.tally(id));
        let attempt = tally.as_ref().map_or(0, |tally| tally.requests.fetch_add(1, Relaxed) + 1);
        let guard = Guard {
            seen: Arc::clone(self),
            tally,
            ended: false,
            attempt,
        };
        guard.tell();
        guard
    }

    /// Forgets everything; requests in flight are counted nowhere any more, save in all.
    pub(crate) fn clear(&self) {
        self.ids().clear();
        let all = &self.all;
        for count in [
            &all.requests,
            &all.completed,
            &all.failed,
            &all.cut,
            &all.closed_early,
            &all.chunks,
        ] {
            count.store(0, Relaxed);
        }
        self.changed.send_replace(());
    }

    /// Told of every change to a count that has an id.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The count of that name for an id, 0 where the id has not been seen. None where there is no such count.
    pub(crate) fn count(&self, id: &str, name: &str) -> Option<u64> {
        let tally = self.ids().get(id).cloned().unwrap_or_default();
        tally
            .counts()
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, count)| count)
    }

    /// Writes the counts of an id, or those of all requests with the ids that were seen.
    pub(crate) fn json(&self, id: Option<&str>, reached: Option<bool>, out: &mut Out) {
        out.raw("{");
        let member = |out: &mut Out, counts: [(&str, u64); 7]| {
            for (index, (name, count)) in counts.into_iter().enumerate() {
                out.raw(if index == 0 { "" } else { "," }).string(name).raw(":").number(count);
            }
        };
        match id {
            Some(id) => {
                let tally = self.ids().get(id).cloned().unwrap_or_default();
                out.raw(r#""id":"#).string(id).raw(",");
                member(out, tally.counts());
            }
            None => {
                member(out, self.all.counts());
                let mut ids: Vec<Box<str>> = self.ids().keys().cloned().collect();
                ids.sort_unstable();
                out.raw(r#","ids":["#);
                for (index, id) in ids.iter().enumerate() {
                    out.raw(if index == 0 { "" } else { "," }).string(id);
                }
                out.raw("]");
            }
        }
        if let Some(reached) = reached {
            out.raw(r#","reached":"#).raw(if reached { "true" } else { "false" });
        }
        out.raw("}");
    }

    fn tally(&self, id: &str) -> Option<Arc<Tally>> {
        let mut ids = self.ids();
        if let Some(tally) = ids.get(id) {
            return Some(Arc::clone(tally));
        }
        (ids.len() < IDS_MAX).then(|| Arc::clone(ids.entry(id.into()).or_default()))
    }

    fn ids(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Tally>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn counts(&self) -> [(&'static str, u64); 7] {
        let [completed, failed, cut, closed_early] =
            [&self.completed, &self.failed, &self.cut, &self.closed_early].map(|count| count.load(Relaxed));
        let requests = self.requests.load(Relaxed);
        let ended = completed + failed + cut + closed_early;
        [
            ("requests", requests),
            ("completed", completed),
            ("failed", failed),
            ("cut", cut),
            ("closed_early", closed_early),
            ("in_flight", requests.saturating_sub(ended)),
            ("chunks", self.chunks.load(Relaxed)),
        ]
    }
}

impl Guard {
    /// A frame of the body was handed to the connection.
    pub(crate) fn chunk(&self) {
        self.count(|tally| &tally.chunks);
    }

    /// The answer was handed over whole.
    pub(crate) fn completed(&mut self) {
        self.end(|tally| &tally.completed);
    }

    /// An error was answered.
    pub(crate) fn failed(&mut self) {
        self.end(|tally| &tally.failed);
    }

    /// The simulator cut the answer off, as asked.
    pub(crate) fn cut(&mut self) {
        self.end(|tally| &tally.cut);
    }

    fn end(&mut self, count: fn(&Tally) -> &AtomicU64) {
        if !self.ended {
            self.ended = true;
            self.count(count);
        }
    }

    fn count(&self, count: fn(&Tally) -> &AtomicU64) {
        count(&self.seen.all).fetch_add(1, Relaxed);
        if let Some(tally) = &self.tally {
            count(tally).fetch_add(1, Relaxed);
            self.tell();
        }
    }

    fn tell(&self) {
        if self.tally.is_some() {
            self.seen.changed.send_replace(());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(|tally| &tally.closed_early);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_dropped_was_closed_early() {
        let seen = Seen::new();
        drop(seen.begin(Some("a")));
        let mut whole = seen.begin(Some("a"));
        assert_eq!(whole.attempt, 2);
        whole.completed();
        drop(whole);
        assert_eq!(seen.count("a", "closed_early"), Some(1));
        assert_eq!(seen.count("a", "completed"), Some(1));
        assert_eq!(seen.count("a", "in_flight"), Some(0));
        assert_eq!(seen.count("a", "nonsense"), None);
        assert_eq!(seen.count("b", "requests"), Some(0));
    }

    #[test]
    fn counts_are_json() {
        let seen = Seen::new();
        let guard = seen.begin(Some("a"));
        guard.chunk();
        let json = |id, reached| {
            let mut out = Out::default();
            seen.json(id, reached, &mut out);
            serde_json::from_slice::<serde_json::Value>(&out.0).unwrap()
        };
        let expected = serde_json::json!({"id": "a", "requests": 1, "completed": 0, "failed": 0, "cut": 0,
            "closed_early": 0, "in_flight": 1, "chunks": 1, "reached": true});
        assert_eq!(json(Some("a"), Some(true)), expected);
        assert_eq!(json(None, None).get("ids").unwrap(), &serde_json::json!(["a"]));
        seen.clear();
        assert_eq!(json(None, None).get("requests").unwrap(), 0);
    }
}
