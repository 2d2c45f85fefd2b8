//! Runs the corpora through the targets.

use std::fs;
use std::path::PathBuf;

use super::TARGETS;

/// Every input that a fuzzer or a person found worth keeping, so that what was mended stays so without a fuzzer at hand.
#[test]
fn every_input_of_the_corpora_holds() {
    for (name, target) in TARGETS {
        let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", name].iter().collect();
        let mut inputs: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{} has no inputs", folder.display());
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            let held = std::panic::catch_unwind(|| target(&bytes));
            assert!(held.is_ok(), "{} fails", input.display());
        }
    }
}
