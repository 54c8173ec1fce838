//! Listeners and source ports: which packets are ours, and whose SYNs the program may answer.
//!
//! Owns: the listener maps, the map of local addresses, the numbering of cookie slots. Does not own: the decision what to
//! listen on (`node`). Cost: one system call per entry.

use core::net::IpAddr;
use std::collections::BTreeMap;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

use super::attach::kernel_error;
use super::cookie::{CookieGate, CookieKeys, CookieOffer, CookieSlot};
use super::maps::{Plain, bytes, words};
use super::{LISTENERS_MAX, LOCAL_ADDRESSES_MAX, ListenerKey, Program, ProgramError, SnatRange};
use crate::skel::xdp::types;

/// Ports of one local address that workers use towards backends, and whether listeners are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Local {
    tcp: Option<(u16, u16)>,
    udp: Option<(u16, u16)>,
    has_listeners: bool,
}

impl Program {
    /// Replaces the set of listeners; those that stay are never absent in between. Workers answer all SYNs.
    ///
    /// # Errors
    /// When there are more than [`LISTENERS_MAX`] of a family, or the kernel refuses.
    pub fn set_listeners(&mut self, listeners: &[ListenerKey]) -> Result<(), ProgramError> {
        let listeners: Vec<_> = listeners.iter().map(|listener| (*listener, None)).collect();
        self.set_listeners_with_cookies(&listeners).map(drop)
    }

    /// Replaces the set of listeners; those that stay are never absent in between. TCP listeners with an offer get a slot
    /// while one is left: the answer is the slot of each, in order (`None`: workers answer its SYNs). A listener that stays
    /// keeps its slot, with its flags and counts; a new slot is off.
    ///
    /// # Errors
    /// When there are more than [`LISTENERS_MAX`] of a family, or the kernel refuses.
    pub fn set_listeners_with_cookies(
        &mut self,
        listeners: &[(ListenerKey, Option<CookieOffer>)],
    ) -> Result<Vec<Option<CookieSlot>>, ProgramError> {
        self.listeners = listeners.iter().map(|(listener, _)| *listener).collect();
        let is_tcp = |listener: &ListenerKey| i32::from(listener.protocol) == libc::IPPROTO_TCP;
        let offers: BTreeMap<&ListenerKey, &CookieOffer> = listeners
            .iter()
            .filter(|(listener, _)| is_tcp(listener))
            .filter_map(|(listener, offer)| Some((listener, offer.as_ref()?)))
            .collect();
        // Off at once; free only when the maps no longer lead to them.
        let stale = self.slots.stale(|listener| offers.contains_key(listener));
        for slot in &stale {
            self.gate.switch_off(*slot);
        }
        let mut slots = BTreeMap::new();
        self.take_slots(&offers, &mut slots);
        let mut result = self.write_listeners(&slots).and_then(|()| self.write_locals());
        self.index.forget_listeners();
        for slot in &stale {
            self.slots.give_up(*slot);
        }
        if slots.len() < offers.len() && !stale.is_empty() {
            self.take_slots(&offers, &mut slots);
            result = result.and_then(|()| self.write_listeners(&slots));
            self.index.forget_listeners();
        }
        result.map(|()| listeners.iter().map(|(listener, _)| slots.get(listener).copied()).collect())
    }

    /// Gives slots to listeners that have none, while there are.
    fn take_slots(
        &mut self,
        offers: &BTreeMap<&ListenerKey, &CookieOffer>,
        slots: &mut BTreeMap<ListenerKey, CookieSlot>,
    ) {
        for (listener, offer) in offers {
            if !slots.contains_key(listener)
                && let Some(slot) = self.slots.take(listener, offer, &self.gate)
            {
                slots.insert(**listener, slot);
            }
        }
    }

