//! JSON as the monitor prints it: read as it stands and written with two spaces an indentation, in the form that Python's `json` has, which
//! those who read the monitor's output know.
//!
//! Entered by [`Json::read`]. The order of members stays, of equal names the last value holds at the first place; numbers keep their
//! digits but for fractions, which are as short as can be; what is not ASCII is escaped. [`bytes_literal`] is for what is no JSON.

use std::fmt::Write as _;

/// Deeper than this is no message of the bus, and no JSON to CPython; it also bounds the recursion.
const DEPTH_MAX: usize = 900;

/// A value.
#[derive(Debug, PartialEq)]
pub enum Json {
    /// A word or a number, as it is written.
    Plain(String),
    /// A string: code points, which half a pair is one of.
    Text(Vec<u32>),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(Vec<u32>, Json)>),
}

impl Json {
    /// The JSON of some bytes, in UTF-8, UTF-16 or UTF-32; `None` if they are none.
    pub fn read(bytes: &[u8]) -> Option<Json> {
        let text = decoded(bytes)?;
        let mut parser = Parser(&text);
        let value = parser.value(0)?;
        parser.skip();
        parser.0.is_empty().then_some(value)
    }

    /// The value over as many lines as it needs.
    pub fn indented(&self) -> String {
        let mut out = String::new();
        write(self, 0, &mut out);
        out
    }

    /// A member of an object.
    pub fn member(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else {
            return None;
        };
        let is_it = |known: &[u32]| known.iter().copied().eq(name.chars().map(u32::from));
        let found = members.iter().find(|(known, _)| is_it(known));
        found.map(|(_, value)| value)
    }

    /// The value within a line, as Python's `str` has it but for lists and objects, which are JSON.
    pub fn text(&self) -> String {
        match self {
            Json::Text(text) => text_of(text),
            Json::Plain(word) => match word.as_str() {
                "null" => "None".to_owned(),
                "true" => "True".to_owned(),
                "false" => "False".to_owned(),
                "NaN" => "nan".to_owned(),
                number => number.replace("Infinity", "inf"),
            },
            _ => {
                let text = self.indented();
                text.lines().map(str::trim_start).collect()
            }
        }
    }

    /// What Python goes through in this value: the items of a list, the names in an object, the letters of a string; `None` if nothing.
    pub fn iterated(&self) -> Option<Vec<String>> {
        match self {
            Json::Plain(_) => None,
            Json::List(items) => Some(items.iter().map(Json::text).collect()),
            Json::Object(members) => Some(members.iter().map(|(name, _)| text_of(name)).collect()),
            Json::Text(text) => Some(text.iter().map(|code| text_of(&[*code])).collect()),
        }
    }

    /// Whether it is as good as true: all but null, false, 0 and what is empty.
    pub fn is_truthy(&self) -> bool {
        match self {
            Json::Plain(word) => {
                let is_zero = word.parse::<f64>().is_ok_and(|number| number == 0.0);
                !is_zero && word != "null" && word != "false"
            }
            Json::Text(text) => !text.is_empty(),
            Json::List(items) => !items.is_empty(),
            Json::Object(members) => !members.is_empty(),
        }
    }
}

fn text_of(codes: &[u32]) -> String {
    let letter = |code: &u32| char::from_u32(*code).unwrap_or(char::REPLACEMENT_CHARACTER);
    codes.iter().map(letter).collect()
}

/// The text that some bytes are. Which encoding they have shows where their zeroes are (RFC 4627, 3).
fn decoded(bytes: &[u8]) -> Option<String> {
    let units = |size: usize, is_big: bool| -> Option<Vec<u32>> {
        let units = bytes.chunks(size).map(|unit| {
            let shifted = |value, byte: &u8| value << 8 | u32::from(*byte);
            let whole = unit.len() == size;
            whole.then(|| match is_big {
                true => unit.iter().fold(0, shifted),
                false => unit.iter().rev().fold(0, shifted),
            })
        });
        units.collect()
    };
    let zeroes: Vec<bool> = bytes.iter().take(4).map(|byte| *byte == 0).collect();
    let (size, is_big) = match (bytes, zeroes.as_slice()) {
        ([0, 0, 0xFE, 0xFF, ..], _) => (4, true),
        ([0xFF, 0xFE, 0, 0, ..], _) => (4, false),
        ([0xFE, 0xFF, ..], _) => (2, true),
        ([0xFF, 0xFE, ..], _) => (2, false),
        ([0xEF, 0xBB, 0xBF, ..], _) => (1, true),
        (_, [true, second, _, _]) => (if *second { 4 } else { 2 }, true),
        (_, [false, true, third, fourth]) => (if *third && *fourth { 4 } else { 2 }, false),
        (_, [true, false]) => (2, true),
        (_, [false, true]) => (2, false),
        _ => (1, true),
    };
    let text = match size {
        1 => std::str::from_utf8(bytes).ok()?.to_owned(),
        2 => {
            let units = units(2, is_big)?.into_iter();
            let units = units.map(|unit| unit as u16);
            char::decode_utf16(units).collect::<Result<_, _>>().ok()?
        }
        _ => {
            let letters = units(4, is_big)?.into_iter().map(char::from_u32);
            letters.collect::<Option<_>>()?
        }
    };
    Some(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
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
            let value = Json::read(text.as_bytes()).expect(text);
            assert_eq!(value.indented(), expected, "{text}");
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
            assert_eq!(Json::read(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Json::read(b"\"\xff\""), None);
        assert_eq!(Json::read(b"[\x001\x00]\x00 "), None);
        assert_eq!(Json::read("[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn the_encodings_of_json_are_read() {
        for bytes in [
            &b"[1]"[..],
            b"\xEF\xBB\xBF[1]",
            b"[\x001\0]\0",
            b"\0[\x001\0]",
            b"\xFF\xFE[\x001\0]\0",
            b"\xFE\xFF\0[\x001\0]",
            b"[\0\0\x001\0\0\0]\0\0\0",
            b"\0\0\0[\0\0\x001\0\0\0]",
        ] {
            let one = Json::List(vec![Json::Plain("1".into())]);
            assert_eq!(Json::read(bytes), Some(one), "{bytes:?}");
        }
    }

    #[test]
    fn values_within_a_line_are_as_python_has_them() {
        let read = |text: &str| Json::read(text.as_bytes()).expect(text);
        for (text, expected, is_truthy) in [
            ("\"é\"", "é", true),
            ("\"\"", "", false),
            ("null", "None", false),
            ("true", "True", true),
            ("false", "False", false),
            ("0.0", "0.0", false),
            ("-7", "-7", true),
            ("1e400", "inf", true),
            ("NaN", "nan", true),
            ("[]", "[]", false),
            ("{}", "{}", false),
        ] {
            let value = read(text);
            assert_eq!(value.text(), expected, "{text}");
            assert_eq!(value.is_truthy(), is_truthy, "{text}");
        }
        assert_eq!(
            read("[\"a\", 1]").iterated(),
            Some(vec!["a".into(), "1".into()])
        );
        assert_eq!(
            read("{\"errors\": []}").iterated(),
            Some(vec!["errors".into()])
        );
        assert_eq!(
            read("\"ab\"").iterated(),
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(read("1").iterated(), None);
        assert_eq!(
            read("{\"a\": 2}").member("a").map(Json::text),
            Some("2".into())
        );
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
