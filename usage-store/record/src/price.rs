//! Prices as checked values. Reading them is the controller's work, applying them the store's.

use serde::{Deserialize, Serialize};

use crate::{Amount, Identity, Meter, Name, Timestamp};

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
    /// What was negotiated; nothing in a list of list prices.
    pub terms: Terms,
}

/// For whom a list is, and what it takes off list prices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Only calls of this organisation.
    pub org: Option<Name>,
    /// Only calls of this team.
    pub team: Option<Name>,
    /// Shares of list prices, in the order of the file.
    pub adjustments: Vec<Adjustment>,
}

/// A discount on list prices, or a mark-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Model's name, or a glob of `*` and `?`.
    pub model: Name,
    /// Meter it holds for; `None` is every meter.
    pub meter: Option<Meter>,
    /// Share of the list price that is not owed, up to 1; less than zero is a mark-up.
    pub discount: Amount,
    /// First instant at which it holds.
    pub effective_from: Timestamp,
    /// First instant at which it no longer holds.
    pub effective_to: Option<Timestamp>,
    /// Where it was read.
    pub source: Option<Box<str>>,
}

/// For whom a list's terms are. Of several lists that are for a call, the first by this order wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precedence {
    /// A team of an organisation.
    OrgAndTeam,
    /// A team.
    Team,
    /// An organisation.
    Org,
    /// Everyone.
    Everyone,
}

/// Who pays for a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payer<'a> {
    /// Organisation.
    pub org: Option<&'a Name>,
    /// Team.
    pub team: Option<&'a Name>,
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

// === impl Terms ===

impl Terms {
    /// Whether nothing was negotiated: the list is for everyone and adjusts nothing.
    pub fn is_empty(&self) -> bool {
        self.precedence() == Precedence::Everyone && self.adjustments.is_empty()
    }

    /// For whom the list is.
    pub const fn precedence(&self) -> Precedence {
        match (&self.org, &self.team) {
            (Some(_), Some(_)) => Precedence::OrgAndTeam,
            (None, Some(_)) => Precedence::Team,
            (Some(_), None) => Precedence::Org,
            (None, None) => Precedence::Everyone,
        }
    }

    /// Whether the list is for a payer.
    pub fn hold_for(&self, payer: Payer<'_>) -> bool {
        let fits = |wanted: &Option<Name>, has: Option<&Name>| wanted.is_none() || wanted.as_ref() == has;
        fits(&self.org, payer.org) && fits(&self.team, payer.team)
    }
}

// === impl Precedence ===

impl Precedence {
    /// What the list's `spec.for` names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrgAndTeam => "org and team",
            Self::Team => "team",
            Self::Org => "org",
            Self::Everyone => "everyone",
        }
    }
}

// === impl Payer ===

impl<'a> From<&'a Identity> for Payer<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self {
            org: identity.org.as_ref(),
            team: identity.team.as_ref(),
        }
    }
}
