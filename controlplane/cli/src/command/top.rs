//! `secbeat top`: the fleet, live.
//!
//! Owns: the terminal (raw mode, given back whatever happens), the loop of updates, keys and drawing. `feed` asks the
//! orchestrator, `model` holds what is shown, `keys` changes it, `draw` paints it. With `--once` everything is asked
//! once and written to stdout.
//!
//! Cost: three questions a second and one stream; a frame only when something changed.

mod draw;
mod feed;
mod keys;
mod model;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as Input, KeyEvent};
use serde_json::json;
use tokio::sync::mpsc;

use crate::client::{App, Client};
use crate::command::event::{EVENTS, THREATS, json_event};
use crate::command::{ban, fleet, node};
use crate::exit::{Exit, Failure};
use crate::output::sheet::pairs;
use feed::Update;
use keys::Step;
use model::{View, word};

/// Updates and keys that wait for the next frame; a full queue holds their senders back, nothing is lost.
const QUEUE_MAX: usize = 64;
/// How long the thread of the keyboard sleeps between looks at whether it is to end.
const KEY_POLL: Duration = Duration::from_millis(100);

/// Arguments of `top`.
#[derive(clap::Args)]
#[command(
    after_help = "Keys: 1-4 or Tab choose a list, arrows a row, s the order, f a filter, p pauses, b bans the
address of the row, ? explains, q ends."
)]
pub(crate) struct Args {
    /// Show it once and end, for scripts: -o json or table
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result<Exit, Failure> {
    if args.once {
        let client = app.connect().await?;
        return once(app, &client).await;
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage("`top` needs a terminal", "elsewhere: `secbeat top --once -o json`"));
    }
    let client = app.connect().await?;
    let mut terminal = ratatui::try_init().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the terminal cannot be used: {error}"),
            "try `secbeat top --once`",
        )
    })?;
    let keyboard = Keyboard::start();
    let outcome = show(app, &client, &mut terminal, keyboard).await;
    ratatui::restore();
    outcome
}

/// Reads keys on a thread of its own, because reading them blocks.
struct Keyboard {
    keys: mpsc::Receiver<KeyEvent>,
    is_ended: Arc<AtomicBool>,
}

impl Keyboard {
    fn start() -> Self {
        let (sender, keys) = mpsc::channel(QUEUE_MAX);
        let is_ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_ended);
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                match event::poll(KEY_POLL) {
                    Ok(false) => continue,
                    Ok(true) => {}
                    Err(_) => return,
                }
                match event::read() {
                    Ok(Input::Key(key)) if key.is_press() && sender.blocking_send(key).is_err() => return,
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
        Self { keys, is_ended }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Relaxed);
    }
}

async fn show(
    app: &App,
    client: &Client,
    terminal: &mut ratatui::DefaultTerminal,
    mut keyboard: Keyboard,
) -> Result<Exit, Failure> {
    let (sender, mut updates) = mpsc::channel(QUEUE_MAX);
    let feeds = feed::start(client, &sender);
    let mut view = View::new(&client.server, app.output.has_color);
    // Ages grow even when nothing happens.
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let outcome = loop {
        let drawn = terminal.draw(|frame| draw::draw(frame, &view));
        if let Err(error) = drawn {
            break Err(Failure::new(
                Exit::Failed,
                format!("cannot draw: {error}"),
                "try `secbeat top --once`",
            ));
        }
        tokio::select! {
            Some(update) = updates.recv() => view.take(update),
            key = keyboard.keys.recv() => match key.map(|key| keys::press(&mut view, key)) {
                None => break Err(Failure::new(Exit::Failed, "the keyboard is gone", "")),
                Some(Step::Stay) => {}
                Some(Step::Leave) => break Ok(Exit::Done),
                Some(Step::Interrupt) => break Err(Failure::new(Exit::Interrupted, "interrupted", "")),
                Some(Step::Ban(order)) => feed::ban(app, client, &sender, order),
            },
            _ = clock.tick() => {}
        }
        while let Ok(update) = updates.try_recv() {
            view.take(update);
        }
    };
    feeds.iter().for_each(tokio::task::JoinHandle::abort);
    outcome
}

async fn once(app: &App, client: &Client) -> Result<Exit, Failure> {
    let mut view = View::new(&client.server, app.output.has_color);
    view.take(Update::Fleet(feed::fleet(client).await?));
    view.take(Update::Lists(feed::lists(client).await?));
    view.take(Update::Events(feed::recent_events(client).await?, 0));
    let shown = view.shown();
    let state = word(&shown.stats);
    if !app.output.is_for_people() {
        let nodes: Vec<_> = shown.nodes.iter().map(node::json_info).collect();
        let bans: Vec<_> = shown.bans.iter().map(ban::BANS.json).collect();
        let threats: Vec<_> = shown.threats.iter().map(THREATS.json).collect();
        let events: Vec<_> = shown.events.iter().map(json_event).collect();
        let value = json!({
            "state": state.text(),
            "stats": fleet::json_stats(&shown.stats),
            "nodes": nodes,
            "bans": bans,
            "threats": threats,
            "events": events,
        });
        app.output.value(&value, state.text())?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}\n\n", app.output.paint(state.tone(), state.text()));
    text.push_str(&pairs(&app.output, &draw::header_rows(shown)));
    let tables = [
        (shown.nodes.is_empty(), node::NODES.table(&app.output, &shown.nodes)),
        (shown.events.is_empty(), EVENTS.table(&app.output, shown.events.as_slice())),
        (shown.bans.is_empty(), ban::BANS.table(&app.output, &shown.bans)),
        (shown.threats.is_empty(), THREATS.table(&app.output, &shown.threats)),
    ];
    for (_, table) in tables.iter().filter(|(is_empty, _)| !is_empty) {
        text.push('\n');
        text.push_str(table);
    }
    app.output.raw(&text)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests;
