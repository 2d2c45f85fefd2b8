//! Takes the text of an answer, decompressed where it had been compressed, and has it read.

use std::io::{self, Write};

use bytes::Bytes;
use memchr::memchr2;

use crate::answer::Answer;
use crate::collect::Collector;
use crate::decode::DECODED_BYTES_MAX;
use crate::elements;
use crate::estimate;
use crate::frames;
use crate::results::Lines;
use crate::shape::Shape;
use crate::sse::Splitter;
use crate::work;

/// What is kept of a stream's beginning, in bytes, so that its output can be estimated if its usage never comes.
const KEPT_BYTES_MAX: usize = work::limit(64 << 10);

/// Reads one answer.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) answer: Answer,
    pub(crate) mode: Mode,
    /// Bytes that have come, decompressed.
    pub(crate) bytes: u64,
    kept: Kept,
    /// All that has come has been read.
    read: bool,
    /// The JSON document was understood.
    understood: bool,
}

/// The beginning of a stream's text, kept where its output may have to be estimated.
#[derive(Debug)]
struct Kept {
    wanted: bool,
    /// Lines of server-sent events, as they came or as the payloads of another stream would be.
    text: Vec<u8>,
    /// Bytes of all that would have been kept without a limit.
    total: u64,
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
    /// A JSON array that is streamed.
    Elements(elements::Splitter),
    /// An event stream of AWS's.
    Frames(frames::Splitter),
    /// Results of a batch.
    Lines(Lines),
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(answer: Answer, mode: Mode, keeps: bool) -> Self {
        Self {
            answer,
            mode,
            bytes: 0,
            kept: Kept {
                wanted: keeps,
                text: Vec::new(),
                total: 0,
            },
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
                match splitter.release() {
                    None => bytes,
                    Some(held) => {
                        self.answer.removes_usage = false;
                        if held.is_empty() {
                            bytes
                        } else {
                            [&bytes, held].concat().into()
                        }
                    }
                }
            }
            _ => {
                self.read_stream(&frame);
                frame
            }
        }
    }

    /// Reads more of a stream that is sent on as it is.
    fn read_stream(&mut self, text: &[u8]) {
        let Self { answer, mode, kept, .. } = self;
        match mode {
            Mode::Opaque | Mode::Document(_) => {}
            Mode::Events(splitter) => splitter.read(text, answer),
            Mode::Elements(splitter) => {
                splitter.read(text, |element| {
                    kept.event(element);
                    answer.element(element);
                });
                answer.terminal |= splitter.ended();
            }
            Mode::Frames(splitter) => splitter.read(text, |message| {
                kept.event(answer.frame(message));
            }),
            Mode::Lines(lines) => lines.read(text),
        }
    }

    /// Reads what has come so far as if it were all; more may come afterwards.
    pub(crate) fn read_all(&mut self) {
        if std::mem::replace(&mut self.read, true) {
            return;
        }
        self.answer.read_pending();
        match &mut self.mode {
            Mode::Opaque | Mode::Elements(_) | Mode::Frames(_) => {}
            Mode::Events(splitter) => splitter.read_rest(&mut self.answer),
            Mode::Lines(lines) => lines.read_rest(),
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
            Mode::Opaque | Mode::Document(_) if !self.understood => None,
            Mode::Opaque | Mode::Lines(_) => None,
            Mode::Document(_) => Some(true),
            _ if self.answer.terminal => Some(true),
            Mode::Frames(splitter) if splitter.is_broken() => None,
            Mode::Elements(_) | Mode::Frames(_) => Some(false),
            Mode::Events(_) if self.answer.shape.has_terminal_event() => Some(false),
            // Gemini's streams just end; one whose model has not said why it stopped has not.
            Mode::Events(_) if matches!(self.answer.shape, Shape::Content) && self.answer.finish_reason.is_none() => Some(false),
            Mode::Events(_) => None,
        }
    }

    /// Output tokens by what has come; `None` if that says nothing.
    pub(crate) fn estimated_output(&mut self, model: Option<&str>) -> Option<u64> {
        let shape = &self.answer.shape;
        match &mut self.mode {
            Mode::Opaque | Mode::Lines(_) => None,
            Mode::Events(_) | Mode::Elements(_) | Mode::Frames(_) => {
                Some(estimate::streamed(model, shape, &self.kept.text, self.kept.total))
            }
            Mode::Document(collector) if collector.total() == 0 => None,
            Mode::Document(collector) if collector.is_whole() => Some(estimate::output(model, shape, &collector.start())),
            Mode::Document(collector) => Some(estimate::unread(collector.total() as u64)),
        }
    }

    /// Bytes of memory that it keeps.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn retained_bytes(&self) -> usize {
        let of_mode = match &self.mode {
            Mode::Opaque => 0,
            Mode::Document(collector) => collector.retained_bytes(),
            Mode::Events(splitter) => splitter.retained_bytes(),
            Mode::Elements(splitter) => splitter.retained_bytes(),
            Mode::Frames(splitter) => splitter.retained_bytes(),
            Mode::Lines(lines) => lines.retained_bytes(),
        };
        of_mode + self.kept.text.capacity() + self.answer.retained_bytes()
    }

    /// All that an estimate of the output depends on.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn kept(&self) -> (&[u8], u64) {
        (&self.kept.text, self.kept.total)
    }

    fn count(&mut self, text: &[u8]) {
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        self.read = false;
        if matches!(self.mode, Mode::Events(_)) {
            self.kept.push(text);
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Keeps the payload of an event as a line of server-sent events.
    fn event(&mut self, payload: &[u8]) {
        if !self.wanted || self.text.len() == KEPT_BYTES_MAX {
            self.total = self.total.saturating_add(payload.len() as u64);
            return;
        }
        self.push(b"data:");
        let mut from = self.text.len();
        self.push(payload);
        // Inside JSON, line ends are spaces.
        while let Some(at) = memchr2(b'\n', b'\r', self.text.get(from..).unwrap_or_default()) {
            from += at;
            if let Some(end) = self.text.get_mut(from) {
                *end = b' ';
            }
        }
        self.push(b"\n");
    }

    fn push(&mut self, text: &[u8]) {
        self.total = self.total.saturating_add(text.len() as u64);
        if self.wanted {
            let room = KEPT_BYTES_MAX.saturating_sub(self.text.len());
            self.text
                .extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        }
    }
}

/// Takes decompressed text.
impl Write for Reader {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // Lines are read one at a time, and a batch has as many as it has.
        if self.bytes.saturating_add(text.len() as u64) > DECODED_BYTES_MAX && !matches!(self.mode, Mode::Lines(_)) {
            return Err(io::Error::other("an answer has more text than is decompressed"));
        }
        self.count(text);
        match &mut self.mode {
            Mode::Opaque => {}
            Mode::Document(collector) => collector.push(Bytes::copy_from_slice(text)),
            _ => self.read_stream(text),
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
