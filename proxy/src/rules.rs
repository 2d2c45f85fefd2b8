//! What may be called: models of proxies, and models, operations and proxies of keys, services and teams. All that apply must allow a call.

use tollgate_codec::{Codec, Endpoint, Named, Request};
use tollgate_record::{AccessRules, Call, ModelRules, Name};

use crate::fault::Fault;

/// Whose list of models it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelList<'a> {
    /// A word such as `proxy`.
    pub(crate) kind: &'static str,
    pub(crate) name: &'a Name,
    pub(crate) rules: &'a ModelRules,
}

impl ModelList<'_> {
    /// Refuses a request that names a model which is not allowed, or none although it may run one (`runs`): the list could not hold it.
    ///
    /// # Errors
    /// [`Fault::ModelNotAllowed`] or [`Fault::ModelNotNamed`].
    pub(crate) fn check(&self, named: &[Named], runs: bool) -> Result<(), Fault> {
        if self.rules.allows_everything() {
            return Ok(());
        }
        let unnamed = || Fault::ModelNotNamed {
            kind: self.kind,
            name: self.name.clone(),
            allowed: self.rules.to_string().into(),
        };
        if named.is_empty() && runs {
            return Err(unnamed());
        }
        for model in named {
            match model {
                Named::Name(model) => self.check_one(model)?,
                Named::Other => return Err(unnamed()),
            }
        }
        Ok(())
    }

    /// Refuses a model that is not allowed.
    ///
    /// # Errors
    /// [`Fault::ModelNotAllowed`].
    pub(crate) fn check_one(&self, model: &Name) -> Result<(), Fault> {
        if self.rules.allows(model.as_str()) {
            return Ok(());
        }
        Err(Fault::ModelNotAllowed {
            kind: self.kind,
            name: self.name.clone(),
            model: model.clone(),
            allowed: self.rules.to_string().into(),
        })
    }
}

/// Refuses an operation that a key, service or team may not do, and a proxy that it may not come in by.
///
/// # Errors
/// [`Fault::OperationNotAllowed`] or [`Fault::ProxyNotAllowed`].
pub(crate) fn check_call(rules: &AccessRules, call: &Call) -> Result<(), Fault> {
    let (kind, name) = (rules.holder.as_str(), &rules.name);
    // Who comes in by none would get round a list of proxies.
    let by_proxy = match &call.proxy {
        Some(proxy) => rules.proxies.allows(proxy.as_str()),
        None => rules.proxies.allow.iter().any(tollgate_record::ModelGlob::is_everything),
    };
    if !by_proxy {
        return Err(Fault::ProxyNotAllowed {
            kind,
            name: name.clone(),
            proxy: call.proxy.as_ref().map_or("no proxy", Name::as_str).into(),
            allowed: rules.proxies.to_string().into(),
        });
    }
    if !rules.operations.allows(call.operation_name.as_str()) {
        return Err(Fault::OperationNotAllowed {
            kind,
            name: name.clone(),
            operation: call.operation_name.clone(),
            allowed: rules.operations.to_string().into(),
        });
    }
    Ok(())
}

/// Every model that a request names, as the upstream will see it: the one that the client sent with its provider's name before it is `renamed`.
pub(crate) fn named(
    codec: &Codec,
    endpoint: &Endpoint,
    headers: &http::HeaderMap,
    body: &[u8],
    asks: &Request,
    renamed: Option<(&str, &Name)>,
) -> Vec<Named> {
    let mut named = codec.named_models(endpoint, headers, body, asks);
    if let Some((provider, model)) = renamed {
        for one in &mut named {
            let is_sent = matches!(one, Named::Name(sent) if sent.as_str().split_once('/') == Some((provider, model.as_str())));
            if is_sent {
                *one = Named::Name(model.clone());
            }
        }
    }
    if named.is_empty() {
        // The proxy's default stands in no body that the client sent.
        named.extend(asks.model.clone().map(Named::Name));
    }
    named
}

impl<'a> ModelList<'a> {
    /// That of a key, service or team.
    pub(crate) const fn of(rules: &'a AccessRules) -> Self {
        Self {
            kind: rules.holder.as_str(),
            name: &rules.name,
            rules: &rules.models,
        }
    }
}
