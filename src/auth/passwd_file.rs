//! The lines of a password file: `USER:HASH`, as mosquitto's tools write them, and of the file beside it that has the same form.
//!
//! Empty lines and lines that begin with `#` say nothing. Anything else must be an entry: one bad line, or a user who stands there
//! twice, and the whole file is refused with all that is wrong in it, because a line that was silently dropped may be the one that
//! took somebody's access away. [`replace`] changes one user's line and leaves every other byte.
//!
//! What this does not do: it opens no file (`credentials`) and knows no kind of hash (`password`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use super::Fault;
use super::password::Hash;

/// The users of a file and what it says of each.
pub(super) type Entries<T> = HashMap<Box<str>, T>;

/// The users of a file and the hashes of their passwords.
pub(super) type Users = Entries<Hash>;

/// A user name is an MQTT string, which has no more bytes.
const USER_BYTES_MAX: usize = 65_535;

/// Reads a password file.
///
/// # Errors
/// All its faults; there is no partial result.
pub(super) fn parse(path: &Path, content: &[u8]) -> Result<Users, Vec<Fault>> {
    parse_entries(path, content, Hash::parse)
}

/// Reads a file of the same form, where `parse` reads what stands behind a user and its colon.
///
/// # Errors
/// All its faults; there is no partial result.
pub(super) fn parse_entries<T>(
    path: &Path,
    content: &[u8],
    parse: fn(&str) -> Result<T, String>,
) -> Result<Entries<T>, Vec<Fault>> {
    let mut users = Entries::new();
    let mut faults = Vec::new();
    for (index, line) in lines(content).enumerate() {
        let mut fault = |what| {
            faults.push(Fault {
                path: path.to_owned(),
                line: Some(index + 1),
                what,
            });
        };
        match parse_line(line, parse) {
            Ok(None) => {}
            Ok(Some((user, value))) => match users.entry(user.into()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(value);
                }
                Entry::Occupied(_) => fault(format!("user {user:?} stands in this file twice")),
            },
            Err(what) => fault(what),
        }
    }
    if faults.is_empty() {
        Ok(users)
    } else {
        Err(faults)
    }
}

/// Whether a line is nothing or a whole entry.
pub(super) fn is_sound(line: &[u8]) -> bool {
    parse_line(line, Hash::parse).is_ok()
}

/// Says what keeps `user` from being a name in a password file.
pub(super) fn check_name(user: &str) -> Result<(), String> {
    if user.is_empty() {
        Err("the user name is empty".into())
    } else if user.len() > USER_BYTES_MAX {
        Err(format!(
            "the user name has more than {USER_BYTES_MAX} bytes"
        ))
    } else if user.contains(':') {
        Err("a user name cannot hold ':', which ends it in the password file".into())
    } else if user.contains(char::is_control) {
        Err("a user name cannot hold control characters".into())
    } else if user.starts_with('#') {
        Err("a user name cannot begin with '#', which makes its line a comment".into())
    } else {
        Ok(())
    }
}

/// The content with the line of `user` replaced by `hash`, or taken away when that is `None`; a new user comes last. A second line of
/// the same user goes. All other lines stay as they are, byte for byte. Also says whether the user was there before.
pub(super) fn replace(content: &[u8], user: &str, hash: Option<&str>) -> (Vec<u8>, bool) {
    let mut replacement = hash.map(|hash| format!("{user}:{hash}\n"));
    let mut output = Vec::with_capacity(content.len() + user.len() + 160);
    let mut was_there = false;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if name_of(line) != Some(user.as_bytes()) {
            output.extend_from_slice(line);
            continue;
        }
        was_there = true;
        if let Some(replacement) = replacement.take() {
            output.extend_from_slice(replacement.as_bytes());
        }
    }
    if let Some(replacement) = replacement {
        if !output.is_empty() && !output.ends_with(b"\n") {
            output.push(b'\n');
        }
        output.extend_from_slice(replacement.as_bytes());
    }
    (output, was_there)
}

/// The lines without their line feeds.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

fn name_of(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some(&line[..colon])
}

fn parse_line<T>(
    line: &[u8],
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<(&str, T)>, String> {
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8")?;
    let (user, value) = line
        .split_once(':')
        .ok_or("the line has no ':', expected USER:HASH")?;
    check_name(user)?;
    let value = parse(value).map_err(|what| format!("user {user:?}: {what}"))?;
    Ok(Some((user, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$7$101$AAECAwQFBgcICQoL$02NS2eDWClBU0t5fjavY7arv2wsc3CilhyCU9VSPRmLvTozK+8buLbimiq0tIUSeue2pXcmdqLR6oJQ9YDn40Q==";

    fn faults(content: &[u8]) -> Vec<String> {
        match parse(Path::new("f"), content) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn comments_and_empty_lines_and_a_missing_last_line_feed_are_accepted() {
        let content = format!("# made by hand\n\na:{HASH}\n#b:{HASH}\n+/#:{HASH}");
        let users = parse(Path::new("f"), content.as_bytes()).expect("a sound file");
        let mut names: Vec<_> = users.keys().map(|name| &**name).collect();
        names.sort_unstable();
        assert_eq!(names, ["+/#", "a"]);
    }

    #[test]
    fn one_bad_line_refuses_the_file_with_all_its_faults() {
        let mut content =
            format!("good:{HASH}\nno colon\n:{HASH}\ngood:{HASH}\nplain:secret\na\x1bb:{HASH}\n")
                .into_bytes();
        content.extend_from_slice(b"\xff\xfe:x\n\0\0\0");
        assert_eq!(
            faults(&content),
            [
                "f:2: the line has no ':', expected USER:HASH",
                "f:3: the user name is empty",
                "f:4: user \"good\" stands in this file twice",
                "f:5: user \"plain\": the password is not hashed: expected $7$ITERATIONS$SALT$HASH or $6$SALT$HASH",
                "f:6: a user name cannot hold control characters",
                "f:7: the line is not UTF-8",
                "f:8: the line has no ':', expected USER:HASH",
            ]
        );
    }

    #[test]
    fn replacing_a_user_keeps_every_other_byte() {
        let content = b"# c \n\nann:1\nbob:2 \r\nann:again\ncy:3";
        let (set, was_there) = replace(content, "ann", Some("new"));
        assert_eq!(set, b"# c \n\nann:new\nbob:2 \r\ncy:3");
        assert!(was_there);
        let (added, was_there) = replace(content, "dan", Some("new"));
        assert_eq!(
            added,
            b"# c \n\nann:1\nbob:2 \r\nann:again\ncy:3\ndan:new\n"
        );
        assert!(!was_there);
        let (removed, was_there) = replace(content, "bob", None);
        assert_eq!(removed, b"# c \n\nann:1\nann:again\ncy:3");
        assert!(was_there);
        assert_eq!(replace(content, "an", None), (content.to_vec(), false));
    }
}
