//! The table in an object store: several gateways append to it, stores fail and come back, answers are lost, and every call is one row.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use crate::crash::{SEEN, complete};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::ledger::Row;
use crate::harness::money::Decimal;
use crate::harness::process::eventually;
use crate::harness::s3::{Link, Moto};
use crate::harness::traffic::Traffic;
use crate::harness::world::World;

pub(crate) fn claims() -> Vec<Claim> {
    let all = claims_of![
        four_gateways_append_to_one_table_through_kills,
        two_gateways_append_to_a_table_in_google_cloud_storage,
        calls_and_queries_of_hot_rows_go_on_while_the_store_is_down,
        a_commit_whose_answer_is_lost_is_made_once,
        a_store_is_reached_over_tls_with_a_ca_of_its_own,
        a_new_data_directory_goes_on_after_what_the_table_has,
        a_table_that_was_copied_to_a_store_is_the_same_table,
    ];
    // Waits for time limits of an object store, again and again.
    all.into_iter().map(|claim| claim.limited(Duration::from_secs(600))).collect()
}

/// Never to be seen in a log.
const SECRET: &str = "the-secret-half-of-the-key";

const SUMS: &str = "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, sum(cost) AS cost FROM usage";

/// The longest that a gateway may take to notice that its store is back, and to commit.
const RECOVERY: Duration = Duration::from_secs(180);

/// A gateway whose table is in a bucket.
fn config(name: &str, bucket: &str, endpoint: &str) -> Config {
    let ledger = format!(
        "ledger: {{durability: process, flush: {{rows: 100, interval: 300ms}}, table: \"s3://{bucket}/tollgate/usage\", store: \
         {{endpoint: \"{endpoint}\", allow_http: true, region: us-east-1, access_key_id: test, secret_access_key: {SECRET}, \
         connect_timeout: 1s, request_timeout: 2s, retry_timeout: 1s}}}}"
    );
    Config::standard()
        .replacing("metadata: {name: e2e}", &format!("metadata: {{name: {name}}}"))
        .replacing("ledger: {durability: process, flush: {rows: 200, interval: 1s}}", &ledger)
}

/// A gateway whose table is in a bucket of Google's, with the key of a service account.
fn google_config(name: &str, bucket: &str, endpoint: &str, key: &Path) -> Config {
    let s3 = config(name, bucket, endpoint);
    let credentials = format!("region: us-east-1, access_key_id: test, secret_access_key: {SECRET}");
    s3.replacing(&credentials, &format!("service_account: \"${{file:{}}}\"", key.display()))
        .replacing("s3://", "gs://")
}

/// The rows of a query by `tollgate sql --config`, while no gateway runs on this data directory.
async fn offline(gateway: &Gateway, query: &str) -> Vec<Row> {
    let (config, data) = (gateway.config(), gateway.data());
    let arguments = ["sql", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap(), "--format", "json", query];
    let (output, printed, problem) = gateway.run(&arguments).await;
    assert!(output.status.success(), "{query}\n{printed}{problem}");
    let rows: Vec<Value> = serde_json::from_str(&printed).unwrap();
    rows.into_iter().map(Row).collect()
}

/// What Python's deltalake, pyarrow and Polars say of the table, which must be the same.
async fn outside(world: &World, moto: &Moto, bucket: &str) -> Value {
    let python = &world.stage().await.counterparts.python;
    let script = crate::harness::here("clients/readers.py");
    let table = format!("s3://{bucket}/tollgate/usage");
    let printed = crate::harness::s3::python(python, &[&script, "bucket", &table, &moto.url]).await;
    let said: Value = serde_json::from_str(&printed).unwrap();
    for engine in ["pyarrow", "polars"] {
        assert_eq!(said[engine], said["deltalake"], "{engine}");
    }
    said["deltalake"].clone()
}

#[track_caller]
fn keeps_its_secret(gateway: &Gateway) {
    let logged = gateway.logged();
    assert!(!logged.contains(SECRET), "{logged}");
    assert!(!logged.contains("panicked"), "{logged}");
}

