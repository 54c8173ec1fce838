//! The rules of the WAF, asked for one worker's requests.
//!
//! ```text
//!  begin -> request_head -> request_body -> response_head -> response_body -> finish (record, counts, back to the
//! pool)
//! ```
//! Owns: [`Rules`]: an evaluator per rule set in use, the pool of transactions, records of the audit log on their way.
//! Does not own: the evaluation (`secbeat_waf`), rule sets (`crate::waf`), buffers of bodies.
//! A request ends with the rule set that it began with: an evaluator is kept until the last transaction of its set has
//! ended. When sets are exchanged faster than requests end, the oldest is given up; its transactions then pass without
//! being looked at further, and are still counted and written down.

use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use secbeat_http::head::{Known, Request, Response};
use secbeat_net::time::Instant;
use secbeat_waf::seclang::ast::EngineMode;
use secbeat_waf::transaction::{
    self, Connection, Evaluator, Interruption, InterruptionKind, RequestHead, ResponseHead,
};

use super::super::access_log::Lines;
use super::audit::{self, Record};
use super::clean::{Change, Cleaning};
use super::told::{count, told, worst};
use super::{Block, Body, Verdict};
use crate::event::AttackKind;
use crate::telemetry::counters::{Counter, WorkerCounters};
use crate::waf::{Mode, Waf};

/// Rule sets in use at once: the present one, and those of requests that began earlier.
const JUDGES_MAX: usize = 4;
/// Transactions kept for further use: as many as a busy worker has at once.
const POOL_MAX: usize = 256;
/// A transaction that holds more is not kept, bytes.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// What logs and events call a refusal by rules where no rule is named.
pub(in super::super) const NAME: &str = "waf";

/// A transaction on its way.
#[derive(Debug, Default)]
pub(in super::super) struct Running {
    waf: Option<Arc<Waf>>,
    pub(super) tx: transaction::Transaction,
    /// The rule that decided, or that tells best what was found.
    rule: Option<Arc<str>>,
    /// Where the client is sent, if that is the verdict.
    redirect: Option<Interruption>,
    response_protocol: &'static str,
}

impl Running {
    /// The rule that decided.
    pub(in super::super) fn rule(&self) -> Option<&Arc<str>> {
        self.rule.as_ref()
    }

    /// Where the client is sent.
    pub(in super::super) fn location(&self) -> &[u8] {
        self.redirect.as_ref().map_or(b"", |redirect| self.tx.location(redirect))
    }

    /// What is to be taken out of the request.
    pub(in super::super) fn cleaning(&self) -> Cleaning {
        let Some(waf) = self.waf.as_ref().filter(|_| self.tx.is_sanitized()) else { return Cleaning::Keep };
        if self.tx.engine() != EngineMode::On {
            return Cleaning::Keep;
        }
        let Some(cleaned) = self.tx.cleaned(&waf.ruleset) else { return Cleaning::Refuse };
        let changes = cleaned.into_iter().map(|value| Change {
            place: value.variable,
            name: value.name.to_vec(),
            before: value.before.to_vec(),
            after: value.after,
        });
        Cleaning::Change(changes.collect())
    }

    /// The verdict on a request that cannot be cleaned.
    pub(in super::super) fn refusal(&mut self) -> Block {
        let found = self.waf.as_ref().and_then(|waf| worst(waf, &self.tx));
        let (attack, rule) = found.unwrap_or_else(|| (AttackKind::WebAttack, NAME.into()));
        self.rule = Some(rule);
        Block { status: 403, rule: NAME, attack, tarpit_s: 0 }
    }
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Facts<'a> {
    pub(in super::super) now: Instant,
    pub(in super::super) peer: SocketAddr,
    /// The client, as a trusted proxy names it.
    pub(in super::super) client: IpAddr,
    pub(in super::super) server: SocketAddr,
    pub(in super::super) id: &'a [u8],
    pub(in super::super) mode: Option<Mode>,
    pub(in super::super) has_body: bool,
}

/// What a transaction was about, told at its end.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct End<'a> {
    pub(in super::super) now: Instant,
    pub(in super::super) time: &'a [u8],
    pub(in super::super) id: &'a [u8],
    pub(in super::super) client: IpAddr,
    pub(in super::super) peer: SocketAddr,
    pub(in super::super) server: SocketAddr,
    pub(in super::super) status: u16,
}

#[derive(Debug)]
struct Judge {
    waf: Arc<Waf>,
    evaluator: Evaluator,
    open: u32,
}

