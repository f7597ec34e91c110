//! JSON as the monitor prints it: read as it stands and written with two spaces an indentation, in the form that Python's `json` has, which
//! those who read the monitor's output know.
//!
//! Entered by [`indented`]. The order of members stays, of equal names the last value holds at the first place; numbers keep their digits
//! but for fractions, which are as short as can be; what is not ASCII is escaped. [`bytes_literal`] is for what is no JSON.

use std::fmt::Write as _;

/// Deeper than this is no message of the bus; it also bounds the recursion.
const DEPTH_MAX: usize = 500;

/// A value.
enum Json {
    /// A word or a number, as it is written.
    Plain(String),
    Text(Vec<u32>),
    List(Vec<Json>),
    Object(Vec<(Vec<u32>, Json)>),
}

/// The JSON of some bytes, indented; `None` if they are none.
pub fn indented(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser(text);
    let value = parser.value(0)?;
    parser.skip();
    if !parser.0.is_empty() {
        return None;
    }
    let mut out = String::new();
    write(&value, 0, &mut out);
    Some(out)
}

struct Parser<'t>(&'t str);

impl Parser<'_> {
    fn skip(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip();
        if depth > DEPTH_MAX {
            return None;
        }
        match self.0.bytes().next()? {
            b'"' => self.text().map(Json::Text),
            b'[' => self.list(depth),
            b'{' => self.object(depth),
            _ => self.plain(),
        }
    }

    fn plain(&mut self) -> Option<Json> {
        for word in ["null", "true", "false", "NaN", "Infinity", "-Infinity"] {
            if self.take(word).is_some() {
                return Some(Json::Plain(word.to_owned()));
            }
        }
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let text = self.0;
        let sign = usize::from(text.starts_with('-'));
        let whole = match text[sign..].starts_with('0') {
            true => 1,
            false => digits(&text[sign..]),
        };
        if whole == 0 {
            return None;
        }
        let mut end = sign + whole;
        let mut is_fraction = false;
        if text[end..].starts_with('.') && digits(&text[end + 1..]) > 0 {
            end += 1 + digits(&text[end + 1..]);
            is_fraction = true;
        }
        if text[end..].starts_with(['e', 'E']) {
            let mark = usize::from(text[end + 1..].starts_with(['+', '-']));
            let exponent = digits(&text[end + 1 + mark..]);
            if exponent > 0 {
                end += 1 + mark + exponent;
                is_fraction = true;
            }
        }
        let (number, rest) = text.split_at(end);
        self.0 = rest;
        Some(Json::Plain(match (is_fraction, number) {
            (true, number) => fraction(number.parse().ok()?),
            (false, "-0") => "0".to_owned(),
            (false, number) => number.to_owned(),
        }))
    }

    fn text(&mut self) -> Option<Vec<u32>> {
        self.take("\"")?;
        let mut out: Vec<u32> = Vec::new();
        loop {
            let character = self.next()?;
            let code = match character {
                '"' => return Some(out),
                '\\' => match self.next()? {
                    'n' => 10,
                    't' => 9,
                    'r' => 13,
                    'b' => 8,
                    'f' => 12,
                    'u' => self.escaped()?,
                    same @ ('"' | '\\' | '/') => u32::from(same),
                    _ => return None,
                },
                control if u32::from(control) < 0x20 => return None,
                other => u32::from(other),
            };
            out.push(code);
        }
    }

    fn next(&mut self) -> Option<char> {
        let character = self.0.chars().next()?;
        self.0 = &self.0[character.len_utf8()..];
        Some(character)
    }

    /// What follows `\u`: one code, or the two of a pair. Half a pair stays what it is.
    fn escaped(&mut self) -> Option<u32> {
        let first = self.code()?;
        if !(0xD800..0xDC00).contains(&first) {
            return Some(first);
        }
        let before = self.0;
        let second = self.take("\\u").and_then(|()| self.code());
        match second.filter(|second| (0xDC00..0xE000).contains(second)) {
            Some(second) => Some(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)),
            None => {
                self.0 = before;
                Some(first)
            }
        }
    }

    fn code(&mut self) -> Option<u32> {
        let digits = self.0.get(..4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.0 = &self.0[4..];
        u32::from_str_radix(digits, 16).ok()
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        self.take("[")?;
        self.skip();
        let mut items = Vec::new();
        if self.take("]").is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip();
            if self.take("]").is_some() {
                return Some(Json::List(items));
            }
            self.take(",")?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take("{")?;
        self.skip();
        let mut members: Vec<(Vec<u32>, Json)> = Vec::new();
        if self.take("}").is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.skip();
            let name = self.text()?;
            self.skip();
            self.take(":")?;
            let value = self.value(depth + 1)?;
            match members.iter_mut().find(|(known, _)| *known == name) {
                Some((_, former)) => *former = value,
                None => members.push((name, value)),
            }
            self.skip();
            if self.take("}").is_some() {
                return Some(Json::Object(members));
            }
            self.take(",")?;
        }
    }
}

