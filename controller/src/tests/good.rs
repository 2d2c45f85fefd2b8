//! Configurations that are right, and what becomes of them.

use std::time::Duration;

use tollgate_record::{Amount, Meter, Timestamp};

use super::{load, prices};
use crate::access::AccessMode;
use crate::ledger::{Durability, Memory};
use crate::pool::{OnOutage, Pool};
use crate::table::{Addressing, Cloud, Credentials, Store, Table};
use crate::template::{Codec, Dialect, Location, OnClientAbort, SHIPPED_TEMPLATES};
use crate::upstream::{Auth, DEFAULT_SIGNED_SERVICE};
use crate::{CallersMay, Gateway, KeyHash, Resources, Secret};

pub(super) fn good(text: &str) -> Resources {
    match load(text.as_bytes()) {
        Ok(resources) => resources,
        Err(problems) => panic!("{problems}"),
    }
}

/// The contract's example.
const CONTRACT: &str = r#"
apiVersion: tollgate/v1
kind: Gateway
metadata: {name: gw-1}                                   # the `instance` of its rows
spec: {listen: {http: 127.0.0.1:8080, controller: 127.0.0.1:9090, admin: 127.0.0.1:9094},
       ledger: {durability: process, flush: {rows: 262144, interval: 60s}, table: "file:./data/usage"}}
---
kind: LlmProvider
metadata: {name: openai}
spec: {template: openai, context: /openai, upstream: {url: "https://api.openai.com", auth: {type: api-key, header: Authorization, value: "Bearer ${env:OPENAI_API_KEY}"}},
       accessControl: {mode: allow_all}}                 # or deny_all, with exceptions: [{path: /v1/chat/completions, methods: [POST]}]
---
kind: ApiKey
metadata: {name: ads-bot}
spec: {value: "${env:ADS_BOT_KEY}", org: acme, team: growth, project: ads, service: bot, user: null, tags: {env: prod}}
---
kind: PriceList
metadata: {name: openai-2026}
spec: {provider: openai, currency: USD, prices: [{model: gpt-x, meter: input, per: 1000000, price: "2.50", effective_from: 2026-01-01}]}
---
kind: Budget
metadata: {name: growth-openai}
spec: {when: "team = 'growth'", per: [user_id], limit: {amount: "50", currency: USD}, window: month, timezone: Europe/Berlin, action: refuse, alerts: [50, 80, 100]}
---
kind: RateLimit
metadata: {name: bot-tpm}
spec: {when: "service = 'bot'", per: [key_id], limit: {tokens: 100000}, window: 1m}      # or {requests: N}, {concurrency: N}
---
kind: Exporter
metadata: {name: finance-moesif}
spec: {type: moesif, url: "https://api.moesif.net", application_id: "${env:MOESIF_APPLICATION_ID}", when: "team = 'growth'"}   # otlp: endpoint, protocol grpc|http, signals
"#;

#[test]
fn the_contracts_example_loads() {
    let resources = good(CONTRACT);
    assert_eq!(resources.gateway.name.as_str(), "gw-1");
    assert_eq!(resources.gateway.ledger.durability, Durability::Process);
    assert_eq!(resources.gateway.ledger.table, Some(Table::Folder("./data/usage".into())));

    let provider = resources.default_provider().expect("openai speaks as OpenAI does");
    assert_eq!(provider.context, "/openai");
    let url = provider.upstream.urls.first().map(|weighted| weighted.url.as_str());
    assert_eq!(url, Some("https://api.openai.com/"));
    assert_eq!(provider.access.mode, AccessMode::AllowAll);
    assert_eq!(provider.timeouts.first_byte, Duration::from_secs(600));
    let Auth::Header { name, value } = &provider.upstream.auth else {
        panic!("a header is configured")
    };
    assert_eq!(
        (name.as_str(), value.expose()),
        ("authorization", "Bearer sk-live-0123456789")
    );

    let [key] = resources.keys.as_slice() else {
        panic!("one key is configured")
    };
    assert_eq!(key.hash, Some(KeyHash::of("tg-ads-bot-0123456789")));
    assert_eq!(key.name().as_str(), "ads-bot");
    assert_eq!(key.identity.team.as_ref().map(|team| team.as_str()), Some("growth"));
    assert_eq!(key.identity.user, None);
    assert_eq!(key.tags.iter().collect::<Vec<_>>(), [("env", "prod")]);
    assert_eq!(key.callers_may, CallersMay::default());

    let [list] = resources.price_lists.as_slice() else {
        panic!("one list is configured")
    };
    let [price] = list.prices.as_slice() else {
        panic!("one price is configured")
    };
    assert!(!list.shipped);
    assert_eq!(
        (price.meter, price.per, price.price.to_string()),
        (Meter::Input, 1_000_000, "2.5".to_owned())
    );
    assert_eq!(price.effective_from, Timestamp::from_unix_us(1_767_225_600_000_000));
    assert_eq!((price.discount, price.effective_to), (Amount::ZERO, None));
}

