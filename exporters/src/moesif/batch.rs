//! A batch as requests to Moesif, each within its limits.

use serde::Serialize;

use super::config::{Config, Corrections, Shape};
pub(super) use super::event::Lacks;
use super::event::{Action, CORRECTION_NAME, Event, VERB, Who, status, uri};
use super::sampling::{Rates, Subject, weight};
use crate::row::Rows;

/// The most bytes of a request before compression. Sources disagree: Moesif's libraries stop at 250 KB, its API reference says 12 MB for
/// actions and 50 MB for events. This is the smallest.
pub(super) const BYTES_MAX: usize = 250_000;
/// The most events of a request: moesif-litellm sends 100, KrakenD 200.
pub(super) const EVENTS_MAX: usize = 100;

/// Where events and actions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Events,
    Actions,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) path: Path,
    /// As [`Finish`] made it.
    pub(super) body: Vec<u8>,
}

/// What becomes of a body that is full: it is compressed, or kept as it is to be looked at.
pub(super) type Finish = fn(&[u8]) -> Vec<u8>;

/// Requests of one kind as they fill.
struct Filling {
    path: Path,
    finish: Finish,
    body: Vec<u8>,
    events: usize,
}

/// The requests that a batch makes; none if sampling leaves all of it out.
pub(super) fn encode(config: &Config, rates: Option<&Rates>, rows: &Rows, finish: Finish) -> Result<Vec<Request>, Lacks> {
    let mut requests = Vec::new();
    let (mut events, mut actions) = (Filling::new(Path::Events, finish), Filling::new(Path::Actions, finish));
    for row in 0..rows.len() {
        let who = Who::of(config, rows, row);
        let correction = rows.corrects.get(row).is_some();
        if correction && config.corrections == Corrections::Leave {
            continue;
        }
        if config.shape == Shape::Actions {
            let name = if correction { CORRECTION_NAME } else { &config.action_name };
            actions.add(&Action::new(rows, row, who, name)?, &mut requests);
            continue;
        }
        let rate = rates.map_or(100.0, |rates| {
            let (user, company) = (who.user_id, who.company_id);
            rates.of(Subject {
                user,
                company,
                verb: VERB,
                uri: &uri(rows, row),
                status: status(rows, row),
            })
        });
        let Some(weight) = weight(rows, row, rate) else { continue };
        if correction {
            actions.add(&Action::new(rows, row, who, CORRECTION_NAME)?, &mut requests);
        } else {
            events.add(&Event::new(rows, row, who, weight)?, &mut requests);
        }
    }
    events.close(&mut requests);
    actions.close(&mut requests);
    Ok(requests)
}

// === impl Filling ===

impl Filling {
    const fn new(path: Path, finish: Finish) -> Self {
        Self {
            path,
            finish,
            body: Vec::new(),
            events: 0,
        }
    }

    /// Adds an event, closing the request before it where it would grow beyond a limit. One event alone may: it has no smaller form.
    fn add(&mut self, event: &impl Serialize, requests: &mut Vec<Request>) {
        let before = self.body.len();
        self.body.push(if before == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut self.body, event).expect("an event has text keys, and a vector takes every byte");
        self.events += 1;
        if self.events > 1 && (self.body.len() >= BYTES_MAX || self.events > EVENTS_MAX) {
            let last = self.body.split_off(before);
            self.events -= 1;
            self.close(requests);
            self.body.push(b'[');
            self.body.extend(last.iter().skip(1));
            self.events = 1;
        }
    }

    fn close(&mut self, requests: &mut Vec<Request>) {
        if self.events > 0 {
            self.body.push(b']');
            requests.push(Request {
                path: self.path,
                body: (self.finish)(&self.body),
            });
            self.body.clear();
            self.events = 0;
        }
    }
}
