//! Fosquitto, the MQTT message bus of an OpenWrt router.

pub mod acl;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod config;
pub mod log;
pub mod mqtt;
pub mod net;
pub mod server;
