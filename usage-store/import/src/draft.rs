//! A row that is being put together: what the formats have in common.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tollgate_record::{
    Amount, Call, CallId, Caller, Charge, Cost, CostStatus, Decision, Identity, Meter, Name, Outcome, Record, Seq, Timestamp,
    Usage, UsageSource,
};

use crate::cells::Cells;
use crate::decimal;

/// Stands where a row must name a key and the export does not.
const NO_KEY: &str = "imported";
/// Who says what is noted of a row.
const POLICY: &str = "import";

/// Where rows come from: part of each one's identity.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) source: Name,
    pub(crate) instance: Name,
}

/// A row without its place and its identity.
pub(crate) struct Draft {
    /// The other system's id of the request.
    pub(crate) id: String,
    pub(crate) attempt: u16,
    pub(crate) start_time: Timestamp,
    pub(crate) duration_us: u64,
    pub(crate) time_to_first_token_us: Option<u64>,
    pub(crate) identity: Identity,
    pub(crate) caller: Caller,
    pub(crate) call: Call,
    pub(crate) response_model: Option<Name>,
    pub(crate) status_code: Option<u16>,
    pub(crate) error_type: Option<Name>,
    pub(crate) finish_reason: Option<Name>,
    pub(crate) usage: Usage,
    pub(crate) cost: Cost,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// What was not taken over as it stood.
    pub(crate) notes: Vec<String>,
}

/// An amount of money as the export states it.
pub(crate) struct Money {
    pub(crate) amount: Amount,
    /// What to say of it, if it had more places than are kept.
    pub(crate) note: Option<String>,
}

impl Draft {
    /// A row of which only the beginning is known.
    pub(crate) fn new(id: &str, start_time: Timestamp, operation_name: Name) -> Self {
        Self {
            id: id.to_owned(),
            attempt: 1,
            start_time,
            duration_us: 0,
            time_to_first_token_us: None,
            identity: Identity {
                key_id: Name::new(NO_KEY).expect("a constant that is a name"),
                org: None,
                team: None,
                project: None,
                service: None,
                user: None,
            },
            caller: Caller::default(),
            call: Call {
                operation_name,
                proxy: None,
                provider_name: None,
                template: None,
                upstream: None,
                region: None,
                request_model: None,
                stream: false,
                route_rule: None,
                cache: None,
            },
            response_model: None,
            status_code: None,
            error_type: None,
            finish_reason: None,
            usage: Usage::default(),
            cost: unknown(),
            request_bytes: 0,
            response_bytes: 0,
            notes: Vec::new(),
        }
    }

