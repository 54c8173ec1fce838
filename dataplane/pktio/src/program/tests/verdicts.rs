use super::packets::{tcp, udp};
use super::*;

/// A hop-by-hop or destination option header of eight bytes, all padding.
const OPTIONS_8: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

fn no_ports() -> Ipv4 {
    Ipv4::default()
}

#[test]
fn listeners_and_backend_ports_are_redirected_and_all_else_passes() {
    on_bench("listeners", Unbound::Pass, |bench| {
        let (v4, v6) = (Ipv4::default(), Ipv6::default());
        let backend_v4 = Ipv4 { destination: [198, 51, 100, 2], ..v4.clone() };
        let backend_v6 = Ipv6 { destination: "2001:db8::2", ..v6.clone() };
        bench.worker("listener", &v4.tcp(1000, 80));
        bench.worker("listener", &v4.udp(1000, 53));
        bench.worker("listener v6", &v6.tcp(1000, 80));
        bench.worker("listener v6", &v6.udp(1000, 53));
        bench.worker("first of the range", &backend_v4.tcp(8080, 20000));
        bench.worker("last of the range", &backend_v4.tcp(8080, 29999));
        bench.worker("range v6", &backend_v6.udp(53, 30000));
        bench.kernel("below the range", &backend_v4.tcp(8080, 19999));
        bench.kernel("above the range", &backend_v4.tcp(8080, 30000));
        bench.kernel("range of the other protocol", &backend_v4.udp(8080, 20000));
        bench.kernel("range of the other protocol v6", &backend_v6.tcp(53, 30000));
        bench.kernel("another port", &v4.tcp(1000, 81));
        bench.kernel("the port of the other protocol", &v4.udp(1000, 80));
        bench.kernel("another address", &Ipv4 { destination: [198, 51, 100, 9], ..v4.clone() }.tcp(1, 80));
        bench.kernel("another address v6", &Ipv6 { destination: "2001:db8::9", ..v6.clone() }.tcp(1, 80));
        bench.kernel("GRE", &v4.carrying(47, &[0; 20]));
        bench.kernel("echo request", &v4.carrying(1, &[8, 0, 0, 0, 0, 0, 0, 0]));
        bench.kernel("echo request v6", &v6.icmp(128, &[]));
        bench.kernel("ARP", &Packet { vlan: Vec::new(), ethertype: 0x0806, bytes: vec![0; 28] });
        bench.kernel("LLDP", &Packet { vlan: Vec::new(), ethertype: 0x88cc, bytes: Vec::new() });
        bench.expect("ssh", &v4.tcp(1000, 22).frame(), XDP_PASS, "pass_management");
        bench.expect("ssh v6", &v6.tcp(1000, 22).frame(), XDP_PASS, "pass_management");
    });
}

#[test]
fn vlan_tags_and_options_are_walked() {
    on_bench("vlan", Unbound::Pass, |bench| {
        for tags in [&[0x8100][..], &[0x88a8], &[0x88a8, 0x8100], &[0x8100, 0x8100]] {
            bench.worker("tagged", &Ipv4::default().tcp(1000, 80).vlan(tags));
            bench.worker("tagged v6", &Ipv6::default().tcp(1000, 80).vlan(tags));
        }
        bench.kernel("three tags", &Ipv4::default().tcp(1000, 80).vlan(&[0x88a8, 0x8100, 0x8100]));
        let cut = &Ipv4::default().tcp(1, 80).vlan(&[0x8100]).frame()[..17];
        bench.expect("a tag cut short", cut, XDP_PASS, "pass_not_ours");
        for words in 1..=10 {
            let options = Ipv4 { options: vec![1; words * 4], ..Ipv4::default() };
            bench.worker("IPv4 options", &options.tcp(1000, 80));
            bench.worker("IPv4 options", &options.udp(1000, 53));
        }
        bench.worker("Ethernet padding", &Ipv4::default().tcp(1000, 80).padded(6));
        bench.worker("Ethernet padding v6", &Ipv6::default().tcp(1000, 80).padded(6));
    });
}

