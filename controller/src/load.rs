//! From files to checked resources, or to everything that is wrong with them.
//!
//! 1. Every document is read on its own, as far as it can be.
//! 2. What documents say of each other is checked when all are known ([`crate::cross`]).
//! 3. One problem anywhere and there are no resources: a configuration is taken whole or not at all.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use tollgate_record::limits::ModelLimits;
use tollgate_record::rule::{Budget, RateLimit};
use tollgate_record::{Name, PriceList};

use crate::alert_webhook::AlertWebhook;
use crate::ambiguous;
use crate::budget::{self, Conditional};
use crate::condition::Condition;
use crate::cross;
use crate::exporter::{self, Exporter};
use crate::field::Document;
use crate::gateway::Gateway;
use crate::hierarchy::{Hierarchy, Member};
use crate::interpolate::Resolver;
use crate::key::ApiKey;
use crate::llm_proxy::LlmProxy;
use crate::model_limits;
use crate::places;
use crate::price;
use crate::problem::{Place, Problem, Problems, Report};
use crate::provider::LlmProvider;
use crate::rate_limit;
use crate::source::{self, Fingerprint, References, Source};
use crate::template::{Codec, LlmProviderTemplate};
use crate::yaml::{self, Content, Node, brief};

/// The only `apiVersion`.
const API_VERSION: &str = "tollgate/v1";

/// Everything a configuration declares, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// The process; defaults if none is declared.
    pub gateway: Gateway,
    /// The shipped templates, then those of the configuration.
    pub templates: Vec<LlmProviderTemplate>,
    /// Upstreams, in the order of the documents.
    pub providers: Vec<LlmProvider>,
    /// Contexts over them, in the order of the documents.
    pub proxies: Vec<LlmProxy>,
    /// Gateway keys.
    pub keys: Vec<ApiKey>,
    /// Price lists of the operator's own.
    pub price_lists: Vec<PriceList>,
    /// Organisations, teams, projects, services and users.
    pub hierarchy: Hierarchy,
    /// Budgets, in the order of the documents.
    pub budgets: Vec<Budget>,
    /// Rate limits, in the order of the documents.
    pub rate_limits: Vec<RateLimit>,
    /// Where rows are delivered to, in the order of the documents.
    pub exporters: Vec<Exporter>,
    /// Where alerts of budgets are sent, in the order of the documents.
    pub alert_webhooks: Vec<AlertWebhook>,
    /// Every `when`, which is still to be read as SQL.
    pub conditions: Vec<Condition>,
    /// Limits of models, of the operator's own.
    pub model_limits: Vec<ModelLimits>,
    /// Hash of the files, and of the files they refer to.
    pub fingerprint: Fingerprint,
    /// Files that the configuration refers to.
    pub(crate) referenced: Vec<PathBuf>,
}

/// The kinds of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Gateway,
    Template,
    Provider,
    Proxy,
    Key,
    PriceList,
    Organization,
    Team,
    Project,
    Service,
    User,
    Budget,
    RateLimit,
    ModelLimits,
    Exporter,
    AlertWebhook,
}

const KINDS: &[(&str, Kind)] = &[
    ("Gateway", Kind::Gateway),
    ("LlmProviderTemplate", Kind::Template),
    ("LlmProvider", Kind::Provider),
    ("LlmProxy", Kind::Proxy),
    ("ApiKey", Kind::Key),
    ("PriceList", Kind::PriceList),
    ("Organization", Kind::Organization),
    ("Team", Kind::Team),
    ("Project", Kind::Project),
    ("Service", Kind::Service),
    ("User", Kind::User),
    ("Budget", Kind::Budget),
    ("RateLimit", Kind::RateLimit),
    ("ModelLimits", Kind::ModelLimits),
    ("Exporter", Kind::Exporter),
    ("AlertWebhook", Kind::AlertWebhook),
];

/// A resource, its kind unpacked.
pub(crate) enum Resource {
    Gateway(Box<Gateway>),
    Template(LlmProviderTemplate),
    Provider(Box<LlmProvider>),
    Proxy(Box<LlmProxy>),
    Key(ApiKey),
    PriceList(PriceList),
    Member(Member),
    Budget(Box<Conditional<Budget>>),
    RateLimit(Box<Conditional<RateLimit>>),
    ModelLimits(ModelLimits),
    Exporter(Box<Conditional<Exporter>>),
    AlertWebhook(Box<AlertWebhook>),
}

/// What could be read of a document.
pub(crate) struct Declared<'d> {
    pub(crate) document: &'d Document<'d>,
    pub(crate) kind: Kind,
    /// Known even if the rest is wrong, so that references to it do not dangle.
    pub(crate) name: Name,
    pub(crate) resource: Option<Resource>,
}

