//! The paths of Bedrock's runtime: `/model/{id}/{operation}`.

use super::{Asked, Provider, Route};

impl Asked<'_> {
    /// A path of Bedrock, without its prefix.
    pub(super) fn bedrock(&self, _path: &str) -> Route {
        self.to(Provider::Bedrock, Err(self.unknown()))
    }
}
