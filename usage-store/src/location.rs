//! Where a table lies: its URL, and the object store behind it.
//!
//! | location | store | a commit is made once by |
//! |---|---|---|
//! | `file:PATH` | a local directory | a link that fails if the name is taken |
//! | `s3://BUCKET/PREFIX` | Amazon S3, or what speaks as it does | `If-None-Match: *` |
//! | `gs://BUCKET/PREFIX` | Google Cloud Storage | `x-goog-if-generation-match: 0` |
//! | `az://CONTAINER/PREFIX` | Azure Blob Storage | `If-None-Match: *` |
//!
//! All four put an object only if none of its name is there, which is what lets several gateways commit to one table. What clouds ask
//! of those who reach them is in [`access`].

pub(crate) mod access;
mod local;
mod remote;

use std::path::Path;
use std::sync::{Arc, Once};

use deltalake_core::logstore::{LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories};
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableBuilder};
use object_store::ObjectStore;
use url::Url;

use crate::Error;
use access::{Access, Scheme};
use local::Local;

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

    /// Reads a location: `file:PATH`, relative or absolute, or one in an object store, which is reached as the environment says.
    ///
    /// # Errors
    /// As [`Location::open`].
    pub fn parse(location: &str) -> Result<Self, Error> {
        Self::open(location, &Access::default())
    }

    /// Reads a location that is reached as `access` says. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// [`Error::Location`] if there is no such kind of location, a path cannot be made absolute, or a credential is not one.
    pub fn open(location: &str, access: &Access) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Location {
            location: location.to_owned(),
            reason,
        };
        if let Some(path) = location.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = std::path::absolute(Path::new(path)).map_err(|error| refuse(error.to_string()))?;
            let url = Url::from_directory_path(&path).map_err(|()| refuse("the path cannot be written as a URL".to_owned()))?;
            return Ok(Self::new(url, Arc::new(Local::default())));
        }
        let (scheme, bucket, prefix) = Scheme::split(location).map_err(refuse)?;
        // A folder's URL ends in a slash, or its last part would be replaced when names are joined to it.
        let slash = if prefix.is_empty() { "" } else { "/" };
        let url = format!("{}://{bucket}/{prefix}{slash}", scheme.as_str());
        let url = Url::parse(&url).map_err(|error| refuse(error.to_string()))?;
        let root = remote::connect(scheme, bucket, access).map_err(|error| refuse(error.to_string()))?;
        static SCHEMES_KNOWN: Once = Once::new();
        SCHEMES_KNOWN.call_once(commit_by_conditional_put);
        Ok(Self::new(url, root))
    }

    /// The table's URL, which ends in `/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The object store that it lies in, whose paths begin at the root of the bucket, or of the file system.
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.root)
    }

    /// The location beside this one, whose name ends in `suffix`.
    ///
    /// # Errors
    /// [`Error::Location`] if this one is the root of its store, which has no name.
    pub(crate) fn beside(&self, suffix: &str) -> Result<Self, Error> {
        let name = self.url.path().trim_end_matches('/');
        if name.is_empty() {
            return Err(Error::Location {
                location: self.url.to_string(),
                reason: "it is the root of its store, so there is no place beside it; put the table into a folder".to_owned(),
            });
        }
        let mut url = self.url.clone();
        url.set_path(&format!("{name}{suffix}/"));
        Ok(Self::new(url, Arc::clone(&self.root)))
    }

    /// The table, not loaded.
    pub(crate) fn table(&self) -> Result<DeltaTable, Error> {
        Ok(DeltaTableBuilder::from_url(self.url.clone())?
            .with_storage_backend(Arc::clone(&self.root), self.url.clone())
            .build()?)
    }
}

/// Delta's log on a store that puts an object only if none of its name is there.
#[derive(Debug)]
struct ConditionalPut;

impl LogStoreFactory for ConditionalPut {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

/// The table's library knows local files only, until it is told.
fn commit_by_conditional_put() {
    for scheme in Scheme::ALL {
        let url = Url::parse(&format!("{}://", scheme.as_str())).expect("a constant that is a URL");
        logstore_factories().insert(url, Arc::new(ConditionalPut));
    }
}

#[cfg(test)]
mod tests {
    use super::access::{Credentials, Hidden};
    use super::*;

