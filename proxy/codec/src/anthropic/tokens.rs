//! Tokens in Anthropic's convention: cache reads and writes beside the input.

use tollgate_record::Usage;

/// Tokens as they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) input: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_creation: Option<u64>,
    pub(crate) cache_creation_5m: Option<u64>,
    pub(crate) cache_creation_1h: Option<u64>,
    pub(crate) output: Option<u64>,
    /// Inside `input`.
    unbilled: Option<u64>,
}

// === impl Tokens ===

impl Tokens {
    /// The same with a total of writes, and without a split that says nothing: a later total may be smaller than the split that only an earlier
    /// event told.
    pub(super) fn checked(&self) -> Self {
        let split = self
            .cache_creation_5m
            .unwrap_or_default()
            .saturating_add(self.cache_creation_1h.unwrap_or_default());
        let cache_creation = self.cache_creation.or(self.has_split().then_some(split));
        let holds = split <= cache_creation.unwrap_or_default();
        Self {
            cache_creation,
            cache_creation_5m: self.cache_creation_5m.filter(|_| holds),
            cache_creation_1h: self.cache_creation_1h.filter(|_| holds),
            ..self.clone()
        }
    }

    pub(super) const fn has_split(&self) -> bool {
        self.cache_creation_5m.is_some() || self.cache_creation_1h.is_some()
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.counts().into_iter().flatten().all(|count| count == 0)
    }

    pub(super) fn add(&mut self, more: &Self) {
        for (count, more) in self.counts_mut().into_iter().zip(more.counts()) {
            *count = match (*count, more) {
                (None, None) => None,
                (count, more) => Some(count.unwrap_or_default().saturating_add(more.unwrap_or_default())),
            };
        }
    }

    /// What these have more than others; of writes without lifetimes, if those were told elsewhere.
    pub(super) fn beyond(&self, others: &Self, split_elsewhere: bool) -> Self {
        let mut more = self.clone();
        for (count, other) in more.counts_mut().into_iter().zip(others.counts()) {
            *count = count.map(|count| count.saturating_sub(other.unwrap_or_default()));
        }
        if split_elsewhere {
            more.cache_creation_5m = None;
            more.cache_creation_1h = None;
        }
        more.checked()
    }

    /// The same as tokens that were told and are not billed: all of them input, and no output, of which the count is a placeholder.
    pub(super) fn unbilled(&self) -> Self {
        let counts = [self.input, self.cache_read, self.cache_creation];
        let input = counts.into_iter().flatten().fold(0, u64::saturating_add);
        Self {
            input: Some(input),
            unbilled: Some(input),
            output: Some(0),
            ..Self::default()
        }
    }

    /// Puts them into usage in the ledger's convention.
    pub(super) fn fill(&self, usage: &mut Usage) {
        usage.cache_read = self.cache_read;
        usage.cache_creation = self.cache_creation;
        usage.cache_creation_5m = self.cache_creation_5m;
        usage.cache_creation_1h = self.cache_creation_1h;
        let beside = self
            .cache_read
            .unwrap_or_default()
            .saturating_add(self.cache_creation.unwrap_or_default());
        usage.input = match (self.input, beside) {
            (None, 0) => None,
            (input, beside) => Some(input.unwrap_or_default().saturating_add(beside)),
        };
        usage.unbilled_in = self.unbilled;
        usage.output = self.output;
    }

    const fn counts(&self) -> [Option<u64>; 7] {
        [
            self.input,
            self.cache_read,
            self.cache_creation,
            self.cache_creation_5m,
            self.cache_creation_1h,
            self.output,
            self.unbilled,
        ]
    }

    const fn counts_mut(&mut self) -> [&mut Option<u64>; 7] {
        [
            &mut self.input,
            &mut self.cache_read,
            &mut self.cache_creation,
            &mut self.cache_creation_5m,
            &mut self.cache_creation_1h,
            &mut self.output,
            &mut self.unbilled,
        ]
    }
}
