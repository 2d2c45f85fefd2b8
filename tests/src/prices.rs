//! Prices as finance works with them: explained, negotiated, imported, compared, and equal to those of an independent source.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::call::{Api, Call};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::here;
use crate::harness::money::Decimal;
use crate::harness::prices::OPENAI_MODEL;
use crate::harness::raw;
use crate::harness::s3::python;
use crate::harness::world::{KEY, World};

/// Asking thousands of prices takes seconds each way in a build that is not optimised.
const ORACLE_LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = claims_of![
        a_negotiated_price_is_charged_and_explained,
        price_lists_are_imported_compared_and_checked,
        every_command_of_the_page_runs_as_written,
    ];
    let oracle = Claim::new("costs_are_those_of_genai_prices_to_the_last_digit", oracle);
    all.push(oracle.limited(ORACLE_LIMIT));
    all
}

async fn oracle(world: Arc<World>) {
    let stage = world.stage().await;
    let binary = stage.binary.to_str().unwrap();
    let arguments = [
        &here("clients/oracle.py"),
        binary,
        &here("../usage-store/prices"),
        &here("oracle/disagreements.yaml"),
    ];
    let printed = python(&stage.counterparts.python, &arguments).await;
    eprintln!("{printed}");
    assert!(printed.contains(" 0 differ"), "{printed}");
}

/// Of the org of the tests' key: input at a price of its own, everything else 15 % off.
const NEGOTIATED: &str = r#"
kind: PriceList
metadata: {name: acme-2026}
spec:
  provider: openai
  currency: USD
  source: contract 4711
  for: {org: acme}
  adjustments: [{discount: "15%", effective_from: 2024-01-01}]
  prices: [{model: ledger-large, meter: input, per: 1000000, price: "1", effective_from: 2024-01-01}]
---
kind: PriceList
metadata: {name: other-team}
spec:
  provider: openai
  currency: USD
  for: {team: other}
  adjustments: [{discount: "90%", effective_from: 2024-01-01}]
"#;

async fn a_negotiated_price_is_charged_and_explained(world: Arc<World>) {
    let gateway = world
        .own_gateway(&Config::standard().with("negotiated.yaml", NEGOTIATED))
        .await;
    let target = crate::harness::call::Target::new(format!("{}/openai", gateway.url()), KEY);
    let call = Call::new(Api::Chat)
        .model(OPENAI_MODEL)
        .simulate("input=1000; cache_read=200; output=100");
    assert_eq!(
        raw::send(raw::request(&reqwest::Client::new(), &call, &target)).await.status,
        200
    );
    let row = gateway.sql("SELECT * FROM usage").await.remove(0);
    let charged: Decimal = row.charges().iter().filter_map(|charge| charge.amount).sum();
    assert_eq!(row.decimal("cost"), Some(charged), "the charges add up: {}", row.0);
    // 800 at 1: 0.0008. 200 * 0.250003 less 15 %: 0.00004250051. 100 * 10.000013 less 15 %: 0.000850001105.
    assert_eq!(row.decimal("cost"), Some(Decimal::parse("0.001692501615")), "{}", row.0);
    // 800 * 2.500001 + 200 * 0.250003 + 100 * 10.000013 millionths.
    assert_eq!(row.decimal("list_cost"), Some(Decimal::parse("0.0030500027")), "{}", row.0);

    let config = gateway.config();
    let usage = r#"{"input_tokens": 1000, "cache_read_input_tokens": 200, "output_tokens": 100}"#;
    let mut arguments = vec![
        "prices",
        "explain",
        "--provider",
        "openai",
        "--model",
        OPENAI_MODEL,
        "--usage",
        usage,
    ];
    arguments.extend([
        "--org",
        "acme",
        "--team",
        "growth",
        "--format",
        "json",
        "--config",
        config.to_str().unwrap(),
    ]);
    let told: Value = serde_json::from_str(&run(&gateway, &arguments, 0).await).unwrap();
    assert_eq!(
        Decimal::parse(told["cost"].as_str().unwrap()),
        row.decimal("cost").unwrap(),
        "{told}"
    );
    assert_eq!(
        Decimal::parse(told["list_cost"].as_str().unwrap()),
        row.decimal("list_cost").unwrap(),
        "{told}"
    );
    assert_eq!(told["price_version"].as_str(), row.text("price_version"), "{told}");
    let by: Vec<_> = told["charges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["adjustment"]["discount"].as_str())
        .collect();
    assert_eq!(by, [None, Some("0.15"), Some("0.15")], "{told}");
    // The team of the other list pays a tenth, and nobody in particular the list price.
    arguments[9] = "nobody";
    for (team, expected) in [("other", "0.00030500027"), ("nobody", "0.0030500027")] {
        arguments[11] = team;
        let told: Value = serde_json::from_str(&run(&gateway, &arguments, 0).await).unwrap();
        assert_eq!(told["cost"], expected, "{told}");
    }
    // `other` has no key, which may be a name that is misspelt.
    let (_, _, noted) = gateway.run(&["check", "--config", config.to_str().unwrap()]).await;
    assert!(
        noted.contains("other-team is for org any and team other") && !noted.contains("acme-2026"),
        "{noted}"
    );
    *arguments.last_mut().unwrap() = "/nowhere";
    run(&gateway, &arguments, 1).await;
}

/// Runs a command that must end with a code; returns what it printed on both outputs.
async fn run(gateway: &Gateway, arguments: &[&str], code: i32) -> String {
    let (output, printed, problem) = gateway.run(arguments).await;
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}{problem}");
    if code == 0 { printed } else { printed + &problem }
}

