//! `tollgate quickstart`: a configuration for trying the gateway out, written where it can be read and copied.

use std::path::Path;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::data::Addresses;

/// Key of the quickstart. It is no secret: the gateway listens on loopback only.
const KEY: &str = "sk-tollgate-quickstart";
/// Models of the printed calls.
const OPENAI_MODEL: &str = "gpt-4o-mini";
const ANTHROPIC_MODEL: &str = "claude-haiku-4-5";

/// Writes the configuration into the data directory and serves it.
pub(crate) async fn quickstart(data: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data).with_context(|| format!("cannot create the data directory {}", data.display()))?;
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let (openai, anthropic) = (set("OPENAI_API_KEY"), set("ANTHROPIC_API_KEY"));
    let stop = CancellationToken::new();
    let mut simulator = None;
    let config = if openai || anthropic {
        configuration(
            openai.then_some(("https://api.openai.com", "Bearer ${env:OPENAI_API_KEY}")),
            anthropic.then_some(("https://api.anthropic.com", "${env:ANTHROPIC_API_KEY}")),
        )
    } else {
        // At its usual address, so that the written configuration works with `tollgate simulate` too; at any, if that is taken.
        let usual = tollgate_simulator::Config::default();
        let any = tollgate_simulator::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ..usual.clone()
        };
        let server = match tollgate_simulator::bind(usual).await {
            Ok(server) => server,
            Err(_) => tollgate_simulator::bind(any).await?,
        };
        let url = format!("http://{}", server.local_addr());
        simulator = Some(tokio::spawn(server.run(stop.clone().cancelled_owned())));
        configuration(Some((&url, "Bearer simulated")), Some((&url, "simulated")))
    };
    let path = data.join("quickstart.yaml");
    std::fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;

    let announce = |addresses: &Addresses| {
        let providers = match (openai, anthropic) {
            (false, false) => "a simulator; set OPENAI_API_KEY or ANTHROPIC_API_KEY for a real one",
            (true, false) => "OpenAI",
            (false, true) => "Anthropic",
            (true, true) => "OpenAI and Anthropic",
        };
        println!("{}", instructions(addresses, data, providers, anthropic && !openai));
    };
    let served = crate::serve::serve(&path, data, Some(&announce)).await;
    stop.cancel();
    if let Some(simulator) = simulator {
        let _ = simulator.await;
    }
    served
}

/// A configuration with the providers whose URL and credential are given.
fn configuration(openai: Option<(&str, &str)>, anthropic: Option<(&str, &str)>) -> String {
    let mut text = format!(
        "# Written by `tollgate quickstart`, anew at each start. Copy it to make it your own.\n\
         apiVersion: tollgate/v1\n\
         kind: Gateway\n\
         metadata: {{name: quickstart}}\n\
         spec: {{listen: {{http: \"127.0.0.1:8080\", controller: \"127.0.0.1:9090\", admin: \"127.0.0.1:9094\"}}}}\n\
         ---\n\
         apiVersion: tollgate/v1\n\
         kind: ApiKey\n\
         metadata: {{name: quickstart}}\n\
         spec: {{value: {KEY}, org: acme, team: growth, project: demo, service: quickstart, caller_may: [user, agent, session, tags]}}\n"
    );
    let providers = [("openai", "Authorization", openai), ("anthropic", "x-api-key", anthropic)];
    for (name, header, provider) in providers {
        let Some((url, credential)) = provider else { continue };
        text.push_str(&format!(
            "---\n\
             apiVersion: tollgate/v1\n\
             kind: LlmProvider\n\
             metadata: {{name: {name}}}\n\
             spec: {{template: {name}, context: /{name}, upstream: {{url: \"{url}\", auth: {{type: api-key, header: {header}, value: \"{credential}\"}}}}}}\n"
        ));
    }
    text
}

/// What to paste next: at most fifteen lines.
fn instructions(addresses: &Addresses, data: &Path, providers: &str, anthropic_only: bool) -> String {
    let (http, controller, data) = (addresses.http, addresses.controller, data.display());
    let curl = if anthropic_only {
        format!(
            "curl http://{http}/anthropic/v1/messages -H 'x-api-key: {KEY}' -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
             -d '{{\"model\": \"{ANTHROPIC_MODEL}\", \"max_tokens\": 64, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
        )
    } else {
        format!(
            "curl http://{http}/v1/chat/completions -H 'Authorization: Bearer {KEY}' -H 'content-type: application/json' \
             -d '{{\"model\": \"{OPENAI_MODEL}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
        )
    };
    let sdk = if anthropic_only {
        format!(
            "python3 -c 'from anthropic import Anthropic; print(Anthropic(base_url=\"http://{http}/anthropic\", api_key=\"{KEY}\")\
             .messages.create(model=\"{ANTHROPIC_MODEL}\", max_tokens=64, messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}]).content)'"
        )
    } else {
        format!(
            "python3 -c 'from openai import OpenAI; print(OpenAI(base_url=\"http://{http}/v1\", api_key=\"{KEY}\")\
             .chat.completions.create(model=\"{OPENAI_MODEL}\", messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}]).choices[0].message.content)'"
        )
    };
    format!(
        "\nTollgate serves on http://{http}; its provider is {providers}.\n\
         \n\
         A call, with curl, or with the SDK (pip install {package}):\n  \
         {curl}\n  \
         {sdk}\n\
         The rows they left:\n  \
         curl http://{controller}/api/query/v1/sql -H \"Authorization: Bearer $(cat {data}/admin-token)\" -H 'content-type: application/json' \
         -d '{{\"sql\": \"SELECT start_time, team, response_model, input_tokens, output_tokens, cost FROM usage ORDER BY seq DESC LIMIT 5\"}}'\n\
         \n\
         Configuration: {data}/quickstart.yaml. Data: {data} (the table is {data}/usage, in Delta Lake format).\n\
         Stop it with Ctrl-C.\n",
        package = if anthropic_only { "anthropic" } else { "openai" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_valid_with_any_providers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quickstart.yaml");
        let provider = Some(("http://127.0.0.1:1", "Bearer ${env:KEY}"));
        for (openai, anthropic) in [(provider, None), (None, provider), (provider, provider)] {
            std::fs::write(&path, configuration(openai, anthropic)).unwrap();
            let resources = tollgate_controller::load(&path, &|_| Some("secret".to_owned())).unwrap();
            assert_eq!(resources.providers.len(), openai.iter().chain(&anthropic).count());
            crate::wiring::snapshot(&resources).unwrap();
        }
    }

    #[test]
    fn the_instructions_fit_on_fifteen_lines() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let addresses = Addresses {
            http: address,
            https: None,
            controller: address,
            admin: address,
        };
        assert!(instructions(&addresses, Path::new("data"), "x", true).lines().count() <= 15);
    }
}
