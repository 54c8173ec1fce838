//! How a command ends: exit codes, and errors that say what happened and what to do.
//!
//! Owns: the meaning of every exit code (scripts rely on them; a test holds each), the translation of gRPC statuses,
//! and how an error is written to stderr. Does not own: what a command does.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use tonic::{Code, Status};

use crate::output::text::sanitise;

/// Lines of details that an error prints; the rest is counted. A policy can have thousands of mistakes.
pub(crate) const DETAILS_MAX: usize = 100;

/// What `--help` says about exit codes.
pub(crate) const EXIT_HELP: &str = "Exit codes:
  0    done; `policy diff`: no difference
  1    `policy diff`: there are differences
  2    usage: the command line is wrong
  3    not found
  4    conflict: the revision is another one by now, it exists already, or a newer change took its place
  5    denied: not authenticated, or not allowed
  6    unreachable, or no answer in time
  7    partial: done on some nodes or for some entries, refused by others
  8    validation failed: nothing was changed
  9    any other failure
  130  interrupted";

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Different = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Denied = 5,
    Unreachable = 6,
    Partial = 7,
    Invalid = 8,
    Failed = 9,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What happened, in one line. Empty: nothing is printed (the reader of our output went away).
    pub(crate) what: String,
    /// Each mistake, each refusing node.
    pub(crate) details: Vec<String>,
    /// What to do about it.
    pub(crate) hint: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, what: what.into(), details: Vec::new(), hint: hint.into() }
    }

    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, hint)
    }

    pub(crate) fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// The reader of stdout closed it (`| head`): end without a word.
    pub(crate) fn closed_pipe() -> Self {
        Self::new(Exit::Done, "", "")
    }

    /// A status of `server` as an answer to `what` ("policy apply").
    pub(crate) fn of_status(status: &Status, what: &str, server: &str) -> Self {
        let mut lines = status.message().lines().map(str::trim_end).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or("no reason given").to_owned();
        let details: Vec<String> = lines.map(str::to_owned).collect();
        if let Some(denied) = refused_certificate(status) {
            return denied;
        }
        let (exit, said, hint) = match status.code() {
            Code::NotFound => (
                Exit::NotFound,
                format!("not found: {first}"),
                "the `list` command of the noun shows what there is",
            ),
            Code::Aborted => (
                Exit::Conflict,
                format!("conflict: {first}"),
                "someone was faster: look at `secbeat policy diff` and try again on the newest revision",
            ),
            Code::AlreadyExists => (Exit::Conflict, format!("it exists already: {first}"), ""),
            Code::Unauthenticated => (
                Exit::Denied,
                format!("not authenticated: {first}"),
                "give a valid token: `secbeat login`, --token or SECBEAT_TOKEN",
            ),
            Code::PermissionDenied => (
                Exit::Denied,
                format!("not allowed: {first}"),
                "the token lacks the scope: `secbeat version --remote` shows what it may do",
            ),
            code if code == Code::Unavailable || (code == Code::Unknown && is_of_transport(status)) => (
                Exit::Unreachable,
                format!("cannot reach {server}: {}", deepest(status).unwrap_or(first)),
                "is the orchestrator running? try `secbeat --server URL ...`",
            ),
            Code::DeadlineExceeded => {
                (Exit::Unreachable, format!("{server} did not answer in time"), "raise --timeout")
            }
            Code::Cancelled => (
                Exit::Unreachable,
                format!("{server} closed the connection before it answered"),
                "is the orchestrator restarting? try again",
            ),
            Code::InvalidArgument | Code::FailedPrecondition => {
                (Exit::Invalid, format!("refused: {first}"), "nothing was changed: correct it and try again")
            }
            Code::Unimplemented => (
                Exit::Failed,
                format!("{server} does not know `{what}`"),
                "the orchestrator is older: upgrade it",
            ),
            Code::ResourceExhausted => {
                (Exit::Failed, format!("refused for now: {first}"), "wait, then try again")
            }
            code => (
                Exit::Failed,
                format!("{what} failed: {first} ({code:?})"),
                "the orchestrator's log says more",
            ),
        };
        Self::new(exit, said, hint).with_details(details)
    }

    /// The text for stderr, sanitised: messages come from elsewhere.
    pub(crate) fn render(&self, has_color: bool) -> String {
        if self.what.is_empty() {
            return String::new();
        }
        let (red, end) = if has_color { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
        let mut text = format!("{red}error:{end} {}\n", sanitise(&self.what));
        for line in self.details.iter().take(DETAILS_MAX) {
            text.push_str(&format!("  {}\n", sanitise(line)));
        }
        if self.details.len() > DETAILS_MAX {
            text.push_str(&format!("  and {} more\n", self.details.len() - DETAILS_MAX));
        }
        if !self.hint.is_empty() {
            text.push_str(&format!("hint: {}\n", sanitise(&self.hint)));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {}

/// What the innermost cause says: "connection refused" instead of "transport error".
pub(crate) fn deepest(error: &dyn Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause_text(&cause.to_string()))
}

/// Without the operating system's number, and in lower case like the rest of the line.
fn cause_text(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Whether the connection ended before there was an answer.
pub(crate) fn is_closed(status: &Status) -> bool {
    if status.code() == Code::Unknown && is_of_transport(status) {
        return true;
    }
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if text.contains("connection closed") || text.contains("received fatal alert") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether it was made here, of an error of the connection: a reset arrives under any code.
fn is_of_transport(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::transport::Error>() || error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Someone who does not show a certificate, where one is wanted.
pub(crate) fn certificate_wanted(server: &str) -> Failure {
    Failure::new(
        Exit::Denied,
        format!("{server} ends every connection that shows no certificate"),
        "give one of the fleet's authority: --cert FILE --key FILE",
    )
}

/// The TLS layer of the other side refused who we are, which arrives as a broken connection.
fn refused_certificate(error: &dyn Error) -> Option<Failure> {
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if text.contains("received fatal alert") && text.to_lowercase().contains("certificate") {
            return Some(Failure::new(
                Exit::Denied,
                format!("the orchestrator refuses this client's certificate: {text}"),
                "give one of the fleet's authority: --cert FILE --key FILE",
            ));
        }
        cause = error.source();
    }
    None
}

/// A connection that could not be made.
pub(crate) fn unreachable(error: &tonic::transport::Error, server: &str) -> Failure {
    if let Some(denied) = refused_certificate(error) {
        return denied;
    }
    let cause = deepest(error).unwrap_or_else(|| error.to_string());
    let hint = if cause.contains("certificate") || cause.contains("Certificate") {
        "is --ca the fleet's authority, and does the certificate name this host?"
    } else if cause.contains("corrupt message") {
        "the other side speaks no TLS there: is it http:// instead of https://?"
    } else {
        "is the orchestrator running? try `secbeat --server URL ...`"
    };
    Failure::new(Exit::Unreachable, format!("cannot reach {server}: {cause}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        let cases = [
            (Code::NotFound, Exit::NotFound),
            (Code::Aborted, Exit::Conflict),
            (Code::AlreadyExists, Exit::Conflict),
            (Code::Unauthenticated, Exit::Denied),
            (Code::PermissionDenied, Exit::Denied),
            (Code::Unavailable, Exit::Unreachable),
            (Code::DeadlineExceeded, Exit::Unreachable),
            (Code::Cancelled, Exit::Unreachable),
            (Code::InvalidArgument, Exit::Invalid),
            (Code::FailedPrecondition, Exit::Invalid),
            (Code::Internal, Exit::Failed),
            (Code::Unimplemented, Exit::Failed),
            (Code::ResourceExhausted, Exit::Failed),
        ];
        for (code, exit) in cases {
            let failure = Failure::of_status(&Status::new(code, "x"), "policy apply", "http://h:1");
            assert_eq!(failure.exit, exit, "{code:?}");
        }
    }

    #[test]
    fn lines_of_a_message_become_details() {
        let status = Status::invalid_argument("2 mistakes\nlimits/default: a\nlist/b: c\n");
        let failure = Failure::of_status(&status, "policy apply", "http://h:1");
        assert_eq!(failure.what, "refused: 2 mistakes");
        assert_eq!(failure.details, ["limits/default: a", "list/b: c"]);
    }

    #[test]
    fn an_error_cannot_drive_the_terminal() {
        let status = Status::not_found("\x1b]0;owned\x07 \u{9b}31m");
        let text = Failure::of_status(&status, "node show", "http://h:1").render(false);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn a_flood_of_details_is_cut_and_counted() {
        let lines = (0..DETAILS_MAX + 5).map(|n| n.to_string()).collect();
        let text = Failure::new(Exit::Invalid, "x", "y").with_details(lines).render(false);
        assert!(text.contains("and 5 more"));
    }

    #[test]
    fn causes_of_the_system_read_as_words() {
        assert_eq!(cause_text("TLS closed"), "TLS closed");
        assert_eq!(cause_text("Connection refused (os error 111)"), "connection refused");
    }
}
