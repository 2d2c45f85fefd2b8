//! Why a gateway cannot be built or a snapshot is refused. What goes wrong with one call is a [`crate::fault::Fault`].

use std::net::SocketAddr;
use std::path::PathBuf;

use tollgate_record::Name;

/// Why the gateway cannot start, or its providers and keys cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}; is another process there? see spec.listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A PEM file cannot be read, or holds no certificate or key.
    #[error("cannot read PEM file {path}: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key make no TLS listener.
    #[error("cannot serve TLS with these certificates")]
    Tls {
        /// What rustls says.
        source: rustls::Error,
    },
    /// A limit is zero.
    #[error("limit {limit} is zero")]
    ZeroLimit {
        /// Name of the limit.
        limit: &'static str,
    },
    /// Two providers have one name.
    #[error("provider {name} stands twice")]
    DuplicateProvider {
        /// The name.
        name: Name,
    },
    /// Two providers or proxies have one context.
    #[error("{first} and {second} both have context {context:?}")]
    DuplicateContext {
        /// The context.
        context: String,
        /// The one that stands first.
        first: Name,
        /// The other.
        second: Name,
    },
    /// A context is no path prefix, or is reserved.
    #[error("{name}: context {context:?} {reason}")]
    Context {
        /// The provider or proxy.
        name: Name,
        /// The context.
        context: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An upstream's URL cannot be called.
    #[error("provider {provider}: upstream {url} {reason}")]
    Upstream {
        /// The provider.
        provider: Name,
        /// The URL, without a password.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A provider has no upstream, or too many.
    #[error("provider {provider} has {count} upstreams, not 1 to {max}")]
    UpstreamCount {
        /// The provider.
        provider: Name,
        /// How many it has.
        count: usize,
        /// How many it may have.
        max: usize,
    },
    /// A proxy's provider does not exist.
    #[error("proxy {proxy}: there is no provider {provider}")]
    UnknownProvider {
        /// The proxy.
        proxy: Name,
        /// The provider.
        provider: Name,
    },
    /// A path rule of access control is none.
    #[error("{name}: path {path:?} must start with / and may have one *, at its end")]
    AccessPath {
        /// The provider or proxy.
        name: Name,
        /// The path.
        path: String,
    },
    /// A provider's credential stands in a header that the gateway itself sets.
    #[error("provider {provider}: the credential cannot be sent in header {header}")]
    CredentialHeader {
        /// The provider.
        provider: Name,
        /// The header.
        header: String,
    },
    /// The default provider does not exist or does not speak OpenAI's dialect.
    #[error("default provider {name} {reason}")]
    DefaultProvider {
        /// The name.
        name: Name,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two keys have one access key id.
    #[error("keys {first} and {second} have the same access key id")]
    DuplicateAccessKeyId {
        /// Name of the key that stands first.
        first: Name,
        /// Name of the other.
        second: Name,
    },
    /// Two keys have one secret.
    #[error("keys {first} and {second} have the same secret")]
    DuplicateKey {
        /// Name of the key that stands first.
        first: Name,
        /// Name of the other.
        second: Name,
    },
}
