//! What a request asks for, and the few edits that its body may need.
//!
//! The body is never written anew: an edit splices text into the client's bytes, so that numbers, the order of keys and whatever else
//! the gateway does not know arrive as they were sent.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tollgate_record::Name;

use crate::template::{Places, Sources};
use crate::{BadRequest, form, json};

/// What a request asks for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Request {
    /// Model that is asked for.
    pub model: Option<Name>,
    /// Whether the answer is asked for as a stream.
    pub stream: bool,
    /// Model that answers, where a template finds it in the request.
    pub(crate) answer_model: Option<Name>,
    /// Characters of text that are to be spoken.
    pub(crate) characters: Option<u64>,
    /// Whether annotations of the pages that are read are asked for.
    pub(crate) annotates: bool,
    /// Where the values of `model` stand; of repeated keys each.
    models: Vec<Range<usize>>,
    /// Where the first member would begin, and whether there is one.
    first_member: Option<(usize, bool)>,
    /// What asks for usage at the end of the stream.
    usage_edits: Vec<Edit>,
    /// What it is given in front of its members, and where that is.
    pub(crate) given_at: Option<(usize, bool)>,
    /// The model that it is given, as it names none.
    pub(crate) given_model: Option<Name>,
    /// The limit on the tokens of its answer that it is given, as it has none.
    pub(crate) given_limit: Option<GivenLimit>,
}

/// A limit on the tokens of an answer, and how it is written into a body.
#[derive(Clone, Debug)]
pub(crate) struct GivenLimit {
    pub(crate) tokens: u64,
    /// A member of the body.
    pub(crate) first: Option<String>,
    /// Or members of objects in it.
    pub(crate) edits: Vec<Edit>,
}

/// A text that takes the place of a part of the body.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) at: Range<usize>,
    pub(crate) text: Cow<'static, str>,
}

/// Top-level members of a request.
#[derive(Default)]
struct Top<'a> {
    models: Vec<&'a RawValue>,
    stream: Option<&'a RawValue>,
    stream_options: Vec<&'a RawValue>,
    empty: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Model,
    Stream,
    StreamOptions,
    #[serde(other)]
    Other,
}

/// Members of `stream_options`.
#[derive(Default)]
struct StreamOptions<'a> {
    include_usage: Vec<&'a RawValue>,
    empty: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum OptionKey {
    IncludeUsage,
    #[serde(other)]
    Other,
}

// === impl Request ===

impl Request {
    /// Reads a JSON body; `ask_usage` is for endpoints that report the usage of a stream only if asked.
    pub(crate) fn read(body: &[u8], ask_usage: bool) -> Result<Self, BadRequest> {
        let top: Top<'_> = serde_json::from_slice(body).map_err(|error| BadRequest::new(&error))?;
        let stream = top.stream.is_some_and(|raw| raw.get() == "true");
        let mut request = Self {
            model: json::name(top.models.last().copied()),
            stream,
            answer_model: None,
            characters: None,
            annotates: false,
            models: top.models.iter().filter_map(|raw| json::span(body, raw)).collect(),
            first_member: memchr::memchr(b'{', body).map(|at| (at + 1, !top.empty)),
            usage_edits: Vec::new(),
            given_at: None,
            given_model: None,
            given_limit: None,
        };
        if ask_usage && stream {
            request.ask_usage(body, &top.stream_options);
        }
        Ok(request)
    }

