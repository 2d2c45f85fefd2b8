//! What comes with the gateway for each template and provider: read when it is first needed, and only for those that a configuration uses, since reading all takes a
//! second in a build that is not optimised.

use std::sync::OnceLock;

use anyhow::Context;
use tollgate_controller::{Problems, Resources};
use tollgate_record::Name;

/// A file that comes with the gateway.
pub(crate) struct Shipped<T: 'static> {
    /// Template or provider that it is for.
    pub(crate) provider: &'static str,
    pub(crate) yaml: &'static str,
    read: OnceLock<Result<T, String>>,
}

impl<T: Clone> Shipped<T> {
    pub(crate) const fn new(provider: &'static str, yaml: &'static str) -> Self {
        Self {
            provider,
            yaml,
            read: OnceLock::new(),
        }
    }

    /// What it says. `read` reads the text, `lend` gives it the name that it is for here.
    pub(crate) fn get(&'static self, read: fn(&str) -> Result<T, Problems>, lend: fn(T, Name) -> T) -> anyhow::Result<T> {
        let reading = || {
            let read = read(self.yaml).map_err(|problems| problems.to_string())?;
            let provider = Name::new(self.provider).map_err(|error| error.to_string())?;
            Ok(lend(read, provider))
        };
        let read = self.read.get_or_init(reading).clone().map_err(anyhow::Error::msg);
        read.with_context(|| format!("what is shipped for {} is wrong", self.provider))
    }
}

/// Whether a configuration has a provider of this name, or one of this template.
pub(crate) fn is_used(resources: &Resources, name: &str) -> bool {
    let mut providers = resources.providers.iter();
    providers.any(|provider| provider.name.as_str() == name || provider.template.as_str() == name)
}
