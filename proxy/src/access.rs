//! Which paths of a provider may be called.

use http::Method;

/// What holds for paths that no exception names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// They may be called.
    #[default]
    AllowAll,
    /// They may not.
    DenyAll,
}

/// Access control of one provider: a mode and its exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What holds for all other paths.
    pub mode: AccessMode,
    /// Paths for which the opposite holds.
    pub exceptions: Vec<Exception>,
}

/// Paths for which the opposite of the mode holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Path below the provider's context: exact, or a prefix that ends in `*`.
    pub path: String,
    /// Methods it holds for; none is every method.
    pub methods: Vec<Method>,
}

impl Access {
    /// Whether a path, decoded and without empty segments, may be called.
    pub(crate) fn allows(&self, method: &Method, path: &str) -> bool {
        let excepted = self.exceptions.iter().any(|exception| exception.matches(method, path));
        match self.mode {
            AccessMode::AllowAll => !excepted,
            AccessMode::DenyAll => excepted,
        }
    }
}

impl Exception {
    /// Whether the path is one that can match.
    pub(crate) fn is_well_formed(&self) -> bool {
        let stem = self.path.strip_suffix('*').unwrap_or(&self.path);
        !stem.contains('*') && (stem.starts_with('/') || self.path == "*")
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        let path_matches = match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        };
        path_matches && (self.methods.is_empty() || self.methods.contains(method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(mode: AccessMode, path: &str, methods: &[Method]) -> Access {
        let exception = Exception {
            path: path.to_owned(),
            methods: methods.to_vec(),
        };
        Access {
            mode,
            exceptions: vec![exception],
        }
    }

    #[test]
    fn an_exception_holds_for_its_path_and_methods_only() {
        let access = access(AccessMode::DenyAll, "/v1/chat/completions", &[Method::POST]);
        assert!(access.allows(&Method::POST, "/v1/chat/completions"));
        assert!(!access.allows(&Method::GET, "/v1/chat/completions"));
        assert!(!access.allows(&Method::POST, "/v1/chat/completions/x"));
    }

    #[test]
    fn a_trailing_star_is_a_prefix() {
        let access = access(AccessMode::AllowAll, "/v1/files*", &[]);
        assert!(!access.allows(&Method::DELETE, "/v1/files/f-1"));
        assert!(access.allows(&Method::GET, "/v1/models"));
    }

    #[test]
    fn a_star_stands_at_the_end_or_nowhere() {
        for (path, well_formed) in [
            ("/v1/*", true),
            ("*", true),
            ("/v1", true),
            ("/*/x", false),
            ("v1", false),
            ("", false),
        ] {
            let [exception] = access(AccessMode::DenyAll, path, &[]).exceptions.try_into().expect("one");
            assert_eq!(exception.is_well_formed(), well_formed, "{path}");
        }
    }
}