/// A load, and what it was made from.
pub(crate) struct Attempt {
    pub(crate) result: Result<Resources, Problems>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) referenced: Vec<PathBuf>,
}

/// Loads a file, or every `*.yaml` and `*.yml` of a folder in the order of their names.
///
/// `environment` resolves `${env:NAME}`. Relative paths inside a file start at its folder, except for `spec.ledger.table`.
///
/// # Errors
/// Everything that is wrong, not only the first thing.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Resources, Problems> {
    attempt(source::read(path), environment).result
}

/// Reads one shipped price list.
///
/// # Errors
/// Everything that is wrong; also if the text has another number of documents than one, or another kind.
pub fn shipped_prices(yaml: &str) -> Result<PriceList, Problems> {
    shipped(yaml, "shipped prices", Kind::PriceList, |resource| match resource {
        Resource::PriceList(list) => Some(list),
        _ => None,
    })
}

/// Reads the shipped limits of one provider's models.
///
/// # Errors
/// Everything that is wrong; also if the text has another number of documents than one, or another kind.
pub fn shipped_limits(yaml: &str) -> Result<ModelLimits, Problems> {
    shipped(yaml, "shipped limits", Kind::ModelLimits, |resource| match resource {
        Resource::ModelLimits(limits) => Some(limits),
        _ => None,
    })
}

/// Reads one document that comes with the gateway.
fn shipped<T>(yaml: &str, label: &str, kind: Kind, of_kind: impl Fn(Resource) -> Option<T>) -> Result<T, Problems> {
    let report = Report::default();
    let resolver = Resolver {
        environment: &|_| None,
        references: Default::default(),
    };
    let source = Source {
        label: Rc::from(label),
        folder: PathBuf::new(),
        bytes: yaml.as_bytes().to_vec(),
    };
    let opened = open(&report, &resolver, std::slice::from_ref(&source));
    let mut found: Vec<T> = Vec::new();
    for document in &opened.documents {
        // What could not be read has been reported.
        if let Some(resource) = read(document, true).and_then(|declared| declared.resource) {
            match of_kind(resource) {
                Some(one) => found.push(one),
                None => document.wrong("kind", format!("is not {}", kind.as_str())),
            }
        }
    }
    if opened.documents.len() > 1 {
        report.add_file(0, &source.label, "has more than one document");
    }
    match (report.into_problems(), found.pop()) {
        (None, Some(one)) => Ok(one),
        (Some(problems), _) => Err(problems),
        (None, None) => Err(no_document(&source.label).into()),
    }
}

/// A price list and where it is declared.
#[derive(Clone, Debug)]
pub struct DeclaredPrices {
    /// The list.
    pub list: PriceList,
    /// File and document.
    pub place: String,
    /// The line of each of its prices, in their order.
    pub lines: Vec<u32>,
    /// The line of each of its adjustments, in their order.
    pub adjustment_lines: Vec<u32>,
}

/// Reads the price lists of a file, or of every `*.yaml` and `*.yml` of a folder. Other documents are passed over, and what they say of each other is not checked.
///
/// # Errors
/// Everything that is wrong with the lists; also if there is none.
pub fn price_lists(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Vec<DeclaredPrices>, Problems> {
    let sources = source::read(path).map_err(Problems::from)?;
    let report = Report::default();
    let resolver = Resolver {
        environment,
        references: Default::default(),
    };
    let opened = open(&report, &resolver, &sources);
    let is_list = |document: &&Document<'_>| {
        let kind = document.root.find("kind").map(|node| &node.content);
        matches!(kind, Some(Content::Scalar { text, .. }) if **text == *Kind::PriceList.as_str())
    };
    let documents = opened.documents.iter().filter(is_list);
    let declared: Vec<Declared<'_>> = documents.filter_map(|document| read(document, false)).collect();
    ambiguous::report(&declared);
    let lists: Vec<DeclaredPrices> = declared
        .into_iter()
        .filter_map(|declared| match declared.resource? {
            Resource::PriceList(list) => Some(DeclaredPrices {
                list,
                place: declared.document.place.to_string(),
                lines: lines(declared.document, "spec.prices"),
                adjustment_lines: lines(declared.document, "spec.adjustments"),
            }),
            _ => None,
        })
        .collect();
    match report.into_problems() {
        Some(problems) => Err(problems),
        None if lists.is_empty() => Err(Problem {
            document: path.display().to_string(),
            path: String::new(),
            reason: "has no document of kind PriceList".to_owned(),
        }
        .into()),
        None => Ok(lists),
    }
}

