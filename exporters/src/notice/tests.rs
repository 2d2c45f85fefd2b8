//! What webhooks are sent, whatever they do: the real book, over the loopback.

use std::sync::Mutex;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;
use tollgate_alerts::{Alert, Book, Cause, Subscriber};

use super::*;
use crate::Tls;
use crate::conformance::receiver::{Act, Receiver, Request, Response, Wire};
use crate::testing::{FIRST_US, Virtual};
use crate::webhook::SigningSecret;

const OLD: [u8; 24] = [1; 24];
const NEW: [u8; 24] = [2; 24];

struct Bench {
    clock: Arc<Virtual>,
    receiver: Receiver,
    /// Requests that reached the handler.
    seen: mpsc::UnboundedReceiver<Request>,
    /// What the handler answers to alerts at these percentages; to all others 200.
    refused: Arc<Mutex<Vec<(u16, u16)>>>,
    folder: tempfile::TempDir,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn alert(percent: u16) -> Alert {
    Alert {
        budget: name("growth"),
        per: vec![("user_id".to_owned(), Some("ann".to_owned()))],
        window_start: Timestamp::from_unix_us(FIRST_US),
        window_end: Timestamp::from_unix_us(FIRST_US + 30 * Timestamp::DAY_US),
        unit: name("USD"),
        limit: "50".parse().unwrap(),
        spent: "40.25".parse().unwrap(),
        cause: Cause::Threshold { percent },
        raised_at: Timestamp::from_unix_us(FIRST_US),
    }
}

fn data(request: &Request) -> Value {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    body["data"].clone()
}

fn id(request: &Request) -> String {
    request.header("webhook-id").unwrap().to_owned()
}

/// Whether one of the signatures is by this secret, worked out here anew.
fn is_signed(request: &Request, secret: &[u8]) -> bool {
    let [id, timestamp, signatures] =
        ["id", "timestamp", "signature"].map(|part| request.header(&format!("webhook-{part}")).unwrap());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body].concat());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    signatures.split(' ').any(|signature| signature == expected)
}

