//! How the store's thread keeps the journal short.
//!
//! Entered by [`Worker::close`] when the event loop has begun another segment, by [`Worker::compact_if_long`] after each turn of the thread and by
//! [`Worker::compact`] when flash has all. Of a closed segment only a few places are left where the event loop knows them; what comes and
//! goes over several segments is found out by reading them. It writes nothing to flash.

use std::io;

use super::super::coalesce::Coalesced;
use super::super::database::Database;
use super::super::journal::{self, Header};
use super::super::live::{Closed, Left};
use super::super::record::{Record, Writer};
use super::{Chunk, Segment, Worker, add, give_back, last_of};

/// Closed segments are compacted when so many bytes have come since the last time.
const COMPACT_BYTES: u64 = 256 << 10;

impl Worker {
    pub(super) fn compact_if_long(&mut self) {
        if self.closed_bytes > COMPACT_BYTES.max(self.compacted_bytes) {
            self.compact();
        }
        let in_memory: usize = self.frames.iter().map(|frame| frame.records.len()).sum();
        let is_in_doubt = self.database.as_ref().is_some_and(Database::is_in_doubt);
        if self.frames.len() > 1 && in_memory as u64 > COMPACT_BYTES && !is_in_doubt {
            self.compact_frames();
        }
    }

    /// The segment that was written is closed; its last record has the number `last`.
    pub(super) fn close(&mut self, closed: Option<Closed>, last: u64) {
        let is_in_doubt = self.database.as_ref().is_some_and(Database::is_in_doubt);
        let (Some(segment), Some(closed)) = (self.segments.last_mut(), closed) else {
            self.closed_bytes += journal::SEGMENT_BYTES;
            return;
        };
        segment.is_volatile = closed.is_volatile;
        let number = segment.number;
        // What flash has of it, or may have, only comes to light by reading.
        let is_untouched = segment.from == 0 && self.applied < segment.next && !is_in_doubt;
        match closed.left.filter(|_| is_untouched) {
            Some(left) => {
                let left = self.leave(&left, last);
                match &left {
                    Ok(_) => self.progress.set_after(number),
                    Err(error) => log::debug!("store: the journal cannot be compacted: {error}"),
                }
                self.closed_bytes += left.unwrap_or(journal::SEGMENT_BYTES);
            }
            // To compact it would bring nothing.
            None if closed.is_dense => {
                self.lack_bytes += journal::SEGMENT_BYTES;
                self.progress.set_after(number);
            }
            None => self.closed_bytes += journal::SEGMENT_BYTES,
        }
    }

    /// Leaves of the segment that was closed last only what is needed; the memory that it takes.
    fn leave(&mut self, left: &Left, last: u64) -> io::Result<u64> {
        /// What a file takes at least.
        const PAGE_BYTES: u64 = 4096;
        let Some(segment) = self.segments.last_mut() else {
            return Ok(0);
        };
        if left.records == 0 {
            std::fs::remove_file(journal::path(&self.directory, segment.number))?;
            self.segments.pop();
            return Ok(0);
        }
        let header = Header {
            store: self.store,
            clock: self.clocks.clock,
            covers_from: segment.number,
            first: segment.next,
            compacted_to: Some(last),
            is_reused: false,
        };
        let bytes = journal::write_left(&self.directory, segment.number, header, left)?;
        segment.next = last;
        Ok(bytes.next_multiple_of(PAGE_BYTES))
    }

    /// Puts one segment in the place of all closed ones, with what of them is still needed, or none.
    pub(super) fn compact(&mut self) {
        match self.try_to_compact() {
            Ok(()) => self
                .progress
                .set(self.segments.last().map_or(0, |it| it.number)),
            Err(error) => log::debug!("store: the journal cannot be compacted: {error}"),
        }
        self.closed_bytes = 0;
    }

    fn try_to_compact(&mut self) -> io::Result<()> {
        if self.database.as_ref().is_some_and(Database::is_in_doubt) {
            // What came and went is only known to cost nothing where it is known what flash has.
            return Ok(());
        }
        let Some((current, closed)) = self.segments.split_last().filter(|(_, it)| !it.is_empty())
        else {
            return Ok(());
        };
        if closed.iter().all(|it| it.is_applied && !it.is_volatile) {
            return self.drop_closed();
        }
        let mut chunks = Vec::new();
        let mut covers_from = u64::MAX;
        for segment in closed {
            let path = journal::path(&self.directory, segment.number);
            let header = journal::read_header(&path)?.ok_or(io::ErrorKind::InvalidData)?;
            covers_from = covers_from.min(header.covers_from);
            chunks.push(self.whole(segment)?);
        }
        let number = closed.last().map_or(0, |segment| segment.number);
        let last = last_of(&chunks).unwrap_or(self.applied);
        let known = self.database.as_ref().map(Database::content);
        let mut span = Coalesced::new(self.applied);
        add(&mut span, &chunks, &known);
        let is_needed = span.all().next().is_some();
        let kept = if is_needed {
            let header = Header {
                store: self.store,
                clock: self.clocks.clock,
                covers_from,
                first: chunks.first().map_or(last, |chunk| chunk.first),
                compacted_to: Some(last),
                is_reused: false,
            };
            self.compacted_bytes =
                journal::write_compacted(&self.directory, number, header, span.all())?;
            // All of it is read again when flash lacks some of it, and none of it otherwise.
            let is_lacking = last > self.applied;
            self.lack_bytes = if is_lacking { self.compacted_bytes } else { 0 };
            let from = self.compacted_bytes - self.lack_bytes;
            vec![Segment {
                is_applied: !is_lacking,
                is_volatile: span.for_tmpfs().next().is_some(),
                ..Segment::new(number, from, last)
            }]
        } else {
            (self.compacted_bytes, self.lack_bytes) = (0, 0);
            Vec::new()
        };
        let current = *current;
        for segment in &self.segments[..self.segments.len() - 1] {
            if kept.iter().all(|it| it.number != segment.number) {
                std::fs::remove_file(journal::path(&self.directory, segment.number))?;
            }
        }
        self.segments = kept;
        self.segments.push(current);
        let read = chunks.iter().map(|chunk| chunk.records.len()).sum();
        drop(chunks);
        self.has_read_much |= give_back(read);
        Ok(())
    }

    /// Removes all closed segments, of which nothing is needed.
    fn drop_closed(&mut self) -> io::Result<()> {
        (self.compacted_bytes, self.lack_bytes) = (0, 0);
        while self.segments.len() > 1 {
            let number = self.segments[0].number;
            std::fs::remove_file(journal::path(&self.directory, number))?;
            self.segments.remove(0);
        }
        Ok(())
    }

    fn compact_frames(&mut self) {
        let known = self.database.as_ref().map(Database::content);
        let mut span = Coalesced::new(self.applied);
        add(&mut span, &self.frames, &known);
        let last = last_of(&self.frames).unwrap_or(self.applied);
        let mut writer = Writer::default();
        for item in span.all() {
            if let Some(body) = item.body {
                writer.record(&Record::Body(body));
            }
            writer.record(&item.record);
        }
        let first = self.frames.first().map_or(last, |frame| frame.first);
        let (count, records) = (u64::from(writer.count()), writer.bytes().to_vec());
        self.frames = vec![Chunk {
            first,
            count,
            compacted_to: Some(last),
            records,
        }];
    }
}
