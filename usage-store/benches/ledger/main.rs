//! Measures the ledger through its public API: what a call costs the request path, group commit, and recovery.
//!
//! `cargo bench -p tollgate-usage-store --bench ledger -- COMMAND --data DIR [--calls N] [--callers N] [--seconds N]` does one
//! measurement and prints it as JSON; `tests/bench/ledger.sh` runs them in order, on cores of their own, and makes the tables of BENCHMARKS.md.
//!
//! - `calls`: so many calls are admitted and settled in durability `process`, by so many tasks of one thread; CPU time a call.
//! - `commits`: the same for so many seconds in durability `power`; calls a second.
//! - `disk`: what group commit is held against: 8 KB appended to a file and `fdatasync()`, over and over.
//! - `log`: so many calls into a log that is never flushed, then an end as by `kill -9`.
//! - `open`: how long [`Store::open`] takes on what `log` left.
//! - `parquet`: synthetic traffic from records, as they lie in memory, to the bytes of a file: rows a second, bytes a row.

#![allow(missing_docs)]

mod calls;
mod cpu;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tollgate_record::{Ledger, Name, Record, Timestamp};
use tollgate_usage_store::parquet as file;
use tollgate_usage_store::synthetic::Traffic;
use tollgate_usage_store::{Config, Durability, Store, usage_batch};

use crate::cpu::Cpu;

/// The gateway's allocator: another one would have other costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls that are not counted: pools, pages and branch predictors are warm after them.
const WARM_UP_CALLS: u64 = 20_000;
/// Bytes of one append of `disk`: about what 16 calls write.
const DISK_BYTES: usize = 8192;

/// Rows of a chunk of the hot buffer.
const FLUSH_CHUNK_ROWS: usize = 512;

struct Options {
    data: PathBuf,
    calls: u64,
    callers: u64,
    seconds: u64,
    warm_up: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let command = arguments.next().unwrap_or_else(|| usage("a command is missing"));
    let mut options = Options {
        data: PathBuf::new(),
        calls: 1_000_000,
        callers: 64,
        seconds: 5,
        warm_up: WARM_UP_CALLS,
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
            "--calls" => options.calls = number(),
            "--callers" => options.callers = number(),
            "--seconds" => options.seconds = number(),
            "--warm-up" => options.warm_up = number(),
            _ => usage(&format!("there is no {name}")),
        }
    }
    if options.data.as_os_str().is_empty() {
        usage("--data is missing");
    }
    let found = match command.as_str() {
        "calls" => calls(&options),
        "commits" => commits(&options),
        "disk" => disk(&options),
        "log" => log(&options),
        "open" => open(&options),
        "parquet" => parquet(&options),
        _ => usage(&format!("there is no command {command}")),
    };
    println!("{found}");
    // As by `kill -9`: nothing is flushed or tidied, so that `open` finds what a crash leaves.
    std::process::exit(0);
}

fn usage(problem: &str) -> ! {
    eprintln!(
        "{problem}: ledger calls|commits|disk|log|open|parquet --data DIR [--calls N] [--callers N] [--seconds N] [--warm-up N]"
    );
    std::process::exit(2);
}

/// One thread for all callers, as a gateway on one core has.
fn one_thread() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("threads can be started")
}

fn config(options: &Options, durability: Durability) -> Config {
    let instance = Name::new("bench").expect("the name is valid");
    let mut config = Config::new(&options.data, instance).expect("the data directory has a name");
    config.durability = durability;
    config
}

/// Does `calls` calls with so many callers at once.
async fn run(ledger: &Arc<dyn Ledger>, first: u64, calls: u64, callers: u64) {
    let next = Arc::new(AtomicU64::new(first));
    let end = first + calls;
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (ledger, next) = (Arc::clone(ledger), Arc::clone(&next));
            let shared = calls::Shared::new();
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= end {
                        return;
                    }
                    let call = ledger.admit(shared.intent(number)).await.expect("the ledger takes calls");
                    call.settle(shared.ending(number)).await.expect("the ledger takes calls");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a caller ends well");
    }
}

fn calls(options: &Options) -> Value {
    let runtime = one_thread();
    runtime.block_on(async {
        let store = Store::open(config(options, Durability::Process), calls::prices())
            .await
            .expect("the store opens");
        let ledger = store.ledger();
        run(&ledger, 0, options.warm_up, options.callers).await;
        let (before, started) = (Cpu::now(), Instant::now());
        run(&ledger, options.warm_up, options.calls, options.callers).await;
        let (wall, used) = (started.elapsed(), Cpu::now().since(before));
        // What the callers themselves cost is measured without a ledger and is in the figures above.
        let before = Cpu::now();
        let shared = calls::Shared::new();
        for number in 0..options.calls {
            std::hint::black_box((shared.intent(number), shared.ending(number)));
        }
        let making = Cpu::now().since(before);
        json!({
            "callers": options.callers,
            "calls": options.calls,
            "calls_per_second": options.calls as f64 / wall.as_secs_f64(),
            "thread_us": used.thread_us / options.calls as f64,
            "process_us": used.process_us / options.calls as f64,
            "making_us": making.thread_us / options.calls as f64,
            "peak_bytes": cpu::peak_bytes(),
        })
    })
}

