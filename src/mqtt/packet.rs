//! The control packets as values: what a client said, and what the broker says.
//!
//! A [`ClientPacket`] borrows from the bytes that were read; it was checked against every rule that one packet
//! alone can break. A [`ServerPacket`] says what is meant; how it is encoded for the client's version
//! is `net`'s matter. The broker's PUBLISH is not here: see `broker::effect::Delivery`.

use super::{PacketId, Qos, ReasonCode, Version};

/// A packet that a client may send.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientPacket<'a> {
    /// CONNECT (3.1).
    Connect(Connect<'a>),
    /// PUBLISH (3.3).
    Publish(Publish<'a>),
    /// PUBACK (3.4).
    PubAck(Ack),
    /// PUBREC (3.5).
    PubRec(Ack),
    /// PUBREL (3.6).
    PubRel(Ack),
    /// PUBCOMP (3.7).
    PubComp(Ack),
    /// SUBSCRIBE (3.8).
    Subscribe(Subscribe<'a>),
    /// UNSUBSCRIBE (3.10).
    Unsubscribe(Unsubscribe<'a>),
    /// PINGREQ (3.12).
    PingReq,
    /// DISCONNECT (3.14).
    Disconnect(Disconnect),
    /// AUTH (3.15).
    Auth(Auth<'a>),
}

/// CONNECT (3.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Connect<'a> {
    /// The protocol name and level.
    pub version: Version,
    /// Whether the client is a bridge: the level's highest bit was set (as by mosquitto's `try_private`), or a User Property says so.
    pub bridge: bool,
    /// Clean Start; in 3.1.1 the Clean Session flag, which also ends the session with the connection.
    pub clean_start: bool,
    /// Keep Alive in seconds, 0 for none.
    pub keep_alive_s: u16,
    /// The Client Identifier, empty when the server is to choose.
    pub client_id: &'a str,
    /// The Will.
    pub will: Option<Will<'a>>,
    /// The User Name.
    pub user_name: Option<&'a str>,
    /// The Password.
    pub password: Option<&'a [u8]>,
    /// What MQTT 5 adds; the defaults of 3.1.2.11 for older clients.
    pub properties: ConnectProperties<'a>,
}

/// The properties of CONNECT (3.1.2.11).
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval in seconds; 0xFFFFFFFF is for ever. `None` when absent, which means 0 in 5.0.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum: how many QoS 1 and 2 messages the client takes at a time.
    pub receive_maximum: u16,
    /// Maximum Packet Size that the client takes, in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Topic Alias Maximum that the client takes.
    pub topic_alias_maximum: u16,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information.
    pub request_problem_information: bool,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        ConnectProperties {
            session_expiry_s: None,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
        }
    }
}

/// The Will of a CONNECT (3.1.2.5, 3.1.3.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Will<'a> {
    /// Will Topic.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
    /// Will QoS.
    pub qos: Qos,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Message Expiry Interval in seconds.
    pub expiry_s: Option<u32>,
    /// The other Will Properties, encoded as in a PUBLISH: they go out with the Will Message unchanged.
    pub properties: &'a [u8],
}

/// PUBLISH from a client (3.3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Publish<'a> {
    /// The Topic Name; empty when only a Topic Alias names it.
    pub topic: &'a str,
    /// The Packet Identifier; `None` at QoS 0, and only there.
    pub packet_id: Option<PacketId>,
    /// The QoS.
    pub qos: Qos,
    /// The DUP flag.
    pub duplicate: bool,
    /// The RETAIN flag.
    pub retain: bool,
    /// Topic Alias, never 0.
    pub topic_alias: Option<u16>,
    /// Message Expiry Interval in seconds.
    pub expiry_s: Option<u32>,
    /// Payload Format Indicator, Content Type, Response Topic, Correlation Data and User Properties as they
    /// were encoded: they go out unchanged and in order.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP from a client; a 3.1.1 client always means success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The Packet Identifier.
    pub packet_id: PacketId,
    /// The Reason Code.
    pub reason: ReasonCode,
}

/// SUBSCRIBE (3.8).
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe<'a> {
    /// The Packet Identifier.
    pub packet_id: PacketId,
    /// Subscription Identifier, 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    /// The filters, in order; at least one.
    pub filters: Vec<SubscribeFilter<'a>>,
}

/// One Topic Filter of a SUBSCRIBE with its Subscription Options (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// The filter as sent, well formed; `$share/{ShareName}/` included.
    pub filter: &'a str,
    /// The options.
    pub options: SubscriptionOptions,
}

