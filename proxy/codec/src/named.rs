//! Every model that a request names, for rules about which may be called.
//!
//! A rule must hold whichever of them the upstream takes, so all are told: each of repeated members and form fields, names in any case, and
//! the list `models` by which routers such as OpenRouter fall back to others.

use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_record::Name;

use crate::members::Members;
use crate::shape::Shape;
use crate::{Codec, Endpoint, Request, form, json};

const MODEL: usize = 0;
const MODELS: usize = 1;

/// A model that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By a name.
    Name(Name),
    /// By what is no name: no text, too long a text, or too often.
    Other,
}

// === impl Endpoint ===

impl Endpoint {
    /// Whether a call may run a model, although the request need not name it: a batch, say.
    pub fn may_run_a_model(&self) -> bool {
        match self.shape {
            Shape::Batch { submits } => submits,
            Shape::Results => false,
            _ => self.may_cost || self.is_read(),
        }
    }
}

// === impl Codec ===

impl Codec {
    /// Every model that a request names; `request` is what [`Codec::read`] found in the body. What the path names is the only one there.
    pub fn named_models(&self, endpoint: &Endpoint, headers: &HeaderMap, body: &[u8], request: &Request) -> Vec<Named> {
        if let Some(model) = &endpoint.model {
            return vec![Named::Name(model.clone())];
        }
        let mut named: Vec<Named> = Vec::new();
        let mut names = vec!["model", "models"];
        if let Shape::Template(places) = &endpoint.shape {
            named.extend(request.model.clone().map(Named::Name));
            match &places.request_model {
                Some(place) if !place.is_payload() => return named,
                place => names.extend(place.as_ref().and_then(|place| place.member())),
            }
        }
        let Some(members) = Members::of(body, &names) else {
            named.extend(form::every(headers, body, "model").into_iter().map(Named::of));
            return named;
        };
        let own = (MODELS + 1..names.len()).flat_map(|own| members.values(own));
        named.extend(members.values(MODEL).chain(own).map(Named::of_json));
        for list in members.values(MODELS) {
            match serde_json::from_str::<List<'_>>(list.get()) {
                Ok(list) => named.extend(list.0.into_iter().map(Named::of_json)),
                Err(_) => named.push(Named::Other),
            }
        }
        if members.too_many {
            named.push(Named::Other);
        }
        named
    }
}

#[derive(Deserialize)]
struct List<'a>(#[serde(borrow)] Vec<&'a RawValue>);

// === impl Named ===

impl Named {
    fn of(text: Option<&str>) -> Self {
        text.and_then(|text| Name::new(text).ok()).map_or(Self::Other, Self::Name)
    }

    fn of_json(value: &RawValue) -> Self {
        json::name(Some(value)).map_or(Self::Other, Self::Name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, header};

    use super::*;
    use crate::{AbortRule, Fields, Location, Locator, Template};

    fn asked(codec: &Codec, path: &str, headers: &HeaderMap, body: &str) -> Vec<String> {
        let endpoint = codec.endpoint(&Method::POST, path);
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = codec.read(&endpoint, path, headers, &body).unwrap();
        let named = codec.named_models(&endpoint, headers, &body, &request);
        let told = |named| match named {
            Named::Name(name) => Name::to_string(&name),
            Named::Other => "?".to_owned(),
        };
        named.into_iter().map(told).collect()
    }

    #[test]
    fn every_model_that_an_upstream_could_take_is_told() {
        let named = |body| asked(&Codec::openai(), "/v1/chat/completions", &HeaderMap::new(), body);
        assert_eq!(named(r#"{"model":"a"}"#), ["a"]);
        assert_eq!(
            named(r#"{"model":"a","x":{"model":"b"},"model":"c","Model":"d"}"#),
            ["a", "c", "d"]
        );
        assert_eq!(named(r#"{"models":["b",7],"model":"a"}"#), ["a", "b", "?"]);
        assert_eq!(named(r#"{"model":null}"#), ["?"]);
        assert_eq!(named(r#"{"models":"b"}"#), ["?"]);
        assert_eq!(named("{}"), [""; 0]);
    }

    #[test]
    fn a_model_in_the_path_is_the_only_one() {
        let named = |codec: Codec, path| asked(&codec, path, &HeaderMap::new(), r#"{"model":"b"}"#);
        assert_eq!(named(Codec::gemini(), "/v1beta/models/a:generateContent"), ["a"]);
        assert_eq!(named(Codec::bedrock(), "/model/a%3A0/converse"), ["a:0"]);
        assert_eq!(named(Codec::azure_openai(), "/openai/deployments/a/chat/completions"), ["a"]);
        assert_eq!(named(Codec::azure_openai(), "/openai/v1/chat/completions"), ["b"]);
    }

    #[test]
    fn every_model_of_a_form_is_told() {
        let part = |value: &str| format!("--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{value}\r\n");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "multipart/form-data; boundary=b".parse().unwrap())]);
        let body = format!("{}{}--b--", part("a"), part("b"));
        let path = "/v1/audio/transcriptions";
        assert_eq!(asked(&Codec::openai(), path, &headers, &body), ["a", "b"]);
    }

    #[test]
    fn the_place_of_a_template_counts_beside_the_usual_one() {
        let locator = Locator {
            location: Location::Payload,
            identifier: "$.engine".to_owned(),
        };
        let fields = Fields {
            request_model: Some(locator),
            ..Fields::default()
        };
        let template = Template::new(Name::new("acme").unwrap(), fields, vec![], AbortRule::Drain).unwrap();
        let named = |body| asked(&Codec::template(template.clone()), "/run", &HeaderMap::new(), body);
        assert_eq!(named(r#"{"engine":"a","engine":"b"}"#), ["b", "a", "b"]);
        assert_eq!(named(r#"{"engine":"a","model":"c"}"#), ["a", "c", "a"]);
    }

    #[test]
    fn what_may_run_a_model_is_told_from_what_only_looks() {
        let runs = |method, path| Codec::openai().endpoint(&method, path).may_run_a_model();
        for path in [
            "/v1/chat/completions",
            "/v1/batches",
            "/v1/batch/jobs",
            "/v1/messages/batches",
            "/v1/audio/transcriptions",
            "/v1/threads/t1/runs",
        ] {
            assert!(runs(Method::POST, path), "{path}");
        }
        for path in ["/v1/batches/b1", "/v1/files/f1/content", "/v1/messages/batches/b1/results"] {
            assert!(!runs(Method::GET, path), "{path}");
        }
        assert!(!runs(Method::POST, "/v1/batches/b1/cancel"));
        assert!(!runs(Method::GET, "/v1/models") && !runs(Method::POST, "/v1/files") && !runs(Method::DELETE, "/v1/files/f"));
    }
}
