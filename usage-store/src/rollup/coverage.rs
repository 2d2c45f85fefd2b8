//! Which rows of table `usage` the rollup has, and which files of it a query therefore need not read.
//!
//! A file that a flush wrote says in its name whose rows it has, and up to which place. Of any other file (a compacted one, or one of
//! another program) this is known from Delta's statistics if its rows are of one instance, else from having looked into it once. A file of
//! which it is not known is read: the filter on places then keeps just the rows that the rollup lacks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::{ident, lit};
use tollgate_record::{Name, Seq};

use super::keeper::run;
use crate::Error;
use crate::scan::{Files, Places, Scan};
use crate::schema::usage_schema;
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

    /// Looks into at most so many files of which it is not known whose rows they have. Says whether there were any.
    ///
    /// # Errors
    /// What the table's store says.
    pub(crate) async fn look_into(&self, files: &Files, files_max: usize) -> Result<bool, Error> {
        let unknown: Vec<_> = files
            .places()
            .filter(|file| self.content(file).is_none())
            .map(|file| file.path.to_owned())
            .collect();
        for path in unknown.iter().take(files_max) {
            let file = files.only(|other| other == path)?;
            let scan = Scan::new("usage", &usage_schema(), Some(file), Vec::new());
            let plan = LogicalPlanBuilder::scan("usage", provider_as_source(Arc::new(scan)), None)
                .and_then(|plan| plan.aggregate([ident("instance")], [max(ident("seq"))])?.build())
                .map_err(Error::query)?;
            let mut content = BTreeMap::new();
            for batch in run(plan).await? {
                let names = cast(batch.column(0), &DataType::Utf8)?;
                let places = batch.column(1).as_primitive::<Int64Type>();
                for (name, place) in names.as_string::<i32>().iter().zip(places) {
                    let place = place.and_then(|place| u64::try_from(place).ok()).unwrap_or(u64::MAX);
                    content.insert(name.unwrap_or_default().to_owned(), Seq::new(place));
                }
            }
            lock(&self.seen).insert(path.clone(), Arc::new(content));
        }
        Ok(!unknown.is_empty())
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
