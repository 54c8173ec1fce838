//! Honest clients: many real handshakes and HTTP GETs over the kernel's own TCP, each with a deadline.
//!
//! One thread, `concurrency` connections at a time, each fresh. What is reported is what a person would feel:
//! how many pages arrived whole within the deadline, and how long connect and connect + GET took.
//! Cannot: keep-alive (use wrk for that).

mod request;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lab::{SMALL_PATH, Topology, VIP4};
use crate::stats::{Spread, show_us};
use crate::tls::{self, Alpn};
use crate::{interrupt, netns};
pub(crate) use request::{Outcome, Progress, Request};

/// Connections at a time. The kernel's default of 1024 open files holds this and what else is open.
const CONCURRENCY_MAX: usize = 512;

/// Options of `handshake`, and of honest clients in scenarios.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where to connect to
    #[arg(long, default_value_t = SocketAddr::new(IpAddr::V4(VIP4), 80))]
    pub(crate) to: SocketAddr,
    /// Path to fetch; empty: connect only
    #[arg(long, default_value = SMALL_PATH)]
    pub(crate) path: String,
    /// Over TLS 1.3, a full handshake each time, any certificate
    #[arg(long)]
    pub(crate) tls: bool,
    /// Connections to make in all
    #[arg(long, default_value_t = 200)]
    pub(crate) count: u64,
    /// Connections at the same time
    #[arg(long, default_value_t = 1)]
    pub(crate) concurrency: usize,
    /// Deadline of connect and GET together, in milliseconds
    #[arg(long, default_value_t = 3000)]
    pub(crate) deadline_ms: u64,
    /// Local address to connect from
    #[arg(long)]
    pub(crate) bind: Option<IpAddr>,
    /// Network namespace to connect from (default: the lab's client)
    #[arg(long)]
    pub(crate) netns: Option<String>,
    /// Prefix of the lab
    #[arg(long, default_value = "sb")]
    pub(crate) prefix: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// One small page from the VIP, from whatever namespace the caller is in.
    pub(crate) fn one_page() -> Self {
        Self {
            to: SocketAddr::new(IpAddr::V4(VIP4), 80),
            path: SMALL_PATH.to_owned(),
            tls: false,
            count: 1,
            concurrency: 1,
            deadline_ms: 3000,
            bind: None,
            netns: None,
            prefix: String::new(),
            json: false,
        }
    }
}

/// What many requests came to.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Report {
    /// Requests that were begun and ended.
    pub(crate) count: u64,
    /// Those whose whole answer arrived before the deadline.
    pub(crate) succeeded: u64,
    /// `succeeded` of `count`, in percent.
    pub(crate) success_percent: f64,
    /// Handshake alone, of those whose handshake succeeded.
    pub(crate) connect: Spread,
    /// Connect, GET and answer, of those that succeeded.
    pub(crate) total: Spread,
    /// From the first to the last request, in seconds.
    pub(crate) seconds: f64,
    /// Failures by cause.
    pub(crate) failures: std::collections::BTreeMap<&'static str, u64>,
}

impl Report {
    /// Sums up `outcomes` that took `elapsed` altogether.
    pub(crate) fn of(outcomes: &[Outcome], elapsed: Duration) -> Self {
        let mut failures = std::collections::BTreeMap::new();
        for failure in outcomes.iter().filter_map(|outcome| outcome.failure) {
            *failures.entry(failure.name()).or_insert(0) += 1;
        }
        let connects: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.connect).collect();
        let totals: Vec<Duration> = outcomes
            .iter()
            .filter(|outcome| outcome.failure.is_none())
            .map(|outcome| outcome.total)
            .collect();
        let (count, succeeded) = (outcomes.len() as u64, totals.len() as u64);
        Self {
            count,
            succeeded,
            success_percent: if count == 0 { 0.0 } else { 100.0 * succeeded as f64 / count as f64 },
            connect: Spread::of(&connects),
            total: Spread::of(&totals),
            seconds: elapsed.as_secs_f64(),
            failures,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} of {} succeeded ({:.2} %) in {:.2} s",
            self.succeeded, self.count, self.success_percent, self.seconds
        )?;
        for (name, spread) in [("connect", &self.connect), ("connect + GET", &self.total)] {
            writeln!(
                f,
                "{name:<14} p50 {:>9}  p90 {:>9}  p99 {:>9}  max {:>9}",
                show_us(spread.p50_us),
                show_us(spread.p90_us),
                show_us(spread.p99_us),
                show_us(spread.max_us)
            )?;
        }
        for (cause, count) in &self.failures {
            writeln!(f, "failed: {cause} {count}")?;
        }
        Ok(())
    }
}

/// Runs the `handshake` subcommand; fails when a single request failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let netns = options.netns.clone().unwrap_or_else(|| Topology::new(&options.prefix).client());
    let report = netns::inside(&netns, || fetch_all(options))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(u8::from(report.succeeded < report.count || report.count == 0)))
}

/// Makes all requests of `options` from the namespace the calling thread is in.
pub(crate) fn fetch_all(options: &Options) -> Result<Report> {
    let started = Instant::now();
    let mut outcomes = Vec::new();
    fetch(options, || false, |outcome| outcomes.push(outcome))?;
    Ok(Report::of(&outcomes, started.elapsed()))
}

