//! How many rows a second one core delivers, through the whole runner, and what memory a long backlog takes.
//!
//! Question, data, command and figures: section "Exporters" of `BENCHMARKS.md`. The receiver is a process of its own: it reads, answers, and is not in the
//! figures. These are rows by seconds of processor time of this process, all of its threads, so other work on the machine changes them little.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops where a test would"
)]
#![recursion_limit = "256"]

#[path = "../src/fixture.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod fixture;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::json::ReaderBuilder;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tollgate_exporters::files::{self, Files, Folder};
use tollgate_exporters::{
    Cursor, Destination, Page, Settings, Source, SourceError, Start, State, System, moesif, open, otlp, usage_schema, webhook,
};
use tollgate_record::{BoxFuture, Name, Seq, Timestamp};

/// Rows that each kind delivers.
const ROWS: u64 = 200_000;
/// Rows of a backlog, unless the command line says how many.
const BACKLOG_ROWS: u64 = 10_000_000;
/// Rows that are made once; those that are read are of them, with places and ids of their own.
const PATTERN: usize = 1000;

/// A ledger of one gateway, whose rows are made as they are read.
struct Made {
    pattern: RecordBatch,
    rows: u64,
}

/// A receiver in a process of its own, which ends when it is dropped.
struct Receiver {
    child: Child,
    url: String,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        Some("receive") => receive(),
        Some("backlog") => backlog(arguments.next().map_or(BACKLOG_ROWS, |rows| rows.parse().unwrap())),
        wanted => delivery(wanted.unwrap_or_default()),
    }
}

/// Every kind whose name begins so.
fn delivery(wanted: &str) {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    println!("| kind | rows/s a core | us a row |");
    println!("| --- | ---: | ---: |");
    for (name, destination) in kinds(&receiver.url, folder.path()) {
        if name.starts_with(wanted) {
            let seconds = deliver(name, destination, ROWS);
            let (rows, micros) = (ROWS as f64 / seconds, seconds * 1e6 / ROWS as f64);
            println!("| {name} | {rows:.0} | {micros:.1} |");
        }
    }
}

fn backlog(rows: u64) {
    let receiver = Receiver::start();
    let before = memory_peak_kib();
    let seconds = deliver("otlp: logs", otlp(&receiver.url, false, true, true), rows);
    println!(
        "{rows} rows in {seconds:.0} s of processor time; memory at most {} MiB (VmHWM), {} MiB before",
        memory_peak_kib() / 1024,
        before / 1024
    );
}

fn kinds(url: &str, folder: &std::path::Path) -> Vec<(&'static str, Arc<dyn Destination>)> {
    let plain = webhook::Config::new(url.parse().unwrap());
    let signed = webhook::Config {
        secrets: vec![webhook::SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()],
        gzip: true,
        ..plain.clone()
    };
    let events = moesif::Config::new(url.parse().unwrap(), "app".parse().unwrap());
    let hook = |config| Arc::new(webhook::Webhook::new(config, Arc::new(System)).unwrap());
    vec![
        ("otlp: logs", otlp(url, false, true, true)),
        ("otlp: logs, uncompressed", otlp(url, false, true, false)),
        ("otlp: traces", otlp(url, true, false, true)),
        ("otlp: traces, uncompressed", otlp(url, true, false, false)),
        ("moesif: events", Arc::new(moesif::Moesif::new(events).unwrap())),
        ("webhook: JSON", hook(plain)),
        ("webhook: JSON, signed, compressed", hook(signed)),
        ("files: Parquet", into_files(folder, files::Format::Parquet, "parquet")),
        ("files: NDJSON", into_files(folder, files::Format::Ndjson, "ndjson")),
        ("files: FOCUS", into_files(folder, files::Format::Focus, "focus")),
    ]
}

fn otlp(url: &str, traces: bool, logs: bool, gzip: bool) -> Arc<dyn Destination> {
    let mut config = otlp::Config::new(url.parse().unwrap(), otlp::Protocol::Http);
    config.signals = otlp::Signals {
        traces,
        logs,
        metrics: false,
    };
    config.gzip = gzip;
    Arc::new(otlp::Otlp::new(config).unwrap())
}

fn into_files(folder: &std::path::Path, format: files::Format, name: &str) -> Arc<dyn Destination> {
    let config = files::Config {
        exporter: Name::new("bench").unwrap(),
        format,
        template: files::Template::parse("{date}/{instance}-{seq}.{ext}", files::Period::Daily).unwrap(),
        rows_max: files::Config::ROWS_MAX,
    };
    Arc::new(Files::new(config, Arc::new(Folder::new(folder.join(name)))))
}

