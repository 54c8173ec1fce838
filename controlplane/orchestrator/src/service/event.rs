//! Use cases of events.

use secbeat_proto::v1;
use tokio::sync::broadcast::error::RecvError;

use super::mutation::{Record, carry_out};
use super::{Stream, blocking};
use crate::caller::{Caller, Scope};
use crate::event::Filter;
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;

/// Events of a page that names no size.
const PAGE_SIZE: u32 = 100;

/// Old events that a watch may ask for.
const WATCH_LAST_MAX: u32 = 1_000;

/// Threats of one answer.
const THREATS_MAX: u32 = 1_000;

/// Stored events, newest first.
///
/// # Errors
/// `Denied`, `Invalid`, what the store says.
pub async fn list_events(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ListEventsRequest,
) -> Result<v1::ListEventsResponse, Failure> {
    caller.require(Scope::Read)?;
    let filter = Filter::compile(request.filter)?;
    let count_max = if request.page_size == 0 { PAGE_SIZE } else { request.page_size };
    let events = o.events.clone();
    let page = blocking(move || events.page(&filter, request.before_id, count_max as usize)).await?;
    Ok(v1::ListEventsResponse {
        events: page.events,
        next_before_id: page.next_before_id,
        lost: o.events.lost().values().sum(),
    })
}

/// The last events that match, a bookmark, then new ones as they are stored.
///
/// # Errors
/// `Denied`, `Invalid`, what the store says.
pub async fn watch_events(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::WatchEventsRequest,
) -> Result<Stream<v1::WatchEventsResponse>, Failure> {
    caller.require(Scope::Read)?;
    let filter = Filter::compile(request.filter)?;
    // Subscribed first: what is stored between both is sent twice rather than never; ids tell them apart.
    let mut news = o.events.watch();
    let last = request.last.min(WATCH_LAST_MAX);
    let mut old = Vec::new();
    if last > 0 {
        let (events, filter) = (o.events.clone(), filter.clone());
        old = blocking(move || events.page(&filter, 0, last as usize)).await?.events;
        old.reverse();
    }
    let seen = old.last().map_or(0, |event| event.id);
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        let first = v1::WatchEventsResponse { events: old, bookmark: true, lost: 0 };
        if sender.send(Ok(first)).await.is_err() {
            return;
        }
        let mut lost = 0;
        loop {
            let block = tokio::select! {
                () = sender.closed() => return,
                block = news.recv() => block,
            };
            let events: Vec<v1::Event> = match block {
                Ok(block) => block.iter().filter(|e| e.id > seen && filter.matches(e)).cloned().collect(),
                // Blocks: how many events they had is known only roughly, hence a lower bound.
                Err(RecvError::Lagged(blocks)) => {
                    lost += blocks;
                    continue;
                }
                Err(RecvError::Closed) => return,
            };
            if events.is_empty() && lost == 0 {
                continue;
            }
            let response =
                v1::WatchEventsResponse { events, bookmark: false, lost: core::mem::take(&mut lost) };
            if sender.send(Ok(response)).await.is_err() {
                return;
            }
        }
    });
    Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)))
}

/// Marks events as seen by a person.
///
/// # Errors
/// `Denied`, `Invalid`, what the store says.
pub async fn acknowledge_events(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::AcknowledgeEventsRequest,
) -> Result<v1::AcknowledgeEventsResponse, Failure> {
    caller.require(Scope::EventWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let filter = Filter::compile(request.filter.clone())?;
    if request.ids.is_empty() && request.filter.is_none() {
        return Err(Failure::Invalid("ids: name some, or give a filter".into()));
    }
    let (events, ids, actor) = (o.events.clone(), request.ids.clone(), caller.name.clone());
    let dry_run = mutation.dry_run;
    let change = async move {
        if dry_run {
            return Ok((v1::AcknowledgeEventsResponse::default(), Record::default()));
        }
        let target = format!("{} ids", ids.len());
        let acknowledged = blocking(move || events.acknowledge(&ids, &filter, &actor)).await?;
        let record =
            Record { target, after: format!("{{\"acknowledged\":{acknowledged}}}"), ..Record::default() };
        Ok((v1::AcknowledgeEventsResponse { acknowledged }, record))
    };
    carry_out(o, caller, "event.acknowledge", &mutation, &request, change).await
}

/// Counts of events.
///
/// # Errors
/// `Denied`, `Invalid`, what the store says.
pub async fn get_event_stats(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::GetEventStatsRequest,
) -> Result<v1::EventStats, Failure> {
    caller.require(Scope::Read)?;
    let events = o.events.clone();
    blocking(move || events.stats(request.since_ms, request.until_ms)).await
}

/// Who attacks, most events first.
///
/// # Errors
/// `Denied`.
pub async fn list_threats(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ListThreatsRequest,
) -> Result<v1::ListThreatsResponse, Failure> {
    caller.require(Scope::Read)?;
    let count_max = if request.page_size == 0 { PAGE_SIZE } else { request.page_size.min(THREATS_MAX) };
    Ok(v1::ListThreatsResponse { threats: o.events.threats(request.since_ms, count_max as usize) })
}
