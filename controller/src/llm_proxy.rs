//! Kind `LlmProxy`: a context of its own over a provider, with fewer models and paths, and with defaults.

use tollgate_record::{ModelGlob, ModelGlobError, ModelRules, Name};

use crate::access::AccessControl;
use crate::field::Fields;
use crate::provider::context;
use crate::value::Value;

/// Most patterns of a list of models.
pub const MODELS_MAX: usize = 100;
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
        let models = spec.required_map("models").and_then(read_models);
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

fn read_models(mut fields: Fields<'_>) -> Option<ModelRules> {
    let (allow, deny) = (fields.required("allow"), fields.take("deny"));
    fields.finish();
    let allowed = allow.as_ref().and_then(globs);
    let denied = match &deny {
        Some(deny) => globs(deny),
        None => Some(Vec::new()),
    };
    let (allow, allowed, denied) = (allow?, allowed?, denied?);
    if allowed.is_empty() {
        allow.wrong("allows no model, so every call would be refused: list names or globs, or [\"*\"] for all of them");
        return None;
    }
    let rules = ModelRules {
        allow: allowed.iter().map(|(_, glob)| glob.clone()).collect(),
        deny: denied.into_iter().map(|(_, glob)| glob).collect(),
    };
    // What stands on the list and is denied all the same cannot be meant.
    let mut holds = true;
    for (value, glob) in &allowed {
        let by = |denied: &ModelGlob| match glob.is_exact() {
            true => denied.matches_any_case(glob.as_str()),
            false => denied.is_everything() || denied == glob,
        };
        if let Some(index) = rules.deny.iter().position(by) {
            value.wrong(format!(
                "can never be called, since models.deny[{index}] denies it: remove one of them"
            ));
            holds = false;
        }
    }
    holds.then_some(rules)
}

/// The patterns of a list; `None` if any of them is wrong.
fn globs<'a>(list: &Value<'a>) -> Option<Vec<(Value<'a>, ModelGlob)>> {
    let items = list.items()?;
    let count = items.len();
    if count > MODELS_MAX {
        list.wrong(format!("has {count} patterns, more than {MODELS_MAX}: use globs"));
        return None;
    }
    let mut globs: Vec<(Value<'a>, ModelGlob)> = Vec::with_capacity(count);
    for item in items {
        let Some(text) = item.text() else { continue };
        let glob = match ModelGlob::new(&text.resolved) {
            Ok(glob) => glob,
            Err(error) => {
                let reason = match error {
                    ModelGlobError::Name(error) => error.to_string(),
                    ModelGlobError::Special('!') => "what is not allowed stands in models.deny, without '!'".to_owned(),
                    ModelGlobError::Special(_) => {
                        "'*' is any text and '?' any one character; brackets, braces, backslashes and blanks mean nothing"
                            .to_owned()
                    }
                };
                item.wrong(format!("{} is no glob of models: {reason}", text.quoted()));
                continue;
            }
        };
        if globs.iter().any(|(_, known)| *known == glob) {
            item.wrong(format!("{} stands twice: remove one", text.quoted()));
            continue;
        }
        globs.push((item, glob));
    }
    (globs.len() == count).then_some(globs)
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
