//! Alerts of budgets, and the webhooks that they are sent to, that are right.

use tollgate_record::Name;
use tollgate_record::rule::AlertKind;

use super::good::good;
use crate::{AlertWebhook, Secret};

const BUDGETS: &str = "kind: Budget\nmetadata: {name: a}\nspec: {limit: 1 USD, window: day}\n---\n\
                       kind: Budget\nmetadata: {name: b}\nspec: {limit: 1 USD, window: day}\n---\n";

/// The only webhook of a spec.
fn webhook(spec: &str) -> AlertWebhook {
    let resources = good(&format!(
        "{BUDGETS}kind: AlertWebhook\nmetadata: {{name: w}}\nspec: {{{spec}}}\n"
    ));
    let [webhook] = resources.alert_webhooks.as_slice() else {
        panic!("{:?}", resources.alert_webhooks)
    };
    webhook.clone()
}

fn secrets(webhook: &AlertWebhook) -> Vec<&str> {
    webhook.secrets.iter().map(Secret::expose).collect()
}

#[test]
fn a_webhook_says_what_it_leaves_out() {
    let told = webhook("url: \"https://hooks.example.com/alerts\", secret: \"${env:ALERT_SECRET}\"");
    assert_eq!(
        (told.name.as_str(), told.url.as_str()),
        ("w", "https://hooks.example.com/alerts")
    );
    assert_eq!(secrets(&told), ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    assert!(told.headers.is_empty() && told.ca.is_none() && told.budgets.is_empty() && told.kinds.is_empty());
    assert!(!format!("{told:?}").contains("whsec"), "{told:?}");
}

#[test]
fn a_webhook_takes_what_it_says() {
    let told = webhook(
        r#"url: "https://h.example", secrets: ["${env:ALERT_SECRET}", "${env:ALERT_SECRET_NEW}"], headers: {x-team: finops}, ca: cert.pem,
           budgets: [b, a], kinds: [anomaly, threshold]"#,
    );
    assert_eq!(
        secrets(&told),
        [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
        ]
    );
    assert_eq!(told.budgets.iter().map(Name::as_str).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(told.kinds, [AlertKind::Anomaly, AlertKind::Threshold]);
    assert!(told.headers.len() == 1 && told.ca.is_some());
}

#[test]
fn a_budget_tells_by_percentages_and_by_words() {
    let alerts = |alerts: &str| {
        let resources = good(&format!(
            "kind: Budget\nmetadata: {{name: b}}\nspec: {{limit: 1 USD, window: day, alerts: {alerts}}}\n"
        ));
        let budget = resources.budgets.first().cloned().expect("there is one");
        (budget.alerts, budget.alert_projected, budget.alert_anomaly)
    };
    assert_eq!(alerts("[anomaly, 80, projected, 50%]"), (vec![50, 80], true, true));
    assert_eq!(alerts("[projected]"), (vec![], true, false));
    assert_eq!(alerts("[]"), (vec![], false, false));
}
