//! Every version of every price list, to rate with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tollgate_record::{Name, PriceList};

use crate::PriceBook;

/// Versions of price lists as of one instant; cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    all: Arc<BTreeMap<Name, Arc<PriceList>>>,
    current: Arc<[Name]>,
    /// Made when they are first asked for.
    chosen: Arc<Mutex<HashMap<String, Arc<Chosen>>>>,
}

/// What calls are rated by: versions of one list or more.
#[derive(Debug)]
pub struct Chosen {
    /// The book of them.
    pub book: PriceBook,
    /// The providers and templates that it prices, each once.
    pub providers: Vec<Name>,
    /// Whether one of the lists has negotiated prices.
    pub negotiated: bool,
    /// The only version, under the name that it was kept by.
    pub version: Option<Name>,
}

/// Stands between versions that price a call together.
const AND: char = '+';

/// Why a text names no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// Nothing has the name.
    #[error(
        "there is no price list, and no version of one, of the name {text:?}; table prices has those that there are: SELECT DISTINCT price_version FROM prices"
    )]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// A list of which none or several versions are in force.
    #[error("price list {text:?} has several versions: name one of {versions}")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The versions.
        versions: String,
    },
}

impl Lists {
    /// All versions by name, and those in force.
    pub fn new(all: BTreeMap<Name, Arc<PriceList>>, current: &[Name]) -> Self {
        Self {
            all: Arc::new(all),
            current: current.into(),
            chosen: Arc::default(),
        }
    }

    /// What the versions of a text price calls by; a text may name several with `+` between them, as a row's `price_version` does where more
    /// than one priced it. A list's name stands for its version that is in force, or its only one.
    ///
    /// # Errors
    /// [`Unlisted`] if a version is not there, or a list has more than one that may be meant.
    pub fn choose(&self, text: &str) -> Result<Arc<Chosen>, Unlisted> {
        if let Some(chosen) = self.chosen.lock().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(Arc::clone(chosen));
        }
        let versions = self.resolve(text)?;
        let lists: Vec<PriceList> = versions
            .iter()
            .filter_map(|version| self.all.get(version))
            .map(|list| list.as_ref().clone())
            .collect();
        let mut providers: Vec<Name> = Vec::new();
        for list in &lists {
            if !providers.contains(&list.provider) {
                providers.push(list.provider.clone());
            }
        }
        let chosen = Arc::new(Chosen {
            negotiated: lists.iter().any(|list| !list.terms.is_empty()),
            book: PriceBook::new(lists),
            providers,
            version: match versions.as_slice() {
                [version] => Some(version.clone()),
                _ => None,
            },
        });
        self.chosen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(text.to_owned(), Arc::clone(&chosen));
        Ok(chosen)
    }

    /// The versions that a text names.
    ///
    /// # Errors
    /// As [`Lists::choose`].
    fn resolve(&self, text: &str) -> Result<Vec<Name>, Unlisted> {
        text.split(AND).map(|part| self.one(part)).collect()
    }

    /// Whether versions, named as in a row, are of lists for one of these providers and templates.
    pub fn are_for(&self, versions: &str, providers: &[Name]) -> bool {
        let mut lists = versions.split(AND).filter_map(|version| self.all.get(version));
        lists.any(|list| providers.contains(&list.provider))
    }

    /// The first of versions, named as in a row, that has negotiated prices.
    pub fn negotiated<'a>(&self, versions: &'a str) -> Option<&'a str> {
        let mut versions = versions.split(AND);
        versions.find(|version| self.all.get(*version).is_some_and(|list| !list.terms.is_empty()))
    }

    fn one(&self, text: &str) -> Result<Name, Unlisted> {
        if let Some((version, _)) = self.all.get_key_value(text) {
            return Ok(version.clone());
        }
        let versions: Vec<&Name> = self
            .all
            .iter()
            .filter(|(_, list)| list.name.as_str() == text)
            .map(|(version, _)| version)
            .collect();
        let in_force: Vec<&Name> = versions
            .iter()
            .copied()
            .filter(|version| self.current.contains(version))
            .collect();
        match (in_force.as_slice(), versions.as_slice()) {
            ([version], _) | ([], [version]) => Ok((*version).clone()),
            (_, []) => Err(Unlisted::Unknown { text: text.to_owned() }),
            _ => Err(Unlisted::Ambiguous {
                text: text.to_owned(),
                versions: versions.iter().map(|version| version.as_str()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Whether both are the same instant's.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.all, &other.all)
    }
}
