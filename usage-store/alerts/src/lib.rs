//! Alerts.
#![forbid(unsafe_code)]
pub mod anomaly;
