//! The names of this project's own tests, read from the sources: for the tables that say which test holds what.

use std::collections::BTreeSet;
use std::path::Path;

/// All tests of the sources by their full name, `module::function`.
pub fn all() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["src", "tests/it"] {
        read_folder(&root.join(folder), "", &mut found);
    }
    found
}

fn read_folder(folder: &Path, module: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources can be read") {
        let path = entry.expect("a folder of sources can be read").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let inner = match &*name {
            "mod" | "lib" | "main" => module.to_owned(),
            _ if module.is_empty() => name.into_owned(),
            _ => format!("{module}::{name}"),
        };
        if path.is_dir() {
            read_folder(&path, &inner, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            read_file(&text, &inner, found);
        }
    }
}

/// Finds `#[test]` and the function below it. One that is indented stands in the file's `mod tests`.
fn read_file(text: &str, module: &str, found: &mut BTreeSet<String>) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[test]" {
            continue;
        }
        let function = lines
            .by_ref()
            .find_map(|line| line.trim_start().strip_prefix("fn ")?.split('(').next())
            .expect("a function follows #[test]");
        let inner = if line.starts_with(' ') { "::tests" } else { "" };
        found.insert(format!("{module}{inner}::{function}"));
    }
}
