//! `tollgate exporter`: tells the exporters of a running gateway what to do, and shows how they stand.

use anyhow::{Context, bail};

use crate::cli;

const STATUS: &str =
    "SELECT name, state, lag_rows, lag_us / 1000000 AS lag_s, delivered, retried, dead, last_error FROM exports ORDER BY name";

/// Does what was asked, and says so.
pub(crate) async fn run(command: cli::ExporterCommand) -> anyhow::Result<()> {
    use cli::ExporterCommand::{ClearDead, Dead, Pause, Preview, Replay, Reset, Resume, Status};
    match command {
        Status(status) => crate::connect::run(&status.source, STATUS, status.format).await,
        Dead(dead) => {
            let name = dead.name.replace('\'', "''");
            let text =
                format!("SELECT time, call_id, instance, seq, answer FROM dead_letters WHERE exporter = '{name}' ORDER BY time");
            crate::connect::run(&dead.source, &text, dead.format).await
        }
        Pause(one) => tell(&one, "pause", &[]).await,
        Resume(one) => tell(&one, "resume", &[]).await,
        ClearDead(one) => tell(&one, "dead/clear", &[]).await,
        Preview(one) => tell(&one, "preview", &[]).await,
        Reset(reset) => tell(&reset.one, "reset", &[("to", &reset.to)]).await,
        Replay(replay) => tell(&replay.one, "replay", &[("from", &replay.from), ("to", &replay.to)]).await,
    }
}

async fn tell(one: &cli::OneExporter, what: &str, parameters: &[(&str, &String)]) -> anyhow::Result<()> {
    let (root, token) = crate::connect::gateway(&one.source)?;
    let mut url = reqwest::Url::parse(&root).with_context(|| format!("{root} is no URL"))?;
    url.set_path(&format!("/api/exporters/v1/{}/{what}", one.name));
    let client = reqwest::Client::new();
    let request = if what == "preview" {
        client.get(url)
    } else {
        client.post(url)
    };
    let answer = request.query(parameters).bearer_auth(token).send().await;
    let answer = answer.with_context(|| format!("cannot ask {root}"))?;
    let status = answer.status();
    let body: serde_json::Value = answer.json().await.context("the gateway's answer is no JSON")?;
    if !status.is_success() {
        let message = body.pointer("/error/message").and_then(serde_json::Value::as_str);
        bail!("{}", message.unwrap_or("the gateway refused"));
    }
    let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str);
    match text("preview") {
        Some(shown) => println!("{shown}"),
        None if what == "preview" => println!("nothing waits to be sent"),
        None => println!("exporter {}: {}{}", one.name, text("done").unwrap_or("done"), rows(&body)),
    }
    Ok(())
}

fn rows(body: &serde_json::Value) -> String {
    let rows = body.get("rows").and_then(serde_json::Value::as_u64);
    rows.map_or(String::new(), |rows| format!(", {rows} rows"))
}
