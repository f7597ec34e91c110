//! Rust source text as the rules look at it: tokens with their lines, without comments and without what is built for tests alone.
//!
//! It is a lexer, not a parser: it knows what is code, text and comment, where a `#[cfg(test)]` item ends, and which paths a
//! `use` tree names. It does not follow renames or macros.

/// What stands on a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Word(String),
    Mark(char),
    /// A string or character, a number or a lifetime; only a string's text is kept.
    Literal(String),
}

/// A piece of code and the lines that it takes.
#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
    pub last_line: usize,
}

impl Token {
    pub fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// A file taken apart.
pub struct Source {
    /// All code.
    pub tokens: Vec<Token>,
    /// Each comment's first line and text.
    pub comments: Vec<(usize, String)>,
}

impl Source {
    /// Takes a text apart; text that is no Rust gives nonsense, not an error.
    pub fn read(text: &str) -> Source {
        let mut lexer = Lexer {
            rest: text.chars().collect(),
            at: 0,
            line: 1,
        };
        let mut source = Source {
            tokens: Vec::new(),
            comments: Vec::new(),
        };
        while lexer.at < lexer.rest.len() {
            lexer.step(&mut source);
        }
        source
    }

    /// The tokens without `#[cfg(test)]` items, and the files that such items bring in by `mod NAME;`.
    pub fn without_tests(&self) -> (Vec<Token>, Vec<String>) {
        let (mut kept, mut files) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < self.tokens.len() {
            match test_attribute_end(&self.tokens[at..]) {
                Some(length) => {
                    let item = item_end(&self.tokens[at + length..]);
                    files.extend(module_file(&self.tokens[at..at + length + item]));
                    at += length + item;
                }
                None => {
                    kept.push(self.tokens[at].clone());
                    at += 1;
                }
            }
        }
        (kept, files)
    }
}

/// The length of an attribute `#[cfg(test)]` at the front, or one that asks for more beside `test`.
fn test_attribute_end(tokens: &[Token]) -> Option<usize> {
    let end = attribute_end(tokens)?;
    let words: Vec<&str> = tokens[..end].iter().filter_map(Token::word).collect();
    (words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not"))
        .then_some(end)
}

fn attribute_end(tokens: &[Token]) -> Option<usize> {
    if tokens.len() < 2 || !tokens[0].is('#') || !tokens[1].is('[') {
        return None;
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Mark('[') => depth += 1,
            Kind::Mark(']') if depth == 1 => return Some(index + 1),
            Kind::Mark(']') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The length of the item at the front with its attributes: up to its `;` or the end of its block.
fn item_end(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']') => depth -= 1,
            Kind::Mark('}') => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            Kind::Mark(';' | ',') if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The file name, less `.rs`, that an item `mod NAME;` brings in.
fn module_file(item: &[Token]) -> Option<String> {
    let place = item.iter().position(|token| token.word() == Some("mod"))?;
    if !item.get(place + 2)?.is(';') {
        return None;
    }
    let path = item.iter().find_map(|token| match &token.kind {
        Kind::Literal(text) if text.ends_with(".rs") => {
            Some(text.trim_end_matches(".rs").to_owned())
        }
        _ => None,
    });
    path.or_else(|| item[place + 1].word().map(str::to_owned))
}

/// A path that the code names, by its segments, with its line.
#[derive(Debug, PartialEq, Eq)]
pub struct Path {
    pub line: usize,
    pub segments: Vec<String>,
}

/// All paths: each leaf of each `use` tree, and each path in the code.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].word() {
            Some("use") => at = use_tree(tokens, at + 1, &mut Vec::new(), &mut paths),
            Some(_) => {
                let start = at;
                let mut segments = Vec::new();
                at = path_segments(tokens, at, &mut segments);
                paths.push(Path {
                    line: tokens[start].line,
                    segments,
                });
            }
            None => at += 1,
        }
    }
    paths
}

/// Reads `a::b::c` and returns the place behind it.
fn path_segments(tokens: &[Token], mut at: usize, segments: &mut Vec<String>) -> usize {
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        segments.push(word.to_owned());
        at += 1;
        if !is_double_colon(tokens, at) || tokens.get(at + 2).and_then(Token::word).is_none() {
            break;
        }
        at += 2;
    }
    at
}

/// Reads one branch of a `use` tree below `prefix` and returns the place behind it.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &mut Vec<String>,
    paths: &mut Vec<Path>,
) -> usize {
    let depth = prefix.len();
    let line = tokens.get(at).map_or(0, |token| token.line);
    if is_double_colon(tokens, at) {
        at += 2;
    }
    at = path_segments(tokens, at, prefix);
    if is_double_colon(tokens, at) {
        at += 2;
    }
    if tokens.get(at).is_some_and(|token| token.is('{')) {
        at += 1;
        while tokens.get(at).is_some_and(|token| !token.is('}')) {
            at = use_tree(tokens, at, prefix, paths);
            if tokens.get(at).is_some_and(|token| token.is(',')) {
                at += 1;
            }
        }
        at += 1;
    } else {
        if tokens.get(at).is_some_and(|token| token.is('*')) {
            at += 1;
        }
        // `as NAME` is kept out of the path by ending here.
        while tokens
            .get(at)
            .is_some_and(|token| !matches!(token.kind, Kind::Mark(',' | '}' | ';')))
        {
            at += 1;
        }
        let last_self = prefix.len() > depth
            && prefix.last().is_some_and(|word| word == "self")
            && prefix.len() > 1;
        let length = if last_self {
            prefix.len() - 1
        } else {
            prefix.len()
        };
        paths.push(Path {
            line,
            segments: prefix[..length].to_vec(),
        });
    }
    prefix.truncate(depth);
    at
}

