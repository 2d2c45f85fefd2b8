//! Who called: what the gateway key says, and what the caller was allowed to add.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CallId, Name};

/// Labels of a call, sorted by key, each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags(Vec<(Box<str>, Box<str>)>);

/// What a gateway key says of its holder. One per key, shared by all its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the key, never the key.
    pub key_id: Name,
    /// Organisation.
    pub org: Option<Name>,
    /// Team that is charged.
    pub team: Option<Name>,
    /// Project.
    pub project: Option<Name>,
    /// Service or application.
    pub service: Option<Name>,
    /// Person.
    pub user: Option<Name>,
}

/// What a call says of its caller, beside its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Person named by the caller; wins over the key's.
    pub user: Option<Name>,
    /// Agent named by the caller.
    pub agent: Option<Name>,
    /// Session or conversation named by the caller.
    pub session_id: Option<Name>,
    /// Trace id of the caller's `traceparent` (W3C Trace Context): 32 hexadecimal digits.
    pub trace_id: Option<Name>,
    /// Parent span id of the caller's `traceparent`: 16 hexadecimal digits.
    pub span_id: Option<Name>,
    /// Call that caused this one.
    pub parent_call_id: Option<CallId>,
    /// Tags of the key, overlaid by those of the caller.
    pub tags: Arc<Tags>,
}

// === impl Tags ===

impl Tags {
    /// Most tags of one call.
    pub const MAX_COUNT: usize = 64;

    /// Sorts the pairs; of a key that stands twice the last wins. Keeps the first [`Tags::MAX_COUNT`] keys.
    pub fn from_pairs<K: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let sorted: std::collections::BTreeMap<Box<str>, Box<str>> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(sorted.into_iter().take(Self::MAX_COUNT).collect())
    }

    /// These tags with those of `over` laid on top.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self::from_pairs(self.0.iter().chain(&over.0).cloned())
    }

    /// The pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_tag_wins_over_the_keys() {
        let key = Tags::from_pairs([("env", "prod"), ("app", "bot")]);
        let caller = Tags::from_pairs([("env", "test")]);
        let both: Vec<_> = key.overlaid(&caller).iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(both, ["app=bot", "env=test"]);
    }
}
