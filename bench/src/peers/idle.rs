//! `idle`: what an idle connection costs in memory, with thousands of them open through the node.
//!
//! Owns: clients that make one request each and then stay. Does not own: the node and the origin (`setup`).
//! Each kind has a fresh node, so that no kind pays for what another left behind. A connection is counted as idle after
//! its answer has arrived whole; memory is read two seconds later.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::Serialize;

use super::load::LOAD_CORE;
use super::setup::{Front, Peer, Place, Rig, Scheme};
use crate::tls::{self, Alpn};
use crate::{interrupt, stats};

/// The whole node with its idle TLS connections, as the headline says: 100 MB.
const RESIDENT_KIB_MAX: u64 = 100_000_000 / 1_024;
/// Longest answer that is read: the page and its head.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A node that is busy with handshakes answers late, not never.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of `idle`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Connections of each kind
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=25_000))]
    connections: u32,
    /// How the node takes its connections
    #[arg(long, value_enum, default_value_t)]
    front: Front,
    /// Only this kind
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Prefix of the lab of `--front xdp`, which is made and removed
    #[arg(long, default_value = "sbidle")]
    prefix: String,
    /// Folder for the JSON result
    #[arg(long, default_value = "bench/results")]
    results: std::path::PathBuf,
}

/// A kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// HTTP/1.1 in the clear
    Plain,
    /// HTTP/1.1 over TLS 1.3
    Tls,
    /// HTTP/2 over TLS 1.3
    Http2,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Tls, Self::Http2];

    /// As the command line spells it.
    fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::Http2 => "http2",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "HTTP/1.1",
            Self::Tls => "HTTP/1.1 over TLS",
            Self::Http2 => "HTTP/2 over TLS",
        }
    }

    /// Bytes that one idle connection may cost.
    pub(super) fn bytes_max(self) -> u64 {
        match self {
            Self::Plain | Self::Tls => 10_000,
            Self::Http2 => 40_000,
        }
    }
}

/// What one kind cost.
#[derive(Clone, Debug, Serialize)]
struct Row {
    kind: Kind,
    connections: u32,
    resident_before_kib: u64,
    resident_kib: u64,
    bytes_each: u64,
    passed: bool,
}

