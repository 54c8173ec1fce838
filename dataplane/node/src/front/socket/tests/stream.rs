//! Bytes: all of them, in order, with the ends where they belong.

use super::*;

/// A long stream of bytes that differs everywhere; `at` is its position.
fn pattern(at: u64, buffer: &mut [u8]) {
    for (offset, chunk) in (at / 8..).zip(buffer.chunks_mut(8)) {
        let word = (offset + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

/// Reads the pattern to the end of the stream and returns its length.
fn check(mut stream: TcpStream) -> u64 {
    let (mut at, mut buffer, mut expected) = (0u64, vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match stream.read(&mut buffer[filled..]).unwrap() {
                0 => break,
                count => filled += count,
            }
        }
        pattern(at, &mut expected[..filled]);
        assert!(buffer[..filled] == expected[..filled], "bytes differ after {at}");
        at += filled as u64;
        if filled < buffer.len() {
            return at;
        }
    }
}

fn send(stream: &mut TcpStream, len: u64) {
    let mut buffer = vec![0; 1 << 16];
    for at in (0..len).step_by(1 << 16) {
        pattern(at, &mut buffer);
        stream.write_all(&buffer).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn hundred_megabytes_both_ways_arrive_identical() {
    const LEN: u64 = 1_600 << 16;
    // Both directions at once, not an echo: the origin sends its own stream while it checks the client's.
    let (told, checked) = std::sync::mpsc::channel();
    let backend = origin(move |stream| {
        let mut writer = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || send(&mut writer, LEN));
        let len = check(stream);
        sender.join().unwrap();
        told.send(len).unwrap();
    });
    let front = Front::tcp(&[backend]);
    let stream = front.connect();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || send(&mut writer, LEN));
    assert_eq!(check(stream), LEN);
    sender.join().unwrap();
    assert_eq!(checked.recv_timeout(PATIENCE).unwrap(), LEN);
    eventually("closing", || front.counter(Counter::ConnectionsClosed) == 1);
    assert_eq!(front.counter(Counter::BytesIn), 2 * LEN);
    assert_eq!(front.counter(Counter::BytesOut), 2 * LEN);
    assert_eq!(front.upstream.status().backends[0].connections_active, 0);
}

#[test]
fn half_close_is_forwarded_and_the_answer_still_comes() {
    let backend = origin(|mut stream| {
        let request = read_all(&mut stream).unwrap();
        stream.write_all(&[b"answer to ", request.as_slice()].concat()).unwrap();
    });
    let front = Front::tcp(&[backend]);
    let mut stream = front.connect();
    stream.write_all(b"request").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream).unwrap(), b"answer to request");
}

#[test]
fn server_that_finishes_first_still_hears_the_client() {
    let (told, heard) = std::sync::mpsc::channel();
    let backend = origin(move |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        told.send(read_all(&mut stream)).unwrap();
    });
    let front = Front::tcp(&[backend]);
    let mut stream = front.connect();
    assert_eq!(read_all(&mut stream).unwrap(), b"bye");
    stream.write_all(b"last words").unwrap();
    drop(stream);
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap(), b"last words");
}

#[test]
fn reset_of_the_backend_is_no_clean_end() {
    let backend = origin(|mut stream| {
        stream.write_all(b"half an ans").unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        super::super::connection::reset(&mio::net::TcpStream::from_std(stream));
    });
    let front = Front::tcp(&[backend]);
    let mut stream = front.connect();
    let mut bytes = [0; 11];
    stream.read_exact(&mut bytes).unwrap();
    stream.write_all(b"x").unwrap();
    assert_eq!(read_all(&mut stream), None);
    eventually("closing", || front.counter(Counter::ConnectionsClosed) == 1);
}

#[test]
fn reset_of_the_client_reaches_the_backend() {
    let (told, heard) = std::sync::mpsc::channel();
    let backend = origin(move |mut stream| {
        stream.write_all(b"hello").unwrap();
        told.send(read_all(&mut stream)).unwrap();
    });
    let front = Front::tcp(&[backend]);
    let mut stream = front.connect();
    stream.read_exact(&mut [0; 5]).unwrap();
    super::super::connection::reset(&mio::net::TcpStream::from_std(stream));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), None);
}

#[test]
fn slow_reader_slows_the_sender_and_loses_nothing() {
    const LEN: u64 = 800 << 16;
    let sent = Arc::new(core::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let backend = origin(move |mut stream| {
        let mut buffer = vec![0; 1 << 16];
        for at in (0..LEN).step_by(1 << 16) {
            pattern(at, &mut buffer);
            stream.write_all(&buffer).unwrap();
            counted.fetch_add(1 << 16, Ordering::Relaxed);
        }
    });
    let front = Front::tcp(&[backend]);
    let stream = front.connect();
    // The sender must come to a stand: what it sent does not change any more although nobody read.
    let mut last = (u64::MAX, WallClock::now());
    eventually("standstill", || {
        let now = sent.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, WallClock::now());
        }
        now > 0 && last.1.elapsed() > Duration::from_millis(300)
    });
    assert!(last.0 < LEN, "the node swallowed everything: no back-pressure");
    assert_eq!(check(stream), LEN);
}

