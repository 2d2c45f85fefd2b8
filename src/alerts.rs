//! Alerts of budgets: the book in the data directory, and the webhooks that are told what is in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_controller as controller;
use tollgate_exporters::notice::{Endpoint, NoticeSettings, Notifier};
use tollgate_exporters::webhook::SigningSecret;
use tollgate_exporters::{Ambient, System};
use tollgate_usage_store::alerts::{Book, Subscriber};

use crate::exporters::destination::{headers, tls};

/// The alerts of a gateway.
pub(crate) struct Alerts {
    book: Arc<Book>,
    notifier: Arc<Notifier>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// Who is told, ready to be taken over.
pub(crate) struct Told {
    subscribers: Vec<Subscriber>,
    endpoints: Vec<Endpoint>,
}

/// What is declared.
///
/// # Errors
/// What of a webhook cannot be used.
pub(crate) fn declared(webhooks: &[controller::AlertWebhook]) -> anyhow::Result<Told> {
    let endpoint = |webhook: &controller::AlertWebhook| -> anyhow::Result<Endpoint> {
        let secrets = webhook.secrets.iter().map(|secret| SigningSecret::parse(secret.expose()));
        Ok(Endpoint {
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            headers: headers(&webhook.headers)?,
            secrets: secrets.collect::<Result<_, _>>().context("spec.secrets")?,
            tls: tls(webhook.ca.as_ref())?,
        })
    };
    let endpoints = webhooks
        .iter()
        .map(|webhook| endpoint(webhook).with_context(|| format!("AlertWebhook {}", webhook.name)));
    Ok(Told {
        endpoints: endpoints.collect::<Result<_, _>>()?,
        subscribers: webhooks
            .iter()
            .map(|webhook| Subscriber {
                name: webhook.name.clone(),
                budgets: webhook.budgets.clone(),
                kinds: webhook.kinds.clone(),
            })
            .collect(),
    })
}

impl Alerts {
    /// Opens the book, and begins to tell what nobody has taken yet.
    ///
    /// # Errors
    /// What the file system says; a damaged book names its line.
    pub(crate) fn open(data: &Path, told: Told) -> anyhow::Result<Self> {
        let ambient: Arc<dyn Ambient> = Arc::new(System);
        let Told { subscribers, endpoints } = told;
        let book = Arc::new(Book::open(&data.join("alerts"), subscribers, ambient.now())?);
        let notifier = Notifier::new(Arc::clone(&book) as _, NoticeSettings::default(), ambient);
        notifier.set(endpoints)?;
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        tracker.spawn(Arc::clone(&notifier).run(stop.clone()));
        Ok(Self {
            book,
            notifier,
            stop,
            tracker,
        })
    }

    /// Where alerts are kept.
    pub(crate) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    /// Tells others from now on.
    ///
    /// # Errors
    /// A CA file that cannot be used; then nothing changes.
    pub(crate) fn apply(&self, told: Told) -> anyhow::Result<()> {
        self.notifier.set(told.endpoints)?;
        self.book.set_subscribers(told.subscribers);
        Ok(())
    }

    /// Ends the telling; what is under way is waited for.
    pub(crate) async fn close(&self, limit: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            tracing::warn!("alerts were cut off by the end; what was under way is told again");
        }
    }
}
