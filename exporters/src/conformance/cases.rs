//! The cases. Each is a sentence that holds for every kind; a kind that cannot do what a case needs passes it by.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tollgate_record::Timestamp;

use super::{Bench, Fault, Rig};
use crate::ambient::Ambient;
use crate::testing::{FIRST_US, MINUTE_US, id_of, rows_of};
use crate::{Shape, Share, Start, State};

/// Rows that pile up while the far side is down, unless `TOLLGATE_TORTURE_ROWS` says how many.
const BACKLOG: u64 = 500;

fn backlog() -> u64 {
    let told = std::env::var("TOLLGATE_TORTURE_ROWS").ok();
    told.map_or(BACKLOG, |rows| {
        rows.parse().expect("TOLLGATE_TORTURE_ROWS is a number of rows")
    })
}

fn none() -> BTreeSet<String> {
    BTreeSet::new()
}

pub(crate) async fn every_row_of_every_gateway_is_delivered<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 130), ("gw-2", 70)]).await;
    let status = bench.finish().await;
    bench.check(&none()).await;
    assert_eq!((status.delivered, status.dead, status.last_error), (200, 0, None));
    assert_eq!(bench.rig.taken().len(), 200, "nothing went wrong, so nothing came twice");
}

pub(crate) async fn a_far_side_that_is_down_gets_everything_when_it_is_back<R: Rig>() {
    let rows = backlog();
    let bench = Bench::<R>::new(&[("gw-1", rows)]).await;
    assert!(bench.rig.fault(Fault::Down(30)));
    let status = bench.finish().await;
    bench.check(&none()).await;
    assert!(status.retried > 0 && status.last_error.is_some(), "{status:?}");
    assert_eq!(status.delivered, rows);
}

pub(crate) async fn a_far_side_that_asks_for_time_gets_it<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 10)]).await;
    let after = Duration::from_secs(60);
    if bench.rig.fault(Fault::Busy(2, after)) {
        bench.finish().await;
        bench.check(&none()).await;
        assert!(bench.clock.elapsed() >= after * 2, "{:?}", bench.clock.elapsed());
    }
}

pub(crate) async fn a_far_side_that_hangs_is_tried_again<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 50)]).await;
    assert!(bench.rig.fault(Fault::Hang(3)));
    let status = bench.finish().await;
    bench.check(&none()).await;
    assert!(bench.clock.elapsed() >= bench.settings.timeout);
    assert!(status.last_error.unwrap().contains("did not answer"));
}

pub(crate) async fn a_slow_far_side_gets_everything<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 50)]).await;
    if bench.rig.fault(Fault::Slow(2)) {
        let status = bench.finish().await;
        bench.check(&none()).await;
        assert_eq!((status.delivered, status.retried), (50, 0));
    }
}

pub(crate) async fn a_connection_cut_after_taking_repeats_and_loses_nothing<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 100)]).await;
    assert!(bench.rig.fault(Fault::TakesAndCuts(4)));
    let status = bench.finish().await;
    bench.check(&none()).await;
    assert!(status.retried > 0);
    assert!(bench.rig.drops_repeats() || bench.rig.taken().len() > 100);
}

pub(crate) async fn answers_that_are_none_are_tried_again<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 50)]).await;
    if bench.rig.fault(Fault::Garbage(3)) {
        let status = bench.finish().await;
        bench.check(&none()).await;
        assert!(status.retried > 0);
    }
}

pub(crate) async fn rows_that_are_refused_are_dead_and_the_others_go_on<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 100), ("gw-2", 30)]).await;
    let bad: BTreeSet<_> = [("gw-1", 1), ("gw-1", 50), ("gw-1", 51), ("gw-2", 30)]
        .map(|(instance, seq)| id_of(instance, seq))
        .into();
    if bench.rig.fault(Fault::BadRows(bad.clone())) {
        let status = bench.finish().await;
        bench.check(&bad).await;
        assert_eq!((status.delivered, status.dead), (126, 4));
        let (exporter, _runner) = bench.open().await;
        let letters = exporter.dead_letters().await.unwrap();
        let places: Vec<_> = letters
            .iter()
            .map(|letter| (letter.instance.as_str(), letter.seq.get()))
            .collect();
        assert_eq!(places, [("gw-1", 1), ("gw-1", 50), ("gw-1", 51), ("gw-2", 30)]);
        assert!(letters.iter().all(|letter| !letter.answer.is_empty()));
    }
}

