//! A listener's mount point: the prefix that its clients' topics have on the bus and do not see.
//!
//! It is put before and taken off here, at the border, so that the broker and the rules know topics as they are on the
//! bus. A client of a mounted listener pays one copy of each topic for it.

use super::codec::Fault;
use crate::mqtt::packet::{
    ClientPacket, Connect, Publish, Subscribe, SubscribeFilter, Unsubscribe, Will,
};
use crate::mqtt::{ReasonCode, topic};

/// Texts that a rewritten packet borrows from.
#[derive(Debug, Default)]
pub struct Prefixed(Vec<String>);

impl Prefixed {
    /// The bus's form of a packet's topics and filters.
    ///
    /// # Errors
    /// The Topic Name is too long with the prefix; it reaches as far as the connection.
    pub fn of(mount: &str, packet: &ClientPacket<'_>) -> Result<Prefixed, Fault> {
        Ok(Prefixed(match packet {
            // A topic that is empty stands for an alias, which was set with the prefix.
            ClientPacket::Publish(publish) if !publish.topic.is_empty() => {
                vec![topic_of(mount, publish.topic)?]
            }
            ClientPacket::Subscribe(subscribe) => subscribe
                .filters
                .iter()
                .map(|asked| filter_of(mount, asked.filter))
                .collect(),
            ClientPacket::Unsubscribe(unsubscribe) => unsubscribe
                .filters
                .iter()
                .map(|filter| filter_of(mount, filter))
                .collect(),
            _ => Vec::new(),
        }))
    }

    /// The bus's form of a CONNECT's Will Topic.
    ///
    /// # Errors
    /// Those of [`Prefixed::of`].
    pub fn of_will(mount: &str, connect: &Connect<'_>) -> Result<Prefixed, Fault> {
        let topics = connect.will.iter();
        let topics = topics.map(|will| topic_of(mount, will.topic));
        Ok(Prefixed(topics.collect::<Result<_, _>>()?))
    }

    /// The packet with the bus's topics.
    pub fn packet<'a>(&'a self, packet: ClientPacket<'a>) -> ClientPacket<'a> {
        match packet {
            ClientPacket::Publish(publish) => {
                let topic = self.0.first().map_or(publish.topic, String::as_str);
                ClientPacket::Publish(Publish { topic, ..publish })
            }
            ClientPacket::Subscribe(subscribe) => {
                let filters = self.0.iter().zip(&subscribe.filters);
                let filters = filters
                    .map(|(filter, asked)| SubscribeFilter {
                        filter,
                        options: asked.options,
                    })
                    .collect();
                ClientPacket::Subscribe(Subscribe {
                    filters,
                    ..subscribe
                })
            }
            ClientPacket::Unsubscribe(unsubscribe) => {
                let filters = self.0.iter().map(String::as_str).collect();
                ClientPacket::Unsubscribe(Unsubscribe {
                    filters,
                    ..unsubscribe
                })
            }
            other => other,
        }
    }

    /// The CONNECT with the bus's Will Topic.
    pub fn connect<'a>(&'a self, connect: Connect<'a>) -> Connect<'a> {
        let will = connect
            .will
            .zip(self.0.first())
            .map(|(will, topic)| Will { topic, ..will });
        Connect { will, ..connect }
    }
}

/// The bus's form of a client's topic. What other clients get is a string of the protocol again, of at most 65,535 bytes (1.5.4).
///
/// # Errors
/// It is too long with the prefix; that reaches as far as the connection.
pub fn topic_of(mount: &str, topic: &str) -> Result<String, Fault> {
    if mount.len() + topic.len() > usize::from(u16::MAX) {
        return Err(Fault {
            reason: ReasonCode::TOPIC_NAME_INVALID,
            what: "the topic is too long with the listener's mount point",
        });
    }
    Ok(format!("{mount}{topic}"))
}

/// The bus's form of a client's filter.
pub fn filter_of(mount: &str, filter: &str) -> String {
    match topic::subscribed(filter) {
        Some(topic::Subscribed {
            share: Some(share),
            filter,
        }) => format!("$share/{share}/{mount}{filter}"),
        _ => format!("{mount}{filter}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{PacketId, Qos, packet::SubscriptionOptions};

    #[test]
    fn filters_and_shared_filters_get_the_prefix() {
        let options = SubscriptionOptions::with_qos(Qos::AtMostOnce);
        let filters = ["a/#", "$share/g/b"]
            .map(|filter| SubscribeFilter { filter, options })
            .to_vec();
        let packet = ClientPacket::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            subscription_id: None,
            filters,
        });
        let prefixed = Prefixed::of("guest/", &packet).expect("it fits");
        let ClientPacket::Subscribe(subscribe) = prefixed.packet(packet) else {
            panic!("a SUBSCRIBE stays one");
        };
        let filters: Vec<&str> = subscribe.filters.iter().map(|asked| asked.filter).collect();
        assert_eq!(filters, ["guest/a/#", "$share/g/guest/b"]);
    }
}
