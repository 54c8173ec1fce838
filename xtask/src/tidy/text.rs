//! Rules for every text file: line ends, tabs, line length, machine paths.

use crate::finding::Report;
use crate::source::Source;
use crate::tree::File;

/// Longest line of a source file, in characters. rustfmt wraps code at 110 and leaves comments and strings
/// alone: those may run over by a word.
const LINE_CHARS_MAX: usize = 120;

/// The same for a line that holds a string: a row of a table reads better whole, and rustfmt breaks no text.
const TEXT_LINE_CHARS_MAX: usize = 240;

/// Files whose lines are limited. Prose in Markdown wraps where its author wants; tables cannot wrap.
const LENGTH_EXTENSIONS: &[&str] = &["rs", "c", "h", "sh", "toml"];

/// Files that must be free of tabs. BPF programs in C keep the kernel's style, which indents with them.
const TAB_EXTENSIONS: &[&str] = &["rs", "toml", "md", "sh"];

/// Files that must be free of trailing spaces.
const SPACE_EXTENSIONS: &[&str] = &["rs", "toml", "md", "c", "h", "sh"];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

pub(super) fn check(file: &File, content: &str, report: &mut Report) {
    let path = file.path.as_str();
    let has = |extensions: &[&str]| extensions.contains(&file.extension());
    let source = (file.extension() == "rs").then(|| Source::parse(content));
    for (index, line) in content.lines().enumerate() {
        let number = index + 1;
        // Inside a string that spans lines the text is as it must be.
        if source.as_ref().is_some_and(|source| source.is_inside_text(index) && !line.trim().is_empty()) {
            continue;
        }
        if has(TAB_EXTENSIONS) && line.contains('\t') {
            report.error(path, number, "a tab: use spaces");
        }
        if has(SPACE_EXTENSIONS) && line.ends_with([' ', '\r']) {
            report.error(path, number, "space at the end of the line");
        }
        let chars_max = if line.contains('"') { TEXT_LINE_CHARS_MAX } else { LINE_CHARS_MAX };
        let is_link = line.contains("http://") || line.contains("https://");
        if has(LENGTH_EXTENSIONS) && line.chars().count() > chars_max && !is_link {
            report.error(path, number, format!("longer than {chars_max} characters"));
        }
        if let Some(machine) = MACHINE_PATHS.iter().find(|machine| line.contains(**machine)) {
            report.error(path, number, format!("`{machine}` exists on one machine only"));
        }
    }
    if has(SPACE_EXTENSIONS) && !content.is_empty() && !content.ends_with('\n') {
        report.error(path, content.lines().count(), "no newline at the end of the file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, content: &str) -> usize {
        let mut report = Report::new("test");
        let file = File { path: path.into(), bytes: content.as_bytes().to_vec() };
        check(&file, content, &mut report);
        report.texts().len()
    }

    #[test]
    fn spaces_and_tabs_are_seen() {
        assert_eq!(findings("a.rs", "fn f() {}\n"), 0);
        assert_eq!(findings("a.rs", "fn f() {} \n"), 1);
        assert_eq!(findings("a.rs", "\tfn f() {}\n"), 1);
        assert_eq!(findings("a.rs", "fn f() {}"), 1);
        assert_eq!(findings("Makefile", "build:\n\tcargo build\n"), 0);
    }

    #[test]
    fn lines_are_limited_at_the_exact_length() {
        let line = |count: usize| format!("{}\n", "x".repeat(count));
        assert_eq!(findings("a.rs", &line(LINE_CHARS_MAX)), 0);
        assert_eq!(findings("a.rs", &line(LINE_CHARS_MAX + 1)), 1);
        assert_eq!(findings("a.md", &line(LINE_CHARS_MAX + 1)), 0);
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        assert_eq!(findings("a.md", &format!("see {}someone\n", concat!("/ho", "me/"))), 1);
        assert_eq!(findings("a.md", "see /etc/secbeat\n"), 0);
    }
}
