//! Why a call costs what it costs: every list that was asked, and the price behind every charge.

use tollgate_record::{
    Adjustment, Amount, AmountError, Call, Charge, Cost, Meter, Name, Payer, Precedence, Price, Timestamp, Usage,
};

use super::book::{ModelName, PriceBook, Query};
use super::deal::{self, Deal, Deals, Owed};
use super::portion::{Asked, Sizes};
use super::rate_with;

/// A cost and what it follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What [`super::rate`] says.
    pub cost: Cost,
    /// The lists that were asked, in this order.
    pub tries: Vec<Try>,
    /// The charges and their prices, in the order of `cost.charges`.
    pub lines: Vec<Line>,
    /// The prices of every meter that has one for such a call, whether it was used or not. Without quantities.
    pub prices: Vec<Line>,
}

/// A list that was asked for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// The list.
    pub list: Name,
    /// Its version.
    pub version: Name,
    /// Whether it came with the gateway.
    pub shipped: bool,
    /// For whom it is.
    pub precedence: Precedence,
    /// The name that was looked for.
    pub model: Box<str>,
    /// Which name of the call's model that is.
    pub named: ModelName,
    /// The name or glob of the list that fits; `None` if it has no price of the model at the time.
    pub found: Option<Name>,
    /// Whether its share of list prices holds for the model.
    pub adjusts: bool,
}

/// A charge and its prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What was charged; of a price that was not asked for, one unit.
    pub charge: Charge,
    /// What it would be at the list price.
    pub list_amount: Option<Amount>,
    /// The list price.
    pub list_price: Option<Applied>,
    /// The price that is owed, whole or by a share; that of the list, if nothing was negotiated.
    pub price: Option<Applied>,
    /// The share of the list price, and the version of the list that has it.
    pub adjustment: Option<(Name, Adjustment)>,
}

/// A price, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The list.
    pub list: Name,
    /// Its version.
    pub version: Name,
    /// The price.
    pub price: Price,
}

/// Prices a call as [`super::rate`] does, and says why.
///
/// # Errors
/// As [`super::rate`].
pub fn explain(
    book: &PriceBook,
    call: &Call,
    payer: Payer<'_>,
    response_model: Option<&Name>,
    usage: &Usage,
    at: Timestamp,
) -> Result<Explanation, AmountError> {
    let asked = Asked {
        call,
        payer,
        response_model,
        usage,
        at,
    };
    let mut lines = Vec::new();
    let cost = rate_with(book, asked, Sizes::Told, |line| {
        lines.push(Line::new(line.charge.clone(), line.list_amount, line.deal));
    })?;
    let query = asked.query();
    let deals = Deals::new(book, &query);
    let prices = Meter::PRICED.into_iter().filter_map(|meter| price(&deals, meter)).collect();
    Ok(Explanation {
        cost,
        tries: tries(book, &query),
        lines,
        prices,
    })
}

/// One unit of a meter that has a price.
fn price(deals: &Deals<'_>, meter: Meter) -> Option<Line> {
    let deal = match meter {
        Meter::Reasoning => deals.of_reasoning(),
        _ => deals.of(meter),
    }?;
    let one = super::Quantity::whole(1);
    let (owed, list) = (deal.price(), deal.list_price());
    let unit_price = one.cost(owed.price, owed.per, deal.share().ok()?).ok();
    let charge = Charge {
        meter,
        field: None,
        quantity: Amount::ONE,
        unit_price,
        amount: unit_price,
    };
    Some(Line::new(
        charge,
        one.cost(list.price, list.per, Amount::ONE).ok(),
        Some(deal),
    ))
}

/// The lists with terms, then those of list prices until one has the model.
fn tries(book: &PriceBook, query: &Query<'_>) -> Vec<Try> {
    let mut tries = Vec::new();
    for offer in book.offers(query) {
        let list = offer.list();
        for (named, model) in query.models() {
            let found = offer.pattern(model, query);
            let adjusts = offer.adjusts(model, query);
            let last = found.is_some() || adjusts;
            tries.push(Try {
                list: list.name.clone(),
                version: offer.version().clone(),
                shipped: list.shipped,
                precedence: list.terms.precedence(),
                model: model.into(),
                named,
                found: found.cloned(),
                adjusts,
            });
            if last {
                break;
            }
        }
    }
    for tried in book.tries(query) {
        let found = tried.found.and_then(|prices| prices.pattern()).cloned();
        let last = found.is_some();
        tries.push(Try {
            list: tried.list.name.clone(),
            version: tried.version.clone(),
            shipped: tried.list.shipped,
            precedence: Precedence::Everyone,
            model: tried.model.into(),
            named: tried.named,
            found,
            adjusts: false,
        });
        if last {
            break;
        }
    }
    tries
}

// === impl Line ===

impl Line {
    fn new(charge: Charge, list_amount: Option<Amount>, deal: Option<Deal<'_>>) -> Self {
        let (price, adjustment) = match deal.map(|deal| deal.owed) {
            None => (None, None),
            Some(Owed::Price(applied)) => (Some(applied.into()), None),
            Some(Owed::Adjusted {
                base,
                version,
                adjustment,
            }) => (Some(base.into()), Some((version.clone(), adjustment.clone()))),
        };
        Self {
            charge,
            list_amount,
            list_price: deal.and_then(|deal| deal.list).map(Applied::from),
            price,
            adjustment,
        }
    }
}

// === impl Applied ===

impl From<deal::Applied<'_>> for Applied {
    fn from(applied: deal::Applied<'_>) -> Self {
        Self {
            list: applied.list.name.clone(),
            version: applied.version.clone(),
            price: applied.price.clone(),
        }
    }
}
