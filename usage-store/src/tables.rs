//! What SQL sees: tables as of one snapshot, and the views over them.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use tollgate_record::BoxFuture;

/// Something that can show its tables as they are at one instant.
///
/// # Guarantees
/// All tables of one answer belong to one snapshot: a row that a flush is moving from memory to the table is seen once.
pub trait Tables: Send + Sync + 'static {
    /// The name and provider of every table, as of now.
    ///
    /// # Errors
    /// What the table's storage says.
    fn snapshot(&self) -> BoxFuture<'_, Result<Vec<(&'static str, Arc<dyn TableProvider>)>, DataFusionError>>;
}

/// Views over the tables: name, meaning, and the query that each stands for.
pub const VIEWS: &[(&str, &str, &str)] = &[(
    "requests",
    "One row per client request: its attempts taken together.",
    "SELECT request_id, min(start_time) AS start_time, max(start_date) AS start_date, count(*) AS attempts, \
     max_by(call_id, attempt) AS call_id, max_by(outcome, attempt) AS outcome, max_by(status_code, attempt) AS status_code, \
     max(team) AS team FROM usage WHERE corrects IS NULL GROUP BY request_id",
)];