/// Looks for new alerts seldom, since hours pass.
fn settings() -> NoticeSettings {
    NoticeSettings {
        poll: Duration::from_secs(60),
        ..NoticeSettings::default()
    }
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::<Virtual>::default();
        let (tell, seen) = mpsc::unbounded_channel();
        let refused = Arc::<Mutex<Vec<(u16, u16)>>>::default();
        let refusing = Arc::clone(&refused);
        let handler = move |request: &Request| {
            let percent = data(request)["percent"].as_u64().unwrap();
            let found = refusing
                .lock()
                .unwrap()
                .iter()
                .find(|(of, _)| u64::from(*of) == percent)
                .copied();
            let _ = tell.send(request.clone());
            found.map_or(Response::of(204, ""), |(_, status)| Response::of(status, "never"))
        };
        Self {
            receiver: Receiver::start(&clock, Wire::Http1, |_| false, Arc::new(handler)).await,
            clock,
            seen,
            refused,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn book(&self) -> Arc<Book> {
        let hook = Subscriber {
            name: name("hook"),
            budgets: Vec::new(),
            kinds: Vec::new(),
        };
        Arc::new(Book::open(self.folder.path(), vec![hook], self.clock.now()).unwrap())
    }

    fn endpoint(&self, secrets: &[[u8; 24]]) -> Endpoint {
        let secret = |bytes: &[u8; 24]| SigningSecret::parse(&format!("whsec_{}", STANDARD.encode(bytes))).unwrap();
        Endpoint {
            name: name("hook"),
            url: format!("{}/alerts", self.receiver.url()).parse().unwrap(),
            headers: HeaderMap::from_iter([("x-team".parse().unwrap(), "finops".parse().unwrap())]),
            secrets: secrets.iter().map(secret).collect(),
            tls: Tls {
                ca_pem: Some(self.receiver.ca().to_owned()),
                ..Tls::default()
            },
        }
    }

    /// Sends what the book has until `work` is done.
    async fn run<T>(&mut self, book: &Arc<Book>, work: impl AsyncFnOnce(&mut Self, &Notifier) -> T) -> T {
        let notifier = Notifier::new(Arc::clone(book) as _, settings(), Arc::clone(&self.clock) as _);
        notifier.set(vec![self.endpoint(&[OLD])]).unwrap();
        let (clock, stop) = (Arc::clone(&self.clock), CancellationToken::new());
        let running = Arc::clone(&notifier).run(stop.clone());
        let working = async {
            let done = work(self, &notifier).await;
            stop.cancel();
            done
        };
        clock.drive(async { tokio::join!(running, working).1 }).await
    }

    async fn next(&mut self) -> Request {
        self.seen.recv().await.unwrap()
    }

    /// Waits until the webhook has everything.
    async fn delivered(&self, book: &Book) {
        let late = Timestamp::from_unix_us(i64::MAX);
        while book.next(&name("hook"), late).is_some() {
            tokio::task::yield_now().await;
        }
    }

    fn waited(&self) -> Duration {
        self.clock.elapsed()
    }
}

/// Webhooks that have the alerts, and what those said that do not.
fn rows(book: &Book) -> (Vec<i64>, Vec<Option<String>>) {
    let rows = book.rows().unwrap();
    let delivered = rows
        .column_by_name("delivered")
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    let errors = rows.column_by_name("last_error").unwrap().as_string::<i32>().clone();
    (delivered, errors.iter().map(|error| error.map(str::to_owned)).collect())
}

#[tokio::test]
async fn an_alert_is_sent_signed_with_its_id() {
    let mut bench = Bench::new().await;
    let book = bench.book();
    book.raise(alert(80)).unwrap();
    let request = bench
        .run(&book, async |bench, _| {
            let request = bench.next().await;
            bench.delivered(&book).await;
            request
        })
        .await;
    assert_eq!((id(&request), request.path.as_str()), (alert(80).id(), "/alerts"));
    let headers = ["content-type", "x-team", "webhook-timestamp"].map(|header| request.header(header).unwrap());
    // The time of sending, in seconds: 2026-11-01T00:00:00Z.
    assert_eq!(headers, ["application/json", "finops", "1793491200"]);
    assert!(is_signed(&request, &OLD) && !is_signed(&request, &NEW));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let expected = json!({
        "type": "tollgate.alert",
        "timestamp": "2026-11-01T00:00:00.000000Z",
        "data": {
            "id": alert(80).id(), "kind": "threshold", "message": alert(80).message(), "budget": "growth",
            "per": [{"name": "user_id", "value": "ann"}],
            "window_start": "2026-11-01T00:00:00.000000Z", "window_end": "2026-12-01T00:00:00.000000Z",
            "unit": "USD", "limit": "50", "spent": "40.25", "percent": 80, "raised_at": "2026-11-01T00:00:00.000000Z",
        },
    });
    assert_eq!(body, expected);
    assert_eq!(rows(&book), (vec![1], vec![None]));
}

#[tokio::test]
async fn a_webhook_that_was_down_gets_what_it_missed() {
    let mut bench = Bench::new().await;
    let book = bench.book();
    book.raise_all(vec![alert(50), alert(80)]).unwrap();
    bench.receiver.next(3, &Act::Cut);
    bench.receiver.next(3, &Act::Answer(Response::of(503, "down")));
    bench.receiver.next(1, &Act::Garbage);
    let mut ids = bench
        .run(&book, async |bench, _| {
            let ids = vec![id(&bench.next().await), id(&bench.next().await)];
            bench.delivered(&book).await;
            ids
        })
        .await;
    ids.sort();
    let mut expected = vec![alert(50).id(), alert(80).id()];
    expected.sort();
    assert_eq!(ids, expected);
    assert_eq!(rows(&book), (vec![1, 1], vec![None, None]));
    // Seven waits that double from half a second, of which each is spread over its upper half: 0.25 to 0.5, and so on.
    let waits = [500, 1000, 2000, 4000, 8000, 16_000, 32_000].into_iter().sum::<u64>();
    assert!(bench.waited() >= Duration::from_millis(waits / 2), "{:?}", bench.waited());
}

#[tokio::test]
async fn a_webhook_that_asks_for_time_gets_it() {
    let mut bench = Bench::new().await;
    let book = bench.book();
    book.raise(alert(80)).unwrap();
    bench
        .receiver
        .next(1, &Act::Answer(Response::retry_after(429, Duration::from_secs(600))));
    bench.run(&book, async |bench, _| bench.next().await).await;
    assert!(bench.waited() >= Duration::from_secs(600), "{:?}", bench.waited());
}

#[tokio::test]
async fn what_was_taken_without_an_answer_comes_again_with_the_same_id_also_after_a_restart() {
    let mut bench = Bench::new().await;
    let book = bench.book();
    book.raise(alert(80)).unwrap();
    bench.receiver.next(2, &Act::TakeAndCut);
    bench
        .run(&book, async |bench, _| {
            assert_eq!(id(&bench.next().await), alert(80).id());
            assert_eq!(id(&bench.next().await), alert(80).id());
        })
        .await;
    drop(book);
    let book = bench.book();
    bench
        .run(&book, async |bench, _| {
            assert_eq!(id(&bench.next().await), alert(80).id());
            bench.delivered(&book).await;
        })
        .await;
    drop(book);
    // What it has does not come again.
    let book = bench.book();
    assert!(!book.raise(alert(80)).unwrap() && book.raise(alert(100)).unwrap());
    bench
        .run(&book, async |bench, _| {
            assert_eq!(id(&bench.next().await), alert(100).id());
            bench.delivered(&book).await;
        })
        .await;
    assert!(bench.seen.try_recv().is_err());
}

#[tokio::test]
async fn what_is_never_taken_is_given_up_on_and_holds_up_no_other() {
    for status in [400, 404, 410, 422] {
        let mut bench = Bench::new().await;
        let book = bench.book();
        bench.refused.lock().unwrap().push((80, status));
        book.raise_all(vec![alert(80), alert(100)]).unwrap();
        let mut ids = Vec::new();
        bench
            .run(&book, async |bench, _| {
                for _ in 0..=REFUSALS_MAX {
                    ids.push(id(&bench.next().await));
                }
                bench.delivered(&book).await;
            })
            .await;
        assert_eq!(ids[..2], [alert(80).id(), alert(100).id()]);
        assert!(ids[2..].iter().all(|id| *id == alert(80).id()));
        // 30 s, 1, 2, 4, 8, 16 and 32 minutes, then four hours: five hours in all, of which each wait is at least half.
        let whole = 30 * 127 + 4 * 3600;
        assert!(bench.waited() >= Duration::from_secs(whole / 2), "{:?}", bench.waited());
        let (delivered, errors) = rows(&book);
        assert_eq!((delivered, &errors[1]), (vec![0, 1], &None));
        let error = errors[0].clone().unwrap();
        assert!(
            error.starts_with(&format!("hook: {status} ")) && error.ends_with(": never"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn secrets_are_rotated_without_a_gap() {
    let mut bench = Bench::new().await;
    let book = bench.book();
    bench
        .run(&book, async |bench, notifier| {
            for (percent, secrets) in [(50, &[OLD][..]), (80, &[OLD, NEW]), (100, &[NEW])] {
                notifier.set(vec![bench.endpoint(secrets)]).unwrap();
                // Lets the workers of the secrets before end.
                tokio::task::yield_now().await;
                book.raise(alert(percent)).unwrap();
                let request = bench.next().await;
                assert_eq!(is_signed(&request, &OLD), secrets.contains(&OLD));
                assert_eq!(is_signed(&request, &NEW), secrets.contains(&NEW));
                bench.delivered(&book).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_but_waited_out() {
    let mut bench = Bench::new().await;
    let book = bench.book();
    book.raise(alert(80)).unwrap();
    let elsewhere = format!("{}/elsewhere", bench.receiver.url());
    let redirect = Response::of(307, "there").with("location", elsewhere);
    bench.receiver.next(1, &Act::Answer(redirect));
    let request = bench.run(&book, async |bench, _| bench.next().await).await;
    assert_eq!(request.path, "/alerts");
    assert!(
        bench.waited() >= NoticeSettings::default().stuck_retry,
        "{:?}",
        bench.waited()
    );
}

/// A book whose disk is full for a while.
struct Full {
    book: Arc<Book>,
    failures: Mutex<u32>,
}

impl Outbox for Full {
    fn next(&self, webhook: &Name, now: Timestamp) -> Option<Notice> {
        self.book.next(webhook, now)
    }

    fn answered(&self, webhook: &Name, id: &str, answer: &Answered) -> Result<(), tollgate_record::notice::NotKept> {
        let mut failures = self.failures.lock().unwrap();
        if let Some(left) = failures.checked_sub(1) {
            *failures = left;
            let reason = "no space left".to_owned();
            return Err(tollgate_record::notice::NotKept { reason });
        }
        self.book.answered(webhook, id, answer)
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_is_not_asked_for_again() {
    let mut bench = Bench::new().await;
    let book = bench.book();
    book.raise(alert(80)).unwrap();
    let full = Full {
        book: Arc::clone(&book),
        failures: Mutex::new(5),
    };
    let notifier = Notifier::new(Arc::new(full), settings(), Arc::clone(&bench.clock) as _);
    notifier.set(vec![bench.endpoint(&[])]).unwrap();
    let stop = CancellationToken::new();
    let (clock, running) = (Arc::clone(&bench.clock), notifier.run(stop.clone()));
    let working = async {
        let request = bench.next().await;
        bench.delivered(&book).await;
        stop.cancel();
        request
    };
    let request = clock.drive(async { tokio::join!(running, working).1 }).await;
    assert_eq!(request.header("webhook-signature"), None);
    assert!(bench.seen.try_recv().is_err());
    assert!(bench.waited() >= FILE_RETRY * 5);
}
