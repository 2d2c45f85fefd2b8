//! The log against torn writes, flipped bits, and a model.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tempfile::TempDir;
use tollgate_record::Seq;

use super::entry::{self, Kind, Parsed};
use super::segment::{Format, MAGIC, Segment};
use super::{Append, Durability, Log, Options, Start};
use crate::Error;
use crate::disk::Os;
use crate::recovery::Recovered;
use crate::testing::{intent, record};

fn start(folder: &TempDir, durability: Durability) -> (Arc<Log>, Arc<Mutex<Vec<u64>>>) {
    start_with(folder, durability, u64::MAX)
}

fn start_with(folder: &TempDir, durability: Durability, bytes_max: u64) -> (Arc<Log>, Arc<Mutex<Vec<u64>>>) {
    let places = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let places = Arc::clone(&places);
        Box::new(move |rows: Vec<Box<tollgate_record::Record>>| places.lock().unwrap().extend(rows.iter().map(|row| row.seq.get())))
    };
    let options = Options {
        disk: Arc::new(Os),
        folder: folder.path().to_owned(),
        durability,
        // No thread syncs: what is synced is what a test says.
        sync_interval: None,
        bytes_max,
        counters: Arc::default(),
        runtime: tokio::runtime::Handle::current(),
        sink,
    };
    let log = Log::start(
        options,
        Start {
            number: 1,
            ..Start::default()
        },
    )
    .unwrap();
    (log, places)
}

fn opened(number: u64) -> Append {
    let intent = intent(number);
    Append::Opened {
        call_id: intent.call_id,
        payload: entry::encode(&intent).into(),
    }
}

fn settled(number: u64) -> Append {
    let record = record(number);
    Append::Settled {
        payload: entry::encode(&record),
        record: Box::new(record),
    }
}

/// What a start reads, and the places of its rows.
#[derive(Debug)]
struct Found {
    places: Vec<u64>,
    recovered: Recovered,
}

fn look(folder: &TempDir, committed: u64) -> Result<Found, Error> {
    let mut places = Vec::new();
    let recovered = Recovered::read(&Os, folder.path(), Seq::new(committed), |row| {
        places.push(row.seq.get());
        Ok(())
    })?;
    recovered.check()?;
    Ok(Found { places, recovered })
}

/// Reads the log as a start does, and makes it whole.
fn read(folder: &TempDir) -> Result<Found, Error> {
    let mut found = look(folder, 0)?;
    found.recovered.settle(&Os, folder.path())?;
    Ok(found)
}

/// Where the entries of rows begin: behind the magic and the first mark.
fn rows_start(bytes: &[u8]) -> usize {
    match entry::parse(&bytes[MAGIC.len()..]) {
        Parsed::Entry(mark, taken) if mark.kind == Kind::Synced => MAGIC.len() + taken,
        other => panic!("{other:?}"),
    }
}

fn first(folder: &TempDir) -> PathBuf {
    Segment::new(folder.path(), 1).path
}

#[tokio::test]
async fn what_was_acknowledged_is_read_back_in_order_in_both_durabilities() {
    for durability in [Durability::Process, Durability::Power] {
        let folder = TempDir::new().unwrap();
        let (log, places) = start(&folder, durability);
        for number in 0..50 {
            log.append(opened(number)).await.unwrap().unwrap();
            if number % 5 != 0 {
                log.append(settled(number)).await.unwrap().unwrap();
            }
        }
        let found = read(&folder).unwrap();
        assert_eq!(found.places, (1..=40).collect::<Vec<_>>());
        assert_eq!(*places.lock().unwrap(), (1..=40).collect::<Vec<_>>());
        assert_eq!(found.recovered.open.len(), 10);
        log.close().unwrap();
    }
}

#[tokio::test]
async fn entries_that_are_queued_together_are_each_told() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    let waiting: Vec<_> = (0..1000).map(|number| log.append(settled(number))).collect();
    for written in waiting {
        written.await.unwrap().unwrap();
    }
    assert_eq!(read(&folder).unwrap().recovered.last_seq, Seq::new(1000));
}

#[tokio::test]
async fn an_entry_is_written_although_its_writer_is_gone() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    drop(log.append(settled(1)));
    log.append(settled(2)).await.unwrap().unwrap();
    assert_eq!(read(&folder).unwrap().places.len(), 2);
}

