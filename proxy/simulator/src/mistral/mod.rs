//! Mistral's interfaces, a file each. Requests of chat completions and embeddings are those of OpenAI.

pub(crate) mod chat;
pub(crate) mod models;
pub(crate) mod ocr;
