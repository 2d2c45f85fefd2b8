//! What the exporters send, received by other people's code: `tests/clients/receivers.py`, in the environment that the workspace's
//! `tests/setup.sh` installs.

#![allow(clippy::unwrap_used, missing_docs, reason = "it is a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter of the environment.
fn python() -> PathBuf {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/setup.sh");
    let output = Command::new(setup).arg("paths").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix("python="));
    found
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
        .into()
}

/// The example that delivers. Cargo builds examples with tests, into a folder beside theirs.
fn deliver() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples/deliver");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p tollgate-exporters --example deliver`, as `cargo test` without `--test` does",
        path.display()
    );
    path
}

#[test]
fn receivers_that_are_not_ours_understand_what_they_are_sent() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/receivers.py");
    let output = Command::new(python()).arg(script).arg(deliver()).output().unwrap();
    let (said, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{wrong}");
    for part in [
        "moesif: parsed by moesifapi's models",
        "otlp over gRPC: received by the official stubs",
        "otlp over HTTP: parsed by the official messages",
    ] {
        assert!(said.contains(part), "{said}\n{wrong}");
    }
}
