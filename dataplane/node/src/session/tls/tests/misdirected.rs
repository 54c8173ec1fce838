//! 421 for requests on a connection whose certificate is not for their host.

use std::sync::Arc;

use secbeat_config::node::Misdirected;
use secbeat_config::units::HostPattern;

use super::session::Talk;
use super::site::{NO_LIMITS, Site};
use crate::session::policy::{L7Policy, Listener, Route, RouteTable, Scope};
use crate::session::tests::frames;
use crate::session::tests::harness::{listener, ok, policy};
use crate::session::tls::Coverage;

/// Three certificates: the default one, one for a name and what is under another, one for a name under that.
const FILES: [&str; 3] = ["default", "wide", "narrow"];

fn site() -> Site {
    let site = Site::new();
    site.issue("default", &["default.test"]);
    site.issue("wide", &["a.test", "*.shop.test"]);
    site.issue("narrow", &["b.test", "pay.shop.test"]);
    site
}

#[test]
fn coverage_follows_the_names_in_the_certificates() {
    let engine = site().engine(&FILES, NO_LIMITS);
    for (asked, host, expected) in [
        ("a.test", "a.test", Coverage::Covered),
        ("A.test", "x.SHOP.test", Coverage::Covered),
        ("a.test", "a.test.", Coverage::Covered),
        ("a.test", "b.test", Coverage::Elsewhere),
        ("a.test", "default.test", Coverage::Elsewhere),
        ("b.test", "a.test", Coverage::Elsewhere),
        ("a.test", "elsewhere.test", Coverage::Nowhere),
        ("a.test", "x.y.shop.test", Coverage::Nowhere),
        ("a.test", "shop.test", Coverage::Nowhere),
        ("a.test", "192.0.2.1", Coverage::Nowhere),
        ("a.test", "", Coverage::Nowhere),
        ("a.test", "test", Coverage::Nowhere),
        // Both certificates are for it: by the star, and by name.
        ("a.test", "pay.shop.test", Coverage::Covered),
        ("b.test", "pay.shop.test", Coverage::Covered),
        ("x.shop.test", "a.test", Coverage::Covered),
        // Who asks for the exact name gets that certificate, which is not for the others under the star.
        ("pay.shop.test", "x.shop.test", Coverage::Elsewhere),
        ("unknown.test", "a.test", Coverage::Unnamed),
        ("unknown.test", "unknown.test", Coverage::Unnamed),
    ] {
        assert_eq!(engine.coverage(asked, host), expected, "{asked} -> {host}");
    }
}

/// A node with those certificates. `has_hosts`: whether it routes by host.
fn node(site: &Site, misdirected: Misdirected, has_hosts: bool) -> L7Policy {
    let mut policy = policy();
    policy.routes = vec![Route {
        name: "b".into(),
        group: "default".into(),
        rate: None,
        source_rate: None,
        body_max: None,
        response_timeout: None,
        proxy_protocol: None,
        waf: None,
    }];
    let hosts = if has_hosts { vec![HostPattern::Exact("b.test".into())] } else { Vec::new() };
    let routes = RouteTable::new(&[Scope { hosts, path: b"/".as_slice().into(), route: 0 }]);
    policy.listeners = vec![Some(Listener { tls: true, routes, ..listener() })];
    policy.tls = Some(Arc::new(site.load(&site.tls(&FILES, NO_LIMITS)).unwrap()));
    policy.misdirected = misdirected;
    policy.health_path = Some(b"/health"[..].into());
    policy
}

/// Statuses of requests for `hosts`, one after the other on a connection whose client asked for `asked`.
fn statuses(policy: L7Policy, site: &Site, asked: &str, hosts: &[&str]) -> Vec<u16> {
    let mut client = site.client();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    // What the certificate is for is of no interest to this client.
    let lenient = super::certificates::Lenient::of(&client);
    client.dangerous().set_certificate_verifier(Arc::new(lenient));
    let mut talk = Talk::with(policy, client, asked, |_| ok(b"x"));
    for (index, host) in hosts.iter().enumerate() {
        talk.say(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        talk.replies(index + 1);
    }
    let replies = talk.replies(hosts.len());
    let refused = replies.iter().filter(|reply| reply.status == 421).count();
    assert_eq!(talk.world.origin.seen.len(), hosts.len() - refused, "no origin sees what was refused");
    replies.iter().map(|reply| reply.status).collect()
}

const HOSTS: [&str; 6] =
    ["a.test", "B.test:8443", "x.shop.test", "elsewhere.test", "default.test", "192.0.2.1:443"];

#[test]
fn host_of_another_certificate_is_misdirected_where_routes_go_by_host() {
    let site = site();
    let routes = |has_hosts| node(&site, Misdirected::Routes, has_hosts);
    assert_eq!(statuses(routes(true), &site, "a.test", &HOSTS), [200, 421, 200, 200, 421, 200]);
    assert_eq!(statuses(routes(false), &site, "a.test", &HOSTS), [200; 6], "every host gets the same");
}

#[test]
fn strict_refuses_every_host_that_the_certificate_is_not_for_and_off_none() {
    let site = site();
    let strict = node(&site, Misdirected::Strict, false);
    assert_eq!(statuses(strict, &site, "a.test", &HOSTS), [200, 421, 200, 421, 421, 421]);
    let off = node(&site, Misdirected::Off, true);
    assert_eq!(statuses(off, &site, "a.test", &HOSTS), [200; 6]);
}

#[test]
fn client_that_named_nobody_we_know_is_not_judged() {
    let site = site();
    // An address is not sent as a name.
    for asked in ["unknown.test", "192.0.2.1"] {
        assert_eq!(
            statuses(node(&site, Misdirected::Strict, true), &site, asked, &HOSTS),
            [200; 6],
            "{asked}"
        );
    }
}

#[test]
fn trusted_proxy_speaks_for_every_host() {
    let site = site();
    let mut policy = node(&site, Misdirected::Strict, true);
    policy.forwarding.trusted = ["192.0.2.0/24".parse().unwrap()].into();
    assert_eq!(statuses(policy, &site, "a.test", &HOSTS), [200; 6]);
}

#[test]
fn streams_are_judged_one_by_one_and_their_connection_goes_on() {
    let site = site();
    let mut client = site.client();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let mut talk =
        Talk::with(node(&site, Misdirected::Routes, true), client, "a.test", |seen| ok(seen.head.as_bytes()));
    let get = |stream, host| frames::request_to(stream, true, host, "GET", "/", &[]);
    talk.say(&[frames::hello(1 << 20), get(1, "a.test"), get(3, "b.test"), get(5, "x.shop.test")].concat());
    for _ in 0..5_000 {
        let heard = frames::Connection::read(&talk.heard);
        if heard.streams.values().filter(|heard| heard.is_ended).count() == 3 {
            break;
        }
        talk.turn();
    }
    let heard = frames::Connection::read(&talk.heard);
    let (one, three, five) = (&heard.streams[&1], &heard.streams[&3], &heard.streams[&5]);
    assert_eq!((one.status, five.status), (Some(200), Some(200)));
    assert!(String::from_utf8_lossy(&three.body).contains("421 Misdirected Request"), "{three:?}");
    assert_eq!((heard.goaway, talk.world.origin.seen.len()), (None, 2));
}
