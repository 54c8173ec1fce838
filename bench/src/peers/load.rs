//! Load and what it shows: wrk for throughput, h2load for latency at a fixed rate, the kernel for CPU time.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::setup::Place;
use crate::{cpu, stats};

/// The core of the load generator and the origin; the proxy has the other one.
pub(super) const LOAD_CORE: usize = 1;
/// The core of the proxy under test.
pub(super) const PROXY_CORE: usize = 0;

/// Before a measurement: connections are open, caches warm. wrk counts whole seconds.
const WARM_UP: Duration = Duration::from_secs(1);

/// How much longer than its window wrk may take.
const WRK_SECONDS_EXTRA: u64 = 5;

/// Latency of requests in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    /// Half of the requests took at most this.
    pub(super) p50_us: u64,
    /// 99 % of the requests took at most this.
    pub(super) p99_us: u64,
}

/// One measurement of one proxy.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Sample {
    /// Answers with status 200 per second.
    pub(super) requests_per_second: f64,
    /// CPU time of the proxy for each of them, user and system.
    pub(super) cpu_us_per_request: f64,
    /// How busy the proxy's core was with it, 0 to 1.
    pub(super) busy: f64,
    /// As the client saw it.
    pub(super) latency: Latency,
}

/// Loads `url` as hard as one core can for `window`.
///
/// # Errors
/// When wrk cannot be run, or anything but status 200 came back.
pub(super) fn measure(
    client: &Place,
    pid: u32,
    url: &str,
    connections: u32,
    window: Duration,
) -> Result<Sample> {
    let run = |window| {
        let wrk = Wrk { url: url.to_owned(), core: LOAD_CORE, connections, fresh: false, window };
        let report = wrk.run(client)?;
        ensure!(report.failed == 0, "{} requests did not succeed", report.failed);
        Ok(report)
    };
    run(WARM_UP)?;
    let before = cpu::time_used(pid);
    let began = std::time::Instant::now();
    let report = run(window)?;
    let elapsed = began.elapsed();
    let used = cpu::time_used(pid).saturating_sub(before);
    let requests = report.requests.max(1) as f64;
    Ok(Sample {
        requests_per_second: report.requests_per_second,
        cpu_us_per_request: used.as_secs_f64() * 1e6 / requests,
        busy: used.as_secs_f64() / elapsed.as_secs_f64(),
        latency: report.latency,
    })
}

/// What wrk printed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Report {
    requests: u64,
    /// Answers per second, whatever their status.
    pub(super) requests_per_second: f64,
    /// As wrk saw it.
    pub(super) latency: Latency,
    /// Answers with another status than 2xx and 3xx, and connections that failed.
    pub(super) failed: u64,
}

/// One run of wrk.
#[derive(Clone, Debug)]
pub(super) struct Wrk {
    /// What is fetched.
    pub(super) url: String,
    /// Where wrk runs.
    pub(super) core: usize,
    /// Connections at a time.
    pub(super) connections: u32,
    /// A new connection for every request.
    pub(super) fresh: bool,
    /// How long; wrk counts whole seconds.
    pub(super) window: Duration,
}

