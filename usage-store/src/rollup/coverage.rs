//! Which rows of table `usage` the rollup has, and which files of it a query therefore need not read.
//!
//! A file that a flush wrote says in its name whose rows it has, and up to which place. Of any other file (a compacted one, or one of
//! another program) this is known from Delta's statistics if its rows are of one instance, else from having looked into it once. A file of
//! which it is not known is read: the filter on places then keeps just the rows that the rollup lacks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::BooleanArray;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::prelude::{ident, lit};
use tollgate_record::{Name, Seq};

use crate::Error;
use crate::scan::{Files, Places};
use crate::table::lake::Lake;
use crate::table::name::FileName;
use crate::wal::lock;

/// What is in files whose name does not say: the last place of every instance, by path.
pub(crate) type Seen = Arc<Mutex<HashMap<String, Arc<BTreeMap<String, Seq>>>>>;

/// The place up to which each instance's rows are in the rollup.
#[derive(Clone, Default)]
pub(crate) struct Coverage {
    pub(super) places: Arc<BTreeMap<String, Seq>>,
    pub(super) seen: Seen,
}

impl Coverage {
    /// What the rollup has of every instance that has rows in `usage`, and of `own`.
    ///
    /// # Errors
    /// What the rollup's store says.
    pub(super) async fn read(rolled: &Lake, usage: &Files, seen: Seen, own: Option<&Name>) -> Result<Self, Error> {
        let unplaced = Self {
            places: Arc::default(),
            seen,
        };
        let mut instances: BTreeSet<String> = own.map(Name::to_string).into_iter().collect();
        for file in usage.places() {
            instances.extend(unplaced.content(&file).unwrap_or_default().into_keys());
        }
        let mut places = BTreeMap::new();
        for instance in instances {
            let place = rolled.transaction(&instance).await?;
            if let Some(place) = place.and_then(|place| u64::try_from(place).ok()) {
                places.insert(instance, Seq::new(place));
            }
        }
        Ok(Self {
            places: Arc::new(places),
            ..unplaced
        })
    }

    /// The place up to which the rollup has an instance's rows.
    pub(crate) fn of(&self, instance: &str) -> Seq {
        self.places.get(instance).copied().unwrap_or(Seq::ZERO)
    }

    /// Whose rows a file has, and up to which place; none if that is not known.
    pub(super) fn content(&self, file: &Places<'_>) -> Option<BTreeMap<String, Seq>> {
        if let Some((instance, last)) = FileName::one_instance(file) {
            return Some(BTreeMap::from([(instance, last)]));
        }
        lock(&self.seen).get(file.path).map(|content| content.as_ref().clone())
    }

    /// Whether every file has rows of one gateway only.
    pub(crate) fn is_of_only(&self, usage: &Files, instance: &Name) -> bool {
        let is_its = |content: BTreeMap<String, Seq>| content.keys().all(|name| name == instance.as_str());
        usage.places().all(|file| self.content(&file).is_some_and(is_its))
    }

    fn covers(&self, file: &Places<'_>) -> bool {
        self.content(file)
            .is_some_and(|content| content.iter().all(|(instance, last)| *last <= self.of(instance)))
    }

    /// The files that have, or may have, rows that the rollup lacks; and what must hold of their rows.
    ///
    /// # Errors
    /// What is wrong with the log.
    pub(super) fn lacking(&self, usage: &Files) -> Result<(Option<Files>, Option<Expr>), Error> {
        let kept: BooleanArray = usage.places().map(|file| Some(!self.covers(&file))).collect();
        let files = usage.filtered(&kept)?;
        if files.len() == 0 {
            return Ok((None, None));
        }
        let beyond = self.places.iter().map(|(instance, last)| {
            let last = i64::try_from(last.get()).unwrap_or(i64::MAX);
            ident("instance")
                .not_eq(lit(instance.as_str()))
                .or(ident("seq").gt(lit(last)))
        });
        Ok((Some(files), conjunction(beyond.collect::<Vec<_>>())))
    }
}
