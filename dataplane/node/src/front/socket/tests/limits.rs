//! Who may come in, how many at once, and what happens when there is no room.

use core::net::IpAddr;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use secbeat_net::filter::{Action, Block, Filter, Parts, Prefix, Rule};
use secbeat_net::limit::{ConnectionLimits, Rate, RateLimit};

use super::*;
use crate::attack::OffencePolicy;
use crate::event::{Offence, What};

const LOCALHOST: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

fn localhost() -> Prefix {
    Prefix::new(LOCALHOST, 32).unwrap()
}

pub(super) fn blocking(expires: Option<secbeat_net::time::Instant>) -> Policy {
    let block = vec![Block { prefix: localhost(), expires, reason: 1 }];
    Policy { filter: Filter::new(Parts { block, ..Parts::default() }).unwrap(), ..Policy::open() }
}

fn start(policy: Policy) -> Front {
    Front::start(settings(Protocol::Tcp, "127.0.0.1:0"), policy, &[origin(echo)])
}

#[test]
fn source_keeps_only_as_many_connections_as_allowed() {
    let connections = ConnectionLimits { per_source: 2, ..ConnectionLimits::NONE };
    let front = start(Policy { connections, ..Policy::open() });
    let (first, _second) = (front.connect(), front.connect());
    eventually("accepting", || front.handle().connections() == 2);
    assert!(is_refused(&front));
    assert_eq!(front.drops(DropReason::ConnectionLimit), 1);
    drop(first);
    eventually("release", || front.handle().connections() == 1);
    assert!(is_served(&front));
}

#[test]
fn all_workers_together_keep_the_total() {
    let connections = ConnectionLimits { total: 10, ..ConnectionLimits::NONE };
    let front = start(Policy { connections, ..Policy::open() });
    let streams: Vec<TcpStream> = (0..30).filter_map(|_| TcpStream::connect(front.addr).ok()).collect();
    eventually("refusals", || front.drops(DropReason::ConnectionLimit) == 20);
    assert_eq!(front.handle().connections(), 10);
    drop(streams);
    eventually("release", || front.handle().connections() == 0);
    assert!(is_served(&front));
}

#[test]
fn connections_beyond_the_rate_are_refused_and_make_an_offender() {
    let rate = Rate { count: 1, interval: Duration::from_secs(600), burst: 3 };
    let offences = OffencePolicy { offences_max: 2, window: PATIENCE };
    let front = start(Policy { source_rate: Some(RateLimit::new(rate)), offences, ..Policy::open() });
    for _ in 0..3 {
        assert!(is_served(&front));
    }
    // Each worker counts offences for itself: enough for one of the two to reach its limit.
    for _ in 0..3 {
        assert!(is_refused(&front));
    }
    assert_eq!(front.drops(DropReason::ConnectionRate), 3);
    let offender = What::Offender { source: LOCALHOST, offence: Offence::ConnectionRate };
    eventually("report", || core::iter::from_fn(|| front.events.pop()).any(|event| event.what == offender));
}

#[test]
fn allowlisted_source_knows_no_limit() {
    let rate = Rate { count: 1, interval: Duration::from_secs(3_600), burst: 1 };
    let policy = blocking(None);
    let allow = vec![localhost()];
    let block = vec![Block { prefix: localhost(), expires: None, reason: 1 }];
    let front = start(Policy {
        filter: Filter::new(Parts { allow, block, ..Parts::default() }).unwrap(),
        source_rate: Some(RateLimit::new(rate)),
        connections: ConnectionLimits { per_source: 1, ..ConnectionLimits::NONE },
        ..policy
    });
    let held: Vec<TcpStream> = (0..5).map(|_| front.connect()).collect();
    eventually("accepting", || front.handle().connections() == 5);
    assert!(is_served(&front));
    drop(held);
}

#[test]
fn filter_rule_drops_connections() {
    let rule = Rule { protocol: Some(6), sources: vec![localhost()], ..Rule::any(Action::Drop) };
    let filter = Filter::new(Parts { rules: vec![rule], ..Parts::default() }).unwrap();
    let front = start(Policy { filter, ..Policy::open() });
    assert!(is_refused(&front));
    assert_eq!(front.drops(DropReason::FilterRule), 1);
}

#[test]
fn ban_cuts_open_connections_and_ends_by_itself() {
    let front = start(Policy::open());
    let mut stream = front.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let until = front.clock.now() + Duration::from_millis(700);
    front.handle().set_policy(blocking(Some(until)));
    assert_eq!(read_all(&mut stream), None, "the open connection is cut");
    eventually("adoption", || front.counter(Counter::PoliciesAdopted) == WORKERS as u64);
    assert!(is_refused(&front), "a new one is refused");
    assert!(front.drops(DropReason::Blocklisted) >= 2);
    eventually("end of the ban", || is_served(&front));
    assert!(front.clock.now() >= until);
}

#[test]
fn draining_front_finishes_what_is_open_and_takes_nothing_new() {
    let mut front = start(Policy::open());
    let mut stream = front.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    front.handle().drain(PATIENCE);
    eventually("closed listeners", || TcpStream::connect(front.addr).is_err());
    stream.write_all(b"still here").unwrap();
    stream.read_exact(&mut [0; 10]).unwrap();
    assert!(!front.running.as_ref().unwrap().is_finished());
    drop(stream);
    front.running.take().unwrap().join();
    let drained =
        core::iter::from_fn(|| front.events.pop()).filter(|e| e.what == What::Drained { cut: 0 }).count();
    assert_eq!(drained, WORKERS);
}

