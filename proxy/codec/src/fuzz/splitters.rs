//! The splitters of streams, held against simple ones that see the whole stream at once.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::input::{Input, cut};
use crate::sse::{EVENT_BYTES_MAX, Listener};
use crate::{elements as arrays, frames as messages, sse as events, work};

/// What a listener heard, and what was sent on.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    data: Vec<(Vec<u8>, bool)>,
    too_long: Vec<Vec<u8>>,
}

impl Listener for Heard {
    fn data(&mut self, data: &[u8], named_error: bool) -> bool {
        self.data.push((data.to_vec(), named_error));
        data.starts_with(b"x")
    }

    fn too_long(&mut self, start: &[u8]) {
        self.too_long.push(start.to_vec());
    }
}

/// Server-sent events: sizes of frames, then a stream.
pub fn sse(data: &[u8]) {
    let mut input = Input(data);
    let sizes = input.sizes();
    let stream = input.0;
    let expected = whole(stream);

    let (mut heard, mut splitter, mut sent) = (Heard::default(), events::Splitter::default(), Vec::new());
    let frames = cut(stream, &sizes);
    work::take();
    for frame in &frames {
        sent.extend_from_slice(&splitter.edit(frame.clone(), &mut heard));
        check_retained(splitter.retained_bytes(), stream.len(), EVENT_BYTES_MAX);
    }
    sent.extend_from_slice(&splitter.rest(&mut heard));
    assert!(work::take() <= 3 * stream.len() as u64, "a byte is looked at too often");
    assert_eq!((&heard, &sent), (&expected.0, &expected.1));

    let (mut heard, mut splitter) = (Heard::default(), events::Splitter::default());
    frames.iter().for_each(|frame| splitter.read(frame, &mut heard));
    splitter.read_rest(&mut heard);
    assert_eq!(heard, expected.0);
}

/// What is to be heard of a stream, and what is to be sent on: by lines, as the standard tells it.
fn whole(stream: &[u8]) -> (Heard, Vec<u8>) {
    let (mut heard, mut sent, mut event) = (Heard::default(), Vec::new(), Vec::new());
    for (line, end) in lines(stream) {
        event.push((line, end));
        if line.is_empty() && !end.is_empty() {
            end_event(&std::mem::take(&mut event), &mut heard, &mut sent);
        }
    }
    end_event(&event, &mut heard, &mut sent);
    (heard, sent)
}

/// Lines with their ends; the last one may have none.
fn lines(mut stream: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut lines = Vec::new();
    while let Some(at) = stream.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let end = if stream[at..].starts_with(b"\r\n") { 2 } else { 1 };
        lines.push((&stream[..at], &stream[at..at + end]));
        stream = &stream[at + end..];
    }
    lines.push((stream, b""));
    lines
}

fn end_event(event: &[(&[u8], &[u8])], heard: &mut Heard, sent: &mut Vec<u8>) {
    let bytes: Vec<u8> = event
        .iter()
        .flat_map(|(line, end)| [*line, *end])
        .flatten()
        .copied()
        .collect();
    let (mut remove, mut named_error, mut at) = (false, false, 0);
    let mut data_lines: Vec<&[u8]> = Vec::new();
    for (line, end) in event {
        if at + line.len() > EVENT_BYTES_MAX && !line.is_empty() {
            heard.too_long(&bytes[..EVENT_BYTES_MAX]);
            sent.extend_from_slice(&bytes);
            return;
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if let Some(data) = text.strip_prefix(b"data:") {
            let data = data.strip_prefix(b" ").unwrap_or(data);
            data_lines.push(data);
            remove |= heard.data(data, named_error);
        } else if let Some(name) = line.strip_prefix(b"event:") {
            named_error = name.trim_ascii() == b"error";
        }
        at += line.len() + end.len();
    }
    let is_complete = event.last().is_some_and(|(line, end)| line.is_empty() && !end.is_empty());
    if data_lines.len() > 1 && is_complete {
        remove |= heard.data(&data_lines.join(&b'\n'), named_error);
    }
    if !remove {
        sent.extend_from_slice(&bytes);
    }
}

/// AWS's messages: sizes of frames, then a stream.
pub fn frames(data: &[u8]) {
    let mut input = Input(data);
    let sizes = input.sizes();
    let stream = input.0;
    let split = |frames: &[Bytes]| {
        let (mut splitter, mut heard) = (messages::Splitter::default(), Vec::new());
        for frame in frames {
            splitter.read(frame, |message| {
                heard.push([message.kind, message.name, message.payload].map(<[u8]>::to_vec));
            });
            check_retained(splitter.retained_bytes(), stream.len(), 1 << 24);
        }
        (heard, splitter.is_broken())
    };
    let frames = cut(stream, &sizes);
    work::take();
    let heard = split(&frames);
    // The head of a message is looked at with each frame, everything else once.
    assert!(
        work::take() <= (stream.len() + 12 * (frames.len() + 1) + 12 * stream.len() / 16) as u64,
        "a byte is looked at too often"
    );
    assert_eq!(heard, split(&cut(stream, &[usize::MAX])));
}

/// A JSON array: sizes of frames, then an array.
pub fn elements(data: &[u8]) {
    let mut input = Input(data);
    let sizes = input.sizes();
    let stream = input.0;
    let split = |frames: &[Bytes]| {
        let (mut splitter, mut heard) = (arrays::Splitter::default(), Vec::new());
        for frame in frames {
            splitter.read(frame, |element| heard.push(element.to_vec()));
            check_retained(splitter.retained_bytes(), stream.len(), 1 << 24);
        }
        (heard, splitter.ended())
    };
    work::take();
    let heard = split(&cut(stream, &sizes));
    assert!(work::take() <= stream.len() as u64, "a byte is looked at too often");
    assert_eq!(heard, split(&cut(stream, &[usize::MAX])));
    if let Ok(array) = serde_json::from_slice::<Vec<&RawValue>>(stream)
        && stream.len() <= 1 << 10
    {
        let objects = array.iter().map(|element| element.get().as_bytes());
        let objects: Vec<&[u8]> = objects.filter(|element| element.starts_with(b"{")).collect();
        assert_eq!(
            (&*heard.0, heard.1),
            (&*objects.iter().map(|object| object.to_vec()).collect::<Vec<_>>(), true)
        );
    }
}

fn check_retained(retained: usize, come: usize, limit: usize) {
    // A buffer is at most twice as large as what it held at some time, and holds a frame of 255 bytes more than its limit.
    let most = 2 * come.min(limit + 258) + 64;
    assert!(retained <= most, "{retained} bytes are kept, more than {most}");
}
