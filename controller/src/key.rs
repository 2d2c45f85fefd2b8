//! Kind `ApiKey`: who may call, and what they are charged as. Only the key's hash is kept.

use std::sync::Arc;

use tollgate_record::{Identity, Name, Tags, Timestamp};

use crate::field::Fields;
use crate::secret::KeyHash;
use crate::value::Value;

/// Shortest gateway key, in characters: 16 random ones cannot be guessed.
pub const KEY_CHARS_MIN: usize = 16;
/// Longest gateway key, in characters.
pub const KEY_CHARS_MAX: usize = 512;
/// Longest key and longest value of a tag, in bytes.
const TAG_BYTES_MAX: usize = 256;

/// A gateway key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Hash of the key; no other key has it.
    pub hash: KeyHash,
    /// Whose calls they are; `key_id` is the resource's name.
    pub identity: Arc<Identity>,
    /// Tags of all its calls.
    pub tags: Arc<Tags>,
    /// Whether it is refused.
    pub disabled: bool,
    /// First instant at which it is refused.
    pub expires: Option<Timestamp>,
    /// What a call may add about itself.
    pub callers_may: CallersMay,
}

/// Headers of a call that are recorded; what is not allowed is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallersMay {
    /// `x-tollgate-user`.
    pub user: bool,
    /// `x-tollgate-agent`.
    pub agent: bool,
    /// `x-tollgate-session`.
    pub session: bool,
    /// `x-tollgate-tags`.
    pub tags: bool,
}

// === impl ApiKey ===

impl ApiKey {
    /// Reads `spec`.
    pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let (value, digest) = (spec.take("value"), spec.take("value_sha256"));
        let hash = match (&value, &digest) {
            (Some(value), None) => key_hash(value),
            (None, Some(digest)) => given_hash(digest),
            (None, None) => {
                spec.wrong("value", "is required, or value_sha256 in its stead");
                None
            }
            (Some(_), Some(digest)) => {
                digest.wrong("stands beside value: keep one of them");
                None
            }
        };
        let identity = Identity {
            key_id: name,
            org: spec.name("org"),
            team: spec.name("team"),
            project: spec.name("project"),
            service: spec.name("service"),
            user: spec.name("user"),
        };
        let tags = spec.take("tags").map_or_else(Tags::default, |value| tags(&value));
        let disabled = spec.take("disabled").and_then(|value| value.flag()).unwrap_or(false);
        let expires = spec.take("expires").and_then(|value| value.instant());
        let callers_may = spec
            .take("caller_may")
            .map_or_else(CallersMay::default, |value| CallersMay::read(&value));
        spec.finish();
        Some(Self {
            hash: hash?,
            identity: Arc::new(identity),
            tags: Arc::new(tags),
            disabled,
            expires,
            callers_may,
        })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.identity.key_id
    }
}

fn key_hash(value: &Value<'_>) -> Option<KeyHash> {
    let key = value.text()?.resolved;
    let reason = if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        "must be printable ASCII without blanks, so that a header can carry it".to_owned()
    } else if key.len() < KEY_CHARS_MIN {
        format!("is shorter than {KEY_CHARS_MIN} characters: a key that short can be guessed")
    } else if key.len() > KEY_CHARS_MAX {
        format!("is longer than {KEY_CHARS_MAX} characters")
    } else {
        return Some(KeyHash::of(&key));
    };
    value.wrong(reason);
    None
}

fn given_hash(value: &Value<'_>) -> Option<KeyHash> {
    let hash = KeyHash::from_hex(&value.text()?.resolved);
    if hash.is_none() {
        value.wrong("is no SHA-256 in hexadecimal: 64 digits of 0-9 and a-f");
    }
    hash
}

fn tags(value: &Value<'_>) -> Tags {
    let Some(pairs) = value.pairs() else {
        return Tags::default();
    };
    if pairs.len() > Tags::MAX_COUNT {
        value.wrong(format!("has more than {} tags", Tags::MAX_COUNT));
        return Tags::default();
    }
    let fits = |text: &str| text.len() <= TAG_BYTES_MAX && !text.chars().any(char::is_control);
    let mut tags = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Some(text) = value.text() else { continue };
        if key.is_empty() || !fits(key) {
            value.wrong(format!(
                "has a key that is empty, longer than {TAG_BYTES_MAX} bytes or unprintable"
            ));
        } else if !fits(&text.resolved) {
            value.wrong(format!("is longer than {TAG_BYTES_MAX} bytes or unprintable"));
        } else {
            tags.push((key, text.resolved));
        }
    }
    Tags::from_pairs(tags)
}

// === impl CallersMay ===

impl CallersMay {
    /// Everything.
    pub const ALL: Self = Self {
        user: true,
        agent: true,
        session: true,
        tags: true,
    };

    fn read(value: &Value<'_>) -> Self {
        #[derive(Clone, Copy)]
        enum Right {
            User,
            Agent,
            Session,
            Tags,
        }
        let rights = [
            ("user", Right::User),
            ("agent", Right::Agent),
            ("session", Right::Session),
            ("tags", Right::Tags),
        ];
        let mut may = Self::default();
        for right in value.items().into_iter().flatten().filter_map(|item| item.choice(&rights)) {
            match right {
                Right::User => may.user = true,
                Right::Agent => may.agent = true,
                Right::Session => may.session = true,
                Right::Tags => may.tags = true,
            }
        }
        may
    }
}
