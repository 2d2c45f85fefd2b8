//! Lists of names and globs that are allowed and denied: of models, operations and proxies.

use tollgate_record::{ModelGlob, ModelGlobError, ModelRules};

use crate::field::Fields;
use crate::nearest::nearest;
use crate::value::Value;

/// Most patterns of a list.
const PATTERNS_MAX: usize = 100;

/// Operations that have a name of their own; all others go by their path.
const OPERATIONS: [&str; 4] = ["chat", "text_completion", "embeddings", "generate_content"];

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Models,
    Operations,
    Proxies,
}

/// A list that must say what is allowed.
pub(crate) fn required(mut fields: Fields<'_>, of: Names) -> Option<ModelRules> {
    let (allow, deny) = (fields.required("allow"), fields.take("deny"));
    fields.finish();
    rules(Some(allow?), deny, of)
}

/// A list of a map that may be left out, as may what is allowed: then everything is. `None` if it is wrong.
pub(crate) fn optional(fields: &mut Fields<'_>, of: Names) -> Option<ModelRules> {
    let Some(value) = fields.take(of.field()) else {
        return Some(ModelRules::everything());
    };
    let mut lists = value.fields()?;
    let (allow, deny) = (lists.take("allow"), lists.take("deny"));
    lists.finish();
    if allow.is_none() && deny.is_none() {
        value.wrong("has neither allow nor deny: list names or globs in one of them, or leave it out");
        return None;
    }
    rules(allow, deny, of)
}

fn rules(allow: Option<Value<'_>>, deny: Option<Value<'_>>, of: Names) -> Option<ModelRules> {
    let allowed = allow.as_ref().map_or(Some(Vec::new()), |list| globs(list, of));
    let denied = deny.as_ref().map_or(Some(Vec::new()), |list| globs(list, of));
    let (allowed, denied) = (allowed?, denied?);
    let mut rules = ModelRules {
        allow: allowed.iter().map(|(_, glob)| glob.clone()).collect(),
        deny: denied.into_iter().map(|(_, glob)| glob).collect(),
    };
    match &allow {
        None => rules.allow = ModelRules::everything().allow,
        Some(allow) if allowed.is_empty() => {
            let one = of.one();
            allow.wrong(format!(
                "allows no {one}, so every call would be refused: list names or globs, or [\"*\"] for all of them"
            ));
            return None;
        }
        Some(_) => {}
    }
    // What stands on the list and is denied all the same cannot be meant.
    let mut holds = true;
    for (value, glob) in &allowed {
        let by = |denied: &ModelGlob| match glob.is_exact() {
            true => denied.matches_any_case(glob.as_str()),
            false => denied.is_everything() || denied == glob,
        };
        if let Some(index) = rules.deny.iter().position(by) {
            let field = of.field();
            value.wrong(format!(
                "can never be called, since {field}.deny[{index}] denies it: remove one of them"
            ));
            holds = false;
        }
    }
    holds.then_some(rules)
}

/// The patterns of a list; `None` if any of them is wrong.
fn globs<'a>(list: &Value<'a>, of: Names) -> Option<Vec<(Value<'a>, ModelGlob)>> {
    let items = list.items()?;
    let count = items.len();
    if count > PATTERNS_MAX {
        list.wrong(format!("has {count} patterns, more than {PATTERNS_MAX}: use globs"));
        return None;
    }
    let mut globs: Vec<(Value<'a>, ModelGlob)> = Vec::with_capacity(count);
    for item in items {
        let Some(text) = item.text() else { continue };
        let glob = match ModelGlob::new(&text.resolved) {
            Ok(glob) => glob,
            Err(error) => {
                let field = of.field();
                let reason = match error {
                    ModelGlobError::Name(error) => error.to_string(),
                    ModelGlobError::Special('!') => format!("what is not allowed stands in {field}.deny, without '!'"),
                    ModelGlobError::Special(_) => {
                        "'*' is any text and '?' any one character; brackets, braces, backslashes and blanks mean nothing"
                            .to_owned()
                    }
                };
                item.wrong(format!("{} is no glob of {field}: {reason}", text.quoted()));
                continue;
            }
        };
        if globs.iter().any(|(_, known)| *known == glob) {
            item.wrong(format!("{} stands twice: remove one", text.quoted()));
            continue;
        }
        let named = OPERATIONS.iter().any(|operation| glob.matches(operation));
        if of == Names::Operations && !named && !glob.as_str().starts_with(['/', '*']) {
            let meant = match nearest(glob.as_str(), OPERATIONS) {
                Some(meant) => format!("; did you mean {meant}?"),
                None => String::new(),
            };
            let known = OPERATIONS.join(", ");
            item.wrong(format!(
                "{} is no operation{meant} (known here: {known}, and paths such as /v1/models*)",
                text.quoted()
            ));
            continue;
        }
        globs.push((item, glob));
    }
    (globs.len() == count).then_some(globs)
}

// === impl Names ===

impl Names {
    /// The field that they stand in.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Operations => "operations",
            Self::Proxies => "proxies",
        }
    }

    const fn one(self) -> &'static str {
        match self {
            Self::Models => "model",
            Self::Operations => "operation",
            Self::Proxies => "proxy",
        }
    }
}
