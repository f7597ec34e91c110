//! Where the commands find a bus, and as whom they come: the options that they share, and what holds without them. Entered through
//! [`Part::of`] and [`Way::take`] for each argument, then through [`Way::endpoint`] and [`Way::login`].
//!
//! Without options it is this router's own bus: the `local` side of the configuration below the root, by the password that the
//! router's programs use. It connects to nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};

use super::client::{Endpoint, Login, TlsFiles};
use crate::auth::{Secret, file};
use crate::config::fault::Quoted;
use crate::config::{self, Bind};

/// What these options are, for the help of a command that takes them.
pub const HELP: &str = "\
  -H, --host HOST           the host of the bus, or the path of its Unix socket (default: the local side of this router)
  -P, --port PORT           its port (default: that of the local side)
  -u, --user NAME           come as NAME (default: whom the first line of FILE names)
  -F, --password-file FILE  lines NAME:PASSWORD (default DIR/etc/fosquitto/credentials.plain)
      --cafile FILE         use TLS, to a bus whose certificate this CA has signed
      --cert FILE           the certificate to come with, by TLS
      --key FILE            and its key
      --server-name NAME    the name in the certificate of the bus (default: HOST; '': any)
      --websocket           speak by WebSocket
";

/// The port of the local side where its configuration does not tell.
const PORT: u16 = 11_883;

/// More than this is no file of passwords.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The options, as far as they are given.
#[derive(Debug, Default, PartialEq)]
pub struct Way {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    is_websocket: bool,
}

/// One of the options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `--host`.
    Host,
    /// `--port`.
    Port,
    /// `--user`.
    User,
    /// `--password-file`.
    PasswordFile,
    /// `--cafile`.
    Ca,
    /// `--cert`.
    Certificate,
    /// `--key`.
    Key,
    /// `--server-name`.
    ServerName,
    /// `--websocket`, which has no value.
    WebSocket,
}

impl Part {
    /// The option that an argument is, if it is one of these; its value follows.
    pub fn of(argument: &Arg<'_>) -> Option<Part> {
        match argument {
            Arg::Short('H') | Arg::Long("host") => Some(Part::Host),
            Arg::Short('P') | Arg::Long("port") => Some(Part::Port),
            Arg::Short('u') | Arg::Long("user") => Some(Part::User),
            Arg::Short('F') | Arg::Long("password-file") => Some(Part::PasswordFile),
            Arg::Long("cafile") => Some(Part::Ca),
            Arg::Long("cert") => Some(Part::Certificate),
            Arg::Long("key") => Some(Part::Key),
            Arg::Long("server-name") => Some(Part::ServerName),
            Arg::Long("websocket") => Some(Part::WebSocket),
            _ => None,
        }
    }

    /// Its value, taken from the command line; empty where it has none.
    ///
    /// # Errors
    /// There is none.
    pub fn value(self, parser: &mut Parser) -> Result<OsString, String> {
        match self {
            Part::WebSocket => Ok(OsString::new()),
            _ => parser.value().map_err(|error| error.to_string()),
        }
    }
}

impl Way {
    /// Takes the value of an option.
    ///
    /// # Errors
    /// The option has no such values.
    pub fn take(&mut self, part: Part, value: OsString) -> Result<(), String> {
        let path = match part {
            Part::PasswordFile => Some(&mut self.password_file),
            Part::Ca => Some(&mut self.ca),
            Part::Certificate => Some(&mut self.certificate),
            Part::Key => Some(&mut self.key),
            Part::WebSocket => {
                self.is_websocket = true;
                return Ok(());
            }
            Part::Host | Part::Port | Part::User | Part::ServerName => None,
        };
        if let Some(path) = path {
            *path = Some(value.into());
            return Ok(());
        }
        let value = value.into_string();
        let value =
            value.map_err(|value| format!("{} is not UTF-8", Quoted(&value.to_string_lossy())))?;
        match part {
            Part::Host => self.host = Some(value),
            Part::User => self.user = Some(value),
            Part::ServerName => self.server_name = Some(value),
            // The rest are files, but for the port.
            _ => {
                let port = value.parse().ok().filter(|port| *port > 0);
                let wrong = || format!("{} is not a port (1-65535)", Quoted(&value));
                self.port = Some(port.ok_or_else(wrong)?);
            }
        }
        Ok(())
    }

