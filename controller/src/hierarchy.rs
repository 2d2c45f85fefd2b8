//! Kinds `Organization`, `Team`, `Project`, `Service` and `User`: the places that calls are charged to, and what is known of each.
//!
//! 1. A service is of a project and a team, a project and a user are of a team, a team is of an organisation; each may leave that open.
//! 2. Who names a declared place is also in the places above it ([`Hierarchy::complete`]), and cannot name others beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_record::{AccessRules, Holder, Identity, ModelRules, Name, Tags};

use crate::field::Fields;
use crate::key::tags;
use crate::names::{self, Names};
use crate::value::Value;

/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3, less its brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// Everything of these kinds that is declared, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// Organisations.
    pub organizations: BTreeMap<Name, Organization>,
    /// Teams.
    pub teams: BTreeMap<Name, Team>,
    /// Projects.
    pub projects: BTreeMap<Name, Project>,
    /// Services and applications.
    pub services: BTreeMap<Name, Service>,
    /// People.
    pub users: BTreeMap<Name, User>,
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// What else is known of it, such as `cost_center`.
    pub attributes: Arc<Tags>,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Organisation that it is of.
    pub org: Option<Name>,
    /// What else is known of it.
    pub attributes: Arc<Tags>,
    /// What its calls may be.
    pub access: AccessRules,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Team that it is of.
    pub team: Option<Name>,
    /// What else is known of it.
    pub attributes: Arc<Tags>,
}

/// A service or application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Project that it is of.
    pub project: Option<Name>,
    /// Team that it is of.
    pub team: Option<Name>,
    /// What else is known of it.
    pub attributes: Arc<Tags>,
    /// What its calls may be.
    pub access: AccessRules,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Address.
    pub email: Option<Box<str>>,
    /// Team, if it is one.
    pub team: Option<Name>,
    /// What else is known of them.
    pub attributes: Arc<Tags>,
}

/// A resource of one of these kinds.
#[derive(Clone)]
pub(crate) enum Member {
    Organization(Organization),
    Team(Team),
    Project(Project),
    Service(Service),
    User(User),
}

/// Where somebody is, as far as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) org: Option<Name>,
    pub(crate) team: Option<Name>,
    pub(crate) project: Option<Name>,
    pub(crate) service: Option<Name>,
    pub(crate) user: Option<Name>,
}

/// Someone is said to be where they cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// What is told twice: `team`, say.
    pub(crate) field: &'static str,
    /// Kind of what tells it otherwise.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: Name,
}

// === impl Hierarchy ===

impl Hierarchy {
    pub(crate) fn insert(&mut self, name: Name, member: Member) {
        match member {
            Member::Organization(organization) => drop(self.organizations.insert(name, organization)),
            Member::Team(team) => drop(self.teams.insert(name, team)),
            Member::Project(project) => drop(self.projects.insert(name, project)),
            Member::Service(service) => drop(self.services.insert(name, service)),
            Member::User(user) => drop(self.users.insert(name, user)),
        }
    }

    /// An identity with what follows from the places that it names. What it names itself stays.
    pub fn complete(&self, identity: &Identity) -> Identity {
        let mut place = Place::of(identity);
        self.fill(&mut place);
        Identity {
            key_id: identity.key_id.clone(),
            org: place.org,
            team: place.team,
            project: place.project,
            service: place.service,
            user: place.user,
        }
    }

    /// What an identity's calls must be allowed by, beside its key; the identity is complete.
    pub fn access(&self, identity: &Identity) -> impl Iterator<Item = &AccessRules> {
        let service = identity.service.as_ref().and_then(|name| self.services.get(name));
        let team = identity.team.as_ref().and_then(|name| self.teams.get(name));
        let service = service.map(|service| &service.access);
        service.into_iter().chain(team.map(|team| &team.access))
    }

