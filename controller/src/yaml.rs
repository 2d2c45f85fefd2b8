//! YAML documents as trees of scalars, lists and maps that remember their lines and how each scalar was written.
//!
//! Scalars stay text: `2.50` is not a float here, so that a price can be taken digit by digit. Invariants:
//! 1. A map has each key once; keys are scalars.
//! 2. Aliases share their node. What a tree would weigh if they were copied is bounded ([`NODES_MAX`]), so walking it is bounded.
//! 3. A document that cannot be read does not hide the problems of those behind it.
//!
//! Not for YAML in general: tags and merge keys are refused.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle};

/// Most nodes of one configuration, aliases counted as if they were copied.
pub(crate) const NODES_MAX: usize = 1_000_000;
/// Most documents of one file.
pub(crate) const DOCUMENTS_MAX: usize = 100_000;
/// Most faults of one file, and of one document, after which the rest is not looked at.
const FAULTS_MAX: usize = 1000;
/// Deepest nesting of maps and lists in block style, and again in flow style.
const DEPTH_MAX: usize = 64;

/// A value and the line it starts at.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) content: Content,
    weight: usize,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Content {
    /// A scalar after YAML's own escapes; `plain` is "written without quotes".
    Scalar {
        text: Box<str>,
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Rc<str>,
    pub(crate) line: u32,
    pub(crate) node: Rc<Node>,
}

/// What a scalar means in YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Null,
    Bool,
    Number,
    Text,
}

/// A document, or what keeps it from being one.
pub(crate) struct Document {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) root: Option<Rc<Node>>,
    pub(crate) faults: Vec<Fault>,
}

/// Something wrong with the YAML itself.
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) reason: String,
}

/// Reads all documents of a text, taking their nodes from what is left of [`NODES_MAX`].
pub(crate) fn documents(text: &str, nodes_left: &mut usize) -> Vec<Document> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    let mut broken = 0;
    loop {
        let fault = match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((Event::StreamStart, _))) => continue,
            Some(Ok((Event::DocumentStart(..), span))) => {
                builder = Builder::default();
                if documents.len() < DOCUMENTS_MAX {
                    continue;
                }
                broken = FAULTS_MAX;
                Fault {
                    line: line(&span.start),
                    reason: format!("more than {DOCUMENTS_MAX} documents in one file"),
                }
            }
            Some(Ok((Event::DocumentEnd, _))) => {
                documents.push(std::mem::take(&mut builder).finish(documents.len() + 1));
                continue;
            }
            Some(Ok((event, span))) => match builder.take(event, line(&span.start), nodes_left) {
                Ok(()) => continue,
                Err(fault) => fault,
            },
            Some(Err(error)) => Fault {
                line: line(error.marker()),
                reason: format!("is not valid YAML: {}, at column {}", error.info(), error.marker().col() + 1),
            },
        };
        builder.root = None;
        builder.faults.push(fault);
        documents.push(std::mem::take(&mut builder).finish(documents.len() + 1));
        broken += 1;
        // An exhausted budget ends the whole configuration: what follows would only repeat it.
        if *nodes_left == 0 || broken >= FAULTS_MAX || !matches!(parser.proceed_next_document(), Ok(true)) {
            break;
        }
    }
    documents
}

fn line(marker: &granit_parser::Marker) -> u32 {
    u32::try_from(marker.line()).unwrap_or(u32::MAX)
}

/// Puts the tree of one document together.
#[derive(Default)]
struct Builder {
    root: Option<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    faults: Vec<Fault>,
}

struct Open {
    line: u32,
    anchor: usize,
    weight: usize,
    parts: Parts,
}

enum Parts {
    List(Vec<Rc<Node>>),
    Map {
        entries: Vec<Entry>,
        keys: HashSet<Rc<str>>,
        key: Option<(Rc<str>, u32)>,
    },
}

impl Builder {
    fn finish(self, number: usize) -> Document {
        Document {
            number,
            root: self.root,
            faults: self.faults,
        }
    }

