//! Cores: who runs where, and keeping idle cores awake while something is measured.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::tool;

/// Number of cores of this machine.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The core for traffic generators and the attacker's side of the lab.
pub(crate) const ATTACK_CORE: usize = 0;

/// The core for everything that defends: the node, the kernel's work for it, client and origin.
pub(crate) fn defence_core() -> usize {
    1.min(count() - 1)
}

/// Binds a thread or process to one core; `pid` 0 is the calling thread.
pub(crate) fn pin(pid: i32, core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(pid), &cores).with_context(|| format!("pin {pid} to core {core}"))
}

/// Lets a thread or process go before all ordinary ones of its core (`SCHED_RR`, the lowest of the real-time
/// priorities): for what would have a machine of its own outside a lab.
pub(crate) fn prefer(pid: i32) -> Result<()> {
    tool::run(&format!("chrt -r -p 1 {pid}")).map(|_| ())
}

/// Held while measuring: a halted virtual core needs tens of microseconds to wake, which an appliance driven by
/// a network card would not pay. Cores sleep again when this is dropped.
#[derive(Debug)]
pub(crate) struct AwakeCores(
    #[expect(dead_code, reason = "the kernel keeps the wish while it is open")] Option<File>,
);

impl AwakeCores {
    /// Asks for zero wake-up latency; without permission the measurement goes on, only noisier.
    pub(crate) fn hold() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/cpu_dma_latency").ok();
        Self(file.and_then(|mut file| file.write_all(&0_i32.to_ne_bytes()).ok().map(|()| file)))
    }
}

/// Kernel threads whose name starts with `prefix`, by process id.
pub(crate) fn kernel_threads(prefix: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(prefix))
    })
    .collect()
}

/// A thread whose time is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Thread(PathBuf);

impl Thread {
    /// The calling thread.
    pub(crate) fn current() -> Self {
        Self::of(std::process::id(), nix::unistd::gettid().as_raw())
    }

    /// A kernel thread.
    pub(crate) fn kernel(pid: i32) -> Self {
        Self(format!("/proc/{pid}/schedstat").into())
    }

    /// The thread of a process that has this name.
    pub(crate) fn named(pid: u32, name: &str) -> Option<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let mut tids = tasks.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let tid = tids.find(|tid| {
            fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).is_ok_and(|comm| comm.trim() == name)
        })?;
        Some(Self::of(pid, tid))
    }

    fn of(pid: u32, tid: i32) -> Self {
        Self(format!("/proc/{pid}/task/{tid}/schedstat").into())
    }

    /// How long it has run.
    pub(crate) fn used(&self) -> Duration {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }

    /// How long it has been ready to run while something else had its core. Zero when the kernel does not say.
    pub(crate) fn waited(&self) -> Duration {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let nanos = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}

/// A process and all that descend from it.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    all
}

/// CPU time that a process and its descendants have used so far, user and system.
pub(crate) fn time_used(pid: u32) -> Duration {
    let of_task = |path: PathBuf| -> u64 {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let of_process = |pid: u32| -> u64 {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.map(|task| of_task(task.path())).sum()
    };
    Duration::from_nanos(family(pid).into_iter().map(of_process).sum())
}

/// Memory of a process that is really in use, in KiB (`VmRSS`).
pub(crate) fn resident_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Memory of the machine in KiB by the name that `/proc/meminfo` has for it; 0 when it has none.
pub(crate) fn memory_kib(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What a core has done since the machine started, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreTime {
    busy: u64,
    all: u64,
}

impl CoreTime {
    /// Reads it for one core.
    pub(crate) fn of(core: usize) -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default(), core)
    }

    /// `cpuN user nice system idle iowait irq softirq steal guest guest_nice`; guest is part of user already.
    fn parse(text: &str, core: usize) -> Self {
        let name = format!("cpu{core}");
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name.as_str()));
        let fields = line.into_iter().flat_map(|line| line.split_whitespace().skip(1).take(8));
        let ticks: Vec<u64> = fields.filter_map(|word| word.parse().ok()).collect();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let all: u64 = ticks.iter().sum();
        Self { busy: all - idle, all }
    }

    /// How busy the core was between `before` and this, in percent.
    pub(crate) fn busy_percent_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        100.0 * self.busy.saturating_sub(before.busy) as f64 / all as f64
    }
}

/// Held while measuring: the kernel weighs sessions and not processes when it groups them by session, over all
/// cores, so a generator on one core would take time from a defender that was started from the same terminal.
#[derive(Debug)]
pub(crate) struct UngroupedSessions(Option<String>);

impl UngroupedSessions {
    const SWITCH: &'static str = "/proc/sys/kernel/sched_autogroup_enabled";

    /// Switches the grouping off; without permission, or in a kernel without it, nothing happens.
    pub(crate) fn hold() -> Self {
        let before = fs::read_to_string(Self::SWITCH).ok();
        Self(before.filter(|_| fs::write(Self::SWITCH, "0").is_ok()))
    }
}

impl Drop for UngroupedSessions {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = fs::write(Self::SWITCH, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_busy_with_everything_but_idling() {
        let before =
            CoreTime::parse("cpu  1 1 1 1\ncpu0 9 9 9 9 9 9 9 9 0 0\ncpu1 10 0 10 70 10 0 0 0 5 0\n", 1);
        assert_eq!(before, CoreTime { busy: 20, all: 100 });
        let after = CoreTime::parse("cpu1 20 5 20 80 15 10 40 10 5 0\n", 1);
        assert_eq!(after.busy_percent_since(before), 85.0);
        assert_eq!(CoreTime::parse("", 1), CoreTime::default());
        assert!(memory_kib("MemTotal") > 0);
        assert_eq!(memory_kib("NoSuchThing"), 0);
    }
}
