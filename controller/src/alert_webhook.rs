//! Kind `AlertWebhook`: where alerts of budgets are sent. Sending them is the exporters' work.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tollgate_record::Name;
use tollgate_record::rule::AlertKind;
use url::Url;

use crate::exporter::Header;
use crate::exporter::destination::{ca, headers};
use crate::field::Fields;
use crate::secret::{Pem, Secret};
use crate::upstream::service_url;
use crate::value::Value;

/// Most secrets of a webhook: the one that is known everywhere, and those that it is on its way to.
const SECRETS_MAX: usize = 4;
/// Most budgets that a webhook names.
const BUDGETS_MAX: usize = 1000;
/// What a secret begins with, by Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes that a secret has, by Standard Webhooks.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const KINDS: [(&str, AlertKind); 3] = [
    (AlertKind::Threshold.as_str(), AlertKind::Threshold),
    (AlertKind::Projected.as_str(), AlertKind::Projected),
    (AlertKind::Anomaly.as_str(), AlertKind::Anomaly),
];

/// Where alerts are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertWebhook {
    /// Its name: what it has taken is kept by it.
    pub name: Name,
    /// Where alerts are posted to.
    pub url: Url,
    /// What they are signed with, each of them; at least one, of the form that Standard Webhooks gives them.
    pub secrets: Vec<Secret>,
    /// Headers that are sent along.
    pub headers: Vec<Header>,
    /// Certificates to trust beside the system's.
    pub ca: Option<Pem>,
    /// Of which budgets; none is all.
    pub budgets: Vec<Name>,
    /// Of which kinds; none is all.
    pub kinds: Vec<AlertKind>,
}

// === impl AlertWebhook ===

impl AlertWebhook {
    /// Reads `spec`; that its budgets are declared is checked when all are known.
    pub(crate) fn read(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let url = spec.required("url");
        let url = url.and_then(|value| service_url(&value, "https://hooks.example.com/alerts", "headers"));
        let secrets = secrets(&mut spec);
        let headers = headers(&mut spec);
        let ca = ca(&mut spec, url.as_ref());
        let budgets = spec.take("budgets").map_or(Some(Vec::new()), |value| budgets(&value));
        let kinds = spec.take("kinds").map_or(Some(Vec::new()), |value| kinds(&value));
        spec.finish();
        Some(Self {
            name,
            url: url?,
            secrets: secrets?,
            headers: headers?,
            ca: ca?,
            budgets: budgets?,
            kinds: kinds?,
        })
    }
}

/// `secret`, or `secrets` while one takes the place of another.
fn secrets(spec: &mut Fields<'_>) -> Option<Vec<Secret>> {
    let (one, several) = (spec.take("secret"), spec.take("secrets"));
    match (one, several) {
        (Some(one), None) => secret(&one).map(|secret| vec![secret]),
        (None, Some(list)) => {
            let wants = format!("needs 1 to {SECRETS_MAX} secrets");
            distinct(&list, SECRETS_MAX, &wants, secret)
        }
        (Some(_), Some(list)) => {
            list.wrong("stands beside secret: keep one of them");
            None
        }
        (None, None) => {
            spec.wrong(
                "secret",
                "is required, or secrets in its stead: receivers tell by it that an alert is the gateway's",
            );
            None
        }
    }
}

fn secret(value: &Value<'_>) -> Option<Secret> {
    let secret = value.header_secret()?;
    let encoded = secret.expose().strip_prefix(SECRET_PREFIX);
    let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    if !bytes.is_some_and(|bytes| SECRET_BYTES.contains(&bytes.len())) {
        value.wrong(format!(
            "is no secret of a webhook: {SECRET_PREFIX} and {} to {} bytes in base64, as `echo {SECRET_PREFIX}$(openssl rand -base64 32)` makes one",
            SECRET_BYTES.start(),
            SECRET_BYTES.end()
        ));
        return None;
    }
    Some(secret)
}

fn budgets(list: &Value<'_>) -> Option<Vec<Name>> {
    let wants = format!("needs 1 to {BUDGETS_MAX} budgets: leave it out, and alerts of all are sent");
    distinct(list, BUDGETS_MAX, &wants, |value| value.name())
}

fn kinds(list: &Value<'_>) -> Option<Vec<AlertKind>> {
    let wants = "needs 1 to 3 kinds: leave it out, and all are sent";
    distinct(list, KINDS.len(), wants, |value| value.choice(&KINDS))
}

/// A list of different things, at least one.
fn distinct<T: PartialEq>(list: &Value<'_>, most: usize, wants: &str, read: impl Fn(&Value<'_>) -> Option<T>) -> Option<Vec<T>> {
    let items = list.items()?;
    let count = items.len();
    if !(1..=most).contains(&count) {
        list.wrong(wants);
        return None;
    }
    let mut found = Vec::with_capacity(count);
    for item in items {
        let Some(one) = read(&item) else { continue };
        if found.contains(&one) {
            item.wrong("stands twice: remove one");
            continue;
        }
        found.push(one);
    }
    (found.len() == count).then_some(found)
}
