//! What providers say: the model a request asks for, what an answer used, and how an error reads in the provider's own shape.
//!
//! Pure: bytes in, facts out. No sockets, no runtime, no prices. The proxy forwards bytes; this crate reads them beside.
//!
//! # Signatures
//! - `Codec::openai()`, `Codec::anthropic()`, `Codec::gemini()` (Vertex AI too), `Codec::bedrock()`, `Codec::mistral()`,
//!   `Codec::azure_openai()`, `Codec::azure_foundry()`, `Codec::template(Template)`; `name(&self) -> &Name`
//! - `Codec::abort_rule(&self) -> AbortRule` of streams, `Codec::abort_rule_of(&self, &Request) -> AbortRule`
//! - `Codec::endpoint(&self, method: &Method, path: &str) -> Endpoint { operation_name, bears_usage, needs_json, region, .. }`
//! - `Codec::read(&self, &Endpoint, path_and_query: &str, &HeaderMap, body: &Bytes) -> Result<Request, BadRequest>`
//! - `Codec::named_models(&self, &Endpoint, &HeaderMap, body: &[u8], &Request) -> Vec<Named>`, for rules about models
//! - `Codec::complete(&self, &Endpoint, path_and_query: &str, body: &[u8], &mut Request, &Defaults)`, between `read` and `upstream_body`
//! - `Codec::bounds(&self, &Endpoint, path_and_query: &str, &HeaderMap, body: &[u8], &Request) -> Bounds`, the most that the call can use
//! - `Codec::limit_to(&self, &Endpoint, path_and_query: &str, body: &[u8], &mut Request, tokens: u64)`, of which a request's `Bounds::takes_limit` tells
//! - `Codec::error_body(&self, &ErrorBody<'_>) -> Bytes`, and `error_header(&self, &ErrorBody<'_>)` where the shape has one
//! - `Codec::rate_headers(&self, &[RateState], now: SystemTime)`, how rate limits stand in the provider's own shape
//! - `Request { model, stream, .. }`, `upstream_body(&self, body: &Bytes, rename_model: Option<&str>) -> Bytes`, `edits_stream(&self) -> bool`
//! - `Meter::new(&Codec, &Endpoint, &Request, request_body: Bytes, head: &http::response::Parts) -> Meter`
//! - `Meter::unanswered(&Endpoint, &Request, request_body: Bytes) -> Meter`, for a call whose answer never began
//! - `Meter::frame(&mut self, Bytes) -> Step { bytes, ended }`, `finish(&mut self) -> Bytes`, `usage_so_far(&self) -> &Usage`
//! - `Meter::take_results(&mut self) -> Vec<ToldResult>`, what has come of a batch's results; `Endpoint::results` names them
//! - `Meter::needs_estimate(&self) -> bool`, `metered(&mut self, End) -> Metered`
//! - `Template::new(Name, Fields, Vec<Resource>, AbortRule) -> Result<Template, TemplateError>`
//!
//! # Order of calls
//! `endpoint`, `read`, `upstream_body`; then for the answer `Meter::new`, `frame` for each frame, `finish` at the end of the body, and `metered`. `metered`
//! may be asked at any time for what is known so far, so that a call that ends early is metered as well.

mod answer;
mod anthropic;
mod batch;
mod bedrock;
mod bounds;
mod codec;
mod cohere;
mod collect;
mod decode;
mod defaults;
mod elements;
mod endpoint;
mod error;
mod estimate;
mod form;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gemini;
mod json;
mod members;
mod meter;
mod mistral;
mod named;
mod openai;
mod path;
mod peek;
mod rates;
mod reader;
mod request;
mod results;
mod shape;
mod sse;
mod template;
mod work;

pub use codec::{AbortRule, Codec};
pub use defaults::Defaults;
pub use endpoint::Endpoint;
pub use error::{BadRequest, ErrorBody, TemplateError};
pub use meter::{End, Meter, Metered, Step};
pub use named::Named;
pub use request::Request;
pub use results::ToldResult;
pub use template::{Fields, Location, Locator, Resource, Template};
