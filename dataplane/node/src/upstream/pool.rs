//! All backends' states together, and the snapshot they make.
//!
//! Owns: the rule that a group keeps a usable backend, drain, what survives new settings. Does not own: the threads
//! that feed it (`monitor`, `resolve`). Lives behind one mutex that the packet path never takes.

use core::net::SocketAddr;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use secbeat_net::maglev::{Maglev, Member, TableSize};
use secbeat_net::time::Instant;

use super::Error;
use super::health::Health;
use super::live::Live;
use super::settings::{BACKENDS_MAX, BackendSettings, Settings, Target};
use super::snapshot::{Backend, BackendId, BackendsSnapshot, Group, TcpOptions};

/// One backend's settings and state.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) settings: BackendSettings,
    pub(super) health: Health,
    pub(super) address: Option<SocketAddr>,
    pub(super) options: Option<TcpOptions>,
    pub(super) drained: bool,
    /// What the last failed check or resolution said.
    pub(super) last_error: Option<String>,
}

impl Entry {
    fn new(settings: BackendSettings) -> Self {
        let address = match settings.target {
            Target::Address(addr) => Some(addr),
            Target::Name { .. } => None,
        };
        let drained = settings.drain;
        Self { settings, health: Health::default(), address, options: None, drained, last_error: None }
    }

    /// Whether it may take connections as far as health and drain go.
    pub(super) fn is_usable(&self) -> bool {
        self.can_be_tried() && self.health.is_usable()
    }

    /// Whether it may be tried when nothing better is there.
    fn can_be_tried(&self) -> bool {
        self.address.is_some() && !self.drained
    }
}

/// The states of all backends.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) settings: Settings,
    pub(super) entries: Vec<Entry>,
    /// Ejections refused because the backend was the last usable one of a group.
    pub(super) ejections_refused: u64,
    generation: u64,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        check(&settings)?;
        let entries = settings.backends.iter().cloned().map(Entry::new).collect();
        Ok(Self { settings, entries, ejections_refused: 0, generation: 0 })
    }

    /// Takes new settings. A backend that keeps its name and target keeps its health, options and drain state;
    /// returns which numbers now mean another backend.
    pub(super) fn reload(&mut self, settings: Settings) -> Result<Vec<BackendId>, Error> {
        check(&settings)?;
        let old: HashMap<&str, (usize, &Entry)> = self
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.settings.name.as_str(), (index, entry)))
            .collect();
        let mut replaced = Vec::new();
        let mut entries = Vec::with_capacity(settings.backends.len());
        for (index, backend) in settings.backends.iter().enumerate() {
            let kept =
                old.get(backend.name.as_str()).filter(|(_, entry)| entry.settings.target == backend.target);
            if kept.is_none_or(|(old_index, _)| *old_index != index) {
                replaced.push(id_of(index));
            }
            entries.push(match kept {
                Some((_, entry)) => {
                    // The configuration's own change of mind about drain wins over what was asked at run time.
                    let drained =
                        if entry.settings.drain == backend.drain { entry.drained } else { backend.drain };
                    Entry { settings: backend.clone(), drained, ..(*entry).clone() }
                }
                None => Entry::new(backend.clone()),
            });
        }
        self.entries = entries;
        self.settings = settings;
        Ok(replaced)
    }

    /// Takes a backend out for a while, unless a group would be left without a usable one. True when it did.
    pub(super) fn eject(&mut self, id: BackendId, now: Instant) -> bool {
        let index = usize::from(id.0);
        let Some(entry) = self.entries.get(index) else { return false };
        if entry.health.is_ejected() {
            return false;
        }
        let last_somewhere = self
            .settings
            .groups
            .iter()
            .filter(|group| group.backends.contains(&index))
            .any(|group| !group.backends.iter().any(|&other| other != index && self.is_usable(other)));
        if last_somewhere {
            self.ejections_refused += 1;
            return false;
        }
        let ejection = self.settings.ejection;
        self.entries.get_mut(index).is_some_and(|entry| entry.health.eject(now, &ejection))
    }

    /// Lets backends back in whose ejection is over, and the longest-ejected ones at once when a group has no
    /// usable backend otherwise. True when something changed.
    pub(super) fn on_tick(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for entry in &mut self.entries {
            changed |= entry.health.on_tick(now);
        }
        changed
    }

    /// When [`Pool::on_tick`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.health.poll_timeout()).min()
    }

    fn is_usable(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(Entry::is_usable)
    }

    /// The snapshot of this moment.
    pub(super) fn snapshot(&mut self, live: &Arc<Live>) -> BackendsSnapshot {
        self.generation += 1;
        let groups: Vec<Group> =
            (0..self.settings.groups.len()).filter_map(|index| self.group(index)).collect();
        let panicking: HashSet<usize> = groups
            .iter()
            .filter(|group| group.panicking)
            .flat_map(|group| group.members.iter().map(|id| usize::from(id.0)))
            .collect();
        let backends = self
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| Backend {
                id: id_of(index),
                name: entry.settings.name.as_str().into(),
                address: entry.address,
                weight: entry.settings.weight,
                connections_max: entry.settings.connections_max,
                usable: entry.is_usable() || (panicking.contains(&index) && entry.can_be_tried()),
                options: entry.options,
            })
            .collect();
        BackendsSnapshot { generation: self.generation, backends, groups, live: Arc::clone(live) }
    }

    fn group(&self, index: usize) -> Option<Group> {
        let settings = self.settings.groups.get(index)?;
        let members =
            || settings.backends.iter().filter_map(|&index| Some((index, self.entries.get(index)?)));
        let mut candidates: Vec<(usize, &Entry)> = members().filter(|(_, entry)| entry.is_usable()).collect();
        let panicking = candidates.is_empty();
        if panicking {
            candidates = members().filter(|(_, entry)| entry.can_be_tried()).collect();
        }
        let shares: Vec<Member> = candidates
            .iter()
            .map(|&(index, entry)| Member {
                id: id_of(index),
                identity: identity(&entry.settings.target),
                weight: entry.settings.weight,
            })
            .collect();
        Some(Group {
            name: settings.name.as_str().into(),
            members: settings.backends.iter().map(|&index| id_of(index)).collect(),
            offer: members().filter_map(|(_, entry)| entry.options).reduce(TcpOptions::common),
            panicking: panicking && !candidates.is_empty(),
            table: Maglev::build(&shares, TableSize::for_members(settings.backends.len())),
        })
    }
}

