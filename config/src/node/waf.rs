//! `[waf]`: rule sets, how far requests and responses are looked at, and what is written about it.
//!
//! Owns: the keys, [`Waf`], [`WafSite`]. Does not own: SecLang, which the node reads when it starts (`secbeat-waf`).

use std::collections::HashSet;
use std::path::PathBuf;

use crate::error::Problem;
use crate::reader::{Choice, Table, json};
use crate::units::{HostPattern, LogTarget, UrlPath};
use crate::waf_rules::{RULES_MAX, Rule};

/// Most sites: each costs a few hundred bytes, and hosts are found by hash.
const SITES_MAX: usize = 1_024;
/// Most bytes of a body that may be held for inspection: a node holds one for each such request at once.
const BODY_BYTES_MAX: i64 = 256 << 20;

/// Whether rules are asked, and what their verdicts do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WafMode {
    /// They are asked, and block.
    On,
    /// They are not asked.
    Off,
    /// They are asked, and nothing is blocked.
    Detect,
}

impl Choice for WafMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("on", Self::On), ("off", Self::Off), ("detect", Self::Detect)];
}

/// What becomes of a request whose inspection costs more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// It is refused.
    Block,
    /// It passes.
    Pass,
}

impl Choice for AtLimit {
    const ALL: &'static [(&'static str, Self)] = &[("block", Self::Block), ("pass", Self::Pass)];
}

/// What becomes of requests that a page of another site made a browser send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrfCheck {
    /// They are not told from others.
    Off,
    /// They are noted.
    Detect,
    /// They are refused.
    Block,
}

impl Choice for CsrfCheck {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("detect", Self::Detect), ("block", Self::Block)];
}

/// Form of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditFormat {
    /// One JSON object per line.
    Json,
    /// ModSecurity's own, in parts.
    Native,
}

impl Choice for AuditFormat {
    const ALL: &'static [(&'static str, Self)] = &[("json", Self::Json), ("native", Self::Native)];
}

/// `[waf]`.
#[derive(Clone, Debug)]
pub struct Waf {
    /// Inspect requests.
    pub enable: bool,
    /// JSON rules.
    pub rules_path: Option<PathBuf>,
    /// JSON rules in place; one takes the place of a rule of `rules_path` with its id.
    pub rules: Vec<Rule>,
    /// A SecLang file, or a folder with the OWASP Core Rule Set.
    pub crs_path: Option<PathBuf>,
    /// SecLang read before the rule set.
    pub before_path: Option<PathBuf>,
    /// SecLang read after the rule set.
    pub after_path: Option<PathBuf>,
    /// Paranoia level of the Core Rule Set; `None` = as its own set-up says.
    pub paranoia_level: Option<u32>,
    /// Block what rules find.
    pub block_suspicious: bool,
    /// Score at which a request is blocked; `None` = as the rule set says.
    pub inbound_threshold: Option<u32>,
    /// Score at which a response is blocked; `None` = as the rule set says.
    pub outbound_threshold: Option<u32>,
    /// Requests that a page of another site made a browser send.
    pub csrf_check: CsrfCheck,
    /// Origins that may, besides the site itself: `https://app.example`, in lower case.
    pub csrf_origins: Vec<String>,
    /// Requests per second from one source; `None` = no limit.
    pub rate_limit_rps: Option<u32>,
    /// Longest request body, files included, bytes.
    pub request_body_bytes_max: u64,
    /// Longest request body without files, bytes.
    pub request_body_no_files_bytes_max: u64,
    /// Look at bodies of responses.
    pub inspect_responses: bool,
    /// Of a response's body so much is looked at, bytes.
    pub response_body_bytes_max: u64,
    /// Ask backends for responses that are not compressed.
    pub response_decompression: bool,
    /// Bytes of bodies held for inspection at once, per worker.
    pub held_bytes_max: u64,
    /// At a bound of the work or memory of one request.
    pub at_limit: AtLimit,
    /// Bytes that rules may read for one request.
    pub work_bytes_max: u64,
    /// Bytes that may be kept of one request.
    pub data_bytes_max: u64,
    /// Matches noted of one request.
    pub matches_max: u32,
    /// Answers held back at once by `tarpit`, per worker.
    pub tarpit_max: u32,
    /// Where the audit log goes.
    pub audit_log: LogTarget,
    /// Its form.
    pub audit_format: AuditFormat,
    /// Parts of its records, as ModSecurity names them.
    pub audit_parts: String,
    /// Write all requests, not only those with a match or an error of the server.
    pub audit_all: bool,
    /// Hosts and paths with settings of their own.
    pub sites: Vec<WafSite>,
}

/// `[[waf.sites]]`.
#[derive(Clone, Debug)]
pub struct WafSite {
    /// Hosts it holds for; empty = any.
    pub hosts: Vec<HostPattern>,
    /// Path prefixes it holds for; empty = any.
    pub paths: Vec<UrlPath>,
    /// Whether rules are asked there; `None` = as elsewhere.
    pub mode: Option<WafMode>,
    /// SecLang of the site.
    pub rules: Option<PathBuf>,
    /// Rules it does without: numbers and ranges.
    pub remove_rules: Vec<String>,
    /// Tags whose rules it does without.
    pub remove_tags: Vec<String>,
    /// Paranoia level; `None` = as elsewhere.
    pub paranoia_level: Option<u32>,
}

