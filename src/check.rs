//! `tollgate check`.

use std::path::Path;

/// Prints everything that is wrong with a configuration.
pub(crate) fn check(config: &Path) -> anyhow::Result<()> {
    let resources = match tollgate_controller::load(config, &environment) {
        Ok(resources) => resources,
        Err(problems) => {
            eprintln!("{problems}");
            anyhow::bail!("{} is not valid", config.display());
        }
    };
    // What only the request path can tell, such as a certificate that is none.
    crate::wiring::snapshot(&resources)?;
    println!(
        "{} is valid: gateway {}, {} providers, {} keys, {} price lists",
        config.display(),
        resources.gateway.name,
        resources.providers.len(),
        resources.keys.len(),
        resources.price_lists.len()
    );
    Ok(())
}

/// The process's environment, for `${env:NAME}`.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
