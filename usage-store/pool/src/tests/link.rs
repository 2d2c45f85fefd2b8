//! The script on a real server: it answers what the pool in memory answers, and nothing that a server does makes it grant too much.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tollgate_budget::pool::{Answer, Ask, Keep, Memory, PoolKey, Reply};

use super::server::Server;
use super::{config, name};
use crate::link::Link;
use crate::{Config, Error};

/// Says who it is, and hears which epoch there is.
async fn epoch(link: &mut Link, config: &Config) -> String {
    link.ask(config, "", &[]).await.unwrap().epoch
}

/// A question of nothing, about the counter of this number.
fn alone(key: u8, seq: u64) -> Ask {
    Ask {
        key: PoolKey::from_bytes([key; 16]),
        seq,
        holds: 0,
        need: 0,
        want: 0,
        limit: 0,
        seen: Vec::new(),
        keep: Keep::Until(4_000_000_000_000),
        lease: 0,
    }
}

fn wants(key: u8, seq: u64, holds: u64, all: u64, limit: u64) -> Ask {
    Ask {
        holds,
        need: all,
        want: all,
        limit,
        ..alone(key, seq)
    }
}

fn only(reply: &Reply) -> Answer {
    let [answer] = reply.answers.as_deref().unwrap() else {
        panic!("one question, {reply:?}")
    };
    *answer
}

/// A question of one of three gateways.
fn asked() -> impl Strategy<Value = (usize, Vec<Ask>)> {
    let amounts = (0..60_u64, 0..60_u64, 0..60_u64, 50..100_u64);
    let seen = proptest::collection::vec((0..4_usize, 1..40_u64), 0..3);
    let one =
        (0..3_u8, 1..12_u64, amounts, seen, any::<bool>()).prop_map(|(key, seq, (holds, need, want, limit), seen, rolling)| {
            let mut by_name = std::collections::BTreeMap::new();
            seen.into_iter().for_each(|(by, amount)| {
                by_name.insert(name(&format!("gw-{by}")), amount);
            });
            Ask {
                holds,
                need,
                want,
                limit,
                seen: by_name.into_iter().collect(),
                // A key is of one kind of window.
                keep: match key == 2 || rolling && key == 1 {
                    true => Keep::Unheard(86_400_000),
                    false => Keep::Until(4_000_000_000_000),
                },
                ..alone(key, seq)
            }
        });
    (0..3_usize, proptest::collection::vec(one, 0..4))
}