/// The line of every item of a list.
fn lines(document: &Document<'_>, path: &str) -> Vec<u32> {
    match document.root.find(path).map(|node| &node.content) {
        Some(Content::List(items)) => items.iter().map(|item| item.line).collect(),
        _ => Vec::new(),
    }
}

fn no_document(file: &str) -> Problem {
    Problem {
        document: file.to_owned(),
        path: String::new(),
        reason: "has no document: nothing is declared".to_owned(),
    }
}

/// Loads what was read.
pub(crate) fn attempt(sources: Result<Vec<Source>, Problem>, environment: &dyn Fn(&str) -> Option<String>) -> Attempt {
    let (result, references) = match &sources {
        Ok(sources) => resources(sources, environment),
        Err(problem) => (Err(problem.clone().into()), References::default()),
    };
    let fingerprint = Fingerprint::of(sources.as_deref(), &references);
    let referenced = references.paths();
    let result = result.map(|resources| Resources {
        fingerprint,
        referenced: referenced.clone(),
        ..resources
    });
    Attempt {
        result,
        fingerprint,
        referenced,
    }
}

fn resources(sources: &[Source], environment: &dyn Fn(&str) -> Option<String>) -> (Result<Resources, Problems>, References) {
    let report = Report::default();
    let resolver = Resolver {
        environment,
        references: Default::default(),
    };
    let opened = open(&report, &resolver, sources);
    if opened.documents.is_empty()
        && report.is_empty()
        && let Some(source) = sources.first()
    {
        return (Err(no_document(&source.label).into()), resolver.references.into_inner());
    }
    let read: Vec<Option<Declared<'_>>> = opened.documents.iter().map(|document| read(document, false)).collect();
    let complete = opened.complete && read.iter().all(Option::is_some);
    let declared: Vec<Declared<'_>> = read.into_iter().flatten().collect();
    cross::check(&declared, complete);
    let hierarchy = places::hierarchy(&declared);

    let mut resources = Resources {
        gateway: Gateway::default(),
        templates: LlmProviderTemplate::shipped(),
        providers: Vec::new(),
        proxies: Vec::new(),
        keys: Vec::new(),
        price_lists: Vec::new(),
        hierarchy,
        budgets: Vec::new(),
        rate_limits: Vec::new(),
        exporters: Vec::new(),
        alert_webhooks: Vec::new(),
        conditions: Vec::new(),
        model_limits: Vec::new(),
        fingerprint: Fingerprint::of(Ok(&[]), &References::default()),
        referenced: Vec::new(),
    };
    for resource in declared.into_iter().filter_map(|declared| declared.resource) {
        match resource {
            Resource::Gateway(gateway) => resources.gateway = *gateway,
            Resource::Template(template) => resources.templates.push(template),
            Resource::Provider(provider) => resources.providers.push(*provider),
            Resource::Proxy(proxy) => resources.proxies.push(*proxy),
            Resource::Key(key) => resources.keys.push(key),
            Resource::PriceList(list) => resources.price_lists.push(list),
            Resource::Member(_) => {}
            Resource::Budget(budget) => {
                resources.budgets.push(budget.rule);
                resources.conditions.extend(budget.condition);
            }
            Resource::RateLimit(limit) => {
                resources.rate_limits.push(limit.rule);
                resources.conditions.extend(limit.condition);
            }
            Resource::AlertWebhook(webhook) => resources.alert_webhooks.push(*webhook),
            Resource::ModelLimits(limits) => resources.model_limits.push(limits),
            Resource::Exporter(exporter) => {
                resources.exporters.push(exporter.rule);
                resources.conditions.extend(exporter.condition);
            }
        }
    }
    for key in &mut resources.keys {
        key.settle(&resources.hierarchy);
    }
    drop(opened);
    let references = resolver.references.into_inner();
    match report.into_problems() {
        Some(problems) => (Err(problems), references),
        None => (Ok(resources), references),
    }
}

/// Documents whose YAML could be read.
struct Opened<'a> {
    documents: Vec<Document<'a>>,
    /// Whether that is all of them.
    complete: bool,
}

fn open<'a>(report: &'a Report, resolver: &'a Resolver<'a>, sources: &'a [Source]) -> Opened<'a> {
    let mut nodes_left = yaml::NODES_MAX;
    let mut opened = Opened {
        documents: Vec::new(),
        complete: true,
    };
    for (file_index, source) in sources.iter().enumerate() {
        let text = match std::str::from_utf8(&source.bytes) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("is not UTF-8 text: byte {} cannot be read", error.valid_up_to());
                report.add_file(file_index, &source.label, reason);
                opened.complete = false;
                continue;
            }
        };
        for parsed in yaml::documents(text, &mut nodes_left) {
            let place = Place {
                file_index,
                file: Rc::clone(&source.label),
                number: parsed.number,
                title: parsed.root.as_deref().map(title).unwrap_or_default(),
            };
            opened.complete &= parsed.faults.is_empty();
            for fault in &parsed.faults {
                report.add(&place, fault.line, "", fault.reason.clone());
            }
            let Some(root) = parsed.root else { continue };
            if root.description() == "nothing" {
                report.add(&place, root.line, "", "is empty: remove its ---");
                continue;
            }
            opened.documents.push(Document {
                report,
                resolver,
                place,
                folder: &source.folder,
                root,
            });
        }
    }
    opened
}

