//! Rows to Parquet: how fast on one core, and how many bytes a row.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]
use arrow::array::RecordBatch;
use parquet::basic::*;
use parquet::file::properties::*;
use parquet::schema::types::ColumnPath;
use std::sync::Arc;
use std::time::Instant;
use tollgate_record::{Name, Timestamp};
use tollgate_usage_store::parquet as rows;
use tollgate_usage_store::synthetic::Traffic;
use tollgate_usage_store::usage_batch;

fn main() {
    let count: usize = std::env::var("ROWS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(262_144);
    let start = Timestamp::from_unix_us(1_790_000_000_000_000);
    let at = Instant::now();
    let records: Vec<_> = Traffic::new(1, Name::new("gw-1").unwrap(), start, 4000).take(count).collect();
    println!("generate {:.0} rows/s", count as f64 / at.elapsed().as_secs_f64());
    let at = Instant::now();
    let batches: Vec<RecordBatch> = records.chunks(512).map(|chunk| usage_batch(chunk).unwrap()).collect();
    let made = at.elapsed();
    println!("usage_batch {:.0} rows/s", count as f64 / made.as_secs_f64());
    println!(
        "arrow bytes a row {:.0}",
        batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() as f64 / count as f64
    );
    let at = Instant::now();
    let days = rows::order(&batches).unwrap();
    println!("order {:.0} rows/s", count as f64 / at.elapsed().as_secs_f64());
    let schema = rows::file_schema();
    let base = || rows::properties();
    let zstd = |level| base().set_compression(Compression::ZSTD(ZstdLevel::try_new(level).unwrap()));
    let col = |name: &str| ColumnPath::from(name);
    let mut variants: Vec<(&str, WriterPropertiesBuilder)> = vec![
        (
            "default zstd3",
            WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()))
                .set_max_row_group_row_count(Some(131072)),
        ),
        ("base", base()),
        ("zstd1", zstd(1)),
        ("zstd3", zstd(3)),
        ("lz4", base().set_compression(Compression::LZ4_RAW)),
        ("v2 fallback", base().set_writer_version(WriterVersion::PARQUET_2_0)),
        ("stats chunk only", base().set_statistics_enabled(EnabledStatistics::Chunk)),
    ];
    for (name, enc) in [("dlba", Encoding::DELTA_LENGTH_BYTE_ARRAY), ("plain", Encoding::PLAIN)] {
        variants.push((
            name,
            base()
                .set_column_encoding(col("call_id"), enc)
                .set_column_encoding(col("request_id"), enc),
        ));
    }
    for (name, builder) in variants {
        if std::env::args()
            .skip(1)
            .find(|a| !a.starts_with("--"))
            .is_some_and(|want| want != name)
        {
            continue;
        }
        let properties = Arc::new(builder.build());
        let at = Instant::now();
        let files: Vec<_> = days
            .iter()
            .map(|day| rows::encode(&batches, &day.places, &schema, properties.clone()).unwrap())
            .collect();
        let took = at.elapsed();
        let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
        println!(
            "{name:20} {:.1} bytes/row {:.0} rows/s",
            bytes as f64 / count as f64,
            count as f64 / took.as_secs_f64()
        );
        if std::env::var("COLUMNS").is_ok() {
            let mut sizes: std::collections::BTreeMap<String, (i64, i64, String)> = Default::default();
            for group in files[0].metadata.row_groups() {
                for column in group.columns() {
                    let entry = sizes.entry(column.column_path().string()).or_default();
                    entry.0 += column.compressed_size();
                    entry.1 += column.uncompressed_size();
                    entry.2 = format!("{:?}", column.encodings().collect::<Vec<_>>());
                }
            }
            let mut sizes: Vec<_> = sizes.into_iter().collect();
            sizes.sort_by_key(|(_, (size, ..))| -size);
            for (name, (size, raw, enc)) in sizes {
                println!(
                    "  {name:50} {:6.2} {:6.2} {enc}",
                    size as f64 / count as f64,
                    raw as f64 / count as f64
                );
            }
        }
    }
}
