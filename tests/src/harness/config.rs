//! The configuration that the gateways under test are given: a folder of YAML files.

use std::collections::BTreeMap;
use std::path::Path;

use super::prices;

/// Files by name.
#[derive(Clone, Debug)]
pub(crate) struct Config(BTreeMap<String, String>);

impl Config {
    /// Every provider and key that the tests use, and their prices.
    pub(crate) fn standard() -> Self {
        let gateway = include_str!("../../fixtures/gateway.yaml").to_owned();
        Self(BTreeMap::from([
            ("gateway.yaml".to_owned(), gateway),
            ("prices.yaml".to_owned(), prices::documents()),
        ]))
    }

    /// The same with another file.
    pub(crate) fn with(mut self, name: &str, text: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), text.into());
        self
    }

    /// The same with some text of gateway.yaml replaced; panics if it is not there.
    #[track_caller]
    pub(crate) fn replacing(mut self, from: &str, to: &str) -> Self {
        let gateway = self.0.get_mut("gateway.yaml").expect("standard() put it there");
        assert!(gateway.contains(from), "gateway.yaml has no `{from}`");
        *gateway = gateway.replace(from, to);
        self
    }

    /// Writes the files; one that stands there already is replaced in one step.
    pub(crate) fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        for (name, text) in &self.0 {
            let temporary = dir.join(format!(".{name}.new"));
            std::fs::write(&temporary, text).unwrap();
            std::fs::rename(temporary, dir.join(name)).unwrap();
        }
    }
}
