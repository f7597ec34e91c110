//! The words of a UCI file, one after the other, exactly as libuci cuts them. Entered through [`Cursor::next_line`],
//! then [`Cursor::keyword`] and [`Cursor::word`]. It knows quotes, escapes, joins, comments and `;`, but not what a
//! section is.
//!
//! libuci reads a physical line into a buffer and writes zero bytes into it to end words. Some of what it accepts
//! follows from that alone, and this reader does the same on purpose:
//!
//! - A `;` directly after a word without quotes or escapes is overwritten by that word's end, so the rest of the line
//!   is lost; after a blank, a quote or an escape it ends the command and the next one begins.
//! - After `;` only blanks and tabs are skipped, so a `;` followed by the line's end is an invalid command.
//! - `\` before the line's end joins the next line, but a blank at its start ends the word.

/// Where a token begins: its line and its column in bytes, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line, from 1.
    pub line: u32,
    /// The column in bytes, from 1.
    pub column: u32,
}

/// A quoted text that is not closed before the file ends. It reaches the command in which it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Unterminated {
    /// Where the quote was opened.
    pub at: Span,
    /// Which quote it is.
    pub quote: char,
}

/// One word of a command, without its quotes and escapes. An empty one means that there was none: libuci does not
/// distinguish `''` from nothing either.
#[derive(Debug)]
pub struct Word {
    /// The bytes that are meant.
    pub bytes: Vec<u8>,
    /// Where it begins.
    pub at: Span,
}

/// A reading position in the text.
pub struct Cursor<'a> {
    text: &'a [u8],
    /// The next byte to look at.
    position: usize,
    /// Where what can be seen ends: the end of the current line, or earlier when a comment or a `;` cut it.
    end: usize,
    /// The first byte that was not read yet: always the start of a line, or the end of the text.
    unread: usize,
    /// The starts of the lines read so far, for spans.
    line_starts: Vec<usize>,
}

impl<'a> Cursor<'a> {
    /// A cursor before the first line.
    pub fn new(text: &'a [u8]) -> Self {
        Cursor {
            text,
            position: 0,
            end: 0,
            unread: 0,
            line_starts: Vec::new(),
        }
    }

    /// Goes to the next line that was not read yet; false at the end of the text.
    pub fn next_line(&mut self) -> bool {
        if self.unread == self.text.len() {
            return false;
        }
        self.join_line();
        self.skip_space();
        true
    }

    /// Forgets what was read past the line in which `start` lies, so that the line after it is read next. For going on
    /// after a quote that swallowed the rest of the file.
    pub fn rewind_to_line_after(&mut self, start: Span) {
        let line = start.line as usize;
        if let Some(&next) = self.line_starts.get(line) {
            self.unread = next;
            self.line_starts.truncate(line);
        }
    }

    /// Where the cursor stands.
    pub fn span(&self) -> Span {
        self.span_of(self.position)
    }

    /// The next command's word: it ends at a blank, a tab or the line's end only, and nothing in it is quoted.
    /// `None` when the line is used up.
    pub fn keyword(&mut self) -> Option<(&'a [u8], Span)> {
        while matches!(self.current(), Some(b' ' | b'\t')) {
            self.position += 1;
        }
        self.current()?;
        let start = self.position;
        while !matches!(self.current(), None | Some(b' ' | b'\t')) {
            self.position += 1;
        }
        let word = &self.text[start..self.position];
        // The blank that ended the word.
        if self.position < self.end {
            self.position += 1;
        }
        Some((word, self.span_of(start)))
    }

    /// The next word of the command.
    pub fn word(&mut self) -> Result<Word, Unterminated> {
        self.skip_space();
        let mut word = Word {
            bytes: Vec::new(),
            at: self.span(),
        };
        if self.current() == Some(b';') {
            self.position += 1;
            return Ok(word);
        }
        // Whether every byte so far stands for itself: only then does the word's end lie where the cursor stands.
        let mut verbatim = true;
        loop {
            match self.current() {
                Some(quote @ (b'\'' | b'"')) => {
                    verbatim = false;
                    self.quoted(quote, &mut word.bytes)?;
                }
                Some(b'\\') => {
                    verbatim = false;
                    self.escaped(&mut word.bytes);
                }
                Some(b'#') => self.end = self.position,
                Some(b';') => {
                    if verbatim {
                        self.end = self.position;
                    }
                    return Ok(word);
                }
                Some(byte) => {
                    word.bytes.push(byte);
                    self.position += 1;
                }
                None => {}
            }
            match self.current() {
                None => return Ok(word),
                Some(byte) if is_space(byte) => {
                    self.position += 1;
                    return Ok(word);
                }
                Some(_) => {}
            }
        }
    }

    fn current(&self) -> Option<u8> {
        (self.position < self.end).then(|| self.text[self.position])
    }

    /// Reads the next line in the place of what is left of the current one. At the end of the text nothing is left.
    fn join_line(&mut self) {
        let start = self.unread;
        let length = self.text[start..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map(|at| at + 1);
        self.unread = length.map_or(self.text.len(), |length| start + length);
        self.position = start;
        self.end = self.unread;
        if start < self.text.len() {
            self.line_starts.push(start);
        }
    }

    fn skip_space(&mut self) {
        while self.current().is_some_and(is_space) {
            self.position += 1;
        }
    }

    /// A backslash: the next byte as it is, or the next line when nothing but the line's end follows.
    fn escaped(&mut self, into: &mut Vec<u8>) {
        self.position += 1;
        match &self.text[self.position..self.end] {
            [] | [b'\n', ..] | [b'\r', b'\n'] => self.join_line(),
            [byte, ..] => {
                into.push(*byte);
                self.position += 1;
            }
        }
    }

    fn quoted(&mut self, quote: u8, into: &mut Vec<u8>) -> Result<(), Unterminated> {
        let at = self.span();
        self.position += 1;
        loop {
            match self.current() {
                Some(byte) if byte == quote => {
                    self.position += 1;
                    return Ok(());
                }
                Some(b'\\') if quote == b'"' => self.escaped(into),
                Some(byte) => {
                    into.push(byte);
                    self.position += 1;
                }
                None => {
                    self.join_line();
                    if self.current().is_none() {
                        return Err(Unterminated {
                            at,
                            quote: quote.into(),
                        });
                    }
                }
            }
        }
    }

    fn span_of(&self, position: usize) -> Span {
        let line = self
            .line_starts
            .partition_point(|&start| start <= position)
            .max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        Span {
            line: line as u32,
            column: (position - start) as u32 + 1,
        }
    }
}

/// The blanks of C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
}
