//! Paths and bodies of requests.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use tollgate_record::Name;

use super::input::Input;
use crate::Codec;

/// A request: provider, path, content type and body, the texts ended by NUL.
pub fn request(data: &[u8]) {
    let mut input = Input(data);
    let codecs: [fn() -> Codec; 7] = [
        Codec::openai,
        Codec::anthropic,
        Codec::gemini,
        Codec::bedrock,
        Codec::mistral,
        Codec::azure_openai,
        Codec::azure_foundry,
    ];
    let codec = input.choose(&codecs)();
    let path = String::from_utf8_lossy(input.text()).into_owned();
    let content_type = HeaderValue::from_bytes(input.text());
    let headers = HeaderMap::from_iter(content_type.map(|value| (CONTENT_TYPE, value)));
    let body = Bytes::copy_from_slice(input.0);
    for method in [Method::POST, Method::GET] {
        let endpoint = codec.endpoint(&method, &path);
        assert!(endpoint.operation_name.as_str().len() <= Name::MAX_BYTES);
        let Ok(request) = codec.read(&endpoint, &path, &headers, &body) else {
            assert!(endpoint.needs_json, "only JSON can be no JSON");
            continue;
        };
        let sent = request.upstream_body(&body, None);
        if !request.edits_stream() {
            assert_eq!(sent, body);
        }
        let renamed = request.upstream_body(&body, Some("other"));
        let read = |body: &[u8]| serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
        if let Some(mut expected) = read(&body) {
            if request.edits_stream() {
                assert_eq!(expected["stream"], json!(true));
                let options = expected
                    .as_object_mut()
                    .unwrap()
                    .entry("stream_options")
                    .or_insert(Value::Null);
                if options.is_null() {
                    *options = json!({});
                }
                if let Some(options) = options.as_object_mut() {
                    options.insert("include_usage".into(), json!(true));
                }
            }
            assert_eq!(read(&sent), Some(expected.clone()), "more is changed than was to be");
            if endpoint.needs_json {
                expected["model"] = json!("other");
                assert_eq!(read(&renamed), Some(expected), "more is changed than the model");
            }
        }
    }
}