impl Waf {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let mut waf = Self::read_rules(t);
        waf.rules = read_json_rules(t);
        waf.read_csrf(t);
        waf.read_limits(t);
        waf.read_audit(t);
        waf.sites = t.tables("sites", SITES_MAX, WafSite::read);
        waf
    }

    fn read_rules(t: &mut Table<'_>) -> Self {
        Self {
            enable: t.boolean("enable", false, "Inspect requests. Needs a listener of mode `l7`."),
            rules_path: t.value_optional("rules_path", "JSON rules, e.g. `config/waf_rules.json`."),
            crs_path: t.value_optional(
                "crs_path",
                "The OWASP Core Rule Set: its folder (a checkout, or `/usr/share/modsecurity-crs`), whose \
                 `crs-setup.conf` and `rules/*.conf` are read. Or any SecLang file, which then is all that is read: \
                 what it sets wins over the keys here, and `paranoia_level` and thresholds are not added to it.",
            ),
            before_path: t.value_optional(
                "before_path",
                "SecLang read after the set-up and before the rules, e.g. `config/crs/before.conf`: exclusions made while a \
                 request runs.",
            ),
            after_path: t.value_optional(
                "after_path",
                "SecLang read after the rules, e.g. `config/crs/after.conf`: changes of them.",
            ),
            paranoia_level: t.limit(
                    "paranoia_level",
                    1,
                    4,
                    "",
                    "Paranoia level of the Core Rule Set: higher finds more and errs more. 0 = as its set-up says.",
                ),
            block_suspicious: t.boolean(
                "block_suspicious",
                true,
                "Block what rules find; false only logs (`SecRuleEngine DetectionOnly`).",
            ),
            inbound_threshold: t.limit(
                "inbound_threshold",
                0,
                1_000_000,
                "",
                "Score of the Core Rule Set at which a request is blocked; 0 = as its set-up says (5).",
            ),
            outbound_threshold: t.limit(
                "outbound_threshold",
                0,
                1_000_000,
                "",
                "Score at which a response is blocked; 0 = as the set-up says (4).",
            ),
            rate_limit_rps: t.limit(
                "rate_limit_rps",
                100,
                1_000_000_000,
                "requests/s",
                "Requests per second from one source to `l7` listeners; more are answered with 429. 0 = no limit. \
                 Works without `enable`; the burst is `[limits] request_burst`.",
            ),
            rules: Vec::new(),
            csrf_check: CsrfCheck::Off,
            csrf_origins: Vec::new(),
            request_body_bytes_max: 0,
            request_body_no_files_bytes_max: 0,
            inspect_responses: true,
            response_body_bytes_max: 0,
            response_decompression: false,
            held_bytes_max: 0,
            at_limit: AtLimit::Block,
            work_bytes_max: 0,
            data_bytes_max: 0,
            matches_max: 0,
            tarpit_max: 0,
            audit_log: LogTarget::Off,
            audit_format: AuditFormat::Json,
            audit_parts: String::new(),
            audit_all: false,
            sites: Vec::new(),
        }
    }

    fn read_csrf(&mut self, t: &mut Table<'_>) {
        self.csrf_check = t.choice(
            "csrf_check",
            CsrfCheck::Off,
            "Requests that change something (not GET, HEAD, OPTIONS, ...) and that a page of another site made a browser \
             send, by Sec-Fetch-Site, Origin or Referer. Clients that send none of them pass.",
        );
        self.csrf_origins = t.list(
            "csrf_origins",
            &[],
            256,
            "Origins that may send such requests, besides the site itself: `https://app.example`, `http://localhost:3000`.",
        );
        for origin in &self.csrf_origins {
            if !is_origin(origin) {
                t.invalid(
                    "csrf_origins",
                    origin,
                    "must be http:// or https://, a name or address in lower case, and perhaps a port",
                );
            }
        }
    }

    fn read_limits(&mut self, t: &mut Table<'_>) {
        self.request_body_bytes_max = t.integer(
            "request_body_limit",
            13_107_200,
            1..=BODY_BYTES_MAX,
            "bytes",
            "Longest request body with files; it is held until rules have seen it. Longer: 413.",
        );
        self.request_body_no_files_bytes_max = t.integer(
            "request_body_no_files_limit",
            131_072,
            1..=BODY_BYTES_MAX,
            "bytes",
            "The same for bodies that are not `multipart/form-data`.",
        );
        self.inspect_responses = t.boolean(
            "inspect_responses",
            true,
            "Look at bodies of responses of the types text/plain, text/html, text/xml and application/json. \
             Compressed ones are not looked at; they are counted.",
        );
        self.response_body_bytes_max = t.integer(
            "response_body_limit",
            524_288,
            1..=BODY_BYTES_MAX,
            "bytes",
            "So much of a response is held and looked at; the rest of a longer one passes.",
        );
        self.response_decompression = t.boolean(
            "response_decompression",
            false,
            "Ask backends for responses that are not compressed, so that all can be looked at: costs bandwidth.",
        );
        self.held_bytes_max = t.integer(
            "held_limit",
            268_435_456,
            1_048_576..=1 << 40,
            "bytes",
            "Bytes of bodies that may be held for inspection at once, per worker. Beyond, requests with a body are \
             answered with 503, and responses are looked at as far as they are there.",
        );
        self.at_limit = t.choice(
            "at_limit",
            AtLimit::Block,
            "What becomes of a request whose inspection reaches one of the three bounds below.",
        );
        self.work_bytes_max = t.integer(
            "work_limit",
            268_435_456,
            1_048_576..=1 << 40,
            "bytes",
            "Bytes that transformations and operators may read for one request: what bounds its time.",
        );
        self.data_bytes_max = t.integer(
            "data_limit",
            67_108_864,
            1_048_576..=1 << 32,
            "bytes",
            "Bytes kept of one request, its response, and what rules make of them.",
        );
        self.matches_max =
            t.integer("match_limit", 256, 1..=65_536, "matches", "Matches noted of one request.");
        self.tarpit_max = t.integer(
            "tarpit_max",
            1_000,
            0..=1_000_000,
            "requests",
            "Answers that the action `tarpit` may hold back at once, per worker; beyond, they leave at once.",
        );
    }

    fn read_audit(&mut self, t: &mut Table<'_>) {
        self.audit_log = t.value(
            "audit_log",
            "off",
            "File that records of inspected requests are appended to (opened again at reload), `stdout`, or `off`.",
        );
        self.audit_format = t.choice(
            "audit_format",
            AuditFormat::Json,
            "One JSON object per line, or ModSecurity's own parts.",
        );
        self.audit_parts = t.text(
            "audit_parts",
            "ABFHZ",
            "What records hold: B request head, C request body, F response head, H matches.",
        );
        if self.audit_parts.bytes().any(|part| !part.is_ascii_uppercase()) {
            t.invalid("audit_parts", &self.audit_parts.clone(), "must be capital letters");
        }
        self.audit_all = t.boolean(
            "audit_all",
            false,
            "Write all inspected requests; false: those with a match, or that the server failed to answer.",
        );
    }
}

