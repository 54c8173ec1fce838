//! Which files make a rule set, and what the configuration's keys say in SecLang.
//!
//! Owns: the layouts that are known (a checkout of the Core Rule Set 3 or 4, Debian's package), the settings in front
//! of them. Does not own: reading.
//!
//! ```text
//!  settings of [waf]          as modsecurity.conf-recommended has them; what a later file says wins
//!  requests of other sites     csrf_check
//!  paranoia level, thresholds  not for a single file
//!  crs-setup.conf              not for a single file
//!  before_path
//!  plugins/*-config.conf, plugins/*-before.conf, rules/*.conf, plugins/*-after.conf, or the single file
//!  after_path
//! ```

use std::fmt::Write;
use std::path::{Path, PathBuf};

use secbeat_config::node::Waf as Config;

use super::Error;

/// Where Debian's package keeps the set-up, and the operator's exclusions around the rules.
const DEBIAN: &str = "/etc/modsecurity/crs";
/// Number of the first action of our own; JSON rules begin at two million.
const FIRST_ID: u64 = 2_900_001;

/// What modsecurity.conf-recommended says beside settings, in our words: which bodies are taken apart how, and that
/// those which cannot be are refused. Statuses as there.
const BODIES: &str = r#"
SecRule REQUEST_HEADERS:Content-Type "@rx ^(?:application(?:/soap\+|/)|text/)xml" \
    "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/(?:[a-z0-9.+-]+\+)?json" \
    "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" \
    "id:200002,phase:2,t:none,log,deny,status:400,msg:'The request body cannot be read',\
    logdata:'%{reqbody_error_msg}',severity:2,tag:'attack-protocol'"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" \
    "id:200003,phase:2,t:none,log,deny,status:400,msg:'The multipart body breaks its rules',\
    severity:2,tag:'attack-protocol'"
SecRule MULTIPART_UNMATCHED_BOUNDARY "@eq 1" \
    "id:200004,phase:2,t:none,log,deny,status:400,msg:'The multipart body may hold another boundary',\
    severity:2,tag:'attack-protocol'"
"#;

/// Where a rule set lies.
enum Rules {
    None,
    /// One file that includes the rest.
    File(PathBuf),
    /// A set-up and a folder.
    Folder {
        setup: Option<PathBuf>,
        folder: PathBuf,
    },
}

/// The configuration in SecLang.
pub(super) fn text(config: &Config) -> Result<String, Error> {
    let rules = rules(config)?;
    let mut out = String::new();
    // Writing to memory does not fail.
    let _ = settings(config, &mut out);
    if !matches!(rules, Rules::File(_)) {
        out.push_str(BODIES);
    }
    let _ = super::csrf::write(config, &mut out);
    if let Rules::Folder { setup, .. } = &rules {
        let _ = levels(config, &mut out);
        if let Some(setup) = setup {
            include(&mut out, setup)?;
        }
    }
    if let Some(path) = &config.before_path {
        include(&mut out, path)?;
    }
    match &rules {
        Rules::None => {}
        Rules::File(path) => include(&mut out, path)?,
        Rules::Folder { setup, folder } => {
            // Debian's package has the operator's exclusions beside the set-up.
            let own = setup.as_ref().and_then(|setup| setup.parent()).filter(|own| *own == Path::new(DEBIAN));
            if let Some(own) = own {
                optional(&mut out, &own.join("REQUEST-900*.conf"))?;
            }
            optional(&mut out, &folder.join("plugins/*-config.conf"))?;
            optional(&mut out, &folder.join("plugins/*-before.conf"))?;
            include(&mut out, &folder.join("rules/*.conf"))?;
            optional(&mut out, &folder.join("plugins/*-after.conf"))?;
            if let Some(own) = own {
                optional(&mut out, &own.join("RESPONSE-999*.conf"))?;
            }
        }
    }
    if let Some(path) = &config.after_path {
        include(&mut out, path)?;
    }
    Ok(out)
}

