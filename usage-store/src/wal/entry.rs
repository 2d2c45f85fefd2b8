//! One entry of the log, in bytes.
//!
//! `length: u32 | crc: u32 | kind: u8 | seq: u64 | payload`, numbers little-endian. `length` counts from `kind` to the end of the
//! payload, `crc` (CRC-32, IEEE) covers the same bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tollgate_record::{CallId, Record, Seq};

use crate::wal::older;
use crate::wal::segment::Format;

/// Bytes before the payload.
pub(crate) const HEAD_BYTES: usize = 4 + 4 + PREFIX_BYTES;
/// Bytes of kind and sequence number.
const PREFIX_BYTES: usize = 1 + 8;
/// The longest entry: a record is a few hundred bytes, so that a length beyond this is damage.
const LENGTH_MAX: usize = 16 * 1024 * 1024;

/// Bytes that most payloads fit into.
const PAYLOAD_BYTES: usize = 640;

/// What an entry says. Durable: a number is never given another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call was admitted; the payload is its `Intent`, in every segment format.
    Opened = 1,
    /// A call ended; the payload is its `Record`, before segment format 3 without some kinds of usage.
    Settled = 2,
    /// Everything of this segment before an offset was synced; the payload is the offset as a `u64`, little-endian. From segment format 2 on.
    Synced = 3,
}

/// An entry as it lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) kind: Kind,
    pub(crate) seq: Seq,
    pub(crate) payload: &'a [u8],
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A whole entry, and how many bytes it takes.
    Entry(Entry<'a>, usize),
    /// The end.
    End,
    /// No whole entry.
    Broken(&'static str),
}

/// Writes a value as a payload.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Postcard refuses only values of unknown length, which no record has.
    postcard::to_extend(value, Vec::with_capacity(PAYLOAD_BYTES)).expect("records have known lengths")
}

/// Reads a payload.
pub(crate) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, postcard::Error> {
    postcard::from_bytes(payload)
}

/// Reads the payload of a settled entry in a segment of this format.
pub(crate) fn record(format: Format, payload: &[u8]) -> Result<Box<Record>, postcard::Error> {
    match format {
        Format::One | Format::Two => decode::<older::Record>(payload).map(|record| Box::new(record.into())),
        Format::Three => decode(payload).map(Box::new),
    }
}

/// The call that an opened or settled payload is about: the first thing in both.
pub(crate) fn call_id(payload: &[u8]) -> Result<CallId, postcard::Error> {
    postcard::take_from_bytes(payload).map(|(call_id, _)| call_id)
}

/// Appends an entry to a buffer.
pub(crate) fn put(buffer: &mut Vec<u8>, kind: Kind, seq: Seq, payload: &[u8]) {
    let length = u32::try_from(PREFIX_BYTES + payload.len()).expect("an entry is shorter than 4 GiB");
    let start = buffer.len();
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.push(kind as u8);
    buffer.extend_from_slice(&seq.get().to_le_bytes());
    buffer.extend_from_slice(payload);
    if let Some((head, body)) = buffer.get_mut(start..).and_then(|entry| entry.split_at_mut_checked(8)) {
        let crc = crc32fast::hash(body);
        head.get_mut(4..)
            .expect("the head has 8 bytes")
            .copy_from_slice(&crc.to_le_bytes());
    }
}

/// Reads the entry at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    if bytes.is_empty() {
        return Parsed::End;
    }
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Parsed::Broken("it ends within an entry's head");
    };
    let Some((crc, rest)) = rest.split_first_chunk::<4>() else {
        return Parsed::Broken("it ends within an entry's head");
    };
    let length = u32::from_le_bytes(*length) as usize;
    if !(PREFIX_BYTES..=LENGTH_MAX).contains(&length) {
        return Parsed::Broken("an entry has an impossible length");
    }
    let Some(body) = rest.get(..length) else {
        return Parsed::Broken("it ends within an entry");
    };
    let Some((kind, rest)) = body.split_first() else {
        return Parsed::Broken("an entry is empty");
    };
    let kind = match kind {
        1 => Kind::Opened,
        2 => Kind::Settled,
        3 => Kind::Synced,
        _ => return Parsed::Broken("an entry has an unknown kind"),
    };
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Parsed::Broken("an entry does not match its checksum");
    }
    let Some((seq, payload)) = rest.split_first_chunk::<8>() else {
        return Parsed::Broken("an entry is too short");
    };
    Parsed::Entry(
        Entry {
            kind,
            seq: Seq::new(u64::from_le_bytes(*seq)),
            payload,
        },
        8 + length,
    )
}
