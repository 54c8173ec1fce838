//! Running the system's tools (`ip`, `ethtool`, `nft`, `nginx`), and processes that outlive one call.
//!
//! Owns: starting, recording and ending processes. A recorded process is remembered as pid and start time in a
//! file, so that a later run ends exactly that process and never a stranger that got the same number.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process may take to end after SIGTERM before it gets SIGKILL. The node drains, nginx is instant.
const TERMINATE_SECONDS_MAX: u64 = 5;

/// Runs a command line, split at blanks without any quoting, and returns what it printed.
///
/// # Errors
/// When it cannot be started or ends with a failure; the message holds its standard error.
pub(crate) fn run(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let Some(program) = words.next() else { bail!("empty command line") };
    finish(Command::new(program).args(words), line)
}

/// Runs a shell script inside a network namespace; `/sys` shows that namespace's interfaces.
pub(crate) fn run_script_in(netns: &str, script: &str) -> Result<String> {
    finish(Command::new("ip").args(["netns", "exec", netns, "sh", "-ec", script]), script)
}

fn finish(command: &mut Command, shown: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed: {}", stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program of the search path lies, `/usr/sbin` and `/sbin` included, as for root.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin"), PathBuf::from("/usr/bin")])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// A program of ours: beside this one, or in the search path.
pub(crate) fn ours(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(name);
    if beside.is_file() {
        return Ok(beside);
    }
    find(name).with_context(|| format!("no {name}: neither {} nor in the search path", beside.display()))
}

/// A process started here: ended and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    record: Option<PathBuf>,
}

impl Process {
    /// Starts `command` in its own process group; with `record`, a file there says which process it is until
    /// it has ended.
    pub(crate) fn start(command: &mut Command, record: Option<&Path>) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        if let Some(path) = record {
            write_record(path, child.id())?;
        }
        Ok(Self { child, record: record.map(Path::to_path_buf) })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal; a process that has ended is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// SIGTERM, a few seconds of patience, SIGKILL.
    pub(crate) fn stop(&mut self) {
        if self.is_running() {
            self.signal(Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(TERMINATE_SECONDS_MAX);
            while self.is_running() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if let Some(path) = self.record.take() {
            let _ = fs::remove_file(path);
        }
    }

    /// Leaves the process running; its record stays, so that `lab down` finds it.
    pub(crate) fn detach(mut self) {
        self.record = None;
        std::mem::forget(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes which process `pid` is: its number and its start time in clock ticks since boot.
pub(crate) fn write_record(path: &Path, pid: u32) -> Result<()> {
    let start = start_ticks(pid).unwrap_or(0);
    fs::write(path, format!("{pid} {start}\n")).with_context(|| format!("write {}", path.display()))
}

/// Ends the process that a record names, when it still is the same one, and removes the record.
pub(crate) fn end_recorded(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    if let (Some(Ok(pid)), Some(Ok(start))) = (numbers.next(), numbers.next())
        && let Ok(pid) = u32::try_from(pid)
    {
        let same = || start_ticks(pid) == Some(start);
        if same() {
            let target = Pid::from_raw(pid as i32);
            let _ = kill(target, Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(TERMINATE_SECONDS_MAX);
            while same() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            if same() {
                let _ = kill(target, Signal::SIGKILL);
            }
        }
    }
    let _ = fs::remove_file(path);
}

/// Field 22 of `/proc/PID/stat`; `None` when there is no such process or it is a zombie.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may hold blanks; fields are counted from after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_tool_reports_its_own_words() {
        let error = run("ls /nonexistent-folder").unwrap_err().to_string();
        assert!(error.contains("nonexistent-folder"), "{error}");
        assert_eq!(run("echo one two").unwrap(), "one two\n");
    }

    #[test]
    fn a_record_ends_only_the_process_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("sleeper");
        let mut sleeper = Process::start(Command::new("sleep").arg("60"), None).unwrap();
        fs::write(&record, format!("{} {}\n", sleeper.pid(), 1)).unwrap();
        end_recorded(&record);
        assert!(sleeper.is_running(), "another start time is another process");
        write_record(&record, sleeper.pid()).unwrap();
        end_recorded(&record);
        assert!(!sleeper.is_running());
        assert!(!record.exists());
    }
}
