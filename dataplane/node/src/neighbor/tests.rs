//! The mirror against the real kernel, in network namespaces of its own (root only; skipped otherwise).
//!
//! A thread that unshares its network namespace is alone in it, and the namespace goes away with the thread: nothing
//! to name, nothing to clean up.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use secbeat_net::neighbor::Resolution;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn ip(arguments: &str) {
    let output =
        Command::new("ip").args(arguments.split_whitespace()).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A second namespace: runs `ip` commands in it until dropped.
struct Peer {
    commands: Option<Sender<String>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    task: i32,
}

impl Peer {
    fn new() -> Self {
        let (commands, received) = channel::<String>();
        let (told, done) = channel();
        let (task_told, task) = channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            task_told.send(gettid().as_raw()).unwrap();
            for command in received {
                ip(&command);
                told.send(()).unwrap();
            }
        });
        Self { commands: Some(commands), done, thread: Some(thread), task: task.recv().unwrap() }
    }

    fn ip(&self, command: &str) {
        self.commands.as_ref().unwrap().send(command.to_owned()).unwrap();
        self.done.recv_timeout(PATIENCE).expect("the peer's command succeeds");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs `test` in a fresh namespace where `port0` (10.1.0.1/24, fd01::1/64) leads to `far0` of the peer
/// (10.1.0.2, fd01::2).
fn in_namespace(name: &str, test: impl FnOnce(&Peer) + Send + 'static) {
    let name = name.to_owned();
    let run = move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("skipped: {name} needs root to make network namespaces ({errno})");
            return;
        }
        let peer = Peer::new();
        ip("link set lo up");
        ip(&format!("link add port0 type veth peer name far0 netns {}", peer.task));
        ip("link set port0 address 02:00:00:00:00:01 mtu 1400 up");
        ip("addr add 10.1.0.1/24 dev port0");
        ip("addr add fd01::1/64 dev port0 nodad");
        peer.ip("link set far0 address 02:00:00:00:00:02 up");
        peer.ip("addr add 10.1.0.2/24 dev far0");
        peer.ip("addr add fd01::2/64 dev far0 nodad");
        test(&peer);
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

fn open() -> Mirror {
    Mirror::open(&["port0".to_owned()]).unwrap()
}

fn until(mirror: &mut Mirror, what: &str, done: impl Fn(&Snapshot) -> bool) {
    let start = Instant::now();
    while !done(&mirror.snapshot()) {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen: {:?}", mirror.snapshot());
        mirror.poll(Duration::from_millis(50)).unwrap();
    }
}

fn reachable(snapshot: &Snapshot, to: &str) -> Option<(Vec<u8>, u16, Option<IpAddr>)> {
    match snapshot.table.resolve(addr(to)) {
        Resolution::Reachable { link, source } => Some((link.header().to_vec(), link.mtu, source)),
        _ => None,
    }
}

const TO_PEER: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

#[test]
fn ports_have_their_addresses_mtu_and_mac() {
    in_namespace("ports_have_their_addresses_mtu_and_mac", |_| {
        let mut mirror = open();
        until(&mut mirror, "link up", |snapshot| snapshot.ports[0].up);
        let snapshot = mirror.snapshot();
        let port = &snapshot.ports[0];
        assert_eq!((port.mac, port.mtu), ([2, 0, 0, 0, 0, 1], 1400));
        assert!(snapshot.is_local(addr("10.1.0.1")) && snapshot.is_local(addr("fd01::1")));
        assert!(!snapshot.is_local(addr("10.1.0.2")));
        ip("addr add 10.1.0.99/32 dev port0");
        until(&mut mirror, "new address", |snapshot| snapshot.is_local(addr("10.1.0.99")));
        ip("link set port0 mtu 1300");
        until(&mut mirror, "new MTU", |snapshot| snapshot.ports[0].mtu == 1300);
        assert!(matches!(Mirror::open(&["nobody0".to_owned()]), Err(Error::NoInterface(_))));
    });
}

#[test]
fn wanted_destinations_are_resolved_by_the_kernel_and_kept() {
    in_namespace("wanted_destinations_are_resolved_by_the_kernel_and_kept", |_| {
        let mut mirror = open();
        until(&mut mirror, "link up", |snapshot| snapshot.ports[0].up);
        assert!(reachable(&mirror.snapshot(), "10.1.0.2").is_none());
        mirror.set_wanted(&[addr("10.1.0.2"), addr("fd01::2")]);
        until(&mut mirror, "resolution", |snapshot| {
            reachable(snapshot, "10.1.0.2").is_some() && reachable(snapshot, "fd01::2").is_some()
        });
        let (header, mtu, source) = reachable(&mirror.snapshot(), "10.1.0.2").unwrap();
        assert_eq!((&header[..12], mtu, source), (&TO_PEER[..], 1400, Some(addr("10.1.0.1"))));
        let (header, _, source) = reachable(&mirror.snapshot(), "fd01::2").unwrap();
        assert_eq!(
            (&header[..12], &header[12..], source),
            (&TO_PEER[..], &[0x86, 0xdd][..], Some(addr("fd01::1")))
        );
        // A neighbour that the kernel forgets is asked for again.
        ip("neigh flush dev port0");
        until(&mut mirror, "second resolution", |snapshot| reachable(snapshot, "10.1.0.2").is_some());
    });
}

#[test]
fn without_privilege_a_datagram_makes_the_kernel_resolve() {
    in_namespace("without_privilege_a_datagram_makes_the_kernel_resolve", |_| {
        let mut mirror = open();
        until(&mut mirror, "link up", |snapshot| snapshot.ports[0].up);
        mirror.asker.unprivileged = true;
        mirror.set_wanted(&[addr("10.1.0.2"), addr("fd01::2")]);
        until(&mut mirror, "resolution", |snapshot| {
            reachable(snapshot, "10.1.0.2").is_some() && reachable(snapshot, "fd01::2").is_some()
        });
    });
}

#[test]
fn stale_entry_in_use_is_verified_again() {
    in_namespace("stale_entry_in_use_is_verified_again", |_| {
        let mut mirror = open();
        mirror.set_wanted(&[addr("10.1.0.2")]);
        until(&mut mirror, "resolution", |snapshot| reachable(snapshot, "10.1.0.2").is_some());
        ip("neigh change 10.1.0.2 dev port0 nud stale");
        // As if the interval between two confirmations had passed.
        mirror.asker = Asker::default();
        until(&mut mirror, "link up", |snapshot| snapshot.ports[0].up);
        mirror.poll(Duration::ZERO).unwrap();
        let shown = Command::new("ip").args(["neigh", "show", "10.1.0.2"]).output().unwrap().stdout;
        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.contains("STALE") && shown.contains("02:00:00:00:00:02"), "{shown}");
    });
}

