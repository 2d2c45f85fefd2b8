//! What providers say: the model a request asks for, what an answer used, and how an error reads in the provider's own shape.
//!
//! Pure: bytes in, facts out. No sockets, no runtime, no prices. The proxy forwards bytes; this crate reads them beside.
//!
//! # Signatures
//! - [`Codec::openai`], [`Codec::anthropic`], [`Codec::template`]; [`Codec::name`], [`Codec::abort_rule`]
//! - `Codec::endpoint(&self, method: &Method, path: &str) -> Endpoint`
//! - `Codec::read(&self, &Endpoint, path_and_query: &str, &HeaderMap, body: &Bytes) -> Result<Request, BadRequest>`
//! - `Codec::error_body(&self, &ErrorBody<'_>) -> Bytes`
//! - `Request::upstream_body(&self, body: &Bytes, rename_model: Option<&str>) -> Bytes`, `Request::edits_stream(&self) -> bool`
//! - `Meter::new(&Codec, &Endpoint, &Request, request_body: Bytes, head: &http::response::Parts) -> Meter`
//! - `Meter::frame(&mut self, Bytes) -> Step`, `Meter::finish(&mut self) -> Bytes`, `Meter::usage_so_far(&self) -> &Usage`
//! - `Meter::needs_estimate(&self) -> bool`, `Meter::metered(&mut self, End) -> Metered`

mod codec;
mod error;
mod meter;
mod request;
mod template;

pub use codec::{AbortRule, Codec, Endpoint};
pub use error::{BadRequest, ErrorBody, TemplateError};
pub use meter::{End, Meter, Metered, Step};
pub use request::Request;
pub use template::{Fields, Location, Locator, Resource, Template};
