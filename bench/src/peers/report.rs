//! `report`: pages from a result, and the figures that a text may quote.
//!
//! Owns: writing the pages, and the block between two marks in the README. The block is rendered from the result and
//! nothing else, so `--check` fails when a figure in it was typed, or the result is a newer one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::defender::Defender;
use super::result::{Document, Row};
use super::setup::Front;
use super::{floods, markdown, memory, plot, requests};
use crate::flood::Rate;
use crate::stats;

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Options of `report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Result to read
    #[arg(long, default_value = "bench/results/peers.json")]
    result: PathBuf,
    /// Render the figures of a page between its two marks anew, e.g. README.md
    #[arg(long, value_name = "PAGE")]
    readme: Option<PathBuf>,
    /// Only compare, and fail when page, plots or figures are not those of the result
    #[arg(long)]
    check: bool,
}

/// Runs the `report` subcommand.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let document = Document::load(&options.result)?;
    let folder = options.result.parent().unwrap_or(Path::new("."));
    let name = options.result.file_stem().and_then(|stem| stem.to_str()).context("a name of the result")?;
    let mut files = files(&document, folder, name);
    if let Some(page) = &options.readme {
        let text = fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
        let new = replaced(&text, &figures(&document)).with_context(|| page.display().to_string())?;
        files.push((page.clone(), new));
    }
    if !options.check {
        for (path, text) in &files {
            fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let is_stale =
        |(path, text): &&(PathBuf, String)| !fs::read_to_string(path).is_ok_and(|found| found == *text);
    let stale: Vec<String> =
        files.iter().filter(is_stale).map(|(path, _)| path.display().to_string()).collect();
    if !stale.is_empty() {
        println!(
            "not as {} says: {}; render them with `secbeat-bench report`",
            options.result.display(),
            stale.join(", ")
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes page and plots beside the result.
pub(super) fn write(document: &Document, folder: &Path, name: &str) -> Result<()> {
    for (path, text) in files(document, folder, name) {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn files(document: &Document, folder: &Path, name: &str) -> Vec<(PathBuf, String)> {
    let plots = plot::all(document).into_iter();
    let plots = plots.map(|(plot, text)| (folder.join(format!("{name}-{plot}.svg")), text));
    std::iter::once((folder.join(format!("{name}.md")), markdown::page(document, name)))
        .chain(plots)
        .collect()
}

/// `text` with what lies between the marks replaced.
fn replaced(text: &str, figures: &str) -> Result<String> {
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        bail!("no `{BEGIN}` and `{END}`: figures go between them");
    };
    if end < begin {
        bail!("`{END}` stands before `{BEGIN}`");
    }
    Ok(format!("{}{BEGIN}\n{figures}{}", &text[..begin], &text[end..]))
}

/// The figures of the README: a table of floods, and a line for each of the rest.
fn figures(document: &Document) -> String {
    let rates = [Rate::Fixed(500_000), Rate::Fixed(1_000_000), Rate::Fixed(2_000_000), Rate::Max];
    let mut text = String::from(
        "| SYN flood, one core | 500 k/s | 1 M/s | 2 M/s | maximum | SYN-ACKs/s at maximum |\n|---|---|---|---|---|---|\n",
    );
    for defender in Defender::ALL.iter().filter(|defender| **defender != Defender::XdpTx) {
        let rows: Vec<Option<&Row>> = rates
            .iter()
            .map(|rate| document.find(floods::CHAPTER, defender.name(), &floods::case(*rate, 4)))
            .collect();
        if rows.iter().all(Option::is_none) {
            continue;
        }
        let clients = |row: &Option<&Row>| row.map_or("-".to_owned(), honest);
        let cells: Vec<String> = rows.iter().map(clients).collect();
        let answers = rows.last().copied().flatten().and_then(|row| row.median("made_pps"));
        let answers = answers.filter(|rate| *rate > 0.0).map_or("-".to_owned(), stats::show_count);
        text.push_str(&format!("| {} | {} | {answers} |\n", defender.name(), cells.join(" | ")));
    }
    text.push_str(
        "\nHonest connections, one by one: how many succeed within three seconds, and their p99.\n",
    );
    for (front, words) in [(Front::Socket, "on kernel sockets"), (Front::Xdp, "on AF_XDP over veth")] {
        let chapter = requests::chapter(front);
        let of = |row: &Row| {
            let rate = row.median("requests_per_cpu_second").map(stats::show_count)?;
            Some(format!("{} {rate} ({})", row.subject, row.case))
        };
        let all: Vec<String> = document.chapter(chapter).filter_map(of).collect();
        if !all.is_empty() {
            text.push_str(&format!("\nRequests per CPU-second, SecBeat {words}: {}.\n", all.join(", ")));
        }
    }
    let of = |row: &Row| {
        let bytes = row.median("bytes_per_connection")?;
        Some(format!("{} {bytes:.0} B ({})", row.subject, row.case))
    };
    let all: Vec<String> = document.chapter(memory::CHAPTER).filter_map(of).collect();
    if !all.is_empty() {
        text.push_str(&format!("\nMemory of an idle connection: {}.\n", all.join(", ")));
    }
    text.push_str(&format!(
        "\n{} cores, {}, kernel {}.\n",
        document.host.cores, document.host.cpu, document.host.kernel
    ));
    text
}

fn honest(row: &Row) -> String {
    let count = row.sum("one_by_one_count");
    if count == 0.0 {
        return "-".to_owned();
    }
    let success = 100.0 * row.sum("one_by_one_succeeded_count") / count;
    // Never rounded up to 100.
    let success = if success == 100.0 {
        "100 %".to_owned()
    } else {
        format!("{:.1} %", (success * 10.0).floor() / 10.0)
    };
    match row.median("one_by_one_p99_us") {
        Some(p99) => format!("{success}, {}", stats::show_us(p99 as u64)),
        None => success,
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::*;

    fn document() -> Document {
        let mut document = Document::begin(Host::default(), 0);
        let row = document.row(floods::CHAPTER, Defender::SecbeatSyn.name(), "1 M/s");
        row.add("one_by_one_count", 1000.0);
        row.add("one_by_one_succeeded_count", 999.9);
        row.add("one_by_one_p99_us", 2_345.0);
        document
    }

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}\nold 99 %\n{END}\nb\n");
        let new = replaced(&page, &figures(&document())).unwrap();
        assert!(new.starts_with("a\n") && new.ends_with(&format!("{END}\nb\n")), "{new}");
        assert!(
            !new.contains("old") && new.contains("| SecBeat syn | - | 99.9 %, 2.3 ms | - | - | - |"),
            "{new}"
        );
        assert_eq!(replaced(&new, &figures(&document())).unwrap(), new, "a second time changes nothing");
        assert!(replaced("no marks", "x").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "x").is_err());
    }

    #[test]
    fn a_figure_that_was_typed_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (result, page) = (folder.path().join("peers.json"), folder.path().join("README.md"));
        document().save(&result).unwrap();
        fs::write(&page, format!("{BEGIN}\n{END}\n")).unwrap();
        let options = |check| Options { result: result.clone(), readme: Some(page.clone()), check };
        let is_good = || run(&options(true)).unwrap() == ExitCode::SUCCESS;
        assert!(!is_good());
        run(&options(false)).unwrap();
        assert!(is_good());
        fs::write(&page, fs::read_to_string(&page).unwrap().replace("2.3 ms", "1.3 ms")).unwrap();
        assert!(!is_good());
    }
}
