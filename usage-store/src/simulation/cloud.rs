//! An object store that refuses, answers late, loses its answers, and lets a dead client's request arrive after its death.

use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

use crate::disk::simulated::{Simulated, Step};
use crate::wal::lock;

/// What all gateways share.
#[derive(Clone, Debug)]
pub(crate) struct Cloud(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: InMemory,
    weather: Mutex<Weather>,
}

/// What goes wrong, and how often.
#[derive(Debug, Default)]
struct Weather {
    seed: u64,
    /// How often each request was made: what befalls a request depends on the request, not on the order in which threads make them.
    seen: HashMap<u64, u64>,
    /// Requests in a hundred that something befalls.
    storm: u64,
    /// Whether every request is refused.
    down: bool,
    /// Requests of dead clients that are still on their way.
    stray: Vec<(Path, PutPayload, PutOptions)>,
}

/// One gateway's client.
#[derive(Debug)]
pub(crate) struct Client {
    cloud: Arc<Shared>,
    disk: Simulated,
    life: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Fine,
    Late,
    Refused,
    /// It happens, and the answer is lost.
    Unanswered,
    /// The client dies, and it happens or not, now or later.
    Dying,
    Dead,
}

impl Cloud {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Shared {
            inner: InMemory::new(),
            weather: Mutex::new(Weather {
                seed,
                ..Weather::default()
            }),
        }))
    }

    /// A client that dies with the process of a disk.
    pub(crate) fn client(&self, disk: &Simulated) -> Arc<Client> {
        Arc::new(Client {
            cloud: Arc::clone(&self.0),
            life: disk.life(),
            disk: disk.clone(),
        })
    }

    /// Something befalls this many requests in a hundred.
    pub(crate) fn storm(&self, percent: u64) {
        lock(&self.0.weather).storm = percent;
    }

    /// Refuses everything, or nothing more.
    pub(crate) fn set_down(&self, down: bool) {
        lock(&self.0.weather).down = down;
    }

    /// Lets requests of dead clients arrive.
    pub(crate) async fn deliver(&self) {
        let stray = std::mem::take(&mut lock(&self.0.weather).stray);
        for (path, payload, options) in stray {
            // One that comes too late finds its name taken.
            let _ = self.0.inner.put_opts(&path, payload, options).await;
        }
    }
}

fn refused(reason: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "simulated",
        source: reason.to_owned().into(),
    }
}

impl Client {
    fn fate(&self, kind: &str, path: &str) -> Fate {
        if self.disk.life() != self.life {
            return Fate::Dead;
        }
        match self.disk.step() {
            Step::Whole => {}
            Step::Part => return Fate::Dying,
            Step::Dead => return Fate::Dead,
        }
        let mut weather = lock(&self.cloud.weather);
        if weather.down {
            return Fate::Refused;
        }
        let mut hasher = DefaultHasher::new();
        (weather.seed, kind, path).hash(&mut hasher);
        let request = hasher.finish();
        let times = weather.seen.entry(request).or_default();
        *times += 1;
        let mut hasher = DefaultHasher::new();
        (request, *times).hash(&mut hasher);
        let roll = hasher.finish();
        if roll % 100 >= weather.storm {
            return Fate::Fine;
        }
        match roll / 100 % 3 {
            0 => Fate::Late,
            1 => Fate::Refused,
            _ => Fate::Unanswered,
        }
    }

    /// Waits, and says whether the request happens, and whether its answer is lost.
    async fn befall(&self, kind: &str, path: &str) -> Result<bool> {
        match self.fate(kind, path) {
            Fate::Fine => Ok(true),
            Fate::Late => {
                for _ in 0..7 {
                    tokio::task::yield_now().await;
                }
                Ok(true)
            }
            Fate::Refused => Err(refused("service unavailable")),
            Fate::Unanswered | Fate::Dying => Ok(false),
            Fate::Dead => Err(refused("the process is dead")),
        }
    }
}

impl Display for Client {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("simulated")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Client {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.fate("put", location.as_ref()) {
            Fate::Fine => {}
            Fate::Late => {
                for _ in 0..7 {
                    tokio::task::yield_now().await;
                }
            }
            Fate::Refused => return Err(refused("service unavailable")),
            Fate::Unanswered => {
                self.cloud.inner.put_opts(location, payload, options).await?;
                return Err(refused("the answer was lost"));
            }
            Fate::Dying => {
                // A third happens, a third does not, a third arrives when the next process runs.
                match payload.content_length() % 3 {
                    0 => drop(self.cloud.inner.put_opts(location, payload, options).await),
                    1 => {}
                    _ => lock(&self.cloud.weather).stray.push((location.clone(), payload, options)),
                }
                return Err(refused("the process is dead"));
            }
            Fate::Dead => return Err(refused("the process is dead")),
        }
        self.cloud.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if !self.befall("multipart", location.as_ref()).await? {
            return Err(refused("the answer was lost"));
        }
        self.cloud.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if !self.befall("get", location.as_ref()).await? {
            return Err(refused("the answer was lost"));
        }
        self.cloud.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.fate("delete", "") {
            Fate::Fine | Fate::Late => self.cloud.inner.delete_stream(locations),
            Fate::Unanswered | Fate::Dying => {
                let deleted = self.cloud.inner.delete_stream(locations);
                deleted.map(|_| Err(refused("the answer was lost"))).boxed()
            }
            Fate::Refused | Fate::Dead => futures::stream::once(async { Err(refused("service unavailable")) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fate("list", prefix.map_or("", |prefix| prefix.as_ref())) {
            Fate::Fine | Fate::Late => self.cloud.inner.list(prefix),
            _ => futures::stream::once(async { Err(refused("service unavailable")) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if !self.befall("list", prefix.map_or("", |prefix| prefix.as_ref())).await? {
            return Err(refused("the answer was lost"));
        }
        self.cloud.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if !self.befall("copy", to.as_ref()).await? {
            return Err(refused("the answer was lost"));
        }
        self.cloud.inner.copy_opts(from, to, options).await
    }
}
