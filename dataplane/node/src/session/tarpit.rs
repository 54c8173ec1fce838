//! Answers that are held back, so that whoever sends bad requests waits.
//!
//! Owns: [`answer`], its bound, and the end of the wait. Does not own: the timer (`timeout` has the deadline).
//! A waiting request holds its exchange and nothing else: buffers and backends are given up first. Beyond so many at
//! once (`[waf] tarpit_max`) answers leave at once.

use core::time::Duration;

use super::exchange::Reply;
use super::reply::{self, Own};
use super::slab::Key;
use super::state::{Core, Session, Turn};
use crate::telemetry::counters::Counter;

/// Answers a refused request, now or so many seconds later.
pub(super) fn answer(s: &mut Session, t: &mut Turn<'_>, key: Key, own: Own, delay_s: u16) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let max = core.policy.inspection.waf.as_ref().map_or(0, |waf| waf.tarpit_max);
    if delay_s == 0 || exchange.reply != Reply::Expect {
        return reply::own(s, t, key, own);
    }
    if core.tarpitted >= max {
        core.page.count(Counter::WafTarpitFull);
        return reply::own(s, t, key, own);
    }
    core.page.count(Counter::WafTarpitted);
    core.tarpitted += 1;
    exchange.detach(&mut core.client);
    core.store.buffers.release(&mut exchange.request_held);
    core.store.buffers.release(&mut exchange.response_held);
    exchange.delayed = Some((t.now + Duration::from_secs(u64::from(delay_s)), own));
}

/// The wait is over.
pub(super) fn release(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    if let Some(own) = forget(t.core, key) {
        reply::own(s, t, key, own);
    }
}

/// Takes an answer that waits.
pub(super) fn forget(core: &mut Core, key: Key) -> Option<Own> {
    let (_, own) = core.exchanges.get_mut(key)?.delayed.take()?;
    core.tarpitted = core.tarpitted.saturating_sub(1);
    Some(own)
}
