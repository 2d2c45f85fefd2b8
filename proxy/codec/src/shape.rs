//! The shapes of providers' messages, and what holds of each.

use std::sync::Arc;

use crate::template::Places;

/// The shape of an endpoint's messages.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's legacy completions.
    Completion,
    /// OpenAI's responses, compacted ones too.
    Response,
    /// OpenAI's embeddings.
    Embeddings,
    /// OpenAI's images: generated, edited, varied.
    Images,
    /// OpenAI's speech.
    Speech,
    /// OpenAI's transcriptions and translations.
    Transcription,
    /// Anthropic's messages.
    Message,
    /// Gemini's generated content.
    Content,
    /// Gemini's embedded content.
    ContentEmbeddings,
    /// Vertex AI's predictions: embeddings and images.
    Prediction,
    /// Bedrock's conversations.
    Converse,
    /// Bedrock's invocations, whose bodies are those of the model's vendor.
    Invocation {
        /// Whether the model generates; one that embeds does not.
        output: bool,
    },
    /// Mistral's documents read page by page.
    Pages,
    /// Cohere's chat, embeddings and rankings, which tell billed units.
    Units {
        /// Whether it is a chat.
        output: bool,
    },
    /// A batch, as it is submitted or looked at.
    Batch {
        /// Whether it is submitted.
        submits: bool,
    },
    /// Results of a batch.
    Results,
    /// What a template says.
    Template(Arc<Places>),
    /// No usage in it.
    Silent,
}

// === impl Shape ===

impl Shape {
    /// Whether its calls are made of text whose tokens can be estimated.
    pub(crate) fn is_text(&self) -> bool {
        match self {
            Self::Chat
            | Self::Completion
            | Self::Response
            | Self::Embeddings
            | Self::Message
            | Self::Content
            | Self::ContentEmbeddings
            | Self::Converse
            | Self::Invocation { .. }
            | Self::Units { output: true } => true,
            Self::Images
            | Self::Speech
            | Self::Transcription
            | Self::Prediction
            | Self::Pages
            | Self::Units { output: false }
            | Self::Batch { .. }
            | Self::Results
            | Self::Template(_)
            | Self::Silent => false,
        }
    }

    /// Whether its answers are generated text.
    pub(crate) fn has_output(&self) -> bool {
        match self {
            Self::Chat
            | Self::Completion
            | Self::Response
            | Self::Message
            | Self::Content
            | Self::Converse
            | Self::Invocation { output: true }
            | Self::Units { output: true }
            | Self::Template(_) => true,
            Self::Embeddings
            | Self::ContentEmbeddings
            | Self::Invocation { output: false }
            | Self::Images
            | Self::Speech
            | Self::Transcription
            | Self::Prediction
            | Self::Pages
            | Self::Units { output: false }
            | Self::Batch { .. }
            | Self::Results
            | Self::Silent => false,
        }
    }

    /// Whether its streams say where they end; of a template's provider that is not known, Gemini's streams just end, and those of images end with
    /// the last image, however many were asked for.
    pub(crate) fn has_terminal_event(&self) -> bool {
        !matches!(self, Self::Template(_) | Self::Content | Self::Images)
    }
}
