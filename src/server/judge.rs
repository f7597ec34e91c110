//! Whether a client that was let in may stay after a reload, and what it left behind.

use std::rc::Rc;

use ntex::io::IoRef;
use ntex::tls::openssl::{PeerCert, PeerCertChain};

use crate::acl::Subject;
use crate::auth::{Credentials, Identity, Means};
use crate::broker::Owner;
use crate::config::{Config, IdentitySource, Listener};
use crate::log::Escaped;
use crate::net::door::Door;
use crate::net::websocket::{self, Origin};

/// Decides again about a client that came through `former`, which is now `current`: its identity, or why it must go.
pub fn renew(
    former: &Rc<Door>,
    current: &Rc<Door>,
    identity: &Identity,
    credentials: &Credentials,
    io: &IoRef,
) -> Result<Identity, &'static str> {
    if former.tls.is_some() != current.tls.is_some()
        || former.listener.protocol != current.listener.protocol
        || former.listener.mount_point != current.listener.mount_point
    {
        return Err("the listener has changed");
    }
    if !websocket::admits(&current.listener, io.query::<Origin>().as_ref()) {
        return Err("pages of its origin may no longer connect");
    }
    let certificate = io.query::<PeerCert>();
    let certificate = certificate.as_ref().map(|certificate| &*certificate.0);
    if let (Some(tls), Some(certificate)) = (&current.tls, certificate) {
        let chain = io.query::<PeerCertChain>();
        let chain = chain.as_ref().map_or(&[][..], |chain| &chain.0);
        if let Some(what) = tls.is_revoked_or_invalid(certificate, chain) {
            log::info!(
                "the certificate of user '{}' is no longer accepted: {what}",
                name_of(identity)
            );
            return Err("the certificate is no longer accepted");
        }
    }
    let is_known = match (identity.means(), identity.user()) {
        (Means::Password, Some(user)) => credentials.contains(user),
        _ => true,
    };
    if !is_known {
        return Err("the user was removed");
    }
    current
        .policy
        .renew(certificate, identity)
        .map_err(|denied| denied.describe())
}

/// Whether a client that is away may still publish a Will to `topic`. Through which listener it came, and how it proved who it is, is not
/// known any more: one listener through which it might do so is enough. A user counts as removed who had a password and has none, and, where no
/// listener takes names from certificates, who has none.
pub fn may_leave_will(
    config: &Config,
    credentials: &Credentials,
    former: Option<&Credentials>,
    owner: &Owner,
    client_id: &str,
    topic: &str,
) -> bool {
    let names_are_certificates = || {
        let mut listeners = config.listeners.iter();
        listeners.any(|listener| !matches!(listener.identity, IdentitySource::UserName))
    };
    let is_known = |user: &str| {
        credentials.contains(user)
            || names_are_certificates() && !former.is_some_and(|former| former.contains(user))
    };
    let user = owner.user();
    let groups = config.users.iter();
    let groups = groups.filter(|known| Some(known.name.as_str()) == user);
    let groups: &[String] = groups.map(|known| &*known.groups).next().unwrap_or(&[]);
    let may_through = |listener: &Listener| {
        let mount = listener.mount_point.as_deref().unwrap_or_default();
        let subject = Subject {
            user,
            groups,
            listener: &listener.name,
            client_id,
        };
        topic.starts_with(mount) && config.acl.permissions(&subject).may_write(topic)
    };
    let may = user.is_none_or(is_known) && config.listeners.iter().any(may_through);
    if !may {
        let (client, topic) = (Escaped(client_id), Escaped(topic));
        log::info!(
            "client '{client}' is away: its will for '{topic}' is dropped, it may no longer be published"
        );
    }
    may
}

fn name_of(identity: &Identity) -> String {
    Escaped(identity.user().unwrap_or_default()).to_string()
}
