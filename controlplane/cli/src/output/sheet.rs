//! Lists: a noun says its columns once, and every format is made of that.
//!
//! Owns: tables (no borders, one row a line, cells sanitised) and the choice of format for a list. Does not own: what
//! stands in a cell.

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use super::text::{now_ms, relative, rfc3339, sanitise, shorten};
use super::{Format, Output, Tone};
use crate::exit::Failure;

/// Characters of one cell in a table; `-o json` has all of it.
const CELL_CHARS_MAX: usize = 60;

/// What cells are made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show {
    pub(crate) now_ms: u64,
    pub(crate) is_wide: bool,
}

impl Show {
    /// A point in time: from now, or the calendar's in wide tables.
    pub(crate) fn time(&self, at_ms: u64) -> String {
        if self.is_wide { rfc3339(at_ms) } else { relative(at_ms, self.now_ms) }
    }

    /// When something ends; 0: never.
    pub(crate) fn end(&self, at_ms: u64) -> String {
        if at_ms == 0 { "never".to_owned() } else { self.time(at_ms) }
    }

    /// A time before now that is missing when 0.
    pub(crate) fn past(&self, at_ms: u64) -> String {
        if at_ms == 0 { "-".to_owned() } else { self.time(at_ms) }
    }
}

/// One column of a table.
pub(crate) struct Column<T: 'static> {
    pub(crate) head: &'static str,
    /// Only in wide tables.
    pub(crate) is_wide: bool,
    pub(crate) cell: fn(&T, &Show) -> (String, Tone),
}

/// How a kind of things is listed.
pub(crate) struct Sheet<T: 'static> {
    pub(crate) columns: &'static [Column<T>],
    pub(crate) json: fn(&T) -> Value,
    pub(crate) name: fn(&T) -> String,
}

/// A column.
pub(crate) const fn column<T>(head: &'static str, cell: fn(&T, &Show) -> (String, Tone)) -> Column<T> {
    Column { head, is_wide: false, cell }
}

/// A column of wide tables.
pub(crate) const fn wide<T>(head: &'static str, cell: fn(&T, &Show) -> (String, Tone)) -> Column<T> {
    Column { head, is_wide: true, cell }
}

/// A cell without a colour.
pub(crate) fn plain(text: impl ToString) -> (String, Tone) {
    (text.to_string(), Tone::Plain)
}

impl<T> Sheet<T> {
    /// Writes a list to stdout. An empty table says so on stderr, and is nothing on stdout.
    pub(crate) fn list(&self, output: &Output, items: &[T], nouns: &str) -> Result<(), Failure> {
        match output.format {
            Format::Table | Format::Wide if items.is_empty() => {
                output.note(&format!("no {nouns}"));
                Ok(())
            }
            Format::Table | Format::Wide => output.raw(&self.table(output, items)),
            Format::Json | Format::Yaml => {
                output.value(&Value::Array(items.iter().map(self.json).collect()), "")
            }
            Format::Jsonl => items.iter().try_for_each(|item| output.value(&(self.json)(item), "")),
            Format::Name => items.iter().try_for_each(|item| output.line(&(self.name)(item))),
            Format::Toml => Err(super::toml_refused()),
        }
    }

    /// The table, safe for a terminal.
    pub(crate) fn table(&self, output: &Output, items: &[T]) -> String {
        let show = Show { now_ms: now_ms(), is_wide: output.format == Format::Wide };
        let columns: Vec<_> = self.columns.iter().filter(|column| !column.is_wide || show.is_wide).collect();
        let mut table = new_table(output);
        table.set_header(columns.iter().map(|column| Cell::new(column.head)));
        for item in items {
            table.add_row(columns.iter().map(|column| {
                let (text, tone) = (column.cell)(item, &show);
                let text = if show.is_wide { text } else { shorten(&text, CELL_CHARS_MAX) };
                toned(&sanitise(&text), tone)
            }));
        }
        finish(&mut table)
    }
}

/// Two columns without a head: names and values of one thing.
pub(crate) fn pairs(output: &Output, rows: &[(&str, String)]) -> String {
    let mut table = new_table(output);
    for (name, value) in rows {
        table.add_row([toned(&sanitise(name), Tone::Dim), Cell::new(sanitise(value))]);
    }
    finish(&mut table)
}

fn new_table(output: &Output) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if output.has_color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

fn finish(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

fn toned(text: &str, tone: Tone) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Warning => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Dim => cell.fg(Color::DarkGrey),
    }
}

#[cfg(test)]
mod tests {
    use super::super::When;
    use super::*;

    const WORDS: Sheet<&str> = Sheet {
        columns: &[column("WORD", |word, _| plain(word)), wide("LENGTH", |word, _| plain(word.len()))],
        json: |word| (*word).into(),
        name: |word| (*word).to_owned(),
    };

    fn table(format: Format, words: &[&'static str]) -> String {
        WORDS.table(&Output::new(format, When::Never, true), words)
    }

    #[test]
    fn a_table_has_no_borders_and_one_row_a_line() {
        assert_eq!(table(Format::Table, &["a", "bcd"]), "WORD\na\nbcd\n");
        assert_eq!(table(Format::Wide, &["a", "bcd"]), "WORD  LENGTH\na     1\nbcd   3\n");
    }

    #[test]
    fn cells_cannot_break_out_of_their_row() {
        let text = table(Format::Table, &["\x1b[31mred\nnext"]);
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        const STATES: Sheet<u8> = Sheet {
            columns: &[column("STATE", |_, _| ("dead".to_owned(), Tone::Bad))],
            json: |_| Value::Null,
            name: |_| String::new(),
        };
        assert!(STATES.table(&Output::new(Format::Table, When::Always, true), &[1]).contains("\x1b["));
        assert!(!STATES.table(&Output::new(Format::Table, When::Never, true), &[1]).contains("\x1b["));
    }
}
