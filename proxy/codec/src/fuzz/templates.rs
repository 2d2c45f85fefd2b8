//! Providers that templates describe.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response};
use tollgate_record::Name;

use super::answers::seen;
use super::input::Input;
use crate::{AbortRule, Codec, Fields, Location, Locator, Meter, Resource, Template};

/// Longest identifier: what a JSONPath with many `..` takes is the operator's own doing.
const IDENTIFIER_BYTES_MAX: usize = 24;

/// A template and an answer: places of four fields, a pattern and a path, the content type, sizes of frames, and the answer.
pub fn template(data: &[u8]) {
    let mut input = Input(data);
    let fields = Fields {
        prompt_tokens: locator(&mut input),
        total_tokens: locator(&mut input),
        request_model: locator(&mut input),
        response_model: locator(&mut input),
        ..Fields::default()
    };
    let pattern = String::from_utf8_lossy(input.text()).into_owned();
    let path = String::from_utf8_lossy(input.text()).into_owned();
    let events = input.byte().is_multiple_of(2);
    let sizes = input.sizes();
    let body = Bytes::copy_from_slice(input.0);
    check_path(&fields, &body);
    let resource = Resource {
        path: pattern,
        fields: Fields {
            completion_tokens: fields.prompt_tokens.clone(),
            ..Fields::default()
        },
    };
    let name = Name::new("t").unwrap();
    let Ok(template) = Template::new(name, fields, vec![resource], AbortRule::Drain) else {
        return;
    };
    let codec = Codec::template(template);
    let endpoint = codec.endpoint(&Method::POST, &path);
    let content_type = if events { "text/event-stream" } else { "application/json" };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    let request = codec.read(&endpoint, &path, &headers, &body).unwrap();
    assert_eq!(request.upstream_body(&body, None), body);
    let head = Response::builder()
        .header(CONTENT_TYPE, content_type)
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let meter = || Meter::new(&codec, &endpoint, &request, Bytes::new(), &head);
    let whole = seen(meter(), &body, &[usize::MAX]);
    let framed = seen(meter(), &body, &sizes);
    assert_eq!((framed.sent, framed.facts), (whole.sent.clone(), whole.facts));
    assert_eq!(whole.sent, body);
}

/// The short way through a JSON document leads where the long one does.
fn check_path(fields: &Fields, body: &[u8]) {
    let Some(locator) = fields
        .prompt_tokens
        .as_ref()
        .filter(|locator| locator.location == Location::Payload)
    else {
        return;
    };
    let (Ok(path), Ok(document)) = (
        crate::template::json_path(&locator.identifier),
        serde_json::from_slice::<serde_json::Value>(body),
    ) else {
        return;
    };
    if let Some(steps) = crate::template::steps(&locator.identifier) {
        let found = crate::json::find(body, &steps).map(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).unwrap());
        assert_eq!(found.as_ref(), path.query(&document).all().last().copied());
    }
}

fn locator(input: &mut Input<'_>) -> Option<Locator> {
    let location = match input.byte() % 6 {
        0..=2 => Location::Payload,
        3 => Location::Header,
        4 => Location::QueryParam,
        _ => Location::PathParam,
    };
    let identifier = std::str::from_utf8(input.text()).ok()?;
    (!identifier.is_empty() && identifier.len() <= IDENTIFIER_BYTES_MAX).then(|| Locator {
        location,
        identifier: identifier.to_owned(),
    })
}
