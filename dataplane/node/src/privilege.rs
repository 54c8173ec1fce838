//! Giving up what the privileged set-up needed.
//!
//! Owns: dropping capabilities to a named few, no_new_privs, the change to another user. Does not own: the decision
//! when (`start` calls it after interfaces, sockets and memory are set up, before workers run).
//!
//! Capabilities belong to threads (capabilities(7)): a thread made afterwards inherits the reduced set, one made
//! before keeps its own, so [`Privileges::give_up`] runs before threads are made, and threads that exist call
//! [`renounce_in_thread`]. The report names any thread that still holds more.

use std::fmt;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, User, setgroups, setresgid, setresuid};

/// What a node on AF_XDP still needs while it runs, and why.
pub const KEPT_FOR_XDP: &[(Capability, &str)] = &[
    // Where kernel.unprivileged_bpf_disabled is set, bpf(2) refuses even updates of open maps without it.
    (Capability::CAP_BPF, "bans and listeners are written into maps of the XDP program"),
    (Capability::CAP_NET_ADMIN, "the XDP program is replaced at reload and its sockets are steered"),
    (Capability::CAP_NET_RAW, "a queue whose socket failed is opened again"),
];

/// What a node on kernel sockets still needs: nothing.
pub const KEPT_FOR_SOCKETS: &[(Capability, &str)] = &[];

/// What is to be given up.
#[derive(Clone, Debug)]
pub struct Privileges {
    /// What stays, and why.
    pub keep: &'static [(Capability, &'static str)],
    /// Whom to become; `None` = stay.
    pub user: Option<String>,
    /// Given to that user first, with the files in it.
    pub state_dir: PathBuf,
}

/// What was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whom the process is now.
    pub user: String,
    /// What it still holds, with the reason.
    pub kept: Vec<String>,
    /// Number of capabilities dropped.
    pub dropped: usize,
    /// What did not go as wished.
    pub notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "runs as {}, gave up {} capabilities, keeps ", self.user, self.dropped)?;
        if self.kept.is_empty() { f.write_str("none") } else { f.write_str(&self.kept.join(", ")) }?;
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

/// Why privileges could not be given up. The node must not run then: it would be more powerful than its operator
/// believes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such user.
    #[error("[server] user: there is no user `{0}`")]
    NoUser(String),
    /// The kernel refused.
    #[error("cannot {0}: {1}")]
    Refused(&'static str, String),
}

impl Privileges {
    /// Gives up everything but what is kept, in this thread and all made after it, and for all programs ever
    /// started from here.
    ///
    /// # Errors
    /// When anything that should be given up could not be.
    pub fn give_up(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        let held = caps::read(None, CapSet::Permitted)
            .map_err(|e| Error::Refused("read capabilities", e.to_string()))?;
        let keep: CapsHashSet =
            self.keep.iter().map(|(cap, _)| *cap).filter(|cap| held.contains(cap)).collect();
        // The bounding set can be reduced only while CAP_SETPCAP is held.
        if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
            for cap in caps::all().difference(&keep) {
                // Capabilities that this kernel does not know are none to be dropped.
                let _ = caps::drop(None, CapSet::Bounding, *cap);
            }
        }
        if let Some(name) = &self.user {
            self.become_user(name, &mut report)?;
        }
        let _ = caps::clear(None, CapSet::Ambient);
        let refused = |what| move |error: caps::errors::CapsError| Error::Refused(what, error.to_string());
        caps::set(None, CapSet::Inheritable, &CapsHashSet::new())
            .map_err(refused("clear inheritable capabilities"))?;
        caps::set(None, CapSet::Effective, &keep).map_err(refused("reduce effective capabilities"))?;
        caps::set(None, CapSet::Permitted, &keep).map_err(refused("reduce permitted capabilities"))?;
        nix::sys::prctl::set_no_new_privs().map_err(|e| Error::Refused("set no_new_privs", e.to_string()))?;
        crate::logging::renounce_privileges();
        report.dropped = held.difference(&keep).count();
        report.user = Uid::current().to_string();
        if let Ok(Some(user)) = User::from_uid(Uid::current()) {
            report.user = user.name;
        }
        for (cap, why) in self.keep.iter().filter(|(cap, _)| keep.contains(cap)) {
            report.kept.push(format!("{cap} ({why})"));
        }
        report.notes.extend(threads_with_more(&keep));
        Ok(report)
    }

    fn become_user(&self, name: &str, report: &mut Report) -> Result<(), Error> {
        let user = User::from_name(name).ok().flatten().ok_or_else(|| Error::NoUser(name.into()))?;
        if Uid::effective() == user.uid {
            return Ok(());
        }
        if let Err(error) = give_directory(&self.state_dir, user.uid, user.gid) {
            report.notes.push(format!("{} could not be given to {name}: {error}", self.state_dir.display()));
        }
        let refused = |what| move |error: nix::Error| Error::Refused(what, error.to_string());
        // Otherwise the kernel clears all capabilities when the last root identity goes.
        caps::securebits::set_keepcaps(true)
            .map_err(|e| Error::Refused("keep capabilities", e.to_string()))?;
        setgroups(&[user.gid]).map_err(refused("set groups"))?;
        setresgid(user.gid, user.gid, user.gid).map_err(refused("change the group"))?;
        setresuid(user.uid, user.uid, user.uid).map_err(refused("change the user"))?;
        Ok(())
    }
}

