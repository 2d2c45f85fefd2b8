//! Rows to Parquet: how many rows a second of one core, how many bytes a row, and what each choice of `usage_store::parquet` gains.
//!
//! `cargo bench -p tollgate-usage-store --bench parquet [-- columns]`; `ROWS` sets the number of rows (262,144, one flush). Time is that
//! of the processor spent on this thread, so other processes disturb it little. Prints Markdown for BENCHMARKS.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use tollgate_record::{Name, Timestamp};
use tollgate_usage_store::parquet::{DECIMALS, Encoded, IDS, MEASURES, encode, file_schema, order, properties};
use tollgate_usage_store::synthetic::Traffic;
use tollgate_usage_store::usage_batch;

/// The gateway's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds of processor time of this thread (Linux), else of the clock.
fn seconds() -> f64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = spent.and_then(|text| text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()));
    nanos.map_or_else(
        || START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64(),
        |nanos| nanos / 1e9,
    )
}

/// The best of three, in rows a second.
fn rate<T>(rows: usize, mut work: impl FnMut() -> T) -> (f64, T) {
    let mut best = f64::MAX;
    let mut made = None;
    for _ in 0..3 {
        let start = seconds();
        made = Some(work());
        best = best.min(seconds() - start);
    }
    (rows as f64 / best, made.unwrap())
}

fn path(parts: &[&str]) -> ColumnPath {
    ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect())
}

fn paths(columns: &[&[&str]]) -> Vec<ColumnPath> {
    columns.iter().map(|parts| path(parts)).collect()
}

/// The same with another encoding of some columns, or with the dictionary.
fn with(columns: &[ColumnPath], encoding: Option<Encoding>) -> WriterPropertiesBuilder {
    columns.iter().fold(properties(), |builder, column| match encoding {
        Some(encoding) => builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column.clone(), encoding),
        None => builder.set_column_dictionary_enabled(column.clone(), true),
    })
}

fn main() {
    let rows: usize = std::env::var("ROWS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(262_144);
    let start = Timestamp::from_unix_us(1_790_000_000_000_000);
    let records: Vec<_> = Traffic::new(1, Name::new("gw-1").unwrap(), start, 4000).take(rows).collect();
    let (columns_rate, batches) = rate(rows, || -> Vec<RecordBatch> {
        records.chunks(512).map(|chunk| usage_batch(chunk).unwrap()).collect()
    });
    let (order_rate, days) = rate(rows, || order(&batches).unwrap());
    let schema = file_schema();
    let write = |builder: WriterPropertiesBuilder| -> (f64, Vec<Encoded>) {
        let properties = Arc::new(builder.build());
        rate(rows, || {
            let files = days
                .iter()
                .map(|day| encode(&batches, &day.places, &schema, Arc::clone(&properties)).unwrap());
            files.collect()
        })
    };
    let (ids, measures, decimals) = (paths(IDS), paths(MEASURES), paths(DECIMALS));
    let zstd = |level| properties().set_compression(Compression::ZSTD(ZstdLevel::try_new(level).unwrap()));
    let bloom = |columns: &[ColumnPath]| {
        columns.iter().fold(properties(), |builder, column| {
            builder
                .set_column_bloom_filter_enabled(column.clone(), true)
                .set_column_bloom_filter_fpp(column.clone(), 0.01)
        })
    };
    let variants = vec![
        ("as it is", properties()),
        (
            "the library's defaults, zstd 1",
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())),
        ),
        ("zstd 3", zstd(3)),
        ("zstd 6", zstd(6)),
        ("ids: plain", with(&ids, Some(Encoding::PLAIN))),
        ("ids: delta length", with(&ids, Some(Encoding::DELTA_LENGTH_BYTE_ARRAY))),
        ("ids: delta byte array", with(&ids, Some(Encoding::DELTA_BYTE_ARRAY))),
        ("counts and times: dictionary", with(&measures, None)),
        ("counts and times: plain", with(&measures, Some(Encoding::PLAIN))),
        (
            "counts and times: byte stream split",
            with(&measures, Some(Encoding::BYTE_STREAM_SPLIT)),
        ),
        (
            "counts and times: delta",
            with(&measures, Some(Encoding::DELTA_BINARY_PACKED)),
        ),
        ("amounts: dictionary", with(&decimals, None)),
        ("amounts: plain", with(&decimals, Some(Encoding::PLAIN))),
        (
            "amounts: byte stream split",
            with(&decimals, Some(Encoding::BYTE_STREAM_SPLIT)),
        ),
        ("amounts: delta byte array", with(&decimals, Some(Encoding::DELTA_BYTE_ARRAY))),
        ("pages of 20,000 rows", properties().set_data_page_row_count_limit(20_000)),
        ("no page index", properties().set_statistics_enabled(EnabledStatistics::Chunk)),
        ("bloom filters of call_id", bloom(&[path(&["call_id"])])),
        (
            "bloom filters of call_id and request_id",
            bloom(&paths(&[&["call_id"], &["request_id"]])),
        ),
    ];
    println!("{rows} rows; records to columns {columns_rate:.0} rows/s, order {order_rate:.0} rows/s\n");
    println!("| encoding | bytes a row | columns to Parquet, rows/s | all, rows/s |\n|---|---:|---:|---:|");
    for (name, builder) in variants {
        let (rate, files) = write(builder);
        let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
        let all = 1.0 / (1.0 / rate + 1.0 / order_rate + 1.0 / columns_rate);
        println!("| {name} | {:.1} | {rate:.0} | {all:.0} |", bytes as f64 / rows as f64);
        if std::env::args().any(|argument| argument == "columns") {
            columns(&files, rows);
        }
    }
}

/// Bytes a row of each column.
fn columns(files: &[Encoded], rows: usize) {
    let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
    for column in files
        .iter()
        .flat_map(|file| file.metadata.row_groups())
        .flat_map(|group| group.columns())
    {
        *sizes.entry(column.column_path().string()).or_default() += column.compressed_size();
    }
    let mut sizes: Vec<_> = sizes.into_iter().filter(|(_, size)| *size * 20 > rows as i64).collect();
    sizes.sort_by_key(|(_, size)| -size);
    let list: Vec<_> = sizes
        .iter()
        .map(|(name, size)| format!("{name} {:.2}", *size as f64 / rows as f64))
        .collect();
    println!("\n{}\n", list.join(", "));
}
