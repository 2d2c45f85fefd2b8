//! Providers and keys: all that can be reloaded. Built whole by a checked constructor, and swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use http::header;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, Uri};
use tollgate_codec::Codec;
use tollgate_record::Name;
use url::Url;

use crate::Error;
use crate::access::Access;
use crate::headers;
use crate::key::{Key, Keys};
use crate::provider::{Credential, Provider, Timeouts};
use crate::route::DEFAULT_ROUTE;
use crate::transport::{self, Transport, TransportKey};

/// Providers, keys and the default route, checked and ready to serve.
#[derive(Debug)]
pub struct Snapshot {
    /// In the order they were given.
    providers: Vec<Arc<Upstream>>,
    by_context: HashMap<Box<str>, Arc<Upstream>>,
    by_name: HashMap<Name, Arc<Upstream>>,
    context_bytes_max: usize,
    default_provider: Option<Arc<Upstream>>,
    keys: Keys,
}

/// A provider, checked, with everything prepared that calls need of it.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Name,
    pub(crate) codec: Codec,
    /// Name of the codec's template.
    pub(crate) template: Name,
    pub(crate) openai_compatible: bool,
    pub(crate) context: Box<str>,
    pub(crate) region: Option<Name>,
    /// Host and port, as they stand in rows.
    pub(crate) address: Name,
    pub(crate) credential: Option<Credential>,
    pub(crate) key_in_query: bool,
    pub(crate) access: Access,
    pub(crate) timeouts: Timeouts,
    pub(crate) transport: Transport,
    scheme: Scheme,
    authority: Authority,
    /// Path of the upstream's URL, without a slash at its end.
    base_path: Box<str>,
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
            by_context: HashMap::with_capacity(providers.len()),
            by_name: HashMap::with_capacity(providers.len()),
            context_bytes_max: 0,
            default_provider: None,
            keys,
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

    fn add(&mut self, upstream: Upstream) -> Result<(), Error> {
        let upstream = Arc::new(upstream);
        if let Some(first) = self.by_context.insert(upstream.context.clone(), Arc::clone(&upstream)) {
            return Err(Error::DuplicateContext {
                context: upstream.context.to_string(),
                first: first.name.clone(),
                second: upstream.name.clone(),
            });
        }
        if self.by_name.insert(upstream.name.clone(), Arc::clone(&upstream)).is_some() {
            let name = upstream.name.clone();
            return Err(Error::DuplicateProvider { name });
        }
        self.context_bytes_max = self.context_bytes_max.max(upstream.context.len());
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
            self.by_context.insert(provider.context.clone(), Arc::clone(provider));
            self.by_name.insert(provider.name.clone(), Arc::clone(provider));
        }
        let default = self.default_provider.take();
        self.default_provider = default.and_then(|provider| self.by_name.get(&provider.name).cloned());
        self.providers = replaced;
    }

    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn by_context(&self, context: &str) -> Option<&Arc<Upstream>> {
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
    }
}

// === impl Upstream ===

impl Upstream {
    fn new(provider: Provider, transport: Transport) -> Result<Self, Error> {
        check_context(&provider)?;
        let (scheme, authority, address) = split_url(&provider)?;
        if let Some(exception) = provider
            .access
            .exceptions
            .iter()
            .find(|exception| !exception.is_well_formed())
        {
            return Err(Error::AccessPath {
                provider: provider.name,
                path: exception.path.clone(),
            });
        }
        if let Some(Credential::Header(name, _)) = &provider.credential
            && is_set_by_the_gateway(name)
        {
            return Err(Error::CredentialHeader {
                provider: provider.name,
                header: name.to_string(),
            });
        }
        Ok(Self {
            template: provider.codec.name().clone(),
            name: provider.name,
            codec: provider.codec,
            openai_compatible: provider.openai_compatible,
            context: provider.context.into(),
            region: provider.region,
            address,
            credential: provider.credential,
            key_in_query: provider.key_in_query,
            access: provider.access,
            timeouts: provider.timeouts,
            transport,
            scheme,
            authority,
            base_path: provider.upstream.path().trim_end_matches('/').into(),
        })
    }

    /// Where a call goes: the upstream's URL with the rest of the path appended as it was sent, and the query.
    pub(crate) fn uri(&self, rest: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let query_bytes = query.map_or(0, |query| query.len() + 1);
        let mut target = String::with_capacity(self.base_path.len() + rest.len() + query_bytes);
        target.push_str(&self.base_path);
        target.push_str(rest);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(bytes::Bytes::from(target))?);
        Ok(Uri::from_parts(parts)?)
    }
}

fn check_context(provider: &Provider) -> Result<(), Error> {
    let context = provider.context.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let reason = if !context.starts_with('/') || context.len() < 2 {
        "must start with / and name something"
    } else if context.ends_with('/') {
        "must not end with /"
    } else if context == DEFAULT_ROUTE {
        "is the default route's"
    } else if !context.bytes().all(is_plain) {
        "may have letters, digits, -, ., _, ~ and / only"
    } else if context.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        "has an empty or a dot segment"
    } else {
        return Ok(());
    };
    Err(Error::Context {
        provider: provider.name.clone(),
        context: context.to_owned(),
        reason,
    })
}

fn split_url(provider: &Provider) -> Result<(Scheme, Authority, Name), Error> {
    let url = &provider.upstream;
    let refused = |reason| Error::Upstream {
        provider: provider.name.clone(),
        url: without_secrets(url),
        reason,
    };
    let scheme = match url.scheme() {
        "https" => Scheme::HTTPS,
        "http" => Scheme::HTTP,
        _ => return Err(refused("must be http or https")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("must not have a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("must not have a query or a fragment"));
    }
    let host = url.host_str().ok_or_else(|| refused("has no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| refused("has no port"))?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let authority = Authority::try_from(authority).map_err(|_| refused("has a host that cannot be sent"))?;
    let address = Name::new(&format!("{host}:{port}")).map_err(|_| refused("has too long a host"))?;
    Ok((scheme, authority, address))
}

fn without_secrets(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn is_set_by_the_gateway(header: &HeaderName) -> bool {
    let framing = [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::EXPECT];
    framing.contains(header) || headers::is_hop_by_hop(header) || headers::is_ours(header)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
pub(crate) mod tests {
    use super::*;
    use crate::access::Exception;
    use crate::key::tests::key;

    pub(crate) fn provider(name: &str, context: &str, upstream: &str) -> Provider {
        Provider {
            name: Name::new(name).unwrap(),
            codec: Codec::openai(),
            openai_compatible: true,
            context: context.to_owned(),
            upstream: Url::parse(upstream).unwrap(),
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
            assert!(refused.starts_with(&format!("provider p: context {context:?} ")), "{refused}");
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
            let upstream = snapshot.by_context(context).unwrap();
            std::ptr::from_ref(upstream.transport.key()).addr()
        };
        assert_eq!(address(&next, "/c"), address(&former, "/a"));
        assert_ne!(address(&next, "/b"), address(&former, "/a"));
        assert_eq!(next.default_provider().unwrap().name.as_str(), "c");
        assert_eq!(next.contexts().collect::<Vec<_>>(), ["/v1", "/c", "/b"]);
    }
}