#[test]
fn ipv6_extension_headers_are_walked_up_to_the_bound() {
    on_bench("extensions", Unbound::Pass, |bench| {
        let with = |kinds: &[u8]| kinds.iter().fold(Ipv6::default(), |ip, &kind| ip.with(kind, &OPTIONS_8));
        bench.worker("hop by hop", &with(&[0]).tcp(1000, 80));
        bench.worker("routing", &with(&[43]).udp(1000, 53));
        bench.worker("all", &with(&[0, 60, 43, 60]).tcp(1000, 80));
        bench.worker("five", &with(&[0, 60, 43, 60, 60]).tcp(1000, 80));
        bench.kernel("one more than the bound", &with(&[0, 60, 43, 60, 60, 60]).tcp(1000, 80));
        let long = [[31].as_slice(), &[0; 254]].concat();
        bench.worker("256 bytes of options", &Ipv6::default().with(60, &long).tcp(1000, 80));
        let authentication = [[4].as_slice(), &[0; 22]].concat();
        bench.worker("AH", &Ipv6::default().with(51, &authentication).tcp(1000, 80));
        bench.kernel("ESP", &Ipv6::default().with(50, &OPTIONS_8).tcp(1000, 80));
        bench.kernel("no next header", &Ipv6::default().carrying(59, &[]));
        bench.kernel(
            "a chain that leaves the packet",
            &Ipv6::default().with(60, &[200, 0, 0, 0, 0, 0, 0]).tcp(1, 80),
        );
        bench.worker("an atomic fragment", &Ipv6::default().fragment(0, false, 1).tcp(1000, 80));
    });
}

#[test]
fn the_first_fragment_decides_and_later_ones_follow() {
    on_bench("fragments", Unbound::Pass, |bench| {
        let worker = |bench: &mut Bench, what: &str, packet: &Packet| {
            bench.expect(what, &packet.frame(), XDP_REDIRECT, "worker_fragment");
        };
        let first = Ipv4 { fragment: 0x2000, ..Ipv4::default() };
        let later = Ipv4 { fragment: 100, ..Ipv4::default() };
        let elsewhere = |ip: &Ipv4| Ipv4 { destination: [198, 51, 100, 2], ..ip.clone() };
        worker(bench, "first to a listener", &first.carrying(17, &udp(1000, 53, 1000)));
        worker(bench, "later of a known one", &later.carrying(17, &[0; 64]));
        worker(
            bench,
            "later, unknown, to an address with listeners",
            &Ipv4 { id: 8, ..later.clone() }.carrying(17, &[]),
        );
        bench.kernel("first to no listener", &first.carrying(17, &udp(1000, 54, 1000)));
        bench.kernel(
            "later, unknown, to an address without listeners",
            &elsewhere(&later).carrying(6, &[0; 64]),
        );
        worker(bench, "first to a backend port", &elsewhere(&first).carrying(6, &tcp(8080, 20000, 0x10)));
        worker(bench, "later of it", &elsewhere(&later).carrying(6, &[0; 64]));
        bench.kernel("the same id of another protocol", &elsewhere(&later).carrying(17, &[0; 64]));
        bench.kernel("a fragment of GRE", &first.carrying(47, &[0; 64]));
        bench.kernel("too short for ports", &first.carrying(6, &[0; 3]));
        bench.drops(
            "too short for a TCP header",
            &first.carrying(6, &tcp(1, 80, 16)[..16]),
            "drop_tcp_header",
        );

        let v6 = |offset, more, id| Ipv6::default().fragment(offset, more, id);
        let range = |offset, more| Ipv6 { destination: "2001:db8::2", ..v6(offset, more, 9) };
        worker(bench, "first v6", &v6(0, true, 1).carrying(17, &udp(1000, 53, 1000)));
        worker(bench, "later v6", &v6(10, false, 1).carrying(17, &[0; 64]));
        worker(bench, "later, unknown, v6", &v6(10, true, 2).carrying(17, &[0; 64]));
        bench.kernel("later, unknown, no listeners, v6", &range(10, true).carrying(17, &[0; 64]));
        worker(bench, "first to a backend port v6", &range(0, true).carrying(17, &udp(53, 30000, 100)));
        worker(bench, "later of it v6", &range(10, true).carrying(17, &[0; 64]));
        bench.kernel("first to no listener v6", &v6(0, true, 3).carrying(17, &udp(1000, 54, 100)));
    });
}

