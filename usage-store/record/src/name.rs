//! Names that stand in a row: models, providers, teams, keys. Shared, short and printable.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name of 1 to 256 bytes without control characters; cloning it shares the text.
///
/// Model names arrive in request bodies of strangers, and all of them end in a durable row: this type is where that text is bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(#[serde(deserialize_with = "checked")] Arc<str>);

/// Why a text is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name is empty")]
    Empty,
    /// The text is longer than 256 bytes.
    #[error("a name has {bytes} bytes, more than {}", Name::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text has a control character.
    #[error("a name has a control character at byte {at}")]
    Control {
        /// Where it stands.
        at: usize,
    },
}

impl Name {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Checks a text.
    ///
    /// # Errors
    /// [`NameError`] if it is empty, too long or unprintable.
    pub fn new(text: &str) -> Result<Self, NameError> {
        Self::check(text).map(|()| Self(Arc::from(text)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        match text.bytes().position(|byte| byte.is_ascii_control()) {
            Some(at) => Err(NameError::Control { at }),
            None => Ok(()),
        }
    }
}

impl TryFrom<Arc<str>> for Name {
    type Error = NameError;

    fn try_from(text: Arc<str>) -> Result<Self, NameError> {
        Self::check(&text).map(|()| Self(text))
    }
}

/// Reads a text that must be a name.
fn checked<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Arc<str>, D::Error> {
    let text = Arc::<str>::deserialize(source)?;
    Name::check(&text).map_err(serde::de::Error::custom)?;
    Ok(text)
}

impl From<Name> for Arc<str> {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"x".repeat(257)), Err(NameError::TooLong { bytes: 257 }));
        assert_eq!(Name::new("a\nb"), Err(NameError::Control { at: 1 }));
        assert!(Name::new("meta/llama-3.1:8b \u{fc}").is_ok());
    }
}
