//! An object store of a cloud: connects to it, and wraps it so that it neither tells its credentials nor works on others' threads.
//!
//! # Bounds
//! A request waits `request_timeout` for its answer. One that fails and may be sent again is, after 0.1 s and then ever later up to
//! [`BACKOFF_MAX`], until `retry_timeout` has passed. So a store that is gone fails a request within the sum of the three. A commit whose
//! answer is lost is not sent again here: [`crate::table`] looks whether it was made.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::SpawnedReqwestConnector;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientConfigKey, ClientOptions, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, RetryConfig, StaticCredentialProvider,
};
use tokio::runtime::Runtime;

use super::access::{Access, Credentials, Scheme};

/// Longest wait between two tries of one request.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// A store that is reached over HTTP.
struct Remote {
    inner: Arc<dyn ObjectStore>,
    /// What stands for it where it is printed.
    name: String,
    _io: Io,
}

/// The thread that talks to the store. Queries, flushes and the start each have threads of their own that come and go; connections
/// outlive them, and none of the request path's threads ever encrypts a Parquet file.
struct Io(Option<Runtime>);

/// Connects to a bucket or container. Nothing is sent yet.
///
/// # Errors
/// What is wrong with the access; a credential that is none.
pub(super) fn connect(scheme: Scheme, bucket: &str, access: &Access) -> Result<Arc<dyn ObjectStore>> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
        store: "object store",
        source,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .thread_name("store")
        .enable_all()
        .build()
        .map_err(|error| failed(error.into()))?;
    let connector = SpawnedReqwestConnector::new(runtime.handle().clone());
    let inner: Arc<dyn ObjectStore> = match scheme {
        Scheme::S3 => Arc::new(s3(bucket, access)?.with_http_connector(connector).build()?),
        Scheme::Gs => Arc::new(gs(bucket, access)?.with_http_connector(connector).build()?),
        Scheme::Az => Arc::new(az(bucket, access)?.with_http_connector(connector).build()?),
    };
    Ok(Arc::new(Remote {
        inner,
        name: format!("{}://{bucket}", scheme.as_str()),
        _io: Io(Some(runtime)),
    }))
}

fn s3(bucket: &str, access: &Access) -> Result<AmazonS3Builder> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        // Whatever the environment says: without it two gateways would overwrite each other's commits.
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry(access));
    let allowed = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    builder = builder.with_client_options(options(access, allowed)?);
    if let Some(region) = &access.region {
        builder = builder.with_region(region);
    }
    if access.virtual_hosted {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if let Some(endpoint) = &access.endpoint {
        let url = match access.virtual_hosted {
            true => host_named(endpoint, bucket),
            false => endpoint.clone(),
        };
        // Beside the general one there is one of S3 alone, which the environment may name and which would win.
        builder = builder
            .with_endpoint(url.as_str())
            .with_config(AmazonS3ConfigKey::S3Endpoint, url);
    }
    if let Credentials::Aws {
        access_key_id,
        secret_access_key,
        session_token,
    } = &access.credentials
    {
        // All at once, so that nothing of the environment is mixed in.
        let credential = AwsCredential {
            key_id: access_key_id.clone(),
            secret_key: secret_access_key.expose().to_owned(),
            token: session_token.as_ref().map(|token| token.expose().to_owned()),
        };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)));
    }
    Ok(builder)
}

/// `https://host` as `https://bucket.host`.
fn host_named(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    }
}

fn gs(bucket: &str, access: &Access) -> Result<GoogleCloudStorageBuilder> {
    let environment = GoogleCloudStorageBuilder::from_env();
    let allowed = environment.get_config_value(&GoogleConfigKey::Client(ClientConfigKey::AllowHttp));
    let mut builder = match &access.credentials {
        Credentials::GoogleServiceAccount(key) => GoogleCloudStorageBuilder::new().with_service_account_key(key.expose()),
        _ => environment,
    };
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    Ok(builder
        .with_bucket_name(bucket)
        .with_retry(retry(access))
        .with_client_options(options(access, allowed)?))
}

fn az(container: &str, access: &Access) -> Result<MicrosoftAzureBuilder> {
    let environment = MicrosoftAzureBuilder::from_env();
    let allowed = environment.get_config_value(&AzureConfigKey::Client(ClientConfigKey::AllowHttp));
    let account = access
        .account
        .clone()
        .or_else(|| environment.get_config_value(&AzureConfigKey::AccountName));
    let endpoint = access
        .endpoint
        .clone()
        .or_else(|| environment.get_config_value(&AzureConfigKey::Endpoint));
    let mut builder = match &access.credentials {
        Credentials::AzureKey(key) => MicrosoftAzureBuilder::new().with_access_key(key.expose()),
        Credentials::AzureSas(token) => MicrosoftAzureBuilder::new().with_config(AzureConfigKey::SasKey, token.expose()),
        Credentials::AzureClient {
            tenant_id,
            client_id,
            client_secret,
        } => MicrosoftAzureBuilder::new().with_client_secret_authorization(client_id, client_secret.expose(), tenant_id),
        _ => environment,
    };
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(builder
        .with_container_name(container)
        .with_retry(retry(access))
        .with_client_options(options(access, allowed)?))
}

fn retry(access: &Access) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: BACKOFF_FIRST,
            max_backoff: BACKOFF_MAX,
            base: 2.0,
        },
        // The time is the bound; with these waits it passes first.
        max_retries: 10_000,
        retry_timeout: access.retry_timeout,
    }
}

fn options(access: &Access, allowed_by_environment: Option<String>) -> Result<ClientOptions> {
    let allow_http = access.allow_http || allowed_by_environment.is_some_and(|value| value == "true");
    let mut options = ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(access.connect_timeout)
        .with_timeout(access.request_timeout);
    if let Some(pem) = &access.ca {
        for certificate in Certificate::from_pem_bundle(pem)? {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

// === impl Io ===

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime must not be waited for inside another.
            runtime.shutdown_background();
        }
    }
}

// === impl Remote ===

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.name).finish()
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Remote {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
