//! Packet pairs: a packet in, the verdict and the counter that must move. Run by `BPF_PROG_RUN` on the loopback of
//! an empty network namespace, with a socket bound so that a redirect is a redirect.

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::test_support::is_root;
use crate::xsk::{XskConfig, XskInterface, XskIo};

mod packets;
mod verdicts;

use packets::{Ipv4, Ipv6, Packet};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The program on a loopback interface of its own.
struct Bench {
    program: Program,
    _io: XskIo,
}

/// Runs a test on a thread with a network namespace of its own, where it can hurt nobody.
fn on_bench(test: &str, unbound: Unbound, work: impl FnOnce(&mut Bench) + Send) {
    if !is_root(test) {
        return;
    }
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                    println!("{test}: skipped, no network namespace: {error}");
                    return;
                }
                let interfaces = vec![InterfaceConfig { name: "lo".into(), mode: AttachMode::Generic }];
                let mut program = Program::open(&ProgramConfig {
                    pin_dir: None,
                    interfaces,
                    unbound,
                    cookies: CookieConfig::default(),
                })
                .unwrap();
                let interfaces = vec![XskInterface { name: "lo".into(), queue: 0 }];
                let slots = XskConfig { fill_slots: 64, rx_slots: 64, tx_slots: 64, ..XskConfig::default() };
                let (io, _) = XskIo::open(&XskConfig { interfaces, ..slots }).unwrap();
                for (port, queue, fd) in io.sockets() {
                    program.bind_queue(port, queue, fd).unwrap();
                }
                let listener = |addr: &str, protocol| ListenerKey { addr: addr.parse().unwrap(), protocol };
                program
                    .set_listeners(&[
                        listener("198.51.100.1:80", 6),
                        listener("198.51.100.1:53", 17),
                        listener("[2001:db8::1]:80", 6),
                        listener("[2001:db8::1]:53", 17),
                    ])
                    .unwrap();
                let range =
                    |addr: &str, protocol, ports| SnatRange { addr: addr.parse().unwrap(), protocol, ports };
                program
                    .set_snat(&[
                        range("198.51.100.2", 6, 20000..=29999),
                        range("2001:db8::2", 17, 30000..=39999),
                    ])
                    .unwrap();
                program.set_management_ports(&[22]).unwrap();
                work(&mut Bench { program, _io: io });
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

