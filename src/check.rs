//! `tollgate check`.

use std::path::Path;

use tollgate_controller::Resources;

/// Prints everything that is wrong with a configuration.
pub(crate) fn check(config: &Path) -> anyhow::Result<()> {
    let resources = resources(config)?;
    // What only the request path can tell, such as a certificate that is none.
    crate::wiring::snapshot(&resources)?;
    // What only the ledger can tell, such as a storage account that is named nowhere. Nothing is asked of the store.
    crate::wiring::location(&resources.gateway, Path::new("data"))?;
    println!(
        "{} is valid: gateway {}, {} providers, {} proxies, {} keys, {} price lists",
        config.display(),
        resources.gateway.name,
        resources.providers.len(),
        resources.proxies.len(),
        resources.keys.len(),
        resources.price_lists.len()
    );
    Ok(())
}

/// Reads a configuration; everything that is wrong with it is printed.
pub(crate) fn resources(config: &Path) -> anyhow::Result<Resources> {
    tollgate_controller::load(config, &environment).map_err(|problems| {
        eprintln!("{problems}");
        anyhow::anyhow!("{} is not valid", config.display())
    })
}

/// The process's environment, for `${env:NAME}`.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
