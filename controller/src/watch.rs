//! Notices that a configuration has changed, by its content. No threads and no events of the file system: whoever holds a
//! [`Watch`] asks it every [`Watch::INTERVAL`]. Mounted secrets and network file systems send no events, and content does not lie.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::load::{Resources, attempt};
use crate::problem::Problems;
use crate::source::{self, Fingerprint, References};

/// Looks up an environment variable.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send>;

/// A configuration that is watched.
pub struct Watch {
    path: PathBuf,
    environment: Environment,
    /// What was loaded last, be it good or bad.
    loaded: Fingerprint,
    /// Files that it refers to.
    referenced: Vec<PathBuf>,
    /// Another content that was seen once.
    pending: Option<Fingerprint>,
}

impl Watch {
    /// How often to ask.
    pub const INTERVAL: Duration = Duration::from_secs(2);

    /// Watches what `resources` were loaded from.
    pub fn new(path: &Path, environment: Environment, resources: &Resources) -> Self {
        Self {
            path: path.to_owned(),
            environment,
            loaded: resources.fingerprint,
            referenced: resources.referenced.clone(),
            pending: None,
        }
    }

    /// Loads the configuration if it has changed: a changed content is loaded when it was seen twice in a row, since one
    /// that is still being written may be valid YAML with its end missing. `None` means "nothing new": keep what there is.
    ///
    /// Certificates and `${file:}` count as content. A configuration that is wrong is told once, until it changes again.
    /// Reads files; call it where that may block.
    ///
    /// # Errors
    /// Inside the `Some`: everything that is wrong. Keep the old resources.
    pub fn changed(&mut self) -> Option<Result<Resources, Problems>> {
        let sources = source::read(&self.path);
        let mut references = References::default();
        for path in &self.referenced {
            // A file that cannot be read is part of the fingerprint as such.
            let _read = references.get(path);
        }
        let seen = Fingerprint::of(sources.as_deref(), &references);
        if seen == self.loaded {
            self.pending = None;
            return None;
        }
        if self.pending != Some(seen) {
            self.pending = Some(seen);
            return None;
        }
        let attempt = attempt(sources, &self.environment);
        self.pending = None;
        self.loaded = attempt.fingerprint;
        self.referenced = attempt.referenced;
        Some(attempt.result)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("path", &self.path)
            .field("loaded", &self.loaded)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: &str = "kind: ApiKey\nmetadata: {name: bot}\nspec: {value: \"${file:key}\", team: growth}\n";

    fn watched(folder: &Path) -> Watch {
        let path = folder.join("tollgate.yaml");
        std::fs::write(folder.join("key"), "tg-0123456789abcdef\n").unwrap();
        std::fs::write(&path, KEY).unwrap();
        let resources = crate::load(&path, &|_| None).unwrap();
        Watch::new(&path, Box::new(|_| None), &resources)
    }

    #[test]
    fn nothing_new_is_not_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = watched(folder.path());
        std::fs::write(folder.path().join("tollgate.yaml"), KEY).unwrap();
        assert!(watch.changed().is_none());
        assert!(watch.changed().is_none());
    }

    #[test]
    fn a_change_is_loaded_once_it_is_seen_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = watched(folder.path());
        let path = folder.path().join("tollgate.yaml");
        std::fs::write(&path, KEY.replace("growth", "gro")).unwrap();
        assert!(watch.changed().is_none());
        std::fs::write(&path, KEY.replace("growth", "research")).unwrap();
        assert!(watch.changed().is_none());
        let resources = watch.changed().unwrap().unwrap();
        assert_eq!(
            resources.keys.first().unwrap().identity.team.as_ref().unwrap().as_str(),
            "research"
        );
        assert!(watch.changed().is_none());
    }

    #[test]
    fn a_bad_change_is_told_once_and_a_good_one_follows() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = watched(folder.path());
        let path = folder.path().join("tollgate.yaml");
        std::fs::write(&path, "kind: Nonsense\n").unwrap();
        assert!(watch.changed().is_none());
        assert!(watch.changed().unwrap().is_err());
        assert!(watch.changed().is_none());
        std::fs::remove_file(&path).unwrap();
        assert!(watch.changed().is_none());
        assert!(watch.changed().unwrap().is_err());
        std::fs::write(&path, KEY).unwrap();
        assert!(watch.changed().is_none());
        assert!(watch.changed().unwrap().is_ok());
    }

    #[test]
    fn a_file_that_is_referred_to_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = watched(folder.path());
        std::fs::write(folder.path().join("key"), "tg-fedcba9876543210").unwrap();
        assert!(watch.changed().is_none());
        let resources = watch.changed().unwrap().unwrap();
        assert_eq!(
            resources.keys.first().unwrap().hash,
            Some(crate::KeyHash::of("tg-fedcba9876543210"))
        );
    }
}
