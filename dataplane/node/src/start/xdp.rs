//! What the XDP program knows, kept equal to policy and lists.
//!
//! Owns: what was last written, so that only changes go to the kernel. Does not own: the maps (`pktio::program`).

use std::collections::BTreeMap;
use std::time::SystemTime;

use ipnet::IpNet;
use secbeat_pktio::program::{ListError, ListenerKey, Program, ProgramError, SnatRange};

use crate::lists::{Change, Changes, Lists};
use crate::policy::Policy;
use crate::telemetry::XdpCount;

/// The program and what it was told.
#[derive(Debug)]
pub struct Xdp {
    program: Program,
    listeners: Vec<ListenerKey>,
    snat: Vec<SnatRange>,
    allowed: Vec<IpNet>,
    blocked: Vec<IpNet>,
}

impl Xdp {
    /// A program that may still hold the bans of an earlier process.
    pub fn new(program: Program) -> Self {
        let mut blocked: Vec<IpNet> = program.blocked().into_iter().map(|blocked| blocked.prefix).collect();
        blocked.sort_unstable();
        Self { program, listeners: Vec::new(), snat: Vec::new(), allowed: Vec::new(), blocked }
    }

    /// The program.
    pub fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The program, to be detached.
    pub fn into_program(self) -> Program {
        self.program
    }

    /// Tells it the service addresses and source ports of a policy.
    ///
    /// # Errors
    /// When the kernel refuses; the program then still knows the earlier ones.
    pub fn follow_policy(&mut self, policy: &Policy) -> Result<(), ProgramError> {
        let listeners = policy.listener_keys();
        if listeners != self.listeners {
            self.program.set_listeners(&listeners)?;
            self.listeners = listeners;
        }
        let snat = policy.snat_ranges();
        if snat != self.snat {
            self.program.set_snat(&snat)?;
            self.snat = snat;
        }
        Ok(())
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
