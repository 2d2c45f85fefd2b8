//! `tollgate check`.

use std::path::Path;

use tollgate_controller::Resources;
use tollgate_record::{Name, Payer, Precedence};

/// Prints everything that is wrong with a configuration.
pub(crate) fn check(config: &Path) -> anyhow::Result<()> {
    let resources = resources(config)?;
    // What only the request path can tell, such as a certificate that is none.
    crate::wiring::snapshot(&resources)?;
    // What only exporters can tell, such as a path in which two files would have one name. Nothing is sent.
    crate::exporters::declared(&resources)?;
    // What only the ledger can tell, such as a storage account that is named nowhere. Nothing is asked of the store.
    crate::wiring::location(&resources.gateway, Path::new("data"))?;
    for note in strangers(&resources) {
        eprintln!("note: {note}");
    }
    println!(
        "{} is valid: gateway {}, {} providers, {} proxies, {} keys, {} price lists, {} budgets, {} rate limits, {} exporters",
        config.display(),
        resources.gateway.name,
        resources.providers.len(),
        resources.proxies.len(),
        resources.keys.len(),
        resources.price_lists.len(),
        resources.budgets.len(),
        resources.rate_limits.len(),
        resources.exporters.len()
    );
    Ok(())
}

/// Price lists for someone that no key names: a name that is misspelt, or one whose calls are in the past.
fn strangers(resources: &Resources) -> Vec<String> {
    let lists = resources.price_lists.iter();
    lists
        .filter(|list| list.terms.precedence() != Precedence::Everyone)
        .filter(|list| {
            let mut keys = resources.keys.iter();
            !keys.any(|key| list.terms.hold_for(Payer::from(&*key.identity)))
        })
        .map(|list| {
            let name = |name: &Option<Name>| name.as_ref().map_or("any", Name::as_str).to_owned();
            let (org, team) = (name(&list.terms.org), name(&list.terms.team));
            format!(
                "PriceList {} is for org {org} and team {team}, which no ApiKey has",
                list.name
            )
        })
        .collect()
}

/// Reads a configuration; everything that is wrong with it is printed.
pub(crate) fn resources(config: &Path) -> anyhow::Result<Resources> {
    load(config).map_err(|problems| {
        eprintln!("{problems}");
        anyhow::anyhow!("{} is not valid", config.display())
    })
}

/// Reads a configuration with its conditions, which are SQL.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn load(config: &Path) -> Result<Resources, tollgate_controller::Problems> {
    let resources = tollgate_controller::load(config, &environment)?;
    crate::rules::check(&resources)?;
    Ok(resources)
}

/// The process's environment, for `${env:NAME}`.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
