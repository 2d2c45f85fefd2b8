//! Estimates of what nobody reported.

use super::answers::KINDS;
use super::input::Input;
use crate::estimate;
use crate::shape::Shape;

/// Most tokens that a byte of JSON can stand for: the shortest image, `{"type":"image"}`, counts 1600.
const TOKENS_PER_BYTE_MAX: u64 = 120;

/// A body as a request, as an answer, and as a stream: kind, model ended by NUL, and the body.
pub fn estimate(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.choose(&KINDS);
    let shape: Shape = (kind.codec)()
        .endpoint(&http::Method::POST, kind.path.split('?').next().unwrap())
        .shape;
    let model = std::str::from_utf8(input.text()).ok();
    let body = input.0;
    let most = TOKENS_PER_BYTE_MAX * body.len() as u64 + 16;
    for tokens in [
        estimate::input(model, &shape, body),
        estimate::output(model, &shape, body),
        estimate::streamed(model, &shape, body, body.len() as u64),
    ] {
        assert!(tokens <= most, "{tokens} tokens of {} bytes", body.len());
    }
    let (all, twice) = (body.len() as u64, 2 * body.len() as u64);
    assert!(estimate::streamed(model, &shape, body, twice) >= estimate::streamed(model, &shape, body, all));
}
