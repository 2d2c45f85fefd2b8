//! Model names in price lists: plain ones, and globs of `*` and `?`.

use globset::{GlobBuilder, GlobMatcher};

/// A name, or a glob.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What stands before the first `*` or `?`: most models are told apart by it, and no pattern is run for them.
    stem: Box<str>,
    /// `None` for a glob that cannot be compiled, which fits nothing.
    matcher: Option<GlobMatcher>,
    /// Whether it is a name.
    pub(super) exact: bool,
    /// Its plain characters: of globs, the one with more of them wins.
    pub(super) plain: usize,
}

// === impl Pattern ===

impl Pattern {
    pub(super) fn new(model: &str) -> Self {
        let wild = ['*', '?'];
        Self {
            stem: model.split(wild).next().unwrap_or_default().into(),
            matcher: matcher(model),
            exact: !model.contains(wild),
            plain: model.bytes().filter(|byte| !matches!(byte, b'*' | b'?')).count(),
        }
    }

    pub(super) fn is_match(&self, model: &str) -> bool {
        if self.exact {
            return *self.stem == *model;
        }
        model.starts_with(&*self.stem) && self.matcher.as_ref().is_some_and(|matcher| matcher.is_match(model))
    }
}

/// A glob in which `/` is a character like any other, as it is in model names.
fn matcher(model: &str) -> Option<GlobMatcher> {
    // Brackets and braces stand for themselves: only `*` and `?` are promised.
    let mut escaped = String::with_capacity(model.len());
    for character in model.chars() {
        if matches!(character, '[' | ']' | '{' | '}' | '\\' | '!') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    GlobBuilder::new(&escaped)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .ok()
        .map(|glob| glob.compile_matcher())
}
