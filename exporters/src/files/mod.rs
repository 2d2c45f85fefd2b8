//! Files: hourly or daily Parquet, CSV, NDJSON or FOCUS in a directory or a bucket.
//!
//! Each row is in the files once:
//! 1. The head (`_tollgate/EXPORTER/head.json`) says up to which row of each gateway the files go. Rows up to there are not written again, wherever the
//!    exporter's own cursor stands.
//! 2. A batch is written in this order: its manifest (`_tollgate/EXPORTER/manifest/N.json`), its files, the head, which then counts it. Each is there whole
//!    or not at all.
//! 3. A batch that was cut off is written again from the same row on. Files are named by their first row, so the same names come out whatever else has
//!    become of the batch, and those which the manifest of the cut one names beside are deleted before.
//!
//! A file holds rows of one gateway that started in one hour or day. A call that is written late makes another file of its hour: no file is opened again.

mod encode;
mod focus;
mod manifest;
mod place;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tollgate_record::{BoxFuture, Name, Seq, Timestamp};

use self::encode::{EncodeError, Encoded};
use self::manifest::Costs;
use self::template::Facts;
use crate::{Delivery, Destination, rows};

pub use encode::Format;
pub use focus::COLUMNS as FOCUS_COLUMNS;
pub use manifest::{Head, Manifest, ManifestFile};
pub use place::{Bucket, Folder, Place, PlaceError};
pub use template::{Period, Template, TemplateError};

/// What files hold and how they are named.
#[derive(Clone, Debug)]
pub struct Config {
    /// The exporter: two that write to one place have two names.
    pub exporter: Name,
    /// The form of files.
    pub format: Format,
    /// Their paths.
    pub template: Template,
    /// The most rows of a batch; a file has no more.
    pub rows_max: usize,
}

/// A place for files.
pub struct Files {
    config: Config,
    place: Arc<dyn Place>,
    /// Held while a batch is written: one at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` until it was read.
    head: Option<Head>,
    /// Whether the batch behind the head is known not to have been begun.
    clean: bool,
}

/// Files of a batch, made and not yet written.
struct Plan {
    manifest: Manifest,
    files: Vec<(String, Bytes)>,
}

