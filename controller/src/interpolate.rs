//! `${env:NAME}` and `${file:PATH}` in strings, and `$$` for a plain `$`.
//!
//! What a reference resolves to is not read again for references, and never stands in a message.

use std::cell::RefCell;
use std::path::Path;

use crate::source::References;

/// Most reasons that are told of one string.
const REASONS_MAX: usize = 20;
/// Longest string after its references are resolved, in bytes.
const RESOLVED_BYTES_MAX: usize = 1 << 20;

/// Where references are looked up.
pub(crate) struct Resolver<'a> {
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) references: RefCell<References>,
}

impl Resolver<'_> {
    /// Resolves every reference of a string; `folder` is where relative paths start.
    ///
    /// # Errors
    /// Every reason why it cannot be resolved.
    pub(crate) fn resolve(&self, text: &str, folder: &Path) -> Result<String, Vec<String>> {
        let mut resolved = String::with_capacity(text.len());
        let mut reasons = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            resolved.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                resolved.push('$');
                rest = after;
                continue;
            }
            let Some(inside) = after.strip_prefix('{') else {
                // JSONPath begins with a lone `$`.
                resolved.push('$');
                rest = after;
                continue;
            };
            let Some((reference, after)) = inside.split_once('}') else {
                reasons.push("has a ${ without its }: write $$ for a plain $".to_owned());
                return Err(reasons);
            };
            match self.look_up(reference, folder) {
                Ok(value) if resolved.len() + value.len() > RESOLVED_BYTES_MAX => {
                    reasons.push(format!(
                        "is longer than {RESOLVED_BYTES_MAX} bytes once its references are resolved"
                    ));
                    return Err(reasons);
                }
                Ok(value) => resolved.push_str(&value),
                Err(reason) => reasons.push(reason),
            }
            if reasons.len() >= REASONS_MAX {
                return Err(reasons);
            }
            rest = after;
        }
        resolved.push_str(rest);
        if reasons.is_empty() { Ok(resolved) } else { Err(reasons) }
    }

    fn look_up(&self, reference: &str, folder: &Path) -> Result<String, String> {
        match reference.split_once(':') {
            Some(("env", name)) => self.variable(name),
            Some(("file", path)) => self.file(path, folder),
            _ => Err(format!(
                "has the unknown reference ${{{}}}: known are ${{env:NAME}} and ${{file:PATH}}; write $$ for a plain $",
                crate::yaml::brief(reference)
            )),
        }
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(word) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!(
                "${{env:{}}} does not name an environment variable",
                crate::yaml::brief(name)
            ));
        }
        match (self.environment)(name) {
            None => Err(format!(
                "${{env:{name}}} cannot be resolved: the environment variable {name} is not set"
            )),
            // An empty credential would only be noticed at the first call, as a refusal of the provider.
            Some(value) if value.is_empty() => Err(format!(
                "${{env:{name}}} cannot be resolved: the environment variable {name} is empty"
            )),
            Some(value) => Ok(value),
        }
    }

    fn file(&self, path: &str, folder: &Path) -> Result<String, String> {
        let unresolved = |reason: &str| format!("${{file:{path}}} cannot be resolved: the file {reason}");
        if path.is_empty() {
            return Err("${file:} does not name a file".to_owned());
        }
        let bytes = self
            .references
            .borrow_mut()
            .get(&folder.join(path))
            .map_err(|reason| unresolved(&reason))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| unresolved("is not UTF-8"))?;
        // Secret files usually end in a line break that is no part of the secret.
        let text = text
            .strip_suffix('\n')
            .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            return Err(unresolved("is empty"));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<String, Vec<String>> {
        let environment = |name: &str| match name {
            "NAME" => Some("va$$lue ${env:NAME}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let resolver = Resolver {
            environment: &environment,
            references: RefCell::default(),
        };
        resolver.resolve(text, Path::new("/nonexistent"))
    }

    #[test]
    fn references_are_resolved_once() {
        assert_eq!(resolve("a ${env:NAME} b").unwrap(), "a va$$lue ${env:NAME} b");
        assert_eq!(resolve("$$ $${env:NAME} $.usage $").unwrap(), "$ ${env:NAME} $.usage $");
    }

    #[test]
    fn every_reference_that_fails_is_told() {
        let reasons = resolve("${env:GONE} ${env:EMPTY} ${vault:x} ${env:1A} ${file:secret} ${file:}").unwrap_err();
        assert_eq!(
            reasons,
            [
                "${env:GONE} cannot be resolved: the environment variable GONE is not set",
                "${env:EMPTY} cannot be resolved: the environment variable EMPTY is empty",
                "has the unknown reference ${vault:x}: known are ${env:NAME} and ${file:PATH}; write $$ for a plain $",
                "${env:1A} does not name an environment variable",
                "${file:secret} cannot be resolved: the file cannot be read: No such file or directory (os error 2)",
                "${file:} does not name a file",
            ]
        );
        assert_eq!(
            resolve("a ${env:NAME").unwrap_err(),
            ["has a ${ without its }: write $$ for a plain $"]
        );
    }

    #[test]
    fn a_file_loses_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "secret\r\n").unwrap();
        let resolver = Resolver {
            environment: &|_| None,
            references: RefCell::default(),
        };
        assert_eq!(
            resolver.resolve("Bearer ${file:key}", folder.path()).unwrap(),
            "Bearer secret"
        );
    }
}