    fn write_listeners(&self, slots: &BTreeMap<ListenerKey, CookieSlot>) -> Result<(), ProgramError> {
        let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
        for listener in &self.listeners {
            let (port, protocol) = (listener.addr.port().to_be(), listener.protocol);
            let value = slots.get(listener).map_or(0u32, |slot| slot.index() as u32 + 1);
            match listener.addr.ip() {
                IpAddr::V4(addr) => {
                    let addr = u32::from_ne_bytes(addr.octets());
                    let key = types::listener_key_v4 { addr, port, protocol, ..Default::default() };
                    v4.insert(bytes(&key).to_vec(), value);
                }
                IpAddr::V6(addr) => {
                    let addr = words(addr.octets());
                    let key = types::listener_key_v6 { addr, port, protocol, ..Default::default() };
                    v6.insert(bytes(&key).to_vec(), value);
                }
            }
        }
        replace(&self.maps.listeners_v4, &v4, LISTENERS_MAX, "listeners")?;
        replace(&self.maps.listeners_v6, &v6, LISTENERS_MAX, "listeners")
    }

    /// Replaces the keys of SYN cookies: to be called when an epoch begins, or when the secret changes.
    pub fn set_cookie_keys(&mut self, keys: &CookieKeys) {
        self.gate.set_keys(keys);
    }

    /// The part of the cookies that workers share.
    pub fn cookie_gate(&self) -> CookieGate {
        self.gate.clone()
    }

    /// Replaces the source-port ranges. One range per address and protocol.
    ///
    /// # Errors
    /// When there are more than [`LOCAL_ADDRESSES_MAX`] addresses of a family, or the kernel refuses.
    pub fn set_snat(&mut self, ranges: &[SnatRange]) -> Result<(), ProgramError> {
        self.snat = ranges.to_vec();
        self.write_locals()
    }

    fn write_locals(&self) -> Result<(), ProgramError> {
        let mut locals: BTreeMap<IpAddr, Local> = BTreeMap::new();
        for listener in &self.listeners {
            locals.entry(listener.addr.ip()).or_default().has_listeners = true;
        }
        for range in &self.snat {
            let local = locals.entry(range.addr).or_default();
            let ports = (*range.ports.start(), *range.ports.end());
            match i32::from(range.protocol) {
                libc::IPPROTO_TCP => local.tcp = Some(ports),
                libc::IPPROTO_UDP => local.udp = Some(ports),
                other => return Err(ProgramError::Config(format!("source ports of IP protocol {other}"))),
            }
        }
        let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
        for (addr, local) in locals {
            // An empty range: first above last.
            let ((tcp_first, tcp_last), (udp_first, udp_last)) =
                (local.tcp.unwrap_or((1, 0)), local.udp.unwrap_or((1, 0)));
            let has_listeners = local.has_listeners.into();
            let value = types::local_value {
                tcp_first,
                tcp_last,
                udp_first,
                udp_last,
                has_listeners,
                ..Default::default()
            };
            match addr {
                IpAddr::V4(addr) => v4.insert(addr.octets().to_vec(), value),
                IpAddr::V6(addr) => v6.insert(addr.octets().to_vec(), value),
            };
        }
        replace(&self.maps.locals_v4, &v4, LOCAL_ADDRESSES_MAX, "local addresses")?;
        replace(&self.maps.locals_v6, &v6, LOCAL_ADDRESSES_MAX, "local addresses")
    }
}

/// Makes a map hold exactly `wanted`: writes first, removes after, so that what stays is never absent.
fn replace<V: Plain>(
    map: &MapHandle,
    wanted: &BTreeMap<Vec<u8>, V>,
    max: u32,
    what: &str,
) -> Result<(), ProgramError> {
    if wanted.len() > max as usize {
        return Err(ProgramError::Config(format!(
            "{} {what}: at most {max} per address family",
            wanted.len()
        )));
    }
    let stale: Vec<_> = map.keys().filter(|key| !wanted.contains_key(key)).collect();
    // A full map takes no new key before an old one goes; only then is the order the other way round.
    let crowded = wanted.len() + stale.len() > max as usize;
    let remove = || {
        for key in &stale {
            map.delete(key).map_err(kernel_error("remove a map entry"))?;
        }
        Ok(())
    };
    if crowded {
        remove()?;
    }
    for (key, value) in wanted {
        map.update(key, bytes(value), MapFlags::ANY).map_err(kernel_error("write a map entry"))?;
    }
    if crowded { Ok(()) } else { remove() }
}
