//! Whether a client that was let in may stay after a reload.

use std::rc::Rc;

use ntex::io::IoRef;
use ntex::tls::openssl::{PeerCert, PeerCertChain};

use crate::auth::{Credentials, Identity, Means};
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

fn name_of(identity: &Identity) -> String {
    crate::log::Escaped(identity.user().unwrap_or_default()).to_string()
}