/// A fraction with as few digits as tell it from all others, as Python's `repr` writes it.
fn fraction(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        let is_whole = !plain.contains('.');
        return if is_whole {
            format!("{plain}.0")
        } else {
            plain
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

fn write(value: &Json, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Json::Plain(text) => out.push_str(text),
        Json::Text(text) => write_text(text, out),
        Json::List(items) if items.is_empty() => out.push_str("[]"),
        Json::Object(members) if members.is_empty() => out.push_str("{}"),
        Json::List(items) => {
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "[" } else { "," });
                line(depth + 1, out);
                write(item, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Json::Object(members) => {
            for (index, (name, value)) in members.iter().enumerate() {
                out.push_str(if index == 0 { "{" } else { "," });
                line(depth + 1, out);
                write_text(name, out);
                out.push_str(": ");
                write(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
    }
}

fn write_text(text: &[u32], out: &mut String) {
    out.push('"');
    for code in text {
        let mut escape = |code: u32| write!(out, "\\u{code:04x}").expect("a string takes it");
        match *code {
            0x22 => out.push_str("\\\""),
            0x5C => out.push_str("\\\\"),
            0x0A => out.push_str("\\n"),
            0x0D => out.push_str("\\r"),
            0x09 => out.push_str("\\t"),
            0x0C => out.push_str("\\f"),
            0x08 => out.push_str("\\b"),
            plain @ 0x20..0x7F => out.push(char::from(plain as u8)),
            code @ 0x10000.. => {
                let above = code - 0x10000;
                escape(0xD800 + (above >> 10));
                escape(0xDC00 + (above & 0x3FF));
            }
            code => escape(code),
        }
    }
    out.push('"');
}

/// Bytes as Python writes them: `b'x\n'`.
pub fn bytes_literal(bytes: &[u8]) -> String {
    let quote = match bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        true => '"',
        false => '\'',
    };
    let mut out = format!("b{quote}");
    for byte in bytes {
        match *byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\'' if quote == '\'' => out.push_str("\\'"),
            plain @ 0x20..0x7F => out.push(char::from(plain)),
            other => write!(out, "\\x{other:02x}").expect("a string takes it"),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What CPython 3.11 prints for `json.dumps(json.loads(text), indent=2)`.
    #[test]
    fn json_is_written_as_python_writes_it() {
        for (text, expected) in [
            (
                r#" {"b": 1, "a": [], "c": {}} "#,
                "{\n  \"b\": 1,\n  \"a\": [],\n  \"c\": {}\n}",
            ),
            (
                r#"[1, [true, null]]"#,
                "[\n  1,\n  [\n    true,\n    null\n  ]\n]",
            ),
            (
                r#"{"a": 1, "b": 2, "a": 3}"#,
                "{\n  \"a\": 3,\n  \"b\": 2\n}",
            ),
            ("1.0", "1.0"),
            ("1e5", "100000.0"),
            ("1e16", "1e+16"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("1E-5", "1e-05"),
            ("0.0001", "0.0001"),
            ("0.1", "0.1"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1e400", "Infinity"),
            ("-Infinity", "-Infinity"),
            ("2.5e-300", "2.5e-300"),
            (
                "\"\u{e9}\u{1f600}/\\/\u{7f}\"",
                r#""\u00e9\ud83d\ude00//\u007f""#,
            ),
            (
                r#""\ud83d\ude00\ud800x\b\f""#,
                r#""\ud83d\ude00\ud800x\b\f""#,
            ),
        ] {
            assert_eq!(
                indented(text.as_bytes()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_json_is_none() {
        for text in [
            "",
            "x",
            "01",
            "[1,]",
            "{\"a\"}",
            "\"\n\"",
            "\"\\x\"",
            "1 2",
            ".5",
            "+1",
            "\"\\u12\"",
            "nul",
        ] {
            assert_eq!(indented(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(indented(b"\"\xff\""), None);
        assert_eq!(indented("[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn bytes_are_written_as_python_writes_them() {
        assert_eq!(
            bytes_literal(b"it's\n\x00\xff\\"),
            "b\"it's\\n\\x00\\xff\\\\\""
        );
        assert_eq!(bytes_literal(b"'\""), "b'\\'\"'");
    }
}
