//! Budgets and rate limits as checked values. Reading them is the controller's work, holding calls against them the store's.

use chrono::Weekday;
use chrono_tz::Tz;

use crate::{Amount, Name, Timestamp};

/// A budget: the sum of a column over the rows of a window, which calls may not exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Name of the resource.
    pub name: Name,
    /// Which calls it is for: an SQL boolean expression over the columns that are known when a call is admitted; `None` is every call.
    pub when: Option<Box<str>>,
    /// What there is a counter for each combination of.
    pub per: Vec<Dimension>,
    /// What may be used in a window.
    pub limit: Limit,
    /// What is counted together.
    pub window: Window,
    /// What happens to a call that does not fit.
    pub action: Action,
    /// What is set aside for a call before it is made.
    pub reservation: Reservation,
    /// Whether a call that names no limit of its answer is given what is left.
    pub clamp: bool,
    /// What happens to calls of which no price is known, under a limit of money.
    pub unpriced: Unpriced,
    /// HTTP status of refusals: 402 or 429.
    pub status: u16,
    /// Percentages of the limit at which someone is told, ascending.
    pub alerts: Vec<u16>,
    /// Whether someone is told when the limit is going to be exceeded by the window's end.
    pub alert_projected: bool,
    /// Whether someone is told of an hour that is far outside of what is usual.
    pub alert_anomaly: bool,
}

/// Why someone is told of a budget. The words are part of table `alerts` and of what webhooks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A percentage of the limit is spent.
    Threshold,
    /// The limit is going to be exceeded.
    Projected,
    /// An hour is far outside of what is usual.
    Anomaly,
}

/// A limit on how fast calls may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Name of the resource.
    pub name: Name,
    /// Which calls it is for, as of a budget.
    pub when: Option<Box<str>>,
    /// What there is a bucket for each combination of.
    pub per: Vec<Dimension>,
    /// How much, how fast.
    pub limit: Rate,
}

/// What counters are kept apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// A column of table `usage` that is known when a call is admitted; one of [`ADMISSION_COLUMNS`] with text in it.
    Column(&'static str),
    /// The value of a tag.
    Tag(Box<str>),
}

/// The columns that are known when a call is admitted. `when` may name these and no others.
pub const ADMISSION_COLUMNS: &[&str] = &[
    "start_time",
    "start_date",
    "org",
    "team",
    "project",
    "service",
    "user_id",
    "agent",
    "key_id",
    "session_id",
    "tags",
    "operation_name",
    "proxy",
    "provider_name",
    "upstream",
    "region",
    "request_model",
    "stream",
];

/// What may be used in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Money, of rows in this currency.
    Money {
        /// How much.
        amount: Amount,
        /// ISO 4217 code.
        currency: Name,
    },
    /// Tokens.
    Tokens {
        /// How many.
        count: u64,
        /// Which.
        of: Tokens,
    },
    /// Calls that were not refused.
    Calls(u64),
}

/// Which tokens are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tokens {
    /// `input_tokens`.
    Input,
    /// `output_tokens`.
    Output,
    /// Both.
    Total,
}

/// What is counted together. A row belongs to the window in which its `start_time` lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// A unit of the calendar, in a time zone.
    Calendar {
        /// Which.
        unit: Unit,
        /// Whose days.
        timezone: Tz,
        /// With which day a week begins.
        week_start: Weekday,
    },
    /// The last so many microseconds, in [`Window::STEPS`] steps: a step is counted until it has left the window whole.
    Rolling {
        /// Length in microseconds; a multiple of [`Window::STEPS`] microseconds.
        length_us: i64,
    },
    /// One period.
    Once {
        /// Its first instant.
        start: Timestamp,
        /// The first instant behind it.
        end: Timestamp,
    },
}

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are words of the language")]
pub enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// What happens to a call that does not fit into a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is refused.
    Refuse,
    /// It is made; its row and its answer say that the budget is spent.
    Warn,
    /// It asks this model instead, if it may; else it is refused.
    Downgrade(Name),
}

/// What is set aside for a call before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reservation {
    /// The most that it can come to: the budget is never exceeded.
    WorstCase,
    /// What calls of its key came to lately.
    Expected,
    /// Nothing: calls are refused once the budget is spent.
    None,
}

/// What happens to calls of which no price is known, under a limit of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpriced {
    /// They are refused.
    Refuse,
    /// They are admitted and count as nothing.
    Admit,
}

/// How much may come, how fast. Requests and tokens fill a token bucket: one that holds a whole window's and refills evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Requests in a window of so many microseconds.
    Requests {
        /// How many.
        count: u64,
        /// In which time.
        window_us: i64,
    },
    /// Input and output tokens in a window of so many microseconds.
    Tokens {
        /// How many.
        count: u64,
        /// In which time.
        window_us: i64,
    },
    /// Calls at once.
    Concurrency(u64),
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Threshold, Self::Projected, Self::Anomaly];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Projected => "projected",
            Self::Anomaly => "anomaly",
        }
    }
}

impl Window {
    /// Steps in which a rolling window moves.
    pub const STEPS: i64 = 60;
}

impl Dimension {
    /// As it stands in a configuration: a column, or `tags['name']`.
    pub fn text(&self) -> String {
        match self {
            Self::Column(name) => (*name).to_owned(),
            Self::Tag(name) => format!("tags['{}']", name.replace('\'', "''")),
        }
    }
}
