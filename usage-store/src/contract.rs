//! The crash contract: what is on disk after each step, what a crash leaves of it, and what a reader sees.
//!
//! Two crashes are told apart. A **kill** ends the process at any instruction; what the operating system took stays. A **power cut** also
//! loses whatever was not synced, in any part and order. `D` is the data directory, on a local disk; the table is a Delta Lake table, in a
//! folder or an object store. Tests are named behind each invariant; `simulation` stands for the two tests of [`crate`]'s simulation, which
//! mix steps, crashes and faults at random and hold the rows against what was acknowledged.
//!
//! # Admitting and settling
//! 1. When `admit` has returned a call, an `opened` entry of it is in the newest segment of `D/wal`: after `write()` in `process`
//!    durability, after `fdatasync()` in `power`. From then on the call leaves exactly one row.
//!    (`a_call_that_was_open_at_the_crash_becomes_interrupted_once`, simulation)
//! 2. When `settle` or `refuse` has returned, the `settled` entry with the whole row is there in the same sense, and every later query
//!    sees the row. (`what_was_acknowledged_is_read_back_in_order_in_both_durabilities`, `every_answered_call_has_one_row_after_kill_9`, simulation)
//! 3. In `process` durability, `fdatasync()` follows within `sync_interval`. So a kill costs nothing, and a power cut at most what came
//!    within the interval: rows of that time may be missing or `interrupted`, and their places (`seq`) are then missing too.
//!    (`an_unsynced_entry_that_a_power_cut_lost_is_cut_out_and_those_after_it_stay`, simulation)
//! 4. A row is written although nobody waits for it any more; a call that is dropped is settled as `client_aborted`.
//!    (`an_entry_is_written_although_its_writer_is_gone`, `a_dropped_call_is_settled_as_aborted_with_what_was_noted`, simulation)
//! 5. Places are given in the order of the log: 1, 2, 3 and so on for each instance, and none means two rows. A kill leaves no gap (but see 15). A power
//!    cut may leave gaps at the end of what was written: of rows that nobody was told of, and in `process` durability of those in invariant 3.
//!    (`no_query_sees_a_gap_or_an_overlap_while_flushes_commit`, simulation)
//!
//! # The log
//! 6. A failed write leaves no half entry: the segment is cut back. A full disk refuses calls until there is space; rows of calls that were
//!    open are kept in memory and written first then. Any other failed write, and any failed `fdatasync()`, poisons the log until the next
//!    start: nothing is retried that cannot be proved. (`a_full_disk_refuses_calls_and_they_resume_by_themselves_and_nothing_is_lost`,
//!    `a_failed_fsync_poisons_the_writer_and_is_not_tried_again`, `a_read_only_directory_stops_the_start_and_poisons_a_writer_that_runs`)
//! 7. A segment's `synced` entries say how far it, and every segment before it, was synced. A start tells by them a crash from damage: bytes
//!    that belong to no whole entry are cut out where nothing says that they were synced, and stop the start where something does.
//!    (`a_torn_end_is_cut_at_every_byte_and_nothing_before_it_is_lost`, `a_flipped_bit_before_the_end_stops_the_start_and_names_the_place`,
//!    `a_rotation_that_a_power_cut_interrupts_loses_nothing_that_was_synced`, `a_damaged_end_of_an_older_segment_is_no_torn_write`, simulation)
//! 8. A start changes nothing before it has read everything, syncs what it has read before it records anything, and syncs the rows of
//!    interrupted calls before it serves. (`what_a_start_wrote_survives_a_power_cut`,
//!    `damage_stops_the_start_and_a_repair_keeps_the_rest_and_names_what_is_missing`, simulation)
//! 9. A new segment begins with the `opened` entries of all open calls. Segments are deleted oldest first, and only when the table has
//!    all their rows; so a segment that is missing is told from one that was deleted. (`a_new_segment_carries_the_open_calls_so_that_older_ones_can_go`,
//!    `segments_before_a_gap_are_leftovers_only_if_the_table_has_their_rows`, simulation)
//!
//! # The table
//! 10. A flush turns the log's page and syncs it, writes Parquet files, then commits them together with the instance's last place as a Delta
//!     application transaction, and only then forgets the log. A crash between any two of these, and a commit whose answer is lost or comes
//!     late, leaves the rows in the log, in the table or in both, and never shows them twice. In a local folder, files and names are synced before
//!     the commit counts. (`rows_survive_a_crash_at_any_point_around_a_flush`, `a_commit_whose_log_was_not_yet_forgotten_is_not_replayed`,
//!     `an_append_whose_answer_was_lost_is_found_when_it_is_repeated`, `rows_of_a_commit_whose_answer_was_lost_are_not_appended_again_with_later_ones`, simulation)
//! 11. Any number of gateways append to one table, each under a name of its own. (`four_gateways_append_to_one_table_through_kills`,
//!     `gateways_append_at_the_same_time_and_every_row_is_there_once`, simulation)
//!     One whose name another uses stops flushing instead of taking the other's places for its own.
//!     (`two_gateways_of_one_name_on_one_table_do_not_take_each_others_places_for_their_own`)
//! 12. A query sees one version of the table and the rows that this gateway's log has beyond it: no row twice, none missing.
//!     (`no_query_sees_a_gap_or_an_overlap_while_flushes_commit`, simulation)
//! 13. While the table cannot be reached, calls go on until the log has `log_bytes`; then calls are refused, and those that are open still
//!     end. When it is back, everything is committed once. (`at_its_limit_the_log_takes_no_new_call_and_still_ends_those_that_are_open`,
//!     `a_start_without_the_table_records_calls_and_commits_them_once_when_it_is_back`, `calls_and_queries_of_hot_rows_go_on_while_the_store_is_down`)
//!
//! # Results of batches
//! 14. When `record_results` has returned, each result has one row, in the sense of invariant 2, however often it is given, at once, after a start or a
//!     kill. (`a_result_is_added_once_however_often_it_is_fetched`, `results_become_rows_once_over_restarts_and_kills`,
//!     `results_of_a_client_that_leaves_and_of_a_gateway_that_is_killed_midway_become_rows_once`)
//! 15. Of rows that several gateways have of one result, the table takes the one that is committed first; a flush leaves out the others, whose places stay
//!     empty. It is decided on exactly the version that is committed on. Until its flush, a gateway shows its own row beside that of the table.
//!     (`of_a_result_that_two_gateways_recorded_the_table_takes_the_first`, `results_that_two_gateways_of_one_table_are_asked_for_become_rows_once`)
//! 16. If the table cannot be read, no result is recorded that is not known to be new: the answer to the one who fetches it ends as an error.
//!     (`without_the_table_no_result_is_recorded_and_afterwards_each_is_once`)
//!
//! # The directory
//! 17. One process has the directory open. (`a_second_process_is_refused_and_the_directory_can_be_read_offline`)
//! 18. A directory of every earlier format is taken over whole; one of a later format is refused by name.
//!     (`every_format_is_taken_over_whole_and_goes_on`, `a_log_of_another_version_is_refused_by_name`)
//! 19. `tollgate repair` keeps every whole entry, saves the file as it was, and names the places that are missing.
//!     (`damage_stops_the_start_and_a_repair_keeps_the_rest_and_names_what_is_missing`, `a_segment_that_is_gone_is_named_and_the_others_are_kept`)
//!
//! # Corrections
//! 20. `tollgate rerate` appends to the table only, under an instance of its own whose application transaction must stand where it stood when
//!     the calls were read. A crash leaves a commit's corrections or none of them, and of any number that run, one corrects a call.
//!     (`two_that_rerate_at_once_correct_every_call_once`, `rows_behind_a_place_that_others_have_taken_are_not_appended`,
//!     `a_rerating_that_was_cut_off_is_completed_by_the_next`, `a_rerating_that_is_killed_again_and_again_corrects_each_call_once`)
//!
//! # What is not promised
//! - After a failed `fdatasync()` a kernel may show bytes that the disk does not have. Rows acknowledged in `process` durability within the
//!   interval before it survive the next start, but not a power cut before their flush.
//! - A result of a batch whose row has left the table, because its retention ended, is recorded again if it is fetched again.
//! - The clock decides nothing but retention: a row's place, and whether it is there, do not depend on it.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The text of all Rust files below a folder.
    fn sources(folder: &Path, text: &mut String) {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *text += &fs::read_to_string(&path).unwrap();
            }
        }
    }

    #[test]
    fn every_test_that_the_contract_names_is_there() {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        let mut text = String::new();
        sources(&Path::new(&here).join("src"), &mut text);
        sources(&Path::new(&here).join("../tests/src"), &mut text);
        let contract = fs::read_to_string(Path::new(&here).join("src/contract.rs")).unwrap();
        let documented = contract.lines().take_while(|line| line.starts_with("//!"));
        let names: Vec<_> = documented
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .filter(|name| name.matches('_').count() >= 3 && !name.contains(' '))
            .collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(
                text.contains(&format!("fn {name}(")),
                "the contract names a test that is not there: {name}"
            );
        }
    }
}