#[tokio::test]
async fn a_new_segment_carries_the_open_calls_so_that_older_ones_can_go() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    for number in 0..3 {
        log.append(opened(number)).await.unwrap().unwrap();
    }
    log.append(settled(0)).await.unwrap().unwrap();
    let (last, segment) = log.rotate(|_| ()).unwrap();
    assert_eq!((last.get(), segment), (1, 2));
    log.forget_before(segment).unwrap();
    log.append(settled(1)).await.unwrap().unwrap();
    let found = read(&folder).unwrap();
    assert_eq!(found.places, [2]);
    assert_eq!(
        found.recovered.open.iter().map(|call| call.call_id).collect::<Vec<_>>(),
        [intent(2).call_id]
    );
}

#[tokio::test]
async fn a_torn_end_is_cut_at_every_byte_and_nothing_before_it_is_lost() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    log.append(settled(1)).await.unwrap().unwrap();
    let path = first(&folder);
    let whole = std::fs::read(&path).unwrap().len();
    log.append(settled(2)).await.unwrap().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for cut in whole..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let found = read(&folder).unwrap();
        assert_eq!(found.places.len(), 1, "cut at {cut}");
        assert_eq!(std::fs::read(&path).unwrap().len(), whole, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_flipped_bit_before_the_end_stops_the_start_and_names_the_place() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    for number in 0..3 {
        log.append(settled(number)).await.unwrap().unwrap();
    }
    // Everything is synced, and the log says so: no crash explains a break.
    log.close().unwrap();
    let path = first(&folder);
    let bytes = std::fs::read(&path).unwrap();
    let Parsed::Entry(_, taken) = entry::parse(&bytes[rows_start(&bytes)..]) else {
        panic!("the first entry is whole")
    };
    let second = rows_start(&bytes) + taken;
    for at in (second..second + taken).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        match read(&folder) {
            Err(Error::Damaged { offset, .. }) => assert_eq!(offset, second as u64, "flipped at {at}"),
            other => panic!("flipped at {at}: {other:?}"),
        }
        assert_eq!(
            std::fs::read(&path).unwrap().len(),
            bytes.len(),
            "a damaged log is left as it is"
        );
    }
}

#[tokio::test]
async fn a_damaged_end_of_an_older_segment_is_no_torn_write() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    log.append(settled(1)).await.unwrap().unwrap();
    log.rotate(|_| ()).unwrap();
    let path = first(&folder);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(read(&folder), Err(Error::Damaged { .. })));
}

#[tokio::test]
async fn an_unsynced_entry_that_a_power_cut_lost_is_cut_out_and_those_after_it_stay() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    for number in 0..3 {
        log.append(settled(number)).await.unwrap().unwrap();
    }
    let path = first(&folder);
    let mut bytes = std::fs::read(&path).unwrap();
    let Parsed::Entry(_, taken) = entry::parse(&bytes[rows_start(&bytes)..]) else {
        panic!("the first entry is whole")
    };
    let second = rows_start(&bytes) + taken;
    let Parsed::Entry(_, lost) = entry::parse(&bytes[second..]) else {
        panic!("the second entry is whole")
    };
    bytes[second..second + lost].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        // The second time, the log is whole.
        let found = read(&folder).unwrap();
        assert_eq!(found.places, [1, 3]);
    }
    assert_eq!(std::fs::read(&path).unwrap().len(), bytes.len() - lost);
}

#[tokio::test]
async fn a_rotation_that_a_power_cut_interrupts_loses_nothing_that_was_synced() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    log.append(settled(1)).await.unwrap().unwrap();
    log.sync().unwrap();
    log.append(settled(2)).await.unwrap().unwrap();
    // The successor was created, and the cut came before the older segment was synced.
    let bytes = std::fs::read(first(&folder)).unwrap();
    std::fs::write(first(&folder), &bytes[..bytes.len() - 1]).unwrap();
    std::fs::write(Segment::new(folder.path(), 2).path, MAGIC).unwrap();
    let found = read(&folder).unwrap();
    assert_eq!(found.places, [1]);
}

#[test]
fn a_segment_whose_first_bytes_a_power_cut_lost_in_part_was_never_begun() {
    let folder = TempDir::new().unwrap();
    for lost in 0..MAGIC.len() {
        let mut bytes = *MAGIC;
        bytes[lost..].fill(0);
        std::fs::write(first(&folder), bytes).unwrap();
        assert!(read(&folder).unwrap().places.is_empty());
        assert_eq!(std::fs::read(first(&folder)).unwrap(), MAGIC, "it is whole now");
    }
}

#[test]
fn a_segment_of_format_2_that_was_never_begun_is_one_too() {
    let folder = TempDir::new().unwrap();
    for bytes in [*b"\0\0\0\0\0\0\x002", *b"TOLL\0\0\x002", *b"TOLLWAL2"] {
        std::fs::write(first(&folder), bytes).unwrap();
        assert!(read(&folder).unwrap().places.is_empty());
    }
}

