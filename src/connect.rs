//! Where `sql`, `report` and others get their rows: from a data directory, or from the gateway that runs on it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tollgate_controller::Gateway;
use tollgate_query_api::{Engine, Format, Limits, Query};
use tollgate_usage_store::{Error, Location, Offline};

use crate::cli::Source;
use crate::data::{Addresses, read_token, token_file};

/// What statements are run on.
pub(crate) enum Rows {
    /// A data directory that this process has open.
    Open(Box<Engine>),
    /// A gateway that is asked.
    Asked {
        client: reqwest::Client,
        url: String,
        token: String,
    },
}

/// Runs a statement and writes its rows to standard output.
pub(crate) async fn run(source: &Source, statement: &str, format: Format) -> anyhow::Result<()> {
    if !format.is_text() && std::io::stdout().is_terminal() {
        bail!("{} is binary: redirect it, as in `> rows.{}`", format.name(), format.name());
    }
    let rows = Rows::of(source).await?;
    let mut bytes = rows.ask(statement, format).await?;
    while let Some(chunk) = bytes.next().await {
        write(&chunk?)?;
    }
    Ok(())
}

/// Address and token of the gateway that runs: on the data directory, or where `--url` says.
pub(crate) fn gateway(source: &Source) -> anyhow::Result<(String, String)> {
    if let Some(url) = &source.url {
        let token = source.token.clone().context("--url needs --token, or TOLLGATE_ADMIN_TOKEN")?;
        return Ok((url.clone(), token));
    }
    let addresses = Addresses::read(&source.data).with_context(|| {
        format!(
            "no gateway runs on {}; start it, or name one with --url",
            source.data.display()
        )
    })?;
    let token = match &source.token {
        Some(token) => token.clone(),
        None => read_token(&source.data)?.with_context(|| format!("there is no {}", token_file(&source.data).display()))?,
    };
    Ok((format!("http://{}", addresses.controller), token))
}

/// Where the table of a data directory lies.
pub(crate) fn table(source: &Source) -> anyhow::Result<Location> {
    Ok(match (&source.table, &source.config) {
        (Some(location), _) => Location::parse(location)?,
        (None, Some(config)) => crate::wiring::location(&crate::check::resources(config)?.gateway, &source.data)?,
        (None, None) => crate::wiring::location(&Gateway::default(), &source.data)?,
    })
}

/// An error of the engine with what it says beside its message.
fn explain(error: tollgate_query_api::Error) -> anyhow::Error {
    let hint = error.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
    let place = error
        .position()
        .map(|at| format!(" (line {}, column {})", at.line, at.column))
        .unwrap_or_default();
    anyhow::anyhow!("{error}{place}{hint}")
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    match std::io::stdout().write_all(bytes) {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

// === impl Rows ===

impl Rows {
    /// Opens a data directory; if a gateway runs on it, or one is named, that is asked.
    pub(crate) async fn of(source: &Source) -> anyhow::Result<Self> {
        if let Some(url) = &source.url {
            let token = source
                .token
                .as_deref()
                .context("--url needs --token, or TOLLGATE_ADMIN_TOKEN")?;
            return Ok(Self::asked(url, token));
        }
        if !source.data.is_dir() {
            bail!(
                "there is no data directory {}; name one with --data, or a gateway with --url",
                source.data.display()
            );
        }
        match Offline::open(&source.data, &table(source)?).await {
            Ok(offline) => Ok(Self::Open(Box::new(Engine::new(Arc::new(offline), Limits::default())?))),
            Err(Error::InUse { .. }) => {
                let addresses = Addresses::read(&source.data).with_context(|| {
                    format!(
                        "a process has {} open that is not a running gateway, or is still starting",
                        source.data.display()
                    )
                })?;
                let token = match &source.token {
                    Some(token) => token.clone(),
                    None => {
                        read_token(&source.data)?.with_context(|| format!("there is no {}", token_file(&source.data).display()))?
                    }
                };
                Ok(Self::asked(&format!("http://{}", addresses.controller), &token))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn asked(url: &str, token: &str) -> Self {
        Self::Asked {
            client: reqwest::Client::new(),
            url: format!("{}/api/query/v1/sql", url.trim_end_matches('/')),
            token: token.to_owned(),
        }
    }

    /// Runs a statement. What it gives is the whole answer only if it ends without an error.
    pub(crate) async fn ask(&self, statement: &str, format: Format) -> anyhow::Result<BoxStream<'static, anyhow::Result<Bytes>>> {
        match self {
            Self::Open(engine) => {
                let bytes = engine.query(Query::new(statement)).await.map_err(explain)?.encode(format)?;
                Ok(bytes.map(|chunk| chunk.map_err(explain)).boxed())
            }
            Self::Asked { client, url, token } => {
                let answer = client
                    .post(url)
                    .bearer_auth(token)
                    .header(reqwest::header::ACCEPT, format.media_type())
                    .json(&serde_json::json!({ "sql": statement }))
                    .send()
                    .await
                    .with_context(|| format!("cannot ask {url}"))?;
                let answer = succeeded(url, answer).await?;
                Ok(answer
                    .bytes_stream()
                    .map(|chunk| chunk.context("the answer broke off: what came of it is not all of it"))
                    .boxed())
            }
        }
    }
}

/// An answer that is one; of another, what the gateway says is wrong.
async fn succeeded(url: &str, answer: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.text().await.unwrap_or_default();
    let error: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let part = |name: &str| {
        error
            .get("error")
            .and_then(|error| error.get(name))
            .and_then(serde_json::Value::as_str)
    };
    let hint = part("hint").map(|hint| format!("\n{hint}")).unwrap_or_default();
    bail!("{url} answered {status}: {}{hint}", part("message").unwrap_or(&text));
}