#[test]
fn failed_neighbor_is_unresolved_and_a_permanent_one_is_used() {
    in_namespace("failed_neighbor_is_unresolved_and_a_permanent_one_is_used", |_| {
        let mut mirror = open();
        until(&mut mirror, "link up", |snapshot| snapshot.ports[0].up);
        ip("neigh add 10.1.0.50 lladdr 02:00:00:00:00:50 dev port0 nud permanent");
        until(&mut mirror, "permanent entry", |snapshot| reachable(snapshot, "10.1.0.50").is_some());
        ip("neigh change 10.1.0.50 dev port0 nud failed");
        until(&mut mirror, "failure", |snapshot| reachable(snapshot, "10.1.0.50").is_none());
    });
}

#[test]
fn routes_follow_gateways_metrics_and_refusals() {
    in_namespace("routes_follow_gateways_metrics_and_refusals", |_| {
        ip("route add 192.0.2.0/24 via 10.1.0.2 metric 10 mtu 1280");
        ip("route add 192.0.2.0/24 via 10.1.0.77 metric 20");
        ip("route add unreachable 192.0.2.128/25");
        ip("route add 2001:db8::/32 via fd01::2");
        let mut mirror = open();
        until(&mut mirror, "link up", |snapshot| snapshot.ports[0].up);
        mirror.set_wanted(&[addr("192.0.2.1"), addr("2001:db8::1")]);
        until(&mut mirror, "gateways", |snapshot| {
            reachable(snapshot, "192.0.2.1").is_some() && reachable(snapshot, "2001:db8::1").is_some()
        });
        let (header, mtu, source) = reachable(&mirror.snapshot(), "192.0.2.1").unwrap();
        assert_eq!((&header[..12], mtu, source), (&TO_PEER[..], 1280, Some(addr("10.1.0.1"))));
        assert_eq!(reachable(&mirror.snapshot(), "2001:db8::1").unwrap().2, Some(addr("fd01::1")));
        assert_eq!(mirror.snapshot().table.resolve(addr("192.0.2.200")), Resolution::Unreachable);
        assert_eq!(
            mirror.snapshot().table.resolve(addr("10.1.0.1")),
            Resolution::Unreachable,
            "our own address"
        );
        ip("route del 192.0.2.0/24 metric 10");
        until(&mut mirror, "other gateway", |snapshot| {
            matches!(snapshot.table.resolve(addr("192.0.2.1")),
                Resolution::Unresolved { next_hop, .. } if next_hop == addr("10.1.0.77"))
        });
    });
}