/// `rules`: JSON rules in place, read by the code that reads their file.
fn read_json_rules(t: &mut Table<'_>) -> Vec<Rule> {
    let elements = t.elements(
        "rules",
        RULES_MAX,
        "JSON rules in place: `[[waf.rules]]` with the keys of a rule of `rules_path`, where one with the same id is \
         replaced. `${NAME}` is not expanded in them.",
    );
    let mut rules = Vec::with_capacity(elements.len());
    let mut ids = HashSet::new();
    for element in elements {
        let text = json::text(&element.tree);
        let rule = match Rule::parse(&text) {
            Ok(rule) => rule,
            Err(error) => {
                let id = Rule::id_of(&text).map_or_else(|| "rules".into(), |id| format!("rules[id={id}]"));
                t.element_problem(element, &id, Problem::Conflict(error.to_string()));
                continue;
            }
        };
        if !ids.insert(rule.id.clone()) {
            let problem = Problem::Conflict("the id is used twice".into());
            t.element_problem(element, &format!("rules[id={}]", rule.id), problem);
        }
        rules.push(rule);
    }
    rules
}

/// Scheme, name or address, perhaps a port; nothing else.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']');
    rest.is_some_and(|rest| !rest.is_empty() && rest.len() <= 255 && rest.bytes().all(is_allowed))
}

impl WafSite {
    fn read(t: &mut Table<'_>) -> Self {
        let site = Self {
            hosts: t.list("hosts", &[], 256, "Hosts it holds for; empty = any."),
            paths: t.list("paths", &[], 256, "Path prefixes on segment borders; empty = any."),
            mode: t.choice_optional("mode", "Whether rules are asked there; without it as elsewhere."),
            rules: t.value_optional(
                "rules",
                "SecLang of the site: `SecRuleRemoveBy...`, `SecRuleUpdateTargetBy...` with exclusions, `SecRuleEngine`, \
                 `SecAction` that sets TX variables.",
            ),
            remove_rules: t.list("remove_rules", &[], 4_096, "Rules it does without: numbers or ranges (`942100-942199`)."),
            remove_tags: t.list("remove_tags", &[], 256, "Tags whose rules it does without."),
            paranoia_level: t.limit("paranoia_level", 0, 4, "", "Paranoia level there; 0 = as elsewhere."),
        };
        for range in &site.remove_rules {
            if !range.split('-').all(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())) {
                t.invalid("remove_rules", range, "must be a number or a range");
            }
        }
        for tag in &site.remove_tags {
            if tag.is_empty() || tag.bytes().any(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r')) {
                t.invalid("remove_tags", tag, "must not be empty or hold quotes");
            }
        }
        site
    }
}
