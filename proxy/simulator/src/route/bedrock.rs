//! The paths of Bedrock's runtime: `/model/{id}/{operation}`.

use super::{Asked, Endpoint, Provider, Route, decoded};

impl Asked<'_> {
    /// A path of Bedrock, without its prefix. SDKs send the model's name percent-encoded; a proxy may have decoded the
    /// slashes of an ARN, so that only what is behind the last one is the operation.
    pub(super) fn bedrock(&self, path: &str) -> Route {
        let split = path.strip_prefix("model/").and_then(|rest| rest.rsplit_once('/'));
        let Some((model, operation)) = split.filter(|(model, _)| !model.is_empty()) else {
            return self.to(Provider::Bedrock, Err(self.unknown()));
        };
        let endpoint = match operation {
            "converse" => self.post(Endpoint::Converse { stream: false }),
            "converse-stream" => self.post(Endpoint::Converse { stream: true }),
            "invoke" => self.post(Endpoint::Invoke { stream: false }),
            "invoke-with-response-stream" => self.post(Endpoint::Invoke { stream: true }),
            _ => Err(self.unknown()),
        };
        Route {
            model: Some(decoded(model)),
            ..self.to(Provider::Bedrock, endpoint)
        }
    }
}
