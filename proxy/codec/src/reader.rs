//! Takes the text of an answer, decompressed where it had been compressed, and has it read.

use std::io::{self, Write};

use bytes::Bytes;

use crate::answer::Answer;
use crate::collect::Collector;
use crate::decode::DECODED_BYTES_MAX;
use crate::estimate;
use crate::sse::Splitter;

/// What is kept of a stream's beginning, in bytes, so that its output can be estimated if its usage never comes.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Reads one answer.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) answer: Answer,
    pub(crate) mode: Mode,
    /// Bytes that have come, decompressed.
    pub(crate) bytes: u64,
    /// Whether output may have to be estimated.
    keeps: bool,
    kept: Vec<u8>,
    /// All that has come has been read.
    read: bool,
    /// The JSON document was understood.
    understood: bool,
}

/// What an answer is read as.
#[derive(Debug)]
pub(crate) enum Mode {
    /// Nothing: only its bytes are counted.
    Opaque,
    /// One JSON document.
    Document(Collector),
    /// Server-sent events.
    Events(Splitter),
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(answer: Answer, mode: Mode, keeps: bool) -> Self {
        Self {
            answer,
            mode,
            bytes: 0,
            keeps,
            kept: Vec::new(),
            read: true,
            understood: false,
        }
    }

    /// Takes a frame that is not compressed; returns what is to be sent on.
    pub(crate) fn pass(&mut self, frame: Bytes) -> Bytes {
        self.count(&frame);
        match &mut self.mode {
            Mode::Opaque => frame,
            Mode::Document(collector) => {
                collector.push(frame.clone());
                frame
            }
            Mode::Events(splitter) if self.answer.removes_usage => {
                let bytes = splitter.edit(frame, &mut self.answer);
                if !self.answer.terminal {
                    return bytes;
                }
                // Nothing is removed behind the terminal event, and a caller that has it need not ask for more.
                self.answer.removes_usage = false;
                let held = splitter.rest(&mut self.answer);
                if held.is_empty() {
                    bytes
                } else {
                    [bytes, held].concat().into()
                }
            }
            Mode::Events(splitter) => {
                splitter.read(&frame, &mut self.answer);
                frame
            }
        }
    }

    /// Reads what has come so far as if it were all; more may come afterwards.
    pub(crate) fn read_all(&mut self) {
        if std::mem::replace(&mut self.read, true) {
            return;
        }
        match &mut self.mode {
            Mode::Opaque => {}
            Mode::Events(splitter) => splitter.read_rest(&mut self.answer),
            Mode::Document(collector) if collector.is_whole() => {
                let whole = collector.start();
                self.understood = self.answer.document(&whole);
            }
            Mode::Document(collector) => {
                let (start, end) = (collector.start(), collector.end());
                self.answer.edges(&start, &end);
            }
        }
    }

    /// What is still held of an edited stream.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.read_all();
        match &mut self.mode {
            Mode::Events(splitter) if self.answer.removes_usage => splitter.rest(&mut self.answer),
            _ => Bytes::new(),
        }
    }

    /// Whether the answer says itself that it is whole; `None` if it cannot say.
    pub(crate) fn is_whole(&self) -> Option<bool> {
        match &self.mode {
            Mode::Events(_) if self.answer.terminal => Some(true),
            Mode::Events(_) if self.answer.shape.has_terminal_event() => Some(false),
            Mode::Document(_) if self.understood => Some(true),
            _ => None,
        }
    }

    /// Output tokens by what has come; `None` if that says nothing.
    pub(crate) fn estimated_output(&mut self, model: Option<&str>) -> Option<u64> {
        let shape = &self.answer.shape;
        match &mut self.mode {
            Mode::Opaque => None,
            Mode::Events(_) => Some(estimate::streamed(model, shape, &self.kept, self.bytes)),
            Mode::Document(collector) if collector.total() == 0 => None,
            Mode::Document(collector) if collector.is_whole() => Some(estimate::output(model, shape, &collector.start())),
            Mode::Document(collector) => Some(estimate::unread(collector.total() as u64)),
        }
    }

    fn count(&mut self, text: &[u8]) {
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        self.read = false;
        if self.keeps && matches!(self.mode, Mode::Events(_)) {
            let room = KEPT_BYTES_MAX.saturating_sub(self.kept.len());
            self.kept
                .extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        }
    }
}

/// Takes decompressed text.
impl Write for Reader {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.bytes.saturating_add(text.len() as u64) > DECODED_BYTES_MAX {
            return Err(io::Error::other("an answer has more text than is decompressed"));
        }
        self.count(text);
        match &mut self.mode {
            Mode::Opaque => {}
            Mode::Document(collector) => collector.push(Bytes::copy_from_slice(text)),
            Mode::Events(splitter) => splitter.read(text, &mut self.answer),
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
