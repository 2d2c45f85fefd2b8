//! What documents say of each other's places: teams that do not exist, keys that are in two organisations, proxies that nobody declared.
//!
//! A name of an organisation, team, project or service may stand in a key without being declared, as long as none of its kind is declared.
//! From the first one on, a name that is not declared is a slip. Users are many, and callers may name them, so they need not be declared.

use std::collections::HashMap;

use tollgate_record::rule::Budget;
use tollgate_record::{AccessRules, ModelRules, Name};

use crate::cross::report_missing;
use crate::hierarchy::{Hierarchy, Member, Place};
use crate::load::{Declared, Kind, Resource};
use crate::window;

/// Kinds that need not be declared, and the fields that name them.
const PLACES: [(&str, Kind); 4] = [
    ("org", Kind::Organization),
    ("team", Kind::Team),
    ("project", Kind::Project),
    ("service", Kind::Service),
];

/// Reports contradictions, and if all documents could be read, names that are not declared.
pub(crate) fn check(declared: &[Declared<'_>], complete: bool) {
    report_contradictions(declared);
    report_windows_beyond_retention(declared);
    if complete {
        report_undeclared(declared);
        report_unknown_proxies(declared);
    }
}

/// The hierarchy as far as it could be read.
pub(crate) fn hierarchy(declared: &[Declared<'_>]) -> Hierarchy {
    let mut hierarchy = Hierarchy::default();
    for this in declared {
        if let Some(Resource::Member(member)) = &this.resource {
            hierarchy.insert(this.name.clone(), Member::clone(member));
        }
    }
    hierarchy
}

/// What a document says of places, and below which path.
fn told(resource: &Resource) -> Option<(Place, &'static str)> {
    let place = match resource {
        Resource::Key(key) => Place::of(&key.identity),
        Resource::Member(Member::Team(team)) => Place {
            org: team.org.clone(),
            ..Place::default()
        },
        Resource::Member(Member::Project(project)) => Place {
            team: project.team.clone(),
            ..Place::default()
        },
        Resource::Member(Member::Service(service)) => Place {
            project: service.project.clone(),
            team: service.team.clone(),
            ..Place::default()
        },
        Resource::Member(Member::User(user)) => Place {
            team: user.team.clone(),
            ..Place::default()
        },
        Resource::PriceList(list) => {
            let place = Place {
                org: list.terms.org.clone(),
                team: list.terms.team.clone(),
                ..Place::default()
            };
            return Some((place, "spec.for"));
        }
        _ => return None,
    };
    Some((place, "spec"))
}

fn report_contradictions(declared: &[Declared<'_>]) {
    let hierarchy = hierarchy(declared);
    let by_name: HashMap<(&str, &Name), &Declared<'_>> =
        declared.iter().map(|this| ((this.kind.as_str(), &this.name), this)).collect();
    for this in declared {
        let Some((mut place, below)) = this.resource.as_ref().and_then(told) else {
            continue;
        };
        for contradiction in hierarchy.fill(&mut place) {
            let Some(other) = by_name.get(&(contradiction.kind, &contradiction.name)) else {
                continue;
            };
            let field = contradiction.field;
            let path = format!("{below}.{field}");
            let other = &other.document.place;
            match this.document.root.find(&path) {
                Some(_) => this.document.wrong(
                    &path,
                    format!("contradicts {other}, which is of another {field}: name that one, or leave this out"),
                ),
                // Two of the places that it names say so.
                None => this.document.wrong(
                    below,
                    format!("names places of different {field}s: {other} is of another than the rest"),
                ),
            }
        }
    }
}

fn report_undeclared(declared: &[Declared<'_>]) {
    for (field, kind) in PLACES {
        let known: Vec<&str> = declared
            .iter()
            .filter(|this| this.kind == kind)
            .map(|this| this.name.as_str())
            .collect();
        if known.is_empty() {
            continue;
        }
        for this in declared {
            let Some((place, below)) = this.resource.as_ref().and_then(told) else {
                continue;
            };
            let name = match kind {
                Kind::Organization => place.org,
                Kind::Team => place.team,
                Kind::Project => place.project,
                _ => place.service,
            };
            if let Some(name) = name {
                report_missing(this, &format!("{below}.{field}"), kind.as_str(), name.as_str(), &known);
            }
        }
    }
}

/// Proxies that a list names without a glob must exist: a slip would shut out everyone, or shut out nobody.
fn report_unknown_proxies(declared: &[Declared<'_>]) {
    let known: Vec<&str> = declared
        .iter()
        .filter(|this| this.kind == Kind::Proxy)
        .map(|this| this.name.as_str())
        .collect();
    for this in declared {
        let rules: Option<&AccessRules> = match &this.resource {
            Some(Resource::Key(key)) => key.access.first(),
            Some(Resource::Member(Member::Team(team))) => Some(&team.access),
            Some(Resource::Member(Member::Service(service))) => Some(&service.access),
            _ => None,
        };
        let Some(ModelRules { allow, deny }) = rules.map(|rules| &rules.proxies) else {
            continue;
        };
        for (list, globs) in [("allow", allow), ("deny", deny)] {
            for (index, glob) in globs.iter().enumerate().filter(|(_, glob)| glob.is_exact()) {
                let path = format!("spec.proxies.{list}[{index}]");
                report_missing(this, &path, "LlmProxy", glob.as_str(), &known);
            }
        }
    }
}

/// The counters of a budget are rebuilt from rows, which must be there as long as its window lasts.
fn report_windows_beyond_retention(declared: &[Declared<'_>]) {
    let kept = declared.iter().find_map(|this| match &this.resource {
        Some(Resource::Gateway(gateway)) => gateway.ledger.retention_days,
        _ => None,
    });
    let Some(kept) = kept else { return };
    for this in declared {
        let Some(Resource::Budget(budget)) = &this.resource else {
            continue;
        };
        let Budget { window, .. } = &budget.rule;
        let days = window::days_max(window);
        if days > u64::from(kept) {
            this.document.wrong(
                "spec.window",
                format!(
                    "lasts up to {days}d, and rows are kept for {kept}d (spec.ledger.retention of the Gateway): \
                     what was used would be forgotten before it ends"
                ),
            );
        }
    }
}
