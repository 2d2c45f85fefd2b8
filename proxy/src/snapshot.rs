//! Providers, proxies and keys: all that can be reloaded. Built whole by a checked constructor, and swapped whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tollgate_record::Name;

use crate::Error;
use crate::key::{Key, Keys};
use crate::llm_proxy::{LlmProxy, Proxied};
use crate::provider::Provider;
use crate::route::DEFAULT_ROUTE;
use crate::transport::{self, Transport, TransportKey};
use crate::upstream::Upstream;

/// Providers, keys and the default route, checked and ready to serve.
#[derive(Debug)]
pub struct Snapshot {
    /// In the order they were given.
    providers: Vec<Arc<Upstream>>,
    /// In the order they were given.
    proxies: Vec<Arc<Proxied>>,
    by_context: HashMap<Box<str>, Served>,
    by_name: HashMap<Name, Arc<Upstream>>,
    context_bytes_max: usize,
    default_provider: Option<Arc<Upstream>>,
    keys: Keys,
    traces_attempts: bool,
}

/// What a context leads to.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// A provider.
    Provider(Arc<Upstream>),
    /// A proxy over one.
    Proxy(Arc<Proxied>),
}

// === impl Snapshot ===

impl Snapshot {
    /// Checks providers and keys. `default_provider` serves `/v1/*`; without a name it is the first that speaks OpenAI's dialect.
    /// Reads the certificate files of providers and of the system.
    ///
    /// # Errors
    /// [`Error`] naming the provider or key that is wrong; nothing is taken over then.
    pub fn new(providers: Vec<Provider>, keys: Vec<Key>, default_provider: Option<&Name>) -> Result<Self, Error> {
        let keys = Keys::new(keys)?;
        let system_roots = transport::system_roots();
        let mut transports: Vec<Transport> = Vec::new();
        let mut snapshot = Self {
            providers: Vec::with_capacity(providers.len()),
            proxies: Vec::new(),
            by_context: HashMap::with_capacity(providers.len()),
            by_name: HashMap::with_capacity(providers.len()),
            context_bytes_max: 0,
            default_provider: None,
            keys,
            traces_attempts: false,
        };
        for provider in providers {
            let key = TransportKey::new(provider.timeouts.connect, provider.extra_roots.as_ref())?;
            let known = transports.iter().find(|transport| *transport.key() == key).cloned();
            let transport = known.unwrap_or_else(|| {
                let transport = Transport::new(key, &system_roots);
                transports.push(transport.clone());
                transport
            });
            snapshot.add(Upstream::new(provider, transport)?)?;
        }
        snapshot.default_provider = match default_provider {
            None => snapshot.providers.iter().find(|provider| provider.openai_compatible).cloned(),
            Some(name) => Some(snapshot.named_default(name)?),
        };
        Ok(snapshot)
    }

    /// Whether spans of calls are exported, so that upstreams are told the span of the attempt as their parent, instead of the caller's.
    #[must_use]
    pub const fn with_traced_attempts(mut self, traced: bool) -> Self {
        self.traces_attempts = traced;
        self
    }

    /// Whether upstreams are told the span of the attempt.
    pub(crate) const fn traces_attempts(&self) -> bool {
        self.traces_attempts
    }

    /// Adds contexts over the providers.
    ///
    /// # Errors
    /// [`Error`] naming the proxy that is wrong.
    pub fn with_proxies(mut self, proxies: Vec<LlmProxy>) -> Result<Self, Error> {
        for proxy in proxies {
            let Some(provider) = self.by_name.get(&proxy.provider) else {
                return Err(Error::UnknownProvider {
                    proxy: proxy.name,
                    provider: proxy.provider,
                });
            };
            let proxy = Arc::new(Proxied::new(proxy, Arc::clone(provider))?);
            self.serve(&proxy.context, Served::Proxy(Arc::clone(&proxy)))?;
            self.proxies.push(proxy);
        }
        Ok(self)
    }

    fn serve(&mut self, context: &str, served: Served) -> Result<(), Error> {
        let second = served.name().clone();
        if let Some(first) = self.by_context.insert(context.into(), served) {
            return Err(Error::DuplicateContext {
                context: context.to_owned(),
                first: first.name().clone(),
                second,
            });
        }
        self.context_bytes_max = self.context_bytes_max.max(context.len());
        Ok(())
    }

    fn add(&mut self, upstream: Upstream) -> Result<(), Error> {
        let upstream = Arc::new(upstream);
        self.serve(&upstream.context, Served::Provider(Arc::clone(&upstream)))?;
        if self.by_name.insert(upstream.name.clone(), Arc::clone(&upstream)).is_some() {
            let name = upstream.name.clone();
            return Err(Error::DuplicateProvider { name });
        }
        self.providers.push(upstream);
        Ok(())
    }

    fn named_default(&self, name: &Name) -> Result<Arc<Upstream>, Error> {
        let reason = match self.by_name.get(name) {
            Some(provider) if provider.openai_compatible => return Ok(Arc::clone(provider)),
            Some(_) => "does not speak OpenAI's dialect",
            None => "does not exist",
        };
        let name = name.clone();
        Err(Error::DefaultProvider { name, reason })
    }

