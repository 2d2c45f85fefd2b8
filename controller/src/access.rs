//! Which paths of a provider or proxy may be called.

use http::Method;

use crate::field::Fields;
use crate::template::path_pattern;
use crate::value::Value;

/// Which paths may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessControl {
    /// What holds for paths that no exception names.
    pub mode: AccessMode,
    /// Paths for which the opposite holds.
    pub exceptions: Vec<AccessException>,
}

/// What holds for paths that no exception names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// They may be called.
    AllowAll,
    /// They may not.
    DenyAll,
}

/// Paths for which the opposite holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessException {
    /// Path below the context: exact, or a prefix that ends in `*`.
    pub path: String,
    /// Methods it holds for; empty is all of them.
    pub methods: Vec<Method>,
}

// === impl AccessControl ===

impl AccessControl {
    pub(crate) fn read(mut fields: Fields<'_>) -> Self {
        let modes = [("allow_all", AccessMode::AllowAll), ("deny_all", AccessMode::DenyAll)];
        let mode = fields.choice("mode", AccessMode::AllowAll, &modes);
        let exceptions = fields.take("exceptions").and_then(|list| list.items());
        let exceptions = exceptions.into_iter().flatten();
        let access = Self {
            mode,
            exceptions: exceptions.filter_map(|item| AccessException::read(item.fields()?)).collect(),
        };
        fields.finish();
        access
    }
}

impl AccessException {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let path = fields.required("path").and_then(|value| excepted_path(&value));
        let methods = fields.take("methods").and_then(|list| list.items());
        let methods = methods.into_iter().flatten().filter_map(|item| method(&item)).collect();
        fields.finish();
        Some(Self { path: path?, methods })
    }
}

fn excepted_path(value: &Value<'_>) -> Option<String> {
    let path = path_pattern(value)?;
    if path.strip_suffix('*').unwrap_or(&path).contains('*') {
        value.wrong("may have a '*' at its end only");
        return None;
    }
    Some(path)
}

fn method(value: &Value<'_>) -> Option<Method> {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    let text = value.text()?;
    let found = known.iter().find(|method| method.as_str() == text.resolved);
    if found.is_none() {
        let known = known.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        value.wrong(format!("{} is not known (known here: {known})", text.quoted()));
    }
    found.cloned()
}