async fn four_gateways_append_to_one_table_through_kills(world: Arc<World>) {
    const CLIENTS: usize = 2;
    let moto = world.moto().await;
    moto.bucket("four").await;
    let names = ["gw-1", "gw-2", "gw-3", "gw-4"];
    let configs = names.map(|name| config(name, "four", &moto.url));
    let mut gateways = join_all(configs.iter().map(|config| world.own_gateway(config))).await;
    let mut acknowledged: [Vec<String>; 4] = Default::default();
    let mut rounds = [1; 4];
    // In turn two are killed while the other two go on, which are killed next.
    let mut traffics: Vec<Option<Traffic>> = gateways.iter().map(|gateway| Some(Traffic::start(gateway, CLIENTS, "four"))).collect();
    for victims in [[0, 2], [1, 3], [0, 1]] {
        for traffic in traffics.iter().flatten() {
            traffic.reach(70).await;
        }
        for victim in victims {
            let traffic = traffics[victim].take().unwrap();
            traffic.reach(100 + 23 * victim).await;
            gateways[victim].kill().await;
            acknowledged[victim].extend(traffic.stop().await);
            rounds[victim] += 1;
        }
        for victim in victims {
            gateways[victim].resume().await;
            traffics[victim] = Some(Traffic::start(&gateways[victim], CLIENTS, "four"));
        }
    }
    for (gateway, traffic) in traffics.into_iter().enumerate() {
        let traffic = traffic.unwrap();
        traffic.reach(70).await;
        acknowledged[gateway].extend(traffic.stop().await);
    }
    let ended = join_all(gateways.iter_mut().map(Gateway::terminate)).await;
    assert!(ended.iter().all(std::process::ExitStatus::success), "{ended:?}");

    let reader = &gateways[0];
    for (gateway, name) in names.iter().enumerate() {
        let rows = offline(reader, &SEEN.replace("FROM usage", &format!("FROM usage WHERE instance = '{name}'"))).await;
        complete(&rows, &acknowledged[gateway], CLIENTS * rounds[gateway]);
        keeps_its_secret(&gateways[gateway]);
    }
    let ours = offline(reader, SUMS).await.remove(0);
    assert!(ours.int("calls") >= Some(acknowledged.iter().map(Vec::len).sum::<usize>() as i64));
    assert!(ours.decimal("cost") > Some(Decimal::ZERO));
    assert_eq!(outside(&world, moto, "four").await, ours.0);
}

async fn two_gateways_append_to_a_table_in_google_cloud_storage(world: Arc<World>) {
    const CLIENTS: usize = 2;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.json");
    let python = &world.stage().await.counterparts.python;
    let moto = Moto::google(python, &key).await;
    moto.bucket("google").await;
    let names = ["gw-1", "gw-2"];
    let configs = names.map(|name| google_config(name, "google", &moto.url, &key));
    let mut gateways = join_all(configs.iter().map(|config| world.own_gateway(config))).await;
    let traffics: Vec<_> = gateways.iter().map(|gateway| Traffic::start(gateway, CLIENTS, "google")).collect();
    // Enough for both to write the same version of the table now and then.
    for traffic in &traffics {
        traffic.reach(300).await;
    }
    gateways[0].kill().await;
    let mut acknowledged = join_all(traffics.into_iter().map(Traffic::stop)).await;
    gateways[0].resume().await;
    let traffic = Traffic::start(&gateways[0], CLIENTS, "google");
    traffic.reach(70).await;
    acknowledged[0].extend(traffic.stop().await);
    let ended = join_all(gateways.iter_mut().map(Gateway::terminate)).await;
    assert!(ended.iter().all(std::process::ExitStatus::success), "{ended:?}");

    for (gateway, name) in names.iter().enumerate() {
        let rows = offline(&gateways[0], &SEEN.replace("FROM usage", &format!("FROM usage WHERE instance = '{name}'"))).await;
        complete(&rows, &acknowledged[gateway], if gateway == 0 { CLIENTS } else { 0 });
        let logged = gateways[gateway].logged();
        assert!(!logged.contains("PRIVATE KEY") && !logged.contains("panicked"), "{logged}");
    }
    let ours = offline(&gateways[0], SUMS).await.remove(0);
    assert_eq!(outside(&world, &moto, "google").await, ours.0);

    // A key that is not the account's gets nothing.
    let stranger = folder.path().join("stranger.json");
    let text = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&stranger, text.replace("ledger@", "stranger@")).unwrap();
    let config = google_config("gw-1", "google", &moto.url, &stranger);
    let configuration = folder.path().join("stranger");
    config.write(&configuration);
    let (configuration, data) = (configuration.to_str().unwrap(), gateways[0].data());
    let arguments = ["sql", "--config", configuration, "--data", data.to_str().unwrap(), SUMS];
    let (output, printed, problem) = gateways[0].run(&arguments).await;
    assert!(!output.status.success(), "{printed}");
    assert!(problem.contains("claims of somebody else"), "{problem}");
}

