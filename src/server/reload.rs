//! Reading the configuration again while the bus runs.
//!
//! Old and new are compared, and only what differs is touched: listeners that changed, settings, rules. Passwords, certificates and revocation
//! lists are read again in any case. A client stays if it would be let in as who it is; its rights follow the rules. A
//! configuration with faults changes nothing.

use std::rc::Rc;
use std::sync::Arc;

use super::bus::{Bus, Followed, rates_of, settings_of};
use super::{bridges, clock, judge, keeping};
use crate::auth::Credentials;
use crate::broker::{ConnectionId, Input, Judge, Owner};
use crate::mqtt::ReasonCode;
use crate::net::hub::Hub;
use crate::{config, log as logging};

/// Reads everything again.
pub fn reload(bus: &Rc<Bus>) {
    let config = match config::load(&bus.root) {
        Ok(config) => config,
        Err(faults) => {
            for fault in &faults.0 {
                log::error!("{fault}");
            }
            let told = faults.0.iter().map(ToString::to_string);
            bus.followed.borrow_mut().faults = told.collect();
            log::error!("configuration kept: the new one has faults");
            return;
        }
    };
    let former = bus.credentials.borrow().clone();
    match Credentials::load(&bus.root) {
        Ok(credentials) => *bus.credentials.borrow_mut() = Arc::new(credentials),
        Err(faults) => {
            for fault in faults {
                log::error!("{fault}");
            }
            log::error!("passwords kept: a file of passwords has faults");
        }
    }
    logging::set_level(config.global.log_level);
    bus.doors.borrow_mut().follow(bus, &config);
    let settings = settings_of(&config);
    bus.guard.set(rates_of(&config.global));
    if config.persistence.path != bus.config.borrow().persistence.path {
        // What is kept is in the database that is open, and a move would have to be undone if the new place were bad.
        log::info!("the new path of the database holds from the next start");
    }
    let kept = keeping::settings_of(&config.persistence);
    match bus.store.borrow_mut().as_mut() {
        Some(store) => store.set(kept),
        // What happened so far would be missing in it.
        None if !kept.is_volatile() => log::info!("state is kept from the next start on"),
        None => {}
    }
    *bus.config.borrow_mut() = config;
    *bus.followed.borrow_mut() = Followed {
        path: config::path(&bus.root),
        at: clock::now(),
        faults: Vec::new(),
    };
    bus.set(settings);
    bridges::follow(bus);
    review_clients(bus);
    review_wills(bus, Some(&former));
    bus.accept_more();
    log::info!("configuration reloaded");
}

/// Reads the certificates and the lists of revoked ones again; what else was configured stays.
pub fn renew_certificates(bus: &Rc<Bus>) {
    let config = bus.config.borrow().clone();
    bus.doors.borrow_mut().follow(bus, &config);
    review_clients(bus);
    bus.accept_more();
    log::info!("certificates have changed and were read again");
}

/// Decides about each client again.
fn review_clients(bus: &Rc<Bus>) {
    let clients: Vec<ConnectionId> = bus.table.borrow().all().map(|(id, _)| id).collect();
    for id in clients {
        match review(bus, id) {
            Ok(Some(permissions)) => bus.handle(Input::Permissions {
                connection: id,
                permissions,
            }),
            Ok(None) => {}
            Err(what) => {
                let moved_to = moved_to(bus, id);
                bus.handle(Input::Disconnect {
                    connection: id,
                    reason: match moved_to {
                        Some(_) => ReasonCode::SERVER_MOVED,
                        None => ReasonCode::NOT_AUTHORIZED,
                    },
                    what,
                    server_reference: moved_to.as_deref(),
                });
            }
        }
    }
}

/// Decides again about what clients left that are away. `former` are the passwords that held until now, if any did.
pub fn review_wills(bus: &Rc<Bus>, former: Option<&Credentials>) {
    let (config, credentials) = (
        bus.config.borrow().clone(),
        bus.credentials.borrow().clone(),
    );
    let may = |owner: &Owner, client_id: &str, topic: &str| {
        judge::may_leave_will(&config, &credentials, former, owner, client_id, topic)
    };
    bus.handle(Input::Rights(Judge(&may)));
}

/// Where a client's listener says that it is to go.
fn moved_to(bus: &Rc<Bus>, id: ConnectionId) -> Option<String> {
    let mut table = bus.table.borrow_mut();
    let name = &table.live(id)?.door()?.listener.name;
    bus.doors.borrow().by_name(name)?.listener.moved_to.clone()
}

/// What a client may do now, or why it must go. `None` for a connection before CONNECT: it is judged then.
fn review(
    bus: &Rc<Bus>,
    id: ConnectionId,
) -> Result<Option<crate::acl::Permissions>, &'static str> {
    let mut table = bus.table.borrow_mut();
    let Some(live) = table.live(id).filter(|live| live.is_admitted()) else {
        return Ok(None);
    };
    let (Some(client), Some(door)) = (live.client(), live.door()) else {
        return Ok(None);
    };
    let current = bus
        .doors
        .borrow()
        .by_name(&door.listener.name)
        .ok_or("the listener was removed")?;
    if current.listener.moved_to.is_some() {
        return Err("the bus has moved");
    }
    let identity = judge::renew(
        door,
        &current,
        &client.identity,
        &bus.credentials.borrow(),
        live.io(),
    )?;
    let permissions = bus.permissions(&current, &identity, &client.client_id);
    live.renew(current, identity);
    Ok(Some(permissions))
}
