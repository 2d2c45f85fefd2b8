//! A context of its own over a provider: fewer models, fewer paths, and defaults. Everything else is the provider's.

use std::sync::Arc;

use tollgate_codec::Defaults;
use tollgate_record::{ModelRules, Name};

use crate::Error;
use crate::access::Access;
use crate::rules::ModelList;
use crate::upstream::{Upstream, check_access, check_context};

/// A proxy, not yet checked; [`crate::Snapshot::with_proxies`] does that.
#[derive(Clone, Debug)]
pub struct LlmProxy {
    /// Name of the resource: column `proxy` of rows.
    pub name: Name,
    /// Provider that it calls.
    pub provider: Name,
    /// Path prefix by which it is reached, such as `/assistant`.
    pub context: String,
    /// Models that may be called.
    pub models: ModelRules,
    /// Which paths may be called, of those that the provider allows.
    pub access: Access,
    /// What a request is given where it says nothing itself.
    pub defaults: Defaults,
}

/// A proxy, checked.
#[derive(Clone, Debug)]
pub(crate) struct Proxied {
    pub(crate) name: Name,
    pub(crate) provider: Arc<Upstream>,
    pub(crate) context: Box<str>,
    pub(crate) access: Access,
    /// `None` if there are none.
    pub(crate) defaults: Option<Defaults>,
    models: ModelRules,
}

impl Proxied {
    /// Checks what can be checked of one proxy.
    pub(crate) fn new(proxy: LlmProxy, provider: Arc<Upstream>) -> Result<Self, Error> {
        check_context(&proxy.name, &proxy.context)?;
        check_access(&proxy.name, &proxy.access)?;
        Ok(Self {
            name: proxy.name,
            provider,
            context: proxy.context.into(),
            access: proxy.access,
            defaults: (proxy.defaults != Defaults::default()).then_some(proxy.defaults),
            models: proxy.models,
        })
    }

    /// The same over the provider as it is after a reload.
    pub(crate) fn over(&self, provider: Arc<Upstream>) -> Self {
        Self {
            provider,
            ..self.clone()
        }
    }

    /// Its list of models.
    pub(crate) const fn models(&self) -> ModelList<'_> {
        ModelList {
            kind: "proxy",
            name: &self.name,
            rules: &self.models,
        }
    }
}
