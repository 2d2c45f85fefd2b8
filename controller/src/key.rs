//! Kind `ApiKey`: who may call, and what they are charged as. Only the key's hash is kept; a secret access key is kept itself, since
//! signatures are checked with it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use tollgate_record::{AccessRules, Holder, Identity, Name, Tags, Timestamp};

use crate::field::Fields;
use crate::hierarchy::{self, Hierarchy};
use crate::secret::{KeyHash, Secret};
use crate::value::Value;

/// Shortest gateway key, in characters: 16 random ones cannot be guessed.
pub const KEY_CHARS_MIN: usize = 16;
/// Longest gateway key, in characters.
pub const KEY_CHARS_MAX: usize = 512;
/// Lengths of an access key id, in characters (AWS's "AccessKey" of its IAM API reference, November 2026).
const ACCESS_KEY_ID_CHARS: RangeInclusive<usize> = 16..=128;
/// Shortest secret access key, in characters. AWS's have 40. More than of a gateway key: whoever sees one signature can try secrets on it in peace.
pub const SECRET_ACCESS_KEY_CHARS_MIN: usize = 32;
/// Longest key and longest value of a tag, in bytes.
const TAG_BYTES_MAX: usize = 256;

/// A gateway key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Hash of the key, which no other has; none if callers only sign.
    pub hash: Option<KeyHash>,
    /// What callers sign with, as AWS's SDKs do.
    pub aws: Option<AwsCredentials>,
    /// Whose calls they are; `key_id` is the resource's name. What follows from declared services, projects, users and teams is filled in.
    pub identity: Arc<Identity>,
    /// Tags of all its calls.
    pub tags: Arc<Tags>,
    /// Whether it is refused.
    pub disabled: bool,
    /// First instant at which it is refused.
    pub expires: Option<Timestamp>,
    /// What a call may add about itself.
    pub callers_may: CallersMay,
    /// What its calls must be allowed by: its own rules, its service's and its team's; those that allow everything are left out.
    pub access: Arc<[AccessRules]>,
}

/// An access key as AWS has them, of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsCredentials {
    /// Its id, which stands in signatures and is no secret; no other key has it.
    pub access_key_id: Box<str>,
    /// Its secret.
    pub secret_access_key: Secret,
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
        let aws = spec.take("aws");
        // What cannot be read is a problem, and not the same as none.
        let hash = match (&value, &digest) {
            (Some(value), None) => key_hash(value).map(Some),
            (None, Some(digest)) => given_hash(digest).map(Some),
            (None, None) if aws.is_some() => Some(None),
            (None, None) => {
                spec.wrong("value", "is required, or value_sha256 or aws in its stead");
                None
            }
            (Some(_), Some(digest)) => {
                digest.wrong("stands beside value: keep one of them");
                None
            }
        };
        let aws = match aws {
            Some(aws) => AwsCredentials::read(&aws).map(Some),
            None => Some(None),
        };
        let identity = Identity {
            key_id: name.clone(),
            org: spec.name("org"),
            team: spec.name("team"),
            project: spec.name("project"),
            service: spec.name("service"),
            user: spec.name("user"),
        };
        let tags = spec.take("tags").map_or_else(Tags::default, |value| tags(&value, "tags"));
        let disabled = spec.take("disabled").and_then(|value| value.flag()).unwrap_or(false);
        let expires = spec.take("expires").and_then(|value| value.instant());
        let callers_may = spec
            .take("caller_may")
            .map_or_else(CallersMay::default, |value| CallersMay::read(&value));
        let access = hierarchy::access(Holder::Key, name, &mut spec);
        spec.finish();
        Some(Self {
            hash: hash?,
            aws: aws?,
            identity: Arc::new(identity),
            tags: Arc::new(tags),
            disabled,
            expires,
            callers_may,
            access: Arc::new([access?]),
        })
    }

    /// Takes over what follows from the places that it names.
    pub(crate) fn settle(&mut self, hierarchy: &Hierarchy) {
        let identity = hierarchy.complete(&self.identity);
        let rules = self.access.iter().chain(hierarchy.access(&identity));
        self.access = rules.filter(|rules| !rules.allow_everything()).cloned().collect();
        self.identity = Arc::new(identity);
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

/// A map of text to text, which is `what`.
pub(crate) fn tags(value: &Value<'_>, what: &str) -> Tags {
    let Some(pairs) = value.pairs() else {
        return Tags::default();
    };
    if pairs.len() > Tags::MAX_COUNT {
        value.wrong(format!("has more than {} {what}", Tags::MAX_COUNT));
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

// === impl AwsCredentials ===

impl AwsCredentials {
    fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let (id, secret) = (fields.required("access_key_id"), fields.required("secret_access_key"));
        fields.finish();
        let (id, secret) = (id?, secret?);
        let (access_key_id, secret_access_key) = (access_key_id(&id), secret_access_key(&secret));
        Some(Self {
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
        })
    }
}

fn access_key_id(value: &Value<'_>) -> Option<Box<str>> {
    let id = value.text()?.resolved;
    let is_word = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word && ACCESS_KEY_ID_CHARS.contains(&id.len()) {
        return Some(id.into());
    }
    let (min, max) = (ACCESS_KEY_ID_CHARS.start(), ACCESS_KEY_ID_CHARS.end());
    value.wrong(format!(
        "must be {min} to {max} letters, digits and _, as AWS has them: TGK and 17 random capitals, say"
    ));
    None
}

fn secret_access_key(value: &Value<'_>) -> Option<Secret> {
    let secret = value.text()?.resolved;
    let reason = if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        "must be printable ASCII without blanks, as AWS has them".to_owned()
    } else if secret.len() < SECRET_ACCESS_KEY_CHARS_MIN {
        format!("is shorter than {SECRET_ACCESS_KEY_CHARS_MIN} characters: it could be guessed from one signature")
    } else if secret.len() > KEY_CHARS_MAX {
        format!("is longer than {KEY_CHARS_MAX} characters")
    } else {
        return Some(Secret::new(&secret));
    };
    value.wrong(reason);
    None
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
