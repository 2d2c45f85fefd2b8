//! Kind `Gateway`: the process itself. Every field has a default; a configuration may have one Gateway or none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tollgate_record::Name;

use crate::field::Fields;
use crate::ledger::{Ledger, Query};
use crate::limits::Limits;
use crate::pool::Pool;
use crate::secret::{Pem, certificates};
use crate::value::Value;

/// Name of a gateway that is not declared.
pub const DEFAULT_NAME: &str = "tollgate";
/// Where HTTP calls arrive, if nothing else is said.
pub const DEFAULT_HTTP: SocketAddr = loopback(8080);
/// Where SQL and the REST API are served, if nothing else is said.
pub const DEFAULT_CONTROLLER: SocketAddr = loopback(9090);
/// Where health, readiness and metrics are served, if nothing else is said.
pub const DEFAULT_ADMIN: SocketAddr = loopback(9094);

/// The process: where it listens, what it allows, where its ledger is.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The `instance` of its rows.
    pub name: Name,
    /// Where it listens.
    pub listen: Listen,
    /// Certificate of the HTTPS listener; there if and only if `listen.https` is.
    pub tls: Option<Tls>,
    /// What it allows clients.
    pub limits: Limits,
    /// How calls are made durable.
    pub ledger: Ledger,
    /// What SQL may use.
    pub query: Query,
    /// Through which server it shares budgets with others, if it does.
    pub pool: Option<Pool>,
    /// Provider of `/v1/*`, as declared; see [`crate::Resources::default_provider`].
    pub default_provider: Option<Name>,
}

/// Addresses of the listeners. Port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Calls over HTTP/1.1 and HTTP/2.
    pub http: SocketAddr,
    /// Calls over TLS.
    pub https: Option<SocketAddr>,
    /// SQL and the REST API.
    pub controller: SocketAddr,
    /// Health, readiness and metrics.
    pub admin: SocketAddr,
}

/// Certificate chain and private key of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

// === impl Gateway ===

impl Default for Gateway {
    fn default() -> Self {
        Self {
            name: Name::new(DEFAULT_NAME).expect("a constant that is a name"),
            listen: Listen::default(),
            tls: None,
            limits: Limits::default(),
            ledger: Ledger::default(),
            query: Query::default(),
            pool: None,
            default_provider: None,
        }
    }
}

impl Gateway {
    /// Reads `spec`.
    pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Self {
        let listen = Listen::read(spec.map("listen"));
        let tls = spec.take("tls");
        match (&listen.https, &tls) {
            (Some(_), None) => spec.wrong("tls", "is required, since spec.listen.https is set"),
            (None, Some(tls)) => tls.wrong("is not used: set spec.listen.https, or remove it"),
            _ => {}
        }
        let gateway = Self {
            name,
            tls: tls.and_then(|tls| Tls::read(tls.fields()?)),
            limits: Limits::read(spec.map("limits")),
            ledger: Ledger::read(spec.map("ledger")),
            query: Query::read(spec.map("query")),
            pool: Pool::read(spec.map("budgets")),
            default_provider: spec.name("default_provider"),
            listen,
        };
        spec.finish();
        gateway
    }
}

// === impl Listen ===

impl Default for Listen {
    fn default() -> Self {
        Self {
            http: DEFAULT_HTTP,
            https: None,
            controller: DEFAULT_CONTROLLER,
            admin: DEFAULT_ADMIN,
        }
    }
}

impl Listen {
    fn read(mut fields: Fields<'_>) -> Self {
        let mut listener = |name| {
            let value = fields.take(name)?;
            address(&value, &value.text()?.resolved)
        };
        let listen = Self {
            http: listener("http").unwrap_or(DEFAULT_HTTP),
            https: listener("https"),
            controller: listener("controller").unwrap_or(DEFAULT_CONTROLLER),
            admin: listener("admin").unwrap_or(DEFAULT_ADMIN),
        };
        for name in ["flightsql", "postgres"] {
            if let Some(value) = fields.take(name) {
                value.wrong("is not available in this version: remove it");
            }
        }
        listen.report_clashes(&fields);
        fields.finish();
        listen
    }

    fn report_clashes(&self, fields: &Fields<'_>) {
        let listeners = [
            ("http", Some(self.http)),
            ("https", self.https),
            ("controller", Some(self.controller)),
            ("admin", Some(self.admin)),
        ];
        for (index, (name, address)) in listeners.iter().enumerate() {
            let Some(address) = address else { continue };
            let earlier = listeners.iter().take(index);
            let taken = earlier
                .filter(|(_, taken)| taken.is_some_and(|taken| clash(address, &taken)))
                .map(|(other, _)| other);
            for other in taken {
                fields.wrong(
                    name,
                    format!("clashes with spec.listen.{other}: both cannot have the same port of one address"),
                );
            }
        }
    }
}

/// Whether two sockets cannot be bound at once. An unspecified address takes every address of the machine.
fn clash(left: &SocketAddr, right: &SocketAddr) -> bool {
    let (a, b) = (left.ip(), right.ip());
    left.port() == right.port() && left.port() != 0 && (a == b || a.is_unspecified() || b.is_unspecified())
}

fn address(value: &Value<'_>, text: &str) -> Option<SocketAddr> {
    // A name would have to be looked up, and could have several addresses; this one is always the same.
    let literal = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => text.parse().ok(),
    };
    if literal.is_none() {
        value.wrong("is no IP:PORT, such as 127.0.0.1:8080, 0.0.0.0:8080 (every interface) or [::1]:8080");
    }
    literal
}

// === impl Tls ===

impl Tls {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let certificate = fields
            .required("certificate")
            .and_then(|value| value.pem("certificate", certificates));
        let key = fields
            .required("key")
            .and_then(|value| value.pem("private key", private_keys));
        fields.finish();
        Some(Self {
            certificate: certificate?,
            key: key?,
        })
    }
}

fn private_keys(pem: &[u8]) -> Result<usize, rustls_pki_types::pem::Error> {
    PrivateKeyDer::pem_slice_iter(pem).try_fold(0, |count, key| key.map(|_| count + 1))
}
