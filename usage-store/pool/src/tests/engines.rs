//! Gateways' engines with members of the pool on a real server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tollgate_budget::pool::{OnOutage, Reach};
use tollgate_budget::{Engine, Facts, Matcher, Pricing, WorstCase};
use tollgate_record::admission::{Bounds, NotShared, Permit, Refusal};
use tollgate_record::rule::{Action, Budget, Limit, Reservation, Unpriced, Window};
use tollgate_record::{Call, CallId, Caller, Cost, Ending, Identity, Intent, Name, Outcome, Record, Timestamp};

use super::server::Server;
use super::{config, name};
use crate::{Config, Member};

/// Whatever is waited for here is an event; this is when a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

struct All;

impl Matcher for All {
    fn matching(&self, _facts: &Facts<'_>) -> Arc<(Vec<u32>, Vec<u32>)> {
        Arc::new((vec![0], vec![]))
    }
}

struct Nothing;

impl Pricing for Nothing {
    fn worst(&self, _model: Option<&Name>, _bounds: &Bounds) -> WorstCase {
        WorstCase {
            cost: Ok((0, name("USD"))),
            input_tokens: 0,
            output_tokens: 0,
        }
    }
}

/// A gateway of a budget of so many calls.
struct Gateway {
    engine: Arc<Engine>,
    member: Arc<Member>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Gateway {
    fn start(config: Config, calls: u64) -> Self {
        let engine = Arc::new(Engine::default());
        let member = Member::new(config, Arc::clone(&engine));
        let budget = Budget {
            name: name("calls"),
            when: None,
            per: vec![],
            limit: Limit::Calls(calls),
            window: Window::Once {
                start: Timestamp::from_unix_us(0),
                // 2096
                end: Timestamp::from_unix_us(4_000_000_000_000_000),
            },
            action: Action::Refuse,
            reservation: Reservation::WorstCase,
            clamp: false,
            unpriced: Unpriced::Refuse,
            status: 402,
            alerts: vec![],
            alert_projected: false,
            alert_anomaly: false,
        };
        let rules = engine.number(vec![budget], vec![], Arc::new(All));
        for rule in &rules.budgets {
            engine.collect(&rules);
            engine.load(rule, Timestamp::from_unix_us(1), &[]);
        }
        engine.install(rules);
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&member).run(stop.clone()));
        Self {
            engine,
            member,
            stop,
            running,
        }
    }

    /// One whose time of grace is over.
    async fn ready(server: &Server, config: Config, calls: u64) -> Self {
        let gateway = Self::start(config, calls);
        assert!(gateway.member.reached(PATIENCE).await);
        server.say(&["HSET", "test:{budgets}:epoch", "until", "1"]).await;
        gateway
    }

    /// As the request path does it.
    async fn call(&self, id: u64) -> Result<Permit, Refusal> {
        let mut rounds = 0;
        loop {
            match self.engine.reserve(&intent(id), Bounds::default, &Nothing) {
                Err(Refusal::Pending(pending)) if rounds < 3 => {
                    rounds += 1;
                    self.engine.granted(&pending).await;
                }
                decided => return decided,
            }
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

fn intent(id: u64) -> Intent {
    let call_id = CallId::from_parts(id, [0; 10]);
    Intent {
        call_id,
        request_id: call_id.as_request(),
        attempt: 1,
        start_time: Timestamp::from_unix_us(1_000_000),
        identity: Arc::new(Identity {
            key_id: name("k"),
            org: None,
            team: None,
            project: None,
            service: None,
            user: None,
        }),
        caller: Caller::default(),
        call: Call {
            operation_name: name("chat"),
            proxy: None,
            provider_name: None,
            template: None,
            upstream: None,
            region: None,
            request_model: None,
            stream: false,
            route_rule: None,
            cache: None,
        },
        request_bytes: 0,
        bears_usage: true,
    }
}

/// Tries until it is so. Each try asks the server, so none is idle.
async fn until<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let tried = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, tried).await.expect("it comes to be")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_gateways_let_pass_exactly_the_limit() {
    const LIMIT: u64 = 3_000;
    let server = Server::start(&[]);
    let mut gateways = Vec::new();
    for by in 0..3 {
        gateways.push(Arc::new(
            Gateway::ready(&server, config(&server.url(), &format!("gw-{by}"), 0), LIMIT).await,
        ));
    }
    let mut tasks = Vec::new();
    for (place, gateway) in gateways.iter().enumerate() {
        for task in 0..4_u64 {
            let gateway = Arc::clone(gateway);
            tasks.push(tokio::spawn(async move {
                let mut passed = 0;
                for turn in 0..2_000 {
                    let id = (place as u64) * 1_000_000 + task * 10_000 + turn;
                    match gateway.call(id).await {
                        Ok(permit) => {
                            permit.hold.unwrap().keep();
                            let ending = Ending::of(Outcome::Ok);
                            gateway
                                .engine
                                .post([&Record::new(name("gw"), intent(id), ending, Cost::free())]);
                            passed += 1;
                        }
                        Err(Refusal::Budget(over)) => {
                            assert_eq!(over.limit.to_string(), "3000 calls");
                            return passed;
                        }
                        // Others took what was there, three times.
                        Err(Refusal::Pending(_)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                passed
            }));
        }
    }
    let mut passed = 0;
    for task in tasks {
        passed += task.await.unwrap();
    }
    // What is with gateways whose callers have gone is not more than a slice of each, which is small at the end.
    assert!(passed <= LIMIT && passed > LIMIT - 3 * LIMIT / 20, "{passed}");
    let questions: u64 = gateways.iter().map(|gateway| gateway.member.stats().questions).sum();
    assert!(questions < passed / 2, "{questions} questions for {passed} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_is_given_back_at_the_end() {
    let server = Server::start(&[]);
    let first = Gateway::ready(&server, config(&server.url(), "first", 0), 100).await;
    let second = Gateway::ready(&server, config(&server.url(), "second", 0), 100).await;
    first.call(1).await.unwrap().hold.unwrap().keep();
    assert!(first.member.stats().leases.granted == 1);
    first.end().await;
    // One is open at the first, for ever; the slice that it had is back.
    for id in 0..99 {
        second.call(100 + id).await.unwrap().hold.unwrap().keep();
    }
    assert!(matches!(second.call(999).await, Err(Refusal::Budget(_))));
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_is_told_what_is_held_when_it_is_back() {
    let mut server = Server::start(&[]);
    let gateway = Gateway::ready(&server, config(&server.url(), "gw", 2_000), 100).await;
    until(|| async { gateway.call(1).await.ok() }).await.hold.unwrap().keep();
    server.kill();
    // Within what was granted calls pass; what is refused further is refused for that.
    let refused = until(|| async { gateway.call(2).await.map(|permit| permit.hold.unwrap().keep()).err() }).await;
    match refused {
        Refusal::Unshared(unshared) => assert_eq!(unshared.why, NotShared::Away),
        other => panic!("{other:?}"),
    }
    assert!(gateway.member.trouble().is_some_and(|words| words.contains("127.0.0.1")));
    server.restart();
    assert!(gateway.member.reached(PATIENCE).await);
    until(|| async { (gateway.engine.reach() == Some(Reach::Up)).then_some(()) }).await;
    assert_eq!(gateway.member.stats().epochs, 2);
    // The rest is there to the last: a hundred in all.
    let mut passed = gateway.engine.open() as u64;
    for id in 1_000.. {
        match gateway.call(id).await {
            Ok(permit) => {
                permit.hold.unwrap().keep();
                passed += 1;
            }
            Err(Refusal::Budget(_)) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    let standing = gateway.engine.standings().remove(0);
    assert_eq!((standing.reserved, gateway.engine.open() as u64), (100, passed));
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_no_call_for_longer_than_the_limit() {
    let server = Server::start(&[]);
    let hasty = Config {
        timeout: Duration::from_millis(300),
        on_outage: OnOutage::Refuse,
        ..config(&server.url(), "gw", 0)
    };
    let gateway = Gateway::ready(&server, hasty, 100).await;
    until(|| async { gateway.call(1).await.ok() }).await.hold.unwrap().keep();
    server.signal("STOP");
    // Every call is answered: with a permit while nobody has noticed, then with what is the matter.
    let why = until(|| async {
        match gateway.call(2).await {
            Err(Refusal::Unshared(unshared)) => Some(unshared.why),
            _ => None,
        }
    })
    .await;
    assert_eq!(why, NotShared::Away);
    assert!(
        matches!(gateway.call(3).await, Err(Refusal::Unshared(_))),
        "by choice nothing passes"
    );
    server.signal("CONT");
    until(|| async { gateway.call(4).await.ok() }).await;
    gateway.end().await;
}
