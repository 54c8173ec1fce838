//! Rules of the WAF, asked for requests to a real origin: every phase, every verdict, bodies, records, exchange of
//! sets.

use core::time::Duration;
use std::sync::Arc;

use super::super::access_log::Writer;
use super::super::policy::{Inspection, L7Policy};
use super::frames::{finished, get, hello, request};
use super::harness::{Answer, Seen, World, ok, policy};
use crate::event::AttackKind;
use crate::telemetry::counters::Counter;
use crate::waf::{self, Lasting, Mode, Waf};

/// Compiles rules as an operator's file has them, with further keys of `[waf]`.
fn waf(rules: &str, keys: &str) -> Arc<Waf> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.conf");
    std::fs::write(&path, rules).expect("written");
    let text = format!("[waf]\ncrs_path = \"{}\"\n{keys}", path.display());
    let config = secbeat_config::parse(&text).expect("configuration");
    waf::load(&config.waf, &[], &Arc::new(Lasting::default())).expect("rules")
}

fn json(rules: &str) -> Arc<Waf> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.json");
    std::fs::write(&path, format!("{{\"rules\":[{rules}]}}")).expect("written");
    let text = format!("[waf]\nrules_path = \"{}\"\n", path.display());
    let config = secbeat_config::parse(&text).expect("configuration");
    waf::load(&config.waf, &[], &Arc::new(Lasting::default())).expect("rules")
}

fn with(waf: &Arc<Waf>) -> L7Policy {
    let inspection = Inspection { refuse_traversal: true, waf: Some(Arc::clone(waf)) };
    L7Policy { inspection, ..policy() }
}

fn world(waf: &Arc<Waf>, script: impl FnMut(&Seen) -> Answer + 'static) -> World {
    World::with(with(waf), script)
}

fn page(body: &[u8]) -> Answer {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nX-Leak: no\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    Answer::Send(bytes)
}

