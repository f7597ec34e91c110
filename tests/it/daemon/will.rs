//! Wills: published when a connection is lost, and only then.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{BOTH, Connect, Publish, Version, frame};

#[test]
fn a_lost_connection_publishes_its_will() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will/#", 0);
        drop(broker.join(&Connect::new(version, "mortal").will("will/mortal", "gone")));
        assert_eq!(watcher.message(), Publish::new("will/mortal", "gone"));
        watcher.disconnect();
    }
}

#[test]
fn an_orderly_disconnect_discards_the_will() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will/#", 0);
        broker
            .join(&Connect::new(version, "mortal").will("will/mortal", "gone"))
            .disconnect();
        watcher.publish("will/end", "end");
        assert_eq!(watcher.text(), "end");
        watcher.disconnect();
    }
}

#[test]
fn a_disconnect_with_reason_4_publishes_the_will() {
    let broker = Broker::start(LOCAL);
    let mut watcher = broker.join(&Connect::new(Version::V5, "watcher"));
    watcher.subscribe("will/#", 0);
    let mut mortal = broker.join(&Connect::new(Version::V5, "mortal").will("will/mortal", "gone"));
    mortal.send(&frame(0xE0, &[0x04]));
    assert_eq!(watcher.text(), "gone");
}

#[test]
fn a_protocol_error_publishes_the_will() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will/#", 0);
        let mut mortal = broker.join(&Connect::new(version, "mortal").will("will/mortal", "gone"));
        mortal.send(&[0xF1, 0]);
        mortal.closed();
        assert_eq!(watcher.text(), "gone");
        watcher.disconnect();
    }
}

#[test]
fn a_retained_will_is_there_for_who_comes_later() {
    let broker = Broker::start(LOCAL);
    for version in BOTH {
        let mut watcher = broker.join(&Connect::new(version, "watcher"));
        watcher.subscribe("will/#", 1);
        let mut connect = Connect::new(version, "mortal").will("will/mortal", "gone");
        let will = connect.will.as_mut().expect("the will was just set");
        (will.qos, will.retain) = (1, true);
        drop(broker.join(&connect));
        assert_eq!((watcher.message().qos, version), (1, version));
        let mut late = broker.join(&Connect::new(version, "late"));
        late.subscribe("will/#", 1);
        let message = late.message();
        assert_eq!(
            (message.payload.as_slice(), message.retain, message.qos),
            (&b"gone"[..], true, 1)
        );
        watcher.send_publish(&Publish::new("will/mortal", "").retained());
        watcher.ping_past_messages();
        watcher.disconnect();
        late.disconnect();
    }
}
