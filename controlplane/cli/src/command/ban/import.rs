//! `secbeat ban import`: files of bans.
//!
//! Owns: three formats (a plain list, CSV, JSON) and sending them in parts. A part that was sent and whose answer got
//! lost is repeated by the same command with the same `--request-id`. Does not own: which of them are allowed.

use std::time::Duration;

use clap::{Args, ValueEnum};
use secbeat_proto::v1::import_bans_response::ImportRefusal;
use secbeat_proto::v1::{ImportBansRequest, NewBan};
use serde::Deserialize;
use serde_json::{Value, json};

use super::parse_prefix;
use crate::args::ms;
use crate::client::{App, Client};
use crate::command::read_text;
use crate::exit::{Exit, Failure};
use crate::output::text::now_ms;

/// Bytes of a file: about a million addresses. A longer one is refused.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bans of one request: far below what a message may have.
const PART_MAX: usize = 2_000;

/// Arguments of `ban import`.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// File, or - for stdin
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Kind,
    /// How long, for entries that do not say [default: as configured]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Entries that do not say how long never end by themselves
    #[arg(long, conflicts_with = "duration")]
    permanent: bool,
}

/// How a file of bans is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// JSON when it begins with `[` or `{`, CSV when a line has a comma, else plain
    #[default]
    Auto,
    /// One address or prefix a line; # begins a comment
    Plain,
    /// prefix,duration,reason
    Csv,
    /// A list of objects with prefix, for, reason; or one such object a line
    Json,
}

/// One ban of a file. `secbeat ban list -o json` has more keys, which are let pass.
#[derive(Default, Deserialize)]
struct Line {
    prefix: String,
    #[serde(default, rename = "for", alias = "duration")]
    duration: Option<String>,
    #[serde(default)]
    reason: String,
    #[serde(default, alias = "is_permanent")]
    permanent: bool,
    /// What `ban list` writes; 0 is for ever.
    #[serde(default)]
    until_ms: Option<u64>,
}

pub(super) async fn run(app: &App, client: &Client, args: ImportArgs) -> Result<Exit, Failure> {
    let text = read_text(&args.file, FILE_BYTES_MAX)?;
    let name = if args.file == "-" { "stdin" } else { &args.file };
    let bans = parse(app, &args, name, &text)?;
    let imported = send(app, client, &bans).await?;
    app.note_dry_run();
    let sentence = imported.sentence();
    let name = if app.output.is_for_people() { sentence } else { imported.added.to_string() };
    app.output.value(&imported.json(), &name)?;
    imported.outcome()
}

/// What became of many bans.
#[derive(Default)]
pub(crate) struct Imported {
    total: usize,
    added: u64,
    unchanged: u64,
    refusals: Vec<ImportRefusal>,
}

/// Sets many bans, in parts.
pub(crate) async fn send(app: &App, client: &Client, bans: &[NewBan]) -> Result<Imported, Failure> {
    let mut imported = Imported { total: bans.len(), ..Imported::default() };
    for (index, part) in bans.chunks(PART_MAX).enumerate() {
        let request = ImportBansRequest {
            mutation: Some(app.mutation_part(&format!("b{index}"))),
            bans: part.to_vec(),
        };
        let answer = client.change("ban import", Duration::ZERO, client.bans().import_bans(request)).await?;
        imported.added += answer.added;
        imported.unchanged += answer.unchanged;
        imported.refusals.extend(answer.refusals);
    }
    Ok(imported)
}

impl Imported {
    pub(crate) fn sentence(&self) -> String {
        let refused = self.refusals.len();
        format!("bans: {} added, {} unchanged, {refused} refused", self.added, self.unchanged)
    }

    pub(crate) fn json(&self) -> Value {
        let refusals = self.refusals.iter();
        let refused: Vec<_> =
            refusals.map(|refusal| json!({ "prefix": refusal.prefix, "error": refusal.error })).collect();
        json!({ "added": self.added, "unchanged": self.unchanged, "refusals": refused })
    }

