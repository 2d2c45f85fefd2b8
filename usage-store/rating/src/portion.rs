//! What of a call is billed together: all of it; or, where its usage has parts, what each model took, and what no part has.
//!
//! Parts of one model are one portion as long as their sizes are in the same context tier: each is priced by its own size, not by that of the call.

use std::borrow::Cow;

use tollgate_record::{Call, Name, Payer, Timestamp, Usage};

use super::book::{PriceBook, Query};
use super::deal::Deals;

/// Counts that are billed by one query.
pub(super) struct Portion<'a> {
    /// The model that its charges name; none in a call without parts, and of what no part has.
    pub(super) label: Option<&'a Name>,
    pub(super) usage: Cow<'a, Usage>,
    pub(super) query: Query<'a>,
}

/// How large parts are taken to be where prices depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    /// As they are told.
    Told,
    /// As small as a part may be: of parts that were put together, the sizes are not known.
    Smallest,
}

/// The call whose portions are asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) call: &'a Call,
    pub(super) payer: Payer<'a>,
    pub(super) response_model: Option<&'a Name>,
    pub(super) usage: &'a Usage,
    pub(super) at: Timestamp,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// The query for the call as a whole.
    pub(super) fn query(&self) -> Query<'a> {
        Query::new(self.call, self.payer, self.response_model, self.usage, self.at)
    }

    /// What is billed together.
    pub(super) fn portions(&self, book: &PriceBook, sizes: Sizes) -> Vec<Portion<'a>> {
        if self.usage.parts.is_empty() {
            return vec![Portion {
                label: None,
                usage: Cow::Borrowed(self.usage),
                query: self.query(),
            }];
        }
        let mut rest = self.usage.clone();
        rest.parts.clear();
        let mut portions: Vec<(Option<u64>, Portion<'a>)> = Vec::new();
        for part in &self.usage.parts {
            rest.take_off(&part.usage);
            let size = match sizes {
                Sizes::Told => part.usage.input.unwrap_or(0),
                Sizes::Smallest => 0,
            };
            let (label, query) = self.of_part(part.model.as_ref(), size);
            let tier = Deals::new(book, &query).context_tier();
            let same = |(of, portion): &&mut (Option<u64>, Portion<'_>)| *of == tier && portion.label == label;
            if let Some((_, portion)) = portions.iter_mut().find(same) {
                portion.usage.to_mut().add(&part.usage);
                continue;
            }
            let mut usage = part.usage.clone();
            usage.source = self.usage.source;
            let usage = Cow::Owned(usage);
            portions.push((tier, Portion { label, usage, query }));
        }
        let query = Query {
            input_tokens: rest.input.unwrap_or(0),
            ..self.query()
        };
        let rest = Portion {
            label: None,
            usage: Cow::Owned(rest),
            query,
        };
        portions.into_iter().map(|(_, portion)| portion).chain([rest]).collect()
    }

    /// What is asked for a part, and what its charges are called. The model that was asked for is no substitute where another one took part.
    fn of_part(&self, model: Option<&'a Name>, size: u64) -> (Option<&'a Name>, Query<'a>) {
        let answered = answered(self.response_model, self.call.request_model.as_ref());
        let whole = Query {
            input_tokens: size,
            ..self.query()
        };
        match model.filter(|model| Some(*model) != answered) {
            None => (answered, whole),
            other => (
                other,
                Query {
                    response_model: other,
                    request_model: None,
                    ..whole
                },
            ),
        }
    }
}

/// The model that a part without a name is of.
pub(super) fn answered<'a>(response_model: Option<&'a Name>, request_model: Option<&'a Name>) -> Option<&'a Name> {
    response_model.or(request_model)
}
