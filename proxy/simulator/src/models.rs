//! Model names: the snapshots behind aliases, and the list that `/v1/models` answers.
//!
//! Any model name is accepted, since prices are made up in tests; the list only holds names that exist. Source:
//! openai-python 2.54 `types/shared/all_models.py`, anthropic-sdk-python 2.12 `types/model.py` and Google's list of models.

use std::borrow::Cow;

use crate::route::Provider;

/// Aliases of OpenAI, and the snapshot that answers to each.
pub(crate) const OPENAI: &[(&str, &str)] = &[
    ("gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
    ("gpt-4", "gpt-4-0613"),
    ("gpt-4-turbo", "gpt-4-turbo-2024-04-09"),
    ("gpt-4.1", "gpt-4.1-2025-04-14"),
    ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
    ("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14"),
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("gpt-5", "gpt-5-2025-08-07"),
    ("gpt-5-mini", "gpt-5-mini-2025-08-07"),
    ("gpt-5-nano", "gpt-5-nano-2025-08-07"),
    ("gpt-5-pro", "gpt-5-pro-2025-10-06"),
    ("gpt-5.1", "gpt-5.1-2025-11-13"),
    ("gpt-5.2", "gpt-5.2-2025-12-11"),
    ("gpt-5.2-pro", "gpt-5.2-pro-2025-12-11"),
    ("gpt-5.4-mini", "gpt-5.4-mini-2026-03-17"),
    ("gpt-5.4-nano", "gpt-5.4-nano-2026-03-17"),
    ("gpt-5.5", "gpt-5.5-2026-04-23"),
    ("gpt-5.5-pro", "gpt-5.5-pro-2026-04-23"),
    ("o1", "o1-2024-12-17"),
    ("o3", "o3-2025-04-16"),
    ("o3-mini", "o3-mini-2025-01-31"),
    ("o4-mini", "o4-mini-2025-04-16"),
    ("text-embedding-3-large", "text-embedding-3-large"),
    ("text-embedding-3-small", "text-embedding-3-small"),
];

/// Aliases of Anthropic, and the snapshot that answers to each. Newer models have no dated snapshots.
pub(crate) const ANTHROPIC: &[(&str, &str)] = &[
    ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
    ("claude-haiku-5-5", "claude-haiku-5-5"),
    ("claude-opus-4-5", "claude-opus-4-5-20251101"),
    ("claude-opus-5-5", "claude-opus-5-5"),
    ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("claude-sonnet-5-5", "claude-sonnet-5-5"),
];

/// Models of Google, which answer by the name that was asked for.
pub(crate) const GOOGLE: &[&str] = &[
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-flash-image",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-pro-preview",
    "gemini-embedding-001",
];

/// Models of Mistral, which answer by the name that was asked for.
pub(crate) const MISTRAL: &[&str] = &[
    "codestral-latest",
    "magistral-medium-latest",
    "mistral-embed",
    "mistral-large-latest",
    "mistral-medium-latest",
    "mistral-ocr-latest",
    "mistral-small-latest",
];

/// The model that a provider says has answered where a name was asked for.
pub(crate) fn answering(provider: Provider, asked: &str) -> Cow<'_, str> {
    match provider {
        Provider::OpenAi | Provider::Azure => Cow::Borrowed(snapshot(OPENAI, asked)),
        Provider::Anthropic => Cow::Borrowed(snapshot(ANTHROPIC, asked)),
        // Vertex AI's names have their date behind an at sign.
        Provider::VertexAnthropic => Cow::Owned(asked.replace('@', "-")),
        Provider::Gemini | Provider::Vertex | Provider::Mistral | Provider::Bedrock => Cow::Borrowed(asked),
    }
}

/// The snapshot that answers to a name: the name itself where it is no alias.
pub(crate) fn snapshot<'a>(aliases: &[(&'static str, &'static str)], asked: &'a str) -> &'a str {
    aliases
        .iter()
        .find(|(alias, _)| *alias == asked)
        .map_or(asked, |(_, snapshot)| snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_answered_by_its_snapshot_and_other_names_as_asked() {
        assert_eq!(snapshot(OPENAI, "gpt-4o-mini"), "gpt-4o-mini-2024-07-18");
        assert_eq!(snapshot(OPENAI, "gpt-4o-mini-2024-07-18"), "gpt-4o-mini-2024-07-18");
        assert_eq!(snapshot(OPENAI, "gpt-x"), "gpt-x");
        assert_eq!(snapshot(ANTHROPIC, "claude-sonnet-4-5"), "claude-sonnet-4-5-20250929");
    }
}
