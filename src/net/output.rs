//! The output of one connection within one turn of the loop: bytes in order, small ones copied, large payloads shared.

use ntex_bytes::{BytePages, Bytes};

/// What a connection is to send at the end of the turn.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Payloads that are not copied, if there are any; a pointer, since each idle connection has room for it.
    shared: Option<Box<Shared>>,
}

/// Payloads that are not copied.
#[derive(Debug, Default)]
struct Shared {
    /// Each with the position in the copied bytes that it goes to.
    payloads: Vec<(usize, Bytes)>,
    /// Their bytes.
    bytes: usize,
}

/// A buffer above this many bytes is freed rather than used again.
const REUSED_MAX: usize = 64 * 1024;

/// Buffers that wait to be used again.
const POOL_MAX: usize = 64;

/// Buffers between two uses: connections that are idle own none.
#[derive(Debug, Default)]
pub struct Pool(Vec<Vec<u8>>);

impl Output {
    /// Where small packets are appended. The caller MUST not take away what is there.
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a payload without copying it.
    pub fn share(&mut self, payload: Bytes) {
        let shared = self.shared.get_or_insert_default();
        shared.bytes += payload.len();
        shared.payloads.push((self.bytes.len(), payload));
    }

    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared.as_ref().map_or(0, |shared| shared.bytes)
    }

    /// Whether there is nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives it a buffer, before its first byte of a turn.
    #[inline]
    pub fn borrow(&mut self, pool: &mut Pool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.0.pop().unwrap_or_default();
        }
    }

    /// Moves the first `count` bytes to the socket's pages, and gives the buffer back when nothing is left. A shared payload
    /// MUST NOT be divided.
    pub fn drain_to(&mut self, pages: &mut BytePages, count: usize, pool: &mut Pool) {
        let (mut from, mut left) = (0, count);
        if let Some(shared) = &mut self.shared {
            let mut drained = 0;
            for (position, payload) in &shared.payloads {
                if position - from >= left {
                    break;
                }
                pages.extend_from_slice(&self.bytes[from..*position]);
                pages.append(payload.clone());
                left -= position - from + payload.len();
                shared.bytes -= payload.len();
                (from, drained) = (*position, drained + 1);
            }
            shared.payloads.drain(..drained);
            for (position, _) in &mut shared.payloads {
                *position -= from + left;
            }
        }
        pages.extend_from_slice(&self.bytes[from..from + left]);
        self.bytes.drain(..from + left);
        if self.is_empty() {
            self.clear(pool);
        }
    }

    /// Forgets everything and gives the buffer back.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.shared = None;
        let mut bytes = std::mem::take(&mut self.bytes);
        // One that owns nothing would be handed out before those that do.
        if (1..=REUSED_MAX).contains(&bytes.capacity()) && pool.0.len() < POOL_MAX {
            bytes.clear();
            pool.0.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntex_bytes::BytePageSize;

    #[test]
    fn copied_and_shared_bytes_keep_their_order() {
        let (mut output, mut pool) = (Output::default(), Pool::default());
        let mut pages = BytePages::new(BytePageSize::Size4);
        output.borrow(&mut pool);
        output.bytes().extend_from_slice(b"head1");
        let payload = vec![b'x'; 5000];
        output.share(Bytes::from(payload.clone()));
        output.bytes().extend_from_slice(b"head2");
        assert_eq!(output.len(), 5010);
        output.drain_to(&mut pages, 5010, &mut pool);
        assert!(output.is_empty());
        let expected = [b"head1".to_vec(), payload, b"head2".to_vec()].concat();
        assert_eq!(pages.freeze()[..], expected[..]);
        output.clear(&mut pool);
        assert_eq!(
            pool.0.len(),
            1,
            "only buffers that hold something to write to"
        );
    }

    #[test]
    fn what_is_drained_in_parts_is_the_same() {
        let whole = |parts: &[usize]| {
            let (mut output, mut pool) = (Output::default(), Pool::default());
            let mut pages = BytePages::new(BytePageSize::Size4);
            output.bytes().extend_from_slice(b"head1");
            output.share(Bytes::from(vec![b'x'; 50]));
            output.bytes().extend_from_slice(b"head2");
            output.share(Bytes::from(vec![b'y'; 60]));
            for part in parts {
                output.drain_to(&mut pages, *part, &mut pool);
            }
            assert!(output.is_empty());
            pages.freeze()
        };
        let expected = whole(&[120]);
        assert_eq!(expected.len(), 120);
        for parts in [
            &[0, 120][..],
            &[5, 50, 65],
            &[3, 52, 0, 2, 63],
            &[55, 5, 60],
            &[57, 63],
        ] {
            assert_eq!(whole(parts), expected, "{parts:?}");
        }
    }
}
