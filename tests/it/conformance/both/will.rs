//! Chapters 3.1.2.5 to 3.1.2.7 and 3.14.4: the Will.

use crate::conformance::raw::{ILL_FORMED, connect_head, is_malformed};
use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Publish, Version, frame, put_string};

#[test]
fn the_will_is_published_when_the_connection_is_lost_3_1_2_7_and_3_1_2_8() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will", 0);
        drop(broker.join(&Connect::new(version, "mortal").will("will", "gone")));
        assert_eq!(watcher.text(), "gone");
    }
}

#[test]
fn the_will_is_discarded_at_disconnect_3_1_2_10_and_3_14_4_3() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will", 0);
        broker
            .join(&Connect::new(version, "mortal").will("will", "gone"))
            .disconnect();
        watcher.publish("will", "end");
        assert_eq!(watcher.text(), "end");
    }
}

#[test]
fn a_will_of_qos_3_is_refused_3_1_2_12() {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let connect = broker
            .as_local(&Connect::new(version, "a"))
            .will("will", "x");
        is_malformed(
            &broker,
            version,
            &connect.encode_as(b"MQTT", level, connect.flags() | 0x18),
        );
    }
}

#[test]
fn a_will_is_retained_when_its_flag_says_so_3_1_2_14_and_3_1_2_15() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for retain in [false, true] {
            let mut watcher = broker.join(&Connect::new(version, "watcher"));
            watcher.send_publish(&Publish::new("will", "").retained());
            watcher.ping();
            watcher.subscribe("will", 0);
            let mut connect = Connect::new(version, "mortal").will("will", "gone");
            connect.will.as_mut().expect("the will was just set").retain = retain;
            drop(broker.join(&connect));
            assert!(!watcher.message().retain, "a live message");
            watcher.subscribe("end", 0);
            watcher.subscribe("will", 0);
            watcher.publish("end", "end");
            assert_eq!(watcher.message().topic == "will", retain);
        }
    }
}

#[test]
fn a_will_is_published_once_and_no_more_by_a_later_connection_3_1_2_10() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will", 0);
        let connect = Connect::new(version, &format!("{version:?}")).persistent();
        drop(broker.join(&connect.clone().will("will", "gone")));
        assert_eq!(watcher.text(), "gone");
        drop(broker.join(&connect));
        broker.join(&connect).disconnect();
        watcher.publish("will", "end");
        assert_eq!(watcher.text(), "end");
    }
}

#[test]
fn a_will_flag_without_the_fields_of_a_will_is_refused_3_1_2_9() {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let connect = broker.as_local(&Connect::new(version, "a"));
        is_malformed(
            &broker,
            version,
            &connect.encode_as(b"MQTT", level, connect.flags() | 0x04),
        );
    }
}

#[test]
fn will_qos_or_will_retain_without_a_will_is_refused_3_1_2_11_and_3_1_2_13() {
    let broker = Broker::start(LOCAL);
    for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
        let connect = broker.as_local(&Connect::new(version, "a"));
        for flags in [0x08, 0x10, 0x18, 0x20, 0x28] {
            is_malformed(
                &broker,
                version,
                &connect.encode_as(b"MQTT", level, connect.flags() | flags),
            );
        }
    }
}

#[test]
fn the_topic_of_a_will_is_well_formed_3_1_3_11() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        for topic in ILL_FORMED {
            let mut body = connect_head(version, 0x06);
            put_string(&mut body, b"a");
            if version == Version::V5 {
                body.push(0);
            }
            put_string(&mut body, topic);
            put_string(&mut body, b"payload");
            is_malformed(&broker, version, &frame(0x10, &body));
        }
    }
}
