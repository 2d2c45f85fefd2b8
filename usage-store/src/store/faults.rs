//! Faults of the data directory's disk, one by one; the simulation mixes them.

use std::sync::Arc;

use object_store::memory::InMemory;
use tollgate_record::{Ending, Outcome};
use url::Url;

use super::tests::sql;
use crate::disk::simulated::{Crash, Simulated};
use crate::testing::{ending, intent, name, prices};
use crate::wal::Durability;
use crate::{Config, Error, Location, Store};

fn config(disk: &Simulated, durability: Durability) -> Config {
    let url = Url::parse("memory:///usage/").unwrap();
    Config {
        table: Location::new(url, Arc::new(InMemory::new())),
        durability,
        disk: Arc::new(disk.clone()),
        background: false,
        ..Config::new("/data", name("gw")).unwrap()
    }
}

async fn outcomes(store: &Store) -> Vec<String> {
    let batch = sql(&*store.tables(), "SELECT arrow_cast(outcome, 'Utf8') FROM usage ORDER BY seq").await;
    let column = arrow::array::AsArray::as_string::<i32>(batch.column(0));
    column.iter().flatten().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_calls_and_they_resume_by_themselves_and_nothing_is_lost() {
    let disk = Simulated::new(1);
    let config = config(&disk, Durability::Process);
    let store = Store::open(config.clone(), prices()).await.unwrap();
    let ledger = store.ledger();
    ledger.admit(intent(1)).await.unwrap().settle(ending()).await.unwrap();
    let open = ledger.admit(intent(2)).await.unwrap();
    disk.fill_up(2);
    let refused = ledger.admit(intent(3)).await.err().unwrap();
    assert!(refused.reason.contains("no storage space"), "{}", refused.reason);
    // The answer of this call cannot end cleanly, but what it used is not forgotten.
    assert!(open.settle(ending()).await.is_err());
    assert_eq!(
        (store.stats().owed_rows, store.stats().write_failures, store.stats().refused),
        (1, 2, 1)
    );
    assert_eq!(store.unavailable(), None, "a full disk is no reason to start anew");
    ledger.admit(intent(4)).await.unwrap().settle(ending()).await.unwrap();
    assert_eq!(outcomes(&store).await, ["ok", "ok", "ok"]);
    assert_eq!(store.stats().owed_rows, 0);
    drop(store);
    disk.crash(Crash::Kill);
    let store = Store::open(config, prices()).await.unwrap();
    assert_eq!(outcomes(&store).await, ["ok", "ok", "ok"]);
}

#[tokio::test]
async fn a_failed_fsync_poisons_the_writer_and_is_not_tried_again() {
    let disk = Simulated::new(1);
    let config = config(&disk, Durability::Power);
    let store = Store::open(config.clone(), prices()).await.unwrap();
    let ledger = store.ledger();
    ledger.admit(intent(1)).await.unwrap().settle(ending()).await.unwrap();
    disk.fail_syncs(1);
    assert!(ledger.admit(intent(2)).await.is_err());
    // The disk would sync again, and the log does not ask it.
    let refused = ledger
        .refuse(intent(3), Ending::of(Outcome::RefusedPolicy))
        .await
        .unwrap_err();
    assert!(refused.reason.contains("fdatasync"), "{}", refused.reason);
    assert!(store.unavailable().is_some() && store.stats().poisoned);
    assert!(matches!(store.close().await, Err(Error::Poisoned(_) | Error::Io { .. })));
    disk.crash(Crash::Power);
    let store = Store::open(config, prices()).await.unwrap();
    assert_eq!(outcomes(&store).await[0], "ok");
    assert_eq!(store.unavailable(), None);
}

#[tokio::test]
async fn a_read_only_directory_stops_the_start_and_poisons_a_writer_that_runs() {
    let disk = Simulated::new(1);
    let config = config(&disk, Durability::Process);
    let store = Store::open(config.clone(), prices()).await.unwrap();
    store.ledger().admit(intent(1)).await.unwrap().settle(ending()).await.unwrap();
    disk.make_read_only();
    assert!(store.ledger().admit(intent(2)).await.is_err());
    assert!(store.unavailable().is_some());
    drop(store);
    disk.crash(Crash::Kill);
    disk.make_read_only();
    match Store::open(config.clone(), prices()).await {
        Err(Error::Io { path, source, .. }) => {
            assert!(path.starts_with("/data"), "{}", path.display());
            assert_eq!(source.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a gateway starts that cannot record"),
    }
    disk.crash(Crash::Kill);
    let store = Store::open(config, prices()).await.unwrap();
    assert_eq!(outcomes(&store).await, ["ok"]);
}

#[tokio::test]
async fn two_gateways_of_one_name_on_one_table_do_not_take_each_others_places_for_their_own() {
    let (here, there) = (Simulated::new(1), Simulated::new(2));
    let first = config(&here, Durability::Process);
    let second = Config {
        disk: Arc::new(there.clone()),
        ..first.clone()
    };
    let (one, two) = (
        Store::open(first, prices()).await.unwrap(),
        Store::open(second.clone(), prices()).await.unwrap(),
    );
    for (store, numbers) in [(&one, 1..4), (&two, 4..6)] {
        for number in numbers {
            store
                .ledger()
                .admit(intent(number))
                .await
                .unwrap()
                .settle(ending())
                .await
                .unwrap();
        }
    }
    one.flush().await.unwrap();
    // Its rows have places that the table has of the other one: they must not count as committed.
    assert!(matches!(
        two.flush().await,
        Err(Error::Diverged {
            committed: 3,
            last: 0,
            ..
        })
    ));
    assert_eq!(two.stats().hot_rows, 2);
    drop(two);
    there.crash(Crash::Kill);
    assert!(matches!(Store::open(second, prices()).await, Err(Error::Diverged { .. })));
}