#[test]
fn secrets_are_in_no_debug_output() {
    let shown = format!("{:?}", good(CONTRACT));
    for secret in ["sk-live", "tg-ads", "moesif-0"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn without_a_gateway_there_are_defaults_and_shipped_templates() {
    let resources = good("kind: ApiKey\nmetadata: {name: a}\nspec: {value: tg-0123456789abcdef}\n");
    assert_eq!(resources.gateway, Gateway::default());
    assert_eq!(resources.gateway.name.as_str(), "tollgate");
    assert_eq!(
        resources.template("openai").and_then(|template| template.codec()),
        Some(Codec::OpenAi)
    );
    assert_eq!(
        resources.template("anthropic").and_then(|template| template.codec()),
        Some(Codec::Anthropic)
    );
    assert!(resources.default_provider().is_none());
}

#[test]
fn every_field_of_a_gateway_is_taken() {
    let resources = good(
        r#"
kind: Gateway
metadata: {name: "gw-${env:ROWS}"}
spec:
  listen: {http: "0.0.0.0:0", https: "[::1]:8443", controller: "localhost:9191", admin: 127.0.0.1:0}
  tls: {certificate: cert.pem, key: key.pem}
  limits: {request_body_bytes_max: 1048576, header_read: 500ms, http2_streams_max: 16}
  ledger: {durability: power, flush: {rows: "${env:ROWS}", bytes: 1GB, interval: 5m}, table: "file:///var/lib/usage", sync_interval: 5ms}
  query: {timeout: 1m, memory: 2GiB, rows_max: 10, concurrency: 1, queue_max: 0}
  budgets: {redis: {url: "rediss://gw:hunter2@redis.example.com:6380/2", prefix: "acme:prod", timeout: 100ms, grace: 5s, on_outage: refuse}}
"#,
    );
    let gateway = resources.gateway;
    let pool = gateway.pool.expect("it is configured");
    assert!(!format!("{pool:?}").contains("hunter2"));
    let expected = Pool {
        url: Secret::new("rediss://gw:hunter2@redis.example.com:6380/2"),
        prefix: "acme:prod".into(),
        timeout: Duration::from_millis(100),
        grace: Duration::from_secs(5),
        on_outage: OnOutage::Refuse,
    };
    assert_eq!(pool, expected);
    assert_eq!(gateway.name.as_str(), "gw-1000");
    assert_eq!(
        gateway.listen.https.map(|address| address.to_string()).as_deref(),
        Some("[::1]:8443")
    );
    assert_eq!(gateway.listen.controller.to_string(), "127.0.0.1:9191");
    let tls = gateway.tls.expect("it is configured");
    assert!(tls.certificate.path().ends_with("cert.pem"));
    assert!(tls.key.bytes().starts_with(b"-----BEGIN PRIVATE KEY"));
    assert_eq!(gateway.limits.request_body_bytes_max, 1 << 20);
    assert_eq!(gateway.limits.header_read, Duration::from_millis(500));
    assert_eq!(gateway.ledger.durability, Durability::Power);
    assert_eq!((gateway.ledger.flush.rows, gateway.ledger.flush.bytes), (1000, 1_000_000_000));
    assert_eq!(gateway.ledger.table, Some(Table::Folder("/var/lib/usage".into())));
    assert_eq!(gateway.query.memory, Memory::Bytes(2 << 30));
}

#[test]
fn budgets_are_shared_only_where_a_server_is_named() {
    assert_eq!(
        good("kind: Gateway\nmetadata: {name: a}\nspec: {budgets: {}}").gateway.pool,
        None
    );
    let named = good("kind: Gateway\nmetadata: {name: a}\nspec: {budgets: {redis: {url: \"valkey://10.0.0.7\"}}}");
    let expected = Pool {
        url: Secret::new("valkey://10.0.0.7"),
        prefix: "tollgate".into(),
        timeout: Duration::from_millis(250),
        grace: Duration::from_secs(10),
        on_outage: OnOutage::Leases,
    };
    assert_eq!(named.gateway.pool, Some(expected));
}

#[test]
fn templates_tell_fields_or_lend_a_codec() {
    let resources = good(
        r#"
kind: LlmProviderTemplate
metadata: {name: acme}
spec:
  promptTokens: {location: payload, identifier: $.usage.in}
  requestModel: {location: pathParam, identifier: "^/model/([^/]+)/"}
  remainingTokens: {location: header, identifier: x-remaining}
  on_client_abort: cancel
  resourceMappings:
    resources:
      - {resource: "/v1/chat/*", promptTokens: {location: payload, identifier: "$$.usage.prompt"}}
---
kind: LlmProviderTemplate
metadata: {name: sglang}
spec: {codec: openai}
---
kind: LlmProvider
metadata: {name: local}
spec: {template: sglang, context: /local, region: eu, upstream: {url: "http://127.0.0.1:8000/base/", ca: null}}
---
kind: Gateway
metadata: {name: gw}
spec: {default_provider: local}
"#,
    );
    let acme = resources.template("acme").expect("it is declared");
    assert_eq!(acme.on_client_abort, Some(OnClientAbort::Cancel));
    let Dialect::Described {
        fields,
        resources: mapped,
    } = &acme.dialect
    else {
        panic!("it has no codec")
    };
    let prompt = fields.prompt_tokens.as_ref().expect("it is told");
    assert_eq!(
        (prompt.location, prompt.identifier.as_str()),
        (Location::Payload, "$.usage.in")
    );
    let [chat] = mapped.as_slice() else {
        panic!("one resource is mapped")
    };
    assert_eq!(
        chat.fields.prompt_tokens.as_ref().map(|field| field.identifier.as_str()),
        Some("$.usage.prompt")
    );
    let local = resources.default_provider().expect("it is named");
    assert_eq!(local.upstream.urls.first().map(|weighted| weighted.url.path()), Some("/base"));
    assert_eq!(local.upstream.auth, Auth::None);
    assert_eq!(local.region.as_ref().map(|region| region.as_str()), Some("eu"));
}

#[test]
fn a_key_may_be_a_hash_and_allow_its_callers_something() {
    let resources = good(
        r#"
kind: ApiKey
metadata: {name: a}
spec:
  value_sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  disabled: true
  expires: 2026-12-31T23:59:59+01:00
  caller_may: [user, agent, session, tags]
---
kind: ApiKey
metadata: {name: b}
spec: {value: "${file:secret}"}
"#,
    );
    let [a, b] = resources.keys.as_slice() else {
        panic!("two keys are configured")
    };
    assert_eq!(a.hash, Some(KeyHash::of("")));
    assert!(a.disabled);
    assert_eq!(a.callers_may, CallersMay::ALL);
    assert_eq!(a.expires, Some(Timestamp::from_unix_us(1_798_757_999_000_000)));
    assert_eq!(b.hash, Some(KeyHash::of("sk-file-0123456789")));
}

#[test]
fn a_key_may_be_one_that_aws_clients_sign_with() {
    let resources = good(
        r#"
kind: ApiKey
metadata: {name: a}
spec: {aws: {access_key_id: TGK_example00001, secret_access_key: "0123456789/abcdef+0123456789abcd"}}
---
kind: ApiKey
metadata: {name: b}
spec: {value: tg-0123456789abcdef, aws: {access_key_id: TGKEXAMPLE000002, secret_access_key: "0123456789/abcdef+0123456789abcd"}}
"#,
    );
    let [a, b] = resources.keys.as_slice() else {
        panic!("two keys are configured")
    };
    let aws = a.aws.as_ref().expect("it has one");
    assert_eq!(
        (&*aws.access_key_id, aws.secret_access_key.expose()),
        ("TGK_example00001", "0123456789/abcdef+0123456789abcd")
    );
    assert_eq!((a.hash, b.hash), (None, Some(KeyHash::of("tg-0123456789abcdef"))));
    assert!(!format!("{resources:?}").contains("abcdef"));
}

#[test]
fn bare_prices_are_taken_digit_by_digit() {
    let resources = good(
        r#"
kind: PriceList
metadata: {name: a}
spec:
  provider: openai
  currency: EUR
  source: contract
  prices:
    - {model: m, meter: input, per: 1000000, price: 2.10, effective_from: 2026-01-01, effective_to: 2026-02-01}
    - {model: m, meter: input, per: 1000000, price: 0.000000000001, effective_from: 2026-02-01, source: letter}
    - {model: m, meter: input, per: 1, price: 1, service_tier: flex, region: us, context_above: 272000, discount: 0.15, unit: tokens, effective_from: 2026-02-01}
    - {model: m, meter: output, per: 1, price: "0", service_tier: default, effective_from: 2026-01-01T12:00:00+12:00}
"#,
    );
    let prices = &resources.price_lists.first().expect("it is configured").prices;
    let shown: Vec<String> = prices.iter().map(|price| price.price.to_string()).collect();
    assert_eq!(shown, ["2.1", "0.000000000001", "1", "0"]);
    let sources: Vec<_> = prices.iter().map(|price| price.source.as_deref()).collect();
    assert_eq!(
        sources,
        [Some("contract"), Some("letter"), Some("contract"), Some("contract")]
    );
    let [.., tiered, output] = prices.as_slice() else {
        panic!("four prices are configured")
    };
    assert_eq!(
        (tiered.context_above, tiered.discount.to_string().as_str()),
        (Some(272_000), "0.15")
    );
    assert_eq!(output.service_tier, None);
    assert_eq!(output.effective_from, Timestamp::from_unix_us(1_767_225_600_000_000));
}

#[test]
fn negotiated_prices_are_for_an_org_or_a_team() {
    let resources = good(
        r#"
kind: PriceList
metadata: {name: acme}
spec:
  provider: openai
  currency: USD
  source: contract 4711
  for: {org: acme, team: growth}
  adjustments:
    - {discount: "12.5%", effective_from: 2026-01-01, effective_to: 2027-01-01}
    - {model: "gpt-5*", meter: output, markup: 3%, effective_from: 2026-01-01, source: annex B}
    - {discount: 100%, effective_from: 2027-01-01}
---
kind: PriceList
metadata: {name: other}
spec: {provider: openai, currency: USD, for: {org: acme}, prices: [{model: m, meter: input, per: 1, price: "1", discount: "15%", effective_from: 2026-01-01}]}
"#,
    );
    let [acme, other] = resources.price_lists.as_slice() else {
        panic!("two lists are configured")
    };
    let told: Vec<_> = acme
        .terms
        .adjustments
        .iter()
        .map(|one| {
            let source = one.source.as_deref().unwrap_or_default();
            (one.model.as_str(), one.meter, one.discount.to_string(), source)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("*", None, "0.125".to_owned(), "contract 4711"),
            ("gpt-5*", Some(tollgate_record::Meter::Output), "-0.03".to_owned(), "annex B"),
            ("*", None, "1".to_owned(), "contract 4711"),
        ]
    );
    assert_eq!(acme.terms.precedence(), tollgate_record::Precedence::OrgAndTeam);
    assert!(acme.prices.is_empty());
    let discount = other.prices.first().map(|price| price.discount.to_string());
    assert_eq!(
        (other.terms.precedence(), discount.as_deref()),
        (tollgate_record::Precedence::Org, Some("0.15"))
    );
}

#[test]
fn price_lists_are_read_alone_with_their_lines() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("prices.yaml");
    let text = "kind: LlmProvider\nmetadata: {name: broken}\n---\nkind: PriceList\nmetadata: {name: a}\nspec:\n  provider: nobody\n  currency: USD\n  \
                adjustments:\n    - {discount: 5%, effective_from: 2026-01-01}\n  prices:\n    \
                - {model: m, meter: input, per: 1, price: \"1\", effective_from: 2026-01-01}\n\n    \
                - {model: m, meter: output, per: 1, price: \"1\", effective_from: 2026-01-01}\n";
    std::fs::write(&path, text).expect("it can be written");
    let lists = crate::price_lists(&path, &|_| None).expect("the list is right, and the provider is passed over");
    let [declared] = lists.as_slice() else {
        panic!("one list is declared")
    };
    assert_eq!(
        (declared.lines.as_slice(), declared.adjustment_lines.as_slice()),
        (&[12, 14][..], &[10][..])
    );
    assert!(
        declared.place.contains("prices.yaml, document 2 (PriceList a)"),
        "{}",
        declared.place
    );
    std::fs::write(&path, "kind: Gateway\nmetadata: {name: a}\n").expect("it can be written");
    let problems = crate::price_lists(&path, &|_| None).expect_err("there is no list");
    assert!(problems.to_string().contains("no document of kind PriceList"), "{problems}");
}

#[test]
fn every_shipped_template_serves_a_provider_and_lends_its_codec() {
    for (name, codec) in SHIPPED_TEMPLATES {
        let text = format!(
            "kind: LlmProviderTemplate\nmetadata: {{name: acme}}\nspec: {{codec: {name}}}\n---\n\
             kind: LlmProvider\nmetadata: {{name: a}}\nspec: {{template: {name}, context: /a, upstream: {{url: 'http://a'}}}}\n---\n\
             kind: LlmProvider\nmetadata: {{name: b}}\nspec: {{template: acme, context: /b, upstream: {{url: 'http://b'}}}}\n"
        );
        let resources = good(&text);
        for provider in &resources.providers {
            let template = resources.template(provider.template.as_str()).expect("it exists");
            assert_eq!(template.codec(), Some(codec), "{name}");
            assert_eq!(resources.openai_compatible(provider), codec.speaks_openai());
        }
    }
    let stopped = |name: &str| {
        good("kind: Gateway\nmetadata: {name: a}\n")
            .template(name)
            .and_then(|template| template.on_client_abort)
    };
    assert_eq!(
        (stopped("xai"), stopped("groq"), stopped("openai")),
        (Some(OnClientAbort::Cancel), None, None)
    );
}

#[test]
fn requests_are_signed_with_what_is_told() {
    let auth = |fields: &str| {
        let spec = format!("{{template: awsbedrock, context: /a, upstream: {{url: 'http://a', auth: {{type: sigv4, {fields}}}}}}}");
        let mut resources = good(&format!("kind: LlmProvider\nmetadata: {{name: a}}\nspec: {spec}\n"));
        resources.providers.remove(0).upstream.auth
    };
    let Auth::Sigv4 {
        region,
        service,
        access_key_id,
        secret_access_key,
        session_token,
    } = auth("region: eu-central-1, access_key_id: '${env:LEDGER_KEY_ID}', secret_access_key: '${file:secret}'")
    else {
        panic!("a signature is configured")
    };
    assert_eq!((region.as_str(), service.as_str()), ("eu-central-1", DEFAULT_SIGNED_SERVICE));
    assert_eq!(
        (access_key_id.expose(), secret_access_key.expose()),
        ("AKIAEXAMPLE", "sk-file-0123456789")
    );
    assert!(session_token.is_none());
    let temporary = auth("region: r, service: execute-api, access_key_id: a, secret_access_key: b, session_token: c");
    assert!(
        matches!(&temporary, Auth::Sigv4 { service, session_token: Some(token), .. } if service.as_str() == "execute-api" && token.expose() == "c")
    );
    assert!(!format!("{temporary:?}").contains("\"c\""));
}

#[test]
fn the_shipped_lists_load() {
    let mut count = 0;
    for entry in std::fs::read_dir(prices()).expect("the lists are in the repository") {
        let path = entry.expect("it can be listed").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let list = crate::shipped_prices(&text).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        assert!(list.shipped);
        count += list.prices.len();
    }
    assert!(count > 1000, "{count} prices");
}

#[test]
fn a_shipped_list_is_one_list() {
    let list = "kind: PriceList\nmetadata: {name: a}\nspec: {provider: x, currency: USD, prices: [{model: m, meter: input, per: 1, price: 1, effective_from: 2026-01-01}]}\n";
    assert!(crate::shipped_prices(list).is_ok());
    let problems = |text: &str| crate::shipped_prices(text).expect_err("it is not one list").to_string();
    assert_eq!(problems(""), "shipped prices: has no document: nothing is declared");
    assert_eq!(
        problems(&format!("{list}---\n{list}")),
        "shipped prices: has more than one document"
    );
    assert_eq!(
        problems("kind: Gateway\nmetadata: {name: a}\n"),
        "shipped prices, document 1 (Gateway a), line 1: kind: is not PriceList"
    );
}

#[test]
fn the_files_of_a_folder_are_one_configuration() {
    let folder = super::folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it can be written");
    write(
        "10-provider.yaml",
        "kind: LlmProvider\nmetadata: {name: a}\nspec: {template: t, context: /a, upstream: {url: 'http://a'}}\n",
    );
    write(
        "20-template.yml",
        "kind: LlmProviderTemplate\nmetadata: {name: t}\nspec: {codec: anthropic}\n",
    );
    write("30-comments.yaml", "# nothing yet\n");
    write(".hidden.yaml", "kind: Nonsense\n");
    write("notes.txt", "kind: Nonsense\n");
    let environment = |_: &str| None;
    let first = crate::load(folder.path(), &environment).expect("it is right");
    assert_eq!(first.providers.len(), 1);
    assert_eq!(
        first.fingerprint,
        crate::load(folder.path(), &environment).expect("it is right").fingerprint
    );
    write("30-comments.yaml", "# still nothing\n");
    assert_ne!(
        first.fingerprint,
        crate::load(folder.path(), &environment).expect("it is right").fingerprint
    );
    write("40-bad.yaml", "kind: Nonsense\n");
    let problems = crate::load(folder.path(), &environment)
        .expect_err("one file is wrong")
        .to_string();
    assert!(
        problems.starts_with("40-bad.yaml, document 1 (Nonsense), line 1: "),
        "{problems}"
    );
}

#[test]
fn a_table_in_an_object_store_is_reached_as_told() {
    let store = |table: &str, store: &str| {
        let yaml = format!("kind: Gateway\nmetadata: {{name: gw}}\nspec: {{ledger: {{table: \"{table}\", store: {{{store}}}}}}}\n");
        let ledger = good(&yaml).gateway.ledger;
        (ledger.table.expect("it is told"), ledger.store)
    };
    let (table, told) = store(
        "s3://ledger/tollgate/usage/",
        "endpoint: \"http://127.0.0.1:9000\", allow_http: true, region: eu-central-1, addressing: virtual_hosted, \
         access_key_id: AKIA, secret_access_key: \"${env:OPENAI_API_KEY}\", session_token: \"${file:secret}\", \
         connect_timeout: 1s, request_timeout: 10s, retry_timeout: 5s",
    );
    assert_eq!(table, Table::Bucket(Cloud::S3, "s3://ledger/tollgate/usage/".to_owned()));
    assert_eq!(told.endpoint.as_ref().map(url::Url::as_str), Some("http://127.0.0.1:9000/"));
    assert!(told.allow_http);
    assert_eq!(
        (told.region.as_deref(), told.addressing),
        (Some("eu-central-1"), Addressing::VirtualHosted)
    );
    let seconds = (
        told.connect_timeout.as_secs(),
        told.request_timeout.as_secs(),
        told.retry_timeout.as_secs(),
    );
    assert_eq!(seconds, (1, 10, 5));
    let Credentials::Aws {
        access_key_id,
        secret_access_key,
        session_token,
    } = &told.credentials
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        (access_key_id.as_str(), secret_access_key.expose()),
        ("AKIA", "sk-live-0123456789")
    );
    assert_eq!(session_token.as_ref().map(crate::Secret::expose), Some("sk-file-0123456789"));
    assert!(!format!("{told:?}").contains("sk-"), "{told:?}");

    let (table, told) = store("s3://ledger", "");
    assert_eq!(
        (table, told),
        (Table::Bucket(Cloud::S3, "s3://ledger".to_owned()), Store::default())
    );
    let (_, told) = store("gs://ledger/usage", "service_account: '{\"private_key\": \"x\"}'");
    assert!(matches!(told.credentials, Credentials::GoogleServiceAccount(_)), "{told:?}");
    let (_, told) = store("az://ledger/usage", "account: acme, access_key: c2VjcmV0");
    assert_eq!(told.account.as_deref(), Some("acme"));
    assert!(matches!(told.credentials, Credentials::AzureKey(_)), "{told:?}");
    let (_, told) = store("az://ledger/usage", "account: acme, sas_token: \"sv=2021&sig=x\"");
    assert!(matches!(told.credentials, Credentials::AzureSas(_)), "{told:?}");
    let (_, told) = store(
        "az://ledger/usage",
        "account: acme, tenant_id: t, client_id: c, client_secret: s, ca: cert.pem",
    );
    assert!(
        matches!(told.credentials, Credentials::AzureClient { .. }) && told.ca.is_some(),
        "{told:?}"
    );
}

