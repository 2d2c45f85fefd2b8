//! The files of a data directory as a kill left them: from them it can be told what the gateway was doing. Nothing of the gateway's code is used.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// Bytes of a segment of the log that holds nothing yet.
const SEGMENT_HEAD_BYTES: u64 = 8;

/// What the names of files begin with that a compaction writes.
const COMPACTION: &str = "compact-";

/// What the name of a file has in it while it is being written.
const UNFINISHED: char = '#';

/// How often the directory is looked at by [`Sight::wait`].
const LOOK: Duration = Duration::from_micros(300);

/// Something that shows in the directory while the gateway works on it, to kill it at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A second segment of the log: a flush has begun.
    Rotation,
    /// A new data file, whole or in part: of a flush or of a compaction.
    File,
    /// A new commit, whole or in part.
    Commit,
    /// A new checkpoint, whole or in part.
    Checkpoint,
}

/// The files that matter.
#[derive(Debug, Default)]
struct Files {
    segments: Vec<PathBuf>,
    /// Data files, those that are still being written included.
    data: Vec<PathBuf>,
    /// Files of the table's log, those that are still being written included.
    log: Vec<PathBuf>,
}

/// What is known of a table from one kill to the next.
#[derive(Debug, Default)]
pub(crate) struct Wreck {
    /// Names of data files that some commit added.
    committed: BTreeSet<String>,
    /// Names of data files that no commit added, and of files that were being written: those that were counted already.
    orphans: BTreeSet<String>,
    /// The last commit that was read.
    version: Option<u64>,
}

impl Files {
    fn list(data: &Path) -> Self {
        let table = data.join("usage");
        let mut files = Self {
            segments: entries(&data.join("wal")),
            log: entries(&table.join("_delta_log")),
            data: Vec::new(),
        };
        files.segments.retain(|path| path.extension() == Some(OsStr::new("wal")));
        files.segments.sort();
        for partition in entries(&table) {
            if name(&partition).starts_with("start_date=") {
                files.data.extend(entries(&partition));
            }
        }
        files
    }

    fn checkpoints(&self) -> usize {
        self.log.iter().filter(|path| name(path).contains(".checkpoint")).count()
    }

    fn seen(&self, sight: Sight) -> usize {
        match sight {
            Sight::Rotation => self.segments.len(),
            Sight::File => self.data.len(),
            Sight::Commit => self.log.len() - self.checkpoints(),
            Sight::Checkpoint => self.checkpoints(),
        }
    }
}

impl Sight {
    /// Waits until there is more of it than there was; at most `limit`. Blocks the thread.
    pub(crate) fn wait(self, data: &Path, limit: Duration) {
        let end = Instant::now() + limit;
        let mut before = Files::list(data).seen(self);
        while Instant::now() < end {
            let now = Files::list(data).seen(self);
            if now > before {
                return;
            }
            // There may be fewer meanwhile: a log that is forgotten, files that are vacuumed.
            before = now;
            std::thread::sleep(LOOK);
        }
    }
}

impl Wreck {
    /// What the gateway was doing when it was killed. Empty if nothing shows.
    pub(crate) fn look(&mut self, data: &Path) -> Vec<&'static str> {
        let files = Files::list(data);
        let newest_commit = self.read_commits(&files.log);
        let (mut written, mut unfinished) = ([false; 2], [false; 2]);
        for path in &files.data {
            let name = name(path);
            let of = usize::from(name.starts_with(COMPACTION));
            if name.contains(UNFINISHED) {
                unfinished[of] |= self.orphans.insert(name);
            } else if !self.committed.contains(&name) {
                written[of] |= self.orphans.insert(name);
            }
        }
        let mut phases = Vec::new();
        if unfinished[0] {
            phases.push("flush: a data file was being written");
        } else if written[0] {
            phases.push("flush: a data file was written, and not committed");
        } else if files.segments.len() > 1 {
            let begun = files.segments.last().and_then(|path| fs::metadata(path).ok()?.created().ok());
            phases.push(if newest_commit > begun {
                "flush: it was committed, and the log not yet forgotten"
            } else {
                "flush: the log was rotated, and no data file begun"
            });
        }
        if unfinished[1] {
            phases.push("compaction: a data file was being written");
        } else if written[1] {
            phases.push("compaction: a data file was written, and not committed");
        }
        let newest = files.segments.last().and_then(|path| fs::metadata(path).ok());
        if newest.is_some_and(|file| file.len() <= SEGMENT_HEAD_BYTES) {
            phases.push("rotation: the newest segment held nothing yet");
        }
        let mut fresh: Vec<String> = files.log.iter().map(|path| name(path)).collect();
        fresh.retain(|name| name.contains(UNFINISHED) && self.orphans.insert(name.clone()));
        if fresh.iter().any(|name| name.contains(".checkpoint")) {
            phases.push("checkpoint: it was being written");
        } else if !fresh.is_empty() {
            phases.push("commit: it was being written");
        }
        let last = |path: &PathBuf| name(path).split('.').next().and_then(|number| number.parse::<u64>().ok());
        let checkpoint = files.log.iter().filter(|path| name(path).ends_with(".checkpoint.parquet"));
        let checkpoint = checkpoint.filter_map(last).max();
        let announced = fs::read(data.join("usage/_delta_log/_last_checkpoint"));
        let announced = announced
            .ok()
            .and_then(|text| serde_json::from_slice::<Value>(&text).ok()?["version"].as_u64());
        if checkpoint > announced {
            phases.push("checkpoint: it was written, and not announced");
        }
        phases
    }

    /// Reads the commits since the last time; returns when the newest was written.
    fn read_commits(&mut self, log: &[PathBuf]) -> Option<SystemTime> {
        let mut newest = None;
        for path in log {
            let Some(version) = name(path).strip_suffix(".json").and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            newest = newest.max(Some((version, path)));
            if self.version.is_some_and(|read| version <= read) {
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            for action in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                if let Some(added) = action["add"]["path"].as_str() {
                    self.committed.insert(name(Path::new(added)));
                }
            }
        }
        let (version, path) = newest?;
        self.version = Some(version);
        fs::metadata(path).ok()?.modified().ok()
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    // A folder may not be there yet, and a file may go while it is listed.
    let Ok(all) = fs::read_dir(folder) else { return Vec::new() };
    all.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
