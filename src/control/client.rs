//! A command's end of the control socket. Entered by [`Asker::connect`]; [`Asker::ask`] asks one thing and waits for the answer.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{Request, SOCKET};

/// A bus that does not answer for so long does not answer at all.
const TIMEOUT: Duration = Duration::from_secs(130);

/// A connection to the bus.
pub struct Asker(BufReader<UnixStream>);

impl Asker {
    /// Connects to the bus of a root; `None` where none runs.
    ///
    /// # Errors
    /// The socket is there and may not be used.
    pub fn connect(root: &Path) -> io::Result<Option<Asker>> {
        let stream = match UnixStream::connect(root.join(SOCKET)) {
            Ok(stream) => stream,
            Err(error) => {
                let is_none = matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                );
                return if is_none { Ok(None) } else { Err(error) };
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Some(Asker(BufReader::new(stream))))
    }

    /// Asks, and waits for what stands in `ok`; or why there is nothing.
    pub fn ask(&mut self, request: &Request) -> Result<Value, String> {
        let mut line = serde_json::to_string(request).map_err(|error| error.to_string())?;
        line.push('\n');
        let sent = self.0.get_mut().write_all(line.as_bytes());
        sent.map_err(|error| error.to_string())?;
        line.clear();
        let read = self.0.read_line(&mut line);
        if read.map_err(|error| error.to_string())? == 0 {
            return Err("the bus has gone".into());
        }
        let answer: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        match answer {
            Value::Object(mut answer) if answer.contains_key("ok") => {
                Ok(answer.remove("ok").unwrap_or_default())
            }
            Value::Object(answer) => {
                let what = answer.get("error").and_then(Value::as_str);
                Err(what.unwrap_or("the bus gives no answer").to_owned())
            }
            _ => Err("the bus gives no answer".into()),
        }
    }
}
