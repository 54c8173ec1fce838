//! The rules as tables. A new crate, runtime or exception is one line here, with its reason.

/// What one crate of the workspace is and may use.
pub(super) struct CrateRule {
    /// Package name.
    pub(super) name: &'static str,
    /// Folder from the root of the repository.
    pub(super) folder: &'static str,
    /// Crates of ours it may depend on.
    pub(super) may_use: &'static [&'static str],
    /// Crates of ours that only its tests may depend on.
    pub(super) tests_may_use: &'static [&'static str],
    /// Whether it may hold unsafe code.
    pub(super) may_be_unsafe: bool,
    /// Whether it takes time, keys and seeds from its caller and returns findings as values.
    pub(super) is_pure: bool,
    /// The rule in words.
    pub(super) reason: &'static str,
}

const fn rule(
    name: &'static str,
    folder: &'static str,
    may_use: &'static [&'static str],
    reason: &'static str,
) -> CrateRule {
    CrateRule { name, folder, may_use, tests_may_use: &[], may_be_unsafe: false, is_pure: false, reason }
}

const fn unsafe_crate(rule: CrateRule) -> CrateRule {
    CrateRule { may_be_unsafe: true, ..rule }
}

const fn pure(rule: CrateRule) -> CrateRule {
    CrateRule { is_pure: true, ..rule }
}

/// Every crate, from the lowest layer up.
pub(super) const CRATES: &[CrateRule] = &[
    unsafe_crate(rule("secbeat-hugepages", "hugepages", &[], "layer 0 depends on nothing of ours")),
    rule("secbeat-proto", "proto", &[], "layer 0 depends on nothing of ours"),
    rule(
        "secbeat-config",
        "config",
        &["secbeat-proto"],
        "configuration is read by both planes and knows neither",
    ),
    unsafe_crate(rule("secbeat-pktio", "dataplane/pktio", &["secbeat-hugepages"], "layer 1: arrows go down")),
    pure(rule("secbeat-net", "dataplane/net", &[], "net, http and waf depend on no crate of ours")),
    pure(rule("secbeat-http", "dataplane/http", &[], "net, http and waf depend on no crate of ours")),
    pure(rule("secbeat-waf", "dataplane/waf", &[], "net, http and waf depend on no crate of ours")),
    rule(
        "secbeat-export",
        "dataplane/export",
        &["secbeat-config"],
        "events leave both planes the same way, and the planes never import each other",
    ),
    rule(
        "secbeat-node",
        "dataplane/node",
        NODE_USES,
        "layer 2: arrows go down, and the planes never meet here",
    ),
    rule(
        "secbeat-node-loom",
        "dataplane/node/loom",
        &["secbeat-net"],
        "the node's lock-free files once more, under the model checker",
    ),
    rule("secbeat-sim", "dataplane/sim", SIM_USES, "layer 3: the simulation stands on the data plane"),
    CrateRule {
        tests_may_use: &["secbeat-node"],
        ..rule(
            "secbeat-orchestrator",
            "controlplane/orchestrator",
            &["secbeat-config", "secbeat-export", "secbeat-proto", "secbeat-waf"],
            "the planes never import each other; tests let a real agent speak with it",
        )
    },
    rule(
        "secbeat-cli",
        "controlplane/cli",
        &["secbeat-config", "secbeat-proto"],
        "the command line speaks gRPC and knows nothing else",
    ),
    rule(
        "secbeat-bench",
        "bench",
        BENCH_USES,
        "measurements use packet code, and the node's agent to make a fleet, never the node's inside",
    ),
    rule(
        "secbeat-xtask",
        "xtask",
        &["secbeat-config", "secbeat-node"],
        "checks only render tables of other crates",
    ),
];

const NODE_USES: &[&str] = &[
    "secbeat-hugepages",
    "secbeat-proto",
    "secbeat-config",
    "secbeat-export",
    "secbeat-pktio",
    "secbeat-net",
    "secbeat-http",
    "secbeat-waf",
];
const SIM_USES: &[&str] = &["secbeat-config", "secbeat-pktio", "secbeat-net", "secbeat-node"];
const BENCH_USES: &[&str] =
    &["secbeat-hugepages", "secbeat-config", "secbeat-pktio", "secbeat-net", "secbeat-node", "secbeat-proto"];

/// A file that may hold unsafe code although its crate may not.
pub(super) struct UnsafeFile {
    /// Its path from the root of the repository.
    pub(super) path: &'static str,
    /// Why.
    #[expect(dead_code, reason = "read by people")]
    pub(super) reason: &'static str,
}

/// Exceptions for single files; none of them ships.
pub(super) const UNSAFE_FILES: &[UnsafeFile] = &[UnsafeFile {
    path: "dataplane/net/tests/tcp_peer/clock.rs",
    reason: "a simulation must set the clock that its independent peer reads from the system (decision 0022)",
}];

/// A dependency from outside that only some crates may have.
pub(super) struct PlacedCrate {
    /// Its name; with a trailing `*`, every name that starts so.
    name: &'static str,
    /// Who may depend on it.
    pub(super) only_in: &'static [&'static str],
    /// The rule in words.
    pub(super) reason: &'static str,
}

impl PlacedCrate {
    pub(super) fn matches(&self, dependency: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => dependency.starts_with(prefix),
            None => dependency == self.name,
        }
    }
}