#[test]
fn drain_that_takes_too_long_cuts_the_rest() {
    let mut front = start(Policy::open());
    let mut stream = front.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    front.handle().drain(Duration::from_millis(200));
    front.running.take().unwrap().join();
    assert_eq!(read_all(&mut stream), None);
}

#[test]
fn full_backend_refuses_and_others_take_over() {
    let front = Front::tcp(&[origin(echo)]);
    let mut backends = Backends::one_group(vec![BackendSettings::new("only", origin(echo))]);
    backends.backends[0].connections_max = 1;
    front.upstream.reload(backends).unwrap();
    let held = front.connect();
    eventually("accepting", || front.handle().connections() == 1);
    assert!(is_refused(&front));
    assert_eq!(front.drops(DropReason::NoBackend), 1);
    drop(held);
    eventually("release", || front.handle().connections() == 0);
    assert!(is_served(&front));
}

#[test]
fn reload_moves_listeners_without_touching_open_connections() {
    let backend = origin(echo);
    let front = Front::tcp(&[backend]);
    let mut stream = front.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    // The old listener goes, a new one comes.
    front.handle().reload(settings(Protocol::Tcp, "127.0.0.1:0")).unwrap();
    let moved = front.running.as_ref().unwrap().handle().shared.plan.load().addresses();
    assert_eq!(moved.len(), 1);
    eventually("closed listener", || TcpStream::connect(front.addr).is_err());
    let mut other = TcpStream::connect(moved[0]).unwrap();
    for stream in [&mut stream, &mut other] {
        stream.write_all(b"both serve").unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
    }
    // What cannot be bound changes nothing.
    let taken = settings(Protocol::Tcp, &backend.to_string());
    assert!(front.handle().reload(taken).is_err());
    // A listener that stays keeps its socket; settings beside it change.
    let same = Settings {
        idle_timeout: Duration::from_millis(100),
        ..settings(Protocol::Tcp, &moved[0].to_string())
    };
    front.handle().reload(same).unwrap();
    assert!(TcpStream::connect(moved[0]).is_ok());
    assert_eq!(read_all(&mut other), None, "the new idle timeout applies");
}

#[test]
fn second_front_on_a_taken_port_is_refused_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::new(Backends::one_group(vec![BackendSettings::new("b", nobody())])).unwrap();
    let events = Arc::default();
    let environment = Environment {
        sessions: sessions(&upstream, &events),
        upstream,
        events,
        clock: Clock::start(),
        counters: vec![Arc::default()],
        key: HashKey([1, 2]),
    };
    let settings = settings(Protocol::Tcp, &taken.local_addr().unwrap().to_string());
    let error = SocketFront::new(settings, Policy::open(), environment).unwrap_err();
    assert!(error.to_string().contains("default") && error.to_string().contains("in use"), "{error}");
}

/// Runs one test of this binary in a process of its own.
fn rerun(command: &mut Command, test: &str) -> bool {
    let output =
        command.args(["--exact", test, "--ignored", "--nocapture"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() || text.contains("1 passed"), "{test} did not run: {text}");
    if !output.status.success() {
        println!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn name_of(test: &str) -> String {
    format!("{}::{test}", module_path!().split_once("::").unwrap().1)
}

#[test]
fn descriptors_that_run_out_pause_accepting_and_it_recovers() {
    let exe = std::env::current_exe().unwrap();
    assert!(rerun(&mut Command::new(exe), &name_of("child_with_few_descriptors")));
}

#[test]
#[ignore = "run by descriptors_that_run_out_pause_accepting_and_it_recovers in a process of its own"]
fn child_with_few_descriptors() {
    let front = Front::tcp(&[origin(echo)]);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 150, hard).unwrap();
    let mut hogs: Vec<std::fs::File> =
        core::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    // One descriptor is left, and the client itself takes it.
    hogs.pop();
    let mut waiting = front.connect();
    waiting.write_all(b"patience").unwrap();
    eventually("a pause", || front.handle().accept_pauses() > 0);
    // All at once: given back one by one, the first would go to the accepted client, and the connection to
    // its backend might find none.
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
    waiting.read_exact(&mut [0; 8]).unwrap();
    drop(waiting);
    eventually("release", || front.handle().connections() == 0);
    assert!(is_served(&front));
}

#[test]
fn front_serves_without_root() {
    let exe = std::env::current_exe().unwrap();
    if !geteuid().is_root() {
        assert!(rerun(&mut Command::new(exe), &name_of("child_without_privilege")));
        return;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]).arg(&exe);
    let can_run = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&exe)
        .arg("--list")
        .output()
        .is_ok_and(|output| output.status.success());
    if !can_run {
        println!("skipped: front_serves_without_root needs setpriv and a test binary that nobody may read");
        return;
    }
    assert!(rerun(&mut command, &name_of("child_without_privilege")));
}

#[test]
#[ignore = "run by front_serves_without_root as nobody"]
fn child_without_privilege() {
    assert!(!geteuid().is_root());
    let front = Front::tcp(&[origin(echo)]);
    for _ in 0..50 {
        assert!(is_served(&front));
    }
}
