//! What a call is held against before it may go on: lists of what may be called, then budgets and rate limits, which may change what is asked.

use std::time::SystemTime;

use bytes::Bytes;
use tollgate_codec::{Endpoint, Request};
use tollgate_record::admission::{Admission, Hold, Pending, Permit, Refusal};
use tollgate_record::{Decision, Name};

use crate::fault::Fault;
use crate::identified::Identified;
use crate::refusal::Refused;
use crate::rules::{self, ModelList};
use crate::told::{self, Told};
use crate::upstream::Upstream;

/// How often a call waits for shares of budgets before it is refused. Who waits is counted in what is asked for next, so two are enough but for calls that come
/// while others wait.
const ROUNDS: usize = 3;

/// What is asked of whom, once that is known.
pub(crate) struct Asking<'a> {
    pub(crate) provider: &'a Upstream,
    pub(crate) endpoint: &'a Endpoint,
    /// Where the part of the path starts that goes on.
    pub(crate) start: usize,
    pub(crate) body: &'a Bytes,
}

/// What budgets and rate limits say to a call that may go on.
pub(crate) struct Permitted {
    /// What was set aside for it; dropped before the call is admitted, it is given back.
    pub(crate) hold: Option<Box<dyn Hold>>,
    /// What was decided, for the row.
    pub(crate) decisions: Vec<Decision>,
    /// Model that is asked in place of the one that the client named.
    pub(crate) downgraded_to: Option<Name>,
    /// What the answer tells of them.
    pub(crate) told: Told,
}

impl Identified {
    /// Holds the call against the lists of its key, service and team, and every model that it names against those of its proxy too.
    ///
    /// # Errors
    /// The [`Fault`] of the first list that does not allow it.
    pub(crate) fn allow_call(&self, asking: &Asking<'_>, asks: &Request, renamed: Option<&Name>) -> Result<(), Fault> {
        let Asking {
            provider,
            endpoint,
            body,
            ..
        } = *asking;
        for rules in &*self.key.access {
            rules::check_call(rules, &self.intent.call)?;
        }
        if self.model_lists().all(|list| list.rules.allows_everything()) {
            return Ok(());
        }
        let renamed = renamed.map(|model| (provider.name.as_str(), model));
        let named = rules::named(&provider.codec, endpoint, &self.head.headers, body, asks, renamed);
        let runs = endpoint.may_run_a_model();
        self.model_lists().try_for_each(|list| list.check(&named, runs))
    }

    /// Asks budgets and rate limits, and changes the request as they say.
    ///
    /// # Errors
    /// [`Fault::Refused`]; or that of a list that does not allow the model which a budget would have it ask.
    pub(crate) async fn permit(&mut self, asking: &Asking<'_>, asks: &mut Request) -> Result<Permitted, Fault> {
        let reserved = match self.reserve(asking, asks) {
            // Boxed: what is rare shall not make every call's future larger.
            Err(Refusal::Pending(pending)) => Box::pin(self.reserve_shared(asking, asks, pending)).await,
            reserved => reserved,
        };
        let mut permit = reserved.map_err(|refusal| {
            let at = SystemTime::now();
            Fault::Refused(Box::new(Refused { refusal, at }))
        })?;
        // Where the call is refused all the same, its row says what was decided before.
        self.decided = std::mem::take(&mut permit.decisions);
        if let Some(model) = &permit.model {
            // Every list must allow that one too.
            self.model_lists().try_for_each(|list| list.check_one(model))?;
            asks.model = Some(model.clone());
        }
        if let Some(tokens) = permit.max_tokens {
            let (codec, target) = (&asking.provider.codec, self.target(asking.start));
            codec.limit_to(asking.endpoint, target, asking.body, asks, tokens);
        }
        Ok(Permitted {
            told: told::of(&permit, &self.codec, SystemTime::now()),
            hold: permit.hold,
            decisions: self.decided.clone(),
            downgraded_to: permit.model,
        })
    }

    /// The lists of models that hold for the call: the proxy's, and those of key, service and team.
    fn model_lists(&self) -> impl Iterator<Item = ModelList<'_>> {
        let proxy = self.route.proxy().map(|proxy| proxy.models());
        proxy.into_iter().chain(self.key.access.iter().map(ModelList::of))
    }

    /// Asks budgets and rate limits.
    fn reserve(&self, asking: &Asking<'_>, asks: &Request) -> Admission {
        let target = self.target(asking.start);
        let codec = &asking.provider.codec;
        let bounds = || codec.bounds(asking.endpoint, target, &self.head.headers, asking.body, asks);
        self.context.gateway.ledger.reserve(&self.intent, &bounds)
    }

    /// Asks again each time that shares of budgets were granted.
    async fn reserve_shared(&self, asking: &Asking<'_>, asks: &Request, mut pending: Pending) -> Result<Permit, Refusal> {
        for _ in 0..ROUNDS {
            self.context.gateway.ledger.granted(&pending).await;
            match self.reserve(asking, asks) {
                Err(Refusal::Pending(more)) => pending = more,
                decided => return decided,
            }
        }
        Err(Refusal::Pending(pending))
    }
}
