//! Bad configurations and the exact messages they get: `bad.txt` has one after the other.
//!
//! A case begins with `#= what it shows`, then its YAML, then a line `#> message` for every problem, `$FOLDER` for the folder.

const CASES: &str = include_str!("bad.txt");

#[test]
fn every_problem_is_told_with_document_path_and_reason() {
    let mut failed = Vec::new();
    let mut count = 0;
    for case in CASES.split("#= ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a case has a title");
        let is_expected = |line: &&str| line.starts_with("#> ");
        let yaml: Vec<&str> = rest.lines().filter(|line| !is_expected(line)).collect();
        let expected: Vec<&str> = rest.lines().filter_map(|line| line.strip_prefix("#> ")).collect();
        assert!(!expected.is_empty(), "{title} expects nothing");
        let actual = super::lines(super::load(yaml.join("\n").trim_end().as_bytes()));
        count += expected.len();
        if actual != expected {
            let actual: Vec<String> = actual.iter().map(|line| format!("#> {line}")).collect();
            failed.push(format!("#= {title}\n{}", actual.join("\n")));
        }
    }
    assert!(failed.is_empty(), "these got other messages:\n{}", failed.join("\n"));
    assert!(count > 150, "only {count} messages were read");
}

#[test]
fn what_a_reference_resolved_to_is_never_told() {
    for case in CASES.split("#= ").skip(1) {
        for line in super::lines(super::load(case.as_bytes())) {
            for secret in ["secret5", "secret value", "sk-live", "sk-ant", "sk-file", "tg-ads", "hunter2"] {
                assert!(!line.contains(secret), "{line}");
            }
        }
    }
}