impl Bench {
    /// Runs one packet and checks the action, and that exactly the counter `reason` moved by one.
    fn expect(&mut self, what: &str, frame: &[u8], action: u32, reason: &str) {
        let before = self.program.counters().unwrap();
        let (got, _) = self.program.dry_run(0, frame, 1).unwrap();
        let after = self.program.counters().unwrap();
        let moved: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before.1 != after.1)
            .map(|(before, after)| (before.0, after.1 - before.1))
            .collect();
        assert_eq!((got, moved.as_slice()), (action, [(reason, 1)].as_slice()), "{what}: {frame:02x?}");
    }

    fn worker(&mut self, what: &str, packet: &Packet) {
        self.expect(what, &packet.frame(), XDP_REDIRECT, "worker");
    }

    fn kernel(&mut self, what: &str, packet: &Packet) {
        self.expect(what, &packet.frame(), XDP_PASS, "pass_not_ours");
    }

    fn drops(&mut self, what: &str, packet: &Packet, reason: &str) {
        self.expect(what, &packet.frame(), XDP_DROP, reason);
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn lists_survive_in_pinned_maps_and_a_restart_takes_the_link_over() {
    let test = "lists_survive_in_pinned_maps_and_a_restart_takes_the_link_over";
    if !is_root(test) {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let pin_dir = parent.path().join("bpf/node");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A mount namespace too: the bpffs that is mounted goes with the thread.
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS) {
                println!("{test}: skipped, no namespaces: {error}");
                return;
            }
            nix::mount::mount(
                None::<&str>,
                "/",
                None::<&str>,
                nix::mount::MsFlags::MS_PRIVATE | nix::mount::MsFlags::MS_REC,
                None::<&str>,
            )
            .unwrap();
            let config = |mode| ProgramConfig {
                pin_dir: Some(pin_dir.clone()),
                interfaces: vec![InterfaceConfig { name: "lo".into(), mode }],
                unbound: Unbound::Pass,
                cookies: CookieConfig::default(),
            };
            let mut first = Program::open(&config(AttachMode::Auto)).unwrap();
            assert!(!first.attached()[0].taken_over);
            assert_eq!(first.attached()[0].mode, AttachMode::Generic);
            assert!(first.attached()[0].note.contains("the driver has no XDP"), "{:?}", first.attached());
            first.set_allowed(&[net("10.9.0.0/16")]).unwrap();
            first.block(net("10.0.0.0/8"), Some(Duration::from_secs(1000))).unwrap();
            first.block(net("fd00::/8"), None).unwrap();
            first.dry_run(0, &[0; 14], 3).unwrap();
            drop(first);
            assert_ne!(kernel::attached_ids(1).unwrap(), (0, 0), "the program stays when the process goes");

            let mut second = Program::open(&config(AttachMode::Generic)).unwrap();
            assert!(second.attached()[0].taken_over);
            assert_eq!(second.attached()[0].note, "");
            assert!(second.counters().unwrap()[0].1 >= 3, "counters go on");
            let blocked = second.blocked();
            assert_eq!(
                blocked.iter().map(|b| b.prefix).collect::<Vec<_>>(),
                [net("10.0.0.0/8"), net("fd00::/8")]
            );
            assert!(blocked[0].remaining.unwrap() > Duration::from_secs(900));
            assert_eq!(blocked[1].remaining, None);
            let source = Ipv4 { source: [10, 9, 0, 1], ..Ipv4::default() };
            assert_eq!(second.dry_run(0, &source.tcp(1, 2).frame(), 1).unwrap().0, XDP_PASS, "allowed");
            let source = Ipv4 { source: [10, 8, 0, 1], ..Ipv4::default() };
            assert_eq!(second.dry_run(0, &source.tcp(1, 2).frame(), 1).unwrap().0, XDP_DROP, "blocked");
            second.unblock(net("10.0.0.0/8")).unwrap();

            // Maps of another version are not taken over; the link is.
            second.maps.schema.update(bytes(&0u32), bytes(&99u32), MapFlags::ANY).unwrap();
            drop(second);
            let third = Program::open(&config(AttachMode::Auto)).unwrap();
            assert!(third.attached()[0].taken_over);
            assert!(third.attached()[0].note.contains("version 99"), "{:?}", third.attached());
            assert_eq!(third.blocked(), []);

            // Somebody else's program is never replaced: without our pin the interface is taken.
            let alone = ProgramConfig { pin_dir: None, ..config(AttachMode::Auto) };
            let error = Program::open(&alone).expect_err("occupied").to_string();
            assert!(error.contains("is there"), "{error}");
            third.detach().unwrap();
            assert_eq!(kernel::attached_ids(1).unwrap(), (0, 0));
            assert!(!pin_dir.exists());
        });
    });
}

#[test]
fn configurations_that_cannot_be_are_named() {
    let config = |count| ProgramConfig {
        pin_dir: None,
        interfaces: vec![InterfaceConfig { name: "none".into(), mode: AttachMode::Auto }; count],
        unbound: Unbound::Pass,
        cookies: CookieConfig::default(),
    };
    assert!(Program::open(&config(0)).is_err());
    assert!(Program::open(&config(INTERFACES_MAX + 1)).is_err());
    let relative = ProgramConfig { pin_dir: Some("relative".into()), ..config(1) };
    assert!(Program::open(&relative).unwrap_err().to_string().contains("absolute"));
}
