//! The write-ahead log: what makes a record durable before the client sees the end of its answer.
//!
//! # Layout
//! `wal/00000000000000000001.wal`, and so on: segments of entries, each numbered one higher than the one before. A segment starts with
//! [`segment::MAGIC`]; an entry is its length, a CRC-32, a kind, a sequence number and a payload (see [`entry`]).
//!
//! # Invariants
//! 1. One process appends, and only at the end of the newest segment.
//! 2. An entry is handed out as written only after `write()` returned for it (`process`), or after `fdatasync()` did (`power`).
//!    In `process` durability `fdatasync()` follows in the background within the configured interval.
//! 3. Sequence numbers of settled entries are given in file order: 1, 2, 3 and so on, over all segments.
//! 4. A failed write leaves no half entry: the file is cut back to the end of the last whole one. If that fails too, or an
//!    `fdatasync()` fails, the log is poisoned: it takes no further entry until the process starts anew.
//! 5. A new segment begins with the `opened` entries of all calls that are open at that time, so an older segment is needed only for
//!    its settled rows.
//! 6. Segments are deleted oldest first, and only when every settled row in them is committed to the table.
//! 7. A `synced` entry says up to where its segment, and that all segments before it, were synced. A break before that place is damage and
//!    stops the start; a break after it is what a crash leaves, and is cut out at the start, the whole entries around it stay.
//!
//! It does not know prices, tables or calls: it stores bytes under kinds, and knows of their shape only what older versions of the gateway wrote
//! in another one ([`older`]).

pub(crate) mod entry;
mod log;
mod older;
pub(crate) mod poison;
pub(crate) mod segment;
pub(crate) mod sync;
#[cfg(test)]
mod tests;

pub use log::Durability;
pub(crate) use log::{Append, Log, Options, Start, lock};
