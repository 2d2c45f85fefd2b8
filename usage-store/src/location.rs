//! Where a table lies: its URL, and the object store behind it.

use std::path::Path;
use std::sync::Arc;

use deltalake_core::{DeltaTable, DeltaTableBuilder};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::Error;

/// Where a table lies.
#[derive(Clone, Debug)]
pub struct Location {
    url: Url,
    /// The store whose root the URL's path starts at.
    root: Arc<dyn ObjectStore>,
}

impl Location {
    /// A location in a store of one's own; the URL's path names the folder in it.
    pub fn new(url: Url, root: Arc<dyn ObjectStore>) -> Self {
        Self { url, root }
    }

    /// Reads a configured location: `file:PATH`, relative or absolute.
    ///
    /// # Errors
    /// [`Error::Location`] if the scheme is another or the path cannot be made absolute.
    pub fn parse(location: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Location {
            location: location.to_owned(),
            reason: reason.to_owned(),
        };
        let path = location
            .strip_prefix("file:")
            .ok_or_else(|| refuse("this version keeps tables in files; write file:PATH"))?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = std::path::absolute(Path::new(path)).map_err(|error| refuse(&error.to_string()))?;
        let url = Url::from_directory_path(&path).map_err(|()| refuse("the path cannot be written as a URL"))?;
        Ok(Self::new(url, Arc::new(LocalFileSystem::new())))
    }

    /// The table's URL, which ends in `/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The table, not loaded.
    pub(crate) fn table(&self) -> Result<DeltaTable, Error> {
        Ok(DeltaTableBuilder::from_url(self.url.clone())?
            .with_storage_backend(Arc::clone(&self.root), self.url.clone())
            .build()?)
    }
}
