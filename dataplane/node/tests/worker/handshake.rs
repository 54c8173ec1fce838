//! Handshakes: cookies, the half-open table, pass-through, backends that fail.

use core::time::Duration;

use secbeat_net::verdict::DropReason;
use secbeat_net::wire::tcp::Flags;
use secbeat_node::event::What;
use secbeat_node::telemetry::counters::Counter;

use super::packet::Segment;
use super::talk::CLIENT_ISN;
use super::world::{CONFIG, SNAT, VIP, World, at};

#[test]
fn syn_is_answered_with_a_cookie_and_leaves_nothing_behind() {
    let mut world = World::new(CONFIG);
    for port in 1_000..1_200 {
        let answer = world.syn(at("10.1.0.9", port)).expect("an answer");
        assert_eq!(answer.flags, Flags::SYN_ACK);
        assert_eq!(answer.ack, CLIENT_ISN + 1);
        assert_eq!((answer.source, answer.destination.port()), (at(VIP, 80), port));
        assert!(answer.timestamps.is_some() && answer.sack_permitted && answer.window_scale.is_some());
    }
    assert_eq!(world.workers[0].pipeline().counts().flows, 0);
    assert_eq!(world.count(Counter::CookiesSent), 200);
    assert!(world.is_silent());
}

#[test]
fn valid_ack_opens_the_backend_and_bytes_flow_both_ways() {
    let mut world = World::new(CONFIG);
    let (answer, syn) = world.open(at("10.1.0.9", 4_000)).expect("opened");
    assert_eq!(syn.source.ip(), at(SNAT, 0).ip());
    assert!((20_000..=23_999).contains(&syn.source.port()), "{}", syn.source);
    assert!(["10.2.0.11", "10.2.0.12"].contains(&syn.destination.ip().to_string().as_str()));
    let mut talk = world.accept(&answer, &syn);
    let heard = world.say(&mut talk, b"GET / HTTP/1.1\r\n\r\n");
    let request: Vec<u8> = heard.iter().flat_map(|segment| segment.payload.clone()).collect();
    assert_eq!(request, b"GET / HTTP/1.1\r\n\r\n");
    assert!(heard.iter().all(|segment| segment.destination == talk.backend && segment.source == talk.snat));
    talk.backend_ack = talk.backend_ack.wrapping_add(18);
    let page = world.answer_at(0, &mut talk, b"hello");
    assert_eq!(page.len(), 1);
    assert_eq!((page[0].payload.as_slice(), page[0].seq), (&b"hello"[..], talk.client_ack));
    assert_eq!((page[0].source, page[0].destination), (talk.vip, talk.client));
    assert_eq!(page[0].ack, talk.client_seq);
    assert_eq!(world.count(Counter::ConnectionsEstablished), 1);
}

#[test]
fn early_data_waits_for_the_backend_and_arrives_in_order() {
    let mut world = World::new(CONFIG);
    let answer = world.syn(at("10.1.0.9", 4_000)).expect("an answer");
    // The bare ACK is lost: the first segment carries data, and more follows before the backend answers.
    let mut ack = world.ack_of(&answer).with_payload(b"first ");
    ack.flags = Flags::ACK | Flags::PSH;
    world.client(&ack);
    let mut second = ack.clone().with_payload(b"second");
    second.seq += 6;
    world.client(&second);
    let sent = world.to_backends();
    let [syn] = &sent[..] else { panic!("only a SYN before the backend answers: {sent:?}") };
    assert_eq!(world.count(Counter::FramesHeld), 2);
    world.accept(&answer, syn);
    let heard: Vec<u8> = world.to_backends().iter().flat_map(|segment| segment.payload.clone()).collect();
    assert_eq!(heard, b"first second");
    assert_eq!(world.count(Counter::FramesReleased), 2);
}

