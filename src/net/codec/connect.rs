//! CONNECT (3.1 of MQTT 5.0, of 3.1.1 and of 3.1), read by [`decode_connect`].
//!
//! Here the version is found out that all later packets of the connection are read with, and how a client whose
//! CONNECT is refused can be told. Who the client is and whether it may come in is decided elsewhere.

use super::properties::{IN_CONNECT, IN_WILL, Properties, Property, of_message};
use super::{Fault, Reader, Scratch};
use crate::mqtt::packet::{Connect, ConnectProperties, Will};
use crate::mqtt::{Qos, ReasonCode, Version, topic};
use crate::net::trail;

/// A CONNECT that is refused. The connection ends in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectFault {
    /// What is wrong.
    pub fault: Fault,
    /// The version in which a CONNACK with the fault's reason is sent before the close; `None` when the connection
    /// is just closed, because the client has no words for the reason or does not speak MQTT.
    pub answer: Option<Version>,
}

impl ConnectFault {
    const fn silent(fault: Fault) -> ConnectFault {
        ConnectFault {
            fault,
            answer: None,
        }
    }
}

/// Reads a CONNECT; `first` is the packet's first byte and `body` what follows its fixed header.
///
/// Will Properties may be gathered in `scratch`.
pub fn decode_connect<'a>(
    first: u8,
    body: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<Connect<'a>, ConnectFault> {
    if first != 0x10 {
        // [MQTT-3.1.0-1] [MQTT-2.1.3-1]
        let fault = Fault::protocol("the first packet is not a CONNECT");
        return Err(ConnectFault::silent(fault));
    }
    scratch.trim();
    let mut reader = Reader::new(body);
    let (version, bridge) = protocol(&mut reader)?;
    after_the_level(version, bridge, reader, scratch).map_err(|fault| {
        // 3.1.1 has return codes for few reasons; on any other fault "the Server MUST close the
        // Network Connection" without a CONNACK (3.1.4 of 3.1.1).
        let answered = version.is_v5() || fault.reason == ReasonCode::CLIENT_IDENTIFIER_NOT_VALID;
        ConnectFault {
            fault,
            answer: answered.then_some(version),
        }
    })
}

/// Reads Protocol Name and Protocol Level: the version, and whether the client is a bridge.
///
/// mosquitto's bridges set the highest bit of the level, in 3.1 and 3.1.1.
fn protocol(reader: &mut Reader<'_>) -> Result<(Version, bool), ConnectFault> {
    let name = reader.binary().map_err(ConnectFault::silent)?;
    let known = matches!(name, b"MQTT" | b"MQIsdp");
    if !known {
        // [MQTT-3.1.2-1]: whoever says another name is not told that this is an MQTT server.
        let fault = Fault::unsupported("the protocol name is not MQTT");
        return Err(ConnectFault::silent(fault));
    }
    let level = reader.byte().map_err(ConnectFault::silent)?;
    match (name, level) {
        (b"MQTT", 5) => Ok((Version::V5, false)),
        (b"MQTT", 4) => Ok((Version::V3_1_1, false)),
        (b"MQTT", 0x84) => Ok((Version::V3_1_1, true)),
        (b"MQIsdp", 3) => Ok((Version::V3_1, false)),
        (b"MQIsdp", 0x83) => Ok((Version::V3_1, true)),
        // [MQTT-3.1.2-2]: a later version is told in the form of 5.0, which it may know; an earlier one
        // in that of 3.1.1.
        (name, level) => Err(ConnectFault {
            fault: Fault::unsupported("the protocol level is unknown"),
            answer: Some(match name {
                b"MQTT" if level > 5 => Version::V5,
                _ => Version::V3_1_1,
            }),
        }),
    }
}

/// The Connect Flags (3.1.2.3), consistent with each other.
struct Flags {
    clean_start: bool,
    will: Option<(Qos, bool)>,
    user_name: bool,
    password: bool,
}

impl Flags {
    fn new(version: Version, byte: u8) -> Result<Flags, Fault> {
        let is_set = |bit: u8| byte & bit != 0;
        if is_set(0x01) && version != Version::V3_1 {
            // [MQTT-3.1.2-3]; 3.1 calls the bit unused and sets no value for it.
            return Err(Fault::malformed("the reserved connect flag is set"));
        }
        let will_qos =
            Qos::from_bits(byte >> 3 & 3).ok_or(Fault::malformed("the will has QoS 3"))?; // [MQTT-3.1.2-12]
        if !is_set(0x04) && is_set(0x38) {
            // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
            return Err(Fault::malformed("there are will flags without a will"));
        }
        if is_set(0x40) && !is_set(0x80) && !version.is_v5() {
            // [MQTT-3.1.2-22] of 3.1.1; 5.0 allows it.
            return Err(Fault::malformed("there is a password without a user name"));
        }
        Ok(Flags {
            clean_start: is_set(0x02),
            will: is_set(0x04).then_some((will_qos, is_set(0x20))),
            user_name: is_set(0x80),
            password: is_set(0x40),
        })
    }
}