/// Subscription Options (3.8.3.1); for 3.1.1 only the QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Maximum QoS.
    pub qos: Qos,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// What a 3.1.1 SUBSCRIBE asks for.
    pub fn with_qos(qos: Qos) -> SubscriptionOptions {
        SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }
}

/// When retained messages are sent at a subscription (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainHandling {
    /// 0: at every subscription.
    Send,
    /// 1: only when the subscription is new.
    SendIfNew,
    /// 2: never.
    DoNotSend,
}

/// UNSUBSCRIBE (3.10).
#[derive(Debug, Clone, PartialEq)]
pub struct Unsubscribe<'a> {
    /// The Packet Identifier.
    pub packet_id: PacketId,
    /// The filters, in order; at least one.
    pub filters: Vec<&'a str>,
}

/// DISCONNECT from a client (3.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// The Reason Code; 0x04 asks for the Will to be published.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds, when it is to change.
    pub session_expiry_s: Option<u32>,
}

/// AUTH (3.15), in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// 0x18 Continue authentication; 0x19 Re-authenticate from a client; 0x00 Success from the server.
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
}

/// A packet that the broker sends, except PUBLISH.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerPacket<'a> {
    /// CONNACK (3.2).
    ConnAck(ConnAck<'a>),
    /// PUBACK (3.4).
    PubAck(Ack),
    /// PUBREC (3.5).
    PubRec(Ack),
    /// PUBREL (3.6).
    PubRel(Ack),
    /// PUBCOMP (3.7).
    PubComp(Ack),
    /// PUBACK or PUBREC, as the QoS of the message asks, that says no.
    Refusal {
        /// The identifier and an error.
        ack: Ack,
        /// The QoS of the message, never 0.
        qos: Qos,
        /// Reason String, left out where the client did not ask for problem information.
        reason_string: &'a str,
    },
    /// SUBACK (3.9).
    SubAck {
        /// The Packet Identifier of the SUBSCRIBE.
        packet_id: PacketId,
        /// One code a filter, in order.
        reasons: &'a [ReasonCode],
        /// Reason String, left out where the client did not ask for problem information.
        reason_string: Option<&'a str>,
    },
    /// UNSUBACK (3.11).
    UnsubAck {
        /// The Packet Identifier of the UNSUBSCRIBE.
        packet_id: PacketId,
        /// One code a filter, in order; a 3.1.1 client gets none.
        reasons: &'a [ReasonCode],
    },
    /// PINGRESP (3.13).
    PingResp,
    /// DISCONNECT (3.14); there is none for a 3.1.1 client.
    Disconnect {
        /// Why.
        reason: ReasonCode,
        /// Reason String, left out where the client did not ask for problem information.
        reason_string: Option<&'a str>,
        /// Server Reference, with 0x9C and 0x9D.
        server_reference: Option<&'a str>,
    },
    /// AUTH (3.15); there is none for a 3.1.1 client.
    Auth(Auth<'a>),
}

/// CONNACK (3.2).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnAck<'a> {
    /// Session Present.
    pub session_present: bool,
    /// The Connect Reason Code; 3.1.1 gets [`ReasonCode::connect_return_code`].
    pub reason: ReasonCode,
    /// The properties, all of them for 5.0 only.
    pub properties: ConnAckProperties<'a>,
}

/// The properties of CONNACK (3.2.2.3); a `None` is left out, and then its default holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval in seconds, when it is not what the client asked for.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum of the broker.
    pub receive_maximum: Option<u16>,
    /// Maximum QoS, when it is not 2.
    pub maximum_qos: Option<Qos>,
    /// Retain Available, when it is not.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size that the broker takes, in bytes.
    pub maximum_packet_size: Option<u32>,
    /// The Client Identifier that the broker chose.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum that the broker takes.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// Shared Subscription Available.
    pub shared_subscription_available: Option<bool>,
    /// Server Keep Alive in seconds, when it is not what the client asked for.
    pub server_keep_alive_s: Option<u16>,
    /// Response Information: the topic below which the client may expect responses.
    pub response_information: Option<&'a str>,
    /// Server Reference, with 0x9C and 0x9D.
    pub server_reference: Option<&'a str>,
    /// Authentication Method, after a successful exchange of enhanced authentication.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data: the end of that exchange.
    pub authentication_data: Option<&'a [u8]>,
}

impl<'a> ConnAck<'a> {
    /// One that says no, and why in words.
    pub fn refusal(reason: ReasonCode, why: &'a str) -> ConnAck<'a> {
        ConnAck {
            session_present: false,
            reason,
            properties: ConnAckProperties {
                reason_string: Some(why),
                ..ConnAckProperties::default()
            },
        }
    }
}

impl Default for ReasonCode {
    fn default() -> Self {
        ReasonCode::SUCCESS
    }
}
