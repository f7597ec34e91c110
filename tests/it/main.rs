//! The integration tests, one binary: the real program from the outside, and the source text held to its own rules.
//!
//! `daemon` has what an owner sees, `conformance` the statements of the MQTT specifications by number, `hostile` the inputs
//! of attackers, `bridge` connections to other brokers, `foris` the router's own programs, `openwrt`, `packages` and `foreign` what a router
//! gets, `store` what is kept over kills and restarts, `readme` and `tidy` the project itself. What needs no socket is tested beside the
//! code it tests, not here.

mod bridge;
mod conformance;
mod daemon;
mod foreign;
mod foreign_tls;
mod foris;
mod harness;
mod hostile;
mod openwrt;
mod packages;
mod readme;
mod store;
mod tidy;
