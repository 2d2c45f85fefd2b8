//! Reading parts of JSON without building the whole: raw values in place, one path, all numbers of an object.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use tollgate_record::Name;

use crate::work;

/// One step from a JSON value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Member of an object.
    Key(Box<str>),
    /// Element of an array.
    Index(usize),
}

/// A scalar inside an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Leaf<'a> {
    /// A number: negative ones by their size, fractions rounded up, so that none of them looks like nothing.
    Count(u64),
    /// A string.
    Text(&'a str),
}

/// Longest path of a number that is told in full, in bytes; what is nested deeper has a cut path.
const PATH_BYTES_MAX: usize = 128;

/// The text, if the value is a string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// The name, if the value is a string that can be one.
pub(crate) fn name(raw: Option<&RawValue>) -> Option<Name> {
    Name::new(&text(raw?)?).ok()
}

/// The count, if the value is a number; fractions are rounded up, as in [`Leaf::Count`].
pub(crate) fn count(raw: &RawValue) -> Option<u64> {
    let number: f64 = serde_json::from_str(raw.get()).ok()?;
    raw.get().parse().ok().or(Some(number.abs().ceil() as u64))
}

/// A number of seconds in microseconds, rounded once, half to even; read digit by digit, as a float would lose some.
pub(crate) fn micros(raw: &RawValue) -> Option<u64> {
    const DIGITS: usize = 6;
    let (whole, fraction) = raw.get().split_once('.').unwrap_or((raw.get(), ""));
    if fraction.bytes().any(|byte| !byte.is_ascii_digit()) {
        // With an exponent; nobody counts seconds that way.
        let seconds: f64 = raw.get().parse().ok()?;
        return Some((seconds * 1e6).round() as u64);
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(DIGITS));
    let micros = whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(format!("{kept:0<DIGITS$}").parse().ok()?)?;
    let half = |first: u8| match first.cmp(&b'5') {
        Ordering::Equal if rest.bytes().skip(1).all(|byte| byte == b'0') => micros % 2 != 0,
        order => order.is_ge(),
    };
    micros.checked_add(u64::from(rest.bytes().next().is_some_and(half)))
}

/// Whether the value is an object.
pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Where a part that was borrowed from a text stands in it.
pub(crate) fn span(whole: &[u8], part: &RawValue) -> Option<Range<usize>> {
    let start = (part.get().as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.get().len())?;
    (end <= whole.len()).then_some(start..end)
}

/// The value at the end of a path; of repeated members the last counts.
pub(crate) fn find<'a>(json: &'a [u8], path: &[Step]) -> Option<&'a RawValue> {
    work::look_at(json.len());
    let mut parser = serde_json::Deserializer::from_slice(json);
    Find(path).deserialize(&mut parser).ok().flatten()
}

/// Tells every number and string of a value with its dotted path; elements of arrays share the path `name[]`.
pub(crate) fn leaves(raw: &RawValue, mut visit: impl FnMut(&str, Leaf<'_>)) {
    work::look_at(raw.get().len());
    let mut path = String::new();
    let walk = Walk {
        path: &mut path,
        visit: &mut visit,
    };
    // A raw value has been parsed before; it fails only where it is nested deeper than the parser goes.
    let _ = walk.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
}

struct Find<'p>(&'p [Step]);

struct Walk<'w> {
    path: &'w mut String,
    visit: &'w mut dyn FnMut(&str, Leaf<'_>),
}

// === impl Find ===

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            <&RawValue>::deserialize(parser).map(Some)
        } else {
            parser.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match self.0.split_first() {
                Some((Step::Key(wanted), rest)) if **wanted == *key => found = map.next_value_seed(Find(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some((Step::Index(wanted), rest)) = self.0.split_first() {
            for _ in 0..*wanted {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = seq.next_element_seed(Find(rest))?.flatten();
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn enter(&mut self, separator: &str, name: &str) -> usize {
        let before = self.path.len();
        if before < PATH_BYTES_MAX {
            if before > 0 {
                self.path.push_str(separator);
            }
            self.path
                .push_str(name.get(..name.floor_char_boundary(PATH_BYTES_MAX)).unwrap_or_default());
        }
        before
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let before = self.enter(".", &key);
            map.next_value_seed(Walk {
                path: self.path,
                visit: self.visit,
            })?;
            self.path.truncate(before);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let before = self.enter("", "[]");
        while seq
            .next_element_seed(Walk {
                path: self.path,
                visit: self.visit,
            })?
            .is_some()
        {}
        self.path.truncate(before);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<(), E> {
        (self.visit)(self.path, Leaf::Count(count));
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<(), E> {
        (self.visit)(self.path, Leaf::Count(count.unsigned_abs()));
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, count: f64) -> Result<(), E> {
        (self.visit)(self.path, Leaf::Count(count.abs().ceil() as u64));
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        (self.visit)(self.path, Leaf::Text(text));
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(keys: &[&str]) -> Vec<Step> {
        keys.iter()
            .map(|key| key.parse().map_or_else(|_| Step::Key((*key).into()), Step::Index))
            .collect()
    }

    #[test]
    fn a_path_leads_through_objects_and_arrays() {
        let json = br#"{"a":[{"b":1},{"b":{"c":"x"}}],"d":null}"#;
        assert_eq!(find(json, &path(&["a", "1", "b", "c"])).unwrap().get(), "\"x\"");
        assert_eq!(find(json, &path(&["d"])).unwrap().get(), "null");
        for missing in [&["a", "b"][..], &["a", "2"], &["d", "e"], &["x"]] {
            assert!(find(json, &path(missing)).is_none(), "{missing:?}");
        }
        assert!(find(br#"{"a":"#, &path(&["a"])).is_none());
    }

    #[test]
    fn every_number_and_string_has_its_path() {
        let raw: &RawValue = serde_json::from_str(r#"{"a":1,"b":{"c":-2,"d":[0.5,{"e":"x"}]},"f":null,"g":true}"#).unwrap();
        let mut seen = Vec::new();
        leaves(raw, |path, leaf| seen.push(format!("{path} {leaf:?}")));
        assert_eq!(seen, ["a Count(1)", "b.c Count(2)", "b.d[] Count(1)", "b.d[].e Text(\"x\")"]);
    }

    #[test]
    fn seconds_are_exact_to_the_microsecond() {
        for (text, expected) in [
            ("9", Some(9_000_000)),
            ("8.47", Some(8_470_000)),
            // Whisper's durations are 32-bit floats, written as 64-bit ones.
            ("8.470000267028809", Some(8_470_000)),
            ("0.0000015", Some(2)),
            ("0.0000025", Some(2)),
            ("0.00000250001", Some(3)),
            ("1.5e2", Some(150_000_000)),
            ("-1", None),
            ("\"9\"", None),
            ("null", None),
        ] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            assert_eq!(micros(raw), expected, "{text}");
        }
    }

    #[test]
    fn a_part_knows_its_place() {
        let json = br#" {"a": [1, 2] }"#;
        let part = find(json, &path(&["a"])).unwrap();
        assert_eq!(&json[span(json, part).unwrap()], b"[1, 2]");
    }
}
