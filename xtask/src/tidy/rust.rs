//! Rules for Rust sources: size of files and functions, file heads, leftovers.

use crate::finding::Report;
use crate::source::{Source, has_word};

/// A file longer than this opens with a head that says what it owns.
const HEAD_LINES_MIN: usize = 50;
/// Lines of a file outside its tests: past the first a warning, past the second an error. A file that is read
/// in one sitting stays under four hundred.
const FILE_LINES_WARN: usize = 400;
const FILE_LINES_MAX: usize = 600;
/// Lines of a function: one screen, then an error.
const FUNCTION_LINES_WARN: usize = 70;
const FUNCTION_LINES_MAX: usize = 100;

/// Macros that are left behind by unfinished work.
const LEFTOVERS: &[&str] = &["todo!", "unimplemented!", "dbg!"];

pub(super) fn check(path: &str, content: &str, report: &mut Report) {
    let source = Source::parse(content);
    let is_test_file = path.contains("/tests/") || path.ends_with("/tests.rs");
    if !is_test_file && content.lines().count() > HEAD_LINES_MIN && !content.starts_with("//!") {
        report.error(path, 1, "a file over 50 lines opens with a //! head: what it owns, what it does not");
    }
    if !is_test_file {
        check_size(path, &source, report);
    }
    check_words(path, &source, report);
}

fn check_size(path: &str, source: &Source, report: &mut Report) {
    let line_count = source.is_test.iter().filter(|is_test| !**is_test).count();
    if line_count > FILE_LINES_MAX {
        report.error(
            path,
            0,
            format!("{line_count} lines before tests: split it by role (limit {FILE_LINES_MAX})"),
        );
    } else if line_count > FILE_LINES_WARN {
        report.warn(path, 0, format!("{line_count} lines before tests: think of splitting it"));
    }
    for function in &source.functions {
        if source.is_test.get(function.line - 1) == Some(&true) {
            continue;
        }
        let text = format!("fn {} has {} lines", function.name, function.line_count);
        if function.line_count > FUNCTION_LINES_MAX {
            report.error(path, function.line, format!("{text}: split it (limit {FUNCTION_LINES_MAX})"));
        } else if function.line_count > FUNCTION_LINES_WARN {
            report.warn(path, function.line, format!("{text}: more than one screen"));
        }
    }
}

fn check_words(path: &str, source: &Source, report: &mut Report) {
    for (index, (code, comment)) in source.code.iter().zip(&source.comments).enumerate() {
        for leftover in LEFTOVERS.iter().filter(|leftover| has_word(code, leftover)) {
            report.error(path, index + 1, format!("`{leftover}` is left over: finish it or take it out"));
        }
        if has_word(comment, "FIXME") || has_word(comment, "XXX") {
            report.error(path, index + 1, "mend it now, or open an issue and write TODO(#number)");
        }
        if has_word(comment, "TODO") && !comment.contains("TODO(#") {
            report.error(path, index + 1, "a TODO names its issue: TODO(#number)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(content: &str) -> Vec<String> {
        let mut report = Report::new("test");
        check("dataplane/net/src/flow.rs", content, &mut report);
        report.texts().iter().map(|&text| text.to_owned()).collect()
    }

    fn function(body_lines: usize) -> String {
        format!("//! Head.\nfn f() {{\n{}}}\n", "    g();\n".repeat(body_lines))
    }

    #[test]
    fn long_functions_warn_then_fail() {
        assert_eq!(findings(&function(FUNCTION_LINES_WARN - 2)).len(), 0);
        assert_eq!(findings(&function(FUNCTION_LINES_WARN - 1)).len(), 1);
        let mut report = Report::new("test");
        check("a/src/b.rs", &function(FUNCTION_LINES_MAX - 1), &mut report);
        assert!(report.has_errors());
    }

    #[test]
    fn file_length_counts_only_what_is_not_a_test() {
        let product = "//! Head.\n".to_owned() + &"const A: u8 = 1;\n".repeat(FILE_LINES_WARN - 1);
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"    const A: u8 = 1;\n".repeat(900) + "}\n";
        assert_eq!(findings(&(product.clone() + &tests)).len(), 0);
        assert_eq!(findings(&(product + "const B: u8 = 1;\n" + &tests)).len(), 1);
    }

    #[test]
    fn long_files_open_with_a_head() {
        assert_eq!(findings(&"const A: u8 = 1;\n".repeat(HEAD_LINES_MIN)).len(), 0);
        assert_eq!(findings(&"const A: u8 = 1;\n".repeat(HEAD_LINES_MIN + 1)).len(), 1);
    }

    #[test]
    fn leftovers_are_seen_in_code_and_in_comments_only_where_they_count() {
        assert_eq!(findings("fn f() { todo!() }\n").len(), 1);
        assert_eq!(findings("const S: &str = \"todo!()\";\n").len(), 0);
        assert_eq!(findings("// FIXME: later\n").len(), 1);
        assert_eq!(findings("// TODO: later\n").len(), 1);
        assert_eq!(findings("// TODO(#12): later\n").len(), 0);
    }
}
