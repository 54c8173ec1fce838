//! `l7` listeners over kernel sockets: sessions below real clients, in front of real origins.

use std::fmt::Write as _;
use std::sync::atomic::AtomicUsize;

use secbeat_config::{Layers, NodeConfig};

use super::*;
use crate::policy::l7::{Resources, compile};

/// A node's configuration with one `l7` listener `web` and one backend, and what a test adds.
fn config(backend: SocketAddr, more: &str) -> NodeConfig {
    let mut text = String::new();
    let _ = write!(
        text,
        "[server]\nmode = \"l7\"\n{more}\n[[listeners]]\nname = \"web\"\nbind_address = \"127.0.0.1:8080\"\ntls = false\n\
         [[backends]]\nname = \"origin\"\naddress = \"{backend}\"\n"
    );
    let mut config = load(text);
    // The kernel chooses; a file cannot say so.
    config.listeners[0].bind_address.set_port(0);
    config
}

fn load(text: String) -> NodeConfig {
    let layers = Layers { file: Some(("test.toml".into(), text)), ..Layers::default() };
    NodeConfig::load(&layers).unwrap_or_else(|error| panic!("{error}"))
}

fn policy(config: &NodeConfig) -> Policy {
    let id = |index: usize, _: &str| u16::try_from(index).ok();
    let l7 = compile(config, &Resources::default(), 1, id);
    Policy::from_config(config, secbeat_net::filter::Filter::open(), Arc::new(l7))
}

fn start(config: &NodeConfig) -> Front {
    let upstream = Upstream::new(Backends::from_config(config)).unwrap();
    Front::start_with(Settings::from_config(config), policy(config), upstream)
}

fn serve(backend: SocketAddr) -> Front {
    start(&config(backend, ""))
}

/// Reads one request's head; `None` at the end.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// An origin that answers each request with its target as body, and counts its connections.
fn mirror() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let addr = origin(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        while let Some(head) = read_head(&mut stream) {
            let target = head.split(' ').nth(1).unwrap_or_default();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    (addr, count)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: example.test\r\n\r\n")
}

/// Reads a response with Content-Length: status and body.
fn read_response(stream: &mut TcpStream) -> (u16, String) {
    let head = read_head(stream).expect("a response").to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let len = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn requests_of_one_client_share_a_connection_on_both_sides() {
    let (backend, connections) = mirror();
    let front = serve(backend);
    let mut stream = front.connect();
    for number in 0..20 {
        let target = format!("/{number}");
        stream.write_all(get(&target).as_bytes()).unwrap();
        assert_eq!(read_response(&mut stream), (200, target));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(front.counter(Counter::ConnectionsOpened), 1);
    assert_eq!(front.counter(Counter::UpstreamReused), 19);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (backend, _) = mirror();
    let front = serve(backend);
    let mut stream = front.connect();
    let requests: String = (0..50).map(|number| get(&format!("/{number}"))).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for number in 0..50 {
        assert_eq!(read_response(&mut stream), (200, format!("/{number}")));
    }
}

#[test]
fn request_that_comes_byte_by_byte_is_served() {
    let (backend, _) = mirror();
    let front = serve(backend);
    let mut stream = front.connect();
    stream.set_nodelay(true).unwrap();
    for byte in get("/slow").as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_response(&mut stream), (200, "/slow".into()));
}

#[test]
fn client_that_ends_its_side_after_the_request_gets_its_answer() {
    let (backend, _) = mirror();
    let front = serve(backend);
    let mut stream = front.connect();
    stream.write_all(get("/last").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_response(&mut stream), (200, "/last".into()));
    assert_eq!(read_all(&mut stream), Some(Vec::new()), "then FIN");
    eventually("the end", || front.handle().connections() == 0);
    assert_eq!(front.counter(Counter::ConnectionsClosed), 1);
}

#[test]
fn early_refusal_of_an_upload_reaches_a_client_that_goes_on_sending() {
    let (backend, _) = mirror();
    let front = start(&config(backend, "[http]\nmax_body_bytes = 1000\n"));
    for _ in 0..20 {
        let mut stream = front.connect();
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n").unwrap();
        // More than the window: a reset would come in between.
        let body = vec![b'x'; 300_000];
        let _ = stream.write_all(&body);
        let (status, _) = read_response(&mut stream);
        assert_eq!(status, 413);
    }
}

#[test]
fn client_that_never_stops_sending_after_the_refusal_is_reset() {
    let (backend, _) = mirror();
    let front = start(&config(backend, "[http]\nmax_body_bytes = 1000\n"));
    let mut stream = front.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let piece = vec![b'x'; 64 << 10];
    let start = WallClock::now();
    while stream.write_all(&piece).is_ok() {
        assert!(start.elapsed() < PATIENCE);
    }
    eventually("the end", || front.handle().connections() == 0);
}

#[test]
fn client_that_reads_nothing_stops_the_origin() {
    const LEN: usize = 64 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let backend = origin(move |mut stream| {
        read_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let piece = vec![b'y'; 64 << 10];
        while stream.write_all(&piece).is_ok() {
            if count.fetch_add(piece.len(), Ordering::SeqCst) + piece.len() == LEN {
                return;
            }
        }
    });
    let front = serve(backend);
    let mut stream = front.connect();
    stream.write_all(get("/large").as_bytes()).unwrap();
    let mut last = 0;
    // Until a while brings no more: kernel buffers are full, and nothing in between.
    eventually("standstill", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = written.load(Ordering::SeqCst);
        now > 0 && std::mem::replace(&mut last, now) == now
    });
    assert!(last < LEN, "the rest waits at the origin");
    let head = read_head(&mut stream).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    let mut body = vec![0; LEN];
    stream.read_exact(&mut body).unwrap();
    assert!(body.iter().all(|byte| *byte == b'y'));
}

#[test]
fn upload_arrives_whole_at_a_slow_origin() {
    const LEN: usize = 16 << 20;
    let backend = origin(|mut stream| {
        read_head(&mut stream);
        std::thread::sleep(Duration::from_millis(200));
        let mut body = vec![0; LEN];
        stream.read_exact(&mut body).unwrap();
        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
        let text = sum.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let front = serve(backend);
    let mut stream = front.connect();
    let body: Vec<u8> = (0..LEN).map(|index| (index % 253) as u8).collect();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LEN}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(read_response(&mut stream), (200, sum.to_string()));
}

#[test]
fn banned_source_loses_its_open_connection() {
    let (backend, _) = mirror();
    let front = serve(backend);
    let config = config(backend, "");
    let mut stream = front.connect();
    stream.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).0, 200);
    let mut policy = policy(&config);
    policy.filter = limits::blocking(None).filter;
    front.handle().set_policy(policy);
    assert_eq!(read_all(&mut stream), None, "reset");
    // The client may hear of it before the page of counters does.
    eventually("count", || front.drops(DropReason::Blocklisted) == 1);
    eventually("release", || front.handle().connections() == 0);
}

