//! End-to-end tests: the gateway as its users see it.
//!
//! One binary, a module per behaviour; the name of a test is the claim it proves. `harness` starts what they talk to: the gateway itself (built
//! by cargo just before, so it is never stale), the simulator and aimock as upstreams, and the official SDKs. `make setup` installs the latter.
//!
//!     cargo test -p tollgate-tests                    # all
//!     cargo test -p tollgate-tests -- crash           # those whose name contains `crash`
//!
//! Most tests share one gateway and find their rows by a session of their own; those that kill, reload or reconfigure one start their own.
//! When all are done, the books of the shared gateway are closed: every row once, no gap, and a total equal to the sum of its charges.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

use harness::claim::Claim;
use harness::world::World;

/// Tests that run at once: they wait more than they compute.
const TESTS_AT_ONCE: usize = 8;

macro_rules! behaviours {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+
        fn claims() -> Vec<Claim> {
            let mut all = Vec::new();
            $(all.extend($module::claims().into_iter().map(|claim| claim.within(stringify!($module))));)+
            all
        }
    };
}

behaviours!(
    agent,
    aimock,
    batches,
    books,
    budgets,
    command_line,
    crash,
    exporters,
    faults,
    identity,
    import,
    metrics,
    native,
    operations,
    proxies,
    prices,
    quickstart,
    readers,
    reload,
    rerate,
    sdks,
    shared,
    shutdown,
    sigv4,
    sql,
    stores,
    streams,
    token_classes,
    torture,
    wire
);

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed another one");
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TESTS_AT_ONCE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started");
    let world = Arc::new(World::default());
    if !arguments.list {
        // Building the gateway may take minutes, which are no test's own.
        runtime.block_on(world.stage());
    }
    let trials = claims().into_iter().map(|claim| {
        let (world, handle) = (world.clone(), runtime.handle().clone());
        Trial::test(claim.name, move || {
            handle.block_on(async {
                match tokio::time::timeout(claim.limit, (claim.run)(world)).await {
                    Ok(()) => Ok(()),
                    Err(_) => Err(format!("took longer than {} s", claim.limit.as_secs()).into()),
                }
            })
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let failed = conclusion.has_failed();
    let closed = runtime.block_on(world.close(failed));
    runtime.shutdown_timeout(Duration::from_secs(5));
    match closed {
        Ok(()) if !failed => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(101),
        Err(reason) => {
            eprintln!("the books of the shared gateway do not close: {reason}");
            ExitCode::from(101)
        }
    }
}
