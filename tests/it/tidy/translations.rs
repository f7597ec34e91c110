//! The LuCI app's texts in other languages: the template has what the pages say, and each language has all that the template has.
//!
//! Entered by the tests. The template is written by the first of them (`UPDATE_EXPECT=1`), translations by people. Whether a page shows
//! them is tested in a browser (`tests/luci`).

use std::fs;
use std::path::{Path, PathBuf};

use super::luci::{assert_is, read};
use crate::harness::python::PROJECT;

const APP: &str = "openwrt/luci-app-fosquitto";
const TEMPLATE: &str = "openwrt/luci-app-fosquitto/po/templates/fosquitto.pot";
const HEADER: &str = "msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=UTF-8\"\n";

/// A text, and the files that show it.
type Shown = (String, Vec<String>);

/// The files below a folder of the app, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the app has this folder");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry can be read").path())
        .collect();
    paths.sort();
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    paths.into_iter().flat_map(below).collect()
}

/// A text between quotes without what escapes in it.
fn unescaped(text: &str) -> String {
    let mut letters = text.chars();
    let mut out = String::new();
    while let Some(letter) = letters.next() {
        out.extend(match letter {
            '\\' => letters.next(),
            plain => Some(plain),
        });
    }
    out
}

/// Where a text that `quote` began ends.
fn end_of(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let is_end = !is_escaped && letter == quote;
        is_escaped = !is_escaped && letter == '\\';
        is_end.then_some(at)
    })
}

/// What a script has translated: the texts of its calls `_('…')`.
fn of_script(source: &str) -> Vec<String> {
    let calls = source.match_indices("_(").filter_map(|(at, call)| {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        if source[..at].ends_with(is_name) {
            return None;
        }
        let argument = source[at + call.len()..].trim_start();
        let quote = argument.chars().next().filter(|it| "'\"".contains(*it))?;
        let text = &argument[1..];
        Some(unescaped(&text[..end_of(text, quote)?]))
    });
    calls.collect()
}

/// What a menu or a list of rights shows.
fn of_json(source: &str) -> Vec<String> {
    let shown = source.lines().filter_map(|line| {
        let line = line.trim();
        let member = ["\"title\": \"", "\"description\": \""];
        let text = member.iter().find_map(|name| line.strip_prefix(name))?;
        Some(unescaped(&text[..end_of(text, '"')?]))
    });
    shown.collect()
}

/// Everything that the app shows, each text once.
fn shown() -> Vec<Shown> {
    let app = Path::new(PROJECT).join(APP);
    let mut found: Vec<Shown> = Vec::new();
    for (folder, suffix) in [("htdocs", "js"), ("root", "json")] {
        let files = files(&app.join(folder));
        for path in files
            .iter()
            .filter(|path| path.extension().is_some_and(|it| it == suffix))
        {
            let source = fs::read_to_string(path).expect("a source is UTF-8");
            let place = path.strip_prefix(&app).expect("it lies below");
            let place = place.display().to_string();
            let texts = match suffix {
                "js" => of_script(&source),
                _ => of_json(&source),
            };
            for text in texts {
                match found.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, places)) if places.contains(&place) => {}
                    Some((_, places)) => places.push(place.clone()),
                    None => found.push((text, vec![place.clone()])),
                }
            }
        }
    }
    found
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A file's texts and their translations, without the header.
fn entries(path: &str) -> Vec<(String, String)> {
    let text = read(path);
    let inner = |line: &str, name: &str| {
        let line = line.strip_prefix(name)?;
        let line = line.strip_prefix(" \"")?.strip_suffix('"')?;
        Some(unescaped(line))
    };
    let (mut key, mut found) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(text) = inner(line, "msgid") {
            key = text;
        } else if let Some(translation) = inner(line, "msgstr")
            && !key.is_empty()
        {
            found.push((std::mem::take(&mut key), translation));
        }
    }
    found
}

/// What `format` fills in, in its order, and how many words are marked as names.
fn marks(text: &str) -> (Vec<&str>, usize) {
    let holes = text.match_indices('%');
    let holes = holes.map(|(at, _)| text.get(at..at + 2).unwrap_or_default());
    (holes.collect(), text.matches('`').count())
}

#[test]
fn the_template_for_translators_has_what_the_pages_say() {
    let entries = shown().into_iter().map(|(text, places)| {
        let places = places.iter().map(|place| format!("#: {place}\n"));
        format!(
            "\n{}msgid {}\nmsgstr \"\"\n",
            places.collect::<String>(),
            quoted(&text)
        )
    });
    let template = format!("{HEADER}{}", entries.collect::<String>());
    assert_is(TEMPLATE, &template);
}

#[test]
fn every_language_says_all_of_the_template_and_nothing_else() {
    let template: Vec<String> = entries(TEMPLATE)
        .into_iter()
        .map(|(text, _)| text)
        .collect();
    assert!(template.len() > 400, "the template can be read");
    let languages = fs::read_dir(Path::new(PROJECT).join(APP).join("po")).expect("it is there");
    let languages = languages.map(|entry| entry.expect("it can be read").file_name());
    let mut languages: Vec<String> = languages
        .map(|name| name.into_string().expect("a language is ASCII"))
        .filter(|name| name != "templates")
        .collect();
    languages.sort();
    assert_eq!(languages, ["cs", "de"]);
    for language in languages {
        let translations = entries(&format!("{APP}/po/{language}/fosquitto.po"));
        let mut wrong = Vec::new();
        for text in &template {
            match translations.iter().filter(|(it, _)| it == text).count() {
                1 => {}
                count => wrong.push(format!("{count} translations of {text:?}")),
            }
        }
        for (text, translation) in &translations {
            if !template.contains(text) {
                wrong.push(format!("nobody says {text:?} any more"));
            } else if translation.is_empty() {
                wrong.push(format!("no translation of {text:?}"));
            } else if marks(text) != marks(translation) {
                wrong.push(format!("other marks in {translation:?} than in {text:?}"));
            }
        }
        assert!(wrong.is_empty(), "{language}: {}", wrong.join("\n"));
    }
}

#[test]
fn texts_are_found_where_a_script_has_them_translated() {
    let source = r#"f(_('it\'s'), _( "a \"b\""), other_('no'), _(name), '_x(');"#;
    assert_eq!(of_script(source), ["it's", "a \"b\""]);
    let menu = "{\n\t\"title\": \"Status\",\n\t\"order\": 10\n}";
    assert_eq!(of_json(menu), ["Status"]);
    assert_eq!(marks("%d of `%u`"), (vec!["%d", "%u"], 2));
}
