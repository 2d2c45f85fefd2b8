//! A configuration that changes is taken over whole; one with a mistake changes nothing, and says where the mistake is.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::call::{Api, Call, Target};
use crate::harness::claim::{Claim, claims_of};
use crate::harness::config::Config;
use crate::harness::gateway::Gateway;
use crate::harness::money::Decimal;
use crate::harness::process::eventually;
use crate::harness::raw;
use crate::harness::world::{KEY, World};

pub(crate) fn claims() -> Vec<Claim> {
    claims_of![a_changed_configuration_is_applied_whole, a_wrong_configuration_changes_nothing_and_is_reported, a_changed_price_holds_for_later_calls]
}

/// The longest that a change may take to be noticed.
const NOTICED: Duration = Duration::from_secs(20);

const KEY_OF_TEAM_B: &str = "tg-e2e-key-of-team-b-001";

fn key_document() -> String {
    format!("apiVersion: tollgate/v1\nkind: ApiKey\nmetadata: {{name: team-b}}\nspec: {{value: {KEY_OF_TEAM_B}, team: b}}\n")
}

async fn status(gateway: &Gateway, key: &str) -> u16 {
    let target = Target::new(format!("{}/openai", gateway.url()), key);
    raw::send(raw::request(&reqwest::Client::new(), &Call::new(Api::Chat), &target)).await.status
}

async fn becomes(gateway: &Gateway, key: &str, expected: u16) {
    eventually(format!("{key} is answered {expected}"), NOTICED, || async { (status(gateway, key).await == expected).then_some(()) }).await;
}

async fn a_changed_configuration_is_applied_whole(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    assert_eq!((status(&gateway, KEY).await, status(&gateway, KEY_OF_TEAM_B).await), (200, 401));
    Config::standard().with("team-b.yaml", key_document()).write(&gateway.config());
    becomes(&gateway, KEY_OF_TEAM_B, 200).await;
    let teams = gateway.sql("SELECT DISTINCT team FROM usage ORDER BY team").await;
    assert_eq!(teams.iter().filter_map(|row| row.text("team")).collect::<Vec<_>>(), ["b", "growth"]);
    std::fs::remove_file(gateway.config().join("team-b.yaml")).unwrap();
    becomes(&gateway, KEY_OF_TEAM_B, 401).await;
    assert_eq!(status(&gateway, KEY).await, 200);
}

async fn a_wrong_configuration_changes_nothing_and_is_reported(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    // The key is right, the provider beside it is not: neither may be taken over.
    let wrong = "---\napiVersion: tollgate/v1\nkind: LlmProvider\nmetadata: {name: typo}\nspec: {template: openai, context: /typo, upstreem: {}}\n";
    Config::standard().with("team-b.yaml", key_document() + wrong).write(&gateway.config());
    let log = eventually("the mistake is reported", NOTICED, || async {
        let log = gateway.logged();
        log.contains("upstreem").then_some(log)
    })
    .await;
    assert!(log.contains("team-b.yaml") && log.contains("typo"), "the report names file and document: {log}");
    assert_eq!((status(&gateway, KEY).await, status(&gateway, KEY_OF_TEAM_B).await), (200, 401));
    Config::standard().with("team-b.yaml", key_document()).write(&gateway.config());
    becomes(&gateway, KEY_OF_TEAM_B, 200).await;
}

async fn a_changed_price_holds_for_later_calls(world: Arc<World>) {
    let gateway = world.own_gateway(&Config::standard()).await;
    let priced = |model: &str, price: &str| {
        format!(
            "apiVersion: tollgate/v1\nkind: PriceList\nmetadata: {{name: changing}}\nspec:\n  provider: openai\n  currency: USD\n  prices:\n    \
             - {{model: {model}, meter: input, per: 1, price: \"{price}\", effective_from: 2024-01-01}}\n    \
             - {{model: {model}, meter: output, per: 1, price: \"0\", effective_from: 2024-01-01}}\n"
        )
    };
    let target = Target::new(format!("{}/openai", gateway.url()), KEY);
    let cost = || async {
        let call = Call::new(Api::Chat).model("changing-model").simulate("input=3; output=1");
        let answer = raw::send(raw::request(&reqwest::Client::new(), &call, &target)).await;
        answer.header("x-tollgate-cost").map(Decimal::parse)
    };
    assert_eq!(cost().await, None, "no list knows the model yet");
    // A stream that begins under the first price and takes ten seconds: it ends when the second has long held.
    let mut streaming = None;
    for (price, expected) in [("0.000000000001", "0.000000000003"), ("7", "21")] {
        Config::standard().with("changing.yaml", priced("changing-model", price)).write(&gateway.config());
        let expected = Some(Decimal::parse(expected));
        eventually(format!("the price is {price}"), NOTICED, || async { (cost().await == expected).then_some(()) }).await;
        if streaming.is_none() {
            let call = Call::new(Api::Chat).model("changing-model").streamed().simulate("input=5; output=1; chunks=300; tps=30");
            let request = raw::request(&reqwest::Client::new(), &call, &target.clone().header("x-tollgate-session", "across-a-change"));
            streaming = Some(request.send().await.unwrap());
        }
    }
    let answer = streaming.expect("it began").text().await.unwrap();
    assert!(answer.contains("[DONE]"), "it ended well: {answer}");
    let row = eventually("the stream's row is there", NOTICED, || async { gateway.session("across-a-change").await.pop() }).await;
    assert_eq!(row.decimal("cost"), Some(Decimal::parse("0.000000000005")), "by the book of its start: {}", row.0);
    let lists = gateway.sql("SELECT count(DISTINCT price_version) AS versions, count(DISTINCT CASE WHEN in_force THEN price_version END) AS now FROM prices WHERE price_list = 'changing'").await;
    assert_eq!((lists[0].int("versions"), lists[0].int("now")), (Some(2), Some(1)), "every version is kept: {}", lists[0].0);
    let rows = gateway.sql("SELECT cost, count(DISTINCT price_version) AS versions FROM usage WHERE cost IS NOT NULL GROUP BY cost").await;
    assert_eq!(rows.len(), 3, "earlier rows keep their price: {rows:?}");
    assert!(rows.iter().all(|row| row.int("versions") == Some(1)), "{rows:?}");
}
