//! Every provider by its own SDK, unchanged: the row has the model, every class of token, and the cost that follows from the shipped price list.

mod cases;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::raw;
use crate::harness::sdk::{Language, Order, Reply};
use crate::harness::world::{KEY, World};
use cases::{CLAUDE, Expected, Native, cases};

const PROVIDERS: &str = include_str!("../../docs/providers.md");

pub(crate) fn claims() -> Vec<Claim> {
    let mut all = Vec::new();
    for (name, native, expected) in cases() {
        for stream in [false, true] {
            if stream && native.sdk == "openai" {
                continue;
            }
            let (mut native, expected) = (native.clone(), expected.clone());
            if native.sdk != "openai" {
                native.params["stream"] = json!(stream);
            }
            let how = if stream { "_streamed" } else { "" };
            all.push(Claim::new(format!("{name}{how}_has_its_row_and_price"), move |world| {
                charged(world, native, expected, stream)
            }));
        }
    }
    for (name, native, _) in cases().into_iter().filter(|(_, native, _)| native.sdk != "openai") {
        all.push(Claim::new(format!("{name}_is_refused_in_its_own_words"), move |world| {
            refused(world, native)
        }));
    }
    for (name, reads_on) in [
        ("gemini", true),
        ("bedrock_converse", true),
        ("mistral", true),
        ("azure_openai", false),
    ] {
        all.push(Claim::new(
            format!("{name}_stream_that_is_left_is_billed_as_the_provider_does"),
            move |world| left(world, name, reads_on),
        ));
    }
    all.extend(claims_of![
        the_provider_sees_its_own_credential_and_no_other,
        a_key_in_the_query_of_gemini_ends_here,
        bedrock_is_called_with_bearer_keys,
        a_model_of_mistral_is_reached_by_the_default_route,
        a_provider_that_is_not_here_needs_a_template_only,
        the_table_of_providers_names_tests_that_exist,
    ]);
    all
}

fn case(wanted: &str) -> Native {
    let found = cases().into_iter().find(|(name, ..)| *name == wanted);
    found.expect("it is one of the cases").1
}

impl Native {
    /// Makes the call through the gateway.
    async fn call(self, world: &World, key: &str, session: &str, abort_after: Option<u32>) -> Reply {
        let mut headers = vec![("x-tollgate-session".to_owned(), session.to_owned())];
        if !self.simulate.is_empty() {
            headers.push(("x-simulate".to_owned(), self.simulate));
        }
        let order = Order {
            id: 0,
            sdk: self.sdk,
            call: self.call,
            base_url: format!("{}{}", world.native_gateway().await.url(), self.base),
            api_key: key.to_owned(),
            headers: headers.into_iter().collect(),
            params: self.params,
            max_retries: 0,
            abort_after,
        };
        world.sdk(Language::Python).await.call(order).await
    }
}

/// The price of one unit, read from a shipped list: of the standard tier, in every region, for any context, in force.
#[track_caller]
fn unit_price(list: &str, model: &str, meter: &str) -> Decimal {
    fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
        let (_, rest) = line.split_once(&format!("{name}: "))?;
        Some(rest.split([',', '}']).next()?.trim_matches('"'))
    }
    let conditions = ["service_tier:", "region:", "context_above:", "effective_to:"];
    let mut found = list.lines().filter(|line| {
        field(line, "{model") == Some(model)
            && field(line, " meter") == Some(meter)
            && !conditions.iter().any(|condition| line.contains(condition))
    });
    let line = found.next().unwrap_or_else(|| panic!("no price of {meter} for {model}"));
    assert!(found.next().is_none(), "several prices of {meter} for {model}");
    Decimal::parse(field(line, " price").unwrap()).per(field(line, " per").unwrap().parse().unwrap())
}