    /// Where the bus is.
    ///
    /// # Errors
    /// The configuration is of no help, and the options do not say it.
    pub fn endpoint(&self, root: &Path) -> Result<Endpoint, String> {
        let endpoint = self.below(root)?;
        Ok(match self.is_websocket {
            true => Endpoint::WebSocket(Box::new(endpoint)),
            false => endpoint,
        })
    }

    /// The same without WebSocket.
    fn below(&self, root: &Path) -> Result<Endpoint, String> {
        let endpoint = self.plain_endpoint(root)?;
        let Some(ca) = &self.ca else {
            let is_plain = self.certificate.is_none() && self.key.is_none();
            let wrong = "--cert and --key need --cafile: TLS to somebody unknown protects nothing";
            return is_plain.then_some(endpoint).ok_or_else(|| wrong.into());
        };
        let own = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            _ => return Err("--cert and --key go together".into()),
        };
        let files = TlsFiles {
            ca: ca.clone(),
            own,
            name: self.server_name.clone(),
        };
        match endpoint {
            Endpoint::Tcp(host, port) => Ok(Endpoint::Tls(host, port, files)),
            _ => Err("a Unix socket has no TLS".into()),
        }
    }

    fn plain_endpoint(&self, root: &Path) -> Result<Endpoint, String> {
        match (&self.host, self.port) {
            (Some(path), _) if path.starts_with('/') => Ok(Endpoint::Unix(path.into())),
            (Some(host), Some(port)) => Ok(Endpoint::Tcp(host.clone(), port)),
            (Some(host), None) => Ok(Endpoint::Tcp(host.clone(), local(root)?.1)),
            (None, Some(port)) => Ok(Endpoint::Tcp("127.0.0.1".into(), port)),
            (None, None) => local(root).map(|(host, port)| Endpoint::Tcp(host, port)),
        }
    }

    /// Who comes. It is read anew for each connection: a bus that starts for the first time makes the file. `None`: there is no file,
    /// and nobody was asked for.
    ///
    /// # Errors
    /// The file cannot be read, or does not have the user.
    pub fn login(&self, root: &Path) -> Result<Option<Login>, String> {
        // The local side's password is for nobody else: a certificate says who comes.
        if self.certificate.is_some() && self.password_file.is_none() && self.user.is_none() {
            return Ok(None);
        }
        let by_default = root.join("etc/fosquitto/credentials.plain");
        let path = self.password_file.as_ref().unwrap_or(&by_default);
        let told = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let text = match file::read(path, FILE_BYTES_MAX) {
            Ok(Some(text)) => Secret::copy_of(&text),
            Ok(None) if self.user.is_none() && self.password_file.is_none() => return Ok(None),
            Ok(None) => return Err(told(&"there is no such file")),
            Err(error) => return Err(told(&error)),
        };
        let mut lines = text.expose().split(|byte| *byte == b'\n').filter_map(login);
        let found = match &self.user {
            Some(user) => lines.find(|login| login.user == *user),
            None => lines.next(),
        };
        let missing = || match &self.user {
            Some(user) => format!("{} has no line for {}", path.display(), Quoted(user)),
            None => format!("{} has no line NAME:PASSWORD", path.display()),
        };
        found.map(Some).ok_or_else(missing)
    }
}

/// A line `NAME:PASSWORD`; the password may contain colons.
fn login(line: &[u8]) -> Option<Login> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let user = std::str::from_utf8(&line[..colon]).ok()?;
    Some(Login {
        user: user.to_owned(),
        password: Secret::copy_of(&line[colon + 1..]),
    })
}

