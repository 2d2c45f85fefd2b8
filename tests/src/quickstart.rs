//! What `make run` prints can be pasted as it is: a call with curl, a call with the SDK, and SQL that shows their rows.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::Command;

use crate::harness::claim::{Claim, claims_of};
use crate::harness::process::{Process, eventually, tail};
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![the_commands_that_it_prints_work_as_printed]
}

/// Most lines that it prints.
const LINES_MAX: usize = 15;
/// Where it listens.
const PORTS: [u16; 3] = [8080, 9090, 9094];

/// Shell commands among printed lines.
fn commands(printed: &str) -> Vec<String> {
    let lines = printed.lines().map(str::trim);
    lines.filter(|line| ["curl ", "python3 ", "tollgate "].iter().any(|start| line.starts_with(start))).map(str::to_owned).collect()
}

/// Runs a printed command as a developer would, in the folder where the gateway was started.
async fn paste(command: &str, folder: &Path, python: &Path) -> String {
    let path = format!("{}:{}", python.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).current_dir(folder).env("PATH", path).stdin(Stdio::null()).kill_on_drop(true);
    let output = shell.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}\n{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

async fn the_commands_that_it_prints_work_as_printed(world: Arc<World>) {
    for port in PORTS {
        let free = TcpListener::bind(("127.0.0.1", port)).await;
        assert!(free.is_ok(), "this test needs port {port}, where something listens already (a gateway of `make run`?)");
    }
    let stage = world.stage().await;
    let folder = tempfile::TempDir::with_prefix("tollgate-e2e-quickstart-").unwrap();
    let log = folder.path().join("run.log");
    let mut command = Command::new("bash");
    command.args(["-c", "exec \"$0\" quickstart --data data > printed.txt"]).arg(&stage.binary).current_dir(folder.path());
    for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TOLLGATE_ADMIN_TOKEN"] {
        command.env_remove(name);
    }
    let mut process = Process::start(&mut command, &log);
    let printed = eventually("it says what to do next", Duration::from_secs(60), || {
        let ended = process.ended();
        assert!(ended.is_none(), "it ended with {ended:?}:\n{}", tail(&log));
        let printed = std::fs::read_to_string(folder.path().join("printed.txt")).unwrap_or_default();
        async move { printed.contains("Ctrl-C").then_some(printed) }
    })
    .await;
    assert!(printed.lines().count() <= LINES_MAX, "{} lines:\n{printed}", printed.lines().count());
    let [curl, sdk, sql] = <[String; 3]>::try_from(commands(&printed)).expect("a call with curl, one with the SDK, and SQL");
    let answer = paste(&curl, folder.path(), &stage.counterparts.python).await;
    assert!(answer.contains("\"choices\""), "{curl}\n{answer}");
    let answer = paste(&sdk, folder.path(), &stage.counterparts.python).await;
    assert!(!answer.trim().is_empty(), "{sdk}");
    let rows = paste(&sql, folder.path(), &stage.counterparts.python).await;
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap_or_else(|error| panic!("{error}: {sql}\n{rows}"));
    let rows = rows.as_array().expect("an array of rows");
    assert_eq!(rows.len(), 2, "a row of each call: {rows:?}");
    assert!(rows.iter().all(|row| row["cost"].as_str().is_some_and(|cost| cost.parse::<f64>().unwrap() > 0.0)), "they are priced: {rows:?}");
    assert!(process.terminate(Duration::from_secs(30)).await.success());
}
