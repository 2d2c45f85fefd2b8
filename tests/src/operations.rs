//! What docs/operations.md tells an operator to type, typed as it stands there: backups, restores, moves and repairs.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::crash::{SEEN, complete};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::ledger::Row;
use crate::harness::s3::Moto;
use crate::harness::traffic::Traffic;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        the_whole_ledger_comes_back_from_its_backup,
        a_table_in_use_is_backed_up_whole_and_restored_alone,
        a_table_moves_into_a_bucket_and_is_backed_up_there,
        a_damaged_log_is_repaired_and_its_losses_are_named,
    ]
}

const CLIENTS: usize = 2;

/// The block of commands that follows a line of the page which begins like this.
#[track_caller]
fn commands(beginning: &str) -> String {
    let page = include_str!("../../docs/operations.md");
    let mut lines = page.lines().skip_while(|line| !line.starts_with(beginning));
    assert!(lines.next().is_some(), "docs/operations.md has no line that begins with `{beginning}`");
    let block: Vec<_> = lines
        .skip_while(|line| !line.starts_with("    "))
        .map_while(|line| line.strip_prefix("    "))
        .collect();
    assert!(!block.is_empty(), "no commands follow `{beginning}`");
    block.join("\n")
}

/// Types them in the folder that has `data` and `tollgate.yaml`, with `tollgate` and the AWS CLI at hand; returns what was printed.
async fn shell(world: &World, gateway: &Gateway, moto: Option<&Moto>, text: &str) -> String {
    let stage = world.stage().await;
    let data = gateway.data();
    let folder = data.parent().unwrap();
    let tools = folder.join("tools");
    std::fs::create_dir_all(&tools).unwrap();
    link(&stage.binary, &tools.join("tollgate"));
    link(&gateway.config(), &folder.join("tollgate.yaml"));
    let clients = stage.counterparts.python.parent().unwrap();
    let path = format!("{}:{}:{}", tools.display(), clients.display(), std::env::var("PATH").unwrap());
    let mut command = tokio::process::Command::new("bash");
    command.args(["-euo", "pipefail", "-c", text]).current_dir(folder).env("PATH", path).kill_on_drop(true);
    command.envs(gateway.environment().iter().cloned());
    if let Some(moto) = moto {
        command.envs(credentials(moto));
    }
    let output = command.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

fn link(target: &Path, name: &Path) {
    if !name.exists() {
        std::os::unix::fs::symlink(target, name).unwrap();
    }
}

/// What a shell has that reaches a store.
fn credentials(moto: &Moto) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", moto.url.clone()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ]
}

fn parsed(printed: &str) -> Vec<Row> {
    let rows: Vec<Value> = serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    rows.into_iter().map(Row).collect()
}

async fn the_whole_ledger_comes_back_from_its_backup(world: Arc<World>) {
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let token = gateway.token().to_owned();
    let traffic = Traffic::start(&gateway, CLIENTS, "backup");
    traffic.reach(120).await;
    let mut acknowledged = traffic.stop().await;
    assert!(gateway.terminate().await.success());

    let check = commands("What is where:");
    let before = shell(&world, &gateway, None, &check).await;
    assert!(before.contains(&acknowledged.len().to_string()), "{before}");
    shell(&world, &gateway, None, &commands("**Back up everything**")).await;
    std::fs::remove_dir_all(gateway.data()).unwrap();
    shell(&world, &gateway, None, "cp -a backup/data data").await;
    assert_eq!(shell(&world, &gateway, None, &check).await, before);

    gateway.resume().await;
    assert_eq!(gateway.token(), token, "the admin token comes with the copy");
    let traffic = Traffic::start(&gateway, CLIENTS, "backup");
    traffic.reach(60).await;
    acknowledged.extend(traffic.stop().await);
    complete(&gateway.sql(SEEN).await, &acknowledged, 0);
}

async fn a_table_in_use_is_backed_up_whole_and_restored_alone(world: Arc<World>) {
    // It flushes all the time, so that commits and compactions happen while the copy is made.
    let busy = Config::standard().replacing("flush: {rows: 200, interval: 1s}", "flush: {rows: 50, interval: 100ms}");
    let mut gateway = world.own_gateway(&busy).await;
    let traffic = Traffic::start(&gateway, CLIENTS, "backup");
    traffic.reach(200).await;
    shell(&world, &gateway, None, &commands("**Back up the table while the gateway runs.**")).await;
    traffic.reach(260).await;
    let acknowledged = traffic.stop().await;
    assert!(gateway.terminate().await.success());
    let all = gateway.sql_offline(SEEN).await;
    complete(&all, &acknowledged, 0);

    // Restored alone: what the copy has is the beginning of the ledger, to the digit; what came after it is gone.
    shell(&world, &gateway, None, "rm -rf data/usage && mv backup/usage data/usage").await;
    let kept = gateway.sql_offline(SEEN).await;
    assert!(!kept.is_empty() && kept.len() < all.len(), "{} rows of {}", kept.len(), all.len());
    for (row, before) in kept.iter().zip(&all) {
        assert_eq!(row.0, before.0);
    }

    // And the gateway goes on over it: no place is given twice.
    gateway.resume().await;
    let traffic = Traffic::start(&gateway, CLIENTS, "backup");
    traffic.reach(60).await;
    let afterwards = traffic.stop().await;
    assert!(gateway.terminate().await.success());
    let rows = gateway.sql_offline(SEEN).await;
    assert_eq!(rows.len(), kept.len() + afterwards.len());
    assert!(rows.windows(2).all(|pair| pair[0].int("seq") < pair[1].int("seq")), "a place was given twice");
    let newer: std::collections::BTreeSet<_> = rows.iter().skip(kept.len()).filter_map(|row| row.text("call_id")).collect();
    assert!(afterwards.iter().all(|call_id| newer.contains(call_id.as_str())), "an acknowledged call has no row");
}

