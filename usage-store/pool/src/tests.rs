//! Against a real server, one for each test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod engines;
mod link;
mod server;
mod tls;

use std::time::Duration;

use tollgate_budget::pool::OnOutage;
use tollgate_record::Name;

use crate::Config;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Limits of time that no machine is too slow for: no test waits for one, but those of servers that hang.
fn config(url: &str, instance: &str, grace_ms: u64) -> Config {
    Config {
        url: url.parse().unwrap(),
        prefix: "test".to_owned(),
        timeout: Duration::from_secs(20),
        grace: Duration::from_millis(grace_ms),
        on_outage: OnOutage::Leases,
        instance: name(instance),
    }
}
