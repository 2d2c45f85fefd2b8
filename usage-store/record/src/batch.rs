//! Batches: many requests that a provider answers later, whose answers are fetched as often as one likes and billed once.
//!
//! The call that submits a batch costs nothing. Each of the batch's results is a row of its own, whose `call_id` follows from where the result is and what
//! it is called there ([`CallId::of_result`]), so that one who sees it again knows it.
//!
//! What links them stands in column `decisions` of the calls that were answered with the batch, under the policy [`METERING`]: the submission has
//! [`SUBMITTED`] with the batch's id, and every call that was told of files with results has [`OUTPUT`] with `FILE of BATCH`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CallId, Decision, Ending, Intent, Name};

/// Policy of the decisions that note what an answer told of a batch.
pub const METERING: &str = "metering";
/// Action of the decision that notes a submitted batch; its detail is the batch's id.
pub const SUBMITTED: &str = "batch_submitted";
/// Action of the decision that notes a file with a batch's results; its detail is `FILE of BATCH`.
pub const OUTPUT: &str = "batch_output";

/// Longest id of a batch or a file that is taken for one, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// What a provider calls some results.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResultsId {
    /// They are asked for by their batch (Anthropic).
    Batch(Box<str>),
    /// They are a file (OpenAI and who speaks its words).
    File(Box<str>),
}

/// Some results of one batch, as the call that fetched them was told.
#[derive(Clone, Debug)]
pub struct FetchedResults {
    /// What their provider calls them.
    pub id: ResultsId,
    /// The call that fetched them. It is charged if nobody is known to have submitted the batch.
    pub fetch: Arc<Intent>,
    /// The results. Their ids are of one set ([`CallId::of_same_set`]).
    pub results: Vec<BatchResult>,
}

/// A result of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchResult {
    /// Its row's id, which follows from what it is.
    pub call_id: CallId,
    /// OpenTelemetry GenAI operation of the request, or `batch_result`.
    pub operation_name: Name,
    /// How it ended; its times are not known.
    pub ending: Ending,
}

/// Notes that a batch was submitted.
pub fn submitted(batch: &str) -> Decision {
    noted(SUBMITTED, batch.into())
}

/// Notes that a file has results of a batch.
pub fn output(file: &str, batch: &str) -> Decision {
    noted(OUTPUT, format!("{file} of {batch}").into())
}

/// The batch whose results are in a file, if the detail of an [`OUTPUT`] says so.
pub fn batch_of<'a>(detail: &'a str, file: &str) -> Option<&'a str> {
    detail.strip_prefix(file)?.strip_prefix(" of ")
}

/// Whether a text may be the id of a batch or a file.
pub fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn noted(action: &str, detail: Box<str>) -> Decision {
    Decision {
        policy: METERING.into(),
        action: action.into(),
        detail: Some(detail),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_its_whole_name() {
        let detail = output("file-1", "batch_7").detail.unwrap();
        assert_eq!(batch_of(&detail, "file-1"), Some("batch_7"));
        assert_eq!(batch_of(&detail, "file-"), None);
        assert_eq!(batch_of(&detail, "file-12"), None);
    }

    #[test]
    fn ids_are_short_and_printable() {
        assert!(is_id("msgbatch_013Zva2CMHLNnXjNJJKqJ2EF") && is_id("3c9d9cdd-8c5f-4c5b-9c0c-a4c2b6a4b0d1"));
        assert!(!is_id("") && !is_id("a b") && !is_id(&"x".repeat(ID_BYTES_MAX + 1)));
    }
}
