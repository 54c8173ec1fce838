//! Rollouts: how a change gets to the nodes, and waiting for it.
//!
//! Owns: the options of a rollout, following it with a bar on a terminal and lines elsewhere, and what its end means
//! for the exit code. Does not own: steps and health, which the orchestrator judges. Interrupting the waiting does not
//! interrupt the rollout.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use secbeat_proto::v1::rollout_status::State;
use secbeat_proto::v1::{GetRolloutRequest, Rollout, RolloutStatus, rollout};
use serde_json::{Value, json};
use tonic::Code;

use crate::args::ms;
use crate::client::{App, Client, rejection_lines};
use crate::exit::{Exit, Failure};
use crate::output::sheet::pairs;
use crate::output::text::{now_ms, or_dash, relative};
use crate::word;

/// How often a watch that broke is begun again in a row, a second apart: an orchestrator that restarts is waited for.
const RESUMES_MAX: u32 = 30;
/// Between two attempts.
const RESUME_PAUSE: Duration = Duration::from_secs(1);

/// How a change gets to the fleet.
#[derive(Args)]
pub(crate) struct Spread {
    /// To all nodes at once, or one, 10 %, 50 %, all [default: as configured]
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,
    /// How long each step is watched [default: as configured]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    step_hold: Option<Duration>,
    /// The node that is first
    #[arg(long, value_name = "NODE")]
    canary_node: Option<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// When a change counts, and how long.
#[derive(Args)]
pub(crate) struct Timed {
    /// Taken back by itself after this time, unless confirmed by `policy confirm`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) rollback_after: Option<Duration>,
    /// Refuse when the revision is another one by now
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    pub(crate) expected_revision: u64,
}

/// What is waited for.
#[derive(Args)]
pub(crate) struct Wait {
    /// Come back when every node holds it; rejections are listed
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "applied")]
    wait: Option<WaitFor>,
}

impl Wait {
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wait.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitFor {
    /// Every node holds it, or has refused it
    Applied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// Every node at once
    All,
    /// One node, 10 %, 50 %, all; each step when the one before is healthy
    Canary,
}

impl Spread {
    pub(crate) fn rollout(&self) -> Option<Rollout> {
        let strategy = match self.strategy {
            None => rollout::Strategy::Unspecified,
            Some(Strategy::All) => rollout::Strategy::All,
            Some(Strategy::Canary) => rollout::Strategy::Canary,
        };
        Some(Rollout {
            strategy: strategy as i32,
            step_hold_ms: ms(self.step_hold),
            canary_node_id: self.canary_node.clone().unwrap_or_default(),
        })
    }
}

pub(crate) fn json(status: &RolloutStatus) -> Value {
    let rejections: Vec<_> = status
        .rejections
        .iter()
        .map(|rejection| {
            json!({
                "node_id": rejection.node_id,
                "key": word::key(rejection.key.as_ref()),
                "error": rejection.error,
            })
        })
        .collect();
    json!({
        "rollout_id": status.rollout_id,
        "revision": status.revision,
        "previous_revision": status.previous_revision,
        "state": word::rollout_state(status.state),
        "step": status.step,
        "steps": status.steps,
        "nodes_total": status.nodes_total,
        "nodes_sent": status.nodes_sent,
        "nodes_applied": status.nodes_applied,
        "nodes_rejected": status.nodes_rejected,
        "nodes_unreachable": status.nodes_unreachable,
        "rejections": rejections,
        "explanation": status.explanation,
        "rollback_at_ms": status.rollback_at_ms,
        "started_ms": status.started_ms,
        "ended_ms": status.ended_ms,
    })
}

/// One rollout on stdout.
pub(crate) fn show(app: &App, status: &RolloutStatus) -> Result<(), Failure> {
    if !app.output.is_for_people() {
        return app.output.value(&json(status), &status.rollout_id);
    }
    let now_ms = now_ms();
    let mut rows = vec![
        ("rollout", status.rollout_id.clone()),
        ("state", word::rollout_state(status.state).to_owned()),
        ("revision", format!("{} (before: {})", status.revision, status.previous_revision)),
        ("step", step(status)),
        ("nodes", counts(status)),
        ("started", relative(status.started_ms, now_ms)),
    ];
    if status.ended_ms != 0 {
        rows.push(("ended", relative(status.ended_ms, now_ms)));
    }
    if status.rollback_at_ms != 0 {
        rows.push(("taken back", relative(status.rollback_at_ms, now_ms)));
    }
    if !status.explanation.is_empty() {
        rows.push(("because", status.explanation.clone()));
    }
    rows.extend(rejection_lines(&status.rejections).into_iter().map(|line| ("rejected", line)));
    app.output.raw(&pairs(&app.output, &rows))
}

fn step(status: &RolloutStatus) -> String {
    format!("{} of {}", status.step.saturating_add(1).min(status.steps), status.steps)
}

fn counts(status: &RolloutStatus) -> String {
    let mut text = format!("{} of {} hold it", status.nodes_applied, status.nodes_total);
    for (count, word) in [(status.nodes_rejected, "refused"), (status.nodes_unreachable, "unreachable")] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

/// Whether there is nothing more to wait for.
fn is_settled(status: &RolloutStatus) -> bool {
    !matches!(State::try_from(status.state), Ok(State::Running | State::Unspecified))
}

/// Follows a rollout until every node holds it or it ends otherwise.
pub(crate) async fn follow(app: &App, client: &Client, rollout_id: &str) -> Result<RolloutStatus, Failure> {
    let id = if rollout_id.is_empty() { String::new() } else { format!(" {rollout_id}") };
    let later = format!("the rollout goes on: `secbeat policy status{id}`, `secbeat policy cancel{id}`");
    app.on_interrupt.replace(later.clone());
    let mut progress = Progress::new(app);
    let following = follow_stream(client, rollout_id, &mut progress);
    let outcome = match app.timeout {
        Some(timeout) => tokio::time::timeout(timeout, following).await.unwrap_or_else(|_| {
            let what = format!("the rollout has not ended within {timeout:?}");
            Err(Failure::new(Exit::Unreachable, what, later))
        }),
        None => following.await,
    };
    progress.finish();
    app.on_interrupt.take();
    outcome
}

async fn follow_stream(
    client: &Client,
    rollout_id: &str,
    progress: &mut Progress<'_>,
) -> Result<RolloutStatus, Failure> {
    let mut breaks = 0;
    loop {
        let request = GetRolloutRequest { rollout_id: rollout_id.to_owned() };
        let broken = match client.policy().watch_rollout(request).await {
            Err(status) => status,
            Ok(response) => {
                let mut stream = response.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(status)) => {
                            breaks = 0;
                            progress.show(&status);
                            if is_settled(&status) {
                                return Ok(status);
                            }
                        }
                        Ok(None) => break tonic::Status::unavailable("the watch ended early"),
                        Err(status) => break status,
                    }
                }
            }
        };
        breaks += 1;
        let is_passing = matches!(broken.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        if !is_passing || breaks > RESUMES_MAX {
            return Err(client.failure(&broken, "policy status"));
        }
        tokio::time::sleep(RESUME_PAUSE).await;
    }
}