/// Makes requests until `count` is reached, `stop` says so or Ctrl-C; tells `tell` how each one ended.
///
/// # Errors
/// When polling fails; a failing request is an outcome, not an error.
pub(crate) fn fetch(options: &Options, stop: impl Fn() -> bool, tell: impl FnMut(Outcome)) -> Result<()> {
    fetch_patiently(options, None, |_| stop(), tell)
}

/// As [`fetch`]; a request that has waited longer than `patience` goes on to its deadline, but no longer holds up
/// the next one. `stop` is told how many have begun.
pub(crate) fn fetch_patiently(
    options: &Options,
    patience: Option<Duration>,
    stop: impl Fn(u64) -> bool,
    mut tell: impl FnMut(Outcome),
) -> Result<()> {
    let concurrency = options.concurrency.clamp(1, CONCURRENCY_MAX);
    let tls = options.tls.then(|| tls::client_config(Alpn::Http1)).transpose()?;
    let mut begun = 0;
    let mut active: Vec<Request> = Vec::with_capacity(concurrency);
    loop {
        let stopping = interrupt::requested() || stop(begun);
        let now = Instant::now();
        let holds_up = |request: &&Request| patience.is_none_or(|patience| now < request.begun() + patience);
        let mut held = active.iter().filter(holds_up).count();
        while held < concurrency && active.len() < CONCURRENCY_MAX && begun < options.count && !stopping {
            begun += 1;
            match Request::begin(options, tls.as_ref(), Instant::now()) {
                Ok(request) => {
                    active.push(request);
                    held += 1;
                }
                Err(outcome) => tell(outcome),
            }
        }
        if active.is_empty() || interrupt::requested() {
            return Ok(());
        }
        let all_begun = stopping || begun >= options.count;
        let wake = patience.filter(|_| !all_begun).and_then(|patience| {
            active.iter().filter(holds_up).map(|request| request.begun() + patience).min()
        });
        advance(&mut active, wake, &mut tell)?;
    }
}

/// Waits until a request can go on, the nearest deadline passes or `wake`, and moves all that can.
fn advance(active: &mut Vec<Request>, wake: Option<Instant>, tell: &mut impl FnMut(Outcome)) -> Result<()> {
    let now = Instant::now();
    let nearest = active.iter().map(Request::deadline).chain(wake).min().unwrap_or(now);
    // Rounded up: waking before the deadline would spin until it.
    let wait_ms = nearest.saturating_duration_since(now).as_millis() as u16 + 1;
    let mut watched: Vec<PollFd<'_>> = active
        .iter()
        .map(|request| {
            let wanted = if request.wants_write() { PollFlags::POLLOUT } else { PollFlags::POLLIN };
            PollFd::new(request.socket().as_fd(), wanted)
        })
        .collect();
    match poll(&mut watched, PollTimeout::from(wait_ms.min(200))) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready: Vec<bool> =
        watched.iter().map(|entry| entry.revents().is_some_and(|events| !events.is_empty())).collect();
    let mut ready = ready.into_iter();
    let now = Instant::now();
    active.retain_mut(|request| {
        let is_ready = ready.next().unwrap_or(false);
        match request.handle(is_ready, now) {
            Progress::Going => true,
            Progress::Ended(outcome) => {
                tell(outcome);
                false
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn options(to: SocketAddr, count: u64, concurrency: usize) -> Options {
        Options { to, count, concurrency, deadline_ms: 300, ..Options::one_page() }
    }

    /// Answers every connection with `answer`, then closes it.
    fn serve(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn whole_pages_count_as_success() {
        let to = serve("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let report = fetch_all(&options(to, 20, 4)).unwrap();
        assert_eq!((report.count, report.succeeded), (20, 20));
        assert!(report.total.p50_us >= report.connect.p50_us);
    }

    #[test]
    fn a_cut_page_and_an_error_page_are_failures() {
        let cut = serve("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
        assert_eq!(fetch_all(&options(cut, 1, 1)).unwrap().failures["cut"], 1);
        let error = serve("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(fetch_all(&options(error, 1, 1)).unwrap().failures["status"], 1);
    }

    #[test]
    fn silence_ends_at_the_deadline_and_a_closed_port_at_once() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let report = fetch_all(&options(silent.local_addr().unwrap(), 2, 2)).unwrap();
        assert_eq!(report.failures["answer deadline"], 2);
        assert!(report.seconds >= 0.3 && report.seconds < 3.0);
        let closed = silent.local_addr().unwrap();
        drop(silent);
        assert_eq!(fetch_all(&options(closed, 1, 1)).unwrap().failures["refused"], 1);
    }

    #[test]
    fn an_impatient_client_goes_on_while_the_silent_ones_wait() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = options(silent.local_addr().unwrap(), 20, 1);
        let mut outcomes = Vec::new();
        let started = Instant::now();
        let patience = Some(Duration::from_millis(5));
        fetch_patiently(&options, patience, |_| false, |outcome| outcomes.push(outcome)).unwrap();
        assert_eq!(outcomes.len(), 20);
        assert!(outcomes.iter().all(|outcome| outcome.failure.is_some()));
        // One after the other they would take six seconds.
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}
