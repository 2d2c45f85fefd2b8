//! What each inference of an answer took: attempts of the model that was asked for and of its fallbacks, turns of a loop of server tools, compactions, an
//! advisor's advice.
//!
//! 1. Each is billed at the rates of its own model: `usage.iterations` "is the per-attempt record of what you're billed. The top-level `usage` counts describe only
//!    the attempt that produced the returned message" (Anthropic's documentation, "Refusals and fallback", "Billing and rate limits", September 2026). An
//!    advisor's tokens "are not rolled into the top-level totals", whose input is that of the first turn only ("Advisor tool", "Usage and billing"), nor are
//!    those of a compaction ("Compaction"; `types/beta/beta_usage.py`). So the call took the sum of its iterations.
//! 2. Of a list that is older than the counts beside it, what these have more is the answering model's.
//! 3. A refusal before any output is billed if its category is one of [`BILLED`]; else its tokens are told and not billed ("How refusals are billed").
//!    Of an attempt that gave way to another model, the `fallback` block of the content tells the category (`types/beta/beta_fallback_block.py`).
//! 4. A kind of iteration that is not known here may be billed in another way, and is shown as unknown.

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::{Name, Part, UnknownUsage, Usage};

use super::Tokens;
use crate::answer::unknown;
use crate::json::{self, Leaf};

/// Longest kind of an iteration that is told in full, in bytes.
const KIND_BYTES_MAX: usize = 64;
/// Most `fallback` blocks that are noted; a request names three models at most.
const FALLBACKS_MAX: usize = 8;
/// Categories of refusals that are billed before any output.
const BILLED: [&str; 3] = ["bio", "frontier_llm", "reasoning_extraction"];

/// What was told of an answer's inferences.
#[derive(Debug, Default)]
pub(super) struct Iterations {
    list: Vec<Iteration>,
    unknown: Vec<UnknownUsage>,
    /// Whether each refusal that handed over to another model is billed, in their order.
    handed_over: Vec<bool>,
    /// Whether the refusal that the answer ends with is billed.
    refused: Option<bool>,
    /// Whether the answer has said anything.
    has_content: bool,
}

#[derive(Debug)]
struct Iteration {
    kind: Kind,
    model: Option<Name>,
    tokens: Tokens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A turn of an attempt.
    Message,
    /// The last turn of a fallback.
    Fallback,
    /// What the totals leave out.
    Beside,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    trigger: Option<&'a RawValue>,
}

// === impl Iterations ===

impl Iterations {
    pub(super) fn unknown(&self) -> impl Iterator<Item = &UnknownUsage> {
        self.unknown.iter()
    }

    /// Takes a list in place of an earlier one.
    pub(super) fn take(&mut self, list: &RawValue) {
        self.list.clear();
        self.unknown.clear();
        let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else {
            return;
        };
        for raw in list {
            self.take_one(raw);
        }
    }

    fn take_one(&mut self, raw: &RawValue) {
        let head: Head<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        let name = head.kind.and_then(json::text).unwrap_or_default();
        // It becomes a part of every field's name.
        let name = name.get(..name.floor_char_boundary(KIND_BYTES_MAX)).unwrap_or_default();
        let kind = match name {
            "message" => Some(Kind::Message),
            "fallback_message" => Some(Kind::Fallback),
            "compaction" | "advisor_message" => Some(Kind::Beside),
            _ => None,
        };
        let mut tokens = Tokens::default();
        json::leaves(raw, |path, leaf| {
            let Leaf::Count(count) = leaf else { return };
            let field = match (kind, path) {
                (Some(_), "input_tokens") => &mut tokens.input,
                (Some(_), "cache_read_input_tokens") => &mut tokens.cache_read,
                (Some(_), "cache_creation_input_tokens") => &mut tokens.cache_creation,
                (Some(_), "cache_creation.ephemeral_5m_input_tokens") => &mut tokens.cache_creation_5m,
                (Some(_), "cache_creation.ephemeral_1h_input_tokens") => &mut tokens.cache_creation_1h,
                (Some(_), "output_tokens") => &mut tokens.output,
                // The totals tell what else there is to attempts.
                (Some(Kind::Message | Kind::Fallback), _) => return,
                (_, path) => return unknown(&mut self.unknown, &format!("iterations.{name}.{path}"), count),
            };
            *field = Some(count);
        });
        let Some(kind) = kind else { return };
        let tokens = tokens.checked();
        let model = json::name(head.model);
        if self.list.len() < Usage::MAX_PARTS {
            self.list.push(Iteration { kind, model, tokens });
        } else if let Some(last) = self.list.iter_mut().rev().find(|last| last.model == model) {
            last.tokens.add(&tokens);
        } else {
            unknown(&mut self.unknown, "iterations", 1);
        }
    }