/// Why a batch is not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("{path} cannot be read: {reason}; restore it, or delete it and all files of this exporter to have them written again")]
    Damaged { path: String, reason: String },
    #[error("failed to make a file of rows: {0}")]
    Encode(#[from] EncodeError),
    #[error("failed to make a file of rows: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

// === impl Config ===

impl Config {
    /// Default of [`Config::rows_max`].
    pub const ROWS_MAX: usize = 100_000;
}

// === impl Files ===

impl Files {
    /// Files at a place. Nothing is read or written yet.
    pub fn new(config: Config, place: Arc<dyn Place>) -> Self {
        Self {
            config,
            place,
            state: Mutex::default(),
        }
    }

    async fn write(&self, rows: &RecordBatch) -> Result<(), WriteError> {
        let mut state = self.state.lock().await;
        let head = match &state.head {
            Some(head) => head.clone(),
            None => self.read(&self.head_path()).await?.unwrap_or_default(),
        };
        state.head = Some(head.clone());
        let config = self.config.clone();
        let (given, from) = (rows.clone(), head.clone());
        let plan = tokio::task::spawn_blocking(move || Plan::new(&config, &given, &from)).await??;
        let Some(plan) = plan else { return Ok(()) };

        let manifest_path = self.manifest_path(plan.manifest.batch);
        if !state.clean {
            self.clear(&manifest_path, &plan).await?;
        }
        state.clean = false;
        self.place.put(&manifest_path, encoded(&plan.manifest)).await?;
        for (path, content) in plan.files {
            self.place.put(&path, content).await?;
        }
        let head = Head {
            batch: plan.manifest.batch,
            cursor: plan.manifest.cursor,
        };
        self.place.put(&self.head_path(), encoded(&head)).await?;
        *state = State {
            head: Some(head),
            clean: true,
        };
        Ok(())
    }

    /// Deletes what a batch that was cut off may have left, but for what is written now.
    async fn clear(&self, manifest_path: &str, plan: &Plan) -> Result<(), WriteError> {
        let cut: Option<Manifest> = self.read(manifest_path).await?;
        let kept: BTreeSet<_> = plan.files.iter().map(|(path, _)| path).collect();
        for file in cut.into_iter().flat_map(|manifest| manifest.files) {
            if !kept.contains(&file.path) {
                self.place.delete(&file.path).await?;
            }
        }
        Ok(())
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, WriteError> {
        let content = self.place.get(path).await?;
        let read = content.map(|content| serde_json::from_slice(&content)).transpose();
        read.map_err(|error| WriteError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    fn head_path(&self) -> String {
        format!("_tollgate/{}/head.json", self.config.exporter)
    }

    fn manifest_path(&self, batch: u64) -> String {
        format!("_tollgate/{}/manifest/{batch:010}.json", self.config.exporter)
    }
}

impl Destination for Files {
    fn rows_max(&self) -> usize {
        self.config.rows_max
    }

    fn deliver<'a>(&'a self, rows: &'a RecordBatch) -> BoxFuture<'a, Delivery> {
        Box::pin(async move {
            match self.write(rows).await {
                Ok(()) => Delivery::Accepted,
                Err(WriteError::Place(error)) if !error.stuck => Delivery::Retry {
                    after: None,
                    reason: error.to_string(),
                },
                Err(WriteError::Encode(error)) => Delivery::Invalid {
                    answer: error.to_string(),
                },
                Err(error) => Delivery::Stuck {
                    reason: error.to_string(),
                },
            }
        })
    }

    /// The text of a file; of Parquet, its rows as NDJSON.
    fn preview(&self, rows: &RecordBatch) -> Option<String> {
        let format = if self.config.format == Format::Parquet {
            Format::Ndjson
        } else {
            self.config.format
        };
        String::from_utf8(format.encode(rows).ok()?.bytes.to_vec()).ok()
    }
}

// === impl Plan ===

impl Plan {
    /// The files of the rows behind the head; `None` if there are none.
    fn new(config: &Config, rows: &RecordBatch, head: &Head) -> Result<Option<Self>, EncodeError> {
        let period = config.template.period();
        let mut groups: BTreeMap<(Name, Timestamp), Vec<u32>> = BTreeMap::new();
        let mut cursor = head.cursor.clone();
        for row in 0..rows.num_rows() {
            let (Some((instance, seq)), Some(start)) = (rows::place(rows, row), rows::instant(rows, "start_time", row)) else {
                continue;
            };
            // Against the head as it was: a batch may not have its rows in order.
            if head.cursor.get(&instance).is_some_and(|last| seq <= *last) {
                continue;
            }
            let last = cursor.entry(instance.clone()).or_insert(Seq::ZERO);
            *last = (*last).max(seq);
            let row = u32::try_from(row).map_err(|_| arrow::error::ArrowError::OffsetOverflowError(row))?;
            groups.entry((instance, period.start(start))).or_default().push(row);
        }
        if groups.is_empty() {
            return Ok(None);
        }
        let mut plan = Self {
            manifest: Manifest {
                exporter: config.exporter.to_string(),
                format: config.format.as_str().to_owned(),
                batch: head.batch + 1,
                files: Vec::new(),
                rows: 0,
                bytes: 0,
                cost: BTreeMap::new(),
                rows_without_cost: 0,
                cursor,
            },
            files: Vec::new(),
        };
        let mut costs = Costs::default();
        for ((instance, period_start), places) in groups {
            let part = take_record_batch(rows, &UInt32Array::from(places))?;
            let of_part = Costs::of(&part)?;
            costs.merge(&of_part)?;
            plan.add(config, &part, &instance, period_start, &of_part)?;
        }
        plan.manifest.cost = costs.texts();
        plan.manifest.rows_without_cost = costs.rows_without;
        Ok(Some(plan))
    }

    fn add(
        &mut self,
        config: &Config,
        part: &RecordBatch,
        instance: &Name,
        period_start: Timestamp,
        costs: &Costs,
    ) -> Result<(), EncodeError> {
        let Encoded { bytes, lines } = config.format.encode(part)?;
        let seqs = || {
            (0..part.num_rows())
                .filter_map(|row| rows::int(part, "seq", row))
                .filter_map(|seq| u64::try_from(seq).ok())
        };
        let (first, last) = (seqs().min().unwrap_or_default(), seqs().max().unwrap_or_default());
        let facts = Facts {
            exporter: config.exporter.as_str(),
            instance: instance.as_str(),
            period_start,
            seq: first,
            ext: config.format.ext(),
        };
        self.manifest.rows += part.num_rows() as u64;
        // Calls without a charge make no file of FOCUS; the manifest counts them.
        if lines == 0 {
            return Ok(());
        }
        let path = config.template.path(&facts);
        self.manifest.bytes += bytes.len() as u64;
        self.manifest.files.push(ManifestFile {
            path: path.clone(),
            rows: part.num_rows() as u64,
            lines: lines as u64,
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
            instance: instance.clone(),
            seq_first: Seq::new(first),
            seq_last: Seq::new(last),
            cost: costs.texts(),
        });
        self.files.push((path, bytes));
        Ok(())
    }
}

fn encoded(value: &impl Serialize) -> Bytes {
    serde_json::to_vec_pretty(value).expect("it has text keys only").into()
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
