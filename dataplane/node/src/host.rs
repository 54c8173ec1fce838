//! `secbeat-node doctor`: can this machine run the configuration, and how well?
//!
//! Owns: the checks, what each finding means and the command that mends it. Does not own: mending; nothing is
//! changed. Facts come from `/proc`, `/sys` and, where installed, `ethtool` and `ip`. A fact that cannot be read
//! is said so, never guessed.

mod facts;
mod kernel;
mod local_ports;
mod memory;
mod network;
mod nic;
mod processor;

use secbeat_config::NodeConfig;
use secbeat_config::node::{Driver, Mode};
use serde::Serialize;
use serde_json::json;

pub use facts::Machine;
pub use local_ports::clashes;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In order.
    Ok,
    /// Could not be found out.
    Unknown,
    /// Works, but not as well as it could.
    Warn,
    /// Does not work.
    Fail,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "?",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about: `kernel`, `memory`, `cpu`, `eth0`, ...
    pub area: String,
    /// What was looked at.
    pub name: &'static str,
    /// How it went.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What is wrong with it; empty when nothing is.
    pub problem: String,
    /// The command that mends it, if there is one.
    pub command: Option<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order they were made.
    pub checks: Vec<Check>,
}

/// What the configuration needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// AF_XDP must work; without it `auto` falls back to sockets.
    xdp_required: bool,
    /// AF_XDP is wanted at all.
    xdp_wanted: bool,
}

impl Needs {
    fn of(config: &NodeConfig) -> Self {
        let driver = config.io.driver;
        Self {
            // A SYN cannot be answered through a socket.
            xdp_required: driver == Driver::Xdp || config.server.mode == Mode::Syn,
            xdp_wanted: driver != Driver::Socket,
        }
    }

    /// The state of something that only AF_XDP needs and that is missing.
    fn missing_for_xdp(self) -> State {
        if self.xdp_required { State::Fail } else { State::Warn }
    }
}

/// The checks under way.
struct Findings {
    checks: Vec<Check>,
    area: String,
}

impl Findings {
    fn area(&mut self, area: impl Into<String>) {
        self.area = area.into();
    }

    fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, State::Ok, found, "", None);
    }

    fn unknown(&mut self, name: &'static str, problem: impl Into<String>) {
        self.add(name, State::Unknown, "", problem, None);
    }

    fn add(
        &mut self,
        name: &'static str,
        state: State,
        found: impl Into<String>,
        problem: impl Into<String>,
        command: Option<String>,
    ) {
        let (found, problem) = (found.into(), problem.into());
        self.checks.push(Check { area: self.area.clone(), name, state, found, problem, command });
    }
}

/// Makes all checks.
pub fn examine(machine: &Machine, config: &NodeConfig) -> Report {
    let mut findings = Findings { checks: Vec::new(), area: String::new() };
    let needs = Needs::of(config);
    kernel::examine(machine, config, needs, &mut findings);
    processor::examine(machine, config, &mut findings);
    memory::examine(machine, config, needs, &mut findings);
    network::examine(machine, config, needs, &mut findings);
    if needs.xdp_wanted {
        nic::examine(machine, config, needs, &mut findings);
    }
    Report { checks: findings.checks }
}

impl Report {
    /// Whether something does not work.
    pub fn fails(&self) -> bool {
        self.checks.iter().any(|check| check.state == State::Fail)
    }

    fn count(&self, state: State) -> usize {
        self.checks.iter().filter(|check| check.state == state).count()
    }

    /// For people: one line per check, below it what is wrong and the command that mends it.
    pub fn table(&self, problems_only: bool) -> String {
        use core::fmt::Write;
        let shown: Vec<_> = self.checks.iter().filter(|c| !problems_only || c.state != State::Ok).collect();
        let width = |of: fn(&Check) -> usize| shown.iter().map(|check| of(check)).max().unwrap_or(0);
        let (area, name) = (width(|c| c.area.len()), width(|c| c.name.len()));
        let mut text = String::new();
        for check in shown {
            let _ = write!(
                text,
                "{:4}  {:area$}  {:name$}  {}",
                check.state.word(),
                check.area,
                check.name,
                check.found
            );
            text.truncate(text.trim_end().len());
            text.push('\n');
            if !check.problem.is_empty() {
                let _ = writeln!(text, "      {}", check.problem);
            }
            if let Some(command) = &check.command {
                let _ = writeln!(text, "      > {command}");
            }
        }
        let _ = writeln!(
            text,
            "{} ok, {} unknown, {} to improve, {} not working",
            self.count(State::Ok),
            self.count(State::Unknown),
            self.count(State::Warn),
            self.count(State::Fail)
        );
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        let value = json!({
            "fails": self.fails(),
            "ok": self.count(State::Ok),
            "unknown": self.count(State::Unknown),
            "warn": self.count(State::Warn),
            "fail": self.count(State::Fail),
            "checks": self.checks,
        });
        format!("{value:#}\n")
    }
}

#[cfg(test)]
mod tests;
