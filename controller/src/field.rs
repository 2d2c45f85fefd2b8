//! Reads fields out of a document's tree into checked values, and reports everything that is wrong on the way.
//!
//! Nothing here stops at the first problem: a getter reports and returns `None` (or the default), and its caller goes on reading.
//! The fields a reader asks for are the fields there are: [`Fields::finish`] reports all others.

use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tollgate_record::Name;

use crate::interpolate::Resolver;
use crate::nearest::nearest;
use crate::problem::{Place, Report};
use crate::value::Value;
use crate::yaml::{Entry, Meaning, Node, brief};

/// A document that is being read.
pub(crate) struct Document<'a> {
    pub(crate) report: &'a Report,
    pub(crate) resolver: &'a Resolver<'a>,
    pub(crate) place: Place,
    /// Where relative paths start.
    pub(crate) folder: &'a Path,
    pub(crate) root: Rc<Node>,
}

/// A map whose fields are being taken.
pub(crate) struct Fields<'a> {
    document: &'a Document<'a>,
    entries: &'a [Entry],
    line: u32,
    path: String,
    /// Fields that were asked for.
    known: Vec<&'static str>,
}

// === impl Document ===

impl<'a> Document<'a> {
    /// Reports a problem of a field that was read before.
    pub(crate) fn wrong(&self, path: &str, reason: impl Into<String>) {
        let line = self.root.find(path).map_or(self.root.line, |node| node.line);
        self.report.add(&self.place, line, path, reason);
    }

    /// The document's own fields.
    pub(crate) fn fields(&'a self) -> Option<Fields<'a>> {
        let root = Value {
            document: self,
            node: &self.root,
            path: String::new(),
        };
        root.fields()
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The fields of a map.
    pub(crate) fn new(document: &'a Document<'a>, entries: &'a [Entry], line: u32, path: String) -> Self {
        Self {
            document,
            entries,
            line,
            path,
            known: Vec::new(),
        }
    }

    /// The value of an optional field; `null` is absent.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.known.push(name);
        let entry = self.entries.iter().find(|entry| &*entry.key == name)?;
        if entry.node.meaning() == Some(Meaning::Null) {
            return None;
        }
        Some(Value {
            document: self.document,
            node: &entry.node,
            path: self.path_of(name),
        })
    }

    /// Whether a field is there and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| &*entry.key == name && entry.node.meaning() != Some(Meaning::Null))
    }

    /// The value of a field that must be there.
    pub(crate) fn required(&mut self, name: &'static str) -> Option<Value<'a>> {
        let value = self.take(name);
        if value.is_none() {
            let line = self
                .entries
                .iter()
                .find(|entry| &*entry.key == name)
                .map_or(self.line, |entry| entry.line);
            self.document
                .report
                .add(&self.document.place, line, &self.path_of(name), "is required");
        }
        value
    }

    /// The fields of an optional map; those of an absent one are all absent.
    pub(crate) fn map(&mut self, name: &'static str) -> Fields<'a> {
        match self.take(name) {
            Some(value) => value.fields().unwrap_or_else(|| self.empty(name)),
            None => self.empty(name),
        }
    }

    /// The fields of a map that must be there.
    pub(crate) fn required_map(&mut self, name: &'static str) -> Option<Fields<'a>> {
        self.required(name)?.fields()
    }

    /// The name of an optional field.
    pub(crate) fn name(&mut self, name: &'static str) -> Option<Name> {
        self.take(name)?.name()
    }

    /// A whole number within a range, else the default.
    pub(crate) fn integer(&mut self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.take(name).and_then(|value| value.integer(range)).unwrap_or(default)
    }

    /// A size in bytes within a range, else the default.
    pub(crate) fn size(&mut self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.take(name).and_then(|value| value.size(range)).unwrap_or(default)
    }

    /// A duration within a range, else the default.
    pub(crate) fn duration(&mut self, name: &'static str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        self.take(name).and_then(|value| value.duration(range)).unwrap_or(default)
    }

    /// One of some words, else the default.
    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, default: T, choices: &[(&'static str, T)]) -> T {
        self.take(name).and_then(|value| value.choice(choices)).unwrap_or(default)
    }

    /// Reports a field by its name.
    pub(crate) fn wrong(&self, name: &str, reason: impl Into<String>) {
        let line = self
            .entries
            .iter()
            .find(|entry| &*entry.key == name)
            .map_or(self.line, |entry| entry.line);
        self.document
            .report
            .add(&self.document.place, line, &self.path_of(name), reason);
    }

    /// Reports the map itself.
    pub(crate) fn wrong_map(&self, reason: impl Into<String>) {
        self.document.report.add(&self.document.place, self.line, &self.path, reason);
    }

    /// Reports every field that nobody asked for.
    pub(crate) fn finish(self) {
        for (index, entry) in self.entries.iter().enumerate() {
            if self.known.iter().any(|known| *known == &*entry.key) {
                continue;
            }
            if self.document.report.is_full() {
                self.document.report.add_untold(self.entries.len() - index);
                return;
            }
            let meant = match nearest(&entry.key, self.known.iter().copied()) {
                Some(meant) => format!("; did you mean {meant}?"),
                None => String::new(),
            };
            let reason = format!("is not a known field{meant} (known here: {})", self.known.join(", "));
            let path = self.path_of(&brief(&entry.key.escape_debug().to_string()));
            self.document.report.add(&self.document.place, entry.line, &path, reason);
        }
    }

    fn empty(&self, name: &str) -> Fields<'a> {
        Fields::new(self.document, &[], self.line, self.path_of(name))
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}
