//! What a call can come to, by the price lists in force and the limits of models: see [`tollgate_rating::worst()`].
//!
//! The dearest prices of a model, and its limits, are looked up once for each provider, template, model, region and payer, and kept until a price or a
//! declaration of limits changes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use arc_swap::ArcSwap;
use tollgate_budget::{Pricing, WorstCase};
use tollgate_rating::{Dearest, LimitBook, Missing, PriceBook};
use tollgate_record::admission::Bounds;
use tollgate_record::limits::Limits;
use tollgate_record::{Call, Intent, Name, Payer};

use crate::wal::lock;

/// Dearest prices that are kept.
const KEPT: usize = 10_000;

/// Dearest prices and limits, and the books that they are of.
#[derive(Default)]
pub(crate) struct Prices {
    pub(crate) limits: ArcSwap<LimitBook>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    books: Option<(Arc<PriceBook>, Arc<LimitBook>)>,
    known: HashMap<Box<[u8]>, Arc<Known>>,
}

/// What is known of a model.
struct Known {
    dearest: Result<Dearest, Missing>,
    limits: Limits,
}

/// What one call can come to.
pub(crate) struct Priced<'a> {
    pub(crate) prices: &'a Prices,
    pub(crate) book: &'a Arc<PriceBook>,
    pub(crate) intent: &'a Intent,
}

impl Priced<'_> {
    fn known(&self, call: &Call) -> Arc<Known> {
        let payer = Payer::from(&*self.intent.identity);
        let parts = [
            call.provider_name.as_ref(),
            call.template.as_ref(),
            call.request_model.as_ref(),
            call.region.as_ref(),
            payer.org,
            payer.team,
        ];
        let mut key = Vec::with_capacity(128);
        for part in parts {
            // No text has this byte.
            key.push(0xff);
            key.extend_from_slice(part.map_or(b"\xfe", |name| name.as_str().as_bytes()));
        }
        let at = self.intent.start_time;
        let holds = |known: &Known| match &known.dearest {
            Ok(dearest) => dearest.until.is_none_or(|until| at < until),
            // A price may come into force at any time.
            Err(_) => false,
        };
        let limits = self.prices.limits.load();
        let is_of = |(book, of): &(Arc<PriceBook>, Arc<LimitBook>)| Arc::ptr_eq(book, self.book) && Arc::ptr_eq(of, &limits);
        {
            let mut kept = lock(&self.prices.kept);
            if !kept.books.as_ref().is_some_and(is_of) {
                kept.books = Some((Arc::clone(self.book), Arc::clone(&limits)));
                kept.known.clear();
            }
            if let Some(found) = kept.known.get(key.as_slice()).filter(|found| holds(found)) {
                return Arc::clone(found);
            }
        }
        let model = call.request_model.as_ref();
        let found = Arc::new(Known {
            dearest: Dearest::of(self.book, call, payer, at),
            limits: limits.of(call.provider_name.as_ref(), call.template.as_ref(), model),
        });
        let mut kept = lock(&self.prices.kept);
        if kept.books.as_ref().is_some_and(is_of) {
            if kept.known.len() >= KEPT {
                kept.known.clear();
            }
            kept.known.insert(key.into(), Arc::clone(&found));
        }
        found
    }
}

impl Pricing for Priced<'_> {
    fn worst(&self, model: Option<&Name>, bounds: &Bounds) -> WorstCase {
        static NONE: LazyLock<Name> = LazyLock::new(|| Name::new("XXX").expect("ISO 4217's code for no currency is a name"));
        if bounds.is_nothing() {
            return WorstCase {
                cost: Ok((0, NONE.clone())),
                input_tokens: 0,
                output_tokens: 0,
            };
        }
        let asked = &self.intent.call;
        let other;
        let call = if model == asked.request_model.as_ref() {
            asked
        } else {
            other = Call {
                request_model: model.cloned(),
                ..asked.clone()
            };
            &other
        };
        let known = self.known(call);
        let tokens = tollgate_rating::tokens(bounds, &known.limits);
        let cost = match &known.dearest {
            Ok(dearest) => dearest
                .cost(bounds, &known.limits)
                .map(|worst| (worst.cost.units(), worst.currency)),
            Err(missing) => Err(missing.clone()),
        };
        WorstCase {
            cost: cost.map_err(|missing| missing.to_string()),
            input_tokens: tokens.input,
            output_tokens: tokens.output,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tollgate_record::limits::{ModelLimit, ModelLimits};

    use super::*;
    use crate::testing::{intent, name, prices};

    #[test]
    fn limits_that_have_changed_hold_for_the_next_call() {
        let (kept, book, intent) = (Prices::default(), Arc::new(prices()), intent(0));
        let model = intent.call.request_model.clone().unwrap();
        let bounds = Bounds {
            input_tokens: 1,
            answers: 1,
            ..Bounds::default()
        };
        let priced = Priced {
            prices: &kept,
            book: &book,
            intent: &intent,
        };
        for tokens in [10, 20] {
            let declared = ModelLimits {
                name: name("limits"),
                provider: name("openai"),
                shipped: false,
                models: vec![ModelLimit {
                    model: model.clone(),
                    input_tokens: None,
                    output_tokens: Some(tokens),
                    source: None,
                }],
            };
            kept.limits.store(Arc::new(LimitBook::new(vec![declared])));
            for _ in 0..2 {
                let worst = priced.worst(Some(&model), &bounds);
                assert!(worst.cost.is_ok(), "{:?}", worst.cost);
                assert_eq!(worst.output_tokens, tokens);
            }
        }
    }
}
