//! From a socket to a [`Connection`]: its place in the table, and the handshakes of TLS and WebSocket.
//!
//! Nothing here knows MQTT.

use std::rc::Rc;

use ntex::io::{Filter, Io, IoBoxed};
use ntex::service::cfg::SharedCfg;

use super::exchange::Reauthentication;
use super::{Connection, State};
use crate::broker::{Close, ConnectionId, Time};
use crate::config::Protocol;
use crate::mqtt::ReasonCode;
use crate::net::door::{Crowd, Door};
use crate::net::hub::Hub;
use crate::net::listener::{Accepted, Stream};
use crate::net::table::Address;
use crate::net::tls::filter;
use crate::net::{websocket, write};

/// When a connection was accepted, and when it must be past CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// The present.
    pub now: Time,
    /// The end of its time.
    pub deadline: Time,
}

/// Takes a socket that was accepted: makes it a connection of the table, which runs to its end by itself.
pub fn accept<H: Hub>(hub: Rc<H>, accepted: Accepted, door: Rc<Door>, due: Due, cfg: SharedCfg) {
    let crowd = accepted.crowd;
    let is_plain = door.tls.is_none() && door.listener.protocol == Protocol::Mqtt;
    let spare = door
        .tls
        .as_ref()
        .and_then(|_| accepted.stream.try_clone().ok());
    let remains = match &accepted.stream {
        Stream::Unix(stream) if is_plain => stream.try_clone().ok(),
        _ => None,
    };
    let (io, address) = match accepted.stream {
        Stream::Tcp(stream, address) => {
            (ntex::rt::from_tcp_stream(stream, cfg), Address::Ip(address))
        }
        Stream::Unix(stream) => (ntex::rt::from_unix_stream(stream, cfg), Address::Unix),
    };
    let io = match io {
        Ok(io) => io,
        Err(error) => {
            log::warn!("{address}: cannot be served: {error}");
            left(&*hub, &crowd, true);
            return;
        }
    };
    let id =
        hub.table()
            .borrow_mut()
            .add(io.get_ref(), door.clone(), address, due.now, due.deadline);
    let connection = move |hub, io, door, crowd| Connection {
        hub,
        io,
        id,
        remains,
        door,
        crowd,
        state: State::Connect,
        connect_ms: due.deadline.since_ms(due.now),
        packet_max: 0,
        reauthentication: Reauthentication::Never,
        trail: None,
        assembler: None,
    };
    if is_plain {
        // Nothing is to be awaited, and the future of handshakes is large.
        ntex::rt::spawn(connection(hub, io.boxed(), door, crowd));
        return;
    }
    ntex::rt::spawn(async move {
        match shake_hands(io, &hub, &door, spare).await {
            Ok(io) => {
                ntex::rt::spawn(connection(hub, io, door, crowd));
            }
            Err(what) => fail(&*hub, id, &what, &crowd),
        }
    });
}

/// Ends a connection whose handshake has failed.
fn fail<H: Hub>(hub: &H, id: ConnectionId, what: &str, crowd: &Crowd) {
    let close = Close {
        reason: ReasonCode::UNSPECIFIED_ERROR,
        what: "handshake failed",
    };
    let mut table = hub.table().borrow_mut();
    if !table.is_closing(id)
        && let Some(live) = table.live(id)
    {
        let address = live.address();
        let name = live
            .door()
            .map_or(String::new(), |door| door.listener.name.clone());
        table.say(format!("{address} on listener '{name}': closed: {what}"));
    }
    table.close_silently(id, close);
    table.clear_deadline(id);
    table.remove(id);
    drop(table);
    left(hub, crowd, true);
}

/// Speaks TLS and WebSocket if the listener does. The connection's deadline ends a handshake that takes too long.
async fn shake_hands<H: Hub>(
    io: Io,
    hub: &Rc<H>,
    door: &Door,
    spare: Option<Stream>,
) -> Result<IoBoxed, String> {
    let Some(tls) = &door.tls else {
        if door.listener.protocol == Protocol::WebSocket {
            io.register_filter_callbacks(write::Watch::default());
        }
        return upgrade(io, hub, door).await;
    };
    let failed = |what| format!("TLS handshake failed: {what}");
    let ssl = tls.ssl().map_err(|error| failed(error.to_string()))?;
    io.register_filter_callbacks(write::Watch::default());
    let io = filter::shake_hands(io, ssl, spare).await.map_err(failed)?;
    upgrade(io, hub, door).await
}

/// Speaks WebSocket if the listener does.
async fn upgrade<F: Filter, H: Hub>(
    io: Io<F>,
    hub: &Rc<H>,
    door: &Door,
) -> Result<IoBoxed, String> {
    if door.listener.protocol == Protocol::Mqtt {
        return Ok(io.boxed());
    }
    match websocket::accept(io, hub.clone(), &door.listener).await {
        Ok(io) => Ok(io.boxed()),
        Err(what) => Err(format!("WebSocket handshake failed: {what}")),
    }
}

/// A connection is gone: its listener has room for another.
pub(super) fn left<H: Hub>(hub: &H, crowd: &Crowd, before_connect: bool) {
    crowd.leave();
    if before_connect && crowd.admit() {
        hub.accept_more();
    }
}