#[test]
fn icmp_errors_go_to_whoever_sent_the_packet_inside() {
    on_bench("icmp", Unbound::Pass, |bench| {
        let worker = |bench: &mut Bench, what: &str, packet: &Packet| {
            bench.expect(what, &packet.frame(), XDP_REDIRECT, "worker_icmp");
        };
        // Sent by us: from the listener to a client, from a backend port to a backend.
        let answer = Ipv4 { source: [198, 51, 100, 1], destination: [203, 0, 113, 9], ..Ipv4::default() };
        let request = Ipv4 { source: [198, 51, 100, 2], destination: [192, 0, 2, 80], ..Ipv4::default() };
        let router = Ipv4 { source: [192, 0, 2, 254], ..Ipv4::default() };
        worker(bench, "about an answer", &router.icmp(3, &answer.tcp(80, 1000)));
        worker(bench, "about a request", &router.icmp(3, &request.tcp(20000, 8080)));
        worker(
            bench,
            "inner options",
            &router.icmp(3, &Ipv4 { options: vec![1; 8], ..answer.clone() }.udp(53, 9)),
        );
        worker(bench, "eight inner bytes", &router.icmp(3, &answer.tcp(80, 1000).cut(28)));
        bench.kernel("about the kernel's own", &router.icmp(3, &answer.tcp(5000, 1000)));
        bench.kernel("inner cut short", &router.icmp(3, &answer.tcp(80, 1000).cut(22)));
        bench.kernel("inner of another version", &router.icmp(3, &answer.tcp(80, 1000).with(0, 0x65)));
        bench.kernel(
            "inner later fragment",
            &router.icmp(3, &Ipv4 { fragment: 5, ..answer.clone() }.tcp(80, 1)),
        );
        bench.kernel("inner GRE", &router.icmp(3, &answer.carrying(47, &[0; 8])));
        bench.kernel("time exceeded", &router.icmp(11, &answer.tcp(80, 1000)));

        let answer = Ipv6 { source: "2001:db8::1", destination: "2001:db8:ffff::9", ..Ipv6::default() };
        let router = Ipv6 { source: "2001:db8:aaaa::1", ..Ipv6::default() };
        for message in [1, 2] {
            worker(bench, "about an answer v6", &router.icmp(message, &answer.tcp(80, 1000).bytes));
        }
        let fragment = answer.clone().fragment(0, true, 1).udp(53, 1000);
        worker(bench, "inner fragment header", &router.icmp(2, &fragment.bytes));
        let later = answer.clone().fragment(4, true, 1).udp(53, 1000);
        bench.kernel("inner later fragment v6", &router.icmp(2, &later.bytes));
        bench.kernel("about the kernel's own v6", &router.icmp(2, &answer.tcp(5000, 1000).bytes));
        bench.kernel("inner cut short v6", &router.icmp(2, &answer.tcp(80, 1000).bytes[..42]));
        bench.kernel("time exceeded v6", &router.icmp(3, &answer.tcp(80, 1000).bytes));
    });
}