#[test]
fn the_server_answers_what_the_pool_in_memory_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Server::start(&[]);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let play = proptest::collection::vec(asked(), 1..40);
    let grace = any::<bool>();
    let told = runner.run(&(play, grace), |(play, in_grace)| {
        let grace_ms = if in_grace { 600_000 } else { 0 };
        runtime.block_on(async {
            server.say(&["FLUSHALL"]).await;
            let memory = Memory::new(grace_ms);
            let configs: Vec<_> = (0..3)
                .map(|by| config(&server.url(), &format!("gw-{by}"), grace_ms))
                .collect();
            let mut link = Link::connect(&configs[0]).await.unwrap();
            let id = epoch(&mut link, &configs[0]).await;
            for (by, asks) in play {
                let there = link.ask(&configs[by], &id, &asks).await.unwrap();
                let here = memory.ask(&configs[by].instance, "1", &asks, 1_000_000);
                assert_eq!(there.answers, here.answers, "{asks:?}");
                assert_eq!(there.grace_ms > 0, in_grace);
            }
        });
        Ok(())
    });
    told.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_at_once_are_never_granted_more_than_the_limit() {
    const LIMIT: u64 = 1_000;
    let server = Arc::new(Server::start(&[]));
    let mut tasks = Vec::new();
    for by in 0..8 {
        let config = config(&server.url(), &format!("gw-{by}"), 0);
        tasks.push(tokio::spawn(async move {
            let mut link = Link::connect(&config).await.unwrap();
            let id = epoch(&mut link, &config).await;
            let mut held = 0;
            for seq in 1..=200 {
                // More each time, and in the first half now and then less.
                let holds = if seq < 100 && seq % 7 == 0 { held / 2 } else { held };
                let ask = wants(1, seq, holds, holds + 1 + by + seq % 5, LIMIT);
                let Answer::Granted { granted, .. } = only(&link.ask(&config, &id, &[ask]).await.unwrap()) else {
                    panic!("nobody else has this name")
                };
                assert!(granted >= holds);
                held = granted;
            }
            held
        }));
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    assert!(
        sum <= LIMIT && sum > LIMIT - 20,
        "{sum}: all of it, but for what fitted nobody's question"
    );
}

#[tokio::test]
async fn a_server_that_has_forgotten_its_scripts_is_told_them_again() {
    let server = Server::start(&[]);
    let config = config(&server.url(), "gw", 0);
    let mut link = Link::connect(&config).await.unwrap();
    let id = epoch(&mut link, &config).await;
    server.say(&["SCRIPT", "FLUSH"]).await;
    for seq in 1..3 {
        let answer = only(&link.ask(&config, &id, &[wants(1, seq, 0, 7, 10)]).await.unwrap());
        assert_eq!(answer, Answer::Granted { granted: 7, room: 10 });
    }
}

#[tokio::test]
async fn a_server_that_was_flushed_grants_nothing_until_it_was_told_what_is_held() {
    let server = Server::start(&[]);
    // No gateway is live so long that its time of grace would end in this test.
    let (first, second) = (
        config(&server.url(), "first", 600_000),
        config(&server.url(), "second", 600_000),
    );
    let mut link = Link::connect(&first).await.unwrap();
    // A server that is new is in its time of grace; here that is over.
    let id = epoch(&mut link, &first).await;
    server.say(&["HSET", "test:{budgets}:epoch", "until", "1"]).await;
    let reply = link.ask(&first, &id, &[wants(1, 1, 0, 60, 100)]).await.unwrap();
    assert_eq!(
        (only(&reply), reply.grace_ms),
        (Answer::Granted { granted: 60, room: 100 }, 0)
    );

    server.say(&["FLUSHALL"]).await;
    let fresh = link.ask(&second, &id, &[wants(1, 1, 0, 50, 100)]).await.unwrap();
    assert_ne!(fresh.epoch, id);
    assert_eq!(fresh.answers, None, "an epoch that is past: nothing is done");
    assert!(fresh.grace_ms > 590_000);
    let id = fresh.epoch;
    let second_asks = wants(1, 2, 0, 50, 100);
    let reply = link.ask(&second, &id, std::slice::from_ref(&second_asks)).await.unwrap();
    assert!(matches!(only(&reply), Answer::Granted { granted: 0, .. }), "{reply:?}");
    // The first says what it holds. When the grace is over, the second has what is left, and no more.
    let reply = link.ask(&first, &id, &[wants(1, 2, 60, 60, 100)]).await.unwrap();
    assert!(matches!(only(&reply), Answer::Granted { granted: 60, .. }));
    server.say(&["HSET", "test:{budgets}:epoch", "until", "1"]).await;
    let reply = link.ask(&second, &id, &[wants(1, 3, 0, 50, 100)]).await.unwrap();
    assert_eq!(only(&reply), Answer::Granted { granted: 0, room: 40 });
    let reply = link.ask(&second, &id, &[wants(1, 4, 0, 40, 100)]).await.unwrap();
    assert_eq!(only(&reply), Answer::Granted { granted: 40, room: 40 });
    assert_eq!(reply.live, 2);
}

#[tokio::test]
async fn a_server_that_was_started_anew_has_another_epoch() {
    let mut server = Server::start(&[]);
    let config = config(&server.url(), "gw", 600_000);
    let mut link = Link::connect(&config).await.unwrap();
    let id = epoch(&mut link, &config).await;
    let again = epoch(&mut Link::connect(&config).await.unwrap(), &config).await;
    assert_eq!(id, again, "another connection is the same server");
    server.restart();
    assert!(matches!(link.ask(&config, &id, &[]).await, Err(Error::Answer { .. })));
    let mut link = Link::connect(&config).await.unwrap();
    let reply = link.ask(&config, &id, &[]).await.unwrap();
    assert!(reply.epoch != id && reply.answers.is_none() && reply.grace_ms > 590_000);
}

/// Also where it kept its data: it may have lost what was written last.
#[tokio::test]
async fn data_of_a_server_that_ended_are_not_trusted_but_kept() {
    let server = Server::start(&[]);
    let config = config(&server.url(), "gw", 600_000);
    let mut link = Link::connect(&config).await.unwrap();
    let id = epoch(&mut link, &config).await;
    server
        .say(&["HSET", "test:{budgets}:epoch", "until", "1", "run", "0123abc"])
        .await;
    let reply = link.ask(&config, &id, &[wants(1, 1, 0, 5, 10)]).await.unwrap();
    assert!(
        reply.epoch != id && reply.answers.is_none() && reply.grace_ms > 590_000,
        "{reply:?}"
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_its_late_answer_is_nobodys() {
    let server = Server::start(&[]);
    let mut hasty = config(&server.url(), "gw", 0);
    let mut link = Link::connect(&hasty).await.unwrap();
    let id = epoch(&mut link, &hasty).await;
    server.signal("STOP");
    hasty.timeout = Duration::from_millis(30);
    let late = link.ask(&hasty, &id, &[wants(1, 1, 0, 3, 10)]).await;
    let told = late.unwrap_err().to_string();
    assert_eq!(
        told,
        format!("redis://127.0.0.1:{} did not answer within 30 ms", server.port())
    );
    let connecting = Link::connect(&hasty).await;
    assert!(matches!(connecting, Err(Error::Slow { .. } | Error::Connect { .. })));
    server.signal("CONT");
    // It answers the old question now, or has: one that was asked later holds.
    let patient = config(&server.url(), "gw", 0);
    let mut link = Link::connect(&patient).await.unwrap();
    let reply = link.ask(&patient, &id, &[wants(1, 2, 2, 8, 10)]).await.unwrap();
    assert_eq!(only(&reply), Answer::Granted { granted: 8, room: 10 });
    let overtaken = link.ask(&patient, &id, &[wants(1, 1, 0, 3, 10)]).await.unwrap();
    assert_eq!(only(&overtaken), Answer::Overtaken(2));
}

#[tokio::test]
async fn a_password_is_needed_and_is_not_told() {
    let server = Server::start(&["--requirepass", "open-sesame"]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}/0", server.port());
    assert!(Link::connect(&config(&url("open-sesame"), "gw", 0)).await.is_ok());
    for wrong in [url("guess-4711"), server.url()] {
        let config = config(&wrong, "gw", 0);
        let Err(error) = Link::connect(&config).await else {
            panic!("{wrong} is let in")
        };
        let mut told = format!("{error} {error:?} {config:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            told.push_str(&inner.to_string());
            source = inner.source();
        }
        assert!(
            error
                .to_string()
                .starts_with(&format!("redis://127.0.0.1:{} ", server.port())),
            "{told}"
        );
        assert!(!told.contains("guess-4711") && !told.contains("sesame"), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_may_evict_what_was_granted_is_not_used() {
    let server = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"]);
    let config = config(&server.url(), "gw", 0);
    match Link::connect(&config).await {
        Err(Error::Evicts { policy, .. }) => assert_eq!(policy, "volatile-lru"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it may evict"),
    }
    server.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    assert!(Link::connect(&config).await.is_ok());
}

#[tokio::test]
async fn a_user_of_its_own_needs_what_the_documentation_says() {
    let document = include_str!("../../../../docs/rules.md");
    let (_, told) = document.split_once("A user of its own needs `").unwrap();
    let (told, _) = told.split_once('`').unwrap();
    let server = Server::start(&[]);
    let mut user = vec!["ACL", "SETUSER", "gateway", "on", ">word", "~test:*"];
    user.extend(told.split(' '));
    server.say(&user).await;
    let config = config(&format!("redis://gateway:word@127.0.0.1:{}", server.port()), "gw", 600_000);
    let mut link = Link::connect(&config).await.unwrap();
    let id = epoch(&mut link, &config).await;
    assert!(!id.starts_with('-'), "it may see which server it is");
    let rolling = Ask {
        keep: Keep::Unheard(90_000_000),
        ..wants(2, 2, 1, 1, 9)
    };
    let reply = link.ask(&config, &id, &[wants(1, 1, 1, 1, 9), rolling]).await.unwrap();
    assert_eq!(reply.answers, Some(vec![Answer::Granted { granted: 1, room: 9 }; 2]));
}

#[tokio::test]
async fn counters_end_with_their_windows() {
    let server = Server::start(&[]);
    let config = config(&server.url(), "gw", 0);
    let mut link = Link::connect(&config).await.unwrap();
    let id = epoch(&mut link, &config).await;
    let key = |ask: &Ask| format!("test:{{budgets}}:{}", ask.key.hex());
    let calendar = Ask {
        keep: Keep::Until(4_000_000_000_000),
        ..wants(1, 1, 0, 1, 9)
    };
    let rolling = Ask {
        keep: Keep::Unheard(90_000_000),
        ..wants(2, 2, 0, 1, 9)
    };
    let past = Ask {
        keep: Keep::Until(1),
        ..wants(3, 3, 0, 1, 9)
    };
    link.ask(&config, &id, &[calendar.clone(), rolling.clone(), past.clone()])
        .await
        .unwrap();
    let at = server.say(&["PEXPIRETIME", &key(&calendar)]).await;
    assert_eq!(at, redis::Value::Int(4_000_000_000_000));
    let redis::Value::Int(left) = server.say(&["PTTL", &key(&rolling)]).await else {
        panic!("a number")
    };
    assert!((80_000_000..=90_000_000).contains(&left), "{left}");
    assert_eq!(server.say(&["EXISTS", &key(&past)]).await, redis::Value::Int(0));
}
