//! `spec.budgets` of a Gateway: whether gateways share budgets, and through which server.

use std::time::Duration;

use url::Url;

use crate::field::Fields;
use crate::secret::Secret;
use crate::value::Value;

const PREFIX: &str = "tollgate";
const TIMEOUT: Duration = Duration::from_millis(250);
const GRACE: Duration = Duration::from_secs(10);
/// Longest prefix of keys.
const PREFIX_CHARS_MAX: usize = 64;

/// The server through which gateways share budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// A checked URL with scheme `redis`, `rediss`, `valkey` or `valkeys`, which may have a password.
    pub url: Secret,
    /// What its keys begin with.
    pub prefix: Box<str>,
    /// Longest wait for a connection, and for an answer.
    pub timeout: Duration,
    /// How long nothing is granted by a server that is new or has lost its data.
    pub grace: Duration,
    /// What happens while it is out of reach.
    pub on_outage: OnOutage,
}

/// What happens while the server is out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutage {
    /// Calls pass within what the gateway was granted before.
    #[default]
    Leases,
    /// No call under a budget that refuses passes.
    Refuse,
}

impl Pool {
    /// Reads `spec.budgets`.
    pub(crate) fn read(mut fields: Fields<'_>) -> Option<Self> {
        let redis = fields.take("redis");
        fields.finish();
        let mut redis = redis?.fields()?;
        let second = Duration::from_secs(1);
        let outages = [("leases", OnOutage::Leases), ("refuse", OnOutage::Refuse)];
        let url = redis.required("url").and_then(|value| address(&value));
        let pool = Self {
            prefix: redis.take("prefix").and_then(|value| prefix(&value)).unwrap_or(PREFIX.into()),
            timeout: redis.duration("timeout", TIMEOUT, Duration::from_millis(10)..=10 * second),
            grace: redis.duration("grace", GRACE, second..=600 * second),
            on_outage: redis.choice("on_outage", OnOutage::default(), &outages),
            url: url.clone().unwrap_or_else(|| Secret::new("")),
        };
        if url.is_some() && pool.timeout * 4 > pool.grace {
            redis.wrong(
                "grace",
                "is too short: it must be at least four times the timeout, so that every gateway is heard in it",
            );
        }
        redis.finish();
        url.is_some().then_some(pool)
    }
}

/// Not quoted where it is wrong: it may have a password.
fn address(value: &Value<'_>) -> Option<Secret> {
    let text = value.text()?.resolved;
    let parsed = Url::parse(&text).ok().filter(|url| {
        let database = url.path().trim_start_matches('/');
        matches!(url.scheme(), "redis" | "rediss" | "valkey" | "valkeys")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && (database.is_empty() || database.parse::<u16>().is_ok())
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if parsed.is_none() {
        value.wrong(
            "is no URL of a Redis or Valkey server: write redis://HOST:PORT, or rediss://USER:PASSWORD@HOST:PORT/DATABASE for one with TLS",
        );
    }
    parsed.map(|_| Secret::new(&text))
}

fn prefix(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?.resolved;
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':'));
    if text.is_empty() || text.len() > PREFIX_CHARS_MAX || !plain {
        value.wrong(format!(
            "must be 1 to {PREFIX_CHARS_MAX} letters, digits, dots, colons, dashes and underscores"
        ));
        return None;
    }
    Some(Box::from(&*text))
}
