//! Top-level members of a JSON body that rules look at, in one pass. An upstream may read names in any case, and the first or the last of
//! repeated ones, so each that could count is found.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Most members that are kept: nobody who means well repeats one.
const FOUND_MAX: usize = 64;

/// Members of an object.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    /// Index into the names that were looked for, and the value.
    found: Vec<(usize, &'a RawValue)>,
    /// Whether there were more than are kept.
    pub(crate) too_many: bool,
    /// Where the first member would begin.
    pub(crate) first: usize,
    /// Whether there is none.
    pub(crate) empty: bool,
}

/// Looks for members of these names.
struct Wanted<'w>(&'w [&'w str]);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

// === impl Members ===

impl<'a> Members<'a> {
    /// The members of these names, in any case; `None` where the text is no JSON object.
    pub(crate) fn of(json: &'a [u8], names: &[&str]) -> Option<Self> {
        let first = json.iter().position(|byte| !byte.is_ascii_whitespace())?;
        if json.get(first) != Some(&b'{') {
            return None;
        }
        let mut parser = serde_json::Deserializer::from_slice(json);
        let mut members = Wanted(names).deserialize(&mut parser).ok()?;
        parser.end().ok()?;
        members.first = first + 1;
        Some(members)
    }

    /// The values of the members of the name at this place.
    pub(crate) fn values(&self, name: usize) -> impl Iterator<Item = &'a RawValue> {
        self.found
            .iter()
            .filter(move |(found, _)| *found == name)
            .map(|(_, value)| *value)
    }

    /// Whether there is any member of those that were looked for.
    pub(crate) fn has_any(&self) -> bool {
        !self.found.is_empty()
    }
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Members<'de>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members {
            found: Vec::new(),
            too_many: false,
            first: 0,
            empty: true,
        };
        while let Some(Key(key)) = map.next_key()? {
            members.empty = false;
            match self.0.iter().position(|name| name.eq_ignore_ascii_case(&key)) {
                Some(name) if members.found.len() < FOUND_MAX => members.found.push((name, map.next_value()?)),
                wanted => {
                    members.too_many |= wanted.is_some();
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Option<Vec<(usize, String)>> {
        let members = Members::of(json.as_bytes(), &["model", "models"])?;
        Some(
            members
                .found
                .iter()
                .map(|(name, value)| (*name, value.get().to_owned()))
                .collect(),
        )
    }

    #[test]
    fn each_member_that_could_count_is_found() {
        let one = |value: &str| Some(vec![(0, value.to_owned())]);
        assert_eq!(found(r#" {"a":{"model":1},"model":"x"} "#), one("\"x\""));
        assert_eq!(found(r#"{"Mod\u0065l":7}"#), one("7"));
        assert_eq!(
            found(r#"{"model":"x","MODEL":null,"models":[1]}"#),
            Some(vec![(0, "\"x\"".to_owned()), (0, "null".to_owned()), (1, "[1]".to_owned())])
        );
        assert_eq!(found("{}"), Some(vec![]));
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["", " ", "[]", "\"x\"", "{", "{} x", "{\"model\":}", "\u{feff}{}"] {
            assert_eq!(found(json), None, "{json}");
        }
    }

    #[test]
    fn repeating_a_member_does_not_fill_the_memory() {
        let json = format!("{{{}\"x\":1}}", "\"model\":1,".repeat(1000));
        let members = Members::of(json.as_bytes(), &["model"]).unwrap();
        assert!(members.too_many && members.found.len() == FOUND_MAX && !members.empty);
        assert_eq!(members.first, 1);
    }
}