/// The number of the backend at `index`; `check` keeps it in range.
pub(super) fn id_of(index: usize) -> BackendId {
    BackendId(u16::try_from(index).unwrap_or(u16::MAX))
}

/// What places a backend in the tables: its target, hashed (FNV-1a) alike on every node, so that a fleet shares
/// connections alike. Targets come from the configuration, not from strangers; the hash need not be keyed.
fn identity(target: &Target) -> u64 {
    let text = target.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn check(settings: &Settings) -> Result<(), Error> {
    let count = settings.backends.len();
    if count > BACKENDS_MAX {
        return Err(Error::TooManyBackends(count));
    }
    let mut names = HashSet::new();
    for backend in &settings.backends {
        if !names.insert(backend.name.as_str()) {
            return Err(Error::DuplicateName(backend.name.clone()));
        }
    }
    let mut groups = HashSet::new();
    for group in &settings.groups {
        if !groups.insert(group.name.as_str()) {
            return Err(Error::DuplicateName(group.name.clone()));
        }
        if let Some(&index) = group.backends.iter().find(|&&index| index >= count) {
            return Err(Error::UnknownBackend { group: group.name.clone(), index, count });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(names: &[&str]) -> Settings {
        let addr = "127.0.0.1:80".parse().unwrap();
        Settings::one_group(names.iter().map(|&name| BackendSettings::new(name, addr)).collect())
    }

    fn usable(pool: &mut Pool) -> Vec<u16> {
        let snapshot = pool.snapshot(&Arc::new(Live::new()));
        snapshot.backends.iter().filter(|backend| backend.usable).map(|backend| backend.id.0).collect()
    }

    #[test]
    fn last_usable_backend_is_never_ejected() {
        let mut pool = Pool::new(settings(&["a", "b"])).unwrap();
        assert!(pool.eject(BackendId(0), Instant::ZERO));
        assert!(!pool.eject(BackendId(1), Instant::ZERO));
        assert_eq!(pool.ejections_refused, 1);
        assert_eq!(usable(&mut pool), [1]);
        assert!(pool.on_tick(pool.poll_timeout().unwrap()));
        assert_eq!(usable(&mut pool), [0, 1]);
    }

    #[test]
    fn group_whose_checks_all_fail_tries_everyone_but_the_drained() {
        let mut pool = Pool::new(settings(&["a", "b", "c"])).unwrap();
        let health = pool.settings.health;
        for entry in &mut pool.entries {
            for _ in 0..health.fall {
                entry.health.on_check(false, &health);
            }
        }
        pool.entries[2].drained = true;
        let snapshot = pool.snapshot(&Arc::new(Live::new()));
        assert!(snapshot.groups[0].panicking);
        assert_eq!(usable(&mut pool), [0, 1]);
        assert!((0..100).all(|hash| snapshot.pick(0, hash, 0).is_some_and(|id| id.0 < 2)));
    }

    #[test]
    fn reload_keeps_the_health_of_backends_that_stay() {
        let mut pool = Pool::new(settings(&["a", "b", "c"])).unwrap();
        assert!(pool.eject(BackendId(1), Instant::ZERO));
        let replaced = pool.reload(settings(&["a", "b"])).unwrap();
        assert!(replaced.is_empty());
        assert_eq!(usable(&mut pool), [0]);
        let replaced = pool.reload(settings(&["new", "b"])).unwrap();
        assert_eq!(replaced, [BackendId(0)]);
    }

    #[test]
    fn contradicting_settings_are_refused_and_change_nothing() {
        let mut pool = Pool::new(settings(&["a"])).unwrap();
        assert!(matches!(pool.reload(settings(&["a", "a"])), Err(Error::DuplicateName(_))));
        let mut wrong = settings(&["a"]);
        wrong.groups[0].backends.push(1);
        assert!(matches!(pool.reload(wrong), Err(Error::UnknownBackend { .. })));
        let names: Vec<String> = (0..=BACKENDS_MAX).map(|index| format!("b{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(matches!(pool.reload(settings(&names)), Err(Error::TooManyBackends(_))));
        assert!(pool.reload(settings(&names[1..])).is_ok(), "exactly the limit is fine");
    }
}
