//! Chapter 3.15 of 5.0: what an AUTH of the broker says. The exchange itself is tested in `daemon::scram`.

use crate::harness::broker::{Broker, LOCAL};
use crate::harness::packet::{Packet, property};
use crate::harness::scram::{METHOD, Scram, auth, connect};

const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

#[test]
fn an_auth_has_no_words_of_its_own_3_15_2_2_and_3_15_2_3() {
    let broker = Broker::start(LOCAL);
    let mut scram = Scram::new("local", &broker.root().local_password());
    let mut client = broker.dial();
    client.send_connect(&connect("a", METHOD, Some(&scram.first())));
    for round in 0..2 {
        let Packet::Auth(asked) = client.receive() else {
            panic!("expected AUTH");
        };
        let ids: Vec<u8> = asked.properties.iter().map(|(id, _)| *id).collect();
        assert_eq!(
            ids,
            [
                property::AUTHENTICATION_METHOD,
                property::AUTHENTICATION_DATA
            ]
        );
        if round == 0 {
            let data = asked
                .property(property::AUTHENTICATION_DATA)
                .expect("the server's first message");
            client.send(&auth(CONTINUE, &scram.last(&data[2..])));
            client.expect(|packet| matches!(packet, Packet::Connack(connack) if connack.code == 0));
            scram = Scram::new("local", &broker.root().local_password());
            client.send(&auth(AGAIN, &scram.first()));
        }
    }
}
