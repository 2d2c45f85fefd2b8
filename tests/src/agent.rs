//! An agent that was not written here: Claude Code completes a turn, and its calls are on the books.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::call::Api;
use crate::harness::claim::{Claim, claims_of};
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::usage::Tokens;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![claude_code_completes_a_turn_against_aimock, claude_code_completes_a_turn_against_the_simulator]
}

/// Runs one turn with the base URL and the gateway key in the environment; returns what the agent printed, and the rows of its key.
async fn turn(world: &World, context: &str) -> (Value, Vec<Row>) {
    let stage = world.stage().await;
    let gateway = world.gateway().await;
    let home = tempfile::TempDir::with_prefix("tollgate-e2e-agent-").unwrap();
    let mut command = stage.counterparts.npm("claude");
    command.args(["-p", "hello there", "--output-format", "json"]).current_dir(home.path());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANTHROPIC_") || name.starts_with("CLAUDE")) {
        command.env_remove(name);
    }
    command.env("HOME", home.path());
    command.env("ANTHROPIC_BASE_URL", format!("{}/{context}", gateway.url())).env("ANTHROPIC_API_KEY", "tg-e2e-agent-key-0000001");
    command.env("DISABLE_AUTOUPDATER", "1").env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the agent failed: {printed}{problem}");
    let query = format!("SELECT * FROM usage WHERE key_id = 'agent' AND provider_name = '{context}' ORDER BY start_time");
    (serde_json::from_str(&printed).unwrap(), gateway.sql(&query).await)
}

/// The agent succeeded, and what it says it used is what its rows add up to.
fn on_the_books(printed: &Value, rows: &[Row]) {
    assert_eq!((&printed["subtype"], &printed["is_error"]), (&"success".into(), &false.into()), "{printed}");
    assert!(!rows.is_empty(), "its calls have no rows");
    for row in rows {
        assert_eq!((row.text("outcome"), row.text("team")), (Some("ok"), Some("agents")), "{}", row.0);
        assert!(row.decimal("cost") > Some(Decimal::ZERO) || row.text("cost_status") == Some("free"), "{}", row.0);
        row.adds_up();
    }
    let used = Tokens::of(Api::Messages, &printed["usage"]);
    let billed = |column| rows.iter().filter_map(|row| row.int(column)).sum::<i64>();
    assert_eq!((Some(billed("input_tokens")), Some(billed("output_tokens"))), (used.input, used.output), "{rows:#?}");
}

async fn claude_code_completes_a_turn_against_aimock(world: Arc<World>) {
    let (printed, rows) = turn(&world, "aimock-anthropic").await;
    assert!(printed["result"].as_str().unwrap().starts_with("Hello from a server that nobody here wrote."), "{printed}");
    on_the_books(&printed, &rows);
    // As many rows as requests arrived there; only the agent asks for the beta interface.
    let journal = format!("{}/__aimock/journal?limit=1000", world.stage().await.aimock);
    let journal = crate::harness::raw::send(reqwest::Client::new().get(journal)).await.json();
    let asked = journal.as_array().unwrap().iter().filter(|entry| entry["path"].as_str().unwrap().starts_with("/v1/messages?beta")).count();
    assert_eq!(rows.len(), asked);
}

async fn claude_code_completes_a_turn_against_the_simulator(world: Arc<World>) {
    let (printed, rows) = turn(&world, "anthropic").await;
    on_the_books(&printed, &rows);
    assert!(rows[0].int("request_bytes") > Some(10_000), "agents send much: {}", rows[0].0);
}
