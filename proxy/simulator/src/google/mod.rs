//! Google's interfaces, a file each; the Gemini API and Vertex AI differ in little.

pub(crate) mod content;
pub(crate) mod embeddings;
pub(crate) mod generate;
pub(crate) mod models;
