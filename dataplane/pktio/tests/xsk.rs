//! AF_XDP over veth pairs in network namespaces: receive, transmit, several queues, shared UMEM, no leak.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lab;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use lab::{Namespace, is_able, mac_text, veth};
use secbeat_pktio::program::{AttachMode, BareXsk, ifindex};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo, ZeroCopy};
use secbeat_pktio::{Burst, Frame, PacketIo};

fn config(interfaces: &[(&str, u32)]) -> XskConfig {
    XskConfig {
        interfaces: interfaces
            .iter()
            .map(|(name, queue)| XskInterface { name: (*name).into(), queue: *queue })
            .collect(),
        fill_slots: 256,
        rx_slots: 256,
        tx_slots: 256,
        ..XskConfig::default()
    }
}

/// Swaps MAC addresses, IPv4 addresses and UDP ports, and clears the UDP checksum.
fn turn_round(io: &mut XskIo, frame: &mut Frame) {
    let start = frame.start();
    let bytes = &mut io.chunk_mut(frame)[start..];
    for i in 0..6 {
        bytes.swap(i, 6 + i);
    }
    for i in 0..4 {
        bytes.swap(26 + i, 30 + i);
    }
    bytes.swap(34, 36);
    bytes.swap(35, 37);
    bytes[40..42].fill(0);
}

fn is_udp(bytes: &[u8]) -> bool {
    bytes.len() >= 42 && bytes[12..14] == [8, 0] && bytes[23] == 17
}

/// Turns round UDP frames until `count` were, or ten seconds passed.
fn echo(io: &mut XskIo, count: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut echoed = 0;
    while echoed < count && Instant::now() < deadline {
        let mut burst = Burst::new();
        io.receive(0, &mut burst);
        for mut frame in burst.drain(..) {
            if is_udp(io.bytes(&frame)) {
                turn_round(io, &mut frame);
                io.transmit(0, frame).expect("room in the ring");
                echoed += 1;
            } else {
                io.release(frame);
            }
        }
        io.flush();
        if echoed < count {
            io.wait(Duration::from_millis(5));
        }
    }
    echoed
}

fn assert_no_leak(io: &XskIo, held: usize) {
    let counts = io.chunk_counts();
    assert_eq!(counts.held, held, "{counts:?}");
    assert_eq!(counts.free + counts.held + counts.fill + counts.transmit, io.frames(), "{counts:?}");
}

/// Two namespaces: a host with a kernel stack, 10.0.0.1, and an engine whose interface has no address; the host
/// believes that 10.0.0.2 is there.
struct Pair {
    host: Namespace,
    engine: Namespace,
}

fn pair(queues: u32) -> Pair {
    let (host, engine) = (Namespace::new("host"), Namespace::new("engine"));
    veth(&host, "h0", &engine, "e0", queues);
    host.exec("ip addr add 10.0.0.1/24 dev h0");
    let mac = mac_text(engine.mac("e0"));
    host.exec(&format!("ip neigh replace 10.0.0.2 lladdr {mac} dev h0 nud permanent"));
    Pair { host, engine }
}

/// Sends numbered datagrams from the host and waits for each answer.
fn ping(host: &Namespace, count: u32) -> u32 {
    host.run(|| {
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.connect("10.0.0.2:7").unwrap();
        let mut answered = 0;
        for i in 0..count {
            socket.send(&i.to_be_bytes()).unwrap();
            let mut answer = [0; 16];
            if socket.recv(&mut answer).is_ok_and(|len| answer[..len] == i.to_be_bytes()) {
                answered += 1;
            }
        }
        answered
    })
}

#[test]
fn frames_are_received_and_sent_back_and_none_leaks() {
    if !is_able("frames_are_received_and_sent_back_and_none_leaks") {
        return;
    }
    let pair = pair(1);
    for mode in [AttachMode::Native, AttachMode::Generic] {
        std::thread::scope(|scope| {
            let engine = scope.spawn(|| {
                pair.engine.run(|| {
                    let mut program = BareXsk::attach(ifindex("e0").unwrap(), mode).unwrap();
                    assert_eq!(program.mode(), mode);
                    let (mut io, report) = XskIo::open(&config(&[("e0", 0)])).unwrap();
                    println!("{report}");
                    assert!(!report.zero_copy);
                    assert_eq!(report.zero_copy_note, "a driver has no zero copy");
                    assert_eq!(report.frames_spare, 512);
                    for (_, queue, fd) in io.sockets() {
                        program.bind_queue(queue, fd).unwrap();
                    }
                    // More than all chunks together, so that each chunk goes round.
                    assert_eq!(echo(&mut io, 3000), 3000);
                    assert!(program.packets() >= 3000);
                    assert_no_leak(&io, 0);
                    let counters = io.counters(0);
                    assert_eq!((counters.transmitted, counters.transmit_lost), (3000, 0));
                    assert!(counters.received >= 3000);
                    assert_eq!((counters.rx_dropped, counters.rx_ring_full), (0, 0), "{counters:?}");
                });
            });
            // The answer to a datagram sent before the program is attached is an ICMP error or nothing: retry.
            let deadline = Instant::now() + Duration::from_secs(5);
            let mut answered = 0;
            while answered < 3000 && Instant::now() < deadline && !engine.is_finished() {
                answered += ping(&pair.host, (3000 - answered).min(500));
            }
            engine.join().unwrap();
        });
    }
}

