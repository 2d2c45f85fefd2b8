//! What the ledger has promised so far, and what it may therefore hold.

use std::collections::BTreeMap;

use tollgate_record::{Amount, CallId, Outcome};

/// A row as SQL returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) outcome: String,
    /// Units of 10^-12; `None` if it is unpriced.
    pub(crate) cost: Option<i128>,
}

/// How far a step of a call came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Done {
    /// It was not tried.
    #[default]
    No,
    /// It was tried, and nobody was told that it succeeded.
    Perhaps,
    /// It was acknowledged, and a power cut may still undo it.
    Weak,
    /// It was acknowledged, and nothing undoes it.
    Firm,
}

#[derive(Clone, Debug, Default)]
struct Call {
    opened: Done,
    ended: Done,
    /// Outcome and cost with which it ended, or was to end.
    ending: Option<(Outcome, Option<Amount>)>,
    /// The row that was seen after a start: it stays.
    pinned: Option<Row>,
    /// Whether it is known to have no row for ever.
    gone: bool,
}

/// One gateway's promises.
#[derive(Debug, Default)]
pub(crate) struct Model {
    calls: BTreeMap<CallId, Call>,
    /// Whether a power cut may have taken places away.
    gaps: bool,
}

impl Model {
    pub(crate) fn admit(&mut self, id: CallId, acknowledged: bool, firm: bool) {
        let call = self.calls.entry(id).or_default();
        call.opened = done(acknowledged, firm);
    }

    pub(crate) fn end(&mut self, id: CallId, outcome: Outcome, cost: Option<Amount>, acknowledged: bool, firm: bool) {
        let call = self.calls.entry(id).or_default();
        call.ended = done(acknowledged, firm);
        call.ending = Some((outcome, cost));
    }

    /// All that was acknowledged is on the disk.
    pub(crate) fn sync(&mut self) {
        for call in self.calls.values_mut() {
            for step in [&mut call.opened, &mut call.ended] {
                if *step == Done::Weak {
                    *step = Done::Firm;
                }
            }
        }
    }

    /// All rows that were acknowledged are in the table.
    pub(crate) fn commit(&mut self) {
        for call in self.calls.values_mut().filter(|call| call.ended == Done::Weak) {
            call.ended = Done::Firm;
        }
    }

    /// The power was cut.
    pub(crate) fn power_cut(&mut self) {
        for call in self.calls.values_mut() {
            for step in [&mut call.opened, &mut call.ended] {
                if *step == Done::Weak {
                    *step = Done::Perhaps;
                }
            }
            // Of rows that nobody was told of, or may lose, the log may have kept a later one and not an earlier one.
            self.gaps |= call.ended == Done::Perhaps;
        }
    }

    /// Holds rows against the promises. After a start, what is seen stays.
    pub(crate) fn check(&mut self, rows: &BTreeMap<CallId, Row>, started: bool) -> Result<(), String> {
        let mut places: Vec<i64> = rows.values().map(|row| row.seq).collect();
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("a place stands twice: {places:?}"));
        }
        if !self.gaps && places.iter().enumerate().any(|(at, place)| *place != at as i64 + 1) {
            return Err(format!("places have gaps: {places:?}"));
        }
        if let Some(id) = rows.keys().find(|id| !self.calls.contains_key(id)) {
            return Err(format!("a row of a call that nobody made: {id}"));
        }
        for (id, call) in &mut self.calls {
            let row = rows.get(id);
            call.allows(row, started)
                .map_err(|reason| format!("{id}: {reason}: {row:?}, {call:?}"))?;
            if started {
                call.pinned = row.cloned();
                call.gone = row.is_none();
                (call.opened, call.ended) = (Done::Firm, Done::Firm);
            }
        }
        Ok(())
    }
}

impl Call {
    fn allows(&self, row: Option<&Row>, started: bool) -> Result<(), &'static str> {
        if let Some(pinned) = &self.pinned {
            return if row == Some(pinned) {
                Ok(())
            } else {
                Err("a row changed or went")
            };
        }
        if self.gone {
            return if row.is_none() { Ok(()) } else { Err("a row came back") };
        }
        let Some(row) = row else {
            return match (self.opened, self.ended) {
                (_, Done::Weak | Done::Firm) => Err("an acknowledged row is missing"),
                (Done::Weak | Done::Firm, _) if started => Err("an admitted call left no row"),
                _ => Ok(()),
            };
        };
        let as_ended = self.ending.as_ref().is_some_and(|(outcome, cost)| {
            row.outcome == outcome.as_str() && cost.is_none_or(|cost| row.cost == Some(cost.units()))
        });
        let cut = started && row.outcome == "interrupted";
        let dropped = row.outcome == "client_aborted";
        match self.ended {
            Done::Weak | Done::Firm if as_ended => Ok(()),
            Done::Weak | Done::Firm => Err("an acknowledged row is another"),
            Done::Perhaps if as_ended || cut => Ok(()),
            Done::No if cut && self.opened != Done::No => Ok(()),
            // Whoever gives up while a call is being admitted has aborted it.
            Done::No if dropped && self.opened == Done::Perhaps => Ok(()),
            _ => Err("a row that was not to be expected"),
        }
    }
}

fn done(acknowledged: bool, firm: bool) -> Done {
    match (acknowledged, firm) {
        (false, _) => Done::Perhaps,
        (true, false) => Done::Weak,
        (true, true) => Done::Firm,
    }
}
