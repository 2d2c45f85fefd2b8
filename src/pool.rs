//! Budgets that several gateways share: the gateway as a member of the pool.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tollgate_controller::Gateway;
use tollgate_controller::pool::{OnOutage, Pool};
use tollgate_pool::{Config, Member};
use tollgate_usage_store::Store;

/// How long a start waits for the server: without it calls under budgets that refuse would be refused at first.
const REACHED: Duration = Duration::from_secs(2);

/// A gateway that may share its budgets.
#[derive(Default)]
pub(crate) struct Sharing {
    member: Option<Arc<Member>>,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Sharing {
    /// Makes a store share its budgets, if that is configured. To be called before its first rules are set.
    ///
    /// # Errors
    /// A URL that is none; `tollgate check` finds it.
    pub(crate) async fn start(gateway: &Gateway, store: &Store) -> anyhow::Result<Self> {
        let Some(pool) = &gateway.pool else {
            return Ok(Self::default());
        };
        let member = Member::new(config(gateway, pool)?, store.budget_engine());
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&member).run(stop.clone()));
        if !member.reached(REACHED).await {
            let reason = member.trouble().unwrap_or_default();
            tracing::warn!(%reason, "the server through which budgets are shared is out of reach; it is tried again");
        }
        Ok(Self {
            member: Some(member),
            stop,
            running: Some(running),
        })
    }

    /// What can be asked how it stands, if budgets are shared.
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        self.member.clone()
    }

    /// Gives back what is not used, when no call is under way any more.
    pub(crate) async fn close(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take()
            && running.await.is_err()
        {
            tracing::error!("shares of budgets were not given back; they are when the gateway starts again");
        }
    }
}

fn config(gateway: &Gateway, pool: &Pool) -> anyhow::Result<Config> {
    Ok(Config {
        url: pool.url.expose().parse().ok().context("spec.budgets.redis.url is no URL")?,
        prefix: pool.prefix.to_string(),
        timeout: pool.timeout,
        grace: pool.grace,
        on_outage: match pool.on_outage {
            OnOutage::Leases => tollgate_budget::pool::OnOutage::Leases,
            OnOutage::Refuse => tollgate_budget::pool::OnOutage::Refuse,
        },
        instance: gateway.name.clone(),
    })
}
