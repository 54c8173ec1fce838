use core::time::Duration;

use ipnet::IpNet;
use secbeat_net::flow::HashKey;
use secbeat_net::neighbor::{Interface, NeighborTable, Route, Via};
use secbeat_net::syncookie::KeySchedule;
use secbeat_net::time::Instant;
use secbeat_net::wire::ethernet::MacAddr;

use super::view::PortView;
use super::*;
use crate::lists;
use crate::upstream::Upstream;

const CONFIG: &str = "
[server]
mode = \"syn\"
[[listeners]]
name = \"everywhere\"
bind_address = \"0.0.0.0:80\"
backends = [\"one\", \"two\"]
[[listeners]]
name = \"here\"
bind_address = \"10.1.0.1:80\"
backends = [\"one\"]
proxy_protocol = \"v2\"
[[listeners]]
name = \"six\"
bind_address = \"[::]:80\"
backends = [\"six\"]
[[backends]]
name = \"one\"
address = \"10.2.0.11:8080\"
[[backends]]
name = \"two\"
address = \"10.9.0.12:8080\"
[[backends]]
name = \"six\"
address = \"[fd02::11]:8080\"
";

fn net(text: &str) -> IpNet {
    text.parse().expect("prefix")
}

fn at(addr: &str, port: u16) -> Endpoint {
    Endpoint { addr: addr.parse().expect("address"), port }
}

/// Clients on port 0; backends on port 1, of which only 10.2.0.11 is resolved; nothing leads to 10.9.0.0/24.
fn view(mtu: u16) -> View {
    let mut neighbors = NeighborTable::new();
    neighbors
        .add_interface(2, Interface { port: PortId(1), mac: MacAddr([2; 6]), mtu, tags: Default::default() });
    for destination in ["10.2.0.0", "fd02::"] {
        let destination: IpAddr = destination.parse().expect("address");
        let via = Some(Via { interface: 2, gateway: None, source: None, mtu: None });
        let prefix_len = if destination.is_ipv4() { 24 } else { 64 };
        neighbors.add_route(Route { destination, prefix_len, via, metric: 0 });
    }
    neighbors.add_neighbor(2, "10.2.0.11".parse().expect("address"), MacAddr([3; 6]));
    neighbors.seal();
    let port = |port, addresses: &[&str]| PortView {
        port: PortId(port),
        mtu,
        addresses: addresses.iter().map(|text| net(text)).collect(),
    };
    View {
        ports: vec![
            port(0, &["10.1.0.1/24", "10.1.0.2/24", "fd01::1/64"]),
            port(1, &["10.2.0.1/24", "fd02::1/64"]),
        ],
        other_addresses: vec!["10.99.0.1".parse().expect("address")],
        neighbors,
    }
}

fn compile(text: &str, view: &View, ids: &mut TargetIds, generation: u64) -> Result<Policy, Error> {
    let config = secbeat_config::parse(text).expect("configuration");
    let upstream = Upstream::new(upstream::Settings::from_config(&config)).expect("backends");
    let filter = filter::compile(&config, &lists::View::default(), Instant::ZERO)?;
    let sources = Sources {
        config: &config,
        view,
        backends: upstream.snapshot(),
        filter: Arc::new(filter),
        keys: KeySchedule::new(HashKey([1, 2])).keys(7),
        resources: &l7::Resources::default(),
        workers: 2,
        draining: false,
    };
    Policy::compile(sources, ids, generation)
}

#[test]
fn wildcard_listener_is_on_every_local_address_and_an_exact_one_wins() {
    let policy = compile(CONFIG, &view(1_500), &mut TargetIds::new(8), 1).expect("policy");
    let find = |addr| policy.bindings.find(Protocol::Tcp, at(addr, 80));
    assert_eq!(find("10.1.0.1"), Some(1), "bound to this address alone");
    for addr in ["10.1.0.2", "10.2.0.1", "10.99.0.1"] {
        assert_eq!(find(addr), Some(0), "{addr}");
    }
    assert_eq!(find("fd01::1"), Some(2));
    assert_eq!(find("10.1.0.3"), None, "not ours");
    assert_eq!(policy.bindings.find(Protocol::Udp, at("10.1.0.2", 80)), None);
    let keys = policy.listener_keys();
    assert_eq!(keys.len(), 6);
    assert!(keys.iter().all(|(key, _)| key.protocol == 6 && !key.addr.ip().is_unspecified()));
}

#[test]
fn backend_has_one_number_with_and_one_without_proxy_header() {
    let policy = compile(CONFIG, &view(1_500), &mut TargetIds::new(8), 1).expect("policy");
    let one = upstream::BackendId(0);
    let plain = policy.listeners[0].target(one).expect("number");
    let with_header = policy.listeners[1].target(one).expect("number");
    assert_ne!(plain, with_header);
    assert!(!policy.targets.target(plain).expect("target").proxy_protocol);
    assert!(policy.targets.target(with_header).expect("target").proxy_protocol);
    assert_eq!((policy.backend_of(plain), policy.backend_of(with_header)), (Some(one), Some(one)));
    assert_eq!(policy.listeners[1].target(upstream::BackendId(1)), None, "not in its group");
}

#[test]
fn links_and_source_addresses_follow_the_kernels_tables() {
    let policy = compile(CONFIG, &view(1_500), &mut TargetIds::new(8), 1).expect("policy");
    let target = |listener: usize, backend| {
        let id = policy.listeners[listener].target(upstream::BackendId(backend)).expect("number");
        policy.targets.target(id).expect("target").clone()
    };
    let one = target(0, 0);
    assert_eq!(one.link.expect("a link").port, PortId(1));
    let Source::Snat(sources) = one.source else { panic!("not transparent") };
    assert_eq!(sources.as_slice(), ["10.2.0.1".parse::<IpAddr>().expect("address")]);
    assert!(target(0, 1).link.is_none(), "nothing leads there");
    assert!(target(2, 2).link.is_none(), "its neighbour is not resolved yet");
    let Source::Snat(sources) = target(2, 2).source else { panic!("not transparent") };
    assert_eq!(sources.as_slice(), ["fd02::1".parse::<IpAddr>().expect("address")]);
    assert_eq!(policy.snat_ranges().len(), 4, "two addresses, TCP and UDP");
}

#[test]
fn configured_source_addresses_and_transparent_mode_win() {
    let text = format!("[io]\nsnat_addresses = [\"10.2.0.77\", \"fd02::77\"]\n{CONFIG}");
    let policy = compile(&text, &view(1_500), &mut TargetIds::new(8), 1).expect("policy");
    assert_eq!(policy.snat_addresses.len(), 2);
    let ports = policy.snat_ports.slice(1);
    assert!(policy.is_from_backend(at("10.2.0.11", 8_080), at("10.2.0.77", ports.first)));
    assert!(!policy.is_from_backend(at("10.2.0.11", 8_080), at("10.2.0.1", ports.first)));
    assert!(!policy.is_from_backend(at("10.2.0.11", 8_080), at("10.2.0.77", 80)));
    let text = format!("[io]\ntransparent = true\n{CONFIG}");
    let policy = compile(&text, &view(1_500), &mut TargetIds::new(8), 1).expect("policy");
    assert!(policy.is_from_backend(at("10.2.0.11", 8_080), at("192.0.2.1", 5)));
    assert!(!policy.is_from_backend(at("10.2.0.11", 8_081), at("192.0.2.1", 5)));
    assert!(policy.snat_ranges().is_empty());
}

#[test]
fn offer_is_bounded_by_mtu_and_configuration() {
    let offer = |text: &str, mtu| {
        let policy = compile(text, &view(mtu), &mut TargetIds::new(8), 1).expect("policy");
        policy.listeners[0].offer
    };
    assert_eq!((offer(CONFIG, 1_500).mss_v4, offer(CONFIG, 1_500).mss_v6), (1_460, 1_440));
    assert_eq!((offer(CONFIG, 1_400).mss_v4, offer(CONFIG, 1_400).mss_v6), (1_360, 1_340));
    assert_eq!(offer(CONFIG, 68).mss_v4, 536, "never absurd");
    let plain = format!("[syn_proxy]\ntimestamps = false\nwindow_scaling = false\nsack = false\n{CONFIG}");
    let offer = offer(&plain, 1_500);
    assert!(!offer.timestamps && !offer.sack && offer.window_scale.is_none());
}

#[test]
fn more_backends_than_the_node_was_started_for_are_an_error() {
    let mut ids = TargetIds::new(3);
    assert!(matches!(compile(CONFIG, &view(1_500), &mut ids, 1), Err(Error::TooManyTargets)));
    let mut ids = TargetIds::new(4);
    let before = compile(CONFIG, &view(1_500), &mut ids, 1).expect("policy");
    let moved = CONFIG.replace("10.9.0.12", "10.2.0.12");
    let after = compile(&moved, &view(1_500), &mut ids, 2).expect("an unused number is given anew");
    let number = |policy: &Policy| policy.listeners[0].target(upstream::BackendId(0));
    assert_eq!(number(&before), number(&after), "who stays keeps its number");
}

#[test]
fn mode_decides_who_answers_a_handshake() {
    let handshake = |text: &str| {
        compile(text, &view(1_500), &mut TargetIds::new(8), 1).expect("policy").listeners[0].handshake
    };
    assert_eq!(handshake(CONFIG), Handshake::Proxied(SynCookies::Auto));
    assert_eq!(
        handshake(&CONFIG.replace("mode = \"syn\"", "mode = \"tcp\"")),
        Handshake::PassThrough(SynCookies::Auto)
    );
    let disabled = format!("[syn_proxy]\nenable = false\nsyn_cookies = \"never\"\n{CONFIG}");
    let handshake = handshake(&disabled);
    assert_eq!(handshake, Handshake::PassThrough(SynCookies::Never));
    assert!(!handshake.may_use_cookies());
}

#[test]
fn l7_listener_answers_itself_and_has_no_backend_on_the_packet_path() {
    let text =
        CONFIG.replacen("name = \"everywhere\"\n", "name = \"everywhere\"\nmode = \"l7\"\ntls = false\n", 1);
    let text = format!("[syn_proxy]\nmss_max = 8960\n{text}");
    let policy = compile(&text, &view(9_000), &mut TargetIds::new(8), 1).expect("policy");
    let (web, here) = (&policy.listeners[0], &policy.listeners[1]);
    assert_eq!((web.is_l7, here.is_l7), (true, false));
    assert_eq!(web.handshake, Handshake::Proxied(SynCookies::Auto));
    assert_eq!(web.target(upstream::BackendId(1)), None);
    assert!(here.target(upstream::BackendId(0)).is_some());
    assert!(policy.l7.listener(0).is_some() && policy.l7.listener(1).is_none());
    assert_eq!((web.offer.mss_v4, here.offer.mss_v4), (1_730, 8_960), "no more than a frame holds");
    assert_eq!(web.offer.window, u16::MAX);
}

#[test]
fn ban_is_compiled_to_end_on_the_nodes_clock() {
    let config = secbeat_config::parse(CONFIG).expect("configuration");
    let view = lists::View {
        generation: 1,
        allow: vec![net("10.0.0.7/32")],
        block: vec![(net("10.0.0.0/24"), Some(Duration::from_secs(5))), (net("10.0.1.0/24"), None)],
        numbers: Vec::new(),
    };
    let now = Instant::from_millis(1_000_000);
    let filter = filter::compile(&config, &view, now).expect("filter");
    let listed =
        |addr: &str, after| filter.listed(addr.parse().expect("address"), now + Duration::from_secs(after));
    use secbeat_net::filter::Listed;
    assert_eq!(listed("10.0.0.1", 4), Listed::Blocked { reason: 0 });
    assert_eq!(listed("10.0.0.1", 6), Listed::No);
    assert_eq!(listed("10.0.1.1", 1_000_000), Listed::Blocked { reason: 0 });
    assert_eq!(listed("10.0.0.7", 1), Listed::Allowed);
}
