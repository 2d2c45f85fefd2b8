//! What an operator says of Moesif.

use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;
use url::Url;

use crate::client::Tls;
use crate::row::Rows;

/// Moesif's collector.
pub const URL: &str = "https://api.moesif.net";
/// How long a request may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// The name of actions, where calls are sent as actions.
pub const ACTION_NAME: &str = "AI Call";

/// As what calls appear in Moesif.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// API events (`/v1/events/batch`): what Moesif's own plugins send.
    #[default]
    Events,
    /// Actions (`/v1/actions/batch`): billable without counting as API traffic. Never sampled: an action has no weight.
    Actions,
}

/// What becomes of corrections, the rows that take a call's cost back and book another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Corrections {
    /// Actions named `AI Cost Correction`: sums over events and actions are the corrected truth, and no call is counted twice.
    #[default]
    Actions,
    /// Not sent: Moesif keeps what was first booked.
    Leave,
}

/// A column that says who called, or one of its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Column `org`.
    Org,
    /// Column `team`.
    Team,
    /// Column `project`.
    Project,
    /// Column `service`.
    Service,
    /// Column `user_id`.
    User,
    /// Column `agent`.
    Agent,
    /// Column `key_id`.
    Key,
    /// Column `session_id`.
    Session,
    /// An entry of column `tags`.
    Tag(Box<str>),
}

/// No such identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of org, team, project, service, user_id, agent, key_id, session_id and tags.NAME")]
pub struct UnknownIdentity {
    /// What was read.
    pub text: String,
}

/// How calls reach Moesif. Of each list of identities the first that a row has is taken.
#[derive(Clone, Debug)]
pub struct Config {
    /// The collector.
    pub url: Url,
    /// The application's id: a credential, and marked so.
    pub application_id: HeaderValue,
    /// As what calls appear.
    pub shape: Shape,
    /// The name of actions.
    pub action_name: String,
    /// What is sent as `user_id`.
    pub user: Vec<Identity>,
    /// What is sent as `company_id`.
    pub company: Vec<Identity>,
    /// What is sent as `subscription_id`.
    pub subscription: Vec<Identity>,
    /// What is sent as `session_token`.
    pub session: Vec<Identity>,
    /// Whether users and companies are kept up to date.
    pub profiles: bool,
    /// Whether events are sampled as Moesif's configuration says.
    pub sampling: bool,
    /// What becomes of corrections.
    pub corrections: Corrections,
    /// How long a request may take.
    pub timeout: Duration,
    /// Whom to trust.
    pub tls: Tls,
}

// === impl Config ===

impl Config {
    /// The defaults, for an application.
    pub fn new(url: Url, mut application_id: HeaderValue) -> Self {
        application_id.set_sensitive(true);
        Self {
            url,
            application_id,
            shape: Shape::default(),
            action_name: ACTION_NAME.to_owned(),
            user: vec![Identity::User],
            company: vec![Identity::Team, Identity::Org],
            subscription: Vec::new(),
            session: vec![Identity::Session],
            profiles: true,
            sampling: true,
            corrections: Corrections::default(),
            timeout: TIMEOUT,
            tls: Tls::default(),
        }
    }
}

// === impl Identity ===

impl Identity {
    fn of<'a>(&self, rows: &'a Rows, row: usize) -> Option<&'a str> {
        match self {
            Self::Org => rows.org.get(row),
            Self::Team => rows.team.get(row),
            Self::Project => rows.project.get(row),
            Self::Service => rows.service.get(row),
            Self::User => rows.user_id.get(row),
            Self::Agent => rows.agent.get(row),
            Self::Key => rows.key_id.get(row),
            Self::Session => rows.session_id.get(row),
            Self::Tag(name) => rows.tags.get(row).find(|(key, _)| **key == **name).map(|(_, value)| value),
        }
    }

    /// The first of some identities that a row has, and which it is.
    pub(super) fn first<'a, 'b>(identities: &'b [Self], rows: &'a Rows, row: usize) -> Option<(&'b Self, &'a str)> {
        identities
            .iter()
            .find_map(|identity| Some((identity, identity.of(rows, row).filter(|text| !text.is_empty())?)))
    }
}

impl FromStr for Identity {
    type Err = UnknownIdentity;

    fn from_str(text: &str) -> Result<Self, UnknownIdentity> {
        Ok(match text {
            "org" => Self::Org,
            "team" => Self::Team,
            "project" => Self::Project,
            "service" => Self::Service,
            "user_id" => Self::User,
            "agent" => Self::Agent,
            "key_id" => Self::Key,
            "session_id" => Self::Session,
            _ => match text.strip_prefix("tags.") {
                Some(name) if !name.is_empty() => Self::Tag(name.into()),
                _ => return Err(UnknownIdentity { text: text.to_owned() }),
            },
        })
    }
}