#[test]
fn blocked_sources_are_dropped_but_never_what_keeps_the_host_reachable() {
    on_bench("blocklist", Unbound::Pass, |bench| {
        bench.program.set_allowed(&[net("203.0.113.128/25")]).unwrap();
        bench.program.block(net("203.0.113.0/24"), None).unwrap();
        bench.program.block(net("203.0.113.200/32"), None).unwrap();
        bench.program.block(net("2001:db8:ffff::/48"), None).unwrap();
        let from = |last| Ipv4 { source: [203, 0, 113, last], ..Ipv4::default() };
        let v6 = Ipv6::default();
        bench.drops("blocked", &from(9).tcp(1000, 80), "drop_blocklist");
        bench.drops("blocked, tagged", &from(9).tcp(1000, 80).vlan(&[0x88a8, 0x8100]), "drop_blocklist");
        bench.drops("blocked, another service", &from(9).tcp(1000, 5432), "drop_blocklist");
        bench.drops(
            "blocked, echo request",
            &from(9).carrying(1, &[8, 0, 0, 0, 0, 0, 0, 0]),
            "drop_blocklist",
        );
        bench.drops(
            "blocked, fragment",
            &Ipv4 { fragment: 5, ..from(9) }.carrying(6, &[0; 64]),
            "drop_blocklist",
        );
        bench.drops("blocked v6", &v6.udp(1000, 53), "drop_blocklist");
        bench.drops("blocked, options v6", &v6.clone().with(0, &OPTIONS_8).tcp(1, 80), "drop_blocklist");
        bench.worker("allowed inside a blocked prefix", &from(129).tcp(1000, 80));
        bench.worker("blocked inside an allowed prefix", &from(200).tcp(1000, 80));
        bench.expect("ssh", &from(9).tcp(1000, 22).frame(), XDP_PASS, "pass_management");
        bench.expect("ssh v6", &v6.tcp(1000, 22).frame(), XDP_PASS, "pass_management");
        bench.drops("UDP to the same port", &from(9).udp(1000, 22), "drop_blocklist");

        let before = bench.program.counters().unwrap();
        let inner = Ipv4 { source: [198, 51, 100, 1], ..Ipv4::default() }.tcp(80, 1000);
        let mut protected = vec![from(9).icmp(3, &inner).frame()];
        for message in [1, 2, 3, 4, 133, 134, 135, 136, 137] {
            protected.push(v6.icmp(message, &[0; 16]).frame());
        }
        for frame in &protected {
            assert_ne!(bench.program.dry_run(0, frame, 1).unwrap().0, XDP_DROP, "{frame:02x?}");
        }
        let after = bench.program.counters().unwrap();
        let moved = |name| {
            let of = |list: &[(&str, u64)]| list.iter().find(|(n, _)| *n == name).unwrap().1;
            of(&after) - of(&before)
        };
        assert_eq!((moved("pass_protected"), moved("drop_blocklist")), (10, 0));
        bench.drops("echo request v6", &v6.icmp(128, &[]), "drop_blocklist");

        bench.program.unblock(net("203.0.113.0/24")).unwrap();
        bench.worker("unblocked", &from(9).tcp(1000, 80));
    });
}

#[test]
fn packets_are_counted_by_the_block_that_dropped_them() {
    on_bench("hits", Unbound::Pass, |bench| {
        let from = |last| Ipv4 { source: [203, 0, 113, last], ..Ipv4::default() }.tcp(1000, 80).frame();
        let v6 = Ipv6::default().udp(1000, 53).frame();
        bench.program.block(net("203.0.113.0/24"), None).unwrap();
        bench.program.block(net("203.0.113.9/32"), Some(Duration::from_secs(1000))).unwrap();
        bench.program.block(net("2001:db8:ffff::/48"), None).unwrap();
        let mut run = |frame: &[u8], repeat| bench.program.dry_run(0, frame, repeat).unwrap();
        // Most of these are answered by what the core remembers.
        run(&from(9), 1_000);
        run(&from(10), 1);
        run(&v6, 1);
        // Sources in one slot of the memory push each other out; none of their packets is lost.
        (0..=255).filter(|last| *last != 9).for_each(|last| drop(run(&from(last), 3)));
        (0..=255).filter(|last| *last != 9).for_each(|last| drop(run(&from(last), 1)));
        let program = &mut bench.program;
        assert_eq!(program.hits(net("203.0.113.9/32")), Some(1_000));
        let wide = program.hits(net("203.0.113.0/24")).unwrap();
        // The last packets of each source may still be remembered only.
        assert!((1 + 255 * 2..=1 + 255 * 4).contains(&wide), "{wide}");
        assert_eq!(program.hits(net("2001:db8:ffff::/48")), Some(1));
        assert_eq!(program.hits(net("203.0.113.0/25")), None, "not listed, though covered");
        program.block(net("203.0.113.9/32"), None).unwrap();
        assert_eq!(program.hits(net("203.0.113.9/32")), Some(1_000), "a new end keeps the count");
        program.block(net("203.0.113.128/25"), None).unwrap();
        assert_eq!(program.hits(net("203.0.113.128/25")), Some(0), "a new entry begins with nothing");
        program.unblock(net("203.0.113.9/32")).unwrap();
        assert_eq!(program.hits(net("203.0.113.9/32")), None);
    });
}