/// Address and port of the local side.
fn local(root: &Path) -> Result<(String, u16), String> {
    // What a running bus has may be older than a file with faults; the usual place is the best guess.
    let Ok(config) = config::load(root) else {
        return Ok(("127.0.0.1".into(), PORT));
    };
    let local = config.listeners.iter().find(|one| one.is_local());
    let bound = local.and_then(|local| {
        local.binds.iter().find_map(|bind| match bind {
            Bind::Tcp { address, .. } => Some(*address),
            Bind::Unix(_) => None,
        })
    });
    match bound {
        Some(address) if address.port() > 0 => Ok((address.ip().to_string(), address.port())),
        Some(_) => Err("the local side has no fixed port: say it with --port".into()),
        None => Err("the local side is disabled: say where the bus is with --host".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::Scratch;

    fn way(arguments: &[&str]) -> Result<Way, String> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut way = Way::default();
        while let Some(argument) = parser.next().expect("well-formed") {
            let part = Part::of(&argument).expect("one of these options");
            let value = part.value(&mut parser).expect("it has a value");
            way.take(part, value)?;
        }
        Ok(way)
    }

    #[test]
    fn the_local_side_is_where_the_configuration_says() {
        let scratch = Scratch::new();
        let endpoint = |arguments: &[&str]| {
            let way = way(arguments).expect("understood");
            way.endpoint(scratch.path())
        };
        let tcp = |host: &str, port| Ok(Endpoint::Tcp(host.into(), port));
        assert_eq!(endpoint(&[]), tcp("127.0.0.1", 11_883));
        let configure = |text: &str| {
            let directory = scratch.path().join("etc/config");
            std::fs::create_dir_all(&directory).expect("scratch");
            std::fs::write(directory.join("fosquitto"), text).expect("scratch");
        };
        configure("config local 'local'\n\toption port '5000'\n");
        assert_eq!(endpoint(&[]), tcp("127.0.0.1", 5000));
        assert_eq!(endpoint(&["-H", "router.lan"]), tcp("router.lan", 5000));
        assert_eq!(endpoint(&["--port=7"]), tcp("127.0.0.1", 7));
        assert_eq!(endpoint(&["-H", "::1", "-P", "7"]), tcp("::1", 7));
        assert_eq!(
            endpoint(&["-H", "/run/s"]),
            Ok(Endpoint::Unix("/run/s".into()))
        );
        let web = Endpoint::WebSocket(Box::new(Endpoint::Tcp("::1".into(), 7)));
        assert_eq!(endpoint(&["-H", "::1", "--websocket", "-P7"]), Ok(web));
        configure("config local 'local'\n\toption enabled '0'\n");
        assert!(endpoint(&[]).is_err_and(|what| what.contains("--host")));
        assert!(way(&["-P", "0"]).is_err() && way(&["-P", "65536"]).is_err());
    }

    #[test]
    fn the_first_line_says_who_comes_or_the_line_of_the_user() {
        let scratch = Scratch::new();
        let login = |arguments: &[&str]| {
            let way = way(arguments).expect("understood");
            let login = way.login(scratch.path())?;
            Ok(login.map(|login| (login.user, login.password.expose().to_vec())))
        };
        assert_eq!(login(&[]), Ok::<_, String>(None));
        assert!(login(&["-u", "local"]).is_err());
        std::fs::create_dir_all(scratch.path().join("etc/fosquitto")).expect("scratch");
        let path = scratch.path().join("etc/fosquitto/credentials.plain");
        std::fs::write(&path, "local:0A\nann:b:c\n").expect("scratch");
        let path = path.to_str().expect("a scratch path is text");
        let is = |user: &str, password: &[u8]| Ok(Some((user.to_owned(), password.to_vec())));
        assert_eq!(login(&[]), is("local", b"0A"));
        assert_eq!(login(&["-u", "ann"]), is("ann", b"b:c"));
        assert_eq!(login(&["-F", path]), is("local", b"0A"));
        assert!(login(&["-u", "bob"]).is_err_and(|what| what.contains("'bob'")));
        assert!(login(&["-F", "/nowhere"]).is_err());
    }
}
