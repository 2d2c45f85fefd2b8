//! `docs/configuration.md` says what the code does: its examples load, its defaults are the defaults, and no field is missing. Those of
//! `docs/providers.md` and `docs/prices.md` load too.

use std::collections::BTreeSet;

use super::{lines, load};
use crate::Gateway;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const PROVIDERS: &str = include_str!("../../../docs/providers.md");
const PRICES: &str = include_str!("../../../docs/prices.md");

#[test]
fn the_examples_load() {
    let blocks: Vec<&str> = [REFERENCE, PROVIDERS, PRICES]
        .into_iter()
        .flat_map(|document| document.split("```yaml\n").skip(1))
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() >= 7, "only {} examples were found", blocks.len());
    for block in blocks {
        let told = lines(load(block.as_bytes()));
        assert!(told.is_empty(), "{block}\n{told:#?}");
    }
}

/// Rows `| field | default | meaning |` of a section.
fn rows(kind: &str) -> Vec<(&'static str, &'static str)> {
    let section = REFERENCE
        .split("\n## ")
        .find(|section| section.lines().next() == Some(kind))
        .expect("every kind has a section");
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let field = cells.next()?.strip_suffix('`')?;
        Some((field, cells.next()?.trim()))
    };
    section.lines().filter_map(row).collect()
}

#[test]
fn the_defaults_of_the_gateway_are_as_told() {
    let mut tried = 0;
    for (field, default) in rows("Gateway") {
        let Some(default) = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')) else {
            continue;
        };
        let mut yaml = String::from("kind: Gateway\nmetadata: {name: tollgate}\n");
        for (depth, key) in field.split('.').enumerate() {
            let separator = if depth > 0 { "\n" } else { "" };
            yaml.push_str(&format!("{separator}{}{key}:", "  ".repeat(depth)));
        }
        yaml.push_str(&format!(" {default}\n"));
        match load(yaml.as_bytes()) {
            Ok(resources) => assert_eq!(resources.gateway, Gateway::default(), "{field}: {default}"),
            Err(problems) => panic!("{field}: {problems}"),
        }
        tried += 1;
    }
    assert!(tried >= 30, "only {tried} defaults were found");
}

/// Fields that the readers know below a map, from what they say of one they do not know.
fn known_below(kind: &str, path: &str) -> Vec<String> {
    let mut yaml = format!("kind: {kind}\nmetadata: {{name: a}}\n");
    let depth = path.split('.').count();
    for (depth, key) in path.split('.').enumerate() {
        match key.strip_suffix("[]") {
            Some(key) => yaml.push_str(&format!("{}{key}:\n{}-\n", "  ".repeat(depth), "  ".repeat(depth))),
            None => yaml.push_str(&format!("{}{key}:\n", "  ".repeat(depth))),
        }
    }
    yaml.push_str(&format!("{}not_a_field: 1\n", "  ".repeat(depth)));
    let told = lines(load(yaml.as_bytes()));
    let line = told
        .iter()
        .find(|line| line.contains("not_a_field: is not a known field"))
        .unwrap_or_else(|| panic!("{yaml}{told:?}"));
    let (_, known) = line.rsplit_once("(known here: ").expect("the message lists them");
    known
        .trim_end_matches(')')
        .split(", ")
        .map(|field| format!("{path}.{field}"))
        .collect()
}

#[test]
fn every_field_has_its_row() {
    let maps: &[(&str, &[&str])] = &[
        (
            "Gateway",
            &[
                "spec",
                "spec.listen",
                "spec.tls",
                "spec.limits",
                "spec.ledger",
                "spec.ledger.flush",
                "spec.ledger.compaction",
                "spec.ledger.store",
                "spec.query",
                "spec.budgets",
                "spec.budgets.redis",
            ],
        ),
        (
            "LlmProviderTemplate",
            &[
                "spec",
                "spec.promptTokens",
                "spec.resourceMappings",
                "spec.resourceMappings.resources[]",
            ],
        ),
        (
            "LlmProvider",
            &[
                "spec",
                "spec.upstream",
                "spec.upstream.urls[]",
                "spec.upstream.auth",
                "spec.accessControl",
                "spec.accessControl.exceptions[]",
                "spec.timeouts",
            ],
        ),
        (
            "LlmProxy",
            &[
                "spec",
                "spec.models",
                "spec.accessControl",
                "spec.accessControl.exceptions[]",
                "spec.defaults",
            ],
        ),
        (
            "ApiKey",
            &["spec", "spec.aws", "spec.models", "spec.operations", "spec.proxies"],
        ),
        ("PriceList", &["spec", "spec.for", "spec.adjustments[]", "spec.prices[]"]),
        ("Organization", &["spec"]),
        ("Team", &["spec", "spec.models", "spec.operations", "spec.proxies"]),
        ("Project", &["spec"]),
        ("Service", &["spec", "spec.models", "spec.operations", "spec.proxies"]),
        ("User", &["spec"]),
        ("Budget", &["spec", "spec.limit", "spec.window", "spec.action"]),
        ("RateLimit", &["spec", "spec.limit"]),
        ("ModelLimits", &["spec", "spec.models[]"]),
        ("Exporter", &["spec", "spec.batch", "spec.hash", "spec.identity"]),
        ("AlertWebhook", &["spec"]),
    ];
    for &(kind, paths) in maps {
        let told: BTreeSet<&str> = rows(kind).into_iter().map(|(field, _)| field).collect();
        let known: BTreeSet<String> = paths.iter().flat_map(|path| known_below(kind, path)).collect();
        // A map stands in the reference by its fields.
        let leaf = |field: &&String| {
            let inside = [format!("{field}."), format!("{field}[].")];
            !known
                .iter()
                .any(|other| inside.iter().any(|inside| other.starts_with(inside.as_str())))
        };
        let leaves: BTreeSet<&str> = known.iter().filter(leaf).map(String::as_str).collect();
        let missing: Vec<_> = leaves.difference(&told).collect();
        let extra: Vec<_> = told.iter().filter(|field| !known.contains(**field)).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{kind}: missing {missing:?}, extra {extra:?}"
        );
    }
}