/// What the end of a rollout means for who waited.
pub(crate) fn outcome(app: &App, status: &RolloutStatus) -> Result<Exit, Failure> {
    let id = &status.rollout_id;
    let details = rejection_lines(&status.rejections);
    let because = or_dash(&status.explanation);
    match State::try_from(status.state) {
        Ok(State::RolledBack) => {
            let exit = if status.nodes_rejected > 0 { Exit::Partial } else { Exit::Failed };
            let what = format!("taken back to revision {}: {because}", status.previous_revision);
            let hint = format!("`secbeat policy status {id}` shows where it failed");
            return Err(Failure::new(exit, what, hint).with_details(details));
        }
        Ok(State::Superseded) => {
            let what = format!("a newer change took the place of revision {}", status.revision);
            return Err(Failure::new(Exit::Conflict, what, "`secbeat policy history` shows whose it is"));
        }
        Ok(State::AwaitingConfirmation) => {
            let when = relative(status.rollback_at_ms, now_ms());
            app.output.note(&format!("taken back {when} unless confirmed: `secbeat policy confirm {id}`"));
        }
        _ => {}
    }
    if status.nodes_rejected > 0 || status.nodes_unreachable > 0 {
        let hint =
            "refused parts stay as they were there: `secbeat node show NODE`; unreachable nodes get it later";
        return Err(Failure::new(Exit::Partial, counts(status), hint).with_details(details));
    }
    if app.output.is_for_people() {
        app.output.note(&counts(status));
    }
    Ok(Exit::Done)
}

/// A bar on a terminal, a line for every change elsewhere; both on stderr.
struct Progress<'a> {
    app: &'a App,
    bar: Option<ProgressBar>,
    last: String,
}

impl<'a> Progress<'a> {
    fn new(app: &'a App) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            // A template that does not parse leaves indicatif's own.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} nodes  {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar
        });
        Self { app, bar, last: String::new() }
    }

    fn show(&mut self, status: &RolloutStatus) {
        let state = word::rollout_state(status.state);
        let text = format!("{state}, step {}, {}", step(status), counts(status));
        match &self.bar {
            Some(bar) => {
                bar.set_length(u64::from(status.nodes_total));
                bar.set_position(u64::from(status.nodes_applied));
                bar.set_message(format!("step {}, {} refused", step(status), status.nodes_rejected));
            }
            None if text != self.last => self.app.output.note(&text),
            None => {}
        }
        self.last = text;
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
