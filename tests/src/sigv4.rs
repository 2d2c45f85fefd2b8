//! Applications that sign as AWS's do: boto3 with an access key in its environment works as it is, and what it did not sign is refused.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::claim::{Claim, claims_of};
use crate::harness::world::World;

const APPLICATION: &str = include_str!("../clients/signed.py");
const CLAUDE: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
/// As `native.yaml` has them.
const ID: &str = "TGKOFTHEAPPLICATION1";
const SECRET: &str = "secret-access-key/of+the-application-01";

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![
        boto3_with_an_access_key_works_as_it_is,
        a_signature_of_another_secret_is_refused,
        an_access_key_of_nobody_is_refused,
        a_clock_that_is_wrong_is_told,
        a_body_that_was_changed_on_the_way_is_refused,
        a_temporary_key_is_refused,
        nothing_of_the_signature_reaches_the_provider,
    ]
}

/// Runs the application; a value for each of its calls.
async fn application(world: &World, order: Value, environment: &[(&str, &str)]) -> Vec<Value> {
    let gateway = world.native_gateway().await;
    let mut command = tokio::process::Command::new(&world.stage().await.counterparts.python);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
    let mut order = order;
    order["model"] = json!(CLAUDE);
    command
        .args(["-c", APPLICATION, &order.to_string()])
        .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", format!("{}/bedrock", gateway.url()))
        .env("AWS_ACCESS_KEY_ID", ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_MAX_ATTEMPTS", "1")
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn boto3_with_an_access_key_works_as_it_is(world: Arc<World>) {
    let calls = application(&world, json!({}), &[]).await;
    let expected = [
        ("converse", false),
        ("converse_stream", true),
        ("invoke_model", false),
        ("invoke_model_with_response_stream", true),
    ];
    assert_eq!(calls.len(), expected.len(), "{calls:?}");
    for (call, (name, stream)) in calls.iter().zip(expected) {
        assert_eq!((call["call"].as_str(), call.get("code")), (Some(name), None), "{call}");
        let query = format!("SELECT * FROM usage WHERE call_id = '{}'", call["call_id"].as_str().unwrap());
        let mut rows = world.native_gateway().await.sql(&query).await;
        assert_eq!(rows.len(), 1, "{name}: {rows:#?}");
        let row = rows.remove(0);
        assert_eq!(
            (row.text("outcome"), row.text("key_id")),
            (Some("ok"), Some("signer")),
            "{}",
            row.0
        );
        assert_eq!(
            (row.text("team"), row.flag("stream")),
            (Some("research"), Some(stream)),
            "{}",
            row.0
        );
        assert_eq!(
            (row.text("provider_name"), row.text("request_model")),
            (Some("bedrock"), Some(CLAUDE))
        );
        // The region is that of the upstream, not the one that the client signed for.
        assert_eq!(
            (row.text("region"), row.text("usage_source")),
            (Some("eu-central-1"), Some("reported"))
        );
        let tokens = row.int("input_tokens").unwrap() + row.int("output_tokens").unwrap();
        assert_eq!(call["tokens"], tokens, "{name}: {}", row.0);
        assert_eq!(row.text("cost_status"), Some("priced"), "{}", row.0);
    }
}

/// Every call raises boto3's `ClientError` with this code and reason, and leaves no row.
async fn refused(world: &World, order: Value, environment: &[(&str, &str)], code: &str, reason: &str) {
    let calls = application(world, order, environment).await;
    assert_eq!(calls.len(), 4, "{calls:?}");
    for call in calls {
        assert_eq!(
            (call["status"].as_u64(), call["code"].as_str()),
            (Some(403), Some(code)),
            "{call}"
        );
        assert!(call["message"].as_str().unwrap().contains(reason), "{call}");
        let query = format!("SELECT * FROM usage WHERE call_id = '{}'", call["call_id"].as_str().unwrap());
        assert!(world.native_gateway().await.sql(&query).await.is_empty(), "{call}");
    }
}

async fn a_signature_of_another_secret_is_refused(world: Arc<World>) {
    let environment = [("AWS_SECRET_ACCESS_KEY", "secret-access-key/of+the-application-02")];
    refused(
        &world,
        json!({}),
        &environment,
        "InvalidSignatureException",
        "check the secret",
    )
    .await;
}

async fn an_access_key_of_nobody_is_refused(world: Arc<World>) {
    let environment = [("AWS_ACCESS_KEY_ID", "TGKOFTHEAPPLICATION2")];
    refused(
        &world,
        json!({}),
        &environment,
        "UnrecognizedClientException",
        "not known here",
    )
    .await;
}

async fn a_clock_that_is_wrong_is_told(world: Arc<World>) {
    for clock_s in [-3600, 3600] {
        let order = json!({"clock_s": clock_s});
        refused(&world, order, &[], "InvalidSignatureException", "set the client's clock").await;
    }
    let calls = application(&world, json!({"clock_s": -600}), &[]).await;
    assert!(calls.iter().all(|call| call.get("code").is_none()), "{calls:?}");
}

async fn a_body_that_was_changed_on_the_way_is_refused(world: Arc<World>) {
    refused(
        &world,
        json!({"tamper": true}),
        &[],
        "InvalidSignatureException",
        "or the body",
    )
    .await;
}

async fn a_temporary_key_is_refused(world: Arc<World>) {
    let environment = [("AWS_SESSION_TOKEN", "token-of-the-application")];
    refused(
        &world,
        json!({}),
        &environment,
        "InvalidSignatureException",
        "unset AWS_SESSION_TOKEN",
    )
    .await;
}

async fn nothing_of_the_signature_reaches_the_provider(world: Arc<World>) {
    let call = application(&world, json!({"echo": true}), &[]).await.remove(0);
    let seen: Value = serde_json::from_str(call["text"].as_str().unwrap()).unwrap();
    let headers = seen["headers"].to_string();
    assert!(
        headers.contains("Credential=AKIDOFTHEGATEWAY/") && headers.contains("/eu-central-1/bedrock/"),
        "{headers}"
    );
    assert!(!headers.contains(ID) && !headers.contains("us-east-1"), "{headers}");
    let logged = world.native_gateway().await.logged();
    assert!(!logged.contains(SECRET), "the secret is in the log");
}