async fn a_table_moves_into_a_bucket_and_is_backed_up_there(world: Arc<World>) {
    let moto = world.moto().await;
    moto.bucket("acme-ledger").await;
    moto.bucket("acme-backup").await;
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, CLIENTS, "moved");
    traffic.reach(60).await;
    let mut acknowledged = traffic.stop().await;
    assert!(gateway.terminate().await.success());
    let before = shell(&world, &gateway, None, &commands("What is where:")).await;

    // The page's comment line: the new place in the configuration.
    let moving = commands("**Move the table from a directory into a bucket**");
    let place = moving.lines().find_map(|line| line.strip_prefix("# spec.ledger.table: ")).expect("the page names the new place");
    let ledger = format!(
        "ledger: {{durability: process, flush: {{rows: 50, interval: 200ms}}, table: \"{place}\", store: {{endpoint: \"{}\", \
         allow_http: true, region: us-east-1, access_key_id: test, secret_access_key: test}}}}",
        moto.url
    );
    let moved = Config::standard().replacing("ledger: {durability: process, flush: {rows: 200, interval: 1s}}", &ledger);
    moved.write(&gateway.config());
    let printed = shell(&world, &gateway, Some(moto), &moving).await;
    assert!(printed.ends_with(&before), "other sums after the move than before it:\n{before}\n{printed}");
    std::fs::remove_dir_all(gateway.data().join("usage")).unwrap();

    gateway.resume().await;
    let traffic = Traffic::start(&gateway, CLIENTS, "moved");
    traffic.reach(100).await;
    shell(&world, &gateway, Some(moto), &commands("The same for a bucket")).await;
    traffic.reach(140).await;
    acknowledged.extend(traffic.stop().await);
    complete(&gateway.sql(SEEN).await, &acknowledged, 0);

    let read = format!("mkdir -p elsewhere && tollgate sql --data elsewhere --table s3://acme-backup/usage --format json '{SEEN}'");
    let copied = parsed(&shell(&world, &gateway, Some(moto), &read).await);
    let all = gateway.sql(SEEN).await;
    assert!(copied.len() >= 60 && copied.len() < all.len(), "{} rows of {}", copied.len(), all.len());
    for (row, original) in copied.iter().zip(&all) {
        assert_eq!(row.0, original.0);
    }
}

async fn a_damaged_log_is_repaired_and_its_losses_are_named(world: Arc<World>) {
    let slow = Config::standard().replacing("flush: {rows: 200, interval: 1s}", "flush: {rows: 100000, interval: 1h}");
    let mut gateway = world.own_gateway(&slow).await;
    let traffic = Traffic::start(&gateway, CLIENTS, "repair");
    traffic.reach(120).await;
    let acknowledged = traffic.stop().await;
    gateway.kill().await;

    // One bit, in the middle of what had been synced.
    let wal = gateway.data().join("wal");
    let segment = std::fs::read_dir(&wal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&segment, &bytes).unwrap();

    let (config, data) = (gateway.config(), gateway.data());
    let serve = ["serve", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let (ended, _, problem) = gateway.run(&serve).await;
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(!ended.status.success() && problem.contains("is damaged") && problem.contains(name), "{problem}");

    let printed = shell(&world, &gateway, None, &commands("Disks lose bits")).await;
    assert!(printed.contains("nothing was changed (--dry-run)") && printed.contains("the log was made whole"), "{printed}");
    assert!(printed.contains(name) && printed.contains("the damaged file as it was"), "{printed}");
    let kept = std::fs::read_dir(data.join("damaged")).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    assert!(kept.into_iter().any(|copy| copy == bytes), "the damaged file is kept as it was");

    // What is there and what is named as missing are all the calls, and nothing is both.
    gateway.resume().await;
    let rows = gateway.sql(SEEN).await;
    let places: std::collections::BTreeSet<i64> = rows.iter().filter_map(|row| row.int("seq")).collect();
    let mut missing = std::collections::BTreeSet::new();
    for line in printed.lines().filter_map(|line| line.strip_prefix("missing rows: seq ")) {
        let (first, last) = line.split_once(" to ").unwrap();
        missing.extend(first.parse::<i64>().unwrap()..=last.parse().unwrap());
    }
    assert!(missing.is_disjoint(&places), "{missing:?}");
    let recorded: std::collections::BTreeSet<_> = rows
        .iter()
        .filter(|row| row.text("outcome") == Some("ok"))
        .filter_map(|row| row.text("call_id"))
        .collect();
    let lost = acknowledged.iter().filter(|call_id| !recorded.contains(call_id.as_str())).count();
    assert!(lost <= 1 + missing.len(), "{lost} calls have no row, and {missing:?} are named as missing");
    assert!(recorded.len() + missing.len() + 1 >= acknowledged.len(), "{} rows, {missing:?}", recorded.len());
}
