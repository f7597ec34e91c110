//! The network: listening sockets, TLS, frames and packets of each connection, and the buffers of what goes out.
//!
//! A socket's way: [`listener`] accepts it on a thread of its own and hands it to the event loop; [`connection`] is its future
//! there, from the TLS and WebSocket handshakes and CONNECT to its end; [`frame`] and [`codec`] make packets of its bytes. What the broker
//! decides comes back through [`table`], which holds every connection's output until the end of the loop's turn and then gives
//! it to the socket in one piece. [`dial`] makes connections that go out. Who owns the broker, the clock and the configuration is the [`hub::Hub`]'s matter.

pub mod alias;
pub mod codec;
pub mod connection;
pub mod dial;
pub mod door;
pub mod frame;
pub mod hub;
pub mod listener;
pub mod mdns;
pub mod mount;
pub mod outlet;
pub mod output;
pub mod round;
pub mod table;
pub mod tls;
pub mod trail;
pub mod websocket;
mod write;