#[test]
fn routes_vanish_with_their_link_and_come_back() {
    in_namespace("routes_vanish_with_their_link_and_come_back", |_| {
        let mut mirror = open();
        mirror.set_wanted(&[addr("10.1.0.2")]);
        until(&mut mirror, "resolution", |snapshot| reachable(snapshot, "10.1.0.2").is_some());
        ip("link set port0 down");
        until(&mut mirror, "loss", |snapshot| {
            !snapshot.ports[0].up && snapshot.table.resolve(addr("10.1.0.2")) == Resolution::Unreachable
        });
        ip("link set port0 up");
        until(&mut mirror, "return", |snapshot| reachable(snapshot, "10.1.0.2").is_some());
    });
}

#[test]
fn vlan_interfaces_are_their_ports_with_tags() {
    in_namespace("vlan_interfaces_are_their_ports_with_tags", |peer| {
        if !Command::new("ip")
            .args(["link", "add", "link", "port0", "name", "probe", "type", "vlan", "id", "9"])
            .status()
            .unwrap()
            .success()
        {
            println!("skipped: vlan_interfaces_are_their_ports_with_tags needs a kernel with 8021q");
            return;
        }
        ip("link add link port0 name v42 type vlan proto 802.1ad id 42");
        ip("link add link v42 name v42-7 type vlan id 7");
        ip("link set v42 up");
        ip("link set v42-7 up");
        ip("addr add 10.7.0.1/24 dev v42-7");
        peer.ip("link add link far0 name v42 type vlan proto 802.1ad id 42");
        peer.ip("link add link v42 name v42-7 type vlan id 7");
        peer.ip("link set v42 up");
        peer.ip("link set v42-7 up");
        peer.ip("addr add 10.7.0.2/24 dev v42-7");
        let mut mirror = open();
        mirror.set_wanted(&[addr("10.7.0.2")]);
        until(&mut mirror, "resolution", |snapshot| reachable(snapshot, "10.7.0.2").is_some());
        let snapshot = mirror.snapshot();
        let (header, mtu, source) = reachable(&snapshot, "10.7.0.2").unwrap();
        assert_eq!(header[12..], [0x88, 0xa8, 0, 42, 0x81, 0x00, 0, 7, 0x08, 0x00]);
        assert_eq!((mtu, source), (1400, Some(addr("10.7.0.1"))));
        assert!(snapshot.is_local(addr("10.7.0.1")), "addresses of VLANs count for their port");
    });
}

#[test]
fn lost_notifications_lead_to_a_full_dump() {
    in_namespace("lost_notifications_lead_to_a_full_dump", |_| {
        let mut mirror = open();
        until(&mut mirror, "link up", |snapshot| snapshot.ports[0].up);
        let path = std::env::temp_dir().join(format!("secbeat-neigh-{}", std::process::id()));
        // 20,000 changes of neighbours do not fit the socket's buffer.
        for round in 0..40 {
            let nud = if round % 2 == 0 { "stale" } else { "reachable" };
            let batch: String = (0..500)
                .map(|n| {
                    let (high, low) = (n / 250, 1 + n % 250);
                    format!("neigh replace 10.1.{high}.{low} lladdr 02:00:00:00:01:01 dev port0 nud {nud}\n")
                })
                .collect();
            std::fs::write(&path, batch).unwrap();
            ip(&format!("-batch {}", path.display()));
        }
        std::fs::remove_file(&path).unwrap();
        ip("neigh add 10.1.0.251 lladdr 02:00:00:00:02:02 dev port0 nud permanent");
        until(&mut mirror, "resync", |snapshot| reachable(snapshot, "10.1.0.251").is_some());
        assert!(mirror.overruns() > 0, "the buffer did not overflow: the test proves nothing");
    });
}