const LITELLM: &str = r#"{
  "gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "max_tokens": 4096},
  "claude-x": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05}
}"#;

async fn price_lists_are_imported_compared_and_checked(world: Arc<World>) {
    let gateway = world.gateway().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, out) = (path("prices.json"), path("lists"));
    std::fs::write(&file, LITELLM).unwrap();
    let import = [
        "prices",
        "import",
        "--format",
        "litellm",
        "--provider",
        "openai",
        "--out",
        &out,
        "--effective-from",
        "2026-11-01",
        &file,
    ];
    run(gateway, &import, 0).await;
    let again = run(gateway, &import, 1).await;
    assert!(again.contains("is there already"), "{again}");
    let list = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let list = list.to_str().unwrap();
    let text = std::fs::read_to_string(list).unwrap();
    assert!(
        text.contains("price: \"2.5\"") && text.contains("price: \"10\"") && !text.contains("claude"),
        "{text}"
    );
    run(gateway, &["prices", "check", list], 0).await;
    run(gateway, &["prices", "diff", list, list], 0).await;

    let dear = path("dear.yaml");
    std::fs::write(&dear, text.replace("price: \"10\"", "price: \"10000\"")).unwrap();
    let line = text.lines().position(|line| line.contains("price: \"10\"")).unwrap() + 1;
    let told = run(gateway, &["prices", "diff", list, &dear], 1).await;
    assert!(
        told.contains(&format!("dear.yaml, document 1 (PriceList litellm-openai), line {line}: ")),
        "{told}"
    );
    assert!(
        told.contains("10000 per 1000000") && told.contains("was 10 per 1000000"),
        "{told}"
    );
    let told = run(gateway, &["prices", "check", &dear], 1).await;
    assert!(
        told.contains(&format!("line {line}: ")) && told.contains("while input is 2.5 per 1000000"),
        "{told}"
    );
    let wrong = path("wrong.yaml");
    std::fs::write(&wrong, text.replace("price: \"10\"", "price: \"1e1\"")).unwrap();
    assert!(run(gateway, &["prices", "check", &wrong], 1).await.contains("1e1"));
    run(gateway, &["prices", "import", "--format", "genai-prices", &file], 1).await;
}

const GENAI: &str = r#"[{"id": "openai", "name": "OpenAI", "models": [
  {"id": "gpt-x", "match": {"equals": "gpt-x"}, "prices": {"input_mtok": 2.5, "output_mtok": 10}}]}]"#;

/// The commands of docs/prices.md, in a folder that has what the page speaks of.
async fn every_command_of_the_page_runs_as_written(world: Arc<World>) {
    let page = std::fs::read_to_string(here("../docs/prices.md")).unwrap();
    let example = page
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("an example of negotiated prices");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("acme.yaml", example);
    write("old.yaml", example);
    write("new.yaml", &example.replace("12%", "13%"));
    write("model_prices_and_context_window.json", LITELLM);
    write("data.json", GENAI);
    std::os::unix::fs::symlink(here("../usage-store"), folder.path().join("usage-store")).unwrap();
    let binary = world.stage().await.binary.parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let is_command = |line: &&str| line.starts_with("    ") && line.contains("tollgate prices");
    let commands: Vec<&str> = page.lines().filter(is_command).map(str::trim).collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", command]).current_dir(folder.path()).env("PATH", &path);
        let output = shell
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        // `check` finds what docs/prices.md speaks of: output that is given away. `diff` finds the discount that was changed.
        let expected = i32::from(command.contains(" diff ") || command.contains(" check usage-store"));
        assert_eq!(output.status.code(), Some(expected), "{command}: {printed}");
        assert!(!printed.is_empty() && !printed.contains("unpriced:"), "{command}: {printed}");
    }
}
