//! Prices of other systems, and what can be said about any price lists: read, written, checked, compared.
//!
//! - [`read_litellm`] and [`read_genai_prices`] make lists of the two price files that everybody has. What they cannot take over they say
//!   in [`Note`]s: nothing is left out silently, and nothing is guessed.
//! - [`to_yaml`] writes a list as the configuration reads it.
//! - [`check`] looks for mistakes in lists, [`diff`] for what one version changes in another.
//!
//! Amounts are read from the text of the JSON numbers, digit by digit; nothing passes through a float. A price of one token is multiplied
//! by a million before it is rounded to twelve places: that takes away what a float of the other system left (`1.0000000000000001e-07`),
//! and a note says so.

mod check;
mod diff;
mod genai;
mod json;
mod litellm;
mod names;
mod notes;
mod scope;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;
mod timeline;
mod yaml;

use tollgate_record::{PriceList, Timestamp};

pub use check::{Finding, JUMP_FACTOR, Kind, check};
pub use diff::{Change, Content, Entry, diff};
pub use genai::read_genai_prices;
pub use litellm::read_litellm;
pub use notes::Note;
pub use scope::Scope;
pub use yaml::to_yaml;

/// Largest price file that is read, in bytes. Today's have 3 MB and 0.5 MB.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// What a price file does not say about itself.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Written into every price as its source: name, version and date of the file.
    pub source: &'a str,
    /// From when a price holds that the file does not date.
    pub effective_from: Timestamp,
}

/// The lists of a price file, one a provider, and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// By provider's name.
    pub lists: Vec<PriceList>,
    /// By reason.
    pub notes: Vec<Note>,
}

/// Why a price file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is larger than [`FILE_BYTES_MAX`].
    #[error("the file has {bytes} bytes, more than {FILE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no JSON, or JSON of another shape.
    #[error("this is no {format} file ({hint})")]
    Shape {
        /// The format.
        format: &'static str,
        /// What it should be.
        hint: &'static str,
        /// What the parser says, with line and column.
        #[source]
        source: serde_json::Error,
    },
}