#[test]
fn a_proxy_takes_what_it_says_and_leaves_the_rest_to_its_provider() {
    let resources = good(
        r#"
kind: LlmProxy
metadata: {name: assistant}
spec:
  provider: openai
  context: /assistant
  models: {allow: ["gpt-5*", "org/*"], deny: ["*-preview"]}
  accessControl: {mode: deny_all, exceptions: [{path: /v1/chat/completions, methods: [POST]}]}
  defaults: {model: gpt-5-mini, max_tokens: 1024}
---
kind: LlmProxy
metadata: {name: openai}
spec: {provider: openai, context: /all, models: {allow: ["*"], deny: []}}
---
kind: LlmProvider
metadata: {name: openai}
spec: {template: openai, context: /openai, upstream: {url: "https://api.openai.com"}}
"#,
    );
    let [assistant, all] = resources.proxies.as_slice() else {
        panic!("two proxies are configured")
    };
    assert_eq!(
        (assistant.name.as_str(), assistant.provider.as_str()),
        ("assistant", "openai")
    );
    assert_eq!(assistant.context, "/assistant");
    for (model, allowed) in [
        ("gpt-5", true),
        ("org/a/b", true),
        ("gpt-4o", false),
        ("gpt-5-Preview", false),
    ] {
        assert_eq!(assistant.models.allows(model), allowed, "{model}");
    }
    assert_eq!(assistant.access.mode, AccessMode::DenyAll);
    assert_eq!(assistant.access.exceptions.len(), 1);
    let model = assistant.defaults.model.as_ref().map(|model| model.as_str());
    assert_eq!((model, assistant.defaults.max_tokens), (Some("gpt-5-mini"), Some(1024)));
    assert!(all.models.allows_everything());
    assert_eq!(all.access.mode, AccessMode::AllowAll);
    assert_eq!(all.defaults, crate::llm_proxy::ProxyDefaults::default());
}

