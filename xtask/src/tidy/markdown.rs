//! Rules for Markdown: one title at the top, and links inside the repository that lead somewhere.
//!
//! Cannot: follow links to the web; a check that needs the network fails for reasons of its own.

use crate::finding::Report;
use crate::tree::File;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(files: &[File], report: &mut Report) {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let pages: Vec<(&str, &str)> = files
        .iter()
        .filter(|file| file.extension() == "md")
        .filter_map(|file| Some((file.path.as_str(), file.text()?)))
        .collect();
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|&(path, text)| (path, headings(text))).collect();
    for &(path, text) in &pages {
        if !text.starts_with("# ") {
            report.error(path, 1, "a page opens with its title: `# Title`");
        }
        for (line, target) in links(text) {
            if let Some(problem) = problem(path, &target, &paths, &anchors) {
                report.error(path, line, problem);
            }
        }
    }
}

fn problem(
    page: &str,
    target: &str,
    paths: &BTreeSet<&str>,
    anchors: &BTreeMap<&str, BTreeSet<String>>,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let resolved = if file.is_empty() { page.to_owned() } else { resolve(page, file) };
    let is_folder = || paths.iter().any(|path| path.starts_with(&format!("{resolved}/")));
    if !paths.contains(resolved.as_str()) && !is_folder() {
        return Some(format!("the link to `{target}` leads nowhere"));
    }
    let known = anchors.get(resolved.as_str());
    let is_missing = !anchor.is_empty() && known.is_some_and(|known| !known.contains(anchor));
    is_missing.then(|| format!("`{resolved}` has no heading `#{anchor}`"))
}

/// `file` as seen from the folder of `page`.
fn resolve(page: &str, file: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Lines outside fenced code blocks, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fenced && !is_fence).then_some((index + 1, line))
    })
}

/// Targets of `[text](target)`, with the line they stand on. Inline code is skipped.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let visible: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for (at, _) in visible.match_indices("](") {
            let rest = &visible[at + 2..];
            if let Some(end) = rest.find(')') {
                let target = rest[..end].split_whitespace().next().unwrap_or_default();
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

/// Anchors of the page's headings, spelled as the usual renderers do.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = prose(text).filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim())
    });
    titles
        .map(|title| {
            let kept = title.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(pages: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<File> =
            pages.iter().map(|&(path, text)| File { path: path.into(), bytes: text.into() }).collect();
        let mut report = Report::new("test");
        check(&files, &mut report);
        report.texts().iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn links_must_lead_somewhere() {
        let there = ("docs/b.md", "# B\n\n## Two words\n");
        assert_eq!(
            findings(&[("docs/a.md", "# A\n[b](b.md) [root](../docs/b.md#two-words)\n"), there]).len(),
            0
        );
        assert_eq!(findings(&[("docs/a.md", "# A\n[c](c.md)\n"), there]).len(), 1);
        assert_eq!(findings(&[("docs/a.md", "# A\n[b](b.md#three)\n"), there]).len(), 1);
        assert_eq!(
            findings(&[("README.md", "# A\n[folder](docs) [web](https://example.org)\n"), there]).len(),
            0
        );
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(findings(&[("a.md", "# A\n```\n[x](y)\n# not a title\n```\n`[x](y)`\n")]).len(), 0);
    }

    #[test]
    fn a_page_has_a_title() {
        assert_eq!(findings(&[("a.md", "words\n")]).len(), 1);
    }
}
