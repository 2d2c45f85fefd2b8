//! Kind `LlmProxy`: a context of its own over a provider, with fewer models and paths, and with defaults.

use tollgate_record::{ModelRules, Name};

use crate::access::AccessControl;
use crate::field::Fields;
use crate::names::{self, Names};
use crate::provider::context;
use crate::value::Value;

/// Largest default of the tokens of an answer.
pub const DEFAULT_MAX_TOKENS_MAX: u64 = 10_000_000;

/// A context of its own over a provider. Upstream, template, timeouts, prices and access control are the provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmProxy {
    /// Its name: column `proxy` of rows.
    pub name: Name,
    /// Provider that it calls; it exists.
    pub provider: Name,
    /// Path it is called under, as a provider's; it overlaps no other.
    pub context: String,
    /// Models that may be called; at least one is allowed.
    pub models: ModelRules,
    /// Which paths may be called, of those that the provider's access control allows.
    pub access: AccessControl,
    /// What a request is given where it says nothing itself.
    pub defaults: ProxyDefaults,
}

/// What a request is given where it says nothing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyDefaults {
    /// Model; one that may be called.
    pub model: Option<Name>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u64>,
}

// === impl LlmProxy ===

impl LlmProxy {
    /// Reads `spec`; whether the provider exists is checked when all documents are known.
    pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let provider = spec.required("provider").and_then(|value| value.name());
        let context = spec.required("context").and_then(|value| context(&value));
        let models = spec
            .required_map("models")
            .and_then(|fields| names::required(fields, Names::Models));
        let access = AccessControl::read(spec.map("accessControl"));
        let defaults = ProxyDefaults::read(spec.map("defaults"), models.as_ref());
        spec.finish();
        Some(Self {
            name,
            provider: provider?,
            context: context?,
            // What is wrong with them was reported, so this proxy is never served; what is right of it is held against the other documents.
            models: models.unwrap_or_default(),
            access,
            defaults,
        })
    }
}

// === impl ProxyDefaults ===

impl ProxyDefaults {
    /// `models` is `None` where they are wrong.
    fn read(mut fields: Fields<'_>, models: Option<&ModelRules>) -> Self {
        let value = fields.take("model");
        let model = value.as_ref().and_then(Value::name);
        let max_tokens = fields
            .take("max_tokens")
            .and_then(|value| value.integer(1..=DEFAULT_MAX_TOKENS_MAX));
        fields.finish();
        if let (Some(value), Some(model), Some(models)) = (&value, &model, models)
            && !models.allows(model.as_str())
        {
            let reason = match models.denies(model.as_str()) {
                Some(_) => "models.deny denies it",
                None => "models.allow does not have it",
            };
            value.wrong(format!(
                "is a model that this proxy refuses, since {reason}: allow it, or name another"
            ));
        }
        Self { model, max_tokens }
    }
}