async fn calls_and_queries_of_hot_rows_go_on_while_the_store_is_down(world: Arc<World>) {
    const CLIENTS: usize = 4;
    let moto = world.moto().await;
    moto.bucket("outage").await;
    let link = Link::to(moto.address()).await;
    let mut gateway = world.own_gateway(&config("gw-1", "outage", &link.url())).await;
    let committed = "SELECT coalesce(sum(num_records), 0) AS calls FROM files";
    let traffic = Traffic::start(&gateway, CLIENTS, "outage");
    let calls_before = eventually("the first commit", RECOVERY, || async {
        gateway.sql(committed).await[0].int("calls").filter(|calls| *calls > 0)
    })
    .await;

    // What the store does not have yet is there to be queried; a sum over all rows is refused rather than told too small.
    let answers_in_part = async |gateway: &Gateway| {
        let hot = gateway.sql("SELECT count(*) AS calls, sum(cost) AS cost FROM hot").await.remove(0);
        assert!(hot.int("calls") > Some(0) && hot.decimal("cost") > Some(Decimal::ZERO), "{}", hot.0);
        let (status, _, body) = gateway.sql_as(SUMS, "application/json").await;
        let error: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &error["error"]["code"]), (500, &Value::from("storage_error")), "{error}");
    };
    let fail = async |gateway: &Gateway| {
        let before = gateway.logged().matches("a flush failed").count();
        let failed = async || (gateway.logged().matches("a flush failed").count() > before).then_some(());
        eventually("flushes fail", RECOVERY, failed).await;
    };
    link.cut();
    fail(&gateway).await;
    traffic.reach(200).await;
    answers_in_part(&gateway).await;
    // A crash meanwhile: the gateway starts without its table, and knows where it was.
    gateway.kill().await;
    let mut acknowledged = traffic.stop().await;
    gateway.resume().await;
    let traffic = Traffic::start(&gateway, CLIENTS, "outage");
    traffic.reach(100).await;
    answers_in_part(&gateway).await;
    link.mend();
    let more = |row: &Row| row.int("calls").filter(|calls| *calls > calls_before);
    eventually("commits go on", RECOVERY, || async {
        // Table `files` comes with the table.
        let logged = gateway.logged();
        if !logged.contains("the table was reached") {
            return None;
        }
        more(&gateway.sql(committed).await[0])
    })
    .await;
    link.silence();
    fail(&gateway).await;
    traffic.reach(250).await;
    answers_in_part(&gateway).await;
    acknowledged.extend(traffic.stop().await);
    link.mend();
    eventually("everything is committed", RECOVERY, || async {
        (gateway.sql("SELECT count(*) AS calls FROM hot").await[0].int("calls") == Some(0)).then_some(())
    })
    .await;
    complete(&gateway.sql(SEEN).await, &acknowledged, CLIENTS);
    let ours = gateway.sql(SUMS).await.remove(0).0;
    assert_eq!(outside(&world, moto, "outage").await, ours);
    assert!(gateway.terminate().await.success());
    keeps_its_secret(&gateway);
}

