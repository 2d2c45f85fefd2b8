//! A call that a price is asked for, and the lists that it is asked of.

use std::collections::HashMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use tollgate_controller::Resources;
use tollgate_record::{Amount, Call, Name, Payer, Timestamp};
use tollgate_usage_store::PriceBook;
use tollgate_usage_store::rating::{Explanation, explain};

use super::SHIPPED;
use super::arguments::Explain;
use super::time;
use super::usage::Used;

/// A call, as the command line or a line of a file tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    provider: String,
    model: String,
    #[serde(default)]
    request_model: Option<String>,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    usage: Option<Used>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    org: Option<String>,
    #[serde(default)]
    team: Option<String>,
}

/// What was asked, and what follows.
pub(crate) struct Answer {
    pub(crate) provider: Name,
    pub(crate) template: Name,
    pub(crate) model: Name,
    pub(crate) at: Timestamp,
    pub(crate) region: Option<Name>,
    pub(crate) service_tier: Option<Name>,
    pub(crate) org: Option<Name>,
    pub(crate) team: Option<Name>,
    /// Whether quantities were told; without them the answer is the model's prices.
    pub(crate) used: bool,
    pub(crate) explanation: Explanation,
}

/// The lists of a configuration and the shipped ones, as books of the providers that were asked for.
pub(crate) struct Books {
    resources: Option<Resources>,
    books: HashMap<String, Book>,
}

struct Book {
    provider: Name,
    template: Name,
    region: Option<Name>,
    book: PriceBook,
}

// === impl Question ===

impl Question {
    /// The call of the command line.
    pub(crate) fn of(arguments: &Explain) -> anyhow::Result<Self> {
        let usage = arguments.usage.as_deref().map(serde_json::from_str).transpose();
        Ok(Self {
            provider: arguments.provider.clone().context("--provider is missing")?,
            model: arguments.model.clone().context("--model is missing")?,
            request_model: arguments.request_model.clone(),
            at: arguments.at.clone(),
            usage: usage.context("--usage")?,
            region: arguments.region.clone(),
            service_tier: arguments.service_tier.clone(),
            org: arguments.org.clone(),
            team: arguments.team.clone(),
        })
    }

    /// Rates it.
    pub(crate) fn answer(self, books: &mut Books) -> anyhow::Result<Answer> {
        let name = |what: &'static str, text: &Option<String>| text.as_deref().map(Name::new).transpose().context(what);
        let model = Name::new(&self.model).context("model")?;
        let request_model = name("request_model", &self.request_model)?;
        let at = self.at.as_deref().map(time::read).transpose().context("at")?;
        let at = at.unwrap_or_else(time::now);
        let used = self.usage.is_some();
        let mut usage = self.usage.unwrap_or_default().usage().context("usage")?;
        usage.service_tier =
            name("service_tier", &self.service_tier)?.filter(|tier| !matches!(tier.as_str(), "standard" | "default"));
        usage.region = name("region", &self.region)?;
        let (org, team) = (name("org", &self.org)?, name("team", &self.team)?);
        let book = books.of(&self.provider)?;
        let call = Call {
            operation_name: Name::new("chat")?,
            proxy: None,
            provider_name: Some(book.provider.clone()),
            template: Some(book.template.clone()),
            upstream: None,
            region: book.region.clone(),
            request_model,
            stream: false,
            route_rule: None,
            cache: None,
        };
        let payer = Payer {
            org: org.as_ref(),
            team: team.as_ref(),
        };
        let explanation = explain(&book.book, &call, payer, Some(&model), &usage, at)
            .with_context(|| format!("a price or a quantity is beyond {} digits", Amount::PRECISION))?;
        Ok(Answer {
            provider: book.provider.clone(),
            template: book.template.clone(),
            model,
            at,
            region: usage.region.or(call.region),
            service_tier: usage.service_tier,
            org,
            team,
            used,
            explanation,
        })
    }
}

// === impl Books ===

impl Books {
    pub(crate) fn new(resources: Option<Resources>) -> Self {
        Self {
            resources,
            books: HashMap::new(),
        }
    }

    fn of(&mut self, provider: &str) -> anyhow::Result<&Book> {
        if !self.books.contains_key(provider) {
            let book = self.make(provider)?;
            self.books.insert(provider.to_owned(), book);
        }
        self.books.get(provider).context("the book was just made")
    }

    fn make(&self, provider: &str) -> anyhow::Result<Book> {
        let declared = self.resources.iter().flat_map(|resources| &resources.providers);
        let declared = declared.into_iter().find(|declared| declared.name.as_str() == provider);
        let template = declared.map_or(provider, |declared| declared.template.as_str());
        let own = self.resources.iter().flat_map(|resources| resources.price_lists.clone());
        let of_call = |name: &str| name == provider || name == template;
        let mut lists: Vec<_> = own.filter(|list| of_call(list.provider.as_str())).collect();
        for shipped in SHIPPED.iter().filter(|list| of_call(list.provider)) {
            lists.push(super::read(shipped)?);
        }
        if lists.is_empty() && declared.is_none() {
            bail!(
                "there are no prices of provider {provider:?} (known here: {})",
                self.known().join(", ")
            );
        }
        Ok(Book {
            provider: Name::new(provider).context("provider")?,
            template: Name::new(template)?,
            region: declared.and_then(crate::wiring::region),
            book: PriceBook::new(lists),
        })
    }

    fn known(&self) -> Vec<&str> {
        let declared = self.resources.iter().flat_map(|resources| &resources.providers);
        let mut known: Vec<_> = declared.map(|declared| declared.name.as_str()).collect();
        known.extend(SHIPPED.iter().map(|list| list.provider));
        known.dedup();
        known
    }
}