    /// The row. Its place comes with the log.
    pub(crate) fn finish(self, origin: &Origin) -> Record {
        let request = identity(&origin.source, &self.id, 1);
        let mut decisions = vec![Decision {
            policy: POLICY.into(),
            action: "imported".into(),
            detail: Some(format!("{} {}", origin.source, self.id).into()),
        }];
        decisions.extend(self.notes.into_iter().map(|note| Decision {
            policy: POLICY.into(),
            action: "noted".into(),
            detail: Some(note.into()),
        }));
        Record {
            call_id: identity(&origin.source, &self.id, self.attempt),
            request_id: request.as_request(),
            attempt: self.attempt,
            instance: origin.instance.clone(),
            seq: Seq::ZERO,
            corrects: None,
            start_time: self.start_time,
            duration_us: self.duration_us,
            time_to_first_token_us: self.time_to_first_token_us,
            gateway_overhead_us: None,
            identity: Arc::new(self.identity),
            caller: self.caller,
            call: self.call,
            response_model: self.response_model,
            outcome: Outcome::Imported,
            status_code: self.status_code,
            error_type: self.error_type,
            finish_reason: self.finish_reason,
            decisions,
            usage: self.usage,
            cost: self.cost,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }

    /// Takes token counts over, and holds them against each other: a part that is larger than its whole is left out, and said.
    pub(crate) fn count(&mut self, usage: Usage) {
        self.usage = usage;
        let parts = |whole: Option<u64>, part: &mut Option<u64>, what: &str, notes: &mut Vec<String>| {
            if let Some(count) = *part
                && count > whole.unwrap_or(0)
            {
                notes.push(format!(
                    "{what} of {count} exceed the tokens they are part of, and were left out"
                ));
                *part = None;
            }
        };
        let Usage {
            input,
            cache_read,
            cache_creation,
            output,
            reasoning,
            ..
        } = &mut self.usage;
        parts(*input, cache_read, "cache_read_input_tokens", &mut self.notes);
        let rest = input.map(|input| input - cache_read.unwrap_or(0));
        parts(rest, cache_creation, "cache_creation_input_tokens", &mut self.notes);
        parts(*output, reasoning, "reasoning_tokens", &mut self.notes);
        self.usage.source = if self.usage.is_known() {
            UsageSource::Reported
        } else {
            UsageSource::None
        };
    }
}

/// The same id for the same request of the same source, for ever: the first half of a SHA-256.
fn identity(source: &Name, id: &str, attempt: u16) -> CallId {
    let mut hash = Sha256::new();
    // Lengths keep apart what would read alike when joined.
    for part in ["tollgate import", source.as_str(), id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    if attempt > 1 {
        hash.update(attempt.to_be_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (half, _) = digest.split_first_chunk().expect("32 bytes have a first 16");
    CallId::from_digest(*half)
}

/// Reads a column of money; `None` if nothing is in it.
///
/// # Errors
/// A sentence if it is no decimal, or negative.
pub(crate) fn money(cells: &Cells, column: &str) -> Result<Option<Money>, String> {
    let Some(text) = cells.text(column) else { return Ok(None) };
    let decimal = decimal::parse(text).map_err(|reason| format!("{column}: {reason}"))?;
    if decimal.amount < Amount::ZERO {
        return Err(format!("{column}: {text} is negative; a credit is no call"));
    }
    let note = decimal
        .rounded
        .then(|| format!("{column} {text} was rounded to {}", decimal.amount));
    Ok(Some(Money {
        amount: decimal.amount,
        note,
    }))
}

/// The cost of a call whose price the other system knew: a line for each amount, each for the call as a whole.
///
/// # Errors
/// A sentence if the sum has more than 28 digits.
pub(crate) fn stated(amounts: &[Amount], currency: Name) -> Result<Cost, String> {
    let sum = amounts.iter().try_fold(Amount::ZERO, |sum, amount| sum.checked_add(*amount));
    let sum = sum.map_err(|error| error.to_string())?;
    let charges = amounts.iter().map(|amount| Charge {
        meter: Meter::Request,
        field: None,
        quantity: Amount::ONE,
        unit_price: Some(*amount),
        amount: Some(*amount),
    });
    Ok(Cost {
        status: CostStatus::Priced,
        cost: Some(sum),
        currency: Some(currency),
        charges: charges.collect(),
        ..unknown()
    })
}

/// The cost of a call of which none is known.
pub(crate) const fn unknown() -> Cost {
    Cost {
        status: CostStatus::Unpriced,
        cost: None,
        list_cost: None,
        avoided_cost: None,
        currency: None,
        price_version: None,
        charges: Vec::new(),
    }
}

/// US dollars.
pub(crate) fn usd() -> Name {
    Name::new("USD").expect("a constant that is a name")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_changes_since_rows_of_earlier_imports_have_it() {
        let source = Name::new("litellm-spendlogs").unwrap();
        let id = identity(&source, "chatcmpl-1", 1);
        assert_eq!(id.to_string(), "e20700a6-7099-8afe-be6c-a135d7040dc5");
        assert_eq!(id.uuid().get_version_num(), 8);
        assert_ne!(identity(&source, "chatcmpl-1", 2), id);
        assert_ne!(identity(&Name::new("litellm-spendlogsc").unwrap(), "hatcmpl-1", 1), id);
    }
}
