//! `secbeat docs`: the reference of the command line, made of what clap knows.
//!
//! `docs/cli.md` is this text; a test compares them, and writes it anew with `UPDATE_DOCS=1`.

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::args::Cli;
use crate::exit::EXIT_HELP;

/// The whole reference.
pub(crate) fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from(
        "# Command line\n\n\
         `secbeat` commands a fleet over gRPC. This file is made by `secbeat docs`; \
         `UPDATE_DOCS=1 cargo test -p secbeat-cli reference` writes it anew.\n\n\
         Data goes to stdout, everything else to stderr. Where the server and a token come from, in this order: \
         the command line, the environment (`SECBEAT_SERVER`, `SECBEAT_TOKEN`, `SECBEAT_CA`, `SECBEAT_CERT`, \
         `SECBEAT_KEY`, `SECBEAT_CONTEXT`), the login named by `--context`, `http://127.0.0.1:9443`. \
         A stored token goes only to the server it was stored with.\n\n\
         JSON has the names of the protocol: times in milliseconds since 1970, hashes in hexadecimal, kinds and \
         states as words; an empty list is `[]`.\n\n",
    );
    let codes = EXIT_HELP.trim_start_matches("Exit codes:").trim_matches('\n');
    text.push_str("## Exit codes\n\n| Code | Meaning |\n|---|---|\n");
    for line in codes.lines() {
        let (code, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
        text.push_str(&format!("| {code} | {} |\n", meaning.trim()));
    }
    text.push_str("\n## Global options\n\n");
    options(&mut text, root.get_arguments().filter(|arg| arg.is_global_set()));
    for command in root.get_subcommands().filter(|command| !is_left_out(command)) {
        nouns(&mut text, command, "secbeat", 2);
    }
    format!("{}\n", text.trim_end())
}

/// Hidden ones, and the `help` that clap adds.
fn is_left_out(command: &Command) -> bool {
    command.is_hide_set() || command.get_name() == "help"
}

fn nouns(text: &mut String, command: &Command, parent: &str, depth: usize) {
    let name = format!("{parent} {}", command.get_name());
    text.push_str(&format!("\n{} {name}\n\n", "#".repeat(depth)));
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    text.push_str(&format!("{}\n", sentence(&about)));
    let verbs: Vec<_> = command.get_subcommands().filter(|verb| !is_left_out(verb)).collect();
    if verbs.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage:").trim();
        text.push_str(&format!("\n```text\n{usage}\n```\n\n"));
        options(text, command.get_arguments().filter(|arg| !arg.is_global_set()));
        if let Some(more) = command.get_after_help() {
            text.push_str(&format!("\n{more}\n"));
        }
    }
    for verb in verbs {
        nouns(text, verb, &name, depth + 1);
    }
}

fn options<'a>(text: &mut String, args: impl Iterator<Item = &'a Arg>) {
    let args: Vec<_> = args.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").collect();
    if args.is_empty() {
        return;
    }
    text.push_str("| Option | Meaning |\n|---|---|\n");
    for arg in args {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("| `{}` | {}{} |\n", head(arg), cell(&help), values(arg)));
    }
}

/// `-f, --file <FILE>...`
fn head(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<_> = short.into_iter().chain(long).collect();
    let mut head = flags.join(", ");
    if matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        let names = arg.get_value_names().unwrap_or_default();
        let name = names.first().map_or_else(|| arg.get_id().to_string().to_uppercase(), ToString::to_string);
        let is_optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
        match (head.is_empty(), is_optional) {
            (true, _) => head = format!("<{name}>"),
            (false, true) => head.push_str(&format!("[={name}]")),
            (false, false) => head.push_str(&format!(" <{name}>")),
        }
        if matches!(arg.get_action(), ArgAction::Append)
            || arg.get_num_args().is_some_and(|n| n.max_values() > 1)
        {
            head.push_str("...");
        }
    }
    head
}

/// Allowed values and the default.
fn values(arg: &Arg) -> String {
    let mut text = String::new();
    let is_valued = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let allowed: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| is_valued && !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !allowed.is_empty() {
        text.push_str(&format!("; {}", allowed.join(", ")));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if is_valued && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        text.push_str(&format!("; default `{}`", defaults.join(" ")));
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "\\<").replace('[', "(").replace(']', ")")
}

/// A heading's sentence, with its full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}
