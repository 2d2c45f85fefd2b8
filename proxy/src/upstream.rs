//! A provider, checked, with everything prepared that calls need of it.

use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderName, header};
use tollgate_codec::Codec;
use tollgate_record::Name;
use url::Url;

use crate::Error;
use crate::access::Access;
use crate::headers;
use crate::hosts::{HOSTS_MAX, Host, Hosts};
use crate::provider::{Credential, Provider, Timeouts};
use crate::route::DEFAULT_ROUTE;
use crate::transport::Transport;

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
    /// Its URLs.
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) credential: Option<Credential>,
    pub(crate) key_in_query: bool,
    pub(crate) access: Access,
    pub(crate) timeouts: Timeouts,
    pub(crate) transport: Transport,
}

// === impl Upstream ===

impl Upstream {
    /// Checks a provider.
    pub(crate) fn new(provider: Provider, transport: Transport) -> Result<Self, Error> {
        check_context(&provider.name, &provider.context)?;
        check_access(&provider.name, &provider.access)?;
        let hosts = hosts(&provider)?;
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
            hosts: Arc::new(hosts),
            credential: provider.credential,
            key_in_query: provider.key_in_query,
            access: provider.access,
            timeouts: provider.timeouts,
            transport,
        })
    }
}

/// Checks a path prefix of a provider or proxy.
pub(crate) fn check_context(name: &Name, context: &str) -> Result<(), Error> {
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
        name: name.clone(),
        context: context.to_owned(),
        reason,
    })
}

/// Checks the path rules of a provider or proxy.
pub(crate) fn check_access(name: &Name, access: &Access) -> Result<(), Error> {
    match access.exceptions.iter().find(|exception| !exception.is_well_formed()) {
        None => Ok(()),
        Some(exception) => Err(Error::AccessPath {
            name: name.clone(),
            path: exception.path.clone(),
        }),
    }
}

fn hosts(provider: &Provider) -> Result<Hosts, Error> {
    let count = provider.upstreams.len();
    if !(1..=HOSTS_MAX).contains(&count) {
        return Err(Error::UpstreamCount {
            provider: provider.name.clone(),
            count,
            max: HOSTS_MAX,
        });
    }
    let hosts = provider.upstreams.iter().map(|(url, weight)| host(provider, url, *weight));
    Ok(Hosts::new(hosts.collect::<Result<_, _>>()?, provider.timeouts.connect))
}

fn host(provider: &Provider, url: &Url, weight: u32) -> Result<Host, Error> {
    let refused = |reason| Error::Upstream {
        provider: provider.name.clone(),
        url: without_secrets(url),
        reason,
    };
    if weight == 0 {
        return Err(refused("has no weight"));
    }
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
    Ok(Host {
        address,
        scheme,
        authority,
        base_path: url.path().trim_end_matches('/').into(),
        weight,
    })
}

fn without_secrets(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn is_set_by_the_gateway(header: &HeaderName) -> bool {
    let framing = [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::EXPECT];
    framing.contains(header) || headers::is_hop_by_hop(header) || headers::is_ours(header)
}
