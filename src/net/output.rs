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

    /// Moves everything to the socket's pages and gives the buffer back.
    pub fn drain_to(&mut self, pages: &mut BytePages, pool: &mut Pool) {
        let mut from = 0;
        let shared = self.shared.take().map(|shared| shared.payloads);
        for (position, payload) in shared.unwrap_or_default() {
            pages.extend_from_slice(&self.bytes[from..position]);
            pages.append(payload);
            from = position;
        }
        pages.extend_from_slice(&self.bytes[from..]);
        self.clear(pool);
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
        output.drain_to(&mut pages, &mut pool);
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
}