const CONTROL: &[&str] = &["secbeat-orchestrator", "secbeat-cli", "secbeat-node", "secbeat-bench"];

/// Placement of runtimes, kernel interfaces and sources of surprise.
pub(super) const PLACED_CRATES: &[PlacedCrate] = &[
    PlacedCrate {
        name: "tokio*",
        only_in: CONTROL,
        reason: "async runtimes belong to the control plane and the node's agent",
    },
    PlacedCrate {
        name: "tonic*",
        only_in: &["secbeat-proto", "secbeat-orchestrator", "secbeat-cli", "secbeat-node", "secbeat-bench"],
        reason: "gRPC belongs to the control plane and the node's agent",
    },
    PlacedCrate { name: "mio", only_in: &["secbeat-node"], reason: "the data plane has one event loop" },
    PlacedCrate {
        name: "rustls*",
        only_in: &["secbeat-node", "secbeat-bench", "secbeat-orchestrator", "secbeat-cli", "secbeat-export"],
        reason: "TLS belongs to the node's session, to API servers, to clients that measure them, to the way out of events",
    },
    PlacedCrate { name: "xsk-rs", only_in: &["secbeat-pktio"], reason: "one crate speaks AF_XDP" },
    PlacedCrate { name: "libbpf-*", only_in: &["secbeat-pktio"], reason: "one crate loads BPF programs" },
    PlacedCrate {
        name: "libc",
        only_in: &["secbeat-hugepages", "secbeat-pktio"],
        reason: "raw calls into the kernel are unsafe, and unsafe code has two homes",
    },
    PlacedCrate {
        name: "sd-notify",
        only_in: &["secbeat-node", "secbeat-orchestrator"],
        reason: "services speak with the service manager",
    },
    PlacedCrate {
        name: "rand*",
        only_in: &["secbeat-sim"],
        reason: "seeds are passed in; the kernel gives keys",
    },
];

/// A word that a pure crate must not contain outside tests.
pub(super) struct Banned {
    /// The word or path.
    pub(super) word: &'static str,
    /// What to do instead.
    pub(super) instead: &'static str,
}

const fn banned(word: &'static str, instead: &'static str) -> Banned {
    Banned { word, instead }
}

const CLOCK: &str = "time is passed in as `now`";
const RANDOM: &str = "keys and seeds are passed in";
const ENVIRONMENT: &str = "settings are passed in";
const LOG: &str = "findings are returned as values and counted by the caller";
const INPUT_OUTPUT: &str = "bytes come in and go out as values";

/// No clock, random source, environment, log or I/O in `net`, `http`, `waf`.
pub(super) const PURE_BANNED: &[Banned] = &[
    banned("std::time", CLOCK),
    banned("SystemTime", CLOCK),
    banned("Instant::now", CLOCK),
    banned("rand::", RANDOM),
    banned("getrandom", RANDOM),
    banned("RandomState", RANDOM),
    banned("std::env", ENVIRONMENT),
    banned("env::var", ENVIRONMENT),
    banned("println!", LOG),
    banned("eprintln!", LOG),
    banned("print!", LOG),
    banned("eprint!", LOG),
    banned("tracing::", LOG),
    banned("log::", LOG),
    banned("std::fs", INPUT_OUTPUT),
    banned("std::io", INPUT_OUTPUT),
    banned("std::process", INPUT_OUTPUT),
    banned("std::thread", INPUT_OUTPUT),
    banned("TcpStream", INPUT_OUTPUT),
    banned("TcpListener", INPUT_OUTPUT),
    banned("UdpSocket", INPUT_OUTPUT),
];

/// A word that only some folders may contain.
pub(super) struct WordPlace {
    /// The word or path.
    pub(super) word: &'static str,
    /// Folders or files where it may stand.
    pub(super) only_under: &'static [&'static str],
    /// The rule in words.
    pub(super) reason: &'static str,
}

/// Placement inside crates.
pub(super) const WORD_PLACES: &[WordPlace] = &[
    WordPlace {
        word: "tokio::",
        // peer.rs: the traits through which the `h2` crate, the independent peer of the tests, is driven by hand.
        only_under: &[
            "controlplane/",
            "dataplane/node/src/agent",
            "dataplane/node/tests/agent",
            "bench/src/fleet",
            "dataplane/http/tests/h2/peer.rs",
        ],
        reason: "async runtimes belong to the control plane and the node's agent",
    },
    WordPlace {
        word: "mio::",
        only_under: &["dataplane/node/src/"],
        reason: "the data plane has one event loop",
    },
    WordPlace {
        word: "rustls::",
        only_under: &[
            "controlplane/",
            "dataplane/export/src/sink",
            "dataplane/node/src/session/tls",
            "dataplane/node/src/api",
            "bench/src/tls",
            "bench/src/demo/crowd",
            "bench/src/peers/idle",
            "bench/src/handshake/request",
        ],
        reason: "TLS belongs to the node's session, to API servers and to clients that measure them",
    },
    WordPlace {
        word: "secbeat_proto::",
        only_under: &[
            "controlplane/",
            "proto/tests/",
            "config/src/policy/wire",
            // What a change costs on the wire.
            "config/src/policy/delta/tests.rs",
            "config/src/ban/wire",
            "dataplane/node/src/agent",
            "bench/src/fleet",
        ],
        reason: "generated types stay at the edge",
    },
];