async fn a_commit_whose_answer_is_lost_is_made_once(world: Arc<World>) {
    let moto = world.moto().await;
    moto.bucket("lost-answers").await;
    let link = Link::to(moto.address()).await;
    let mut gateway = world.own_gateway(&config("gw-1", "lost-answers", &link.url())).await;
    link.lose_answers_of_commits(3);
    let traffic = Traffic::start(&gateway, 4, "lost");
    eventually("three answers are lost", RECOVERY, || async { (link.still_losing() == 0).then_some(()) }).await;
    traffic.reach(150).await;
    let acknowledged = traffic.stop().await;
    assert!(gateway.terminate().await.success());
    complete(&offline(&gateway, SEEN).await, &acknowledged, 0);
    let ours = offline(&gateway, SUMS).await.remove(0).0;
    assert_eq!(outside(&world, moto, "lost-answers").await, ours);
}

async fn a_store_is_reached_over_tls_with_a_ca_of_its_own(world: Arc<World>) {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let python = &world.stage().await.counterparts.python;
    let moto = Moto::start(python, Some((&certificate, &key))).await;
    assert!(moto.url.starts_with("https://"), "{}", moto.url);
    moto.bucket("private").await;
    let secure = config("gw-1", "private", &moto.url).replacing("allow_http: true", &format!("ca: \"{}\"", certificate.display()));
    let mut gateway = world.own_gateway(&secure).await;
    let traffic = Traffic::start(&gateway, 2, "tls");
    traffic.reach(30).await;
    let acknowledged = traffic.stop().await;
    assert!(gateway.terminate().await.success());
    let rows = offline(&gateway, "SELECT instance, seq, call_id, outcome FROM usage ORDER BY seq").await;
    complete(&rows, &acknowledged, 0);
    let hot = offline(&gateway, "SELECT count(*) AS calls FROM hot").await;
    assert_eq!(hot[0].int("calls"), Some(0), "all of them are in the store");
    keeps_its_secret(&gateway);
}

async fn a_new_data_directory_goes_on_after_what_the_table_has(world: Arc<World>) {
    let moto = world.moto().await;
    moto.bucket("restored").await;
    let config = config("gw-1", "restored", &moto.url);
    let mut acknowledged = Vec::new();
    for _ in 0..2 {
        // The second one has a data directory of its own, as after the loss of a disk.
        let mut gateway = world.own_gateway(&config).await;
        let traffic = Traffic::start(&gateway, 2, "restored");
        traffic.reach(60).await;
        acknowledged.extend(traffic.stop().await);
        assert!(gateway.terminate().await.success());
        complete(&offline(&gateway, SEEN).await, &acknowledged, 0);
    }
}

async fn a_table_that_was_copied_to_a_store_is_the_same_table(world: Arc<World>) {
    let moto = world.moto().await;
    moto.bucket("moved").await;
    let mut gateway = world.own_gateway(&Config::standard()).await;
    let traffic = Traffic::start(&gateway, 2, "moved");
    traffic.reach(60).await;
    let mut acknowledged = traffic.stop().await;
    assert!(gateway.terminate().await.success());
    let before = gateway.sql_offline(SUMS).await.remove(0).0;

    let script = crate::harness::here("clients/upload.py");
    let python = &world.stage().await.counterparts.python;
    let folder = gateway.data().join("usage");
    crate::harness::s3::python(python, &[&script, folder.to_str().unwrap(), "s3://moved/tollgate/usage", &moto.url]).await;
    std::fs::rename(&folder, gateway.data().join("moved-away")).unwrap();
    let moved = config("e2e", "moved", &moto.url);
    moved.write(&gateway.config());
    assert_eq!(offline(&gateway, SUMS).await.remove(0).0, before, "the same sums after the move");

    gateway.resume().await;
    let traffic = Traffic::start(&gateway, 2, "moved");
    traffic.reach(60).await;
    acknowledged.extend(traffic.stop().await);
    assert!(gateway.terminate().await.success());
    complete(&offline(&gateway, SEEN).await, &acknowledged, 0);

    // The same by the environment's credentials, as a shell would have them.
    let data = gateway.data();
    let arguments = ["sql", "--table", "s3://moved/tollgate/usage", "--data", data.to_str().unwrap(), "--format", "json", SUMS];
    let environment = [
        ("AWS_ENDPOINT_URL", moto.url.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
    ];
    let output = gateway.command().args(arguments).envs(environment).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[0], offline(&gateway, SUMS).await.remove(0).0);
}
