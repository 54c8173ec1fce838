//! Datagrams.

use std::net::UdpSocket;

use secbeat_net::limit::{Rate, RateLimit};
use secbeat_net::udp::ROUNDS_VALIDATED;

use super::*;

/// A server that sends back what comes, `times` over.
fn udp_origin(times: usize) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            for _ in 0..times {
                let _ = socket.send_to(&buffer[..len], from);
            }
        }
    });
    addr
}

fn start(change: impl FnOnce(&mut Settings, &mut Policy), backend: SocketAddr) -> Front {
    let (mut settings, mut policy) = (settings(Protocol::Udp, "127.0.0.1:0"), Policy::open());
    change(&mut settings, &mut policy);
    Front::start(settings, policy, &[backend])
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends and waits for the answer.
fn ask(socket: &UdpSocket, to: SocketAddr, question: &[u8]) {
    socket.send_to(question, to).unwrap();
    let mut answer = [0; 2_048];
    let (len, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!((&answer[..len], from), (question, to));
}

#[test]
fn each_client_gets_its_own_answers() {
    let front = start(|_, _| {}, udp_origin(1));
    let clients: Vec<UdpSocket> = (0..50).map(|_| client()).collect();
    for round in 0..3u8 {
        for (number, client) in (0u8..).zip(&clients) {
            ask(client, front.addr, &[number, round]);
        }
    }
    assert_eq!(front.counter(Counter::UdpFlowsOpened), 50);
    assert_eq!(front.upstream.status().backends[0].connections_active, 50);
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    let mut settings = settings(Protocol::Udp, "0.0.0.0:0");
    settings.listeners[0].bind_address.set_port(0);
    let front = Front::start(settings, Policy::open(), &[udp_origin(1)]);
    for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 1, 2, 3]] {
        ask(&client(), SocketAddr::from((host, front.addr.port())), b"where?");
    }
}

#[test]
fn idle_flow_is_forgotten_and_a_later_datagram_opens_another() {
    let idle = Duration::from_millis(100);
    let front = start(|settings, _| settings.udp_idle_timeout = idle, udp_origin(1));
    let client = client();
    ask(&client, front.addr, b"one");
    eventually("forgetting", || front.counter(Counter::UdpFlowsClosed) == 1);
    ask(&client, front.addr, b"two");
    assert_eq!(front.counter(Counter::UdpFlowsOpened), 2);
}

#[test]
fn full_table_gives_up_the_flow_idle_longest() {
    // The kernel spreads clients over the workers: with room for four each, twenty overflow both.
    let front = start(|settings, _| settings.udp_flows_max = 4, udp_origin(1));
    let clients: Vec<UdpSocket> = (0..20).map(|_| client()).collect();
    for client in &clients {
        ask(client, front.addr, b"x");
    }
    assert!(front.counter(Counter::FlowsEvicted) >= 12);
    assert_eq!(front.counter(Counter::UdpFlowsOpened), 20);
    ask(&clients[0], front.addr, b"again");
}

#[test]
fn source_that_sends_too_fast_is_cut_to_its_rate() {
    let rate = Rate { count: 1, interval: Duration::from_secs(600), burst: 5 };
    let front = start(|_, policy| policy.udp_rate = Some(RateLimit::new(rate)), udp_origin(1));
    let client = client();
    for _ in 0..20 {
        client.send_to(b"x", front.addr).unwrap();
    }
    eventually("drops", || front.drops(DropReason::UdpRate) == 15);
}

#[test]
fn reflected_and_amplified_traffic_is_dropped() {
    let reflector = client();
    let port = reflector.local_addr().unwrap().port();
    let change = |settings: &mut Settings, _: &mut Policy| {
        settings.amplification_ports = vec![port];
        settings.amplification_ratio_max = 2;
    };
    let front = start(change, udp_origin(5));
    reflector.send_to(b"monlist", front.addr).unwrap();
    eventually("drop", || front.drops(DropReason::UdpAmplification) == 1);
    let honest = client();
    ask(&honest, front.addr, b"x");
    // Five answers of one byte to a question of one: two pass.
    eventually("drops", || front.drops(DropReason::UdpAmplification) == 4);
}

#[test]
fn client_that_goes_on_speaking_is_answered_in_full() {
    let change = |settings: &mut Settings, _: &mut Policy| settings.amplification_ratio_max = 1;
    let front = start(change, udp_origin(3));
    let client = client();
    for round in 1..=u64::from(ROUNDS_VALIDATED) {
        ask(&client, front.addr, b"x");
        // The rest of each answer must have been judged before the next question changes what is known.
        eventually("drops", || front.drops(DropReason::UdpAmplification) == 2 * round);
    }
    ask(&client, front.addr, b"x");
    // The fourth question shows the third answer heard: of its three answers none is lost any more.
    let mut buffer = [0; 16];
    for _ in 0..2 {
        client.recv_from(&mut buffer).unwrap();
    }
    assert_eq!(front.drops(DropReason::UdpAmplification), 6);
}

#[test]
fn unreachable_backend_counts_as_failed() {
    let closed = client().local_addr().unwrap();
    let front = start(|_, _| {}, closed);
    let client = client();
    eventually("failure", || {
        client.send_to(b"x", front.addr).unwrap();
        front.upstream.status().backends[0].failures_total > 0
    });
}

#[test]
fn drained_front_ends_when_its_flows_have() {
    let mut front =
        start(|settings, _| settings.udp_idle_timeout = Duration::from_millis(200), udp_origin(1));
    ask(&client(), front.addr, b"x");
    front.handle().drain(PATIENCE);
    front.running.take().unwrap().join();
}
