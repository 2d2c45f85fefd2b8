//! Generates tables for `tests/bench/ledger.sh` out of synthetic traffic, through the code that flushes write through.
//!
//! `cargo bench -p tollgate-usage-store --bench dataset -- COMMAND --data DIR [...]` prints what it made as JSON.
//!
//! - `month --rows N [--gateways N] [--file-rows N]`: calls of November 2026, by so many gateways at a time, in files of the size of
//!   compacted ones.
//! - `hours --rows N --days N`: table `usage_hourly` as of so many calls in so many days, all days alike, without the calls.
//! - `files --files N [--rows-a-file N]`: a table of so many small files, a hundred days of them a commit.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::RecordBatch;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollgate_record::{Name, Record, Seq, Timestamp};
use tollgate_usage_store::rollup::generated;
use tollgate_usage_store::synthetic::{self, Traffic};
use tollgate_usage_store::{Config, Location, usage_batch};

/// The gateway's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 2026-11-01 00:00 UTC.
const NOVEMBER_US: i64 = 1_793_491_200_000_000;
const MONTH_SECONDS: u64 = 30 * 86_400;
/// Rows of a batch: as many as DataFusion's.
const BATCH_ROWS: usize = 8192;
/// Days whose files one commit of `files` adds.
const DAYS: usize = 100;

struct Options {
    data: PathBuf,
    rows: usize,
    gateways: usize,
    file_rows: usize,
    days: usize,
    files: usize,
    rows_a_file: usize,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let command = arguments.next().unwrap_or_else(|| usage("a command is missing"));
    let mut options = Options {
        data: PathBuf::new(),
        rows: 1_000_000,
        gateways: 2,
        file_rows: 1_400_000,
        days: 30,
        files: 10_000,
        rows_a_file: 20,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| usage(&format!("{name} has no value")));
        let number = || {
            value
                .parse()
                .unwrap_or_else(|_| usage(&format!("{name} takes a number, not {value}")))
        };
        match name.as_str() {
            "--data" => options.data = PathBuf::from(&value),
            "--rows" => options.rows = number(),
            "--gateways" => options.gateways = number(),
            "--file-rows" => options.file_rows = number(),
            "--days" => options.days = number(),
            "--files" => options.files = number(),
            "--rows-a-file" => options.rows_a_file = number(),
            _ => usage(&format!("there is no {name}")),
        }
    }
    if options.data.as_os_str().is_empty() {
        usage("--data is missing");
    }
    let found = match command.as_str() {
        "month" => month(&options),
        "hours" => hours(&options),
        "files" => files(&options),
        _ => usage(&format!("there is no command {command}")),
    };
    println!("{found}");
}

fn usage(problem: &str) -> ! {
    eprintln!(
        "{problem}: dataset month|hours|files --data DIR [--rows N] [--gateways N] [--file-rows N] [--days N] [--files N] [--rows-a-file N]"
    );
    std::process::exit(2);
}

fn name(text: &str) -> Name {
    Name::new(text).expect("the name is valid")
}

/// Where a gateway's own table lies, by default.
fn location(data: &Path) -> Location {
    std::fs::create_dir_all(data).expect("the folder can be made");
    Config::new(data, name("bench")).expect("the folder has a name").table
}

fn batches(rows: impl Iterator<Item = Box<Record>>) -> Vec<RecordBatch> {
    let mut rows = rows.peekable();
    let mut batches = Vec::new();
    while rows.peek().is_some() {
        let records: Vec<_> = rows.by_ref().take(BATCH_ROWS).collect();
        batches.push(usage_batch(&records).expect("records fit the schema"));
    }
    batches
}

fn month(options: &Options) -> Value {
    let started = Instant::now();
    let location = location(&options.data);
    let rows = options.rows / options.gateways;
    // Whole calls a second, at least so many that the rows end within the month.
    let rate = (rows as u64).div_ceil(MONTH_SECONDS);
    let gateways: Vec<_> = (1..=options.gateways)
        .map(|number| {
            let (location, file_rows) = (location.clone(), options.file_rows);
            std::thread::spawn(move || {
                let runtime = Runtime::new().expect("threads can be started");
                let instance = name(&format!("gw-{number}"));
                let mut traffic = Traffic::new(number as u64, instance.clone(), Timestamp::from_unix_us(NOVEMBER_US), rate);
                let mut done = 0;
                while done < rows {
                    let count = file_rows.min(rows - done);
                    let batches = batches(traffic.by_ref().take(count));
                    done += count;
                    runtime
                        .block_on(synthetic::append(&location, batches, &instance, Seq::new(done as u64)))
                        .expect("the table takes rows");
                    eprintln!("{instance}: {done} of {rows} rows after {} s", started.elapsed().as_secs());
                }
            })
        })
        .collect();
    for gateway in gateways {
        gateway.join().expect("a gateway ends well");
    }
    json!({"rows": rows * options.gateways, "per_second": rate, "seconds": started.elapsed().as_secs_f64()})
}

fn hours(options: &Options) -> Value {
    let started = Instant::now();
    let instance = name("gw-1");
    let calls = options.rows / options.days;
    let rate = (calls as u64).div_ceil(86_400);
    let traffic = || Traffic::new(1, instance.clone(), Timestamp::from_unix_us(NOVEMBER_US), rate);
    let row = traffic().next().expect("traffic is endless");
    // The year before December 2026, so that a report of its last month is one of November.
    let days = i32::try_from(options.days).expect("days fit");
    let first = Timestamp::from_unix_us(NOVEMBER_US).day() + 30 - days;
    let (location, day) = (location(&options.data), batches(traffic().take(calls)));
    let runtime = Runtime::new().expect("threads can be started");
    let rows = runtime
        .block_on(generated::append_days(&location, &instance, day, &row, first, days))
        .expect("the table takes rows");
    json!({"calls": calls * options.days, "rows_a_day": rows, "seconds": started.elapsed().as_secs_f64()})
}

fn files(options: &Options) -> Value {
    let started = Instant::now();
    let location = location(&options.data);
    let instance = name("gw-1");
    let runtime = Runtime::new().expect("threads can be started");
    let (mut seq, mut made) = (Seq::ZERO, 0);
    while made < options.files {
        let days = DAYS.min(options.files - made);
        let mut rows = Vec::new();
        for day in 0..days {
            let start = NOVEMBER_US - i64::try_from(day).expect("a day fits") * Timestamp::DAY_US;
            let traffic = Traffic::new((made + day) as u64, instance.clone(), Timestamp::from_unix_us(start), 1);
            for mut row in traffic.take(options.rows_a_file) {
                seq = seq.next();
                row.seq = seq;
                rows.push(row);
            }
        }
        runtime
            .block_on(synthetic::append(&location, batches(rows.into_iter()), &instance, seq))
            .expect("the table takes rows");
        made += days;
    }
    json!({"files": made, "rows": seq.get(), "commits": made.div_ceil(DAYS), "seconds": started.elapsed().as_secs_f64()})
}