fn commits(options: &Options) -> Value {
    let runtime = one_thread();
    runtime.block_on(async {
        let store = Store::open(config(options, Durability::Power), calls::prices())
            .await
            .expect("the store opens");
        let ledger = store.ledger();
        let (calls, started) = (AtomicU64::new(0), Instant::now());
        let limit = Duration::from_secs(options.seconds);
        let mut number = 0;
        while started.elapsed() < limit {
            // Rounds long enough that their ends, at which callers run out of work, do not count.
            let round = options.callers * 50;
            run(&ledger, number, round, options.callers).await;
            number += round;
            calls.fetch_add(round, Relaxed);
        }
        let calls = calls.into_inner();
        json!({
            "callers": options.callers,
            "calls": calls,
            "calls_per_second": calls as f64 / started.elapsed().as_secs_f64(),
        })
    })
}

fn disk(options: &Options) -> Value {
    std::fs::create_dir_all(&options.data).expect("the folder can be made");
    let path = options.data.join("disk");
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .expect("the file can be made");
    let block = vec![0xA5; DISK_BYTES];
    let (mut syncs, started) = (0_u64, Instant::now());
    while started.elapsed() < Duration::from_secs(options.seconds) {
        file.write_all(&block).expect("the disk takes bytes");
        file.sync_data().expect("the disk syncs");
        syncs += 1;
    }
    let rate = syncs as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_file(&path).expect("the file can be removed");
    json!({"bytes": DISK_BYTES, "syncs_per_second": rate})
}

fn log(options: &Options) -> Value {
    let runtime = one_thread();
    runtime.block_on(async {
        let mut config = config(options, Durability::Process);
        config.flush_rows = usize::MAX;
        config.flush_bytes = u64::MAX;
        config.flush_interval = Duration::from_secs(86_400);
        let store = Store::open(config, calls::prices()).await.expect("the store opens");
        run(&store.ledger(), 0, options.calls, options.callers).await;
        let bytes: u64 = std::fs::read_dir(options.data.join("wal"))
            .expect("the log is there")
            .map(|item| item.and_then(|item| item.metadata()).map_or(0, |about| about.len()))
            .sum();
        json!({"calls": options.calls, "entries": options.calls * 2, "log_bytes": bytes})
    })
}

fn open(options: &Options) -> Value {
    let runtime = one_thread();
    runtime.block_on(async {
        let (before, started) = (Cpu::now(), Instant::now());
        let store = Store::open(config(options, Durability::Process), calls::prices())
            .await
            .expect("the store opens");
        let (wall, used) = (started.elapsed(), Cpu::now().since(before));
        drop(store);
        json!({
            "seconds": wall.as_secs_f64(),
            "cpu_seconds": used.process_us / 1e6,
            "peak_bytes": cpu::peak_bytes(),
        })
    })
}

/// What a flush does with its rows, but for the disk: columns in chunks, sorting, encoding. `--calls` is the rows of a flush.
///
/// The first flush of a process asks the system for memory, the later ones have it: the third one is measured.
fn parquet(options: &Options) -> Value {
    let start = Timestamp::from_unix_us(calls::START_US);
    let instance = Name::new("bench").expect("the name is valid");
    let mut traffic = Traffic::new(1, instance, start, 1000);
    let count = usize::try_from(options.calls).expect("a count fits");
    let mut flush = || Flush::run(&traffic.by_ref().take(count).collect::<Vec<_>>());
    let first = flush();
    flush();
    let later = flush();
    json!({
        "rows": later.rows,
        "first_rows_per_second": first.per_second(first.all_us()),
        "rows_per_second": later.per_second(later.all_us()),
        "columns_per_second": later.per_second(later.columns_us),
        "sorting_per_second": later.per_second(later.sorting_us),
        "encoding_per_second": later.per_second(later.encoding_us),
        "bytes_per_row": later.bytes as f64 / later.rows as f64,
        "peak_bytes": cpu::peak_bytes(),
    })
}

/// CPU time of a flush's steps.
struct Flush {
    rows: usize,
    bytes: usize,
    columns_us: f64,
    sorting_us: f64,
    encoding_us: f64,
}

impl Flush {
    fn run(records: &[Box<Record>]) -> Self {
        let at = Cpu::now();
        let batches: Vec<_> = records
            .chunks(FLUSH_CHUNK_ROWS)
            .map(|chunk| usage_batch(chunk).expect("records fit the schema"))
            .collect();
        let columns = Cpu::now();
        let days = file::order(&batches).expect("the rows can be sorted");
        let sorted = Cpu::now();
        let (schema, properties) = (file::file_schema(), Arc::new(file::properties().build()));
        let encode = |day: &file::Day| file::encode(&batches, &day.places, &schema, Arc::clone(&properties));
        let bytes = days
            .iter()
            .map(|day| encode(day).expect("the rows can be encoded").bytes.len())
            .sum();
        let encoded = Cpu::now();
        Self {
            rows: records.len(),
            bytes,
            columns_us: columns.since(at).thread_us,
            sorting_us: sorted.since(columns).thread_us,
            encoding_us: encoded.since(sorted).thread_us,
        }
    }

    fn all_us(&self) -> f64 {
        self.columns_us + self.sorting_us + self.encoding_us
    }

    fn per_second(&self, us: f64) -> f64 {
        self.rows as f64 * 1e6 / us
    }
}