fn is_double_colon(tokens: &[Token], at: usize) -> bool {
    tokens.len() > at + 1 && tokens[at].is(':') && tokens[at + 1].is(':')
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    /// Lines with code on them, from `fn` to the closing brace.
    pub code_lines: usize,
}

/// All functions with a body; one that stands in another counts for both.
pub fn functions(tokens: &[Token]) -> Vec<Function> {
    let starts = tokens
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].word() == Some("fn"));
    starts
        .filter_map(|(at, pair)| Some((at, pair[1].word()?)))
        .filter_map(|(at, name)| {
            let length = item_end(&tokens[at..]);
            let item = &tokens[at..at + length];
            item.last().filter(|token| token.is('}'))?;
            let mut lines: Vec<usize> = item
                .iter()
                .flat_map(|token| token.line..=token.last_line)
                .collect();
            lines.dedup();
            Some(Function {
                name: name.to_owned(),
                line: tokens[at].line,
                code_lines: lines.len(),
            })
        })
        .collect()
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn next(&mut self) -> char {
        let char = self.peek(0);
        self.at += 1;
        self.line += usize::from(char == '\n');
        char
    }

    fn step(&mut self, source: &mut Source) {
        let line = self.line;
        let kind = match self.peek(0) {
            '/' if self.peek(1) == '/' => {
                let text = self.take_while(|char| char != '\n');
                source.comments.push((line, text));
                return;
            }
            '/' if self.peek(1) == '*' => {
                let text = self.block_comment();
                source.comments.push((line, text));
                return;
            }
            char if char.is_whitespace() => {
                self.next();
                return;
            }
            '"' => Kind::Literal(self.string()),
            '\'' => self.quote(),
            char if char.is_alphabetic() || char == '_' => self.word(),
            char if char.is_ascii_digit() => {
                Kind::Literal(self.take_while(|char| char.is_alphanumeric() || char == '_'))
            }
            _ => Kind::Mark(self.next()),
        };
        source.tokens.push(Token {
            kind,
            line,
            last_line: self.line,
        });
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while self.at < self.rest.len() && keep(self.peek(0)) {
            text.push(self.next());
        }
        text
    }

    fn block_comment(&mut self) -> String {
        let mut text = String::new();
        let mut depth = 0;
        while self.at < self.rest.len() {
            let pair = (self.peek(0), self.peek(1));
            if pair == ('/', '*') || pair == ('*', '/') {
                depth += if pair.0 == '/' { 1 } else { -1 };
                text.push(self.next());
            }
            text.push(self.next());
            if depth == 0 {
                break;
            }
        }
        text
    }

    fn string(&mut self) -> String {
        self.next();
        let mut text = String::new();
        while self.at < self.rest.len() {
            match self.next() {
                '"' => break,
                '\\' => text.push(self.next()),
                char => text.push(char),
            }
        }
        text
    }

    /// A word, or a string that has letters before it: b"", c"", r"", br#""#, and r#word.
    fn word(&mut self) -> Kind {
        let word = self.take_while(|char| char.is_alphanumeric() || char == '_');
        let raw = matches!(word.as_str(), "r" | "br" | "cr");
        let hashes = if raw {
            self.rest[self.at.min(self.rest.len())..]
                .iter()
                .take_while(|char| **char == '#')
                .count()
        } else {
            0
        };
        if raw && self.peek(hashes) == '"' {
            return Kind::Literal(self.raw_string(hashes));
        }
        match (word.as_str(), self.peek(0)) {
            ("b" | "c", '"') => Kind::Literal(self.string()),
            ("b", '\'') => self.quote(),
            _ => Kind::Word(word),
        }
    }

    fn raw_string(&mut self, hashes: usize) -> String {
        let end: String = std::iter::once('"')
            .chain(std::iter::repeat_n('#', hashes))
            .collect();
        for _ in 0..=hashes {
            self.next();
        }
        let mut text = String::new();
        while self.at < self.rest.len() && !text.ends_with(&end) {
            text.push(self.next());
        }
        text.truncate(text.len().saturating_sub(end.len()));
        text
    }

    /// A character or a lifetime.
    fn quote(&mut self) -> Kind {
        self.next();
        if self.peek(0) == '\\' {
            self.next();
            self.next();
            self.take_while(|char| char != '\'');
            self.next();
        } else if self.peek(1) == '\'' {
            self.next();
            self.next();
        } else {
            self.take_while(|char| char.is_alphanumeric() || char == '_');
        }
        Kind::Literal(String::new())
    }
}
