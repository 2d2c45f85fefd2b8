//! Files that nobody writes by accident, or that somebody points at by mistake: refused clearly, in bounded memory.

use super::{environment, lines, load};
use crate::FILE_BYTES_MAX;

#[test]
fn text_that_is_no_text_is_refused() {
    assert_eq!(
        lines(load(b"kind: \xff\xfe")),
        ["tollgate.yaml: is not UTF-8 text: byte 6 cannot be read"]
    );
    let utf16: Vec<u8> = "kind: Gateway".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(load(&utf16).is_err());
    assert!(load(b"kind: \0\nmetadata: {name: a}\n").is_err());
    assert!(load(b"kind: ApiKey\nmetadata: {name: \"a\\0b\"}\n").is_err());
    let marked = "\u{feff}kind: Gateway\nmetadata: {name: a}\n";
    assert!(load(marked.as_bytes()).is_ok());
}

#[test]
fn nothing_at_all_is_refused() {
    for text in ["", "\n\n", "# only a comment\n"] {
        assert_eq!(
            lines(load(text.as_bytes())),
            ["tollgate.yaml: has no document: nothing is declared"],
            "{text:?}"
        );
    }
    assert_eq!(
        lines(load(b"---\n---\n")),
        [1, 2].map(|n| format!("tollgate.yaml, document {n}, line {n}: is empty: remove its ---"))
    );
    let trailing = lines(load(b"kind: Gateway\nmetadata: {name: a}\n---\n"));
    assert_eq!(trailing, ["tollgate.yaml, document 2, line 3: is empty: remove its ---"]);
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let folder = super::folder();
    let path = folder.path().join("tollgate.yaml");
    let file = std::fs::File::create(&path).expect("it can be written");
    file.set_len(FILE_BYTES_MAX * 6).expect("a file with a hole takes no space");
    let problems = lines(crate::load(&path, &environment));
    assert_eq!(problems, [format!("{}: is longer than 16MiB", path.display())]);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = super::folder();
    let missing = folder.path().join("missing.yaml");
    assert_eq!(
        lines(crate::load(&missing, &environment)),
        [format!(
            "{}: cannot be read: No such file or directory (os error 2)",
            missing.display()
        )]
    );
    assert_eq!(
        lines(crate::load("/dev/zero".as_ref(), &environment)),
        ["/dev/zero: is not a regular file"]
    );
    assert_eq!(
        lines(crate::load(folder.path(), &environment)),
        [format!("{}: has no file *.yaml or *.yml", folder.path().display())]
    );
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut laughs = String::from("a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n");
    for level in 1..10 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let refused = "tollgate.yaml, document 1, line 7: more than 1000000 YAML values in all, aliases counted where they are used";
    assert_eq!(lines(load(laughs.as_bytes())), [refused]);
}

#[test]
fn a_million_values_are_refused_and_few_are_told() {
    let many = format!("kind: Gateway\nmetadata: {{name: a}}\nspec:\n{}", "  - a\n".repeat(1_100_000));
    assert!(lines(load(many.as_bytes()))[0].contains("more than 1000000 YAML values"));
    let mut wrong = String::from("kind: Gateway\nmetadata: {name: a}\nspec:\n");
    for field in 0..5000 {
        wrong.push_str(&format!("  field{field}: 1\n"));
    }
    let told = lines(load(wrong.as_bytes()));
    assert_eq!(told.len(), 1001);
    assert_eq!(told[1000], "configuration: 4000 more problems are not listed");
}

#[test]
fn documents_and_their_faults_are_bounded() {
    let documents = lines(load("---\n".repeat(200_000).as_bytes()));
    assert!(documents.len() <= 1001, "{}", documents.len());
    let broken = lines(load("---\n[\n".repeat(100_000).as_bytes()));
    assert_eq!(broken.len(), 1000);
    let twice = lines(load("a: 1\n".repeat(100_000).as_bytes()));
    assert!(twice.len() <= 1001, "{}", twice.len());
}

#[test]
fn nesting_is_bounded() {
    for text in ["[".repeat(1 << 20), "{a: ".repeat(1 << 18), "- ".repeat(1 << 19)] {
        let told = lines(load(text.as_bytes()));
        assert!(
            told[0].starts_with("tollgate.yaml, document 1, line 1: is not valid YAML: "),
            "{told:?}"
        );
    }
}

#[test]
fn messages_stay_short_and_printable() {
    let key = "k\u{1b}".repeat(10_000);
    let text = format!(
        "kind: Gateway\nmetadata: {{name: a}}\nspec: {{\"{}\": 1}}\n",
        key.replace('\u{1b}', "\\e")
    );
    let told = lines(load(text.as_bytes()));
    assert_eq!(told.len(), 1);
    assert!(told[0].len() < 1000 && !told[0].contains('\u{1b}'), "{told:?}");
    let text = format!("kind: \"{}\\e\\n\"\nmetadata: {{name: a}}\n", "x".repeat(10));
    assert!(
        lines(load(text.as_bytes()))
            .iter()
            .all(|line| !line.contains(['\u{1b}', '\n']))
    );
}

#[test]
fn a_resolved_string_is_bounded() {
    let folder = super::folder();
    std::fs::write(folder.path().join("big"), "x".repeat(1 << 19)).expect("it can be written");
    let path = folder.path().join("tollgate.yaml");
    let text = format!(
        "kind: ApiKey\nmetadata: {{name: a}}\nspec: {{value: \"{}\"}}\n",
        "${file:big}".repeat(1000)
    );
    std::fs::write(&path, text).expect("it can be written");
    let told = lines(crate::load(&path, &environment));
    assert!(
        told[0].ends_with("spec.value: is longer than 1048576 bytes once its references are resolved"),
        "{told:?}"
    );
}
