//! Packets of multicast DNS: what is read of one has the bounds of names, and can be asked for.

use fosquitto::net::mdns::{Data, Kind, Name, question, read};

/// A packet.
pub fn run(bytes: &[u8]) {
    for record in read(bytes).unwrap_or_default() {
        check(&record.name);
        match &record.data {
            Data::Pointer(name) | Data::Service { host: name, .. } => check(name),
            Data::Text(texts) => {
                let sizes = texts.iter().map(|text| text.len() + 1);
                assert!(sizes.sum::<usize>() <= bytes.len());
            }
            Data::V4(_) | Data::V6(_) => {}
        }
    }
}

fn check(name: &Name) {
    let labels = name.labels();
    assert!(labels.map(|label| label.len() + 1).sum::<usize>() < 255);
    assert!(name.labels().all(|label| (1..=63).contains(&label.len())));
    assert_eq!(Name::of(name.labels()).as_ref(), Some(name));
    assert!(name.to_string().is_ascii());
    let asked = question(&[(name.clone(), Kind::Service)], false);
    assert_eq!(read(&asked), Ok(Vec::new()), "a question says nothing");
}
