//! What the process itself uses, from `/proc/self`.

use core::time::Duration;
use std::fs;

/// CPU time used by all threads since the start, user and system. `None` where `/proc` does not say.
pub(super) fn cpu_time() -> Option<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    let time = |t: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(t.tv_sec()).ok()?;
        let micros = u64::try_from(t.tv_usec()).ok()?;
        Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
    };
    Some(time(usage.user_time())? + time(usage.system_time())?)
}

/// Memory resident now, in bytes. Zero where `/proc` does not say.
pub(super) fn memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    memory_of(&status)
}

/// The sum of resident memory and huge pages, which `VmRSS` does not contain.
fn memory_of(status: &str) -> u64 {
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    (kib("VmRSS") + kib("HugetlbPages")) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_count_as_memory() {
        assert_eq!(memory_of("Name:\tx\nVmRSS:\t    1000 kB\nHugetlbPages:\t    2048 kB\n"), 3_048 * 1_024);
        assert_eq!(memory_of("nothing"), 0);
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        assert!(memory_bytes() > 100_000);
        assert!(cpu_time().is_some());
    }
}