async fn charged(world: Arc<World>, native: Native, expected: Expected, stream: bool) {
    let session = world.session();
    let reply = native.call(&world, KEY, &session, None).await;
    assert_eq!(reply.error, None);
    assert!(!reply.text.is_empty());
    let row = row_of(&world, &session).await;
    assert_eq!(row.text("outcome"), Some("ok"), "{}", row.0);
    assert_eq!((row.int("status_code"), row.flag("stream")), (Some(200), Some(stream)));
    assert_eq!(row.text("provider_name"), Some(expected.provider));
    assert_eq!(row.text("operation_name"), Some(expected.operation));
    assert_eq!(row.text("request_model"), Some(expected.request_model));
    assert_eq!(row.text("response_model"), expected.response_model, "{}", row.0);
    assert_eq!(row.text("region"), expected.region);
    assert_eq!(
        [row.int("input_tokens"), row.int("output_tokens")],
        expected.tokens,
        "{}",
        row.0
    );
    assert_eq!((row.text("team"), row.text("currency")), (Some("growth"), Some("USD")));

    let mut billed: Vec<(String, Decimal, Option<Decimal>)> = row
        .charges()
        .into_iter()
        .map(|charge| (charge.meter, charge.quantity, charge.amount))
        .collect();
    let mut owed: Vec<(String, Decimal, Option<Decimal>)> = expected
        .meters
        .iter()
        .map(|(meter, quantity, priced_by)| {
            let amount = unit_price(expected.list, expected.priced_as, priced_by).times(*quantity);
            ((*meter).to_owned(), Decimal::integer(*quantity), Some(amount))
        })
        .collect();
    billed.sort();
    owed.sort();
    assert_eq!(billed, owed, "{}", row.0);
    let cost = owed.into_iter().filter_map(|(.., amount)| amount).sum::<Decimal>();
    assert_eq!(
        (row.decimal("cost"), row.text("cost_status")),
        (Some(cost), Some(expected.cost_status)),
        "{}",
        row.0
    );
    if let Some(told) = reply.headers.get("x-tollgate-cost") {
        assert_eq!(Decimal::parse(told), cost, "x-tollgate-cost");
    }
}

/// The SDK understands a refusal of the gateway's, and an error of the provider's that passes through.
async fn refused(world: Arc<World>, native: Native) {
    let (status, code) = match native.sdk {
        "google" => (401, "UNAUTHENTICATED"),
        "bedrock" => (403, "UnrecognizedClientException"),
        _ => (401, "unknown_key"),
    };
    let reply = native
        .clone()
        .call(&world, "tg-nobody-knows-this-key", &world.session(), None)
        .await;
    let error = reply.error.expect("nobody knows the key");
    assert_eq!((error.status, error.code.as_deref()), (Some(status), Some(code)), "{error:?}");
    assert!(error.message.contains("not known here"), "{error:?}");

    let session = world.session();
    let simulate = "status=429".to_owned();
    let reply = Native { simulate, ..native }.call(&world, KEY, &session, None).await;
    assert_eq!(
        reply.error.as_ref().and_then(|error| error.status),
        Some(429),
        "{:?}",
        reply.error
    );
    let row = row_of(&world, &session).await;
    assert_eq!(
        (row.text("outcome"), row.int("status_code")),
        (Some("upstream_error"), Some(429)),
        "{}",
        row.0
    );
    assert_eq!(row.decimal("cost"), Some(Decimal::ZERO), "{}", row.0);
}

/// A provider that bills the rest anyway is read to its end, and its own counts are on the row; the others are stopped.
async fn left(world: Arc<World>, name: &str, reads_on: bool) {
    let session = world.session();
    let mut native = case(name);
    native.params["stream"] = json!(true);
    native.simulate = format!("input=1000; output=80; chunks=80; tps=100; id={session}");
    let reply = native.call(&world, KEY, &session, Some(8)).await;
    assert_eq!((reply.error, reply.finish.as_deref()), (None, Some("aborted")));
    let gateway = world.native_gateway().await;
    let row = crate::harness::process::eventually("the row is written", std::time::Duration::from_secs(20), || async {
        gateway.session(&session).await.pop()
    })
    .await;
    assert_eq!(row.text("outcome"), Some("client_aborted"), "{}", row.0);
    let source = if reads_on { "reported" } else { "estimated" };
    assert_eq!(row.text("usage_source"), Some(source), "{}", row.0);
    assert_eq!(row.int("output_tokens") == Some(80), reads_on, "{}", row.0);
}

