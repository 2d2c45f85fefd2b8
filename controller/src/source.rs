//! The bytes a configuration is made of: its files, and the files these refer to. Every read is bounded.
//!
//! Files are read once per load, so what is checked, hashed and used is the same.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::Problem;

/// Longest configuration file, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Longest file that a resource refers to (`${file:}`, certificates, keys), in bytes.
pub const REFERENCE_BYTES_MAX: u64 = 1 << 20;
/// Most configuration files of a folder.
pub const FILES_MAX: usize = 1000;
/// Most bytes of a folder's files together, and again of the files they refer to.
const TOTAL_BYTES_MAX: u64 = 64 << 20;

/// SHA-256 over all files of a configuration, and the files these refer to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// One configuration file.
pub(crate) struct Source {
    pub(crate) label: Rc<str>,
    /// What relative paths in it start from.
    pub(crate) folder: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// Files that resources refer to, each read once.
#[derive(Default)]
pub(crate) struct References {
    read: BTreeMap<PathBuf, Result<Rc<[u8]>, String>>,
    bytes: u64,
}

/// Reads a file, or every `*.yaml` and `*.yml` of a folder in the order of their names.
pub(crate) fn read(path: &Path) -> Result<Vec<Source>, Problem> {
    let problem = |at: &Path, reason: String| Problem {
        document: at.display().to_string(),
        path: String::new(),
        reason,
    };
    let files = if path.is_dir() {
        let files = list(path).map_err(|error| problem(path, format!("cannot be listed: {error}")))?;
        if files.is_empty() {
            return Err(problem(path, "has no file *.yaml or *.yml".to_owned()));
        }
        if files.len() > FILES_MAX {
            return Err(problem(path, format!("has more than {FILES_MAX} configuration files")));
        }
        files
    } else {
        vec![path.to_owned()]
    };
    let mut total = 0;
    let mut sources = Vec::with_capacity(files.len());
    for file in files {
        let bytes = bounded(&file, FILE_BYTES_MAX).map_err(|reason| problem(&file, reason))?;
        total += bytes.len() as u64;
        if total > TOTAL_BYTES_MAX {
            let reason = format!("the files of the folder have more than {} together", size(TOTAL_BYTES_MAX));
            return Err(problem(path, reason));
        }
        let name = file.file_name().unwrap_or(file.as_os_str());
        sources.push(Source {
            label: name.to_string_lossy().into(),
            folder: file.parent().map(Path::to_owned).unwrap_or_default(),
            bytes,
        });
    }
    Ok(sources)
}

/// Configuration files of a folder, hidden ones (an editor's locks) left out.
fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a regular file of at most `limit` bytes. Others are refused: opening a pipe would wait for its writer.
fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(format!("is longer than {}", size(limit)));
    }
    Ok(bytes)
}

fn size(bytes: u64) -> String {
    crate::quantity::Size(bytes).to_string()
}

// === impl References ===

impl References {
    /// The bytes of a file, or why they cannot be had.
    pub(crate) fn get(&mut self, path: &Path) -> Result<Rc<[u8]>, String> {
        if let Some(known) = self.read.get(path) {
            return known.clone();
        }
        let read: Result<Rc<[u8]>, String> = if self.bytes > TOTAL_BYTES_MAX {
            Err(format!(
                "is not read: the files referred to have more than {} together",
                size(TOTAL_BYTES_MAX)
            ))
        } else {
            bounded(path, REFERENCE_BYTES_MAX).map(Rc::<[u8]>::from)
        };
        self.bytes += read.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.read.insert(path.to_owned(), read.clone());
        read
    }

    /// The files that were asked for.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.read.keys().cloned().collect()
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Hashes the files, or what kept them from being read.
    pub(crate) fn of(sources: Result<&[Source], &Problem>, references: &References) -> Self {
        let mut hash = Sha256::new();
        // Every part is preceded by its length, so that no two configurations share their bytes.
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        match sources {
            Ok(sources) => {
                for source in sources {
                    part(source.label.as_bytes());
                    part(&source.bytes);
                }
            }
            Err(problem) => part(problem.to_string().as_bytes()),
        }
        for (path, read) in &references.read {
            part(path.as_os_str().as_encoded_bytes());
            match read {
                Ok(bytes) => part(bytes),
                Err(reason) => part(reason.as_bytes()),
            }
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
