//! The engine on the store itself: rows in memory and rows in the table, under the engine's own session.

use std::sync::Arc;

use serde_json::Value;
use tollgate_record::{
    Amount, Call, CallId, Caller, Ending, Identity, Intent, Ledger, Meter, Name, Outcome, Price, PriceList, Tags, Terms, Timestamp,
    Usage, UsageSource,
};
use tollgate_usage_store::{Config, Offline, PriceBook, Store};

use crate::report::Chargeback;
use crate::{Engine, Format, Limits, Query};

/// 2026-11-01T00:00:00Z.
const START_US: i64 = 1_793_491_200_000_000;
/// Half a day.
const STEP_US: i64 = 43_200_000_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn prices() -> PriceBook {
    let price = Price {
        model: name("m"),
        region: None,
        service_tier: None,
        context_above: None,
        meter: Meter::Input,
        per: 1_000_000,
        price: "2.50".parse().unwrap(),
        discount: Amount::ZERO,
        effective_from: Timestamp::from_unix_us(0),
        effective_to: None,
        source: None,
    };
    PriceBook::new(vec![PriceList {
        name: name("list"),
        provider: name("openai"),
        currency: name("USD"),
        shipped: false,
        prices: vec![price],
        terms: Terms::default(),
    }])
}

/// A call of 1,000 tokens, which cost 0.0025.
async fn call(ledger: &dyn Ledger, number: u64) {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let call_id = CallId::from_parts(1_793_491_200_000, random);
    let intent = Intent {
        call_id,
        request_id: call_id.as_request(),
        attempt: 1,
        start_time: Timestamp::from_unix_us(START_US + i64::try_from(number).unwrap() * STEP_US),
        identity: Arc::new(Identity {
            key_id: name("key"),
            org: None,
            team: Some(name(["growth", "ads"][number as usize % 2])),
            project: None,
            service: None,
            user: None,
        }),
        caller: Caller {
            tags: Arc::new(Tags::from_pairs([("env", "prod")])),
            ..Caller::default()
        },
        call: Call {
            operation_name: name("chat"),
            proxy: None,
            provider_name: Some(name("openai")),
            template: Some(name("openai")),
            upstream: None,
            region: None,
            request_model: Some(name("m")),
            stream: false,
            route_rule: None,
            cache: None,
        },
        request_bytes: 10,
        bears_usage: true,
    };
    let usage = Usage {
        source: UsageSource::Reported,
        input: Some(1_000),
        ..Usage::default()
    };
    let ending = Ending {
        usage,
        status_code: Some(200),
        ..Ending::of(Outcome::Ok)
    };
    ledger.admit(intent).await.unwrap().settle(ending).await.unwrap();
}