    /// Notes a block of the answer's content.
    pub(super) fn take_block(&mut self, block: &RawValue) {
        let head: Head<'_> = serde_json::from_str(block.get()).unwrap_or_default();
        if head.kind.and_then(json::text).as_deref() != Some("fallback") {
            self.has_content = true;
        } else if self.handed_over.len() < FALLBACKS_MAX {
            self.handed_over.push(is_billed(head.trigger));
        }
    }

    /// Notes a block that is no fallback.
    pub(super) const fn has_content(&mut self) {
        self.has_content = true;
    }

    /// Notes why the model stopped.
    pub(super) fn take_stop(&mut self, reason: &str, details: Option<&RawValue>) {
        self.refused = (reason == "refusal").then(|| is_billed(details));
    }

    /// The fallback that answered.
    pub(super) fn served(&self) -> Option<&Name> {
        let served = self.list.iter().rev().find(|iteration| iteration.kind == Kind::Fallback);
        served.and_then(|iteration| iteration.model.as_ref())
    }

    /// What the call took in all, and its parts, of counts that were told beside the iterations.
    pub(super) fn of_call(&self, told: Tokens, answered: Option<&Name>) -> (Tokens, Vec<Part>) {
        if self.list.is_empty() {
            let nothing_said = !self.has_content || told.output == Some(0);
            let unbilled = self.refused == Some(false) && nothing_said && told.output.is_some();
            return (if unbilled { told.unbilled() } else { told }, Vec::new());
        }
        let mut covered = Tokens::default();
        for iteration in self.list.iter().filter(|iteration| iteration.kind != Kind::Beside) {
            covered.add(&iteration.tokens);
        }
        let split_of = self.whose_split(&told, &covered);
        let rest = told.beyond(&covered, split_of.is_some());
        let unbilled = self.unbilled();
        let mut total = rest.clone();
        let mut parts = Vec::with_capacity(self.list.len());
        for (place, iteration) in self.list.iter().enumerate() {
            let mut tokens = iteration.tokens.clone();
            if split_of == Some(place) {
                tokens.cache_creation_5m = told.cache_creation_5m;
                tokens.cache_creation_1h = told.cache_creation_1h;
            }
            if unbilled.contains(&place) {
                tokens = tokens.unbilled();
            }
            total.add(&tokens);
            let mut usage = Usage::default();
            tokens.fill(&mut usage);
            let model = iteration.model.clone().filter(|model| Some(model) != answered);
            parts.push(Part { model, usage });
        }
        if let ([Part { model: None, .. }], true) = (parts.as_slice(), rest.is_nothing()) {
            parts.clear();
        }
        (total, parts)
    }

    /// The only iteration that wrote to a cache, if it does not say for how long and the totals do.
    fn whose_split(&self, told: &Tokens, covered: &Tokens) -> Option<usize> {
        if covered.has_split() || !told.has_split() || told.cache_creation != covered.cache_creation {
            return None;
        }
        let of_totals = self.list.iter().enumerate().filter(|(_, one)| one.kind != Kind::Beside);
        let mut wrote = of_totals.filter(|(_, one)| one.tokens.cache_creation.unwrap_or(0) > 0);
        let (place, _) = wrote.next()?;
        wrote.next().is_none().then_some(place)
    }

    /// Places of iterations that were refused before any output and are not billed. An attempt is all that one model did in a row.
    fn unbilled(&self) -> Vec<usize> {
        let of_attempts = self.list.iter().enumerate().filter(|(_, one)| one.kind != Kind::Beside);
        let mut attempts: Vec<(Option<&Name>, Vec<usize>, u64)> = Vec::new();
        for (place, iteration) in of_attempts {
            let output = iteration.tokens.output.unwrap_or(0);
            match attempts.last_mut() {
                Some((model, places, sum)) if *model == iteration.model.as_ref() => {
                    places.push(place);
                    *sum = sum.saturating_add(output);
                }
                _ => attempts.push((iteration.model.as_ref(), vec![place], output)),
            }
        }
        let last = attempts.len().saturating_sub(1);
        let known = self.handed_over.len() == last;
        let attempts = attempts.into_iter().enumerate();
        attempts
            .filter(|(turn, (_, _, output))| {
                let billed = if *turn == last {
                    self.refused.unwrap_or(true)
                } else {
                    // Which refusal is whose cannot be told: none is left out of the bill.
                    !known || self.handed_over.get(*turn).copied().unwrap_or(true)
                };
                *output == 0 && !billed
            })
            .flat_map(|(_, (_, places, _))| places)
            .collect()
    }
}

/// Whether a refusal of this category costs something before any output.
fn is_billed(details: Option<&RawValue>) -> bool {
    let category = details.and_then(|raw| json::find(raw.get().as_bytes(), &[json::Step::Key("category".into())]));
    category
        .and_then(json::text)
        .is_some_and(|category| BILLED.contains(&&*category))
}
