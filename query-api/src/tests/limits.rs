//! Bounds of a query, and what its caller is told at each.

use std::time::Duration;

use futures::StreamExt;

use super::{ENDLESS, PATIENCE, Server, error};

#[tokio::test]
async fn a_query_ends_when_its_client_leaves() {
    let server = Server::start().await;
    let request = tokio::spawn(server.sql(ENDLESS).send());
    server.wait_for_running(1).await;
    request.abort();
    server.wait_for_running(0).await;
    let stats = server.engine.stats();
    assert_eq!((stats.cancelled, stats.done, stats.failed), (1, 0, 0));
}

#[tokio::test]
async fn a_query_ends_when_its_client_leaves_in_the_middle_of_the_answer() {
    let server = Server::start().await;
    let response = server
        .sql("SELECT value, value AS again FROM generate_series(1, 900000)")
        .send()
        .await
        .unwrap();
    let mut body = response.bytes_stream();
    assert!(body.next().await.unwrap().is_ok());
    server.wait_for_running(1).await;
    drop(body);
    server.wait_for_running(0).await;
    assert_eq!(server.engine.stats().cancelled, 1);
    assert!(server.engine.stats().rows < 900_000);
}

#[tokio::test]
async fn a_query_ends_when_its_time_is_up() {
    let server = Server::with(|limits| limits.timeout = Duration::from_millis(200)).await;
    let (status, error) = server.error(ENDLESS).await;
    assert_eq!((status, error["code"].as_str()), (422, Some("query_timeout")));
    assert!(error["message"].as_str().unwrap().contains("0.2 s"), "{error}");
    server.wait_for_running(0).await;
    assert_eq!(server.engine.stats().failed, 1);
}

#[tokio::test]
async fn a_query_ends_when_its_client_takes_no_rows() {
    let server = Server::with(|limits| limits.client_wait = Duration::from_millis(100)).await;
    let response = server
        .sql("SELECT value, value AS again FROM generate_series(1, 900000)")
        .send()
        .await
        .unwrap();
    // Nothing is read until the query has ended.
    server.wait_for_running(0).await;
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "a cut answer looks whole");
    assert_eq!(server.engine.stats().failed, 1);
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory_is_told_the_limit() {
    let server = Server::with(|limits| limits.memory_bytes = 16 << 20).await;
    let (status, error) = server
        .error("SELECT array_agg(value) FROM generate_series(1, 10000000)")
        .await;
    assert_eq!((status, error["code"].as_str()), (422, Some("memory_exceeded")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("16 MiB"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("LIMIT"), "{error}");
    // What it held is given back.
    server.wait_for_running(0).await;
    assert_eq!(
        server.rows("SELECT count(*) AS n FROM generate_series(1, 10000)").await[0]["n"],
        10_000
    );
}

#[tokio::test]
async fn a_sort_beyond_the_memory_spills_to_disk_and_stays_a_sort() {
    const SORT: &str = "SELECT value * 7919 % 1000003 AS key, value AS a, value + 1 AS b, value + 2 AS c FROM generate_series(1, 900000) ORDER BY key";
    let server = Server::with(|limits| limits.memory_bytes = 64 << 20).await;
    let text = String::from_utf8(server.bytes(SORT, "text/csv").await).unwrap();
    let keys: Vec<u64> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(keys.len(), 900_000);
    assert!(keys.is_sorted());

    let cramped = Server::with(|limits| {
        limits.memory_bytes = 64 << 20;
        limits.spill_bytes = 1 << 20;
    })
    .await;
    let (status, error) = cramped.error(SORT).await;
    assert_eq!((status, error["code"].as_str()), (422, Some("spill_exceeded")), "{error}");
}

#[tokio::test]
async fn a_sort_of_long_texts_beyond_the_memory_spills_and_merges_within_it() {
    // Texts are views in the tables; long ones lie in buffers that many rows share.
    for kind in ["Utf8", "Utf8View"] {
        let sort = format!(
            "SELECT value * 7919 % 1000003 AS key, \
             arrow_cast(concat('a text that is longer than a view holds in place: number ', value), '{kind}') AS text \
             FROM generate_series(1, 900000) ORDER BY key"
        );
        let server = Server::with(|limits| limits.memory_bytes = 96 << 20).await;
        let text = String::from_utf8(server.bytes(&sort, "text/csv").await).unwrap();
        let rows: Vec<(u64, &str)> = text
            .lines()
            .skip(1)
            .map(|line| line.split_once(',').map(|(key, text)| (key.parse().unwrap(), text)).unwrap())
            .collect();
        assert_eq!(rows.len(), 900_000, "{kind}");
        assert!(rows.is_sorted_by_key(|(key, _)| *key), "{kind}");
        let (key, text) = rows[0];
        let number: u64 = text.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(number * 7919 % 1_000_003, key, "{kind}");
    }
}

#[tokio::test]
async fn an_answer_of_too_many_rows_is_an_error_not_a_short_answer() {
    let server = Server::with(|limits| limits.rows_max = 100).await;
    let (status, error) = server.error("SELECT value FROM generate_series(1, 101)").await;
    assert_eq!((status, error["code"].as_str()), (422, Some("too_many_rows")));
    assert_eq!(
        server
            .rows("SELECT value FROM generate_series(1, 100)")
            .await
            .as_array()
            .unwrap()
            .len(),
        100
    );

    // Beyond what is held back the head has been sent: the body is aborted, in every format.
    let server = Server::with(|limits| limits.rows_max = 300_000).await;
    let formats = [
        "application/json",
        "application/x-ndjson",
        "text/csv",
        "application/vnd.apache.arrow.stream",
    ];
    for accept in formats {
        let request = server
            .sql("SELECT value, value AS again FROM generate_series(1, 900000)")
            .header("accept", accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.bytes_stream();
        let (mut taken, mut cut) = (Vec::new(), false);
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(bytes) => taken.extend_from_slice(&bytes),
                Err(_) => cut = true,
            }
        }
        assert!(cut, "{accept}: a cut answer looks whole");
        if accept == "application/x-ndjson" {
            let text = String::from_utf8(taken).unwrap();
            assert!(
                text.lines().last().unwrap().contains("too_many_rows"),
                "{:?}",
                text.lines().last()
            );
        }
    }
    // A Parquet file of so few bytes is never begun before it ends, so its error is a whole one.
    let request = server
        .sql("SELECT 1 AS one FROM generate_series(1, 900000)")
        .header("accept", "application/vnd.apache.parquet");
    let (status, error) = super::error(request.send().await.unwrap()).await;
    assert_eq!((status, error["code"].as_str()), (422, Some("too_many_rows")));
}

#[tokio::test]
async fn an_error_in_the_middle_of_an_answer_aborts_it() {
    let server = Server::start().await;
    let response = server
        .sql("SELECT value, 1 / (value - 900000) AS x FROM generate_series(1, 1000000)")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "a cut answer looks whole");
    server.wait_for_running(0).await;
    assert_eq!(server.engine.stats().failed, 1);
}

