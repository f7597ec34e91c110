//! TLS on a connection: OpenSSL between the socket's bytes and those of MQTT, as a layer of ntex's.
//!
//! [`shake_hands`] does so with a client or a server, and gives back the connection with the layer. It is ntex's own layer but for one thing: what
//! OpenSSL has to say about a handshake that fails, the alert that tells the client why, is written the moment it is there. ntex gives
//! the socket up with the failure, on another thread, and the alert would only sometimes be faster. What this does not do: it
//! decides nothing about a client; the context of `net::tls` does.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::task::Poll;

use ntex::io::{Filter, FilterBuf, FilterLayer, Io, Layer};
use ntex::tls::openssl::{PeerCert, PeerCertChain};
use ntex_bytes::{BufMut, BytePages, BytesMut};
use openssl::ssl::{Error, ErrorCode, ShutdownResult, Ssl, SslStream};

use crate::net::listener::Stream;

/// The layer.
#[derive(Debug)]
pub struct TlsFilter {
    stream: RefCell<SslStream<Wire>>,
    /// A second descriptor of the socket, which takes an alert. `None` when the handshake is over, or there was no descriptor.
    spare: RefCell<Option<Stream>>,
    /// Why the handshake failed, if it did so while bytes were read.
    fault: RefCell<Option<String>>,
}

/// Encrypted bytes, as OpenSSL reads and writes them.
#[derive(Debug)]
struct Wire {
    read: Option<BytesMut>,
    written: BytePages,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(bytes) = self.read.as_mut().filter(|bytes| !bytes.is_empty()) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        bytes.advance_to(count);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shakes hands with the other side of a new connection, as client or server as `ssl` was told. `spare` is a second descriptor of its
/// socket.
///
/// # Errors
/// Why there is no TLS; the other side has been told, as far as its socket had room for it.
pub async fn shake_hands<F: Filter>(
    io: Io<F>,
    ssl: Ssl,
    spare: Option<Stream>,
) -> Result<Io<Layer<TlsFilter, F>>, String> {
    let wire = Wire {
        read: None,
        written: BytePages::new(io.cfg().write_page_size()),
    };
    let stream = SslStream::new(ssl, wire).map_err(|error| error.to_string())?;
    let io = io.add_filter(TlsFilter {
        stream: RefCell::new(stream),
        spare: RefCell::new(spare),
        fault: RefCell::default(),
    });
    loop {
        let step = io.with_buf(|buffers| io.filter().shake_hands(buffers));
        match step.map_err(|error| error.to_string())? {
            Ok(()) => break,
            Err(error) if is_waiting(&error) => {}
            Err(error) => return Err(error.to_string()),
        }
        let more = io.read_notify().await;
        if let Some(fault) = io.filter().fault.take() {
            return Err(fault);
        }
        if !matches!(more, Ok(Some(()))) {
            return Err("the other side went away".to_owned());
        }
    }
    // From now on an alert goes the way of everything else, and the descriptor is another client's.
    io.filter().spare.take();
    Ok(io)
}

fn is_waiting(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE)
}

impl TlsFilter {
    fn shake_hands(&self, buffers: &FilterBuf<'_>) -> Result<(), Error> {
        let result = self.with_wire(buffers, || self.stream.borrow_mut().do_handshake());
        if result.as_ref().is_err_and(|error| !is_waiting(error)) {
            self.send_alert(buffers);
        }
        result
    }

    /// Lends OpenSSL the connection's encrypted bytes while it acts, and takes what it wrote.
    fn with_wire<R>(&self, buffers: &FilterBuf<'_>, act: impl FnOnce() -> R) -> R {
        {
            let mut stream = self.stream.borrow_mut();
            let wire = stream.get_mut();
            wire.read = buffers.with_read_src(Option::take);
            // The page that is not full yet is filled first.
            buffers.with_write_buffers(|_, written| wire.written.try_get_current_from(written));
        }
        let result = act();
        let mut stream = self.stream.borrow_mut();
        let wire = stream.get_mut();
        if let Some(rest) = wire.read.take().filter(|rest| !rest.is_empty()) {
            buffers.with_read_src(|read| *read = Some(rest));
        }
        if !wire.written.is_empty() {
            buffers.with_write_buffers(|_, written| wire.written.move_to(written));
        }
        result
    }

    /// Writes what is there, the alert last. A socket that has no room for it has a client that does not listen.
    fn send_alert(&self, buffers: &FilterBuf<'_>) {
        let Some(spare) = self.spare.take() else {
            return;
        };
        let alert = buffers.with_write_buffers(|_, written| written.freeze());
        let _ = match spare {
            Stream::Tcp(mut stream, _) => stream.write(&alert),
            Stream::Unix(mut stream) => stream.write(&alert),
        };
    }

    /// Decrypts what there is.
    fn decrypt(&self, buffers: &FilterBuf<'_>) -> Result<(), Error> {
        buffers.with_read_buffers(|_, plain| {
            loop {
                if plain.remaining_mut() == 0 {
                    buffers.io().resize_read_buf(plain);
                }
                // SAFETY: OpenSSL only writes to the room that the buffer has, and `advance_mut` takes no more of it than was
                // written.
                let result = unsafe {
                    let room = &mut *(&raw mut *plain.chunk_mut() as *mut [u8]);
                    let result = self.stream.borrow_mut().ssl_read(room);
                    result.map(|count| plain.advance_mut(count))
                };
                match result {
                    Ok(()) => {}
                    Err(error) if is_waiting(&error) => return Ok(()),
                    Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                        buffers.io().close();
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            }
        })
    }
}

impl FilterLayer for TlsFilter {
    fn query(&self, id: TypeId) -> Option<Box<dyn Any>> {
        let stream = self.stream.borrow();
        if id == TypeId::of::<PeerCert>() {
            let certificate = stream.ssl().peer_certificate()?;
            Some(Box::new(PeerCert(certificate)))
        } else if id == TypeId::of::<PeerCertChain>() {
            let chain = stream.ssl().peer_cert_chain()?;
            Some(Box::new(PeerCertChain(
                chain.iter().map(ToOwned::to_owned).collect(),
            )))
        } else {
            None
        }
    }

    fn shutdown(&self, buffers: &FilterBuf<'_>) -> io::Result<Poll<()>> {
        match self.with_wire(buffers, || self.stream.borrow_mut().shutdown()) {
            Ok(ShutdownResult::Sent) => Ok(Poll::Pending),
            Ok(ShutdownResult::Received) => Ok(Poll::Ready(())),
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(Poll::Ready(())),
            Err(error) if is_waiting(&error) => Ok(Poll::Pending),
            Err(error) => Err(error.into_io_error().unwrap_or_else(io::Error::other)),
        }
    }

    fn process_read_buf(&self, buffers: &FilterBuf<'_>) -> io::Result<()> {
        let result = self.with_wire(buffers, || self.decrypt(buffers));
        result.map_err(|error| {
            self.send_alert(buffers);
            self.fault.replace(Some(error.to_string()));
            io::Error::other(error)
        })
    }

    fn process_write_buf(&self, buffers: &FilterBuf<'_>) -> io::Result<()> {
        self.with_wire(buffers, || {
            buffers.with_write_buffers(|plain, _| {
                while let Some(mut page) = plain.take() {
                    match self.stream.borrow_mut().ssl_write(&page) {
                        Ok(count) => {
                            page.advance_to(count);
                            plain.prepend(page);
                        }
                        Err(error) if is_waiting(&error) => break,
                        Err(error) => return Err(io::Error::other(error)),
                    }
                }
                Ok(())
            })
        })
    }
}
