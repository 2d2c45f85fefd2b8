//! Server-sent events in one buffer: the framing, and where each event ends.
//!
//! An event is one frame of the body later, whatever comment lines come with it.

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

/// The events of one stream.
pub(crate) struct Events {
    pub(crate) out: Out,
    pub(crate) frames: Vec<Frame>,
    line_end: &'static str,
    comments: bool,
    /// The number of events after which the rest is not written.
    limit: usize,
}

impl Events {
    /// Expects about `count` events; `crlf` ends lines with CR LF, `comments` adds comment lines.
    pub(crate) fn new(count: usize, crlf: bool, comments: bool) -> Self {
        Self {
            out: Out::with_capacity(count * EVENT_BYTES),
            frames: Vec::with_capacity(count),
            line_end: if crlf { "\r\n" } else { "\n" },
            comments,
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

    /// Writes an event of one data line, with its name where the provider names its events.
    pub(crate) fn event(&mut self, name: Option<&str>, paced: bool, data: impl FnOnce(&mut Out)) {
        if self.comments {
            if self.frames.is_empty() {
                self.out.raw(": simulator processing").raw(self.line_end).raw(self.line_end);
            } else if self.frames.len().is_multiple_of(4) {
                self.out.raw(": keep-alive").raw(self.line_end);
            }
        }
        if let Some(name) = name {
            self.out.raw("event: ").raw(name).raw(self.line_end);
        }
        self.out.raw("data: ");
        data(&mut self.out);
        self.out.raw(self.line_end).raw(self.line_end);
        self.frames.push(Frame {
            end: self.out.0.len(),
            paced,
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(crlf: bool, comments: bool) -> String {
        let mut events = Events::new(2, crlf, comments);
        events.event(None, false, |out| {
            out.raw("{}");
        });
        events.event(Some("ping"), false, |out| {
            out.raw("[]");
        });
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
    fn comment_lines_stand_before_events() {
        assert_eq!(
            text(false, true),
            ": simulator processing\n\ndata: {}\n\nevent: ping\ndata: []\n\n"
        );
    }
}
