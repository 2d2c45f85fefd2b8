//! How much models read and write at most, ready to be asked.
//!
//! 1. The operator's own declarations win over the shipped ones; in each, those for the provider over those for its template.
//! 2. In one declaration an exact name beats a glob, of globs the one with more plain characters wins, and a name without its date is tried last.
//! 3. What the first that names the model leaves out, the next may say; what none says is [`Limits::UNKNOWN`].

use tollgate_record::Name;
use tollgate_record::limits::{Limits, ModelLimits};

use super::book::without_date;
use super::pattern::Pattern;

/// Every declaration of models' limits. Never changes; a reload makes a new one.
#[derive(Debug, Default)]
pub struct LimitBook {
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    source: ModelLimits,
    /// The models, the most specific pattern first, and their places.
    patterns: Vec<(Pattern, usize)>,
}

// === impl LimitBook ===

impl LimitBook {
    /// Makes a book of checked declarations; of two that say the same, the first wins.
    pub fn new(declared: Vec<ModelLimits>) -> Self {
        let mut lists: Vec<List> = declared.into_iter().map(List::new).collect();
        lists.sort_by_key(|list| list.source.shipped);
        Self { lists }
    }

    /// The limits of a provider's model.
    pub fn of(&self, provider: Option<&Name>, template: Option<&Name>, model: Option<&Name>) -> Limits {
        let mut limits = Limits::UNKNOWN;
        let Some(model) = model.map(Name::as_str) else { return limits };
        let (mut input, mut output) = (None, None);
        let asked = [(false, provider), (false, template), (true, provider), (true, template)];
        for (shipped, provider) in asked {
            let lists = self.lists.iter();
            for list in lists.filter(|list| list.source.shipped == shipped && Some(&list.source.provider) == provider) {
                for name in [Some(model), without_date(model)].into_iter().flatten() {
                    for (_, place) in list.patterns.iter().filter(|(pattern, _)| pattern.is_match(name)) {
                        let Some(limit) = list.source.models.get(*place) else {
                            continue;
                        };
                        input = input.or(limit.input_tokens);
                        output = output.or(limit.output_tokens);
                    }
                }
            }
        }
        limits.input_known = input.is_some();
        limits.input_tokens = input.unwrap_or(limits.input_tokens);
        limits.output_tokens = output.unwrap_or(limits.output_tokens);
        limits
    }
}

// === impl List ===

impl List {
    fn new(source: ModelLimits) -> Self {
        let models = source.models.iter().enumerate();
        let mut patterns: Vec<_> = models
            .map(|(place, limit)| (Pattern::new(limit.model.as_str()), place))
            .collect();
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse((pattern.exact, pattern.plain)));
        Self { source, patterns }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tollgate_record::limits::ModelLimit;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn list(provider: &str, shipped: bool, models: &[(&str, Option<u64>, Option<u64>)]) -> ModelLimits {
        let model = |(model, input_tokens, output_tokens): &(&str, Option<u64>, Option<u64>)| ModelLimit {
            model: name(model),
            input_tokens: *input_tokens,
            output_tokens: *output_tokens,
            source: None,
        };
        ModelLimits {
            name: name("limits"),
            provider: name(provider),
            shipped,
            models: models.iter().map(model).collect(),
        }
    }

    #[test]
    fn the_most_specific_declaration_wins_and_others_fill_in() {
        let book = LimitBook::new(vec![
            list(
                "openai",
                true,
                &[("m*", Some(1), Some(2)), ("m-2", Some(3), Some(4)), ("x", None, Some(9))],
            ),
            list("acme", false, &[("m-2", None, Some(5))]),
        ]);
        let (acme, openai) = (name("acme"), name("openai"));
        let of = |model: &str| {
            let limits = book.of(Some(&acme), Some(&openai), Some(&name(model)));
            (limits.input_tokens, limits.output_tokens, limits.input_known)
        };
        assert_eq!(of("m-1"), (1, 2, true));
        assert_eq!(of("m-2"), (3, 5, true), "the operator's answer, the shipped window");
        assert_eq!(of("m-2-2026-01-01"), (1, 5, true), "a glob fits the whole name");
        assert_eq!(of("x-20260101"), (Limits::UNKNOWN.input_tokens, 9, false));
        assert_eq!(
            of("other"),
            (Limits::UNKNOWN.input_tokens, Limits::UNKNOWN.output_tokens, false)
        );
        assert_eq!(book.of(Some(&acme), None, None), Limits::UNKNOWN);
    }
}
