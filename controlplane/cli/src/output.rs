//! Where results go: data on stdout in the format asked for, everything else on stderr.
//!
//! Owns: the formats, colour, questions before something is taken away, what a closed pipe means. Does not own: what
//! the columns of a noun are (`command`). Every text of a server passes `text` before a terminal sees it.
//!
//! JSON has the names of the protocol: times in milliseconds since 1970, hashes in hexadecimal, kinds and states as
//! words. An empty list is `[]`.

pub(crate) mod sheet;
pub(crate) mod text;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde_json::Value;

use crate::exit::{Exit, Failure};
use text::{sanitise, sanitise_document};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns, and times in RFC 3339.
    Wide,
    /// One JSON document; watches write one object a line.
    Json,
    /// One YAML document; watches write one document per object.
    Yaml,
    /// One JSON object a line.
    Jsonl,
    /// Only names, one a line, for other commands.
    Name,
    /// A policy file (`policy get` only).
    Toml,
}

/// When output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Colours of words, by what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Dim,
}

impl Tone {
    /// The escape that begins it.
    const fn escape(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Dim => "\x1b[2m",
        }
    }
}

/// Writes results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) has_color: bool,
    /// Colours of stderr, which may be a terminal when stdout is a file.
    pub(crate) has_error_color: bool,
    /// Nobody is asked.
    pub(crate) is_confirmed: bool,
}

impl Output {
    pub(crate) fn new(format: Format, when: When, is_confirmed: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let decide = |is_terminal: bool| match when {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && !no_color,
        };
        Self {
            format,
            has_color: decide(io::stdout().is_terminal()),
            has_error_color: decide(io::stderr().is_terminal()),
            is_confirmed,
        }
    }

    /// Whether people read it, in columns and sentences.
    pub(crate) const fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// A word in its colour, when there are colours. The text must be safe already.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.has_color || tone == Tone::Plain {
            return text.to_owned();
        }
        format!("{}{text}\x1b[0m", tone.escape())
    }

    /// Lines for stdout, safe already.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::closed_pipe(),
            _ => Failure::new(Exit::Failed, format!("cannot write to stdout: {error}"), ""),
        })
    }

    /// One line of the server's words.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.raw(&format!("{}\n", sanitise(text)))
    }

    /// A document with lines of its own: JSON or TOML.
    pub(crate) fn document(&self, text: &str) -> Result<(), Failure> {
        self.raw(&format!("{}\n", sanitise_document(text.trim_end())))
    }

    /// One value in a format for programs; `name` for `-o name`.
    pub(crate) fn value(&self, value: &Value, name: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(&format!("{value:#}")),
            Format::Jsonl => self.document(&value.to_string()),
            Format::Yaml => self.yaml(value),
            Format::Toml => Err(toml_refused()),
            Format::Table | Format::Wide | Format::Name => self.line(name),
        }
    }

    /// One value of a watch: a line, or a document of a stream of documents.
    pub(crate) fn streamed(&self, value: &Value, name: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(&value.to_string()),
            Format::Yaml => {
                self.raw("---\n")?;
                self.yaml(value)
            }
            _ => self.value(value, name),
        }
    }

    fn yaml(&self, value: &Value) -> Result<(), Failure> {
        let text = serde_norway::to_string(&sanitised(value)).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot write YAML: {error}"), "try -o json")
        })?;
        self.raw(&text)
    }

    /// A remark for people, on stderr.
    pub(crate) fn note(&self, text: &str) {
        // A closed stderr is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{}", sanitise(text));
    }

    /// Whether there is someone to ask.
    pub(crate) fn asks(&self) -> bool {
        !self.is_confirmed && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks on a terminal before something is taken away. Without one, the caller meant it.
    pub(crate) async fn confirm(&self, question: &str) -> Result<(), Failure> {
        if !self.asks() {
            return Ok(());
        }
        let _ = write!(io::stderr().lock(), "{} [y/N] ", sanitise(question));
        // On a thread of its own, so that an interrupt ends the waiting.
        let reading = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).map(|_| answer)
        });
        if matches!(reading.await, Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes")) {
            return Ok(());
        }
        Err(Failure::new(Exit::Failed, "not confirmed: nothing was changed", "answer `y`, or give --yes"))
    }
}

/// TOML is the language of policy files; nothing else is one.
pub(crate) fn toml_refused() -> Failure {
    Failure::usage("-o toml is for `policy get` only", "use -o json or -o yaml")
}

/// The strings of a value made safe: YAML may write them without quotes, where an escape has no meaning.
fn sanitised(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let lines: Vec<_> = text.split('\n').map(sanitise).collect();
            Value::String(lines.join("\n"))
        }
        Value::Array(values) => values.iter().map(sanitised).collect(),
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, value)| (sanitise(key).into_owned(), sanitised(value))).collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_strings_hold_no_controls_but_keep_their_lines() {
        let value = serde_json::json!({ "a\u{9b}": ["x\ny", "\u{202e}"] });
        let text = serde_norway::to_string(&sanitised(&value)).unwrap();
        assert!(!text.chars().any(|c| text::is_hostile(c) && c != '\n'), "{text:?}");
        assert_eq!(sanitised(&value)["a\\u009b"][0], "x\ny");
    }
}
