use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tollgate_record::Amount;

use super::*;
use crate::testing::{id_of, rows_of};

/// A place in memory where every operation from a number on fails, as after a crash.
#[derive(Default)]
struct Fragile {
    files: std::sync::Mutex<BTreeMap<String, Bytes>>,
    left: AtomicUsize,
}

impl Fragile {
    fn step(&self, what: &'static str, path: &str) -> Result<(), PlaceError> {
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| PlaceError {
            what,
            path: path.to_owned(),
            reason: "the process is gone".to_owned(),
            stuck: false,
        })
    }

    /// Ids of the rows in all NDJSON files.
    fn ids(&self) -> Vec<String> {
        let files = self.files.lock().unwrap();
        let texts = files
            .iter()
            .filter(|(path, _)| path.ends_with(".ndjson"))
            .map(|(_, content)| content.clone());
        let lines: Vec<serde_json::Value> = texts
            .flat_map(|text| {
                text.split(|byte| *byte == b'\n')
                    .filter_map(|line| serde_json::from_slice(line).ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut ids: Vec<_> = lines
            .iter()
            .map(|line| line["call_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    }

    fn manifest(&self, batch: u64) -> Manifest {
        serde_json::from_slice(&self.files.lock().unwrap()[&format!("_tollgate/finance/manifest/{batch:010}.json")]).unwrap()
    }
}

impl Place for Fragile {
    fn put<'a>(&'a self, path: &'a str, content: Bytes) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            self.step("write", path)?;
            self.files.lock().unwrap().insert(path.to_owned(), content);
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, PlaceError>> {
        Box::pin(async move {
            self.step("read", path)?;
            Ok(self.files.lock().unwrap().get(path).cloned())
        })
    }

    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), PlaceError>> {
        Box::pin(async move {
            self.step("delete", path)?;
            self.files.lock().unwrap().remove(path);
            Ok(())
        })
    }
}

fn files(place: &Arc<Fragile>, format: Format) -> Files {
    let template = Template::parse(Period::Hourly.template(), Period::Hourly).unwrap();
    let config = Config {
        exporter: Name::new("finance").unwrap(),
        format,
        template,
        rows_max: 1000,
    };
    Files::new(config, Arc::clone(place) as Arc<dyn Place>)
}

fn ids(places: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let mut ids: Vec<_> = places.map(|seq| id_of("gw-1", seq)).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_batch_that_is_cut_off_after_any_step_and_comes_back_larger_or_smaller_is_written_once() {
    for steps in 0..12 {
        for again in [[1..=150, 151..=200], [1..=40, 41..=200], [1..=120, 121..=200]] {
            let place = Arc::new(Fragile::default());
            place.left.store(steps, Ordering::Relaxed);
            let cut = files(&place, Format::Ndjson).deliver(&rows_of("gw-1", 1..=120)).await;
            // Two reads, a manifest, two files (a row a minute: two hours), the head.
            assert_eq!(cut == Delivery::Accepted, steps >= 6, "{steps} steps");
            place.left.store(usize::MAX, Ordering::Relaxed);
            let restarted = files(&place, Format::Ndjson);
            for places in again.clone() {
                assert_eq!(restarted.deliver(&rows_of("gw-1", places)).await, Delivery::Accepted);
            }
            assert_eq!(place.ids(), ids(1..=200), "{steps} steps, then {again:?}");
        }
    }
}

#[tokio::test]
async fn a_cut_batch_leaves_nothing_of_rows_that_no_longer_leave() {
    let place = Arc::new(Fragile::default());
    // All but the head.
    place.left.store(5, Ordering::Relaxed);
    assert_ne!(
        files(&place, Format::Ndjson).deliver(&rows_of("gw-1", 1..=120)).await,
        Delivery::Accepted
    );
    assert_eq!(place.ids(), ids(1..=120));
    // The filter now lets pass other rows: the first file has another name.
    place.left.store(usize::MAX, Ordering::Relaxed);
    let restarted = files(&place, Format::Ndjson);
    assert_eq!(restarted.deliver(&rows_of("gw-1", 30..=50)).await, Delivery::Accepted);
    assert_eq!(place.ids(), ids(30..=50));
}

#[tokio::test]
async fn manifests_say_what_the_files_hold() {
    let place = Arc::new(Fragile {
        left: AtomicUsize::new(usize::MAX),
        ..Fragile::default()
    });
    let files = files(&place, Format::Parquet);
    for places in [1..=90, 91..=100] {
        assert_eq!(files.deliver(&rows_of("gw-1", places)).await, Delivery::Accepted);
    }
    let manifest = place.manifest(1);
    assert_eq!(manifest.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [60, 30]);
    assert_eq!(
        manifest.files[1].path,
        "finance/2026-11-01/01-gw-1-00000000000000000061.parquet"
    );
    for file in &manifest.files {
        let content = place.files.lock().unwrap()[&file.path].clone();
        assert_eq!((sha256(&content), content.len() as u64), (file.sha256.clone(), file.bytes));
    }
    // Odd places cost 35 millionths each, even ones 28: 25 and 8 (10 and 10 tokens' worth) times their place.
    let (odd, even): (u64, u64) = (
        (1..=90).filter(|seq| seq % 2 == 1).sum(),
        (1..=90).filter(|seq| seq % 2 == 0).sum(),
    );
    let micros = Amount::from_integer(odd * 35 + even * 28)
        .unwrap()
        .checked_div(1_000_000)
        .unwrap();
    assert_eq!(manifest.cost, [("USD".to_owned(), micros.to_string())].into());
    assert_eq!((manifest.rows, manifest.rows_without_cost), (90, 0));
    let head: Head = serde_json::from_slice(&place.files.lock().unwrap()["_tollgate/finance/head.json"]).unwrap();
    assert_eq!((head.batch, head.cursor), (2, place.manifest(2).cursor));
}

#[tokio::test]
async fn a_head_that_cannot_be_read_stops_rather_than_writes_rows_twice() {
    let place = Arc::new(Fragile {
        left: AtomicUsize::new(usize::MAX),
        ..Fragile::default()
    });
    place
        .files
        .lock()
        .unwrap()
        .insert("_tollgate/finance/head.json".to_owned(), "{".into());
    let Delivery::Stuck { reason } = files(&place, Format::Ndjson).deliver(&rows_of("gw-1", 1..=3)).await else {
        panic!("it went on");
    };
    assert!(reason.contains("head.json"), "{reason}");
    assert!(place.ids().is_empty());
}

#[tokio::test]
async fn rows_of_several_gateways_go_to_files_of_their_own() {
    let place = Arc::new(Fragile {
        left: AtomicUsize::new(usize::MAX),
        ..Fragile::default()
    });
    let both = arrow::compute::concat_batches(&crate::usage_schema(), &[rows_of("gw-1", 1..=3), rows_of("gw-2", 1..=2)]).unwrap();
    assert_eq!(files(&place, Format::Focus).deliver(&both).await, Delivery::Accepted);
    let manifest = place.manifest(1);
    let told: Vec<_> = manifest
        .files
        .iter()
        .map(|file| (file.instance.as_str(), file.rows, file.lines))
        .collect();
    assert_eq!(told, [("gw-1", 3, 6), ("gw-2", 2, 4)]);
    assert_eq!(manifest.format, "focus-1.2");
}
