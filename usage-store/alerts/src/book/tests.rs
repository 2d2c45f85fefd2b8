//! What holds of the book, over restarts.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int64Type};
use tempfile::TempDir;

use super::*;
use crate::alerts_schema;
use crate::testing::{START, alert, anomaly, name, projected};

const DAY_US: i64 = Timestamp::DAY_US;

fn at(days: i64) -> Timestamp {
    Timestamp::from_unix_us(START + days * DAY_US)
}

fn subscriber(text: &str) -> Subscriber {
    Subscriber {
        name: name(text),
        budgets: Vec::new(),
        kinds: Vec::new(),
    }
}

fn open(folder: &TempDir, webhooks: &[&str]) -> Book {
    opened(folder, webhooks, 25, ALERTS_MAX).unwrap()
}

fn opened(folder: &TempDir, webhooks: &[&str], day: i64, alerts_max: usize) -> Result<Book, Error> {
    let limits = Limits {
        alerts_max,
        rewrite_bytes_min: 2000,
    };
    let subscribers = webhooks.iter().map(|webhook| subscriber(webhook)).collect();
    Book::open_limited(&folder.path().join("alerts"), subscribers, at(day), limits)
}

fn next(book: &Book, webhook: &str) -> Option<String> {
    book.next(&name(webhook), at(25)).map(|notice| notice.id)
}

fn answer(book: &Book, webhook: &str, id: &str, answer: &Answered) {
    book.answered(&name(webhook), id, answer).unwrap();
}

fn failed() -> Answered {
    Answered::Failed {
        reason: "503: down".to_owned(),
    }
}

/// Ids of the rows.
fn ids(book: &Book) -> Vec<String> {
    let rows = book.rows().unwrap();
    let ids = rows.column_by_name("id").unwrap().as_string::<i32>().clone();
    ids.iter().map(|id| id.unwrap().to_owned()).collect()
}

#[test]
fn an_alert_is_raised_once_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    for restart in 0..3 {
        let book = open(&folder, &[]);
        assert_eq!(book.raise(alert("a", 80, 0)).unwrap(), restart == 0);
        assert!(!book.raise(alert("a", 80, 0)).unwrap());
        // A percentage, a window and a budget are others.
        let others = vec![alert("a", 100, 0), alert("a", 80, 1), alert("b", 80, 0), alert("b", 80, 0)];
        let expected = if restart == 0 { [true, true, true, false] } else { [false; 4] };
        assert_eq!(book.raise_all(others).unwrap(), expected);
        assert_eq!(ids(&book).len(), 4);
    }
}

#[test]
fn an_alert_is_for_the_webhooks_that_there_were_and_that_want_it() {
    let folder = tempfile::tempdir().unwrap();
    let book = open(&folder, &["all"]);
    let mut picky = subscriber("picky");
    (picky.budgets, picky.kinds) = (vec![name("a")], vec![AlertKind::Anomaly]);
    book.set_subscribers(vec![subscriber("all"), picky]);
    let raised = [alert("a", 80, 0), anomaly("b", 1), anomaly("a", 1)];
    for alert in &raised {
        assert!(book.raise(alert.clone()).unwrap());
    }
    assert_eq!(next(&book, "all"), Some(raised[0].id()));
    assert_eq!(next(&book, "picky"), Some(raised[2].id()));
    answer(&book, "picky", &raised[2].id(), &Answered::Taken);
    book.set_subscribers(vec![subscriber("late")]);
    assert_eq!((next(&book, "late"), next(&book, "picky")), (None, None));
    assert!(book.raise(projected("a")).unwrap());
    drop(book);
    // What was taken out and is put back goes on where it was.
    let book = open(&folder, &["all", "picky", "late"]);
    assert_eq!(next(&book, "all"), Some(raised[0].id()));
    assert_eq!((next(&book, "late"), next(&book, "picky")), (Some(projected("a").id()), None));
}