#[test]
fn thousand_connections_at_once_each_get_their_own_bytes() {
    let mut settings = settings(Protocol::Tcp, "127.0.0.1:0");
    // The origin's accept queue may overflow; its SYN is then sent again after a second.
    settings.connect_timeout = PATIENCE;
    let front = Front::start(settings, Policy::open(), &[origin(echo)]);
    let mut streams: Vec<TcpStream> = (0..1_000).map(|_| front.connect()).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&number.to_le_bytes().repeat(128)).unwrap();
    }
    eventually("accepting", || front.handle().connections() == 1_000);
    for (number, stream) in streams.iter_mut().enumerate() {
        let mut answer = [0; 1_024];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer == number.to_le_bytes().repeat(128)[..], "connection {number} got another's bytes");
    }
    assert!(
        front.counters.iter().all(|page| page.get(Counter::ConnectionsOpened) > 100),
        "one worker did it all"
    );
    drop(streams);
    eventually("closing", || front.handle().connections() == 0);
}

#[test]
fn refused_connection_goes_to_the_next_backend() {
    // Two of three backends are not there: wherever a client is sent first, it ends at the third.
    let front = Front::tcp(&[nobody(), nobody(), named("alive")]);
    for _ in 0..20 {
        assert_eq!(read_all(&mut front.connect()).unwrap(), b"alive");
    }
    assert_eq!(front.counter(Counter::ConnectionsFailed), 0);
}

#[test]
fn silent_backend_is_given_up_after_the_connect_timeout() {
    // A listener whose queue is full ignores SYNs.
    let options = super::super::listen::Options { backlog: 0, fastopen: false, nodelay: false };
    let silent = super::super::listen::open(Protocol::Tcp, "127.0.0.1:0".parse().unwrap(), options).unwrap();
    let silent = TcpListener::from(silent);
    let addr = silent.local_addr().unwrap();
    let _queue: Vec<_> =
        (0..4).map(|_| TcpStream::connect_timeout(&addr, Duration::from_millis(50))).collect();
    // Names decide who is first; with two backends and one client address one of the two orders sees the silent one.
    for backends in [[addr, named("alive")], [named("alive"), addr]] {
        let front = Front::tcp(&backends);
        assert_eq!(read_all(&mut front.connect()).unwrap(), b"alive");
    }
}

#[test]
fn no_backend_at_all_resets_the_client() {
    let front = Front::tcp(&[nobody()]);
    assert!(is_refused(&front));
    eventually("counting", || front.counter(Counter::ConnectionsFailed) == 1);
    assert_eq!(front.handle().connections(), 0);
}

#[test]
fn proxy_header_names_the_client_before_its_first_byte() {
    let backend = origin(echo);
    let mut settings = settings(Protocol::Tcp, "127.0.0.1:0");
    settings.listeners[0].proxy_protocol = true;
    let front = Front::start(settings, Policy::open(), &[backend]);
    let mut stream = front.connect();
    stream.write_all(b"GET /").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let bytes = read_all(&mut stream).unwrap();
    let (message, len) = secbeat_net::proxy_protocol::parse(&bytes).unwrap();
    assert_eq!(&bytes[len..], b"GET /");
    let client = stream.local_addr().unwrap();
    let text = format!("{message:?}");
    assert!(
        text.contains(&client.port().to_string()) && text.contains(&front.addr.port().to_string()),
        "{text}"
    );
}

#[test]
fn idle_connection_is_reset_after_its_time() {
    let mut settings = settings(Protocol::Tcp, "127.0.0.1:0");
    settings.idle_timeout = Duration::from_millis(150);
    let front = Front::start(settings, Policy::open(), &[origin(echo)]);
    let mut stream = front.connect();
    // While bytes move it lives longer than its idle time.
    for _ in 0..6 {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let start = WallClock::now();
    assert_eq!(read_all(&mut stream), None);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn ipv6_listener_serves_ipv6() {
    let settings = settings(Protocol::Tcp, "[::1]:0");
    let front = Front::start(settings, Policy::open(), &[named("six")]);
    assert!(front.addr.is_ipv6());
    assert_eq!(read_all(&mut front.connect()).unwrap(), b"six");
}

/// A client that behaves badly in one of several ways, and checks what it gets.
fn misbehave(front: &Front, manner: u64) {
    let mut stream = front.connect();
    let sent = vec![manner as u8; 1 + (manner as usize * 7_919) % 200_000];
    match manner % 6 {
        // Comes and goes.
        0 => {}
        // Leaves in the middle of its own bytes.
        1 => drop(stream.write_all(&sent)),
        // Tears the connection down with bytes in flight.
        2 => {
            let _ = stream.write_all(&sent);
            super::super::connection::reset(&mio::net::TcpStream::from_std(stream));
        }
        // Reads nothing of a long answer.
        3 => {
            let _ = stream.set_write_timeout(Some(Duration::from_millis(50)));
            for _ in 0..20 {
                if stream.write_all(&sent).is_err() {
                    break;
                }
            }
        }
        // Does everything right.
        _ => {
            let mut writer = stream.try_clone().unwrap();
            let bytes = sent.clone();
            let writing = std::thread::spawn(move || {
                writer.write_all(&bytes).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            assert_eq!(read_all(&mut stream).as_deref(), Some(sent.as_slice()));
            writing.join().unwrap();
        }
    }
}

#[test]
fn badly_behaved_clients_leave_nothing_behind_and_disturb_nobody() {
    let mut settings = settings(Protocol::Tcp, "127.0.0.1:0");
    settings.connect_timeout = PATIENCE;
    let front = Front::start(settings, Policy::open(), &[origin(echo)]);
    std::thread::scope(|scope| {
        for client in 0..8u64 {
            let front = &front;
            scope.spawn(move || (0..40).for_each(|round| misbehave(front, client * 40 + round)));
        }
    });
    eventually("closing", || front.handle().connections() == 0);
    assert_eq!(front.upstream.status().backends[0].connections_active, 0);
    eventually("counting", || {
        front.counter(Counter::ConnectionsOpened) == 320 && front.counter(Counter::ConnectionsClosed) == 320
    });
}
