//! Every column of table `usage`, declared once: name, type, whether it can be null, what it means, and how a [`Record`] fills it.
//!
//! The Arrow schema, the builders of the hot buffer and the public reference in `docs/tables.md` all come from [`USAGE`].
//! A column is never renamed or given another meaning; new ones are added at the end of their group.

use uuid::Uuid;

use crate::{Amount, Charge, Decision, Name, Record, Tags, Timestamp};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A 64-bit signed integer.
    Int,
    /// True or false.
    Bool,
    /// `Decimal(28, 12)`.
    Decimal,
    /// Microseconds, UTC.
    Timestamp,
    /// A calendar day, UTC.
    Date,
    /// A map of text to text.
    Map,
    /// A list of `{policy, action, detail}`.
    Decisions,
    /// A list of `{meter, quantity, unit, unit_price, amount}`.
    Charges,
}

/// One cell on its way into a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not known, not reported, not applicable.
    Null,
    /// For [`Kind::Text`].
    Text(&'a str),
    /// For [`Kind::Text`], written as 36 characters.
    Uuid(Uuid),
    /// For [`Kind::Int`].
    Int(i64),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Decimal`].
    Decimal(Amount),
    /// For [`Kind::Timestamp`].
    Timestamp(Timestamp),
    /// For [`Kind::Date`]: days since 1970-01-01.
    Date(i32),
    /// For [`Kind::Map`].
    Map(&'a Tags),
    /// For [`Kind::Decisions`].
    Decisions(&'a [Decision]),
    /// For [`Kind::Charges`].
    Charges(&'a [Charge]),
}

/// A column of table `usage`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in SQL.
    pub name: &'static str,
    /// The group it is listed under.
    pub group: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether a row may lack it.
    pub nullable: bool,
    /// What it means, in a sentence.
    pub doc: &'static str,
    /// How a record fills it.
    pub value: for<'a> fn(&'a Record) -> Value<'a>,
}

macro_rules! columns {
    ($($group:literal { $($(#[doc = $doc:literal])+ $name:ident: $kind:ident $null:ident = |$record:ident| $value:expr;)+ })+) => {
        &[$($(Column {
            name: stringify!($name),
            group: $group,
            kind: Kind::$kind,
            nullable: columns!(@ $null),
            doc: concat!($($doc),+),
            value: |$record| Value::from($value),
        },)+)+]
    };
    (@ required) => { false };
    (@ nullable) => { true };
}

/// The columns of table `usage`, in order.
pub const USAGE: &[Column] = columns! {
    "row" {
        /// Identity of this call (one attempt at an upstream): a UUID of version 7, sorted by time; of version 8 where the row was imported, corrects another or is a result of a batch.
        call_id: Text required = |r| r.call_id.uuid();
        /// Identity of the client's request; attempts of one request share it.
        request_id: Text required = |r| r.request_id.uuid();
        /// Number of the attempt, from 1.
        attempt: Int required = |r| u64::from(r.attempt);
        /// Name of the gateway that wrote the row.
        instance: Text required = |r| &r.instance;
        /// Place of the row among those of its instance: 1, 2, 3 and so on.
        seq: Int required = |r| r.seq.get();
        /// `call_id` of the call that this row corrects: one row takes back what stood, one books what holds. Calls are the rows without.
        corrects: Text nullable = |r| r.corrects.map(|id| id.uuid());
    }
    "time" {
        /// When the request arrived, UTC; of a result of a batch, when the batch was submitted, or where that is not known, when the result was fetched.
        start_time: Timestamp required = |r| r.start_time;
        /// Day of `start_time`, UTC: the partition of the table. Filter by it, or by `start_time`, to read less.
        start_date: Date required = |r| Day(r.start_time.day());
        /// Microseconds from the request's arrival to the end of its answer; of a result of a batch, to the call that fetched it.
        duration_us: Int required = |r| r.duration_us;
        /// Microseconds from the request's arrival to the first byte of the answer's body.
        time_to_first_token_us: Int nullable = |r| r.time_to_first_token_us;
        /// Microseconds of `duration_us` that the gateway itself took before the upstream was asked.
        gateway_overhead_us: Int nullable = |r| r.gateway_overhead_us;
    }
    "identity" {
        /// Organisation of the key.
        org: Text nullable = |r| r.identity.org.as_ref();
        /// Team of the key.
        team: Text nullable = |r| r.identity.team.as_ref();
        /// Project of the key.
        project: Text nullable = |r| r.identity.project.as_ref();
        /// Service of the key.
        service: Text nullable = |r| r.identity.service.as_ref();
        /// Person: the key's, or `x-tollgate-user` where the key allows it.
        user_id: Text nullable = |r| r.caller.user.as_ref().or(r.identity.user.as_ref());
        /// Agent, from `x-tollgate-agent` where the key allows it.
        agent: Text nullable = |r| r.caller.agent.as_ref();
        /// Name of the gateway key.
        key_id: Text required = |r| &r.identity.key_id;
        /// Session, from `x-tollgate-session` where the key allows it.
        session_id: Text nullable = |r| r.caller.session_id.as_ref();
        /// Trace id of the caller's `traceparent`.
        trace_id: Text nullable = |r| r.caller.trace_id.as_ref();
        /// Parent span id of the caller's `traceparent`.
        span_id: Text nullable = |r| r.caller.span_id.as_ref();
        /// `call_id` of the call that caused this one; of a result of a batch, the call that submitted the batch.
        parent_call_id: Text nullable = |r| r.caller.parent_call_id.map(|id| id.uuid());
        /// Tags of the key, overlaid by `x-tollgate-tags` where the key allows it.
        tags: Map required = |r| &*r.caller.tags;
    }
    "call" {
        /// What was asked for, in OpenTelemetry GenAI words: `chat`, `text_completion`, `embeddings`; else the endpoint's path, or `batch_result`.
        operation_name: Text required = |r| &r.call.operation_name;
        /// Proxy by whose context the call came in.
        proxy: Text nullable = |r| r.call.proxy.as_ref();
        /// Provider that was called.
        provider_name: Text nullable = |r| r.call.provider_name.as_ref();
        /// Host and port of the upstream.
        upstream: Text nullable = |r| r.call.upstream.as_ref();
        /// Region of the upstream, where it is known and prices depend on it.
        region: Text nullable = |r| r.usage.region.as_ref().or(r.call.region.as_ref());
        /// Model that was asked for.
        request_model: Text nullable = |r| r.call.request_model.as_ref();
        /// Model that answered.
        response_model: Text nullable = |r| r.response_model.as_ref();
        /// Whether a stream was asked for.
        stream: Bool required = |r| r.call.stream;
        /// Routing rule that chose the upstream.
        route_rule: Text nullable = |r| r.call.route_rule.as_ref();
        /// What the gateway's cache did.
        cache: Text nullable = |r| r.call.cache.as_ref();
        /// Service tier that the provider says it used, where that is not its standard one.
        service_tier: Text nullable = |r| r.usage.service_tier.as_ref();
    }
    "outcome" {
        /// `ok`, `client_aborted`, `upstream_error`, `upstream_cut`, `timeout`, `refused_budget`, `refused_rate`, `refused_policy`, `interrupted` or `imported`.
        outcome: Text required = |r| r.outcome.as_str();
        /// HTTP status that the client was sent.
        status_code: Int nullable = |r| r.status_code.map(u64::from);
        /// Stable code of the error, the provider's or the gateway's.
        error_type: Text nullable = |r| r.error_type.as_ref();
        /// Why the model stopped, in the provider's word.
        finish_reason: Text nullable = |r| r.finish_reason.as_ref();
        /// What policies did to the call, and why; and by the policy `metering`, which batch the answer told of.
        decisions: Decisions required = |r| r.decisions.as_slice();
    }
    "tokens" {
        /// All input tokens, those read from and written to a cache included.
        input_tokens: Int nullable = |r| r.usage.input;
        /// Input tokens read from a cache; inside `input_tokens`.
        cache_read_input_tokens: Int nullable = |r| r.usage.cache_read;
        /// Input tokens written to a cache; inside `input_tokens`.
        cache_creation_input_tokens: Int nullable = |r| r.usage.cache_creation;
        /// All output tokens, reasoning included.
        output_tokens: Int nullable = |r| r.usage.output;
        /// Reasoning tokens; inside `output_tokens`.
        reasoning_tokens: Int nullable = |r| r.usage.reasoning;
        /// Tokens that the provider says are left in its own rate limit.
        remaining_tokens: Int nullable = |r| r.usage.remaining;
        /// `reported` by the provider, `estimated` by the gateway, or `none`.
        usage_source: Text required = |r| r.usage.source.as_str();
    }
    "money" {
        /// What is owed: the sum of `charges.amount`. Null if no price is known; the known part if `cost_status` is `unpriced`.
        cost: Decimal nullable = |r| r.cost.cost;
        /// What would be owed without discounts.
        list_cost: Decimal nullable = |r| r.cost.list_cost;
        /// What a cache of the gateway saved.
        avoided_cost: Decimal nullable = |r| r.cost.avoided_cost;
        /// ISO 4217 code of the amounts.
        currency: Text nullable = |r| r.cost.currency.as_ref();
        /// `priced` (reported usage, known price), `estimated` (estimated usage, known price), `unpriced` (something used has no known price) or `free` (nothing was used).
        cost_status: Text required = |r| r.cost.status.as_str();
        /// Version of the price list that was applied; see table `prices`. With negotiated prices several, `+` between them.
        price_version: Text nullable = |r| r.cost.price_version.as_ref();
        /// The bill: `amount = quantity * unit_price` of every meter, adding up to `cost`; where several models took part, or several attempts, of every meter and model (`output:claude-opus-5`). Of a price with a discount, `unit_price` is rounded to twelve places and `amount` is not made of the rounded one.
        charges: Charges required = |r| r.cost.charges.as_slice();
    }
    "tools" {
        /// MCP server that was called.
        mcp_server: Text nullable = |_r| Value::Null;
        /// MCP method that was called.
        mcp_method: Text nullable = |_r| Value::Null;
        /// MCP tool that was called.
        tool_name: Text nullable = |_r| Value::Null;
    }
    "size" {
        /// Bytes of the request's body.
        request_bytes: Int required = |r| r.request_bytes;
        /// Bytes of the answer's body, as the upstream sent it.
        response_bytes: Int required = |r| r.response_bytes;
    }
};

/// A day number, so that it is not taken for an integer.
struct Day(i32);

// === impl Kind ===

impl Kind {
    /// The type's name in SQL, for the reference.
    pub const fn sql_name(self) -> &'static str {
        match self {
            Self::Text => "VARCHAR",
            Self::Int => "BIGINT",
            Self::Bool => "BOOLEAN",
            Self::Decimal => "DECIMAL(28,12)",
            Self::Timestamp => "TIMESTAMP(6) WITH TIME ZONE",
            Self::Date => "DATE",
            Self::Map => "MAP(VARCHAR, VARCHAR)",
            Self::Decisions => "LIST(STRUCT(policy VARCHAR, action VARCHAR, detail VARCHAR))",
            Self::Charges => {
                "LIST(STRUCT(meter VARCHAR, quantity DECIMAL(28,12), unit VARCHAR, unit_price DECIMAL(28,12), amount DECIMAL(28,12)))"
            }
        }
    }
}

// === impl Value ===

impl From<Uuid> for Value<'_> {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl From<u64> for Value<'_> {
    /// Counts beyond `i64::MAX` saturate: no call has nine quintillion of anything.
    fn from(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<Amount> for Value<'_> {
    fn from(amount: Amount) -> Self {
        Self::Decimal(amount)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(instant: Timestamp) -> Self {
        Self::Timestamp(instant)
    }
}

impl From<Day> for Value<'_> {
    fn from(day: Day) -> Self {
        Self::Date(day.0)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Name> for Value<'a> {
    fn from(name: &'a Name) -> Self {
        Self::Text(name.as_str())
    }
}

impl<'a> From<&'a Tags> for Value<'a> {
    fn from(tags: &'a Tags) -> Self {
        Self::Map(tags)
    }
}

impl<'a> From<&'a [Decision]> for Value<'a> {
    fn from(decisions: &'a [Decision]) -> Self {
        Self::Decisions(decisions)
    }
}

impl<'a> From<&'a [Charge]> for Value<'a> {
    fn from(charges: &'a [Charge]) -> Self {
        Self::Charges(charges)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_named_once_and_documented() {
        let mut names: Vec<_> = USAGE.iter().map(|column| column.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), USAGE.len());
        assert!(USAGE.iter().all(|column| column.doc.trim().ends_with('.')));
    }
}