async fn rows(engine: &Engine, sql: &str) -> Vec<Value> {
    let answer = engine.query(Query::new(sql)).await.unwrap();
    serde_json::from_slice(&answer.encode(Format::Json).unwrap().collect().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_admitted_and_settled_while_every_slot_has_a_heavy_scan() {
    const CALLS: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Config::new(folder.path(), name("gw")).unwrap(), prices())
        .await
        .unwrap();
    let limits = Limits {
        spill_dir: folder.path().join("spill"),
        timeout: super::PATIENCE * 10,
        ..Limits::default()
    };
    let engine = Engine::new(store.tables(), limits).unwrap();
    for number in 0..40 {
        call(&*store.ledger(), number).await;
    }
    store.flush().await.unwrap();
    let slots = engine.limits().concurrency;
    let scan = format!("{} CROSS JOIN usage", super::ENDLESS);
    // An answer that nobody holds is a query that ends.
    let mut scans = Vec::new();
    for _ in 0..slots {
        scans.push(engine.query(Query::new(scan.clone())).await.unwrap());
    }
    let mut running = engine.running();
    tokio::time::timeout(super::PATIENCE, running.wait_for(|count| *count == slots))
        .await
        .unwrap()
        .unwrap();
    let ledger = store.ledger();
    let calls = async {
        for number in 40..40 + CALLS {
            call(&*ledger, number).await;
        }
        store.flush().await.unwrap();
    };
    tokio::time::timeout(super::PATIENCE, calls).await.unwrap();
    assert_eq!(*engine.running().borrow(), slots, "the scans ran all the while");
    drop(scans);
    tokio::time::timeout(super::PATIENCE, running.wait_for(|count| *count == 0))
        .await
        .unwrap()
        .unwrap();
    let counted = rows(&engine, "SELECT count(*) AS calls FROM usage").await;
    assert_eq!(counted[0]["calls"], 40 + CALLS);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_recorded_is_answered_from_memory_and_from_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Config::new(folder.path(), name("gw")).unwrap(), prices())
        .await
        .unwrap();
    let limits = Limits {
        spill_dir: folder.path().join("spill"),
        ..Limits::default()
    };
    let engine = Engine::new(store.tables(), limits).unwrap();
    let report = Chargeback::parse("2026-11", "team,tags.env,start_date", "Europe/Berlin")
        .unwrap()
        .sql();

    for number in 0..40 {
        call(&*store.ledger(), number).await;
    }
    let hot = rows(&engine, &report).await;
    store.flush().await.unwrap();
    assert_eq!(rows(&engine, &report).await, hot, "a flush changes nothing");
    for number in 40..80 {
        call(&*store.ledger(), number).await;
    }

    let sums = rows(
        &engine,
        "SELECT team, count(*) AS calls, sum(cost) AS cost, currency FROM usage GROUP BY ALL ORDER BY team",
    )
    .await;
    let sums: Vec<_> = sums
        .iter()
        .map(|row| (row["team"].as_str().unwrap(), row["cost"].as_str().unwrap()))
        .collect();
    assert_eq!(sums, [("ads", "0.100000000000"), ("growth", "0.100000000000")]);
    // Sixty half days begin in November, by Berlin's clocks as by UTC's.
    let report = rows(&engine, &report).await;
    let total = report.iter().find(|row| row["line"] == "total").unwrap();
    assert_eq!(
        (total["calls"].as_i64(), total["cost"].as_str()),
        (Some(60), Some("0.150000000000"))
    );
    for sql in [
        "SELECT * FROM usage ORDER BY start_time",
        "SELECT * FROM requests",
        "SELECT * FROM prices",
        "SELECT * FROM files",
        "SELECT * FROM versions",
        "SELECT * FROM usage_hourly",
        "SELECT * FROM usage_at(1)",
        "SELECT * FROM usage_at('2100-01-01')",
        "SELECT charge['amount'] AS amount FROM (SELECT unnest(charges) AS charge FROM usage)",
    ] {
        for format in Format::ALL {
            let answer = engine.query(Query::new(sql)).await.unwrap();
            assert!(
                !answer.encode(format).unwrap().collect().await.unwrap().is_empty(),
                "{sql} as {}",
                format.name()
            );
        }
        assert!(!rows(&engine, sql).await.is_empty(), "{sql}");
    }
    // A version is what was committed; the one before is without the second flush.
    store.flush().await.unwrap();
    let pinned = rows(
        &engine,
        "SELECT (SELECT count(*) FROM usage_at(1)) AS first, (SELECT count(*) FROM usage_at(2)) AS both",
    )
    .await;
    assert_eq!(
        (&pinned[0]["first"], &pinned[0]["both"]),
        (&Value::from(40), &Value::from(80))
    );
    let error = engine.query(Query::new("SELECT * FROM usage_at(7)")).await.err().unwrap();
    assert_eq!(error.code(), "query_failed");
    assert!(error.to_string().contains("there are versions 0 to 2"), "{error}");
    // Only the files of days that are asked for are read: by the column, and by a report's month. A plan names the first few.
    store.flush().await.unwrap();
    let days = async |sql: &str| {
        let plan = rows(&engine, &format!("EXPLAIN {sql}")).await;
        let plan = plan.iter().map(|row| row["plan"].as_str().unwrap()).collect::<String>();
        plan.split("start_date=")
            .skip(1)
            .map(|rest| rest[..10].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        days("SELECT sum(cost) FROM usage WHERE start_date = DATE '2026-11-03'").await,
        ["2026-11-03"]
    );
    let months = async |month| days(&Chargeback::parse(month, "team", "UTC").unwrap().sql()).await;
    for month in ["2026-11", "2026-12"] {
        let days = months(month).await;
        assert!(
            !days.is_empty() && days.iter().all(|day| day.starts_with(month)),
            "{month}: {days:?}"
        );
    }
    assert!(months("2027-01").await.is_empty());
    store.close().await.unwrap();
}

/// A batch without rows, as a stopped gateway's memory is one, made DataFusion forget the lower of two bounds and skip files by the upper.
#[tokio::test]
async fn the_least_and_the_greatest_of_a_column_are_both_right() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path(), name("gw")).unwrap();
    let table = config.table.clone();
    let store = Store::open(config, prices()).await.unwrap();
    // Twenty days, a file each, the last first: the file that is read first has the greatest or the least, and not both.
    for number in (0..40).rev() {
        call(&*store.ledger(), number).await;
    }
    store.close().await.unwrap();
    let offline = Offline::open(folder.path(), &table).await.unwrap();
    let limits = Limits {
        spill_dir: folder.path().join("spill"),
        threads: 2,
        ..Limits::default()
    };
    let engine = Engine::new(Arc::new(offline), limits).unwrap();
    let seqs = rows(&engine, "SELECT min(seq) AS least, max(seq) AS greatest FROM usage").await;
    assert_eq!(seqs, [serde_json::json!({"least": 1, "greatest": 40})]);
    let times = rows(
        &engine,
        "SELECT min(start_time) AS least, max(start_time) AS greatest FROM usage",
    )
    .await;
    assert_eq!(times[0]["least"], "2026-11-01T00:00:00Z", "{times:?}");
    assert_eq!(times[0]["greatest"], "2026-11-20T12:00:00Z", "{times:?}");
}