    /// How the command ends: some refused is partial, all refused is invalid.
    pub(crate) fn outcome(&self) -> Result<Exit, Failure> {
        if self.refusals.is_empty() {
            return Ok(Exit::Done);
        }
        let exit = if self.added + self.unchanged == 0 { Exit::Invalid } else { Exit::Partial };
        let what = format!("{} of {} bans were refused", self.refusals.len(), self.total);
        let line = |refusal: &ImportRefusal| format!("{}: {}", refusal.prefix, refusal.error);
        let hint = "the others are set: take these out, or change the allowlist";
        Err(Failure::new(exit, what, hint).with_details(self.refusals.iter().map(line).collect()))
    }
}

fn parse(app: &App, args: &ImportArgs, name: &str, text: &str) -> Result<Vec<NewBan>, Failure> {
    let parsed = match kind(args.format, text) {
        Kind::Json => json_lines(text),
        Kind::Csv => Ok(rows(text, csv)),
        Kind::Plain | Kind::Auto => Ok(rows(text, |line| Ok(plain(line)))),
    };
    let parsed = parsed.map_err(|why| {
        Failure::new(
            Exit::Invalid,
            format!("{name}: {why}"),
            "a JSON list of {\"prefix\", \"for\", \"reason\"}",
        )
    })?;
    let mut bans = Vec::with_capacity(parsed.len());
    let mut mistakes = Vec::new();
    for (number, line) in parsed {
        match line.and_then(|line| new_ban(&app.reason, args, line)) {
            Ok(ban) => bans.push(ban),
            Err(why) => mistakes.push(format!("{name}:{number}: {why}")),
        }
    }
    if !mistakes.is_empty() {
        let what = format!("{name}: {} of its entries are no bans", mistakes.len());
        return Err(
            Failure::new(Exit::Invalid, what, "nothing was sent: correct them").with_details(mistakes)
        );
    }
    if bans.is_empty() {
        let what = format!("{name}: there is no ban in it");
        return Err(Failure::new(Exit::Invalid, what, "one prefix a line will do"));
    }
    Ok(bans)
}

fn kind(asked: Kind, text: &str) -> Kind {
    if asked != Kind::Auto {
        return asked;
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some(first) if first.starts_with(['[', '{']) => Kind::Json,
        Some(first) if first.contains(',') || lines.any(|line| line.contains(',')) => Kind::Csv,
        _ => Kind::Plain,
    }
}

/// Entries by the number of their line, or of their place in a JSON list.
type Numbered = Vec<(usize, Result<Line, String>)>;

fn rows(text: &str, read: impl Fn(&str) -> Result<Line, String>) -> Numbered {
    let lines = text.lines().map(str::trim).enumerate();
    let meant = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    // The head of a table says `prefix`.
    let meant = meant.filter(|(_, line)| !line.to_ascii_lowercase().starts_with("prefix"));
    meant.map(|(index, line)| (index + 1, read(line))).collect()
}

fn plain(line: &str) -> Line {
    let (prefix, comment) = line.split_once('#').unwrap_or((line, ""));
    Line { prefix: prefix.trim().to_owned(), reason: comment.trim().to_owned(), ..Line::default() }
}

fn csv(line: &str) -> Result<Line, String> {
    let fields = csv_fields(line)?;
    let [prefix, rest @ ..] = fields.as_slice() else { return Err("an empty line".to_owned()) };
    if rest.len() > 2 {
        let count = fields.len();
        return Err(format!("{count} fields, where prefix,duration,reason are three: quote the reason"));
    }
    let field = |index: usize| rest.get(index).cloned().unwrap_or_default();
    let duration = field(0);
    Ok(Line {
        prefix: prefix.clone(),
        permanent: duration == "permanent",
        duration: (!duration.is_empty() && duration != "permanent").then_some(duration),
        reason: field(1),
        until_ms: None,
    })
}