/// Drops every capability of the calling thread. For threads that never need one; failure is shown by the report.
pub fn renounce_in_thread() {
    for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        let _ = caps::clear(None, set);
    }
}

fn give_directory(directory: &Path, uid: Uid, gid: Gid) -> std::io::Result<()> {
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    fs::create_dir_all(directory)?;
    chown(directory, Some(uid), Some(gid))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Not through links: the directory may have belonged to somebody else.
        let meta = entry.metadata()?;
        if meta.is_file() && meta.nlink() == 1 {
            chown(entry.path(), Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// Threads of this process that hold more than `keep`.
fn threads_with_more(keep: &CapsHashSet) -> Vec<String> {
    let allowed = keep.iter().fold(0, |mask, cap| mask | cap.bitmask());
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let permitted = field("CapPrm:").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        if permitted & !allowed != 0 {
            found.push(format!("thread {} still holds more", field("Name:").unwrap_or("?")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own: capabilities and no_new_privs belong to threads, so the other tests keep theirs.
    fn in_thread<T: Send>(test: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(test).join().unwrap())
    }

    #[test]
    fn only_what_is_kept_is_left() {
        let report = in_thread(|| {
            let privileges = Privileges { keep: KEPT_FOR_XDP, user: None, state_dir: PathBuf::new() };
            let report = privileges.give_up().unwrap();
            let left = caps::read(None, CapSet::Permitted).unwrap();
            assert!(left.iter().all(|cap| KEPT_FOR_XDP.iter().any(|(kept, _)| kept == cap)), "{left:?}");
            assert_eq!(left.len(), report.kept.len());
            assert!(nix::sys::prctl::get_no_new_privs().unwrap());
            let again = privileges.give_up().unwrap();
            assert_eq!((again.dropped, again.kept), (0, report.kept.clone()), "giving up twice is harmless");
            report
        });
        assert!(report.to_string().starts_with("runs as "));
    }

    #[test]
    fn sockets_need_nothing() {
        in_thread(|| {
            let privileges = Privileges { keep: KEPT_FOR_SOCKETS, user: None, state_dir: PathBuf::new() };
            assert!(privileges.give_up().unwrap().to_string().contains("keeps none"));
            assert!(caps::read(None, CapSet::Permitted).unwrap().is_empty());
        });
    }

    #[test]
    fn unknown_user_is_an_error_before_anything_is_given_up() {
        let user = Some("no-such-user".into());
        let privileges = Privileges { keep: KEPT_FOR_XDP, user, state_dir: PathBuf::new() };
        let error = in_thread(move || privileges.give_up().unwrap_err());
        assert_eq!(error.to_string(), "[server] user: there is no user `no-such-user`");
    }
}