#[test]
fn what_a_webhook_said_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let [taken, refused, given_up, failing] = [50, 80, 90, 100].map(|percent| alert("a", percent, 0));
    let book = open(&folder, &["hook", "other"]);
    book.raise_all(vec![taken.clone(), refused.clone(), given_up.clone(), failing.clone()])
        .unwrap();
    let reason = || "422: \u{e4}\"\n".to_owned();
    answer(&book, "hook", &taken.id(), &Answered::Taken);
    let again = at(26);
    answer(&book, "hook", &refused.id(), &Answered::Refused { reason: reason(), again });
    answer(&book, "hook", &given_up.id(), &Answered::GivenUp { reason: reason() });
    answer(&book, "hook", &failing.id(), &failed());
    drop(book);
    let book = open(&folder, &["hook", "other"]);
    let pending = |day| book.next(&name("hook"), at(day)).map(|notice| (notice.id, notice.refusals));
    assert_eq!(pending(25), Some((failing.id(), 0)));
    answer(&book, "hook", &failing.id(), &Answered::Taken);
    assert_eq!(pending(25), None);
    assert_eq!(pending(26), Some((refused.id(), 1)));
    assert_eq!(next(&book, "other"), Some(taken.id()));

    let rows = book.rows().unwrap();
    assert_eq!(rows.schema(), alerts_schema());
    let counts = |column: &str| {
        rows.column_by_name(column)
            .unwrap()
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    assert_eq!((counts("webhooks"), counts("delivered")), (vec![2; 4], vec![1, 0, 0, 1]));
    assert_eq!(counts("given_up"), [0, 0, 1, 0]);
    let errors = rows.column_by_name("last_error").unwrap().as_string::<i32>().clone();
    let errors: Vec<_> = errors.iter().collect();
    let said = "hook: 422: \u{e4}\"\n";
    assert_eq!(errors, [None, Some(said), Some(said), None]);
}

#[test]
fn rows_tell_what_applies_to_the_kind() {
    let folder = tempfile::tempdir().unwrap();
    let book = open(&folder, &[]);
    let mut with_null = projected("b");
    with_null.per.push(("team".to_owned(), None));
    book.raise_all(vec![alert("a", 80, 0), with_null, anomaly("c", 3)]).unwrap();
    let rows = book.rows().unwrap();
    let amounts = |column: &str| -> Vec<Option<i128>> {
        rows.column_by_name(column)
            .unwrap()
            .as_primitive::<Decimal128Type>()
            .iter()
            .collect()
    };
    const ONE: i128 = 1_000_000_000_000;
    assert_eq!(amounts("limit_amount"), [Some(50 * ONE); 3]);
    assert_eq!(amounts("spent"), [Some(40 * ONE + ONE / 4); 3]);
    assert_eq!(amounts("projected"), [None, Some(60_375_000_000_000), None]);
    assert_eq!(
        (amounts("usual")[2], amounts("bound")[2]),
        (Some(2 * ONE), Some(7 * ONE + ONE / 2))
    );
    let of = |column: &str| rows.column_by_name(column).unwrap().clone();
    assert_eq!(
        of("percent").as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
        [Some(80), None, None]
    );
    assert_eq!((of("hour").null_count(), of("per").as_map().value(1).len()), (2, 1));
}

#[test]
fn one_that_a_webhook_cannot_take_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let book = open(&folder, &["hook"]);
    let [first, second] = [50, 80].map(|percent| alert("a", percent, 0));
    book.raise_all(vec![first.clone(), second.clone()]).unwrap();
    let mut sent = Vec::new();
    for _ in 0..4 {
        let id = next(&book, "hook").unwrap();
        answer(&book, "hook", &id, &failed());
        sent.push(id);
    }
    assert_eq!(sent, [first.id(), second.id(), first.id(), second.id()]);
    answer(&book, "hook", &first.id(), &Answered::Taken);
    answer(&book, "hook", "alert_of_which_nothing_is_known", &Answered::Taken);
    assert_eq!(next(&book, "hook"), Some(second.id()));
}

