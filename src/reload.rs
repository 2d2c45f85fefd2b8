//! Reloading: a changed configuration is taken over whole, or not at all.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tollgate_controller::{Gateway, Resources, Watch};
use tollgate_usage_store::Store;

use crate::alerts::Alerts;
use crate::exporters::Exporters;

/// Asks for changes until `stop`.
pub(crate) async fn watch(
    mut watch: Watch,
    running: Gateway,
    store: Arc<Store>,
    exporters: Arc<Exporters>,
    alerts: Arc<Alerts>,
    replace: impl Fn(tollgate_proxy::Snapshot),
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Watch::INTERVAL) => {}
        }
        let looked = tokio::task::spawn_blocking(move || {
            let changed = watch.changed();
            (watch, changed)
        });
        let Ok((returned, changed)) = looked.await else {
            tracing::error!("the configuration is not watched any more: looking at it failed");
            return;
        };
        watch = returned;
        match changed {
            None => {}
            Some(Err(problems)) => tracing::error!("the changed configuration is not valid and was not taken over:\n{problems}"),
            Some(Ok(resources)) => match apply(&resources, &store, &exporters, &alerts).await {
                Ok(snapshot) => {
                    replace(snapshot);
                    tracing::info!(
                        providers = resources.providers.len(),
                        proxies = resources.proxies.len(),
                        keys = resources.keys.len(),
                        budgets = resources.budgets.len(),
                        "the changed configuration was taken over"
                    );
                    if crate::wiring::needs_restart(&running, &resources.gateway) {
                        tracing::warn!("kind Gateway was changed too: its listeners, limits and ledger change with the next start");
                    }
                }
                Err(error) => tracing::error!("the changed configuration was not taken over: {error:#}"),
            },
        }
    }
}

/// Prices and rules first, since they can fail; what is returned only has to be swapped in.
async fn apply(
    resources: &Resources,
    store: &Store,
    exporters: &Exporters,
    alerts: &Alerts,
) -> anyhow::Result<tollgate_proxy::Snapshot> {
    crate::rules::check(resources)?;
    let snapshot = crate::wiring::snapshot(resources)?;
    let exported = crate::exporters::declared(resources)?;
    let told = crate::alerts::declared(&resources.alert_webhooks)?;
    let limits = crate::limits::book(resources)?;
    alerts.apply(told)?;
    store.set_prices(crate::prices::book(resources)?)?;
    store.set_limits(limits);
    store
        .set_rules(resources.budgets.clone(), resources.rate_limits.clone())
        .await?;
    exporters.apply(exported, store).await;
    Ok(snapshot)
}
