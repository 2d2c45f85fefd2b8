//! Files in a directory, as NDJSON and as FOCUS; the place around it fails.

use std::collections::{BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tollgate_record::{BoxFuture, Name};

use super::{Fault, Rig, conformance};
use crate::Destination;
use crate::files::{Config, Files, Folder, Format, Period, Place, PlaceError, Template};
use crate::testing::Virtual;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Fail,
    Hang,
    WriteAndFail,
}

/// A directory that fails as it is told.
struct Faulty {
    inner: Folder,
    acts: Arc<Mutex<VecDeque<Act>>>,
    clock: Arc<Virtual>,
}

/// A format, and the column of it that has the ids.
trait Kind: 'static {
    const FORMAT: Format;
    fn ids(content: &[u8]) -> BTreeSet<String>;
}

struct Ndjson;
struct Focus;

struct FilesRig<K> {
    root: tempfile::TempDir,
    acts: Arc<Mutex<VecDeque<Act>>>,
    clock: Arc<Virtual>,
    kind: PhantomData<K>,
}

// === impl Faulty ===

impl Place for Faulty {
    fn put<'a>(&'a self, path: &'a str, content: Bytes) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            let act = self.acts.lock().unwrap().pop_front();
            if act == Some(Act::Hang) {
                let _hung = self.clock.hung();
                return std::future::pending().await;
            }
            if act != Some(Act::Fail) {
                self.inner.put(path, content).await?;
            }
            match act {
                None => Ok(()),
                Some(_) => Err(PlaceError {
                    what: "write",
                    path: path.to_owned(),
                    reason: "the disk is away".to_owned(),
                    stuck: false,
                }),
            }
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, PlaceError>> {
        self.inner.get(path)
    }

    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), PlaceError>> {
        self.inner.delete(path)
    }
}

// === impl Kind ===

impl Kind for Ndjson {
    const FORMAT: Format = Format::Ndjson;

    fn ids(content: &[u8]) -> BTreeSet<String> {
        let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
        rows.map(|row| row["call_id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Kind for Focus {
    const FORMAT: Format = Format::Focus;

    fn ids(content: &[u8]) -> BTreeSet<String> {
        let mut reader = csv::Reader::from_reader(content);
        let column = reader.headers().unwrap().iter().position(|name| name == "x_CallId").unwrap();
        reader.records().map(|record| record.unwrap()[column].to_owned()).collect()
    }
}

// === impl FilesRig ===

impl<K: Kind> Rig for FilesRig<K> {
    async fn start(clock: &Arc<Virtual>) -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            acts: Arc::default(),
            clock: Arc::clone(clock),
            kind: PhantomData,
        }
    }

    fn destination(&self) -> Arc<dyn Destination> {
        let template = Template::parse(Period::Hourly.template(), Period::Hourly).unwrap();
        let config = Config {
            exporter: Name::new("finance").unwrap(),
            format: K::FORMAT,
            template,
            rows_max: Config::ROWS_MAX,
        };
        let place = Faulty {
            inner: Folder::new(self.root.path().to_owned()),
            acts: Arc::clone(&self.acts),
            clock: Arc::clone(&self.clock),
        };
        Arc::new(Files::new(config, Arc::new(place)))
    }

    fn fault(&self, fault: Fault) -> bool {
        let (times, act) = match fault {
            Fault::Down(times) => (times, Act::Fail),
            Fault::Hang(times) => (times, Act::Hang),
            Fault::TakesAndCuts(times) => (times, Act::WriteAndFail),
            // A directory asks for no time, refuses no row, and has neither certificate nor credential.
            _ => return false,
        };
        self.acts.lock().unwrap().extend(std::iter::repeat_n(act, times));
        true
    }

    fn taken(&self) -> Vec<String> {
        let mut taken = Vec::new();
        walk(&self.root.path().join("finance"), &mut |path| {
            assert!(
                path.to_string_lossy().ends_with(K::FORMAT.ext()),
                "{} is no whole file",
                path.display()
            );
            taken.extend(K::ids(&std::fs::read(path).unwrap()));
        });
        taken
    }

    fn drops_repeats(&self) -> bool {
        true
    }
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, each) } else { each(&path) }
    }
}

conformance!(ndjson, FilesRig<Ndjson>);
conformance!(focus, FilesRig<Focus>);
