//! Where the news of `top` comes from: questions every second, and the stream of events.
//!
//! Owns: what is asked how often, and going on after a lost connection. Does not own: what is made of it. Limits: the
//! first `BANS_MAX` bans and `THREATS_MAX` threats are shown; `ban list` has all.

use std::time::Duration;

use secbeat_proto::v1::{
    AddBanRequest, Ban, Event, FleetStats, GetFleetStatsRequest, ListBansRequest, ListEventsRequest,
    ListThreatsRequest, Mutation, NewBan, NodeInfo, Threat, WatchEventsRequest,
};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

use crate::client::{App, Client};
use crate::command::node;
use crate::exit::Failure;

/// Between two looks at the fleet.
const PERIOD: Duration = Duration::from_secs(1);
/// Lists that change slowly are asked for every so many looks.
const LISTS_EVERY: u32 = 5;
/// Nodes on the screen.
const NODES_MAX: usize = 2_000;
/// Bans on the screen.
const BANS_MAX: u32 = 500;
/// Threats on the screen.
const THREATS_MAX: u32 = 200;
/// Old events that come first.
const EVENTS_FIRST: u32 = 100;

/// News.
pub(super) enum Update {
    Fleet((FleetStats, Vec<NodeInfo>)),
    Lists((Vec<Ban>, Vec<Threat>)),
    /// Events, and how many this watcher lost.
    Events(Vec<Event>, u64),
    /// What became of an order.
    Message(String),
    /// Why there is no news.
    Trouble(String),
}

/// A ban, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BanOrder {
    pub(super) address: String,
    pub(super) duration: Duration,
    pub(super) reason: String,
}

/// Starts asking. Ends when the receiver is gone.
pub(super) fn start(client: &Client, sender: &Sender<Update>) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(look(client.clone(), sender.clone())),
        tokio::spawn(listen(client.clone(), sender.clone())),
    ]
}

async fn look(client: Client, sender: Sender<Update>) {
    let mut looks = 0_u32;
    loop {
        let mut news = vec![fleet(&client).await.map(Update::Fleet)];
        if looks.is_multiple_of(LISTS_EVERY) {
            news.push(lists(&client).await.map(Update::Lists));
        }
        for update in news {
            let update = update.unwrap_or_else(|failure| Update::Trouble(failure.what));
            if sender.send(update).await.is_err() {
                return;
            }
        }
        looks = looks.wrapping_add(1);
        tokio::time::sleep(PERIOD).await;
    }
}

async fn listen(client: Client, sender: Sender<Update>) {
    loop {
        let request = WatchEventsRequest { filter: None, last: EVENTS_FIRST };
        let mut call = client.events();
        if let Ok(response) = call.watch_events(request).await {
            let mut stream = response.into_inner();
            while let Ok(Some(part)) = stream.message().await {
                if sender.send(Update::Events(part.events, part.lost)).await.is_err() {
                    return;
                }
            }
        }
        // `look` tells what is wrong; this only tries again.
        tokio::time::sleep(PERIOD).await;
    }
}

pub(super) async fn fleet(client: &Client) -> Result<(FleetStats, Vec<NodeInfo>), Failure> {
    let mut call = client.fleet();
    let stats = client.ask("fleet stats", call.get_fleet_stats(GetFleetStatsRequest {})).await?;
    Ok((stats, node::list(client, &[], NODES_MAX).await?))
}

pub(super) async fn lists(client: &Client) -> Result<(Vec<Ban>, Vec<Threat>), Failure> {
    let request = ListBansRequest { page_size: BANS_MAX, ..ListBansRequest::default() };
    let bans = client.ask("ban list", client.bans().list_bans(request)).await?;
    let request = ListThreatsRequest { since_ms: 0, page_size: THREATS_MAX };
    let threats = client.ask("threat list", client.events().list_threats(request)).await?;
    Ok((bans.bans, threats.threats))
}

pub(super) async fn recent_events(client: &Client) -> Result<Vec<Event>, Failure> {
    let request = ListEventsRequest { filter: None, page_size: 20, before_id: 0 };
    Ok(client.ask("event list", client.events().list_events(request)).await?.events)
}

/// Bans in the background; what became of it is a message.
pub(super) fn ban(app: &App, client: &Client, sender: &Sender<Update>, order: BanOrder) {
    let mutation = Mutation {
        request_id: uuid::Uuid::new_v4().to_string(),
        reason: order.reason.clone(),
        ..app.mutation()
    };
    let request = AddBanRequest {
        mutation: Some(mutation),
        ban: Some(NewBan {
            prefix: order.address.clone(),
            duration_ms: crate::args::ms(Some(order.duration)),
            reason: order.reason,
            is_permanent: false,
        }),
        wait_ms: 0,
    };
    let (client, sender) = (client.clone(), sender.clone());
    tokio::spawn(async move {
        let mut call = client.bans();
        let message = match client.ask("ban add", call.add_ban(request)).await {
            Ok(_) => format!("{} is banned", order.address),
            Err(failure) => failure.what,
        };
        // Nobody reads it when `top` has ended.
        let _ = sender.send(Update::Message(message)).await;
    });
}