#[test]
fn held_frames_and_full_rings_lose_no_chunk() {
    if !is_able("held_frames_and_full_rings_lose_no_chunk") {
        return;
    }
    let pair = pair(1);
    pair.engine.run(|| {
        let (mut io, report) = XskIo::open(&config(&[("e0", 0)])).unwrap();
        let template = [[0xff; 6], pair.engine.mac("e0"), [0x88, 0xb5, 0, 0, 0, 0]].concat();
        let build = |io: &mut XskIo, start_offset: isize| {
            let mut frame = io.allocate()?;
            let start = (frame.start() as isize + start_offset) as usize;
            io.chunk_mut(&mut frame)[start..start + 60].fill(0);
            io.chunk_mut(&mut frame)[start..start + 18].copy_from_slice(&template);
            frame.set_bounds(start, 60);
            Some(frame)
        };
        // All that may be built, held at once: the spare chunks, those of the transmit ring, and no more.
        let mut held = Vec::new();
        while let Some(frame) = build(&mut io, 0) {
            held.push(frame);
        }
        assert_eq!(held.len(), report.frames_spare as usize + 256, "the fill ring keeps its share");
        assert_no_leak(&io, held.len());
        // Sent without a flush: the ring takes 256, and gives the others back.
        let mut refused = Vec::new();
        for frame in held.drain(..) {
            if let Err(frame) = io.transmit(0, frame) {
                refused.push(frame);
            }
        }
        assert_eq!(refused.len(), report.frames_spare as usize);
        io.flush();
        for frame in refused {
            io.release(frame);
        }
        // Frames that start elsewhere are moved; those that cannot be sent are given back.
        for round in 0..1000 {
            let frame = build(&mut io, [-18, 4, 0][round % 3]).unwrap();
            io.transmit(0, frame).unwrap();
            io.flush();
        }
        for (start, len) in [(0, 13), (2000, 60), (0, 1900), (usize::MAX, usize::MAX)] {
            let mut frame = io.allocate().unwrap();
            frame.set_bounds(start, len);
            let frame = io.transmit(0, frame).expect_err("cannot be sent");
            io.release(frame);
        }
        let frame = io.allocate().unwrap();
        let frame = io.transmit(1, frame).expect_err("no such port");
        io.release(frame);
        assert_no_leak(&io, 0);
        let counters = io.counters(0);
        assert_eq!((counters.transmitted, counters.transmit_invalid), (1256, 4));
        assert_eq!(counters.tx_invalid_descs, 0);
    });
    let received = pair.host.exec("cat /sys/class/net/h0/statistics/rx_packets");
    assert!(
        received.trim().parse::<u64>().unwrap() >= 1256,
        "transmission alone needs no program: {received}"
    );
}

#[test]
fn two_queues_feed_two_workers() {
    if !is_able("two_queues_feed_two_workers") {
        return;
    }
    let pair = pair(2);
    pair.engine.run(|| {
        let mut program = BareXsk::attach(ifindex("e0").unwrap(), AttachMode::Native).unwrap();
        let mut workers: Vec<_> =
            (0..2).map(|queue| XskIo::open(&config(&[("e0", queue)])).unwrap().0).collect();
        for io in &workers {
            for (_, queue, fd) in io.sockets() {
                program.bind_queue(queue, fd).unwrap();
            }
        }
        // Many flows: the sender's stack spreads them over its transmit queues.
        pair.host.run(|| {
            for _ in 0..200 {
                let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
                socket.send_to(b"spread", "10.0.0.2:7").unwrap();
            }
        });
        let mut received = [0, 0];
        for (io, count) in workers.iter_mut().zip(&mut received) {
            let mut burst = Burst::new();
            while io.receive(0, &mut burst) > 0 {
                for frame in burst.drain(..) {
                    *count += usize::from(is_udp(io.bytes(&frame)));
                    io.release(frame);
                }
            }
            io.flush();
            assert_no_leak(io, 0);
        }
        assert_eq!(received[0] + received[1], 200);
        assert!(received.iter().all(|&count| count > 20), "{received:?}");
    });
}