/// The rules of one worker.
#[derive(Debug)]
pub(in super::super) struct Rules {
    /// By age; the last is in force.
    judges: Vec<Judge>,
    #[expect(clippy::vec_box, reason = "boxes go back and forth between exchanges and the pool")]
    pool: Vec<Box<Running>>,
    records: Lines,
}

impl Rules {
    pub(in super::super) fn new(records: Lines) -> Self {
        Self { judges: Vec::new(), pool: Vec::new(), records }
    }

    /// Hands over records; once in a while.
    pub(in super::super) fn handle_tick(&mut self) {
        self.records.hand_over();
    }

    /// Takes a new rule set; requests that run keep theirs.
    pub(in super::super) fn adopt(&mut self, waf: Option<&Arc<Waf>>) {
        let is_new = waf.is_some_and(|waf| self.judges.iter().all(|judge| !Arc::ptr_eq(&judge.waf, waf)));
        self.judges.retain(|judge| judge.open > 0 || waf.is_some_and(|waf| Arc::ptr_eq(&judge.waf, waf)));
        if let (true, Some(waf)) = (is_new, waf) {
            if self.judges.len() >= JUDGES_MAX {
                self.judges.remove(0);
            }
            let persistent = Arc::clone(&waf.lasting.persistent);
            let evaluator = Evaluator::new(Arc::clone(&waf.ruleset), persistent, waf.budget);
            self.judges.push(Judge { waf: Arc::clone(waf), evaluator, open: 0 });
        }
    }

    fn judge(&mut self, running: &Running) -> Option<&mut Judge> {
        let waf = running.waf.as_ref()?;
        self.judges.iter_mut().rev().find(|judge| Arc::ptr_eq(&judge.waf, waf))
    }

    /// Begins a transaction and runs phase 1, and phase 2 when there is no body to wait for.
    pub(super) fn request_head(
        &mut self,
        slot: &mut Option<Box<Running>>,
        waf: &Arc<Waf>,
        facts: &Facts<'_>,
        head: &Request,
        path: &[u8],
    ) -> (Verdict, Body) {
        let Ok(site) = waf.site(head.host(), path, facts.mode) else { return (Verdict::Allow, Body::Pass) };
        if self.judges.last().is_none_or(|judge| !Arc::ptr_eq(&judge.waf, waf)) {
            self.adopt(Some(waf));
        }
        let Some(judge) = self.judges.iter_mut().rev().find(|judge| Arc::ptr_eq(&judge.waf, waf)) else {
            return (Verdict::Allow, Body::Pass);
        };
        judge.open += 1;
        let mut running = self.pool.pop().unwrap_or_default();
        running.waf = Some(Arc::clone(waf));
        let running = slot.insert(running);
        let connection = Connection {
            client: facts.client,
            client_port: if facts.client == facts.peer.ip() { facts.peer.port() } else { 0 },
            server: facts.server.ip(),
            server_port: facts.server.port(),
        };
        let evaluator = &mut judge.evaluator;
        let now = facts.now;
        evaluator.begin(&mut running.tx, site.cloned(), &connection, facts.id, now.as_secs(), micros(now));
        running.response_protocol = "HTTP/1.1";
        let request =
            RequestHead { method: head.method_bytes(), target: head.target(), protocol: protocol(head) };
        let fields = head.fields().iter().map(|field| (field.name, field.value));
        let mut found = evaluator.request_head(&mut running.tx, &request, fields);
        let mut body = Body::Pass;
        if found.is_none() {
            match evaluator.wants_request_body(&running.tx).filter(|_| facts.has_body) {
                Some(bytes_max) => {
                    let settings = waf.ruleset.settings();
                    let is_multipart = head.fields().known(Known::ContentType).is_some_and(|kind| {
                        kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
                    });
                    let max = if is_multipart {
                        bytes_max
                    } else {
                        bytes_max.min(settings.request_body_no_files_bytes_max)
                    };
                    let pass_longer = evaluator.passes_longer_request(&running.tx);
                    body = whole(max, pass_longer);
                }
                None => found = evaluator.request_body(&mut running.tx, b"", true),
            }
        }
        (verdict(running, found), body)
    }

    /// Phase 2.
    pub(super) fn request_body(&mut self, running: &mut Running, bytes: &[u8], is_whole: bool) -> Verdict {
        let Some(judge) = self.judge(running) else { return Verdict::Allow };
        let found = judge.evaluator.request_body(&mut running.tx, bytes, is_whole);
        verdict(running, found)
    }

