//! The lab on a real kernel: made, used, removed. Needs root; says so and does nothing without.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const BENCH: &str = env!("CARGO_BIN_EXE_secbeat-bench");

/// A lab with a name of its own, removed when the test ends, however it ends.
struct TestLab(String);

impl TestLab {
    /// `None`, with a line that says why, when this machine cannot have a lab.
    fn new(name: &str) -> Option<Self> {
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
        let has = |tool: &str| {
            ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(tool).exists())
        };
        if !is_root || !["ip", "nft", "nginx", "ethtool"].into_iter().all(has) {
            println!("skipped: needs root, ip, nft, nginx and ethtool");
            return None;
        }
        Some(Self(format!("t{name}{}", std::process::id())))
    }

    fn bench(&self, words: &str) -> Output {
        let (command, rest) = words.split_once(' ').unwrap_or((words, ""));
        let mut process = Command::new(BENCH);
        if command == "lab" {
            let (subcommand, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            process.args(["lab", subcommand, "--prefix", &self.0]).args(rest.split_whitespace());
        } else {
            process.args([command, "--prefix", &self.0]).args(rest.split_whitespace());
        }
        process.output().expect("secbeat-bench runs")
    }

    fn ok(&self, words: &str) -> String {
        let output = self.bench(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn namespaces(&self) -> Vec<String> {
        let listed = Command::new("ip").args(["netns", "list"]).output().expect("ip runs");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        text.lines().filter(|line| line.starts_with(&self.0)).map(str::to_owned).collect()
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        self.bench("lab down");
    }
}

#[test]
fn a_lab_serves_pages_in_both_families_and_leaves_nothing() {
    let Some(lab) = TestLab::new("up") else { return };
    lab.ok("lab up --pin");
    lab.ok("handshake --count 20");
    lab.ok("handshake --count 20 --concurrency 10 --to [fd99::1]:80");
    // Made anew over itself, with another edge.
    lab.ok("lab up --edge synproxy");
    lab.ok("handshake --count 5");
    lab.ok("lab down");
    assert!(lab.namespaces().is_empty());
    assert!(!Path::new("/run/secbeat-bench").join(&lab.0).exists());
    assert!(lab.ok("lab down").contains("was not there"));
}

#[test]
fn a_flood_is_bounded_and_stays_in_the_lab() {
    let Some(lab) = TestLab::new("fl") else { return };
    lab.ok("lab up");
    let report: serde_json::Value =
        serde_json::from_str(&lab.ok("flood --kind syn --rate 20k --packets 5000 --json")).unwrap();
    assert_eq!(report["packets"], 5000);
    let seen = lab.ok("lab status");
    assert!(seen.contains("att0 rx 5"), "{seen}");
    let refused = lab.bench("flood --netns production --seconds 1");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not a namespace of a lab"));
}

#[test]
fn a_download_survives_loss_and_reordering() {
    let Some(lab) = TestLab::new("im") else { return };
    let output = Command::new(BENCH)
        .args([
            "lab",
            "up",
            "--prefix",
            &lab.0,
            "--impair",
            "--loss 1 --reorder 1 --duplicate 1 --delay-ms 0.2",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lab.ok("lab big 8");
    let client = format!("{}-client", lab.0);
    let page = Command::new("ip")
        .args(["netns", "exec", &client, "curl", "-s", "http://10.99.0.1/big"])
        .output()
        .unwrap();
    let served = std::fs::read(Path::new("/run/secbeat-bench").join(&lab.0).join("files/www/big")).unwrap();
    assert_eq!(served.len(), 8 << 20);
    assert!(page.stdout == served, "{} of {} bytes", page.stdout.len(), served.len());
}

#[test]
fn ctrl_c_removes_a_running_lab() {
    let Some(lab) = TestLab::new("cc") else { return };
    let mut process = Command::new(BENCH)
        .args(["limit", "--prefix", &lab.0, "--repetitions", "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let waits = |until: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !until() && Instant::now() < end {
            sleep(Duration::from_millis(50));
        }
        until()
    };
    assert!(waits(&|| lab.namespaces().len() == 4), "the lab was not made");
    sleep(Duration::from_millis(500));
    Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    assert!(waits(&|| lab.namespaces().is_empty()), "the lab was not removed");
    process.wait().unwrap();
}