    /// Takes over the connections of a former snapshot, so that a reload does not cost every upstream a new handshake.
    pub(crate) fn adopt_connections(&mut self, former: &Self) {
        let replaced: Vec<_> = self
            .providers
            .iter()
            .map(|provider| {
                let same = |other: &&Arc<Upstream>| other.transport.key() == provider.transport.key();
                if let Some(before) = former.by_name.get(&provider.name) {
                    provider.hosts.adopt(&before.hosts);
                }
                match former.providers.iter().find(same) {
                    None => Arc::clone(provider),
                    Some(other) => Arc::new(Upstream {
                        transport: other.transport.clone(),
                        ..Upstream::clone(provider)
                    }),
                }
            })
            .collect();
        for provider in &replaced {
            let served = Served::Provider(Arc::clone(provider));
            self.by_context.insert(provider.context.clone(), served);
            self.by_name.insert(provider.name.clone(), Arc::clone(provider));
        }
        let default = self.default_provider.take();
        self.default_provider = default.and_then(|provider| self.by_name.get(&provider.name).cloned());
        self.providers = replaced;
        for proxy in &mut self.proxies {
            let Some(provider) = self.by_name.get(&proxy.provider.name) else {
                continue;
            };
            *proxy = Arc::new(proxy.over(Arc::clone(provider)));
            self.by_context
                .insert(proxy.context.clone(), Served::Proxy(Arc::clone(proxy)));
        }
    }

    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn by_context(&self, context: &str) -> Option<&Served> {
        self.by_context.get(context)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.by_name.get(name)
    }

    pub(crate) const fn default_provider(&self) -> Option<&Arc<Upstream>> {
        self.default_provider.as_ref()
    }

    pub(crate) const fn context_bytes_max(&self) -> usize {
        self.context_bytes_max
    }

    /// Every context that can be called, for the one who called another.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = &str> {
        let default = self.default_provider.as_ref().map(|_| DEFAULT_ROUTE);
        default
            .into_iter()
            .chain(self.providers.iter().map(|provider| &*provider.context))
            .chain(self.proxies.iter().map(|proxy| &*proxy.context))
    }

    /// How many URLs of providers rest.
    pub(crate) fn urls_resting(&self, now: Instant) -> usize {
        self.providers.iter().map(|provider| provider.hosts.resting(now)).sum()
    }
}

// === impl Served ===

impl Served {
    /// The provider in the end.
    #[cfg(test)]
    pub(crate) fn provider(&self) -> &Arc<Upstream> {
        match self {
            Self::Provider(provider) => provider,
            Self::Proxy(proxy) => &proxy.provider,
        }
    }

