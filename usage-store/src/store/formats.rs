//! Data directories as earlier versions left them, killed in the middle of their work: this version takes each over whole.

use std::fs;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use tempfile::TempDir;

use super::tests::sql;
use crate::testing::{ending, intent, name, prices};
use crate::{Config, Offline, Store, Tables};

/// In each: four calls in the table, three in the log, one that was open. Every ended call used 100 input tokens at 2 and 20 output tokens
/// at 10 a million, which is 400 millionths. Format 3 is one of the log only: the table beside it is that of format 2.
const FORMATS: [&str; 3] = ["format-1", "format-2", "format-3"];
const COST: i128 = 400_000_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let to = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &to);
        } else {
            fs::copy(item.path(), to).unwrap();
        }
    }
}

/// Rows, those that ended well, and what these cost.
async fn books(tables: &dyn Tables) -> (i64, i64, i128) {
    let query = "SELECT count(DISTINCT call_id), count(*) FILTER (WHERE outcome = 'ok'), sum(cost) FILTER (WHERE outcome = 'ok') FROM usage";
    let batch = sql(tables, query).await;
    let count = |at: usize| batch.column(at).as_primitive::<Int64Type>().value(0);
    (count(0), count(1), batch.column(2).as_primitive::<Decimal128Type>().value(0))
}

#[tokio::test]
async fn every_format_is_taken_over_whole_and_goes_on() {
    for format in FORMATS {
        let folder = TempDir::new().unwrap();
        let fixture = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        copy(&Path::new(&fixture).join("fixtures").join(format), folder.path());
        let config = Config::new(folder.path(), name("fixture")).unwrap();

        let offline = Offline::open(folder.path(), &config.table).await.unwrap();
        assert_eq!(books(&offline).await, (7, 7, 7 * COST), "{format}");
        drop(offline);
        let store = Store::open(config.clone(), prices()).await.unwrap();
        assert_eq!(books(&*store.tables()).await, (8, 7, 7 * COST), "{format}");
        let call = store.ledger().admit(intent(1)).await.unwrap();
        call.settle(ending()).await.unwrap();
        store.close().await.unwrap();
        let offline = Offline::open(folder.path(), &config.table).await.unwrap();
        assert_eq!(books(&offline).await, (9, 8, 8 * COST), "{format}");
    }
}
