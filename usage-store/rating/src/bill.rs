//! A call's bill: a line a meter, and what they add up to.

use tollgate_record::{Amount, AmountError, Charge, Cost, CostStatus, Meter, Name, UsageSource};

use super::deal::{Deal, Deals};
use super::quantity::Quantity;

/// The lines so far, and their sums.
pub(super) struct Bill<'a> {
    source: UsageSource,
    /// The model that lines are named by.
    pub(super) label: Option<&'a Name>,
    pub(super) lines: Vec<BillLine<'a>>,
    total: Amount,
    list_total: Amount,
    priced: bool,
    unpriced: bool,
}

/// A charge, and the prices that it follows from.
pub(super) struct BillLine<'a> {
    pub(super) charge: Charge,
    pub(super) list_amount: Option<Amount>,
    pub(super) deal: Option<Deal<'a>>,
}

// === impl Bill ===

impl<'a> Bill<'a> {
    pub(super) fn new(source: UsageSource) -> Self {
        Self {
            source,
            label: None,
            lines: Vec::with_capacity(4),
            total: Amount::ZERO,
            list_total: Amount::ZERO,
            priced: false,
            unpriced: false,
        }
    }

    /// Adds a line; nothing for a quantity of zero.
    pub(super) fn charge(&mut self, meter: Meter, quantity: Quantity, deal: Option<Deal<'a>>) -> Result<(), AmountError> {
        let Some(deal) = deal else {
            return self.without_price(meter, self.label(), quantity);
        };
        if quantity.count == 0 {
            return Ok(());
        }
        let (price, list_price, share) = (deal.price(), deal.list_price(), deal.share()?);
        let amount = quantity.cost(price.price, price.per, share)?;
        let list_amount = quantity.cost(list_price.price, list_price.per, Amount::ONE)?;
        self.total = self.total.checked_add(amount)?;
        self.list_total = self.list_total.checked_add(list_amount)?;
        self.priced = true;
        self.lines.push(BillLine {
            charge: Charge {
                meter,
                field: self.label(),
                quantity: quantity.amount()?,
                unit_price: Some(Quantity::whole(1).cost(price.price, price.per, share)?),
                amount: Some(amount),
            },
            list_amount: Some(list_amount),
            deal: Some(deal),
        });
        Ok(())
    }

    /// Adds what no meter counts.
    pub(super) fn unknown(&mut self, field: &str, quantity: u64) -> Result<(), AmountError> {
        self.without_price(Meter::Unknown, Some(field.into()), Quantity::whole(quantity))
    }

    fn label(&self) -> Option<Box<str>> {
        self.label.map(|label| label.as_str().into())
    }

    fn without_price(&mut self, meter: Meter, field: Option<Box<str>>, quantity: Quantity) -> Result<(), AmountError> {
        if quantity.count == 0 {
            return Ok(());
        }
        self.lines.push(BillLine {
            charge: Charge {
                meter,
                field,
                quantity: quantity.amount()?,
                unit_price: None,
                amount: None,
            },
            list_amount: None,
            deal: None,
        });
        self.unpriced = true;
        Ok(())
    }

    /// The bill as a row has it.
    pub(super) fn finish(self, deals: &[Deals<'_>]) -> Cost {
        let status = match (self.unpriced, self.source) {
            (true, _) => CostStatus::Unpriced,
            (false, UsageSource::Estimated) => CostStatus::Estimated,
            (false, _) => CostStatus::Priced,
        };
        Cost {
            status,
            cost: self.priced.then_some(self.total),
            list_cost: self.priced.then_some(self.list_total),
            avoided_cost: None,
            currency: deals.iter().find_map(Deals::currency).cloned(),
            price_version: self.version(deals),
            charges: self.lines.into_iter().map(|line| line.charge).collect(),
        }
    }

    /// The versions that were applied: those with negotiated prices, then those of the list prices.
    fn version(&self, deals: &[Deals<'_>]) -> Option<Name> {
        let negotiated = self.lines.iter().filter_map(|line| line.deal?.negotiated());
        let mut versions: Vec<&Name> = Vec::new();
        for version in negotiated.chain(deals.iter().filter_map(Deals::list_version)) {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        match versions.as_slice() {
            [] => None,
            [one] => Some((*one).clone()),
            several => joined(several),
        }
    }
}

/// `acme@1f0c...+openai-public@93ab...`. Where that is longer than a name may be, each gives up the beginning of its name; their hashes stay.
fn joined(versions: &[&Name]) -> Option<Name> {
    let each = Name::MAX_BYTES / versions.len() - 1;
    let whole = versions.iter().map(|version| version.as_str().len() + 1).sum::<usize>() <= Name::MAX_BYTES;
    let parts = versions.iter().map(|version| {
        let text = version.as_str();
        let from = if whole { 0 } else { text.len().saturating_sub(each) };
        (from..text.len()).find_map(|from| text.get(from..)).unwrap_or_default()
    });
    Name::new(&parts.collect::<Vec<_>>().join("+")).ok()
}
