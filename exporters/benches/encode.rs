//! How many rows a second one core encodes, compresses and sends to a receiver on loopback, and how many a plain serialisation makes.
//!
//! Question: what does an exporter cost beside writing the same rows as JSON and compressing them? Data: batches of 1000 rows as of
//! [`fixture::call`]. The receiver reads and answers, no more, and its time is in the figures: they are rows by seconds of processor time of the
//! whole process, so other work on the machine does not change them. Run: `cargo bench -p tollgate-exporters --bench encode`.

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

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tollgate_exporters::{Delivery, Destination, moesif, otlp};

/// Rows of a batch.
const ROWS: u64 = 1000;
/// Processor time that each kind is given.
const SECONDS: f64 = 3.0;

fn main() {
    let url = receiver();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let calls: Vec<_> = (1..=ROWS)
        .map(|number| {
            fixture::call_with(
                number,
                json!({"user_id": format!("user-{}", number % 97), "cost": format!("0.0001{number:08}")}),
            )
        })
        .collect();
    let batch = fixture::batch(&calls);

    let yardstick = rows_per_second(|| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        serde_json::to_writer(&mut encoder, &calls).unwrap();
        assert!(!encoder.finish().unwrap().is_empty());
    });
    println!("{:<34}{yardstick:>10.0} rows/s a core", "yardstick: serde_json and gzip");
    let deliver = |name: &str, destination: &dyn Destination| {
        let rate = rows_per_second(|| assert_eq!(runtime.block_on(destination.deliver(&batch)), Delivery::Accepted));
        println!(
            "{name:<34}{rate:>10.0} rows/s a core, {:.2} of the yardstick",
            rate / yardstick
        );
    };

    let config = moesif::Config::new(url.parse().unwrap(), "app".parse().unwrap());
    deliver("moesif: events", &moesif::Moesif::new(config).unwrap());
    for (name, traces, logs, metrics) in [
        ("otlp: traces", true, false, false),
        ("otlp: logs", false, true, false),
        ("otlp: metrics", false, false, true),
        ("otlp: all three", true, true, true),
    ] {
        for gzip in [true, false] {
            let mut config = otlp::Config::new(url.parse().unwrap(), otlp::Protocol::Http);
            config.signals = otlp::Signals { traces, logs, metrics };
            (config.gzip, config.temporality) = (gzip, otlp::Temporality::Delta);
            let name = if gzip {
                name.to_owned()
            } else {
                format!("{name}, uncompressed")
            };
            deliver(&name, &otlp::Otlp::new(config).unwrap());
        }
    }
}

/// Rows by seconds of processor time, of a step that handles a batch.
fn rows_per_second(mut step: impl FnMut()) -> f64 {
    step();
    let (start, mut rows) = (processor_seconds(), 0.0);
    loop {
        step();
        rows += 1000.0;
        let taken = processor_seconds() - start;
        if taken >= SECONDS {
            return rows / taken;
        }
    }
}

/// Seconds of processor time that this process has had, all threads of it (proc(5): fields 14 and 15, in hundredths).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Starts a receiver that reads requests and answers 200 with an empty body: success to Moesif and, as an empty message, over OTLP.
fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    url
}

fn answer(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}