    /// Reads a body that need not be JSON.
    pub(crate) fn guess(body: &[u8]) -> Self {
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Self::read(body, false).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    /// Reads a form.
    pub(crate) fn form(headers: &HeaderMap, body: &[u8]) -> Self {
        Self {
            model: form::field(headers, body, "model").and_then(|model| Name::new(model).ok()),
            stream: form::field(headers, body, "stream").is_some_and(|stream| stream.eq_ignore_ascii_case("true")),
            ..Self::default()
        }
    }

    /// Counts the characters that are to be spoken: Unicode code points.
    pub(crate) fn count_characters(&mut self, body: &[u8]) {
        let input = json::find(body, &[json::Step::Key("input".into())]).and_then(json::text);
        self.characters = input.map(|input| input.chars().count() as u64);
    }

    /// Looks whether annotations of pages are asked for.
    pub(crate) fn find_annotations(&mut self, body: &[u8]) {
        self.annotates = ["document_annotation_format", "bbox_annotation_format"].iter().any(|key| {
            let format = json::find(body, &[json::Step::Key((*key).into())]);
            format.is_some_and(json::is_object)
        });
    }

    /// Reads a request as a template says.
    pub(crate) fn described(places: &Places, path_and_query: &str, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut request = Self::guess(body);
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        request.stream = request.stream || is_stream(path);
        let sources = Sources {
            path,
            query,
            headers,
            payload: body,
        };
        if let Some(place) = &places.request_model {
            request.model = place.text(&sources).and_then(|text| Name::new(&text).ok());
        }
        request.answer_model = places
            .response_model
            .as_ref()
            .filter(|place| place.is_of_request())
            .and_then(|place| Name::new(&place.text(&sources)?).ok());
        request
    }

    /// The body to send upstream: the same bytes, unless usage must be asked for, the model has another name there, or defaults are given.
    ///
    /// `body` is the one that was read; of another body nothing is edited that does not lie within it.
    pub fn upstream_body(&self, body: &Bytes, rename_model: Option<&str>) -> Bytes {
        let mut first: Vec<Cow<'_, str>> = Vec::new();
        let mut edits: Vec<Edit> = Vec::new();
        let model_member = |model: &str| Cow::Owned(format!("\"model\":{}", serde_json::Value::from(model)));
        let mut first_at = self.given_at;
        match rename_model {
            Some(model) if self.models.is_empty() && self.first_member.is_some() => {
                first.push(model_member(model));
                first_at = self.first_member;
            }
            Some(model) => {
                let name = serde_json::Value::from(model).to_string();
                edits.extend(self.models.iter().map(|at| Edit {
                    at: at.clone(),
                    text: Cow::Owned(name.clone()),
                }));
            }
            None => first.extend(self.given_model.as_ref().map(|model| model_member(model.as_str()))),
        }
        if let Some(limit) = &self.given_limit {
            first.extend(limit.first.as_deref().map(Cow::Borrowed));
            edits.extend(limit.edits.iter().cloned());
        }
        if let Some((at, others)) = first_at.filter(|_| !first.is_empty()) {
            let comma = if others { "," } else { "" };
            edits.insert(0, Edit::insert(at, format!("{}{comma}", first.join(","))));
        }
        edits.extend(self.usage_edits.iter().cloned());
        if edits.is_empty() {
            return body.clone();
        }
        edits.sort_by_key(|edit| edit.at.start);
        let longer: usize = edits.iter().map(|edit| edit.text.len()).sum();
        let mut edited = BytesMut::with_capacity(body.len() + longer);
        let mut from = 0;
        for edit in &edits {
            let Some(kept) = body.get(from..edit.at.start) else {
                return body.clone();
            };
            edited.extend_from_slice(kept);
            edited.extend_from_slice(edit.text.as_bytes());
            from = edit.at.end;
        }
        edited.extend_from_slice(body.get(from..).unwrap_or_default());
        edited.freeze()
    }

    /// Whether usage is asked for in the client's stead, so that a chunk has to be taken out of the answer: ask the upstream not to compress it.
    pub fn edits_stream(&self) -> bool {
        !self.usage_edits.is_empty()
    }

    /// Whether the model can be given another name: the body is a JSON object, which names it as is usual or is given it.
    pub(crate) fn can_rename(&self) -> bool {
        self.first_member.is_some()
    }

    /// Whether the body names the model as is usual.
    pub(crate) fn names_model(&self) -> bool {
        !self.models.is_empty()
    }

    fn ask_usage(&mut self, body: &[u8], given: &[&RawValue]) {
        const ASKED: &str = r#"{"include_usage":true}"#;
        if given.is_empty()
            && let Some((at, others)) = self.first_member
        {
            self.usage_edits.push(Edit::insert(
                at,
                format!("\"stream_options\":{ASKED}{}", if others { "," } else { "" }),
            ));
        }
        for options in given {
            let Some(at) = json::span(body, options) else { continue };
            if options.get() == "null" {
                self.usage_edits.push(Edit {
                    at,
                    text: Cow::Borrowed(ASKED),
                });
            } else if let Ok(members) = serde_json::from_str::<StreamOptions<'_>>(options.get()) {
                // A value that is no object is the provider's to refuse.
                if members.include_usage.is_empty() {
                    let comma = if members.empty { "" } else { "," };
                    self.usage_edits
                        .push(Edit::insert(at.start + 1, format!("\"include_usage\":true{comma}")));
                }
                for value in members.include_usage.iter().filter(|value| value.get() != "true") {
                    if let Some(at) = json::span(body, value) {
                        self.usage_edits.push(Edit {
                            at,
                            text: Cow::Borrowed("true"),
                        });
                    }
                }
            }
        }
    }
}

fn is_stream(path: &str) -> bool {
    let end = path.rsplit(['/', ':']).next().unwrap_or_default();
    end.starts_with("stream") || end.ends_with("-stream")
}

// === impl Edit ===

impl Edit {
    /// A text between two bytes of the body.
    pub(crate) fn insert(at: usize, text: String) -> Self {
        Self {
            at: at..at,
            text: Cow::Owned(text),
        }
    }
}

// === impl Top ===