#[test]
fn a_block_ends_by_itself_and_is_then_cleared() {
    on_bench("expiry", Unbound::Pass, |bench| {
        let packet = Ipv4::default().tcp(1000, 80);
        bench.program.block(net("203.0.113.9/32"), Some(Duration::from_millis(100))).unwrap();
        bench.drops("blocked", &packet, "drop_blocklist");
        assert_eq!(bench.program.expire().unwrap(), 0);
        // The kernel's coarse clock is the subject here: it has to pass.
        std::thread::sleep(Duration::from_millis(120));
        bench.worker("ended without our doing", &packet);
        assert_eq!(bench.program.expire().unwrap(), 1);
        assert_eq!(bench.program.blocked(), []);
        bench.program.block(net("203.0.113.9/32"), Some(Duration::from_secs(1000))).unwrap();
        bench.drops("blocked again", &packet, "drop_blocklist");
        bench.program.block(net("203.0.113.9/32"), Some(Duration::ZERO)).unwrap();
        bench.worker("blocking again replaces the end", &packet);
    });
}

#[test]
fn packets_that_cannot_be_legitimate_are_dropped_by_reason() {
    on_bench("malformed", Unbound::Pass, |bench| {
        let (v4, v6) = (Ipv4::default(), Ipv6::default());
        let good = v4.tcp(1000, 80);
        for len in 0..20 {
            bench.drops("IPv4 header cut", &good.clone().cut(len), "drop_ipv4_header");
        }
        for len in 20..40 {
            bench.drops("IPv4 packet cut", &good.clone().cut(len), "drop_ipv4_length");
        }
        bench.drops("version", &good.clone().with(0, 0x65), "drop_ipv4_header");
        bench.drops("header length 4", &good.clone().with(0, 0x44), "drop_ipv4_header");
        bench.drops("header longer than the frame", &good.clone().with(0, 0x4f), "drop_ipv4_header");
        bench.drops("total length below the header", &good.clone().with(3, 19), "drop_ipv4_length");
        bench.drops("total length above the frame", &good.clone().with(3, 41), "drop_ipv4_length");
        for source in [[127, 0, 0, 1], [224, 0, 0, 1], [239, 1, 1, 1], [255, 255, 255, 255]] {
            bench.drops("source", &Ipv4 { source, ..v4.clone() }.tcp(1, 80), "drop_source");
        }
        bench.drops("LAND", &Ipv4 { source: v4.destination, ..v4.clone() }.tcp(80, 80), "drop_land");
        let dhcp = Ipv4 { source: [0; 4], destination: [255; 4], ..v4.clone() };
        bench.kernel("DHCP", &dhcp.udp(68, 67));

        let good = v6.tcp(1000, 80);
        for len in 0..40 {
            bench.drops("IPv6 header cut", &good.clone().cut(len), "drop_ipv6_header");
        }
        for len in 40..60 {
            bench.drops("IPv6 packet cut", &good.clone().cut(len), "drop_ipv6_length");
        }
        bench.drops("version", &good.clone().with(0, 0x45), "drop_ipv6_header");
        for source in ["::1", "ff02::1"] {
            bench.drops("source v6", &Ipv6 { source, ..v6.clone() }.tcp(1, 80), "drop_source");
        }
        bench.drops("LAND v6", &Ipv6 { source: v6.destination, ..v6.clone() }.tcp(80, 80), "drop_land");
        let solicitation = Ipv6 { source: "::", destination: "ff02::1:ff00:1", ..v6.clone() };
        bench.kernel("duplicate address detection", &solicitation.icmp(135, &[0; 16]));
    });
}

