//! The origin: nginx with a configuration of its own, and files of 1 KB, 1 MB and any size.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::state::State;
use super::topology::{ORIGIN, Topology, VIP4, VIP6};
use crate::{netns, tool};

/// A page of 1 KB.
pub(crate) const SMALL_PATH: &str = "/1k.html";
/// A file made by [`make_big_file`].
pub(crate) const BIG_PATH: &str = "/big";

const SMALL_BYTES: u64 = 1_000;
const MEDIUM_BYTES: u64 = 1_000_000;
/// nginx needs a few milliseconds; a busy machine some more.
const START_SECONDS_MAX: u64 = 5;

/// Writes nginx's files and starts it inside the origin.
pub(crate) fn start_nginx(topology: &Topology, state: &State) -> Result<()> {
    let files = state.files();
    let root = files.join("www");
    fs::create_dir_all(&root)?;
    write_file(state, "1k.html", SMALL_BYTES)?;
    write_file(state, "1m.bin", MEDIUM_BYTES)?;
    make_certificate(state)?;
    let config = files.join("nginx.conf");
    fs::write(&config, configuration(&files.display().to_string()))?;
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &topology.origin(), "nginx", "-c"])
        .arg(&config)
        .arg("-e")
        .arg(state.log_path("nginx"))
        .stdout(state.log("nginx.out")?)
        // Inherited, it would keep a pipe of whoever started the lab open for as long as the lab stands.
        .stderr(state.log("nginx.err")?);
    let mut process = tool::Process::start(&mut command, Some(&state.record("nginx")))?;
    let end = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while !answers(&topology.origin()) {
        if !process.is_running() || Instant::now() > end {
            let log = fs::read_to_string(state.log_path("nginx")).unwrap_or_default();
            bail!("nginx did not start: {}", log.trim());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    process.detach();
    Ok(())
}

fn answers(origin: &str) -> bool {
    netns::inside(origin, || Ok(std::net::TcpStream::connect("127.0.0.1:80")?)).is_ok()
}

/// `/echo` is for an origin that a test may start beside nginx, on port 8000.
fn configuration(folder: &str) -> String {
    let echo = SocketAddr::new(ORIGIN.far4().into(), 8000);
    format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/../logs/nginx warn;
events {{ worker_connections 16384; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type text/html;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; client_max_body_size 0;
  server {{
    listen 80 backlog=16384; listen [::]:80 backlog=16384; listen 8080; listen [::]:8080;
    listen 443 ssl; listen [::]:443 ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location /echo {{ proxy_pass http://{echo}; proxy_http_version 1.1; proxy_request_buffering off; }}
    root {folder}/www;
    location ~ \\.bin$ {{ types {{ }} default_type application/octet-stream; }}
    location = /whoami {{ return 200 \"$remote_addr $remote_port\\n\"; }}
  }}
  server {{
    listen 81 proxy_protocol; listen [::]:81 proxy_protocol;
    root {folder}/www;
    location = /whoami {{ return 200 \"$proxy_protocol_addr $proxy_protocol_port\\n\"; }}
  }}
}}
"
    )
}

/// A certificate for the VIP, which origin and node share: whoever answers is the same site.
fn make_certificate(state: &State) -> Result<()> {
    let folder = state.files();
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    tool::run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=lab.test \
         -addext subjectAltName=DNS:lab.test,IP:{VIP4},IP:{VIP6} -keyout {} -out {}",
        key.display(),
        cert.display()
    ))
    .context("certificate of the lab")?;
    Ok(())
}

/// Makes the file behind [`BIG_PATH`].
pub(crate) fn make_big_file(state: &State, bytes: u64) -> Result<()> {
    write_file(state, "big", bytes)
}

/// A file whose every 8 bytes are their own offset, scrambled: a byte that goes missing, moves or changes
/// anywhere changes the checksum, and the file is the same on every run.
fn write_file(state: &State, name: &str, bytes: u64) -> Result<()> {
    let path = state.files().join("www").join(name);
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let mut left = bytes;
    let mut word = 0_u64;
    while left > 0 {
        let pattern = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) ^ word;
        let take = left.min(8) as usize;
        writer.write_all(&pattern.to_le_bytes()[..take])?;
        left -= take as u64;
        word += 1;
    }
    writer.flush().with_context(|| format!("write {}", path.display()))
}
