//! OpenRouter's activity, as its Activity page exports it to CSV with a row for each generation.
//!
//! OpenRouter documents the page and not the columns; these are the ones that public scripts read (seen September 2026): `generation_id`,
//! `created_at` (UTC), `cost_total`, `cost_web_search`, `cost_cache`, `cost_file_processing`, `byok_usage_inference`, `tokens_prompt`,
//! `tokens_completion`, `tokens_reasoning`, `tokens_cached`, `model_permaslug`, `provider_name`, `variant`, `cancelled`, `streamed`, `user`,
//! `finish_reason_raw`, `finish_reason_normalized`, `generation_time_ms`, `time_to_first_token_ms`, `api_key_name`, `app_name`. They are found
//! by name; those that are not known are passed over.

use std::sync::Arc;

use tollgate_record::{Amount, CostStatus, Record, Tags, Usage};

use crate::cells::{Cells, name};
use crate::columns::microseconds;
use crate::draft::{Draft, Origin, money, stated, usd};
use crate::time;

/// What a file must have to be such an export.
pub(crate) const REQUIRED: &[&str] = &["generation_id", "created_at", "cost_total", "model_permaslug"];

/// Reads a row.
pub(crate) fn record(cells: &Cells, origin: &Origin) -> Result<Record, String> {
    let start = time::parse(cells.required("created_at")?).map_err(|reason| format!("created_at: {reason}"))?;
    let mut draft = Draft::new(cells.required("generation_id")?, start, name("operation_name", "chat")?);
    draft.identity.key_id = cells.name("api_key_name")?.unwrap_or(draft.identity.key_id);
    draft.identity.service = cells.name("app_name")?;
    draft.identity.user = cells.name("user")?;
    draft.duration_us = microseconds(cells, "generation_time_ms")?.unwrap_or(0);
    draft.time_to_first_token_us = microseconds(cells, "time_to_first_token_ms")?;
    draft.call.provider_name = Some(name("provider_name", "openrouter")?);
    draft.call.template = draft.call.provider_name.clone();
    draft.call.request_model = cells.name("model_permaslug")?;
    draft.response_model = draft.call.request_model.clone();
    draft.call.stream = cells.flag("streamed")?.unwrap_or(false);
    draft.finish_reason = cells.name("finish_reason_normalized")?;
    let tags = [("openrouter_provider", "provider_name"), ("openrouter_variant", "variant")];
    let tags = tags.into_iter().filter_map(|(tag, column)| Some((tag, cells.text(column)?)));
    draft.caller.tags = Arc::new(Tags::from_pairs(tags));
    if cells.flag("cancelled")?.unwrap_or(false) {
        draft.notes.push("the client cancelled the generation".to_owned());
    }
    draft.count(Usage {
        input: cells.count("tokens_prompt")?,
        cache_read: cells.count("tokens_cached")?,
        output: cells.count("tokens_completion")?,
        reasoning: cells.count("tokens_reasoning")?,
        ..Usage::default()
    });
    let total = money(cells, "cost_total")?.ok_or("cost_total is missing")?;
    let own_key = money(cells, "byok_usage_inference")?.filter(|own_key| !own_key.amount.is_zero());
    draft.cost = stated(&amounts(total.amount, own_key.as_ref().map(|own_key| own_key.amount)), usd())?;
    draft.notes.extend(total.note);
    if let Some(own_key) = own_key {
        // What a provider bills to a key of one's own is OpenRouter's estimate.
        draft.cost.status = CostStatus::Estimated;
        draft.notes.push(format!(
            "{} of the cost is what the provider bills to your own key, as OpenRouter estimates it",
            own_key.amount
        ));
        draft.notes.extend(own_key.note);
    } else if total.amount.is_zero() {
        // OpenRouter bills by this column: zero is no unknown.
        draft.cost.status = CostStatus::Free;
    }
    Ok(draft.finish(origin))
}

fn amounts(total: Amount, own_key: Option<Amount>) -> Vec<Amount> {
    std::iter::once(total)
        .chain(own_key)
        .filter(|amount| !amount.is_zero())
        .collect()
}
