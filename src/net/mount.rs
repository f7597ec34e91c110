//! A listener's mount point: the prefix that its clients' topics have on the bus and do not see.
//!
//! It is put before and taken off here, at the border, so that the broker and the rules know topics as they are on the
//! bus. A client of a mounted listener pays one copy of each topic for it.

use crate::mqtt::packet::{
    ClientPacket, Connect, Publish, Subscribe, SubscribeFilter, Unsubscribe, Will,
};
use crate::mqtt::topic;

/// Texts that a rewritten packet borrows from.
#[derive(Debug, Default)]
pub struct Prefixed(Vec<String>);

impl Prefixed {
    /// The bus's form of a packet's topics and filters.
    pub fn of(mount: &str, packet: &ClientPacket<'_>) -> Prefixed {
        Prefixed(match packet {
            // A topic that is empty stands for an alias, which was set with the prefix.
            ClientPacket::Publish(publish) if !publish.topic.is_empty() => {
                vec![format!("{mount}{}", publish.topic)]
            }
            ClientPacket::Subscribe(subscribe) => subscribe
                .filters
                .iter()
                .map(|asked| prefixed_filter(mount, asked.filter))
                .collect(),
            ClientPacket::Unsubscribe(unsubscribe) => unsubscribe
                .filters
                .iter()
                .map(|filter| prefixed_filter(mount, filter))
                .collect(),
            _ => Vec::new(),
        })
    }

    /// The bus's form of a CONNECT's Will Topic.
    pub fn of_will(mount: &str, connect: &Connect<'_>) -> Prefixed {
        Prefixed(
            connect
                .will
                .iter()
                .map(|will| format!("{mount}{}", will.topic))
                .collect(),
        )
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

fn prefixed_filter(mount: &str, filter: &str) -> String {
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
        let prefixed = Prefixed::of("guest/", &packet);
        let ClientPacket::Subscribe(subscribe) = prefixed.packet(packet) else {
            panic!("a SUBSCRIBE stays one");
        };
        let filters: Vec<&str> = subscribe.filters.iter().map(|asked| asked.filter).collect();
        assert_eq!(filters, ["guest/a/#", "$share/g/guest/b"]);
    }
}