pub(crate) async fn a_far_side_that_refuses_everything_stops_the_exporter_at_the_limit_of_dead_letters<R: Rig>() {
    let mut bench = Bench::<R>::new(&[("gw-1", 200)]).await;
    bench.settings.dead_bytes_max = 1000;
    if !bench.rig.fault(Fault::BadRows(bench.all_ids())) {
        return;
    }
    bench
        .run(async |exporter| {
            let status = bench.until(exporter, |status| status.state == State::Stuck).await;
            assert!(status.last_error.unwrap().contains("tollgate exporter clear-dead finance"));
            // A batch for each that was under way, and no more.
            assert!(status.dead < 100, "{} rows are dead", status.dead);
            // The far side is mended, and the letters are forgotten: what was dead is delivered by starting over.
            bench.rig.fault(Fault::BadRows(none()));
            exporter.clear_dead_letters().await.unwrap();
            exporter.reset(Start::Beginning).await.unwrap();
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    bench.check(&none()).await;
}

pub(crate) async fn a_certificate_that_is_not_trusted_gets_nothing<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 30)]).await;
    if !bench.rig.fault(Fault::Untrusted(true)) {
        return;
    }
    bench
        .run(async |exporter| {
            let status = bench.until(exporter, |status| status.retried > 3).await;
            let error = status.last_error.unwrap();
            assert!(error.contains("certificate"), "{error}");
            assert_eq!(bench.rig.taken(), Vec::<String>::new());
            bench.rig.fault(Fault::Untrusted(false));
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    bench.check(&none()).await;
}

pub(crate) async fn a_credential_can_be_rotated_while_it_runs<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 30)]).await;
    let rotated = bench
        .run(async |exporter| {
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
            if !bench.rig.fault(Fault::Rotated) {
                return false;
            }
            bench.source.append(rows_of("gw-1", 31..=60));
            let status = bench.until(exporter, |status| status.state == State::Stuck).await;
            assert_eq!(status.dead, 0);
            let before = bench.clock.elapsed();
            exporter.replace(bench.settings.clone(), bench.destination()).await.unwrap();
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
            assert!(
                bench.clock.elapsed() - before < bench.settings.stuck_retry,
                "it waited although it was told"
            );
            true
        })
        .await;
    if rotated {
        let taken: BTreeSet<_> = bench.rig.taken().into_iter().collect();
        assert_eq!(taken, (1..=60).map(|seq| id_of("gw-1", seq)).collect());
    }
}

pub(crate) async fn a_process_that_ends_at_any_point_loses_nothing<R: Rig>() {
    for seed in 1..=3_u64 {
        let bench = Bench::<R>::new(&[("gw-1", 100), ("gw-2", 100)]).await;
        let mut random = seed;
        for _ in 0..12 {
            bench.rig.fault(Fault::TakesAndCuts(usize::from(random.is_multiple_of(3))));
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (_exporter, runner) = bench.open().await;
            let mut running = pin!(runner.run(CancellationToken::new()));
            let mut polls = (random >> 33) % 400;
            let dropped = std::future::poll_fn(|context| {
                polls = polls.saturating_sub(1);
                if polls == 0 {
                    Poll::Ready(())
                } else {
                    running.as_mut().poll(context)
                }
            });
            bench.clock.drive(dropped).await;
        }
        bench.finish().await;
        println!("seed {seed}: {} deliveries of 200 rows", bench.rig.taken().len());
        bench.check(&none()).await;
    }
}

pub(crate) async fn a_damaged_cursor_repeats_and_never_skips<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 100)]).await;
    bench.finish().await;
    std::fs::write(bench.folder.path().join("finance.cursor"), "no cursor").unwrap();
    let status = bench
        .run(async |exporter| {
            let said = exporter.status().await.last_error.unwrap();
            assert!(said.contains("the one before it"), "{said}");
            bench.until(exporter, |status| status.lag_rows == Some(0)).await
        })
        .await;
    assert!(status.delivered >= 100);
    bench.check(&none()).await;
}

