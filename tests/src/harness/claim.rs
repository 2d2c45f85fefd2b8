//! A test: a name that claims something, and the code that proves it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::world::World;

type Proof = Box<dyn FnOnce(Arc<World>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// One test.
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) run: Proof,
}

impl Claim {
    pub(crate) fn new<F>(name: impl Into<String>, run: impl FnOnce(Arc<World>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            name: name.into(),
            run: Box::new(move |world| Box::pin(run(world))),
        }
    }

    /// The same claim, named within a module.
    pub(crate) fn within(self, module: &str) -> Self {
        Self {
            name: format!("{module}::{}", self.name),
            ..self
        }
    }
}

/// Tests by the functions that prove them.
macro_rules! claims_of {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::harness::claim::Claim::new(stringify!($name), $name)),*]
    };
}
pub(crate) use claims_of;
