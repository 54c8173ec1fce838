//! The settings in force, with a number for each listener that outlives reloads.
//!
//! Owns: [`Plan`], immutable and replaced whole, and what a new one changes ([`Change`]). Does not own: sockets' use.
//! A listener that stays (same protocol, address and service) keeps its slot, so that connections find their settings;
//! slots of listeners that went are not given away again: an old connection must not be taken for one of the new
//! listener's.

use core::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::settings::{ListenerSettings, Protocol, Service, Settings};
use crate::session::L7Policy;

/// Slots in the life of a process. A thousand reloads, each with a full set of 64 new listeners; after that the node
/// must be restarted ([`super::Error::SlotsExhausted`]).
const SLOTS_MAX: usize = 65_535;

/// Settings and listeners.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    slots: Vec<Option<ListenerSettings>>,
}

/// What one worker has to do about its listeners.
#[derive(Debug)]
pub(super) enum Change {
    /// Serve this socket.
    Listen { slot: u16, protocol: Protocol, socket: OwnedFd },
    /// Close the socket of this slot.
    Unlisten { slot: u16 },
}

/// How to come from one plan to the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Slots that got a listener, to be bound.
    pub(super) added: Vec<u16>,
    /// Slots that lost theirs.
    pub(super) removed: Vec<u16>,
}

impl Plan {
    /// A plan without listeners.
    pub(super) fn empty(settings: Settings) -> Self {
        Self { settings, slots: Vec::new() }
    }

    /// The plan that follows this one under new settings; `None` when there are no slots left.
    pub(super) fn next(&self, settings: Settings) -> Option<(Self, Step)> {
        let mut step = Step::default();
        let mut slots: Vec<Option<ListenerSettings>> = vec![None; self.slots.len()];
        for listener in &settings.listeners {
            let kept =
                self.slots.iter().position(|slot| slot.as_ref().is_some_and(|old| is_same(old, listener)));
            let index = kept.unwrap_or(slots.len());
            if kept.is_none() {
                if index >= SLOTS_MAX {
                    return None;
                }
                step.added.push(u16::try_from(index).ok()?);
                slots.push(None);
            }
            *slots.get_mut(index)? = Some(listener.clone());
        }
        for (slot, (old, new)) in (0u16..).zip(self.slots.iter().zip(&slots)) {
            if old.is_some() && new.is_none() {
                step.removed.push(slot);
            }
        }
        Some((Self { settings, slots }, step))
    }

    /// The listener in `slot`.
    pub(super) fn listener(&self, slot: u16) -> Option<&ListenerSettings> {
        self.slots.get(usize::from(slot))?.as_ref()
    }

    /// Sessions know their listener by its slot: puts the listeners of `l7`, which are in any order, where theirs are.
    pub(super) fn place(&self, l7: &L7Policy) -> L7Policy {
        let by_name = |name: &str| l7.listeners.iter().flatten().find(|listener| &*listener.name == name);
        let http = |slot: &ListenerSettings| slot.service == Service::Http;
        let listeners = self.slots.iter().map(|slot| {
            let slot = slot.as_ref().filter(|slot| http(slot))?;
            by_name(&slot.name).cloned()
        });
        L7Policy { listeners: listeners.collect(), ..l7.clone() }
    }

    /// Notes where a listener really is bound (port 0 in the settings lets the kernel choose).
    pub(super) fn set_bound(&mut self, slot: u16, address: SocketAddr) {
        if let Some(Some(listener)) = self.slots.get_mut(usize::from(slot)) {
            listener.bind_address = address;
        }
    }

    /// Where the listeners are bound, in the order of their slots.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.slots.iter().flatten().map(|listener| listener.bind_address).collect()
    }
}

fn is_same(old: &ListenerSettings, new: &ListenerSettings) -> bool {
    old.protocol == new.protocol && old.bind_address == new.bind_address && old.service == new.service
}
