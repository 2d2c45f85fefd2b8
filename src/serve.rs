//! `tollgate serve`: build everything, wait for a signal, end everything in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal as on_signal};
use tokio_util::sync::CancellationToken;
use tollgate_controller::Watch;
use tollgate_exporters::prometheus::Calls;
use tollgate_query_api::{Engine, Token};
use tollgate_usage_store::{self as store, Store};

use crate::alerts::Alerts;
use crate::check::environment;
use crate::data::{Addresses, admin_token, token_file};
use crate::exporters::Exporters;
use crate::metrics::Metrics;
use crate::pool::Sharing;

/// How long exporters and alerts may wait for answers to what is under way after a signal to stop.
const EXPORT_DRAIN: Duration = Duration::from_secs(5);
/// How long queries may go on after a signal to stop.
const QUERY_DRAIN: Duration = Duration::from_secs(5);

/// Runs the gateway until a signal. `announce` is called when it serves.
pub(crate) async fn serve(config: &Path, data: &Path, announce: Option<&dyn Fn(&Addresses)>) -> anyhow::Result<()> {
    let resources = match crate::check::load(config) {
        Ok(resources) => resources,
        Err(problems) => {
            eprintln!("{problems}");
            anyhow::bail!("{} is not valid, so the gateway does not start", config.display());
        }
    };
    let gateway = resources.gateway.clone();
    let snapshot = crate::wiring::snapshot(&resources)?;
    let prices = crate::prices::book(&resources)?;
    let exported = crate::exporters::declared(&resources)?;
    let told = crate::alerts::declared(&resources.alert_webhooks)?;
    std::fs::create_dir_all(data).with_context(|| format!("cannot create the data directory {}", data.display()))?;
    let token = admin_token(data)?;

    let alerts = Arc::new(Alerts::open(data, told)?);
    let calls = Arc::new(Calls::default());
    let ledger = store::Config {
        on_row: store::OnRow::new({
            let calls = Arc::clone(&calls);
            move |row| calls.count(row)
        }),
        alerts: Some(alerts.book()),
        ..crate::wiring::ledger(&gateway, data)?
    };
    let store = Arc::new(Store::open(ledger, prices).await?);
    store.set_limits(crate::limits::book(&resources)?);
    let mut sharing = Sharing::start(&gateway, &store).await?;
    // Before anything listens: no call passes a budget that does not know what was spent.
    store
        .set_rules(resources.budgets.clone(), resources.rate_limits.clone())
        .await?;
    let exporters = Arc::new(Exporters::new(data)?);
    exporters.apply(exported, &store).await;
    let tables = tollgate_usage_store::beside(
        store.tables(),
        Arc::clone(&exporters) as Arc<dyn tollgate_usage_store::Beside>,
    );
    let engine = Arc::new(Engine::new(tables, crate::wiring::query(&gateway, data))?);
    let proxy = tollgate_proxy::bind(crate::wiring::proxy(&gateway), snapshot, store.ledger()).await?;
    let controller = listen(gateway.listen.controller, "controller").await?;
    let admin = listen(gateway.listen.admin, "admin").await?;
    let addresses = Addresses {
        http: proxy.http_addr(),
        https: proxy.tls_addr(),
        controller: controller.local_addr()?,
        admin: admin.local_addr()?,
    };

    let stop = CancellationToken::new();
    let sql = tollgate_query_api::router(Arc::clone(&engine), Token::new(&token))
        .merge(crate::exporters::router(Arc::clone(&exporters), Token::new(&token)));
    let side_servers = CancellationToken::new();
    let controller = tokio::spawn(
        axum::serve(controller, sql)
            .with_graceful_shutdown(side_servers.clone().cancelled_owned())
            .into_future(),
    );
    let metrics = Metrics::new(&store, &engine, proxy.handle().watcher(), &exporters, calls, sharing.member());
    let health = crate::admin::router(&store, metrics, Token::new(&token));
    let admin = tokio::spawn(
        axum::serve(admin, health)
            .with_graceful_shutdown(side_servers.clone().cancelled_owned())
            .into_future(),
    );
    let reload = {
        let watch = Watch::new(config, Box::new(environment), &resources);
        let replace = {
            let proxy = proxy.handle();
            move |snapshot| proxy.replace(snapshot)
        };
        tokio::spawn(crate::reload::watch(
            watch,
            gateway.clone(),
            Arc::clone(&store),
            Arc::clone(&exporters),
            Arc::clone(&alerts),
            replace,
            stop.clone(),
        ))
    };
    let signals = tokio::spawn({
        let stop = stop.clone();
        async move {
            signal().await;
            tracing::info!("a signal to stop arrived");
            stop.cancel();
        }
    });
    addresses.publish(data)?;
    tracing::info!(http = %addresses.http, controller = %addresses.controller, admin = %addresses.admin, token = %token_file(data).display(), "the gateway serves");
    if let Some(announce) = announce {
        announce(&addresses);
    }

    let drained = proxy.run(stop.clone()).await;
    tracing::info!(calls_cut = drained.calls_cut, "calls have ended");
    stop.cancel();
    let _ = reload.await;
    sharing.close().await;
    tokio::join!(exporters.close(EXPORT_DRAIN), alerts.close(EXPORT_DRAIN));
    engine.shutdown(QUERY_DRAIN).await;
    side_servers.cancel();
    controller.abort();
    admin.abort();
    let _ = (controller.await, admin.await);
    signals.abort();
    let _ = signals.await;
    Addresses::withdraw(data);
    drop((engine, exporters));
    match Arc::try_unwrap(store) {
        Ok(store) => store
            .close()
            .await
            .context("the last flush failed; its rows are in the log and will be there after the next start")?,
        Err(_) => anyhow::bail!("a part of the gateway still held the ledger when it stopped; rows are in the log"),
    }
    tracing::info!("the gateway stopped");
    Ok(())
}

async fn listen(address: std::net::SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for {what}; change spec.listen.{what}"))
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn signal() {
    let mut terminate = on_signal(SignalKind::terminate()).expect("a handler can be installed once the runtime is there");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