#[tokio::test]
async fn a_query_beyond_the_queue_is_refused_and_one_in_it_waits() {
    let server = Server::with(|limits| {
        limits.concurrency = 1;
        limits.queue_max = 1;
        limits.queue_wait = PATIENCE;
    })
    .await;
    let running = tokio::spawn(server.sql(ENDLESS).send());
    server.wait_for_running(1).await;
    let waiting = tokio::spawn(server.sql("SELECT 1 AS one").send());
    // The second query waits as soon as the engine says so; until then a third would take its place.
    tokio::time::timeout(PATIENCE, async {
        while server.engine.stats().waiting == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let response = server.sql("SELECT 2").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "2");
    let (status, error) = error(response).await;
    assert_eq!((status, error["code"].as_str()), (429, Some("too_many_queries")));
    assert_eq!(server.engine.stats().refused, 1);
    running.abort();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn no_statement_overflows_the_stack() {
    let server = Server::start().await;
    let many = |part: &str, bytes: usize| part.repeat(bytes / part.len());
    let bytes = 120 << 10;
    let statements = [
        format!("SELECT 1{}", many("+1", bytes)),
        format!("SELECT 1{}", many(" OR 1", bytes)),
        format!("SELECT ''{}", many("||''", bytes)),
        format!("SELECT {}1", many("- ", bytes)),
        format!("SELECT {}true", many("NOT ", bytes)),
        format!("SELECT {}1{}", many("(", bytes / 2), many(")", bytes / 2)),
        format!("SELECT {}1{}", many("[", bytes / 2), many("]", bytes / 2)),
        format!("SELECT {}1{}", many("abs(", bytes / 2), many(")", bytes / 8)),
        format!("SELECT {}1{}", many("(SELECT ", bytes / 2), many(")", bytes / 16)),
        format!(
            "SELECT {}1{}",
            many("CASE WHEN true THEN ", bytes / 2),
            many(" END", bytes / 10)
        ),
        format!("SELECT 1{}", many("::INT", bytes)),
        format!("SELECT team{} FROM usage", many("[1]", bytes)),
        format!("SELECT team{} FROM usage", many(" IS NULL", bytes)),
        format!("SELECT a{} FROM usage", many(".b", bytes)),
        format!("SELECT 1{}", many(" UNION SELECT 1", bytes)),
        format!("SELECT 1 FROM usage{}", many(", usage", bytes)),
        format!("SELECT 1 FROM usage{}", many(" NATURAL JOIN usage", bytes)),
        format!("{}SELECT 1", many("EXPLAIN ", bytes)),
        many("SELECT 1;", bytes),
    ];
    for sql in statements {
        let (status, error) = server.error(&sql).await;
        assert_eq!(status, 400, "{}: {error}", &sql[..40]);
        assert!(error.to_string().len() < 2_000, "{}", &sql[..40]);
    }
    // What people and programs write passes.
    let ids = (0..5_000).map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let terms = (0..400)
        .map(|id| format!("user_id = 'user-{id}'"))
        .collect::<Vec<_>>()
        .join(" OR ");
    server
        .rows(&format!(
            "SELECT count(*) AS n FROM usage WHERE user_id IN ({ids}) OR {terms}"
        ))
        .await;
    server
        .rows(&format!("SELECT 1 AS one{}", " UNION ALL SELECT 1".repeat(80)))
        .await;
}