/// The order of the fields is the format: each record of the fixture has its place plus 1, 2, 3 and so on in the fields that came with format 3.
#[test]
fn records_of_format_3_are_read_as_they_were_meant() {
    let bytes = include_bytes!("../../fixtures/format-3/wal/00000000000000000002.wal");
    assert!(bytes.starts_with(MAGIC), "a new format has a fixture of its own");
    let (mut rest, mut places) = (&bytes[MAGIC.len()..], Vec::new());
    while let Parsed::Entry(found, taken) = entry::parse(rest) {
        rest = &rest[taken..];
        if found.kind != Kind::Settled {
            continue;
        }
        let place = found.seq.get();
        let usage = entry::record(Format::Three, found.payload).unwrap().usage;
        assert_eq!((usage.input, usage.output), (Some(100), Some(20)));
        let fields = [
            usage.cache_read_audio,
            usage.cache_read_image,
            usage.image_in,
            usage.video_in,
            usage.tool_use_in,
            usage.unbilled_in,
            usage.image_out,
            usage.search_query,
            usage.maps_grounding,
            usage.file_search,
            usage.code_interpreter,
            usage.images,
            usage.media_us,
            usage.characters,
            usage.pages,
        ];
        assert_eq!(fields.to_vec(), (place + 1..=place + 15).map(Some).collect::<Vec<_>>());
        places.push(place);
    }
    assert_eq!(places, [5, 6, 7]);
}

#[test]
fn every_kind_of_usage_survives_the_log() {
    let mut record = record(1);
    record.usage = tollgate_record::Usage {
        cache_read_audio: Some(1),
        image_out: Some(2),
        media_us: Some(8_470_000),
        code_interpreter: Some(u64::MAX),
        pages: Some(0),
        ..record.usage
    };
    let read = entry::record(Format::Three, &entry::encode(&record)).unwrap();
    assert_eq!(*read, record);
}

#[tokio::test]
async fn segments_before_a_gap_are_leftovers_only_if_the_table_has_their_rows() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start(&folder, Durability::Process);
    for number in 1..=3 {
        log.append(settled(number)).await.unwrap().unwrap();
        log.rotate(|_| ()).unwrap();
    }
    Segment::new(folder.path(), 2).delete(&Os).unwrap();
    assert!(matches!(read(&folder), Err(Error::Missing { path }) if path.ends_with("00000000000000000002.wal")));
    let mut found = look(&folder, 2).unwrap();
    assert_eq!(found.places, [3]);
    found.recovered.settle(&Os, folder.path()).unwrap();
    assert!(!first(&folder).exists());
}

#[tokio::test]
async fn at_its_limit_the_log_takes_no_new_call_and_still_ends_those_that_are_open() {
    let folder = TempDir::new().unwrap();
    let (log, _) = start_with(&folder, Durability::Process, 2_000);
    let mut number = 0;
    while log.append(opened(number)).await.unwrap().is_ok() {
        number += 1;
    }
    assert!(number > 1);
    let refused = log.append(settled(number)).await.unwrap().unwrap_err();
    assert!(refused.reason.contains("2000 bytes"), "{}", refused.reason);
    for open in 0..number {
        log.append(settled(open)).await.unwrap().unwrap();
    }
    let (_, segment) = log.rotate(|_| ()).unwrap();
    log.forget_before(segment).unwrap();
    log.append(opened(number)).await.unwrap().unwrap();
}

#[test]
fn a_log_of_another_version_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("00000000000000000001.wal"), b"TOLLWAL9........").unwrap();
    let message = read(&folder).unwrap_err().to_string();
    assert!(message.contains("TOLLWAL9") && message.contains("TOLLWAL1"), "{message}");
}

proptest! {
    /// Any bytes are read without panic, and what was put is what is parsed.
    #[test]
    fn parsing_inverts_putting_and_survives_anything(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20), noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut buffer = Vec::new();
        for (place, payload) in payloads.iter().enumerate() {
            entry::put(&mut buffer, Kind::Settled, Seq::new(place as u64), payload);
        }
        let mut rest = &buffer[..];
        for (place, payload) in payloads.iter().enumerate() {
            let Parsed::Entry(entry, taken) = entry::parse(rest) else { panic!("a whole entry") };
            prop_assert_eq!(entry.payload, &payload[..]);
            prop_assert_eq!(entry.seq, Seq::new(place as u64));
            rest = &rest[taken..];
        }
        prop_assert_eq!(entry::parse(rest), Parsed::End);
        let _ = entry::parse(&noise);
    }
}
