//! Collects a JSON answer for the meter: whole up to a limit, beyond it the beginning and the end.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::work;

/// Longest JSON answer that is kept whole, in bytes.
pub(crate) const WHOLE_BYTES_MAX: usize = work::limit(16 << 20);

/// Longest answer of numbers (embeddings) that is kept whole: their usage stands at the end, and the rest is no news.
pub(crate) const NUMBERS_BYTES_MAX: usize = work::limit(64 << 10);

/// What is kept of the beginning and of the end of a longer answer, each in bytes.
pub(crate) const EDGE_BYTES: usize = work::limit(64 << 10);

/// Frames that are shorter are put together: one costs what names it and may be a small part of a buffer that it keeps.
const SMALL_FRAME_BYTES: usize = 1 << 10;

/// What is kept of an answer; frames are kept as they are, without a copy, but for small ones.
#[derive(Debug)]
pub(crate) struct Collector {
    limit: usize,
    /// Bytes that have come.
    total: usize,
    start: Vec<Bytes>,
    /// Small frames behind `start`.
    small: BytesMut,
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
            small: BytesMut::new(),
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
            if frame.len() < SMALL_FRAME_BYTES && !self.start.is_empty() {
                self.small.extend_from_slice(&frame);
            } else {
                self.end_small();
                self.start.push(frame);
            }
            return;
        }
        if was_whole {
            self.end_small();
            self.cut(&frame);
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
        self.end_small();
        if self.start.len() > 1 {
            let joined = joined(&self.start);
            self.start = vec![joined];
        }
        self.start.first().cloned().unwrap_or_default()
    }

    /// The end of an answer that is not whole.
    pub(crate) fn end(&mut self) -> Bytes {
        let end = joined(self.end.make_contiguous());
        end.slice(end.len().saturating_sub(EDGE_BYTES)..)
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.start.push(self.small.split().freeze());
        }
    }

    /// Bytes of memory that it keeps, besides what else a frame's memory is part of.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn retained_bytes(&self) -> usize {
        let frames = self.start.iter().chain(&self.end).map(Bytes::len).sum::<usize>();
        frames + self.small.capacity() + (self.start.capacity() + self.end.capacity()) * size_of::<Bytes>()
    }

    /// The answer has become too long with this frame: of those before it only the edges stay, and of the beginning what they lack.
    fn cut(&mut self, last: &[u8]) {
        let frames = std::mem::take(&mut self.start);
        let mut kept = BytesMut::with_capacity(EDGE_BYTES);
        for frame in frames.iter().map(|frame| &**frame).chain([last]) {
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
    let bytes = frames.iter().map(Bytes::len).sum();
    work::look_at(bytes);
    let mut joined = BytesMut::with_capacity(bytes);
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
    fn many_small_frames_take_no_more_memory_than_one() {
        let mut collector = Collector::new(WHOLE_BYTES_MAX);
        for _ in 0..1 << 20 {
            collector.push(Bytes::from_static(b"x"));
        }
        assert!(collector.retained_bytes() <= 2 << 20, "{}", collector.retained_bytes());
        collector.push(Bytes::from(vec![b'y'; 5000]));
        collector.push(Bytes::from_static(b"z"));
        assert_eq!(collector.start(), format!("{}{}z", "x".repeat(1 << 20), "y".repeat(5000)));
    }

    #[test]
    fn the_end_is_the_same_however_an_answer_is_cut() {
        let text: Vec<u8> = (0..300_000_u32).map(|count| (count % 251) as u8).collect();
        for size in [1, 1000, 70_000, text.len()] {
            let mut collector = Collector::new(NUMBERS_BYTES_MAX);
            text.chunks(size)
                .for_each(|frame| collector.push(Bytes::copy_from_slice(frame)));
            assert_eq!(collector.end(), text[text.len() - EDGE_BYTES..], "{size}");
            assert_eq!(collector.start(), text[..EDGE_BYTES], "{size}");
        }
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
