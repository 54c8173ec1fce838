//! A control plane in the laboratory: an orchestrator in a namespace of its own, joined to the edges of several labs
//! by a management network, and the command line that speaks with it.
//!
//! ```text
//!            control namespace: secbeat-orchestrator, secbeat
//!             | mgmt0 10.97.0.1      | mgmt1 10.97.1.1     | ...
//!             | mgmt0 10.97.0.2      | mgmt0 10.97.1.2
//!            lab 0 edge: node       lab 1 edge: node
//! ```
//!
//! Owns: that namespace, the orchestrator's process and state folder. Everything is removed when it is dropped. What
//! one orchestrator carries is measured in `load`.

pub(crate) mod load;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::lab::Lab;
use crate::{interrupt, netns, tool};

/// How long an orchestrator may take until it answers.
const START_SECONDS_MAX: u64 = 15;

/// Port of nodes and command line.
const GRPC_PORT: u16 = 9443;

/// The control plane of a laboratory.
#[derive(Debug)]
pub(crate) struct Headquarters {
    netns: String,
    folder: PathBuf,
    process: Option<tool::Process>,
    token: String,
}

impl Headquarters {
    /// Makes the namespace and its links into the labs' edges, the fleet's authority and a token, and starts the
    /// orchestrator.
    pub(crate) fn start(prefix: &str, labs: &[Lab]) -> Result<Self> {
        let netns = format!("{prefix}-control");
        if netns::exists(&netns) {
            bail!("namespace `{netns}` exists: choose another --prefix, or `ip netns del {netns}`");
        }
        let folder = Path::new("/run/secbeat-bench").join(&netns);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        tool::run(&format!("ip netns add {netns}"))?;
        let mut made = Self { netns, folder, process: None, token: String::new() };
        tool::run(&format!("ip -n {} link set lo up", made.netns))?;
        for (number, lab) in labs.iter().enumerate() {
            made.link(number, lab)?;
        }
        made.configure(labs.len())?;
        made.launch()?;
        Ok(made)
    }

    fn link(&self, number: usize, lab: &Lab) -> Result<()> {
        let (control, edge) = (&self.netns, lab.topology.edge());
        tool::run(&format!(
            "ip link add mgmt{number} netns {control} type veth peer name mgmt0 netns {edge}"
        ))?;
        for (netns, device, host) in [(control, format!("mgmt{number}"), 1), (&edge, "mgmt0".to_owned(), 2)] {
            tool::run(&format!("ip -n {netns} addr add 10.97.{number}.{host}/24 dev {device}"))?;
            tool::run(&format!("ip -n {netns} link set {device} up"))?;
        }
        Ok(())
    }

    fn configure(&mut self, labs: usize) -> Result<()> {
        let state = self.folder.join("state");
        let config = format!(
            "[server]\nbind_address = \"127.0.0.1:9090\"\ngrpc_address = \"0.0.0.0:{GRPC_PORT}\"\nstate_dir = {state:?}\n\n\
             [fleet]\nheartbeat_interval = 1\nheartbeat_timeout = 1\nhealth_check_interval = 1\nmax_missed = 3\n\n\
             [tls]\ncert_path = {:?}\nkey_path = {:?}\n\n[logging]\nlevel = \"info\"\nformat = \"pretty\"\n",
            self.folder.join("127.0.0.1.crt"),
            self.folder.join("127.0.0.1.key"),
        );
        fs::write(self.config_path(), config)?;
        let authority = self.orchestrator(&["ca", "init"])?;
        fs::write(self.authority_path(), authority)?;
        let out = self.folder.display().to_string();
        let names: Vec<String> = (0..labs).map(|number| format!("10.97.{number}.1")).collect();
        let mut issue = vec!["ca", "issue-server", "--out", &out, "127.0.0.1"];
        issue.extend(names.iter().map(String::as_str));
        self.orchestrator(&issue)?;
        self.token =
            self.orchestrator(&["token", "create", "laboratory", "--scope", "admin"])?.trim().to_owned();
        Ok(())
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("orchestrator.toml")
    }

    /// Runs one of the orchestrator's own commands and returns what it printed.
    fn orchestrator(&self, arguments: &[&str]) -> Result<String> {
        let binary = tool::ours("secbeat-orchestrator")?;
        let output = Command::new(&binary)
            .arg("--config")
            .arg(self.config_path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("secbeat-orchestrator {}: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts the orchestrator and waits until it answers.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.netns])
            .arg(tool::ours("secbeat-orchestrator")?)
            .arg("--config")
            .arg(self.config_path())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(tool::Process::start(&mut command, None)?);
        let end = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while self.secbeat(&["fleet", "stats", "-o", "json"]).is_err() {
            if !self.is_running() || Instant::now() > end || interrupt::requested() {
                let log = fs::read_to_string(self.log_path()).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                bail!(
                    "the orchestrator did not start: {}",
                    lines[lines.len().saturating_sub(15)..].join("\n  ")
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("orchestrator.log")
    }

    /// Whether its process runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(tool::Process::is_running)
    }

    /// Ends the orchestrator as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = &self.process {
            process.signal(Signal::SIGKILL);
        }
        while self.is_running() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Runs `secbeat` with these arguments and returns what it printed.
    ///
    /// # Errors
    /// When it ends with a failure; the message holds its exit code and standard error.
    pub(crate) fn secbeat(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.netns])
            .arg(tool::ours("secbeat")?)
            .args(arguments)
            .env("SECBEAT_SERVER", format!("https://127.0.0.1:{GRPC_PORT}"))
            .env("SECBEAT_TOKEN", &self.token)
            .env("SECBEAT_CA", self.authority_path())
            .stdin(Stdio::null())
            .output()
            .context("cannot start secbeat")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("secbeat {} ({}): {}", arguments.join(" "), output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The same, its answer read as JSON.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = self.secbeat(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("secbeat {}: {text}", arguments.join(" ")))
    }

    /// Where the fleet's authority lies.
    fn authority_path(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// The section of a node's configuration that makes it part of this fleet, with a token for joining.
    pub(crate) fn section(&self, number: usize) -> Result<String> {
        let name = format!("join-{number}");
        let made = self.ask(&["token", "create", &name, "--scope", "join"])?;
        let token =
            made.get("token").and_then(serde_json::Value::as_str).context("no token in the answer")?;
        Ok(format!(
            "[orchestrator]\nenabled = true\nurl = \"https://10.97.{number}.1:{GRPC_PORT}\"\nca_path = {:?}\n\
             join_token = {:?}\n",
            self.authority_path(),
            token,
        ))
    }

    /// A file for the command line.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Headquarters {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop();
        }
        if let Err(error) = tool::run(&format!("ip netns del {}", self.netns)) {
            eprintln!("secbeat-bench: `{}` was not removed: {error:#}", self.netns);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
