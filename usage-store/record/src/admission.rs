//! What is decided of a call before it is made: what it may use at most, and whether budgets and rate limits let it pass.

use std::fmt;

use crate::{Amount, Decision, Name, Timestamp};

/// The most that a call can use, as far as its request tells. Counted before the upstream is asked, by stated rules of the provider's codec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Input tokens: an upper bound.
    pub input_tokens: u64,
    /// Whether the bound on the input is not known from the request: it refers to what is elsewhere, or has media that are no text.
    pub input_open: bool,
    /// How often the model may read its input: once, and again after each call of a tool that the provider runs itself. 0 is read as 1.
    pub passes: u64,
    /// Output tokens of one answer, where the request limits them.
    pub output_tokens: Option<u64>,
    /// Answers that are asked for: 1 where nothing is said; 0 if the endpoint gives no tokens.
    pub answers: u64,
    /// Images that are asked for.
    pub images: u64,
    /// Characters that are to be spoken.
    pub characters: u64,
    /// Seconds of media that the request carries: an upper bound.
    pub seconds: u64,
    /// Searches and other tools of the provider that may be called: an upper bound.
    pub tool_calls: u64,
    /// Pages that are to be read: an upper bound.
    pub pages: u64,
    /// Whether the request can be given a limit of its output tokens.
    pub takes_limit: bool,
    /// Whether the request can be given another model.
    pub takes_model: bool,
    /// Whether it starts work that is priced by calls to come, of which it does not tell how much: a batch that is submitted. It passes while anything
    /// is left.
    pub later: bool,
}

/// A call that budgets and rate limits let pass. What was set aside for it is given back if this is dropped before the call is admitted.
pub struct Permit {
    /// What was decided on the way, for the row.
    pub decisions: Vec<Decision>,
    /// The limit of output tokens that the request has to be given; `decisions` say by whom.
    pub max_tokens: Option<u64>,
    /// The model that has to be asked instead; `decisions` say by whom.
    pub model: Option<Name>,
    /// What is left of the tightest budget of money, or if there is none, of the tightest of all.
    pub remaining: Option<Remaining>,
    /// The tightest rate limits, one of each kind.
    pub rates: Vec<RateState>,
    /// What was set aside.
    pub hold: Option<Box<dyn Hold>>,
}

/// What was set aside for a call. Dropping it gives that back.
pub trait Hold: Send + Sync {
    /// Leaves it to the call's row, which is on its way, to give that back.
    fn keep(self: Box<Self>);
}

/// A budget and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Name of the budget.
    pub budget: Name,
    /// What is left, this call's reservation taken off.
    pub left: Measure,
}

/// A rate limit and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateState {
    /// Name of the rate limit.
    pub name: Name,
    /// What it counts.
    pub of: RateKind,
    /// How much fits into a window.
    pub limit: u64,
    /// How much may come at once now.
    pub remaining: u64,
    /// Microseconds until the whole window is free again.
    pub reset_us: u64,
}

/// What a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RateKind {
    Requests,
    Tokens,
    Concurrency,
}

/// Something that a budget counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Money.
    Money(Amount, Name),
    /// Tokens.
    Tokens(Amount),
    /// Calls.
    Calls(Amount),
}

/// Why a call may not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A budget does not have what the call could come to.
    Budget(Box<OverBudget>),
    /// A budget of money cannot tell what the call could come to.
    Unpriced(Box<UnpricedCall>),
    /// A rate limit.
    Rate(Box<OverRate>),
    /// What a budget has spent is not known yet, because the table is out of reach. Trying again helps.
    Unloaded {
        /// Name of the budget.
        budget: Name,
    },
    /// Not decided yet: more of a budget that gateways share has been asked for. Whoever has [waited](crate::Ledger::granted) for that asks again.
    Pending(Pending),
    /// A budget that gateways share has not enough granted to this one, and no more can be had at the moment.
    Unshared(Box<Unshared>),
}

/// What has been asked for of budgets that gateways share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The first budget that lacks something.
    pub budget: Name,
    /// The ledger's numbers of what was asked for.
    pub tickets: Vec<(u32, u64)>,
}

/// A budget of which this gateway cannot be granted more at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unshared {
    /// Name of the budget.
    pub budget: Name,
    /// Why.
    pub why: NotShared,
}

/// Why no more of a shared budget can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotShared {
    /// The pool out of which gateways are granted shares is out of reach.
    Away,
    /// The pool has lost what it knew, or never knew anything, and waits for every gateway to say what it holds: for so many microseconds.
    Fresh(u64),
    /// Others were faster, several times.
    Contended,
}

/// A budget that does not have what a call could come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Name of the budget.
    pub budget: Name,
    /// Whose counter: its dimensions with their values.
    pub per: Vec<(String, Option<String>)>,
    /// What may be used in the window.
    pub limit: Measure,
    /// What was used in it.
    pub spent: Measure,
    /// What is set aside for calls that have not ended.
    pub reserved: Measure,
    /// What this call could have come to; none of what it does not tell ([`Bounds::later`]).
    pub estimate: Option<Measure>,
    /// When the window ends, or for a rolling one when its oldest step leaves it.
    pub resets: Option<Timestamp>,
    /// HTTP status to refuse with.
    pub status: u16,
}

/// A call of which no price is known, under a budget of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpricedCall {
    /// Name of the budget.
    pub budget: Name,
    /// What has no price: the model and the meter, or why no bound is known.
    pub missing: String,
    /// HTTP status to refuse with.
    pub status: u16,
}

/// A rate limit that a call exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverRate {
    /// The limit, and how it stands.
    pub state: RateState,
    /// Its window, for words; none of concurrency.
    pub window_us: Option<u64>,
    /// What this call needs.
    pub needs: u64,
    /// Microseconds after which such a call fits; `None` if it never does.
    pub retry_us: Option<u64>,
}

/// A call whose admission was decided.
pub type Admission = Result<Permit, Refusal>;

// === impl Bounds ===

impl Bounds {
    /// Whether the call itself can use nothing that costs, whatever its price.
    pub const fn is_nothing(&self) -> bool {
        self.input_tokens == 0
            && !self.input_open
            && self.answers == 0
            && self.images == 0
            && self.characters == 0
            && self.seconds == 0
            && self.tool_calls == 0
            && self.pages == 0
    }
}

// === impl Permit ===

impl Permit {
    /// Of a ledger without budgets.
    pub const fn free() -> Self {
        Self {
            decisions: Vec::new(),
            max_tokens: None,
            model: None,
            remaining: None,
            rates: Vec::new(),
            hold: None,
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("decisions", &self.decisions)
            .field("max_tokens", &self.max_tokens)
            .field("model", &self.model)
            .field("remaining", &self.remaining)
            .field("rates", &self.rates)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Money(amount, currency) => write!(f, "{amount} {currency}"),
            Self::Tokens(count) => write!(f, "{count} tokens"),
            Self::Calls(count) => write!(f, "{count} calls"),
        }
    }
}

impl RateKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "calls at once",
        }
    }
}
