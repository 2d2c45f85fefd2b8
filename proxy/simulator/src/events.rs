//! The events of a stream in one buffer: the framing, and where each event ends.
//!
//! An event is one frame of the body later, whatever comment lines come with it.

use crate::eventstream;
use crate::out::Out;

/// Bytes that a stream's event takes, roughly.
const EVENT_BYTES: usize = 320;

/// One event in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where it ends.
    pub(crate) end: usize,
    /// Whether it carries generated tokens, and so waits for its turn where a speed is asked for.
    pub(crate) paced: bool,
}

/// How events are told apart on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events; `crlf` ends lines with CR LF, `comments` adds comment lines.
    Sse { crlf: bool, comments: bool },
    /// The elements of a JSON array.
    Array,
    /// Messages of Amazon's event stream, each of the type that its name says.
    AwsEvents,
    /// Messages of Amazon's event stream of the type `chunk`, which wrap the events.
    AwsChunks,
}

/// The events of one stream.
pub(crate) struct Events {
    pub(crate) out: Out,
    pub(crate) frames: Vec<Frame>,
    framing: Framing,
    /// The number of events after which the rest is not written.
    limit: usize,
}

impl Events {
    /// Expects about `count` events.
    pub(crate) fn new(count: usize, framing: Framing) -> Self {
        Self {
            out: Out::with_capacity(count * EVENT_BYTES),
            frames: Vec::with_capacity(count),
            framing,
            limit: usize::MAX,
        }
    }

    /// From here on at most so many events are kept in all.
    pub(crate) fn limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Forgets the events beyond the limit, and lifts it.
    pub(crate) fn cut_at_limit(&mut self) {
        self.frames.truncate(self.limit);
        self.out.0.truncate(self.frames.last().map_or(0, |frame| frame.end));
        self.limit = usize::MAX;
    }

    /// Writes an event, with its name where the provider names its events.
    pub(crate) fn event(&mut self, name: Option<&str>, paced: bool, data: impl FnOnce(&mut Out)) {
        match self.framing {
            Framing::Sse { crlf, comments } => self.line(crlf, comments, name, data),
            Framing::Array => {
                self.out.raw(if self.frames.is_empty() { "[" } else { ",\r\n" });
                data(&mut self.out);
            }
            Framing::AwsEvents | Framing::AwsChunks => {
                let mut json = Out::default();
                data(&mut json);
                let place = self.frames.len();
                match self.framing {
                    Framing::AwsChunks => eventstream::chunk(place, &json.0, &mut self.out.0),
                    _ => eventstream::event(name.unwrap_or_default(), place, json.0, &mut self.out.0),
                }
            }
        }
        self.frames.push(Frame {
            end: self.out.0.len(),
            paced,
        });
    }

    /// Writes the exception by which Amazon's event streams end where a model fails.
    pub(crate) fn exception(&mut self) {
        let json = br#"{"message":"The model stream failed, as the x-simulate header asked","originalStatusCode":500}"#;
        eventstream::exception("modelStreamErrorException", json, &mut self.out.0);
        self.frames.push(Frame {
            end: self.out.0.len(),
            paced: false,
        });
    }

    /// Writes what follows the last event, as a part of it.
    pub(crate) fn end(&mut self) {
        if self.framing == Framing::Array
            && let Some(last) = self.frames.last_mut()
        {
            self.out.raw("]");
            last.end = self.out.0.len();
        }
    }

    /// Writes an event of one data line.
    fn line(&mut self, crlf: bool, comments: bool, name: Option<&str>, data: impl FnOnce(&mut Out)) {
        let line_end = if crlf { "\r\n" } else { "\n" };
        if comments {
            if self.frames.is_empty() {
                self.out.raw(": simulator processing").raw(line_end).raw(line_end);
            } else if self.frames.len().is_multiple_of(4) {
                self.out.raw(": keep-alive").raw(line_end);
            }
        }
        if let Some(name) = name {
            self.out.raw("event: ").raw(name).raw(line_end);
        }
        self.out.raw("data: ");
        data(&mut self.out);
        self.out.raw(line_end).raw(line_end);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(crlf: bool, comments: bool) -> String {
        text_of(Framing::Sse { crlf, comments })
    }

    fn text_of(framing: Framing) -> String {
        let mut events = Events::new(2, framing);
        events.event(None, false, |out| {
            out.raw("{}");
        });
        events.event(Some("ping"), false, |out| {
            out.raw("[]");
        });
        events.end();
        assert_eq!(events.frames.last().unwrap().end, events.out.0.len());
        String::from_utf8(events.out.0).unwrap()
    }

    #[test]
    fn an_event_is_a_data_line_and_an_empty_line() {
        assert_eq!(text(false, false), "data: {}\n\nevent: ping\ndata: []\n\n");
    }

    #[test]
    fn lines_end_with_crlf_where_asked() {
        assert_eq!(text(true, false), "data: {}\r\n\r\nevent: ping\r\ndata: []\r\n\r\n");
    }

    #[test]
    fn the_elements_of_an_array_make_one_json_text() {
        assert_eq!(text_of(Framing::Array), "[{},\r\n[]]");
    }

    #[test]
    fn comment_lines_stand_before_events() {
        assert_eq!(
            text(false, true),
            ": simulator processing\n\ndata: {}\n\nevent: ping\ndata: []\n\n"
        );
    }
}