async fn the_provider_sees_its_own_credential_and_no_other(world: Arc<World>) {
    for (name, header, value) in [
        ("gemini", "x-goog-api-key", "provider-credential-of-gemini"),
        ("vertex", "authorization", "Bearer provider-credential-of-vertex"),
        (
            "bedrock_converse",
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDOFTHEGATEWAY/",
        ),
        ("azure_openai", "api-key", "provider-credential-of-azure"),
        ("mistral", "authorization", "Bearer provider-credential-of-mistral"),
    ] {
        let simulate = "echo=1".to_owned();
        let reply = Native { simulate, ..case(name) }
            .call(&world, KEY, &world.session(), None)
            .await;
        assert_eq!(reply.error, None);
        assert!(!reply.text.contains(KEY), "{name}: {}", reply.text);
        let seen: Value = serde_json::from_str(&reply.text).unwrap_or_else(|error| panic!("{error}: {}", reply.text));
        let told = seen["headers"][header].to_string();
        assert!(told.contains(value), "{name}: {seen}");
        for other in ["authorization", "x-api-key", "x-goog-api-key", "api-key"] {
            assert!(other == header || seen["headers"].get(other).is_none(), "{name}: {seen}");
        }
        if name == "bedrock_converse" {
            assert!(told.contains("/eu-central-1/bedrock/aws4_request"), "{told}");
            assert_eq!(
                seen["path"],
                format!("/bedrock/model/{}/converse", CLAUDE.replace(':', "%3A"))
            );
        }
    }
}

async fn a_key_in_the_query_of_gemini_ends_here(world: Arc<World>) {
    let gateway = world.native_gateway().await;
    let url = format!(
        "{}/gemini/v1beta/models/gemini-2.5-flash:generateContent?key={KEY}&%24alt=json",
        gateway.url()
    );
    let body = json!({"contents": [{"parts": [{"text": "hello"}]}]});
    let request = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json")
        .header("x-simulate", "echo=1")
        .body(body.to_string());
    let answer = raw::send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.json()["candidates"][0]["content"]["parts"][0]["text"].to_string();
    assert!(
        seen.contains("gemini-2.5-flash:generateContent?%24alt=json") && !seen.contains(KEY),
        "{seen}"
    );
}

/// An application that has `AWS_BEARER_TOKEN_BEDROCK` set: its SDK sends that over TLS only.
async fn bedrock_is_called_with_bearer_keys(world: Arc<World>) {
    const APPLICATION: &str = "
import boto3, sys
client = boto3.client('bedrock-runtime', region_name='eu-central-1')
answer = client.converse(modelId=sys.argv[1], messages=[{'role': 'user', 'content': [{'text': 'hello'}]}])
print(answer['usage']['totalTokens'])
";
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let config = Config::standard()
        .with("native.yaml", include_str!("../fixtures/native.yaml"))
        .with("certificate.pem", issued.cert.pem())
        .with("key.pem", issued.signing_key.serialize_pem())
        .replacing(
            "listen: {http:",
            "tls: {certificate: certificate.pem, key: key.pem}\n  listen: {https: \"127.0.0.1:0\", http:",
        );
    let gateway = world.own_gateway(&config).await;
    let https = gateway.addresses().https.clone().expect("it listens for TLS");
    let mut command = tokio::process::Command::new(&world.stage().await.counterparts.python);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
    command
        .args(["-c", APPLICATION, CLAUDE])
        .env("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", format!("https://{https}/bedrock-bearer"))
        .env("AWS_BEARER_TOKEN_BEDROCK", KEY)
        .env("AWS_CA_BUNDLE", gateway.config().join("certificate.pem"))
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let row = gateway.sql("SELECT * FROM usage").await.remove(0);
    assert_eq!(
        (row.text("outcome"), row.text("request_model"), row.text("provider_name")),
        (Some("ok"), Some(CLAUDE), Some("bedrock-bearer")),
        "{}",
        row.0
    );
    let tokens = row.int("input_tokens").unwrap() + row.int("output_tokens").unwrap();
    assert_eq!(tokens.to_string(), text(&output.stdout));
}

