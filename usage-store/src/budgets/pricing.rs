//! What a call can come to, by the price lists in force and the limits of models: see [`tollgate_rating::worst()`].
//!
//! The dearest prices of a model are looked up once for each provider, template, model, region and payer, and kept until a price changes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use arc_swap::ArcSwap;
use tollgate_budget::{Pricing, WorstCase};
use tollgate_rating::{Dearest, LimitBook, Missing, PriceBook};
use tollgate_record::admission::Bounds;
use tollgate_record::{Call, Intent, Name, Payer};

use crate::wal::lock;

/// Dearest prices that are kept.
const KEPT: usize = 10_000;

/// Dearest prices, and the book that they are of.
#[derive(Default)]
pub(crate) struct Prices {
    pub(crate) limits: ArcSwap<LimitBook>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    book: Option<Arc<PriceBook>>,
    dearest: HashMap<Box<[u8]>, Arc<Result<Dearest, Missing>>>,
}

/// What one call can come to.
pub(crate) struct Priced<'a> {
    pub(crate) prices: &'a Prices,
    pub(crate) book: &'a Arc<PriceBook>,
    pub(crate) intent: &'a Intent,
}

impl Priced<'_> {
    fn dearest(&self, call: &Call) -> Arc<Result<Dearest, Missing>> {
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
        let holds = |dearest: &Result<Dearest, Missing>| match dearest {
            Ok(dearest) => dearest.until.is_none_or(|until| at < until),
            // A price may come into force at any time.
            Err(_) => false,
        };
        {
            let mut kept = lock(&self.prices.kept);
            if !kept.book.as_ref().is_some_and(|book| Arc::ptr_eq(book, self.book)) {
                kept.book = Some(Arc::clone(self.book));
                kept.dearest.clear();
            }
            if let Some(found) = kept.dearest.get(key.as_slice()).filter(|found| holds(found)) {
                return Arc::clone(found);
            }
        }
        let found = Arc::new(Dearest::of(self.book, call, payer, at));
        let mut kept = lock(&self.prices.kept);
        if kept.book.as_ref().is_some_and(|book| Arc::ptr_eq(book, self.book)) {
            if kept.dearest.len() >= KEPT {
                kept.dearest.clear();
            }
            kept.dearest.insert(key.into(), Arc::clone(&found));
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
        let limits = self.prices.limits.load();
        let limits = limits.of(call.provider_name.as_ref(), call.template.as_ref(), model);
        let tokens = tollgate_rating::tokens(bounds, &limits);
        let cost = match &*self.dearest(call) {
            Ok(dearest) => dearest
                .cost(bounds, &limits)
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
