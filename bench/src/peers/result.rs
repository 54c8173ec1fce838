//! The result of `peers` as a file: who measured where, and every sample of every figure.
//!
//! Owns: the format, reading and writing it. A row is one subject in one case of one chapter; a figure is a list of
//! samples, one per repetition, under a name that ends in its unit. Medians are never stored, they follow from the
//! samples. Does not own: what a figure means (`metric`), how it is shown (`markdown`, `plot`). The file is written
//! anew after every repetition, through a second file, so that a run that is cut leaves a whole one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::bars::Bar;
use super::host::Host;
use crate::stats;

/// Version of the format; another one is refused, not guessed at.
pub(crate) const FORMAT: u32 = 2;

/// A whole result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    /// Version of the format.
    pub(crate) format: u32,
    /// Seconds since 1970 when it began.
    pub(crate) begun_unix: u64,
    /// How long it took so far, in seconds.
    pub(crate) seconds: f64,
    /// Whether the run came to its end.
    pub(crate) complete: bool,
    /// Where and how.
    pub(crate) host: Host,
    /// What must hold, and whether it does.
    pub(crate) bars: Vec<Bar>,
    /// What was measured.
    pub(crate) rows: Vec<Row>,
}

/// One subject in one case of one chapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Name of the chapter.
    pub(crate) chapter: String,
    /// Who was measured.
    pub(crate) subject: String,
    /// Under what.
    pub(crate) case: String,
    /// Samples by the figure's name.
    pub(crate) metrics: BTreeMap<String, Vec<f64>>,
    /// Repetitions that could not be measured, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<String>,
}

impl Row {
    /// Adds a sample. Five digits are more than any of these measurements has.
    pub(crate) fn add(&mut self, metric: &str, value: f64) {
        self.metrics.entry(metric.to_owned()).or_default().push(five_digits(value));
    }

    /// Samples of a figure; none when it was not measured.
    pub(crate) fn samples(&self, metric: &str) -> &[f64] {
        self.metrics.get(metric).map_or(&[], Vec::as_slice)
    }

    /// Median of a figure.
    pub(crate) fn median(&self, metric: &str) -> Option<f64> {
        stats::median(self.samples(metric))
    }

    /// Sum of a figure over all repetitions.
    pub(crate) fn sum(&self, metric: &str) -> f64 {
        self.samples(metric).iter().sum()
    }
}

fn five_digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let unit = 10_f64.powf(value.abs().log10().floor() - 4.0);
    // Small units are not exact in binary: dividing by their reciprocal keeps the text short.
    if unit < 1.0 { (value / unit).round() / (1.0 / unit).round() } else { (value / unit).round() * unit }
}

impl Document {
    /// An empty result.
    pub(crate) fn begin(host: Host, begun_unix: u64) -> Self {
        Self {
            format: FORMAT,
            begun_unix,
            seconds: 0.0,
            complete: false,
            host,
            bars: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The row of these three names, made when it is not there yet.
    pub(crate) fn row(&mut self, chapter: &str, subject: &str, case: &str) -> &mut Row {
        let is_it = |row: &Row| row.chapter == chapter && row.subject == subject && row.case == case;
        let index = self.rows.iter().position(is_it).unwrap_or_else(|| {
            let row = Row {
                chapter: chapter.to_owned(),
                subject: subject.to_owned(),
                case: case.to_owned(),
                ..Row::default()
            };
            self.rows.push(row);
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    /// The row of these three names.
    pub(crate) fn find(&self, chapter: &str, subject: &str, case: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.chapter == chapter && row.subject == subject && row.case == case)
    }

    /// Rows of a chapter in the order in which they were made.
    pub(crate) fn chapter<'a>(&'a self, chapter: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.chapter == chapter)
    }

    /// Subjects of a chapter, each once, in order.
    pub(crate) fn subjects<'a>(&'a self, chapter: &'a str) -> Vec<&'a str> {
        once(self.chapter(chapter).map(|row| row.subject.as_str()))
    }

    /// Cases of a chapter, each once, in order.
    pub(crate) fn cases<'a>(&'a self, chapter: &'a str) -> Vec<&'a str> {
        once(self.chapter(chapter).map(|row| row.case.as_str()))
    }

    /// Reads a result.
    ///
    /// # Errors
    /// When it cannot be read, or is of another format.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// Reads a result from its text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: Option<u32>,
        }
        let found = serde_json::from_str::<Version>(text)?.format;
        ensure!(found == Some(FORMAT), "format {found:?}; this program reads {FORMAT}");
        Ok(serde_json::from_str(text)?)
    }

    /// The text of the file: one row on one line, so that a change can be read in a diff.
    pub(crate) fn text(&self) -> Result<String> {
        let lines = |rows: Vec<String>| rows.join(",\n");
        let compact = serde_json::to_string;
        let bars = self.bars.iter().map(compact).collect::<serde_json::Result<Vec<_>>>()?;
        let rows = self.rows.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>()?;
        Ok(format!(
            "{{\"format\":{},\n\"begun_unix\":{},\n\"seconds\":{:.1},\n\"complete\":{},\n\"host\":{},\n\"bars\":[\n{}\n],\n\"rows\":[\n{}\n]}}\n",
            self.format,
            self.begun_unix,
            self.seconds,
            self.complete,
            serde_json::to_string_pretty(&self.host)?,
            lines(bars),
            lines(rows),
        ))
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let unfinished = path.with_extension("json.unfinished");
        fs::write(&unfinished, self.text()?).with_context(|| format!("write {}", unfinished.display()))?;
        fs::rename(&unfinished, path).with_context(|| format!("write {}", path.display()))
    }
}

fn once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut document = Document::begin(Host::default(), 7);
        document.row("flood", "a", "1M").add("answers_pps", 541_234.567);
        document.row("flood", "a", "1M").add("answers_pps", 0.000_123_456_7);
        document.row("flood", "b", "1M").errors.push("did not start".to_owned());
        let read = Document::parse(&document.text().unwrap()).unwrap();
        assert_eq!(read.rows, document.rows);
        assert_eq!(read.rows[0].samples("answers_pps"), [541_230.0, 0.000_123_46]);
        assert_eq!(read.subjects("flood"), ["a", "b"]);
        assert_eq!(read.cases("flood"), ["1M"]);
    }

    #[test]
    fn another_format_is_refused() {
        assert!(Document::parse("{\"kernel\":\"6.18\",\"rows\":[]}").is_err());
        assert!(Document::parse("{\"format\":1}").unwrap_err().to_string().contains("format Some(1)"));
    }

    #[test]
    fn a_cut_run_leaves_the_whole_file_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        let mut document = Document::begin(Host::default(), 7);
        document.save(&path).unwrap();
        document.row("flood", "a", "1M").add("answers_pps", 1.0);
        document.save(&path).unwrap();
        assert_eq!(Document::load(&path).unwrap().rows.len(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    }
}
