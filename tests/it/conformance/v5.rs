//! Statements of MQTT 5.0 (OASIS standard of 7 March 2019) that 3.1.1 says otherwise or not at all, a file a chapter.

mod acks;
mod auth;
mod capabilities;
mod connack;
mod connect;
mod disconnect;
mod message;
mod publish;
mod qos;
mod reasons;
mod redirect;
mod responses;
mod share;
mod subscribe;