fn rules(config: &Config) -> Result<Rules, Error> {
    let Some(path) = &config.crs_path else { return Ok(Rules::None) };
    let failed = |message: String| Error::File { path: path.display().to_string(), message };
    let facts = path.metadata().map_err(|error| failed(error.to_string()))?;
    if !facts.is_dir() {
        return Ok(Rules::File(path.clone()));
    }
    let folder = path.join("rules");
    // The folder with the rules themselves may be named too.
    let root =
        if folder.is_dir() { path.clone() } else { path.parent().map(Path::to_path_buf).unwrap_or_default() };
    let has_rules = root.join("rules").read_dir().is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|ending| ending == "conf"))
    });
    if !has_rules {
        return Err(failed("holds no rules/*.conf and is no package of the Core Rule Set".to_owned()));
    }
    let places = ["crs-setup.conf", "crs-setup.conf.example", "rules/crs-setup.conf.example"];
    let setup = places
        .iter()
        .map(|name| root.join(name))
        .chain([Path::new(DEBIAN).join("crs-setup.conf")])
        .find(|setup| setup.is_file());
    Ok(Rules::Folder { setup, folder: root })
}

fn settings(config: &Config, out: &mut String) -> std::fmt::Result {
    let on = |on: bool| if on { "On" } else { "Off" };
    writeln!(out, "SecRuleEngine {}", if config.block_suspicious { "On" } else { "DetectionOnly" })?;
    writeln!(out, "SecRequestBodyAccess On")?;
    writeln!(out, "SecRequestBodyLimit {}", config.request_body_bytes_max)?;
    writeln!(out, "SecRequestBodyNoFilesLimit {}", config.request_body_no_files_bytes_max)?;
    writeln!(out, "SecRequestBodyLimitAction Reject")?;
    writeln!(out, "SecResponseBodyAccess {}", on(config.inspect_responses))?;
    writeln!(out, "SecResponseBodyMimeType text/plain text/html text/xml application/json")?;
    writeln!(out, "SecResponseBodyLimit {}", config.response_body_bytes_max)?;
    writeln!(out, "SecResponseBodyLimitAction ProcessPartial")?;
    writeln!(out, "SecAuditEngine {}", if config.audit_all { "On" } else { "RelevantOnly" })?;
    writeln!(out, "SecAuditLogRelevantStatus ^5")
}

/// Paranoia level and thresholds, under the names of both generations of the Core Rule Set.
fn levels(config: &Config, out: &mut String) -> std::fmt::Result {
    let mut id = FIRST_ID;
    let mut set = |out: &mut String, names: &[&str], value: u32| {
        write!(out, "SecAction \"id:{id},phase:1,nolog,pass,t:none")?;
        for name in names {
            write!(out, ",setvar:tx.{name}={value}")?;
        }
        id += 1;
        writeln!(out, "\"")
    };
    if let Some(level) = config.paranoia_level {
        let names = [
            "blocking_paranoia_level",
            "detection_paranoia_level",
            "paranoia_level",
            "executing_paranoia_level",
        ];
        set(out, &names, level)?;
    }
    if let Some(score) = config.inbound_threshold {
        set(out, &["inbound_anomaly_score_threshold"], score)?;
    }
    if let Some(score) = config.outbound_threshold {
        set(out, &["outbound_anomaly_score_threshold"], score)?;
    }
    Ok(())
}

fn include(out: &mut String, path: &Path) -> Result<(), Error> {
    directive(out, "Include", path)
}

fn optional(out: &mut String, path: &Path) -> Result<(), Error> {
    directive(out, "IncludeOptional", path)
}

fn directive(out: &mut String, word: &str, path: &Path) -> Result<(), Error> {
    let failed =
        |message: &str| Error::File { path: path.display().to_string(), message: message.to_owned() };
    let absolute = std::path::absolute(path).map_err(|error| failed(&error.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| failed("is not UTF-8"))?;
    if text.contains(['"', '\\', '\n', '\r']) {
        return Err(failed("has a quote, a backslash or a line end in its name"));
    }
    let _ = writeln!(out, "{word} \"{text}\"");
    Ok(())
}
