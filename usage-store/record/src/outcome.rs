//! How a call ended, and which policies had a say in it.

use serde::{Deserialize, Serialize};

/// How a call ended. Durable: a value is never renamed, reordered or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The upstream answered with success and the client was offered all of it.
    Ok,
    /// The client left before the end.
    ClientAborted,
    /// The upstream answered with an error, or could not be reached.
    UpstreamError,
    /// The upstream broke off in the middle of its answer.
    UpstreamCut,
    /// The upstream took longer than the configured limit.
    Timeout,
    /// A budget refused the call.
    RefusedBudget,
    /// A rate limit refused the call.
    RefusedRate,
    /// Access control or the shape of the request refused the call.
    RefusedPolicy,
    /// The gateway crashed while the call was open.
    Interrupted,
    /// The row was imported from another system.
    Imported,
}

impl Outcome {
    /// Every outcome, in durable order.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::ClientAborted,
        Self::UpstreamError,
        Self::UpstreamCut,
        Self::Timeout,
        Self::RefusedBudget,
        Self::RefusedRate,
        Self::RefusedPolicy,
        Self::Interrupted,
        Self::Imported,
    ];

    /// Whether the call was never made.
    pub const fn is_refused(self) -> bool {
        matches!(self, Self::RefusedBudget | Self::RefusedRate | Self::RefusedPolicy)
    }

    /// The value as it stands in column `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientAborted => "client_aborted",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamCut => "upstream_cut",
            Self::Timeout => "timeout",
            Self::RefusedBudget => "refused_budget",
            Self::RefusedRate => "refused_rate",
            Self::RefusedPolicy => "refused_policy",
            Self::Interrupted => "interrupted",
            Self::Imported => "imported",
        }
    }
}

/// What a policy did to a call, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Which policy: a resource's name, or a part of the gateway such as `metering`.
    pub policy: Box<str>,
    /// What it did, such as `refused` or `noted`.
    pub action: Box<str>,
    /// Why, in words.
    pub detail: Option<Box<str>>,
}