impl Wrk {
    /// Runs it to its end, or until somebody asks to stop.
    ///
    /// # Errors
    /// When wrk cannot be run, or no request succeeded.
    pub(super) fn run(&self, client: &Place) -> Result<Report> {
        let seconds = self.window.as_secs().max(1);
        let mut command = client.command(self.core);
        // Out of ports, or with connections that never end, wrk does not end either.
        let patience = (seconds + WRK_SECONDS_EXTRA).to_string();
        command.args(["timeout", "--signal=KILL", &patience, "wrk", "-t1", "--latency", "--timeout", "5s"]);
        command.args([format!("-c{}", self.connections), format!("-d{seconds}s"), self.url.clone()]);
        if self.fresh {
            command.args(["-H", "Connection: close"]);
        }
        let output = command.stdin(Stdio::null()).output().context("start wrk")?;
        if !output.status.success() {
            bail!("wrk: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        parse_wrk(&String::from_utf8_lossy(&output.stdout))
    }
}

fn parse_wrk(text: &str) -> Result<Report> {
    let mut report = Report::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["50%", time] => report.latency.p50_us = time_us(time)?,
            ["99%", time] => report.latency.p99_us = time_us(time)?,
            ["Requests/sec:", rate] => report.requests_per_second = rate.parse()?,
            [count, "requests", "in", ..] => report.requests = count.parse()?,
            ["Non-2xx", .., count] => report.failed += count.parse::<u64>()?,
            ["Socket", "errors:", ref kinds @ ..] => {
                let counts = kinds.iter().filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok());
                report.failed += counts.sum::<u64>();
            }
            _ => {}
        }
    }
    if report.requests == 0 {
        bail!("no request succeeded");
    }
    Ok(report)
}

/// `431.00us`, `4.12ms`, `1.20s`.
fn time_us(text: &str) -> Result<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().with_context(|| format!("time {text}"))?;
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => bail!("unit of {text}"),
    };
    Ok((number * factor) as u64)
}

/// Asks `url` at a fixed rate and returns how long answers took.
///
/// # Errors
/// When h2load cannot be run or a request failed.
pub(super) fn latency(
    client: &Place,
    folder: &Path,
    url: &str,
    connections: u32,
    requests_per_second: f64,
    window: Duration,
) -> Result<Latency> {
    let log = folder.join("latency.log");
    let _ = fs::remove_file(&log);
    let per_client = (requests_per_second / f64::from(connections.max(1))).max(1.0);
    let output = client
        .command(LOAD_CORE)
        .args(["h2load", "--h1", "-t1"])
        .args([format!("-c{connections}"), format!("--rps={per_client:.0}")])
        .arg(format!("-D{}", window.as_secs().max(1)))
        .arg(format!("--log-file={}", log.display()))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .context("start h2load")?;
    if !output.status.success() {
        bail!("h2load: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    parse_h2load(&fs::read_to_string(&log).context("h2load wrote no log")?)
}

/// Lines of start, status and duration, the times in microseconds.
fn parse_h2load(log: &str) -> Result<Latency> {
    let mut times = Vec::new();
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let (status, time) = (words.nth(1), words.next());
        match (status, time.map(str::parse::<u64>)) {
            (Some("200"), Some(Ok(time))) => times.push(time),
            _ => bail!("a request failed: {line}"),
        }
    }
    times.sort_unstable();
    let at = |percent| stats::percentile(&times, percent).context("no request was answered");
    Ok(Latency { p50_us: at(50.0)?, p99_us: at(99.0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let text = "  Thread Stats   Avg      Stdev     Max   +/- Stdev\n  Latency Distribution\n     50%  431.00us\n     \
            75%    0.60ms\n     99%    4.12ms\n  414441 requests in 6.10s, 520.12MB read\nRequests/sec:  67940.22\n";
        let want = Report {
            requests: 414_441,
            requests_per_second: 67_940.22,
            latency: Latency { p50_us: 431, p99_us: 4_120 },
            failed: 0,
        };
        assert_eq!(parse_wrk(text).unwrap(), want);
        assert_eq!(parse_wrk(&format!("{text}  Non-2xx or 3xx responses: 3\n")).unwrap().failed, 3);
        let errors = "  Socket errors: connect 1, read 20, write 0, timeout 300\n";
        assert_eq!(parse_wrk(&format!("{text}{errors}")).unwrap().failed, 321);
        assert!(parse_wrk("").is_err());
    }

    #[test]
    fn a_failed_request_spoils_a_latency_log() {
        assert_eq!(parse_h2load("1 200 10\n2 200 30\n").unwrap(), Latency { p50_us: 10, p99_us: 30 });
        assert!(parse_h2load("1 200 10\n2 503 30\n").is_err());
        assert!(parse_h2load("").is_err());
    }
}
