//! Collects a JSON answer for the meter: whole up to a limit, beyond it the beginning and the end.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Longest JSON answer that is kept whole, in bytes.
pub(crate) const WHOLE_BYTES_MAX: usize = 16 << 20;

/// Longest answer of numbers (embeddings) that is kept whole: their usage stands at the end, and the rest is no news.
pub(crate) const NUMBERS_BYTES_MAX: usize = 64 << 10;

/// What is kept of the beginning and of the end of a longer answer, each in bytes.
pub(crate) const EDGE_BYTES: usize = 64 << 10;

/// What is kept of an answer; frames are kept as they are, without a copy.
#[derive(Debug)]
pub(crate) struct Collector {
    limit: usize,
    /// Bytes that have come.
    total: usize,
    start: Vec<Bytes>,
    /// Bytes of the end, once the answer is longer than the limit.
    end: VecDeque<Bytes>,
    end_bytes: usize,
}

// === impl Collector ===

impl Collector {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            total: 0,
            start: Vec::new(),
            end: VecDeque::new(),
            end_bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        let was_whole = self.is_whole();
        self.total += frame.len();
        if self.is_whole() {
            self.start.push(frame);
            return;
        }
        if was_whole {
            self.cut();
        }
        self.push_end(frame);
    }

    /// Bytes that have come.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Whether everything that has come is kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.total <= self.limit
    }

    /// The beginning: all of a whole answer.
    pub(crate) fn start(&mut self) -> Bytes {
        if self.start.len() > 1 {
            let joined = joined(&self.start);
            self.start = vec![joined];
        }
        self.start.first().cloned().unwrap_or_default()
    }

    /// The end of an answer that is not whole.
    pub(crate) fn end(&mut self) -> Bytes {
        joined(self.end.make_contiguous())
    }

    /// The answer has become too long: of the frames so far only the edges stay.
    fn cut(&mut self) {
        let frames = std::mem::take(&mut self.start);
        let mut kept = BytesMut::with_capacity(EDGE_BYTES);
        for frame in &frames {
            let room = EDGE_BYTES - kept.len();
            kept.extend_from_slice(frame.get(..room.min(frame.len())).unwrap_or_default());
        }
        self.start.push(kept.freeze());
        for frame in frames {
            self.push_end(frame);
        }
    }

    fn push_end(&mut self, frame: Bytes) {
        let frame = frame.slice(frame.len().saturating_sub(EDGE_BYTES)..);
        self.end_bytes += frame.len();
        self.end.push_back(frame);
        while let Some(first) = self.end.front().map(Bytes::len)
            && self.end_bytes - first >= EDGE_BYTES
        {
            self.end.pop_front();
            self.end_bytes -= first;
        }
    }
}

fn joined(frames: &[Bytes]) -> Bytes {
    if let [only] = frames {
        return only.clone();
    }
    let mut joined = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    for frame in frames {
        joined.extend_from_slice(frame);
    }
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_in_one_frame_is_the_same_memory() {
        let frame = Bytes::from_static(b"{}");
        let mut collector = Collector::new(10);
        collector.push(frame.clone());
        assert_eq!(collector.start().as_ptr(), frame.as_ptr());
        collector.push(Bytes::from_static(b"[]"));
        assert_eq!(collector.start(), "{}[]");
        assert_eq!(collector.total(), 4);
    }

    #[test]
    fn of_a_long_answer_the_edges_are_kept() {
        let text: Vec<u8> = (0..1_000_000_u32).map(|count| (count % 251) as u8).collect();
        for size in [1000, 70_000, 400_000, 1_000_000] {
            let mut collector = Collector::new(NUMBERS_BYTES_MAX);
            text.chunks(size)
                .for_each(|frame| collector.push(Bytes::copy_from_slice(frame)));
            assert!(!collector.is_whole());
            assert!(collector.end().len() >= EDGE_BYTES && collector.end().len() < 2 * EDGE_BYTES);
            assert!(text.starts_with(&collector.start()) && text.ends_with(&collector.end()));
        }
    }
}
