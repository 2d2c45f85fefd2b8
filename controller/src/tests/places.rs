//! Organisations, teams, projects, services and users, and what keys get of them.

use tollgate_record::{Holder, Name};

use super::good::good;

const PLACES: &str = r#"
kind: Organization
metadata: {name: "R&D, Berlin"}
spec: {attributes: {cost_center: "4711"}}
---
kind: Team
metadata: {name: growth}
spec: {org: "R&D, Berlin", models: {deny: ["*-preview"]}, attributes: {email: growth@acme.example}}
---
kind: Project
metadata: {name: ads}
spec: {team: growth}
---
kind: Service
metadata: {name: bot}
spec: {project: ads, operations: {allow: [chat, "/v1/models*"]}}
---
kind: User
metadata: {name: ann@acme.example}
spec: {email: ann@acme.example, team: growth}
---
kind: Project
metadata: {name: loose}
---
kind: LlmProvider
metadata: {name: openai}
spec: {template: openai, context: /openai, upstream: {url: "https://api.openai.com"}}
---
kind: LlmProxy
metadata: {name: assistant}
spec: {provider: openai, context: /assistant, models: {allow: ["*"]}}
---
"#;

/// Org, team, project, service and user of a key, and the rules that its calls are held against.
fn key(spec: &str) -> ([Option<String>; 5], Vec<(Holder, String)>) {
    let resources = good(&format!(
        "{PLACES}kind: ApiKey\nmetadata: {{name: k}}\nspec: {{value: tg-0123456789abcdef, {spec}}}\n"
    ));
    let [key] = resources.keys.as_slice() else {
        panic!("{:?}", resources.keys)
    };
    let text = |name: &Option<Name>| name.as_ref().map(ToString::to_string);
    let identity = &key.identity;
    let place = [
        &identity.org,
        &identity.team,
        &identity.project,
        &identity.service,
        &identity.user,
    ];
    let rules = key
        .access
        .iter()
        .map(|rules| (rules.holder, rules.name.to_string()))
        .collect();
    (place.map(text), rules)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_key_is_in_the_places_above_those_that_it_names() {
    let above = [some("R&D, Berlin"), some("growth"), some("ads"), some("bot"), None];
    let (place, rules) = key("service: bot");
    assert_eq!(place, above);
    assert_eq!(
        rules,
        [(Holder::Service, "bot".to_owned()), (Holder::Team, "growth".to_owned())]
    );
    assert_eq!(key("service: bot, project: ads, team: growth, org: \"R&D, Berlin\"").0, above);

    let (place, rules) = key("user: ann@acme.example, models: {allow: [gpt-x]}");
    assert_eq!(
        place,
        [some("R&D, Berlin"), some("growth"), None, None, some("ann@acme.example")]
    );
    assert_eq!(rules, [(Holder::Key, "k".to_owned()), (Holder::Team, "growth".to_owned())]);

    let (place, rules) = key("project: loose, user: somebody");
    assert_eq!(place, [None, None, some("loose"), None, some("somebody")]);
    assert!(rules.is_empty());
}

#[test]
fn what_is_not_declared_may_be_named_where_nothing_of_its_kind_is() {
    let resources = good(
        "kind: Team\nmetadata: {name: growth}\n---\n\
         kind: ApiKey\nmetadata: {name: k}\nspec: {value: tg-0123456789abcdef, team: growth, org: any, project: any, service: any}\n",
    );
    assert_eq!(resources.hierarchy.teams.len(), 1);
}

#[test]
fn what_is_known_of_a_place_is_kept() {
    let resources = good(PLACES.trim_end().trim_end_matches("---"));
    let hierarchy = &resources.hierarchy;
    let organization = hierarchy.organizations.values().next().expect("it is declared");
    assert_eq!(organization.attributes.iter().collect::<Vec<_>>(), [("cost_center", "4711")]);
    let user = hierarchy.users.values().next().expect("it is declared");
    assert_eq!(user.email.as_deref(), Some("ann@acme.example"));
    let growth = Name::new("growth").expect("a name");
    let team = hierarchy.teams.get(&growth).expect("it is declared");
    assert_eq!(team.attributes.iter().collect::<Vec<_>>(), [("email", "growth@acme.example")]);
    assert!(team.access.models.allows("gpt-x") && !team.access.models.allows("gpt-x-preview"));
}

#[test]
fn lists_that_say_nothing_allow_everything() {
    let resources = good(&format!(
        "{PLACES}kind: ApiKey\nmetadata: {{name: k}}\nspec: {{value: tg-0123456789abcdef, proxies: {{allow: [assistant]}}}}\n"
    ));
    let [key] = resources.keys.as_slice() else {
        panic!("{:?}", resources.keys)
    };
    let [rules] = &*key.access else { panic!("{:?}", key.access) };
    assert!(rules.models.allows_everything() && rules.operations.allows_everything());
    assert!(rules.proxies.allows("assistant") && !rules.proxies.allows("other"));
}
