//! Gateway keys: what is known of each, and how one is found by the secret that a client sent, or by the access key id that it signed with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tollgate_record::{AccessRules, Identity, Tags, Timestamp};

use crate::Error;
use crate::verification::AwsKey;

/// SHA-256 of a key's secret; the secret itself is never kept.
pub type KeyHash = [u8; 32];

/// A gateway key. Debug output names it and leaves out the hash and the secret of AWS's kind.
#[derive(Clone)]
pub struct Key {
    /// SHA-256 of the secret; none if its callers only sign.
    pub hash: Option<KeyHash>,
    /// What its callers sign with, if they may.
    pub aws: Option<AwsKey>,
    /// Whose it is; one per key, shared by all its calls.
    pub identity: Arc<Identity>,
    /// Tags of all its calls.
    pub tags: Arc<Tags>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// First instant at which it no longer holds.
    pub expires: Option<Timestamp>,
    /// What callers may say of themselves.
    pub callers_may: CallersMay,
    /// What its calls must be allowed by: its own rules, its service's, its team's.
    pub access: Arc<[AccessRules]>,
}

/// Which caller headers a key allows; those it does not are ignored.
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

/// All keys, by hash and by access key id.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Keyed by the first eight bytes of the hash. An attacker who times the lookup learns of hashes, not of secrets; the rest of
    /// the hash is compared in constant time all the same.
    by_prefix: HashMap<[u8; 8], Vec<Arc<Key>>>,
    by_access_key_id: HashMap<Box<str>, Arc<Key>>,
}

impl Key {
    /// The hash of a secret.
    pub fn hash_of(secret: &[u8]) -> KeyHash {
        Sha256::digest(secret).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("identity", &self.identity)
            .field("aws", &self.aws)
            .field("disabled", &self.disabled)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl CallersMay {
    /// Every header is allowed.
    pub const ALL: Self = Self {
        user: true,
        agent: true,
        session: true,
        tags: true,
    };
}

impl Keys {
    pub(crate) fn new(keys: Vec<Key>) -> Result<Self, Error> {
        let mut by_prefix: HashMap<[u8; 8], Vec<Arc<Key>>> = HashMap::with_capacity(keys.len());
        let mut by_access_key_id: HashMap<Box<str>, Arc<Key>> = HashMap::new();
        for key in keys.into_iter().map(Arc::new) {
            let names = |other: &Key| (other.identity.key_id.clone(), key.identity.key_id.clone());
            if let Some(aws) = &key.aws
                && let Some(other) = by_access_key_id.insert(aws.access_key_id().into(), Arc::clone(&key))
            {
                let (first, second) = names(&other);
                return Err(Error::DuplicateAccessKeyId { first, second });
            }
            let Some(hash) = &key.hash else { continue };
            let bucket = by_prefix.entry(prefix(hash)).or_default();
            if let Some(other) = bucket.iter().find(|other| other.hash == key.hash) {
                let (first, second) = names(other);
                return Err(Error::DuplicateKey { first, second });
            }
            bucket.push(key);
        }
        Ok(Self {
            by_prefix,
            by_access_key_id,
        })
    }

    /// The key with this secret.
    pub(crate) fn find(&self, secret: &[u8]) -> Option<&Arc<Key>> {
        let hash = Key::hash_of(secret);
        let bucket = self.by_prefix.get(&prefix(&hash))?;
        bucket
            .iter()
            .find(|key| key.hash.is_some_and(|known| bool::from(known.ct_eq(&hash))))
    }

    /// The key whose callers sign with this access key id, and what they sign with. The id is no secret.
    pub(crate) fn signing(&self, access_key_id: &str) -> Option<&Arc<Key>> {
        self.by_access_key_id.get(access_key_id)
    }
}

fn prefix(hash: &KeyHash) -> [u8; 8] {
    *hash.first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
pub(crate) mod tests {
    use tollgate_record::Name;

    use super::*;

    pub(crate) fn key(name: &str, secret: &str) -> Key {
        let identity = Identity {
            key_id: Name::new(name).expect("a name"),
            org: None,
            team: None,
            project: None,
            service: None,
            user: None,
        };
        Key {
            hash: Some(Key::hash_of(secret.as_bytes())),
            aws: None,
            identity: Arc::new(identity),
            tags: Arc::default(),
            disabled: false,
            expires: None,
            callers_may: CallersMay::ALL,
            access: Arc::new([]),
        }
    }

    #[test]
    fn a_key_is_found_by_its_secret_alone() {
        let keys = Keys::new(vec![key("a", "tg-1"), key("b", "tg-2")]).expect("distinct");
        assert_eq!(keys.find(b"tg-2").expect("known").identity.key_id.as_str(), "b");
        assert!(keys.find(b"tg-3").is_none());
        assert!(keys.find(&Key::hash_of(b"tg-1")).is_none());
    }

    #[test]
    fn one_secret_is_one_key() {
        let refused = Keys::new(vec![key("a", "tg-1"), key("b", "tg-1")]);
        assert!(matches!(refused, Err(Error::DuplicateKey { .. })));
    }

    #[test]
    fn one_access_key_id_is_one_key() {
        let signing = |name: &str| Key {
            hash: None,
            aws: Some(AwsKey::new("TGKEXAMPLE000001", "secret")),
            ..key(name, "")
        };
        let keys = Keys::new(vec![signing("a"), key("b", "tg-2")]).expect("distinct");
        assert_eq!(keys.signing("TGKEXAMPLE000001").expect("known").identity.key_id.as_str(), "a");
        assert!(keys.signing("TGKEXAMPLE000002").is_none());
        assert!(keys.find(b"").is_none() && keys.find(b"TGKEXAMPLE000001").is_none());
        let refused = Keys::new(vec![signing("a"), signing("b")]);
        assert!(matches!(refused, Err(Error::DuplicateAccessKeyId { .. })));
    }

    #[test]
    fn neither_secret_nor_hash_is_shown() {
        let key = Key {
            hash: Some([171; 32]),
            aws: Some(AwsKey::new("TGKEXAMPLE000001", "never-shown")),
            ..key("a", "tg-1")
        };
        let shown = format!("{key:?}");
        assert!(
            shown.contains("\"a\"") && !shown.contains("171") && !shown.contains("tg-1") && !shown.contains("never"),
            "{shown}"
        );
    }
}
