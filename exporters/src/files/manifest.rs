//! What a files exporter says of its files: a manifest for each batch, and a head that says which of them count.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use tollgate_record::{Amount, AmountError, Name, Seq};

use crate::rows;

/// How far the files go. A batch counts from when the head names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the last batch whose files are all there.
    pub batch: u64,
    /// Of each gateway, the last row that the files hold.
    pub cursor: BTreeMap<Name, Seq>,
}

/// The files of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The exporter.
    pub exporter: String,
    /// The form of the files.
    pub format: String,
    /// Number of the batch, from 1 without gaps.
    pub batch: u64,
    /// The files.
    pub files: Vec<ManifestFile>,
    /// Rows of table `usage` in all.
    pub rows: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Sum of column `cost` by currency, exact; rows whose cost is not known are not in it.
    pub cost: BTreeMap<String, String>,
    /// Rows whose cost is not known.
    pub rows_without_cost: u64,
    /// What the head says when the batch is complete.
    pub cursor: BTreeMap<Name, Seq>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its path, relative to the place.
    pub path: String,
    /// Rows of table `usage` in it.
    pub rows: u64,
    /// Lines of it: rows, or charges.
    pub lines: u64,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Gateway that wrote the rows.
    pub instance: Name,
    /// Place of the first row.
    pub seq_first: Seq,
    /// Place of the last row.
    pub seq_last: Seq,
    /// Sum of column `cost` by currency.
    pub cost: BTreeMap<String, String>,
}

/// Sums of cost by currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Costs {
    sums: BTreeMap<String, Amount>,
    pub(super) rows_without: u64,
}

// === impl Costs ===

impl Costs {
    pub(super) fn of(rows: &RecordBatch) -> Result<Self, AmountError> {
        let mut costs = Self::default();
        for row in 0..rows.num_rows() {
            match rows::amount(rows, "cost", row) {
                // What costs nothing may have no currency.
                Some(cost) if cost.is_zero() && rows::text(rows, "currency", row).is_none() => {}
                Some(cost) => costs.add(rows::text(rows, "currency", row).unwrap_or_default(), cost)?,
                None => costs.rows_without += 1,
            }
        }
        Ok(costs)
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), AmountError> {
        self.rows_without += other.rows_without;
        other.sums.iter().try_for_each(|(currency, sum)| self.add(currency, *sum))
    }

    fn add(&mut self, currency: &str, cost: Amount) -> Result<(), AmountError> {
        let sum = self.sums.entry(currency.to_owned()).or_default();
        *sum = sum.checked_add(cost)?;
        Ok(())
    }

    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        self.sums
            .iter()
            .map(|(currency, sum)| (currency.clone(), sum.to_string()))
            .collect()
    }
}
