//! Kind `ModelLimits`: how much a provider's models read and write at most. Bounding calls by it is the work of rating.

use std::collections::HashMap;

use tollgate_record::Name;
use tollgate_record::limits::{ModelLimit, ModelLimits};

use crate::field::Fields;
use crate::value::Value;

/// Largest limit, in tokens.
const TOKENS_MAX: u64 = 1_000_000_000;

/// Reads `spec`; whether the provider exists is checked when all documents are known.
pub(crate) fn read(name: Name, mut spec: Fields<'_>, shipped: bool) -> Option<ModelLimits> {
    let provider = spec.required("provider").and_then(|value| value.name());
    let source = spec.take("source").and_then(|value| value.text()).map(|text| text.resolved);
    let list = spec.required("models");
    spec.finish();
    let models = models(&list?, source.as_deref())?;
    Some(ModelLimits {
        name,
        provider: provider?,
        shipped,
        models,
    })
}

fn models(list: &Value<'_>, source: Option<&str>) -> Option<Vec<ModelLimit>> {
    let items = list.items()?;
    if items.len() == 0 {
        list.wrong("has no model");
    }
    let mut models: Vec<ModelLimit> = Vec::with_capacity(items.len());
    let mut lines: HashMap<Name, u32> = HashMap::with_capacity(items.len());
    for item in items {
        let Some(limit) = item.fields().and_then(|fields| model(&item, fields, source)) else {
            continue;
        };
        if let Some(line) = lines.insert(limit.model.clone(), item.line()) {
            item.wrong(format!(
                "names model {} again, which line {line} has: keep one of them",
                limit.model
            ));
        }
        models.push(limit);
    }
    Some(models)
}

fn model(item: &Value<'_>, mut fields: Fields<'_>, list_source: Option<&str>) -> Option<ModelLimit> {
    let model = fields.required("model").and_then(|value| value.name());
    let mut tokens = |field| {
        let value = fields.take(field);
        // What is wrong is reported, and says something all the same.
        (value.is_some(), value.and_then(|value| value.integer(1..=TOKENS_MAX)))
    };
    let (says_input, input_tokens) = tokens("input_tokens");
    let (says_output, output_tokens) = tokens("output_tokens");
    let source = fields.take("source").and_then(|value| value.text()).map(|text| text.resolved);
    fields.finish();
    if !says_input && !says_output {
        item.wrong("limits nothing: give input_tokens, output_tokens or both");
    }
    Some(ModelLimit {
        model: model?,
        input_tokens,
        output_tokens,
        source: source.as_deref().or(list_source).map(Box::from),
    })
}