    /// Fills in what follows from what is told, from the lowest place to the highest, and says what contradicts it.
    pub(crate) fn fill(&self, place: &mut Place) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut settle = |told: &mut Option<Name>, implied: &Option<Name>, field, kind, name: &Name| match (&told, implied) {
            (_, None) => {}
            (None, Some(_)) => told.clone_from(implied),
            (Some(told), Some(implied)) if told == implied => {}
            (Some(_), Some(_)) => found.push(Contradiction {
                field,
                kind,
                name: name.clone(),
            }),
        };
        if let Some(name) = &place.service
            && let Some(service) = self.services.get(name)
        {
            settle(&mut place.project, &service.project, "project", "Service", name);
            settle(&mut place.team, &service.team, "team", "Service", name);
        }
        if let Some(name) = &place.project
            && let Some(project) = self.projects.get(name)
        {
            settle(&mut place.team, &project.team, "team", "Project", name);
        }
        if let Some(name) = &place.user
            && let Some(user) = self.users.get(name)
        {
            settle(&mut place.team, &user.team, "team", "User", name);
        }
        if let Some(name) = &place.team
            && let Some(team) = self.teams.get(name)
        {
            settle(&mut place.org, &team.org, "org", "Team", name);
        }
        found
    }
}

// === impl Place ===

impl Place {
    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            org: identity.org.clone(),
            team: identity.team.clone(),
            project: identity.project.clone(),
            service: identity.service.clone(),
            user: identity.user.clone(),
        }
    }
}

// === impl Member ===

impl Member {
    pub(crate) fn organization(mut spec: Fields<'_>) -> Option<Self> {
        let attributes = attributes(&mut spec);
        spec.finish();
        Some(Self::Organization(Organization { attributes }))
    }

    pub(crate) fn team(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let org = spec.name("org");
        let attributes = attributes(&mut spec);
        let access = access(Holder::Team, name, &mut spec);
        spec.finish();
        Some(Self::Team(Team {
            org,
            attributes,
            access: access?,
        }))
    }

    pub(crate) fn project(mut spec: Fields<'_>) -> Option<Self> {
        let team = spec.name("team");
        let attributes = attributes(&mut spec);
        spec.finish();
        Some(Self::Project(Project { team, attributes }))
    }

    pub(crate) fn service(name: Name, mut spec: Fields<'_>) -> Option<Self> {
        let (project, team) = (spec.name("project"), spec.name("team"));
        let attributes = attributes(&mut spec);
        let access = access(Holder::Service, name, &mut spec);
        spec.finish();
        Some(Self::Service(Service {
            project,
            team,
            attributes,
            access: access?,
        }))
    }

    pub(crate) fn user(mut spec: Fields<'_>) -> Option<Self> {
        let email = spec.take("email").map_or(Some(None), |value| email(&value).map(Some));
        let team = spec.name("team");
        let attributes = attributes(&mut spec);
        spec.finish();
        Some(Self::User(User {
            email: email?,
            team,
            attributes,
        }))
    }
}

fn attributes(spec: &mut Fields<'_>) -> Arc<Tags> {
    let attributes = spec.take("attributes");
    Arc::new(attributes.map_or_else(Tags::default, |value| tags(&value, "attributes")))
}

fn email(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?;
    let address = &text.resolved;
    let plain = address.len() <= EMAIL_BYTES_MAX && !address.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    let parts = address
        .rsplit_once('@')
        .filter(|(local, host)| !local.is_empty() && !host.is_empty());
    if parts.is_none() || !plain {
        value.wrong(format!("{} is no e-mail address", text.quoted()));
        return None;
    }
    Some(address.as_str().into())
}

/// Reads `models`, `operations` and `proxies`; `None` if any of them is wrong.
pub(crate) fn access(holder: Holder, name: Name, spec: &mut Fields<'_>) -> Option<AccessRules> {
    let mut rules = |of| -> Option<ModelRules> { names::optional(spec, of) };
    let (models, operations, proxies) = (rules(Names::Models), rules(Names::Operations), rules(Names::Proxies));
    Some(AccessRules {
        holder,
        name,
        models: models?,
        operations: operations?,
        proxies: proxies?,
    })
}
