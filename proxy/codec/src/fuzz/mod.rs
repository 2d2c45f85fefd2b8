//! What must hold of every input, as functions of bytes: the fuzz targets run them on what a fuzzer finds, `cargo test` on what was found and kept.
//!
//! None may panic, and each asserts what the meter promises: the same facts however a body is cut, memory and work within bounds that are linear
//! in the input and end at the limits of the readers. Under `cfg(fuzzing)` these limits are low, so that short inputs exceed them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is what a fuzzer looks for"
)]

mod answers;
mod estimates;
mod input;
mod meter;
#[cfg(test)]
mod replay;
mod requests;
mod splitters;
mod templates;
mod usages;

pub use estimates::estimate;
pub use meter::meter;
pub use requests::request;
pub use splitters::{elements, frames, sse};
pub use templates::template;
pub use usages::usage;

/// A target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("sse", sse),
    ("frames", frames),
    ("elements", elements),
    ("meter", meter),
    ("usage", usage),
    ("request", request),
    ("template", template),
    ("estimate", estimate),
];