#[test]
fn connections_beyond_the_limit_of_a_source_are_reset_and_room_comes_back() {
    let (backend, _) = mirror();
    let front = start(&config(backend, "[limits]\nsource_connections = 3\n"));
    let open: Vec<TcpStream> = (0..3).map(|_| front.connect()).collect();
    eventually("three", || front.handle().connections() == 3);
    assert!(is_refused(&front));
    drop(open);
    eventually("room", || front.handle().connections() == 0);
    let mut stream = front.connect();
    stream.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).0, 200);
}

#[test]
fn drain_finishes_the_running_request_and_ends_idle_connections() {
    let backend = origin(|mut stream| {
        while read_head(&mut stream).is_some() {
            std::thread::sleep(Duration::from_millis(300));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").is_err() {
                return;
            }
        }
    });
    let mut front = serve(backend);
    let mut idle = front.connect();
    idle.write_all(get("/first").as_bytes()).unwrap();
    assert_eq!(read_response(&mut idle), (200, "done".into()));
    let mut running = front.connect();
    running.write_all(get("/running").as_bytes()).unwrap();
    eventually("a request under way", || front.counter(Counter::UpstreamRequests) == 2);
    front.handle().drain(PATIENCE);
    assert_eq!(read_response(&mut running), (200, "done".into()));
    assert_eq!(read_all(&mut running), Some(Vec::new()));
    assert_eq!(read_all(&mut idle), Some(Vec::new()));
    drop((running, idle));
    front.running.take().unwrap().join();
}

#[test]
fn listeners_of_both_services_share_a_worker_and_come_and_go_by_reload() {
    let (backend, _) = mirror();
    let both = |web: SocketAddr, raw: SocketAddr| {
        load(format!(
            "[server]\nmode = \"l7\"\n[[listeners]]\nname = \"web\"\nbind_address = \"{web}\"\ntls = false\n\
             [[listeners]]\nname = \"raw\"\nbind_address = \"{raw}\"\nmode = \"tcp\"\n\
             [[backends]]\nname = \"origin\"\naddress = \"{backend}\"\n"
        ))
    };
    let (web, raw) = (nobody(), nobody());
    let only_raw = load(format!(
        "[server]\nmode = \"tcp\"\n[[listeners]]\nname = \"raw\"\nbind_address = \"{raw}\"\n\
         [[backends]]\nname = \"origin\"\naddress = \"{backend}\"\n"
    ));
    let front = start(&only_raw);
    let ask = |addr: SocketAddr| -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(addr).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(get("/x").as_bytes()).ok()?;
        let head = read_head(&mut stream)?;
        let mut body = [0; 2];
        stream.read_exact(&mut body).ok()?;
        Some((head.split(' ').nth(1)?.parse().ok()?, String::from_utf8_lossy(&body).into_owned()))
    };
    assert_eq!(ask(raw), Some((200, "/x".into())));
    assert_eq!(ask(web), None);
    let reload = |config: &NodeConfig| {
        front.upstream.reload(Backends::from_config(config)).unwrap();
        front.handle().reload(Settings::from_config(config)).unwrap();
        front.handle().set_policy(policy(config));
    };
    reload(&both(web, raw));
    eventually("the new listener", || ask(web) == Some((200, "/x".into())));
    assert_eq!(ask(raw), Some((200, "/x".into())));
    assert!(front.counter(Counter::UpstreamRequests) > 0);
    // An open session survives a reload that changes nothing for its listener.
    let mut stream = TcpStream::connect(web).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/1").as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream), (200, "/1".into()));
    reload(&both(web, raw));
    stream.write_all(get("/2").as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream), (200, "/2".into()));
    reload(&only_raw);
    eventually("its end", || ask(web).is_none());
    assert_eq!(ask(raw), Some((200, "/x".into())));
}

#[test]
fn thousand_idle_connections_are_held_and_released() {
    let (backend, _) = mirror();
    let front = start(&config(backend, "[limits]\nsource_connections = 0\nsource_rate = 0\n"));
    let open: Vec<TcpStream> = (0..1_000).map(|_| front.connect()).collect();
    eventually("a thousand", || front.handle().connections() == 1_000);
    drop(open);
    eventually("none", || front.handle().connections() == 0);
}