    fn take(&mut self, event: Event<'_>, line: u32, nodes_left: &mut usize) -> Result<(), Fault> {
        let fault = |reason: &str| {
            Err(Fault {
                line,
                reason: reason.to_owned(),
            })
        };
        if event.tag().is_some() {
            return fault("YAML tags (!name) are not supported: remove it");
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                self.count(1, line, nodes_left)?;
                if anchor == 0 && self.take_key(&text, line) {
                    return Ok(());
                }
                let content = Content::Scalar {
                    text: text.into(),
                    plain: matches!(style, ScalarStyle::Plain),
                };
                self.place(line, anchor, 1, content)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.count(1, line, nodes_left)?;
                self.push(line, anchor, Parts::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                self.count(1, line, nodes_left)?;
                let parts = Parts::Map {
                    entries: Vec::new(),
                    keys: HashSet::new(),
                    key: None,
                };
                self.push(line, anchor, parts)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return fault("is not valid YAML: a collection ends that never began");
                };
                let content = match open.parts {
                    Parts::List(items) => Content::List(items),
                    Parts::Map { entries, .. } => Content::Map(entries),
                };
                self.place(open.line, open.anchor, open.weight + 1, content)
            }
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    self.count(node.weight, line, nodes_left)?;
                    self.attach(node, line)
                }
                None => fault("a YAML alias (*name) stands inside of its own anchor (&name)"),
            },
            // Comments, stream and document marks carry no nodes.
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, line: u32, nodes_left: &mut usize) -> Result<(), Fault> {
        match nodes_left.checked_sub(nodes) {
            Some(left) => {
                *nodes_left = left;
                Ok(())
            }
            None => {
                *nodes_left = 0;
                Err(Fault {
                    line,
                    reason: format!("more than {NODES_MAX} YAML values in all, aliases counted where they are used"),
                })
            }
        }
    }

    /// Takes a scalar as the next key, if the innermost collection is a map that waits for one.
    fn take_key(&mut self, text: &str, line: u32) -> bool {
        match self.open.last_mut().map(|open| &mut open.parts) {
            Some(Parts::Map { key: key @ None, .. }) => {
                *key = Some((Rc::from(text), line));
                true
            }
            _ => false,
        }
    }

    fn push(&mut self, line: u32, anchor: usize, parts: Parts) -> Result<(), Fault> {
        if matches!(self.open.last().map(|open| &open.parts), Some(Parts::Map { key: None, .. })) {
            return Err(key_fault(line));
        }
        self.open.push(Open {
            line,
            anchor,
            weight: 0,
            parts,
        });
        Ok(())
    }

    fn place(&mut self, line: u32, anchor: usize, weight: usize, content: Content) -> Result<(), Fault> {
        let node = Rc::new(Node { line, content, weight });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node, line)
    }

    fn attach(&mut self, node: Rc<Node>, line: u32) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.weight += node.weight;
        match &mut open.parts {
            Parts::List(items) => items.push(node),
            Parts::Map { entries, keys, key } => match key.take() {
                None => return Err(key_fault(line)),
                Some((key, line)) if !keys.insert(Rc::clone(&key)) => {
                    if self.faults.len() < FAULTS_MAX {
                        let reason = format!("the key {:?} stands twice in one map", brief(&key));
                        self.faults.push(Fault { line, reason });
                    }
                }
                Some((key, line)) => entries.push(Entry { key, line, node }),
            },
        }
        Ok(())
    }
}

fn key_fault(line: u32) -> Fault {
    Fault {
        line,
        reason: "a key of a map must be a plain word, without anchor or alias".to_owned(),
    }
}