/// Fields of a line by RFC 4180, without line feeds in quotes.
fn csv_fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut is_quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if is_quoted {
        return Err("a quote is not closed".to_owned());
    }
    fields.push(field);
    Ok(fields.iter().map(|field| field.trim().to_owned()).collect())
}

fn json_lines(text: &str) -> Result<Numbered, String> {
    if text.trim_start().starts_with('[') {
        let values: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let read = |value| serde_json::from_value(value).map_err(|error| error.to_string());
        return Ok(values.into_iter().enumerate().map(|(index, value)| (index + 1, read(value))).collect());
    }
    Ok(rows(text, |line| serde_json::from_str(line).map_err(|error| error.to_string())))
}

fn new_ban(reason: &str, args: &ImportArgs, line: Line) -> Result<NewBan, String> {
    let prefix = parse_prefix(&line.prefix).map_err(|why| format!("`{}`: {why}", line.prefix))?;
    let is_permanent = line.permanent || line.until_ms == Some(0);
    let duration = match (&line.duration, line.until_ms) {
        (Some(text), _) => Some(
            humantime::parse_duration(text)
                .map_err(|_| format!("`{text}` is not a duration, as in 1h or 7d"))?,
        ),
        _ if is_permanent => None,
        (None, Some(until_ms)) => match until_ms.saturating_sub(now_ms()) {
            0 => return Err(format!("`{prefix}` has ended")),
            rest_ms => Some(Duration::from_millis(rest_ms)),
        },
        (None, None) => args.duration,
    };
    Ok(NewBan {
        prefix: prefix.to_string(),
        duration_ms: ms(duration),
        reason: if line.reason.is_empty() { reason.to_owned() } else { line.reason },
        is_permanent: duration.is_none() && (is_permanent || args.permanent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_seen_from_the_text() {
        assert_eq!(kind(Kind::Auto, "# list\n\n192.0.2.1\n"), Kind::Plain);
        assert_eq!(kind(Kind::Auto, "192.0.2.1\n192.0.2.2,1h\n"), Kind::Csv);
        assert_eq!(kind(Kind::Auto, "\n[]"), Kind::Json);
        assert_eq!(kind(Kind::Plain, "[]"), Kind::Plain);
    }

    #[test]
    fn csv_fields_may_be_quoted() {
        let line = csv("192.0.2.1,1h,\"scan, \"\"loud\"\"\"").unwrap();
        assert_eq!((line.prefix.as_str(), line.reason.as_str()), ("192.0.2.1", "scan, \"loud\""));
        assert_eq!(line.duration.as_deref(), Some("1h"));
        assert!(csv("192.0.2.1,permanent").unwrap().permanent);
        assert!(csv("192.0.2.1,1h,a,b").is_err());
        assert!(csv("192.0.2.1,\"1h").is_err());
    }

    #[test]
    fn comments_of_a_plain_list_are_reasons() {
        let rows = rows("# head\n192.0.2.1 # scanner\n", |line| Ok(plain(line)));
        let (number, line) = &rows[0];
        let line = line.as_ref().unwrap();
        assert_eq!((*number, line.prefix.as_str(), line.reason.as_str()), (2, "192.0.2.1", "scanner"));
    }

    #[test]
    fn what_a_list_wrote_can_be_read_back() {
        let args = ImportArgs { file: String::new(), format: Kind::Auto, duration: None, permanent: false };
        let line =
            |until_ms| Line { prefix: "192.0.2.1/32".into(), until_ms: Some(until_ms), ..Line::default() };
        assert!(new_ban("", &args, line(0)).unwrap().is_permanent);
        assert!(new_ban("", &args, line(1)).unwrap_err().contains("ended"));
        let rest_ms = new_ban("", &args, line(now_ms() + 3_600_000)).unwrap().duration_ms;
        assert!((3_000_000..=3_600_000).contains(&rest_ms));
    }
}
