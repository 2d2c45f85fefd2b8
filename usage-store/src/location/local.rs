//! A local directory whose objects are on the disk when they are acknowledged.
//!
//! `object_store`'s own leaves syncing to the system, so that a power cut could take a commit whose rows the log has meanwhile forgotten.
//!
//! # Invariants
//! 1. An object is acknowledged after its bytes and its name were synced.
//! 2. One that is created, as commits are, has its name only after its bytes were synced. So a commit whose sync failed is not there:
//!    whoever tries again writes it anew, and cannot take what the disk refused for a commit that was made.

use std::fmt::{Debug, Display, Formatter};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use uuid::Uuid;

/// Folders above an object that may be new with it: its partition's, the table's, and the one that holds the table.
const FOLDERS: usize = 3;

/// Makes a file or a folder durable.
type Sync = Arc<dyn Fn(&std::path::Path) -> io::Result<()> + Send + std::marker::Sync>;

/// The local file system, synced.
pub(crate) struct Local {
    files: LocalFileSystem,
    sync: Sync,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            files: LocalFileSystem::default(),
            sync: Arc::new(|path| File::open(path)?.sync_all()),
        }
    }
}

impl Local {
    /// Makes a file durable.
    async fn sync_file(&self, location: &Path) -> Result<()> {
        synced(&self.sync, self.files.path_to_filesystem(location)?, 1).await
    }

    /// Gives bytes a name that nothing has yet, once they are synced.
    async fn create(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        // A name that readers of tables pass over. What a crash leaves of it takes the bytes of a commit.
        let (folder, _) = location.as_ref().rsplit_once('/').unwrap_or(("", location.as_ref()));
        let staged = Path::parse(format!("{folder}/.{}.staged", Uuid::now_v7().simple()))?;
        let created = async {
            let put = self.files.put_opts(&staged, payload, options).await?;
            self.sync_file(&staged).await?;
            let created = CopyOptions::new().with_mode(CopyMode::Create);
            self.files.copy_opts(&staged, location, created).await?;
            Ok(put)
        };
        let created = created.await;
        let _ = self.files.delete(&staged).await;
        created
    }

    /// Makes a file's name durable.
    async fn sync_name(&self, location: &Path) -> Result<()> {
        let path = self.files.path_to_filesystem(location)?;
        synced(&self.sync, path.parent().map(PathBuf::from).unwrap_or_default(), FOLDERS).await
    }
}

/// Syncs a path, and so many in all of it and what is above it.
async fn synced(sync: &Sync, path: PathBuf, count: usize) -> Result<()> {
    let sync = Arc::clone(sync);
    let done = tokio::task::spawn_blocking(move || path.ancestors().take(count).try_for_each(|path| sync(path)));
    let done = done.await.map_err(|error| refused(error.into()))?;
    done.map_err(|error| refused(error.into()))
}

fn refused(source: Box<dyn std::error::Error + Send + std::marker::Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "local", source }
}

impl Debug for Local {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(&self.files, f)
    }
}

impl Display for Local {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.files, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Local {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = match options.mode {
            PutMode::Create => self.create(location, payload, options).await?,
            _ => {
                let put = self.files.put_opts(location, payload, options).await?;
                self.sync_file(location).await?;
                put
            }
        };
        self.sync_name(location).await?;
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload {
            path: self.files.path_to_filesystem(location)?,
            sync: Arc::clone(&self.sync),
            upload: self.files.put_multipart_opts(location, options).await?,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        self.sync_file(to).await?;
        self.sync_name(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await?;
        self.sync_file(to).await?;
        self.sync_name(to).await
    }
}

/// An upload in parts that is on the disk when it is complete. Its name is one that nothing knows before: a file whose sync failed is
/// part of no table.
struct Upload {
    path: PathBuf,
    sync: Sync,
    upload: Box<dyn MultipartUpload>,
}

impl Debug for Upload {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(&self.upload, f)
    }
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.upload.complete().await?;
        // The file, and the folders above it.
        synced(&self.sync, self.path.clone(), 1 + FOLDERS).await?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    /// A folder on a disk that refuses to sync files while `broken`.
    fn local(broken: &Arc<AtomicBool>) -> Local {
        let broken = Arc::clone(broken);
        Local {
            files: LocalFileSystem::default(),
            sync: Arc::new(move |path| match broken.load(Relaxed) && path.is_file() {
                true => Err(io::Error::other("the disk refused")),
                false => File::open(path)?.sync_all(),
            }),
        }
    }

    #[tokio::test]
    async fn an_object_whose_sync_failed_is_not_there_and_can_be_put_again() {
        let folder = tempfile::tempdir().unwrap();
        let broken = Arc::new(AtomicBool::new(true));
        let store = local(&broken);
        let name = Path::from_absolute_path(folder.path().join("_delta_log/00000000000000000007.json")).unwrap();
        let refused = store
            .put_opts(&name, "lost".into(), PutMode::Create.into())
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("the disk refused"), "{refused}");
        let found = store.get(&name).await;
        assert!(matches!(found, Err(object_store::Error::NotFound { .. })), "{found:?}");
        broken.store(false, Relaxed);
        store.put_opts(&name, "kept".into(), PutMode::Create.into()).await.unwrap();
        assert_eq!(store.get(&name).await.unwrap().bytes().await.unwrap(), "kept");
        let files = std::fs::read_dir(folder.path().join("_delta_log")).unwrap().count();
        assert_eq!(files, 1, "nothing staged is left");
    }

    #[tokio::test]
    async fn an_object_is_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&Arc::default());
        let name = Path::from_absolute_path(folder.path().join("one")).unwrap();
        store.put_opts(&name, "first".into(), PutMode::Create.into()).await.unwrap();
        let second = store.put_opts(&name, "second".into(), PutMode::Create.into()).await;
        assert!(matches!(second, Err(object_store::Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(store.get(&name).await.unwrap().bytes().await.unwrap(), "first");
    }
}