#[test]
fn what_is_delivered_goes_after_its_time_and_what_is_not_stays() {
    let folder = tempfile::tempdir().unwrap();
    let book = open(&folder, &["hook"]);
    let [first, second] = [50, 80].map(|percent| alert("a", percent, 0));
    book.raise_all(vec![first.clone(), second.clone()]).unwrap();
    answer(&book, "hook", &first.id(), &Answered::Taken);
    drop(book);
    // The window ends on day 30.
    let after = |day, webhooks: &[&str]| ids(&opened(&folder, webhooks, day, ALERTS_MAX).unwrap());
    assert_eq!(after(30 + KEPT_DAYS - 1, &["hook"]), [first.id(), second.id()]);
    assert_eq!(after(30 + KEPT_DAYS, &["hook"]), [second.id()]);
    // The webhook was taken out: nobody waits for it.
    assert_eq!(after(30 + KEPT_DAYS, &[]), Vec::<String>::new());
}

#[test]
fn beyond_the_bound_the_oldest_delivered_go_first_and_undelivered_ones_last() {
    let folder = tempfile::tempdir().unwrap();
    let book = opened(&folder, &["hook"], 25, 3).unwrap();
    let [a, b, c, d, e, f] = [(1, 0), (2, 0), (3, 0), (4, 2), (5, 2), (6, 2)].map(|(percent, window)| alert("a", percent, window));
    let take = |alert: &Alert| answer(&book, "hook", &alert.id(), &Answered::Taken);
    book.raise_all(vec![a.clone(), b.clone(), c.clone()]).unwrap();
    take(&b);
    // Raised when the window of the first three has ended.
    book.raise(d.clone()).unwrap();
    assert_eq!(ids(&book), [a.id(), c.id(), d.id()]);
    take(&d);
    book.raise(e.clone()).unwrap();
    assert_eq!(ids(&book), [a.id(), c.id(), e.id()]);
    book.raise(f.clone()).unwrap();
    assert_eq!(ids(&book), [c.id(), e.id(), f.id()]);
    assert_eq!(next(&book, "hook"), Some(c.id()));
}

#[test]
fn the_file_is_written_anew_when_most_of_it_no_longer_counts() {
    let folder = tempfile::tempdir().unwrap();
    let book = open(&folder, &["hook"]);
    book.raise(alert("a", 80, 0)).unwrap();
    let id = alert("a", 80, 0).id();
    let path = folder.path().join("alerts/book");
    let bytes = || std::fs::metadata(&path).unwrap().len();
    let mut most = 0;
    for _ in 0..100 {
        let again = at(25);
        let reason = "404: gone".to_owned();
        answer(&book, "hook", &id, &Answered::Refused { reason, again });
        most = most.max(bytes());
    }
    assert!(most < 3000, "{most} bytes");
    drop(book);
    let book = open(&folder, &["hook"]);
    assert_eq!(book.next(&name("hook"), at(25)).unwrap().refusals, 100);
}

#[test]
fn what_cannot_be_written_is_not_raised() {
    let folder = tempfile::tempdir().unwrap();
    let book = open(&folder, &["hook"]);
    book.raise(alert("a", 50, 0)).unwrap();
    let path = folder.path().join("alerts/book");
    let content = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = book.raise(alert("a", 80, 0)).unwrap_err();
    assert!(error.to_string().contains("alerts/book"), "{error}");
    assert!(
        book.answered(&name("hook"), &alert("a", 50, 0).id(), &Answered::Taken)
            .is_err()
    );
    assert_eq!((ids(&book).len(), next(&book, "hook")), (1, Some(alert("a", 50, 0).id())));
    std::fs::write(&path, content).unwrap();
    assert!(book.raise(alert("a", 80, 0)).unwrap());
}

#[test]
fn a_file_of_the_first_format_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("alerts")).unwrap();
    std::fs::write(folder.path().join("alerts/book"), include_bytes!("format-1.book")).unwrap();
    let book = opened(&folder, &["hook"], 25, ALERTS_MAX).unwrap();
    assert_eq!(
        ids(&book),
        [alert("a", 80, 0).id(), projected("b").id(), anomaly("c", 3).id()]
    );
    assert_eq!(next(&book, "hook"), Some(projected("b").id()));
    let rows = book.rows().unwrap();
    let delivered = rows.column_by_name("delivered").unwrap().as_primitive::<Int64Type>();
    assert_eq!(delivered.values().to_vec(), [1, 0, 0]);
}
