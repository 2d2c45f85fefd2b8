//! What providers say.