#[test]
fn a_provider_may_have_several_urls() {
    let resources = good(
        r#"
kind: LlmProvider
metadata: {name: llama}
spec:
  template: vllm
  context: /llama
  upstream: {ca: cert.pem, urls: [{url: "https://a.example/base/", weight: 3}, {url: "http://a.example/base"}]}
"#,
    );
    let urls: Vec<(&str, u32)> = resources
        .providers
        .iter()
        .flat_map(|provider| &provider.upstream.urls)
        .map(|weighted| (weighted.url.as_str(), weighted.weight))
        .collect();
    assert_eq!(urls, [("https://a.example/base", 3), ("http://a.example/base", 1)]);
}

#[test]
fn limits_of_models_are_read_as_they_stand() {
    let resources = good(
        "kind: ModelLimits\nmetadata: {name: own}\nspec:\n  provider: openai\n  source: a card\n  models:\n    - {model: 'm-*', input_tokens: 400000}\n    - {model: m, output_tokens: 7, source: another}\n",
    );
    let limits = resources.model_limits.first().expect("one is declared");
    assert!(!limits.shipped && limits.name.as_str() == "own" && limits.provider.as_str() == "openai");
    let told: Vec<_> = limits
        .models
        .iter()
        .map(|limit| {
            (
                limit.model.as_str(),
                limit.input_tokens,
                limit.output_tokens,
                limit.source.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("m-*", Some(400_000), None, Some("a card")),
            ("m", None, Some(7), Some("another"))
        ]
    );
}

#[test]
fn the_shipped_limits_load_and_are_of_models_that_have_prices() {
    let mut count = 0;
    for entry in std::fs::read_dir(super::limits()).expect("the limits are in the repository") {
        let path = entry.expect("it can be listed").path();
        let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("it can be read");
        let limits = crate::shipped_limits(&read(&path)).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        assert!(limits.shipped && limits.models.iter().all(|limit| limit.source.is_some()));
        let prices = prices().join(path.file_name().expect("it is a file"));
        let prices = crate::shipped_prices(&read(&prices)).expect("the list of prices loads");
        assert_eq!(limits.provider, prices.provider);
        let priced: std::collections::HashSet<_> = prices.prices.iter().map(|price| &price.model).collect();
        for limit in &limits.models {
            assert!(
                priced.contains(&limit.model),
                "{} has no price in {}",
                limit.model,
                prices.name
            );
        }
        count += limits.models.len();
    }
    assert_eq!(count, 798, "as docs/prices.md says");
}