fn form(body: &str) -> String {
    format!(
        "POST /f HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const PHASES: &str = r#"
SecRule ARGS:one "@contains evil" "id:1,phase:1,deny,status:406,msg:'one',tag:'attack-sqli',severity:2"
SecRule ARGS_POST "@contains evil" "id:2,phase:2,deny,msg:'two',tag:'attack-xss'"
SecRule RESPONSE_HEADERS:X-Leak "@streq yes" "id:3,phase:3,deny,status:502,tag:'attack-disclosure'"
SecRule RESPONSE_BODY "@contains secret" "id:4,phase:4,deny,tag:'attack-disclosure'"
"#;

#[test]
fn each_phase_can_refuse_and_says_what_it_was() {
    let waf = waf(PHASES, "");
    let mut world = world(&waf, |seen| match seen.line() {
        "GET /leak HTTP/1.1" => page(b"a secret"),
        "GET /head HTTP/1.1" => {
            Answer::Send(b"HTTP/1.1 200 OK\r\nX-Leak: yes\r\nContent-Length: 1\r\n\r\nx".to_vec())
        }
        _ => page(b"fine"),
    });
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: t/1\r\n\r\n");
    assert_eq!(world.ask(&get("/?one=good&two=evil")).text(), "fine");
    for (asked, status, attack, rule) in [
        (get("/?one=an+evil"), 406, AttackKind::SqlInjection, "1"),
        (form("x=evil"), 403, AttackKind::CrossSiteScripting, "2"),
        (get("/head"), 502, AttackKind::Disclosure, "3"),
        (get("/leak"), 403, AttackKind::Disclosure, "4"),
    ] {
        let reply = world.ask(&asked);
        assert_eq!(reply.status, status, "{asked}");
        assert!(!reply.text().contains("secret"));
        let report = world.reports.pop().expect("a report");
        assert_eq!((report.attack, &*report.rule, report.is_blocked), (attack, rule, true));
        assert_eq!(reply.field("x-request-id"), Some(report.request_id.as_str()));
    }
    assert_eq!(world.origin.seen.len(), 3, "the first two never came to the origin");
    assert_eq!(world.page.get(Counter::WafInterrupted), 4);
    assert_eq!(world.page.get(Counter::WafTransactions), 5);
    assert_eq!(waf.lasting.hits.counts().len(), 4);
    world.rest();
    assert_eq!((world.counts().buffers, world.counts().exchanges), (0, 0));
}

#[test]
fn http2_streams_are_inspected_like_others() {
    let mut world = world(&waf(PHASES, ""), |_| page(b"a secret"));
    let client = world.connect();
    world.send(client, &hello(1 << 20));
    world.send(client, &get(1, "/?one=evil"));
    let body = |world: &mut World, stream| {
        String::from_utf8_lossy(&finished(world, client, stream).body).into_owned()
    };
    assert!(body(&mut world, 1).contains("<h1>406"));
    world.send(client, &request(3, true, "GET", "/", &[]));
    let refused = body(&mut world, 3);
    assert!(refused.contains("<h1>403") && !refused.contains("secret"));
    assert_eq!(world.counts().exchanges, 0);
}

#[test]
fn detection_only_lets_pass_and_tells() {
    let mut world = world(&waf(PHASES, "block_suspicious = false\n"), |_| page(b"a secret"));
    assert_eq!(world.ask("GET /?one=evil HTTP/1.1\r\nHost: a\r\n\r\n").text(), "a secret");
    world.rest();
    let report = world.reports.pop().expect("a report");
    assert_eq!((report.attack, &*report.rule), (AttackKind::SqlInjection, "1"));
    assert!(!report.is_blocked);
    assert_eq!((world.page.get(Counter::WafDetected), world.page.get(Counter::WafInterrupted)), (1, 0));
    assert_eq!(world.page.get(Counter::RequestsBlocked), 0);
}

#[test]
fn drop_redirect_and_challenge() {
    let rules = r#"
SecRule REQUEST_FILENAME "@streq /drop" "id:1,phase:1,drop"
SecRule REQUEST_FILENAME "@streq /move" "id:2,phase:1,redirect:'https://example.org/%{REQUEST_BASENAME}'"
SecRule REQUEST_FILENAME "@streq /ask" "id:3,phase:1,challenge"
"#;
    let mut world = world(&waf(rules, ""), |_| ok(b""));
    let client = world.connect();
    world.send(client, b"GET /drop HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(world.peer(client).is_aborted && world.peer(client).received.is_empty());
    let reply = world.ask("GET /move HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.status, reply.field("location")), (302, Some("https://example.org/move")));
    assert_eq!(world.ask("GET /ask HTTP/1.1\r\nHost: a\r\n\r\n").status, 403);
    assert!(world.origin.seen.is_empty());
    assert_eq!(world.page.get(Counter::WafTransactions), 3);
}

#[test]
fn bodies_are_held_up_to_their_limit() {
    let keys = "request_body_no_files_limit = 1000\nrequest_body_limit = 2000\n";
    let mut world = world(&waf(PHASES, keys), |seen| ok(&seen.body));
    let fits = format!("x={}", "y".repeat(998));
    assert_eq!(world.ask(&form(&fits)).text(), fits, "just as long as may be");
    assert_eq!(world.ask(&form(&format!("{fits}y"))).status, 413);
    let post = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1500\r\n\r\n{}",
        "z".repeat(1_500)
    );
    assert_eq!(world.ask(&post).status, 200, "files may be longer");
    world.rest();
    assert_eq!(world.counts().buffers, 0);
}

#[test]
fn bodies_held_at_once_have_a_bound() {
    let keys = "held_limit = 1048576\nrequest_body_no_files_limit = 1000000\n";
    let mut world = world(&waf(PHASES, keys), |seen| match seen.line() {
        "GET /page HTTP/1.1" => page(&[b'x'; 300_000]),
        _ => ok(b"ok"),
    });
    let long = form(&"y".repeat(800_000));
    let (head, rest) = long.split_at(long.len() - 10);
    let first = world.connect();
    world.send(first, head.as_bytes());
    assert_eq!(world.ask(&form(&"y".repeat(400_000))).status, 503);
    // What passes a response's bound passes here too.
    assert_eq!(world.ask("GET /page HTTP/1.1\r\nHost: a\r\n\r\n").body.len(), 300_000);
    assert!(world.page.get(Counter::WafHeldFull) >= 2);
    world.send(first, rest.as_bytes());
    assert_eq!(world.response(first).status, 200);
    world.rest();
    assert_eq!(world.sessions.core.held_bytes, 0);
    assert_eq!(world.ask(&form(&"y".repeat(900_000))).status, 200);
    assert_eq!(world.counts().buffers, 0);
}

#[test]
fn longer_bodies_pass_when_only_looked_at() {
    let keys = "request_body_no_files_limit = 1000\nblock_suspicious = false\n";
    let mut world = world(&waf(PHASES, keys), |seen| ok(&seen.body));
    let body = format!("x=evil{}", "y".repeat(100_000));
    let client = world.connect();
    world.send(client, form(&body).as_bytes());
    assert_eq!(world.response(client).text(), body);
    assert_eq!(world.page.get(Counter::WafLimitRequestBody), 1);
    assert_eq!(world.page.get(Counter::WafDetected), 1);
}

#[test]
fn long_and_encoded_responses_pass() {
    let keys = "response_body_limit = 1000\n";
    let mut world = world(&waf(PHASES, keys), |seen| {
        match seen.line() {
        "GET /zip HTTP/1.1" => Answer::Send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsecret"
                .to_vec(),
        ),
        _ => page(format!("{}secret", "x".repeat(50_000)).as_bytes()),
    }
    });
    assert_eq!(world.ask("GET /long HTTP/1.1\r\nHost: a\r\n\r\n").body.len(), 50_006);
    assert_eq!(world.ask("GET /zip HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").text(), "secret");
    assert_eq!(world.page.get(Counter::WafResponsesEncoded), 1);
    assert_eq!(world.page.get(Counter::WafLimitResponseBody), 1);
    assert_eq!(world.origin.seen[1].field("accept-encoding"), Some("gzip"));
}

#[test]
fn backends_are_asked_for_plain_responses_when_wanted() {
    let mut world = world(&waf(PHASES, "response_decompression = true\n"), |_| ok(b""));
    world.ask("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(world.origin.seen[0].field("accept-encoding"), None);
}

#[test]
fn hostile_targets_are_refused_after_rules_have_seen_them() {
    let rules = r#"SecRule REQUEST_URI_RAW "@contains .." "id:7,phase:2,pass,log,msg:'climbs'""#;
    let waf = waf(rules, "");
    let mut world = world(&waf, |_| ok(b""));
    assert_eq!(world.ask("GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
    assert_eq!(waf.lasting.hits.counts(), [("7".to_owned(), 1)]);
    assert!(world.origin.seen.is_empty());
}

#[test]
fn requests_without_a_good_host_are_refused_after_rules_have_seen_them() {
    let waf = waf("SecRule REQUEST_HEADERS:Host \"^$\" \"id:8,phase:1,pass,log\"", "");
    let mut world = world(&waf, |_| ok(b""));
    assert_eq!(world.ask("GET / HTTP/1.1\r\nHost:\r\n\r\n").status, 400);
    assert_eq!(waf.lasting.hits.counts(), [("8".to_owned(), 1)]);
    assert_eq!(world.page.get(Counter::WafTransactions), 1);
    assert_eq!(world.counts().exchanges, 0);
}

#[test]
fn tarpit_holds_answers_back_up_to_its_bound() {
    let rules = r#"SecRule ARGS "@contains evil" "id:1,phase:1,deny,tarpit:5""#;
    let mut world = world(&waf(rules, "tarpit_max = 1\n"), |_| ok(b""));
    let (first, second) = (world.connect(), world.connect());
    world.send(first, b"GET /?a=evil HTTP/1.1\r\nHost: a\r\n\r\n");
    world.send(second, b"GET /?a=evil HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(world.peer(first).received.is_empty(), "held back");
    assert_eq!(world.response(second).status, 403, "one too many: at once");
    world.pass(Duration::from_secs(4));
    assert!(world.peer(first).received.is_empty());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.response(first).status, 403);
    assert_eq!((world.page.get(Counter::WafTarpitted), world.page.get(Counter::WafTarpitFull)), (1, 1));
    // A client that goes meanwhile leaves nothing behind.
    let third = world.connect();
    world.send(third, form("a=evil").replace("/f", "/f?a=evil").as_bytes());
    world.pass(Duration::from_secs(1));
    assert!(world.peer(third).received.is_empty());
    world.reset(third);
    assert_eq!(world.sessions.core.tarpitted, 0);
}

const CLEANS: &str =
    r#"{"id":"xss-1","name":"script","pattern":"<script>","action":"sanitize","severity":"medium"}"#;

#[test]
fn sanitized_requests_lose_what_matched_and_no_more() {
    let mut world = world(&json(CLEANS), |seen| ok(&seen.body));
    world.ask("GET /?a=1&b=%3Cscript%3Ex%26&c=%41 HTTP/1.1\r\nHost: a\r\nCookie: k=1; m=a<script>b\r\n\r\n");
    let seen = &world.origin.seen[0];
    assert_eq!(seen.line(), "GET /?a=1&b=x%26&c=%41 HTTP/1.1");
    assert_eq!(seen.field("cookie"), Some("k=1; m=ab"));
    let reply = world.ask(&form("q=1&t=%3cscript%3eend&z=2"));
    assert_eq!(reply.text(), "q=1&t=end&z=2");
    assert_eq!(world.origin.seen[1].field("content-length"), Some("13"));
    assert_eq!(world.page.get(Counter::WafSanitized), 2);
    world.rest();
    let report = world.reports.pop().expect("a report");
    assert_eq!((report.attack, &*report.rule), (AttackKind::CrossSiteScripting, "xss-1"));
    assert!(!report.is_blocked);
}

#[test]
fn what_cannot_be_cleaned_is_refused() {
    let mut world = world(&json(CLEANS), |seen| ok(&seen.body));
    // In the path, which is not written anew; and decoded once more than it was sent.
    assert_eq!(world.ask("GET /a%3Cscript%3E HTTP/1.1\r\nHost: a\r\n\r\n").status, 403);
    assert_eq!(world.ask("GET /?a=%253Cscript%253E HTTP/1.1\r\nHost: a\r\n\r\n").status, 403);
    let report = world.reports.pop().expect("a report");
    assert_eq!((&*report.rule, report.is_blocked), ("xss-1", true));
    assert!(world.origin.seen.is_empty());
}

#[test]
fn sites_and_listeners_decide_about_their_requests() {
    let keys = r#"
[[waf.sites]]
hosts = ["free.example"]
remove_rules = ["1"]
[[waf.sites]]
hosts = ["*.off.example"]
paths = ["/open"]
mode = "off"
[[waf.sites]]
hosts = ["look.example"]
mode = "detect"
"#;
    let waf = waf(PHASES, keys);
    let mut world = world(&waf, |_| ok(b"ok"));
    let ask = |world: &mut World, host: &str, path: &str| {
        world.ask(&format!("GET {path}?one=evil HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    };
    assert_eq!(ask(&mut world, "other.example", "/"), 406);
    assert_eq!(ask(&mut world, "free.example", "/"), 200);
    assert_eq!(ask(&mut world, "a.off.example:80", "/open/x"), 200);
    assert_eq!(ask(&mut world, "a.off.example", "/"), 406);
    assert_eq!(ask(&mut world, "look.example", "/"), 200);
    assert_eq!(world.page.get(Counter::WafTransactions), 4, "off costs nothing");
    let mut detecting = with(&waf);
    detecting.listeners[0].as_mut().expect("a listener").waf = Some(Mode::Detect);
    world.sessions.adopt(Arc::new(detecting));
    assert_eq!(ask(&mut world, "other.example", "/"), 200);
    assert_eq!(world.page.get(Counter::WafDetected), 2);
}

#[test]
fn a_request_ends_with_the_rules_it_began_with() {
    let old = waf(PHASES, "");
    let mut world = world(&old, |_| page(b"a secret"));
    let client = world.connect();
    let request = form("x=evil");
    let (head, rest) = request.split_at(request.len() - 3);
    world.send(client, head.as_bytes());
    let new = waf("SecRule ARGS \"@contains other\" \"id:1,phase:1,deny\"", "");
    world.sessions.adopt(Arc::new(with(&new)));
    assert_eq!(world.ask("GET /?one=evil HTTP/1.1\r\nHost: a\r\n\r\n").status, 200, "the new set");
    world.send(client, rest.as_bytes());
    assert_eq!(world.response(client).status, 403, "the old set");
    assert_eq!(Arc::strong_count(&old), 1, "nothing of the old set is left");
    assert_eq!(world.page.get(Counter::WafTransactions), 2);
}

#[test]
fn sets_that_change_faster_than_requests_end_are_given_up() {
    let sets: Vec<_> = (0..8).map(|_| waf(PHASES, "")).collect();
    let mut world = world(&sets[0], |_| ok(b"ok"));
    let request = form("x=evil");
    let (head, rest) = request.split_at(request.len() - 3);
    let clients: Vec<_> = sets
        .iter()
        .map(|set| {
            world.sessions.adopt(Arc::new(with(set)));
            let client = world.connect();
            world.send(client, head.as_bytes());
            client
        })
        .collect();
    for client in &clients {
        world.send(*client, rest.as_bytes());
    }
    let statuses: Vec<_> = clients.iter().map(|client| world.response(*client).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 403, 403, 403, 403]);
    assert_eq!(world.page.get(Counter::WafTransactions), 8, "all are counted");
}

#[test]
fn without_rules_nothing_is_kept_and_turning_them_off_ends_them() {
    let set = waf(PHASES, "");
    let mut world = world(&set, |_| ok(b"ok"));
    assert_eq!(world.ask("GET /?one=evil HTTP/1.1\r\nHost: a\r\n\r\n").status, 406);
    world.sessions.adopt(Arc::new(policy()));
    assert_eq!(Arc::strong_count(&set), 1);
    assert_eq!(world.ask("GET /?one=evil HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(world.page.get(Counter::WafTransactions), 1);
}

#[test]
fn records_tell_what_matched_and_hide_what_must_not_be_told() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in ["json", "native"] {
        let path = folder.path().join(format);
        let rules =
            format!("SecAction \"id:9,phase:1,pass,nolog,sanitiseRequestHeader:Authorization\"\n{PHASES}");
        let keys = format!("audit_log = \"{}\"\naudit_format = \"{format}\"\n", path.display());
        let mut world = world(&waf(&rules, &keys), |_| page(b"fine"));
        let writer = Writer::start(Arc::clone(&world.audit_log), Some(&path)).expect("a writer");
        world.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        world.ask(
            "GET /?one=evil HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nX-Two: \"2\"\r\nAuthorization: Basic c2VjcmV0\r\n\r\n",
        );
        drop(world);
        drop(writer);
        let text = std::fs::read_to_string(&path).expect("the log");
        assert!(!text.contains("c2VjcmV0"), "{text}");
        if format == "native" {
            for part in
                ["-A--\n", "-B--\nGET /?one=evil HTTP/1.1\n", "Authorization: ****\n", "[id \"1\"]", "-Z--\n"]
            {
                assert!(text.contains(part), "{part}: {text}");
            }
            continue;
        }
        assert_eq!(text.lines().count(), 1, "the harmless one is not written");
        let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(record["request"]["headers"]["X-Two"], serde_json::json!(["1", "\"2\""]));
        assert_eq!(record["request"]["headers"]["Authorization"], "****");
        let found = &record["matches"][0];
        assert_eq!((&found["id"], &found["msg"], &found["severity"]), (&1.into(), &"one".into(), &2.into()));
        assert_eq!((&found["name"], &found["value"]), (&"ARGS:one".into(), &"evil".into()));
        assert_eq!(found["tags"], serde_json::json!(["attack-sqli"]));
        assert_eq!(record["interruption"]["status"], 406);
        assert_eq!((&record["response"]["status"], &record["client"]), (&406.into(), &"192.0.2.7".into()));
    }
}
