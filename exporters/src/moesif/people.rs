//! Users and companies: what Moesif is told of them, and when.
//!
//! 1. A profile is sent when it is first seen and when it has changed since; what was sent is remembered in memory only, so every profile is
//!    sent once more after a restart. Moesif takes profiles by their id: sending one again changes nothing.
//! 2. A company's profile holds only what stands above it (of a team its organisation), so that two teams do not overwrite each other.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::config::{Config, Identity};
use super::event::{Who, time};
use crate::row::Rows;

/// The most profiles that are remembered as sent; beyond it all are forgotten, and sent again as they are seen.
const REMEMBERED_MAX: usize = 50_000;

/// A user, or a company.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    company_id: Option<String>,
    metadata: BTreeMap<&'static str, String>,
    modified_time: Modified,
}

/// When a profile was last seen to differ: not part of what makes it differ.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
struct Modified(Option<String>);

/// Profiles of a batch that Moesif has not been told of.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) users: Vec<Profile>,
    pub(super) companies: Vec<Profile>,
}

/// What was sent. The lock guards the map alone and is held for a batch's look-ups.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, u64>>);

// === impl News ===

impl News {
    /// The last profile of each user and company in a batch.
    pub(super) fn of(config: &Config, rows: &Rows) -> Self {
        // First the last row of each, then what it says: most rows are of someone who comes again.
        let (mut users, mut companies) = (BTreeMap::new(), BTreeMap::new());
        for row in 0..rows.len() {
            let who = Who::of(config, rows, row);
            if let Some(user) = who.user_id {
                users.insert(user, (row, who.company_id));
            }
            if let Some((identity, company)) = Identity::first(&config.company, rows, row) {
                companies.insert(company, (row, identity));
            }
        }
        let seen = |row| Modified(rows.start_time.get(row).map(|instant| time(instant.unix_us())));
        let user = |(user, (row, company)): (&str, (usize, Option<&str>))| Profile {
            user_id: Some(user.to_owned()),
            company_id: company.map(str::to_owned),
            metadata: above(rows, row, None),
            modified_time: seen(row),
        };
        let company = |(company, (row, identity)): (&str, (usize, &Identity))| Profile {
            user_id: None,
            company_id: Some(company.to_owned()),
            metadata: above(rows, row, Some(identity)),
            modified_time: seen(row),
        };
        Self {
            users: users.into_iter().map(user).collect(),
            companies: companies.into_iter().map(company).collect(),
        }
    }
}

/// What is known of a user (`None`), or what stands above a company.
fn above(rows: &Rows, row: usize, company: Option<&Identity>) -> BTreeMap<&'static str, String> {
    let levels = [
        ("org", &rows.org),
        ("team", &rows.team),
        ("project", &rows.project),
        ("service", &rows.service),
    ];
    let depth = match company {
        None => levels.len(),
        Some(Identity::Org) => 1,
        Some(Identity::Team) => 2,
        Some(Identity::Project) => 3,
        Some(Identity::Service) => 4,
        Some(_) => 0,
    };
    levels
        .into_iter()
        .take(depth)
        .filter_map(|(name, column)| Some((name, column.get(row)?.to_owned())))
        .collect()
}

// === impl Known ===

impl Known {
    /// Leaves those of which nothing new is to be told.
    pub(super) fn unknown(&self, profiles: Vec<Profile>) -> Vec<Profile> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        profiles
            .into_iter()
            .filter(|profile| known.get(profile.id()) != Some(&profile.digest()))
            .collect()
    }

    /// Remembers that these were sent.
    pub(super) fn remember(&self, profiles: &[Profile]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + profiles.len() > REMEMBERED_MAX {
            known.clear();
        }
        known.extend(profiles.iter().map(|profile| (profile.id().to_owned(), profile.digest())));
    }
}

impl Profile {
    fn id(&self) -> &str {
        self.user_id.as_deref().or(self.company_id.as_deref()).unwrap_or_default()
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl PartialEq for Modified {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Modified {}

impl Hash for Modified {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