/// Kind and name as they are written.
fn title(root: &Node) -> String {
    let written = |path| match root.find(path).map(|node| &node.content) {
        Some(Content::Scalar { text, .. }) => brief(&text.escape_debug().to_string()),
        _ => String::new(),
    };
    [written("kind"), written("metadata.name")].join(" ").trim().to_owned()
}

/// Reads one document. `None` if not even its kind and name are known.
fn read<'d>(document: &'d Document<'d>, shipped: bool) -> Option<Declared<'d>> {
    let mut fields = document.fields()?;
    if let Some(version) = fields.take("apiVersion") {
        version.choice(&[(API_VERSION, ())]);
    }
    let kind = fields.required("kind").and_then(|value| value.choice(KINDS));
    let name = fields.required_map("metadata").and_then(|mut metadata| {
        let value = metadata.required("name");
        // Those are names of rows, which were there before anyone declared them.
        let name = value.and_then(|value| match kind.is_some_and(Kind::is_of_rows) {
            true => value.name(),
            false => value.resource_name(),
        });
        metadata.finish();
        name
    });
    let spec = fields.map("spec");
    fields.finish();
    let kind = kind?;
    // Without a name the spec is still read, for its problems; the name stands in and goes nowhere.
    let known = name
        .clone()
        .unwrap_or_else(|| Name::new("unnamed").expect("a constant that is a name"));
    let resource = match kind {
        Kind::Gateway => Some(Resource::Gateway(Box::new(Gateway::read(known, spec)))),
        Kind::Template => LlmProviderTemplate::read(known, spec).map(Resource::Template),
        Kind::Provider => LlmProvider::read(known, spec).map(Box::new).map(Resource::Provider),
        Kind::Proxy => LlmProxy::read(known, spec).map(Box::new).map(Resource::Proxy),
        Kind::Key => ApiKey::read(known, spec).map(Resource::Key),
        Kind::PriceList => price::read(known, spec, shipped).map(Resource::PriceList),
        Kind::Organization => Member::organization(spec).map(Resource::Member),
        Kind::Team => Member::team(known, spec).map(Resource::Member),
        Kind::Project => Member::project(spec).map(Resource::Member),
        Kind::Service => Member::service(known, spec).map(Resource::Member),
        Kind::User => Member::user(spec).map(Resource::Member),
        Kind::Budget => budget::read(known, spec).map(Box::new).map(Resource::Budget),
        Kind::RateLimit => rate_limit::read(known, spec).map(Box::new).map(Resource::RateLimit),
        Kind::ModelLimits => model_limits::read(known, spec, shipped).map(Resource::ModelLimits),
        Kind::Exporter => exporter::read(known, spec).map(Box::new).map(Resource::Exporter),
        Kind::AlertWebhook => AlertWebhook::read(known, spec).map(Box::new).map(Resource::AlertWebhook),
    };
    Some(Declared {
        document,
        kind,
        name: name?,
        resource,
    })
}

// === impl Kind ===

impl Kind {
    /// Whether its resources are places that rows name, by any name that a row may have.
    fn is_of_rows(self) -> bool {
        matches!(
            self,
            Self::Organization | Self::Team | Self::Project | Self::Service | Self::User
        )
    }

    pub(crate) fn as_str(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

// === impl Resources ===

impl Resources {
    /// A template by its name.
    pub fn template(&self, name: &str) -> Option<&LlmProviderTemplate> {
        self.templates.iter().find(|template| template.name.as_str() == name)
    }

    /// Whether a provider can be reached by `/v1/*`: its codec speaks as OpenAI does.
    pub fn openai_compatible(&self, provider: &LlmProvider) -> bool {
        let codec = self.template(provider.template.as_str()).and_then(LlmProviderTemplate::codec);
        codec.is_some_and(Codec::speaks_openai)
    }

    /// Provider of `/v1/*`: the one the Gateway names, else the first that speaks as OpenAI does.
    pub fn default_provider(&self) -> Option<&LlmProvider> {
        match &self.gateway.default_provider {
            Some(name) => self.providers.iter().find(|provider| provider.name == *name),
            None => self.providers.iter().find(|provider| self.openai_compatible(provider)),
        }
    }
}
