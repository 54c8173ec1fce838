//! Policy files: read, put together, checked as a whole before anything is sent.

use clap::Args;
use secbeat_config::ConfigErrors;
use secbeat_config::policy::{DOCUMENT_BYTES_MAX, Document, Set, check};

use crate::command::read_text;
use crate::exit::{Exit, Failure};

/// The files of a policy.
#[derive(Args)]
pub(crate) struct Files {
    /// Policy file, or - for stdin; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<String>,
}

impl Files {
    /// Everything the files say. All mistakes of all files are told at once.
    pub(super) fn read(&self) -> Result<Document, Failure> {
        let mut whole = Document::default();
        let mut mistakes = Vec::new();
        for file in &self.files {
            let name = if file == "-" { "stdin" } else { file };
            match Document::parse(name, &read_text(file, DOCUMENT_BYTES_MAX)?) {
                Ok(document) => {
                    whole.resources.extend(document.resources);
                    whole.bans.extend(document.bans);
                }
                Err(errors) => mistakes.extend(lines(&errors)),
            }
        }
        let mut set = Set::new();
        for resource in &whole.resources {
            if set.get(&resource.key).is_some() {
                mistakes.push(format!("{}: two files have it", resource.key));
            } else if let Err(error) = set.insert(resource.clone()) {
                mistakes.push(error.to_string());
            }
        }
        if mistakes.is_empty() {
            return Ok(whole);
        }
        let what = format!("{} mistakes in {}", mistakes.len(), self.files.join(", "));
        Err(Failure::new(Exit::Invalid, what, "nothing was sent: correct them").with_details(mistakes))
    }
}

/// Whether what the files name is in them: backends of listeners, ids, totals. For a part of a policy only the
/// orchestrator can say so, which has the rest.
pub(super) fn fits_together(policy: &Document) -> Result<(), Failure> {
    let mut set = Set::new();
    for resource in &policy.resources {
        set.insert(resource.clone())
            .map_err(|error| Failure::new(Exit::Invalid, error.to_string(), "split it"))?;
    }
    check(&set).map_err(|errors| {
        let mistakes = lines(&errors);
        let what = format!("{} resources do not fit together", mistakes.len());
        let hint = "without --whole, the files may be a part of a policy";
        Failure::new(Exit::Invalid, what, hint).with_details(mistakes)
    })
}

fn lines(errors: &ConfigErrors) -> Vec<String> {
    errors.0.iter().map(ToString::to_string).collect()
}
