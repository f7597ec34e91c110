//! Certificates, keys and lists of revoked certificates that change under a running bus: they are read again without being asked.
//!
//! The CA of a router renews its list of revoked certificates once a day and tells nobody, and neither does who revokes one; a bus that waited
//! for a reload would let the revoked in, and everybody out when the list has run out. Entered by [`watch`], once. It looks at what the file
//! system says of the files and reads none; the configuration and the passwords are not its matter: they take effect by a reload.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::rc::Rc;

use ntex::time::{Millis, sleep};

use super::bus::Bus;
use super::reload;
use crate::config::Config;

/// Between two looks.
const LOOK: Millis = Millis(5_000);

/// What tells one content of a file from another: its number, its bytes, and when it was written in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

/// Looks from now on.
pub fn watch(bus: &Rc<Bus>) {
    let bus = bus.clone();
    ntex::rt::spawn(async move {
        let mut before = stamps(&bus.config.borrow());
        loop {
            sleep(LOOK).await;
            let now = stamps(&bus.config.borrow());
            if has_changed(&before, &now) {
                reload::renew_certificates(&bus);
            }
            before = now;
        }
    });
}

/// The files of all listeners; `None` for one that is not there.
fn stamps(config: &Config) -> BTreeMap<PathBuf, Option<Stamp>> {
    let of_tls = config.listeners.iter().filter_map(|it| it.tls.as_ref());
    let paths = of_tls.flat_map(|tls| {
        let optional = [&tls.ca, &tls.crl].into_iter().flatten();
        [&tls.cert, &tls.key].into_iter().chain(optional)
    });
    let stamped = paths.map(|path| {
        let stamp = fs::metadata(path).ok();
        let stamp = stamp.map(|it| (it.ino(), it.size(), it.mtime(), it.mtime_nsec()));
        (path.clone(), stamp)
    });
    stamped.collect()
}

/// Whether a file is another one now. One that the configuration names anew has been read for that.
fn has_changed(
    before: &BTreeMap<PathBuf, Option<Stamp>>,
    now: &BTreeMap<PathBuf, Option<Stamp>>,
) -> bool {
    let mut known = now.iter().filter_map(|(path, stamp)| {
        let former = before.get(path)?;
        Some(former != stamp)
    });
    known.any(|differs| differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_changed_when_it_was_written_or_came_or_went_and_not_when_it_is_new_here() {
        let files = |files: &[(&str, Option<Stamp>)]| -> BTreeMap<PathBuf, Option<Stamp>> {
            let owned = files.iter().map(|(path, stamp)| ((*path).into(), *stamp));
            owned.collect()
        };
        let crl = Some((7, 500, 1_800_000_000, 1));
        let before = files(&[("ca.crl", crl), ("01.crt", None)]);
        assert!(!has_changed(&before, &before));
        assert!(!has_changed(
            &before,
            &files(&[("ca.crl", crl), ("other.crt", crl)])
        ));
        for stamp in [
            None,
            Some((8, 500, 1_800_000_000, 1)),
            Some((7, 501, 1_800_000_000, 1)),
            Some((7, 500, 1_800_000_000, 2)),
        ] {
            assert!(
                has_changed(&before, &files(&[("ca.crl", stamp)])),
                "{stamp:?}"
            );
        }
        assert!(has_changed(&before, &files(&[("01.crt", crl)])));
    }
}