    fn name(&self) -> &Name {
        match self {
            Self::Provider(provider) => &provider.name,
            Self::Proxy(proxy) => &proxy.name,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
pub(crate) mod tests {
    use http::header;
    use tollgate_codec::{Codec, Defaults};
    use tollgate_record::{ModelGlob, ModelRules};
    use url::Url;

    use super::*;
    use crate::access::{Access, Exception};
    use crate::key::tests::key;
    use crate::provider::{Credential, Timeouts};

    pub(crate) fn provider(name: &str, context: &str, upstream: &str) -> Provider {
        Provider {
            name: Name::new(name).unwrap(),
            codec: Codec::openai(),
            openai_compatible: true,
            context: context.to_owned(),
            upstreams: vec![(Url::parse(upstream).unwrap(), 1)],
            region: None,
            credential: None,
            key_in_query: false,
            access: Access::default(),
            timeouts: Timeouts::default(),
            extra_roots: None,
        }
    }

    fn message(provider: Provider) -> String {
        Snapshot::new(vec![provider], vec![], None).unwrap_err().to_string()
    }

    #[test]
    fn bad_contexts_are_refused() {
        for context in ["", "/", "openai", "/openai/", "/v1", "/a//b", "/a/../b", "/a?b", "/%41"] {
            let refused = message(provider("p", context, "http://localhost"));
            assert!(refused.starts_with(&format!("p: context {context:?} ")), "{refused}");
        }
    }

    #[test]
    fn bad_upstreams_are_refused_without_showing_their_password() {
        let refused = message(provider("p", "/p", "https://me:secret@host/x"));
        assert_eq!(
            refused,
            "provider p: upstream https://host/x must not have a user or a password"
        );
        for upstream in ["ftp://host/", "https://host/?x=1", "https://host/#f", "data:text"] {
            assert!(message(provider("p", "/p", upstream)).contains("upstream"), "{upstream}");
        }
    }

    #[test]
    fn names_contexts_and_path_rules_are_checked() {
        let two = |second| Snapshot::new(vec![provider("a", "/a", "http://h"), second], vec![], None).unwrap_err();
        assert!(matches!(
            two(provider("a", "/b", "http://h")),
            Error::DuplicateProvider { .. }
        ));
        assert!(matches!(two(provider("b", "/a", "http://h")), Error::DuplicateContext { .. }));
        let mut wild = provider("w", "/w", "http://h");
        wild.access.exceptions.push(Exception {
            path: "/*/x".to_owned(),
            methods: vec![],
        });
        assert!(matches!(two(wild), Error::AccessPath { .. }));
        let mut host = provider("h", "/h", "http://h");
        host.credential = Some(Credential::header(header::HOST, http::HeaderValue::from_static("x")));
        assert!(matches!(two(host), Error::CredentialHeader { .. }));
    }

    #[test]
    fn the_default_is_the_first_that_speaks_openai() {
        let mut native = provider("native", "/native", "http://h");
        native.openai_compatible = false;
        let providers = || {
            vec![
                native.clone(),
                provider("a", "/a", "http://h"),
                provider("b", "/b", "http://h"),
            ]
        };
        let default = |name: Option<&str>| {
            let name = name.map(|name| Name::new(name).unwrap());
            Snapshot::new(providers(), vec![key("k", "tg-1")], name.as_ref())
        };
        assert_eq!(default(None).unwrap().default_provider().unwrap().name.as_str(), "a");
        assert_eq!(default(Some("b")).unwrap().default_provider().unwrap().name.as_str(), "b");
        assert!(matches!(default(Some("native")), Err(Error::DefaultProvider { .. })));
        assert!(matches!(default(Some("gone")), Err(Error::DefaultProvider { .. })));
    }

    #[test]
    fn paths_are_appended_as_they_were_sent() {
        let snapshot = Snapshot::new(vec![provider("p", "/p", "https://host:8443/api/")], vec![], None).unwrap();
        let uri = snapshot
            .by_context("/p")
            .unwrap()
            .provider()
            .hosts
            .get(0)
            .unwrap()
            .uri("/model/a%3A0/invoke", Some("x=%2F"))
            .unwrap();
        assert_eq!(uri.to_string(), "https://host:8443/api/model/a%3A0/invoke?x=%2F");
    }

    #[test]
    fn a_reload_keeps_connections_that_still_fit() {
        let mut slow = provider("b", "/b", "http://h");
        slow.timeouts.connect = std::time::Duration::from_secs(1);
        let former = Snapshot::new(vec![provider("a", "/a", "http://h")], vec![], None).unwrap();
        let mut next = Snapshot::new(vec![provider("c", "/c", "http://g"), slow], vec![], None).unwrap();
        next.adopt_connections(&former);
        let address = |snapshot: &Snapshot, context: &str| {
            let upstream = snapshot.by_context(context).unwrap().provider();
            std::ptr::from_ref(upstream.transport.key()).addr()
        };
        assert_eq!(address(&next, "/c"), address(&former, "/a"));
        assert_ne!(address(&next, "/b"), address(&former, "/a"));
        assert_eq!(next.default_provider().unwrap().name.as_str(), "c");
        assert_eq!(next.contexts().collect::<Vec<_>>(), ["/v1", "/c", "/b"]);
    }

    fn llm_proxy(name: &str, provider: &str, context: &str) -> LlmProxy {
        LlmProxy {
            name: Name::new(name).unwrap(),
            provider: Name::new(provider).unwrap(),
            context: context.to_owned(),
            models: ModelRules {
                allow: vec![ModelGlob::new("*").unwrap()],
                deny: vec![],
            },
            access: Access::default(),
            defaults: Defaults::default(),
        }
    }

    #[test]
    fn proxies_are_checked_as_providers_are() {
        let with = |proxy| {
            let snapshot = Snapshot::new(vec![provider("p", "/p", "http://h")], vec![], None).unwrap();
            snapshot.with_proxies(vec![proxy]).unwrap_err()
        };
        assert!(matches!(with(llm_proxy("x", "gone", "/x")), Error::UnknownProvider { .. }));
        assert!(matches!(with(llm_proxy("x", "p", "/p")), Error::DuplicateContext { .. }));
        assert!(matches!(with(llm_proxy("x", "p", "/v1")), Error::Context { .. }));
        let mut wild = llm_proxy("x", "p", "/x");
        wild.access.exceptions.push(Exception {
            path: "x".to_owned(),
            methods: vec![],
        });
        assert!(matches!(with(wild), Error::AccessPath { .. }));
    }

    #[test]
    fn a_reload_leads_proxies_to_the_provider_that_kept_its_connections() {
        let of = |context| {
            let snapshot = Snapshot::new(vec![provider("p", "/p", "http://h")], vec![], None).unwrap();
            snapshot.with_proxies(vec![llm_proxy("x", "p", context)]).unwrap()
        };
        let former = of("/x");
        let mut next = of("/y");
        next.adopt_connections(&former);
        let served = next.by_context("/y").unwrap();
        assert!(Arc::ptr_eq(served.provider(), next.by_name("p").unwrap()));
        let key = |snapshot: &Snapshot| std::ptr::from_ref(snapshot.by_name("p").unwrap().transport.key()).addr();
        assert_eq!(key(&next), key(&former));
        assert_eq!(next.contexts().collect::<Vec<_>>(), ["/v1", "/p", "/y"]);
    }
}
