//! The shipped lists, as the configuration reads them: each is looked at, and what is found is written down here with its reason.

use std::sync::LazyLock;

use tollgate_record::PriceList;

use super::{check, diff, to_yaml};

const SHIPPED: [(&str, &str); 11] = [
    ("anthropic", include_str!("../../../prices/anthropic.yaml")),
    ("awsbedrock", include_str!("../../../prices/awsbedrock.yaml")),
    ("azure-openai", include_str!("../../../prices/azure-openai.yaml")),
    ("cohere", include_str!("../../../prices/cohere.yaml")),
    ("deepseek", include_str!("../../../prices/deepseek.yaml")),
    ("gemini", include_str!("../../../prices/gemini.yaml")),
    ("groq", include_str!("../../../prices/groq.yaml")),
    ("mistral", include_str!("../../../prices/mistral.yaml")),
    ("openai", include_str!("../../../prices/openai.yaml")),
    ("together", include_str!("../../../prices/together.yaml")),
    ("xai", include_str!("../../../prices/xai.yaml")),
];

/// Read once for all tests.
static LISTS: LazyLock<Vec<PriceList>> = LazyLock::new(|| {
    let read = |yaml| tollgate_controller::shipped_prices(yaml).unwrap();
    SHIPPED.iter().map(|(_, yaml)| read(yaml)).collect()
});

#[test]
fn every_shipped_list_is_of_its_provider_in_dollars_and_says_where_each_price_is_from() {
    for (list, (provider, _)) in LISTS.iter().zip(SHIPPED) {
        assert_eq!((list.provider.as_str(), list.currency.as_str()), (provider, "USD"));
        assert_eq!(list.name.as_str(), format!("{provider}-public"));
        assert!(
            list.prices
                .iter()
                .all(|price| price.source.as_deref().is_some_and(|source| source.contains("2026-1"))),
            "{provider}"
        );
    }
}

#[test]
fn nothing_is_found_in_the_shipped_lists_that_has_no_reason() {
    let found: Vec<String> = check(&LISTS).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            // Together gives the output of this model away.
            "together-public: together/Tev1-4B-experimental, output: 0 per 1000000, less than input at 0.04 per 1000000",
        ]
    );
}

#[test]
fn every_shipped_list_is_read_back_as_it_was_when_it_is_written() {
    for list in LISTS.iter() {
        let again = tollgate_controller::shipped_prices(&to_yaml(list)).unwrap();
        assert_eq!(diff(std::slice::from_ref(list), std::slice::from_ref(&again)), []);
        assert_eq!(*list, again);
    }
}
