//! What the tests talk to and talk with: processes, clients, rows, money. It asserts nothing about the product except through `ledger`.

pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod claim;
pub(crate) mod config;
pub(crate) mod dice;
pub(crate) mod gateway;
pub(crate) mod ledger;
pub(crate) mod money;
pub(crate) mod prices;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod s3;
pub(crate) mod sdk;
pub(crate) mod storm;
pub(crate) mod traffic;
pub(crate) mod usage;
pub(crate) mod world;
pub(crate) mod wreck;

/// A path below the folder of the tests, as cargo tells it while they run: one from compile time may be that of another checkout, since
/// checkouts share a target folder.
pub(crate) fn here(path: &str) -> String {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package of a test is");
    format!("{folder}/{path}")
}
