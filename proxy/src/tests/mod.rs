//! The request path whole: clients and upstreams on loopback around a gateway with a ledger in memory. A module per behaviour.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

mod access;
mod admission;
mod batches;
mod faults;
mod leaving;
mod ledger;
mod limits;
mod native;
mod passing;
mod proxies;
mod refusing;
mod sharing;
mod shutdown;
mod signing;
mod tls;
mod upstreams;
