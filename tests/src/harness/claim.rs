//! A test: a name that claims something, and the code that proves it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::world::World;

type Proof = Box<dyn FnOnce(Arc<World>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The longest that a test may take, unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(300);

/// One test.
pub(crate) struct Claim {
    pub(crate) name: String,
    /// The longest that it may take.
    pub(crate) limit: Duration,
    pub(crate) run: Proof,
}

impl Claim {
    pub(crate) fn new<F>(name: impl Into<String>, run: impl FnOnce(Arc<World>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            name: name.into(),
            limit: LIMIT,
            run: Box::new(move |world| Box::pin(run(world))),
        }
    }

    /// The same claim with a time limit of its own.
    pub(crate) fn limited(self, limit: Duration) -> Self {
        Self { limit, ..self }
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