fn after_the_level<'a>(
    version: Version,
    bridge: bool,
    mut reader: Reader<'a>,
    scratch: &'a mut Scratch,
) -> Result<Connect<'a>, Fault> {
    let flags = Flags::new(version, reader.byte()?)?;
    let keep_alive_s = reader.two_byte()?;
    let (properties, says_bridge) = match version {
        Version::V5 => connect_properties(reader.properties()?)?,
        _ => (ConnectProperties::default(), false),
    };
    let client_id = reader.string()?;
    let will = match flags.will {
        Some((qos, retain)) => Some(will(version, qos, retain, &mut reader, scratch)?),
        None => None,
    };
    // 3.1: "Server implementations must allow for the possibility that the User Name flag is set, but the User
    // Name string is missing" (3.1), as in clients of MQTT V3. The same for the password.
    let may_be_missing = version == Version::V3_1;
    let is_there = |flag: bool, reader: &Reader<'_>| flag && !(may_be_missing && reader.is_empty());
    let user_name = is_there(flags.user_name, &reader)
        .then(|| reader.string())
        .transpose()?;
    let password = is_there(flags.password, &reader)
        .then(|| reader.binary())
        .transpose()?;
    reader.finish()?;
    check_client_id(version, client_id, flags.clean_start)?;
    Ok(Connect {
        version,
        bridge: bridge || says_bridge,
        clean_start: flags.clean_start,
        keep_alive_s,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

/// Who may leave the Client Identifier to the server: anyone in 5.0, in 3.1.1 with Clean Session only
/// [MQTT-3.1.3-8], nobody in 3.1. That 3.1 ends it at 23 characters is not held against a client.
fn check_client_id(version: Version, client_id: &str, clean_start: bool) -> Result<(), Fault> {
    let may_be_empty = match version {
        Version::V5 => true,
        Version::V3_1_1 => clean_start,
        Version::V3_1 => false,
    };
    if client_id.is_empty() && !may_be_empty {
        return Err(Fault {
            reason: ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            what: "the client identifier is empty",
        });
    }
    Ok(())
}

/// Reads the properties of CONNECT (3.1.2.11), and whether they say that the client is a bridge.
fn connect_properties(block: &[u8]) -> Result<(ConnectProperties<'_>, bool), Fault> {
    let mut found = ConnectProperties::default();
    let mut properties = Properties::new(block, IN_CONNECT);
    let (mut is_bridge, mut from) = (false, 0);
    while let Some(property) = properties.next()? {
        let to = block.len() - properties.unread();
        match property {
            Property::SessionExpiry(seconds) => found.session_expiry_s = Some(seconds),
            Property::ReceiveMaximum(value) => found.receive_maximum = value,
            Property::MaximumPacketSize(bytes) => found.maximum_packet_size = Some(bytes),
            Property::TopicAliasMaximum(value) => found.topic_alias_maximum = value,
            Property::RequestResponseInformation(yes) => found.request_response_information = yes,
            Property::RequestProblemInformation(yes) => found.request_problem_information = yes,
            Property::AuthenticationMethod(name) => found.authentication_method = Some(name),
            Property::AuthenticationData(data) => found.authentication_data = Some(data),
            // User Properties have no meaning but what both sides agree on (3.1.2.11.8).
            _ => is_bridge |= trail::is_bridge(&block[from..to]),
        }
        from = to;
    }
    if found.authentication_data.is_some() && found.authentication_method.is_none() {
        // "It is a Protocol Error to include Authentication Data if there is no Authentication Method"
        // (3.1.2.11.10).
        return Err(Fault::protocol(
            "there is authentication data without a method",
        ));
    }
    Ok((found, is_bridge))
}

/// Reads the Will's part of the payload (3.1.3.2 to 3.1.3.4).
fn will<'a>(
    version: Version,
    qos: Qos,
    retain: bool,
    reader: &mut Reader<'a>,
    scratch: &'a mut Scratch,
) -> Result<Will<'a>, Fault> {
    let block = match version {
        Version::V5 => reader.properties()?,
        _ => &[],
    };
    let properties = of_message(block, IN_WILL, scratch)?;
    let topic = reader.text()?;
    if !topic::is_name(topic) {
        // [MQTT-3.1.3-11]; a will is published, so that it needs a Topic Name.
        return Err(Fault::malformed("the will's topic is ill formed"));
    }
    Ok(Will {
        topic,
        payload: reader.binary()?,
        qos,
        retain,
        delay_s: properties.delay_s,
        expiry_s: properties.expiry_s,
        properties: properties.travelling,
    })
}
