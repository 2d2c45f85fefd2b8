//! Tables `exports` and `dead_letters`: how exporters stand.

use tollgate_exporters::{DeadLetter, Exporter, Status};
use tollgate_record::column::Kind;
use tollgate_record::{BoxFuture, Tags, Timestamp};
use tollgate_usage_store::{Beside, Cell, Shown};

use super::Exporters;

const EXPORTS: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("state", Kind::Text),
    ("breaker_open", Kind::Bool),
    ("cursor", Kind::Map),
    ("lag_rows", Kind::Int),
    ("lag_us", Kind::Int),
    ("delivered", Kind::Int),
    ("retried", Kind::Int),
    ("dead", Kind::Int),
    ("replayed", Kind::Int),
    ("last_error", Kind::Text),
    ("last_error_time", Kind::Timestamp),
    ("last_delivery_time", Kind::Timestamp),
];

const DEAD_LETTERS: &[(&str, Kind)] = &[
    ("exporter", Kind::Text),
    ("call_id", Kind::Text),
    ("instance", Kind::Text),
    ("seq", Kind::Int),
    ("time", Kind::Timestamp),
    ("answer", Kind::Text),
];

impl Beside for Exporters {
    fn tables(&self) -> BoxFuture<'_, Vec<Shown>> {
        Box::pin(async move {
            let (mut exports, mut dead) = (Vec::new(), Vec::new());
            for exporter in self.all() {
                let status = exporter.status().await;
                dead.extend(
                    letters(&exporter, &status)
                        .await
                        .iter()
                        .map(|letter| dead_row(&status, letter)),
                );
                exports.push(exports_row(&status));
            }
            let shown = |name, columns, rows| Shown { name, columns, rows };
            vec![shown("exports", EXPORTS, exports), shown("dead_letters", DEAD_LETTERS, dead)]
        })
    }
}

async fn letters(exporter: &Exporter, status: &Status) -> Vec<DeadLetter> {
    exporter.dead_letters().await.unwrap_or_else(|error| {
        let error = format!("{:#}", anyhow::Error::from(error));
        tracing::warn!(exporter = %status.name, error, "dead letters cannot be read");
        Vec::new()
    })
}

fn exports_row(status: &Status) -> Vec<Cell> {
    let time = |at: Option<Timestamp>| at.map_or(Cell::Null, Cell::Time);
    let cursor = status
        .cursor
        .0
        .iter()
        .map(|(instance, seq)| (instance.as_str(), seq.get().to_string()));
    vec![
        Cell::Text(status.name.to_string()),
        Cell::Text(status.state.as_str().to_owned()),
        Cell::Bool(status.breaker_open),
        Cell::Map(Tags::from_pairs(cursor)),
        status.lag_rows.map_or(Cell::Null, int),
        status.lag_us.map_or(Cell::Null, int),
        int(status.delivered),
        int(status.retried),
        int(status.dead),
        int(status.replayed),
        status.last_error.clone().map_or(Cell::Null, Cell::Text),
        time(status.last_error_time),
        time(status.last_delivery_time),
    ]
}

fn dead_row(status: &Status, letter: &DeadLetter) -> Vec<Cell> {
    vec![
        Cell::Text(status.name.to_string()),
        Cell::Text(letter.call_id.clone()),
        Cell::Text(letter.instance.to_string()),
        int(letter.seq.get()),
        Cell::Time(Timestamp::from_unix_us(letter.time_us)),
        Cell::Text(letter.answer.clone()),
    ]
}

fn int(count: u64) -> Cell {
    Cell::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
