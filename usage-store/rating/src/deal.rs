//! What a call pays for a meter: the list price, and what was negotiated on it.

use tollgate_record::{Adjustment, Amount, AmountError, Meter, Name, Precedence, Price, PriceList};

use super::book::{Offer, PriceBook, Prices, Query, stand_in};

/// Every price that holds for one call.
#[derive(Clone)]
pub(super) struct Deals<'a> {
    query: &'a Query<'a>,
    list: Option<Prices<'a>>,
    offers: Vec<Offer<'a>>,
}

/// What a call pays for a meter.
#[derive(Clone, Copy)]
pub(super) struct Deal<'a> {
    /// The list price; `None` if no list for everyone has one.
    pub(super) list: Option<Applied<'a>>,
    pub(super) owed: Owed<'a>,
}

/// A price, and the list that it stands in.
#[derive(Clone, Copy)]
pub(super) struct Applied<'a> {
    pub(super) list: &'a PriceList,
    pub(super) version: &'a Name,
    pub(super) price: &'a Price,
}

/// How what is owed follows.
#[derive(Clone, Copy)]
pub(super) enum Owed<'a> {
    /// A price as it stands in a list.
    Price(Applied<'a>),
    /// A share of the list price.
    Adjusted {
        base: Applied<'a>,
        version: &'a Name,
        adjustment: &'a Adjustment,
    },
}

// === impl Deals ===

impl<'a> Deals<'a> {
    /// Looks up the lists that a call is priced by. Amounts of one currency only: that of the first list with negotiated prices of the model, else
    /// that of the list prices.
    pub(super) fn new(book: &'a PriceBook, query: &'a Query<'a>) -> Self {
        let list = book.list_prices(query);
        let mut offers = book.offers(query);
        let currency = offers
            .iter()
            .find_map(Offer::prices)
            .or(list)
            .map(|prices| &prices.list().currency);
        offers.retain(|offer| offer.prices().is_none_or(|prices| Some(&prices.list().currency) == currency));
        let list = list.filter(|list| Some(&list.list().currency) == currency);
        Self { query, list, offers }
    }

    /// The same lists, asked for another tier, region or context of the same model at the same time.
    pub(super) fn again<'b>(&'b self, query: &'b Query<'b>) -> Deals<'b>
    where
        'a: 'b,
    {
        Deals {
            query,
            list: self.list,
            offers: self.offers.clone(),
        }
    }

    /// Every price of the model that holds at the time, in any tier, region and context.
    pub(super) fn prices(&self) -> impl Iterator<Item = &'a Price> {
        let offered = self.offers.iter().filter_map(Offer::prices);
        let at = self.query.at;
        self.list.into_iter().chain(offered).flat_map(move |prices| prices.at(at))
    }

    /// The currency of every amount.
    pub(super) fn currency(&self) -> Option<&'a Name> {
        let prices = self.list.or_else(|| self.offers.iter().find_map(Offer::prices));
        prices.map(|prices| &prices.list().currency)
    }

    /// Looks at no prices.
    pub(super) fn forget(&mut self) {
        self.list = None;
        self.offers.clear();
    }

    /// The highest context tier that a call of this size is above: calls with the same one have the same prices.
    pub(super) fn context_tier(&self) -> Option<u64> {
        let prices = self.list.into_iter().chain(self.offers.iter().filter_map(Offer::prices));
        prices.filter_map(|prices| prices.context_tier(self.query)).max()
    }

    /// The version of the list that has the list prices.
    pub(super) fn list_version(&self) -> Option<&'a Name> {
        self.list.map(|list| list.version())
    }

    /// What a meter costs.
    pub(super) fn of(&self, meter: Meter) -> Option<Deal<'a>> {
        let list = self.list_price(meter);
        let negotiated = self.offers.iter().find_map(|offer| self.owed(offer, meter, list));
        let owed = negotiated.or(list.map(Owed::Price))?;
        Some(Deal { list, owed })
    }

    /// What reasoning costs, where it has a price of its own; without one it is output.
    pub(super) fn of_reasoning(&self) -> Option<Deal<'a>> {
        let own = self.list_price(Meter::Reasoning);
        if own.is_some() {
            return self.of(Meter::Reasoning);
        }
        let list = self.list_price(Meter::Output);
        for offer in &self.offers {
            if let Some(owed) = self.owed(offer, Meter::Reasoning, list) {
                let named = match owed {
                    Owed::Price(_) => true,
                    Owed::Adjusted { adjustment, .. } => adjustment.meter == Some(Meter::Reasoning),
                };
                return named.then_some(Deal { list, owed });
            }
            if self.owed(offer, Meter::Output, list).is_some() {
                return None;
            }
        }
        None
    }

    /// What one list says of a meter: its own price, else its share of the list price.
    fn owed(&self, offer: &Offer<'a>, meter: Meter, list: Option<Applied<'a>>) -> Option<Owed<'a>> {
        let price = offer.prices().and_then(|prices| {
            let own = prices.own(meter, self.query);
            // The price of another meter stands in only where it does in the list prices too.
            let another = stand_in(meter).filter(|_| !prices.has(meter, self.query) && !self.list_has(meter));
            own.or_else(|| prices.own(another?, self.query))
        });
        if let Some(price) = price {
            return Some(Owed::Price(Applied {
                list: offer.list(),
                version: offer.version(),
                price,
            }));
        }
        let base = list?;
        // A discount that stands beside a price is more specific than one for everyone.
        if offer.list().terms.precedence() == Precedence::Everyone && !base.price.discount.is_zero() {
            return None;
        }
        offer.adjustment(meter, self.query).map(|adjustment| Owed::Adjusted {
            base,
            version: offer.version(),
            adjustment,
        })
    }

    fn list_price(&self, meter: Meter) -> Option<Applied<'a>> {
        let prices = self.list?;
        prices.price(meter, self.query).map(|price| Applied {
            list: prices.list(),
            version: prices.version(),
            price,
        })
    }

    fn list_has(&self, meter: Meter) -> bool {
        self.list.is_some_and(|prices| prices.has(meter, self.query))
    }
}

// === impl Deal ===

impl<'a> Deal<'a> {
    /// The price whose share is owed.
    pub(super) const fn price(&self) -> &'a Price {
        match self.owed {
            Owed::Price(applied) | Owed::Adjusted { base: applied, .. } => applied.price,
        }
    }

    /// The price at which `list_cost` counts: where no list for everyone has one, what was negotiated, before its discount.
    pub(super) fn list_price(&self) -> &'a Price {
        self.list.map_or_else(|| self.price(), |applied| applied.price)
    }

    /// The share of the price that is owed.
    ///
    /// # Errors
    /// None, for discounts that were checked.
    pub(super) fn share(&self) -> Result<Amount, AmountError> {
        let discount = match self.owed {
            Owed::Price(applied) => applied.price.discount,
            Owed::Adjusted { adjustment, .. } => adjustment.discount,
        };
        Amount::ONE.checked_sub(discount)
    }

    /// The version of the list that says what is owed, where that is not the list of list prices.
    pub(super) fn negotiated(&self) -> Option<&'a Name> {
        let version = match self.owed {
            Owed::Price(applied) => applied.version,
            Owed::Adjusted { version, .. } => version,
        };
        (self.list.map(|list| list.version) != Some(version)).then_some(version)
    }
}
