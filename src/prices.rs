//! The price lists that come with the gateway, and those of the operator, as one book.

use anyhow::Context;
use tollgate_record::PriceList;
use tollgate_usage_store::PriceBook;

const SHIPPED: [&str; 2] = [
    include_str!("../usage-store/prices/openai.yaml"),
    include_str!("../usage-store/prices/anthropic.yaml"),
];

/// The shipped lists.
pub(crate) fn shipped() -> anyhow::Result<Vec<PriceList>> {
    SHIPPED
        .iter()
        .map(|yaml| tollgate_controller::shipped_prices(yaml).context("a shipped price list is wrong"))
        .collect()
}

/// The operator's lists and the shipped ones.
pub(crate) fn book(own: &[PriceList], shipped: &[PriceList]) -> PriceBook {
    PriceBook::new(own.iter().chain(shipped).cloned().collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_shipped_lists_are_read_and_price_both_providers() {
        let lists = super::shipped().unwrap();
        let providers: Vec<_> = lists.iter().map(|list| list.provider.as_str()).collect();
        assert_eq!(providers, ["openai", "anthropic"]);
        assert!(lists.iter().all(|list| list.shipped && list.prices.len() > 100));
    }
}
