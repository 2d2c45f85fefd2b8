//! A provider as it is configured: where it is, how it is spoken to, and what may be asked of it. [`crate::Snapshot`] checks it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tollgate_codec::Codec;
use tollgate_record::Name;
use url::Url;

use crate::access::Access;
use crate::signature::Signer;

/// A provider, not yet checked.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Name of the resource; stands in rows, and before the `/` of a `provider/model`.
    pub name: Name,
    /// Its dialect.
    pub codec: Codec,
    /// Whether it can be reached by `/v1/*`, that is, speaks OpenAI's dialect.
    pub openai_compatible: bool,
    /// Path prefix by which it is reached, such as `/openai`.
    pub context: String,
    /// `http` or `https` URLs that the rest of the path is appended to, with their shares of the calls: 1 to 16.
    pub upstreams: Vec<(Url, u32)>,
    /// Region of the upstream, where it is known.
    pub region: Option<Name>,
    /// Credential that replaces the gateway key; none for upstreams that ask for none.
    pub credential: Option<Credential>,
    /// Whether its SDKs may send the key as query parameter `key`, which then ends here.
    pub key_in_query: bool,
    /// Which paths may be called.
    pub access: Access,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// PEM file of certificates that are trusted beside the system's, for private upstreams.
    pub extra_roots: Option<PathBuf>,
}

/// What the provider knows the gateway by. It is never logged.
#[derive(Clone)]
pub enum Credential {
    /// A header and its whole value, such as `Bearer sk-...`.
    Header(HeaderName, HeaderValue),
    /// A signature of each request.
    Signature(Signer),
}

/// How long an upstream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name lookup, TCP and TLS together.
    pub connect: Duration,
    /// From handing over the request to the head of the answer, connecting included.
    pub first_byte: Duration,
    /// Between two frames of the answer.
    pub idle: Duration,
}

// === impl Credential ===

impl Credential {
    /// A header and its whole value, such as `Bearer sk-...`.
    pub fn header(name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self::Header(name, value)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name, _) => write!(f, "Credential({name}: ***)"),
            Self::Signature(signer) => write!(f, "Credential({signer:?})"),
        }
    }
}

// === impl Timeouts ===

impl Timeouts {
    /// Default of [`Timeouts::connect`].
    pub const CONNECT: Duration = Duration::from_secs(10);
    /// Default of [`Timeouts::first_byte`]: what official SDKs wait for an answer that is not streamed.
    pub const FIRST_BYTE: Duration = Duration::from_secs(600);
    /// Default of [`Timeouts::idle`].
    pub const IDLE: Duration = Duration::from_secs(300);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Self::CONNECT,
            first_byte: Self::FIRST_BYTE,
            idle: Self::IDLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_never_shown() {
        let value = HeaderValue::from_static("Bearer sk-secret");
        let credential = Credential::header(http::header::AUTHORIZATION, value);
        assert_eq!(format!("{credential:?}"), "Credential(authorization: ***)");
        let Credential::Header(_, value) = credential else {
            panic!("it was made of a header")
        };
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
