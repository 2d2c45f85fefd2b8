//! Which models may be called: names and globs, allowed and denied.

use std::fmt;
use std::str::Chars;

use crate::{Name, NameError};

/// A model's name, or a glob of names: `*` is any text, `?` any one character. `/` is a character like any other, as it is in model names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelGlob(Name);

/// Why a text is no [`ModelGlob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelGlobError {
    /// It cannot be a name either.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It has a character that other globs give a meaning to, and that no model's name has.
    #[error("{0:?} has no meaning in a glob of models: only '*' (any text) and '?' (any one character) have")]
    Special(char),
}

/// Models that may be called: those that `allow` matches and `deny` does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRules {
    /// What may be called. Case counts.
    pub allow: Vec<ModelGlob>,
    /// What may not, although it is allowed. Case does not count: some upstreams take a name in any.
    pub deny: Vec<ModelGlob>,
}

/// Most patterns that a message lists.
const LISTED_MAX: usize = 20;

// === impl ModelGlob ===

impl ModelGlob {
    /// Checks a text.
    ///
    /// # Errors
    /// [`ModelGlobError`] if it can be no name, or has brackets, braces, `!`, backslashes or blanks.
    pub fn new(text: &str) -> Result<Self, ModelGlobError> {
        let special = |letter: &char| matches!(letter, '[' | ']' | '{' | '}' | '!' | '\\') || letter.is_whitespace();
        match text.chars().find(special) {
            Some(letter) => Err(ModelGlobError::Special(letter)),
            None => Ok(Self(Name::new(text)?)),
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is the name of one model.
    pub fn is_exact(&self) -> bool {
        !self.as_str().contains(['*', '?'])
    }

    /// Whether it matches every name.
    pub fn is_everything(&self) -> bool {
        self.as_str().bytes().all(|byte| byte == b'*')
    }

    /// Whether it matches a model's name, case included.
    pub fn matches(&self, model: &str) -> bool {
        is_match(self.as_str().chars(), model.chars(), |wanted, found| wanted == found)
    }

    /// Whether it matches a model's name, whatever the case of ASCII letters.
    pub fn matches_any_case(&self, model: &str) -> bool {
        is_match(self.as_str().chars(), model.chars(), |wanted, found| {
            wanted.eq_ignore_ascii_case(&found)
        })
    }
}

/// Steps back to the last `*` only, so the work is at most the product of both lengths.
fn is_match(mut pattern: Chars<'_>, mut text: Chars<'_>, same: impl Fn(char, char) -> bool) -> bool {
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut pattern_rest, mut text_rest) = (pattern.clone(), text.clone());
        match (pattern_rest.next(), text_rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                pattern = pattern_rest;
                star = Some((pattern.clone(), text.clone()));
            }
            (Some(wanted), Some(found)) if wanted == '?' || same(wanted, found) => (pattern, text) = (pattern_rest, text_rest),
            _ => {
                // The last star takes one character more.
                let Some((after, from)) = &mut star else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after.clone(), from.clone());
            }
        }
    }
}

// === impl ModelRules ===

impl ModelRules {
    /// Every model.
    pub fn everything() -> Self {
        Self {
            allow: vec![ModelGlob(Name::new("*").expect("a constant that is a name"))],
            deny: Vec::new(),
        }
    }

    /// Whether a model may be called.
    pub fn allows(&self, model: &str) -> bool {
        self.allow.iter().any(|glob| glob.matches(model)) && self.denies(model).is_none()
    }

    /// The first pattern that denies a model.
    pub fn denies(&self, model: &str) -> Option<&ModelGlob> {
        self.deny.iter().find(|glob| glob.matches_any_case(model))
    }

    /// Whether every model may be called, so that nothing depends on which it is.
    pub fn allows_everything(&self) -> bool {
        self.deny.is_empty() && self.allow.iter().any(ModelGlob::is_everything)
    }
}

impl fmt::Display for ModelRules {
    /// `gpt-x*, o9, but not *-preview`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, globs: &[ModelGlob]| {
            for (index, glob) in globs.iter().take(LISTED_MAX).enumerate() {
                let separator = if index > 0 { ", " } else { "" };
                write!(f, "{separator}{}", glob.as_str())?;
            }
            f.write_str(if globs.len() > LISTED_MAX { ", ..." } else { "" })
        };
        list(f, &self.allow)?;
        if self.deny.is_empty() {
            return Ok(());
        }
        f.write_str(", but not ")?;
        list(f, &self.deny)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn globs(texts: &[&str]) -> Vec<ModelGlob> {
        texts.iter().map(|text| ModelGlob::new(text).unwrap()).collect()
    }

    fn rules(allow: &[&str], deny: &[&str]) -> ModelRules {
        ModelRules {
            allow: globs(allow),
            deny: globs(deny),
        }
    }

    #[test]
    fn stars_are_any_text_and_question_marks_one_character() {
        for (glob, matched, other) in [
            ("gpt-x", vec!["gpt-x"], vec!["gpt-x-mini", "a-gpt-x", "GPT-X", "gpt-", ""]),
            ("gpt-*", vec!["gpt-", "gpt-x/y"], vec!["gpt", "xgpt-"]),
            ("*", vec!["x", "a/b", ""], vec![]),
            ("*-mini", vec!["a-mini", "-mini", "a-mini-mini"], vec!["mini", "a-mini-b"]),
            ("a*b*c", vec!["abc", "a-b-b-c", "abcbc"], vec!["acb", "ab", "abcd"]),
            ("o?", vec!["o3", "o\u{e9}"], vec!["o", "o33"]),
            ("**x?*", vec!["xy", "axyz"], vec!["x"]),
        ] {
            let glob = ModelGlob::new(glob).unwrap();
            for model in matched {
                assert!(glob.matches(model), "{} {model}", glob.as_str());
            }
            for model in other {
                assert!(!glob.matches(model), "{} {model}", glob.as_str());
            }
        }
    }

    #[test]
    fn a_match_that_must_step_back_often_is_no_work() {
        let glob = ModelGlob::new(&"a*".repeat(128)).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(100))));
        assert!(glob.matches(&"a".repeat(256)));
    }

    #[test]
    fn what_is_denied_is_denied_in_any_case() {
        let rules = rules(&["gpt-*", "o9"], &["*-Preview"]);
        for (model, allowed) in [
            ("gpt-x", true),
            ("GPT-x", false),
            ("o9", true),
            ("o9-mini", false),
            ("gpt-x-preview", false),
            ("gpt-x-PREVIEW", false),
        ] {
            assert_eq!(rules.allows(model), allowed, "{model}");
        }
        assert_eq!(rules.to_string(), "gpt-*, o9, but not *-Preview");
        assert!(!rules.allows_everything() && self::rules(&["a", "**"], &[]).allows_everything());
        assert!(!self::rules(&[], &[]).allows("x"));
        assert!(ModelRules::everything().allows_everything() && ModelRules::everything().allows("x/y"));
    }

    #[test]
    fn long_lists_are_cut_in_messages() {
        let many: Vec<String> = (0..30).map(|number| format!("m{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(rules(&many, &[]).to_string().ends_with("m18, m19, ..."));
    }

    #[test]
    fn what_other_globs_know_is_refused() {
        for (text, letter) in [("gpt-[45]", '['), ("{a,b}", '{'), ("!gpt", '!'), ("a b", ' '), ("a\\*", '\\')] {
            assert_eq!(ModelGlob::new(text), Err(ModelGlobError::Special(letter)));
        }
        assert_eq!(ModelGlob::new(""), Err(ModelGlobError::Name(NameError::Empty)));
    }
}
