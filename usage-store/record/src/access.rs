//! What a key, a service or a team may call.

use crate::{ModelRules, Name};

/// What the calls of a key, a service or a team may be. All that apply to a call must allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// Whose rules they are.
    pub holder: Holder,
    /// The holder's name.
    pub name: Name,
    /// Models.
    pub models: ModelRules,
    /// Operations, as column `operation_name` has them.
    pub operations: ModelRules,
    /// Proxies. A call that comes in by a provider's own context passes only if every name is allowed.
    pub proxies: ModelRules,
}

/// Who may have rules of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Holder {
    Key,
    Service,
    Team,
}

// === impl AccessRules ===

impl AccessRules {
    /// Whether everything may be called.
    pub fn allow_everything(&self) -> bool {
        [&self.models, &self.operations, &self.proxies]
            .iter()
            .all(|rules| rules.allows_everything())
    }
}

// === impl Holder ===

impl Holder {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Service => "service",
            Self::Team => "team",
        }
    }
}
