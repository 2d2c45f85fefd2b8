//! Prices as checked values. Reading them is the controller's work, applying them the store's.

use serde::{Deserialize, Serialize};

use crate::{Amount, Meter, Name, Timestamp};

/// Prices of one provider, under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceList {
    /// Name of the resource.
    pub name: Name,
    /// Provider or template whose calls it prices.
    pub provider: Name,
    /// ISO 4217 code of every price.
    pub currency: Name,
    /// Whether it came with the gateway; a list of the operator's own wins over it.
    pub shipped: bool,
    /// The prices, in the order of the file.
    pub prices: Vec<Price>,
}

/// One price: what `per` units of a meter cost, for which calls, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Model's name, or a glob of `*` and `?`.
    pub model: Name,
    /// Region it holds for; `None` is every region that has no price of its own.
    pub region: Option<Name>,
    /// Service tier it holds for; `None` is the standard tier.
    pub service_tier: Option<Name>,
    /// Holds for calls with more input tokens than this, and then for all their tokens.
    pub context_above: Option<u64>,
    /// What is counted.
    pub meter: Meter,
    /// How many units the price is for; at least 1.
    pub per: u64,
    /// List price of `per` units; not negative.
    pub price: Amount,
    /// Share of the list price that is not owed, 0 to 1.
    pub discount: Amount,
    /// First instant at which it holds.
    pub effective_from: Timestamp,
    /// First instant at which it no longer holds.
    pub effective_to: Option<Timestamp>,
    /// Where the price was read.
    pub source: Option<Box<str>>,
}
