//! Why something is unpriced.

use tollgate_record::Meter;
use tollgate_usage_store::rating::Line;

use super::question::Answer;

/// Why a line has no amount; `None` if it has one.
pub(crate) fn unpriced(line: &Line, answer: &Answer) -> Option<String> {
    if line.charge.amount.is_some() {
        return None;
    }
    if line.charge.meter == Meter::Unknown {
        return Some("no codec knows this field of the provider's usage".to_owned());
    }
    let meter = line.charge.meter.as_str();
    let tries = &answer.explanation.tries;
    let Some(named) = tries.iter().find_map(|tried| Some((&tried.list, tried.found.as_ref()?))) else {
        return Some(if tries.is_empty() {
            format!("there is no price list of provider {}", answer.provider)
        } else {
            format!("no list has a price of model {} at that time", answer.model)
        });
    };
    let (list, pattern) = named;
    let tier = answer.service_tier.as_ref();
    let tier = tier.map(|tier| format!(" in service tier {tier}")).unwrap_or_default();
    Some(format!(
        "{list} names {pattern}, and has no price of {meter} for it{tier} at that time"
    ))
}
