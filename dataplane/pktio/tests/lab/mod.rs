//! Network namespaces and veth pairs for the tests: made with `ip`, removed on drop, never outside themselves.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace.
pub struct Namespace {
    pub name: String,
}

/// Runs a command and panics with its output when it fails.
pub fn command(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether namespaces can be made here; prints a line when not.
pub fn is_able(test: &str) -> bool {
    let name = format!("sbt-probe-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let made = nix::unistd::geteuid().is_root()
        && Command::new("ip")
            .args(["netns", "add", &name])
            .output()
            .is_ok_and(|output| output.status.success());
    if made {
        command(&format!("ip netns del {name}"));
    } else {
        println!("{test}: skipped, needs root and network namespaces");
    }
    made
}

impl Namespace {
    pub fn new(tag: &str) -> Self {
        let name = format!("sbt-{tag}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command(&format!("ip netns add {name}"));
        let namespace = Self { name };
        for sysctl in ["all.disable_ipv6", "default.disable_ipv6"] {
            namespace.exec(&format!("sysctl -qw net.ipv6.conf.{sysctl}=1"));
        }
        namespace.exec("ip link set lo up");
        namespace
    }

    /// Runs a command in the namespace.
    pub fn exec(&self, line: &str) -> String {
        command(&format!("ip netns exec {} {line}", self.name))
    }

    /// Runs `work` on a thread of its own inside the namespace. The mount namespace stays.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace exists");
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The MAC address of an interface.
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        let text = self.exec(&format!("cat /sys/class/net/{interface}/address"));
        let mut mac = [0; 6];
        for (byte, part) in mac.iter_mut().zip(text.trim().split(':')) {
            *byte = u8::from_str_radix(part, 16).expect("hexadecimal");
        }
        mac
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Joins two namespaces by a veth pair, both ends up, with transmit checksums computed by the sender.
pub fn veth(a: &Namespace, a_end: &str, b: &Namespace, b_end: &str, queues: u32) {
    command(&format!(
        "ip link add {a_end} netns {} numrxqueues {queues} numtxqueues {queues} type veth \
         peer name {b_end} netns {} numrxqueues {queues} numtxqueues {queues}",
        a.name, b.name
    ));
    for (namespace, end) in [(a, a_end), (b, b_end)] {
        namespace.exec(&format!("ethtool -K {end} tx off gro off gso off tso off"));
        namespace.exec(&format!("ip link set {end} up"));
    }
}

/// Formats a MAC address.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