impl<'de: 'a, 'a> Deserialize<'de> for Top<'a> {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Top<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top<'de>, A::Error> {
                let mut top = Top {
                    empty: true,
                    ..Top::default()
                };
                while let Some(key) = map.next_key()? {
                    top.empty = false;
                    match key {
                        Key::Model => top.models.push(map.next_value()?),
                        Key::Stream => top.stream = Some(map.next_value()?),
                        Key::StreamOptions => top.stream_options.push(map.next_value()?),
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(top)
            }
        }
        parser.deserialize_map(Members)
    }
}

// === impl StreamOptions ===

impl<'de: 'a, 'a> Deserialize<'de> for StreamOptions<'a> {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = StreamOptions<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StreamOptions<'de>, A::Error> {
                let mut options = StreamOptions {
                    empty: true,
                    ..StreamOptions::default()
                };
                while let Some(key) = map.next_key()? {
                    options.empty = false;
                    match key {
                        OptionKey::IncludeUsage => options.include_usage.push(map.next_value()?),
                        OptionKey::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(options)
            }
        }
        parser.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Request {
        Request::read(body.as_bytes(), true).unwrap()
    }

    fn sent(body: &str, rename: Option<&str>) -> String {
        let sent = read(body).upstream_body(&Bytes::copy_from_slice(body.as_bytes()), rename);
        String::from_utf8(sent.to_vec()).unwrap()
    }

    #[test]
    fn a_body_that_needs_no_edit_is_the_same_memory() {
        let body = Bytes::from_static(br#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#);
        let request = Request::read(&body, true).unwrap();
        assert_eq!(request.upstream_body(&body, None).as_ptr(), body.as_ptr());
        assert!(request.stream && !request.edits_stream());
        assert_eq!(request.model, Name::new("m").ok());
        assert!(!Request::read(&body, false).unwrap().edits_stream());
    }

    #[test]
    fn usage_is_asked_for_in_place() {
        for (body, edited) in [
            (
                r#" {"n": 1.50, "stream" :true}"#,
                r#" {"stream_options":{"include_usage":true},"n": 1.50, "stream" :true}"#,
            ),
            (
                r#"{"stream":true,"stream_options":null}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream_options":{ },"stream":true}"#,
                r#"{"stream_options":{"include_usage":true },"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"include_obfuscation":false},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"stream":true}"#,
            ),
            (
                r#"{"stream_options": {"include_usage" : false},"stream":true}"#,
                r#"{"stream_options": {"include_usage" : true},"stream":true}"#,
            ),
        ] {
            assert_eq!(sent(body, None), edited);
            assert!(read(body).edits_stream());
        }
    }

    #[test]
    fn nothing_is_asked_for_without_a_stream() {
        for body in [r#"{"model":"m"}"#, r#"{"stream":false}"#, r#"{"stream":null}"#, "{}"] {
            assert_eq!(sent(body, None), body);
        }
        let odd = r#"{"stream":true,"stream_options":7}"#;
        assert_eq!(sent(odd, None), odd);
    }

    #[test]
    fn a_model_is_renamed_wherever_it_is_named() {
        assert_eq!(
            sent(r#"{"model" : "a","x":{"model":"b"}}"#, Some("c\"d")),
            r#"{"model" : "c\"d","x":{"model":"b"}}"#
        );
        assert_eq!(
            sent(r#"{"model":"a","mod\u0065l":"b"}"#, Some("c")),
            r#"{"model":"c","mod\u0065l":"c"}"#
        );
        assert_eq!(read(r#"{"model":"a","mod\u0065l":"b"}"#).model, Name::new("b").ok());
        assert_eq!(sent(r#"{"x":1}"#, Some("c")), r#"{"model":"c","x":1}"#);
        assert_eq!(sent("{}", Some("c")), r#"{"model":"c"}"#);
        assert_eq!(
            sent(r#"{"model":"a","stream":true}"#, Some("c")),
            r#"{"stream_options":{"include_usage":true},"model":"c","stream":true}"#
        );
    }

    #[test]
    fn what_is_no_json_object_is_refused_with_its_position() {
        let refused = |body: &str| Request::read(body.as_bytes(), true).unwrap_err();
        let BadRequest::Json { line, column, .. } = refused("{\"a\":1,\n \"b\":}");
        assert_eq!((line, column), (2, 6));
        let told = refused("").to_string();
        assert!(
            told.starts_with("the request's body is not a JSON object: EOF") && told.ends_with("at line 1, column 0"),
            "{told}"
        );
        assert!(refused("[1]").to_string().contains("expected a JSON object"));
        assert!(refused("{} x").to_string().contains("trailing characters"));
        assert!(refused("\u{feff}{}").to_string().contains("not a JSON object"));
    }

    #[test]
    fn a_model_that_is_no_name_is_none() {
        for body in [r#"{"model":7}"#, r#"{"model":""}"#, r#"{"model":null}"#, r#"{}"#] {
            assert_eq!(read(body).model, None);
        }
    }
}