async fn a_model_of_mistral_is_reached_by_the_default_route(world: Arc<World>) {
    let session = world.session();
    let gateway = world.native_gateway().await;
    let body = json!({"model": "mistral/mistral-small-latest", "messages": [{"role": "user", "content": "hello"}]});
    let request = reqwest::Client::new()
        .post(format!("{}/v1/chat/completions", gateway.url()))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .header("x-tollgate-session", &session)
        .body(body.to_string());
    let answer = raw::send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let row = row_of(&world, &session).await;
    assert_eq!(
        (row.text("provider_name"), row.text("request_model")),
        (Some("mistral"), Some("mistral-small-latest"))
    );
}

/// The example of docs/providers.md, as it stands there but for the upstream, which answers as Gemini does.
async fn a_provider_that_is_not_here_needs_a_template_only(world: Arc<World>) {
    let (_, section) = PROVIDERS.split_once("## A provider that is not here").unwrap();
    let example = section
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let told = ["https://api.acme.example", "${env:ACME_API_KEY}"];
    assert!(told.iter().all(|text| example.contains(text)));
    let example = example
        .replace(told[0], "${env:SIMULATOR_URL}/gemini")
        .replace(told[1], "any");
    let gateway = world.own_gateway(&Config::standard().with("acme.yaml", example)).await;
    for stream in [false, true] {
        let session = world.session();
        let order = Order {
            id: 0,
            sdk: "google",
            call: "generate",
            base_url: format!("{}/acme", gateway.url()),
            api_key: KEY.to_owned(),
            headers: [
                ("x-tollgate-session".to_owned(), session.clone()),
                ("x-simulate".to_owned(), "input=1000; output=80".to_owned()),
            ]
            .into(),
            params: json!({"model": "acme-1", "contents": "hello", "stream": stream}),
            max_retries: 0,
            abort_after: None,
        };
        let reply = world.sdk(Language::Python).await.call(order).await;
        assert_eq!(reply.error, None);
        let row = gateway.session(&session).await.remove(0);
        assert_eq!(
            (
                row.text("provider_name"),
                row.text("request_model"),
                row.text("response_model")
            ),
            (Some("acme"), Some("acme-1"), Some("acme-1")),
            "{}",
            row.0
        );
        assert_eq!([row.int("input_tokens"), row.int("output_tokens")], [Some(1000), Some(80)]);
        assert_eq!(
            (row.text("usage_source"), row.flag("stream")),
            (Some("reported"), Some(stream))
        );
        // 1000 at 1.25 and 80 at 5 a million.
        assert_eq!(row.decimal("cost"), Some(Decimal::parse("0.00165")), "{}", row.0);
    }
}

async fn the_table_of_providers_names_tests_that_exist(_: Arc<World>) {
    let existing: Vec<String> = claims().into_iter().map(|claim| claim.name).collect();
    let named: Vec<&str> = PROVIDERS
        .split("`native::")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
        .filter(|name| *name != "...")
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(existing.iter().any(|claim| claim == name), "there is no test {name}");
    }
}

async fn row_of(world: &World, session: &str) -> Row {
    let mut rows = world.native_gateway().await.session(session).await;
    assert_eq!(rows.len(), 1, "a call leaves exactly one row: {rows:#?}");
    rows.remove(0)
}
