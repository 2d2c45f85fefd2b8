//! What is wrong with a configuration: every problem of every document, in the order of the files.
//!
//! A problem names where and why. It quotes what is written in the file, never what `${env:}` or `${file:}` resolved to, and
//! nothing at all of a field that holds a secret.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File, document and, where known, line: `tollgate.yaml, document 3 (LlmProvider openai), line 12`.
    pub document: String,
    /// Path of the field, such as `spec.upstream.url`; empty if it is about the document.
    pub path: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Everything that is wrong, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// Where a document stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Index of its file.
    pub(crate) file_index: usize,
    /// Name of its file.
    pub(crate) file: Rc<str>,
    /// Its number in the file, from 1.
    pub(crate) number: usize,
    /// Kind and name, as far as they could be read.
    pub(crate) title: String,
}

/// Collects problems while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: RefCell<Vec<Found>>,
    more: Cell<usize>,
}

#[derive(Debug)]
struct Found {
    order: (usize, usize, u32),
    problem: Problem,
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document)?;
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.reason)
    }
}

// === impl Problems ===

impl Problems {
    /// What was found by others, such as conditions that are no SQL; `None` if nothing was.
    pub fn of(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems, in the order of the files.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

// === impl Place ===

impl Place {
    /// As a problem names it; `line` 0 is "not known".
    pub(crate) fn at(&self, line: u32) -> String {
        match line {
            0 => self.to_string(),
            line => format!("{self}, line {line}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}", self.file, self.number)?;
        match self.title.as_str() {
            "" => Ok(()),
            title => write!(f, " ({title})"),
        }
    }
}

// === impl Report ===

impl Report {
    /// Most problems that are told; the rest is counted.
    pub(crate) const PROBLEMS_MAX: usize = 1000;

    /// Adds a problem of a document; `line` 0 is "not known".
    pub(crate) fn add(&self, place: &Place, line: u32, path: &str, reason: impl Into<String>) {
        self.push((place.file_index, place.number, line), place.at(line), path, reason.into());
    }

    /// Adds a problem of a whole file.
    pub(crate) fn add_file(&self, file_index: usize, file: &str, reason: impl Into<String>) {
        self.push((file_index, 0, 0), file.to_owned(), "", reason.into());
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Whether further problems would only be counted.
    pub(crate) fn is_full(&self) -> bool {
        self.found.borrow().len() >= Self::PROBLEMS_MAX
    }

    /// Counts problems that are not told.
    pub(crate) fn add_untold(&self, count: usize) {
        self.more.set(self.more.get().saturating_add(count));
    }

    /// The problems, or `None` if there are none.
    pub(crate) fn into_problems(self) -> Option<Problems> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return None;
        }
        found.sort_by_key(|found| found.order);
        let mut problems: Vec<Problem> = found.into_iter().map(|found| found.problem).collect();
        if self.more.get() > 0 {
            problems.push(Problem {
                document: "configuration".to_owned(),
                path: String::new(),
                reason: format!("{} more problems are not listed", self.more.get()),
            });
        }
        Some(Problems(problems))
    }

    fn push(&self, order: (usize, usize, u32), document: String, path: &str, reason: String) {
        if self.is_full() {
            self.add_untold(1);
            return;
        }
        let problem = Problem {
            document,
            path: path.to_owned(),
            reason,
        };
        self.found.borrow_mut().push(Found { order, problem });
    }
}
