//! Where files go: a directory, or a bucket. A file is there whole or not at all.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Mutex;
use tollgate_record::BoxFuture;

use crate::durable::{replace, sync_folder};

/// A file could not be written, read or deleted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to {what} {path}: {reason}")]
pub struct PlaceError {
    /// What was to be done.
    pub what: &'static str,
    /// The file.
    pub path: String,
    /// Why it failed.
    pub reason: String,
    /// Whether trying again is of no use before someone changes something: a right that is missing, a bucket that there is not.
    pub stuck: bool,
}

/// A place for files. Paths are relative, with `/` between their parts.
///
/// # Guarantees
/// 1. A file that is put replaces the one that was there; whoever reads it sees one of them whole. When the future is ready it is durable.
/// 2. What was put later stays, also if the future of an earlier put was dropped.
pub trait Place: Send + Sync + 'static {
    /// Writes a file.
    fn put<'a>(&'a self, path: &'a str, content: Bytes) -> BoxFuture<'a, Result<(), PlaceError>>;

    /// Reads a file; `None` if there is none.
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, PlaceError>>;

    /// Deletes a file, if it is there.
    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), PlaceError>>;
}

/// A directory.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Held by the operation that is under way, until it is over, whether someone waits for it or not.
    turn: Arc<Mutex<()>>,
}

/// A bucket, or a part of one. Guarantee 2 holds as far as the store orders two puts that overlap.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
}

// === impl Folder ===

impl Folder {
    /// A directory, which is made when the first file is written.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            turn: Arc::default(),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        path: &str,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PlaceError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let full = self.root.join(path);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(full)
        });
        let done = done.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| PlaceError {
            what,
            path: self.root.join(path).display().to_string(),
            stuck: matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::ReadOnlyFilesystem
            ),
            reason: error.to_string(),
        })
    }
}

impl Place for Folder {
    fn put<'a>(&'a self, path: &'a str, content: Bytes) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(self.blocking("write", path, move |full| {
            make_folder(full.parent())?;
            replace(&full, &content)
        }))
    }

    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, PlaceError>> {
        Box::pin(self.blocking("read", path, |full| match std::fs::read(full) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }))
    }

    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(self.blocking("delete", path, |full| match std::fs::remove_file(&full) {
            Ok(()) => sync_folder(&full),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }))
    }
}

/// Makes a folder and those above it, each durably in the one above.
fn make_folder(folder: Option<&std::path::Path>) -> io::Result<()> {
    let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) else {
        return Ok(());
    };
    make_folder(folder.parent())?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(folder),
    }
}

// === impl Bucket ===

impl Bucket {
    /// A part of a store, below `prefix`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            store,
            prefix: ObjectPath::from(prefix),
        }
    }

    fn path(&self, path: &str) -> ObjectPath {
        self.prefix.parts().chain(ObjectPath::from(path).parts()).collect()
    }
}

impl Place for Bucket {
    fn put<'a>(&'a self, path: &'a str, content: Bytes) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            let put = self.store.put(&self.path(path), content.into()).await;
            put.map(drop).map_err(|error| of_store("write", path, &error))
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, PlaceError>> {
        Box::pin(async move {
            let failed = |error: object_store::Error| of_store("read", path, &error);
            match self.store.get(&self.path(path)).await {
                Ok(found) => found.bytes().await.map(Some).map_err(failed),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(failed(error)),
            }
        })
    }

    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            match self.store.delete(&self.path(path)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(of_store("delete", path, &error)),
            }
        })
    }
}

fn of_store(what: &'static str, path: &str, error: &object_store::Error) -> PlaceError {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    let stuck = matches!(error, NotFound { .. } | PermissionDenied { .. } | Unauthenticated { .. });
    PlaceError {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
        stuck,
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn holds_what_is_put(place: &dyn Place) {
        assert_eq!(place.get("a/b/c.csv").await.unwrap(), None);
        for content in ["one", "two"] {
            place.put("a/b/c.csv", content.into()).await.unwrap();
            assert_eq!(place.get("a/b/c.csv").await.unwrap(), Some(content.into()));
        }
        for _ in 0..2 {
            place.delete("a/b/c.csv").await.unwrap();
            assert_eq!(place.get("a/b/c.csv").await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_folder_holds_what_is_put() {
        let root = tempfile::tempdir().unwrap();
        holds_what_is_put(&Folder::new(root.path().join("not/there/yet"))).await;
    }

    #[tokio::test]
    async fn a_bucket_holds_what_is_put_below_its_prefix() {
        let store = Arc::new(InMemory::new());
        let bucket = Bucket::new(store.clone(), "exports/ai");
        holds_what_is_put(&bucket).await;
        bucket.put("x.csv", "x".into()).await.unwrap();
        assert!(store.get(&ObjectPath::from("exports/ai/x.csv")).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_where_a_folder_should_be_needs_someone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), "").unwrap();
        let error = Folder::new(root.path().to_owned())
            .put("a/b.csv", Bytes::new())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("b.csv"), "{error}");
        assert!(error.stuck, "{error}");
    }
}