#[test]
fn forged_ack_rst_and_data_are_dropped_without_an_answer() {
    let mut world = World::new(CONFIG);
    let client = at("10.1.0.9", 4_000);
    for (number, flags) in [Flags::ACK, Flags::ACK | Flags::PSH, Flags::FIN_ACK].into_iter().enumerate() {
        world.client(&Segment::new(client, at(VIP, 80), flags, 5, 99_999 + number as u32));
    }
    world.client(&Segment::new(client, at(VIP, 80), Flags::RST, 5, 0));
    world.client(&Segment::new(client, at(VIP, 80), Flags::SYN_ACK, 5, 7));
    assert_eq!(world.drops(DropReason::CookieInvalid), 3);
    assert_eq!(world.drops(DropReason::NoFlow), 2);
    assert_eq!(world.workers[0].pipeline().counts().flows, 0);
    assert!(world.is_silent());
}

#[test]
fn cookie_of_another_client_proves_nothing() {
    let mut world = World::new(CONFIG);
    let answer = world.syn(at("10.1.0.9", 4_000)).expect("an answer");
    let mut ack = world.ack_of(&answer);
    ack.source = at("10.1.0.10", 4_000);
    world.client(&ack);
    assert_eq!(world.drops(DropReason::CookieInvalid), 1);
    assert!(world.to_backends().is_empty());
}

#[test]
fn unknown_port_and_unknown_backend_port_are_dropped() {
    let mut world = World::new(CONFIG);
    world.client(&Segment::new(at("10.1.0.9", 4_000), at(VIP, 81), Flags::SYN, 1, 0));
    assert_eq!(world.drops(DropReason::NoListener), 1);
    world.backend(&Segment::new(at("10.2.0.11", 8_080), at(SNAT, 20_005), Flags::ACK, 1, 1));
    assert_eq!(world.drops(DropReason::NoFlow), 1);
    assert!(world.is_silent());
}

#[test]
fn half_open_table_answers_and_completes_without_cookies() {
    for mode in ["auto", "never"] {
        let mut world = World::new(&CONFIG.replace("always", mode));
        let mut talk = world.establish(at("10.1.0.9", 4_000)).expect("established");
        let heard = world.say(&mut talk, b"ping");
        assert!(heard.iter().any(|segment| segment.payload == b"ping"), "{mode}: {heard:?}");
        assert_eq!(world.count(Counter::CookiesSent), 0);
        assert_eq!(world.count(Counter::HandshakesCompleted), 1);
    }
}

#[test]
fn full_backlog_switches_to_cookies_and_back_when_the_flood_is_over() {
    let config = CONFIG.replace("syn_cookies = \"always\"", "syn_cookies = \"auto\"\nmax_syn_backlog = 64");
    let mut world = World::new(&config);
    for port in 1_000..1_300 {
        assert!(world.syn(at("10.1.0.9", port)).is_some(), "every SYN is answered");
    }
    assert_eq!(world.count(Counter::CookiesSent), 300 - 64);
    assert!(world.reported().contains(&What::Cookies { listener: 0, active: true }));
    assert!(world.establish(at("10.1.0.10", 4_000)).is_some(), "a client gets in all the same");
    world.pass(Duration::from_secs(40));
    assert!(world.reported().contains(&What::Cookies { listener: 0, active: false }));
    world.syn(at("10.1.0.11", 4_000)).expect("an answer");
    assert_eq!(world.count(Counter::CookieSwitches), 2);
}

#[test]
fn full_backlog_refuses_when_cookies_are_forbidden() {
    let config = CONFIG.replace("syn_cookies = \"always\"", "syn_cookies = \"never\"\nmax_syn_backlog = 64");
    let mut world = World::new(&config);
    let answered = (1_000..1_100).filter(|&port| world.syn(at("10.1.0.9", port)).is_some()).count();
    assert_eq!(answered, 64);
    assert_eq!(world.drops(DropReason::BacklogFull), 36);
}

