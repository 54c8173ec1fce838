//! What the XDP program knows, kept equal to policy and lists.
//!
//! Owns: what was last written, so that only changes go to the kernel. Does not own: the maps (`pktio::program`).

use std::collections::BTreeMap;
use std::time::SystemTime;

use ipnet::IpNet;
use secbeat_config::node::SynCookiesAt;
use secbeat_pktio::program::{
    COOKIE_SLOTS_MAX, CookieKeys, CookieOffer, CookieSlot, ListError, ListenerKey, Program, ProgramError,
    SnatRange,
};

use crate::event::ListenerId;
use crate::forefront::XdpForefront;
use crate::lists::{Change, Changes, Lists};
use crate::policy::Policy;
use crate::telemetry::XdpCount;

/// The program and what it was told.
#[derive(Debug)]
pub struct Xdp {
    program: Program,
    /// Whether the program is the better place to answer SYNs.
    is_preferred: bool,
    /// Whether connections can end here.
    has_sessions: bool,
    listeners: Vec<(ListenerKey, Option<CookieOffer>)>,
    /// The slot of each, in the same order.
    slots: Vec<Option<CookieSlot>>,
    keys: Option<CookieKeys>,
    snat: Vec<SnatRange>,
    allowed: Vec<IpNet>,
    blocked: Vec<IpNet>,
}

impl Xdp {
    /// A program that may still hold the bans of an earlier process. `is_preferred`: it is the better place to answer
    /// SYNs; `has_sessions`: connections can end here.
    pub fn new(program: Program, is_preferred: bool, has_sessions: bool) -> Self {
        let mut blocked: Vec<IpNet> = program.blocked().into_iter().map(|blocked| blocked.prefix).collect();
        blocked.sort_unstable();
        Self {
            program,
            is_preferred,
            has_sessions,
            listeners: Vec::new(),
            slots: Vec::new(),
            keys: None,
            snat: Vec::new(),
            allowed: Vec::new(),
            blocked,
        }
    }

    /// The program.
    pub fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The program, to be detached.
    pub fn into_program(self) -> Program {
        self.program
    }

    /// The part of the program that workers use: it answers SYNs and drops segments before them.
    pub fn forefront(&self) -> XdpForefront {
        XdpForefront(self.program.cookie_gate())
    }

    /// Whether the program answers with cookies, as configured.
    pub fn answers(&self, at: SynCookiesAt) -> bool {
        match at {
            SynCookiesAt::Auto => self.is_preferred,
            SynCookiesAt::Xdp => true,
            SynCookiesAt::Worker => false,
        }
    }

    /// Tells it the service addresses, cookie keys and source ports of a policy. The answer: slots of the listeners
    /// that it may answer, by listener.
    ///
    /// # Errors
    /// When the kernel refuses; the program then still knows the earlier ones.
    pub fn follow_policy(
        &mut self,
        policy: &Policy,
        at: SynCookiesAt,
    ) -> Result<Vec<(ListenerId, CookieSlot)>, ProgramError> {
        // Keys first: nothing is answered without.
        let cookie_keys = policy.cookie_keys();
        if self.keys != Some(cookie_keys) {
            self.program.set_cookie_keys(&cookie_keys);
            self.keys = Some(cookie_keys);
        }
        let answers = self.answers(at);
        let keys = policy.listener_keys();
        let offer = |id| policy.front_offer(id, self.has_sessions).filter(|_| answers);
        let listeners: Vec<_> = keys.iter().map(|&(key, id)| (key, offer(id))).collect();
        if listeners != self.listeners {
            self.slots = self.program.set_listeners_with_cookies(&listeners)?;
            self.listeners = listeners;
            let left: usize = self
                .listeners
                .iter()
                .zip(&self.slots)
                .filter(|((_, o), s)| o.is_some() && s.is_none())
                .count();
            if left > 0 {
                tracing::warn!(
                    left,
                    slots = COOKIE_SLOTS_MAX,
                    "SYNs to addresses beyond the XDP program's slots are answered by workers"
                );
            }
        }
        let given = keys.iter().zip(&self.slots).filter_map(|(&(_, id), slot)| Some((id, (*slot)?)));
        let mut slots: Vec<(ListenerId, CookieSlot)> = given.collect();
        slots.sort_unstable();
        let snat = policy.snat_ranges();
        if snat != self.snat {
            self.program.set_snat(&snat)?;
            self.snat = snat;
        }
        Ok(slots)
    }

    /// Brings its lists up to date. A prefix that finds no room is only dropped by the workers; their number is
    /// returned.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn follow_lists(
        &mut self,
        changes: Changes,
        lists: &Lists,
        now: SystemTime,
    ) -> Result<usize, ListError> {
        let mut full = 0;
        match changes {
            Changes::Steps(steps) => {
                for step in steps {
                    match step {
                        Change::Block(prefix, left) => full += self.block(prefix, left)?,
                        Change::Unblock(prefix) => self.unblock(prefix)?,
                    }
                }
            }
            Changes::Everything => {
                let view = lists.view(now);
                if view.allow != self.allowed {
                    self.program.set_allowed(&view.allow)?;
                    self.allowed = view.allow;
                }
                let wanted: std::collections::BTreeSet<IpNet> =
                    view.block.iter().map(|(net, _)| *net).collect();
                for prefix in self.blocked.clone() {
                    if !wanted.contains(&prefix) {
                        self.unblock(prefix)?;
                    }
                }
                for (prefix, left) in view.block {
                    full += self.block(prefix, left)?;
                }
            }
        }
        Ok(full)
    }

    fn block(&mut self, prefix: IpNet, left: Option<core::time::Duration>) -> Result<usize, ListError> {
        match self.program.block(prefix, left) {
            Ok(()) => {
                if let Err(at) = self.blocked.binary_search(&prefix) {
                    self.blocked.insert(at, prefix);
                }
                Ok(0)
            }
            Err(ListError::Full) => Ok(1),
            Err(error) => Err(error),
        }
    }

    fn unblock(&mut self, prefix: IpNet) -> Result<(), ListError> {
        self.program.unblock(prefix)?;
        if let Ok(at) = self.blocked.binary_search(&prefix) {
            self.blocked.remove(at);
        }
        Ok(())
    }

    /// Removes entries whose time is over.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn expire(&mut self) -> Result<usize, ListError> {
        self.program.expire()
    }

    /// Packets dropped for these prefixes since each was blocked, those that the program can tell.
    pub fn hits(&self, prefixes: &[IpNet]) -> BTreeMap<IpNet, u64> {
        let hits = prefixes.iter().filter_map(|prefix| Some((*prefix, self.program.hits(*prefix)?)));
        hits.collect()
    }

    /// Its counters.
    pub fn counts(&self) -> Vec<XdpCount> {
        let counters = self.program.counters().unwrap_or_default();
        counters
            .into_iter()
            .map(|(reason, packets)| XdpCount { reason: reason.to_owned(), packets })
            .collect()
    }
}