#[test]
fn transport_headers_are_checked_only_when_they_are_ours() {
    on_bench("transport", Unbound::Pass, |bench| {
        let ip = no_ports();
        for flags in 0..=0x3f {
            let bare = flags & 0x17;
            let bad = bare == 0
                || (bare & 0x02 != 0 && bare & 0x05 != 0)
                || (bare & 0x01 != 0 && (bare & 0x10 == 0 || bare & 0x04 != 0));
            let packet = ip.carrying(6, &tcp(1000, 80, flags));
            if bad {
                bench.drops("flags", &packet, "drop_tcp_flags");
            } else {
                bench.worker("flags", &packet);
            }
            bench.kernel("flags, not ours", &ip.carrying(6, &tcp(1000, 81, flags)));
            let v6 = Ipv6::default().carrying(6, &tcp(1000, 80, flags)).frame();
            assert_eq!(bench.program.dry_run(0, &v6, 1).unwrap().0 == XDP_DROP, bad);
        }
        for len in 4..20 {
            bench.drops("TCP header cut", &ip.carrying(6, &tcp(1, 80, 16)[..len]), "drop_tcp_header");
        }
        bench.drops("data offset 4", &ip.tcp(1, 80).with(32, 0x40), "drop_tcp_header");
        bench.drops("data offset past the end", &ip.tcp(1, 80).with(32, 0x60), "drop_tcp_header");
        bench.drops(
            "data offset into the padding",
            &ip.tcp(1, 80).with(32, 0x60).padded(6),
            "drop_tcp_header",
        );
        bench.drops("source port 0", &ip.tcp(0, 80), "drop_port_zero");
        bench.worker("UDP source port 0 is legitimate", &ip.udp(0, 53));
        for len in 4..8 {
            bench.drops("UDP header cut", &ip.carrying(17, &udp(1, 53, 0)[..len]), "drop_udp_length");
        }
        bench.drops("UDP length 7", &ip.udp(1, 53).with(25, 7), "drop_udp_length");
        bench.drops("UDP length past the end", &ip.udp(1, 53).with(25, 13), "drop_udp_length");
        bench.worker("UDP length short of the packet", &ip.udp(1, 53).with(25, 8));
        bench.kernel("ports cut, cannot be known as ours", &ip.carrying(17, &[0; 3]));
    });
}

#[test]
fn without_a_worker_the_kernel_takes_over_or_nobody() {
    for (unbound, action, reason) in
        [(Unbound::Pass, XDP_PASS, "pass_no_worker"), (Unbound::Drop, XDP_DROP, "drop_no_worker")]
    {
        on_bench("unbound", unbound, |bench| {
            let packet = Ipv4::default().tcp(1000, 80);
            bench.worker("bound", &packet);
            bench.program.unbind_queue(0, 0).unwrap();
            bench.program.unbind_queue(0, 0).unwrap();
            bench.expect("unbound", &packet.frame(), action, reason);
            bench.kernel("not ours is the kernel's in any case", &Ipv4::default().tcp(1000, 81));
            assert!(bench.program.unbind_queue(1, 0).is_err());
            assert!(bench.program.unbind_queue(0, QUEUES_MAX).is_err());
        });
    }
}

#[test]
fn listeners_are_replaced_and_counted_against_their_limit() {
    on_bench("replace", Unbound::Pass, |bench| {
        let listener = |port| ListenerKey { addr: ([198, 51, 100, 1], port).into(), protocol: 6 };
        let ip = Ipv4::default();
        bench.program.set_listeners(&[listener(8080)]).unwrap();
        bench.worker("new", &ip.tcp(1000, 8080));
        bench.kernel("gone", &ip.tcp(1000, 80));
        let many: Vec<_> = (1..=LISTENERS_MAX as u16).map(listener).collect();
        bench.program.set_listeners(&many).unwrap();
        bench.worker("last", &ip.tcp(1000, LISTENERS_MAX as u16));
        let other: Vec<_> = (10_001..=10_000 + LISTENERS_MAX as u16).map(listener).collect();
        bench.program.set_listeners(&other).unwrap();
        bench.worker("a full map is replaced too", &ip.tcp(1000, 10_001));
        let too_many: Vec<_> = (1..=LISTENERS_MAX as u16 + 1).map(listener).collect();
        assert!(bench.program.set_listeners(&too_many).unwrap_err().to_string().contains("at most 4096"));
        bench.worker("nothing was changed", &ip.tcp(1000, 10_001));
        bench.program.set_listeners(&[]).unwrap();
        bench.kernel("none", &ip.tcp(1000, 10_001));
    });
}
