//! What documents say of each other: names that stand twice, references that dangle, contexts that overlap, keys that are the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::ambiguous;
use crate::llm_proxy::LlmProxy;
use crate::load::{Declared, Kind, Resource};
use crate::nearest::nearest;
use crate::places;
use crate::provider::{LlmProvider, overlap};
use crate::secret::KeyHash;
use crate::template::{Codec, SHIPPED_TEMPLATES};
use crate::yaml::{Content, brief};

/// Most names that a message lists.
const NAMES_LISTED_MAX: usize = 20;

/// Reports to the documents. Only if all documents could be read does a missing name mean that it is nowhere.
pub(crate) fn check(declared: &[Declared<'_>], complete: bool) {
    report_duplicates(declared);
    report_overlaps(declared);
    report_shared_keys(declared);
    report_default_provider_dialect(declared);
    report_unknown_places_of_defaults(declared);
    ambiguous::report(declared);
    places::check(declared, complete);
    if complete {
        report_dangling(declared);
    }
}

fn report_duplicates(declared: &[Declared<'_>]) {
    let mut seen = HashMap::new();
    let mut gateway: Option<&Declared<'_>> = None;
    for this in declared {
        let at = "metadata.name";
        if this.kind == Kind::Template && SHIPPED_TEMPLATES.iter().any(|(name, _)| this.name == **name) {
            this.document.wrong(
                at,
                "is the name of a shipped template, which cannot be redefined: choose another",
            );
        }
        if this.kind == Kind::Gateway {
            match gateway {
                Some(first) => this
                    .document
                    .wrong("", format!("is a second Gateway beside {}", first.document.place)),
                None => gateway = Some(this),
            }
            continue;
        }
        match seen.entry((this.kind, &this.name)) {
            Entry::Vacant(entry) => {
                entry.insert(this);
            }
            Entry::Occupied(entry) => {
                let first = &entry.get().document.place;
                this.document
                    .wrong(at, format!("names a second {}, beside {first}", this.kind.as_str()));
            }
        }
    }
}

fn providers<'d>(declared: &'d [Declared<'d>]) -> impl Iterator<Item = (&'d Declared<'d>, &'d LlmProvider)> {
    declared.iter().filter_map(|this| match &this.resource {
        Some(Resource::Provider(provider)) => Some((this, &**provider)),
        _ => None,
    })
}

fn proxies<'d>(declared: &'d [Declared<'d>]) -> impl Iterator<Item = (&'d Declared<'d>, &'d LlmProxy)> {
    declared.iter().filter_map(|this| match &this.resource {
        Some(Resource::Proxy(proxy)) => Some((this, &**proxy)),
        _ => None,
    })
}

/// Every context that calls come in by, in the order of the documents.
fn contexts<'d>(declared: &'d [Declared<'d>]) -> impl Iterator<Item = (&'d Declared<'d>, &'d str)> {
    declared.iter().filter_map(|this| match &this.resource {
        Some(Resource::Provider(provider)) => Some((this, provider.context.as_str())),
        Some(Resource::Proxy(proxy)) => Some((this, proxy.context.as_str())),
        _ => None,
    })
}

fn report_overlaps(declared: &[Declared<'_>]) {
    // In the order of their segments a parent stands directly before what is below it, so one look back is enough:
    // what stands between two that overlap is below the first as well.
    let mut by_context: Vec<_> = contexts(declared)
        .enumerate()
        .map(|(order, (this, context))| (context.split('/').collect::<Vec<_>>(), order, this, context))
        .collect();
    by_context.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
    let mut parent: Option<(usize, &Declared<'_>, &str)> = None;
    for (_, order, this, context) in &by_context {
        match parent {
            Some((first_order, first, above)) if overlap(above, context) => {
                let (later, earlier) = if first_order < *order {
                    (*this, first)
                } else {
                    (first, *this)
                };
                let at = "spec.context";
                let reason = format!(
                    "{:?} overlaps {:?} of {}",
                    written(later, at),
                    written(earlier, at),
                    earlier.document.place
                );
                later.document.wrong("spec.context", reason);
            }
            _ => parent = Some((*order, *this, *context)),
        }
    }
}

fn report_shared_keys(declared: &[Declared<'_>]) {
    let mut seen = HashMap::new();
    for this in declared {
        let Some(Resource::Key(key)) = &this.resource else { continue };
        let Some(hash) = key.hash else { continue };
        if let Some(first) = seen.insert(hash, this) {
            let field = if this.document.root.find("spec.value").is_some() {
                "spec.value"
            } else {
                "spec.value_sha256"
            };
            this.document
                .wrong(field, format!("is the same key as that of {}", first.document.place));
            seen.insert(hash, first);
        }
    }
    report_access_key_ids(declared, &seen);
}

/// An access key id is told in every signature: it must be of one key, and must not be a gateway key itself.
fn report_access_key_ids(declared: &[Declared<'_>], keys: &HashMap<KeyHash, &Declared<'_>>) {
    let at = "spec.aws.access_key_id";
    let mut seen: HashMap<&str, &Declared<'_>> = HashMap::new();
    for this in declared {
        let Some(Resource::Key(key)) = &this.resource else { continue };
        let Some(aws) = &key.aws else { continue };
        match seen.entry(&aws.access_key_id) {
            Entry::Occupied(first) => {
                let first = &first.get().document.place;
                this.document
                    .wrong(at, format!("is the same access key id as that of {first}"));
            }
            Entry::Vacant(entry) => {
                entry.insert(this);
            }
        }
        if let Some(holder) = keys.get(&KeyHash::of(&aws.access_key_id)) {
            let reason = format!(
                "is the key of {}: every signature tells it, so choose another",
                holder.document.place
            );
            this.document.wrong(at, reason);
        }
        if aws.secret_access_key.expose() == &*aws.access_key_id {
            let reason = "is the access key id, which every signature tells: choose another";
            this.document.wrong("spec.aws.secret_access_key", reason);
        }
    }
}

/// The codec of every template; `None` for one that describes its messages.
fn codecs<'d>(declared: &'d [Declared<'d>]) -> HashMap<&'d str, Option<Codec>> {
    let shipped = SHIPPED_TEMPLATES.into_iter().map(|(name, codec)| (name, Some(codec)));
    let own = declared.iter().filter_map(|this| match &this.resource {
        Some(Resource::Template(template)) => Some((this.name.as_str(), template.codec())),
        _ => None,
    });
    shipped.chain(own).collect()
}

fn report_default_provider_dialect(declared: &[Declared<'_>]) {
    let codecs = codecs(declared);
    for this in declared {
        let Some(Resource::Gateway(gateway)) = &this.resource else {
            continue;
        };
        let Some(default) = &gateway.default_provider else { continue };
        let compatible = |provider: &LlmProvider| {
            codecs
                .get(provider.template.as_str())
                .is_none_or(|codec| codec.is_some_and(Codec::speaks_openai))
        };
        let incompatible = providers(declared).any(|(_, provider)| provider.name == *default && !compatible(provider));
        if incompatible {
            let reason = "does not speak as OpenAI does, which /v1/* needs: name another provider";
            this.document.wrong("spec.default_provider", reason);
        }
    }
}

/// Defaults need to know where they stand in a request, which descriptions do not tell.
fn report_unknown_places_of_defaults(declared: &[Declared<'_>]) {
    let codecs = codecs(declared);
    for (this, proxy) in proxies(declared) {
        let described = providers(declared).find(|(_, provider)| {
            provider.name == proxy.provider && codecs.get(provider.template.as_str()).is_some_and(Option::is_none)
        });
        let Some((provider, _)) = described else { continue };
        let told = [
            ("spec.defaults.model", proxy.defaults.model.is_some()),
            ("spec.defaults.max_tokens", proxy.defaults.max_tokens.is_some()),
        ];
        for (path, _) in told.into_iter().filter(|(_, is_told)| *is_told) {
            let reason = format!(
                "can be given to no request: template {:?} of provider {:?} describes answers, and does not tell where this stands in a request",
                written(provider, "spec.template"),
                written(provider, "metadata.name")
            );
            this.document.wrong(path, reason);
        }
    }
}

fn report_dangling(declared: &[Declared<'_>]) {
    let names = |kind: Kind| {
        declared
            .iter()
            .filter(move |this| this.kind == kind)
            .map(|this| this.name.as_str())
    };
    let templates: Vec<&str> = SHIPPED_TEMPLATES
        .into_iter()
        .map(|(name, _)| name)
        .chain(names(Kind::Template))
        .collect();
    let providers: Vec<&str> = names(Kind::Provider).collect();
    let budgets: Vec<&str> = names(Kind::Budget).collect();
    let either: Vec<&str> = providers.iter().chain(&templates).copied().collect();
    for this in declared {
        match &this.resource {
            Some(Resource::Provider(provider)) => {
                report_missing(
                    this,
                    "spec.template",
                    "LlmProviderTemplate",
                    provider.template.as_str(),
                    &templates,
                );
            }
            Some(Resource::Proxy(proxy)) => {
                report_missing(this, "spec.provider", "LlmProvider", proxy.provider.as_str(), &providers);
            }
            Some(Resource::PriceList(list)) => {
                report_missing(
                    this,
                    "spec.provider",
                    "LlmProvider or LlmProviderTemplate",
                    list.provider.as_str(),
                    &either,
                );
            }
            Some(Resource::ModelLimits(limits)) => {
                report_missing(
                    this,
                    "spec.provider",
                    "LlmProvider or LlmProviderTemplate",
                    limits.provider.as_str(),
                    &either,
                );
            }
            Some(Resource::AlertWebhook(webhook)) => {
                for (index, budget) in webhook.budgets.iter().enumerate() {
                    report_missing(this, &format!("spec.budgets[{index}]"), "Budget", budget.as_str(), &budgets);
                }
            }
            Some(Resource::Gateway(gateway)) => {
                if let Some(default) = &gateway.default_provider {
                    report_missing(this, "spec.default_provider", "LlmProvider", default.as_str(), &providers);
                }
            }
            _ => {}
        }
    }
}

/// Reports a name that is none of those that are known.
pub(crate) fn report_missing(this: &Declared<'_>, path: &str, what: &str, name: &str, known: &[&str]) {
    if known.contains(&name) {
        return;
    }
    let meant = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("; did you mean {meant}?"),
        None => String::new(),
    };
    let mut listed: Vec<&str> = known.to_vec();
    listed.dedup();
    let more = if listed.len() > NAMES_LISTED_MAX { ", ..." } else { "" };
    listed.truncate(NAMES_LISTED_MAX);
    let listed = if listed.is_empty() {
        "none".to_owned()
    } else {
        listed.join(", ")
    };
    let reason = format!(
        "there is no {what} {:?}{meant} (known here: {listed}{more})",
        written(this, path)
    );
    this.document.wrong(path, reason);
}

/// A field as it is written in the file: what it resolves to is not told.
fn written(this: &Declared<'_>, path: &str) -> String {
    match this.document.root.find(path).map(|node| &node.content) {
        Some(Content::Scalar { text, .. }) => brief(text),
        _ => String::new(),
    }
}