/// Runs the `idle` subcommand; fails when a bar is missed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let kinds = Kind::ALL.into_iter().filter(|kind| options.only.is_empty() || options.only.contains(kind));
    let rows: Vec<Row> = kinds.map(|kind| measure(kind, options)).collect::<Result<_>>()?;
    let mut table = vec![
        ["idle connections", "count", "before", "with them", "each", "bar", ""].map(str::to_owned).to_vec(),
    ];
    for row in &rows {
        table.push(vec![
            row.kind.name().to_owned(),
            row.connections.to_string(),
            format!("{} KiB", row.resident_before_kib),
            format!("{} KiB", row.resident_kib),
            format!("{} B", row.bytes_each),
            format!("{} B", row.kind.bytes_max()),
            if row.passed { "pass" } else { "FAIL" }.to_owned(),
        ]);
    }
    print!("{}", stats::table(&table));
    std::fs::create_dir_all(&options.results)?;
    let name = match options.front {
        Front::Socket => "idle.json",
        Front::Xdp => "idle-xdp.json",
    };
    let path = options.results.join(name);
    std::fs::write(&path, serde_json::to_string_pretty(&rows)? + "\n")?;
    println!("result: {}", path.display());
    Ok(if rows.iter().all(|row| row.passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(kind: Kind, options: &Options) -> Result<Row> {
    let connections = options.connections;
    let rig = Rig::up(&[Peer::Secbeat], options.front, &options.prefix)?;
    let (before, resident) = hold(&rig, Peer::Secbeat, kind, connections)?;
    let bytes_each = resident.saturating_sub(before) * 1_024 / u64::from(connections);
    let within = kind != Kind::Tls || connections != 10_000 || resident <= RESIDENT_KIB_MAX;
    Ok(Row {
        kind,
        connections,
        resident_before_kib: before,
        resident_kib: resident,
        bytes_each,
        passed: within && bytes_each <= kind.bytes_max(),
    })
}

/// Opens the connections, and returns the proxy's memory before and with them, in KiB.
pub(super) fn hold(rig: &Rig, peer: Peer, kind: Kind, connections: u32) -> Result<(u64, u64)> {
    let scheme = if kind == Kind::Plain { Scheme::Http } else { Scheme::Https };
    let address = rig.address(peer, scheme);
    let holder = |count| Holder::start(&rig.client(), kind, address, count);
    // The first ones warm up what all share: heaps, tables, the pool towards the origin.
    drop(holder(32).context("warm-up")?);
    std::thread::sleep(Duration::from_secs(1));
    let before = rig.resident_kib(peer);
    let mut holders = Vec::new();
    let mut left = connections;
    while left > 0 {
        if interrupt::requested() {
            bail!("interrupted");
        }
        let count = left.min(HELD_PER_PROCESS_MAX);
        holders.push(holder(count)?);
        left -= count;
    }
    std::thread::sleep(Duration::from_secs(2));
    let resident = rig.resident_kib(peer);
    // They must still be there, or the figure means nothing.
    for holder in &mut holders {
        holder.ask().context("a connection that should be idle is gone")?;
    }
    Ok((before, resident))
}

/// Connections of one process: their number is limited by its open descriptors.
const HELD_PER_PROCESS_MAX: u32 = 10_000;

/// A process of our own that holds connections.
struct Holder {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Holder {
    /// Returns when all are open.
    fn start(place: &Place, kind: Kind, address: SocketAddr, count: u32) -> Result<Self> {
        let mut child = place
            .command(LOAD_CORE)
            .arg(std::env::current_exe()?)
            .args(["idle-hold", kind.word(), &address.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a process that holds connections")?;
        let said = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut holder = Self { child, said };
        holder.expect("open")?;
        Ok(holder)
    }

    /// Asks for a page on some of them.
    fn ask(&mut self) -> Result<()> {
        self.child.stdin.as_mut().context("no standard input")?.write_all(b"ask\n")?;
        self.expect("answered")
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(line.trim() == word, "the process that holds connections says: {line:?}");
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The end of its input is its end.
        self.child.stdin.take();
        let _ = self.child.wait();
    }
}

/// Options of `idle-hold`.
#[derive(Args, Clone, Debug)]
pub(crate) struct HoldOptions {
    #[arg(value_enum)]
    kind: Kind,
    address: SocketAddr,
    count: u32,
}

/// Runs the `idle-hold` subcommand: opens, says so, asks on some of them for each line of its input, ends with it.
pub(crate) fn run_hold(options: &HoldOptions) -> Result<ExitCode> {
    raise_descriptors(u64::from(options.count) + 100)?;
    let alpn = if options.kind == Kind::Http2 { Alpn::Http2 } else { Alpn::Http1 };
    let config = tls::client_config(alpn)?;
    let mut clients = Vec::with_capacity(options.count as usize);
    for number in 0..options.count {
        let client = Client::open(options.kind, options.address, &config);
        clients.push(client.with_context(|| format!("connection {number}"))?);
    }
    println!("open");
    for line in std::io::stdin().lines() {
        line?;
        for client in clients.iter_mut().step_by(97) {
            client.ask()?;
        }
        println!("answered");
    }
    Ok(ExitCode::SUCCESS)
}

/// Raises the open descriptors of this process, and of what it starts, as far as it may.
pub(super) fn raise_descriptors_to_hard_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// The hard limit may be raised by root only; the soft one by anybody up to it.
fn raise_descriptors(wanted: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted))
            .with_context(|| format!("{wanted} open descriptors (the hard limit is {hard})"))?;
    }
    Ok(())
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

struct Client {
    kind: Kind,
    stream: Stream,
    /// Next HTTP/2 stream.
    next: u32,
}

impl Client {
    fn open(kind: Kind, address: SocketAddr, config: &Arc<ClientConfig>) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let stream = if kind == Kind::Plain {
            Stream::Plain(socket)
        } else {
            let name = ServerName::try_from("localhost")?;
            let connection = ClientConnection::new(Arc::clone(config), name)?;
            Stream::Tls(Box::new(StreamOwned::new(connection, socket)))
        };
        let mut client = Self { kind, stream, next: 1 };
        if kind == Kind::Http2 {
            client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
        }
        client.ask()?;
        Ok(client)
    }

    /// One request and its whole answer.
    fn ask(&mut self) -> Result<()> {
        if self.kind == Kind::Http2 { self.ask_http2() } else { self.ask_http1() }
    }

    fn ask_http1(&mut self) -> Result<()> {
        self.write(b"GET /1k.html HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle\r\n\r\n")?;
        let mut answer = Vec::new();
        loop {
            let mut part = [0; 4_096];
            let count = self.read(&mut part)?;
            ensure!(count > 0 && answer.len() < ANSWER_BYTES_MAX, "the answer is cut");
            answer.extend_from_slice(&part[..count]);
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                ensure!(head.starts_with("HTTP/1.1 200"), "{}", head.lines().next().unwrap_or_default());
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                });
                if length.is_some_and(|length: usize| body.len() >= length) {
                    return Ok(());
                }
            }
        }
    }

    /// RFC 9113, as little as one GET needs.
    fn ask_http2(&mut self) -> Result<()> {
        let stream = self.next;
        self.next += 2;
        // GET, https, path and authority as literals that are not indexed (RFC 7541 §6.2.2).
        let mut block = vec![0x82, 0x87, 0x04, 8];
        block.extend_from_slice(b"/1k.html\x01\x09localhost");
        let mut frame = vec![0, 0, block.len() as u8, 0x01, 0x05];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(&block);
        self.write(&frame)?;
        loop {
            let mut head = [0; 9];
            self.read_exact(&mut head)?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            ensure!(length < ANSWER_BYTES_MAX, "a frame of {length} bytes");
            let mut payload = vec![0; length];
            self.read_exact(&mut payload)?;
            let (kind, flags) = (head[3], head[4]);
            let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match kind {
                // SETTINGS, not an acknowledgement.
                4 if flags & 1 == 0 => self.write(&[0, 0, 0, 4, 1, 0, 0, 0, 0])?,
                3 | 7 => bail!("the node ends the stream or the connection: {payload:?}"),
                0 if of == stream && flags & 1 != 0 => return Ok(()),
                _ => {}
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes)?,
            Stream::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    fn read(&mut self, part: &mut [u8]) -> Result<usize> {
        Ok(match &mut self.stream {
            Stream::Plain(socket) => socket.read(part)?,
            Stream::Tls(stream) => stream.read(part)?,
        })
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.read_exact(bytes)?,
            Stream::Tls(stream) => stream.read_exact(bytes)?,
        }
        Ok(())
    }
}
