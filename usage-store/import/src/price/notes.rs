//! What an import left out, and why.

use std::collections::BTreeMap;
use std::fmt;

/// Most models that the text of a note names; the field has them all.
const NAMED_MAX: usize = 5;

/// Something that was not taken over, or not as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Why, or how instead.
    pub reason: String,
    /// The models of the file that it is about, in their order there.
    pub models: Vec<String>,
}

/// Collects notes, one a reason.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<String, Vec<String>>);

// === impl Note ===

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self
            .models
            .iter()
            .take(NAMED_MAX)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        write!(formatter, "{}: {named}", self.reason)?;
        match self.models.len().checked_sub(NAMED_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(formatter, " and {more} more"),
        }
    }
}

// === impl Notes ===

impl Notes {
    pub(super) fn add(&mut self, reason: impl Into<String>, model: &str) {
        let models = self.0.entry(reason.into()).or_default();
        if models.last().is_none_or(|last| last != model) {
            models.push(model.to_owned());
        }
    }

    pub(super) fn finish(self) -> Vec<Note> {
        let notes = self.0.into_iter();
        notes.map(|(reason, models)| Note { reason, models }).collect()
    }
}
