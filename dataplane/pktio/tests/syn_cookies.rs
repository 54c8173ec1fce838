//! SYN cookies end to end: a kernel's client connects over a veth, its SYN is answered by the program alone, and
//! the ACK reaches the worker's socket. Half of it is about the veth: `XDP_TX` arrives only where the peer has a
//! program of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lab;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lab::{Namespace, is_able, mac_text, veth};
use secbeat_pktio::program::{
    AttachMode, BarePass, CookieConfig, CookieGate, CookieKeys, CookieOffer, CookieSlot, GateFlow,
    InterfaceConfig, ListenerKey, Program, ProgramConfig, Unbound, ifindex,
};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};
use secbeat_pktio::{Burst, PacketIo};

/// The two ends: a host with a kernel's stack, and the engine's interface, which has no address.
struct Pair {
    host: Namespace,
    engine: Namespace,
}

const SERVICES: [&str; 2] = ["10.0.0.2:80", "[fd00::2]:80"];

fn pair() -> Pair {
    let (host, engine) = (Namespace::new("host"), Namespace::new("engine"));
    veth(&host, "h0", &engine, "e0", 1);
    host.exec("sysctl -qw net.ipv6.conf.h0.disable_ipv6=0");
    host.exec("ip addr add 10.0.0.1/24 dev h0");
    host.exec("ip addr add fd00::1/64 dev h0 nodad");
    let mac = mac_text(engine.mac("e0"));
    for address in ["10.0.0.2", "fd00::2"] {
        host.exec(&format!("ip neigh replace {address} lladdr {mac} dev h0 nud permanent"));
    }
    Pair { host, engine }
}

struct Engine {
    program: Program,
    io: XskIo,
    gate: CookieGate,
    slots: Vec<CookieSlot>,
}

fn open(mode: AttachMode) -> Engine {
    let mut program = Program::open(&ProgramConfig {
        pin_dir: None,
        interfaces: vec![InterfaceConfig { name: "e0".into(), mode }],
        unbound: Unbound::Drop,
        cookies: CookieConfig { clock_base_ns: 0, flows_max: 1000 },
    })
    .unwrap();
    let interfaces = vec![XskInterface { name: "e0".into(), queue: 0 }];
    let (io, _) = XskIo::open(&XskConfig { interfaces, ..XskConfig::default() }).unwrap();
    for (port, queue, fd) in io.sockets() {
        program.bind_queue(port, queue, fd).unwrap();
    }
    program.set_cookie_keys(&CookieKeys { epoch: 9, keys: [(1, 2), (3, 4), (5, 6)] });
    let offer = CookieOffer {
        mss_v4: 1460,
        mss_v6: 1440,
        window: 14_600,
        window_scale: Some(7),
        timestamps: true,
        sack: true,
        ecn: true,
    };
    let listeners =
        SERVICES.map(|addr| (ListenerKey { addr: addr.parse().unwrap(), protocol: 6 }, Some(offer)));
    let slots = program.set_listeners_with_cookies(&listeners).unwrap().into_iter().flatten().collect();
    let gate = program.cookie_gate();
    Engine { program, io, gate, slots }
}

/// TCP flags of frames of a family that reach the worker until `enough`, or two seconds passed.
fn flags_received(io: &mut XskIo, service: SocketAddr, enough: usize) -> Vec<u8> {
    let (mut flags, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(2));
    while flags.len() < enough && Instant::now() < deadline {
        let mut burst = Burst::new();
        io.receive(0, &mut burst);
        for frame in burst.drain(..) {
            let bytes = io.bytes(&frame);
            let is_v4 = bytes[12..14] == [8, 0];
            // The other service's connection is still open, and may send its data again.
            if is_v4 == service.is_ipv4() {
                flags.push(bytes[if is_v4 { 34 } else { 54 } + 13]);
            }
            io.release(frame);
        }
        io.flush();
        io.wait(Duration::from_millis(5));
    }
    flags
}

/// Nothing of this connection is sent again after its end: what follows a handshake closely would be let through, and
/// be seen at the next.
fn reset_when_closed(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the value outlives the call and has the length that is told.
    let result = unsafe {
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(stream),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_kernels_client_is_answered_by_the_program_and_its_ack_reaches_the_worker() {
    if !is_able("a_kernels_client_is_answered_by_the_program_and_its_ack_reaches_the_worker") {
        return;
    }
    let pair = pair();
    // Whoever should hear `XDP_TX` on a veth needs a program itself.
    let peer = pair.host.run(|| BarePass::attach(ifindex("h0").unwrap(), AttachMode::Native).unwrap());
    for (mode, timestamps) in
        [(AttachMode::Native, 1), (AttachMode::Native, 0), (AttachMode::Generic, 1), (AttachMode::Generic, 0)]
    {
        // Without timestamps the answer is shorter than the SYN, and on a veth without padding.
        pair.host.exec(&format!("sysctl -qw net.ipv4.tcp_timestamps={timestamps}"));
        pair.engine.run(|| {
            let mut engine = open(mode);
            let mut open_streams = Vec::new();
            for slot in &engine.slots {
                engine.gate.set_answering(*slot, true);
                engine.gate.set_gate(*slot, true);
            }
            for (service, slot) in SERVICES.iter().zip(engine.slots.clone()) {
                let service: SocketAddr = service.parse().unwrap();
                let connect = || TcpStream::connect_timeout(&service, Duration::from_secs(5)).unwrap();
                let stream = pair.host.run(connect);
                reset_when_closed(&stream);
                let counts = engine.gate.counts(slot);
                assert_eq!((counts.answered, counts.valid), (1, 1), "{mode:?} {service} {counts:?}");
                let flags = flags_received(&mut engine.io, service, 1);
                assert_eq!(flags, [0x10], "the worker sees the ACK alone: {mode:?} {service}");
                // An open flow is the worker's.
                let flow = GateFlow { client: stream.local_addr().unwrap(), service };
                engine.gate.insert(&flow);
                pair.host.run(|| std::io::Write::write_all(&mut &stream, b"data").unwrap());
                assert_eq!(flags_received(&mut engine.io, service, 1), [0x18]);
                engine.gate.remove(&flow);
                open_streams.push(stream);
            }
            let counters = engine.program.counters().unwrap();
            let of = |name: &str| counters.iter().find(|(other, _)| *other == name).unwrap().1;
            assert_eq!(of("tx_syn_cookie"), 2);
        });
    }
    assert!(peer.packets() >= 8);
}
