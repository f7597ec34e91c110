//! What UCI text means and where its faults are. What libuci itself makes of the same texts is compared in
//! `tests/uci-oracle`, a crate of its own.

use super::*;

/// The package as text, one section or option a line: `type name`, ` option=value`, ` list=[a][b]`.
fn shown(text: &str) -> String {
    let (package, faults) = read(text.as_bytes());
    assert_eq!(faults, [], "{text:?}");
    let mut shown = String::new();
    for section in &package.sections {
        shown += &section.kind.text;
        if let Some(name) = &section.name {
            shown += &format!(" {}", name.text);
        }
        shown += "\n";
        for entry in &section.entries {
            shown += &match &entry.value {
                Value::Single(token) => format!(" {}={}\n", entry.name.text, token.text),
                Value::List(items) => {
                    let items: String = items
                        .iter()
                        .map(|item| format!("[{}]", item.text))
                        .collect();
                    format!(" {}={items}\n", entry.name.text)
                }
            };
        }
    }
    shown
}

/// The faults as `line:column what`.
fn faults(text: &str) -> Vec<String> {
    let faults = read(text.as_bytes()).1.into_iter();
    faults
        .map(|fault| format!("{}:{} {}", fault.at.line, fault.at.column, fault.what))
        .collect()
}

fn value(text: &str) -> String {
    let text = format!("config a\noption x {text}\n");
    shown(&text)
        .trim_start_matches("a\n")
        .trim_start_matches(" x=")
        .trim_end_matches('\n')
        .into()
}

#[test]
fn sections_options_and_lists_are_read_in_order() {
    let text = "package 'other'\n\nconfig global 'global'\n\toption debug '0'\n\tlist a 'x'\n\tlist a 'y'\n\nconfig rule\n\tl a 1\n";
    assert_eq!(
        shown(text),
        "global global\n debug=0\n a=[x][y]\nrule\n a=[1]\n"
    );
    assert_eq!(shown("c a b\no x 1\np q-r"), "a b\n x=1\n");
    assert_eq!(shown(""), "");
}

