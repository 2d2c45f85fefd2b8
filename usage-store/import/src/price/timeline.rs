//! Prices that change on dates, put together from one picture a period.

use std::collections::BTreeMap;

use tollgate_record::{Amount, Price, PriceList, Timestamp};

use super::scope::Scope;

/// What holds in a period: the price of `per` units of each scope.
pub(super) type Picture = BTreeMap<Scope, (Amount, u64)>;

/// Makes prices of pictures that follow each other; each begins when the one before it ends. A price that stays the same over a change
/// of others is one price.
pub(super) fn prices(pictures: &[(Timestamp, Picture)], source: &str) -> Vec<Price> {
    let mut open: BTreeMap<&Scope, Price> = BTreeMap::new();
    let mut done = Vec::new();
    for (from, picture) in pictures {
        let ended: Vec<&Scope> = open.keys().copied().filter(|scope| !picture.contains_key(scope)).collect();
        for scope in ended {
            done.extend(open.remove(scope).map(|price| until(price, *from)));
        }
        for (scope, (amount, per)) in picture {
            if open
                .get(scope)
                .is_some_and(|price| (price.price, price.per) == (*amount, *per))
            {
                continue;
            }
            let price = Price {
                model: scope.model.clone(),
                region: scope.region.clone(),
                service_tier: scope.service_tier.clone(),
                context_above: scope.context_above,
                meter: scope.meter,
                per: *per,
                price: *amount,
                discount: Amount::ZERO,
                effective_from: *from,
                effective_to: None,
                source: Some(source.into()),
            };
            done.extend(open.insert(scope, price).map(|earlier| until(earlier, *from)));
        }
    }
    done.extend(open.into_values());
    done
}

/// Puts the prices of a list into the order in which people read them: model, region, tier, context, meter, time.
pub(super) fn sort(list: &mut PriceList) {
    list.prices
        .sort_by_cached_key(|price| (Scope::of(price), price.effective_from));
}

fn until(price: Price, to: Timestamp) -> Price {
    Price {
        effective_to: Some(to),
        ..price
    }
}