/// A text cut to what fits a message.
pub(crate) fn brief(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

// === impl Node ===

impl Node {
    /// What it means, if it is a scalar.
    pub(crate) fn meaning(&self) -> Option<Meaning> {
        match &self.content {
            Content::Scalar { plain: false, .. } => Some(Meaning::Text),
            Content::Scalar { text, .. } => Some(meaning(text)),
            _ => None,
        }
    }

    /// What it is, with an article, for a message.
    pub(crate) fn description(&self) -> &'static str {
        match (&self.content, self.meaning()) {
            (Content::List(_), _) => "a list",
            (Content::Map(_), _) => "a map",
            (_, Some(Meaning::Null)) => "nothing",
            (_, Some(Meaning::Bool)) => "true or false",
            (_, Some(Meaning::Number)) => "a number",
            _ => "a string",
        }
    }

    /// The value under a path such as `spec.template`, for the lines of problems that are found later.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| {
            let (key, index) = match key.strip_suffix(']').and_then(|key| key.split_once('[')) {
                Some((key, index)) => (key, Some(index.parse::<usize>().ok()?)),
                None => (key, None),
            };
            let Content::Map(entries) = &node.content else {
                return None;
            };
            let found = entries.iter().find(|entry| &*entry.key == key).map(|entry| &*entry.node)?;
            match (index, &found.content) {
                (None, _) => Some(found),
                (Some(index), Content::List(items)) => items.get(index).map(|item| &**item),
                (Some(_), _) => None,
            }
        })
    }
}

/// Resolves a plain scalar by the core schema (YAML 1.2.2, 10.3.2).
fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Meaning::Bool,
        ".nan" | ".NaN" | ".NAN" => return Meaning::Number,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Meaning::Number;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let all = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
            return if all { Meaning::Number } else { Meaning::Text };
        }
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let some = !whole.is_empty() || !fraction.is_empty();
    if some && digits(whole) && digits(fraction) && !exponent.is_empty() && digits(exponent) {
        return Meaning::Number;
    }
    Meaning::Text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Document> {
        let mut nodes_left = NODES_MAX;
        documents(text, &mut nodes_left)
    }

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        for (text, expected) in [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("True", Meaning::Bool),
            ("yes", Meaning::Text),
            ("12", Meaning::Number),
            ("-1.5e3", Meaning::Number),
            (".5", Meaning::Number),
            ("0x1F", Meaning::Number),
            ("-.inf", Meaning::Number),
            ("1.2.3", Meaning::Text),
            ("e5", Meaning::Text),
            ("5e", Meaning::Text),
            (".", Meaning::Text),
            ("2026-01-01", Meaning::Text),
            ("127.0.0.1:80", Meaning::Text),
        ] {
            assert_eq!(meaning(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let read = read("a: 1\n---\n# comment\nb:\n  c: [1,\n   2]\n");
        let root = read[1].root.as_ref().unwrap();
        assert_eq!(read[1].number, 2);
        assert_eq!(root.find("b.c").unwrap().line, 5);
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let read = read("a: [1\n---\nb: 2\n---\nc: !x 3\n---\nd: 4\n");
        let faulty: Vec<bool> = read.iter().map(|document| !document.faults.is_empty()).collect();
        assert_eq!(faulty, [true, false, true, false]);
        assert!(read[3].root.as_ref().unwrap().find("d").is_some());
    }

    #[test]
    fn aliases_share_their_node_and_are_weighed() {
        let shared = read("a: &x [1, 2]\nb: *x\n");
        assert!(shared[0].faults.is_empty());
        let mut laughs = String::from("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = format!("*l{}, ", level - 1).repeat(10);
            laughs.push_str(&format!("l{level}: &l{level} [{below}]\n"));
        }
        let refused = read(&laughs);
        assert!(
            refused[0].faults[0].reason.starts_with("more than 1000000 YAML values"),
            "{}",
            refused[0].faults[0].reason
        );
        assert!(read("a: &x [*x]\n")[0].faults[0].reason.contains("inside of its own anchor"));
    }

    #[test]
    fn a_key_stands_once_and_is_a_word() {
        let twice = read("a: 1\nb: 2\na: 3\n");
        assert_eq!(twice[0].faults[0].reason, "the key \"a\" stands twice in one map");
        assert_eq!(twice[0].faults[0].line, 3);
        for text in ["[a]: 1\n", "{a: b}: 1\n", "? [x]\n: 1\n", "a: &k x\n*k : 1\n"] {
            assert!(!read(text)[0].faults.is_empty(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for text in ["[".repeat(200_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
            assert_eq!(read(&text)[0].faults.len(), 1);
        }
    }
}