#[test]
fn a_frame_crosses_from_one_interface_to_another_without_a_copy() {
    if !is_able("a_frame_crosses_from_one_interface_to_another_without_a_copy") {
        return;
    }
    let (left, engine, right) = (Namespace::new("left"), Namespace::new("engine"), Namespace::new("right"));
    veth(&left, "l0", &engine, "e0", 1);
    veth(&right, "r0", &engine, "e1", 1);
    left.exec("ip addr add 10.0.0.1/24 dev l0");
    right.exec("ip addr add 10.0.0.2/24 dev r0");
    let (left_mac, right_mac) = (mac_text(left.mac("l0")), mac_text(right.mac("r0")));
    left.exec(&format!("ip neigh replace 10.0.0.2 lladdr {right_mac} dev l0 nud permanent"));
    right.exec(&format!("ip neigh replace 10.0.0.1 lladdr {left_mac} dev r0 nud permanent"));
    engine.run(|| {
        let mut programs =
            ["e0", "e1"].map(|name| BareXsk::attach(ifindex(name).unwrap(), AttachMode::Native).unwrap());
        let (mut io, _) = XskIo::open(&config(&[("e0", 0), ("e1", 0)])).unwrap();
        for (port, queue, fd) in io.sockets() {
            programs[usize::from(port)].bind_queue(queue, fd).unwrap();
        }
        let receiver = right.run(|| UdpSocket::bind("10.0.0.2:9").unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let sender = left.run(|| UdpSocket::bind("10.0.0.1:9").unwrap());
        for round in 0..1000u32 {
            let (from, to, to_addr) = if round % 2 == 0 {
                (&sender, &receiver, "10.0.0.2:9")
            } else {
                (&receiver, &sender, "10.0.0.1:9")
            };
            to.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            from.send_to(&round.to_be_bytes(), to_addr).unwrap();
            for port in 0..2 {
                let mut burst = Burst::new();
                io.receive(port, &mut burst);
                for frame in burst.drain(..) {
                    io.transmit(1 - port, frame).unwrap();
                }
            }
            io.flush();
            let mut bytes = [0; 16];
            let len = to.recv(&mut bytes).expect("the datagram crossed");
            assert_eq!(bytes[..len], round.to_be_bytes());
        }
        assert_no_leak(&io, 0);
    });
}

#[test]
fn a_removed_interface_shows_and_nothing_breaks() {
    if !is_able("a_removed_interface_shows_and_nothing_breaks") {
        return;
    }
    let pair = pair(1);
    pair.engine.run(|| {
        let (mut io, _) = XskIo::open(&config(&[("e0", 0)])).unwrap();
        assert!(io.is_bound(0));
        assert!(!io.is_bound(1));
        pair.host.exec("ip link del h0");
        assert!(!io.is_bound(0));
        let mut burst = Burst::new();
        assert_eq!(io.receive(0, &mut burst), 0);
        for _ in 0..300 {
            let Some(mut frame) = io.allocate() else { break };
            frame.set_bounds(frame.start(), 60);
            if let Err(frame) = io.transmit(0, frame) {
                io.release(frame);
            }
            io.flush();
        }
        io.wait(Duration::from_millis(1));
        assert_no_leak(&io, 0);
    });
}

#[test]
fn zero_copy_required_on_a_veth_is_refused() {
    if !is_able("zero_copy_required_on_a_veth_is_refused") {
        return;
    }
    let pair = pair(1);
    pair.engine.run(|| {
        let require = XskConfig { zero_copy: ZeroCopy::Require, ..config(&[("e0", 0)]) };
        let error = XskIo::open(&require).expect_err("veth has no zero copy").to_string();
        assert!(error.contains("bind e0 queue 0"), "{error}");
        let off = XskConfig { zero_copy: ZeroCopy::Off, ..config(&[("e0", 0)]) };
        let (io, report) = XskIo::open(&off).unwrap();
        assert_eq!(report.zero_copy_note, "");
        // The queue is busy now, and free again after.
        let quick = XskConfig { bind_retry: Duration::from_millis(30), ..off.clone() };
        let error = XskIo::open(&quick).expect_err("busy").to_string();
        assert!(error.contains("busy"), "{error}");
        drop(io);
        XskIo::open(&off).expect("free again, perhaps after a retry");
        let missing = XskIo::open(&config(&[("e0", 7)])).expect_err("no such queue").to_string();
        assert!(missing.contains("queue 7"), "{missing}");
    });
}
