//! What clients see while a node is killed and started again: the kernel answers in between, blocked sources stay
//! blocked throughout, and no packet is lost by the new program taking the link over.
//!
//! The node is this test program run a second time, so that it can be killed with SIGKILL. The kernel has the
//! listener's address and a socket on its port: whoever gets a packet answers, and says who he is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lab;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::{Namespace, is_able, veth};
use secbeat_pktio::program::{
    AttachMode, CookieConfig, InterfaceConfig, ListenerKey, Program, ProgramConfig, Unbound, ifindex,
};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};
use secbeat_pktio::{Burst, PacketIo};

const ROLE: &str = "SECBEAT_TEST_PIN_DIR";
const WORKER: u8 = b'W';
const KERNEL: u8 = b'K';

fn program_config(pin_dir: &Path) -> ProgramConfig {
    ProgramConfig {
        pin_dir: Some(pin_dir.into()),
        interfaces: vec![InterfaceConfig { name: "e0".into(), mode: AttachMode::Native }],
        unbound: Unbound::Pass,
        cookies: CookieConfig::default(),
    }
}

/// Not a test of its own: the node, when the environment says so.
#[test]
#[ignore = "the node that the other test starts and kills"]
fn node_process() {
    let Some(pin_dir) = std::env::var_os(ROLE) else { return };
    let mut program = Program::open(&program_config(Path::new(&pin_dir))).unwrap();
    let listener = ListenerKey { addr: "10.0.0.2:7".parse().unwrap(), protocol: 17 };
    program.set_listeners(&[listener]).unwrap();
    let interfaces = vec![XskInterface { name: "e0".into(), queue: 0 }];
    let (mut io, _) = XskIo::open(&XskConfig { interfaces, ..XskConfig::default() }).unwrap();
    for (port, queue, fd) in io.sockets() {
        program.bind_queue(port, queue, fd).unwrap();
    }
    // The parent kills this process; should the parent die, it ends by itself.
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let mut burst = Burst::new();
        io.receive(0, &mut burst);
        for mut frame in burst.drain(..) {
            let start = frame.start();
            let bytes = &mut io.chunk_mut(&mut frame)[start..];
            for i in 0..6 {
                bytes.swap(i, 6 + i);
            }
            for i in 0..4 {
                bytes.swap(26 + i, 30 + i);
            }
            bytes.swap(34, 36);
            bytes.swap(35, 37);
            bytes[40..42].fill(0);
            bytes[42] = WORKER;
            io.transmit(0, frame).expect("room in the ring");
        }
        io.flush();
        io.wait(Duration::from_millis(1));
    }
}

/// The bpffs and the pins in it, removed on drop.
struct PinDir {
    directory: tempfile::TempDir,
}

impl PinDir {
    fn path(&self) -> PathBuf {
        self.directory.path().join("bpf/node")
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.directory.path().join("bpf"), nix::mount::MntFlags::MNT_DETACH);
    }
}

struct Node(Child);

impl Node {
    /// Starts the node; the thread is in its network namespace.
    fn start(pin_dir: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node_process", "--ignored", "--nocapture"])
            .env(ROLE, pin_dir)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends one numbered datagram and answers who replied to it.
fn ask(socket: &UdpSocket, number: u32) -> Option<u8> {
    let mut datagram = [0; 5];
    datagram[1..].copy_from_slice(&number.to_be_bytes());
    socket.send(&datagram).unwrap();
    let mut answer = [0; 16];
    loop {
        match socket.recv(&mut answer) {
            Ok(5) if answer[1..5] == datagram[1..] => return Some(answer[0]),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// Asks until `who` answers, and counts the questions that nobody answered.
fn ask_until(socket: &UdpSocket, number: &mut u32, who: u8) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut lost = 0;
    loop {
        *number += 1;
        match ask(socket, *number) {
            Some(answer) if answer == who => return lost,
            Some(_) => {}
            None => lost += 1,
        }
        assert!(Instant::now() < deadline, "{} never answered", char::from(who));
    }
}

#[test]
fn a_killed_node_leaves_the_kernel_path_and_a_new_one_takes_over_without_loss() {
    if !is_able("a_killed_node_leaves_the_kernel_path_and_a_new_one_takes_over_without_loss") {
        return;
    }
    let (host, engine) = (Namespace::new("host"), Namespace::new("engine"));
    veth(&host, "h0", &engine, "e0", 1);
    host.exec("ip addr add 10.0.0.1/24 dev h0");
    host.exec("ip addr add 10.0.0.9/24 dev h0");
    engine.exec("ip addr add 10.0.0.2/24 dev e0");
    let pins = PinDir { directory: tempfile::tempdir().unwrap() };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let kernel = engine.run(|| UdpSocket::bind("10.0.0.2:7").unwrap());
        kernel.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = &stop;
        scope.spawn(move || {
            let mut datagram = [0; 16];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((len, from)) = kernel.recv_from(&mut datagram) {
                    datagram[0] = KERNEL;
                    kernel.send_to(&datagram[..len], from).unwrap();
                }
            }
        });
        let connect = |addr: &str| {
            let socket = host.run(|| UdpSocket::bind((addr, 0)).unwrap());
            socket.connect("10.0.0.2:7").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket
        };
        let (client, offender) = (connect("10.0.0.1"), connect("10.0.0.9"));
        let mut number = 0;

        ask_until(&client, &mut number, KERNEL);
        assert_eq!(ask(&offender, 1), Some(KERNEL));
        let mut node = engine.run(|| Node::start(&pins.path()));
        ask_until(&client, &mut number, WORKER);
        // A ban by a control process of its own: taking the link over again is harmless, and it then ends.
        engine.run(|| {
            node.kill();
            let mut program = Program::open(&program_config(&pins.path())).unwrap();
            assert!(program.attached()[0].taken_over);
            program.block("10.0.0.9/32".parse().unwrap(), Some(Duration::from_secs(600))).unwrap();
        });
        let _ = ask_until(&client, &mut number, KERNEL);
        assert_eq!(ask(&offender, 2), None, "blocked with no process alive");

        let mut total_lost = 0;
        for round in 0..3 {
            let mut node = engine.run(|| Node::start(&pins.path()));
            // From the kernel's answers to the worker's: the new program comes in between.
            total_lost += ask_until(&client, &mut number, WORKER);
            for _ in 0..200 {
                number += 1;
                assert_eq!(ask(&client, number), Some(WORKER), "round {round}");
            }
            assert_eq!(ask(&offender, number), None, "blocked by the new node too");
            node.kill();
            // What was in the dead node's ring is gone; one question at a time is at most one.
            assert!(ask_until(&client, &mut number, KERNEL) <= 1, "round {round}");
            assert_eq!(ask(&offender, number), None, "blocked after the kill");
        }
        assert_eq!(total_lost, 0, "lost while a new node took over");
        stop.store(true, Ordering::Relaxed);
    });
    engine.run(|| {
        let program = Program::open(&program_config(&pins.path())).unwrap();
        program.detach().unwrap();
        assert!(ifindex("e0").is_ok());
    });
}