    /// Phase 3, and phase 4 when the body is not wanted.
    pub(super) fn response_head(
        &mut self,
        running: &mut Running,
        response: &Response,
        page: &WorkerCounters,
    ) -> (Verdict, Body) {
        let Some(judge) = self.judge(running) else { return (Verdict::Allow, Body::Pass) };
        let evaluator = &mut judge.evaluator;
        let head = ResponseHead { status: response.status(), protocol: running.response_protocol.as_bytes() };
        let fields = response.fields().iter().map(|field| (field.name, field.value));
        let mut found = evaluator.response_head(&mut running.tx, &head, fields);
        let mut body = Body::Pass;
        if found.is_none() {
            let wanted = evaluator.wants_response_body(&running.tx).filter(|_| response.status() != 101);
            let is_encoded = wanted.is_some() && is_encoded(response);
            if is_encoded {
                page.count(Counter::WafResponsesEncoded);
            }
            match wanted.filter(|_| !is_encoded) {
                Some(bytes_max) => {
                    body = whole(bytes_max, evaluator.passes_longer_response(&running.tx));
                }
                None => found = evaluator.response_body(&mut running.tx, b"", true),
            }
        }
        (verdict(running, found), body)
    }

    /// Phase 4.
    pub(super) fn response_body(&mut self, running: &mut Running, bytes: &[u8], is_whole: bool) -> Verdict {
        let Some(judge) = self.judge(running) else { return Verdict::Allow };
        let found = judge.evaluator.response_body(&mut running.tx, bytes, is_whole);
        verdict(running, found)
    }

    /// Phase 5, counts, the record. Yields what would have been refused, had rules not been only looking.
    pub(in super::super) fn finish(
        &mut self,
        mut running: Box<Running>,
        end: &End<'_>,
        page: &WorkerCounters,
    ) -> Option<(AttackKind, Arc<str>)> {
        let waf = running.waf.take()?;
        if let Some(index) = self.judges.iter().position(|judge| Arc::ptr_eq(&judge.waf, &waf)) {
            let judge = &mut self.judges[index];
            judge.evaluator.finish(&mut running.tx, micros(end.now));
            judge.open = judge.open.saturating_sub(1);
            if judge.open == 0 && index + 1 < self.judges.len() {
                self.judges.remove(index);
            }
        }
        let tx = &running.tx;
        count(&waf, tx, page);
        if let Some(audit) = &waf.audit
            && tx.wants_audit(end.status >= 500)
        {
            let record = Record { waf: &waf, tx, end, protocol: running.response_protocol };
            self.records.push(|out| audit::write(out, audit, &record));
        }
        let detected = tx.interruption().is_none().then(|| tx.detected()).flatten();
        let cleaned = tx.interruption().is_none() && tx.is_sanitized();
        let told = detected
            .map(|interruption| told(&waf, tx, &interruption))
            .or_else(|| cleaned.then(|| worst(&waf, tx)).flatten());
        if self.pool.len() < POOL_MAX && running.tx.capacity_bytes() <= KEPT_BYTES_MAX {
            running.rule = None;
            running.redirect = None;
            self.pool.push(running);
        }
        told
    }
}

/// One byte more than rules want to see: a body of just that length is whole.
fn whole(bytes_max: u64, pass_longer: bool) -> Body {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_add(1);
    Body::Whole { bytes_max, pass_longer }
}

fn verdict(running: &mut Running, found: Option<Interruption>) -> Verdict {
    let Some(interruption) = found else { return Verdict::Allow };
    let Some(waf) = &running.waf else { return Verdict::Allow };
    let (attack, rule) = told(waf, &running.tx, &interruption);
    running.rule = Some(rule);
    let is_redirect = interruption.kind == InterruptionKind::Redirect;
    let status = match interruption.status {
        status if is_redirect => {
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                status
            } else {
                302
            }
        }
        status if (400..=599).contains(&status) => status,
        _ => 403,
    };
    let block = Block { status, rule: NAME, attack, tarpit_s: interruption.tarpit_s };
    match interruption.kind {
        // There is no challenge yet: who would have to solve one is refused.
        InterruptionKind::Deny | InterruptionKind::Challenge => Verdict::Block(block),
        InterruptionKind::Drop => Verdict::Reset(block),
        InterruptionKind::Redirect => {
            running.redirect = Some(interruption);
            Verdict::Redirect(block)
        }
    }
}

/// Whether a body is compressed, so that rules could not read it.
fn is_encoded(response: &Response) -> bool {
    response.fields().iter().any(|field| {
        field.name.eq_ignore_ascii_case(b"content-encoding") && !field.value.eq_ignore_ascii_case(b"identity")
    })
}

/// As rules know it.
fn protocol(head: &Request) -> &'static [u8] {
    match head.version().number() {
        "1.0" => b"HTTP/1.0",
        "2" => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    }
}

fn micros(now: Instant) -> u64 {
    now.as_nanos() / 1_000
}
