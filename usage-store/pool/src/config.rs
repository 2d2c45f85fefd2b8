//! Where the pool is, and how it is asked.

use std::fmt;
use std::time::Duration;

use tollgate_budget::pool::OnOutage;
use tollgate_record::Name;
use url::Url;

/// Where the pool is, and how it is asked.
#[derive(Clone)]
pub struct Config {
    /// `redis://` or `rediss://` (TLS), or the same of `valkey`: user, password, host, port and number of the database.
    pub url: Url,
    /// What keys begin with: gateways of one table have one.
    pub prefix: String,
    /// Longest time to connect, and longest time for an answer.
    pub timeout: Duration,
    /// How long nothing is granted by a server that is new or has lost what it knew. Gateways are heard four times in it.
    pub grace: Duration,
    /// What happens while the server is out of reach.
    pub on_outage: OnOutage,
    /// This gateway: no other of the same prefix has the name.
    pub instance: Name,
}

impl Config {
    /// Scheme, host and port: what of the address may be shown.
    pub fn address(&self) -> String {
        let host = self.url.host_str().unwrap_or("localhost");
        format!("{}://{host}:{}", self.url.scheme(), self.url.port().unwrap_or(6379))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address())
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .field("on_outage", &self.on_outage)
            .field("instance", &self.instance)
            .finish()
    }
}