#[test]
fn tcp_mode_passes_the_handshake_through() {
    let config = CONFIG.replace("mode = \"syn\"", "mode = \"tcp\"").replace("always", "auto");
    let mut world = World::new(&config);
    let client = at("10.1.0.9", 4_000);
    assert!(world.syn(client).is_none(), "the backend answers, not the node");
    let syn = world.to_backends().pop().expect("the SYN");
    assert_eq!((syn.flags, syn.mss), (Flags::SYN, Some(1_460)));
    let accepted = Segment::new(syn.destination, syn.source, Flags::SYN_ACK, 4_242, syn.seq + 1);
    let answers = world.backend(&accepted.with_syn_options(9));
    let [answer] = &answers[..] else { panic!("one answer: {answers:?}") };
    assert_eq!((answer.flags, answer.seq, answer.ack), (Flags::SYN_ACK, 4_242, CLIENT_ISN + 1));
    assert_eq!((answer.source, answer.destination), (at(VIP, 80), client));
}

#[test]
fn backend_that_refuses_is_replaced_before_the_client_notices() {
    let mut world = World::new(CONFIG);
    let (answer, syn) = world.open(at("10.1.0.9", 4_000)).expect("opened");
    let refused = Segment::new(syn.destination, syn.source, Flags::RST_ACK, 0, syn.seq + 1);
    assert!(world.backend(&refused).is_empty(), "the client hears nothing of it");
    world.turn();
    let second = world.to_backends().pop().expect("a SYN to the other backend");
    assert_eq!(second.flags, Flags::SYN);
    assert_ne!(second.destination, syn.destination);
    let mut talk = world.accept(&answer, &second);
    assert!(world.say(&mut talk, b"x").iter().any(|segment| segment.payload == b"x"));
    assert_eq!(world.count(Counter::ConnectionsRetried), 1);
}

#[test]
fn client_is_reset_when_every_backend_refused() {
    let mut world = World::new(CONFIG);
    let (_, mut syn) = world.open(at("10.1.0.9", 4_000)).expect("opened");
    let mut to_client = Vec::new();
    for _ in 0..2 {
        let refused = Segment::new(syn.destination, syn.source, Flags::RST_ACK, 0, syn.seq + 1);
        to_client = world.backend(&refused);
        world.turn();
        to_client.extend(world.to_clients());
        if let Some(next) = world.to_backends().pop() {
            syn = next;
        }
    }
    assert!(to_client.iter().any(|segment| segment.flags.contains(Flags::RST)), "{to_client:?}");
    assert_eq!(world.count(Counter::ConnectionsClosed), 1);
    assert_eq!(world.shared.limits.connections(), 0, "the connection is given back");
}

#[test]
fn client_of_the_half_open_table_is_reset_when_no_source_port_is_left() {
    let mut world = World::with_ports(&CONFIG.replace("always", "never"), 8);
    let open = (1_000..1_040).take_while(|&port| world.establish(at("10.1.0.9", port)).is_some()).count();
    assert_eq!(open, 16, "eight ports towards each of two backends");
    // The one that failed was told, and another is: its entry is gone from the table, so a retransmission of its ACK
    // would be known to nobody.
    let client = at("10.1.0.9", 2_000);
    world.to_clients();
    let answer = world.syn(client).expect("an answer");
    let told = world.client(&world.ack_of(&answer));
    let [reset] = &told[..] else { panic!("one answer: {told:?}") };
    assert_eq!((reset.flags, reset.destination), (Flags::RST, client));
    assert_eq!(reset.seq, answer.seq.wrapping_add(1), "inside the client's window");
    assert_eq!(world.drops(DropReason::NoPort), 2);
    assert_eq!(world.shared.limits.connections(), 16, "what was not opened is not counted");
}

#[test]
fn corrupted_segment_is_dropped_and_counted() {
    let mut world = World::new(CONFIG);
    let syn = Segment::new(at("10.1.0.9", 4_000), at(VIP, 80), Flags::SYN, 1, 0);
    let mut frame = syn.frame([2; 6], [2, 0, 0, 0, 0, 1]);
    let last = frame.len() - 1;
    frame[last] ^= 0x55;
    world.inject(0, 0, &frame);
    assert_eq!(world.drops(DropReason::L4Checksum), 1);
    world.inject(0, 0, &frame[..20]);
    world.inject(0, 0, &[]);
    assert_eq!(world.count(Counter::FramesIn), world.page().drops_total());
    assert!(world.is_silent());
}
