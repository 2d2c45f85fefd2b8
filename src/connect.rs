//! Where `sql` and `report` get their rows: from a data directory, or from the gateway that runs on it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, bail};
use futures::StreamExt;
use tollgate_controller::Gateway;
use tollgate_query_api::{Engine, Format, Limits, Query};
use tollgate_usage_store::{Error, Location, Offline};

use crate::cli::Source;
use crate::data::{Addresses, read_token, token_file};

/// Runs a statement and writes its rows to standard output.
pub(crate) async fn run(source: &Source, statement: &str, format: Format) -> anyhow::Result<()> {
    if !format.is_text() && std::io::stdout().is_terminal() {
        bail!("{} is binary: redirect it, as in `> rows.{}`", format.name(), format.name());
    }
    if let Some(url) = &source.url {
        let token = source
            .token
            .as_deref()
            .context("--url needs --token, or TOLLGATE_ADMIN_TOKEN")?;
        return ask(url, token, statement, format).await;
    }
    if !source.data.is_dir() {
        bail!(
            "there is no data directory {}; name one with --data, or a gateway with --url",
            source.data.display()
        );
    }
    match Offline::open(&source.data, &table(source)?).await {
        Ok(offline) => embedded(offline, statement, format).await,
        Err(Error::InUse { .. }) => {
            let addresses = Addresses::read(&source.data).with_context(|| {
                format!(
                    "a process has {} open that is not a running gateway, or is still starting",
                    source.data.display()
                )
            })?;
            let token = match &source.token {
                Some(token) => token.clone(),
                None => read_token(&source.data)?.with_context(|| format!("there is no {}", token_file(&source.data).display()))?,
            };
            ask(&format!("http://{}", addresses.controller), &token, statement, format).await
        }
        Err(error) => Err(error.into()),
    }
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

async fn embedded(offline: Offline, statement: &str, format: Format) -> anyhow::Result<()> {
    let engine = Engine::new(Arc::new(offline), Limits::default())?;
    let mut bytes = engine.query(Query::new(statement)).await.map_err(explain)?.encode(format)?;
    while let Some(chunk) = bytes.next().await {
        write(&chunk.map_err(explain)?)?;
    }
    Ok(())
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

async fn ask(url: &str, token: &str, statement: &str, format: Format) -> anyhow::Result<()> {
    let url = format!("{}/api/query/v1/sql", url.trim_end_matches('/'));
    let mut answer = reqwest::Client::new()
        .post(&url)
        .bearer_auth(token)
        .header(reqwest::header::ACCEPT, format.media_type())
        .json(&serde_json::json!({ "sql": statement }))
        .send()
        .await
        .with_context(|| format!("cannot ask {url}"))?;
    let status = answer.status();
    if !status.is_success() {
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
    while let Some(chunk) = answer
        .chunk()
        .await
        .context("the answer broke off: what was printed is not all of it")?
    {
        write(&chunk)?;
    }
    Ok(())
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    match std::io::stdout().write_all(bytes) {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