pub(crate) async fn two_damaged_cursors_stop_the_exporter_until_it_is_reset<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 60)]).await;
    bench.finish().await;
    for name in ["finance.cursor", "finance.cursor.old"] {
        std::fs::write(bench.folder.path().join(name), "no cursor").unwrap();
    }
    let taken = bench.rig.taken().len();
    bench
        .run(async |exporter| {
            let status = bench.until(exporter, |status| status.state == State::Failed).await;
            let error = status.last_error.unwrap();
            assert!(
                error.contains("finance.cursor") && error.contains("tollgate exporter reset finance"),
                "{error}"
            );
            bench.clock.sleep(Duration::from_secs(86_400)).await;
            assert_eq!(bench.rig.taken().len(), taken);
            exporter.reset(Start::Beginning).await.unwrap();
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    assert!(bench.rig.drops_repeats() || bench.rig.taken().len() == taken + 60);
    bench.check(&none()).await;
}

pub(crate) async fn a_ledger_that_cannot_be_read_is_read_again<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 60)]).await;
    bench.source.fail(5);
    bench
        .run(async |exporter| {
            let status = bench.until(exporter, |status| status.last_error.is_some()).await;
            assert!(status.last_error.unwrap().contains("the table is away"));
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    bench.check(&none()).await;
}

pub(crate) async fn pausing_survives_a_restart<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 40)]).await;
    bench
        .run(async |exporter| {
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
            exporter.pause().await.unwrap();
        })
        .await;
    bench.source.append(rows_of("gw-1", 41..=50));
    bench
        .run(async |exporter| {
            bench.until(exporter, |status| status.state == State::Paused).await;
            bench.clock.sleep(Duration::from_secs(3600)).await;
            assert_eq!((exporter.status().await.lag_rows, bench.rig.taken().len()), (Some(10), 40));
            exporter.resume().await.unwrap();
            bench.until(exporter, |status| status.lag_rows == Some(0)).await;
        })
        .await;
    assert_eq!(bench.rig.taken().len(), 50);
}

pub(crate) async fn a_replay_leaves_the_cursor_alone<R: Rig>() {
    let bench = Bench::<R>::new(&[("gw-1", 100)]).await;
    let minute = |minutes: i64| Timestamp::from_unix_us(FIRST_US + minutes * MINUTE_US);
    let (replayed, status) = bench
        .run(async |exporter| {
            let before = bench.until(exporter, |status| status.lag_rows == Some(0)).await;
            let replayed = exporter.replay(minute(10), minute(35)).await.unwrap();
            let status = exporter.status().await;
            assert_eq!((&status.cursor, status.delivered), (&before.cursor, before.delivered));
            (replayed, status)
        })
        .await;
    // A row a minute, the first in minute 0.
    assert_eq!((replayed, status.replayed), (25, 25));
    let taken = bench.rig.taken();
    let again: BTreeSet<_> = taken
        .iter()
        .filter(|id| taken.iter().filter(|other| other == id).count() == 2)
        .cloned()
        .collect();
    let expected = if bench.rig.drops_repeats() {
        none()
    } else {
        (11..=35).map(|seq| id_of("gw-1", seq)).collect()
    };
    assert_eq!(again, expected);
    bench.check(&none()).await;
}

pub(crate) async fn a_preview_sends_nothing<R: Rig>() {
    let mut bench = Bench::<R>::new(&[("gw-1", 40)]).await;
    bench.settings.shape = Shape::new(Share::ALL, Some(&["charges".to_owned()]), &[]).unwrap();
    let (exporter, _runner) = bench.open().await;
    let shown = exporter.preview().await.unwrap().unwrap();
    assert!(shown.contains(&id_of("gw-1", 1)) && !shown.contains("team-1"), "{shown}");
    assert_eq!(bench.rig.taken(), Vec::<String>::new());
}