#[test]
fn quotes_escapes_and_their_joins() {
    assert_eq!(value("foo'bar'\"baz\""), "foobarbaz");
    assert_eq!(value(r"'it'\''s'"), "it's");
    assert_eq!(value(r#""a\"b\\c\d""#), r#"a"b\cd"#);
    assert_eq!(value(r"'a\b'"), r"a\b");
    assert_eq!(value(r"a\ b\;c\#d\\"), r"a b;c#d\");
    assert_eq!(value("'two\nlines'"), "two\nlines");
    assert_eq!(value("\"two\nlines\""), "two\nlines");
    assert_eq!(value("'# no comment; none'"), "# no comment; none");
    assert_eq!(value("'grün'"), "grün");
}

#[test]
fn a_backslash_before_the_lines_end_joins_lines() {
    assert_eq!(value("one\\\ntwo"), "onetwo");
    assert_eq!(value("one\\\r\ntwo"), "onetwo");
    assert_eq!(value("\"one\\\ntwo\""), "onetwo");
    assert_eq!(value("'one\\\ntwo'"), "one\\\ntwo");
    assert_eq!(value("one\\"), "one");
}

#[test]
fn comments_begin_anywhere_outside_quotes() {
    assert_eq!(value("abc#d"), "abc");
    assert_eq!(value("'abc'#d"), "abc");
    assert_eq!(value("abc # d"), "abc");
    assert_eq!(shown("# one\n  # two\nconfig a # three\n#four"), "a\n");
}

#[test]
fn carriage_returns_and_a_missing_last_line_end_are_accepted() {
    assert_eq!(
        shown("config a 'b'\r\n\toption x 'y'\r\n\r\n"),
        "a b\n x=y\n"
    );
    assert_eq!(shown("config a\noption x y"), "a\n x=y\n");
}

#[test]
fn a_semicolon_ends_a_command_or_swallows_the_line_as_in_libuci() {
    assert_eq!(shown("config a b; option x 1\n"), "a b\n");
    assert_eq!(shown("config a b ; option x 1\n"), "a b\n x=1\n");
    assert_eq!(shown("config a 'b'; option x 1\n"), "a b\n x=1\n");
    assert_eq!(faults("config a b ;\n").len(), 1);
}

#[test]
fn sections_of_one_name_are_one_section() {
    let text = "config a n\noption x 1\noption y 1\nconfig b\nconfig a n\noption x 2\nlist z 3\n";
    assert_eq!(shown(text), "a n\n y=1\n x=2\n z=[3]\nb\n");
    let text = "config a n\noption x 1\nconfig b n\noption y 1\n";
    assert_eq!(
        faults(text),
        ["3:8 section 'n' is of type 'b' here and of type 'a' in line 1"]
    );
}

#[test]
fn a_section_that_is_opened_a_third_time_takes_no_options_as_in_libuci() {
    assert_eq!(shown("config a n\nconfig a n\nconfig a n\n"), "a n\n");
    let text = "config a n\nconfig a n\nconfig a n\noption x 1\noption y 1\n";
    assert_eq!(
        faults(text),
        [
            "4:1 this section is opened for the third time, after which libuci refuses options: \
             write them in one place"
        ]
    );
}

#[test]
fn a_list_adds_to_an_option_and_an_option_replaces_a_list() {
    assert_eq!(shown("config a\noption x 1\nlist x 2\n"), "a\n x=[1][2]\n");
    assert_eq!(
        shown("config a\nlist x 1\nlist x 2\noption x 3\n"),
        "a\n x=3\n"
    );
}

#[test]
fn an_empty_option_is_absent_and_an_empty_item_is_kept() {
    assert_eq!(
        shown("config a\noption x ''\noption y\nlist l ''\nlist l 'b'\nlist m\n"),
        "a\n l=[][b]\n m=[]\n"
    );
    assert_eq!(shown("config a\noption x 1\noption x ''\n"), "a\n x=1\n");
}

#[test]
fn every_token_has_its_place() {
    let (package, _) =
        read(b"# c\nconfig a 'n'\n\toption x \\\ny 'two\nlines'\nlist l b\n  config c\n");
    let section = &package.sections[0];
    assert_eq!((section.kind.at.line, section.kind.at.column), (2, 8));
    assert_eq!(section.name.as_ref().map(|name| name.at.column), Some(10));
    let (package, _) = read(b"config a\noption x 'two\nlines'\nlist l b\n  config c\n");
    let places: Vec<_> = package.sections[0]
        .entries
        .iter()
        .map(|entry| entry.name.at)
        .collect();
    assert_eq!(
        places,
        [Span { line: 2, column: 8 }, Span { line: 4, column: 6 }]
    );
    assert_eq!(
        package.sections[1].kind.at,
        Span {
            line: 5,
            column: 10
        }
    );
}

#[test]
fn all_faults_are_found_at_once_each_with_its_place() {
    let text = "option early 1\nconfig\nconfig a b c\n\toption in_dropped-section 1\nconfig a\n\toptoin x 1\n\toption\n\
                \toption x-y 1\n\toption x 1 2\nconfig b\u{e9}\n\tlist\nconfig c 'd-e'\n";
    assert_eq!(
        faults(text),
        [
            "1:1 'option' before the first section: 'config TYPE' is expected",
            "2:1 'config' needs a name on the same line",
            "3:12 too many words: 'c' is one more than expected (is a quote missing?)",
            "4:9 a name consists of A-Z, a-z, 0-9 and _: 'in_dropped-section' contains '-'",
            "6:2 'optoin' is not a command (config, option, list, package) (did you mean 'option'?)",
            "7:2 'option' needs a name on the same line",
            "8:9 a name consists of A-Z, a-z, 0-9 and _: 'x-y' contains '-'",
            "9:13 too many words: '2' is one more than expected (is a quote missing?)",
            "10:8 a section type cannot contain the byte 0xc3",
            "11:2 'list' needs a name on the same line",
            "12:10 a name consists of A-Z, a-z, 0-9 and _: 'd-e' contains '-'",
        ]
    );
}

#[test]
fn a_quote_that_is_never_closed_is_said_where_it_was_opened_and_the_rest_is_read() {
    let text = "config a\n\toption x \"1\n\toption y-z 1\n";
    assert_eq!(
        faults(text),
        [
            "2:11 the \" that is opened here is never closed",
            "3:9 a name consists of A-Z, a-z, 0-9 and _: 'y-z' contains '-'",
        ]
    );
    assert_eq!(faults("config a\noption x 'y").len(), 1);
    assert_eq!(faults("config a\noption x \"y\\").len(), 1);
}

#[test]
fn what_no_writer_of_uci_writes_is_refused() {
    assert_eq!(
        faults("\u{feff}config a\n")[0],
        "1:1 a byte order mark: save the file as UTF-8 without one"
    );
    assert_eq!(
        faults("config a\noption x 'a\0b'\n")[0],
        "2:12 a zero byte: this is not a text file"
    );
    let (_, latin_1) = read(b"# gr\xfcn\nconfig a\noption x gr\xfcn\n");
    assert_eq!(latin_1.len(), 1);
    assert_eq!(
        (latin_1[0].at.line, latin_1[0].what.contains("is not UTF-8")),
        (3, true)
    );
    assert_eq!(read(&vec![b'\n'; SIZE_MAX]).1, []);
    assert_eq!(read(&vec![b'\n'; SIZE_MAX + 1]).1.len(), 1);
}

#[test]
fn a_file_of_nothing_but_faults_is_given_up() {
    let (_, faults) = read("x\n".repeat(100_000).as_bytes());
    assert_eq!(faults.len(), FAULTS_MAX);
}

#[test]
fn a_section_of_very_many_options_is_refused_and_said_once() {
    let options = |count: usize| -> String {
        let lines = (0..count).map(|number| format!("option o{number} 1\n"));
        format!("config a\n{}", lines.collect::<String>())
    };
    assert_eq!(faults(&options(1_000)).len(), 0);
    assert_eq!(
        faults(&options(1_010)),
        ["1002:1 the section has more than 1000 options"]
    );
}
