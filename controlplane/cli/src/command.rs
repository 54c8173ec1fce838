//! Every noun has a file; this is where a command goes to its own.

pub(crate) mod access;
pub(crate) mod ban;
pub(crate) mod event;
pub(crate) mod fleet;
pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod reference;
pub(crate) mod rules;
pub(crate) mod top;

use std::fs::File;
use std::io::Read as _;

use clap::CommandFactory as _;

use crate::args::{Cli, Command};
use crate::client::App;
use crate::exit::{Exit, Failure};

/// Runs a command to its end.
pub(crate) async fn run(app: &App, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Policy(verb) => policy::run(app, verb).await,
        Command::Rules(verb) => rules::run(app, verb).await,
        Command::Ban(verb) => ban::run(app, verb).await,
        Command::Node(verb) => node::run(app, verb).await,
        Command::Event(verb) => event::run(app, verb).await,
        Command::Threat(verb) => event::threats(app, verb).await,
        Command::Fleet(verb) => fleet::run(app, verb).await,
        Command::Audit(verb) => access::audit(app, verb).await,
        Command::Token(verb) => access::token(app, verb).await,
        Command::Explain(args) => fleet::explain(app, args).await,
        Command::Top(args) => top::run(app, args).await,
        Command::Login(args) => login::run(app, args).await,
        Command::Version { remote } => login::version(app, remote).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "secbeat", &mut script);
            app.output.raw(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
        Command::Docs => {
            app.output.raw(&reference::markdown())?;
            Ok(Exit::Done)
        }
    }
}

/// A file's text, or that of stdin for `-`, up to a bound.
pub(crate) fn read_text(name: &str, bytes_max: usize) -> Result<String, Failure> {
    let failed = |why: String| Failure::usage(format!("{name}: {why}"), "give a file, or - for stdin");
    let limit = bytes_max as u64 + 1;
    let mut bytes = Vec::new();
    let read = if name == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(name).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() > bytes_max {
        let what = format!("{name}: more than the {bytes_max} bytes that such a file may have");
        return Err(Failure::new(Exit::Invalid, what, "split it"));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::new(Exit::Invalid, format!("{name}: not UTF-8"), "save it as UTF-8"))
}
