//! What judging a request by the OWASP Core Rule Set costs, in microseconds, and what the compiled set takes.
//!
//! `cargo bench -p secbeat-waf --bench crs [-- name]`. The rules come from `CRS_DIR`, or from `../shared/crs` beside
//! the repository, or from Debian's package (`CRS_DIR=/usr/share/modsecurity-crs`); paranoia level 1, everything on.
//! The requests are those of `bench/waf/inputs`. Each line is the median of 15 runs. Compare two commits on one
//! machine.

use core::hint::black_box;
use core::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant as Clock;

use secbeat_waf::ruleset::Ruleset;
use secbeat_waf::seclang::{self, Files};
use secbeat_waf::transaction::{
    Budget, Connection, Evaluator, Persistent, RequestHead, ResponseHead, Transaction,
};

const ROUNDS: u32 = 400;
const RUNS: usize = 15;

const SETTINGS: &str = "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n\
    SecResponseBodyMimeType text/plain text/html text/xml\n";

/// What the origin answers: as long as the page of `bench/waf`.
const PAGE: &[u8] = &{
    let line = b"<p>Waterproof walking boots, size 42, in stock; delivery within three days.</p>\n";
    let mut page = [0; 12 * 80];
    let mut at = 0;
    while at < page.len() {
        page[at] = line[at % line.len()];
        at += 1;
    }
    page
};

struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        let Some(folder) = pattern.strip_suffix("/*.conf") else { return Ok(vec![pattern.to_owned()]) };
        let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut paths: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.path().to_str().map(str::to_owned))
            .filter(|path| path.ends_with(".conf"))
            .collect();
        paths.sort();
        Ok(paths)
    }
}

struct Request {
    name: &'static str,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(name: &'static str, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("input").replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let mut line = lines.next().expect("request line").split(' ');
        let method = line.next().expect("method").to_owned();
        let target = line.next().expect("target").to_owned();
        let fields =
            lines.filter_map(|line| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())));
        let mut fields: Vec<_> = fields.collect();
        // A line per field of the form, for readers.
        let body = body.replace('\n', "").into_bytes();
        if !body.is_empty() {
            fields.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        Self { name, method, target, fields, body }
    }
}

const CONNECTION: Connection = Connection {
    client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    client_port: 50_000,
    server: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
    server_port: 443,
};

fn judge(evaluator: &mut Evaluator, tx: &mut Transaction, request: &Request) {
    evaluator.begin(tx, None, &CONNECTION, b"0123456789abcdef", 1_764_000_000, 0);
    let head = RequestHead {
        method: request.method.as_bytes(),
        target: request.target.as_bytes(),
        protocol: b"HTTP/1.1",
    };
    let fields = request.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    evaluator.request_head(tx, &head, fields);
    evaluator.request_body(tx, &request.body, true);
    let answer: [(&[u8], &[u8]); 2] = [(b"Content-Type", b"text/html"), (b"Content-Length", b"28")];
    let head = ResponseHead { status: 200, protocol: b"HTTP/1.1" };
    evaluator.response_head(tx, &head, answer.into_iter());
    evaluator.response_body(tx, PAGE, true);
    evaluator.finish(tx, 100);
}

fn crs() -> Option<(PathBuf, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::var_os("CRS_DIR").map(PathBuf::from);
    let beside = [root.join("../shared/crs"), root.join("../../shared/crs")];
    for folder in given.into_iter().chain(beside) {
        let rules = folder.join("rules");
        let debian = PathBuf::from("/etc/modsecurity/crs/crs-setup.conf");
        let setups = match folder.starts_with("/usr/share/modsecurity-crs") {
            true => vec![debian],
            false => vec![folder.join("crs-setup.conf.example"), rules.join("crs-setup.conf.example")],
        };
        for setup in setups {
            if setup.exists() {
                let paths = [setup, rules.join("*.conf")];
                return Some((folder, paths.iter().map(|path| path.display().to_string()).collect()));
            }
        }
    }
    let debian = PathBuf::from("/usr/share/modsecurity-crs");
    let setup = "/etc/modsecurity/crs/crs-setup.conf".to_owned();
    debian.exists().then(|| (debian.clone(), vec![setup, debian.join("rules/*.conf").display().to_string()]))
}

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let Some((folder, paths)) = crs() else {
        println!("skipped: no Core Rule Set; set CRS_DIR or install modsecurity-crs");
        return;
    };
    println!("rules: {}", folder.display());
    let begun = Clock::now();
    let settings = std::env::temp_dir().join(format!("secbeat-waf-bench-{}.conf", std::process::id()));
    std::fs::write(&settings, SETTINGS).expect("settings");
    let mut all = vec![settings.display().to_string()];
    all.extend(paths);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let configuration = seclang::read(&all, &Disk).unwrap_or_else(|errors| panic!("{errors}"));
    let _ = std::fs::remove_file(&settings);
    let read_ms = begun.elapsed().as_millis();
    let set = Ruleset::compile(&configuration).unwrap_or_else(|errors| panic!("{errors}"));
    println!(
        "read in {read_ms} ms, with compiling {} ms; {} rules, {} KiB, resident {} KiB",
        begun.elapsed().as_millis(),
        set.rules_len(),
        set.bytes() >> 10,
        resident_kib()
    );
    drop(configuration);

    let mut evaluator = Evaluator::new(Arc::new(set), Arc::new(Persistent::default()), Budget::default());
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/waf/inputs");
    let requests = [
        Request::read("small_get", &inputs.join("small_get.txt")),
        Request::read("query_get", &inputs.join("query_get.txt")),
        Request::read("form_post", &inputs.join("form_post.txt")),
    ];
    let mut tx = Transaction::new();
    for request in requests.iter().filter(|r| filter.as_ref().is_none_or(|f| r.name.contains(f.as_str()))) {
        for _ in 0..50 {
            judge(&mut evaluator, &mut tx, request);
        }
        let set = Arc::clone(evaluator.ruleset());
        for found in tx.matches(&set) {
            println!("  match {} {}", found.id, String::from_utf8_lossy(found.data));
        }
        let allocations = allocation_counter::measure(|| judge(&mut evaluator, &mut tx, request));
        let mut times: Vec<f64> = (0..RUNS)
            .map(|_| {
                let begun = Clock::now();
                for _ in 0..ROUNDS {
                    judge(&mut evaluator, &mut tx, black_box(request));
                }
                begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{:<10} {:>7.1} us (best {:.1}), {} allocations, {} work bytes, transaction {} KiB, worker {} KiB",
            request.name,
            times[RUNS / 2],
            times[0],
            allocations.count_total,
            tx.work_bytes(),
            tx.capacity_bytes() >> 10,
            evaluator.bytes() >> 10
        );
    }
}

/// Memory of this process, KiB.
fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