/// Delivers so many rows; the seconds of processor time that it took.
fn deliver(kind: &str, destination: Arc<dyn Destination>, rows: u64) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(Name::new("bench").unwrap());
    settings.start = Start::Beginning;
    if kind.starts_with("files") {
        (settings.batch.rows, settings.batch.bytes) = (50_000, 64 << 20);
    }
    let source = Arc::new(Made::new(rows));
    let (exporter, runner) = open(folder.path(), settings, destination, source, Arc::new(System)).unwrap();
    let before = processor_seconds();
    let stop = CancellationToken::new();
    let running = runtime.spawn(runner.run(stop.clone()));
    let status = runtime.block_on(async {
        loop {
            let status = exporter.status().await;
            if status.lag_rows == Some(0) {
                return status;
            }
            assert_ne!(status.state, State::Stuck, "{status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let taken = processor_seconds() - before;
    stop.cancel();
    runtime.block_on(running).unwrap();
    assert_eq!((status.delivered, status.dead, status.retried), (rows, 0, 0), "{status:?}");
    taken
}

/// Seconds of processor time that this process has had, all threads of it (proc(5): fields 14 and 15, in hundredths).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The most memory that this process has had resident, in KiB.
fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// === impl Made ===

impl Made {
    fn new(rows: u64) -> Self {
        let calls: Vec<_> = (1..=PATTERN as u64)
            .map(|number| {
                fixture::call_with(
                    number,
                    json!({"user_id": format!("user-{}", number % 97), "cost": format!("0.0001{number:08}")}),
                )
            })
            .collect();
        let mut decoder = ReaderBuilder::new(usage_schema())
            .with_batch_size(PATTERN)
            .build_decoder()
            .unwrap();
        decoder.serialize(&calls).unwrap();
        Self {
            pattern: decoder.flush().unwrap().unwrap(),
            rows,
        }
    }

    fn instance() -> Name {
        Name::new("gw-1").unwrap()
    }

    fn behind(&self, from: &Cursor) -> u64 {
        from.0.get(&Self::instance()).map_or(0, |seq| seq.get())
    }

    fn page(&self, from: &Cursor, rows_max: usize) -> Page {
        let behind = self.behind(from);
        let count = (self.rows - behind).min(rows_max.min(PATTERN) as u64);
        let pattern = self.pattern.slice(0, usize::try_from(count).unwrap());
        let places = behind + 1..=behind + count;
        let schema = pattern.schema();
        let columns = schema
            .fields()
            .iter()
            .zip(pattern.columns())
            .map(|(field, column)| -> ArrayRef {
                match field.name().as_str() {
                    "call_id" => Arc::new(StringArray::from_iter_values(
                        places.clone().map(|place| format!("01938f00-0000-7000-8000-{place:012x}")),
                    )),
                    "seq" => Arc::new(Int64Array::from_iter_values(
                        places.clone().map(|place| i64::try_from(place).unwrap()),
                    )),
                    _ => Arc::clone(column),
                }
            });
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        Page {
            rows,
            next: Cursor([(Self::instance(), Seq::new(behind + count))].into()),
            more: behind + count < self.rows,
        }
    }
}

impl Source for Made {
    fn read<'a>(&'a self, from: &'a Cursor, _filter: Option<&'a str>, rows_max: usize) -> BoxFuture<'a, Result<Page, SourceError>> {
        Box::pin(async move { Ok(self.page(from, rows_max)) })
    }

    fn end(&self, _before: Option<Timestamp>) -> BoxFuture<'_, Result<Cursor, SourceError>> {
        Box::pin(async move { Ok(Cursor([(Self::instance(), Seq::new(self.rows))].into())) })
    }

    fn lag<'a>(&'a self, from: &'a Cursor) -> BoxFuture<'a, Result<(u64, Option<u64>), SourceError>> {
        Box::pin(async move { Ok((self.rows - self.behind(from), None)) })
    }
}

// === impl Receiver ===

impl Receiver {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("receive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads requests and answers 200 until whoever started it is gone: to a GET with an empty object, Moesif's configuration, to others with an empty body, success
/// to Moesif and webhooks and, as an empty message, over OTLP.
fn receive() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

fn answer(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    loop {
        let (mut length, mut get) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            get |= line.starts_with("GET ");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        if std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).is_err() {
            return;
        }
        let answer: &[u8] = if get {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        };
        if writer.write_all(answer).is_err() {
            return;
        }
    }
}