    #[test]
    fn a_location_ends_in_a_slash_wherever_it_lies() {
        let url = |location: &str| Location::parse(location).unwrap().url().to_string();
        assert_eq!(url("file:/data/usage"), "file:///data/usage/");
        assert_eq!(url("file:///data/usage"), "file:///data/usage/");
        let folder = std::env::current_dir().unwrap();
        assert_eq!(url("file:usage"), format!("file://{}/usage/", folder.display()));
        let keys = Access {
            credentials: Credentials::Aws {
                access_key_id: "id".to_owned(),
                secret_access_key: Hidden::new("secret"),
                session_token: None,
            },
            ..Access::default()
        };
        let url = |location: &str| Location::open(location, &keys).unwrap().url().to_string();
        assert_eq!(url("s3://ledger"), "s3://ledger/");
        assert_eq!(url("s3://ledger/"), "s3://ledger/");
        assert_eq!(url("s3://ledger/tollgate/usage"), "s3://ledger/tollgate/usage/");
        assert_eq!(url("s3://ledger/tollgate/usage/"), "s3://ledger/tollgate/usage/");
    }

    #[test]
    fn what_is_no_location_is_refused_with_what_to_write() {
        let reason = |location: &str| match Location::parse(location) {
            Err(Error::Location { reason, .. }) => reason,
            other => panic!("{location}: {other:?}"),
        };
        for location in [
            "",
            "usage",
            "http://bucket/prefix",
            "S3://bucket/prefix",
            "s3a://bucket/prefix",
        ] {
            assert!(
                reason(location).contains("file:PATH, s3://BUCKET/PREFIX"),
                "{}",
                reason(location)
            );
        }
        for location in [
            "s3://",
            "s3:///prefix",
            "s3://ab/prefix",
            "s3://user@bucket/p",
            "s3://bucket:80/p",
            "s3://Bucket/p",
        ] {
            assert!(reason(location).contains("is no bucket"), "{}", reason(location));
        }
        for location in [
            "s3://bucket/a//b",
            "s3://bucket/a/../b",
            "s3://bucket/./b",
            "s3://bucket/a?b",
            "s3://bucket/a b",
            "s3://bucket/a%20b",
        ] {
            assert!(reason(location).contains("is no prefix"), "{}", reason(location));
        }
    }

    #[test]
    fn no_location_prints_a_secret() {
        let secret = "c2VjcmV0LW9mLXRoZS1sZWRnZXI=";
        let aws = Credentials::Aws {
            access_key_id: "id".to_owned(),
            secret_access_key: Hidden::new(secret),
            session_token: Some(Hidden::new(secret)),
        };
        let client = Credentials::AzureClient {
            tenant_id: "tenant".to_owned(),
            client_id: "client".to_owned(),
            client_secret: Hidden::new(secret),
        };
        let tried = [
            ("s3://ledger/usage", aws),
            ("az://ledger/usage", Credentials::AzureKey(Hidden::new(secret))),
            (
                "az://ledger/usage",
                Credentials::AzureSas(Hidden::new(format!("sv=2021&sig={secret}"))),
            ),
            ("az://ledger/usage", client),
        ];
        for (location, credentials) in tried {
            let access = Access {
                account: Some("acme".to_owned()),
                credentials,
                ..Access::default()
            };
            let location = Location::open(location, &access).unwrap();
            let table = location.table().unwrap();
            let printed = format!("{access:?} {location:?} {:?} {table:?}", table.log_store());
            assert!(printed.contains("ledger"), "{printed}");
            assert!(!printed.contains(secret), "{printed}");
        }
        let gs = Access {
            credentials: Credentials::GoogleServiceAccount(Hidden::new(secret)),
            ..Access::default()
        };
        let error = Location::open("gs://ledger/usage", &gs).unwrap_err();
        assert!(!format!("{error} {error:?} {gs:?}").contains(secret), "{error:?}");
    }
}
